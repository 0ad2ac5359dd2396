//! epoll, as safe Rust: everything that the kernel's interface can do, and nothing added to it.
//!
//! An [`Epoll`] holds a list of descriptors, each with the [`Interest`] that the caller has in it,
//! the [`Mode`] in which it wants to hear of it, and a [`Token`] by which the kernel will name it.
//! [`Epoll::wait`] blocks until some of them are ready and fills a batch of [`Events`]; each
//! [`Event`] is a token and a [`Readiness`].
//!
//! *Interest* is what we ask for; *readiness* is what the kernel hints. They are two types, for
//! they are not the same set: an error and a hang-up are reported whether asked for or not, and a
//! readiness may be stale by the time it is read. It is a reason to try, never a promise; the
//! system call that follows has the last word.
//!
//! The module stands alone. The loop of this crate is built on it, but nothing in here knows of it.
//!
//! # Example
//!
//! ```
//! use edgeloop::epoll::{Epoll, Events, Interest, Mode, Token};
//! use std::{io::Write, os::unix::net::UnixStream, time::Duration};
//!
//! # fn main() -> std::io::Result<()> {
//! let (mut near, far) = UnixStream::pair()?;
//! let epoll = Epoll::new()?;
//! epoll.add(&far, Token(7), Interest::READABLE | Interest::PEER_CLOSED, Mode::Edge)?;
//!
//! let mut events = Events::with_capacity(32);
//! assert_eq!(epoll.wait(&mut events, Some(Duration::from_micros(300)))?, 0);
//!
//! near.write_all(b"hello")?;
//! epoll.wait(&mut events, None)?;
//! for event in &events {
//!     assert_eq!(event.token(), Token(7));
//!     assert!(event.readiness().is_readable());
//!     assert!(!event.readiness().is_read_closed());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Why registration is a safe function
//!
//! Some libraries mark it `unsafe`, since a registration can outlive the descriptor that was named
//! in it, and I/O safety asks that nobody uses a descriptor after its owner closed it. Here nobody
//! does:
//!
//! - The descriptor is borrowed for the length of the call. No number is kept in this process, so
//!   none can be used when it has come to mean another file.
//! - The kernel keeps no number to be looked up again either. Its entry refers to the open file
//!   itself, holds nothing that keeps it open, and goes when it goes (epoll(7), on closing).
//! - The kernel finds an entry by file *and* number (epoll(7), on the key). When a number is used
//!   again for another file, [`modify`](Epoll::modify) and [`remove`](Epoll::remove) find no entry
//!   of the old file under it and say `ENOENT`; they can't reach a stranger's registration.
//! - An event carries the token and nothing else. A token is an integer, not a pointer that
//!   somebody would follow.
//!
//! So the worst that a forgotten registration can do is an event that nobody expected, with a token
//! whose owner has gone. That is a thing that every caller has to cope with anyway, because an
//! event of the same batch may be about a descriptor that has been closed a moment before. A caller
//! that uses a token again for another descriptor may take the old one's event for the new one's:
//! a wasted system call that says `EAGAIN`, if descriptors are non-blocking as they should be here.
//! Tokens that count their uses (a slot and a generation) tell the two apart.
//!
//! # Duplicate descriptors
//!
//! A registration belongs to the *open file description*, the thing that `dup`, `fork` and
//! descriptor passing share. Closing the registered descriptor ends the registration only if it was
//! the last one for that description (epoll(7), on closing). While a duplicate lives,
//!
//! - events go on arriving with the token of the closed descriptor, and with [`Mode::Level`] they
//!   arrive at every wait, without end;
//! - nothing can stop them: [`remove`](Epoll::remove) of the closed number says `EBADF`, and of the
//!   duplicate `ENOENT`, for it was never registered under that number.
//!
//! The way around is to call [`remove`](Epoll::remove) before closing any descriptor that has, or
//! might have, a duplicate (`try_clone` of std makes one; so does a child process that was forked
//! without exec). Descriptors that are close-on-exec and never cloned need no removal: closing them
//! is enough, and saves a system call for each.

mod batch;
mod event;
mod events;
mod exclusive;
mod interest;
mod mode;
mod readiness;
mod timeout;

pub(crate) use batch::Batch;
pub use event::{Event, Token};
pub use events::{Events, Iter};
pub use exclusive::{Exclusive, ExclusiveInterest};
pub use interest::Interest;
pub use mode::{Mode, Trigger};
pub use readiness::Readiness;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// An epoll instance: a list of descriptors to watch.
///
/// It is itself a descriptor ([`AsFd`]) that is readable while events wait in it, so one instance
/// can be watched by another. It may be shared between threads: adding, modifying and removing from
/// one thread takes effect on a [`wait`](Self::wait) that another one is in (epoll_wait(2)). It is
/// closed when it is dropped, and its registrations with it.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    /// Creates an instance that watches nothing yet. Its descriptor is close-on-exec.
    ///
    /// # Errors
    ///
    /// `EMFILE` and `ENFILE` at the limits of the process and of the system, `ENOMEM` without
    /// kernel memory (epoll_create(2)).
    #[doc(alias = "epoll_create1")]
    pub fn new() -> io::Result<Self> {
        Ok(Self { fd: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Starts to watch `source`; its events will carry `token`. Doesn't block.
    ///
    /// If `source` is ready already, that counts as its first event, edge-triggered or not. For a
    /// descriptor that will be closed by other means than its last owner's drop, read the
    /// [note on duplicates](self#duplicate-descriptors).
    ///
    /// # Errors
    ///
    /// epoll_ctl(2) has them: `EEXIST` if `source` is registered here, `EPERM` for what can't be
    /// watched (a regular file, a directory), `ENOSPC` at `/proc/sys/fs/epoll/max_user_watches`,
    /// `ENOMEM`, `EINVAL` if `source` is this instance, `ELOOP` for instances that watch each other
    /// in a circle or more than five deep.
    #[doc(alias = "epoll_ctl")]
    #[doc(alias = "EPOLL_CTL_ADD")]
    #[inline]
    pub fn add(
        &self,
        source: impl AsFd,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        let flags = EventFlags::from_bits_retain(interest.bits() | mode.bits());
        Ok(epoll::add(&self.fd, source, EventData::new_u64(token.0), flags)?)
    }

    /// Replaces the token, the interest and the mode of a registered `source`. Doesn't block.
    ///
    /// The kernel looks at `source` anew: what is ready now is reported, even if the edge that made
    /// it so was reported before (ep_modify in fs/eventpoll.c, Linux 6.18). So no edge is lost
    /// between the old interest and the new one, and this is how a one-shot registration is armed
    /// again.
    ///
    /// # Errors
    ///
    /// `ENOENT` if `source` isn't registered here, `ENOMEM`. `EINVAL` if it is registered
    /// [exclusively](Self::add_exclusive), which takes going around the type that says so.
    #[doc(alias = "epoll_ctl")]
    #[doc(alias = "EPOLL_CTL_MOD")]
    #[inline]
    pub fn modify(
        &self,
        source: impl AsFd,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> io::Result<()> {
        let flags = EventFlags::from_bits_retain(interest.bits() | mode.bits());
        Ok(epoll::modify(&self.fd, source, EventData::new_u64(token.0), flags)?)
    }

    /// Stops watching `source`. Doesn't block.
    ///
    /// Events of it that are in an [`Events`] already stay there. A descriptor that is closed and
    /// has no [duplicate](self#duplicate-descriptors) doesn't need this.
    ///
    /// # Errors
    ///
    /// `ENOENT` if `source` isn't registered here.
    #[doc(alias = "epoll_ctl")]
    #[doc(alias = "EPOLL_CTL_DEL")]
    #[inline]
    pub fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.fd, source)?)
    }

    /// Starts to watch `source` in such a way that of several instances that watch it so, an event
    /// wakes one or some, not all of them. Doesn't block.
    ///
    /// The kernel allows this for readable and writable only, without one-shot, and never modified
    /// afterwards; it answers anything else with `EINVAL` (epoll_ctl(2), `EPOLLEXCLUSIVE`, since
    /// 4.5). The types say so first: [`ExclusiveInterest`] has no other values, [`Trigger`] has no
    /// one-shot, and the [`Exclusive`] that wraps the source is nothing that
    /// [`modify`](Self::modify) takes.
    ///
    /// `source` is taken by value, so that its owner can give it away; a reference or an
    /// [`Arc`](std::sync::Arc) to what other threads watch too will do as well.
    ///
    /// # Errors
    ///
    /// Those of [`add`](Self::add), and `EINVAL` if `source` is an epoll instance. `source` is
    /// dropped then.
    #[doc(alias = "EPOLLEXCLUSIVE")]
    pub fn add_exclusive<S: AsFd>(
        &self,
        source: S,
        token: Token,
        interest: ExclusiveInterest,
        trigger: Trigger,
    ) -> io::Result<Exclusive<S>> {
        let flags = EventFlags::from_bits_retain(interest.bits() | Mode::from(trigger).bits());
        let flags = flags | EventFlags::EXCLUSIVE;
        epoll::add(&self.fd, &source, EventData::new_u64(token.0), flags)?;
        Ok(Exclusive::new(source))
    }

    /// Stops watching an exclusively watched source, and hands it back. Doesn't block.
    ///
    /// # Errors
    ///
    /// `ENOENT` if it was another instance that watched it. The source is dropped then.
    pub fn remove_exclusive<S: AsFd>(&self, source: Exclusive<S>) -> io::Result<S> {
        let source = source.into_inner();
        self.remove(&source)?;
        Ok(source)
    }

    /// Waits until something is ready or `timeout` has passed, fills `events` and says with how
    /// many. **Blocks** for as long as `timeout` says; `None` is for ever, zero not at all.
    ///
    /// What `events` held before is gone. If the batch came back full, it has grown for the next
    /// time, up to its ceiling.
    ///
    /// Without an event it never returns earlier than asked (C28): a timeout of 1 ns is at least
    /// 1 ns, not 0, and one that the kernel can't count in one go is waited for in several. How
    /// much later is up to the scheduler, and to the timer slack of the thread (50 µs unless it was
    /// changed, prctl(2)).
    ///
    /// A signal doesn't end the wait (C29): `EINTR` is met with another wait for the time that
    /// remains. Where a signal is to end it, let the handler write to a descriptor watched here.
    ///
    /// # How it waits
    ///
    /// Whole milliseconds are a timeout of epoll_wait(2). A finer one is waited for with ppoll(2)
    /// on the instance's own descriptor, which counts in nanoseconds, and the events fetched by an
    /// epoll_wait that doesn't wait: one more system call where it is needed, but no other
    /// descriptor, no token set aside, and nothing that an older kernel, a strict container or
    /// callgrind might lack, as they may lack epoll_pwait2 (Linux 5.11).
    ///
    /// # Errors
    ///
    /// None that can be expected: `EINVAL`, `EBADF` and `EFAULT` of epoll_wait(2) are ruled out by
    /// the types. `ENOMEM` of ppoll(2) remains. `events` is empty then.
    #[doc(alias = "epoll_wait")]
    pub fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<usize> {
        events.fill(|batch| timeout::wait(self, batch, timeout))?;
        Ok(events.len())
    }

    /// Fetches the events that are there. One system call that doesn't wait; `EINTR` is returned.
    #[inline]
    pub(crate) fn poll_now(&self, events: &mut Batch) -> Result<(), Errno> {
        self.wait_millis(events, 0)
    }

    /// Waits for an event without an end. One system call; `EINTR` is returned.
    #[inline]
    pub(crate) fn block(&self, events: &mut Batch) -> Result<(), Errno> {
        events.fill(|buffer| epoll::wait(&self.fd, buffer, None))
    }

    /// Waits for an event for `timeout`, or for the longest that one wait can be; `EINTR` is
    /// returned.
    pub(crate) fn wait_for(&self, events: &mut Batch, timeout: Duration) -> Result<(), Errno> {
        timeout::wait_once(self, events, Some(timeout))
    }

    /// Waits for an event for up to `millis`. One system call; `EINTR` is returned.
    #[inline]
    fn wait_millis(&self, events: &mut Batch, millis: i32) -> Result<(), Errno> {
        let timeout = timeout::timespec_from_millis(millis);
        events.fill(|buffer| epoll::wait(&self.fd, buffer, Some(&timeout)))
    }
}

impl AsFd for Epoll {
    /// The instance's own descriptor: readable while an event waits to be fetched.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
