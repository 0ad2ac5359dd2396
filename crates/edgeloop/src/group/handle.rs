//! How the loops of a group are reached, from other threads and from each other.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::api::handler::Stop;
use crate::api::id::ConnectionId;
use crate::api::metrics::Metrics;
use crate::mailbox::{AdoptError, Handle, SendError, SendErrorKind, Sender};

/// Reaches all loops of a [`LoopGroup`](crate::LoopGroup) from any thread, also from their own.
/// Clones reach the same group.
///
/// A connection is reached by its id, whichever loop it is of. What one thread sends to one loop
/// arrives in order.
#[derive(Clone)]
pub struct GroupHandle {
    shared: Arc<Shared>,
}

/// What the loops of a group, and those who reach it, have in common.
struct Shared {
    handles: Arc<[Handle]>,
    state: Mutex<State>,
    /// A loop has ended.
    ended: Condvar,
    /// Which loop is given the next stream.
    next: AtomicUsize,
}

struct State {
    /// The strictest stop that was asked for.
    stop: Option<Stop>,
    /// What each loop has counted that has ended.
    counted: Vec<Option<Metrics>>,
}

/// What the loops of a group have counted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupMetrics {
    /// All of them together.
    pub total: Metrics,
    /// Each of them, by its number.
    pub by_loop: Vec<Metrics>,
}

impl GroupMetrics {
    pub(super) fn of(by_loop: Vec<Metrics>) -> Self {
        Self { total: by_loop.iter().copied().sum(), by_loop }
    }
}

impl fmt::Debug for GroupHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupHandle").field("count", &self.count()).finish_non_exhaustive()
    }
}

impl GroupHandle {
    pub(super) fn new(handles: Arc<[Handle]>) -> Self {
        let counted = vec![None; handles.len()];
        let state = Mutex::new(State { stop: None, counted });
        let (ended, next) = (Condvar::new(), AtomicUsize::new(0));
        Self { shared: Arc::new(Shared { handles, state, ended, next }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn handles(&self) -> &Arc<[Handle]> {
        &self.shared.handles
    }

    pub(super) fn sender_of<M: Send + 'static>(&self, receiver: usize) -> GroupSender<M> {
        let senders = self.handles().iter().map(|handle| Sender::new(handle.clone(), receiver));
        GroupSender { senders: senders.collect() }
    }

    /// A loop has ended, and has counted this.
    pub(super) fn has_ended(&self, number: usize, metrics: Metrics) {
        self.state().counted[number] = Some(metrics);
        self.shared.ended.notify_all();
    }

    /// The number of loops.
    #[must_use]
    pub fn count(&self) -> usize {
        self.handles().len()
    }

    /// Reaches the loop of this number, if there is one.
    #[must_use]
    pub fn of_loop(&self, number: usize) -> Option<&Handle> {
        self.handles().get(number)
    }

    /// Reaches the loop that a connection is of.
    fn of(&self, id: ConnectionId) -> Result<&Handle, SendErrorKind> {
        // The id of a connection of another group.
        self.of_loop(id.loop_number()).ok_or(SendErrorKind::Stopped)
    }

    /// Stops all loops. The strictest of several stops counts. Does not block, and does nothing to
    /// loops that are gone.
    ///
    /// A stop of one loop, by its own [`Handle`] or a callback of it, is one of all.
    pub fn stop(&self, stop: Stop) {
        let mut state = self.state();
        let strictest = state.stop.map_or(stop, |earlier| earlier.stricter(stop));
        // Each loop passes on what it is told, which has to end.
        if state.stop == Some(strictest) {
            return;
        }
        state.stop = Some(strictest);
        drop(state);
        for handle in self.handles().iter() {
            handle.stop(stop);
        }
    }

    /// Calls [`Handler::notified`](crate::Handler::notified) of each loop in one of its next turns.
    /// Does not block.
    pub fn notify(&self) {
        self.handles().iter().for_each(Handle::notify);
    }

    /// Sends bytes on a connection of any loop, as [`Handle::send`]. Does not block.
    ///
    /// # Errors
    ///
    /// When the mailbox of its loop is full or the loop is gone; the bytes come back with the
    /// error.
    pub fn send(&self, id: ConnectionId, bytes: impl Into<Box<[u8]>>) -> Result<(), SendError> {
        match self.of(id) {
            Ok(handle) => handle.send(id, bytes),
            Err(kind) => Err(SendError { kind, value: bytes.into() }),
        }
    }

    /// Ends a connection of any loop, as [`Handle::close`]. Does not block.
    ///
    /// # Errors
    ///
    /// When the mailbox of its loop is full or the loop is gone.
    pub fn close(&self, id: ConnectionId) -> Result<(), SendErrorKind> {
        self.of(id)?.close(id)
    }

    /// Has the handler of a connection of any loop called with its session, as [`Handle::poke`].
    /// Does not block.
    ///
    /// # Errors
    ///
    /// When the mailbox of its loop is full or the loop is gone.
    pub fn poke(&self, id: ConnectionId) -> Result<(), SendErrorKind> {
        self.of(id)?.poke(id)
    }

    /// Gives a connected stream to one of the loops, to each in its turn, as [`Handle::adopt`].
    ///
    /// # Errors
    ///
    /// Those of [`Handle::adopt`].
    pub fn adopt(&self, stream: impl Into<OwnedFd>) -> Result<(), AdoptError> {
        let next = self.shared.next.fetch_add(1, Ordering::Relaxed) % self.count();
        self.handles()[next].adopt(stream)
    }

    /// Asks all loops for what they have counted, and waits for their answers. `None` if one of
    /// them does not answer within this time. A loop that has ended has its last counts.
    ///
    /// On the thread of one of the loops nothing would come of that loop.
    #[must_use]
    pub fn metrics(&self, within: Duration) -> Option<GroupMetrics> {
        let until = Instant::now() + within;
        let by_loop = (0..self.count()).map(|number| {
            let left = until.saturating_duration_since(Instant::now());
            self.handles()[number].metrics(left).or_else(|| self.last_counts(number, until))
        });
        Some(GroupMetrics::of(by_loop.collect::<Option<_>>()?))
    }

    /// What a loop has counted that has ended or is about to.
    fn last_counts(&self, number: usize, until: Instant) -> Option<Metrics> {
        let mut state = self.state();
        loop {
            if let Some(metrics) = state.counted[number] {
                return Some(metrics);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let ended = &self.shared.ended;
            let woken = ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            state = woken.0;
        }
    }
}

/// Sends messages of the type `M` to the loops of a [`LoopGroup`](crate::LoopGroup) from any
/// thread, also from their own, and to the sessions of their connections (C47). Clones send to the
/// same loops.
///
/// Messages of one thread to one loop arrive in order, and in order with what the thread does by a
/// [`GroupHandle`].
pub struct GroupSender<M> {
    senders: Arc<[Sender<M>]>,
}

impl<M> Clone for GroupSender<M> {
    fn clone(&self) -> Self {
        Self { senders: Arc::clone(&self.senders) }
    }
}

impl<M> fmt::Debug for GroupSender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupSender").field("count", &self.senders.len()).finish_non_exhaustive()
    }
}

impl<M: Send + 'static> GroupSender<M> {
    /// The number of loops.
    #[must_use]
    pub fn count(&self) -> usize {
        self.senders.len()
    }

    /// Sends a message to the loop of this number: [`Receive::posted`](crate::Receive::posted) is
    /// called with it. Does not block.
    ///
    /// # Errors
    ///
    /// When the loop's mailbox is full, or the loop is gone or was never there; the message comes
    /// back with the error.
    pub fn post(&self, number: usize, message: M) -> Result<(), SendError<M>> {
        match self.senders.get(number) {
            Some(sender) => sender.post(message),
            None => Err(SendError { kind: SendErrorKind::Stopped, value: message }),
        }
    }

    /// Sends a message to each loop, also to that of the thread that calls this. Does not block.
    ///
    /// # Errors
    ///
    /// When not all loops have it, because the mailbox of one is full or the loop is gone. The
    /// numbers of those loops come back; all others have it.
    pub fn post_to_all(&self, message: &M) -> Result<(), Vec<usize>>
    where
        M: Clone,
    {
        let senders = self.senders.iter().enumerate();
        let failed = senders.filter(|(_, sender)| sender.post(message.clone()).is_err());
        let failed: Vec<_> = failed.map(|(number, _)| number).collect();
        if failed.is_empty() { Ok(()) } else { Err(failed) }
    }

    /// Sends a message to a connection of any loop: [`Receive::message`](crate::Receive::message)
    /// is called with it and the session, or
    /// [`Receive::undelivered`](crate::Receive::undelivered) if the connection has ended. Does not
    /// block.
    ///
    /// # Errors
    ///
    /// When the mailbox of its loop is full or the loop is gone; the message comes back with the
    /// error.
    pub fn send_to(&self, id: ConnectionId, message: M) -> Result<(), SendError<M>> {
        match self.senders.get(id.loop_number()) {
            Some(sender) => sender.send_to(id, message),
            None => Err(SendError { kind: SendErrorKind::Stopped, value: message }),
        }
    }
}
