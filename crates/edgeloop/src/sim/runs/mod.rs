//! Runs of an echo server on the simulated kernel.

pub(crate) mod echo;
pub(crate) mod ends;
pub(crate) mod manner;
pub(crate) mod systematic;
pub(crate) mod verdict;

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use crate::config::Config;
use crate::event_loop::EventLoop;
use crate::metrics::Metrics;
use crate::sim::clock::{Follower, START};
use crate::sim::failure::{Failure, fewer_faults};
use crate::sim::peers::client::{Client, Kind};
use crate::sim::peers::{Peer, Role};
use crate::sim::runs::echo::{Echo, Sessions};
use crate::sim::runs::manner::{Limits, Manner, early_stop, settings};
use crate::sim::runs::verdict::{check_failure, check_run};
use crate::sim::world::{Budgets, Rests, Service, Tally};
use crate::sim::{Fault, Injector, Random, SimulatedKernel, World};
use ends::Ends;

/// The bounds of how long segments take at least, in different runs.
const LATENCIES: [(Duration, Duration); 4] = [
    (Duration::ZERO, Duration::ZERO),
    (Duration::ZERO, Duration::ZERO),
    (Duration::ZERO, Duration::from_micros(200)),
    (Duration::ZERO, Duration::from_millis(300)),
];

/// What one run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Counts of what happened.
    pub tally: Tally,
    /// What the loop has counted.
    pub metrics: Metrics,
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
    let mut manner = Manner::of(&mut world.random);
    if limits.low_ceiling {
        // Or nothing would come to it.
        manner.floods = 200;
    }
    if manner.panics > 0 {
        // Behind a panic the phases of its turn begin once more.
        world.vigil.budgets = Budgets::NONE;
    }
    // Whoever is left by the server, or stopped in the midst of it, has little time.
    let stops = early_stop(&mut world.random);
    // Who waits for memory may wait longer than any drain.
    let stops = stops.filter(|_| !limits.low_ceiling);
    let hurried = stops.is_some() || manner.enough < u64::MAX || limits.idle.is_some();
    world.latency = world.random.pick(&LATENCIES[..if hurried { 3 } else { 4 }]);
    world.resizes = world.random.pick(&[0, 10, 100]);
    if world.latency == LATENCIES[3] {
        // A byte at a time would take longer than any timeout.
        (world.buffers, world.resizes) = ((500, 2000), 0);
    }
    world.unanswered = world.random.pick(&[0, 0, 300]);
    let client = move |random: &mut Random| {
        let kinds: &[Kind] =
            if limits.low_ceiling && random.chance(500) { &[Kind::Vanishing] } else { &Kind::ALL };
        let mut client = Client::of_any(kinds, random);
        client.may_be_left = manner.enough < u64::MAX || manner.hoards;
        Peer::new(Role::Client(client))
    };
    let most = if limits.low_ceiling { 60 } else { world.random.pick(&[1, 4, 12, 12, 50]) };
    for _ in 0..world.random.size(1, most) {
        let peer = client(&mut world.random);
        world.peers.push(peer);
    }
    // Servers that the loop connects to. Which end was the first to speak makes no difference.
    for number in 0..world.random.pick(&[0, 0, 1, 5]) {
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 5000 + number));
        let mut random = Random::new(world.random.next());
        world.services.push(Service::new(address, move |_| client(&mut random)));
    }
    run_in(world, config, limits, manner, Ends { early: stops, ..Ends::default() })
}

/// Leaves out of the faults of a failing seed those without which it fails as well, though perhaps
/// in another way, until each that is left is needed.
#[must_use]
pub fn shrink(failure: Failure) -> Failure {
    let seed = failure.seed;
    fewer_faults(failure, |faults| run(seed, Some(faults), None).err())
}

/// Runs in this world until it is stopped.
///
/// # Errors
///
/// What was violated.
pub(crate) fn run_in(
    mut world: World,
    config: Config,
    limits: Limits,
    manner: Manner,
    ends: Ends,
) -> Result<Outcome, Failure> {
    let seed = world.seed;
    world.vigil.allow_spin(config.spin);
    let world = Rc::new(RefCell::new(world));
    let outcome = run_and_check(&world, config, limits, manner, ends);
    let mut world = world.borrow_mut();
    let faults = std::mem::take(&mut world.faults.injected);
    match outcome {
        Ok(metrics) => Ok(Outcome {
            tally: world.vigil.tally,
            metrics,
            simulated: world.now.since(START),
            faults,
        }),
        Err(what) => Err(Failure::new(seed, what, faults)),
    }
}

fn run_and_check(
    world: &Rc<RefCell<World>>,
    config: Config,
    limits: Limits,
    manner: Manner,
    ends: Ends,
) -> Result<Metrics, String> {
    let (sessions, spins) = (Sessions::default(), !config.spin.is_zero());
    let echo = Echo::new(world, &sessions, manner, limits, &config);
    let (low_watermark, asked) = (config.low_watermark, config.max_connections);
    let mut server = EventLoop::with_kernel(echo, config, SimulatedKernel::new(world))
        .map_err(|error| error.to_string())?;
    let (cap, unlimited) = (server.max_connections(), world.borrow().files.limit == usize::MAX);
    if unlimited && asked.is_some_and(|asked| asked != cap) {
        return Err(format!("a cap of {cap} connections holds, and not {asked:?}"));
    }
    // What fails here is tried again, as an operator would.
    while server.listen("127.0.0.1:3000").is_err() {}
    let addresses: Vec<_> = world.borrow().services.iter().map(|service| service.address).collect();
    for address in addresses {
        // Whoever can't be connected to at once is given up.
        let _ = server.connect(address, 0);
    }
    let handle = server.handle();
    let (poster, of) = (handle.clone(), Rc::clone(&sessions));
    {
        let mut world = world.borrow_mut();
        // While all input waits for memory a loop rests over it, and where too much is left.
        let rests = Rests { low_watermark, cap: server.max_connections() };
        world.rests = (!limits.low_ceiling && !manner.hoards).then_some(rests);
        world.post = Some(Box::new(move |wire, bytes| {
            let id = of.borrow().iter().find(|session| session.1 == wire).map(|session| session.0);
            id.is_some_and(|id| poster.send(id, bytes).is_ok())
        }));
        if let Some((after, stop)) = ends.early {
            let stopper = handle.clone();
            let cuts = !ends.serves_on();
            world.stops_at(START.after(after), cuts, move || stopper.stop(stop));
        }
        let opened = Rc::clone(&sessions);
        world.at_the_end = Some(Box::new(move || {
            handle.notify();
            (ends.late)(&handle, &opened.borrow());
        }));
    }
    let ended = server.run();
    if world.borrow().faults.injected.iter().any(Fault::is_fatal)
        && let Err(error) = &ended
    {
        let (what, metrics) = (error.to_string(), server.metrics());
        drop(server);
        return check_failure(&world.borrow(), &what).map(|()| metrics);
    }
    world.borrow_mut().settle();
    if let Some(violation) = world.borrow_mut().vigil.take_violation() {
        return Err(violation);
    }
    let metrics = ended.map_err(|error| error.to_string())?;
    if metrics.spins_paid > metrics.spins || (metrics.spins > 0 && !spins) {
        return Err(format!("of {} spins {} paid", metrics.spins, metrics.spins_paid));
    }
    let opened = sessions.borrow().len();
    let echo = server.handler();
    check_run(&mut world.borrow_mut(), opened, echo, &metrics, ends)?;
    Ok(metrics)
}

#[cfg(test)]
mod tests {
    use super::ends::{AtTheEnd, DRAIN};
    use super::*;
    use crate::handler::Stop;
    use crate::sim::check::chosen_seeds;

    #[test]
    fn no_seed_loses_a_byte_or_leaks_or_stalls_or_spins() {
        let (mut tally, mut faults) = (Tally::default(), 0);
        for seed in chosen_seeds(0..500) {
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
            expect(run_in(world, config, Limits::NONE, Manner::PLAIN, Ends::default()), seed);
        }
    }

    #[test]
    fn c15_a_flood_does_not_keep_the_backlog_waiting() {
        for seed in 0..20 {
            let world = crowd(seed, &[(Kind::Greedy, 4, 3000), (Kind::Fair, 30, 10)]);
            let config = Config::new().budgets(8, 2, 100);
            let tally =
                expect(run_in(world, config, Limits::NONE, Manner::PLAIN, Ends::default()), seed);
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
            let tally =
                expect(run_in(world, config, Limits::NONE, Manner::PLAIN, Ends::default()), seed);
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
        let letters: AtTheEnd = |handle, ids| {
            for _ in 0..100 {
                handle.send(ids[0].0, *b"x").expect("room in the mailbox");
            }
            handle.stop(Stop::Drain(Some(DRAIN)));
        };
        let ends = Ends { early: None, late: letters };
        let tally = expect(run_in(world, config, Limits::NONE, Manner::PLAIN, ends), 1);
        assert_eq!(tally.most.sends, 10, "{tally:?}");
    }

    #[test]
    fn a_seed_always_runs_the_same_way() {
        for seed in [1, 2, 3] {
            assert_eq!(run(seed, None, None), run(seed, None, None));
        }
    }
}
