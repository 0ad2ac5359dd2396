//! Exclusive registrations: what the kernel refuses for them, refused by types.

use super::readiness::{IN, OUT};
use std::ops::Deref;

/// What an exclusive registration can ask for: the kernel allows no more (epoll_ctl(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExclusiveInterest {
    /// As [`Interest::READABLE`](super::Interest::READABLE).
    Readable,
    /// As [`Interest::WRITABLE`](super::Interest::WRITABLE).
    Writable,
    /// Both of them.
    ReadableOrWritable,
}

impl ExclusiveInterest {
    /// The kernel's flags for it.
    #[inline]
    pub(super) const fn bits(self) -> u32 {
        match self {
            Self::Readable => IN,
            Self::Writable => OUT,
            Self::ReadableOrWritable => IN | OUT,
        }
    }
}

/// A source that is watched exclusively, until
/// [`remove_exclusive`](super::Epoll::remove_exclusive) hands it back.
///
/// The source can be used through this (it is a smart pointer), but it isn't
/// [`AsFd`](std::os::fd::AsFd), so the kernel's `EINVAL` for a modification is a type error:
///
/// ```compile_fail,E0277
/// use edgeloop::epoll::{Epoll, ExclusiveInterest, Interest, Mode, Token, Trigger};
/// # fn main() -> std::io::Result<()> {
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let epoll = Epoll::new()?;
/// let watched =
///     epoll.add_exclusive(listener, Token(0), ExclusiveInterest::Readable, Trigger::Level)?;
/// epoll.modify(&watched, Token(1), Interest::READABLE, Mode::Level)?;
/// # Ok(())
/// # }
/// ```
///
/// A type guards a name and not the file behind it: whoever takes the reference out on purpose
/// (`&*watched`), or has kept another one, gets the `EINVAL`.
///
/// Dropping it drops the source. If that was the last descriptor of the open file, the registration
/// has gone with it; if the source was a reference, or has
/// [duplicates](super#duplicate-descriptors), the registration stays.
#[derive(Debug)]
#[must_use = "dropping it drops the source, which may end the registration"]
pub struct Exclusive<S> {
    source: S,
}

impl<S> Exclusive<S> {
    pub(super) fn new(source: S) -> Self {
        Self { source }
    }

    pub(super) fn into_inner(self) -> S {
        self.source
    }
}

impl<S> Deref for Exclusive<S> {
    type Target = S;

    #[inline]
    fn deref(&self) -> &S {
        &self.source
    }
}
