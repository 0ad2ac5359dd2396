//! Who asked to be asked for more output, and what each of them waits for.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use super::{Agenda, Core};
use crate::api::id::ConnectionId;
use crate::connection::flags::Flags;
use crate::connection::{Connection, Life};
use crate::kernel::Kernel;
use crate::store::output::CHUNK;

/// Connections whose handlers want to be asked for more. Few have something to say at a time, so
/// nothing of it stands in the connections.
#[derive(Debug)]
pub(crate) struct Pulls {
    /// Each that is to be asked once.
    asked: HashMap<ConnectionId, Waits, BuildHasherDefault<IdHasher>>,
    /// Those that are asked in the next round.
    pub(crate) ready: VecDeque<ConnectionId>,
    /// Those that wait for memory.
    short: VecDeque<ConnectionId>,
    /// Whose callback runs. It does not stand in a list for what it asks for.
    pub(crate) current: ConnectionId,
}

/// Spreads ids. No peer chooses them.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u64(&mut self, word: u64) {
        // The table takes both ends of the word.
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What a connection that is to be asked waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// To be made, or for its queue to fall.
    Room,
    /// Until others had their turn.
    Turn,
    /// For queued output of all to shrink.
    Memory,
}

impl Default for Pulls {
    fn default() -> Self {
        Self {
            asked: HashMap::default(),
            ready: VecDeque::new(),
            short: VecDeque::new(),
            current: ConnectionId::NONE,
        }
    }
}

impl Pulls {
    /// Whether a connection is to be asked for more.
    pub(crate) fn has(&self, id: ConnectionId) -> bool {
        self.asked.contains_key(&id)
    }

    /// Whether one waits for memory.
    pub(super) fn lacks_memory(&self) -> bool {
        !self.short.is_empty()
    }

    /// A connection is not to be asked any more.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        if self.asked.remove(&id).is_some() && self.asked.is_empty() {
            // What many made the table grow to goes back (C12).
            self.asked.shrink_to(64);
        }
    }
}

impl<S> Connection<S> {
    /// Whether its queue has room for more by its low watermark. What is joined does not count: it
    /// leaves within the turn, and is bounded by itself (C45).
    fn has_room(&self, low: usize) -> bool {
        self.life() == Life::Open && self.queued() - self.joined() <= low
    }
}

impl<K: Kernel> Core<K> {
    /// Has a connection's handler asked for more output once.
    pub(crate) fn pull(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(id) else {
            self.metrics.stale += 1;
            return;
        };
        if self.pulls.has(id) || !self.may_be_asked(id, connection) {
            return;
        }
        if self.pulls.asked.try_reserve(1).is_err() || self.pulls.ready.try_reserve(1).is_err() {
            self.refused();
        }
        self.pulls.asked.insert(id, Waits::Room);
        self.pull_on(id);
    }

    /// Whether more may be sent to a connection, and its handler is who sends.
    fn may_be_asked(&self, id: ConnectionId, connection: &Connection<K::Socket>) -> bool {
        connection.is_sendable() && self.relays.source(id).is_none()
    }

    /// A connection is made, its queue has shrunk, or a pull was asked for. Returns whether its
    /// handler is to be asked for more.
    pub(crate) fn pull_on(&mut self, id: ConnectionId) -> bool {
        let Some(waits) = self.pulls.asked.get_mut(&id) else { return false };
        let connection = self.connections.get(id);
        if *waits == Waits::Room
            && connection.is_some_and(|it| it.has_room(self.limits.of(id.slot()).low))
        {
            *waits = Waits::Turn;
            if self.pulls.current != id {
                self.pulls.ready.push_back(id);
                self.agenda.add(Agenda::PULLED);
            }
        }
        true
    }

    /// Whether a connection's handler is to be asked now. Then it no longer stands in the list.
    pub(crate) fn take_pull(&mut self, id: ConnectionId) -> bool {
        if !self.pulls.has(id) {
            return false;
        }
        let connection = self.connections.get(id).filter(|it| self.may_be_asked(id, it));
        let Some(connection) = connection else {
            self.pulls.forget(id);
            return false;
        };
        let owed = connection.has(Flags::QUEUED);
        if !connection.has_room(self.limits.of(id.slot()).low) {
            self.pulls.asked.insert(id, Waits::Room);
            return false;
        }
        if owed && connection.has(Flags::WRITABLE) {
            // It has sent enough in this turn, and what is left of that comes first (C13).
            self.pull_later(id);
            return false;
        }
        // A queue may grow by as much for a single byte.
        let fits = !owed || self.memory.fits(CHUNK);
        if !fits || (self.memory.is_paused() && (owed || !self.memory.has_room())) {
            self.pulls.asked.insert(id, Waits::Memory);
            self.pulls.short.push_back(id);
            if !owed {
                self.relieve(id);
            }
            return false;
        }
        self.pulls.forget(id);
        true
    }

    /// Has a connection asked in the next round.
    pub(crate) fn pull_later(&mut self, id: ConnectionId) {
        self.pulls.asked.insert(id, Waits::Turn);
        self.pulls.ready.push_back(id);
    }

    /// There is memory again, or some: those that wait for it are looked at once more.
    pub(crate) fn feed_pulls(&mut self) {
        if self.pulls.short.is_empty() || !self.memory.has_room() {
            return;
        }
        self.agenda.add(Agenda::PULLED);
        for id in std::mem::take(&mut self.pulls.short) {
            // It may have been forgotten, or have asked anew.
            if self.pulls.asked.get(&id) == Some(&Waits::Memory) {
                self.pull_later(id);
            }
        }
    }

    /// How many bytes the loop has sent, and holds for this connection.
    pub(crate) fn given(&self, id: ConnectionId) -> u64 {
        self.bytes_out() + self.connections.get(id).map_or(0, Connection::queued) as u64
    }
}
