//! What the library's users run: their own handler, their own peers.

use std::cell::RefCell;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use super::faults::Fault;
use super::injector::{Faults, Injector};
use super::kernel::SimulatedKernel;
use super::peer::{Peer, Role};
use super::random::Random;
use super::script::{Ending, Player, Script};
use super::watched::Watched;
use super::world::{START, Service, World};
use crate::config::Config;
use crate::event_loop::EventLoop;
use crate::handler::{Handler, Stop};
use crate::mailbox::Handle;
use crate::metrics::Metrics;

/// Where a simulated server listens, if nothing else is asked for.
const LISTENER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 3000);

/// How long a run may take by its own clock, unless another limit is set.
const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// How long the drain at the end may take.
const DRAIN: Duration = Duration::from_secs(60);

/// What is done from outside the loop: when, and what.
type Errand = (Duration, Box<dyn FnOnce(&Handle<SimulatedKernel>)>);

/// A run of a handler on a simulated kernel: the same seed, the same run.
///
/// The loop is the one that serves in production, to the last line. What it calls a kernel is a model
/// of Linux with a clock of its own, in which bytes are cut and delayed at will, buffers are small,
/// and calls fail as the chosen [`Faults`] say. See the [module](super) for a guide.
///
/// # Examples
///
/// ```
/// use edgeloop::sim::{Faults, Script, Simulation};
/// # use edgeloop::{Action, Context, Handler, Input, Origin};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type Session = ();
/// #     fn session(&mut self, _: &Origin) -> Option<()> { Some(()) }
/// #     fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
/// #         cx.send(input.take_all()).or_reset()
/// #     }
/// # }
///
/// let report = Simulation::new(7)
///     .faults(Faults::passing())
///     .peer(Script::new().send("hello").expect("hello").finish().expect_end())
///     .peer(Script::new().send("good").send("bye"))
///     .run(Echo)?;
/// assert_eq!(report.peers[1].received, b"goodbye");
/// # Ok::<(), edgeloop::sim::Failure>(())
/// ```
#[must_use = "a simulation does nothing until it is run"]
pub struct Simulation {
    seed: u64,
    world: World,
    config: Config,
    faults: Faults,
    plan: Option<Vec<Fault>>,
    listeners: Vec<SocketAddr>,
    connects: Vec<(SocketAddr, u64)>,
    errands: Vec<Errand>,
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl Simulation {
    /// A simulation without peers and without faults.
    pub fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        world.limit = START.after(LIMIT);
        Self {
            seed,
            world,
            config: Config::new(),
            faults: Faults::none(),
            plan: None,
            listeners: Vec::new(),
            connects: Vec::new(),
            errands: Vec::new(),
        }
    }

    /// Its seed.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The simulation's source of chance, to vary a scenario with its seed.
    pub const fn random(&mut self) -> &mut Random {
        &mut self.world.random
    }

    /// The settings of the loop.
    pub const fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// What goes wrong, and how often.
    pub const fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// How many bytes a socket's send buffer and its receive buffer hold: for each connection some
    /// number in this range, 1 to 2000 by default. It never is 0.
    pub fn buffers(mut self, bytes: RangeInclusive<usize>) -> Self {
        let least = (*bytes.start()).max(1);
        self.world.buffers = (least, (*bytes.end()).max(least));
        self
    }

    /// How many descriptors the process may have open, as `RLIMIT_NOFILE` says; the loop keeps some
    /// of them for the rest of the program, as it does in production.
    pub const fn descriptors(mut self, limit: usize) -> Self {
        self.world.files.limit = limit;
        self
    }

    /// After how much simulated time a run that has not come to its end has failed; a day by
    /// default.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.world.limit = START.after(limit);
        self
    }

    /// Listens on this address; on 127.0.0.1:3000 if none is asked for.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listeners.push(address);
        self
    }

    /// Adds a peer that connects to the server.
    pub fn peer(mut self, script: Script) -> Self {
        let player = Player::new(self.world.peers.len(), script);
        self.world.peers.push(Peer::new(Role::Script(player)));
        self
    }

    /// Adds a server that the handler may connect to: `answer` makes the script of each connection's
    /// other end, and is given how many there were before it. Connecting to an address without a
    /// service fails with `ECONNREFUSED`.
    pub fn service(
        mut self,
        address: SocketAddr,
        mut answer: impl FnMut(usize) -> Script + 'static,
    ) -> Self {
        let mut count = 0;
        let answer = move |number| {
            let script = answer(count);
            count += 1;
            Peer::new(Role::Script(Player::new(number, script)))
        };
        self.world.services.push(Service::new(address, answer));
        self
    }

    /// Lets the loop connect at its start, as [`EventLoop::connect`] does. One that fails at once,
    /// by a fault, is tried again.
    pub fn connect(mut self, peer: SocketAddr, tag: u64) -> Self {
        self.connects.push((peer, tag));
        self
    }

    /// Does something from outside the loop after so much simulated time, as another thread would:
    /// with a [`Handle`].
    pub fn at(
        mut self,
        after: Duration,
        errand: impl FnOnce(&Handle<SimulatedKernel>) + 'static,
    ) -> Self {
        self.errands.push((after, Box::new(errand)));
        self
    }

    /// Tells what happens: each call of the loop with its answer, each fault, each wait, with the
    /// simulated time.
    pub fn trace(mut self, follower: impl FnMut(Duration, &str) + 'static) -> Self {
        self.world.follower = Some(Box::new(follower));
        self
    }

    /// Runs until every peer has come to its end, and then stops the loop, which drains. Takes as long as
    /// the loop and the handler take to compute: waiting costs nothing.
    ///
    /// # Errors
    ///
    /// When a script can't go on, a callback panics, nothing can happen any more though somebody
    /// waits, or the loop breaks one of its own promises.
    pub fn run<H: Handler>(self, handler: H) -> Result<Report<H>, Failure> {
        let Self { seed, mut world, config, faults, plan, mut listeners, connects, errands } = self;
        world.faults = match plan {
            Some(faults) => Injector::plan(&faults),
            None => Injector::new(faults, u64::MAX, &mut world.random),
        };
        if listeners.is_empty() {
            listeners.push(LISTENER);
        }
        let world = Rc::new(RefCell::new(world));
        let ended = drive(&world, handler, config, &listeners, &connects, errands);
        let mut world = world.borrow_mut();
        let faults = std::mem::take(&mut world.faults.injected);
        let violation = world.vigil.take_violation();
        let (handler, metrics) = match (ended, violation) {
            (Ok(ended), None) => ended,
            (Err(what), None) | (_, Some(what)) => return Err(Failure { seed, what, faults }),
        };
        let peers = std::mem::take(&mut world.peers).into_iter();
        let peers = peers.filter_map(|Peer { place, role }| match role {
            Role::Script(player) => {
                let (received, ending) = player.into_result(&place);
                Some(PeerReport { received, ending })
            }
            Role::Client(_) => None,
        });
        let peers = peers.collect();
        Ok(Report { handler, metrics, peers, elapsed: world.now.since(START), faults })
    }
}

/// Makes the loop and runs it.
fn drive<H: Handler>(
    world: &Rc<RefCell<World>>,
    handler: H,
    config: Config,
    listeners: &[SocketAddr],
    connects: &[(SocketAddr, u64)],
    errands: Vec<Errand>,
) -> Result<(H, Metrics), String> {
    let watched = Watched::new(handler, world);
    let mut server = EventLoop::with_kernel(watched, config, SimulatedKernel::new(world))
        .map_err(|error| error.to_string())?;
    for address in listeners {
        // No program would go on without; what failed, failed by a fault.
        while server.listen(address).is_err() && !world.borrow().vigil.has_violation() {}
    }
    for &(peer, tag) in connects {
        while let Err(error) = server.connect(peer, tag) {
            if world.borrow().faults.injected.is_empty() || world.borrow().vigil.has_violation() {
                return Err(error.to_string());
            }
        }
    }
    let handle = server.handle();
    let stopper = handle.clone();
    {
        let mut world = world.borrow_mut();
        world.errands = errands
            .into_iter()
            .map(|(after, errand)| {
                let handle = handle.clone();
                let done: Box<dyn FnOnce()> = Box::new(move || errand(&handle));
                (START.after(after), done)
            })
            .collect();
        world.at_the_end = Some(Box::new(move || stopper.stop(Stop::Drain(Some(DRAIN)))));
    }
    let metrics = server.run().map_err(|error| error.to_string())?;
    let (open, _) = world.borrow().files.counts();
    if open > 0 {
        return Err(format!("{open} descriptors are still open"));
    }
    let (handler, sessions) = server.into_handler().into_parts();
    if sessions > 0 {
        return Err(format!("{sessions} sessions were never told that they are closed"));
    }
    Ok((handler, metrics))
}

/// What a simulation came to in which nothing went wrong that was not meant to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report<H> {
    /// The handler, as the run left it.
    pub handler: H,
    /// What the loop has counted.
    pub metrics: Metrics,
    /// Each peer, in the order in which they were added; behind them those that the handler
    /// connected to, in the order of that.
    pub peers: Vec<PeerReport>,
    /// How long it took by the simulated clock.
    pub elapsed: Duration,
    /// What went wrong, in its order.
    pub faults: Vec<Fault>,
}

/// What became of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerReport {
    /// All that it has received.
    pub received: Vec<u8>,
    /// How it came to its end.
    pub ending: Ending,
}

/// Why a simulation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The seed that shows it.
    pub seed: u64,
    /// What was found.
    pub what: String,
    /// What had gone wrong by then, in its order.
    pub faults: Vec<Fault>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 10;
        write!(f, "seed {}: {}", self.seed, self.what)?;
        for (index, fault) in self.faults.iter().take(MOST).enumerate() {
            let before = if index == 0 { " (after: " } else { ", " };
            write!(f, "{before}{fault}")?;
        }
        match self.faults.len() {
            0 => Ok(()),
            1..=MOST => f.write_str(")"),
            more => write!(f, ", and {} more faults)", more - MOST),
        }
    }
}

impl std::error::Error for Failure {}

/// Runs a test for each of these seeds, and fails with the first that fails: with the seed, with no
/// more faults than it takes, and with how to see it again.
///
/// `EDGELOOP_SEEDS=17..18` in the environment chooses other seeds; of a single one the trace is
/// printed to standard error.
///
/// # Panics
///
/// When the test fails for a seed, or panics.
///
/// # Examples
///
/// ```
/// use edgeloop::sim::{self, Script};
/// # use edgeloop::{Action, Context, Handler, Input, Origin};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type Session = ();
/// #     fn session(&mut self, _: &Origin) -> Option<()> { Some(()) }
/// #     fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
/// #         cx.send(input.take_all()).or_reset()
/// #     }
/// # }
///
/// sim::check(0..100, |simulation| {
///     let report = simulation.peer(Script::new().send("hello")).run(Echo)?;
///     assert_eq!(report.peers[0].received, b"hello");
///     Ok(())
/// });
/// ```
#[track_caller]
pub fn check(seeds: Range<u64>, test: impl Fn(Simulation) -> Result<(), Failure>) {
    let seeds = chosen_seeds(seeds);
    let single = seeds.end - seeds.start == 1;
    for seed in seeds {
        let mut simulation = Simulation::new(seed);
        if single {
            simulation = simulation
                .trace(|at, what| eprintln!("{:>14.6} ms  {what}", at.as_secs_f64() * 1000.0));
        }
        let again = format!("see it again with EDGELOOP_SEEDS={seed}..{}", seed + 1);
        match catch_unwind(AssertUnwindSafe(|| test(simulation))) {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => panic!("{}\n{again}", shrink(failure, &test)),
            Err(panic) => {
                eprintln!("that was seed {seed}; {again}");
                resume_unwind(panic);
            }
        }
    }
}

/// The seeds that the environment asks for, or these.
pub(crate) fn chosen_seeds(these: Range<u64>) -> Range<u64> {
    let chosen = std::env::var("EDGELOOP_SEEDS").ok().and_then(|seeds| {
        let (from, to) = seeds.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    chosen.unwrap_or(these)
}

/// Leaves out the faults without which the test fails as well.
fn shrink(failure: Failure, test: &impl Fn(Simulation) -> Result<(), Failure>) -> Failure {
    let seed = failure.seed;
    fewer_faults(failure, |faults| {
        let mut simulation = Simulation::new(seed);
        simulation.plan = Some(faults.to_vec());
        // One that panics fails in a way of its own.
        catch_unwind(AssertUnwindSafe(|| test(simulation))).unwrap_or(Ok(())).err()
    })
}

/// Leaves out of a failure's faults those without which `run` fails as well, though perhaps in
/// another way, until each that is left is needed.
pub(crate) fn fewer_faults(
    mut failure: Failure,
    run: impl Fn(&[Fault]) -> Option<Failure>,
) -> Failure {
    let mut size = failure.faults.len().div_ceil(2);
    while size > 0 {
        let mut begin = 0;
        while begin < failure.faults.len() {
            let mut fewer = failure.faults.clone();
            fewer.drain(begin..(begin + size).min(fewer.len()));
            match run(&fewer) {
                // What was met, and not what was planned, stays.
                Some(failed) if failed.faults.len() <= fewer.len() => failure = failed,
                _ => begin += size,
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    failure
}
