//! What is measured: histograms and counts, of one second or of a whole run.

use hdrhistogram::{AdditionError, Histogram};

use super::errors::Errors;
use super::results::to_f64;
use super::verify::Verdict;

/// The longest time that is told apart, in nanoseconds: an hour. Longer ones count as that.
pub(crate) const LONGEST: u64 = 3_600_000_000_000;

/// Figures that a histogram keeps of each value: its resolution is one part in a thousand.
const DIGITS: u8 = 3;

/// Times, in nanoseconds. What was never answered ranks above whatever was.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    answered: Histogram<u64>,
    unanswered: Waits,
}

/// For how long those have waited that were never answered, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Waits {
    pub(crate) count: u64,
    pub(crate) shortest: u64,
    pub(crate) longest: u64,
    /// Of all of them.
    pub(crate) sum: u128,
}

/// A figure of some times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Estimate {
    pub(crate) nanos: u64,
    /// It is at least that: it reaches what was never answered.
    pub(crate) is_lower_bound: bool,
}

impl Default for Times {
    fn default() -> Self {
        let bounds = Histogram::new_with_bounds(1, LONGEST, DIGITS);
        let answered = bounds.expect("the bounds are in order");
        Self { answered, unanswered: Waits::default() }
    }
}

impl Times {
    /// Times that were recorded elsewhere.
    ///
    /// # Errors
    ///
    /// When some of them are longer than any that are told apart.
    pub(crate) fn recorded(
        answered: &Histogram<u64>,
        unanswered: Waits,
    ) -> Result<Self, AdditionError> {
        let mut times = Self { unanswered, ..Self::default() };
        times.answered.add(answered)?;
        Ok(times)
    }

    /// Those of what was answered.
    pub(crate) fn answered_alone(&self) -> Self {
        Self { answered: self.answered.clone(), unanswered: Waits::default() }
    }

    #[inline]
    pub(crate) fn record(&mut self, nanos: u64) {
        self.answered.saturating_record(nanos);
    }

    /// So many were given up, each after so long.
    pub(crate) fn record_unanswered(&mut self, nanos: u64, count: u64) {
        let sum = u128::from(nanos) * u128::from(count);
        self.unanswered.add(&Waits { count, shortest: nanos, longest: nanos, sum });
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.answered.add(&other.answered).expect("all have the same bounds");
        self.unanswered.add(&other.unanswered);
    }

    pub(crate) fn clear(&mut self) {
        // It is large, and often nothing was recorded.
        if !self.answered.is_empty() {
            self.answered.reset();
        }
        self.unanswered = Waits::default();
    }

    /// How many there are, answered or not.
    pub(crate) fn samples(&self) -> u64 {
        self.answered.len() + self.unanswered.count
    }

    pub(crate) const fn answered(&self) -> &Histogram<u64> {
        &self.answered
    }

    pub(crate) const fn unanswered(&self) -> Waits {
        self.unanswered
    }

    /// The shortest, if there is one.
    pub(crate) fn min(&self) -> Option<Estimate> {
        if self.answered.is_empty() {
            let nanos = self.unanswered.shortest;
            return (self.unanswered.count > 0).then_some(Estimate { nanos, is_lower_bound: true });
        }
        Some(Estimate { nanos: self.answered.min(), is_lower_bound: false })
    }

    /// The longest, if there is one.
    pub(crate) fn max(&self) -> Option<Estimate> {
        (self.samples() > 0).then(|| {
            let is_lower_bound = self.unanswered.count > 0;
            let nanos = self.answered.max().max(self.unanswered.longest);
            Estimate { nanos, is_lower_bound }
        })
    }

    /// The mean, in nanoseconds, if there is one. If anything was never answered, it is a lower bound.
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.samples() > 0).then(|| {
            let answered = self.answered.mean() * to_f64(self.answered.len());
            (answered + self.unanswered.sum as f64) / to_f64(self.samples())
        })
    }

    /// The time that this share of the samples did not exceed. None if there are too few: at least
    /// one of them must be expected to lie beyond.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<Estimate> {
        (self.samples() >= needed(quantile)).then(|| self.at(quantile)).flatten()
    }

    /// The same however few there are, if there is one.
    pub(crate) fn at(&self, quantile: f64) -> Option<Estimate> {
        let (answered, samples) = (to_f64(self.answered.len()), to_f64(self.samples()));
        let rank = (quantile * samples).ceil().clamp(1.0, samples.max(1.0));
        if rank > answered {
            return self.max();
        }
        // Half a rank less, so that no rounding leads to the next one.
        let nanos = self.answered.value_at_quantile((rank - 0.5) / answered);
        Some(Estimate { nanos, is_lower_bound: false })
    }

    /// The shortest time that is not told apart from this one.
    pub(crate) fn shortest_alike(&self, nanos: u64) -> u64 {
        self.answered.lowest_equivalent(nanos.min(LONGEST))
    }
}

impl Waits {
    fn add(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let first = self.count == 0;
        self.shortest = if first { other.shortest } else { self.shortest.min(other.shortest) };
        self.longest = self.longest.max(other.longest);
        self.count += other.count;
        self.sum += other.sum;
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
    /// Connections that the other end closed with nothing in flight.
    pub(crate) reopened: u64,
    pub(crate) lateness: Lateness,
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

/// By how much the load generator itself delayed messages, and how many: in bands, four to a doubling.
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
    fn what_was_never_answered_ranks_above_whatever_was() {
        let mut times = Times::default();
        for sample in 1..=50 {
            times.record(sample * 1000);
        }
        // They were given up sooner than any was answered.
        times.record_unanswered(10, 49);
        times.record_unanswered(20, 1);
        let at = |quantile| times.quantile(quantile).expect("enough");
        assert_eq!((at(0.5).nanos / 100, at(0.5).is_lower_bound), (500, false));
        assert_eq!((at(0.9).nanos / 100, at(0.9).is_lower_bound), (500, true));
        assert_eq!(times.min().map(|min| min.is_lower_bound), Some(false));
        assert_eq!(times.max().map(|max| max.is_lower_bound), Some(true));
        let answered = times.answered_alone();
        assert_eq!(answered.quantile(0.9).map(|p90| p90.nanos / 100), Some(450));
        assert_eq!(answered.max().map(|max| max.is_lower_bound), Some(false));
        let mean = times.mean().expect("some");
        assert!((mean - (1275.0 * 1000.0 + 510.0) / 100.0).abs() < 20.0, "{mean}");
    }

    #[test]
    fn where_nothing_was_answered_each_figure_is_a_bound() {
        let mut times = Times::default();
        times.record_unanswered(97_500, 2);
        times.record_unanswered(30_000, 1);
        let bound = |nanos| Some(Estimate { nanos, is_lower_bound: true });
        assert_eq!((times.min(), times.max()), (bound(30_000), bound(97_500)));
        assert_eq!(times.quantile(0.5), bound(97_500));
        let mut sum = Times::default();
        sum.add(&times);
        sum.add(&Times::default());
        assert_eq!((sum.samples(), sum.unanswered()), (3, times.unanswered()));
        sum.clear();
        assert_eq!((sum.samples(), sum.at(0.5)), (0, None));
    }

    #[test]
    fn a_rank_is_that_of_the_sample_however_many_there_are() {
        for all in [2, 3, 7, 10, 99, 100, 101, 1000, 9999] {
            let mut times = Times::default();
            (1..=all).for_each(|sample| times.record(sample));
            for (quantile, _) in [(0.5, 0), (0.9, 0), (0.99, 0), (0.999, 0)] {
                let rank = (quantile * to_f64(all)).ceil();
                let nanos = times.at(quantile).expect("some").nanos;
                assert!(
                    (to_f64(nanos) - rank).abs() <= rank / 500.0,
                    "{quantile} of {all}: {nanos}"
                );
            }
        }
    }

    #[test]
    fn times_beyond_the_longest_are_not_lost() {
        let mut times = Times::default();
        times.record(u64::MAX);
        assert_eq!(times.samples(), 1);
        assert!(times.max().expect("one").nanos >= LONGEST);
    }

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
