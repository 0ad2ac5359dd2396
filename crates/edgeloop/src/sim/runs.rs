//! Runs of an echo server on the simulated kernel, with what must hold in each.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use super::client::{Client, Kind};
use super::echo::{Echo, End, Limits, MOST_LEFT, Manner, Sessions};
use super::peer::{Peer, Role, Stage};
use super::simulation::{Failure, fewer_faults};
use super::world::{Follower, MAIL, START, Service, Tally};
use super::{Fault, Injector, Random, Side, SimulatedKernel, World};
use crate::closed::Reason;
use crate::config::Config;
use crate::event_loop::EventLoop;
use crate::handler::Stop;
use crate::id::ConnectionId;
use crate::mailbox::Handle;

/// The port of the first peer; the others follow.
pub(crate) const FIRST_PORT: usize = 1024;

/// How long a drain may take, and how much longer until its end is seen.
const DRAIN: Duration = Duration::from_secs(10);
pub(crate) const SLACK: Duration = Duration::from_millis(100);

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
    world.faults = Injector::of(&mut world.random);
    if let Some(faults) = faults {
        world.faults = Injector::plan(faults);
    }
    let (config, limits) = settings(&mut world);
    let manner = Manner::of(&mut world.random);
    let client = move |random: &mut Random| {
        let mut client = Client::new(random);
        client.may_be_left = manner.enough < u64::MAX;
        Peer::new(Role::Client(client))
    };
    let most = world.random.pick(&[1, 4, 12, 12, 50]);
    for _ in 0..world.random.size(1, most) {
        let peer = client(&mut world.random);
        world.peers.push(peer);
    }
    // Servers that the loop connects to. Which end was the first to speak makes no difference.
    for number in 0..world.random.pick(&[0, 0, 1, 5]) {
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 5000 + number));
        let mut random = Random::new(world.random.next());
        let answer = Box::new(move |_| client(&mut random));
        world.services.push(Service { address, answer, links: Vec::new() });
    }
    run_in(world, config, limits, manner, stop)
}

/// Leaves out of the faults of a failing seed those without which it fails as well, though perhaps
/// in another way, until each that is left is needed.
#[must_use]
pub fn shrink(failure: Failure) -> Failure {
    let seed = failure.seed;
    fewer_faults(failure, |faults| run(seed, Some(faults), None).err())
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
    let seed = world.seed;
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
        Err(what) => Err(Failure::new(seed, what, faults)),
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
    let sessions = Sessions::default();
    let echo = Echo::new(world, &sessions, manner, limits);
    let mut server = EventLoop::with_kernel(echo, config, SimulatedKernel::new(world))
        .map_err(|error| error.to_string())?;
    // What fails here is tried again, as an operator would.
    while server.listen("127.0.0.1:3000").is_err() {}
    let addresses: Vec<_> = world.borrow().services.iter().map(|service| service.address).collect();
    for address in addresses {
        // Whoever can't be connected to at once is given up.
        let _ = server.connect(address, 0);
    }
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
    // With so few descriptors that the rest of the program may take all that are left. Then the
    // silent ones must leave, who would keep the others waiting for ever.
    let scarce = random.chance(200);
    let idle = (scarce || random.chance(250))
        .then(|| Duration::from_millis(random.size(5000, 100_000) as u64));
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
    if scarce {
        world.descriptors = world.random.size(8, 40);
        world.foreign = world.random.size(1, 40);
    }
    (config, Limits { high_watermark, output_limit, idle })
}

/// Who is owed all has got all, and the reasons of the ends are what the peers brought about.
fn check_peers(world: &mut World, ends: &[End]) -> Result<(), String> {
    for End { session, closed } in ends {
        let accepted = world.links[session.link].accepted(Side::Ours);
        let peer = world.peer_of(session.link);
        let excused = peer.place.excused;
        let peer = peer.client();
        let (sent, pushed) = (accepted + closed.dropped, session.offered + peer.pushed);
        // Mail may come when nobody is there any more.
        let in_vain = peer.kind == Kind::Subscriber && excused && sent < pushed;
        if !(pushed..=pushed + peer.doubtful).contains(&sent) && !in_vain {
            return Err(format!("the kernel accepted {accepted} bytes of {session:?}, {closed:?}"));
        }
    }
    for Peer { place, role } in &mut world.peers {
        let Role::Client(client) = role else { continue };
        let end = ends.iter().find(|end| Some(end.session.link) == place.link);
        if let Some(End { session, closed }) = end
            && client.is_owed_all(place)
            && client.received != session.echoed + client.pushed
        {
            return Err(format!("{session:?}, {closed:?}, but {client:?}"));
        }
        // One that the loop could not register never got a session.
        if client.is_owed_all(place) && place.stage != (Stage::Gone { at_the_end: true }) {
            return Err(format!("it has not come to its end: {place:?}, {client:?}; {ends:?}"));
        }
    }
    let mut kinds = |of: &[Kind]| {
        let meant = |peer: &mut Peer| peer.place.excused || of.contains(&peer.client().kind);
        world.peers.iter_mut().map(meant).filter(|&meant| meant).count()
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
mod tests {
    use super::super::simulation::chosen_seeds;
    use super::*;

    #[test]
    fn no_seed_loses_a_byte_or_leaks_or_stalls_or_spins() {
        let (mut tally, mut faults) = (Tally::default(), 0);
        for seed in chosen_seeds(0..200) {
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
                let client = Client::of(kind, length, &mut world.random);
                world.peers.push(Peer::new(Role::Client(client)));
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
        world.peers[0].client().pushed = 100;
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
