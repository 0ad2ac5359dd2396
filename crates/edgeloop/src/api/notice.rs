//! What the loop tells its operator, and the steps that it can be asked to show.

use std::fmt;
use std::io;

use crate::api::address::Address;
use crate::api::id::ConnectionId;
use crate::epoll::Readiness;

/// Something an operator should know. The library has no log of its own; it hands these to
/// [`Handler::notice`](crate::Handler::notice).
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// A listener asked for a longer backlog than the kernel grants (C25).
    BacklogCapped {
        /// The listener.
        listener: Address,
        /// What was asked for.
        asked: u32,
        /// What `net.core.somaxconn` allows.
        somaxconn: u32,
    },
    /// Accepting pauses: for want of descriptors or memory (C23), or because it fails again and
    /// again (C22). Told once, until a connection is accepted or none waits.
    AcceptPaused {
        /// The listener.
        listener: Address,
        /// The error of accept4(2).
        error: io::Error,
    },
    /// The connection cap is reached; waiters stay in the backlog (C24).
    ConnectionCap {
        /// The cap.
        connections: usize,
    },
    /// A listener is of no use any more (C22).
    ListenerFailed {
        /// The listener.
        listener: Address,
        /// The error of accept4(2).
        error: io::Error,
    },
    /// The loop's wait is interrupted again and again though hardly any time passes. The loop
    /// sleeps between its waits, up to 100 ms, as long as that goes on (C22).
    WaitInterrupted,
    /// A connection could not be registered with epoll and was closed (C19).
    RegistrationFailed {
        /// The error of epoll_ctl(2).
        error: io::Error,
    },
    /// Queued output came near its ceiling: connections that have some are not read, and those that
    /// take none may be given up (C11).
    MemoryCeiling {
        /// Bytes held by output queues.
        held: usize,
    },
    /// The system refused memory for queued output, kept input or another connection; reading and
    /// accepting pause (C11). Told once for each pause.
    MemoryRefused {
        /// Bytes held by output queues.
        held: usize,
    },
    /// A handler panicked (C32).
    Panicked {
        /// The connection whose callback it was, if it was one's.
        id: Option<ConnectionId>,
        /// The panic's message.
        message: String,
    },
    /// The loop itself panicked, which is a bug in it. It goes on, unless that comes again and
    /// again ([`EventLoop::run`](crate::EventLoop::run)).
    LoopPanicked {
        /// The panic's message.
        message: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BacklogCapped { listener, asked, somaxconn } => write!(
                f,
                "backlog of {listener} lowered from {asked} to {somaxconn}: net.core.somaxconn caps it"
            ),
            Self::AcceptPaused { listener, error } => {
                write!(f, "accepting on {listener} pauses: {error}")
            }
            Self::ConnectionCap { connections } => {
                write!(f, "connection limit {connections} reached: new clients wait in the backlog")
            }
            Self::ListenerFailed { listener, error } => {
                write!(f, "listener {listener} failed: {error}")
            }
            Self::WaitInterrupted => f.write_str(
                "epoll_wait is interrupted again and again: the loop sleeps between its waits",
            ),
            Self::RegistrationFailed { error } => {
                write!(f, "connection closed: epoll could not register it: {error}")
            }
            Self::MemoryCeiling { held } => {
                write!(
                    f,
                    "buffer limit nearly reached ({held} bytes of output queued): clients with \
                     queued output are not read from, and may be reset"
                )
            }
            Self::MemoryRefused { held } => {
                write!(
                    f,
                    "memory refused ({held} bytes of output queued): reading and accepting pause"
                )
            }
            Self::Panicked { id: Some(id), message } => {
                write!(f, "handler panicked on connection {id}: {message}")
            }
            Self::Panicked { id: None, message } => write!(f, "handler panicked: {message}"),
            Self::LoopPanicked { message } => {
                write!(f, "event loop panicked, please report this bug: {message}")
            }
        }
    }
}

/// One step of the loop, shown to [`Handler::trace`](crate::Handler::trace).
#[non_exhaustive]
pub enum Trace<'a> {
    /// A connection's descriptor was added to epoll: of one that was accepted, or one by which an
    /// outbound connection tries to reach an address.
    Registered {
        /// The connection.
        id: ConnectionId,
        /// Its descriptor.
        descriptor: i32,
    },
    /// epoll reported an event for a connection.
    Event {
        /// The connection.
        id: ConnectionId,
        /// The kernel's flags.
        readiness: Readiness,
    },
    /// Bytes were received.
    Received {
        /// The connection.
        id: ConnectionId,
        /// The bytes.
        bytes: &'a [u8],
    },
}

/// How many bytes were received, and not which: payload does not belong into a log (C34).
impl fmt::Debug for Trace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered { id, descriptor } => {
                write!(f, "Registered({id}, descriptor {descriptor})")
            }
            Self::Event { id, readiness } => write!(f, "Event({id}, {readiness:?})"),
            Self::Received { id, bytes } => write!(f, "Received({id}, {} bytes)", bytes.len()),
        }
    }
}
