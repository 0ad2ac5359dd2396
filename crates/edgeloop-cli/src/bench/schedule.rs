//! When messages are due: the open loop's plan, which no answer changes.

use super::payload::scramble;

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

/// The times at which the messages of one connection are due, one after the other, in nanoseconds
/// of the loop's clock.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    begin: u64,
    arrival: Arrival,
    /// Nanoseconds between the messages of this connection, on average.
    gap: f64,
    /// When the first message is due, counted from the beginning.
    first: f64,
    /// How many messages are behind.
    past: u64,
    /// For the next gap at random.
    random: u64,
    /// When the next one is due, counted from the beginning.
    next: f64,
}

impl Schedule {
    /// The part of connection `number` of `all` in a schedule of `rate` messages a second in all.
    pub(crate) fn new(
        arrival: Arrival,
        rate: f64,
        (number, all): (usize, usize),
        seed: u64,
        begin: u64,
    ) -> Self {
        let apart = SECOND / rate;
        let first = apart * to_f64(number as u64);
        let gap = apart * to_f64(all as u64);
        let mut schedule = Self { begin, arrival, gap, first, past: 0, random: seed, next: first };
        if arrival == Arrival::Poisson {
            // Which has no memory, not even of the beginning.
            schedule.next = schedule.random_gap();
        }
        schedule
    }

    /// When the next message is due.
    pub(crate) fn next(&self) -> u64 {
        self.begin.saturating_add(to_u64(self.next))
    }

    /// Goes on to the message behind it.
    pub(crate) fn advance(&mut self) {
        self.past += 1;
        self.next = match self.arrival {
            // Not added up, so that no error does.
            Arrival::Uniform => self.first + self.gap * to_f64(self.past),
            Arrival::Poisson => self.next + self.random_gap(),
        };
    }

    /// Leaves out the messages that are due before `end`, and calls `each` with when and how many:
    /// those that stand evenly in groups, each of which lies before what `until` answers for its first.
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
                let room = until(at).min(end).saturating_sub(at + 1);
                count += to_u64(to_f64(room) / self.gap);
            }
            self.past += count - 1;
            self.advance();
            each(at, count);
        }
    }

    /// An exponential one, by inversion.
    fn random_gap(&mut self) -> f64 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = scramble(self.random);
        // In (0, 1]: the logarithm is finite.
        let unit = (to_f64(word >> 11) + 1.0) / to_f64(1 << 53);
        -unit.ln() * self.gap
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
    use super::*;

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
}
