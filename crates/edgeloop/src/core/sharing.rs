//! What is sent to many at once is one copy in memory, which the queues of all share (C11).

use std::sync::Arc;

use super::joining::LARGE;
use super::outgoing::Outgoing;
use super::{Agenda, Core};
use crate::api::handler::Sent;
use crate::api::id::ConnectionId;
use crate::connection::flags::Flags;
use crate::connection::{Connection, Life};
use crate::kernel::Kernel;
use crate::store::output::Released;
use crate::store::shared::Shared;

/// Fewer bytes than this are copied: a reference takes memory, too, and is a piece of its own in a
/// call.
pub(crate) const SHARED: usize = 512;

impl<K: Kernel> Core<K> {
    /// Sends shared bytes to one connection. Like any other send it goes out at once if it is known
    /// to be the first of the turn, and else leaves with the others at its end (C45).
    pub(crate) fn share(&mut self, id: ConnectionId, shared: &Arc<Shared>) -> Sent {
        let bytes = Outgoing::Shared(shared, 0);
        let is_large = bytes.len() >= LARGE;
        let connection = self.connections.get(id).filter(|_| !is_large);
        let Some(connection) = connection else { return self.give(id, bytes, false) };
        if connection.has(Flags::JOINED) {
            return self.join(id, shared.bytes());
        }
        let is_first = self.joining.events <= 1 && connection.active != self.now;
        self.give(id, bytes, !is_first)
    }

    /// Queues bytes, to be written at the end of the turn.
    pub(super) fn queue_for_the_end(&mut self, id: ConnectionId, bytes: Outgoing<'_>) -> Sent {
        let sent = self.queue(id, bytes, false);
        if let Some(connection) = self.connections.get_mut(id)
            && sent.is_accepted()
        {
            // No edge will come.
            connection.set(Flags::WRITABLE);
            self.joining.list_queued(id);
            self.agenda.add(Agenda::JOINED);
        }
        sent
    }

    /// Writes what was queued for the end of the turn.
    pub(crate) fn flush_queued(&mut self, id: ConnectionId) {
        let waits = self.connections.get(id).is_some_and(Connection::wants_flushing);
        if waits
            && self.flush(id)
            && let Some(connection) = self.connections.get_mut(id)
            && connection.life() == Life::Open
        {
            // The handler is told in the next turn.
            connection.set(Flags::FELL);
            self.list(id);
        }
    }

    /// Whoever shared bytes has given them to all.
    pub(crate) fn has_shared(&mut self, shared: Arc<Shared>) {
        let memory = Shared::let_go(shared);
        self.release(Released { memory, piped: None });
    }
}
