//! What the loop remembers about one connection between its events.

/// What is remembered about a connection. None of these is set on one that only echoes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags(u16);

impl Flags {
    /// The kernel may hold input for which no edge will come.
    pub(crate) const READABLE: Self = Self(1);
    /// A short read is not the end: an urgent mark, a FIN or an error may be behind it (C2).
    pub(crate) const DRAIN: Self = Self(1 << 1);
    /// The socket may take output for which no edge will come.
    pub(crate) const WRITABLE: Self = Self(1 << 2);
    /// Output is queued.
    pub(crate) const OUTPUT: Self = Self(1 << 3);
    /// The queue rose above the high watermark and has not fallen to the low one (C10).
    pub(crate) const ABOVE: Self = Self(1 << 4);
    /// The handler paused reading.
    pub(crate) const PAUSED: Self = Self(1 << 5);
    /// Reading waits for memory (C11).
    pub(crate) const STARVED: Self = Self(1 << 6);
    /// Input is kept, and is to be shown again before anything is read.
    pub(crate) const SHOW: Self = Self(1 << 7);
    /// The peer's FIN was read.
    pub(crate) const ENDED: Self = Self(1 << 8);
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
    /// Its life is another than open, so that one comparison finds the plain ones.
    pub(crate) const ELSEWHERE: Self = Self(1 << 14);

    /// Reading waits for something.
    pub(crate) const NO_READING: Self =
        Self(Self::PAUSED.0 | Self::ABOVE.0 | Self::ENDED.0 | Self::STARVED.0 | Self::RETRY.0);

    #[inline]
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn set(&mut self, flags: Self) {
        self.0 |= flags.0;
    }

    pub(crate) const fn clear(&mut self, flags: Self) {
        self.0 &= !flags.0;
    }

    /// Whether any of these is set.
    pub(crate) const fn any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
