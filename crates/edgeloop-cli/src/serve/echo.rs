//! The echo handlers. They copy nothing: what they send is a slice of the loop's read buffer.
//!
//! There are two, so that the one that runs by default pays nothing for what the other logs.

use std::num::NonZeroU32;

use edgeloop::{
    Action, Address, Closed, Context, Credentials, Datagram, Handler, Input, LoopContext, Notice,
    Origin, Sent, Time, Trace,
};

use super::operator::{Operated, Operator};
use super::udp::DatagramEcho;
use crate::escape::Payload;
use crate::log::millis;

/// Echoes, and logs no connection.
#[derive(Debug)]
pub(crate) struct Echo {
    operator: Operator,
    datagrams: DatagramEcho,
}

impl Echo {
    pub(crate) fn new(operator: Operator, datagrams: DatagramEcho) -> Self {
        Self { operator, datagrams }
    }
}

impl Handler for Echo {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    // Compiled into the loop itself: some 45 instructions a message fewer than a call.
    #[inline(always)]
    fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
        let streams = input.streams();
        let sent = cx.send(input.take_all());
        if streams {
            // What follows need not be shown: it goes through a pipe.
            cx.relay(cx.id(), cx.id());
        }
        sent.or_reset()
    }

    fn datagram(&mut self, cx: &mut impl LoopContext, datagram: &Datagram<'_>) {
        self.datagrams.answer(cx, datagram, false);
    }

    fn notified(&mut self, cx: &mut impl LoopContext) {
        self.operator.notified(cx);
    }

    fn wake_up(&mut self, cx: &mut impl LoopContext) {
        self.operator.notified(cx);
    }

    fn notice(&mut self, notice: &Notice) {
        self.operator.notice(notice);
    }
}

impl Operated for Echo {
    fn operator(&self) -> &Operator {
        &self.operator
    }

    fn datagrams(&self) -> &DatagramEcho {
        &self.datagrams
    }

    fn into_parts(self) -> (Operator, DatagramEcho) {
        (self.operator, self.datagrams)
    }
}

impl<const STEPS: bool> Operated for LoggedEcho<STEPS> {
    fn operator(&self) -> &Operator {
        &self.operator
    }

    fn datagrams(&self) -> &DatagramEcho {
        &self.datagrams
    }

    fn into_parts(self) -> (Operator, DatagramEcho) {
        (self.operator, self.datagrams)
    }
}

/// Echoes, and logs each connection (`-v`); with `STEPS` each step of the loop too (`-vv`).
#[derive(Debug)]
pub(crate) struct LoggedEcho<const STEPS: bool> {
    operator: Operator,
    datagrams: DatagramEcho,
}

impl<const STEPS: bool> LoggedEcho<STEPS> {
    pub(crate) fn new(operator: Operator, datagrams: DatagramEcho) -> Self {
        Self { operator, datagrams }
    }
}

/// What the log says about a connection when it ends.
#[derive(Debug)]
pub(crate) struct Opened {
    peer: Address,
    credentials: Option<Credentials>,
    at: Option<Time>,
    received: u64,
    sent: u64,
}

impl<const STEPS: bool> Handler for LoggedEcho<STEPS> {
    type Session = Opened;

    const TRACE: bool = STEPS;

    fn session(&mut self, origin: &Origin) -> Option<Opened> {
        let (peer, credentials) = (origin.peer.clone(), origin.credentials);
        Some(Opened { peer, credentials, at: None, received: 0, sent: 0 })
    }

    fn opened(&mut self, cx: &mut impl Context<Self::Session>, session: &mut Opened) -> Action {
        session.at = Some(cx.now());
        let credentials = session.credentials;
        tracing::debug!(
            id = %cx.id(),
            peer = %session.peer,
            pid = credentials.and_then(|who| who.process).map(NonZeroU32::get),
            uid = credentials.map(|who| who.user),
            gid = credentials.map(|who| who.group),
            "opened"
        );
        Action::Continue
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: &mut Opened,
        input: &mut Input<'_>,
    ) -> Action {
        let (streams, bytes) = (input.streams(), input.take_all());
        let sent = cx.send(bytes);
        // Who logs each step shows the payload, too.
        if streams && !STEPS {
            cx.relay(cx.id(), cx.id());
        }
        session.received += bytes.len() as u64;
        // What of it was dropped is subtracted at the end.
        if sent != Sent::Refused {
            session.sent += bytes.len() as u64;
        }
        sent.or_reset()
    }

    fn closed(&mut self, cx: &mut impl Context<Self::Session>, session: Opened, closed: &Closed) {
        let Opened { peer, at, received, sent, .. } = session;
        let (received, sent) = (received + closed.relayed, sent + closed.relayed);
        tracing::debug!(
            id = %closed.id,
            %peer,
            bytes_in = received,
            // What the kernel never accepted was not sent.
            bytes_out = sent.saturating_sub(closed.dropped),
            duration_ms = millis(at.map(|at| cx.now().since(at)).unwrap_or_default()),
            reason = closed.to_string(),
            "closed"
        );
    }

    fn datagram(&mut self, cx: &mut impl LoopContext<Self::Session>, datagram: &Datagram<'_>) {
        if STEPS {
            let Datagram { from, to, bytes, .. } = datagram;
            tracing::trace!(peer = %from, %to, bytes = bytes.len(), payload = %Payload(bytes), "datagram");
        }
        self.datagrams.answer(cx, datagram, true);
    }

    fn notified(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        self.operator.notified(cx);
    }

    fn wake_up(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        self.operator.notified(cx);
    }

    fn notice(&mut self, notice: &Notice) {
        self.operator.notice(notice);
    }

    fn trace(&mut self, trace: &Trace<'_>) {
        match trace {
            Trace::Registered { id, descriptor } => {
                tracing::trace!(%id, descriptor, "added to epoll");
            }
            Trace::Event { id, readiness } => tracing::trace!(%id, flags = %readiness, "event"),
            Trace::Received { id, bytes } => {
                tracing::trace!(%id, bytes = bytes.len(), payload = %Payload(bytes), "received");
            }
            _ => {}
        }
    }
}
