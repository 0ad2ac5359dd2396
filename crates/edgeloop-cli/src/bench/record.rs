//! What is measured: histograms and counts, of one second or of a whole run.

use hdrhistogram::{AdditionError, Histogram};

use super::errors::Errors;

/// The longest time that is told apart, in nanoseconds: an hour. Longer ones count as that.
pub(crate) const LONGEST: u64 = 3_600_000_000_000;

/// Figures that a histogram keeps of each value: its resolution is one part in a thousand.
const DIGITS: u8 = 3;

/// Times, in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    histogram: Histogram<u64>,
    /// The shortest of the times that went on when they were recorded.
    censored: Option<u64>,
}

impl Default for Times {
    fn default() -> Self {
        let bounds = Histogram::new_with_bounds(1, LONGEST, DIGITS);
        Self { histogram: bounds.expect("the bounds are in order"), censored: None }
    }
}

impl Times {
    /// Times that were recorded elsewhere, and the shortest of those that went on.
    ///
    /// # Errors
    ///
    /// When some of them are longer than any that are told apart.
    pub(crate) fn recorded(
        histogram: &Histogram<u64>,
        censored: Option<u64>,
    ) -> Result<Self, AdditionError> {
        let mut times = Self { censored, ..Self::default() };
        times.histogram.add(histogram)?;
        Ok(times)
    }

    #[inline]
    pub(crate) fn record(&mut self, nanos: u64) {
        self.histogram.saturating_record(nanos);
    }

    /// Records times at whose ends nothing had happened: it takes so long at least.
    pub(crate) fn record_unanswered(&mut self, nanos: u64, count: u64) {
        self.histogram.saturating_record_n(nanos, count);
        self.censored = Some(self.censored.map_or(nanos, |least| least.min(nanos)));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("all have the same bounds");
        self.censored = match (self.censored, other.censored) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
    }

    pub(crate) fn clear(&mut self) {
        self.histogram.reset();
        self.censored = None;
    }

    pub(crate) fn samples(&self) -> u64 {
        self.histogram.len()
    }

    pub(crate) const fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    pub(crate) const fn censored(&self) -> Option<u64> {
        self.censored
    }

    /// The shortest, if there is one.
    pub(crate) fn min(&self) -> Option<u64> {
        (self.samples() > 0).then(|| self.histogram.min())
    }

    pub(crate) fn max(&self) -> Option<u64> {
        (self.samples() > 0).then(|| self.histogram.max())
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        (self.samples() > 0).then(|| self.histogram.mean())
    }

    /// The time that this share of the samples did not exceed. None if there are too few: at least
    /// one of them must be expected to lie beyond.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<u64> {
        (self.samples() >= needed(quantile)).then(|| self.histogram.value_at_quantile(quantile))
    }

    /// Whether a time may be longer than it seems, because some of those below went on.
    pub(crate) fn is_lower_bound(&self, nanos: u64) -> bool {
        self.censored.is_some_and(|least| least <= nanos)
    }

    /// The shortest time that is not told apart from this one.
    pub(crate) fn shortest_alike(&self, nanos: u64) -> u64 {
        self.histogram.lowest_equivalent(nanos.min(LONGEST))
    }
}

/// How many samples it takes for a quantile to be told.
pub(crate) fn needed(quantile: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
    let needed = (1.0 / (1.0 - quantile)).round() as u64;
    needed
}

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
    pub(crate) lateness: Lateness,
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
        mine.lateness.add(&theirs.lateness);
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lateness {
    /// Messages that were sent, or could have been.
    pub(crate) sends: u64,
    /// Those of them that came more than [`LATE`] after their time.
    pub(crate) missed: u64,
    /// The most that any was late, in nanoseconds.
    pub(crate) lag: u64,
}

/// A send that comes so many nanoseconds after its time is late.
pub(crate) const LATE: u64 = 1_000_000;

impl Lateness {
    pub(crate) fn sent(&mut self, lag: u64, count: u64) {
        self.sends += count;
        self.missed += if lag > LATE { count } else { 0 };
        self.lag = self.lag.max(lag);
    }

    /// Whether more than one send in a hundred was late.
    pub(crate) const fn is_late(&self) -> bool {
        self.missed * 100 > self.sends
    }

    fn add(&mut self, other: &Self) {
        self.sends += other.sends;
        self.missed += other.missed;
        self.lag = self.lag.max(other.lag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_takes_one_sample_beyond_it() {
        let needs = [(0.5, 2), (0.9, 10), (0.99, 100), (0.999, 1000), (0.9999, 10_000)];
        for (quantile, count) in needs {
            let mut times = Times::default();
            for sample in 1..count {
                times.record(sample);
            }
            assert_eq!(times.quantile(quantile), None, "{quantile} of {}", count - 1);
            times.record(count);
            assert!(times.quantile(quantile).is_some(), "{quantile} of {count}");
        }
        let none = Times::default();
        assert_eq!((none.min(), none.mean(), none.max()), (None, None, None));
    }

    #[test]
    fn quantiles_that_reach_unanswered_messages_are_lower_bounds() {
        let mut times = Times::default();
        for sample in 1..=98 {
            times.record(sample * 1000);
        }
        times.record_unanswered(97_500, 2);
        let median = times.quantile(0.5).expect("enough");
        let p99 = times.quantile(0.99).expect("enough");
        assert!(!times.is_lower_bound(median) && times.is_lower_bound(p99), "{p99}");
        let mut sum = Times::default();
        sum.add(&times);
        assert_eq!((sum.samples(), sum.censored()), (100, Some(97_500)));
        sum.clear();
        assert_eq!((sum.samples(), sum.censored()), (0, None));
    }

    #[test]
    fn times_beyond_the_longest_are_not_lost() {
        let mut times = Times::default();
        times.record(u64::MAX);
        assert_eq!(times.samples(), 1);
        assert!(times.max().expect("one") >= LONGEST);
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
