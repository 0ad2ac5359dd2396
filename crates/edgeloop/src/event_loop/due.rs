//! Phase 7, its first part: whose deadlines have come, and in which order they are called.

use super::EventLoop;
use crate::api::handler::Handler;
use crate::api::time::Time;
use crate::core::Agenda;
use crate::kernel::Kernel;

/// The connections whose deadlines have come. It outlives a turn that a panic or the budget ends.
#[derive(Debug, Default)]
pub(super) struct DueList {
    /// Slots, each behind the deadline for which it stands here; the next one to be called is the
    /// last.
    entries: Vec<(Time, u32)>,
    /// What is due later than this is the wheel's.
    until: Time,
}

impl DueList {
    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Puts a slot in its place, behind those with the same deadline.
    fn insert(&mut self, at: Time, slot: u32) {
        let place = self.entries.partition_point(|&(other, _)| other > at);
        self.entries.insert(place, (at, slot));
    }
}

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// Takes the slots off the wheel whose deadlines have come, within the budget (C41).
    ///
    /// The wheel knows them up to its tick, and has some for an earlier time than they are due,
    /// because a deadline that moves back leaves its timer where it is (C30). What is not due yet,
    /// or only behind others that the budget leaves for a later turn, goes back to the wheel.
    pub(super) fn collect_due(&mut self) {
        let core = &mut self.core;
        let mut slots = Vec::new();
        let all = core.wheel.advance(core.now, core.config.turn_jobs, &mut slots);
        let until = core.wheel.reached(all);
        if !all {
            core.agenda.add(Agenda::TIMERS);
        }
        for slot in slots {
            let at = core.deadline_at(slot);
            if at <= until {
                self.due.entries.push((at, slot));
            } else if at != Time::NEVER {
                core.wheel.put_back(slot, at);
            }
        }
        self.due.until = until;
        self.due.entries.sort_by_key(|&(at, _)| at);
        self.due.entries.reverse();
    }

    /// Calls those whose deadlines have come in their order, within the budget.
    ///
    /// A connection stands in the list for one deadline at a time. It is put back if that has moved
    /// back a little, and behind a timer of its handler for the next one. What is set in this turn,
    /// if only for now, waits for the next turn, so that there is an end to it (C16); and so does
    /// any other deadline, because what the one before it has begun comes first.
    pub(super) fn call_due(&mut self) {
        for _ in 0..self.core.config.turn_jobs {
            let Some((at, slot)) = self.due.entries.pop() else { break };
            let Some(id) = self.core.connections.at(slot) else { continue };
            // A callback may have moved or cancelled it.
            let is_due = self.core.deadline_at(slot) <= at;
            let is_next = !is_due || self.timer(id);
            let next = self.core.deadline_at(slot);
            let comes = next <= self.due.until && next < self.core.now;
            if comes && is_next {
                self.due.insert(next, slot);
            } else {
                self.core.schedule(id);
            }
        }
        if self.due.is_empty() {
            self.due.entries = Vec::new();
        } else {
            self.core.agenda.add(Agenda::TIMERS);
        }
    }
}
