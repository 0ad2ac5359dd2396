//! Runs of an echo server, and of a proxy, on the simulated kernel.

mod adopting;
pub(crate) mod datagrams;
pub(crate) mod echo;
pub(crate) mod ends;
pub(crate) mod manner;
pub(crate) mod proxy;
pub(crate) mod systematic;
pub(crate) mod unix;
pub(crate) mod verdict;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use edgeloop::sim::internals::{
    Budgets, Client, Follower, Holds, Injector, Kind, LITTLE, Peer, Rests, Role, SLACK, START,
    Service, Settings, Tally, World, event_loop, fewer_faults,
};
use edgeloop::sim::{Failure, Fault, Random, SimulatedKernel};
use edgeloop::{Address, Config, Error, EventLoop, Handler, Metrics, Turn};

use crate::runs::echo::session::{Padded, Session, Sessions};
use crate::runs::echo::{Echo, Parcel, Served};
use crate::runs::manner::{Limits, Manner, early_stop, settings};
use crate::runs::verdict::{check_failure, check_run};
use ends::{AtTheEnd, Ends};

/// The bounds of how long segments take at least, in different runs.
const LATENCIES: [(Duration, Duration); 4] = [
    (Duration::ZERO, Duration::ZERO),
    (Duration::ZERO, Duration::ZERO),
    (Duration::ZERO, Duration::from_micros(200)),
    (Duration::ZERO, Duration::from_millis(300)),
];

/// The address of the second listener, if there is one.
const SECOND: Address = Address::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3001));

/// Where a handler listens to whom nobody comes.
const LONELY: Address = Address::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3002));

/// Where another part of the program listens, that gives the loop what it accepts.
const ELSEWHERE: Address = Address::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3003));

/// How many of a thousand seeds run a proxy.
const PROXIES: usize = 150;

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

/// Runs one seed to its end, with peers of all kinds: an echo, or a proxy. The faults come from the
/// seed too, unless they are given.
///
/// # Errors
///
/// What was violated.
pub fn run(
    seed: u64,
    faults: Option<&[Fault]>,
    follower: Option<Follower>,
) -> Result<Outcome, Failure> {
    if Random::new(!seed).chance(PROXIES) {
        return proxy::run(seed, faults, follower);
    }
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
    if limits.scarce {
        // Or others would wait for the slot for ever.
        manner.abandons = 0;
    }
    if manner.flushes + manner.limits > 0 {
        world.vigil.budgets.joined = 0;
    }
    if manner.panics + manner.births > 0 {
        // Behind a panic the phases of its turn begin once more.
        world.vigil.budgets = Budgets::NONE;
    }
    let known = Settings::from(&config);
    // Whoever is left by the server, or stopped in the midst of it, has little time.
    let stops = early_stop(&mut world.random);
    // Who waits for memory may wait longer than any drain.
    let stops = stops.filter(|_| !limits.low_ceiling);
    let short = limits.short_linger || limits.short_write || known.drain_quiet < LITTLE / 2;
    let hurried = stops.is_some() || manner.enough < u64::MAX || limits.idle.is_some() || short;
    // A small buffer and some latency make a slow connection.
    let slowest = if short { 2 } else { 4 - usize::from(hurried) };
    world.latency = world.random.pick(&LATENCIES[..slowest]);
    world.resizes = world.random.pick(&[0, 10, 100]);
    if world.latency == LATENCIES[3] {
        // A byte at a time would take longer than any timeout.
        (world.buffers, world.resizes) = ((500, 2000), 0);
    }
    world.unanswered = world.random.pick(&[0, 0, 300]);
    world.full_backlogs = world.random.pick(&[0, 500]);
    if known.connect_timeout.is_none() {
        // Or it would be waited for for ever.
        world.unanswered = 0;
    }
    world.holds = Holds::of(&mut world.random, &config);
    // Nobody waits for an answer that comes with more only, or for one who never reads for ever.
    let (light, deaf) = (manner.piece == 1 && !manner.hoards, known.write_timeout.is_some());
    // A buffer that shrinks has no room, however much of it is read.
    let lazy = world.resizes == 0;
    let second = world.random.chance(300);
    // Whoever rests for so long is not given up.
    let rests = known.write_timeout.unwrap_or(SLACK) * 15 / 16;
    let client = move |random: &mut Random| {
        let kinds: &[Kind] =
            if limits.low_ceiling && random.chance(500) { &[Kind::Vanishing] } else { &Kind::ALL };
        let meant = |kind: &Kind| match kind {
            Kind::Light => light,
            Kind::Deaf => deaf,
            Kind::Lazy => lazy,
            _ => true,
        };
        let mut client = Client::of_any(kinds, meant, random);
        client.rests = rests;
        if second && random.chance(500) {
            client.wants = Some(SECOND);
        }
        client.may_be_left = manner.enough < u64::MAX || manner.hoards;
        Peer::new(Role::Client(client))
    };
    let most = if limits.low_ceiling { 60 } else { world.random.pick(&[1, 4, 12, 12, 50]) };
    for _ in 0..world.random.size(1, most) {
        let peer = client(&mut world.random);
        world.peers.push(peer);
    }
    // Servers that the loop connects to. Which end was the first to speak makes no difference.
    let services: &[u16] = if manner.redials > 0 { &[1, 5] } else { &[0, 0, 1, 5] };
    for number in 0..world.random.pick(services) {
        let tcp = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), 5000 + number)).into();
        let address = unix::service(&mut world, number).unwrap_or(tcp);
        let mut random = Random::new(world.random.next());
        world.services.push(Service::new(address, move |_| client(&mut random)));
    }
    if second {
        world.listeners.push(SECOND);
    }
    unix::listen(&mut world);
    if manner.datagrams > 0 {
        datagrams::furnish(&mut world);
        world.datagrams.no_budget = manner.panics + manner.births > 0;
    }
    adopting::accept_elsewhere(&mut world);
    let (listeners, accepts) = (world.listeners.len() as u64, &mut world.vigil.budgets.accepts);
    *accepts = accepts.saturating_mul(listeners);
    run_in(world, config, limits, manner, Ends { early: stops, ..Ends::default() })
}

/// Leaves out of the faults of a failing seed those without which it fails as well, though perhaps
/// in another way, until each that is left is needed.
#[must_use]
pub fn shrink(failure: Failure) -> Failure {
    let seed = failure.seed;
    fewer_faults(failure, |faults| run(seed, Some(faults), None).err())
}

/// Runs a plain echo in this world, without limits, until `late` stops it, or a drain when no peer
/// has anything left to do.
///
/// # Errors
///
/// What was violated.
pub fn run_plain(world: World, config: Config, late: Option<AtTheEnd>) -> Result<Outcome, Failure> {
    let ends = Ends::default();
    let ends = Ends { late: late.unwrap_or(ends.late), ..ends };
    run_in(world, config, Limits::NONE, Manner::PLAIN, ends)
}

/// Runs in this world until it is stopped.
///
/// # Errors
///
/// What was violated.
pub(crate) fn run_in(
    world: World,
    config: Config,
    limits: Limits,
    manner: Manner,
    ends: Ends,
) -> Result<Outcome, Failure> {
    let config = config.input_limit(manner.input_limit);
    let run = match (manner.traces, manner.size) {
        (true, _) => run_and_check::<true, 1>,
        (_, 0) => run_and_check::<false, 0>,
        (_, 1) => run_and_check::<false, 700>,
        _ => run_and_check::<false, 5000>,
    };
    run_checked(world, config, |world, config| run(world, config, limits, manner, ends))
}

/// Runs something in a world, and says what came of it.
fn run_checked(
    mut world: World,
    config: Config,
    run: impl FnOnce(&Rc<RefCell<World>>, Config) -> Result<Metrics, String>,
) -> Result<Outcome, Failure> {
    let seed = world.seed;
    let known = Settings::from(&config);
    world.vigil.allow_spin(known.spin + known.busy_poll);
    let world = Rc::new(RefCell::new(world));
    let outcome = run(&world, config);
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

/// Runs a loop to its end, by itself or `embedded` in another, which does something `between` its
/// turns. Returns what it has counted, and the loop, unless it was ended by a fault that ends one.
fn run_to_the_end<H: Handler>(
    mut server: EventLoop<H, SimulatedKernel>,
    world: &Rc<RefCell<World>>,
    embedded: bool,
    between: impl FnMut(&mut EventLoop<H, SimulatedKernel>),
) -> Result<(Metrics, Option<EventLoop<H, SimulatedKernel>>), String> {
    let ended = if embedded { turn_until_done(&mut server, world, between) } else { server.run() };
    if world.borrow().faults.injected.iter().any(Fault::is_fatal)
        && let Err(error) = &ended
    {
        let (what, metrics) = (error.to_string(), server.metrics());
        drop(server);
        return check_failure(&world.borrow(), &what).map(|()| (metrics, None));
    }
    world.borrow_mut().settle();
    if let Some(violation) = world.borrow_mut().vigil.take_violation() {
        return Err(violation);
    }
    Ok((ended.map_err(|error| error.to_string())?, Some(server)))
}

fn run_and_check<const TRACE: bool, const SIZE: usize>(
    world: &Rc<RefCell<World>>,
    config: Config,
    limits: Limits,
    manner: Manner,
    ends: Ends,
) -> Result<Metrics, String> {
    let (sessions, known) = (Sessions::default(), Settings::from(&config));
    let spins = !known.spin.is_zero();
    let mut echo = Echo::new(world, &sessions, manner, limits, &known);
    let listeners = world.borrow().listeners.clone();
    let passed = adopting::passed_listeners(&mut world.borrow_mut());
    let listeners: Vec<_> = listeners
        .into_iter()
        .filter(|address| !passed.contains(address))
        .map(|address| (address.clone(), echo.listen_options(address)))
        .collect();
    let (low_watermark, asked) = (known.low_watermark, known.max_connections);
    let sockets = echo.sockets();
    let mut server = event_loop(Served::<TRACE, SIZE>(echo), config, world)
        .map_err(|error| error.to_string())?;
    let (cap, unlimited) = (server.max_connections(), world.borrow().files.limit == usize::MAX);
    if unlimited && asked.is_some_and(|asked| asked != cap) {
        return Err(format!("a cap of {cap} connections holds, and not {asked:?}"));
    }
    // What fails here is tried again, as an operator would.
    for (address, options) in listeners {
        while server.listen_with(&address, &options).is_err() {}
    }
    for number in 0..manner.datagrams {
        datagrams::bind(number, &sockets, |address| server.bind_udp(address));
    }
    for address in passed {
        adopting::listen_on_passed(&mut server, world, &address)?;
    }
    let addresses: Vec<_> =
        world.borrow().services.iter().map(|service| service.address.clone()).collect();
    for address in addresses {
        // Whoever can't be connected to at once is given up.
        let session = Session::outbound(0, world.borrow().clock_read);
        if let Ok(id) = server.connect(address, Padded::new(session)) {
            let wire = world.borrow_mut().wire_begun(id);
            sessions.borrow_mut().push((id, wire));
        }
    }
    let handle = server.handle();
    let (poster, of) = (server.sender::<Parcel>(), Rc::clone(&sessions));
    let by_message = RefCell::new(Random::new(world.borrow_mut().random.next()));
    {
        let mut world = world.borrow_mut();
        // While all input waits for memory a loop rests over it, and where too much is left.
        let rests = Rests { low_watermark, cap: server.max_connections() };
        world.rests = (!limits.low_ceiling && !manner.hoards).then_some(rests);
        let acceptor = handle.clone();
        world.acceptor.adopt = Some(Box::new(move |stream| acceptor.adopt(stream)));
        world.post = Some(Box::new(move |wire, bytes| {
            let id = of.borrow().iter().find(|session| session.1 == wire).map(|session| session.0);
            let sends = |id| match by_message.borrow_mut().chance(500) {
                true => poster.send_to(id, Parcel(bytes)).is_ok(),
                false => poster.handle().send(id, bytes).is_ok(),
            };
            id.is_some_and(sends)
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
    world.borrow_mut().begin_elsewhere();
    adopting::adopt(&mut server, world, &sessions);
    let adopts = |server: &mut _| adopting::adopt(server, world, &sessions);
    let (metrics, server) = run_to_the_end(server, world, manner.embedded, adopts)?;
    let Some(server) = server else { return Ok(metrics) };
    if metrics.spins_paid > metrics.spins || (metrics.spins > 0 && !spins) {
        return Err(format!("of {} spins {} paid", metrics.spins, metrics.spins_paid));
    }
    let opened = sessions.borrow().len();
    let echo = &server.handler().0;
    check_run(&mut world.borrow_mut(), opened, echo, &metrics, ends)?;
    drop(server);
    world.borrow_mut().acceptor.expect_all_closed()?;
    Ok(metrics)
}

/// Turns a loop one by one, as another loop does that it is embedded in.
fn turn_until_done<H: Handler>(
    server: &mut EventLoop<H, SimulatedKernel>,
    world: &Rc<RefCell<World>>,
    mut between: impl FnMut(&mut EventLoop<H, SimulatedKernel>),
) -> Result<Metrics, Error> {
    let mut random = Random::new(world.borrow_mut().random.next());
    loop {
        let timeout = match random.below(10) {
            // Not often, or it would be taken for one that spins.
            0 => Some(Duration::ZERO),
            1..4 => None,
            _ => Some(Duration::from_nanos(random.next() % random.pick(&[2000, 10_000_000_000]))),
        };
        world.borrow_mut().acceptor.before_turn = true;
        if server.run_once(timeout)? == Turn::Done {
            return Ok(server.metrics());
        }
        if random.chance(100) {
            between(server);
        }
    }
}
