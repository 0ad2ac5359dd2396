//! What a turn has to do beside its events, in one small set of bits.

/// What a turn has to do beside its events. Only the loop's lists set these, and an empty agenda
/// is what lets it block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Agenda(u32);

impl Agenda {
    pub(crate) const READY: Self = Self(1);
    pub(crate) const STARVED: Self = Self(1 << 1);
    pub(crate) const ACCEPT: Self = Self(1 << 2);
    pub(crate) const MAIL: Self = Self(1 << 3);
    pub(crate) const TIMERS: Self = Self(1 << 4);
    pub(crate) const STOP: Self = Self(1 << 5);
    pub(crate) const DRAIN: Self = Self(1 << 6);
    pub(crate) const STARTED: Self = Self(1 << 7);
    pub(crate) const CLOSING: Self = Self(1 << 8);
    pub(crate) const NOTICES: Self = Self(1 << 9);
    pub(crate) const ALARM: Self = Self(1 << 10);
    pub(crate) const WAKE_UP: Self = Self(1 << 11);

    /// Output is joined, and leaves before the loop waits (C45).
    pub(crate) const JOINED: Self = Self(1 << 13);

    /// Sessions are to be called (C47).
    pub(crate) const POKED: Self = Self(1 << 14);

    /// Handlers are to be asked for more.
    pub(crate) const PULLED: Self = Self(1 << 15);

    /// The handler is to be called at the end of this turn, or of the next.
    pub(crate) const TURN_ENDS: Self = Self(1 << 16);
    pub(crate) const NEXT_ENDS: Self = Self(1 << 17);

    /// Datagrams may wait.
    #[cfg(feature = "udp")]
    pub(crate) const DATAGRAMS: Self = Self(1 << 18);

    /// The loop spins before it sleeps. This is never taken off: it makes each turn go the longer
    /// way, so that one of a loop that does not spin takes no instruction more.
    pub(crate) const SPIN: Self = Self(1 << 12);

    pub(crate) fn add(&mut self, item: Self) {
        self.0 |= item.0;
    }

    /// Takes an item off; returns whether it was on.
    pub(crate) fn take(&mut self, item: Self) -> bool {
        let on = self.0 & item.0 != 0;
        self.0 &= !item.0;
        on
    }

    /// Whether an item is on.
    pub(crate) const fn has(self, item: Self) -> bool {
        self.0 & item.0 != 0
    }

    #[inline]
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether nothing is left to do.
    pub(crate) const fn may_rest(self) -> bool {
        self.0 & !Self::SPIN.0 == 0
    }
}
