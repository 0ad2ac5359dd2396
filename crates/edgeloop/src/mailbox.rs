//! How other threads reach the loop: letters in a bounded box, and a waker.
//!
//! No wake-up is lost (C33): a letter is in the box before the flag is raised, and the loop resets
//! the eventfd, lowers the flag, and only then empties the box, in this order. `loom_tests` lets a
//! model checker go through every order in which threads can meet here.

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::PoisonError;

use crate::handler::Stop;
use crate::id::ConnectionId;
use crate::kernel::{Kernel, Linux, Wake, given, persist};
use crate::sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering};

/// Reaches a loop from any thread. Clones reach the same loop.
pub struct Handle<K: Kernel = Linux> {
    shared: Arc<Shared>,
    waker: K::Waker,
}

/// What the loop finds in its mailbox.
pub(crate) enum Letter {
    Send(ConnectionId, Box<[u8]>),
    Close(ConnectionId),
    Poke(ConnectionId),
    Adopt(OwnedFd),
}

#[derive(Default)]
struct Mail {
    letters: VecDeque<Letter>,
    /// Bytes of the letters, with what each of them costs itself.
    held: usize,
    notify: bool,
    stop: Option<Stop>,
    gone: bool,
}

#[derive(Debug)]
struct Shared {
    mail: Mutex<Mail>,
    signalled: AtomicBool,
    limit: usize,
}

impl Shared {
    /// A panic elsewhere leaves the mail as it was: every change of it is complete in itself.
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Letter {
    fn cost(&self) -> usize {
        size_of::<Self>() + if let Self::Send(_, bytes) = self { bytes.len() } else { 0 }
    }
}

/// Payload is no business of whoever reads a log (C34).
impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(id, bytes) => write!(f, "Send({id}, {} bytes)", bytes.len()),
            Self::Close(id) => write!(f, "Close({id})"),
            Self::Poke(id) => write!(f, "Poke({id})"),
            Self::Adopt(stream) => write!(f, "Adopt({})", stream.as_raw_fd()),
        }
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("letters", &self.letters.len())
            .field("held", &self.held)
            .field("notify", &self.notify)
            .field("stop", &self.stop)
            .field("gone", &self.gone)
            .finish()
    }
}

impl<K: Kernel> Clone for Handle<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), waker: self.waker.clone() }
    }
}

impl<K: Kernel> fmt::Debug for Handle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl<K: Kernel> Handle<K> {
    /// Sends bytes on a connection, in the order of the calls. Does not block; the loop writes
    /// them in one of its next turns.
    ///
    /// If the connection is gone by then, they are dropped and counted in
    /// [`Metrics::stale`](crate::Metrics::stale). If they don't fit under its output limit, the
    /// connection ends with [`Reason::OutputLimit`](crate::Reason::OutputLimit), so that its
    /// stream never goes on with a hole in it.
    ///
    /// # Errors
    ///
    /// When the mailbox is full or the loop is gone; the bytes come back with the error.
    pub fn send(&self, id: ConnectionId, bytes: impl Into<Box<[u8]>>) -> Result<(), SendError> {
        let letter = Letter::Send(id, bytes.into());
        self.post(letter).map_err(|(kind, letter)| SendError {
            kind,
            bytes: if let Letter::Send(_, bytes) = letter { bytes } else { Box::default() },
        })
    }

    /// Ends a connection as [`Action::Close`](crate::Action::Close) does, after what was sent to
    /// it before. Does not block.
    ///
    /// # Errors
    ///
    /// When the mailbox is full or the loop is gone.
    pub fn close(&self, id: ConnectionId) -> Result<(), SendErrorKind> {
        self.post(Letter::Close(id)).map_err(|(kind, _)| kind)
    }

    /// Calls [`Handler::notified`](crate::Handler::notified) in one of the next turns; once for
    /// all calls until then. Does not block.
    pub fn notify(&self) {
        self.shared.mail().notify = true;
        self.wake();
    }

    /// Stops the loop. The strictest of several stops counts. Does not block, needs no room in
    /// the mailbox, and does nothing to a loop that is gone.
    pub fn stop(&self, stop: Stop) {
        let mut mail = self.shared.mail();
        mail.stop = Some(mail.stop.map_or(stop, |earlier| earlier.stricter(stop)));
        drop(mail);
        self.wake();
    }

    /// Has a connection's handler called with its session
    /// ([`Handler::poked`](crate::Handler::poked)), in the order of the calls and behind what was
    /// sent to it before. Does not block.
    ///
    /// # Errors
    ///
    /// When the mailbox is full or the loop is gone.
    pub fn poke(&self, id: ConnectionId) -> Result<(), SendErrorKind> {
        self.post(Letter::Poke(id)).map_err(|(kind, _)| kind)
    }

    fn post(&self, letter: Letter) -> Result<(), (SendErrorKind, Letter)> {
        let cost = letter.cost();
        let mut mail = self.shared.mail();
        if mail.gone {
            return Err((SendErrorKind::Stopped, letter));
        }
        // A letter larger than the box goes in alone.
        if mail.held > 0 && mail.held + cost > self.shared.limit {
            return Err((SendErrorKind::Full, letter));
        }
        mail.held += cost;
        mail.letters.push_back(letter);
        drop(mail);
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        if !self.shared.signalled.swap(true, Ordering::SeqCst) && !self.waker.wake() {
            // The next letter tries again.
            self.shared.signalled.store(false, Ordering::SeqCst);
        }
    }
}

impl Handle {
    /// Gives the loop a connected stream, such as one that another thread has accepted: one
    /// acceptor can feed several loops. The session is made by
    /// [`Handler::session`](crate::Handler::session) with
    /// [`Origin::Adopted`](crate::Origin::Adopted), and from then on it is a connection like any
    /// other. Does not block; a few system calls.
    ///
    /// Nothing is lost of what has come on it, or comes meanwhile. It must be the only descriptor
    /// of its socket, or the connection outlives its end here.
    ///
    /// At its connection cap, without memory, or when it cuts off what is left behind a stop, the
    /// loop resets the stream and counts it in
    /// [`Metrics::adoptions_refused`](crate::Metrics::adoptions_refused).
    ///
    /// # Errors
    ///
    /// When it is no connected TCP socket, the mailbox is full, or the loop is gone; the stream
    /// comes back with the error, as it was.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::net::TcpListener;
    ///
    /// use edgeloop::{AdoptErrorKind, Handle};
    ///
    /// /// Accepts, and gives the connections to the loops in turn.
    /// fn distribute(listener: &TcpListener, loops: &[Handle]) -> std::io::Result<()> {
    ///     for handle in loops.iter().cycle() {
    ///         let (stream, _) = listener.accept()?;
    ///         if let Err(error) = handle.adopt(stream)
    ///             && matches!(error.kind, AdoptErrorKind::Stopped)
    ///         {
    ///             break;
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn adopt(&self, stream: impl Into<OwnedFd>) -> Result<(), AdoptError> {
        let stream = stream.into();
        if let Err(error) = given::expect_stream(&stream) {
            return Err(AdoptError { kind: AdoptErrorKind::Unfit(error), stream });
        }
        match self.post(Letter::Adopt(stream)) {
            Err((kind, Letter::Adopt(stream))) => {
                let kind = match kind {
                    SendErrorKind::Full => AdoptErrorKind::Full,
                    SendErrorKind::Stopped => AdoptErrorKind::Stopped,
                };
                Err(AdoptError { kind, stream })
            }
            _ => Ok(()),
        }
    }
}

/// Why a stream could not be given to a loop, with the stream.
#[derive(Debug)]
pub struct AdoptError {
    /// Why.
    pub kind: AdoptErrorKind,
    /// The stream that was not adopted.
    pub stream: OwnedFd,
}

/// Why a stream could not be given to a loop.
#[derive(Debug)]
#[non_exhaustive]
pub enum AdoptErrorKind {
    /// The mailbox holds as many bytes as it may; the loop is behind.
    Full,
    /// The loop is gone.
    Stopped,
    /// It is no connected TCP socket. The error says what it is.
    Unfit(io::Error),
}

impl fmt::Display for AdoptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot adopt {}: ", given::name_of(&self.stream))?;
        match &self.kind {
            AdoptErrorKind::Full => SendErrorKind::Full.fmt(f),
            AdoptErrorKind::Stopped => SendErrorKind::Stopped.fmt(f),
            AdoptErrorKind::Unfit(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AdoptError {}

/// Why a letter could not be posted, with its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SendError {
    /// Why.
    pub kind: SendErrorKind,
    /// The bytes that were not sent.
    pub bytes: Box<[u8]>,
}

/// Why a letter could not be posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendErrorKind {
    /// The mailbox holds as many bytes as it may; the loop is behind.
    Full,
    /// The loop is gone.
    Stopped,
}

impl fmt::Display for SendErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the loop's mailbox is full",
            Self::Stopped => "the loop is gone",
        })
    }
}

impl std::error::Error for SendErrorKind {}

impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("kind", &self.kind)
            .field("bytes", &format_args!("{} bytes", self.bytes.len()))
            .finish()
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes not sent: {}", self.bytes.len(), self.kind)
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.kind)
    }
}

/// The loop's end of the mailbox. Dropping it makes the handles answer that the loop is gone.
#[derive(Debug)]
pub(crate) struct Mailbox {
    shared: Arc<Shared>,
}

impl Mailbox {
    pub(crate) fn new(limit: usize) -> Self {
        let mail = Mutex::new(Mail::default());
        let signalled = AtomicBool::new(false);
        Self { shared: Arc::new(Shared { mail, signalled, limit }) }
    }

    pub(crate) fn handle<K: Kernel>(&self, waker: K::Waker) -> Handle<K> {
        Handle { shared: Arc::clone(&self.shared), waker }
    }

    /// The waker has woken the loop: resets it and lowers the flag, in this order, so that from
    /// here on a new letter wakes the loop again. [`collect`](Self::collect) comes after that.
    ///
    /// With the flag down first, a letter could raise it and have its signal reset away: the flag
    /// would stay up over a silent eventfd, and no later letter would wake the loop.
    ///
    /// It is lowered by a swap and not by a store, so that this sees all that went before it was
    /// raised, without the help of the mailbox's lock.
    pub(crate) fn woken(&self, kernel: &mut impl Kernel) {
        // Where it can't be reset, the next signal is an edge all the same.
        let _ = persist(|| kernel.clear_waker());
        self.shared.signalled.swap(false, Ordering::SeqCst);
    }

    /// Takes up to `budget` letters into `letters`, and what else there is to know.
    pub(crate) fn collect(&self, budget: usize, letters: &mut VecDeque<Letter>) -> Collected {
        let mut mail = self.shared.mail();
        let count = budget.min(mail.letters.len());
        letters.extend(mail.letters.drain(..count));
        if mail.letters.is_empty() {
            // What a burst made it grow to goes back (C12).
            mail.letters = VecDeque::new();
            mail.held = 0;
        } else {
            mail.held -= letters.iter().map(Letter::cost).sum::<usize>();
        }
        Collected {
            notify: std::mem::take(&mut mail.notify),
            stop: mail.stop.take(),
            more: !mail.letters.is_empty(),
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let mut mail = self.shared.mail();
        mail.gone = true;
        mail.letters = VecDeque::new();
    }
}

/// What was in the mailbox beside letters.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) notify: bool,
    pub(crate) stop: Option<Stop>,
    /// Letters are left over for the next turn.
    pub(crate) more: bool,
}
