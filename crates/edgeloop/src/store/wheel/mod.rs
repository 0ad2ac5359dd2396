//! A hierarchical timing wheel: one timer per id, O(1) to set, move and cancel (C30).
//!
//! It reads no clock. Time comes in with [`Wheel::advance`], and [`Wheel::next_wake`] says when to
//! come back: at the earliest deadline, never merely because a level of the wheel turns (C31).
//!
//! A timer stands on the level of the highest group of six bits in which its tick differs from
//! `elapsed`, in the slot which that group numbers. Three facts follow, and all else rests on them:
//!
//! - lower levels come before higher ones, and lower slots of a level before higher ones, so that
//!   the first occupied slot holds the earliest timer;
//! - `elapsed` may move up to any point before the first occupied slot, and nobody changes place;
//! - once it moves into that slot, the timers in it belong on lower levels: they *cascade*, each at
//!   most once per level.
//!
//! A slot cascades when the earliest timer in it is due, not when the clock enters it. Many timers
//! are moved or cancelled before that, and then nobody ever touches them.

pub(crate) mod lists;
#[cfg(test)]
mod tests;

use crate::api::time::Time;
use lists::Lists;

/// Deadlines are rounded up to this, so that a timer is late by less than it and never early.
const NANOS_PER_TICK: u64 = 1_000_000;

/// The last tick that comes while [`Time`] can still count.
const LAST_TICK: u64 = u64::MAX / NANOS_PER_TICK;

/// Bits of a tick that one level tells apart: 64 slots, one machine word of occupancy.
const BITS: u32 = 6;
const SLOTS: u32 = 1 << BITS;

/// Eight levels cover every tick up to [`LAST_TICK`], so no deadline is too far to have its place.
const LEVELS: u32 = 8;
const _: () = assert!(LAST_TICK < 1 << (BITS * LEVELS));

/// The list behind those of the slots: what is left of a cascade that ran out of budget (C16).
const CASCADING: u32 = LEVELS * SLOTS;

/// Timers by id, ordered by their ticks.
pub(crate) struct Wheel {
    /// The latest time that `advance` was told.
    now: Time,
    /// The tick that all places are relative to: no timer's is before it, and it's not after `now`.
    elapsed: u64,
    /// A bit for every list that isn't empty: a word per level, and one for [`CASCADING`].
    occupied: [u64; LEVELS as usize + 1],
    lists: Lists,
}

impl Wheel {
    /// A wheel without timers at the time `now`.
    pub(crate) fn new(now: Time) -> Self {
        Self {
            now,
            elapsed: ticks_until(now),
            occupied: [0; LEVELS as usize + 1],
            lists: Lists::new(CASCADING + 1),
        }
    }

    /// How many timers are set.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lists.len()
    }

    /// Whether no timer is set.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets the timer of `id`, or moves it. [`Time::NEVER`] cancels it.
    ///
    /// A deadline that is past counts as due now, behind those that were due before: a handler that
    /// keeps setting such timers can't starve the others. `id` is a slot number, below 2³¹.
    pub(crate) fn set(&mut self, id: u32, deadline: Time) {
        let tick = if deadline <= self.now { ticks_until(self.now) } else { first_tick(deadline) };
        self.set_tick(id, tick);
    }

    /// Sets the timer of `id`, which has come out of [`advance`](Self::advance), for a later time,
    /// as if it had been set for that before. So it takes its place in the order of those that are
    /// due although its time may have passed.
    pub(crate) fn put_back(&mut self, id: u32, deadline: Time) {
        self.set_tick(id, first_tick(deadline).max(self.elapsed));
    }

    fn set_tick(&mut self, id: u32, tick: u64) {
        if tick > LAST_TICK {
            return self.cancel(id);
        }
        match self.lists.tick(id) {
            Some(unchanged) if unchanged == tick => return,
            Some(_) => self.unlink(id),
            None => self.lists.claim(id),
        }
        self.link(id, tick);
    }

    /// Cancels the timer of `id`, if there is one.
    pub(crate) fn cancel(&mut self, id: u32) {
        if self.lists.tick(id).is_some() {
            self.unlink(id);
            self.lists.release(id);
        }
    }

    /// When the timer of `id` will fire: its deadline, rounded up to the tick.
    pub(crate) fn deadline(&self, id: u32) -> Option<Time> {
        self.lists.tick(id).map(time_of)
    }

    /// Moves the timers that are due at `now` out of the wheel to the end of `due`, at most
    /// `budget` of them, and says whether that was all. If not, `advance` wants to be called again
    /// in the next turn, without a wait before it (C16).
    ///
    /// They come in the order of their ticks, and those of one tick in the order in which they were
    /// set for it. Moving a timer to a lower level costs as much of the budget as firing it, so
    /// `false` with nothing in `due` is progress too, unless the budget was zero.
    pub(crate) fn advance(&mut self, now: Time, budget: usize, due: &mut Vec<u32>) -> bool {
        self.now = self.now.max(now);
        let now = ticks_until(self.now);
        let mut left = budget;
        while let Some((list, earliest)) = self.earliest()
            && earliest <= now
        {
            if left == 0 {
                return false;
            }
            left -= 1;
            self.elapsed = earliest;
            let list = if list < SLOTS { list } else { self.cascade(list) };
            self.step(list, due);
        }
        self.catch_up(now);
        true
    }

    /// How far the last [`advance`](Self::advance) has come, which has returned `all`. All timers
    /// for earlier times came out of it, and those for just this time; some of these may be left if
    /// it was not all.
    pub(crate) fn reached(&self, all: bool) -> Time {
        time_of(if all { ticks_until(self.now) } else { self.elapsed })
    }

    /// When `advance` must be called next: never later than the earliest deadline, and earlier only
    /// if the timer that stood there was cancelled or moved. [`Time::NEVER`] if no timer is set.
    ///
    /// After an `advance` that returned `true` this is later than its `now`, so such a gap wakes
    /// the loop once, not again and again.
    pub(crate) fn next_wake(&self) -> Time {
        self.earliest().map_or(Time::NEVER, |(_, tick)| time_of(tick))
    }

    /// The first occupied list, and a tick that's not after any timer's.
    fn earliest(&self) -> Option<(u32, u64)> {
        let list = if self.occupied[LEVELS as usize] != 0 {
            CASCADING
        } else {
            let (level, slots) = (0..LEVELS).zip(self.occupied).find(|&(_, slots)| slots != 0)?;
            level * SLOTS + slots.trailing_zeros()
        };
        Some((list, self.lists.min(list)))
    }

    /// Starts to cascade the slot `list`, unless it's what already cascades. The timers wait in a
    /// list of their own, because they are in no valid place from now on, and the budget may end.
    fn cascade(&mut self, list: u32) -> u32 {
        if list != CASCADING {
            self.lists.move_all(list, CASCADING);
            self.mark(list, false);
            self.mark(CASCADING, true);
        }
        CASCADING
    }

    /// Fires the first timer of `list` if its tick has come, else moves it to its place.
    fn step(&mut self, list: u32, due: &mut Vec<u32>) {
        let (id, tick) = self.lists.first(list);
        self.unlink(id);
        if tick == self.elapsed {
            self.lists.release(id);
            due.push(id);
        } else {
            self.link(id, tick);
        }
    }

    /// Lets `elapsed` follow the clock while that changes nobody's place. The nearer it is, the
    /// lower are the levels of new timers, and the fewer cascades are ahead of them.
    fn catch_up(&mut self, now: u64) {
        if self.earliest().is_none_or(|(list, tick)| place(tick, now) == list) {
            self.elapsed = now;
        }
    }

    fn link(&mut self, id: u32, tick: u64) {
        let list = place(tick, self.elapsed);
        self.lists.link(list, id, tick);
        self.mark(list, true);
    }

    fn unlink(&mut self, id: u32) {
        if let Some(emptied) = self.lists.unlink(id) {
            self.mark(emptied, false);
        }
    }

    fn mark(&mut self, list: u32, occupied: bool) {
        let bit = 1 << (list % SLOTS);
        let word = &mut self.occupied[(list / SLOTS) as usize];
        *word = if occupied { *word | bit } else { *word & !bit };
    }
}

/// The list for a timer at `tick`, seen from `elapsed`.
fn place(tick: u64, elapsed: u64) -> u32 {
    // The lowest bit is set for a tick that is `elapsed` itself: it belongs on the lowest level.
    let level = ((tick ^ elapsed) | 1).ilog2() / BITS;
    #[expect(clippy::cast_possible_truncation, reason = "only the lowest six bits count")]
    let slot = (tick >> (level * BITS)) as u32 % SLOTS;
    level * SLOTS + slot
}

/// The ticks that are complete at `time`.
fn ticks_until(time: Time) -> u64 {
    time.as_nanos() / NANOS_PER_TICK
}

/// The first tick that is not before `deadline`.
fn first_tick(deadline: Time) -> u64 {
    deadline.as_nanos().div_ceil(NANOS_PER_TICK)
}

/// When `tick`, not after [`LAST_TICK`], comes.
fn time_of(tick: u64) -> Time {
    Time::from_nanos(tick * NANOS_PER_TICK)
}
