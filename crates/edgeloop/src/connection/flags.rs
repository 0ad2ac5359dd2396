//! What the loop remembers about one connection between its events, and the word that it is in.

use std::num::NonZeroU64;

use crate::api::id::GENERATION_BITS;

/// What is remembered about a connection. None of these is set on one of TCP that only echoes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags(u32);

impl Flags {
    /// The kernel may hold input for which no edge will come.
    pub(crate) const READABLE: Self = Self(1);
    /// A short read is not the end: an urgent mark, a FIN or an error may be behind it (C2).
    pub(crate) const TO_EAGAIN: Self = Self(1 << 1);
    /// The socket may take output for which no edge will come.
    pub(crate) const WRITABLE: Self = Self(1 << 2);
    /// Output is queued.
    pub(crate) const QUEUED: Self = Self(1 << 3);
    /// The queue rose above the high watermark and has not fallen to the low one (C10).
    pub(crate) const ABOVE: Self = Self(1 << 4);
    /// The handler paused reading.
    pub(crate) const PAUSED: Self = Self(1 << 5);
    /// Reading waits for memory (C11).
    pub(crate) const STARVED: Self = Self(1 << 6);
    /// Input is kept, and is to be shown again before anything is read.
    pub(crate) const SHOW: Self = Self(1 << 7);
    /// The peer's FIN was read.
    pub(crate) const PEER_ENDED: Self = Self(1 << 8);
    /// A call on the socket failed; nothing can be sent any more (C7).
    pub(crate) const FAILED: Self = Self(1 << 9);
    /// It stands in the loop's ready list.
    pub(crate) const LISTED: Self = Self(1 << 10);
    /// Receiving waits for the kernel to find memory.
    pub(crate) const RETRY: Self = Self(1 << 11);
    /// Its end is an RST of ours.
    pub(crate) const ABORT: Self = Self(1 << 12);
    /// Input is kept.
    pub(crate) const KEPT: Self = Self(1 << 13);
    /// Its life is another than open, so that plain ones are told by their flags alone.
    pub(crate) const NOT_OPEN: Self = Self(1 << 14);
    /// As [`ABOVE`](Self::ABOVE), where the connection is read on all the same
    /// ([`Config::read_above_mark`](crate::Config::read_above_mark)).
    pub(crate) const ABOVE_READING: Self = Self(1 << 15);
    /// So much comes in that it may go on through a pipe, where the handler wants it so.
    pub(crate) const STREAMS: Self = Self(1 << 16);

    /// What it sends in this turn is counted.
    pub(crate) const COUNTED: Self = Self(1 << 17);

    /// The queue has fallen to the low watermark, and the handler is to be told.
    pub(crate) const FELL: Self = Self(1 << 18);

    /// Output is joined: it leaves at the end of the turn at the latest (C45).
    pub(crate) const JOINED: Self = Self(1 << 19);

    /// The handler has ended our stream: nothing can be sent any more (C44).
    pub(crate) const FINISHED: Self = Self(1 << 20);

    /// Our FIN is sent.
    pub(crate) const FIN_SENT: Self = Self(1 << 21);

    /// Its input goes to another connection (C46).
    pub(crate) const RELAYED: Self = Self(1 << 22);

    /// It's a Unix socket, of which a short receive proves nothing. Not forgotten while it lives.
    pub(crate) const UNIX: Self = Self(1 << 23);

    /// The queue is above its mark, with whichever consequence.
    pub(crate) const MARKED: Self = Self(Self::ABOVE.0 | Self::ABOVE_READING.0);

    /// Reading waits for something.
    pub(crate) const NO_READING: Self =
        Self(Self::PAUSED.0 | Self::ABOVE.0 | Self::PEER_ENDED.0 | Self::STARVED.0 | Self::RETRY.0);

    const fn bits(self) -> u64 {
        (self.0 as u64) << GENERATION_BITS
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A connection's generation, and above it its flags: one comparison shows both that an event is
/// meant for this connection and that nothing is remembered about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State(NonZeroU64);

impl State {
    /// No flags are set.
    pub(crate) const fn new(generation: NonZeroU64) -> Self {
        Self(generation)
    }

    #[inline]
    pub(crate) const fn generation(self) -> u64 {
        self.0.get() & ((1 << GENERATION_BITS) - 1)
    }

    /// Whether it is of this generation and no flags are set.
    #[inline]
    pub(crate) const fn is_plain(self, generation: u64) -> bool {
        self.0.get() == generation
    }

    /// Whether it's of this generation, and no flag is set but some of these.
    #[inline]
    pub(crate) const fn is_plain_but(self, generation: u64, flags: Flags) -> bool {
        self.0.get() & !flags.bits() == generation
    }

    /// Whether exactly these are set, on whatever socket.
    #[inline]
    pub(crate) const fn has_just(self, flags: Flags) -> bool {
        let set = self.0.get() & !((1 << GENERATION_BITS) - 1);
        set & !Flags::UNIX.bits() == flags.bits()
    }

    pub(crate) fn set(&mut self, flags: Flags) {
        self.0 |= flags.bits();
    }

    pub(crate) fn clear(&mut self, flags: Flags) {
        // The generation is never cleared, so the word is never zero.
        self.0 = NonZeroU64::new(self.0.get() & !flags.bits()).unwrap_or(self.0);
    }

    /// Whether any of these is set.
    pub(crate) const fn any(self, of: Flags) -> bool {
        self.0.get() & of.bits() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_tells_whose_event_it_is_and_that_nothing_is_remembered() {
        for generation in [1, 2, 1 << 31, 1 << 32, (1 << GENERATION_BITS) - 1] {
            let mut state = State::new(NonZeroU64::new(generation).expect("not 0"));
            assert!(state.is_plain(generation) && !state.is_plain(generation ^ 1));
            for bit in 0..23 {
                let flag = Flags(1 << bit);
                state.set(flag);
                assert!(state.any(flag) && !state.is_plain(generation));
                assert!(
                    state.has_just(flag) && !state.has_just(flag | Flags(1 << ((bit + 1) % 23)))
                );
                assert_eq!(state.generation(), generation);
                state.clear(flag);
                assert!(!state.any(flag) && state.is_plain(generation));
                assert!(state.has_just(Flags::default()) && !state.has_just(flag));
            }
        }
    }
}
