//! Runs of an echo server on the simulated kernel, with what must hold in each.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::peer::Stage;
use super::world::{Follower, MAIL, START, Tally};
use super::{Fault, Faults, Kind, Peer, Random, Side, SimulatedKernel, World};
use crate::closed::{Closed, Reason};
use crate::config::Config;
use crate::event_loop::EventLoop;
use crate::handler::{Action, Context, Handler, Origin, Sent, Stop};
use crate::id::ConnectionId;
use crate::input::Input;
use crate::mailbox::Handle;
use crate::time::Time;

/// The port of the first peer; the others follow.
pub(crate) const FIRST_PORT: usize = 1024;

/// For how long the handler pauses reading.
const PAUSE: Duration = Duration::from_micros(1300);

/// How long a drain may take, and how much longer until its end is seen.
const DRAIN: Duration = Duration::from_secs(10);
const SLACK: Duration = Duration::from_millis(100);

/// The longest piece of input that a handler waits for.
const MOST_LEFT: usize = 100;

/// Echoes, and notes what is opened and closed.
struct Echo {
    world: Rc<RefCell<World>>,
    sessions: Sessions,
    gone: Vec<ConnectionId>,
    ends: Vec<End>,
    manner: Manner,
    limits: Limits,
    random: Random,
}

/// Each connection that was made, by its id, with its place in the world.
type Sessions = Rc<RefCell<Vec<(ConnectionId, usize)>>>;

/// What the server knows of one connection.
#[derive(Debug)]
struct Session {
    id: ConnectionId,
    link: usize,
    /// What it sent, and what of it the loop accepted.
    offered: u64,
    echoed: u64,
    /// When it was opened, or last heard of.
    heard: Time,
    /// Since when the handler has paused reading.
    paused: Option<Time>,
}

/// How one connection ended.
#[derive(Debug)]
struct End {
    session: Session,
    closed: Closed,
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

    fn of(random: &mut Random) -> Self {
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
        let told = !dead && !peer.excused && peer.kind != Kind::Subscriber;
        told.then(|| (session.echoed + peer.pushed).saturating_sub(accepted))
    }

    /// Does what a handler should do seldom.
    fn meddle(&mut self, cx: &mut impl Context) {
        if self.random.chance(self.manner.strikes) {
            let (id, link) = self.any_session();
            if id != cx.id() && !self.gone.contains(&id) {
                self.world.borrow_mut().peer_of(link).excused = true;
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
            if self.world.borrow_mut().peer_of(link).kind == Kind::Vanishing {
                self.flood(cx, id, link);
            }
        }
    }

    fn flood(&mut self, cx: &mut impl Context, id: ConnectionId, link: usize) {
        loop {
            let sent = cx.send_to(id, &[0; 100]);
            let mut world = self.world.borrow_mut();
            let accepted = world.links[link].accepted(Side::Ours);
            let peer = world.peer_of(link);
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
        let link = usize::from(origin.peer().port()) - FIRST_PORT;
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

/// What one run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Counts of what happened.
    pub tally: Tally,
    /// How many connections were accepted.
    pub connections: u64,
    /// How many bytes were echoed.
    pub bytes: u64,
    /// How long it took, by the simulated clock.
    pub simulated: Duration,
    /// What went wrong, in its order.
    pub faults: Vec<Fault>,
}

/// What was violated, under which faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was found.
    pub what: String,
    /// What had gone wrong by then, in its order.
    pub faults: Vec<Fault>,
}

/// Runs one seed to its end, with peers of all kinds. The faults come from the seed too, unless
/// they are given.
///
/// # Errors
///
/// What was violated.
pub fn run(
    seed: u64,
    faults: Option<&[Fault]>,
    follower: Option<Follower>,
) -> Result<Outcome, Failure> {
    let mut world = World::new(seed);
    world.follower = follower;
    world.faults = Faults::of(&mut world.random);
    if let Some(faults) = faults {
        world.faults = Faults::plan(faults);
    }
    let most = world.random.pick(&[1, 4, 12, 12, 50]);
    for _ in 0..world.random.size(1, most) {
        let peer = Peer::new(&mut world.random);
        world.peers.push(peer);
    }
    let (config, limits) = settings(&mut world);
    let manner = Manner::of(&mut world.random);
    for peer in &mut world.peers {
        peer.may_be_left = manner.enough < u64::MAX;
    }
    run_in(world, config, limits, manner, stop)
}

/// Leaves out of the faults of a failing seed those without which it fails as well, though perhaps
/// in another way, until each that is left is needed.
#[must_use]
pub fn shrink(seed: u64, mut failure: Failure) -> Failure {
    let mut size = failure.faults.len().div_ceil(2);
    while size > 0 {
        let mut begin = 0;
        while begin < failure.faults.len() {
            let mut fewer = failure.faults.clone();
            fewer.drain(begin..(begin + size).min(fewer.len()));
            match run(seed, Some(&fewer), None) {
                // What was met, and not what was planned, stays.
                Err(failed) if failed.faults.len() <= fewer.len() => failure = failed,
                _ => begin += size,
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    failure
}

/// The end of most runs.
pub(crate) fn stop(handle: &Handle<SimulatedKernel>, _: &[(ConnectionId, usize)]) {
    handle.stop(Stop::Drain(Some(DRAIN)));
}

/// Runs in this world until `end`, which is called when no peer has anything left to do, stops it.
///
/// # Errors
///
/// What was violated.
pub(crate) fn run_in(
    world: World,
    config: Config,
    limits: Limits,
    manner: Manner,
    end: impl FnOnce(&Handle<SimulatedKernel>, &[(ConnectionId, usize)]) + 'static,
) -> Result<Outcome, Failure> {
    let world = Rc::new(RefCell::new(world));
    let outcome = run_and_check(&world, config, limits, manner, end);
    let mut world = world.borrow_mut();
    let faults = std::mem::take(&mut world.faults.injected);
    match outcome {
        Ok((connections, bytes)) => Ok(Outcome {
            tally: world.tally,
            connections,
            bytes,
            simulated: world.now.since(START),
            faults,
        }),
        Err(what) => Err(Failure { what, faults }),
    }
}

/// Answers how many connections there were, and how many bytes were echoed.
fn run_and_check(
    world: &Rc<RefCell<World>>,
    config: Config,
    limits: Limits,
    manner: Manner,
    end: impl FnOnce(&Handle<SimulatedKernel>, &[(ConnectionId, usize)]) + 'static,
) -> Result<(u64, u64), String> {
    let random = Random::new(world.borrow_mut().random.next());
    let sessions = Sessions::default();
    let echo = Echo {
        world: Rc::clone(world),
        sessions: Rc::clone(&sessions),
        gone: Vec::new(),
        ends: Vec::new(),
        manner,
        limits,
        random,
    };
    let mut server = EventLoop::with_kernel(echo, config, SimulatedKernel::new(world))
        .map_err(|error| error.to_string())?;
    server.listen("127.0.0.1:3000").map_err(|error| error.to_string())?;
    let handle = server.handle();
    let (poster, of) = (handle.clone(), Rc::clone(&sessions));
    world.borrow_mut().post = Some(Box::new(move |link, bytes| {
        let id = of.borrow().iter().find(|session| session.1 == link).map(|session| session.0);
        id.is_some_and(|id| poster.send(id, bytes).is_ok())
    }));
    let opened = Rc::clone(&sessions);
    world.borrow_mut().at_the_end = Some(Box::new(move || end(&handle, &opened.borrow())));
    let ended = server.run();
    if let Some(violation) = world.borrow_mut().violation.take() {
        return Err(violation);
    }
    let metrics = ended.map_err(|error| error.to_string())?;
    let mut world = world.borrow_mut();
    let open = world.open_count();
    if open > 0 {
        return Err(format!("{open} descriptors are still open"));
    }
    let drained = world.ended_at.map_or(Duration::ZERO, |at| world.now.since(at));
    if drained > DRAIN + SLACK {
        return Err(format!("the drain took {drained:?}"));
    }
    let (opened, ends) = (sessions.borrow().len(), &server.handler().ends);
    if opened != ends.len() {
        return Err(format!("{opened} sessions were made and {} were closed", ends.len()));
    }
    check_peers(&mut world, ends)?;
    Ok((opened as u64, metrics.bytes_out))
}

/// Small buffers and small budgets, so that every limit is met.
fn settings(world: &mut World) -> (Config, Limits) {
    let random = &mut world.random;
    let high_watermark = random.size(1, 4000);
    let idle = random.chance(250).then(|| Duration::from_millis(random.size(5000, 100_000) as u64));
    world.outlasts = idle.is_some();
    let read_buffer = random.size(1, 3000);
    // Room for what was left for the next piece, or for one letter.
    let output_limit = high_watermark + read_buffer + MOST_LEFT.max(MAIL);
    let turn_bytes = random.size(1, 3000);
    let config = Config::new()
        .event_batch(random.size(1, 8))
        .read_buffer(read_buffer)
        .output_limit(output_limit)
        .budgets(turn_bytes, random.size(1, 4), random.size(1, 16))
        .watermarks(high_watermark, random.size(0, high_watermark - 1))
        .idle_timeout(idle);
    world.turn_bytes = turn_bytes;
    (config, Limits { high_watermark, output_limit, idle })
}

/// Who is owed all has got all, and the reasons of the ends are what the peers brought about.
fn check_peers(world: &mut World, ends: &[End]) -> Result<(), String> {
    for End { session, closed } in ends {
        let accepted = world.links[session.link].accepted(Side::Ours);
        let peer = world.peer_of(session.link);
        let (sent, pushed) = (accepted + closed.dropped, session.offered + peer.pushed);
        // Mail may come when nobody is there any more.
        let in_vain = peer.kind == Kind::Subscriber && peer.excused && sent < pushed;
        if !(pushed..=pushed + peer.doubtful).contains(&sent) && !in_vain {
            return Err(format!("the kernel accepted {accepted} bytes of {session:?}, {closed:?}"));
        }
    }
    for peer in &world.peers {
        let end = ends.iter().find(|end| Some(end.session.link) == peer.link);
        if let Some(End { session, closed }) = end
            && peer.is_owed_all()
            && peer.received != session.echoed + peer.pushed
        {
            return Err(format!("{session:?}, {closed:?}, but {peer:?}"));
        }
        if peer.is_owed_all() && peer.stage != (Stage::Gone { at_the_end: true }) {
            return Err(format!("it has not come to its end: {peer:?}; {ends:?}"));
        }
    }
    let kinds = |of: &[Kind]| {
        world.peers.iter().filter(|peer| peer.excused || of.contains(&peer.kind)).count()
    };
    let cut_off = ends.iter().filter(|end| end.closed.reason == Reason::CutOff).count();
    if cut_off > kinds(&[Kind::Vanishing]) {
        return Err(format!("{cut_off} connections were cut off"));
    }
    let unclean = ends.iter().filter(|end| !end.closed.is_clean()).count();
    // The silent ones end by the idle timeout.
    if unclean > kinds(&[Kind::Vanishing, Kind::Resetting, Kind::Deaf, Kind::Silent]) {
        return Err(format!("{unclean} connections did not end in order: {ends:?}"));
    }
    Ok(())
}

#[cfg(test)]
pub(in crate::sim) mod tests {
    use std::ops::Range;

    use super::*;

    /// `EDGELOOP_SEEDS=FROM..TO` chooses other seeds than these.
    pub(in crate::sim) fn seeds(these: Range<u64>) -> Range<u64> {
        let chosen = std::env::var("EDGELOOP_SEEDS").ok().and_then(|seeds| {
            let (from, to) = seeds.split_once("..")?;
            Some(from.parse().ok()?..to.parse().ok()?)
        });
        chosen.unwrap_or(these)
    }

    #[test]
    fn no_seed_loses_a_byte_or_leaks_or_stalls_or_spins() {
        let (mut tally, mut faults) = (Tally::default(), 0);
        for seed in seeds(0..200) {
            match run(seed, None, None) {
                Ok(outcome) => {
                    tally.add(outcome.tally);
                    faults += outcome.faults.len();
                }
                Err(violation) => panic!(
                    "seed {seed}: {violation:?}\nreplay with: EDGELOOP_SEEDS={seed}..{} cargo test \
                     -p edgeloop --lib no_seed_loses",
                    seed + 1
                ),
            }
        }
        println!("{tally:?}");
        assert!(faults > 0 && tally.jumps > 0);
    }

    /// Watermarks that no run of these comes to.
    const UNLIMITED: Limits =
        Limits { high_watermark: usize::MAX, output_limit: usize::MAX, idle: None };

    /// A world of these peers, without faults, in which much happens in each wake-up.
    fn crowd(seed: u64, peers: &[(Kind, usize, u64)]) -> World {
        let mut world = World::new(seed);
        world.burst = 500;
        for &(kind, count, length) in peers {
            for _ in 0..count {
                let peer = Peer::of(kind, length, &mut world.random);
                world.peers.push(peer);
            }
        }
        world
    }

    #[track_caller]
    fn expect(outcome: Result<Outcome, Failure>, seed: u64) -> Tally {
        outcome.unwrap_or_else(|failure| panic!("seed {seed}: {failure:?}")).tally
    }

    /// Each run accounts for every byte; these are of peers that reset what is under way.
    #[test]
    fn c03_every_byte_is_accepted_or_counted_as_dropped() {
        for seed in 0..10 {
            let mut world = crowd(seed, &[(Kind::Resetting, 10, 1000), (Kind::Deaf, 10, 1000)]);
            world.buffers = (50, 500);
            let config = Config::new().read_buffer(50).watermarks(500, 100);
            expect(run_in(world, config, UNLIMITED, Manner::PLAIN, stop), seed);
        }
    }

    #[test]
    fn c15_a_flood_does_not_keep_the_backlog_waiting() {
        for seed in 0..20 {
            let world = crowd(seed, &[(Kind::Greedy, 4, 3000), (Kind::Fair, 30, 10)]);
            let config = Config::new().budgets(8, 2, 100);
            let tally = expect(run_in(world, config, UNLIMITED, Manner::PLAIN, stop), seed);
            assert!(tally.longest_backlog <= 1, "seed {seed}: {tally:?}");
            assert!(tally.most.accepts <= 2, "seed {seed}: {tally:?}");
        }
    }

    #[test]
    fn c16_no_turn_closes_more_than_its_budget() {
        let mut most = 0;
        for seed in 0..20 {
            let world = crowd(seed, &[(Kind::Resetting, 60, 100)]);
            let config = Config::new().budgets(1000, 1000, 4);
            let tally = expect(run_in(world, config, UNLIMITED, Manner::PLAIN, stop), seed);
            most = most.max(tally.most.closes);
        }
        assert_eq!(most, 4, "the budget was never met, or exceeded");
    }

    #[test]
    fn c16_no_turn_reads_more_mail_than_its_budget() {
        let mut world = crowd(1, &[(Kind::Vanishing, 1, 0)]);
        world.buffers = (2000, 2000);
        world.peers[0].pushed = 100;
        let config = Config::new().budgets(100_000, 10, 10);
        let letters = |handle: &Handle<SimulatedKernel>, ids: &[(ConnectionId, usize)]| {
            for _ in 0..100 {
                handle.send(ids[0].0, *b"x").expect("room in the mailbox");
            }
            stop(handle, ids);
        };
        let tally = expect(run_in(world, config, UNLIMITED, Manner::PLAIN, letters), 1);
        assert_eq!(tally.most.sends, 10, "{tally:?}");
    }

    #[test]
    fn a_seed_always_runs_the_same_way() {
        for seed in [1, 2, 3] {
            assert_eq!(run(seed, None, None), run(seed, None, None));
        }
    }
}
