//! What the kernel hints about a descriptor, and which of its flags says so.

use rustix::event::epoll::EventFlags;
use std::fmt;
use std::ops::BitOr;

pub(super) const IN: u32 = EventFlags::IN.bits();
pub(super) const OUT: u32 = EventFlags::OUT.bits();
pub(super) const PRI: u32 = EventFlags::PRI.bits();
pub(super) const RDHUP: u32 = EventFlags::RDHUP.bits();
const ERR: u32 = EventFlags::ERR.bits();
const HUP: u32 = EventFlags::HUP.bits();

/// What the kernel hints about a descriptor; a reason to try, not a promise.
///
/// Which flags each accessor reads, and what it means on the descriptors that are common here:
///
/// | accessor | true with any of | meaning |
/// |----------|------------------|---------|
/// | [`is_readable`](Self::is_readable) | `IN` `RDHUP` `HUP` `ERR` | a read or an accept has an answer: data, the end, or an error |
/// | [`is_writable`](Self::is_writable) | `OUT` `HUP` `ERR` | a write has an answer: room, or an error |
/// | [`is_priority`](Self::is_priority) | `PRI` | urgent data on TCP, and other exceptional conditions of poll(2) |
/// | [`is_read_closed`](Self::is_read_closed) | `RDHUP` `HUP` | no more will come than what is there to be read |
/// | [`is_hang_up`](Self::is_hang_up) | `HUP` | both directions of a socket are closed; a pipe has no writer left |
/// | [`is_error`](Self::is_error) | `ERR` | an error waits in the socket; a pipe has no reader left |
///
/// `ERR` and `HUP` count as readable and writable because they come without `IN` and `OUT` where it
/// matters: the end of an empty pipe is `HUP` alone (pipe_poll in fs/pipe.c, Linux 6.18), and a
/// loop that waited for `IN` would never read the 0. There is no `is_write_closed`, since no flag
/// says it: that the peer reads no more is learned from a write, as `EPIPE` or `ECONNRESET`.
///
/// `Display` and `Debug` print the kernel's names: `IN|OUT|RDHUP`.
///
/// ```
/// use edgeloop::epoll::Readiness;
///
/// let at_the_end_of_a_pipe = Readiness::HUP;
/// assert!(at_the_end_of_a_pipe.is_readable());
/// assert!(at_the_end_of_a_pipe.is_read_closed());
/// assert_eq!((Readiness::IN | Readiness::RDHUP).to_string(), "IN|RDHUP");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Readiness(u32);

impl Readiness {
    /// `EPOLLIN`, for simulations and tests, as are the others.
    pub const IN: Self = Self(IN);
    /// `EPOLLOUT`.
    pub const OUT: Self = Self(OUT);
    /// `EPOLLPRI`.
    pub const PRI: Self = Self(PRI);
    /// `EPOLLERR`.
    pub const ERR: Self = Self(ERR);
    /// `EPOLLHUP`.
    pub const HUP: Self = Self(HUP);
    /// `EPOLLRDHUP`.
    pub const RDHUP: Self = Self(RDHUP);

    /// No flag, which no event has.
    pub(crate) const NOTHING: Self = Self(0);
    /// `EPOLLIN` and `EPOLLOUT` alone: input on a socket that can be written to.
    pub(crate) const INPUT: Self = Self(IN | OUT);

    /// The kernel's flags as they are (`EPOLLIN` and so on, epoll_ctl(2)).
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// A readiness as the kernel would report it. All bits are kept, known or not.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether a read or an accept would find an answer. See the [table](Self).
    #[inline]
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.has_any(IN | RDHUP | HUP | ERR)
    }

    /// Whether a write would find an answer. See the [table](Self).
    #[inline]
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.has_any(OUT | HUP | ERR)
    }

    /// Whether there is an exceptional condition, such as urgent data. See the [table](Self).
    #[inline]
    #[must_use]
    pub const fn is_priority(self) -> bool {
        self.has_any(PRI)
    }

    /// Whether no more will come than what is there to be read. See the [table](Self).
    ///
    /// It means "read until 0", never "close": data may have come with it. `RDHUP` is reported only
    /// to those who asked for [`PEER_CLOSED`](super::Interest::PEER_CLOSED).
    #[inline]
    #[must_use]
    pub const fn is_read_closed(self) -> bool {
        self.has_any(RDHUP | HUP)
    }

    /// Whether nothing goes either way any more. See the [table](Self).
    ///
    /// A stream socket that was never connected says so too.
    #[inline]
    #[must_use]
    pub const fn is_hang_up(self) -> bool {
        self.has_any(HUP)
    }

    /// Whether an error waits to be fetched, by a read, a write or `SO_ERROR`. See the
    /// [table](Self).
    #[inline]
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.has_any(ERR)
    }

    /// Whether it says nothing but `IN` and `OUT`: the normal case, told apart by one test.
    #[inline]
    pub(crate) const fn is_only_in_out(self) -> bool {
        !self.has_any(!(IN | OUT))
    }

    /// The same, and writable.
    #[inline]
    pub(crate) const fn with_out(self) -> Self {
        Self(self.0 | OUT)
    }

    #[inline]
    const fn has_any(self, flags: u32) -> bool {
        self.0 & flags != 0
    }
}

impl BitOr for Readiness {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(u32, &str); 6] =
            [(IN, "IN"), (PRI, "PRI"), (OUT, "OUT"), (ERR, "ERR"), (HUP, "HUP"), (RDHUP, "RDHUP")];
        let (mut rest, mut separator) = (self.0, "");
        for (flag, name) in NAMES {
            if self.has_any(flag) {
                write!(f, "{separator}{name}")?;
                separator = "|";
                rest &= !flag;
            }
        }
        if rest != 0 || self.0 == 0 {
            write!(f, "{separator}{rest:#x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's names and numbers (include/uapi/linux/eventpoll.h), in the order of the
    /// numbers.
    const FLAGS: [(u32, &str); 6] =
        [(0x1, "IN"), (0x2, "PRI"), (0x4, "OUT"), (0x8, "ERR"), (0x10, "HUP"), (0x2000, "RDHUP")];

    /// Every combination of the flags: its bits and the names in it.
    fn all_combinations() -> impl Iterator<Item = (u32, Vec<&'static str>)> {
        (0_u32..1 << FLAGS.len()).map(|chosen| {
            let flags = FLAGS.iter().enumerate().filter(|(i, _)| chosen & 1 << i != 0);
            flags.fold((0, Vec::new()), |(bits, mut names), (_, (flag, name))| {
                names.push(*name);
                (bits | flag, names)
            })
        })
    }

    #[test]
    fn each_accessor_reads_the_flags_of_the_table_and_no_other() {
        for (bits, names) in all_combinations() {
            let readiness = Readiness::from_bits(bits);
            let any = |flags: &[&str]| flags.iter().any(|flag| names.contains(flag));
            assert_eq!(readiness.is_readable(), any(&["IN", "RDHUP", "HUP", "ERR"]), "{names:?}");
            assert_eq!(readiness.is_writable(), any(&["OUT", "HUP", "ERR"]), "{names:?}");
            assert_eq!(readiness.is_priority(), any(&["PRI"]), "{names:?}");
            assert_eq!(readiness.is_read_closed(), any(&["RDHUP", "HUP"]), "{names:?}");
            assert_eq!(readiness.is_hang_up(), any(&["HUP"]), "{names:?}");
            assert_eq!(readiness.is_error(), any(&["ERR"]), "{names:?}");
            let exceptional = any(&["PRI", "ERR", "HUP", "RDHUP"]);
            assert_eq!(readiness.is_only_in_out(), !exceptional, "{names:?}");
        }
    }

    #[test]
    fn it_prints_the_kernels_names_and_keeps_the_bits() {
        for (bits, names) in all_combinations().filter(|(bits, _)| *bits != 0) {
            let readiness = Readiness::from_bits(bits);
            assert_eq!(readiness.to_string(), names.join("|"));
            assert_eq!(format!("{readiness:?}"), names.join("|"));
            assert_eq!(readiness.bits(), bits);
        }
        assert_eq!(Readiness::from_bits(0).to_string(), "0x0");
        assert_eq!(Readiness::from_bits(0x401).to_string(), "IN|0x400");
    }

    #[test]
    fn unknown_flags_are_no_normal_case() {
        assert!(!Readiness::from_bits(0x401).is_only_in_out());
    }
}
