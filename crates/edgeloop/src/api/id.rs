//! The name of a connection, which never comes to mean another one.

use std::fmt;
use std::num::NonZeroU64;

/// The bits of a generation. The others of a connection's state word are its flags.
pub(crate) const GENERATION_BITS: u32 = 40;

/// The bits of a slot: the table has no more than so many.
pub(crate) const SLOT_BITS: u32 = 22;

/// Two bits between the slot and the generation: how many bits of that are the number of the loop.
/// So the generation is at the top, and one shift takes it out.
const WIDTH_SHIFT: u32 = SLOT_BITS;
const GENERATION_SHIFT: u32 = WIDTH_SHIFT + 2;

/// How many bits they are.
const WIDTHS: [u32; 4] = [0, 3, 6, 9];

/// The most loops of a [`LoopGroup`](crate::LoopGroup), 512.
pub const MAX_LOOPS: usize = 1 << WIDTHS[WIDTHS.len() - 1];

/// How the ids of one loop's connections name the loop. Its number is the upper part of their
/// generations, so an id of another loop of the group is that of no connection here, and no look-up
/// has to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoopName {
    /// Which of the [`WIDTHS`] the group has.
    width: usize,
    number: usize,
}

impl LoopName {
    /// A loop that is in no group.
    pub(crate) const ALONE: Self = Self { width: 0, number: 0 };

    /// The loop of this number in a group of this size, at most [`MAX_LOOPS`].
    pub(crate) fn new(number: usize, of: usize) -> Self {
        let width = WIDTHS.iter().position(|&bits| of <= 1 << bits).unwrap_or(WIDTHS.len() - 1);
        Self { width, number }
    }

    /// Its first generation and its last one. Behind the last comes the first.
    pub(crate) const fn generations(self) -> (NonZeroU64, u64) {
        let own = GENERATION_BITS - WIDTHS[self.width];
        let low = (self.number as u64) << own;
        (NonZeroU64::MIN.saturating_add(low), low | ((1 << own) - 1))
    }

    pub(crate) const fn id(self, slot: u32, generation: NonZeroU64) -> ConnectionId {
        ConnectionId((self.width as u64) << WIDTH_SHIFT | ConnectionId::new(slot, generation).0)
    }
}

/// Names one connection of one loop, also among those of a [`LoopGroup`](crate::LoopGroup).
///
/// It is a slot, a generation, which counts the loop's connections, and the loop's
/// [number](Self::loop_number). Slots are used again, generations are not, so an id that outlives
/// its connection never reaches another client's (C17). They begin anew after 2⁴⁰ connections,
/// which takes a loop more than a year at 33,000 a second; an id that is older than that may name
/// another connection, if that has the same slot. The loops of a group have parts of this number:
/// each has 2³⁷ generations in a group of up to 8 loops, 2³⁴ in one of up to 64, 2³¹ in one of up
/// to 512.
///
/// For a loop's own [`Context`](crate::Context), a connection of another loop is one that is gone:
/// sending to it is answered by [`Sent::Gone`](crate::Sent::Gone). A
/// [`GroupHandle`](crate::GroupHandle) reaches those of all loops.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// No connection. Generations begin at 1.
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn new(slot: u32, generation: NonZeroU64) -> Self {
        Self(generation.get() << GENERATION_SHIFT | slot as u64)
    }

    #[inline]
    pub(crate) const fn slot(self) -> u32 {
        (self.0 & ((1 << SLOT_BITS) - 1)) as u32
    }

    #[inline]
    pub(crate) const fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    /// The number of the loop that the connection is of, among those of its group; 0 for a loop
    /// that is in no group.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "it is below MAX_LOOPS")]
    pub const fn loop_number(self) -> usize {
        (self.generation() >> self.counted_bits()) as usize
    }

    /// Of how many bits the loop's count of connections is.
    const fn counted_bits(self) -> u32 {
        GENERATION_BITS - WIDTHS[(self.0 >> WIDTH_SHIFT) as usize % WIDTHS.len()]
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
    /// The generation and the slot, as in `17@3`: connection 17 of this loop, in slot 3. Where the
    /// loop is not the first of its group, its number comes before that, as in `2/17@3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.loop_number();
        if number != 0 {
            write!(f, "{number}/")?;
        }
        let count = self.generation() & ((1 << self.counted_bits()) - 1);
        write!(f, "{count}@{}", self.slot())
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

    #[test]
    fn c17_an_id_tells_its_loop_and_no_two_loops_share_a_generation() {
        for count in [1, 2, 3, 8, 9, 64, 65, MAX_LOOPS] {
            let mut above = 0;
            for number in 0..count {
                let name = LoopName::new(number, count);
                let (first, last) = name.generations();
                assert!(above < first.get() && first.get() < last, "{number} of {count}");
                assert!(last < 1 << GENERATION_BITS);
                above = last;
                let last = NonZeroU64::new(last).expect("not 0");
                for (generation, slot) in [(first, 0), (last, (1 << SLOT_BITS) - 1)] {
                    let id = name.id(slot, generation);
                    assert_eq!((id.slot(), id.non_zero()), (slot, generation));
                    assert_eq!(id.loop_number(), number);
                    assert_eq!(ConnectionId::from_bits(id.to_bits()), id);
                }
            }
        }
        let (first, _) = LoopName::new(2, 4).generations();
        assert_eq!(LoopName::new(2, 4).id(3, first).to_string(), "2/1@3");
        assert_eq!(LoopName::new(0, 4).id(3, NonZeroU64::MIN).to_string(), "1@3");
    }
}
