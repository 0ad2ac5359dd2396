//! What a token stands for, and a batch of events, for people to read.

use crate::epoll::{Batch, Event};
use crate::kernel::Source;

/// A batch of events for people to read.
pub(super) fn shown(events: &Batch) -> String {
    let one =
        |event: Event| format!("{} is {}", name_of(Source::of(event.token())), event.readiness());
    events.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What a source is called.
pub(crate) fn name_of(source: Source) -> String {
    match source {
        Source::Connection(id) => id.to_string(),
        Source::Listener(id) => format!("listener {}", id.number()),
        Source::Alarm => "the alarm".to_owned(),
        Source::Waker => "the waker".to_owned(),
        Source::Watched => "what is watched".to_owned(),
    }
}
