//! Two connections joined: what one sends, the other gets (C46).
//!
//! A relay has a direction. What is read of its source is sent to its target, by splice(2) where
//! much comes. The source is not read while the target's queue is above the high watermark,
//! whatever its own queue holds; its FIN ends our stream to the target; and where one of the two
//! ends otherwise, so does the other: with a reset behind what it is owed if something broke, else
//! as [`Action::Close`](crate::Action::Close) ends it.

use std::num::NonZeroU64;

use super::Core;
use super::outgoing::Outgoing;
use crate::api::closed::Reason;
use crate::api::handler::Sent;
use crate::api::id::ConnectionId;
use crate::connection::flags::Flags;
use crate::connection::{Connection, Life};
use crate::kernel::Kernel;
use crate::store::table::Paged;

/// Who is relayed with whom.
#[derive(Debug)]
pub(crate) struct Relays {
    /// By slot, once there is one.
    ends: Option<Paged<End>>,
    /// Whose `end` callback runs: what is left of its input comes before the end.
    pub(crate) ending: ConnectionId,
}

/// What a connection has to do with relays. A proxy has one for each connection, so it is kept
/// small.
#[derive(Debug)]
struct End {
    /// The id of the connection, whose slot is used again.
    owner: NonZeroU64,
    /// Where its input goes, and from where output comes.
    target: ConnectionId,
    source: ConnectionId,
    /// How many bytes of its input have gone to others, and above them [`HELD`] and [`PAUSED`].
    state: u64,
}

/// It is kept from being read by its target's queue. It is read again when it is not, nor paused.
const HELD: u64 = 1 << 63;
/// The handler paused it.
const PAUSED: u64 = 1 << 62;

const _: () = assert!(size_of::<Option<End>>() == 32);

impl End {
    const fn carried(&self) -> u64 {
        self.state & !(HELD | PAUSED)
    }
}

impl Default for Relays {
    fn default() -> Self {
        Self { ends: None, ending: ConnectionId::NONE }
    }
}

impl Relays {
    fn get(&self, id: ConnectionId) -> Option<&End> {
        self.ends.as_ref()?.get(id.slot()).filter(|end| end.owner.get() == id.to_bits())
    }

    fn get_mut(&mut self, id: ConnectionId) -> Option<&mut End> {
        self.ends.as_mut()?.get_mut(id.slot()).filter(|end| end.owner.get() == id.to_bits())
    }

    /// What a connection, which must be in the table, has to do with relays.
    fn of(&mut self, id: ConnectionId) -> &mut End {
        let none = ConnectionId::NONE;
        let ends = self.ends.get_or_insert_default();
        if ends.get(id.slot()).is_none()
            && let Some(owner) = NonZeroU64::new(id.to_bits())
        {
            ends.insert(id.slot(), End { owner, target: none, source: none, state: 0 });
        }
        self.get_mut(id).unwrap_or_else(|| unreachable!("{id} has the slot of another"))
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
        self.get(id).map_or(0, End::carried)
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        if let Some(ends) = &mut self.ends
            && ends.remove(id.slot()).is_some()
            && ends.end() == 0
        {
            // What many made the table grow to goes back (C12).
            self.ends = None;
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
            // What the target waits for never comes.
            if self.connections.get(target).is_some_and(Connection::is_sendable) {
                self.end_with_reset(target, Reason::RelayEnded);
            }
            return;
        }
        let takes = self.connections.get(target).is_some_and(Connection::is_sendable);
        // Nothing is left to come of a stream whose end has gone to its target before.
        let is_over = |it: &Connection<_>| it.has(Flags::PEER_ENDED) && !it.has(Flags::KEPT);
        let is_over = self.connections.get(source).is_some_and(is_over);
        if is_over && self.connections.get(target).is_none_or(|it| it.has(Flags::FINISHED)) {
            return;
        }
        if !takes || self.relays.source(target).is_some_and(|other| other != source) {
            // Nothing of what comes could go anywhere.
            return self.flush_then_reset(source);
        }
        self.unrelay(source);
        let end = self.relays.of(source);
        (end.target, end.state) = (target, end.carried());
        self.relays.of(target).source = source;
        let Some(connection) = self.connections.get_mut(source) else { return };
        connection.begin_relay();
        if connection.has(Flags::PEER_ENDED) {
            // Nothing more comes that would be read. What is kept, and the end, go behind the
            // callback: it may relay the target, too, whose own streams may both be at their ends
            // then, and what is kept of it goes first.
            return self.list(source);
        }
        self.resume(source);
        self.list(source);
    }

    /// Ends the relay of a connection's input: its handler is shown what comes from now on. Returns
    /// how many bytes it has carried, if there was one.
    pub(crate) fn unrelay(&mut self, source: ConnectionId) -> Option<u64> {
        let target = self.relays.target(source)?;
        if let Some(end) = self.relays.get_mut(target) {
            end.source = ConnectionId::NONE;
        }
        let end = self.relays.get_mut(source)?;
        end.target = ConnectionId::NONE;
        let (carried, mark) = (end.carried(), self.mark());
        if let Some(connection) = self.connections.get_mut(source) {
            connection.end_relay(mark);
        }
        self.release_held(source);
        // Whether it waits for memory was its target's business.
        self.feed(source);
        if self.connections[source].owes_end() {
            // No event will come.
            self.list(source);
        }
        Some(carried)
    }

    /// The handler pauses a connection that is relayed, or lets it be read again. Returns whether
    /// its target lets it be read.
    pub(super) fn pause_relayed(&mut self, source: ConnectionId, paused: bool) -> bool {
        let Some(end) = self.relays.get_mut(source) else { return true };
        if paused {
            end.state |= PAUSED;
        } else {
            end.state &= !PAUSED;
        }
        end.state & HELD == 0
    }

    /// Keeps a relayed connection from being read while the queue of its target is above the high
    /// watermark. Returns whether it does. One that has failed is read to its end (C7).
    pub(crate) fn holds(&mut self, source: ConnectionId) -> bool {
        let above =
            |core: &Self, target| core.connections.get(target).is_some_and(Connection::is_above);
        let held = self.relays.target(source).is_some_and(|target| above(self, target));
        if held {
            self.hold(source);
        }
        held && self.connections.get(source).is_some_and(Connection::is_served)
    }

    fn hold(&mut self, source: ConnectionId) {
        let Some(connection) = self.connections.get_mut(source) else { return };
        if connection.is_served()
            && let Some(end) = self.relays.get_mut(source)
        {
            connection.set(Flags::PAUSED);
            end.state |= HELD;
        }
    }

    /// Its target does not keep a connection from being read any more. One that was paused by the
    /// handler stays so.
    pub(crate) fn release_held(&mut self, source: ConnectionId) {
        let Some(end) = self.relays.get_mut(source) else { return };
        let (held, paused) = (end.state & HELD != 0, end.state & PAUSED != 0);
        end.state &= !HELD;
        if held && !paused {
            self.resume(source);
        }
        if self.connections.get(source).is_some_and(|it| it.has(Flags::PEER_ENDED)) {
            self.carry_kept(source);
        }
    }

    /// Whether a connection gets what comes from another that is not read for now, that has its
    /// turn still to come, or that is busy. It is not idle then.
    pub(crate) fn waits_for_source(&self, id: ConnectionId) -> bool {
        let waits = Flags::PAUSED | Flags::STARVED | Flags::RETRY | Flags::LISTED;
        let source = self.relays.source(id).filter(|&source| source != id);
        source
            .and_then(|source| self.connections.get(source))
            .is_some_and(|it| it.has(waits) || it.is_busy())
    }

    /// Whether a connection is owed output, or for one that is relayed, where its input goes.
    pub(crate) fn is_owed(&self, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get(id) else { return false };
        let relayed = connection.has(Flags::RELAYED);
        let target = if relayed { self.relays.target(id) } else { None };
        let target = target.and_then(|target| self.connections.get(target));
        target.unwrap_or(connection).has(Flags::QUEUED)
    }

    /// Sends what is kept of a relayed connection's input on, as far as its target takes it, and
    /// behind it the end of the peer's stream, if that has come.
    pub(crate) fn carry_kept(&mut self, source: ConnectionId) {
        while let Some(connection) = self.connections.get_mut(source)
            && connection.has(Flags::RELAYED)
        {
            if !connection.has(Flags::KEPT) {
                if connection.has(Flags::PEER_ENDED) && self.relays.ending != source {
                    self.carry_end(source);
                }
                return;
            }
            if self.holds(source) {
                return;
            }
            let Some(connection) = self.connections.get_mut(source) else { return };
            let kept = connection.kept();
            let (bytes, scanned) = connection.take_kept();
            // What is not above its mark has room for a read (C10).
            let (piece, rest) = bytes.split_at(bytes.len().min(self.config.read_buffer));
            connection.keep(rest.to_vec(), scanned);
            let left = connection.kept();
            self.memory.account_kept(source.slot(), kept, left);
            self.carry(source, piece);
        }
    }

    /// Sends input of a relayed connection on.
    pub(crate) fn carry(&mut self, source: ConnectionId, bytes: &[u8]) {
        let none = ConnectionId::NONE;
        let Some(end) = self.relays.get_mut(source).filter(|end| end.target != none) else {
            // What was sent before has ended it.
            return self.leave_unread(source, bytes.len());
        };
        let (target, count) = (end.target, bytes.len());
        let sent = match self.connections.get_mut(target) {
            Some(connection)
                if connection.is_plain_but(Flags::RELAYED | Flags::UNIX)
                    && count <= self.spending.allowance
                    && count > 0 =>
            {
                let answer = self.kernel.send(&connection.socket, bytes);
                if answer == Ok(count) {
                    connection.active = self.now;
                    self.spending.allowance -= count;
                    end.state += count as u64;
                    return;
                }
                self.send_on(target, Outgoing::Bytes(bytes), answer)
            }
            _ => self.send_carefully(target, bytes),
        };
        self.carried(source, target, count, sent);
    }

    fn leave_unread(&mut self, id: ConnectionId, count: usize) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.leave_unread(count);
        }
    }

    /// This much of a connection's input went to its target, with this answer.
    pub(crate) fn carried(
        &mut self,
        source: ConnectionId,
        target: ConnectionId,
        count: usize,
        sent: Sent,
    ) {
        // One that has failed accounts for what it can't send; its end, which follows, ends the
        // source. Until then what it has received is read, and goes to the source, if it is
        // relayed.
        let failed =
            |it: &Connection<_>| it.has(Flags::FAILED | Flags::ABORT) && !it.has(Flags::FINISHED);
        let failed = sent == Sent::Gone && self.connections.get(target).is_some_and(failed);
        if sent.is_accepted() || failed {
            if let Some(end) = self.relays.get_mut(source) {
                end.state += count as u64;
            }
            if sent == Sent::AboveMark || failed {
                self.hold(source);
            }
            return;
        }
        // Its bytes are lost, and nobody may take what follows for the whole.
        self.leave_unread(source, count);
        self.flush_then_reset(source);
    }

    /// All of a relayed connection's input was carried, to its end.
    fn carry_end(&mut self, source: ConnectionId) {
        if let Some(target) = self.relays.target(source) {
            self.finish(target);
        }
        // Our own stream may have ended before.
        if let Some(connection) = self.connections.get(source)
            && connection.life() == Life::Open
        {
            let next = connection.flushed();
            self.follow(source, next);
        }
    }

    /// A connection ends or is closed. Whoever is relayed with it ends, too, unless all was
    /// carried: with a reset if something broke.
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
        let has_ended = |core: &Self, id| {
            let ended = |it: &Connection<_>| it.has(Flags::PEER_ENDED) && !it.has(Flags::KEPT);
            core.connections.get(id).is_none_or(ended)
        };
        // Behind the end of its stream a connection owes its target nothing, and is owed nothing by
        // a source whose stream has ended.
        let all_sent = has_ended(self, id) && self.relays.ending != id && !breaks;
        let all_got = has_ended(self, source);
        let mark = self.mark();
        for source in [id, source] {
            if let Some(connection) = self.connections.get_mut(source) {
                connection.end_relay(mark);
            }
        }
        for (other, has_all) in [(target, all_sent), (source, all_got)] {
            if other == none || other == id {
                continue;
            }
            if has_all {
                // The end of a stream may still have been on its way to its target.
                let waits = |it: &Connection<_>| !it.has(Flags::FINISHED);
                if other == target && self.connections.get(other).is_some_and(waits) {
                    self.finish(other);
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c17_an_old_id_does_not_reach_the_relays_of_the_slots_next_owner() {
        let id = |generation| ConnectionId::new(7, NonZeroU64::new(generation).expect("not 0"));
        let mut relays = Relays::default();
        relays.of(id(1)).target = id(1);
        assert_eq!(relays.target(id(1)), Some(id(1)));
        assert_eq!(relays.target(id(2)), None);
        relays.forget(id(1));
        assert!(relays.target(id(1)).is_none() && relays.ends.is_none(), "its memory goes back");
        relays.of(id(2)).state = 5;
        assert_eq!((relays.carried(id(1)), relays.carried(id(2))), (0, 5));
        assert_eq!(relays.carried(ConnectionId::NONE), 0);
    }
}
