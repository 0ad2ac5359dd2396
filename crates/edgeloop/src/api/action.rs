//! What a callback answers, what becomes of what it sends, and how it stops the loop.

use std::time::Duration;

/// What a callback wants to happen to its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Action {
    /// Go on.
    Continue,
    /// Stop reading from this peer until [`LoopContext::resume`](crate::LoopContext::resume); the
    /// kernel's window then stops it. A paused connection is neither idle nor quiet. Its peer's end
    /// or reset is only noticed when reading goes on, because what the peer sent before must be
    /// read first (C7). When output fails, reading goes on in spite of the pause:
    /// [`Handler::data`](crate::Handler::data) is shown what the peer sent before, and then the
    /// connection ends.
    Pause,
    /// Write what is owed, then end our stream with a FIN, and go on reading (C44). Nothing can be
    /// sent any more; the answer to that is [`Sent::Gone`]. The connection ends when the peer's
    /// stream has ended, too.
    Finish,
    /// Write what is owed, then end the connection (C3, C6). No data callback comes any more.
    Close,
    /// Write what is owed, then end the connection with an RST: what was sent reaches a peer that
    /// reads, and is not taken for all there was. No data callback comes any more. What the kernel
    /// has accepted and not yet sent, because the peer's window is closed, is lost by the RST and
    /// not counted.
    FlushThenReset,
    /// End the connection now with an RST. What is still queued is dropped and counted.
    Reset,
}

/// What became of bytes that were given to [`Context::send`](crate::Context::send) or
/// [`LoopContext::send_to`](crate::LoopContext::send_to).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a refused message is lost unless the handler acts on it; see `Sent::or_reset`"]
pub enum Sent {
    /// The kernel took all of it.
    Written,
    /// The rest waits, below the high watermark: for the end of the turn, to leave together with
    /// what else is sent in it; for the peer; or for the next turn, if this one has sent enough on
    /// this connection ([`Config::turn_bytes`](crate::Config::turn_bytes)).
    Queued,
    /// The rest waits for the peer, and the queue is now above the high watermark: whoever fills
    /// it should stop until the [`drained`](crate::Handler::drained) callback (C10).
    AboveMark,
    /// It would have exceeded the connection's output limit or the ceiling of the whole process.
    /// Nothing of it was written or queued.
    Refused,
    /// The connection or our stream of it is closing, has failed, or is no longer there. Nothing
    /// was queued; if it failed just now, a part may have been written, and the rest counts as
    /// [dropped](crate::Closed::dropped).
    Gone,
}

impl Sent {
    /// Whether the loop has taken charge of the bytes.
    #[must_use]
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Written | Self::Queued | Self::AboveMark)
    }

    /// [`Action::Reset`] if the bytes were refused, so that no stream goes on with a hole in it;
    /// else [`Action::Continue`].
    pub fn or_reset(self) -> Action {
        if self == Self::Refused { Action::Reset } else { Action::Continue }
    }
}

/// How a loop is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Accept what waits in the backlogs, close the listeners, let the connections end by
    /// themselves, close the quiet ones, and reset what is left when the time has passed (C37).
    /// `None` waits for ever; zero ends everything at once.
    Drain(Option<Duration>),
    /// End everything at once: every connection is reset.
    Now,
}

impl Stop {
    /// The one of two that ends sooner.
    pub(crate) fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Now, _) | (_, Self::Now) => Self::Now,
            (Self::Drain(Some(a)), Self::Drain(Some(b))) => Self::Drain(Some(a.min(b))),
            (Self::Drain(a), Self::Drain(b)) => Self::Drain(a.or(b)),
        }
    }
}
