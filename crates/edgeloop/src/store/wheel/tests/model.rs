//! A wheel beside a model that is a map: both do the same operations, and must agree after each.

use super::*;

#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    /// The deadline is that many nanoseconds after the present, or before it.
    Set(u32, i64),
    Cancel(u32),
    /// The present moves on by so many nanoseconds; then comes an `advance` with that budget.
    Advance(u64, usize),
}

impl Op {
    /// One for the ids below `ids`, which limits the budget of an advance if `budget` says so.
    pub(super) fn random(random: &mut Random, ids: u32, budget: bool) -> Self {
        match random.below(8) {
            0..4 => {
                // 2⁴⁸ ns are three days.
                let after = random.magnitude(48).cast_signed();
                Self::Set(random.id(ids), if random.below(8) == 0 { -after } else { after })
            }
            4 => Self::Cancel(random.id(ids)),
            _ => {
                let budget = if budget { random.magnitude(8) } else { u64::MAX };
                let budget = usize::try_from(budget).expect("64 bits");
                Self::Advance(if random.below(2) == 0 { 0 } else { random.magnitude(48) }, budget)
            }
        }
    }
}

/// What the model knows of a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Expected {
    tick: u64,
    /// Counts the settings, because timers of one tick fire in the order in which they were set.
    set: usize,
}

pub(super) struct Twins {
    pub(super) wheel: Wheel,
    model: BTreeMap<u32, Expected>,
    now: Time,
    sets: usize,
    last_fired: u64,
    /// An interrupted cascade may swap timers of one tick, if one is set meanwhile.
    interrupted: bool,
    history: Vec<Op>,
}

impl Twins {
    pub(super) fn new(now: Time) -> Self {
        let wheel = Wheel::new(now);
        let model = BTreeMap::new();
        Self { wheel, model, now, sets: 0, last_fired: 0, interrupted: false, history: Vec::new() }
    }

    #[track_caller]
    pub(super) fn apply(&mut self, op: Op) {
        self.history.push(op);
        match op {
            Op::Set(id, after) => self.set(id, after),
            Op::Cancel(id) => {
                self.wheel.cancel(id);
                self.model.remove(&id);
                assert_eq!(self.wheel.deadline(id), None);
            }
            Op::Advance(by, budget) => self.advance(by, budget),
        }
        assert_eq!(self.wheel.len(), self.model.len());
        let earliest = self.model.values().min().map_or(Time::NEVER, |timer| ms(timer.tick));
        assert!(self.wheel.next_wake() <= earliest, "would sleep through {earliest:?}");
        assert_eq!(self.wheel.next_wake() == Time::NEVER, self.model.is_empty());
    }

    #[track_caller]
    fn set(&mut self, id: u32, after: i64) {
        let deadline = Time::from_nanos(self.now.as_nanos().saturating_add_signed(after));
        self.wheel.set(id, deadline);
        let tick = if deadline <= self.now {
            self.now.as_nanos() / 1_000_000
        } else {
            deadline.as_nanos().div_ceil(1_000_000)
        };
        self.sets += 1;
        let fresh = Expected { tick, set: self.sets };
        let timer = self.model.entry(id).or_insert(fresh);
        if timer.tick != tick {
            *timer = fresh;
        }
        assert_eq!(self.wheel.deadline(id), Some(ms(tick)));
    }

    #[track_caller]
    fn advance(&mut self, by: u64, budget: usize) {
        self.now = Time::from_nanos(self.now.as_nanos() + by);
        let tick = self.now.as_nanos() / 1_000_000;
        let mut due = Vec::new();
        let done = self.wheel.advance(self.now, budget, &mut due);
        self.interrupted |= !done;
        assert!(due.len() <= budget, "fired more than the budget");
        let mut last = None;
        for id in due {
            let timer = self.model.remove(&id).expect("what fires is set");
            assert!(timer.tick <= tick, "timer {id} is early");
            assert!(timer.tick >= self.last_fired, "timer {id} fires after a later one");
            assert!(self.interrupted || Some(timer) > last, "timer {id} jumped the queue");
            assert_eq!(self.wheel.deadline(id), None);
            self.last_fired = timer.tick;
            last = Some(timer);
        }
        if done {
            let late = self.model.iter().find(|(_, timer)| timer.tick <= tick);
            assert_eq!(late, None, "late although all was done");
            assert!(self.wheel.next_wake() > self.now, "all is done, and it wakes again");
        } else {
            assert!(self.wheel.next_wake() <= self.now, "work is left, and it sleeps");
        }
    }
}

impl Drop for Twins {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.history.iter().rev().take(12).rev().collect::<Vec<_>>();
            println!("operation {} failed; the last were {last:?}", self.history.len());
        }
    }
}
