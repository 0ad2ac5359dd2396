//! How other threads reach the loop: letters in a bounded box, and a waker.
//!
//! No wake-up is lost (C33): a letter is in the box before the flag is raised, and the loop resets
//! the eventfd, lowers the flag, and only then empties the box, in this order. `loom_tests` lets a
//! model checker go through every order in which threads can meet here.

mod adopt;
mod between_loops;
#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::PoisonError;
use std::sync::mpsc;
use std::time::Duration;

use crate::api::handler::Stop;
use crate::api::id::ConnectionId;
use crate::api::metrics::Metrics;
use crate::kernel::{Linux, Wake, Wakeable, persist};
use crate::sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering};

pub use adopt::{AdoptError, AdoptErrorKind};
pub(crate) use between_loops::Accepted;

/// Reaches a loop from any thread. Clones reach the same loop.
pub struct Handle<K: Wakeable = Linux> {
    shared: Arc<Shared>,
    waker: K::Waker,
}

/// What the loop finds in its mailbox.
pub(crate) enum Letter {
    Send(ConnectionId, Box<[u8]>),
    Close(ConnectionId),
    Poke(ConnectionId),
    Adopt(OwnedFd),
    Accepted(Box<Accepted>),
    Message(Message),
    Metrics(mpsc::SyncSender<Metrics>),
}

/// A message, without its type.
pub(crate) struct Message {
    /// For whom; none for the loop.
    pub(crate) to: Option<ConnectionId>,
    /// Which of the loop's receivers knows the type.
    pub(crate) receiver: usize,
    pub(crate) value: Box<dyn Any + Send>,
    size: usize,
}

#[derive(Default)]
struct Mail {
    letters: VecDeque<Letter>,
    /// Bytes of the letters, with what each of them costs itself.
    held: usize,
    notify: bool,
    /// Connections that wait in a backlog may be accepted now.
    freed: bool,
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
        let contents = match self {
            Self::Send(_, bytes) => bytes.len(),
            Self::Message(message) => message.size,
            Self::Close(_) | Self::Poke(_) | Self::Adopt(_) | Self::Metrics(_) => 0,
            Self::Accepted(_) => size_of::<Accepted>(),
        };
        size_of::<Self>() + contents
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
            Self::Accepted(accepted) => write!(f, "Accepted({})", accepted.peer),
            Self::Message(message) => write!(f, "Message(to {:?})", message.to),
            Self::Metrics(_) => write!(f, "Metrics"),
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

impl<K: Wakeable> Clone for Handle<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), waker: self.waker.clone() }
    }
}

impl<K: Wakeable> fmt::Debug for Handle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl<K: Wakeable> Handle<K> {
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
            value: if let Letter::Send(_, bytes) = letter { bytes } else { Box::default() },
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

    /// Asks the loop for what it has counted, and waits for its answer. `None` if there is none
    /// within this time, the mailbox is full or the loop is gone. The loop answers in one of its
    /// next turns, in order with what else was sent to it.
    ///
    /// On the loop's own thread nothing would come: there,
    /// [`LoopContext::metrics`](crate::LoopContext::metrics) is asked.
    #[must_use]
    pub fn metrics(&self, within: Duration) -> Option<Metrics> {
        let (answer, metrics) = mpsc::sync_channel(1);
        self.post(Letter::Metrics(answer)).ok()?;
        metrics.recv_timeout(within).ok()
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

/// Sends messages of the type `M` to a loop from any thread, and to the sessions of its connections
/// (C47). They are received by the handler's [`Receive`](crate::Receive), which has an example.
/// Clones send to the same loop.
///
/// Messages of one thread arrive in order, and in order with what it does by a [`Handle`].
pub struct Sender<M, K: Wakeable = Linux> {
    handle: Handle<K>,
    receiver: usize,
    messages: PhantomData<fn(M)>,
}

impl<M, K: Wakeable> Clone for Sender<M, K> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone(), ..*self }
    }
}

impl<M, K: Wakeable> fmt::Debug for Sender<M, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("handle", &self.handle).finish_non_exhaustive()
    }
}

impl<M: Send + 'static, K: Wakeable> Sender<M, K> {
    pub(crate) const fn new(handle: Handle<K>, receiver: usize) -> Self {
        Self { handle, receiver, messages: PhantomData }
    }

    /// Sends a message to the loop: [`Receive::posted`](crate::Receive::posted) is called with it.
    /// Does not block.
    ///
    /// In the mailbox it counts as many bytes as its type has, without what it points to.
    ///
    /// # Errors
    ///
    /// When the mailbox is full or the loop is gone; the message comes back with the error.
    pub fn post(&self, message: M) -> Result<(), SendError<M>> {
        self.deliver(None, message)
    }

    /// Sends a message to a connection: [`Receive::message`](crate::Receive::message) is called
    /// with it and the session, or [`Receive::undelivered`](crate::Receive::undelivered) if the
    /// connection has ended. Does not block.
    ///
    /// In the mailbox it counts as many bytes as its type has, without what it points to.
    ///
    /// # Errors
    ///
    /// When the mailbox is full or the loop is gone; the message comes back with the error.
    pub fn send_to(&self, id: ConnectionId, message: M) -> Result<(), SendError<M>> {
        self.deliver(Some(id), message)
    }

    /// What else can be done to the loop from other threads.
    #[must_use]
    pub const fn handle(&self) -> &Handle<K> {
        &self.handle
    }

    fn deliver(&self, to: Option<ConnectionId>, message: M) -> Result<(), SendError<M>> {
        let (receiver, size) = (self.receiver, size_of::<M>());
        let letter = Letter::Message(Message { to, receiver, value: Box::new(message), size });
        self.handle.post(letter).map_err(|(kind, letter)| {
            let value = match letter {
                Letter::Message(message) => message.value.downcast().ok(),
                _ => None,
            };
            let value = value.unwrap_or_else(|| unreachable!("the letter comes back"));
            SendError { kind, value: *value }
        })
    }
}

/// Why something could not be sent to the loop, with what it was.
#[derive(Clone, PartialEq, Eq)]
pub struct SendError<T = Box<[u8]>> {
    /// Why.
    pub kind: SendErrorKind,
    /// The bytes or the message that was not sent.
    pub value: T,
}

/// Why something could not be sent to the loop.
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

/// Payload is no business of whoever reads a log (C34).
impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not sent: {}", self.kind)
    }
}

impl<T> std::error::Error for SendError<T> {
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

    pub(crate) fn handle<K: Wakeable>(&self, waker: K::Waker) -> Handle<K> {
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
    pub(crate) fn woken(&self, kernel: &mut impl Wakeable) {
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
            freed: std::mem::take(&mut mail.freed),
            stop: mail.stop.take(),
            more: !mail.letters.is_empty(),
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let mut mail = self.shared.mail();
        mail.gone = true;
        let letters = std::mem::take(&mut mail.letters);
        drop(mail);
        // Behind the lock: what a message does when it is dropped is its own affair.
        drop(letters);
    }
}

/// What was in the mailbox beside letters.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) notify: bool,
    pub(crate) freed: bool,
    pub(crate) stop: Option<Stop>,
    /// Letters are left over for the next turn.
    pub(crate) more: bool,
}
