//! Runs of a proxy: each client is relayed to a server, and the server to it (C46).

mod check;
mod handler;
mod session;

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use edgeloop::sim::internals::{
    Budgets, Follower, Holds, Injector, LITTLE, Pace, Parting, Peer, Reads, Rests, Role, SLACK,
    START, Service, Settings, Talker, World, event_loop,
};
use edgeloop::sim::{Failure, Fault, Random};
use edgeloop::{Config, Metrics};

use crate::runs::ends::{DRAIN, Ends};
use crate::runs::manner::{Limits, early_stop, settings};
use crate::runs::{LATENCIES, Outcome, run_checked, run_to_the_end};
use check::check_run;
use handler::{Proxy, Ways};
use session::End;

/// What is drawn for the talkers of a run.
#[derive(Debug, Clone, Copy)]
struct Manners {
    /// Whoever may end its stream last, and whether some wait for what they hear.
    last: End,
    asks: bool,
    /// Somebody may vanish, and is given up.
    vanish: bool,
    urgent: bool,
    rests: Duration,
}

impl Manners {
    fn talker(self, end: End, random: &mut Random) -> Talker {
        let mut talker = Talker::new(random.size(0, 3000) as u64, random);
        let is_last = self.last == end;
        talker.pace = match random.below(4) {
            0 if self.asks => Pace::Asks,
            1 | 2 if is_last => Pace::Answers,
            _ => Pace::Free,
        };
        talker.parting = match random.below(12) {
            0 => Parting::Resets,
            1 => Parting::Closes,
            2 if self.vanish => Parting::Vanishes,
            // Or two would wait for each other.
            3..6 if is_last && !self.asks => Parting::FinishesLast,
            _ => Parting::Finishes,
        };
        talker.reads = random.pick(&[Reads::AtWill, Reads::AtWill, Reads::Last, Reads::Slowly]);
        if random.chance(80) {
            talker.reads = Reads::Lazily;
        }
        (talker.urgent, talker.rests) = (self.urgent && random.chance(300), self.rests);
        talker
    }
}

/// Runs one seed to its end.
pub(crate) fn run(
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
    // What several send on one connection in a turn is not counted here.
    world.vigil.budgets.joined = 0;
    let ways = Ways::of(&mut world.random);
    if ways.panics > 0 {
        // Behind a panic the phases of its turn begin once more.
        world.vigil.budgets = Budgets::NONE;
    }
    let known = Settings::from(&config);
    let stops = early_stop(&mut world.random).filter(|_| !limits.low_ceiling);
    let short = limits.short_linger || limits.short_write || known.drain_quiet < LITTLE / 2;
    let hurried = stops.is_some() || limits.idle.is_some() || short;
    let slowest = if short { 2 } else { 4 - usize::from(hurried) };
    world.latency = world.random.pick(&LATENCIES[..slowest]);
    world.resizes = world.random.pick(&[0, 10, 100]);
    if world.latency == LATENCIES[3] {
        (world.buffers, world.resizes) = ((500, 2000), 0);
    }
    // Or it would be waited for for ever.
    world.unanswered = known.connect_timeout.map_or(0, |_| world.random.pick(&[0, 0, 300]));
    world.holds = Holds::of(&mut world.random, &config);
    let manners = Manners {
        last: world.random.pick(&[End::Server, End::Server, End::Client]),
        asks: world.random.chance(500),
        vanish: limits.idle.is_some() && known.write_timeout.is_some(),
        urgent: world.random.chance(300),
        // Whoever rests for so long is not given up.
        rests: known.write_timeout.unwrap_or(SLACK) * 15 / 16,
    };
    let most = world.random.pick(&[1, 4, 12, 30]);
    for _ in 0..world.random.size(1, most) {
        let talker = manners.talker(End::Client, &mut world.random);
        world.peers.push(Peer::new(Role::Talker(talker)));
    }
    for number in 0..world.random.pick(&[1, 3]) {
        let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 5000 + number));
        let mut random = Random::new(world.random.next());
        let answer = move |_| Peer::new(Role::Talker(manners.talker(End::Server, &mut random)));
        world.services.push(Service::new(address.into(), answer));
    }
    run_in(world, config, limits, ways, Ends { early: stops, ..Ends::default() })
}

/// Some talkers that differ: clients, and servers.
const FEW: [[(Pace, Reads, Parting, u64); 5]; 2] = [
    [
        (Pace::Free, Reads::Last, Parting::Finishes, 200),
        (Pace::Asks, Reads::Slowly, Parting::Finishes, 60),
        (Pace::Free, Reads::AtWill, Parting::Resets, 100),
        (Pace::Free, Reads::AtWill, Parting::Finishes, 0),
        (Pace::Asks, Reads::AtWill, Parting::Closes, 40),
    ],
    [
        (Pace::Free, Reads::Last, Parting::Finishes, 250),
        (Pace::Answers, Reads::AtWill, Parting::Finishes, 0),
        (Pace::Answers, Reads::Slowly, Parting::Finishes, 0),
        (Pace::Free, Reads::AtWill, Parting::Resets, 200),
        (Pace::Free, Reads::AtWill, Parting::Finishes, 90),
    ],
];

/// Runs a few pairs in this world, joined at different times.
pub(crate) fn run_few(
    mut world: World,
    config: Config,
    limits: Limits,
    ends: Ends,
) -> Result<Outcome, Failure> {
    let peer = |end: End, number: usize, random: &mut Random| {
        let few = FEW[end as usize];
        let (pace, reads, parting, length) = few[number % few.len()];
        let mut talker = Talker::new(length, random);
        (talker.pace, talker.reads, talker.parting) = (pace, reads, parting);
        Peer::new(Role::Talker(talker))
    };
    for number in 0..FEW[0].len() {
        let peer = peer(End::Client, number, &mut world.random);
        world.peers.push(peer);
    }
    let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 5000));
    let mut random = Random::new(1);
    let answer = move |number| peer(End::Server, number, &mut random);
    world.services.push(Service::new(address.into(), answer));
    run_in(world, config, limits, Ways::PLAIN, ends)
}

fn run_in(
    world: World,
    config: Config,
    limits: Limits,
    ways: Ways,
    ends: Ends,
) -> Result<Outcome, Failure> {
    run_checked(world, config, |world, config| run_and_check(world, config, limits, ways, ends))
}

fn run_and_check(
    world: &Rc<RefCell<World>>,
    config: Config,
    limits: Limits,
    ways: Ways,
    ends: Ends,
) -> Result<Metrics, String> {
    let known = Settings::from(&config);
    let mut server =
        event_loop(Proxy::new(world, ways), config, world).map_err(|error| error.to_string())?;
    let listener = world.borrow().listeners[0].clone();
    // What fails here is tried again, as an operator would.
    while server.listen(&listener).is_err() {}
    let handle = server.handle();
    let embedded = {
        let mut world = world.borrow_mut();
        let rests = Rests { low_watermark: known.low_watermark, cap: server.max_connections() };
        world.rests = (!limits.low_ceiling).then_some(rests);
        if let Some((after, stop)) = ends.early {
            let stopper = handle.clone();
            world.stops_at(START.after(after), !ends.serves_on(), move || stopper.stop(stop));
        }
        world.at_the_end = Some(Box::new(move || (ends.late)(&handle, &[])));
        world.random.chance(250)
    };
    let (metrics, server) = run_to_the_end(server, world, embedded, |_| {})?;
    let Some(server) = server else { return Ok(metrics) };
    let world = &mut world.borrow_mut();
    let stopped = world.stopped.or(world.ended_at);
    let held_up = stopped.map_or(Duration::ZERO, |at| world.holds.since(at));
    let deadline = DRAIN + SLACK + held_up;
    let drained = stopped.map_or(Duration::ZERO, |at| world.over_at.since(at));
    if drained > deadline {
        return Err(format!("the drain took {drained:?} and not {deadline:?}"));
    }
    let in_full = world.stopped.is_none() || (ends.serves_on() && held_up.is_zero());
    check_run(world, server.handler(), &metrics, in_full)?;
    Ok(metrics)
}
