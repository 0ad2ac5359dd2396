//! The client: one thread that never sleeps, cheap enough that the server is what is measured.
//!
//! Sockets are tried again and again instead of waited for. Everything that is sent is answered
//! before a slice ends, so that no server leaves work to the slice of another.

mod crowd;
mod drain;
mod flood;
mod relayed;
mod socket;
mod streams;
mod talk;
mod visits;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use edgeloop::Address;
use hdrhistogram::Histogram;
use peers::Transport;

pub(crate) use crowd::{Crowd, Holder, hold};
pub(crate) use flood::Flood;
pub(crate) use relayed::{Relayed, Upstream};
pub(crate) use talk::Talk;

use crate::shapes::{Load, Shape};

/// When a client stops to begin something new.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// At this time, after what was begun is done.
    Time(Instant),
    /// After so many rounds.
    Rounds(u64),
}

/// What a client has done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Done {
    /// What the shape counts.
    pub(crate) units: u64,
    /// How long that took, from the first byte sent to the last received.
    pub(crate) time: Duration,
}

/// How long rounds took, in nanoseconds.
pub(crate) type Rounds = Histogram<u64>;

/// For rounds of up to ten seconds, with three digits.
pub(crate) fn rounds() -> io::Result<Rounds> {
    Histogram::new_with_max(10_000_000_000, 3).map_err(io::Error::other)
}

/// A client with its connections.
pub(crate) trait Client {
    /// One round: sends, and receives all that is answered. Returns the units.
    fn round(&mut self) -> io::Result<u64>;

    /// Sends what no other message looks like, and compares every byte of the answers.
    fn verify(&mut self) -> io::Result<()>;

    /// Owes no acknowledgement any more: see [`Socket::acknowledge`](socket::Socket::acknowledge).
    fn acknowledge(&self) -> io::Result<()>;

    /// Rounds, until there have been enough. Each is entered into the histogram.
    fn drive(&mut self, until: Until, all: &mut Rounds) -> io::Result<Done> {
        let begin = Instant::now();
        let (mut units, mut rounds, mut last) = (0, 0, begin);
        loop {
            units += self.round()?;
            rounds += 1;
            let now = Instant::now();
            all.saturating_record(u64::try_from((now - last).as_nanos()).unwrap_or(u64::MAX));
            last = now;
            let enough = match until {
                Until::Time(time) => now >= time,
                Until::Rounds(wanted) => rounds >= wanted,
            };
            if enough {
                return Ok(Done { units, time: now - begin });
            }
        }
    }
}

/// Connects to the server as the shape wants it; its idle connections are not the client's.
pub(crate) fn connect(shape: &Shape, server: &Address) -> io::Result<Box<dyn Client>> {
    Ok(match shape.load {
        Load::Rounds { connections, bytes, in_flight } => {
            Box::new(Crowd::connect(shape.transport, server, connections, bytes, in_flight)?)
        }
        Load::Stream { connections, window } => {
            Box::new(streams::Streams::connect(server, connections, window)?)
        }
        Load::Connect { bytes } => Box::new(visits::Visits::new(tcp(server)?, bytes)),
        Load::Segments { bytes } => Box::new(crowd::Segments::connect(server, bytes)?),
        Load::Fanout { receivers } => Box::new(crowd::Chat::connect(server, receivers)?),
    })
}

/// The address, for who needs one of TCP.
fn tcp(server: &Address) -> io::Result<SocketAddr> {
    let words = || io::Error::other(format!("{server} is no address of TCP"));
    server.as_tcp().ok_or_else(words)
}

/// A crowd that has been served once: what is counted then is what follows.
pub(crate) fn crowd(
    transport: Transport,
    server: &Address,
    connections: usize,
) -> io::Result<Crowd> {
    let mut crowd = Crowd::connect(transport, server, connections, 64, 1)?;
    crowd.verify()?;
    Ok(crowd)
}
