//! When the process is stopped, and for how long: by chance.

use std::time::Duration;

use crate::api::config::Config;
use crate::api::time::Time;
use crate::sim::Random;

/// Below that a loop takes a stop for a turn that took its time, and its timeouts are no longer.
const TELLING: Duration = Duration::from_millis(600);

/// The stops of the process in a run.
#[derive(Debug)]
pub struct Holds {
    /// How many of ten thousand calls are behind a stop, and how many stops there may be.
    often: usize,
    left: usize,
    /// How many chances of a stop are passed by first.
    skips: usize,
    /// How long each takes at the most.
    longest: Vec<Duration>,
    /// When each ended, and the time since the loop had read the clock.
    past: Vec<(Time, Duration)>,
}

impl Holds {
    /// It is never stopped.
    pub(crate) const NONE: Self =
        Self { often: 0, left: 0, skips: 0, longest: Vec::new(), past: Vec::new() };

    /// Few runs have some, which take as long as the timeouts, and longer.
    pub fn of(random: &mut Random, config: &Config) -> Self {
        let timeouts = [config.bounds.idle, config.bounds.write, config.connect_timeout];
        let longer = timeouts.into_iter().flatten().map(|timeout| timeout + timeout / 4);
        let shortest = timeouts[..2].iter().flatten().copied().chain([config.drain_quiet]).min();
        let often = random.pick(&[0, 0, 0, 5, 50]);
        let usual = [Duration::from_millis(3), Duration::from_millis(1500)];
        Self {
            often: if shortest < Some(TELLING) { 0 } else { often },
            left: random.size(1, 5),
            skips: 0,
            longest: usual.into_iter().chain(longer).collect(),
            past: Vec::new(),
        }
    }

    /// It is stopped once, for so long, behind so many calls and waits.
    #[cfg(test)]
    pub(crate) fn once(skips: usize, length: Duration) -> Self {
        Self { often: 10_000, left: 1, skips, longest: vec![length], past: Vec::new() }
    }

    /// For how long the process is stopped now, if it is.
    pub(super) fn draw(&mut self, random: &mut Random) -> Option<Duration> {
        if self.skips > 0 {
            self.skips -= 1;
            return None;
        }
        if self.often == 0 || self.left == 0 || random.below(10_000) >= self.often {
            return None;
        }
        self.left -= 1;
        let longest = self.longest[random.below(self.longest.len())];
        // Most take as long as that, and one that was asked for does.
        let whole = self.longest.len() == 1 || random.chance(700);
        Some(if whole { longest } else { longest.mul_f64(0.5) })
    }

    /// The loop read the clock last at a time, and the process ran again at another.
    pub(super) fn note(&mut self, read: Time, ends: Time) {
        self.past.push((ends, ends.since(read)));
    }

    /// For how long the loop may think that it was stopped since then. It can't tell when a stop
    /// began, only when it last read the clock.
    pub fn since(&self, then: Time) -> Duration {
        self.past.iter().filter(|past| past.0 > then).map(|past| past.1).sum()
    }

    /// For how long it may think so at the most. It looks after its timers more seldom than it
    /// reads the clock, and counts from there on.
    pub fn since_at_most(&self, then: Time) -> Duration {
        let whole: Duration = self.past.iter().map(|past| past.0.since(then)).sum();
        whole.max(self.since(Time::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_counts_in_full_until_it_has_ended() {
        let at = |millis| Time::ZERO.after(Duration::from_millis(millis));
        let mut holds = Holds::NONE;
        holds.note(at(10), at(15));
        holds.note(at(20), at(21));
        let since = |millis| holds.since(at(millis)).as_millis();
        assert_eq!([0, 10, 12, 15, 21, 30].map(since), [6, 6, 6, 1, 0, 0]);
        let at_most = |millis| holds.since_at_most(at(millis)).as_millis();
        assert_eq!([12, 15, 21].map(at_most), [12, 6, 6]);
    }
}
