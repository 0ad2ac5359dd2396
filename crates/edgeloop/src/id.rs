//! The name of a connection, which never comes to mean another one.

use std::fmt;
use std::num::NonZeroU32;

/// Names one connection of one loop for as long as the loop lives.
///
/// It is a slot and a generation. Slots are used again, generations are not, so an id that
/// outlives its connection never reaches another client's (C17).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl ConnectionId {
    /// No connection. Generations begin at 1.
    pub(crate) const NONE: Self = Self { slot: 0, generation: 0 };

    /// The generation of a real connection.
    pub(crate) fn non_zero(self) -> NonZeroU32 {
        NonZeroU32::new(self.generation).unwrap_or(NonZeroU32::MIN)
    }

    /// The 64 bits that stand for this connection in epoll: the generation above the slot.
    #[inline]
    #[must_use]
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The inverse of [`to_bits`](Self::to_bits).
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the halves are taken apart on purpose")]
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self { slot: bits as u32, generation: (bits >> 32) as u32 }
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
        write!(f, "{}@{}", self.generation, self.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_keep_slot_and_generation() {
        let id = ConnectionId { slot: 3, generation: u32::MAX };
        assert_eq!(ConnectionId::from_bits(id.to_bits()), id);
        assert_eq!(id.to_string(), "4294967295@3");
    }
}
