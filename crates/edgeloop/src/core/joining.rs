//! What callbacks send to one connection within a turn is joined, and leaves together (C45).
//!
//! The first send of a callback goes out at once, straight from its bytes, if nothing of the
//! connection's input is left behind it. What follows, and what is sent to other connections while
//! several events are served, is copied into the connection's joined bytes. They leave before the
//! loop waits, or at once when there are [`JOINED`] of them or a [`LARGE`] send follows.

use super::{Agenda, Core};
use crate::api::handler::Sent;
use crate::api::id::ConnectionId;
use crate::api::time::Time;
use crate::connection::flags::Flags;
use crate::connection::{Connection, Life};
use crate::kernel::Kernel;
use crate::store::output::{PAGE, Released};
use crate::store::pieces::Pieces;

/// How many bytes are joined at the most. Where the high watermark is lower, that many.
const JOINED: usize = 64 * 1024;

/// A send of this many bytes is not worth a copy.
pub(super) const LARGE: usize = 16 * 1024;

/// How many bytes the emptied buffers hold that are kept for the next turn, and how many each may.
/// To grow new ones in every turn costs more than the joining: the allocator gives their pages back
/// to the kernel, and takes them again.
const SPARE: usize = 512 * 1024;
const SPARE_SIZE: usize = 16 * 1024;

/// How many connections the list may have room for that is kept for the next turn.
const LISTED: usize = 4 * 1024;

/// Whose output is joined, and buffers for more.
#[derive(Debug, Default)]
pub(crate) struct Joining {
    /// Connections that have joined output, or had some in this turn.
    connections: Vec<ConnectionId>,
    /// Those that have something queued to leave at the end of the turn, which others share.
    queued: Vec<ConnectionId>,
    spare: Spare,
    /// Where the pieces of a small send are put together.
    small: Vec<u8>,
    /// How many events this turn has, until all are served.
    pub(crate) events: usize,
    /// The connection that has just begun, if nothing was sent on it.
    pub(crate) unsent: Option<ConnectionId>,
}

/// Emptied buffers.
#[derive(Debug, Default)]
struct Spare {
    buffers: Vec<Vec<u8>>,
    /// How many bytes they hold together.
    held: usize,
}

impl Spare {
    fn take(&mut self) -> Vec<u8> {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.held -= buffer.capacity();
        buffer
    }

    fn keep(&mut self, mut buffer: Vec<u8>) {
        let size = buffer.capacity();
        if size <= SPARE_SIZE && self.held + size <= SPARE {
            buffer.clear();
            self.held += size;
            self.buffers.push(buffer);
        }
    }
}

impl Joining {
    /// What is queued for a connection is to leave at the end of the turn.
    pub(super) fn list_queued(&mut self, id: ConnectionId) {
        self.queued.push(id);
    }

    /// Puts pieces together that are so small together that this costs less than to send them from
    /// where they are, and less than the high watermark. They come back by
    /// [`give_back`](Self::give_back).
    pub(crate) fn small(&mut self, pieces: Pieces<'_>, high: usize) -> Option<Vec<u8>> {
        let mut small = std::mem::take(&mut self.small);
        if pieces.len() >= LARGE.min(high) || small.try_reserve(pieces.len()).is_err() {
            self.small = small;
            return None;
        }
        pieces.iter().for_each(|piece| small.extend_from_slice(piece));
        Some(small)
    }

    pub(crate) fn give_back(&mut self, mut small: Vec<u8>) {
        small.clear();
        self.small = small;
    }

    /// Whether nothing was sent on a connection in this turn: nothing moved on it, or it has just
    /// begun.
    pub(crate) fn is_first<S>(&mut self, id: ConnectionId, it: &Connection<S>, now: Time) -> bool {
        let has_begun = self.unsent.take() == Some(id);
        (has_begun || it.active != now) && !it.has(Flags::JOINED)
    }
}

impl<K: Kernel> Core<K> {
    /// Sends from a callback that may not be the only one in this turn to send on this connection.
    /// It goes out at once only if that is known to be the first.
    #[inline(never)]
    pub(crate) fn send_or_join(&mut self, id: ConnectionId, bytes: &[u8]) -> Sent {
        if let Some(connection) = self.connections.get_mut(id) {
            if connection.join_more(bytes) {
                return Sent::Queued;
            }
            // One on which nothing moved in this turn was sent nothing in it.
            let is_first = connection.active != self.now && !connection.has(Flags::JOINED);
            if is_first && self.joining.events <= 1 {
                return self.send(id, bytes);
            }
        }
        self.join_within_limits(id, bytes)
    }

    /// Joins bytes to what else is sent on this connection in this turn. Not a part of its callers,
    /// where it would be in the way of a single message.
    #[inline(never)]
    pub(crate) fn join(&mut self, id: ConnectionId, bytes: &[u8]) -> Sent {
        if let Some(connection) = self.connections.get_mut(id)
            && connection.join_more(bytes)
        {
            return Sent::Queued;
        }
        self.join_within_limits(id, bytes)
    }

    #[inline(never)]
    fn join_within_limits(&mut self, id: ConnectionId, bytes: &[u8]) -> Sent {
        let Some(connection) = self.connections.get_mut(id) else {
            return self.send_carefully(id, bytes);
        };
        // What waits for the peer stays in order, and what can't be sent at all is told.
        let is_open = connection.life() == Life::Open && connection.is_sendable();
        if !is_open || connection.has(Flags::QUEUED) || bytes.is_empty() {
            return self.send_carefully(id, bytes);
        }
        let limits = self.limits.of(id.slot());
        let before = connection.joined();
        let after = before + bytes.len();
        let most = JOINED.min(limits.high);
        if bytes.len() >= LARGE || after > most {
            return self.send_carefully(id, bytes);
        }
        let growth = after.next_multiple_of(PAGE) - before.next_multiple_of(PAGE);
        if connection.queued() + bytes.len() > limits.output
            || (growth > 0 && !self.memory.fits_aside(growth))
        {
            return self.send_carefully(id, bytes);
        }
        if connection.join(bytes, most, || self.joining.spare.take()).is_err() {
            self.refused();
            return self.send_carefully(id, bytes);
        }
        if before == 0 {
            self.joining.connections.push(id);
            self.agenda.add(Agenda::JOINED);
        }
        if growth > 0 {
            self.memory.charge(growth);
            self.limit_allowance();
        }
        Sent::Queued
    }

    /// Sends what is joined on every connection.
    pub(crate) fn send_all_joined(&mut self) {
        let mut connections = std::mem::take(&mut self.joining.connections);
        for id in connections.drain(..) {
            self.send_joined(id);
        }
        let mut queued = std::mem::take(&mut self.joining.queued);
        for id in queued.drain(..) {
            self.flush_queued(id);
        }
        // Sending calls no handler, so that nothing was joined meanwhile.
        if connections.capacity() <= LISTED {
            self.joining.connections = connections;
        }
        if queued.capacity() <= LISTED {
            self.joining.queued = queued;
        }
    }

    /// Sends what is joined on a connection, and keeps what the socket does not take.
    pub(crate) fn send_joined(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if !connection.has(Flags::JOINED) {
            return;
        }
        let joined = connection.take_joined();
        self.release(Released { memory: joined.len().next_multiple_of(PAGE), piped: None });
        // There was room for it, and there is no less now.
        if self.send_carefully(id, &joined) == Sent::Refused {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.lose(joined.len());
            }
            self.out_of_memory(id);
        }
        // While something was joined it could not be idle, and its timer may have been dropped for
        // that, or set for what comes later.
        self.schedule(id);
        self.joining.spare.keep(joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emptied_buffers_are_kept_up_to_a_sum_and_large_ones_are_not() {
        let mut spare = Spare::default();
        spare.keep(Vec::with_capacity(SPARE_SIZE + 1));
        assert_eq!((spare.held, spare.take().capacity()), (0, 0));
        for _ in 0..1000 {
            spare.keep(vec![b'x'; SPARE_SIZE]);
        }
        assert_eq!((spare.held, spare.buffers.len()), (SPARE, SPARE / SPARE_SIZE));
        let buffer = spare.take();
        assert!(buffer.is_empty() && buffer.capacity() == SPARE_SIZE);
        assert_eq!(spare.held, SPARE - SPARE_SIZE);
        spare.keep(buffer);
        assert_eq!(spare.held, SPARE);
    }
}
