//! One event: whose it is, and what the kernel hints about it.

use super::Readiness;
use rustix::event::epoll;

/// The caller's name for a registration: 64 bits that the kernel keeps and returns as they are.
///
/// All of them are the caller's, with no value set aside. An index, an id, a slot with a
/// generation; better not the descriptor, whose number soon belongs to somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What [`wait`](super::Epoll::wait) learned of one registration.
///
/// The kernel merges what happens between two waits: there is at most one event for a registration
/// in a batch, however often it became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    token: Token,
    readiness: Readiness,
}

impl Event {
    /// An event as the kernel would report it, for simulations and tests.
    #[inline]
    #[must_use]
    pub const fn new(token: Token, readiness: Readiness) -> Self {
        Self { token, readiness }
    }

    /// The token that the registration was given.
    #[inline]
    #[must_use]
    pub const fn token(self) -> Token {
        self.token
    }

    /// What the kernel hints.
    #[inline]
    #[must_use]
    pub const fn readiness(self) -> Readiness {
        self.readiness
    }

    /// From the kernel's record, which is packed on x86-64: its fields are copied, never borrowed.
    #[inline]
    pub(super) fn from_kernel(raw: epoll::Event) -> Self {
        let (flags, data) = (raw.flags, raw.data);
        Self { token: Token(data.u64()), readiness: Readiness::from_bits(flags.bits()) }
    }

    /// The kernel's record of this event.
    #[cfg(any(test, feature = "sim"))]
    #[inline]
    pub(super) fn to_kernel(self) -> epoll::Event {
        epoll::Event {
            flags: epoll::EventFlags::from_bits_retain(self.readiness.bits()),
            data: epoll::EventData::new_u64(self.token.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_record_keeps_all_bits() {
        for token in [0, 1, u64::MAX, 0x8000_0000_0000_0001] {
            for bits in [0, 1, u32::MAX] {
                let event = Event::new(Token(token), Readiness::from_bits(bits));
                assert_eq!(Event::from_kernel(event.to_kernel()), event);
            }
        }
    }
}
