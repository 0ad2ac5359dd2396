//! Phase 7: a connection's deadlines, and what the kernel is asked before one of them ends it
//! (C39).
//!
//! An event may wait behind a full batch, or have come while the loop did not run. So what was
//! missed for too long is looked for once more: input by a receive, room by a send, a connection
//! that is being made by asking for its peer.

use super::EventLoop;
use super::serve::call;
use crate::api::closed::Reason;
use crate::api::handler::Handler;
use crate::api::id::ConnectionId;
use crate::api::time::Time;
use crate::connection::flags::Flags;
use crate::connection::{Due, Life};
use crate::core::Agenda;
use crate::epoll::Readiness;
use crate::event_loop::call_context::CallContext;
use crate::event_loop::panics::Called;
use crate::kernel::Kernel;

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// A connection's deadline has come. Returns whether it was a timer of its handler,
    /// and another of them comes next.
    pub(super) fn timer(&mut self, id: ConnectionId) -> bool {
        let connection = &mut self.core.connections[id];
        match connection.due(self.core.now, &self.core.timeouts, self.core.limits.of(id.slot())) {
            Due::Nothing => {}
            // Not at once: it may have been served in this turn (C13).
            Due::Retry if connection.life() == Life::Connecting => self.core.connect_again(id),
            Due::Retry => {
                connection.retry_now(self.core.now);
                self.core.list(id);
            }
            Due::Timer => {
                self.timed_out(id);
                let limits = self.core.limits.of(id.slot());
                return self.core.connections[id].is_timer_next(&self.core.timeouts, limits);
            }
            Due::Idle(reason) => self.quiet(id, reason),
            Due::Stalling => self.look_for_room(id),
            Due::Stalled => self.stalled(id),
            Due::ConnectTimeout => self.connect_overdue(id),
            Due::LingerTimeout => self.linger_overdue(id),
        }
        false
    }

    /// The first of the handler's timers. The bytes that it waits for may be there already.
    fn timed_out(&mut self, id: ConnectionId) {
        let before = self.core.connections[id].first_timer();
        self.look_for_input(id);
        let connection = &mut self.core.connections[id];
        let is_served = matches!(connection.life(), Life::Open | Life::Connecting);
        // One that was set anew meanwhile has its own place among those that are due.
        if let Some(timer) = connection.first_timer()
            && is_served
            && before == Some(timer)
        {
            connection.set_timer(timer.key, Time::NEVER);
            let action = call!(self, id, timer, timer.key);
            self.apply(id, action);
        }
    }

    /// Nothing moved for as long as a connection may be quiet.
    fn quiet(&mut self, id: ConnectionId, reason: Reason) {
        self.look_for_room(id);
        self.look_for_input(id);
        // What is left in the mailbox may be for it.
        if self.quiet_due(id) != Due::Idle(reason) || self.core.agenda.has(Agenda::MAIL) {
            return;
        }
        let waits = self.core.waits_for_source(id) || self.core.pulls.has(id);
        let connection = &mut self.core.connections[id];
        if waits && !connection.has(Flags::QUEUED) {
            connection.active = self.core.now;
            return self.core.schedule(id);
        }
        if connection.has(Flags::QUEUED) {
            // It can't be flushed either: nothing has moved for so long.
            self.core.end(id, reason, true);
        } else {
            self.core.begin_close(id, reason);
        }
    }

    /// Nothing was written for the write timeout.
    fn stalled(&mut self, id: ConnectionId) {
        self.look_for_room(id);
        if self.quiet_due(id) == Due::Stalled {
            self.core.end(id, Reason::WriteTimeout, true);
        }
    }

    /// Whether a connection that is served or flushed is still silent or stalled.
    fn quiet_due(&self, id: ConnectionId) -> Due {
        let connection = &self.core.connections[id];
        if matches!(connection.life(), Life::Open | Life::Flushing) {
            let limits = self.core.limits.of(id.slot());
            connection.quiet_due(self.core.now, &self.core.timeouts, limits)
        } else {
            Due::Nothing
        }
    }

    /// Reads what waits in the socket, though no event has told of it; one receive, because it may
    /// have been served in this turn (C13). What it does not read is read in the next turn.
    fn look_for_input(&mut self, id: ConnectionId) {
        let connection = &mut self.core.connections[id];
        // One on which bytes moved in this turn, or that stands in the ready list, was served: its
        // handler has seen much, and more would exceed its budget.
        let is_read = connection.life() == Life::Open
            && connection.active != self.core.now
            && !connection.has(Flags::NO_READING)
            && !connection.has(Flags::LISTED);
        if is_read {
            connection.set(Flags::READABLE);
            self.read(id, self.buffer.len());
        }
    }

    /// Writes what the socket takes, though no event has told of room: the kernel reports EPOLLOUT
    /// only when a third of the send buffer is free, which a slow reader may not reach in time
    /// (sk_stream_write_space, Linux 6.18).
    fn look_for_room(&mut self, id: ConnectionId) {
        let connection = &mut self.core.connections[id];
        if connection.has(Flags::QUEUED) && connection.is_flushable() {
            connection.look_for_room(self.core.now);
            self.write(id);
            // There may be room to read again, in the next turn.
            self.core.list(id);
        }
    }

    /// An outbound connection was not made in time, as far as is known.
    fn connect_overdue(&mut self, id: ConnectionId) {
        let connection = &mut self.core.connections[id];
        // Only a socket that is connected knows its peer (getpeername(2)).
        let is_made = self.core.kernel.peer_address(&connection.socket).is_ok();
        self.connect_event(id, if is_made { Readiness::INPUT } else { Readiness::NOTHING });
        let limits = self.core.limits.of(id.slot());
        let due = self.core.connections[id].due(self.core.now, &self.core.timeouts, limits);
        if due == Due::ConnectTimeout {
            self.core.connect_failed(id, None);
        }
    }

    /// The peer's end did not come in time, as far as is known.
    fn linger_overdue(&mut self, id: ConnectionId) {
        let connection = &mut self.core.connections[id];
        // One that was read in this turn has had its budget.
        if connection.active != self.core.now {
            connection.set(Flags::READABLE);
            self.read(id, self.core.config.turn_bytes);
        }
        if self.core.connections[id].life() == Life::Lingering {
            self.core.end(id, Reason::Closed, false);
        }
    }
}
