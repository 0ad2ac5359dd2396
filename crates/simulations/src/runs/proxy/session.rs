//! What the proxy of the runs keeps: of each connection, and of each two that it joins.

use edgeloop::{Closed, ConnectionId};

/// Which end of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Client,
    Server,
}

/// What the proxy knows of one connection: the number of its pair, and which end it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session {
    pub(super) pair: usize,
    pub(super) end: End,
}

/// When the two ends of a pair are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    /// Before the connection to the server is made.
    Early,
    /// When it is made.
    Made,
    /// Some time later, when something was read of one of them.
    Late,
}

/// A client, and the connection that was made for it.
#[derive(Debug)]
pub(super) struct Pair {
    /// The client, and the server: the client again until there is one.
    pub(super) ids: [ConnectionId; 2],
    pub(super) join: Join,
    /// The server is connected.
    pub(super) made: bool,
    /// Which of the two ends is relayed to the other.
    pub(super) relayed: [bool; 2],
    /// They were relayed once.
    pub(super) joined: bool,
    /// Which end was paused, and how much was read of it then.
    pub(super) paused: [Option<(ConnectionId, u64)>; 2],
    /// The handler has ended one of the two, or let go of it.
    pub(super) struck: bool,
    /// How often it is meddled with still.
    pub(super) ticks: usize,
    /// How each end was closed, and its place in the world.
    pub(super) closed: [Option<(Closed, usize)>; 2],
}

impl Pair {
    pub(super) const fn id(&self, end: End) -> ConnectionId {
        self.ids[end as usize]
    }
}

impl End {
    pub(super) const BOTH: [Self; 2] = [Self::Client, Self::Server];

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}
