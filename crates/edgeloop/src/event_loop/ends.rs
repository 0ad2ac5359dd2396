//! Phase 3, for the ends of streams: the peer's, which the handler is told, and ours (C44).

use super::EventLoop;
use super::serve::call;
use crate::api::closed::Reason;
use crate::api::handler::{Action, Handler};
use crate::api::id::ConnectionId;
use crate::api::input::Input;
use crate::connection::Life;
use crate::connection::flags::Flags;
use crate::event_loop::call_context::CallContext;
use crate::event_loop::panics::Called;
use crate::kernel::Kernel;

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// The peer's FIN was read.
    pub(super) fn end_of_input(&mut self, id: ConnectionId) {
        let connection = &mut self.core.connections[id];
        connection.peer_ended();
        if connection.has(Flags::FAILED) {
            return self.core.end(id, Reason::Failed, true);
        }
        if connection.life() == Life::Lingering {
            return self.core.end(id, Reason::Finished, false);
        }
        if connection.has(Flags::RELAYED) {
            self.core.carry_kept(id);
            return self.end_finished(id);
        }
        self.show_end(id);
    }

    /// Tells the handler that the peer's stream has ended, and shows it what is left of that.
    #[cold]
    pub(super) fn show_end(&mut self, id: ConnectionId) {
        let (mut bytes, scanned) = self.take_kept(id);
        let mut input = Input::with_scanned(&bytes, scanned, 0);
        self.core.relays.ending = id;
        let action = call!(self, id, end, &mut input);
        self.core.relays.ending = ConnectionId::NONE;
        let (left, scanned) = input.rest_of(&bytes);
        let relayed = self.core.connections[id].has(Flags::RELAYED);
        if left > 0 && (action == Action::Continue || relayed) {
            // A relay may be made of it, in which it goes first.
            let rest = bytes.split_off(bytes.len() - left);
            self.keep_rest(id, rest, scanned, action);
        } else {
            self.core.connections[id].leave_unread(left);
        }
        if relayed {
            self.core.carry_kept(id);
        }
        self.apply(id, action);
        let connection = &self.core.connections[id];
        if connection.has(Flags::FAILED) && connection.life() == Life::Open {
            // All that can be read is read (C7).
            return self.core.end(id, Reason::Failed, true);
        }
        self.end_finished(id);
    }

    /// Ends our stream if that was asked for before it could be done, and the connection if both
    /// streams are at their ends.
    pub(super) fn end_finished(&mut self, id: ConnectionId) {
        let connection = &self.core.connections[id];
        if connection.life() == Life::Open {
            let next = connection.flushed();
            self.core.follow(id, next);
        }
    }
}
