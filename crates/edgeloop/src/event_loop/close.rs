//! Phases 8 and 10: stopping, and the ends of connections.

use std::time::Duration;

use super::EventLoop;
use crate::api::closed::{Closed, Reason};
use crate::api::handler::{Handler, LoopContext, Stop};
use crate::api::id::ConnectionId;
use crate::api::time::Time;
use crate::connection::Life;
use crate::connection::flags::Flags;
use crate::core::Agenda;
use crate::event_loop::call_context::CallContext;
use crate::event_loop::panics::Called;
use crate::kernel::Kernel;

/// A loop that is stopping (C37).
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) deadline: Time,
    /// How far the walk over all slots has come that gives everyone the shorter timeouts.
    hastened: u32,
    /// How far the walk has come that cuts off what is left.
    cut: u32,
}

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// Whether the loop runs on though nothing is left to serve, until it is stopped.
    pub(super) fn stays(&self) -> bool {
        let is_member = self.member.is_some() && self.core.listeners.failure.is_none();
        self.core.config.until_stopped || self.core.wake_up != Time::NEVER || is_member
    }

    /// Whether the loop has come to its end.
    pub(super) fn is_done(&mut self) -> bool {
        self.has_nothing_left() && self.may_end()
    }

    /// Phase 8, at its beginning.
    pub(super) fn begin_stop(&mut self) {
        let Some(stop) = self.core.stop.take() else { return };
        if let Some(member) = &self.member {
            member.pass_on(stop);
        }
        let now = self.core.now;
        let deadline = match stop {
            Stop::Now | Stop::Drain(Some(Duration::ZERO)) => now,
            Stop::Drain(None) => Time::NEVER,
            // The process may have been stopped in this turn, before it was asked to end (C39).
            // Time for the peers is counted from the turn, and hold-ups are added to it.
            Stop::Drain(Some(after)) => self.core.kernel.now().after(after),
        };
        let begins = self.drain.is_none();
        match &mut self.drain {
            Some(drain) => drain.deadline = drain.deadline.min(deadline),
            None => {
                self.drain = Some(Drain { deadline, hastened: 0, cut: 0 });
                self.core.timeouts.drain = Some((now, self.core.config.drain_quiet));
                let backlog = self.core.config.backlog;
                #[cfg(feature = "udp")]
                self.core.drain_datagrams();
                for listener in self.core.listeners.iter_mut() {
                    listener.drain(listener.backlog.unwrap_or(backlog));
                }
            }
        }
        if deadline <= now {
            self.core.cuts_off = true;
            self.core.close_listeners();
            #[cfg(feature = "udp")]
            self.core.unbind_all();
        }
        self.core.remind(deadline);
        self.core.agenda.add(Agenda::ACCEPT);
        self.core.agenda.add(Agenda::DRAIN);
        if begins && deadline > now {
            self.core.current = ConnectionId::NONE;
            let mut cx = CallContext::new(&mut self.core, &mut self.started, ConnectionId::NONE);
            let called = Called::new(&mut self.own_panics.is_handlers);
            draining(&mut self.handler, &mut cx);
            called.done();
        }
    }

    /// Phase 8: walks over the connections, a budget's worth in each turn (C16).
    pub(super) fn drain(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        let cuts = drain.deadline <= self.core.now;
        let walked = if cuts { &mut drain.cut } else { &mut drain.hastened };
        let first = *walked;
        let jobs = u32::try_from(self.core.config.turn_jobs).unwrap_or(u32::MAX);
        let last = self.core.connections.end().min(first.saturating_add(jobs));
        *walked = last;
        for slot in first..last {
            if let Some(id) = self.core.connections.at(slot) {
                if cuts { self.cut_off(id) } else { self.hasten(id) }
            }
        }
        if cuts {
            self.core.cuts_off = true;
            self.core.close_listeners();
            #[cfg(feature = "udp")]
            self.core.unbind_all();
        }
        if last < self.core.connections.end() {
            self.core.agenda.add(Agenda::DRAIN);
        }
    }

    /// The loop has come to the end of a stop. It may be given listeners, and run, again.
    pub(super) fn end_stop(&mut self) {
        if self.drain.take().is_some() {
            self.core.timeouts.drain = None;
            self.core.cuts_off = false;
            // Whoever stops the loop does not want to be woken by it.
            self.core.wake_up = Time::NEVER;
        }
    }

    fn hasten(&mut self, id: ConnectionId) {
        let at = self.core.now.after(self.core.config.drain_linger_timeout);
        self.core.connections[id].hasten(at);
        self.core.schedule(id);
    }

    pub(super) fn cut_off(&mut self, id: ConnectionId) {
        match self.core.connections[id].life() {
            // All its output was accepted, and so is its FIN: a reset would destroy them.
            Life::Lingering => self.core.end(id, Reason::Closed, false),
            Life::Connecting | Life::Open | Life::Flushing => {
                self.core.metrics.cut_off += 1;
                self.core.end(id, Reason::CutOff, true);
            }
            Life::Ended => {}
        }
    }

    /// Phase 10.
    pub(super) fn close(&mut self) {
        for _ in 0..self.core.config.turn_jobs {
            // It stays on the list until all is done: a callback may panic on the way (C40).
            let Some(&id) = self.core.closing.front() else { break };
            // A closed callback may have started a connection and ended it at once.
            self.place_sessions();
            self.say_closed(id);
            self.core.closing.pop_front();
            self.core.free(id);
            self.capped = false;
            self.core.descriptor_is_free();
        }
        if self.core.closing.is_empty() {
            // What a mass closing made the lists grow to goes back (C12).
            self.core.closing = std::collections::VecDeque::new();
            if self.core.connections.len() == 0 {
                self.core.ready = std::collections::VecDeque::new();
                self.core.nobody_is_left();
                self.core.shed_pipe();
            }
        } else {
            self.core.agenda.add(Agenda::CLOSING);
        }
    }

    pub(super) fn say_closed(&mut self, id: ConnectionId) {
        let connection = &self.core.connections[id];
        let closed = Closed {
            id,
            reason: connection.reason().unwrap_or(Reason::Closed),
            dropped: connection.dropped(),
            discarded: connection.discarded(),
            peer_ended: connection.has(Flags::PEER_ENDED),
            relayed: self.core.relays.carried(id),
            errno: connection.error().map(rustix::io::Errno::raw_os_error),
            attempts: self.core.take_attempts(id),
        };
        if let Some(session) = self.sessions.remove(id.slot()) {
            self.core.current = id;
            let mut cx = CallContext::new(&mut self.core, &mut self.started, id);
            let called = Called::new(&mut self.own_panics.is_handlers);
            self.handler.closed(&mut cx, session, &closed);
            called.done();
        }
    }
}

/// Narrows the context to what [`Handler::draining`] may use: there is no connection in it.
fn draining<H: Handler>(handler: &mut H, cx: &mut impl LoopContext<H::Session>) {
    handler.draining(cx);
}
