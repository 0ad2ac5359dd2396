//! What one thread of a run is to do: resolved, and the same for its whole time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use edgeloop::{Address, Target};

use super::exchange::{Exchanges, Framing};
use super::profile::Profile;
use super::schedule::Arrival;

/// When messages are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Load {
    /// Each as soon as an earlier one was answered.
    Closed,
    /// So many a second in all, whatever the answers do.
    Open { rate: f64, arrival: Arrival },
}

/// How long a run is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) duration: Option<Duration>,
    /// Messages in all.
    pub(crate) messages: Option<u64>,
    /// What comes first and does not count.
    pub(crate) warmup: Duration,
    /// How long answers are waited for at the end.
    pub(crate) grace: Duration,
}

/// A run, as it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// The addresses that the name stands for; connections take them in turn.
    pub(crate) addresses: Vec<Address>,
    /// Local addresses to connect from, in turn; the kernel's choice if there are none.
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) connections: usize,
    /// How many of them carry messages.
    pub(crate) active: usize,
    /// How many connections are opened a second, if not as fast as can be.
    pub(crate) opening: Option<f64>,
    pub(crate) threads: usize,
    /// Bytes of a message, of the longest if they differ.
    pub(crate) size: usize,
    /// What is sent to a service that does not echo.
    pub(crate) exchanges: Option<Arc<Exchanges>>,
    /// What the service says first on each connection, and where that ends.
    pub(crate) greeting: Option<Framing>,
    /// The most messages without an answer on a connection.
    pub(crate) pipeline: usize,
    /// With a profile, its rate is the mean.
    pub(crate) load: Load,
    pub(crate) profile: Option<Arc<Profile>>,
    /// Each message has a connection of its own.
    pub(crate) connects: bool,
    pub(crate) extent: Extent,
    pub(crate) connect_timeout: Option<Duration>,
    /// How long the answer to a datagram is waited for; none where there are connections.
    pub(crate) timeout: Option<Duration>,
    pub(crate) verifies: bool,
    pub(crate) seed: u64,
    /// How long before a send its time is polled for.
    pub(crate) busy_poll: Duration,
    /// How often each thread tells what it has measured: in whole parts of a second.
    pub(crate) tick: Duration,
}

/// The part of one thread.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Share {
    pub(crate) plan: Plan,
    /// Which of the threads it is.
    pub(crate) thread: usize,
    /// Which of all connections are its own: `first`, and so many.
    pub(crate) first: usize,
    pub(crate) connections: usize,
    /// How many of them carry messages, and how many of those before them do.
    pub(crate) active: usize,
    pub(crate) carrying_before: usize,
    pub(crate) messages: Option<u64>,
}

impl Plan {
    /// The parts of all threads. Each has a connection that carries messages.
    pub(crate) fn shares(&self) -> Vec<Share> {
        let threads = self.threads.clamp(1, self.active.max(1));
        let part = |all: usize, thread: usize| all / threads + usize::from(thread < all % threads);
        let (mut first, mut carrying_before) = (0, 0);
        let share = |thread| {
            let connections = part(self.connections, thread);
            let messages = self.extent.messages.map(|all| {
                let (threads, thread) = (threads as u64, thread as u64);
                all / threads + u64::from(thread < all % threads)
            });
            let active = part(self.active, thread);
            let plan = self.clone();
            let share =
                Share { plan, thread, first, connections, active, carrying_before, messages };
            first += connections;
            carrying_before += active;
            share
        };
        (0..threads).map(share).collect()
    }

    /// Whether the messages are datagrams.
    pub(crate) const fn has_datagrams(&self) -> bool {
        self.timeout.is_some()
    }

    /// Whether the service is at a Unix socket.
    pub(crate) fn is_unix(&self) -> bool {
        self.addresses.iter().any(Address::is_unix)
    }

    /// Where connection `number` goes to, and from where. They take the addresses in turn, and go
    /// on to the next one where one can't be connected to.
    pub(crate) fn target(&self, number: usize) -> Target {
        let all = self.addresses.len();
        let first = &self.addresses[number % all];
        let is_alike = |ip: IpAddr| first.ip().is_some_and(|first| ip.is_ipv4() == first.is_ipv4());
        let source = self.source(number);
        let target = (1..all)
            .map(|step| &self.addresses[(number + step) % all])
            .filter(|other| source.is_none() || other.ip().is_some_and(is_alike))
            .fold(Target::new(first), Target::or)
            .timeout(self.connect_timeout);
        match source {
            Some(source) => target.bind(SocketAddr::new(source, 0)),
            None => target,
        }
    }

    /// Where connection `number` comes from, if that is asked for.
    fn source(&self, number: usize) -> Option<IpAddr> {
        let all = self.addresses.len();
        let first = self.addresses[number % all].ip()?;
        // Only those of its family can be connected to from a source.
        let is_alike = |source: &&IpAddr| source.is_ipv4() == first.is_ipv4();
        let sources = || self.sources.iter().filter(is_alike);
        sources().nth((number / all) % sources().count().max(1)).copied()
    }

    /// Where the datagrams of socket `number` come from and go to, and which of the addresses that
    /// is. They take them in turn.
    pub(crate) fn datagram_ends(&self, number: usize) -> Option<(SocketAddr, SocketAddr, usize)> {
        let index = number % self.addresses.len();
        let to = self.addresses[index].as_tcp()?;
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let from = self.source(number).unwrap_or(any);
        Some((SocketAddr::new(from, 0), to, index))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The smallest run.
    pub(crate) fn plan() -> Plan {
        Plan {
            addresses: vec![SocketAddr::from(([10, 0, 0, 1], 7)).into()],
            sources: Vec::new(),
            connections: 1,
            active: 1,
            opening: None,
            threads: 1,
            size: 64,
            exchanges: None,
            greeting: None,
            pipeline: 1,
            load: Load::Closed,
            profile: None,
            connects: false,
            extent: Extent {
                duration: Some(Duration::from_secs(10)),
                messages: None,
                warmup: Duration::ZERO,
                grace: Duration::from_secs(1),
            },
            connect_timeout: Some(Duration::from_secs(10)),
            timeout: None,
            verifies: true,
            seed: 1,
            busy_poll: Duration::ZERO,
            tick: Duration::from_secs(1),
        }
    }

    #[test]
    fn everything_is_shared_out_and_nothing_twice() {
        for threads in 1..6 {
            for connections in 1..20 {
                let extent = Extent { messages: Some(101), ..plan().extent };
                let active = connections;
                let plan = Plan { threads, connections, active, extent, ..plan() };
                let shares = plan.shares();
                assert_eq!(
                    shares.iter().map(|share| share.connections).sum::<usize>(),
                    connections
                );
                assert_eq!(shares.iter().filter_map(|share| share.messages).sum::<u64>(), 101);
                assert!(shares.iter().all(|share| share.connections > 0));
                assert!(
                    shares.windows(2).all(|two| two[0].first + two[0].connections == two[1].first)
                );
            }
        }
    }

    #[test]
    fn connections_take_the_addresses_in_turn_and_sources_of_the_same_family() {
        let address = |text: &str| text.parse::<SocketAddr>().expect(text);
        let (a, b, six) = (address("10.0.0.1:7"), address("10.0.0.2:7"), address("[fd00::1]:7"));
        let source = |text: &str| text.parse::<IpAddr>().expect(text);
        let plan = Plan {
            addresses: [a, six, b].map(Into::into).to_vec(),
            connect_timeout: None,
            ..plan()
        };
        let target = |first| Target::new(first).timeout(None);
        assert_eq!(plan.target(0), target(a).or(six).or(b));
        assert_eq!(plan.target(1), target(six).or(b).or(a));
        assert_eq!(plan.target(5), target(b).or(a).or(six));
        let sources = ["10.0.0.8", "fd00::8", "10.0.0.9"].map(source).to_vec();
        let from = |target: Target, ip: &str| target.bind(SocketAddr::new(source(ip), 0));
        let plan = Plan { sources, ..plan };
        assert_eq!(plan.target(0), from(target(a).or(b), "10.0.0.8"));
        assert_eq!(plan.target(1), from(target(six), "fd00::8"));
        assert_eq!(plan.target(2), from(target(b).or(a), "10.0.0.8"));
        assert_eq!(plan.target(3), from(target(a).or(b), "10.0.0.9"));
        assert_eq!(plan.target(4), from(target(six), "fd00::8"));
    }
}
