//! Which datagrams were not answered, and why: counted by reason, and told once a second (C23).

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use edgeloop::Time;

/// The least time between two lines of the same kind.
const PERIOD: Duration = Duration::from_secs(1);

/// Why a datagram is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It comes from a port at which others answer without being asked for a connection.
    Port,
    /// It comes from one of our own addresses.
    Own,
    /// It comes from, or was sent to, a broadcast or multicast address.
    Group,
    /// Its source has had its answers.
    Rate,
    /// All have had theirs.
    Total,
    /// It was answered often enough.
    Repeat,
    /// There was no room to send the answer, or no memory.
    NoRoom,
    /// The kernel does not send the answer, for this error.
    Kernel(i32),
}

impl Refusal {
    const KINDS: usize = 8;

    const fn kind(self) -> usize {
        match self {
            Self::Port => 0,
            Self::Own => 1,
            Self::Group => 2,
            Self::Rate => 3,
            Self::Total => 4,
            Self::Repeat => 5,
            Self::NoRoom => 6,
            Self::Kernel(_) => 7,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Port => "its port is that of a service that would answer",
            Self::Own => "it comes from an address of our own",
            Self::Group => "broadcast or multicast",
            Self::Rate => "more from its source than --udp-rate",
            Self::Total => "more from all than --udp-rate-total",
            Self::Repeat => "the same again, more often than --udp-repeats",
            Self::NoRoom => "no room in the send buffer",
            Self::Kernel(errno) => return std::io::Error::from_raw_os_error(*errno).fmt(f),
        })
    }
}

/// How many there were of each kind, and what was told of them.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    kinds: [Kind; Refusal::KINDS],
}

#[derive(Debug, Default)]
struct Kind {
    count: u64,
    /// The last, and who had sent it.
    last: Option<(Refusal, SocketAddr)>,
    told: Option<Time>,
    /// How many of them the log knows of.
    known: u64,
}

impl Refusals {
    /// Counts one.
    pub(super) fn count(&mut self, refusal: Refusal) {
        self.kinds[refusal.kind()].count += 1;
    }

    /// Logs the last that was counted, unless one of its kind was logged less than a second before.
    pub(super) fn tell(&mut self, refusal: Refusal, peer: SocketAddr, now: Time) {
        let kind = &mut self.kinds[refusal.kind()];
        kind.last = Some((refusal, peer));
        if kind.told.is_some_and(|told| now.since(told) < PERIOD) {
            return;
        }
        let others = kind.count - kind.known - 1;
        let suppressed = (others > 0).then_some(others);
        (kind.told, kind.known) = (Some(now), kind.count);
        tracing::debug!(%peer, reason = %refusal, suppressed, "datagram not answered");
    }

    /// Logs, at the end, what was not logged behind the last line of its kind.
    pub(crate) fn tell_the_rest(&self) {
        for kind in &self.kinds {
            let repeated = kind.count - kind.known;
            if let Some((refusal, peer)) = kind.last
                && repeated > 0
            {
                tracing::debug!(%peer, reason = %refusal, repeated, "datagram not answered");
            }
        }
    }

    /// How many there were of a kind, if there were any.
    pub(crate) fn of(&self, refusal: Refusal) -> Option<u64> {
        let count = self.kinds[refusal.kind()].count;
        (count > 0).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c51_refusals_are_counted_by_reason() {
        let all = [
            Refusal::Port,
            Refusal::Own,
            Refusal::Group,
            Refusal::Rate,
            Refusal::Total,
            Refusal::Repeat,
            Refusal::NoRoom,
            Refusal::Kernel(1),
        ];
        assert_eq!(all.len(), Refusal::KINDS);
        let mut refusals = Refusals::default();
        for (times, refusal) in (0..).zip(all) {
            (0..times).for_each(|_| refusals.count(refusal));
        }
        for (times, refusal) in (0..).zip(all) {
            assert_eq!(refusals.of(refusal).unwrap_or(0), times, "{refusal:?}");
        }
    }

    #[test]
    fn c51_a_flood_of_refusals_is_told_once_a_second() {
        let mut refusals = Refusals::default();
        let peer = "192.0.2.1:7".parse().expect("an address");
        let mut told = Vec::new();
        for millis in 0..2500 {
            let now = Time::from_nanos(millis * 1_000_000);
            for refusal in [Refusal::Port, Refusal::Kernel(1)] {
                refusals.count(refusal);
                refusals.tell(refusal, peer, now);
                let kind = &refusals.kinds[refusal.kind()];
                if kind.told == Some(now) && kind.known == kind.count {
                    told.push(millis);
                }
            }
        }
        assert_eq!(told, [0, 0, 1000, 1000, 2000, 2000]);
        let kind = &refusals.kinds[0];
        assert_eq!((kind.count, kind.count - kind.known), (2500, 499));
    }
}
