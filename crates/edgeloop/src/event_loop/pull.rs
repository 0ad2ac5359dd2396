//! Phase 6, at its end: handlers are asked for more where there is room for it.

use std::collections::VecDeque;

use super::EventLoop;
use super::serve::call;
use crate::api::handler::Handler;
use crate::api::id::ConnectionId;
use crate::core::Agenda;
use crate::event_loop::call_context::CallContext;
use crate::event_loop::panics::Called;
use crate::kernel::Kernel;

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// Asks those whose queues have room, within the budget. Those that become ready meanwhile have
    /// their turn in the next turn.
    pub(super) fn call_pulled(&mut self) {
        let mut jobs = self.core.config.turn_jobs;
        for _ in 0..self.core.pulls.ready.len() {
            if jobs == 0 {
                break;
            }
            let Some(id) = self.core.pulls.ready.pop_front() else { break };
            self.core.pulls.current = id;
            self.pull(id, &mut jobs);
            self.core.pulls.current = ConnectionId::NONE;
        }
        if self.core.pulls.ready.is_empty() {
            self.core.pulls.ready = VecDeque::new();
        } else {
            self.core.agenda.add(Agenda::PULLED);
        }
    }

    /// Asks one again and again, as long as it asks for that, sends something, and has not sent a
    /// turn's worth (C13).
    fn pull(&mut self, id: ConnectionId, jobs: &mut usize) {
        let first = self.core.given(id);
        let mut before = first;
        while self.core.take_pull(id) {
            *jobs = jobs.saturating_sub(1);
            let action = call!(self, id, writable);
            self.apply(id, action);
            let given = self.core.given(id);
            let is_spent = given.saturating_sub(first) >= self.core.config.turn_bytes as u64;
            if self.core.pulls.has(id) && (given <= before || is_spent || *jobs == 0) {
                return self.core.pull_later(id);
            }
            before = given;
        }
    }
}
