//! The connections with queued output, in the order in which they last took some of it (C11).

use crate::time::Time;
use crate::wheel::lists::Lists;

/// The one list.
const ALL: u32 = 0;

/// How many of those that have taken nothing for longest are compared by what they hold.
const COMPARED: usize = 16;

/// Slots of connections, whoever has taken nothing for longest first. Each step is O(1).
pub(crate) struct Laggards {
    lists: Lists,
}

impl Laggards {
    pub(crate) fn new() -> Self {
        Self { lists: Lists::new(ALL + 1) }
    }

    /// The connection in this slot has taken some of its output, or has its first queued.
    pub(crate) fn progressed(&mut self, slot: u32, now: Time) {
        if self.lists.tick(slot).is_some() {
            self.lists.unlink(slot);
        } else {
            self.lists.claim(slot);
        }
        // Time::NEVER would stand for no time.
        self.lists.link(ALL, slot, now.as_nanos().min(Time::NEVER.as_nanos() - 1));
    }

    /// Nothing is queued for it any more.
    pub(crate) fn settled(&mut self, slot: u32) {
        if self.lists.tick(slot).is_some() {
            self.lists.unlink(slot);
            self.lists.release(slot);
        }
    }

    /// Who is to be given up for others: of those that have taken nothing for longest, the one that
    /// holds most; never the one in the slot `spared`.
    pub(crate) fn worst(&self, spared: u32, held: impl Fn(u32) -> usize) -> Option<u32> {
        let mut worst = None;
        let others = self.lists.iter(ALL).filter(|&slot| slot != spared);
        for slot in others.take(COMPARED) {
            let held = held(slot);
            if worst.is_none_or(|(most, _)| held > most) {
                worst = Some((held, slot));
            }
        }
        worst.map(|(_, slot)| slot)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO.after(Duration::from_secs(seconds))
    }

    #[test]
    fn c11_of_those_without_progress_for_longest_the_one_that_holds_most_is_given_up() {
        let mut laggards = Laggards::new();
        assert_eq!(laggards.worst(0, |_| 1), None);
        for slot in 0..100 {
            laggards.progressed(slot, at(slot.into()));
        }
        assert_eq!(laggards.worst(u32::MAX, |_| 1), Some(0), "the first of equals");
        assert_eq!(laggards.worst(0, |_| 1), Some(1), "nobody is given up for itself");
        assert_eq!(laggards.worst(u32::MAX, |slot| slot as usize), Some(15), "not the hundredth");
        laggards.progressed(0, at(200));
        laggards.settled(1);
        assert_eq!(laggards.worst(u32::MAX, |_| 1), Some(2));
        for slot in 0..100 {
            laggards.settled(slot);
            laggards.settled(slot);
        }
        assert_eq!(laggards.worst(u32::MAX, |_| 1), None);
    }
}
