//! Times in a histogram, and the figures that are made of them.

use hdrhistogram::{AdditionError, Histogram};

use super::units::to_f64;

/// The quantiles that are told, and their names.
pub(crate) const QUANTILES: [(f64, &str); 6] = [
    (0.5, "p50"),
    (0.9, "p90"),
    (0.95, "p95"),
    (0.99, "p99"),
    (0.999, "p99_9"),
    (0.9999, "p99_99"),
];

/// The longest time that is told apart, in nanoseconds: an hour. Longer ones count as that.
pub(crate) const LONGEST: u64 = 3_600_000_000_000;

/// Figures that a histogram keeps of each value: its resolution is one part in a thousand.
pub(super) const DIGITS: u8 = 3;

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

    /// The mean, in nanoseconds, if there is one. If anything was never answered, it is a lower
    /// bound.
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
        let rank = rank(quantile, self.samples());
        if rank > to_f64(self.answered.len()) {
            return self.max();
        }
        Some(Estimate { nanos: self.ranked(rank), is_lower_bound: false })
    }

    /// As [`Times::quantile`], of the answered ones alone, in nanoseconds.
    pub(crate) fn answered_quantile(&self, quantile: f64) -> Option<u64> {
        let answered = self.answered.len();
        (answered >= needed(quantile)).then(|| self.ranked(rank(quantile, answered)))
    }

    /// The answered time that has this rank, the shortest being the first.
    fn ranked(&self, rank: f64) -> u64 {
        // Half a rank less, so that no rounding leads to the next one.
        self.answered.value_at_quantile((rank - 0.5) / to_f64(self.answered.len()))
    }

    /// The names of the figures that may be larger, because messages were never answered.
    pub(crate) fn lower_bounds(&self) -> Vec<String> {
        let is_bound = |estimate: Option<Estimate>| estimate.is_some_and(|it| it.is_lower_bound);
        let mean = (self.unanswered.count > 0).then_some("mean");
        let quantiles =
            QUANTILES.into_iter().filter(|&(quantile, _)| is_bound(self.quantile(quantile)));
        let min = is_bound(self.min()).then_some("min");
        let max = is_bound(self.max()).then_some("max");
        let names = min.into_iter().chain(mean).chain(quantiles.map(|(_, name)| name)).chain(max);
        names.map(str::to_owned).collect()
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

/// The rank of a quantile among this many samples.
fn rank(quantile: f64, samples: u64) -> f64 {
    let samples = to_f64(samples);
    (quantile * samples).ceil().clamp(1.0, samples.max(1.0))
}

/// How many samples it takes for a quantile to be told.
pub(crate) fn needed(quantile: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
    let needed = (1.0 / (1.0 - quantile)).round() as u64;
    needed
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
        for quantile in [0.5, 0.9, 0.95, 0.99] {
            let alone = answered.quantile(quantile).map(|figure| figure.nanos);
            assert_eq!(times.answered_quantile(quantile), alone, "{quantile}");
        }
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
}
