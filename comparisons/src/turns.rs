//! Servers measured one after the other, each alone with the client: for what two of them on one
//! core would spoil.
//!
//! The processor's speed drifts meanwhile. So there are rounds, in each of which every server has
//! its turn, and ratios are taken within a round.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::named;
use crate::interrupt;
use crate::servers::{self, Contestant};
use crate::statistics::Estimate;

/// What a server has come to in each round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct InTurn<T> {
    pub(crate) server: String,
    pub(crate) rounds: Vec<T>,
}

/// What is measured so, as data.
#[derive(Debug)]
pub(crate) struct Measurement<T> {
    /// A word for it on the progress line.
    pub(crate) what: &'static str,
    /// Whose turn it is in a round, by name.
    pub(crate) servers: &'static [&'static str],
    /// Measures one of them for about so long.
    pub(crate) one: fn(&Contestant, Duration) -> io::Result<T>,
}

impl<T> Measurement<T> {
    /// Those of its servers that run here.
    pub(crate) fn contestants(&self) -> Result<Vec<Contestant>, String> {
        servers::present(self.servers)
    }

    /// Measures them in all rounds, each for so long. Calls `tick` after each.
    ///
    /// # Errors
    ///
    /// The first that a measurement has, with the server's name.
    pub(crate) fn measure(
        &self,
        servers: &[Contestant],
        rounds: u32,
        turn: Duration,
        tick: &mut dyn FnMut(&str),
    ) -> io::Result<Vec<InTurn<T>>> {
        measure(servers, rounds, |server| (self.one)(server, turn), tick)
    }
}

/// Every server in every round; the order is reversed each time.
fn measure<T>(
    servers: &[Contestant],
    rounds: u32,
    mut one: impl FnMut(&Contestant) -> io::Result<T>,
    tick: &mut dyn FnMut(&str),
) -> io::Result<Vec<InTurn<T>>> {
    let empty =
        |server: &Contestant| InTurn { server: server.name().to_owned(), rounds: Vec::new() };
    let mut all: Vec<_> = servers.iter().map(empty).collect();
    for round in 0..rounds {
        let mut order: Vec<_> = servers.iter().zip(&mut all).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (server, taken) in order {
            interrupt::check()?;
            let measured = one(server).map_err(|error| named(server.name(), &error))?;
            taken.rounds.push(measured);
            tick(server.name());
        }
    }
    Ok(all)
}

/// The median of a figure over the rounds.
pub(crate) fn estimate<T>(rounds: &[T], figure: impl Fn(&T) -> f64) -> Option<Estimate> {
    Estimate::of(&rounds.iter().map(figure).collect::<Vec<_>>())
}

/// The median of the ratios of a figure, each within a round.
pub(crate) fn ratio<T>(of: &[T], against: &[T], figure: impl Fn(&T) -> f64) -> Option<Estimate> {
    let ratios = of.iter().zip(against).map(|(of, against)| figure(of) / figure(against));
    Estimate::of(&ratios.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_has_a_turn_in_every_round_and_the_order_is_reversed() {
        let servers =
            [servers::BARE, servers::EDGELOOP].map(|name| servers::find(name).expect("one"));
        let mut seen = Vec::new();
        let mut ticks = 0;
        let measured = measure(
            &servers,
            3,
            |server| {
                seen.push(server.name());
                Ok(seen.len())
            },
            &mut |_| ticks += 1,
        );
        let measured = measured.expect("nothing fails");
        assert_eq!(seen, ["bare", "edgeloop", "edgeloop", "bare", "bare", "edgeloop"]);
        assert_eq!(measured[0].rounds, [1, 4, 5]);
        assert_eq!(measured[1].rounds, [2, 3, 6]);
        assert_eq!(ticks, 6);
    }

    #[test]
    fn what_fails_is_named() {
        let servers = [servers::find(servers::BARE).expect("one")];
        let failed = measure::<()>(&servers, 1, |_| Err(io::Error::other("why")), &mut |_| ());
        assert_eq!(failed.expect_err("it fails").to_string(), "bare: why");
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let (of, against) = ([2.0; 6], [1.0, 2.0, 4.0, 1.0, 2.0, 4.0]);
        assert_eq!(ratio(&of, &against, |figure| *figure).map(|all| all.median), Some(1.0));
        assert_eq!(ratio(&of[..5], &against[..5], |figure| *figure), None, "too few");
        assert_eq!(estimate(&against, |figure| *figure).map(|all| all.high), Some(4.0));
    }
}
