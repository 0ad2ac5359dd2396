//! A user's handler under watch: that it comes to an end, does not panic unseen, and what it is
//! told.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::api::closed::Closed;
#[cfg(feature = "udp")]
use crate::api::datagram::Datagram;
use crate::api::handler::{Action, Context, Handler, LoopContext, Origin};
use crate::api::id::ConnectionId;
use crate::api::input::Input;
use crate::api::notice::{Notice, Trace};
use crate::api::receive::Receive;
use crate::sim::World;
use crate::sim::clock::START;
use crate::sim::journal::{Inside, Journal};
use crate::sim::peers::Role;
use crate::sim::peers::player::Player;
use crate::sim::peers::script::Shown;

/// Passes everything on.
pub(crate) struct Watched<H> {
    handler: H,
    world: Rc<RefCell<World>>,
    journal: Rc<Journal>,
    /// The connection in the simulated world of each that the handler has a session of.
    links: HashMap<ConnectionId, usize>,
}

impl<H: Handler> Watched<H> {
    pub(crate) fn new(handler: H, world: &Rc<RefCell<World>>, journal: &Rc<Journal>) -> Self {
        Self {
            handler,
            world: Rc::clone(world),
            journal: Rc::clone(journal),
            links: HashMap::new(),
        }
    }

    /// The handler.
    pub(crate) fn into_inner(self) -> H {
        self.handler
    }

    fn called_back(&self, callback: &'static str, id: ConnectionId, input: Option<&[u8]>) {
        self.journal.enter(Inside::Callback(callback));
        self.tell(|| match input {
            Some(input) => format!("{callback} of {}: {}", self.name(id), Shown(input)),
            None => format!("{callback} of {}", self.name(id)),
        });
        self.world.borrow_mut().vigil.called_back();
    }

    /// The callback has answered, and left so many bytes of its input.
    fn answered(&self, callback: &str, action: Action, left: usize) {
        self.journal.leave();
        self.tell(|| match left {
            0 => format!("{callback} answers {action:?}"),
            left => format!("{callback} answers {action:?}, and leaves {left} bytes"),
        });
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if self.journal.is_followed() {
            let now = self.world.borrow().now;
            self.journal.tell(now.since(START), what);
        }
    }

    /// The peer of a connection, and the connection as the loop names it.
    fn name(&self, id: ConnectionId) -> String {
        let link = self.links.get(&id).copied();
        let name = link.and_then(|link| self.with_player(link, |player| player.name().to_owned()));
        name.map_or_else(|| id.to_string(), |name| format!("{name} ({id})"))
    }

    fn with_player<T>(&self, link: usize, then: impl FnOnce(&mut Player) -> T) -> Option<T> {
        match &mut self.world.borrow_mut().peer_of(link).role {
            Role::Script(player) => Some(then(player)),
            Role::Client(_) | Role::Talker(_) => None,
        }
    }

    /// Finds the connection in the simulated world that this one is now: each address that is
    /// tried has another.
    fn find(&mut self, id: ConnectionId) {
        if let Some(link) = self.world.borrow().wire_named(id) {
            self.links.insert(id, link);
        }
    }
}

impl<H: Handler> Handler for Watched<H> {
    type Session = H::Session;

    const TRACE: bool = H::TRACE;

    fn session(&mut self, origin: &Origin) -> Option<H::Session> {
        self.journal.enter(Inside::Callback("session"));
        let session = self.handler.session(origin);
        self.journal.leave();
        if session.is_some() {
            self.find(origin.id);
        }
        let answer = if session.is_some() { "a session" } else { "no session" };
        self.tell(|| format!("session of {}: {answer}", self.name(origin.id)));
        session
    }

    fn opened(&mut self, cx: &mut impl Context<Self::Session>, session: &mut H::Session) -> Action {
        self.find(cx.id());
        self.world.borrow_mut().is_made(cx.id());
        self.called_back("opened", cx.id(), None);
        let action = self.handler.opened(cx, session);
        self.answered("opened", action, 0);
        action
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: &mut H::Session,
        input: &mut Input<'_>,
    ) -> Action {
        self.called_back("data", cx.id(), Some(input));
        let action = self.handler.data(cx, session, input);
        self.answered("data", action, input.len());
        action
    }

    fn end(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: &mut H::Session,
        input: &mut Input<'_>,
    ) -> Action {
        self.called_back("end", cx.id(), Some(input));
        let action = self.handler.end(cx, session, input);
        self.answered("end", action, input.len());
        action
    }

    fn drained(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: &mut H::Session,
    ) -> Action {
        self.called_back("drained", cx.id(), None);
        let action = self.handler.drained(cx, session);
        self.answered("drained", action, 0);
        action
    }

    fn timer(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: &mut H::Session,
        key: u32,
    ) -> Action {
        self.called_back("timer", cx.id(), None);
        let action = self.handler.timer(cx, session, key);
        self.answered("timer", action, 0);
        action
    }

    fn closed(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: H::Session,
        closed: &Closed,
    ) {
        if !self.links.contains_key(&closed.id) {
            // An outbound connection that was not made.
            self.find(closed.id);
        }
        self.tell(|| format!("closed of {}: {closed}", self.name(closed.id)));
        if let Some(link) = self.links.remove(&closed.id) {
            let _ = self.with_player(link, |player| player.closed = Some(closed.clone()));
        }
        self.journal.enter(Inside::Callback("closed"));
        self.handler.closed(cx, session, closed);
        self.journal.leave();
    }

    fn poked(&mut self, cx: &mut impl Context<Self::Session>, session: &mut H::Session) -> Action {
        // With small budgets many calls take many turns.
        self.world.borrow_mut().vigil.woken_up();
        self.called_back("poked", cx.id(), None);
        let action = self.handler.poked(cx, session);
        self.answered("poked", action, 0);
        action
    }

    fn writable(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: &mut H::Session,
    ) -> Action {
        // Whoever sends nothing is asked once a turn.
        self.world.borrow_mut().vigil.woken_up();
        self.called_back("writable", cx.id(), None);
        let action = self.handler.writable(cx, session);
        self.answered("writable", action, 0);
        action
    }

    fn draining(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        self.journal.enter(Inside::Callback("draining"));
        self.tell(|| "draining".to_owned());
        #[cfg(feature = "udp")]
        {
            self.world.borrow_mut().datagrams.drains = true;
        }
        self.handler.draining(cx);
        self.journal.leave();
    }

    fn notified(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        self.journal.enter(Inside::Callback("notified"));
        self.tell(|| "notified".to_owned());
        self.handler.notified(cx);
        self.journal.leave();
    }

    #[cfg(feature = "udp")]
    fn datagram(&mut self, cx: &mut impl LoopContext<Self::Session>, datagram: &Datagram<'_>) {
        self.journal.enter(Inside::Callback("datagram"));
        self.tell(|| format!("datagram from {}: {}", datagram.from, Shown(datagram.bytes)));
        {
            let mut world = self.world.borrow_mut();
            world.vigil.called_back();
            world.is_shown(datagram);
        }
        self.handler.datagram(cx, datagram);
        self.journal.leave();
    }

    fn turn_ended(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        // As often as it asks.
        self.world.borrow_mut().vigil.woken_up();
        self.journal.enter(Inside::Callback("turn_ended"));
        self.tell(|| "the end of the turn".to_owned());
        self.handler.turn_ended(cx);
        self.journal.leave();
    }

    fn wake_up(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        // As often as it likes.
        self.world.borrow_mut().vigil.woken_up();
        self.journal.enter(Inside::Callback("wake_up"));
        self.tell(|| "wake-up".to_owned());
        self.handler.wake_up(cx);
        self.journal.leave();
    }

    fn notice(&mut self, notice: &Notice) {
        if let Notice::Panicked { message, .. } = notice {
            let inside = self.journal.panicked();
            self.world.borrow_mut().violated(|| format!("{inside} panicked: {message}"));
        }
        if let Notice::LoopPanicked { message } = notice {
            // Or what the test itself does meanwhile.
            let told = match self.journal.panicked() {
                inside @ (Inside::Errand(_) | Inside::Service(_)) => {
                    format!("{inside} panicked: {message}")
                }
                Inside::Handler | Inside::Callback(_) => notice.to_string(),
            };
            self.world.borrow_mut().violated(|| told);
        }
        self.handler.notice(notice);
    }

    fn trace(&mut self, trace: &Trace<'_>) {
        self.handler.trace(trace);
    }
}

/// Messages of other threads are passed on, too.
impl<M, H: Receive<M>> Receive<M> for Watched<H> {
    fn message(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: &mut H::Session,
        message: M,
    ) -> Action {
        self.world.borrow_mut().vigil.woken_up();
        self.called_back("message", cx.id(), None);
        let action = self.handler.message(cx, session, message);
        self.answered("message", action, 0);
        action
    }

    fn undelivered(
        &mut self,
        cx: &mut impl LoopContext<Self::Session>,
        id: ConnectionId,
        message: M,
    ) {
        self.journal.enter(Inside::Callback("undelivered"));
        self.tell(|| format!("undelivered, for {}", self.name(id)));
        self.handler.undelivered(cx, id, message);
        self.journal.leave();
    }

    fn posted(&mut self, cx: &mut impl LoopContext<Self::Session>, message: M) {
        self.journal.enter(Inside::Callback("posted"));
        self.tell(|| "posted".to_owned());
        self.handler.posted(cx, message);
        self.journal.leave();
    }
}
