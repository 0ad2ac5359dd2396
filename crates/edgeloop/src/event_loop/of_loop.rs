//! Phase 7, for the callbacks of no connection: the wake-up, and the end of the turn.

use super::EventLoop;
use crate::api::handler::{Handler, LoopContext};
use crate::api::id::ConnectionId;
use crate::api::time::Time;
use crate::core::Agenda;
use crate::event_loop::call_context::CallContext;
use crate::event_loop::panics::Called;
use crate::kernel::Kernel;

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// Phase 7, for the wake-up of the handler. Shortly before it the agenda is kept from being
    /// empty, so that no wait blocks.
    pub(super) fn wake_up(&mut self) {
        if self.core.wake_up <= self.core.now {
            self.core.wake_up = Time::NEVER;
            self.core.current = ConnectionId::NONE;
            let mut cx = CallContext::new(&mut self.core, &mut self.started, ConnectionId::NONE);
            let called = Called::new(&mut self.own_panics.is_handlers);
            wake_up(&mut self.handler, &mut cx);
            called.done();
        } else if self.core.polls_from() <= self.core.now {
            self.core.agenda.add(Agenda::WAKE_UP);
        } else {
            self.core.remind(self.core.polls_from());
        }
    }

    /// Phase 7, at its end, and phase 10 for what came of closing: calls the handler if that was
    /// asked for in this turn. If it asks again, that is for the next one.
    pub(super) fn end_turn(&mut self) {
        if !self.core.agenda.take(Agenda::TURN_ENDS) {
            return;
        }
        self.core.current = ConnectionId::NONE;
        let mut cx = CallContext::new(&mut self.core, &mut self.started, ConnectionId::NONE);
        let called = Called::new(&mut self.own_panics.is_handlers);
        turn_ended(&mut self.handler, &mut cx);
        called.done();
        if self.core.agenda.take(Agenda::TURN_ENDS) {
            self.core.agenda.add(Agenda::NEXT_ENDS);
        }
    }
}

/// Narrows the context to what [`Handler::wake_up`] may use: there is no connection in it.
fn wake_up<H: Handler>(handler: &mut H, cx: &mut impl LoopContext<H::Session>) {
    handler.wake_up(cx);
}

/// The same for [`Handler::turn_ended`].
fn turn_ended<H: Handler>(handler: &mut H, cx: &mut impl LoopContext<H::Session>) {
    handler.turn_ended(cx);
}
