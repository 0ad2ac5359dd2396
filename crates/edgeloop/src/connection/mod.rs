//! The life of one connection, without its system calls: bytes, errors and time come in as
//! arguments, and each method is a transition.
//!
//! ```text
//!   Connecting ──▶ Open ──▶ Flushing ──▶ Lingering ──▶ Ended
//!       │           │           │            │            ▲
//!       └───────────┴───────────┴────────────┴────────────┘  failed, reset, timed out, cut off
//! ```
//!
//! - **Open**: the handler is served. Either side's stream may have ended already, and its end goes
//!   on being read (C44).
//! - **Flushing**: the handler has closed; what it sent is still being written (C3).
//! - **Lingering**: our FIN is out; input is discarded until the peer's FIN (C6).
//! - **Ended**: its end is decided; the closing phase tells the handler and closes the descriptor.

mod deadlines;
pub(crate) mod flags;
pub(crate) mod hold_ups;
mod owed;
#[cfg(test)]
mod tests;
mod timers;

use std::fmt;
use std::num::{NonZeroU16, NonZeroU64};
use std::time::Duration;

use rustix::io::Errno;

use crate::api::closed::Reason;
use crate::api::input::Scanned;
use crate::api::time::Time;
use crate::connection::flags::{Flags, State};
use crate::epoll::Readiness;
use crate::store::output::{Output, Released};
use crate::store::table::Entry;
use deadlines::Retries;
pub(crate) use deadlines::{Due, Retry, Timeouts, Transfer};
pub(crate) use timers::Timer;
use timers::Timers;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Connecting,
    Open,
    Flushing,
    Lingering,
    Ended,
}

/// One connection. 32 bytes, within one cache line; all that an idle one does not need is in
/// [`Cold`].
#[derive(Debug)]
#[repr(align(32))]
pub(crate) struct Connection<S> {
    pub(crate) socket: S,
    state: State,
    /// When a byte last moved.
    pub(crate) active: Time,
    cold: Option<Box<Cold>>,
    life: Life,
    reason: Option<Reason>,
    /// The first error that any call saw (C7).
    error: Option<NonZeroU16>,
}

const _: () = assert!(size_of::<Option<Connection<std::os::fd::OwnedFd>>>() == 32);

/// What only a connection needs that queues, keeps, times or ends something.
struct Cold {
    /// What callbacks have sent in this turn, to leave together at its end.
    joined: Vec<u8>,
    /// How long it may become before anything else is asked.
    joins_to: usize,
    output: Output,
    /// When the peer last took output, or when the queue began.
    progress: Time,
    /// When a send was tried to see whether the peer takes anything: first since then, and last.
    first_look: Time,
    looked: Time,
    kept: Vec<u8>,
    scanned: Scanned,
    /// What is kept goes to the handler with the end of the peer's stream, which it was not told.
    owes_end: bool,
    /// The handler's timers.
    timers: Timers,
    /// It waits for something else than its peer.
    busy: bool,
    /// Its socket, a Unix socket, is watched for room.
    watched_for_room: bool,
    /// The end of connecting, or of lingering.
    deadline: Time,
    /// Since when it lingers.
    lingers: Time,
    /// Receives, and sends, that the kernel had no memory for.
    receiving: Retries,
    sending: Retries,
    /// Input that may still be discarded while lingering.
    discardable: usize,
    dropped: u64,
    /// Input that the handler did not take.
    discarded: u64,
}

impl Default for Cold {
    fn default() -> Self {
        Self {
            joined: Vec::new(),
            joins_to: 0,
            output: Output::default(),
            progress: Time::ZERO,
            first_look: Time::ZERO,
            looked: Time::ZERO,
            kept: Vec::new(),
            scanned: Scanned::default(),
            owes_end: false,
            timers: Timers::NONE,
            busy: false,
            watched_for_room: false,
            deadline: Time::NEVER,
            lingers: Time::ZERO,
            receiving: Retries::NONE,
            sending: Retries::NONE,
            discardable: 0,
            dropped: 0,
            discarded: 0,
        }
    }
}

/// Without the input that is kept: payload does not belong into a log (C34).
impl fmt::Debug for Cold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cold")
            .field("joined", &self.joined.len())
            .field("queued", &self.output.len())
            .field("kept", &self.kept.len())
            .finish_non_exhaustive()
    }
}

impl Cold {
    fn is_needed(&self) -> bool {
        !self.output.is_empty()
            || !self.joined.is_empty()
            || !self.kept.is_empty()
            || !self.timers.is_empty()
            || self.busy
            || self.deadline != Time::NEVER
            || self.receiving != Retries::NONE
            || self.sending != Retries::NONE
            || self.dropped > 0
            || self.discarded > 0
    }
}

/// What follows from having nothing (more) to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on.
    Wait,
    /// Both streams are at their ends: close.
    Finish,
    /// The peer's stream is not: shut the write side, and linger.
    Linger,
    /// Shut the write side, and go on reading.
    HalfClose,
    /// End with a reset.
    Reset,
}

impl<S> Entry for Connection<S> {
    #[inline]
    fn generation(&self) -> u64 {
        self.state.generation()
    }

    /// Open, with nothing to remember: the way of every ordinary message.
    #[inline]
    fn is_plain(&self, generation: u64) -> bool {
        self.state.is_plain(generation)
    }
}

impl<S> Connection<S> {
    pub(crate) fn accepted(socket: S, generation: NonZeroU64, now: Time) -> Self {
        Self {
            socket,
            state: State::new(generation),
            active: now,
            cold: None,
            life: Life::Open,
            reason: None,
            error: None,
        }
    }

    pub(crate) fn connecting(socket: S, generation: NonZeroU64, now: Time, deadline: Time) -> Self {
        let mut connection = Self::accepted(socket, generation, now);
        connection.enter(Life::Connecting);
        connection.cold().deadline = deadline;
        connection
    }

    pub(crate) fn into_socket(self) -> S {
        self.socket
    }

    /// Its address could not be connected to, and another is tried, with this socket. Returns the
    /// one before it.
    pub(crate) fn connecting_anew(&mut self, socket: S, deadline: Time) -> S {
        debug_assert_eq!(self.life, Life::Connecting);
        let cold = self.cold();
        cold.sending = Retries::NONE;
        cold.deadline = deadline;
        std::mem::replace(&mut self.socket, socket)
    }

    /// Whether it's known that its socket is watched for room.
    pub(crate) fn is_watched_for_room(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.watched_for_room)
    }

    /// Its socket is watched for room, or no more. That is known as long as anything is owed.
    pub(crate) fn set_watched_for_room(&mut self, is_watched: bool) {
        if let Some(cold) = &mut self.cold {
            cold.watched_for_room = is_watched;
        }
    }

    /// Whether its socket is a Unix socket.
    pub(crate) fn set_unix(&mut self, is_unix: bool) {
        if is_unix {
            self.set(Flags::UNIX);
        } else {
            self.clear(Flags::UNIX);
        }
    }

    /// Whether it's plain, but for some of these.
    #[inline]
    pub(crate) const fn is_plain_but(&self, flags: Flags) -> bool {
        self.state.is_plain_but(self.state.generation(), flags)
    }

    pub(crate) const fn life(&self) -> Life {
        self.life
    }

    fn enter(&mut self, life: Life) {
        self.life = life;
        if life == Life::Open {
            self.clear(Flags::NOT_OPEN);
        } else {
            self.set(Flags::NOT_OPEN);
        }
    }

    pub(crate) const fn has(&self, flags: Flags) -> bool {
        self.state.any(flags)
    }

    pub(crate) fn set(&mut self, flags: Flags) {
        self.state.set(flags);
    }

    pub(crate) fn clear(&mut self, flags: Flags) {
        self.state.clear(flags);
    }

    /// The outbound connection is made.
    pub(crate) fn connected(&mut self, now: Time) {
        debug_assert_eq!(self.life, Life::Connecting);
        self.enter(Life::Open);
        self.active = now;
        let cold = self.cold();
        cold.sending = Retries::NONE;
        cold.deadline = Time::NEVER;
        self.cool();
    }

    /// An event came: what it means for later.
    pub(crate) fn note(&mut self, readiness: Readiness) {
        if !readiness.is_only_in_out() {
            self.set(Flags::READABLE | Flags::TO_EAGAIN);
        }
        if readiness.is_readable() {
            self.set(Flags::READABLE);
        }
        if self.has(Flags::QUEUED) && readiness.is_writable() {
            self.set(Flags::WRITABLE);
        }
    }

    /// Whether there may be something to read, or to show again, and someone to take it.
    pub(crate) fn wants_reading(&self) -> bool {
        match self.life {
            Life::Open => {
                let receives = self.has(Flags::READABLE | Flags::SHOW);
                // What is shown with the end of the stream needs no receive.
                receives && !self.has(Flags::NO_READING)
                    || self.owes_end() && !self.has(Flags::PAUSED | Flags::ABOVE | Flags::STARVED)
            }
            Life::Lingering => {
                self.has(Flags::READABLE) && !self.has(Flags::PEER_ENDED | Flags::RETRY)
            }
            Life::Connecting | Life::Flushing | Life::Ended => false,
        }
    }

    /// Whether its input may go through a pipe: none is kept, and nothing is known of that only a
    /// receive can tell from emptiness.
    pub(crate) fn may_splice(&self) -> bool {
        let otherwise = Flags::TO_EAGAIN | Flags::SHOW | Flags::KEPT | Flags::FAILED;
        self.life == Life::Open && self.has(Flags::STREAMS) && !self.has(otherwise)
    }

    /// Whether what comes through a pipe may go straight to its socket: nothing is owed before it.
    pub(crate) fn takes_spliced(&self) -> bool {
        let owed = Flags::JOINED | Flags::QUEUED;
        self.life == Life::Open && self.is_sendable() && !self.has(owed)
    }

    /// Whether queued output may be written now.
    pub(crate) fn wants_flushing(&self) -> bool {
        self.has(Flags::WRITABLE) && self.has(Flags::QUEUED) && self.is_flushable()
    }

    /// Whether queued output is still to be written.
    pub(crate) const fn is_flushable(&self) -> bool {
        matches!(self.life, Life::Open | Life::Flushing)
    }

    /// Whether the handler is served and our end has not failed.
    pub(crate) fn is_served(&self) -> bool {
        matches!(self.life, Life::Open | Life::Connecting) && !self.has(Flags::FAILED)
    }

    /// Whether the handler may send.
    pub(crate) fn is_sendable(&self) -> bool {
        self.is_served() && !self.has(Flags::FINISHED)
    }

    /// A call on the socket failed: the first error is kept, and the output is lost, but what can
    /// be read is read to its end (C7), even if the handler had paused: nothing else would ever end
    /// the connection. Returns what was released.
    pub(crate) fn fail(&mut self, error: Errno) -> Released {
        self.remember(error);
        self.set(Flags::FAILED | Flags::READABLE | Flags::TO_EAGAIN);
        self.clear(Flags::PAUSED | Flags::STARVED);
        if self.has(Flags::KEPT) {
            self.set(Flags::SHOW);
        }
        self.drop_output()
    }

    // Input.

    /// The input that is kept, and what is known about it. It is taken out for as long as it is
    /// shown; [`keep`](Self::keep) puts the rest back.
    pub(crate) fn take_kept(&mut self) -> (Vec<u8>, Scanned) {
        self.clear(Flags::SHOW | Flags::KEPT);
        let Some(cold) = &mut self.cold else { return Default::default() };
        let taken = (std::mem::take(&mut cold.kept), std::mem::take(&mut cold.scanned));
        cold.owes_end = false;
        self.cool();
        taken
    }

    pub(crate) fn keep(&mut self, rest: Vec<u8>, scanned: Scanned) {
        if rest.is_empty() {
            return;
        }
        self.set(Flags::KEPT);
        if self.has(Flags::ABOVE | Flags::PAUSED) {
            self.set(Flags::SHOW);
        }
        let cold = self.cold();
        cold.kept = rest;
        cold.scanned = scanned;
    }

    /// Whether what is kept, and the end of the peer's stream behind it, are still to be shown.
    pub(crate) fn owes_end(&self) -> bool {
        self.has(Flags::PEER_ENDED) && self.cold.as_ref().is_some_and(|cold| cold.owes_end)
    }

    /// What is kept, and the end of the peer's stream behind it, are to be shown to the handler, or
    /// no more. Returns whether they are.
    pub(super) fn set_owes_end(&mut self, owes: bool) -> bool {
        let owes = owes && self.life == Life::Open && self.has(Flags::KEPT);
        if let Some(cold) = &mut self.cold {
            cold.owes_end = owes;
        }
        owes
    }

    /// The memory of the kept input.
    pub(crate) fn kept(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.kept.capacity())
    }

    /// A receive was answered, if only by EAGAIN: the kernel has memory for it.
    pub(crate) fn receive_answered(&mut self) {
        if let Some(cold) = &mut self.cold
            && cold.receiving != Retries::NONE
        {
            cold.receiving = Retries::NONE;
            self.cool();
        }
    }

    /// Everything was read for now; an edge will come.
    pub(crate) fn exhausted(&mut self) {
        self.clear(Flags::READABLE | Flags::TO_EAGAIN);
    }

    /// The peer's FIN was read.
    pub(crate) fn peer_ended(&mut self) {
        self.exhausted();
        self.set(Flags::PEER_ENDED);
    }

    /// The handler wants to read again. Only from now on can the peer be idle.
    pub(crate) fn resume(&mut self, now: Time) {
        if self.has(Flags::PAUSED) {
            self.clear(Flags::PAUSED);
            self.active = now;
        }
        if self.has(Flags::KEPT) {
            self.set(Flags::SHOW);
        }
    }

    /// Nobody takes these bytes of input.
    pub(crate) fn leave_unread(&mut self, count: usize) {
        if count > 0 {
            self.cold().discarded += count as u64;
        }
    }

    pub(crate) fn discarded(&self) -> u64 {
        self.cold.as_ref().map_or(0, |cold| cold.discarded)
    }

    /// Input was discarded while lingering. Returns whether more may be.
    pub(crate) fn discard(&mut self, count: usize) -> bool {
        self.leave_unread(count);
        let cold = self.cold();
        cold.discardable = cold.discardable.saturating_sub(count);
        cold.discardable > 0
    }

    // The end.

    /// The first error that any call saw.
    pub(crate) fn error(&self) -> Option<Errno> {
        self.error.map(|error| Errno::from_raw_os_error(error.get().into()))
    }

    /// The first error that any call saw is kept.
    pub(crate) fn remember(&mut self, error: Errno) {
        // Error numbers are below 4096 (errno-base.h, MAX_ERRNO).
        let error = u16::try_from(error.raw_os_error()).ok().and_then(NonZeroU16::new);
        self.error = self.error.or(error);
    }

    pub(crate) const fn reason(&self) -> Option<Reason> {
        self.reason
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.cold.as_ref().map_or(0, |cold| cold.dropped)
    }

    /// No more is sent or shown; what is queued is written first. `reason` counts if it is the
    /// first.
    pub(crate) fn begin_close(&mut self, reason: Reason) -> Next {
        debug_assert_eq!(self.life, Life::Open);
        self.enter(Life::Flushing);
        self.reason.get_or_insert(reason);
        if let Some(cold) = &mut self.cold {
            cold.busy = false;
        }
        self.clear(Flags::PAUSED | Flags::MARKED | Flags::STARVED | Flags::SHOW | Flags::KEPT);
        self.flushed()
    }

    /// What is to be done when some output was written.
    pub(crate) fn flushed(&self) -> Next {
        if self.has(Flags::JOINED | Flags::QUEUED) {
            return Next::Wait;
        }
        match self.life {
            Life::Flushing if self.has(Flags::ABORT) => Next::Reset,
            Life::Flushing if self.has(Flags::PEER_ENDED) => Next::Finish,
            Life::Flushing => Next::Linger,
            Life::Open if self.has(Flags::FINISHED) && self.is_read() => Next::Finish,
            Life::Open if self.has(Flags::FIN_SENT) => Next::Wait,
            Life::Open if self.has(Flags::FINISHED) => Next::HalfClose,
            _ => Next::Wait,
        }
    }

    /// Whether the peer's stream has ended, and none of it waits to be relayed or shown.
    fn is_read(&self) -> bool {
        let waits = self.has(Flags::RELAYED) && self.has(Flags::KEPT) || self.owes_end();
        self.has(Flags::PEER_ENDED) && !waits
    }

    /// Our FIN is out: waits for the peer's, for `timeout` and for `discardable` bytes at most
    /// (C6).
    pub(crate) fn linger(&mut self, now: Time, timeout: Duration, discardable: usize) {
        debug_assert_eq!(self.life, Life::Flushing);
        self.enter(Life::Lingering);
        let cold = self.cold();
        cold.timers = Timers::NONE;
        cold.deadline = now.after(timeout);
        cold.lingers = now;
        cold.discardable = discardable;
    }

    /// Its end is decided. Returns what its output released.
    pub(crate) fn end(&mut self, reason: Reason, abort: bool) -> Released {
        debug_assert_ne!(self.life, Life::Ended);
        self.enter(Life::Ended);
        // Why we ended it counts for more than what came of it while it lingered.
        self.reason = Some(match self.reason {
            Some(earlier) if !abort => earlier,
            _ => reason,
        });
        if abort {
            self.set(Flags::ABORT);
        }
        self.drop_output()
    }

    fn cold(&mut self) -> &mut Cold {
        self.cold.get_or_insert_with(Box::default)
    }

    /// Gives the memory of the rarer things back when none of them is left.
    fn cool(&mut self) {
        self.cold = self.cold.take().filter(|cold| cold.is_needed());
    }
}
