//! The handler of the runs: an echo that is told from every wrong one.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::client::Kind;
use super::runs::{FIRST_PORT, SLACK};
use super::{Random, Side, World};
use crate::closed::{Closed, Reason};
use crate::handler::{Action, Context, Handler, Origin, Sent};
use crate::id::ConnectionId;
use crate::input::Input;
use crate::time::Time;

/// For how long the handler pauses reading.
const PAUSE: Duration = Duration::from_micros(1300);

/// The longest piece of input that a handler waits for.
pub(crate) const MOST_LEFT: usize = 100;

/// Echoes, and notes what is opened and closed.
pub(crate) struct Echo {
    world: Rc<RefCell<World>>,
    sessions: Sessions,
    gone: Vec<ConnectionId>,
    pub(crate) ends: Vec<End>,
    manner: Manner,
    limits: Limits,
    random: Random,
}

/// Each connection that was made, by its id, with its place in the world.
pub(crate) type Sessions = Rc<RefCell<Vec<(ConnectionId, usize)>>>;

/// What the server knows of one connection.
#[derive(Debug)]
pub(crate) struct Session {
    id: ConnectionId,
    pub(crate) link: usize,
    /// What it sent, and what of it the loop accepted.
    pub(crate) offered: u64,
    pub(crate) echoed: u64,
    /// When it was opened, or last heard of.
    heard: Time,
    /// Since when the handler has paused reading.
    paused: Option<Time>,
}

/// How one connection ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) session: Session,
    pub(crate) closed: Closed,
}

/// How an echo is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Only whole pieces of so many bytes are taken; the rest is left to be shown again.
    pub(crate) piece: usize,
    /// How many of a thousand callbacks pause reading for a millisecond.
    pub(crate) pauses: usize,
    /// After so many bytes the server closes the connection.
    pub(crate) enough: u64,
    /// How many of a thousand callbacks end another connection, act on one that is gone, and send
    /// to one that never reads until no more is taken.
    pub(crate) strikes: usize,
    pub(crate) stale: usize,
    pub(crate) floods: usize,
}

impl Manner {
    pub(crate) const PLAIN: Self =
        Self { piece: 1, pauses: 0, enough: u64::MAX, strikes: 0, stale: 0, floods: 0 };

    pub(crate) fn of(random: &mut Random) -> Self {
        Self {
            piece: random.pick(&[1, 1, 2, 7, MOST_LEFT]),
            pauses: random.pick(&[0, 0, 10, 200]),
            enough: random.pick(&[u64::MAX, u64::MAX, 1, 100, 1000]),
            strikes: random.pick(&[0, 0, 0, 10, 50]),
            stale: random.pick(&[0, 0, 100]),
            floods: random.pick(&[0, 0, 50]),
        }
    }
}

/// The settings that every run is held to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) high_watermark: usize,
    pub(crate) output_limit: usize,
    pub(crate) idle: Option<Duration>,
}

impl Echo {
    pub(crate) fn new(
        world: &Rc<RefCell<World>>,
        sessions: &Sessions,
        manner: Manner,
        limits: Limits,
    ) -> Self {
        Self {
            world: Rc::clone(world),
            sessions: Rc::clone(sessions),
            gone: Vec::new(),
            ends: Vec::new(),
            manner,
            limits,
            random: Random::new(world.borrow_mut().random.next()),
        }
    }

    /// Notes that a callback was made that must not have been.
    fn expect(&self, holds: bool, what: &str, session: &Session) {
        if !holds {
            self.world.borrow_mut().violated(|| format!("{what}: {session:?}"));
        }
    }

    /// Any callback: it is for the connection of this session.
    fn called_back(&self, cx: &impl Context, session: &Session) {
        self.world.borrow_mut().called_back();
        self.expect(cx.id() == session.id, "it was called back for another connection", session);
    }

    /// How many bytes of a connection the loop holds for it, if that can be told: those of a
    /// connection that has failed are dropped.
    fn queued(&self, session: &Session) -> Option<u64> {
        let mut world = self.world.borrow_mut();
        let dead = world.links[session.link].is_dead(Side::Ours);
        let accepted = world.links[session.link].accepted(Side::Ours);
        let peer = world.peer_of(session.link);
        let told = !dead && !peer.place.excused && peer.client().kind != Kind::Subscriber;
        told.then(|| (session.echoed + peer.client().pushed).saturating_sub(accepted))
    }

    /// Does what a handler should do seldom.
    fn meddle(&mut self, cx: &mut impl Context) {
        if self.random.chance(self.manner.strikes) {
            let (id, link) = self.any_session();
            if id != cx.id() && !self.gone.contains(&id) {
                self.world.borrow_mut().peer_of(link).place.excused = true;
                if self.random.chance(500) { cx.reset(id) } else { cx.close(id) }
            }
        }
        if self.random.chance(self.manner.stale) && !self.gone.is_empty() {
            let id = self.random.pick(&self.gone);
            let sent = cx.send_to(id, b"stale");
            if sent.is_accepted() {
                self.world.borrow_mut().violated(|| format!("{id} is gone, and was sent to"));
            }
            cx.reset(id);
        }
        if self.random.chance(self.manner.floods) {
            let (id, link) = self.any_session();
            if self.world.borrow_mut().peer_of(link).client().kind == Kind::Vanishing {
                self.flood(cx, id, link);
            }
        }
    }

    fn flood(&mut self, cx: &mut impl Context, id: ConnectionId, link: usize) {
        loop {
            let sent = cx.send_to(id, &[0; 100]);
            let mut world = self.world.borrow_mut();
            let accepted = world.links[link].accepted(Side::Ours);
            let peer = world.peer_of(link).client();
            match sent {
                Sent::Refused => return,
                Sent::Gone => return peer.doubtful += 100,
                _ => peer.pushed += 100,
            }
            if peer.pushed > accepted + self.limits.output_limit as u64 {
                return world.violated(|| format!("more is queued for {id} than the limit allows"));
            }
        }
    }

    fn any_session(&mut self) -> (ConnectionId, usize) {
        let sessions = self.sessions.borrow();
        self.random.pick(&sessions)
    }
}

impl Handler for Echo {
    type Session = Session;

    fn session(&mut self, origin: &Origin) -> Option<Session> {
        let link = match origin {
            Origin::Accepted { peer, .. } => usize::from(peer.port()) - FIRST_PORT,
            Origin::Connecting { peer, .. } => {
                self.world.borrow().dialled(*peer).expect("the loop has asked for it")
            }
        };
        self.sessions.borrow_mut().push((origin.id(), link));
        let id = origin.id();
        Some(Session { id, link, offered: 0, echoed: 0, heard: Time::ZERO, paused: None })
    }

    fn opened(&mut self, cx: &mut impl Context, session: &mut Session) -> Action {
        self.called_back(cx, session);
        session.heard = cx.now();
        Action::Continue
    }

    fn data(
        &mut self,
        cx: &mut impl Context,
        session: &mut Session,
        input: &mut Input<'_>,
    ) -> Action {
        self.called_back(cx, session);
        if let Some(queued) = self.queued(session) {
            let full = queued > self.limits.high_watermark as u64;
            self.expect(!full, "more is read, though the output is above its watermark", session);
            let told = cx.queued(cx.id()) as u64 == queued;
            self.expect(told, "the loop holds more or less output than it was given", session);
        }
        self.expect(session.paused.is_none(), "more is read, though the handler paused", session);
        session.heard = cx.now();
        self.meddle(cx);
        let whole = input.len() - input.len() % self.manner.piece;
        let sent = cx.send(input.take(whole));
        if sent != Sent::Refused {
            session.offered += whole as u64;
        }
        if sent.is_accepted() {
            session.echoed += whole as u64;
        }
        if session.echoed >= self.manner.enough {
            return Action::Close;
        }
        if sent.is_accepted() && self.random.chance(self.manner.pauses) {
            cx.set_timeout(Some(PAUSE));
            session.paused = Some(cx.now());
            return Action::Pause;
        }
        sent.or_reset()
    }

    fn end(
        &mut self,
        cx: &mut impl Context,
        session: &mut Session,
        input: &mut Input<'_>,
    ) -> Action {
        self.called_back(cx, session);
        let count = input.len() as u64;
        let sent = cx.send(input.take_all());
        if sent != Sent::Refused {
            session.offered += count;
            session.echoed += count;
        }
        match sent.or_reset() {
            Action::Continue => Action::Close,
            failed => failed,
        }
    }

    fn timeout(&mut self, cx: &mut impl Context, session: &mut Session) -> Action {
        self.called_back(cx, session);
        if let Some(since) = session.paused.take() {
            let lasted = cx.now().since(since);
            self.expect(lasted >= PAUSE, "the handler's timeout was early", session);
            self.expect(lasted <= PAUSE + SLACK, "the handler's timeout was late", session);
        }
        cx.resume(cx.id());
        Action::Continue
    }

    fn closed(&mut self, cx: &mut impl Context, session: Session, closed: &Closed) {
        self.called_back(cx, &session);
        if let (Reason::IdleTimeout, Some(idle)) = (&closed.reason, self.limits.idle) {
            let early = cx.now().since(session.heard) < idle;
            self.expect(!early, "it was closed before it had been idle for its time", &session);
        }
        self.gone.push(closed.id);
        self.ends.push(End { session, closed: closed.clone() });
    }
}
