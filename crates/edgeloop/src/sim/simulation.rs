//! What the library's users run: their own handler, their own peers.

use std::cell::RefCell;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use crate::api::address::Address;
use crate::api::config::Config;
use crate::api::handler::{Handler, Stop};
use crate::api::metrics::Metrics;
use crate::api::receive::Receive;
use crate::api::target::Target;
use crate::event_loop::EventLoop;
use crate::mailbox::{Handle, Sender};
use crate::sim::clock::START;
use crate::sim::failure::Failure;
use crate::sim::faults::Fault;
use crate::sim::injector::{Faults, Injector};
use crate::sim::journal::{Inside, Journal};
use crate::sim::kernel::SimulatedKernel;
#[cfg(feature = "udp")]
use crate::sim::peers::correspondent::{Correspondent, Habit};
#[cfg(feature = "udp")]
use crate::sim::peers::datagram_script::DatagramPlayer;
use crate::sim::peers::place::Stage;
use crate::sim::peers::player::Player;
use crate::sim::peers::script::Script;
use crate::sim::peers::{Peer, Role};
use crate::sim::random::Random;
#[cfg(feature = "udp")]
use crate::sim::report::CorrespondentReport;
use crate::sim::report::{PeerReport, Report};
use crate::sim::watched::Watched;
use crate::sim::world::{Service, World};

/// Where a simulated server listens, if nothing else is asked for.
const LISTENER: Address =
    Address::Tcp(SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 3000));

/// How long a run may take by its own clock, unless another limit is set.
const LIMIT: Duration = Duration::from_secs(24 * 3600);

/// How long the drain at the end may take.
const DRAIN: Duration = Duration::from_secs(60);

/// What is done from outside the loop: when, and what.
type Errand = (Duration, Box<dyn FnOnce(&Handle<SimulatedKernel>)>);

/// A run of a handler on a simulated kernel: the same seed, the same run.
///
/// The loop is the one that serves in production, to the last line. What it calls a kernel is a
/// model of Linux with a clock of its own, in which bytes are cut and delayed at will, buffers are
/// small, and calls fail as the chosen [`Faults`] say. See the [module](super) for a guide.
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
    pub(super) world: World,
    config: Config,
    faults: Faults,
    plan: Option<Vec<Fault>>,
    listeners: Vec<Address>,
    later: Vec<Address>,
    #[cfg(feature = "udp")]
    datagrams: Vec<SocketAddr>,
    wakes_after: Option<Duration>,
    errands: Vec<Errand>,
    journal: Rc<Journal>,
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl Simulation {
    /// A simulation without peers and without faults.
    pub fn new(seed: u64) -> Self {
        Self::in_check(seed, None, Rc::default())
    }

    /// One with these faults and no others, if any are given, that tells this journal.
    pub(crate) fn in_check(seed: u64, plan: Option<Vec<Fault>>, journal: Rc<Journal>) -> Self {
        let mut world = World::new(seed);
        world.limit = START.after(LIMIT);
        Self {
            seed,
            world,
            config: Config::new(),
            faults: Faults::none(),
            plan,
            listeners: Vec::new(),
            later: Vec::new(),
            #[cfg(feature = "udp")]
            datagrams: Vec::new(),
            wakes_after: None,
            errands: Vec::new(),
            journal,
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

    /// A network that behaves well: what a peer sends at once arrives at once, as far as the
    /// buffers have room, instead of in pieces of any size. A handler that fails then has a plain
    /// bug; most subtle ones pass.
    pub fn calm(mut self) -> Self {
        self.world.calm = true;
        self.journal.calm.set(true);
        self
    }

    /// How many bytes a socket's send buffer and its receive buffer hold: for each connection some
    /// number in this range, 1 to 2000 by default. It never is 0.
    pub fn buffers(mut self, bytes: RangeInclusive<usize>) -> Self {
        let least = (*bytes.start()).max(1);
        self.world.buffers = (least, (*bytes.end()).max(least));
        self
    }

    /// How long what is sent takes at least to arrive: for each connection some time in this range,
    /// the same in both directions; none by default. So timers ring while bytes are under way.
    pub fn latency(mut self, time: RangeInclusive<Duration>) -> Self {
        let (least, most) = time.into_inner();
        self.world.latency = (least, most.max(least));
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
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.world.limit = START.after(limit);
        self
    }

    /// Listens on this address; on 127.0.0.1:3000 if none is asked for. A port of 0 stays 0. Unix
    /// sockets have the kernel's rules for them; their files exist in the simulation only.
    pub fn listen(mut self, address: impl Into<Address>) -> Self {
        self.listeners.push(address.into());
        self
    }

    /// The handler itself will listen on this address
    /// ([`LoopContext::listen`](crate::LoopContext::listen)). Scripts that connect to it wait until
    /// it does.
    pub fn expect_listener(mut self, address: impl Into<Address>) -> Self {
        self.later.push(address.into());
        self
    }

    /// Adds a peer that connects to the server.
    pub fn peer(mut self, script: Script) -> Self {
        let name = format!("peer {}", self.world.peers.len());
        let player = Player::new(name, script, &self.journal);
        self.world.peers.push(Peer::new(Role::Script(player)));
        self
    }

    /// Adds a server that the handler may connect to: `answer` makes the script of each
    /// connection's other end, and is given how many there were before it. A script without a name
    /// is called by the address and that number, as in `127.0.0.1:80 #0`. Connecting to an address
    /// without a service fails with `ECONNREFUSED`, and to a Unix socket's path with `ENOENT`.
    pub fn service(
        mut self,
        address: impl Into<Address>,
        mut answer: impl FnMut(usize) -> Script + 'static,
    ) -> Self {
        let address = address.into();
        let mut count = 0;
        let journal = Rc::clone(&self.journal);
        let named = address.clone();
        let answer = move |_: usize| {
            let script = journal.within(Inside::Service(named.clone()), || answer(count));
            let silent = script.never_answers;
            let player = Player::new(format!("{named} #{count}"), script, &journal);
            count += 1;
            let mut peer = Peer::new(Role::Script(player));
            peer.place.silent = silent;
            peer
        };
        self.world.services.push(Service::new(address, answer));
        self
    }

    /// Sets the loop's wake-up at its start, for so long after it, as [`EventLoop::wake_at`] does.
    pub const fn wake_after(mut self, after: Duration) -> Self {
        self.wakes_after = Some(after);
        self
    }

    /// Binds a socket for datagrams at the loop's start, as [`EventLoop::bind_udp`] does. A handler
    /// may bind others itself. The kernel drops what comes to an address without a socket.
    #[cfg(feature = "udp")]
    pub fn bind_udp(mut self, address: SocketAddr) -> Self {
        self.datagrams.push(address);
        self
    }

    /// Adds a peer that sends datagrams, and receives them.
    #[cfg(feature = "udp")]
    pub fn correspondent(mut self, script: crate::sim::DatagramScript) -> Self {
        let peers = &mut self.world.datagrams.peers;
        let address = script.address(peers.len());
        let player = DatagramPlayer::new(script, address);
        peers.push(Correspondent { address, habit: Habit::Script(player) });
        self
    }

    /// What becomes of datagrams on their way. How long they take at least is said by
    /// [`latency`](Self::latency), of each anew.
    #[cfg(feature = "udp")]
    pub const fn packets(mut self, packets: crate::sim::Packets) -> Self {
        self.world.datagrams.packets = packets;
        self
    }

    /// How many bytes the receive buffer of a datagram socket holds (`SO_RCVBUF`): for each some
    /// number in this range, 200,000 by default. Each datagram takes 768 bytes beside its own. What
    /// has no room is dropped, and nobody hears of it.
    #[cfg(feature = "udp")]
    pub fn datagram_buffers(mut self, bytes: RangeInclusive<usize>) -> Self {
        let (least, most) = bytes.into_inner();
        self.world.datagrams.room = (least, most.max(least));
        self
    }

    /// Does something from outside the loop after so much simulated time, as another thread would:
    /// with a [`Handle`]. What is to be done at the same time is done in any order. The run does
    /// not end before.
    pub fn at(
        mut self,
        after: Duration,
        errand: impl FnOnce(&Handle<SimulatedKernel>) + 'static,
    ) -> Self {
        self.errands.push((after, Box::new(errand)));
        self
    }

    /// Tells what happens, a line each: the calls of the loop with their answers, the callbacks
    /// with theirs, what the peers do, each fault, each wait; with the simulated time since the
    /// beginning.
    pub fn trace(self, follower: impl FnMut(Duration, &str) + 'static) -> Self {
        self.journal.follow(Box::new(follower));
        self
    }

    /// Runs until every peer has come to its end and all that was to be done from outside is done,
    /// and then stops the loop, which drains. If the handler or a [`Handle`] stops the loop before,
    /// the peers go on until they have seen the end of their connections.
    ///
    /// Takes as long as the loop and the handler take to compute: waiting costs nothing.
    ///
    /// # Errors
    ///
    /// When a script can't go on, a callback panics, nothing can happen any more though somebody
    /// waits, the loop breaks one of its own promises, or the settings contradict each other.
    ///
    /// # Panics
    ///
    /// When a script connects to an address on which nothing listens or is
    /// [expected to](Self::expect_listener).
    pub fn run<H: Handler>(self, handler: H) -> Result<Report<H>, Failure> {
        self.run_with(handler, |_| {})
    }

    /// The same with a beginning: connections that the loop makes, and messages that reach the
    /// handler's [`Receive`].
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub fn run_with<H: Handler>(
        self,
        handler: H,
        begin: impl FnOnce(&mut Start<'_, H>),
    ) -> Result<Report<H>, Failure> {
        let Self {
            seed,
            mut world,
            config,
            faults,
            plan,
            listeners,
            later,
            #[cfg(feature = "udp")]
            datagrams,
            wakes_after,
            errands,
            journal,
        } = self;
        let listeners = if listeners.is_empty() { vec![LISTENER] } else { listeners };
        let expected: Vec<_> = listeners.iter().chain(&later).cloned().collect();
        expect_listeners(&world.peers, &expected);
        // With a plan, too, so that the schedule stays what it was.
        world.faults = Injector::new(faults, u64::MAX, &mut world.random);
        if let Some(faults) = plan {
            world.faults = Injector::plan(&faults);
        }
        if journal.is_followed() {
            let journal = Rc::clone(&journal);
            world.follower = Some(Box::new(move |at, what| journal.tell(at, || what.to_owned())));
        }
        world.vigil.allow_spin(config.spin);
        let world = Rc::new(RefCell::new(world));
        let ended = {
            let beginning = Beginning {
                config,
                listeners,
                #[cfg(feature = "udp")]
                datagrams,
                wakes_after,
                errands,
            };
            drive(&world, &journal, handler, beginning, begin)
        };
        let ended = ended.and_then(|ended| outlive(&world).map(|()| ended));
        let mut world = world.borrow_mut();
        let faults = std::mem::take(&mut world.faults.injected);
        let elapsed = world.now.since(START);
        journal.faults.replace(faults.clone());
        journal.elapsed.set(elapsed);
        let violation = world.vigil.take_violation();
        let (handler, metrics) = match (ended, violation) {
            (Ok(ended), None) => ended,
            (Err(what), None) | (_, Some(what)) => {
                let mut failure = Failure::new(seed, what, faults);
                failure.at = elapsed;
                failure.story.scripts = outlines(&world.peers);
                failure.story.last = journal.take_last();
                return Err(failure);
            }
        };
        let peers = std::mem::take(&mut world.peers).into_iter();
        let peers = peers.filter_map(|Peer { place, role }| match role {
            Role::Script(player) => {
                let (name, received, ending, closed) = player.into_result(&place);
                Some(PeerReport { name, received, ending, closed })
            }
            Role::Client(_) | Role::Talker(_) => None,
        });
        let peers = peers.collect();
        #[cfg(feature = "udp")]
        let correspondents = std::mem::take(&mut world.datagrams.peers)
            .into_iter()
            .filter_map(|Correspondent { address, habit }| match habit {
                Habit::Script(player) => {
                    let (name, received) = player.into_result();
                    Some(CorrespondentReport { name, address, received })
                }
                Habit::Asker(_) => None,
            })
            .collect();
        Ok(Report {
            handler,
            metrics,
            peers,
            #[cfg(feature = "udp")]
            correspondents,
            elapsed,
            faults,
        })
    }
}

/// A script that connects to nowhere is a mistake of its author.
#[track_caller]
fn expect_listeners(peers: &[Peer], listeners: &[Address]) {
    for peer in peers {
        if let (Role::Script(player), Some(wanted)) = (&peer.role, peer.wants())
            && !listeners.contains(wanted)
        {
            panic!("{} connects to {wanted}, where nothing listens", player.name());
        }
    }
}

/// The scripts that a failure is about: the one that failed, or else those that wait.
fn outlines(peers: &[Peer]) -> Vec<String> {
    const MOST: usize = 3;
    let players = |peer: &Peer, wanted: &dyn Fn(&Player) -> bool| match &peer.role {
        Role::Script(player) if wanted(player) => Some(player.outline()),
        _ => None,
    };
    let failed: Vec<_> =
        peers.iter().filter_map(|peer| players(peer, &Player::has_failed)).collect();
    if !failed.is_empty() {
        return failed;
    }
    let waiting = peers.iter().filter(|peer| !peer.is_done());
    waiting.filter_map(|peer| players(peer, &|_| true)).take(MOST).collect()
}

/// The loop has ended; whoever is left sees the end of the connections, or that nothing listens.
fn outlive(world: &RefCell<World>) -> Result<(), String> {
    let mut world = world.borrow_mut();
    world.settle();
    for Peer { place, role } in &mut world.peers {
        if let Role::Script(player) = role
            && place.stage == Stage::Unborn
        {
            player.is_refused(place)?;
        }
    }
    if world.vigil.has_violation() || world.are_peers_done() {
        return Ok(());
    }
    let waits = world.waits();
    Err(format!("nothing can happen any more{waits}"))
}

/// What a loop begins with.
struct Beginning {
    config: Config,
    listeners: Vec<Address>,
    #[cfg(feature = "udp")]
    datagrams: Vec<SocketAddr>,
    wakes_after: Option<Duration>,
    errands: Vec<Errand>,
}

/// The beginning of a run: the loop before its first turn. See [`Simulation::run_with`].
pub struct Start<'a, H: Handler> {
    server: &'a mut EventLoop<Watched<H>, SimulatedKernel>,
    world: &'a RefCell<World>,
    errands: Vec<Errand>,
    failed: Option<String>,
}

impl<H: Handler> fmt::Debug for Start<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start").finish_non_exhaustive()
    }
}

impl<H: Handler> Start<'_, H> {
    /// Lets the loop connect, as [`EventLoop::connect`] does. What fails at once, by a fault, is
    /// tried again.
    pub fn connect(&mut self, to: impl Into<Target>, mut session: H::Session) {
        let to = to.into();
        while let Err(error) = self.server.connect(to.clone(), session) {
            let world = self.world.borrow();
            if world.faults.injected.is_empty() || world.vigil.has_violation() {
                self.failed.get_or_insert(error.to_string());
                return;
            }
            session = error.session;
        }
    }

    /// Sends messages to the handler, as other threads do, by what is done at a time
    /// ([`at`](Self::at)).
    pub fn sender<M: Send + 'static>(&mut self) -> Sender<M, SimulatedKernel>
    where
        H: Receive<M>,
    {
        self.server.sender()
    }

    /// Does something from outside the loop after so much simulated time, as [`Simulation::at`].
    pub fn at(&mut self, after: Duration, errand: impl FnOnce(&Handle<SimulatedKernel>) + 'static) {
        self.errands.push((after, Box::new(errand)));
    }
}

/// Makes the loop and runs it.
fn drive<H: Handler>(
    world: &Rc<RefCell<World>>,
    journal: &Rc<Journal>,
    handler: H,
    beginning: Beginning,
    begin: impl FnOnce(&mut Start<'_, H>),
) -> Result<(H, Metrics), String> {
    let Beginning {
        config,
        listeners,
        #[cfg(feature = "udp")]
        datagrams,
        wakes_after,
        errands,
    } = beginning;
    let watched = Watched::new(handler, world, journal);
    let mut server = EventLoop::with_kernel(watched, config, SimulatedKernel::new(world))
        .map_err(|error| error.to_string())?;
    for address in listeners {
        // No program would go on without; what failed, failed by a fault.
        while server.listen(&address).is_err() && !world.borrow().vigil.has_violation() {}
    }
    #[cfg(feature = "udp")]
    for address in datagrams {
        while server.bind_udp(address).is_err() && !world.borrow().vigil.has_violation() {}
    }
    if let Some(after) = wakes_after {
        server.wake_at(Some(START.after(after)));
    }
    let mut start = Start { server: &mut server, world, errands, failed: None };
    begin(&mut start);
    let Start { errands, failed, .. } = start;
    if let Some(failed) = failed {
        return Err(failed);
    }
    let handle = server.handle();
    let stopper = handle.clone();
    {
        let mut world = world.borrow_mut();
        world.errands = errands
            .into_iter()
            .map(|(after, errand)| {
                let (handle, journal) = (handle.clone(), Rc::clone(journal));
                let done: Box<dyn FnOnce()> = Box::new(move || {
                    journal.within(Inside::Errand(after), || errand(&handle));
                });
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
    if server.has_sessions() {
        return Err("a session was never told that it is closed".to_owned());
    }
    Ok((server.into_handler().into_inner(), metrics))
}
