//! What a token stands for, and a batch of events, for people to read.

use crate::epoll::{Batch, Event, Token};
use crate::id::ConnectionId;
use crate::kernel::{ALARM, LISTENERS, WAKER};

/// A batch of events for people to read.
pub(super) fn shown(events: &Batch) -> String {
    let one = |event: Event| format!("{} is {}", name_of(event.token()), event.readiness());
    events.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What a token stands for.
pub(crate) fn name_of(token: Token) -> String {
    match token {
        ALARM => "the alarm".to_owned(),
        WAKER => "the waker".to_owned(),
        Token(bits) => match ConnectionId::from_bits(bits) {
            id if id.generation() != ConnectionId::NONE.generation() => id.to_string(),
            _ => format!("listener {}", bits - LISTENERS.0),
        },
    }
}
