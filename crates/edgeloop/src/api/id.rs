//! The name of a connection, which never comes to mean another one.

use std::fmt;
use std::num::NonZeroU64;

/// The bits of a generation. The others of a connection's state word are its flags.
pub(crate) const GENERATION_BITS: u32 = 40;

/// The bits of a slot: the table has no more than so many.
pub(crate) const SLOT_BITS: u32 = 22;

/// Names one connection of one loop.
///
/// It is a slot and a generation, which counts the loop's connections. Slots are used again,
/// generations are not, so an id that outlives its connection never reaches another client's (C17).
/// They begin anew after 2⁴⁰ connections, which takes a loop more than a year at 33,000 a second;
/// an id that is older than that may name another connection, if that has the same slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// No connection. Generations begin at 1.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn new(slot: u32, generation: NonZeroU64) -> Self {
        Self(generation.get() << SLOT_BITS | slot as u64)
    }

    #[inline]
    pub(crate) const fn slot(self) -> u32 {
        (self.0 & ((1 << SLOT_BITS) - 1)) as u32
    }

    #[inline]
    pub(crate) const fn generation(self) -> u64 {
        self.0 >> SLOT_BITS
    }

    /// The generation of a real connection.
    pub(crate) fn non_zero(self) -> NonZeroU64 {
        NonZeroU64::new(self.generation()).unwrap_or(NonZeroU64::MIN)
    }

    /// The 64 bits that stand for this connection in epoll: the generation above the slot.
    #[inline]
    #[must_use]
    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }

    /// The inverse of [`to_bits`](Self::to_bits).
    #[inline]
    #[must_use]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionId({self})")
    }
}

impl fmt::Display for ConnectionId {
    /// The generation and the slot, as in `17@3`: connection 17 of this loop, in slot 3.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.generation(), self.slot())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_keep_slot_and_generation() {
        let generation = NonZeroU64::new((1 << GENERATION_BITS) - 1).expect("not 0");
        for slot in [0, 3, (1 << SLOT_BITS) - 1] {
            let id = ConnectionId::new(slot, generation);
            assert_eq!(ConnectionId::from_bits(id.to_bits()), id);
            assert_eq!((id.slot(), id.non_zero()), (slot, generation));
        }
        assert_eq!(ConnectionId::new(3, generation).to_string(), "1099511627775@3");
    }
}
