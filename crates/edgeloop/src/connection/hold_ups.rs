//! Times in which the loop did not run, which are no proof against a peer (C39).

use std::collections::VecDeque;
use std::time::Duration;

use crate::api::time::Time;

/// How much of each hold-up counts as time that the loop ran: what a turn may take in good order.
/// So a loop that is always late ends silent connections later, but does end them.
const TOLERATED: Duration = Duration::from_millis(100);

/// How many hold-ups are told apart. Beyond that the oldest two count as one.
const MOST: usize = 32;

/// The hold-ups of a loop: stopped by a signal, kept from the processor, or busy in a callback.
#[derive(Debug, Default)]
pub(crate) struct HoldUps {
    /// When each of them ended, and how much of it does not count, the oldest first.
    ended: VecDeque<(Time, Duration)>,
}

impl HoldUps {
    #[cfg(test)]
    pub(crate) const NONE: Self = Self { ended: VecDeque::new() };

    /// The alarm, set for `alarm`, was noticed at `now`. If that is late, the loop did not run for
    /// an unknown part of the time since `before`, when it is known to have run.
    pub(crate) fn noticed(&mut self, alarm: Time, before: Time, now: Time) {
        if !Self::is_telling(alarm, now) {
            return;
        }
        let lost = now.since(before).saturating_sub(TOLERATED);
        if lost.is_zero() {
            return;
        }
        if self.ended.len() == MOST
            && let Some((_, oldest)) = self.ended.pop_front()
            && let Some((_, next)) = self.ended.front_mut()
        {
            *next += oldest;
        }
        self.ended.push_back((now, lost));
    }

    /// How much of the time since `since` does not count. A hold-up in which that lies counts from
    /// there on at the most.
    pub(crate) fn after(&self, since: Time) -> Duration {
        let later = self.ended.iter().rev().take_while(|(at, _)| *at > since);
        later.map(|&(at, lost)| lost.min(at.since(since))).sum()
    }

    /// Whether an alarm that was set for `alarm` shows at `now` that the loop did not run.
    pub(crate) fn is_telling(alarm: Time, now: Time) -> bool {
        now.since(alarm) > TOLERATED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO.after(Duration::from_millis(millis))
    }

    #[test]
    fn c39_only_a_late_alarm_shows_a_hold_up_and_it_counts_from_the_turn_before() {
        let mut hold_ups = HoldUps::default();
        hold_ups.noticed(at(1000), at(0), at(1100));
        assert_eq!(hold_ups.after(at(0)), Duration::ZERO, "in time");
        hold_ups.noticed(at(2000), at(1500), at(5000));
        assert_eq!(hold_ups.after(at(1500)), Duration::from_millis(3400));
        assert_eq!(hold_ups.after(at(5000)), Duration::ZERO, "it was over by then");
        hold_ups.noticed(at(6000), at(6150), at(6200));
        assert_eq!(hold_ups.after(at(5000)), Duration::ZERO, "the turn before was just now");
    }

    /// Found by the simulated kernel (seed 760077): a connection was closed later than it should
    /// be, by all the time that had passed between the last look and its last byte.
    #[test]
    fn c39_a_hold_up_lengthens_nothing_by_more_than_the_time_since() {
        let mut hold_ups = HoldUps::default();
        hold_ups.noticed(at(1400), at(0), at(6500));
        assert_eq!(hold_ups.after(at(0)), Duration::from_millis(6400));
        assert_eq!(hold_ups.after(at(300)), Duration::from_millis(6200));
        assert_eq!(hold_ups.after(at(6499)), Duration::from_millis(1));
    }

    #[test]
    fn c39_no_hold_up_is_forgotten_though_only_some_are_told_apart() {
        let mut hold_ups = HoldUps::default();
        let many = 10 * MOST as u64;
        for second in 0..many {
            hold_ups.noticed(at(second * 1000), at(second * 1000), at(second * 1000 + 600));
        }
        assert_eq!(hold_ups.ended.len(), MOST);
        let half = Duration::from_millis(500);
        assert_eq!(hold_ups.after(at(0)).as_millis(), 500 * u128::from(many));
        assert_eq!(hold_ups.after(at((many - 3) * 1000)), half * 3);
    }
}
