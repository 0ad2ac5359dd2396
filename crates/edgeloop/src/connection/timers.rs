//! The handler's timers of one connection, by their keys.

use crate::api::time::Time;

/// A timer that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timer {
    pub(crate) at: Time,
    pub(crate) key: u32,
}

/// Those that are set, in the order of their times, and then in that of setting them. Most
/// connections have one at the most, so the first takes no allocation of its own.
#[derive(Debug)]
pub(super) struct Timers {
    /// Never, if none is set.
    first: Timer,
    more: Option<Box<More>>,
}

/// No timer.
const NONE: Timer = Timer { at: Time::NEVER, key: 0 };

/// The others. Behind one pointer, since few connections have any.
#[derive(Debug, Default)]
struct More(Vec<Timer>);

impl Timers {
    pub(super) const NONE: Self = Self { first: NONE, more: None };

    pub(super) fn is_empty(&self) -> bool {
        self.next() == Time::NEVER
    }

    pub(super) fn first(&self) -> Option<Timer> {
        Some(self.first).filter(|_| !self.is_empty())
    }

    /// When the first is due.
    pub(super) const fn next(&self) -> Time {
        self.first.at
    }

    /// Sets the timer of a key, or moves it; [`Time::NEVER`] cancels it.
    pub(super) fn set(&mut self, key: u32, at: Time) {
        self.cancel(key);
        if at == Time::NEVER {
            return;
        }
        let timer = Timer { at, key };
        if self.is_empty() {
            self.first = timer;
            return;
        }
        let More(more) = &mut **self.more.get_or_insert_default();
        if at < self.first.at {
            more.insert(0, std::mem::replace(&mut self.first, timer));
        } else {
            let behind = more.partition_point(|other| other.at <= at);
            more.insert(behind, timer);
        }
    }

    fn cancel(&mut self, key: u32) {
        let is_first = self.first.key == key;
        let Some(more) = &mut self.more else {
            if is_first {
                self.first = NONE;
            }
            return;
        };
        if is_first {
            self.first = more.0.remove(0);
        } else {
            more.0.retain(|timer| timer.key != key);
        }
        if more.0.is_empty() {
            self.more = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u32) -> Time {
        Time::ZERO.after(Duration::from_secs(1) * seconds)
    }

    /// The keys in the order in which they are called.
    fn called(mut timers: Timers) -> Vec<u32> {
        let first = |timers: &mut Timers| {
            let timer = timers.first()?;
            timers.set(timer.key, Time::NEVER);
            Some(timer.key)
        };
        std::iter::from_fn(|| first(&mut timers)).collect()
    }

    fn set(timers: &[(u32, u32)]) -> Timers {
        let mut set = Timers::NONE;
        timers.iter().for_each(|&(key, seconds)| set.set(key, at(seconds)));
        set
    }

    #[test]
    fn one_timer_takes_no_allocation_and_24_bytes() {
        assert!(size_of::<Timers>() == 24);
        assert!(set(&[(7, 1), (7, 2)]).more.is_none());
        let mut timers = set(&[(7, 1), (8, 2)]);
        timers.set(7, Time::NEVER);
        assert!(timers.more.is_none() && timers.next() == at(2));
        timers.set(9, Time::NEVER);
        assert!(!timers.is_empty());
        timers.set(8, Time::NEVER);
        assert!(timers.is_empty());
    }

    #[test]
    fn c41_timers_are_called_in_the_order_of_their_times_then_of_setting() {
        assert_eq!(called(set(&[(1, 3), (2, 1), (3, 2)])), [2, 3, 1]);
        assert_eq!(called(set(&[(3, 1), (1, 1), (2, 1)])), [3, 1, 2]);
        assert_eq!(called(set(&[(1, 1), (2, 1), (1, 1)])), [2, 1], "setting again moves it behind");
        assert_eq!(called(set(&[(1, 1), (2, 2), (3, 3), (2, 4)])), [1, 3, 2]);
        assert_eq!(called(set(&[(1, 5), (2, 6), (1, 7)])), [2, 1]);
    }
}
