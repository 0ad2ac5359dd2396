//! The handler of the runs: an echo that is told from every wrong one.

mod acts;
mod alarms;
mod datagrams;
mod expect;
mod limits;
mod listeners;
mod pulls;
mod served;
pub(crate) mod session;
mod turn_ends;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use edgeloop::sim::Random;
use edgeloop::sim::internals::{Settings, World};
use edgeloop::{
    Action, Address, Closed, ConnectionId, Context, DatagramSocket, Input, LoopContext, Notice,
    Origin, Reason, Sent, Time, Trace,
};

use crate::runs::datagrams::Sockets;
use crate::runs::manner::{Limits, Manner};
use alarms::{Alarms, BUSY, Busy, PAUSES};
use limits::{Own, Owns};
pub(crate) use served::Served;
use session::{End, Notices, Seen, Session, Sessions};

/// What another thread sends to a peer by a message to its session.
pub(crate) struct Parcel(pub(crate) Vec<u8>);

/// For how long the handler pauses reading.
const PAUSE: Duration = Duration::from_micros(1300);

/// How many connections the handler asks for at the most, and how often it is woken.
const DIALS: usize = 10;
const WAKE_UPS: usize = 20;

/// Echoes, and notes what is opened and closed.
pub(crate) struct Echo {
    world: Rc<RefCell<World>>,
    sessions: Sessions,
    gone: Vec<ConnectionId>,
    alarms: Alarms,
    busy: Busy,
    owns: Owns,
    /// What holds for the connections that a listener accepts.
    listener_limits: HashMap<Address, Own>,
    /// How often each connection is still to be poked.
    poked: HashMap<ConnectionId, u32>,
    pub(crate) ends: Vec<End>,
    pub(crate) notices: Notices,
    pub(crate) seen: Seen,
    manner: Manner,
    limits: Limits,
    settings: Settings,
    random: Random,
    services: Vec<Address>,
    dialled: usize,
    /// How much input is left with the loop, of all connections.
    left: usize,
    /// When it wants to be woken, and how often it was.
    wake: Option<Time>,
    woken: usize,
    /// Whether it listens where nobody comes.
    lonely: bool,
    /// Of which turns the ends are to be called.
    turn_ends: BTreeSet<u64>,
    /// Its datagram sockets, with the addresses that they are bound to, and those that it had.
    sockets: Sockets,
    closed_sockets: Vec<DatagramSocket>,
    /// How often it has panicked.
    panics: Cell<u64>,
    /// In which turn, and behind how many panics, a timeout was last called, and the tick in which
    /// that had passed.
    rung: ((u64, u64), u64),
}

impl Echo {
    pub(crate) fn new(
        world: &Rc<RefCell<World>>,
        sessions: &Sessions,
        manner: Manner,
        limits: Limits,
        settings: &Settings,
    ) -> Self {
        let services =
            world.borrow().services.iter().map(|service| service.address.clone()).collect();
        Self {
            world: Rc::clone(world),
            sessions: Rc::clone(sessions),
            gone: Vec::new(),
            alarms: Alarms::default(),
            busy: Busy::default(),
            owns: Owns::new(),
            listener_limits: HashMap::new(),
            poked: HashMap::new(),
            ends: Vec::new(),
            notices: Notices::default(),
            seen: Seen::default(),
            manner,
            limits,
            settings: *settings,
            random: Random::new(world.borrow_mut().random.next()),
            services,
            dialled: 0,
            left: 0,
            wake: None,
            woken: 0,
            lonely: false,
            turn_ends: BTreeSet::new(),
            sockets: Sockets::default(),
            closed_sockets: Vec::new(),
            panics: Cell::new(0),
            rung: ((0, 0), 0),
        }
    }

    fn session(&mut self, origin: &Origin) -> Option<Session> {
        let id = origin.id;
        let (wire, made) = {
            let world = self.world.borrow();
            (world.wire_named(id).expect("the loop has registered it"), world.clock_read)
        };
        self.begins(id, wire);
        let (address, adopted) = {
            let it = &self.world.borrow().wires[wire];
            (it.addresses[0].clone(), it.adopted)
        };
        let listener = origin.listener.as_ref();
        if listener != Some(&address).filter(|_| !adopted) {
            let what = || format!("{id} was accepted at {address}, and not at {listener:?}");
            self.world.borrow_mut().violated(what);
        }
        if self.random.chance(self.manner.births) {
            self.give_up(wire);
            if self.random.chance(300) {
                return None;
            }
            self.panic_quietly("as planned, and before it has a session");
        }
        self.seen.turned_away.remove(&id);
        self.has_limits_of(listener, id, wire);
        self.sessions.borrow_mut().push((id, wire));
        Some(Session::new(id, wire, made))
    }

    /// One that has no session begins, if that is not known yet.
    fn begins(&mut self, id: ConnectionId, wire: usize) {
        let is_new = self.seen.turned_away.insert(id);
        let adopted = self.world.borrow().wires[wire].adopted;
        let seen = if adopted { &mut self.seen.adopted } else { &mut self.seen.accepted };
        *seen += u64::from(is_new);
    }

    /// The session of a callback: one of an outbound connection learns with its first callback
    /// which that is.
    fn learn(&self, id: ConnectionId, session: &mut Session) {
        if session.id.is_none() {
            session.id = Some(id);
            session.wire = self.world.borrow().wire_named(id).expect("it is registered");
        }
    }

    fn opened<S: From<Session>>(
        &mut self,
        cx: &mut impl Context<S>,
        session: &mut Session,
    ) -> Action {
        self.called_back(cx, session);
        session.heard = cx.now();
        self.seen.connected += u64::from(session.outbound);
        {
            let mut world = self.world.borrow_mut();
            world.is_made(cx.id());
            // It may be another address that was connected to in the end.
            let before = world.wires[session.wire].known.low_watermark;
            session.wire = world.wire_named(cx.id()).expect("it is registered");
            let known = &mut world.wires[session.wire].known;
            known.low_watermark = known.low_watermark.or(before);
            let mut sessions = self.sessions.borrow_mut();
            sessions.iter_mut().filter(|one| one.0 == cx.id()).for_each(|one| one.1 = session.wire);
            // What is connected to while the loop drains may not have the time for all of it.
            let late = session.outbound && world.stopped.or(world.ended_at).is_some();
            let place = &mut world.peer_of(session.wire).place;
            place.excused |= late;
            let served = !place.excused;
            world.wires[session.wire].known.served = served;
        }
        self.may_set_limits(cx, session);
        self.may_set_alarm(cx, session);
        self.may_panic(session);
        Action::Continue
    }

    fn data<S: From<Session>>(
        &mut self,
        cx: &mut impl Context<S>,
        session: &mut Session,
        input: &mut Input<'_>,
    ) -> Action {
        self.called_back(cx, session);
        if let Some(queued) = self.queued(session) {
            let full =
                queued > self.limits_of(session.known_id()).high as u64 && !self.manner.reads_on;
            self.expect(!full, "more is read, though the output is above its watermark", session);
            let told = cx.queued(cx.id()) as u64 == queued;
            self.expect(told, "the loop holds more or less output than it was given", session);
        }
        self.expect(!session.ended, "more is read behind the end", session);
        self.expect(!session.relayed, "what is relayed is shown", session);
        // When output has failed, the rest of the input is shown in spite of a pause.
        let may_read = !session.is_paused() || self.may_have_failed(session);
        self.expect(may_read, "more is read, though the handler paused", session);
        if input.len() > session.left {
            session.heard = cx.now();
        }
        if session.finished {
            // All that comes is read, and none of it can be echoed.
            let gone = cx.send(input.take_all()) == Sent::Gone;
            self.expect(gone, "more can be sent behind the server's end", session);
            self.leaves(session, 0);
            return Action::Continue;
        }
        let flooded = self.meddle(cx);
        self.may_set_limits(cx, session);
        self.may_change_listeners(cx);
        self.may_set_alarm(cx, session);
        self.may_panic(session);
        let streams = input.streams();
        let whole =
            if self.manner.hoards { 0 } else { input.len() - input.len() % self.manner.piece };
        if self.may_stash(cx, session, input, whole) {
            self.leaves(session, input.len());
            return self.may_pause(cx, session, Sent::Queued).unwrap_or(Action::Continue);
        }
        let sent = self.echo_by_pieces(cx, session, input, whole);
        self.leaves(session, input.len());
        if sent == Sent::Refused && flooded && self.limits.low_ceiling {
            // It has itself left no room for that.
            self.give_up(session.wire);
        }
        if session.echoed >= self.manner.enough {
            return self.leave(session);
        }
        self.may_watch(cx, session);
        if self.manner.echoes && streams && sent.is_accepted() {
            // What follows is echoed without it.
            cx.relay(cx.id(), cx.id());
            session.relayed = true;
            let known = &mut self.world.borrow_mut().wires[session.wire].known;
            (known.target, known.fed) = (Some(session.wire), true);
        }
        if let Some(pause) = self.may_pause(cx, session, sent) {
            return pause;
        }
        self.answer(session, sent.or_reset())
    }

    fn end<S: From<Session>>(
        &mut self,
        cx: &mut impl Context<S>,
        session: &mut Session,
        input: &mut Input<'_>,
    ) -> Action {
        self.called_back(cx, session);
        let all = input.len() == session.left;
        self.expect(all, "what was left is not shown at the end", session);
        self.expect(!session.ended, "its stream ends once more", session);
        self.expect(!session.relayed, "the end of what is relayed is shown", session);
        session.ended = true;
        self.may_panic(session);
        if session.finished {
            // The loop ends the connection whatever the answer, because nothing is left to do.
            self.leaves(session, 0);
            return Action::Continue;
        }
        if self.stashes_the_rest(cx, session, input) {
            self.leaves(session, 0);
            return Action::Continue;
        }
        let sent = self.echo(cx, session, input.take_all());
        self.leaves(session, 0);
        if sent == Sent::Refused && self.manner.hoards {
            // It kept more than it may send at once.
            self.give_up(session.wire);
        }
        match sent.or_reset() {
            Action::Continue if self.random.chance(self.manner.stays) => {
                self.set_alarm(cx, (session.known_id(), session.wire), PAUSES, Some(PAUSE));
                Action::Continue
            }
            Action::Continue => self.answer(session, Action::Close),
            failed => self.answer(session, failed),
        }
    }

    fn drained<S: From<Session>>(
        &mut self,
        cx: &mut impl Context<S>,
        session: &mut Session,
    ) -> Action {
        self.called_back(cx, session);
        self.may_set_limits(cx, session);
        self.may_set_alarm(cx, session);
        self.may_panic(session);
        if std::mem::take(&mut session.waits) {
            self.may_resume(cx, session);
        }
        Action::Continue
    }

    fn timer<S: From<Session>>(
        &mut self,
        cx: &mut impl Context<S>,
        session: &mut Session,
        key: u32,
    ) -> Action {
        self.expect_the_timer(cx.now(), session, key);
        self.note_alarm((session.known_id(), session.wire), key, None);
        self.called_back(cx, session);
        if key == BUSY {
            self.set_busy(cx, session.known_id(), false);
        }
        if key != PAUSES {
            self.may_set_limits(cx, session);
            self.may_set_alarm(cx, session);
            self.may_panic(session);
            return Action::Continue;
        }
        let paused = session.paused.take();
        if session.ended && session.stash.is_empty() {
            self.may_panic(session);
            return self.answer(session, Action::Close);
        }
        self.may_set_limits(cx, session);
        self.may_set_alarm(cx, session);
        self.may_panic(session);
        if paused.is_some() {
            self.may_resume(cx, session);
        }
        Action::Continue
    }

    fn closed<S: From<Session>>(
        &mut self,
        cx: &mut impl Context<S>,
        mut session: Session,
        closed: &Closed,
    ) {
        self.called_back_for(cx, &session);
        // It may end at another address than the first without ever having been made.
        if let Some(wire) = self.world.borrow().wire_named(closed.id) {
            session.wire = wire;
        }
        self.world.borrow_mut().note(|| format!("{} is closed: {closed}", closed.id));
        session.offered += closed.relayed;
        session.echoed += closed.relayed;
        session.ended |= session.relayed && closed.peer_ended;
        self.leaves(&mut session, 0);
        let served = std::mem::take(&mut self.world.borrow_mut().wires[session.wire].known.served);
        self.expect_its_time(cx.now(), &session, closed.reason, served);
        self.expect_its_attempts(&session, closed);
        self.expect_proof(cx.now(), &session, closed.reason, served);
        self.expect_no_longer_lingering(cx.now(), &session, closed);
        if matches!(closed.reason, Reason::InputLimit | Reason::InputShare) {
            let meant = self.manner.hoards;
            self.expect(meant, &format!("{}, though it left little", closed.reason), &session);
            self.give_up(session.wire);
        }
        let finished = closed.reason == Reason::Finished;
        self.expect(session.ended || !finished, "its stream has not ended", &session);
        if closed.reason == Reason::OutputLimit && self.limits.low_ceiling {
            // A letter of another thread did not fit under the ceiling.
            self.give_up(session.wire);
        }
        if matches!(closed.reason, Reason::WriteTimeout | Reason::CutOff) {
            // Nor did our own kernel take what was meant for it, or give what came from it.
            let lacked = self.world.borrow().wires[session.wire].lacked;
            if lacked {
                self.give_up(session.wire);
            }
        }
        if closed.reason == Reason::CutOff && self.busy.was(closed.id) {
            // It was not quiet in time.
            self.give_up(session.wire);
        }
        self.seen.turned_away.remove(&closed.id);
        self.gone.push(closed.id);
        self.poked.remove(&closed.id);
        self.may_await_the_end(cx);
        self.alarms.forget(closed.id);
        self.busy.forget(closed.id);
        self.owns.remove(&closed.id);
        let panics = self.random.chance(self.manner.panics);
        self.ends.push(End { session, closed: closed.clone() });
        if self.random.chance(self.manner.redials) {
            self.dial(cx);
        }
        if panics {
            self.panic_quietly("as planned, at the end");
        }
    }

    fn poked<S: From<Session>>(
        &mut self,
        cx: &mut impl Context<S>,
        session: &mut Session,
    ) -> Action {
        self.called_back(cx, session);
        // With small budgets many calls take many turns.
        self.world.borrow_mut().vigil.woken_up();
        let asked = self.poked.get_mut(&cx.id()).filter(|asked| **asked > 0);
        let is_asked = asked.map(|asked| *asked -= 1).is_some();
        self.expect(is_asked, "it is poked more often than asked (C47)", session);
        self.may_set_limits(cx, session);
        self.may_set_alarm(cx, session);
        self.may_panic(session);
        Action::Continue
    }

    /// Another thread has sent something for the peer.
    fn message<S: From<Session>>(
        &mut self,
        cx: &mut impl Context<S>,
        session: &mut Session,
        parcel: &Parcel,
    ) -> Action {
        self.called_back(cx, session);
        self.may_panic(session);
        let sent = cx.send(&parcel.0);
        if sent == Sent::Refused {
            self.seen.refused += 1;
            if self.limits.low_ceiling {
                // As when a letter of another thread does not fit.
                self.give_up(session.wire);
            }
        }
        self.answer(session, sent.or_reset())
    }

    /// The same for a connection that has ended, or is closing.
    fn undelivered<S: From<Session>>(&mut self, cx: &mut impl LoopContext<S>, id: ConnectionId) {
        let sends = cx.send_to(id, b"late") != Sent::Gone;
        let wire = self.sessions.borrow().iter().find(|session| session.0 == id).map(|it| it.1);
        if let Some(wire) = wire {
            // If it has failed, they count as dropped.
            self.world.borrow_mut().peer_of(wire).client().doubtful += 4;
        }
        if sends {
            let what = || format!("a message for {id} was not delivered, and it can be sent to");
            self.world.borrow_mut().violated(what);
        }
        self.seen.stale += 2 * u64::from(self.gone.contains(&id));
    }

    fn draining<S: From<Session>>(&mut self, cx: &mut impl LoopContext<S>) {
        self.seen.drains += 1;
        for id in cx.connections() {
            self.may_poke(cx, id);
        }
        self.may_panic_alone();
    }

    fn notified<S: From<Session>>(&mut self, cx: &mut impl LoopContext<S>) {
        self.seen.notified += 1;
        if self.random.chance(self.manner.redials) {
            self.dial(cx);
        }
        self.may_panic_alone();
    }

    fn wake_up<S: From<Session>>(&mut self, cx: &mut impl LoopContext<S>) {
        self.world.borrow_mut().vigil.woken_up();
        self.may_await_the_end(cx);
        self.woken += 1;
        let (set, now) = (self.wake.take(), cx.now());
        let due = set.is_some_and(|at| at <= now && !self.is_late(at, now));
        if !due {
            let what = || format!("woken up at {now:?}, and not at {set:?}");
            self.world.borrow_mut().violated(what);
        }
        if self.random.chance(self.manner.redials) {
            self.dial(cx);
        }
        if self.random.chance(500) {
            self.set_wake_up(cx);
        }
        self.may_change_listeners(cx);
        self.may_panic_alone();
    }

    fn notice(&mut self, notice: &Notice) {
        let notices = &mut self.notices;
        match notice {
            Notice::AcceptPaused { .. } => notices.accept_pauses += 1,
            Notice::ConnectionCap { .. } => notices.cap_reached += 1,
            Notice::RegistrationFailed { .. } => notices.registrations_failed += 1,
            Notice::MemoryCeiling { .. } => notices.memory_pauses += 1,
            Notice::MemoryRefused { .. } => notices.memory_refusals += 1,
            Notice::Panicked { .. } => notices.panics += 1,
            Notice::LoopPanicked { .. } => {
                self.world.borrow_mut().violated(|| notice.to_string());
            }
            // What is not counted.
            _ => {}
        }
        if self.random.chance(self.manner.panics) {
            self.seen.untold += 1;
            self.panic_quietly("as planned, and when told of something");
        }
    }

    fn trace(&mut self, trace: &Trace<'_>) {
        let (Trace::Registered { id, .. } | Trace::Event { id, .. } | Trace::Received { id, .. }) =
            trace
        else {
            return;
        };
        if !self.random.chance(self.manner.panics / 2) {
            return;
        }
        let wire = self.world.borrow().wire_named(*id).expect("it is registered");
        if matches!(trace, Trace::Registered { .. }) {
            // An outbound one has its session already, and so has one that was given with it.
            let has_session = self.world.borrow().wires[wire].tentative;
            if !has_session {
                self.begins(*id, wire);
            }
        }
        self.give_up(wire);
        self.panic_quietly("as planned, and when shown a step");
    }
}
