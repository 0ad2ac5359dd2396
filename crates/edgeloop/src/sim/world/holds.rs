//! When the process is stopped, and for how long: by chance.

use std::time::Duration;

use crate::config::Config;
use crate::sim::Random;
use crate::time::Time;

/// The stops of the process in a run.
#[derive(Debug)]
pub(crate) struct Holds {
    /// How many of ten thousand calls are behind a stop, and how many stops there may be.
    often: usize,
    left: usize,
    /// How long each takes at the most.
    longest: Vec<Duration>,
    /// When each began, and how long it took.
    past: Vec<(Time, Duration)>,
}

impl Holds {
    /// It is never stopped.
    pub(crate) const NONE: Self = Self { often: 0, left: 0, longest: Vec::new(), past: Vec::new() };

    /// Few runs have some, which take as long as the timeouts, and longer.
    pub(crate) fn of(random: &mut Random, config: &Config) -> Self {
        let timeouts = [config.idle_timeout, config.write_timeout, config.connect_timeout];
        let longer = timeouts.into_iter().flatten().map(|timeout| timeout + timeout / 4);
        let usual = [Duration::from_millis(3), Duration::from_millis(1500)];
        Self {
            often: random.pick(&[0, 0, 0, 5, 50]),
            left: random.size(1, 5),
            longest: usual.into_iter().chain(longer).collect(),
            past: Vec::new(),
        }
    }

    /// For how long the process is stopped now, if it is.
    pub(super) fn draw(&mut self, random: &mut Random) -> Option<Duration> {
        if self.often == 0 || self.left == 0 || random.below(10_000) >= self.often {
            return None;
        }
        self.left -= 1;
        let longest = self.longest[random.below(self.longest.len())];
        // Most take as long as that.
        Some(if random.chance(700) { longest } else { longest.mul_f64(0.5) })
    }

    pub(super) fn note(&mut self, begins: Time, length: Duration) {
        self.past.push((begins, length));
    }

    /// For how long it was stopped since then.
    pub(crate) fn since(&self, then: Time) -> Duration {
        let of =
            |&(begins, length): &(Time, Duration)| begins.after(length).since(then).min(length);
        self.past.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_counts_as_far_as_it_lies_behind_a_time() {
        let at = |millis| Time::ZERO.after(Duration::from_millis(millis));
        let mut holds = Holds::NONE;
        holds.note(at(10), Duration::from_millis(5));
        holds.note(at(20), Duration::from_millis(1));
        let since = |millis| holds.since(at(millis)).as_millis();
        assert_eq!([0, 10, 12, 15, 21, 30].map(since), [6, 6, 4, 1, 0, 0]);
    }
}
