//! What a token stands for, and a batch of events, for people to read.

use crate::epoll::{Batch, Event};
use crate::kernel::EventSource;

/// A batch of events for people to read.
pub(super) fn shown(events: &Batch) -> String {
    let one = |event: Event| {
        format!("{} is {}", name_of(EventSource::of(event.token())), event.readiness())
    };
    events.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What a source is called.
pub(crate) fn name_of(source: EventSource) -> String {
    match source {
        EventSource::Connection(id) => id.to_string(),
        EventSource::Listener(id) => format!("listener {}", id.number()),
        #[cfg(feature = "udp")]
        EventSource::Datagrams(socket) => socket.to_string(),
        EventSource::Alarm => "the alarm".to_owned(),
        EventSource::Waker => "the waker".to_owned(),
        EventSource::Watched => "what is watched".to_owned(),
    }
}
