//! The handler of the runs: an echo that is told from every wrong one.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::closed::{Closed, Reason};
use crate::config::{Config, MIN_BUFFER_LIMIT};
use crate::handler::{Action, Context, Handler, LoopContext, Origin, Sent};
use crate::id::ConnectionId;
use crate::input::Input;
use crate::notice::Notice;
use crate::sim::clock::START;
use crate::sim::peers::client::Kind;
use crate::sim::runs::ends::SLACK;
use crate::sim::runs::manner::{Limits, Manner};
use crate::sim::{Fault, Random, Side, World};
use crate::target::Target;
use crate::time::Time;

/// For how long the handler pauses reading.
const PAUSE: Duration = Duration::from_micros(1300);

/// How many connections the handler asks for at the most.
const DIALS: usize = 5;

/// Echoes, and notes what is opened and closed.
pub(crate) struct Echo {
    world: Rc<RefCell<World>>,
    sessions: Sessions,
    gone: Vec<ConnectionId>,
    pub(crate) ends: Vec<End>,
    pub(crate) notices: Notices,
    pub(crate) seen: Seen,
    manner: Manner,
    limits: Limits,
    timeouts: Timeouts,
    random: Random,
    services: Vec<SocketAddr>,
    dialled: usize,
    /// How much input is left with the loop, of all connections.
    left: usize,
}

/// Each connection that was made, by its id, with its place in the world.
pub(crate) type Sessions = Rc<RefCell<Vec<(ConnectionId, usize)>>>;

/// How often the loop told of what it also counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Notices {
    pub(crate) accept_pauses: u64,
    pub(crate) cap_reached: u64,
    pub(crate) registrations_failed: u64,
    pub(crate) memory_pauses: u64,
    pub(crate) memory_refusals: u64,
    pub(crate) panics: u64,
}

/// How often it saw what the loop counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) notified: u64,
    /// Acts on a connection that was gone.
    pub(crate) stale: u64,
    pub(crate) accepted: u64,
    pub(crate) connected: u64,
    pub(crate) refused: u64,
}

/// What timeouts the loop has.
#[derive(Debug, Clone, Copy)]
struct Timeouts {
    write: Option<Duration>,
    connect: Option<Duration>,
    quiet: Duration,
    linger: Duration,
}

/// What the server knows of one connection.
#[derive(Debug)]
pub(crate) struct Session {
    id: ConnectionId,
    pub(crate) wire: usize,
    /// What it sent, and what of it the loop accepted.
    pub(crate) offered: u64,
    pub(crate) echoed: u64,
    /// When it was made, and when it was opened or last heard of.
    made: Time,
    heard: Time,
    /// The loop asked for it, with so many addresses that are tried after the first.
    outbound: bool,
    others: u32,
    /// Since when the handler has paused reading.
    paused: Option<Time>,
    /// How much of its input is left with the loop.
    left: usize,
    /// The peer's stream has ended.
    ended: bool,
}

/// How one connection ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) session: Session,
    pub(crate) closed: Closed,
}

impl Echo {
    pub(crate) fn new(
        world: &Rc<RefCell<World>>,
        sessions: &Sessions,
        manner: Manner,
        limits: Limits,
        config: &Config,
    ) -> Self {
        let timeouts = Timeouts {
            write: config.write_timeout,
            connect: config.connect_timeout,
            quiet: config.drain_quiet,
            linger: config.drain_linger_timeout,
        };
        let services = world.borrow().services.iter().map(|service| service.address).collect();
        Self {
            world: Rc::clone(world),
            sessions: Rc::clone(sessions),
            gone: Vec::new(),
            ends: Vec::new(),
            notices: Notices::default(),
            seen: Seen::default(),
            manner,
            limits,
            timeouts,
            random: Random::new(world.borrow_mut().random.next()),
            services,
            dialled: 0,
            left: 0,
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
        self.world.borrow_mut().vigil.called_back();
        self.expect(cx.id() == session.id, "it was called back for another connection", session);
    }

    /// The handler panics, if it is to.
    fn may_panic(&mut self, session: &Session) {
        if self.random.chance(self.manner.panics) {
            self.give_up(session.wire);
            // Without a message on standard error.
            std::panic::resume_unwind(Box::new("as planned"));
        }
    }

    /// The server ends a connection whose peer is owed more.
    fn give_up(&self, wire: usize) {
        let mut world = self.world.borrow_mut();
        world.peer_of(wire).place.excused = true;
        world.wires[wire].known.served = false;
    }

    /// Whether a send of the loop may have failed.
    fn may_have_failed(&self, session: &Session) -> bool {
        let mut world = self.world.borrow_mut();
        let dead = world.wires[session.wire].link.is_dead(Side::Ours);
        dead || world.peer_of(session.wire).place.excused
    }

    /// How many bytes of a connection the loop holds for it, if that can be told: those of a
    /// connection that has failed are dropped.
    fn queued(&self, session: &Session) -> Option<u64> {
        let mut world = self.world.borrow_mut();
        let link = &world.wires[session.wire].link;
        let (dead, accepted) = (link.is_dead(Side::Ours), link.accepted(Side::Ours));
        let peer = world.peer_of(session.wire);
        let told = !dead && !peer.place.excused && peer.client().kind != Kind::Subscriber;
        told.then(|| (session.echoed + peer.client().pushed).saturating_sub(accepted))
    }

    /// The loop holds no more than its ceiling, of output and of input.
    fn expect_below_the_ceiling(&self, cx: &impl Context) {
        let share = MIN_BUFFER_LIMIT / 4;
        let sessions = self.sessions.borrow();
        let output: usize = sessions.iter().map(|session| cx.queued(session.0)).sum();
        if output > 3 * share || self.left > share {
            let left = self.left;
            let what = || format!("{output} bytes of output and {left} of input are held");
            self.world.borrow_mut().violated(what);
        }
    }

    /// So much of a session's input is left with the loop now.
    fn leaves(&mut self, session: &mut Session, left: usize) {
        self.left = self.left - session.left + left;
        session.left = left;
    }

    /// Does what a handler should do seldom. Answers whether it has sent all that fits.
    fn meddle(&mut self, cx: &mut impl Context) -> bool {
        let mut flooded = false;
        if self.random.chance(self.manner.strikes) {
            let (id, wire) = self.any_session();
            if id != cx.id() && !self.gone.contains(&id) {
                self.give_up(wire);
                if self.random.chance(500) { cx.reset(id) } else { cx.close(id) }
            }
        }
        if self.random.chance(self.manner.stale) && !self.gone.is_empty() {
            self.act_on_the_gone(cx);
        }
        if self.random.chance(self.manner.floods) {
            let (id, wire) = self.any_session();
            let mut world = self.world.borrow_mut();
            // Of one that isn't made yet it is not known who will read that.
            let known = !world.wires[wire].tentative;
            let meant = known && world.peer_of(wire).client().kind == Kind::Vanishing;
            drop(world);
            if meant {
                self.flood(cx, id, wire);
                flooded = true;
            }
        }
        if self.random.chance(self.manner.dials)
            && !self.services.is_empty()
            && self.dialled < DIALS
        {
            self.dialled += 1;
            let address = self.random.pick(&self.services);
            let others = usize::from(self.random.chance(300));
            let target = (0..others).fold(Target::new(address), |target, _| {
                target.or(self.random.pick(&self.services))
            });
            // It may be at its cap, or out of descriptors.
            let _ = cx.connect(target, others as u64);
        }
        if self.limits.low_ceiling {
            self.expect_below_the_ceiling(cx);
        }
        flooded
    }

    /// Each act on a connection that is gone does nothing, and is counted (C17).
    fn act_on_the_gone(&mut self, cx: &mut impl Context) {
        let id = self.random.pick(&self.gone);
        self.seen.stale += 1;
        match self.random.below(5) {
            0 => {
                if cx.send_to(id, b"stale") != Sent::Gone {
                    self.world.borrow_mut().violated(|| format!("{id} is gone, and was sent to"));
                }
            }
            1 => cx.reset(id),
            2 => cx.close(id),
            3 => cx.pause(id),
            _ => cx.resume(id),
        }
    }

    fn flood(&mut self, cx: &mut impl Context, id: ConnectionId, wire: usize) {
        loop {
            let sent = cx.send_to(id, &[0; 100]);
            let mut world = self.world.borrow_mut();
            let accepted = world.wires[wire].link.accepted(Side::Ours);
            if sent.is_accepted() {
                world.wires[wire].known.given += 100;
            }
            let peer = world.peer_of(wire).client();
            match sent {
                Sent::Refused => {
                    self.seen.refused += 1;
                    return;
                }
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

    /// Sends so many bytes that came in back.
    fn echo(&mut self, cx: &mut impl Context, session: &mut Session, bytes: &[u8]) -> Sent {
        let sent = cx.send(bytes);
        let count = bytes.len() as u64;
        if sent == Sent::Refused {
            self.seen.refused += 1;
        } else {
            session.offered += count;
        }
        if sent.is_accepted() {
            session.echoed += count;
            self.world.borrow_mut().wires[session.wire].known.given += count;
        }
        sent
    }

    /// The handler pauses, if it is to and the connection is there.
    fn may_pause(
        &mut self,
        cx: &mut impl Context,
        session: &mut Session,
        sent: Sent,
    ) -> Option<Action> {
        if !sent.is_accepted() || !self.random.chance(self.manner.pauses) {
            return None;
        }
        cx.set_timeout(Some(PAUSE));
        session.paused = Some(cx.now());
        Some(self.answer(session, Action::Pause))
    }

    /// The answer of a callback, with what it means for the connection.
    fn answer(&self, session: &Session, action: Action) -> Action {
        let known = &mut self.world.borrow_mut().wires[session.wire].known;
        match action {
            Action::Close | Action::Reset => known.served = false,
            Action::Pause => known.paused = true,
            Action::Continue => {}
        }
        action
    }

    /// Why a connection was closed now, and not earlier or later.
    fn expect_its_time(&self, now: Time, session: &Session, reason: Reason) {
        let (accepted, stopped, refused) = {
            let world = self.world.borrow();
            let stopped = world.stopped.or(world.ended_at).unwrap_or(START);
            let refused = world.faults.injected.iter().any(Fault::is_refused_memory);
            (world.wires[session.wire].sent_at, stopped, refused)
        };
        let moved = session.heard.max(accepted);
        let (since, timeout) = match reason {
            Reason::IdleTimeout => (session.heard, self.limits.idle),
            Reason::WriteTimeout => (accepted, self.timeouts.write),
            Reason::ConnectTimeout => (session.made, self.timeouts.connect),
            Reason::DrainQuiet => (moved.max(stopped), Some(self.timeouts.quiet)),
            _ => return,
        };
        let Some(timeout) = timeout else {
            return self.expect(false, "there is no such timeout", session);
        };
        // What is known of the kernel's side is known to the end of a turn, not to its beginning.
        let slack = if reason == Reason::IdleTimeout { Duration::ZERO } else { SLACK };
        let lasted = now.since(since) + slack;
        self.expect(lasted >= timeout, &format!("{reason} after {lasted:?}, too early"), session);
        let lasted = now.since(moved.max(session.made).max(stopped));
        // It is told closed when it has lingered, too.
        let late = match reason {
            Reason::ConnectTimeout => lasted > timeout * (1 + session.others) + SLACK,
            // The time of whoever was not read for want of memory began anew (C11).
            Reason::DrainQuiet => !refused && lasted > timeout + self.timeouts.linger + SLACK,
            _ => false,
        };
        self.expect(!late, &format!("{reason} after {lasted:?}, too late"), session);
    }
}

impl Handler for Echo {
    type Session = Session;

    fn session(&mut self, origin: &Origin) -> Option<Session> {
        let world = self.world.borrow();
        let wire = world.wire_named(origin.id()).expect("the loop has registered it");
        self.sessions.borrow_mut().push((origin.id(), wire));
        let (id, made) = (origin.id(), world.now);
        let heard = Time::ZERO;
        let others = match origin {
            Origin::Connecting { tag, .. } => u32::try_from(*tag).unwrap_or(0),
            Origin::Accepted { .. } => 0,
        };
        let outbound = matches!(origin, Origin::Connecting { .. });
        self.seen.accepted += u64::from(!outbound);
        Some(Session {
            id,
            wire,
            offered: 0,
            echoed: 0,
            made,
            heard,
            others,
            outbound,
            paused: None,
            left: 0,
            ended: false,
        })
    }

    fn opened(&mut self, cx: &mut impl Context, session: &mut Session) -> Action {
        self.called_back(cx, session);
        session.heard = cx.now();
        self.seen.connected += u64::from(session.outbound);
        {
            let mut world = self.world.borrow_mut();
            world.is_made(session.id);
            // It may be another address that was connected to in the end.
            session.wire = world.wire_named(session.id).expect("it is registered");
            let mut sessions = self.sessions.borrow_mut();
            sessions
                .iter_mut()
                .filter(|one| one.0 == session.id)
                .for_each(|one| one.1 = session.wire);
            let served = !world.peer_of(session.wire).place.excused;
            world.wires[session.wire].known.served = served;
        }
        self.may_panic(session);
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
        self.expect(!session.ended, "more is read behind the end", session);
        // When output has failed, the rest of the input is shown in spite of a pause.
        let may_read = session.paused.is_none() || self.may_have_failed(session);
        self.expect(may_read, "more is read, though the handler paused", session);
        if input.len() > session.left {
            session.heard = cx.now();
        }
        let flooded = self.meddle(cx);
        self.may_panic(session);
        let whole =
            if self.manner.hoards { 0 } else { input.len() - input.len() % self.manner.piece };
        let sent = self.echo(cx, session, input.take(whole));
        self.leaves(session, input.len());
        if sent == Sent::Refused && flooded && self.limits.low_ceiling {
            // It has itself left no room for that.
            self.give_up(session.wire);
        }
        if session.echoed >= self.manner.enough {
            return self.answer(session, Action::Close);
        }
        if let Some(pause) = self.may_pause(cx, session, sent) {
            return pause;
        }
        self.answer(session, sent.or_reset())
    }

    fn echoes(&self, session: &Session) -> bool {
        self.expect(!session.ended, "a stream is asked for behind its end", session);
        self.manner.echoes
    }

    fn passed(
        &mut self,
        cx: &mut impl Context,
        session: &mut Session,
        bytes: usize,
        sent: Sent,
    ) -> Action {
        self.called_back(cx, session);
        self.expect(self.manner.echoes, "bytes passed unseen", session);
        self.expect(!session.ended, "more is passed behind the end", session);
        self.expect(session.paused.is_none(), "more is passed, though the handler paused", session);
        session.heard = cx.now();
        self.expect(sent != Sent::Refused, "what passes is refused", session);
        session.offered += bytes as u64;
        session.echoed += bytes as u64;
        self.world.borrow_mut().wires[session.wire].known.given += bytes as u64;
        if let Some(queued) = self.queued(session) {
            let told = cx.queued(cx.id()) as u64 == queued;
            self.expect(told, "the loop holds more or less output than passed", session);
            let few = queued <= bytes as u64;
            self.expect(few, "more is passed behind what is queued", session);
        }
        let flooded = self.meddle(cx);
        self.may_panic(session);
        if session.echoed >= self.manner.enough {
            return self.answer(session, Action::Close);
        }
        if flooded {
            // That may have failed, and whoever has failed is read to its end (C7).
            return Action::Continue;
        }
        self.may_pause(cx, session, sent).unwrap_or(Action::Continue)
    }

    fn end(
        &mut self,
        cx: &mut impl Context,
        session: &mut Session,
        input: &mut Input<'_>,
    ) -> Action {
        self.called_back(cx, session);
        let all = input.len() == session.left;
        self.expect(all, "what was left is not shown at the end", session);
        self.expect(!session.ended, "its stream ends once more", session);
        session.ended = true;
        self.may_panic(session);
        let sent = self.echo(cx, session, input.take_all());
        self.leaves(session, 0);
        if sent == Sent::Refused && self.manner.hoards {
            // It kept more than it may send at once.
            self.give_up(session.wire);
        }
        match sent.or_reset() {
            Action::Continue if self.random.chance(self.manner.stays) => {
                cx.set_timeout(Some(PAUSE));
                Action::Continue
            }
            Action::Continue => self.answer(session, Action::Close),
            failed => self.answer(session, failed),
        }
    }

    fn timeout(&mut self, cx: &mut impl Context, session: &mut Session) -> Action {
        self.called_back(cx, session);
        if let Some(since) = session.paused.take() {
            let lasted = cx.now().since(since);
            self.expect(lasted >= PAUSE, "the handler's timeout was early", session);
            self.expect(lasted <= PAUSE + SLACK, "the handler's timeout was late", session);
        }
        self.world.borrow_mut().wires[session.wire].known.paused = false;
        self.may_panic(session);
        if session.ended {
            return self.answer(session, Action::Close);
        }
        cx.resume(cx.id());
        Action::Continue
    }

    fn closed(&mut self, cx: &mut impl Context, mut session: Session, closed: &Closed) {
        self.called_back(cx, &session);
        // It may end at another address than the first without ever having been made.
        if let Some(wire) = self.world.borrow().wire_named(session.id) {
            session.wire = wire;
        }
        self.leaves(&mut session, 0);
        self.world.borrow_mut().wires[session.wire].known.served = false;
        self.expect_its_time(cx.now(), &session, closed.reason);
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
        self.gone.push(closed.id);
        let panics = self.random.chance(self.manner.panics);
        self.ends.push(End { session, closed: closed.clone() });
        if panics {
            std::panic::resume_unwind(Box::new("as planned, at the end"));
        }
    }

    fn notified(&mut self, _: &mut impl LoopContext) {
        self.seen.notified += 1;
    }

    fn input_limit(&self, _: &Session) -> usize {
        self.manner.input_limit
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
            Notice::BacklogCapped { .. } | Notice::ListenerFailed { .. } => {}
        }
    }
}
