//! What the handler of the runs keeps: of each connection, and of the run.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use edgeloop::{Closed, ConnectionId, Time};

/// Each connection that was made, by its id, with its place in the world.
pub(crate) type Sessions = Rc<RefCell<Vec<(ConnectionId, usize)>>>;

/// What the server knows of one connection.
#[derive(Debug)]
pub(crate) struct Session {
    /// Which connection it is of, and its place in the world; that of an outbound one is known by
    /// its first callback.
    pub(crate) id: Option<ConnectionId>,
    pub(crate) wire: usize,
    /// What it sent, and what of it the loop accepted.
    pub(crate) offered: u64,
    pub(crate) echoed: u64,
    /// When it was made, and when it was opened or last heard of.
    pub(crate) made: Time,
    pub(crate) heard: Time,
    /// The loop asked for it, with so many addresses that are tried after the first.
    pub(crate) outbound: bool,
    pub(crate) others: u32,
    /// Since when the handler has paused reading.
    pub(crate) paused: Option<Time>,
    /// It has paused until the queue has drained; or for good.
    pub(crate) waits: bool,
    pub(crate) abandoned: bool,
    /// How much of its input is left with the loop.
    pub(crate) left: usize,
    /// What waits until the loop asks for more, and whether it was told to ask.
    pub(crate) stash: VecDeque<u8>,
    pub(crate) asks: bool,
    /// What comes is echoed by a relay.
    pub(crate) relayed: bool,
    /// The peer's stream has ended.
    pub(crate) ended: bool,
    /// The server's stream has ended, and it goes on reading.
    pub(crate) finished: bool,
}

impl Session {
    pub(crate) fn new(id: ConnectionId, wire: usize, made: Time) -> Self {
        Self { id: Some(id), wire, ..Self::unnamed(made) }
    }

    fn unnamed(made: Time) -> Self {
        Self {
            id: None,
            wire: 0,
            offered: 0,
            echoed: 0,
            made,
            heard: Time::ZERO,
            outbound: false,
            others: 0,
            paused: None,
            waits: false,
            abandoned: false,
            left: 0,
            stash: VecDeque::new(),
            asks: false,
            relayed: false,
            ended: false,
            finished: false,
        }
    }

    /// Of a stream that the loop is given now.
    pub(crate) fn given(wire: usize, made: Time) -> Self {
        Self { wire, ..Self::unnamed(made) }
    }

    /// Of a connection that the loop is asked for now, with `others` addresses behind the first.
    pub(crate) fn outbound(others: u32, made: Time) -> Self {
        Self { outbound: true, others, ..Self::unnamed(made) }
    }

    /// Which connection it is for. Each callback has told it before.
    pub(crate) fn known_id(&self) -> ConnectionId {
        self.id.expect("a callback has told it")
    }

    /// Whether the handler wants no input now.
    pub(crate) const fn is_paused(&self) -> bool {
        self.paused.is_some() || self.waits || self.abandoned
    }
}

/// A session of a size of choice: the table of the loop holds them by value.
#[derive(Debug)]
pub(crate) struct Padded<const SIZE: usize> {
    pub(crate) session: Session,
    padding: [u8; SIZE],
}

impl<const SIZE: usize> From<Session> for Padded<SIZE> {
    fn from(session: Session) -> Self {
        Self::new(session)
    }
}

impl<const SIZE: usize> Padded<SIZE> {
    pub(crate) fn new(session: Session) -> Self {
        let padding = [Self::mark(&session); SIZE];
        Self { session, padding }
    }

    #[expect(clippy::cast_possible_truncation, reason = "any byte serves")]
    fn mark(session: &Session) -> u8 {
        session.made.as_nanos() as u8 | 1
    }

    /// Whether nothing has written over it.
    pub(crate) fn is_whole(&self) -> bool {
        let mark = Self::mark(&self.session);
        self.padding.iter().all(|&byte| byte == mark)
    }
}

/// How one connection ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) session: Session,
    pub(crate) closed: Closed,
}

/// How often the loop told of what it also counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Notices {
    pub(crate) accept_pauses: u64,
    pub(crate) cap_reached: u64,
    pub(crate) registrations_failed: u64,
    pub(crate) memory_pauses: u64,
    pub(crate) memory_refusals: u64,
    pub(crate) panics: u64,
}

/// How often it saw what the loop counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) notified: u64,
    /// How often draining began.
    pub(crate) drains: u64,
    /// Acts on a connection that was gone.
    pub(crate) stale: u64,
    pub(crate) accepted: u64,
    /// Of the streams that it was given by another thread or a callback.
    pub(crate) adopted: u64,
    pub(crate) connected: u64,
    pub(crate) refused: u64,
    /// Panics while it was told a notice, which are told no more.
    pub(crate) untold: u64,
    /// Connections that never got a session: it was refused, or making it panicked.
    pub(crate) turned_away: HashSet<ConnectionId>,
}
