//! The connections of a world: who is at their ends, what is under way, and how long that takes.

use std::time::Duration;

use super::World;
use super::chances::Steps;
use crate::api::address::Address;
use crate::api::id::ConnectionId;
use crate::api::time::Time;
use crate::epoll::Token;
use crate::sim::{Link, Side};

/// A connection with its surroundings.
#[derive(Debug)]
pub struct Wire {
    pub link: Link,
    /// Who is at the other end.
    pub(crate) peer: usize,
    /// Our end's, and theirs.
    pub addresses: [Address; 2],
    /// Our descriptor of it, while it is open.
    pub(crate) held: Option<usize>,
    /// An EAGAIN or a short receive is owed an edge.
    pub(crate) owed: bool,
    /// In which turn a receive or a send was last told EAGAIN too early.
    pub(crate) misled: u64,
    /// How long what is sent takes at least to arrive.
    latency: Duration,
    /// When what is under way from our end, and from theirs, arrives at the earliest.
    arrives: [Option<Time>; 2],
    /// In which turn it was last read, and how many bytes of it then.
    read: (u64, usize),
    /// How many bytes of it were read in all.
    pub taken: u64,
    /// Our end was closed so that nothing of it stays in the kernel (`SO_LINGER` {1, 0}).
    pub aborted: bool,
    /// When our kernel last accepted output.
    pub sent_at: Time,
    /// Since when something waits to be read.
    pub(crate) unread_since: Option<Time>,
    /// Its peer wants little, and reads at once.
    pub(crate) light: bool,
    /// When the loop was last told that there is no room, or no memory, for output.
    pub refused_at: Option<Time>,
    /// A send of it has met want of memory.
    pub lacked: bool,
    /// When a send of ours first failed.
    pub failed_at: Option<Time>,
    /// When the loop's own connect came to its end, and well.
    pub made_at: Option<Time>,
    /// How it was when the loop shut its write side.
    pub shut: Option<Shut>,
    /// The loop has asked for it, and was not told yet that it is made. Until then it may close it,
    /// and try another address.
    pub tentative: bool,
    /// It was accepted elsewhere, and given to the loop.
    pub adopted: bool,
    pub known: Known,
}

/// How a connection was when the loop shut its write side.
#[derive(Debug, Clone, Copy)]
pub struct Shut {
    pub at: Time,
    /// Since when something waited to be read of which the loop could know.
    pub unread_since: Option<Time>,
}

/// What a handler that is checked tells of its side of a connection, and faults of theirs, so that
/// a loop that rests can be asked why.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// It is served: it was opened, and nobody has ended it.
    pub served: bool,
    /// The handler has paused reading.
    pub paused: bool,
    /// How many bytes of output the loop was given and has taken.
    pub given: u64,
    /// Where what is read goes at once: the connection is relayed there, or to itself.
    pub target: Option<usize>,
    /// Another one is, or was, relayed to it, or itself.
    pub fed: bool,
    /// The last receive, or the last send, found no memory, and is to be tried again later.
    pub(crate) exhausted: [bool; 2],
    /// When the first of the handler's timers comes.
    pub alarm: Option<Time>,
    /// Where reading goes on, if it is not where the loop's settings say.
    pub low_watermark: Option<usize>,
}

impl Wire {
    pub(crate) fn new(link: Link, peer: usize, latency: Duration, addresses: [Address; 2]) -> Self {
        Self {
            link,
            peer,
            addresses,
            held: None,
            owed: false,
            misled: 0,
            latency,
            arrives: [None; 2],
            read: (0, 0),
            taken: 0,
            aborted: false,
            sent_at: Time::ZERO,
            unread_since: None,
            light: false,
            refused_at: None,
            lacked: false,
            failed_at: None,
            made_at: None,
            shut: None,
            tentative: false,
            adopted: false,
            known: Known::default(),
        }
    }

    /// What can happen on it now.
    pub(crate) fn steps(&mut self, now: Time) -> Steps {
        let arrives = |wire: &mut Self, from: Side| {
            let under_way = wire.link.can_deliver(from);
            let arrives = &mut wire.arrives[from as usize];
            if !under_way {
                *arrives = None;
                return false;
            }
            *arrives.get_or_insert_with(|| now.after(wire.latency)) <= now
        };
        Steps::NONE
            .with_if(Steps::DELIVER_OURS, arrives(self, Side::Ours))
            .with_if(Steps::DELIVER_THEIRS, arrives(self, Side::Theirs))
            .with_if(Steps::EDGE, self.owed)
    }

    /// When something arrives that has not yet.
    pub(crate) fn next_arrival(&self, now: Time) -> Time {
        let later = self.arrives.into_iter().flatten().filter(|&at| at > now);
        later.min().unwrap_or(Time::NEVER)
    }

    /// Something has arrived; what follows it takes its own time.
    pub(crate) fn has_arrived(&mut self, from: Side, now: Time) {
        self.arrives[from as usize] = None;
        if self.link.unread(Side::Ours) > 0 {
            self.unread_since.get_or_insert(now);
        }
    }

    /// The loop shuts its write side, in a turn that began then.
    pub(crate) fn is_shut(&mut self, now: Time, turn_began: Time, turn: u64) {
        // Of what came since then it can't know, nor of what the kernel kept from it.
        let known = !self.owed && self.misled != turn && !self.known.exhausted[0];
        let unread_since = self.unread_since.filter(|&since| known && since < turn_began);
        self.shut = Some(Shut { at: now, unread_since });
    }

    /// `count` bytes were read. Returns how many were read in this turn.
    pub(crate) fn has_read(&mut self, turn: u64, count: usize) -> usize {
        self.taken += count as u64;
        if self.link.unread(Side::Ours) == 0 {
            self.unread_since = None;
        }
        self.read = if self.read.0 == turn { (turn, self.read.1 + count) } else { (turn, count) };
        self.read.1
    }

    /// How much output of it the loop holds.
    fn queued(&self) -> u64 {
        self.known.given.saturating_sub(self.link.accepted(Side::Ours))
    }

    /// Why the loop should not rest, if it should not: it has seen the edge of all that is here.
    /// What is read goes to `target`, if that is another one. `low` is the low watermark of output.
    pub(crate) fn asks_for_service(
        &self,
        target: Option<&Self>,
        low: usize,
    ) -> Option<&'static str> {
        let Known { served, paused, exhausted, .. } = self.known;
        if !served || self.owed || self.link.is_dead(Side::Ours) {
            return None;
        }
        let readiness = self.link.readiness(Side::Ours);
        if self.queued() > 0 && self.shut.is_none() && readiness.is_writable() && !exhausted[1] {
            return Some("has room for output that the loop holds");
        }
        // Where one of the two ends, so does the other, and it is not read while one has failed.
        let ends = |it: &Self| !it.known.served || it.shut.is_some() || it.failed_at.is_some();
        let is_read = |target: &Self| !ends(target) && self.shut.is_none();
        let has_room = |to: &Self| to.queued() <= to.known.low_watermark.unwrap_or(low) as u64;
        let has_room = target.map_or(has_room(self), |it| is_read(it) && has_room(it));
        let reads = !paused && has_room && !exhausted[0];
        (reads && self.link.unread(Side::Ours) > 0).then_some("has input to be read")
    }
}

impl World {
    /// The loop has told its handler that this connection is made.
    pub fn is_made(&mut self, id: ConnectionId) {
        if let Some(wire) = self.wire_named(id) {
            self.wires[wire].tentative = false;
            self.touch_wire(wire);
        }
    }

    /// The connection that is registered with this id, or was last.
    pub fn wire_named(&self, id: ConnectionId) -> Option<usize> {
        self.registered.get(&Token(id.to_bits())).copied()
    }

    /// The connection with this id, right behind its connect. One whose backlog is full is not
    /// registered.
    pub fn wire_begun(&mut self, id: ConnectionId) -> usize {
        *self.registered.entry(Token(id.to_bits())).or_insert(self.last_dialled)
    }
}
