//! Phase 7, its first part: whose deadlines have come, and in which order they are called.

use super::EventLoop;
use crate::core::Agenda;
use crate::handler::Handler;
use crate::kernel::Kernel;
use crate::time::Time;

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// Takes the slots off the wheel whose deadlines have come, within the budget; the last one to
    /// be called comes first (C41).
    ///
    /// The wheel knows them up to its tick, and has some for an earlier time than they are due,
    /// because a deadline that moves back leaves its timer where it is (C30). What is not due yet,
    /// or only behind others that the budget leaves for a later turn, goes back to the wheel.
    pub(super) fn collect_due(&mut self) {
        let core = &mut self.core;
        let all = core.wheel.advance(core.now, core.config.turn_jobs, &mut self.due);
        let until = core.wheel.reached(all);
        if !all {
            core.agenda.add(Agenda::TIMERS);
        }
        self.due.retain(|&slot| {
            let at = core.deadline_at(slot);
            if at > until && at != Time::NEVER {
                core.wheel.put_back(slot, at);
            }
            at <= until
        });
        self.due.sort_by_cached_key(|&slot| core.deadline_at(slot));
        self.due.reverse();
    }
}
