//! What becomes of latency and throughput where more comes than a server can do.

use std::io;
use std::time::Duration;

use peers::Service;
use serde::{Deserialize, Serialize};

use crate::client::Flood;
use crate::servers::{BARE, Contestant, EDGELOOP, READ_BUFFER};
use crate::turns::{InTurn, Measurement};

/// Who is measured.
const SERVERS: &[&str] = &[EDGELOOP, "tokio-copy", BARE];

/// How many connections there are.
pub(crate) const CONNECTIONS: usize = 50;

/// By so much more comes than the server can do.
pub(crate) const TOO_MUCH: f64 = 1.2;

/// The part of the messages that must have been held back, or the server was not overloaded: it has
/// answered them all, however late the client may have been.
const HELD: f64 = 0.5;

/// What is measured.
pub(crate) const OVERLOAD: Measurement<Overloaded> =
    Measurement { what: "overload", servers: SERVERS, one };

/// A server under too many messages.
pub(crate) type Overload = InTurn<Overloaded>;

/// One round of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Overloaded {
    /// Messages a second that it answers if it is always given the next.
    pub(crate) peak: f64,
    /// Messages a second that were due.
    pub(crate) offered: f64,
    /// Messages a second that it answered then.
    pub(crate) answered: f64,
    /// The part of the messages that waited for the server before they could be sent.
    pub(crate) held: f64,
    /// The 99th percentile of the time since a message was due, in milliseconds: of the connection
    /// in the middle, and of the worst.
    pub(crate) median_p99: f64,
    pub(crate) worst_p99: f64,
}

impl Overload {
    /// Whether it was the server that could not keep up, in every round.
    pub(crate) fn is_overloaded(&self) -> bool {
        self.rounds.iter().all(|round| round.held >= HELD)
    }
}

/// In a turn: the overload for so long, and the peak before and after it, each for half of that.
fn one(server: &Contestant, length: Duration) -> io::Result<Overloaded> {
    let server = server.start(Service::Echo, READ_BUFFER)?;
    let mut flood = Flood::connect(server.address(), CONNECTIONS)?;
    flood.verify()?;
    // What was not warm is left out.
    flood.peak(length / 10)?;
    let before = flood.peak(length / 2)?;
    let offered = TOO_MUCH * before;
    // A schedule has whole messages a second.
    let flooded = flood.flood(whole(offered), length)?;
    let after = flood.peak(length / 2)?;
    flood.verify()?;
    Ok(Overloaded {
        // The processor's speed drifts meanwhile.
        peak: f64::midpoint(before, after),
        offered,
        answered: flooded.answered,
        held: flooded.held,
        median_p99: flooded.median,
        worst_p99: flooded.worst,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is neither below 0 nor near the end of an integer"
)]
fn whole(rate: f64) -> u64 {
    (rate as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_in_which_little_was_held_back_overloads_nobody() {
        let round = |held| Overloaded {
            peak: 1.0,
            offered: 1.2,
            answered: 1.0,
            held,
            median_p99: 1.0,
            worst_p99: 1.0,
        };
        let of = |rounds: &[f64]| Overload {
            server: "one".to_owned(),
            rounds: rounds.iter().map(|held| round(*held)).collect(),
        };
        assert!(of(&[0.5, 0.9]).is_overloaded());
        assert!(!of(&[0.9, 0.49]).is_overloaded());
    }
}
