//! Why a connection ended, and what was lost with it.

use std::fmt;
use std::io;

use crate::api::address::Address;
use crate::api::id::ConnectionId;

/// The end of one connection, as its [`closed`](crate::Handler::closed) callback is told it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// The connection that ended.
    pub id: ConnectionId,
    /// Why it ended.
    pub reason: Reason,
    /// How many bytes the handler had sent and the kernel had not accepted (C3). Bytes that the
    /// kernel accepted are not counted, though TCP can still lose them after a reset.
    pub dropped: u64,
    /// How many bytes of input the handler did not take: left over when the connection ended, or
    /// come after it was closed and received only so that our output was not destroyed (C6). Bytes
    /// that were still in the kernel are not counted.
    pub discarded: u64,
    /// Whether the peer's stream was received to its end, its FIN.
    pub peer_ended: bool,
    /// How many bytes of input went to other connections by
    /// [`relay`](crate::LoopContext::relay).
    pub relayed: u64,
    /// The error number behind [`Reason::Failed`], [`Reason::ConnectFailed`] and
    /// [`Reason::Exhausted`].
    pub errno: Option<i32>,
    /// The addresses of its [`Target`](crate::Target) that could not be connected to, in the order
    /// in which they were tried. Empty for every connection that was made.
    pub attempts: Vec<Attempt>,
}

/// An address that could not be connected to.
///
/// Shows as `192.0.2.1:7000: Connection refused (os error 111)`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The address.
    pub address: Address,
    /// The error number; `None` if it took too long.
    pub errno: Option<i32>,
}

impl Attempt {
    /// The system's error, or [`TimedOut`](io::ErrorKind::TimedOut) if it took too long.
    #[must_use]
    pub fn error(&self) -> io::Error {
        let timed_out = || io::ErrorKind::TimedOut.into();
        self.errno.map_or_else(timed_out, io::Error::from_raw_os_error)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.address, self.error())
    }
}

impl Closed {
    /// The system's error behind the end, if there is one.
    #[must_use]
    pub fn error(&self) -> Option<io::Error> {
        self.errno.map(io::Error::from_raw_os_error)
    }

    /// Whether both streams were carried to their ends: the peer's was received to its FIN and all
    /// of it taken, and ours was accepted by the kernel to its FIN. A connection that was closed
    /// for being idle, or by the handler, is clean only if the peer then ended its stream, too.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.peer_ended
            && self.dropped == 0
            && self.discarded == 0
            && matches!(
                self.reason,
                Reason::Finished | Reason::Closed | Reason::IdleTimeout | Reason::DrainQuiet
            )
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        for (nth, attempt) in self.attempts.iter().enumerate() {
            write!(f, "{}{attempt}", if nth == 0 { ": " } else { "; " })?;
        }
        if let Some(error) = self.error()
            && self.attempts.is_empty()
        {
            write!(f, ": {error}")?;
        }
        if self.dropped > 0 {
            write!(f, ", {} bytes dropped", self.dropped)?;
        }
        if self.discarded > 0 {
            write!(f, ", {} bytes of input discarded", self.discarded)?;
        }
        Ok(())
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The peer ended its stream, everything owed was written, and we ended ours.
    Finished,
    /// The handler closed it, and everything owed was written.
    Closed,
    /// The handler reset it.
    Reset,
    /// A system call on the socket failed; mostly the peer's reset (C7).
    Failed,
    /// Nothing was received and nothing was owed for the idle timeout.
    IdleTimeout,
    /// The peer took nothing of what was owed for the write timeout.
    WriteTimeout,
    /// While draining it was quiet for a second and owed nothing (C37).
    DrainQuiet,
    /// The drain deadline, or a stop without a drain, cut it off.
    CutOff,
    /// The bytes that its handler left unconsumed reached
    /// [`Config::input_limit`](crate::Config::input_limit), or the connection's own limit.
    InputLimit,
    /// Kept input filled its share of the memory, and this connection held the most of it (C11).
    InputShare,
    /// Queued output filled its share of the memory, and this connection had taken none of its own
    /// for longest (C11).
    OutputShare,
    /// A send from another thread did not fit under the output limit.
    OutputLimit,
    /// The kernel was out of memory or buffers for it, again and again.
    Exhausted,
    /// A callback panicked (C32).
    Panicked,
    /// The connection that it was [relayed](crate::LoopContext::relay) with has ended (C46).
    RelayEnded,
    /// The outbound connection could not be made.
    ConnectFailed,
    /// The outbound connection was not made in time.
    ConnectTimeout,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finished => "finished",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Failed => "failed",
            Self::IdleTimeout => "idle timeout",
            Self::WriteTimeout => "write timeout",
            Self::DrainQuiet => "quiet while draining",
            Self::CutOff => "cut off",
            Self::InputLimit => "input limit reached",
            Self::InputShare => "buffer limit for input reached",
            Self::OutputShare => "buffer limit for output reached",
            Self::OutputLimit => "output limit reached",
            Self::Exhausted => "kernel out of resources",
            Self::Panicked => "handler panicked",
            Self::RelayEnded => "relayed connection ended",
            Self::ConnectFailed => "connect failed",
            Self::ConnectTimeout => "connect timed out",
        })
    }
}
