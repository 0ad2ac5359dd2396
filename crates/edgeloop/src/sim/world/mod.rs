//! Everything outside the loop: descriptors, the epoll set, connections, the clock, the peers, and
//! the scheduler that chooses what happens next.

mod acceptor;
mod chances;
#[cfg(feature = "udp")]
mod datagrams;
mod files;
mod holds;
mod names;
mod network;
#[cfg(feature = "udp")]
pub(crate) mod packets;
mod paths;
mod registering;
mod resting;
mod time;
mod unix;
mod vigil;
mod wires;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::io::Errno;

use crate::api::address::Address;
use crate::api::time::Time;
use crate::epoll::{Batch, Interest, Mode, Readiness, Token};
use crate::kernel::EventSource;
use crate::sim::clock::{Follower, START};
use crate::sim::faults::{Meaning, meaning};
use crate::sim::model::epoll::EpollSet;
use crate::sim::model::eventfd::EventFd;
use crate::sim::peers::Peer;
use crate::sim::peers::place::Stage;
use crate::sim::{Call, Fate, Injector, Random, Side};
pub use acceptor::Acceptor;
use chances::{Chances, Steps};
use names::shown;
use vigil::POLL;

#[cfg(feature = "udp")]
pub use datagrams::{DatagramTally, Datagrams, Outage};
pub(crate) use files::File;
pub use files::Files;
pub use holds::Holds;
pub(crate) use names::name_of;
pub(crate) use network::Post;
pub use network::Service;
pub use paths::{Owner, Paths};
pub use time::{LITTLE, SLACK};
pub use vigil::{Budgets, Tally, Turn, Vigil};
pub use wires::{Known, Shut, Wire};

/// How much another thread of the server sends at once.
pub const MAIL: usize = 64;

/// The alarm and the waker in the epoll set. The numbers are those of standard streams, which are
/// never in it.
const ALARM_FILE: usize = 0;
const WAKER_FILE: usize = 1;

const NOTHING: Readiness = Readiness::from_bits(0);

/// The port of the first peer; the others follow.
pub(crate) const FIRST_PORT: usize = 1024;

/// Where a loop listens that listens at one address.
const FIRST: Address = Address::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000));

/// Something that is done from outside the loop, and when.
pub(crate) type Errand = (Time, Box<dyn FnOnce()>);

pub struct World {
    pub seed: u64,
    pub random: Random,
    pub faults: Injector,
    pub vigil: Vigil,
    pub files: Files,
    pub paths: Paths,
    epoll: EpollSet,
    pub wires: Vec<Wire>,
    registered: HashMap<Token, usize>,
    pub peers: Vec<Peer>,
    chances: Chances,

    #[cfg(feature = "udp")]
    pub datagrams: Datagrams,

    // Time.
    pub now: Time,
    /// What the loop read from the clock for its turn, whether it is still to do so, and when its
    /// last wait brought something.
    pub clock_read: Time,
    pub(crate) reads_clock: bool,
    turn_began: Time,
    /// For how long the process is stopped, and when.
    pub holds: Holds,
    alarm: Time,
    /// When the wait that is under way ends without an event.
    patience: Time,
    /// The alarm has rung and was not set again.
    rung: bool,
    /// When peers have to be looked at again because of the time, and for when each was noted.
    wakes: BinaryHeap<Reverse<(Time, usize)>>,
    noted: Vec<Time>,
    /// What is to be done from outside the loop, and when.
    pub(crate) errands: Vec<Errand>,
    /// Stops the loop in the midst of a run.
    stop: Option<Errand>,
    stop_cuts: bool,
    /// When a run that has not come to its end has failed.
    pub(crate) limit: Time,

    // Other threads.
    /// Raised by whoever wakes the loop; the scheduler takes it down and signals the eventfd.
    pub(crate) waker: Arc<AtomicBool>,
    eventfd: EventFd,
    /// Another thread of the server, that sends to a connection. Returns whether it could.
    pub post: Option<Post>,

    // How things are.
    /// How many steps happen at the most while the loop is about to wait.
    pub burst: usize,
    /// What is sent at once arrives at once, if there is room.
    pub(crate) calm: bool,
    /// The bounds of the sockets' buffers.
    pub buffers: (usize, usize),
    /// How many of a thousand deliveries change the size of the buffers they pass.
    pub resizes: usize,
    /// The bounds of how long segments take at least to arrive.
    pub latency: (Duration, Duration),
    /// How many of a thousand of the loop's own connects are never answered.
    pub unanswered: usize,
    /// How many of a thousand of the loop's connects to Unix sockets find the backlog full.
    pub full_backlogs: usize,
    /// The connection that the loop has begun last.
    pub(crate) last_dialled: usize,
    /// How many connections lack an option that could not be set, and are closed for that.
    pub lack_options: u64,
    /// Where the loop listens.
    pub listeners: Vec<Address>,
    /// Who answers where the loop connects to.
    pub services: Vec<Service>,
    /// Who gives the loop what was accepted elsewhere.
    pub acceptor: Acceptor,
    /// SIGPIPE is ignored, so that pipes may be used.
    pub ignores_sigpipe: bool,
    /// How many descriptors another part of the program may use.
    pub foreign: usize,
    /// The longest backlog that listeners are granted, if that can be told.
    pub(crate) longest_backlog: Option<u32>,
    /// The low watermark of the loop, and its cap, if a loop that rests is to be asked why.
    pub rests: Option<Rests>,
    pub(crate) memory_refused: bool,
    pub(crate) memory_refused_at: Time,

    // The end.
    /// Deadlines come before the end: nobody who is silent is left when it comes.
    pub outlasts: bool,
    /// Called once, when no peer has anything left to do; and when that was.
    pub at_the_end: Option<Box<dyn FnOnce()>>,
    pub ended_at: Option<Time>,
    /// When the loop was stopped before that.
    pub stopped: Option<Time>,
    /// When the loop was done.
    pub over_at: Time,
    /// Is told what happens, and when.
    pub follower: Option<Follower>,
}

/// What must be known to say whether a loop may rest.
#[derive(Debug, Clone, Copy)]
pub struct Rests {
    pub low_watermark: usize,
    pub cap: usize,
}

impl World {
    /// A world without faults and without peers.
    pub fn new(seed: u64) -> Self {
        let mut epoll = EpollSet::default();
        for (file, source) in [(ALARM_FILE, EventSource::Alarm), (WAKER_FILE, EventSource::Waker)] {
            let added = epoll.add(file, source.token(), Interest::READABLE, Mode::Edge, NOTHING);
            added.expect("nothing is registered yet");
        }
        Self {
            seed,
            random: Random::new(seed),
            faults: Injector::plan(&[]),
            vigil: Vigil::new(),
            files: Files::new(),
            paths: Paths::default(),
            epoll,
            wires: Vec::new(),
            registered: HashMap::new(),
            peers: Vec::new(),
            chances: Chances::default(),
            #[cfg(feature = "udp")]
            datagrams: Datagrams::new(),
            now: START,
            clock_read: START,
            reads_clock: true,
            turn_began: START,
            holds: Holds::NONE,
            alarm: Time::NEVER,
            patience: Time::NEVER,
            rung: false,
            wakes: BinaryHeap::new(),
            noted: Vec::new(),
            errands: Vec::new(),
            stop: None,
            stop_cuts: false,
            limit: Time::NEVER,
            waker: Arc::new(AtomicBool::new(false)),
            eventfd: EventFd::default(),
            post: None,
            burst: 8,
            calm: false,
            buffers: (1, 2000),
            resizes: 0,
            latency: (Duration::ZERO, Duration::ZERO),
            unanswered: 0,
            full_backlogs: 0,
            last_dialled: 0,
            lack_options: 0,
            listeners: vec![FIRST],
            services: Vec::new(),
            acceptor: Acceptor::default(),
            ignores_sigpipe: true,
            foreign: 0,
            longest_backlog: None,
            rests: None,
            memory_refused: false,
            memory_refused_at: Time::ZERO,
            outlasts: false,
            at_the_end: None,
            ended_at: None,
            stopped: None,
            over_at: Time::ZERO,
            follower: None,
        }
    }

    /// Tells one line to whoever follows the run.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(follower) = &mut self.follower {
            follower(self.now.since(START), &what());
        }
    }

    pub fn violated(&mut self, what: impl FnOnce() -> String) {
        self.vigil.violated(what);
    }

    // The loop's calls.

    /// A call takes a moment, and anything may happen in it.
    pub(crate) fn call(&mut self) {
        self.vigil.call();
        self.now = self.now.after(Duration::from_nanos(self.random.next() % 2000));
        if self.random.chance(200) {
            self.step();
        }
        self.may_hold_up(false);
    }

    /// Lets a call fail, if it is to: on this descriptor, if it is about a connection. Returns how
    /// many bytes of `most` it may transfer.
    pub(crate) fn meet(
        &mut self,
        call: Call,
        number: Option<usize>,
        most: usize,
    ) -> Result<usize, Errno> {
        let wire = number.and_then(|number| self.wire_of(number));
        let readiness = wire.map_or(NOTHING, |wire| {
            let known = &mut self.wires[wire].known;
            match call {
                Call::Receive => known.exhausted[0] = false,
                Call::Send | Call::SpliceOut => known.exhausted[1] = false,
                _ => {}
            }
            self.wires[wire].link.readiness(Side::Ours)
        });
        let writes = matches!(call, Call::Send | Call::SpliceOut);
        let ready = if writes { readiness.is_writable() } else { readiness.is_readable() };
        let Some(fault) = self.faults.meet(call, most, ready) else { return Ok(most) };
        self.note(|| fault.to_string());
        let Fate::Fails(error) = fault.fate else {
            if let (Fate::Late, Some(number)) = (fault.fate, number) {
                self.owe(number);
                if let Some(wire) = wire {
                    self.wires[wire].misled = self.vigil.tally.waits;
                }
            }
            if let (true, Some(wire)) = (writes, wire) {
                self.wires[wire].refused_at = Some(self.now);
            }
            return if let Fate::Short(some) = fault.fate { Ok(some) } else { Err(Errno::AGAIN) };
        };
        if meaning(error) == Meaning::Exhausted {
            match (call, wire) {
                (Call::Receive, Some(wire)) => {
                    self.wires[wire].known.exhausted[0] = true;
                    self.wires[wire].lacked = true;
                }
                (Call::Send | Call::SpliceOut, Some(wire)) => {
                    self.wires[wire].known.exhausted[1] = true;
                    self.wires[wire].lacked = true;
                    self.wires[wire].refused_at = Some(self.now);
                }
                _ => {}
            }
        }
        if let Some(wire) = wire
            && !fault.is_passing()
        {
            if writes {
                self.wires[wire].failed_at.get_or_insert(self.now);
            }
            self.excuse(wire);
        }
        Err(error)
    }

    /// So many bytes of a connection were read.
    pub(crate) fn has_read(&mut self, number: usize, count: usize) {
        let turn = self.vigil.tally.waits;
        if let Some(wire) = self.wire_of(number) {
            self.expect_served(wire, self.now);
            // Behind our FIN there, what comes is read only so that nothing is destroyed.
            if let Some(target) = self.wires[wire].known.target
                && self.wires[target].shut.is_none()
            {
                self.wires[target].known.given += count as u64;
            }
            let bytes = self.wires[wire].has_read(turn, count);
            self.vigil.has_read(number, bytes);
        }
    }

    // The epoll set.

    /// What poll says of a descriptor.
    fn poll(files: &Files, wires: &mut [Wire], number: usize) -> Readiness {
        match &files.get(number).file {
            File::Stream(wire) => wires[*wire].link.poll(Side::Ours),
            File::Listener(_, waiting) if !waiting.is_empty() => Readiness::IN,
            #[cfg(feature = "udp")]
            File::Datagrams(bound) => bound.socket.readiness(),
            _ => NOTHING,
        }
    }

    /// Something has come to pass with a descriptor, which may be ready for this now.
    pub(crate) fn wake(&mut self, number: usize, what: Readiness) {
        self.epoll.wake(number, what);
    }

    /// This descriptor is owed an edge, which a later step brings.
    pub(crate) fn owe(&mut self, number: usize) {
        if let Some(wire) = self.wire_of(number) {
            self.wires[wire].owed = true;
            self.touch(self.wires[wire].peer);
        }
    }

    pub(crate) fn clear_waker(&mut self) -> Result<(), Errno> {
        self.eventfd.read().map(|_| ())
    }

    /// epoll_wait(2). Whatever can happen meanwhile happens in an order of chance.
    pub(crate) fn wait(&mut self, events: &mut Batch, block: bool) -> Result<(), Errno> {
        events.clear();
        self.acceptor.before_turn = false;
        let (files, epoll) = (&self.files, &self.epoll);
        // Who came after the events were collected is no business of that turn.
        let told = |&&number: &&usize| files.has_waiting(number) && !epoll.is_listed(number);
        let backlog = files.listeners().iter().find(told).is_some();
        let resumes = |number: &&usize| told(number) && !files.get(**number).exhausted;
        let neglected = files.listeners().iter().find(resumes).is_some();
        self.vigil.end_turn(backlog);
        if block {
            self.ask_why_datagrams_wait();
            self.ask_why_it_rests(neglected);
        }
        self.may_hold_up(true);
        for _ in 0..self.random.size(0, self.burst) {
            self.step();
        }
        if self.vigil.has_violation() {
            // Not an error that the loop goes on after.
            return Err(Errno::BADF);
        }
        self.meet(Call::Wait, None, 0)?;
        loop {
            self.ring();
            self.collect(events);
            if !events.is_empty() {
                self.note(|| format!("epoll_wait: {}", shown(events)));
                self.vigil.waited();
                self.turn_began = self.now;
                self.may_hold_up(true);
                return Ok(());
            }
            if self.vigil.has_violation() {
                return Err(Errno::BADF);
            }
            if self.now >= self.patience {
                self.turn_began = self.now;
                return Ok(());
            }
            if !block {
                self.vigil.waited_in_vain();
                // So that whoever polls gets somewhere.
                self.now = self.now.after(POLL);
                self.turn_began = self.now;
                return Ok(());
            }
            let goes_on =
                self.step() || (self.outlasts && self.jump()) || self.end_if_done() || self.jump();
            if !goes_on {
                let waits = self.waits();
                self.violated(|| format!("nothing can happen any more{waits}"));
            }
        }
    }

    /// Moves the ready list into the batch, as far as it goes.
    fn collect(&mut self, events: &mut Batch) {
        let (files, wires) = (&self.files, &mut self.wires);
        let (rung, waker) = (self.rung, self.eventfd.readiness());
        self.epoll.collect_into(events, |number| match number {
            ALARM_FILE if rung => Readiness::IN,
            ALARM_FILE => NOTHING,
            WAKER_FILE => waker,
            number => Self::poll(files, wires, number),
        });
    }

    // The scheduler.

    /// Finds out anew what is possible for a peer and on its connection.
    pub(crate) fn touch(&mut self, peer: usize) {
        let (one, now) = (&self.peers[peer], self.now);
        let mut wakes = Some(one.deadline()).filter(|&at| at > now).unwrap_or(Time::NEVER);
        let mut steps = Steps::NONE;
        match one.place.stage {
            Stage::Unborn => {
                let connects = one.can_connect(now) && self.accepts(peer);
                steps = steps.with_if(Steps::CONNECT, connects);
            }
            // A Unix socket is connected when it asks, or not.
            Stage::Dialled(wire) => {
                let answers = !one.place.silent && !self.wires[wire].link.is_unix();
                steps = steps.with_if(Steps::ESTABLISH, answers);
            }
            Stage::Connected(wire) => {
                let wire = &self.wires[wire];
                steps = steps.with_if(Steps::ACT, one.can_act(&wire.link, now)).with_if(
                    Steps::MAIL,
                    wire.held.is_some() && !wire.tentative && one.next_mail(1).is_some(),
                );
            }
            Stage::Gone { .. } => {}
        }
        if let Some(wire) = one.place.link {
            let wire = &mut self.wires[wire];
            steps = steps.with_if(wire.steps(now), true);
            wakes = wakes.min(wire.next_arrival(now));
        }
        self.chances.set(peer, steps);
        if wakes > self.now && wakes < Time::NEVER {
            if self.noted.len() <= peer {
                self.noted.resize(peer + 1, Time::NEVER);
            }
            if self.noted[peer] != wakes {
                self.noted[peer] = wakes;
                self.wakes.push(Reverse((wakes, peer)));
            }
        }
    }

    /// Something was done with this connection.
    pub fn touch_wire(&mut self, wire: usize) {
        self.touch(self.wires[wire].peer);
    }

    /// The same for all, at the beginning, or when a listener has come or gone.
    pub(crate) fn touch_all(&mut self) {
        (0..self.peers.len()).for_each(|peer| self.touch(peer));
    }

    /// Stops the loop at a time, unless its end has come before. A stop may cut off whoever is
    /// being served.
    pub fn stops_at(&mut self, at: Time, cuts: bool, stop: impl FnOnce() + 'static) {
        self.stop = Some((at, Box::new(stop)));
        self.stop_cuts = cuts;
    }

    /// The loop is gone; what is under way arrives, and the peers see how it ended.
    pub fn settle(&mut self) {
        self.over_at = self.now;
        if self.vigil.has_violation() {
            return;
        }
        self.faults.end();
        (self.alarm, self.foreign) = (Time::NEVER, 0);
        self.end_acceptor();
        while !self.vigil.has_violation() && (self.step() || self.jump()) {}
    }

    /// Lets one thing happen, if anything can.
    pub(super) fn step(&mut self) -> bool {
        if self.at_the_end.is_some()
            && let Some((_, stop)) = self.stop.take_if(|stop| stop.0 <= self.now)
        {
            self.note(|| "the loop is stopped".to_owned());
            self.stopped = Some(self.now);
            if self.stop_cuts {
                self.peers.iter_mut().for_each(|peer| peer.place.excused = true);
            }
            stop();
            return true;
        }
        while let Some(&Reverse((at, peer))) = self.wakes.peek()
            && at <= self.now
        {
            self.wakes.pop();
            self.noted[peer] = Time::NEVER;
            self.touch(peer);
        }
        let peers = self.chances.len();
        let now = self.now;
        let errands = self.errands.iter().filter(|errand| errand.0 <= now).count();
        let (_, used) = self.files.counts();
        let datagrams = self.datagram_steps();
        let adopted = usize::from(self.acceptor.next() <= now);
        let others = peers + errands + datagrams + adopted;
        let foreign = self.foreign > 0 && (others > 0 || used > 0);
        let all = others + usize::from(foreign);
        if all == 0 {
            return false;
        }
        self.vigil.step();
        let chosen = self.random.below(all);
        if chosen < peers {
            let (peer, step) = self.chances.pick(chosen, &mut self.random);
            self.happen(peer, step);
            self.touch(peer);
        } else if chosen < peers + errands {
            let due = |errand: &(Time, _)| errand.0 <= now;
            if let Some(index) = self.errands.iter().position(due) {
                self.note(|| "something is done from outside".to_owned());
                (self.errands.remove(index).1)();
            }
        } else if chosen < peers + errands + datagrams {
            self.datagram_step(chosen - peers - errands);
        } else if chosen < others {
            self.hand_over();
        } else {
            self.be_foreign(all == 1);
        }
        true
    }

    /// The loop rests and no peer has anything left to do: the run may come to its end.
    fn end_if_done(&mut self) -> bool {
        let adopts = self.acceptor.next() < Time::NEVER;
        if adopts || !self.errands.is_empty() || !self.are_peers_done() {
            return false;
        }
        match self.at_the_end.take() {
            Some(end) => {
                self.ended_at = Some(self.now);
                self.stop = None;
                end();
                true
            }
            None => false,
        }
    }
}
