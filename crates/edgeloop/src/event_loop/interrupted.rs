//! Waits that are interrupted again and again: no answer makes the loop spin (C22).

use std::time::Duration;

use super::EventLoop;
use crate::api::handler::Handler;
use crate::api::notice::Notice;
use crate::api::time::Time;
use crate::kernel::Kernel;

/// So many interruptions in a row, without an event between them, are too many if they come within
/// this time. A profiler's timer interrupts a few thousand waits a second.
const MANY: u32 = 64;
const SHORT: Duration = Duration::from_millis(5);

/// How long the loop then sleeps instead; doubles while that goes on.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The interruptions in a row that the loop's wait has met.
#[derive(Debug)]
pub(super) struct Interruptions {
    /// In which turn the last one was.
    turn: u64,
    count: u32,
    /// When the first of them was counted.
    since: Time,
    pause: Duration,
}

impl Default for Interruptions {
    fn default() -> Self {
        Self { turn: 0, count: 0, since: Time::ZERO, pause: FIRST_PAUSE }
    }
}

impl Interruptions {
    /// The wait of this turn was interrupted, at this time. Returns for how long to sleep, if at
    /// all, and whether that is the first time in a row.
    fn add(&mut self, turn: u64, now: Time) -> Option<(Duration, bool)> {
        if turn != self.turn + 1 {
            *self = Self { since: now, ..Self::default() };
        }
        self.turn = turn;
        self.count += 1;
        if self.count < MANY {
            return None;
        }
        let pause = self.pause;
        let pauses = now.since(self.since) < SHORT;
        (self.count, self.since) = (0, now.after(if pauses { pause } else { Duration::ZERO }));
        self.pause = if pauses { (2 * pause).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
        pauses.then_some((pause, pause == FIRST_PAUSE))
    }
}

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// A signal interrupted the wait, or so the kernel says.
    #[cold]
    pub(super) fn interrupted(&mut self) {
        let now = self.core.kernel.now();
        if let Some((pause, first)) = self.interruptions.add(self.core.metrics.turns, now) {
            if first {
                self.core.tell(Notice::WaitInterrupted);
            }
            self.core.kernel.pause(pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses that so many interruptions lead to, which come so long after each other.
    fn pauses(count: u64, apart: Duration) -> Vec<Duration> {
        let (mut interruptions, mut now) = (Interruptions::default(), Time::ZERO);
        let pauses = (1..=count).filter_map(|turn| {
            now = now.after(apart);
            let pause = interruptions.add(turn, now).map(|(pause, _)| pause);
            now = now.after(pause.unwrap_or_default());
            pause
        });
        pauses.collect()
    }

    #[test]
    fn c22_waits_that_are_interrupted_at_once_again_and_again_give_way_to_sleep() {
        let millis = [1, 2, 4, 8, 16, 32, 64, 100, 100].map(Duration::from_millis);
        assert_eq!(pauses(9 * 64, Duration::from_micros(1)), millis);
    }

    #[test]
    fn c29_signals_at_a_rate_that_programs_have_do_not_delay_the_loop() {
        assert_eq!(pauses(10_000, Duration::from_micros(100)), []);
    }

    #[test]
    fn an_event_between_them_ends_the_row() {
        let mut interruptions = Interruptions::default();
        for row in 0..10 {
            for turn in 0..u64::from(MANY) - 1 {
                assert_eq!(interruptions.add(100 * row + turn + 1, Time::ZERO), None);
            }
        }
    }
}
