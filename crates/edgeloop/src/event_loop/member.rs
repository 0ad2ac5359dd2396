//! A loop that is one of a group: what it hands on to the others, and what it gets from them.

use std::any::TypeId;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::EventLoop;
use super::mail::{Receiver, number_of};
use crate::api::address::Address;
use crate::api::bounds::Bounds;
use crate::api::handler::{Handler, Stop};
use crate::api::id::ConnectionId;
use crate::api::receive::Receive;
use crate::core::{Agenda, Core};
use crate::kernel::{Kernel, SocketOption};
use crate::mailbox::{Accepted, Handle, Mailbox};

/// What the handlers of a group can receive from other threads: the same for each of its loops.
pub(crate) struct Registry<H: Handler, K: Kernel> {
    receivers: Mutex<Vec<(TypeId, Receiver<H, K>)>>,
}

impl<H: Handler, K: Kernel> Registry<H, K> {
    pub(crate) const fn new() -> Self {
        Self { receivers: Mutex::new(Vec::new()) }
    }

    /// The number of a type of messages.
    pub(crate) fn number_of<M: 'static>(&self) -> usize
    where
        H: Receive<M>,
    {
        number_of::<M, H, K>(&mut self.receivers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn receivers(&self) -> Vec<(TypeId, Receiver<H, K>)> {
        self.receivers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a loop knows of its group.
pub(crate) struct Member<H: Handler, K: Kernel> {
    pub(crate) number: usize,
    /// All loops of the group, this one included.
    pub(crate) handles: Arc<[Handle<K>]>,
    /// Whether it hands on what it accepts to loops that have fewer connections.
    pub(crate) hands_on: bool,
    pub(crate) registry: Arc<Registry<H, K>>,
    /// Stops all of them.
    pub(crate) stop: Arc<dyn Fn(Stop) + Send + Sync>,
    /// Of which loops it chooses next.
    pub(crate) random: u64,
}

impl<H: Handler, K: Kernel> fmt::Debug for Member<H, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<H: Handler, K: Kernel> Member<H, K> {
    /// A stop of one loop is one of all.
    pub(super) fn pass_on(&self, stop: Stop) {
        (self.stop)(stop);
    }

    /// Two loops by chance, not the same one (xorshift64*).
    fn two_loops(&mut self) -> (usize, usize) {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let random = self.random.wrapping_mul(0x2545_F491_4F6C_DD1D);
        let count = self.handles.len();
        let (high, low) = ((random >> 32) as usize, (random & 0xFFFF_FFFF) as usize);
        let one = (high * count) >> 32;
        let other = (low * (count - 1)) >> 32;
        (one, if other < one { other } else { other + 1 })
    }
}

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// A loop of a group, with what was prepared for it.
    pub(crate) fn of_group(
        handler: H,
        core: Core<K>,
        mailbox: Mailbox,
        member: Member<H, K>,
    ) -> Self {
        let mut it = Self::with_core(handler, core, mailbox);
        it.member = Some(Box::new(member));
        it
    }

    /// Who receives messages of the type with this number.
    pub(super) fn receiver(&mut self, number: usize) -> Receiver<H, K> {
        if let Some(member) = &self.member
            && number >= self.receivers.len()
        {
            // Whoever has sent it has asked for the number before.
            self.receivers = member.registry.receivers();
        }
        self.receivers[number].1
    }

    /// Whether a loop with nothing left to serve may end. Another loop of its group may have handed
    /// a connection on to it.
    pub(super) fn may_end(&mut self) -> bool {
        let ends = self.member.is_none() || self.mailbox.close_if_empty();
        if !ends {
            self.core.agenda.add(Agenda::MAIL);
        }
        ends
    }

    /// Takes a connection in that was accepted, or hands it on to a loop of its group that has
    /// fewer: of two that are chosen by chance, so that no loop has to look at all others, and not
    /// all others choose the same one.
    pub(super) fn admit_or_hand_on(
        &mut self,
        socket: K::Socket,
        peer: Address,
        listener: Address,
        limits: Option<Arc<Bounds>>,
    ) {
        // A loop that drains accepts for itself: others may have come to their ends.
        let draining = self.drain.is_some() || self.core.stop.is_some();
        let (Some(member), Some(share), false) = (&mut self.member, &self.core.share, draining)
        else {
            return self.admit(socket, peer, listener, limits);
        };
        if !member.hands_on {
            return self.admit(socket, peer, listener, limits);
        }
        let (one, other) = member.two_loops();
        let to = share.lighter(one, other);
        if to == member.number {
            return self.admit(socket, peer, listener, limits);
        }
        let stream = match self.core.kernel.give_away(socket) {
            Ok(stream) => stream,
            Err(socket) => return self.admit(socket, peer, listener, limits),
        };
        // Counted before it is there, so that a burst sees it.
        share.hand_on(member.number, to);
        let accepted = Box::new(Accepted { stream, peer, listener, limits });
        match member.handles[to].hand_on(accepted) {
            // It's the other loop that has accepted it.
            Ok(()) => self.core.metrics.accepted -= 1,
            Err(accepted) => {
                share.hand_on(to, member.number);
                let Accepted { stream, peer, listener, limits } = *accepted;
                match self.core.kernel.receive(stream) {
                    Ok(socket) => self.admit(socket, peer, listener, limits),
                    Err(_) => self.core.unreserve(),
                }
            }
        }
    }

    /// Takes a connection in that another loop has accepted for this one.
    pub(super) fn take_in(&mut self, accepted: Accepted) {
        let Accepted { stream, peer, listener, limits } = accepted;
        let Ok(socket) = self.core.kernel.receive(stream) else { return self.core.unreserve() };
        if self.core.cuts_off {
            // As if it had been in the backlog still.
            let _ = self.core.kernel.set_option(&socket, SocketOption::ResetOnClose);
            self.core.kernel.close(socket);
            return self.core.unreserve();
        }
        self.core.metrics.accepted += 1;
        self.admit(socket, peer, listener, limits);
        // What is left in the mailbox no callback has sent.
        self.core.current = ConnectionId::NONE;
    }
}
