//! Runs of an echo server on the simulated kernel, with what must hold in each.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::peer::Stage;
use super::world::Tally;
use super::{Faults, Kind, Peer, Random, Side, SimulatedKernel, World};
use crate::closed::{Closed, Reason};
use crate::config::Config;
use crate::event_loop::EventLoop;
use crate::handler::{Action, Context, Handler, Origin, Stop};
use crate::id::ConnectionId;
use crate::input::Input;
use crate::mailbox::Handle;

/// The port of the first peer; the others follow.
pub(crate) const FIRST_PORT: usize = 1024;

/// Echoes, and notes what is opened and closed.
#[derive(Debug)]
struct Echo {
    ids: Rc<RefCell<Vec<ConnectionId>>>,
    ends: Vec<End>,
    manner: Manner,
    random: Random,
}

/// What the server knows of one connection.
#[derive(Debug)]
struct Session {
    link: usize,
    /// What it sent, and what of it the loop accepted.
    offered: u64,
    echoed: u64,
}

/// How one connection ended.
#[derive(Debug)]
struct End {
    session: Session,
    closed: Closed,
}

/// How an echo is made.
#[derive(Debug, Clone, Copy)]
struct Manner {
    /// Only whole pieces of so many bytes are taken; the rest is left to be shown again.
    piece: usize,
    /// How many of a thousand callbacks pause reading for a millisecond.
    pauses: usize,
    /// After so many bytes the server closes the connection.
    enough: u64,
}

impl Manner {
    const PLAIN: Self = Self { piece: 1, pauses: 0, enough: u64::MAX };

    fn of(random: &mut Random) -> Self {
        Self {
            piece: random.pick(&[1, 1, 2, 7, 100]),
            pauses: random.pick(&[0, 0, 10, 200]),
            enough: random.pick(&[u64::MAX, u64::MAX, 1, 100, 1000]),
        }
    }
}

impl Handler for Echo {
    type Session = Session;

    fn session(&mut self, origin: &Origin) -> Option<Session> {
        self.ids.borrow_mut().push(origin.id());
        Some(Session {
            link: usize::from(origin.peer().port()) - FIRST_PORT,
            offered: 0,
            echoed: 0,
        })
    }

    fn data(
        &mut self,
        cx: &mut impl Context,
        session: &mut Session,
        input: &mut Input<'_>,
    ) -> Action {
        let whole = input.len() - input.len() % self.manner.piece;
        let sent = cx.send(input.take(whole));
        session.offered += whole as u64;
        if sent.is_accepted() {
            session.echoed += whole as u64;
        }
        if session.echoed >= self.manner.enough {
            return Action::Close;
        }
        if sent.is_accepted() && self.random.chance(self.manner.pauses) {
            cx.set_timeout(Some(Duration::from_millis(1)));
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
        session.offered += input.len() as u64;
        session.echoed += input.len() as u64;
        match cx.send(input.take_all()).or_reset() {
            Action::Continue => Action::Close,
            failed => failed,
        }
    }

    fn timeout(&mut self, cx: &mut impl Context, _: &mut Session) -> Action {
        cx.resume(cx.id());
        Action::Continue
    }

    fn closed(&mut self, _: &mut impl Context, session: Session, closed: &Closed) {
        self.ends.push(End { session, closed: closed.clone() });
    }
}

/// What one run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) bytes: u64,
}

/// Runs one seed to its end, with peers and faults of all kinds.
///
/// # Errors
///
/// What was violated.
pub(crate) fn run(seed: u64) -> Result<Outcome, String> {
    let mut world = World::new(seed);
    world.faults = Faults::of(&mut world.random);
    for _ in 0..world.random.size(1, 12) {
        let peer = Peer::new(&mut world.random);
        world.peers.push(peer);
    }
    let config = settings(&mut world);
    let manner = Manner::of(&mut world.random);
    for peer in &mut world.peers {
        peer.may_be_left = manner.enough < u64::MAX;
    }
    run_in(world, config, manner, |handle, _| {
        handle.stop(Stop::Drain(Some(Duration::from_secs(10))));
    })
}

/// Runs in this world until `end`, which is called when no peer has anything left to do, stops it.
///
/// # Errors
///
/// What was violated.
fn run_in(
    mut world: World,
    config: Config,
    manner: Manner,
    end: impl FnOnce(&Handle<SimulatedKernel>, &[ConnectionId]) + 'static,
) -> Result<Outcome, String> {
    let random = Random::new(world.random.next());
    let world = Rc::new(RefCell::new(world));
    let ids = Rc::new(RefCell::new(Vec::new()));
    let echo = Echo { ids: Rc::clone(&ids), ends: Vec::new(), manner, random };
    let mut server = EventLoop::with_kernel(echo, config, SimulatedKernel::new(&world))
        .map_err(|error| error.to_string())?;
    server.listen("127.0.0.1:3000").map_err(|error| error.to_string())?;
    let handle = server.handle();
    let opened = Rc::clone(&ids);
    world.borrow_mut().at_the_end = Some(Box::new(move || end(&handle, &opened.borrow())));
    let ended = server.run();
    if let Some(violation) = world.borrow_mut().violation.take() {
        return Err(violation);
    }
    let metrics = ended.map_err(|error| error.to_string())?;
    let open = world.borrow().open_count();
    if open > 0 {
        return Err(format!("{open} descriptors are still open"));
    }
    let (opened, ends) = (ids.borrow().len(), &server.handler().ends);
    if opened != ends.len() {
        return Err(format!("{opened} sessions were made and {} were closed", ends.len()));
    }
    check_peers(&world.borrow(), ends)?;
    Ok(Outcome { tally: world.borrow().tally, bytes: metrics.bytes_out })
}

/// Small buffers and small budgets, so that every limit is met.
fn settings(world: &mut World) -> Config {
    let random = &mut world.random;
    let high = random.size(1, 4000);
    Config::new()
        .event_batch(random.size(1, 8))
        .read_buffer(random.size(1, 3000))
        .budgets(random.size(1, 3000), random.size(1, 4), random.size(1, 16))
        .watermarks(high, random.size(0, high - 1))
}

/// Who is owed all has got all, and the reasons of the ends are what the peers brought about.
fn check_peers(world: &World, ends: &[End]) -> Result<(), String> {
    for End { session, closed } in ends {
        let accepted = world.links[session.link].accepted(Side::Ours);
        let mailed = if session.link == 0 { world.mailed } else { 0 };
        if accepted + closed.dropped != session.offered + mailed {
            return Err(format!("the kernel accepted {accepted} bytes of {session:?}, {closed:?}"));
        }
    }
    for peer in &world.peers {
        let end = ends.iter().find(|end| Some(end.session.link) == peer.link);
        if let Some(End { session, closed }) = end
            && peer.is_owed_all()
            && peer.received != session.echoed
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
    if unclean > kinds(&[Kind::Vanishing, Kind::Resetting, Kind::Deaf]) {
        return Err(format!("{unclean} connections did not end in order: {ends:?}"));
    }
    Ok(())
}

#[cfg(test)]
pub(in crate::sim) mod tests {
    use std::ops::Range;

    use super::super::{Call, Planned};
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
        let mut tally = Tally::default();
        for seed in seeds(0..200) {
            match run(seed) {
                Ok(outcome) => tally.add(outcome.tally),
                Err(violation) => panic!(
                    "seed {seed}: {violation}\nreplay with: EDGELOOP_SEEDS={seed}..{} cargo test \
                     -p edgeloop --lib no_seed_loses",
                    seed + 1
                ),
            }
        }
        println!("{tally:?}");
        assert!(tally.faults > 0 && tally.jumps > 0);
    }

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

    fn stop(handle: &Handle<SimulatedKernel>, _: &[ConnectionId]) {
        handle.stop(Stop::Drain(Some(Duration::from_secs(10))));
    }

    #[track_caller]
    fn expect(outcome: Result<Outcome, String>, seed: u64) -> Tally {
        outcome.unwrap_or_else(|violation| panic!("seed {seed}: {violation}")).tally
    }

    /// Each run accounts for every byte; these are of peers that reset what is under way.
    #[test]
    fn c03_every_byte_is_accepted_or_counted_as_dropped() {
        for seed in 0..10 {
            let mut world = crowd(seed, &[(Kind::Resetting, 10, 1000), (Kind::Deaf, 10, 1000)]);
            world.buffers = (50, 500);
            let config = Config::new().read_buffer(50).watermarks(500, 100);
            expect(run_in(world, config, Manner::PLAIN, stop), seed);
        }
    }

    #[test]
    fn c15_a_flood_does_not_keep_the_backlog_waiting() {
        for seed in 0..20 {
            let world = crowd(seed, &[(Kind::Greedy, 4, 3000), (Kind::Fair, 30, 10)]);
            let config = Config::new().budgets(8, 2, 100);
            let tally = expect(run_in(world, config, Manner::PLAIN, stop), seed);
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
            let tally = expect(run_in(world, config, Manner::PLAIN, stop), seed);
            most = most.max(tally.most.closes);
        }
        assert_eq!(most, 4, "the budget was never met, or exceeded");
    }

    #[test]
    fn c16_no_turn_reads_more_mail_than_its_budget() {
        let mut world = crowd(1, &[(Kind::Vanishing, 1, 0)]);
        world.buffers = (2000, 2000);
        world.mailed = 100;
        let config = Config::new().budgets(100_000, 10, 10);
        let letters = |handle: &Handle<SimulatedKernel>, ids: &[ConnectionId]| {
            for _ in 0..100 {
                handle.send(ids[0], *b"x").expect("room in the mailbox");
            }
            stop(handle, ids);
        };
        let tally = expect(run_in(world, config, Manner::PLAIN, letters), 1);
        assert_eq!(tally.most.sends, 10, "{tally:?}");
    }

    /// The scenario in which single calls fail.
    fn small_world() -> World {
        let of_each = [Kind::Fair, Kind::Slow, Kind::Greedy, Kind::Urgent, Kind::Resetting];
        let peers: Vec<_> = of_each.iter().map(|&kind| (kind, 1, 200)).collect();
        let mut world = crowd(9, &peers);
        world.burst = 8;
        world.buffers = (20, 60);
        world
    }

    #[test]
    fn each_early_call_can_fail_with_each_of_its_errors() {
        use Call::{Accept, ClearWaker, Receive, Register, Send, SetAlarm, Shutdown, Wait};
        let config = Config::new().watermarks(64, 16);
        let mut runs = 0;
        for call in [Wait, Accept, Register, Receive, Send, Shutdown, SetAlarm, ClearWaker] {
            for error in call.errors() {
                for nth in 1..=40 {
                    let mut world = small_world();
                    let planned = Planned { call, nth, error };
                    world.planned = Some(planned);
                    match run_in(world, config.clone(), Manner::PLAIN, stop) {
                        Ok(outcome) if outcome.tally.faults == 0 => break,
                        Ok(_) => runs += 1,
                        Err(violation) => panic!("{planned:?}: {violation}"),
                    }
                }
            }
        }
        println!("{runs} runs");
        assert!(runs > 500, "only {runs} runs");
    }

    #[test]
    fn a_seed_always_runs_the_same_way() {
        for seed in [1, 2, 3] {
            assert_eq!(run(seed), run(seed));
        }
    }
}
