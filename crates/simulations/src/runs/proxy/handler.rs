//! The handler of these runs: it joins each client with a server, and meddles with them.

use std::cell::RefCell;

use std::rc::Rc;
use std::time::Duration;

use edgeloop::sim::Random;
use edgeloop::sim::internals::{Side, World};
use edgeloop::{
    Action, Address, Closed, ConnectionId, Context, Handler, Input, LoopContext, Notice, Origin,
    Target,
};

use super::session::{End, Join, Pair, Session};

/// The timer of a client at which its pair is meddled with.
const TICK: u32 = 0;

/// How the proxy behaves. Chances are of a thousand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ways {
    /// When pairs are joined: any of these.
    pub(super) joins: &'static [Join],
    /// How often a pair is meddled with at the most.
    pub(super) ticks: usize,
    /// Pauses an end until the next tick.
    pub(super) pauses: usize,
    /// Takes a relay apart until the next tick.
    pub(super) parts: usize,
    /// Ends any connection, in any way.
    pub(super) strikes: usize,
    /// Panics.
    pub(super) panics: usize,
    /// Tries another address first.
    pub(super) others: usize,
}

const ALL: &[Join] = &[Join::Early, Join::Made, Join::Late];

impl Ways {
    /// Joins at any time, and lets it be.
    pub(super) const PLAIN: Self =
        Self { joins: ALL, ticks: 0, pauses: 0, parts: 0, strikes: 0, panics: 0, others: 0 };

    pub(super) fn of(random: &mut Random) -> Self {
        Self {
            joins: random.pick(&[ALL, &ALL[..1], &ALL[1..2], &ALL[2..]]),
            ticks: random.pick(&[0, 0, 5, 30]),
            pauses: random.pick(&[0, 300]),
            parts: random.pick(&[0, 300]),
            strikes: random.pick(&[0, 0, 0, 20]),
            panics: random.pick(&[0, 0, 0, 10]),
            others: random.pick(&[0, 0, 300]),
        }
    }
}

/// Joins each client with a server.
pub(super) struct Proxy {
    world: Rc<RefCell<World>>,
    random: Random,
    ways: Ways,
    services: Vec<Address>,
    pub(super) pairs: Vec<Pair>,
    /// How many sessions were made, and how many outbound connections.
    pub(super) accepted: u64,
    pub(super) connected: u64,
    pub(super) sessions: u64,
}

impl Proxy {
    pub(super) fn new(world: &Rc<RefCell<World>>, ways: Ways) -> Self {
        let services =
            world.borrow().services.iter().map(|service| service.address.clone()).collect();
        Self {
            world: Rc::clone(world),
            random: Random::new(world.borrow_mut().random.next()),
            ways,
            services,
            pairs: Vec::new(),
            accepted: 0,
            connected: 0,
            sessions: 0,
        }
    }

    fn wire(&self, id: ConnectionId) -> Option<usize> {
        self.world.borrow().wire_named(id)
    }

    fn expect(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.world.borrow_mut().violated(what);
        }
    }

    /// Nothing is promised to either end of a pair any more, but that nobody takes a part for the
    /// whole.
    fn strike(&mut self, pair: usize) {
        self.pairs[pair].struck = true;
        for id in self.pairs[pair].ids {
            if let Some(wire) = self.wire(id) {
                self.world.borrow_mut().wires[wire].known.served = false;
            }
        }
    }

    /// What the handler has paused is not read, unless it has failed (C7).
    fn expect_paused(&mut self, pair: usize, end: End) {
        let Some((id, before)) = self.pairs[pair].paused[end as usize].take() else { return };
        let Some(wire) = self.wire(id) else { return };
        let mut world = self.world.borrow_mut();
        let it = &world.wires[wire];
        let failed = it.failed_at.is_some() || it.link.is_dead(Side::Ours) || !it.known.served;
        if it.taken != before && !failed && it.shut.is_none() {
            let taken = it.taken;
            world.violated(|| format!("{id} was paused at {before} bytes, and has read {taken}"));
        }
    }

    /// Relays one end of a pair to the other.
    fn relay(&mut self, cx: &mut impl LoopContext<Session>, pair: usize, from: End) {
        let (source, target) = (self.pairs[pair].id(from), self.pairs[pair].id(from.other()));
        self.world.borrow_mut().note(|| format!("{source} is relayed to {target}"));
        cx.relay(source, target);
        self.pairs[pair].relayed[from as usize] = true;
        self.pairs[pair].joined = true;
        // To relay one that is paused lets it be read.
        self.pairs[pair].paused[from as usize] = None;
        if let Some(wire) = self.wire(source) {
            self.world.borrow_mut().wires[wire].known.paused = false;
        }
        self.note_relay(pair, from);
    }

    /// The world is told where what is read goes.
    fn note_relay(&self, pair: usize, from: End) {
        let (source, target) = (self.pairs[pair].id(from), self.pairs[pair].id(from.other()));
        if let (Some(source), Some(target)) = (self.wire(source), self.wire(target)) {
            self.world.borrow_mut().is_relayed(source, Some(target), 0);
        }
    }

    fn unrelay(&mut self, cx: &mut impl LoopContext<Session>, pair: usize, from: End) {
        let source = self.pairs[pair].id(from);
        self.world.borrow_mut().note(|| format!("{source} is relayed no more"));
        let relayed = cx.relayed(source);
        if let Some(carried) = cx.unrelay(source) {
            self.expect(carried == relayed, || {
                format!("{carried} of {relayed} bytes were relayed")
            });
        }
        self.pairs[pair].relayed[from as usize] = false;
        if let Some(wire) = self.wire(source) {
            self.world.borrow_mut().is_relayed(wire, None, relayed);
        }
    }

    /// Relays whatever of a pair is not relayed.
    fn join(&mut self, cx: &mut impl LoopContext<Session>, pair: usize) {
        for from in End::BOTH {
            if !self.pairs[pair].relayed[from as usize] {
                self.relay(cx, pair, from);
            }
        }
    }

    /// Connects to a server for a client, or lets it go.
    fn dial(&mut self, cx: &mut impl Context<Session>, pair: usize) -> Action {
        let address = self.random.pick(&self.services);
        let mut target = Target::new(address);
        while self.random.chance(self.ways.others) {
            target = target.or(self.random.pick(&self.services));
        }
        // It may be at its cap, or out of descriptors, or stopping.
        let Ok(id) = cx.connect(target, Session { pair, end: End::Server }) else {
            self.strike(pair);
            return Action::Reset;
        };
        self.sessions += 1;
        self.pairs[pair].ids[End::Server as usize] = id;
        if self.pairs[pair].join == Join::Early {
            self.join(cx, pair);
        }
        Action::Continue
    }

    fn set_tick(&mut self, cx: &mut impl LoopContext<Session>, pair: usize) {
        let after = Duration::from_micros(self.random.pick(&[0, 20, 100, 1300, 5000]));
        cx.set_timer_of(self.pairs[pair].id(End::Client), TICK, Some(after));
    }

    /// Does something to a pair until its next tick.
    fn meddle(&mut self, cx: &mut impl LoopContext<Session>, pair: usize) {
        for end in End::BOTH {
            let id = self.pairs[pair].id(end);
            if self.random.chance(self.ways.pauses) {
                self.pause(cx, id, true);
                let taken = self.wire(id).map(|wire| self.world.borrow().wires[wire].taken);
                self.pairs[pair].paused[end as usize] = taken.map(|taken| (id, taken));
            }
            if self.random.chance(self.ways.parts) {
                self.unrelay(cx, pair, end);
            }
        }
        if self.random.chance(self.ways.strikes) {
            let pair = self.random.below(self.pairs.len());
            let end = self.random.pick(&End::BOTH);
            let id = self.pairs[pair].id(end);
            self.strike(pair);
            self.world.borrow_mut().note(|| format!("{id} is ended by the handler"));
            match self.random.below(4) {
                0 => cx.close(id),
                1 => cx.finish(id),
                2 => cx.flush_then_reset(id),
                _ => cx.reset(id),
            }
        }
    }

    fn pause(&self, cx: &mut impl LoopContext<Session>, id: ConnectionId, paused: bool) {
        if let Some(wire) = self.wire(id) {
            let mut world = self.world.borrow_mut();
            world.wires[wire].known.paused = paused;
            world.note(|| format!("{id} is paused: {paused}"));
        }
        if paused { cx.pause(id) } else { cx.resume(id) }
    }

    fn may_panic(&mut self, pair: usize) {
        if self.random.chance(self.ways.panics) {
            self.strike(pair);
            std::panic::resume_unwind(Box::new("as planned"));
        }
    }

    /// Input that is shown, which is left: it is not relayed yet, or not any more.
    fn shown(&mut self, cx: &mut impl Context<Session>, session: Session) -> Action {
        self.world.borrow_mut().vigil.called_back();
        let Session { pair, end } = session;
        let relayed = self.pairs[pair].relayed[end as usize] && !self.pairs[pair].struck;
        self.expect(!relayed, || format!("what is relayed is shown: {session:?}"));
        let late = self.pairs[pair].join == Join::Late && self.pairs[pair].made;
        if late && self.random.chance(500) {
            self.join(cx, pair);
        }
        Action::Continue
    }
}

impl Handler for Proxy {
    type Session = Session;

    fn session(&mut self, origin: &Origin) -> Option<Session> {
        let join = self.random.pick(self.ways.joins);
        (self.accepted, self.sessions) = (self.accepted + 1, self.sessions + 1);
        self.pairs.push(Pair {
            ids: [origin.id; 2],
            join,
            made: false,
            relayed: [false; 2],
            joined: false,
            paused: [None; 2],
            struck: false,
            ticks: self.random.size(0, self.ways.ticks),
            closed: [None, None],
        });
        Some(Session { pair: self.pairs.len() - 1, end: End::Client })
    }

    fn opened(&mut self, cx: &mut impl Context<Session>, session: &mut Session) -> Action {
        self.world.borrow_mut().vigil.called_back();
        let Session { pair, end } = *session;
        {
            let mut world = self.world.borrow_mut();
            world.is_made(cx.id());
            let wire = world.wire_named(cx.id()).expect("it is registered");
            // What is connected to while the loop drains may not have the time for all of it.
            let late = end == End::Server && world.stopped.or(world.ended_at).is_some();
            let place = &mut world.peer_of(wire).place;
            place.excused |= late;
            let served = !place.excused && !self.pairs[pair].struck;
            world.wires[wire].known.served = served;
        }
        self.connected += u64::from(end == End::Server);
        self.may_panic(pair);
        if end == End::Client {
            return self.dial(cx, pair);
        }
        self.pairs[pair].made = true;
        if self.pairs[pair].join == Join::Made {
            self.join(cx, pair);
        }
        // It may be another address than the first.
        for from in End::BOTH {
            if self.pairs[pair].relayed[from as usize] {
                self.note_relay(pair, from);
            }
        }
        self.set_tick(cx, pair);
        Action::Continue
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Session>,
        session: &mut Session,
        _: &mut Input<'_>,
    ) -> Action {
        self.shown(cx, *session)
    }

    fn end(
        &mut self,
        cx: &mut impl Context<Session>,
        session: &mut Session,
        _: &mut Input<'_>,
    ) -> Action {
        let action = self.shown(cx, *session);
        if self.pairs[session.pair].joined {
            // Our own stream may have ended before. Then this is all that is shown of it.
            self.join(cx, session.pair);
        }
        action
    }

    fn timer(&mut self, cx: &mut impl Context<Session>, session: &mut Session, _: u32) -> Action {
        self.world.borrow_mut().vigil.called_back();
        let pair = session.pair;
        self.may_panic(pair);
        for end in End::BOTH {
            self.expect_paused(pair, end);
            self.pause(cx, self.pairs[pair].id(end), false);
        }
        self.join(cx, pair);
        if self.pairs[pair].ticks > 0 {
            self.pairs[pair].ticks -= 1;
            self.meddle(cx, pair);
            self.set_tick(cx, pair);
        }
        Action::Continue
    }

    fn notice(&mut self, notice: &Notice) {
        if let Notice::LoopPanicked { .. } = notice {
            self.world.borrow_mut().violated(|| notice.to_string());
        }
    }

    fn closed(&mut self, cx: &mut impl Context<Session>, session: Session, closed: &Closed) {
        self.world.borrow_mut().vigil.called_back();
        self.world.borrow_mut().note(|| format!("{} is closed: {closed}", closed.id));
        let Session { pair, end } = session;
        let wire = self.wire(closed.id).expect("it was registered");
        self.world.borrow_mut().wires[wire].known.served = false;
        let it = &mut self.pairs[pair];
        let twice = it.closed[end as usize].replace((closed.clone(), wire)).is_some();
        let (other, relayed) = (it.id(end.other()), it.relayed);
        let alone = it.closed[end.other() as usize].is_none();
        self.expect(!twice, || format!("{} is closed twice", closed.id));
        if alone && relayed != [true; 2] {
            // The loop knows of no tie, or of one way only.
            self.strike(pair);
            cx.reset(other);
        }
    }
}
