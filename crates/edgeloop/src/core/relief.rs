//! Room for those who are owed nothing: connections that take none of their output are given up for
//! them at the ceiling (C11).

use std::time::Duration;

use super::Core;
use crate::api::closed::Reason;
use crate::api::id::ConnectionId;
use crate::api::time::Time;
use crate::connection::Connection;
use crate::connection::flags::Flags;
use crate::connection::hold_ups::HoldUps;
use crate::kernel::Kernel;
use crate::store::memory::Memory;

/// How long a connection must have taken nothing of its output before it is given up for others.
const PATIENCE: Duration = Duration::from_millis(250);

/// How many of those that have taken nothing for longest are compared by what they hold.
const COMPARED: usize = 16;

impl<K: Kernel> Core<K> {
    /// Makes sure that the queue of a connection may grow by this much. For one that is owed
    /// nothing others are given up. Returns whether it may.
    pub(super) fn make_room(&mut self, id: ConnectionId, growth: usize) -> bool {
        let connection = &self.connections[id];
        if connection.has(Flags::QUEUED) {
            return self.memory.fits(growth);
        }
        if !self.memory.may_fit_anew(growth) {
            return false;
        }
        self.give_up_while(id, |memory| !memory.fits_anew(growth));
        self.memory.fits_anew(growth)
    }

    /// Makes room for what one read may become, if there is none. If those that could be given up
    /// have taken something just now, that waits until they have not for long enough.
    pub(crate) fn relieve(&mut self, spared: ConnectionId) {
        self.give_up_while(spared, Memory::is_full);
        if self.memory.is_full() {
            self.relief_at = self.now.after(PATIENCE);
            self.remind(self.relief_at);
        } else {
            self.relief_at = Time::NEVER;
        }
    }

    /// Ends connections that take nothing of their output, one by one, until there is room; never
    /// `spared`.
    fn give_up_while(&mut self, spared: ConnectionId, lacks: impl Fn(&Memory) -> bool) {
        while lacks(&self.memory) {
            let Some(id) = self.worst(spared) else { return };
            if !self.takes(id) {
                self.metrics.given_up += 1;
                self.end(id, Reason::OutputShare, true);
            }
        }
    }

    /// Of the connections that have taken nothing for longest, and for long enough, the one that
    /// holds most. Time in which the loop did not run does not count (C39); as long as it is to be
    /// found out how much that is, there is none.
    fn worst(&self, spared: ConnectionId) -> Option<ConnectionId> {
        if HoldUps::is_telling(self.alarm, self.now) {
            return None;
        }
        let others = self.laggards.iter().filter_map(|slot| self.connections.at(slot));
        let others = others.filter(|&id| id != spared);
        let connections = others.map(|id| (id, &self.connections[id]));
        let hold_ups = &self.timeouts.hold_ups;
        let stalled = |connection: &Connection<_>| {
            let since = connection.progress();
            since.after(PATIENCE + hold_ups.after(since)) <= self.now
        };
        let stalled = connections.take_while(|(_, connection)| stalled(connection));
        let held = stalled.take(COMPARED).map(|(id, connection)| (connection.held(), id));
        let most = held.reduce(|most, next| if next.0 > most.0 { next } else { most });
        most.map(|(_, id)| id)
    }

    /// Whether the socket of a connection takes any of its output now. Nobody is given up before
    /// that was tried (C39).
    fn takes(&mut self, id: ConnectionId) -> bool {
        let connection = &mut self.connections[id];
        let before = connection.queued();
        connection.look_for_room(self.now);
        if self.flush(id) {
            // The handler is told in the next turn.
            self.connections[id].set(Flags::FELL);
            self.list(id);
        }
        self.connections[id].queued() != before
    }
}
