//! Two connections joined: what one sends, the other gets (C46).
//!
//! A relay has a direction. What is read of its source is sent to its target, by splice(2) where much
//! comes. The source is not read while the target's queue is above the high watermark; its FIN ends our
//! stream to the target; and where one of the two ends otherwise, so does the other: with a reset behind
//! what it is owed if something broke, else as [`Action::Close`](crate::Action::Close) ends it.

use std::collections::HashMap;

use super::Core;
use crate::closed::Reason;
use crate::connection::{Connection, Life};
use crate::flags::Flags;
use crate::handler::Sent;
use crate::id::ConnectionId;
use crate::kernel::Kernel;

/// Who is relayed with whom.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    /// By slots.
    ends: HashMap<u32, End>,
}

/// What a connection has to do with relays.
#[derive(Debug)]
struct End {
    id: ConnectionId,
    /// Where its input goes, and from where output comes.
    target: ConnectionId,
    source: ConnectionId,
    /// How many bytes of its input have gone to others.
    carried: u64,
}

impl Relays {
    fn get(&self, id: ConnectionId) -> Option<&End> {
        self.ends.get(&id.slot()).filter(|end| end.id == id)
    }

    fn get_mut(&mut self, id: ConnectionId) -> Option<&mut End> {
        self.ends.get_mut(&id.slot()).filter(|end| end.id == id)
    }

    fn of(&mut self, id: ConnectionId) -> &mut End {
        let none = ConnectionId::NONE;
        let new = || End { id, target: none, source: none, carried: 0 };
        self.ends.entry(id.slot()).or_insert_with(new)
    }

    /// Where a connection's input goes.
    pub(crate) fn target(&self, id: ConnectionId) -> Option<ConnectionId> {
        self.get(id).map(|end| end.target).filter(|&target| target != ConnectionId::NONE)
    }

    /// Whose input a connection gets.
    pub(crate) fn source(&self, id: ConnectionId) -> Option<ConnectionId> {
        self.get(id).map(|end| end.source).filter(|&source| source != ConnectionId::NONE)
    }

    /// How many bytes of a connection's input have gone to others.
    pub(crate) fn carried(&self, id: ConnectionId) -> u64 {
        self.get(id).map_or(0, |end| end.carried)
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.ends.remove(&id.slot());
        if self.ends.is_empty() {
            self.ends = HashMap::new();
        }
    }
}

impl<K: Kernel> Core<K> {
    /// Sends what comes from `source` to `target`, from now on.
    pub(crate) fn relay(&mut self, source: ConnectionId, target: ConnectionId) {
        let is_served = |connection: Option<&Connection<_>>| {
            connection.is_some_and(|it| matches!(it.life(), Life::Connecting | Life::Open))
        };
        if !is_served(self.connections.get(source)) {
            self.metrics.stale += 1;
            return;
        }
        let takes = self.connections.get(target).is_some_and(Connection::is_sendable);
        if !takes || self.relays.source(target).is_some_and(|other| other != source) {
            // Nothing of what comes could go anywhere.
            return self.flush_then_reset(source);
        }
        self.unrelay(source);
        self.relays.of(source).target = target;
        self.relays.of(target).source = source;
        let Some(connection) = self.connections.get_mut(source) else { return };
        connection.set(Flags::RELAYED);
        if connection.has(Flags::ENDED) {
            // Nothing more comes that would be read.
            let kept = connection.kept();
            let (bytes, _) = connection.take_kept();
            self.memory.keep(source.slot(), kept, 0);
            if !bytes.is_empty() {
                self.carry(source, &bytes);
            }
            return self.carry_end(source);
        }
        self.resume(source);
        self.list(source);
    }

    /// Ends the relay of a connection's input: its handler is shown what comes from now on. Returns how
    /// many bytes it has carried, if there was one.
    pub(crate) fn unrelay(&mut self, source: ConnectionId) -> Option<u64> {
        let target = self.relays.target(source)?;
        if let Some(end) = self.relays.get_mut(target) {
            end.source = ConnectionId::NONE;
        }
        let end = self.relays.get_mut(source)?;
        end.target = ConnectionId::NONE;
        let carried = end.carried;
        if let Some(connection) = self.connections.get_mut(source) {
            connection.clear(Flags::RELAYED | Flags::STREAMS);
        }
        // It may have been kept from being read by its target.
        self.resume(source);
        Some(carried)
    }

    /// Where a connection's input goes by a pipe: to its target, or back to itself.
    pub(crate) fn passes_to(&self, id: ConnectionId) -> ConnectionId {
        self.relays.target(id).unwrap_or(id)
    }

    /// Whether a connection is owed output, or for one that is relayed, where its input goes.
    pub(crate) fn is_owed(&self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get(id) else { return false };
        let relayed = connection.has(Flags::RELAYED);
        let target = if relayed { self.relays.target(id) } else { None };
        let target = target.and_then(|target| self.connections.get(target));
        target.unwrap_or(connection).has(Flags::OUTPUT)
    }

    /// Sends input of a relayed connection on.
    pub(crate) fn carry(&mut self, source: ConnectionId, bytes: &[u8]) {
        let Some(target) = self.relays.target(source) else { return };
        let sent = self.send(target, bytes);
        self.carried(source, bytes.len(), sent);
    }

    /// This much of a connection's input went to its target, with this answer.
    pub(crate) fn carried(&mut self, source: ConnectionId, count: usize, sent: Sent) {
        if sent.is_accepted()
            && let Some(end) = self.relays.get_mut(source)
        {
            end.carried += count as u64;
        }
        match sent {
            Sent::Written | Sent::Queued => {}
            Sent::AboveMark => self.pause(source),
            // Its bytes are lost, and nobody may take what follows for the whole.
            Sent::Refused | Sent::Gone => {
                if let Some(connection) = self.connections.get_mut(source) {
                    connection.leave_unread(count);
                }
                self.flush_then_reset(source);
            }
        }
    }

    /// The stream of a relayed connection's peer has ended.
    pub(crate) fn carry_end(&mut self, source: ConnectionId) {
        if let Some(target) = self.relays.target(source) {
            self.finish(target);
        }
    }

    /// A connection ends or is closed. Whoever is relayed with it ends, too, unless all was carried: with a
    /// reset if something broke.
    pub(super) fn part(&mut self, id: ConnectionId, breaks: bool) {
        let none = ConnectionId::NONE;
        let Some(end) = self.relays.get_mut(id) else { return };
        let target = std::mem::replace(&mut end.target, none);
        let source = std::mem::replace(&mut end.source, none);
        if let Some(end) = self.relays.get_mut(target) {
            end.source = none;
        }
        if let Some(end) = self.relays.get_mut(source) {
            end.target = none;
        }
        let has_ended =
            |core: &Self, id| core.connections.get(id).is_none_or(|it| it.has(Flags::ENDED));
        // Behind the end of its stream a connection owes its target nothing, and is owed nothing by a source
        // whose stream has ended.
        let (all_sent, all_got) = (has_ended(self, id) && !breaks, has_ended(self, source));
        for source in [id, source] {
            if let Some(connection) = self.connections.get_mut(source) {
                connection.clear(Flags::RELAYED | Flags::STREAMS);
            }
        }
        for (other, has_all) in [(target, all_sent), (source, all_got)] {
            if other == none || other == id || has_all {
                continue;
            }
            if breaks {
                self.end_with_reset(other, Reason::RelayEnded);
            } else {
                self.begin_close(other, Reason::RelayEnded);
            }
        }
    }
}
