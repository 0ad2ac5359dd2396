//! Where events come from.

#[cfg(feature = "udp")]
use crate::api::datagram::DatagramSocket;
use crate::api::id::{ConnectionId, SLOT_BITS};
use crate::epoll::Token;

/// Names one listener of a loop. A name is not used again before all others were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenerId(u32);

impl ListenerId {
    pub(crate) const FIRST: Self = Self(0);

    /// No listener has a number above this.
    const LAST: u32 = FIRST_DATAGRAMS - 1 - FIRST_LISTENER;

    /// The name behind this one; behind the last comes the first.
    #[must_use]
    pub(crate) const fn next(self) -> Self {
        if self.0 < Self::LAST { Self(self.0 + 1) } else { Self::FIRST }
    }

    #[cfg(any(test, feature = "sim"))]
    pub(crate) const fn number(self) -> u32 {
        self.0
    }
}

/// Where an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSource {
    Connection(ConnectionId),
    Listener(ListenerId),
    /// A socket for datagrams.
    #[cfg(feature = "udp")]
    Datagrams(DatagramSocket),
    /// The timer for the earliest deadline.
    Alarm,
    /// What other threads wake the loop with.
    Waker,
    /// A descriptor of the loop's user.
    Watched,
}

// The slots of generation 0, which no connection has.
const ALARM: u32 = 0;
const WAKER: u32 = 1;
const WATCHED: u32 = 2;
const FIRST_LISTENER: u32 = 3;
/// The upper half.
const FIRST_DATAGRAMS: u32 = 1 << (SLOT_BITS - 1);

impl EventSource {
    /// The 64 bits that stand for it in epoll.
    pub(crate) const fn token(self) -> Token {
        let slot = match self {
            Self::Connection(id) => return Token(id.to_bits()),
            Self::Listener(id) => FIRST_LISTENER + id.0,
            #[cfg(feature = "udp")]
            Self::Datagrams(socket) => FIRST_DATAGRAMS + socket.0,
            Self::Alarm => ALARM,
            Self::Waker => WAKER,
            Self::Watched => WATCHED,
        };
        Token(slot as u64)
    }

    /// The inverse of [`token`](Self::token).
    #[cfg(any(test, feature = "sim"))]
    pub(crate) const fn of(token: Token) -> Self {
        Self::named(ConnectionId::from_bits(token.0))
    }

    /// What the bits of a token name that were taken for those of a connection's id.
    pub(crate) const fn named(id: ConnectionId) -> Self {
        if id.generation() != ConnectionId::NONE.generation() {
            return Self::Connection(id);
        }
        match id.slot() {
            ALARM => Self::Alarm,
            WAKER => Self::Waker,
            WATCHED => Self::Watched,
            #[cfg(feature = "udp")]
            slot if slot >= FIRST_DATAGRAMS => {
                Self::Datagrams(DatagramSocket(slot - FIRST_DATAGRAMS))
            }
            slot => Self::Listener(ListenerId(slot - FIRST_LISTENER)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::api::id::GENERATION_BITS;

    #[test]
    fn c17_a_token_tells_its_source_and_none_is_that_of_another() {
        let generations = [1, 7, (1 << GENERATION_BITS) - 1].map(NonZeroU64::new);
        let slots = [0, 1, 2, 3, (1 << SLOT_BITS) - 1];
        let connections = generations.into_iter().flatten().flat_map(|generation| {
            slots.map(|slot| EventSource::Connection(ConnectionId::new(slot, generation)))
        });
        let listeners =
            [0, 1, ListenerId::LAST].map(|number| EventSource::Listener(ListenerId(number)));
        let mut tokens = std::collections::BTreeSet::new();
        for source in connections.chain(listeners).chain([
            EventSource::Alarm,
            EventSource::Waker,
            EventSource::Watched,
        ]) {
            assert_eq!(EventSource::of(source.token()), source);
            assert!(tokens.insert(source.token()), "{source:?} has the token of another");
        }
    }

    #[test]
    fn behind_the_last_name_of_a_listener_comes_the_first() {
        let last = ListenerId(ListenerId::LAST);
        assert_eq!((ListenerId::FIRST.next(), last.next()), (ListenerId(1), ListenerId::FIRST));
    }
}
