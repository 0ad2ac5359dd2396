//! What is measured: histograms and counts, of one second or of a whole run.

use super::errors::Errors;
use super::verdict::Verdict;
use crate::results::{Datagrams, Times};

/// All that is measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    /// From when a message was due to its answer.
    pub(crate) latency: Times,
    /// From when it was sent.
    pub(crate) service: Times,
    /// From the first SYN to the connection.
    pub(crate) connect: Times,
    pub(crate) counts: Counts,
}

/// What is counted and not timed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Messages that were answered, and those of them that were answered in the measured time.
    pub(crate) messages: u64,
    pub(crate) in_time: u64,
    pub(crate) unanswered: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) errors: Errors,
    /// Connections that the other end closed with nothing in flight.
    pub(crate) reopened: u64,
    pub(crate) lateness: Lateness,
    /// None where there are connections.
    pub(crate) datagrams: Option<Datagrams>,
}

/// What is counted of the time before the measured one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Before {
    pub(crate) connects: u64,
    pub(crate) messages: u64,
    pub(crate) unanswered: u64,
    pub(crate) errors: Errors,
    pub(crate) verdict: Verdict,
}

impl Before {
    pub(crate) fn add(&mut self, other: &Self) {
        self.connects += other.connects;
        self.messages += other.messages;
        self.unanswered += other.unanswered;
        self.errors.add(&other.errors);
        self.verdict.add(&other.verdict);
    }
}

impl Measured {
    pub(crate) fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency);
        self.service.add(&other.service);
        self.connect.add(&other.connect);
        let (mine, theirs) = (&mut self.counts, &other.counts);
        mine.messages += theirs.messages;
        mine.in_time += theirs.in_time;
        mine.unanswered += theirs.unanswered;
        mine.bytes_sent += theirs.bytes_sent;
        mine.bytes_received += theirs.bytes_received;
        mine.errors.add(&theirs.errors);
        mine.reopened += theirs.reopened;
        mine.lateness.add(&theirs.lateness);
        Datagrams::join(&mut mine.datagrams, theirs.datagrams.as_ref());
    }

    /// Whether nothing has happened.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let times = [&self.latency, &self.service, &self.connect];
        times.iter().all(|times| times.samples() == 0) && self.counts == Counts::default()
    }

    /// Begins anew, with the memory that it has.
    pub(crate) fn clear(&mut self) {
        self.latency.clear();
        self.service.clear();
        self.connect.clear();
        self.counts = Counts::default();
    }
}

/// How well a schedule was held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lateness {
    /// Messages that were sent, or could have been.
    pub(crate) sends: u64,
    /// Those of them that came more than [`LATE`] after their time.
    pub(crate) missed: u64,
    /// The most that any was late, in nanoseconds.
    pub(crate) lag: u64,
    pub(crate) lags: Lags,
}

/// A send that comes so many nanoseconds after its time is late.
pub(crate) const LATE: u64 = 1_000_000;

impl Lateness {
    pub(crate) fn sent(&mut self, lag: u64, count: u64) {
        self.sends += count;
        self.missed += if lag > LATE { count } else { 0 };
        self.lag = self.lag.max(lag);
        self.lags.record(lag, count);
    }

    /// Whether more than one send in a hundred was late.
    pub(crate) const fn is_late(&self) -> bool {
        self.missed * 100 > self.sends
    }

    fn add(&mut self, other: &Self) {
        self.sends += other.sends;
        self.missed += other.missed;
        self.lag = self.lag.max(other.lag);
        self.lags.add(&other.lags);
    }
}

/// By how much the load generator itself delayed messages, and how many: in bands, four to a
/// doubling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lags {
    /// Empty as long as nothing was delayed.
    bands: Vec<u64>,
}

impl Lags {
    /// Shorter lags are not told apart: every send takes its time.
    const FLOOR: u64 = 16_384;

    #[inline]
    pub(crate) fn record(&mut self, nanos: u64, count: u64) {
        if nanos >= Self::FLOOR {
            self.record_lag(nanos, count);
        }
    }

    #[cold]
    fn record_lag(&mut self, nanos: u64, count: u64) {
        self.bands.resize(Self::band(u64::MAX) + 1, 0);
        let band = &mut self.bands[Self::band(nanos)];
        *band = band.saturating_add(count);
    }

    /// The exponent, and the two bits behind the first.
    const fn band(nanos: u64) -> usize {
        let exponent = nanos.ilog2() as usize;
        exponent * 4 + (nanos >> (exponent - 2) & 3) as usize
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.add_times(other, 1);
    }

    /// Adds lags each of which has delayed so many messages.
    pub(crate) fn add_times(&mut self, other: &Self, messages: u64) {
        self.bands.resize(self.bands.len().max(other.bands.len()), 0);
        for (mine, theirs) in self.bands.iter_mut().zip(&other.bands) {
            *mine = mine.saturating_add(theirs.saturating_mul(messages));
        }
    }

    /// How many messages were delayed by so much, or by up to a fifth less.
    pub(crate) fn as_long_as(&self, nanos: u64) -> u64 {
        let first = Self::band(nanos.max(Self::FLOOR));
        self.bands.iter().skip(first).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lags_are_told_apart_to_a_fifth() {
        let mut lags = Lags::default();
        lags.record(5_000, 1000);
        assert_eq!((lags.as_long_as(0), lags.clone()), (0, Lags::default()));
        (1..=60).for_each(|millis| lags.record(millis * 1_000_000, 1));
        assert_eq!(lags.as_long_as(100), 60);
        let half = lags.as_long_as(30_000_000);
        assert!((31..=37).contains(&half), "{half}");
        let mut sum = Lags::default();
        sum.add(&lags);
        sum.add(&Lags::default());
        assert_eq!(sum, lags);
        lags.record(u64::MAX, 2);
        assert_eq!(lags.as_long_as(u64::MAX), 2);
    }

    #[test]
    fn late_is_more_than_one_in_a_hundred() {
        let mut lateness = Lateness::default();
        lateness.sent(LATE, 99);
        lateness.sent(LATE + 1, 1);
        assert!(!lateness.is_late());
        lateness.sent(5 * LATE, 1);
        assert!(lateness.is_late());
        assert_eq!((lateness.missed, lateness.lag), (2, 5 * LATE));
    }
}
