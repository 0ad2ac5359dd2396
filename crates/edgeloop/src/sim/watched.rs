//! A user's handler under watch: that it comes to an end, and does not panic unseen.

use std::cell::RefCell;
use std::rc::Rc;

use super::World;
use crate::closed::Closed;
use crate::handler::{Action, Context, Handler, LoopContext, Origin};
use crate::input::Input;
use crate::notice::{Notice, Trace};

/// Passes everything on.
pub(crate) struct Watched<H> {
    handler: H,
    world: Rc<RefCell<World>>,
    /// How many sessions there are.
    sessions: usize,
}

impl<H: Handler> Watched<H> {
    pub(crate) fn new(handler: H, world: &Rc<RefCell<World>>) -> Self {
        Self { handler, world: Rc::clone(world), sessions: 0 }
    }

    /// The handler, and how many sessions were made and not closed.
    pub(crate) fn into_parts(self) -> (H, usize) {
        (self.handler, self.sessions)
    }

    fn called_back(&self) {
        self.world.borrow_mut().vigil.called_back();
    }
}

impl<H: Handler> Handler for Watched<H> {
    type Session = H::Session;

    const TRACE: bool = H::TRACE;

    fn session(&mut self, origin: &Origin) -> Option<H::Session> {
        let session = self.handler.session(origin);
        self.sessions += usize::from(session.is_some());
        session
    }

    fn opened(&mut self, cx: &mut impl Context, session: &mut H::Session) -> Action {
        self.called_back();
        self.handler.opened(cx, session)
    }

    fn data(
        &mut self,
        cx: &mut impl Context,
        session: &mut H::Session,
        input: &mut Input<'_>,
    ) -> Action {
        self.called_back();
        self.handler.data(cx, session, input)
    }

    fn end(
        &mut self,
        cx: &mut impl Context,
        session: &mut H::Session,
        input: &mut Input<'_>,
    ) -> Action {
        self.called_back();
        self.handler.end(cx, session, input)
    }

    fn drained(&mut self, cx: &mut impl Context, session: &mut H::Session) -> Action {
        self.called_back();
        self.handler.drained(cx, session)
    }

    fn timeout(&mut self, cx: &mut impl Context, session: &mut H::Session) -> Action {
        self.called_back();
        self.handler.timeout(cx, session)
    }

    fn closed(&mut self, cx: &mut impl Context, session: H::Session, closed: &Closed) {
        self.sessions = self.sessions.saturating_sub(1);
        self.handler.closed(cx, session, closed);
    }

    fn notified(&mut self, cx: &mut impl LoopContext) {
        self.handler.notified(cx);
    }

    fn input_limit(&self, session: &H::Session) -> usize {
        self.handler.input_limit(session)
    }

    fn notice(&mut self, notice: &Notice) {
        if let Notice::Panicked { message, .. } = notice {
            self.world.borrow_mut().violated(|| format!("the handler panicked: {message}"));
        }
        self.handler.notice(notice);
    }

    fn trace(&mut self, trace: &Trace<'_>) {
        self.handler.trace(trace);
    }
}
