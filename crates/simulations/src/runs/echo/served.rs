//! The handler as the loop sees it: with a trace or without one, and with sessions of any size.

use edgeloop::{
    Action, Closed, ConnectionId, Context, Handler, Input, LoopContext, Notice, Origin, Receive,
    Trace,
};

use super::session::Padded;
use super::{Echo, Parcel};

/// Serves by this echo.
pub(crate) struct Served<const TRACE: bool, const SIZE: usize>(pub(crate) Echo);

impl<const TRACE: bool, const SIZE: usize> Handler for Served<TRACE, SIZE> {
    type Session = Padded<SIZE>;

    const TRACE: bool = TRACE;

    fn session(&mut self, origin: &Origin) -> Option<Padded<SIZE>> {
        self.0.session(origin).map(Padded::new)
    }

    fn opened(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        padded: &mut Padded<SIZE>,
    ) -> Action {
        self.0.learn(cx.id(), &mut padded.session);
        self.0.opened(cx, &mut padded.session)
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        padded: &mut Padded<SIZE>,
        input: &mut Input<'_>,
    ) -> Action {
        self.0.learn(cx.id(), &mut padded.session);
        self.0.data(cx, &mut padded.session, input)
    }

    fn end(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        padded: &mut Padded<SIZE>,
        input: &mut Input<'_>,
    ) -> Action {
        self.0.learn(cx.id(), &mut padded.session);
        self.0.end(cx, &mut padded.session, input)
    }

    fn drained(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        padded: &mut Padded<SIZE>,
    ) -> Action {
        self.0.learn(cx.id(), &mut padded.session);
        self.0.drained(cx, &mut padded.session)
    }

    fn timer(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        padded: &mut Padded<SIZE>,
        key: u32,
    ) -> Action {
        self.0.learn(cx.id(), &mut padded.session);
        self.0.timer(cx, &mut padded.session, key)
    }

    fn closed(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        mut padded: Padded<SIZE>,
        closed: &Closed,
    ) {
        self.0.learn(closed.id, &mut padded.session);
        self.0.expect(padded.is_whole(), "its session was written over", &padded.session);
        self.0.closed(cx, padded.session, closed);
    }

    fn poked(&mut self, cx: &mut impl Context<Self::Session>, padded: &mut Padded<SIZE>) -> Action {
        self.0.learn(cx.id(), &mut padded.session);
        self.0.poked(cx, &mut padded.session)
    }

    fn writable(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        padded: &mut Padded<SIZE>,
    ) -> Action {
        self.0.writable(cx, &mut padded.session)
    }

    fn draining(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        self.0.draining(cx);
    }

    fn notified(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        self.0.notified(cx);
    }

    fn datagram(
        &mut self,
        cx: &mut impl LoopContext<Self::Session>,
        datagram: &edgeloop::Datagram<'_>,
    ) {
        self.0.datagram(cx, datagram);
    }

    fn turn_ended(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        self.0.turn_ended(cx);
    }

    fn wake_up(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        self.0.wake_up(cx);
    }

    fn notice(&mut self, notice: &Notice) {
        self.0.notice(notice);
    }

    fn trace(&mut self, trace: &Trace<'_>) {
        self.0.trace(trace);
    }
}

impl<const TRACE: bool, const SIZE: usize> Receive<Parcel> for Served<TRACE, SIZE> {
    fn message(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        padded: &mut Padded<SIZE>,
        parcel: Parcel,
    ) -> Action {
        self.0.learn(cx.id(), &mut padded.session);
        self.0.message(cx, &mut padded.session, &parcel)
    }

    fn undelivered(
        &mut self,
        cx: &mut impl LoopContext<Self::Session>,
        id: ConnectionId,
        _: Parcel,
    ) {
        self.0.undelivered(cx, id);
    }
}
