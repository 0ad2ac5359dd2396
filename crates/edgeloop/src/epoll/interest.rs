//! What a caller asks to be told of: never nothing.

use super::readiness::{IN, OUT, PRI, RDHUP};
use std::fmt;
use std::num::NonZeroU32;
use std::ops::{BitOr, BitOrAssign};

/// What a registration asks for; joined with `|`, never empty.
///
/// An error and a hang-up (`EPOLLERR`, `EPOLLHUP`) are always reported and can't be asked for
/// (epoll_ctl(2)). That is also why an empty interest wouldn't mean "nothing": whoever wants to
/// hear nothing of a descriptor must [remove](super::Epoll::remove) it.
///
/// ```
/// use edgeloop::epoll::Interest;
///
/// const BOTH: Interest = Interest::READABLE.union(Interest::WRITABLE);
/// assert_eq!(BOTH, Interest::READABLE | Interest::WRITABLE);
/// assert_eq!(BOTH.without(Interest::WRITABLE), Some(Interest::READABLE));
/// assert_eq!(BOTH.without(BOTH), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interest(NonZeroU32);

impl Interest {
    /// `EPOLLIN`: a read, or an accept, would find something.
    pub const READABLE: Self = Self::of(IN);
    /// `EPOLLOUT`: a write would take something; or a connect has come to its end.
    pub const WRITABLE: Self = Self::of(OUT);
    /// `EPOLLPRI`: an exceptional condition, such as urgent data on a TCP socket (poll(2)).
    pub const PRIORITY: Self = Self::of(PRI);
    /// `EPOLLRDHUP`: the peer has closed, or shut down its writing. What it sent before is still
    /// to be read.
    pub const PEER_CLOSED: Self = Self::of(RDHUP);

    const fn of(bits: u32) -> Self {
        match NonZeroU32::new(bits) {
            Some(bits) => Self(bits),
            None => panic!("an interest is never empty"),
        }
    }

    /// Both interests; as `|`, but usable in constants.
    #[inline]
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(NonZeroU32::new(self.0.get() | other.0.get()).unwrap())
    }

    /// This interest without that of `other`, if anything is left.
    #[inline]
    #[must_use]
    pub const fn without(self, other: Self) -> Option<Self> {
        match NonZeroU32::new(self.0.get() & !other.0.get()) {
            Some(bits) => Some(Self(bits)),
            None => None,
        }
    }

    /// Whether [`READABLE`](Self::READABLE) is asked for.
    #[inline]
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.0.get() & IN != 0
    }

    /// Whether [`WRITABLE`](Self::WRITABLE) is asked for.
    #[inline]
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.0.get() & OUT != 0
    }

    /// Whether [`PRIORITY`](Self::PRIORITY) is asked for.
    #[inline]
    #[must_use]
    pub const fn is_priority(self) -> bool {
        self.0.get() & PRI != 0
    }

    /// Whether [`PEER_CLOSED`](Self::PEER_CLOSED) is asked for.
    #[inline]
    #[must_use]
    pub const fn is_peer_closed(self) -> bool {
        self.0.get() & RDHUP != 0
    }

    /// The kernel's flags for it.
    #[inline]
    pub(super) const fn bits(self) -> u32 {
        self.0.get()
    }
}

impl BitOr for Interest {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for Interest {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

impl fmt::Debug for Interest {
    /// As one would write it: `READABLE|PEER_CLOSED`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.is_readable(), "READABLE"),
            (self.is_writable(), "WRITABLE"),
            (self.is_priority(), "PRIORITY"),
            (self.is_peer_closed(), "PEER_CLOSED"),
        ];
        let mut separator = "";
        for (_, name) in names.iter().filter(|(asked, _)| *asked) {
            write!(f, "{separator}{name}")?;
            separator = "|";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Interest; 4] =
        [Interest::READABLE, Interest::WRITABLE, Interest::PRIORITY, Interest::PEER_CLOSED];

    /// The interest that has those of [`ALL`] whose bit is set in `chosen`.
    fn combination(chosen: usize) -> Option<Interest> {
        let parts = ALL.into_iter().enumerate().filter(|(i, _)| chosen & 1 << i != 0);
        parts.map(|(_, part)| part).reduce(Interest::union)
    }

    #[test]
    fn it_is_what_was_put_in_and_never_empty() {
        for chosen in 1..16 {
            let interest = combination(chosen).unwrap();
            let has = [
                interest.is_readable(),
                interest.is_writable(),
                interest.is_priority(),
                interest.is_peer_closed(),
            ];
            for (i, has) in has.into_iter().enumerate() {
                assert_eq!(has, chosen & 1 << i != 0, "{interest:?}");
            }
            assert_ne!(interest.bits(), 0);
            for other in 1..16 {
                let left = interest.without(combination(other).unwrap());
                assert_eq!(left, combination(chosen & !other));
            }
        }
    }

    #[test]
    fn it_prints_as_it_is_written() {
        let mut interest = Interest::READABLE;
        interest |= Interest::PEER_CLOSED;
        assert_eq!(format!("{interest:?}"), "READABLE|PEER_CLOSED");
    }

    #[test]
    fn no_room_is_wasted_on_an_optional_one() {
        assert_eq!(size_of::<Option<Interest>>(), size_of::<u32>());
    }
}
