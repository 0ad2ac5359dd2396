//! The two ends of a connection, and how they are woken.

use std::collections::VecDeque;

use super::epoll::ANYTHING;
use crate::epoll::Readiness;

/// The mask of the wake-up for bytes that arrived (`sock_def_readable`).
pub const DATA: Readiness = Readiness::from_bits(Readiness::IN.bits() | Readiness::PRI.bits());

/// What poll(2) says of a stream socket that was never connected (`tcp_poll` in `TCP_CLOSE`).
pub const UNCONNECTED: Readiness =
    Readiness::from_bits(Readiness::OUT.bits() | Readiness::HUP.bits());

/// The mask of the wake-up of one's own end that shutdown(2) makes, whatever it answers
/// (`inet_shutdown`).
pub const SHUT_DOWN: Readiness = ANYTHING;

/// The end that the loop has, or its peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Ours,
    Theirs,
}

impl Side {
    pub const fn other(self) -> Self {
        match self {
            Self::Ours => Self::Theirs,
            Self::Theirs => Self::Ours,
        }
    }
}

/// Hands over the first `count` of the bytes that wait to be received, which stay where they are.
pub(super) fn take_first(bytes: &VecDeque<u8>, count: usize, mut take: impl FnMut(&[u8])) {
    let (first, second) = bytes.as_slices();
    take(&first[..first.len().min(count)]);
    take(&second[..count.saturating_sub(first.len())]);
}

/// Which ends an operation woke, each by a mask that isn't empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use = "who is woken must get an edge"]
pub struct Woken {
    masks: [u32; 2],
}

impl Woken {
    pub(super) fn one(side: Side, mask: Readiness) -> Self {
        let mut woken = Self::default();
        woken.add(side, mask);
        woken
    }

    pub(super) fn add(&mut self, side: Side, mask: Readiness) {
        self.masks[side as usize] |= mask.bits();
    }

    /// What this end's waiters are told that it may be ready for, if it is woken.
    pub fn mask(self, side: Side) -> Option<Readiness> {
        let bits = self.masks[side as usize];
        (bits != 0).then_some(Readiness::from_bits(bits))
    }
}
