//! What a panic of a callback leads to (C32, C40).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::EventLoop;
use crate::api::closed::Reason;
use crate::api::handler::Handler;
use crate::api::id::ConnectionId;
use crate::api::notice::Notice;
use crate::core::Agenda;
use crate::kernel::Kernel;

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// A callback panicked: its connection ends, everything else goes on (C32).
    #[cold]
    pub(super) fn panicked(&mut self, payload: Box<dyn Any + Send>) {
        self.core.metrics.panics += 1;
        let id = std::mem::replace(&mut self.core.current, ConnectionId::NONE);
        let id = (id != ConnectionId::NONE).then_some(id);
        let message = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a message".to_owned());
        // The payload is a value of the handler's, and dropping it may panic in turn (C40). What
        // that panic carries is leaked, or this would have no end.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        if std::mem::take(&mut self.telling) {
            // Telling of it would panic again, without end.
            self.core.agenda.add(Agenda::NOTICES);
        } else {
            self.core.tell(Notice::Panicked { id, message });
        }
        if let Some(id) = id
            && self.core.connections.get(id).is_some()
        {
            // If it was the closed callback that panicked, the end is on its list already.
            self.core.end(id, Reason::Panicked, true);
        }
        // Any phase may have been left half-way.
        self.core.agenda.add(Agenda::ACCEPT);
        self.core.agenda.add(Agenda::PULLED);
        for item in [Agenda::READY, Agenda::STARVED, Agenda::MAIL, Agenda::POKED, Agenda::TIMERS] {
            self.core.agenda.add(item);
        }
        for item in [Agenda::STARTED, Agenda::CLOSING] {
            self.core.agenda.add(item);
        }
        // A wake-up that the callback set is none of these, and is on the agenda already.
        if self.drain.is_some() {
            self.core.agenda.add(Agenda::DRAIN);
        }
    }
}
