//! When messages are due: the open loop's plan, which no answer changes.

use std::sync::Arc;

use super::payload::scramble;
use super::profile::Curve;

const SECOND: f64 = 1e9;

/// How messages are spread over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Arrival {
    /// The same time apart.
    #[default]
    Uniform,
    /// At random, as from a great many callers who know nothing of each other.
    Poisson,
}

/// When messages of all connections together are due.
#[derive(Debug, Clone)]
enum Rate {
    /// Nanoseconds between two of them.
    Constant(f64),
    Profile(Arc<Curve>),
}

impl Rate {
    /// When message `number` is due, counted from the beginning.
    fn time(&self, number: f64) -> f64 {
        match self {
            Self::Constant(apart) => apart * number,
            Self::Profile(curve) => curve.time(number).round(),
        }
    }

    /// About how many are due before this time.
    fn count(&self, time: f64) -> f64 {
        match self {
            Self::Constant(apart) => time / apart,
            Self::Profile(curve) => curve.count(time),
        }
    }
}

/// The times at which the messages of one connection are due, one after the other, in nanoseconds
/// of the loop's clock.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    begin: u64,
    arrival: Arrival,
    rate: Rate,
    /// Which of all connections it is, and how many there are.
    number: u64,
    all: u64,
    /// How many messages are behind.
    past: u64,
    /// For the next gap at random.
    random: u64,
    /// At random: how many of all messages are due before the next one, on average.
    count: f64,
    /// When the next one is due, counted from the beginning.
    next: f64,
}

impl Schedule {
    /// The part of connection `number` of `all` in a schedule of `rate` messages a second in all.
    pub(crate) fn new(
        arrival: Arrival,
        rate: f64,
        of: (usize, usize),
        seed: u64,
        begin: u64,
    ) -> Self {
        Self::at(Rate::Constant(SECOND / rate), arrival, of, seed, begin)
    }

    /// The part of connection `number` of `all` in a schedule whose rate changes.
    pub(crate) fn along(
        curve: Arc<Curve>,
        arrival: Arrival,
        of: (usize, usize),
        seed: u64,
        begin: u64,
    ) -> Self {
        Self::at(Rate::Profile(curve), arrival, of, seed, begin)
    }

    fn at(
        rate: Rate,
        arrival: Arrival,
        (number, all): (usize, usize),
        seed: u64,
        begin: u64,
    ) -> Self {
        let (number, all) = (number as u64, all as u64);
        let (past, random, count, next) = (0, seed, 0.0, 0.0);
        let mut schedule = Self { begin, arrival, rate, number, all, past, random, count, next };
        if arrival == Arrival::Poisson {
            // Which has no memory, not even of the beginning.
            schedule.count = schedule.random_gap();
        }
        schedule.next = schedule.time();
        schedule
    }

    /// When the next message is due.
    pub(crate) fn next(&self) -> u64 {
        self.begin.saturating_add(to_u64(self.next))
    }

    /// Goes on to the message behind it.
    pub(crate) fn advance(&mut self) {
        self.past += 1;
        if self.arrival == Arrival::Poisson {
            self.count += self.random_gap();
        }
        self.next = self.time();
    }

    /// When the message with the present number is due, counted from the beginning.
    fn time(&self) -> f64 {
        match self.arrival {
            // Not added up, so that no error does.
            Arrival::Uniform => self.nth(self.past),
            Arrival::Poisson => self.rate.time(self.count),
        }
    }

    /// When message `past` of this connection is due, if they are spread evenly.
    fn nth(&self, past: u64) -> f64 {
        self.rate.time(to_f64(self.number) + to_f64(past) * to_f64(self.all))
    }

    /// Leaves out the messages that are due before `end`, and calls `each` with when and how many:
    /// those that stand evenly in groups, each of which lies before what `until` answers for its
    /// first.
    pub(crate) fn skip(
        &mut self,
        end: u64,
        until: impl Fn(u64) -> u64,
        mut each: impl FnMut(u64, u64),
    ) {
        while self.next() < end {
            let at = self.next();
            let mut count = 1;
            if self.arrival == Arrival::Uniform {
                count = self.before(until(at).min(end)).saturating_sub(self.past).max(1);
            }
            self.past += count - 1;
            self.advance();
            each(at, count);
        }
    }

    /// How many messages of this connection are due before `end`, if they are spread evenly: at
    /// most one too few.
    fn before(&self, end: u64) -> u64 {
        let due = |past| self.begin.saturating_add(to_u64(self.nth(past)));
        let all = self.rate.count(to_f64(end.saturating_sub(self.begin)));
        let mut count = to_u64((all - to_f64(self.number)) / to_f64(self.all));
        // Rounding may have taken it too far.
        while count > 0 && due(count - 1) >= end {
            count -= 1;
        }
        count
    }

    /// An exponential one, by inversion: how many messages of all there are on average between two
    /// of this connection. Where the rate changes, their times do.
    fn random_gap(&mut self) -> f64 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = scramble(self.random);
        // In (0, 1]: the logarithm is finite.
        let unit = (to_f64(word >> 11) + 1.0) / to_f64(1 << 53);
        -unit.ln() * to_f64(self.all)
    }
}

#[expect(clippy::cast_precision_loss, reason = "exact for 104 days in nanoseconds")]
fn to_f64(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn to_u64(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::profile::Profile;

    fn times(mut schedule: Schedule, count: usize) -> Vec<u64> {
        let mut times = Vec::new();
        for _ in 0..count {
            times.push(schedule.next());
            schedule.advance();
        }
        times
    }

    #[test]
    fn uniform_messages_are_spread_evenly_over_the_connections() {
        let of = |number| Schedule::new(Arrival::Uniform, 1000.0, (number, 4), 0, 5_000);
        assert_eq!(times(of(0), 3), [5_000, 4_005_000, 8_005_000]);
        assert_eq!(times(of(3), 3), [3_005_000, 7_005_000, 11_005_000]);
    }

    #[test]
    fn an_hour_of_an_odd_rate_is_right_to_a_nanosecond() {
        let mut schedule = Schedule::new(Arrival::Uniform, 3.0, (0, 1), 0, 0);
        for _ in 0..3 * 3600 {
            schedule.advance();
        }
        assert!(schedule.next().abs_diff(3_600_000_000_000) <= 1, "{}", schedule.next());
    }

    #[test]
    fn slow_and_fast_rates() {
        let every = |rate| Schedule::new(Arrival::Uniform, rate, (0, 1), 0, 0);
        assert_eq!(times(every(0.1), 2), [0, 10_000_000_000]);
        assert_eq!(times(every(2.5e6), 3), [0, 400, 800]);
    }

    #[test]
    fn random_messages_have_the_rate_on_average_and_a_spread_as_large() {
        let times = times(Schedule::new(Arrival::Poisson, 1000.0, (1, 2), 7, 0), 20_001);
        let gaps: Vec<f64> = times.windows(2).map(|two| to_f64(two[1] - two[0])).collect();
        let mean = gaps.iter().sum::<f64>() / 20_000.0;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / 20_000.0;
        // Two milliseconds each; four standard errors of 20,000 gaps are 2.8 %.
        assert!((mean / 2e6 - 1.0).abs() < 0.028, "{mean}");
        assert!((variance.sqrt() / 2e6 - 1.0).abs() < 0.06, "{}", variance.sqrt());
    }

    #[test]
    fn those_that_are_left_out_are_all_told_of() {
        for arrival in [Arrival::Uniform, Arrival::Poisson] {
            for spread in [0, 1, 3_000_000, 50_000_000] {
                let begin = 1_000;
                let mut schedule = Schedule::new(arrival, 1000.0, (1, 3), 9, begin);
                let whole = times(schedule.clone(), 5000);
                let end = 2_000_000_000;
                let mut count = 0;
                let each = |at, so_many| {
                    assert!(at < end);
                    count += so_many;
                };
                schedule.skip(end, |at| at + spread, each);
                let expected = whole.iter().filter(|&&at| at < end).count() as u64;
                assert_eq!(count, expected, "{arrival:?}, {spread}");
                assert_eq!(schedule.next(), whole[usize::try_from(expected).expect("few")]);
            }
        }
    }

    const STEPS: &str = "1k:1s,0:500ms,500..4k:2s,3k..0:1s";

    fn along(arrival: Arrival, of: (usize, usize), begin: u64) -> Schedule {
        let profile = Profile::parse(STEPS).expect("a profile");
        let curve = Arc::new(profile.curve(Duration::from_millis(500)));
        Schedule::along(curve, arrival, of, 9, begin)
    }

    #[test]
    fn the_messages_of_a_profile_are_spread_evenly_over_the_connections() {
        // 500 in the warm-up, and 1,000, 4,500 and 1,500 in the steps.
        let whole = times(along(Arrival::Uniform, (0, 1), 77), 7500);
        let mut shared: Vec<u64> = (0..3)
            .flat_map(|number| times(along(Arrival::Uniform, (number, 3), 77), 2500))
            .collect();
        shared.sort_unstable();
        assert_eq!(shared, whole);
        assert!(whole.windows(2).all(|two| two[0] < two[1]));
        let after = |nanos: u64| whole.partition_point(|&time| time < 77 + nanos);
        let ends = [500_000_000, 1_500_000_000, 2_000_000_000, 4_000_000_000, 5_000_000_000];
        assert_eq!(ends.map(after), [500, 1500, 1500, 6000, 7500]);
        // At 500 a second and 1,750 more each second, the 1,000th is due after (sqrt(15) - 1) / 3.5
        // s.
        let exact = [(0, 0), (500, 500_000_000), (1499, 1_499_000_000), (1500, 2_000_000_000)];
        for (number, nanos) in exact.into_iter().chain([(2500, 2_820_852_385)]) {
            assert_eq!(whole[number], 77 + nanos, "message {number}");
        }
        let mut over = along(Arrival::Uniform, (0, 1), 77);
        (0..7500).for_each(|_| over.advance());
        assert_eq!(over.next(), u64::MAX, "then there are none");
    }

    #[test]
    fn those_of_a_profile_that_are_left_out_are_all_told_of() {
        for arrival in [Arrival::Uniform, Arrival::Poisson] {
            for spread in [0, 1, 3_000_000, 700_000_000] {
                let mut schedule = along(arrival, (1, 3), 1000);
                let whole = times(schedule.clone(), 2000);
                for end in [900_000_000, 1_700_000_000, 2_100_000_000, 3_500_000_000] {
                    let before = whole.iter().filter(|&&at| at < schedule.next()).count();
                    let mut count = 0;
                    schedule.skip(end, |at| at + spread, |_, so_many| count += so_many);
                    let expected = whole.iter().filter(|&&at| at < end).count() - before;
                    assert_eq!(count, expected as u64, "{arrival:?}, {spread}, {end}");
                    assert_eq!(schedule.next(), whole[before + expected]);
                }
            }
        }
    }

    #[test]
    fn random_messages_of_a_profile_have_its_rates() {
        let all: Vec<u64> = (0..10)
            .flat_map(|number| {
                let profile = Profile::parse("10k:2s,0:1s,0..20k:4s").expect("a profile");
                let curve = Arc::new(profile.curve(Duration::ZERO));
                let schedule =
                    Schedule::along(curve, Arrival::Poisson, (number, 10), number as u64, 0);
                times(schedule, 10_000).into_iter().filter(|&time| time < u64::MAX)
            })
            .collect();
        let between = |begin: u64, end: u64| {
            all.iter().filter(|&&time| (begin..end).contains(&(time / 1_000_000))).count()
        };
        // Five standard deviations of each.
        for (begin, end, expected) in [
            (0, 1000, 10_000.0),
            (1000, 2000, 10_000.0),
            (3000, 5000, 10_000.0),
            (5000, 6000, 12_500.0),
            (6000, 7000, 17_500.0_f64),
        ] {
            let count = to_f64(between(begin, end) as u64);
            assert!((count - expected).abs() < 5.0 * expected.sqrt(), "{begin}: {count}");
        }
        assert_eq!(between(2000, 3000), 0);
    }
}
