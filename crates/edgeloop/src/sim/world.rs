//! Everything outside the loop: descriptors, the epoll set, connections, the clock, the peers, and
//! the scheduler that chooses what happens next.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::io::Errno;

use super::peer::{Peer, Role, Stage};
use super::{Call, Fate, Injector, Link, Random, Side, Woken};
use crate::epoll::{Event, Events, Readiness, Token};
use crate::kernel::{ALARM, WAKER};
use crate::time::Time;

/// How many waits in a row may bring nothing, without a call in between, before the loop is said
/// to spin. A walk over all slots of a page, one for each turn, takes 512.
const IDLE_WAITS: usize = 2000;

/// How many calls a run may make before the loop is said to go round in circles. The longest make
/// some hundred thousand.
const CALLS: u64 = 3_000_000;

/// How many callbacks may follow each other without a call in between. A few for each connection of
/// a turn are usual.
const CALLBACKS: u64 = 20_000;

/// How often the alarm may ring within one tick of the wheel. The deadlines of the listeners and of
/// the drain are not rounded, so that there are a few.
const RINGS: u64 = 10;

/// How much another thread of the server sends at once.
pub(crate) const MAIL: usize = 64;

/// What a descriptor stands for.
#[derive(Debug)]
pub(crate) enum File {
    /// A socket that neither listens nor is connected, with the address that it is bound to.
    Fresh(SocketAddr),
    /// A listener, with the connections that wait.
    Listener(SocketAddr, VecDeque<usize>),
    /// What another part of the program has open.
    Foreign,
    /// Our end of a connection.
    Stream(usize),
}

/// A descriptor that is open.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) file: File,
    watched: Option<Token>,
    /// It stands in the ready list.
    listed: bool,
    /// Closing it sends an RST.
    pub(crate) abort: bool,
    /// An EAGAIN or a short receive is owed an edge.
    owed: bool,
    /// In which turn it was last read, and how many bytes of it then.
    read: (u64, usize),
}

/// Who may be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Alarm,
    Waker,
    File(usize),
}

/// Something that can happen next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Deliver(usize, Side),
    Act(usize),
    Connect(usize),
    Owed(usize),
    Mail(usize),
    /// The handshake of our own connect comes to its end.
    Establish(usize),
    /// Something is done from outside the loop that was to be done now.
    Errand(usize),
    /// Another part of the program opens a descriptor, or closes one.
    Foreign,
}

/// What a run has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// System calls of the loop, waits aside.
    pub calls: u64,
    /// What peers and the network did.
    pub steps: u64,
    /// Waits of the loop.
    pub waits: u64,
    /// How often the clock jumped to a deadline.
    pub jumps: u64,
    /// The most of each that any turn made.
    pub most: Turn,
    /// The most turns that ended with somebody waiting in a backlog and without an accept.
    pub longest_backlog: u64,
}

/// The calls of one turn, which budgets bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turn {
    /// Connections accepted.
    pub accepts: u64,
    /// Calls of send(2).
    pub sends: u64,
    /// Connections closed.
    pub closes: u64,
}

impl Turn {
    fn max(self, other: Self) -> Self {
        Self {
            accepts: self.accepts.max(other.accepts),
            sends: self.sends.max(other.sends),
            closes: self.closes.max(other.closes),
        }
    }
}

impl Tally {
    /// Adds what another run has seen.
    pub fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.steps += other.steps;
        self.waits += other.waits;
        self.jumps += other.jumps;
        self.most = self.most.max(other.most);
        self.longest_backlog = self.longest_backlog.max(other.longest_backlog);
    }
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) random: Random,
    pub(crate) faults: Injector,
    pub(crate) now: Time,
    pub(crate) tally: Tally,
    /// By number; the first three are the standard streams.
    files: Vec<Option<Open>>,
    pub(crate) links: Vec<Link>,
    pub(crate) peers: Vec<Peer>,
    ready: VecDeque<Source>,
    alarm: Time,
    pub(crate) waker: Arc<AtomicBool>,
    idle_waits: usize,
    callbacks: u64,
    /// In which millisecond the alarm rang last, and how often.
    rings: (u64, u64),
    /// How much the loop may read of one connection in a turn.
    pub(crate) turn_bytes: usize,
    /// What the loop has done since its last wait.
    pub(crate) turn: Turn,
    backlog_turns: u64,
    /// How many steps happen at the most while the loop is about to wait.
    pub(crate) burst: usize,
    /// What is sent at once arrives at once, if there is room.
    pub(crate) calm: bool,
    /// The bounds of the sockets' buffers.
    pub(crate) buffers: (usize, usize),
    steps: Vec<Step>,
    /// The peer of each connection, and our descriptor of it.
    owners: Vec<usize>,
    held: Vec<Option<usize>>,
    /// Who answers where the loop connects to.
    pub(crate) services: Vec<Service>,
    /// What is to be done from outside the loop, and when.
    pub(crate) errands: Vec<(Time, Box<dyn FnOnce()>)>,
    /// The most descriptors that the process may have open.
    pub(crate) descriptors: usize,
    /// How many of them another part of the program may use.
    pub(crate) foreign: usize,
    /// When a run that has not come to its end has failed.
    pub(crate) limit: Time,
    /// Another thread of the server, that sends to a connection. Answers whether it could.
    pub(crate) post: Option<Post>,
    /// Deadlines come before the end: nobody who is silent is left when it comes.
    pub(crate) outlasts: bool,
    /// Called once, when no peer has anything left to do; and when that was.
    pub(crate) at_the_end: Option<Box<dyn FnOnce()>>,
    pub(crate) ended_at: Option<Time>,
    /// What is wrong, if anything is; the first finding counts.
    pub(crate) violation: Option<String>,
    /// Is told what happens, and when.
    pub(crate) follower: Option<Follower>,
}

/// An address that the loop may connect to, and who answers there.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    /// Makes the peer of the next connection, whose number among all peers is given.
    pub(crate) answer: Box<dyn FnMut(usize) -> Peer>,
    /// The connections that were asked for.
    pub(crate) links: Vec<usize>,
}

/// Sends so many bytes to a connection by way of the loop's mailbox.
pub(crate) type Post = Box<dyn Fn(usize, Vec<u8>) -> bool>;

/// Is told each thing that happens in a run, with the time since its beginning.
pub type Follower = Box<dyn FnMut(Duration, &str)>;

/// When a world begins.
pub(crate) const START: Time = Time::from_nanos(1_000_000_000);

impl World {
    /// A world without faults and without peers.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            random: Random::new(seed),
            faults: Injector::plan(&[]),
            now: START,
            tally: Tally::default(),
            files: (0..3).map(|_| None).collect(),
            links: Vec::new(),
            peers: Vec::new(),
            ready: VecDeque::new(),
            alarm: Time::NEVER,
            waker: Arc::new(AtomicBool::new(false)),
            idle_waits: 0,
            callbacks: 0,
            rings: (0, 0),
            turn_bytes: usize::MAX,
            turn: Turn::default(),
            backlog_turns: 0,
            burst: 8,
            calm: false,
            buffers: (1, 2000),
            steps: Vec::new(),
            owners: Vec::new(),
            held: Vec::new(),
            services: Vec::new(),
            errands: Vec::new(),
            descriptors: usize::MAX,
            foreign: 0,
            limit: Time::NEVER,
            post: None,
            outlasts: false,
            at_the_end: None,
            ended_at: None,
            violation: None,
            follower: None,
        }
    }

    /// Tells one line to whoever follows the run.
    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(follower) = &mut self.follower {
            follower(self.now.since(START), &what());
        }
    }

    pub(crate) fn violated(&mut self, what: impl FnOnce() -> String) {
        self.violation.get_or_insert_with(what);
    }

    // Descriptors.

    /// Opens the lowest number that is free, if the process may have one more.
    pub(crate) fn open(&mut self, file: File) -> Result<usize, Errno> {
        if self.spare() == 0 {
            return Err(Errno::MFILE);
        }
        let open =
            Open { file, watched: None, listed: false, abort: false, owed: false, read: (0, 0) };
        let free = (3..self.files.len()).find(|&number| self.files[number].is_none());
        let number = free.unwrap_or_else(|| {
            self.files.push(None);
            self.files.len() - 1
        });
        if let File::Stream(link) = open.file {
            self.held[link] = Some(number);
        }
        self.files[number] = Some(open);
        Ok(number)
    }

    /// How many more descriptors the process may open.
    pub(crate) fn spare(&self) -> usize {
        // The standard streams are open, too.
        self.descriptors.saturating_sub(3 + self.files.iter().flatten().count())
    }

    /// Closing the only descriptor of a socket takes it out of the epoll set, too.
    pub(crate) fn close(&mut self, number: usize) {
        let Some(open) = self.files[number].take() else {
            return self.violated(|| format!("descriptor {number} is closed twice"));
        };
        self.ready.retain(|&source| source != Source::File(number));
        match open.file {
            File::Fresh(_) | File::Foreign => {}
            File::Listener(_, waiting) => {
                for link in waiting {
                    self.links[link].close(Side::Ours, true);
                }
            }
            File::Stream(link) => {
                self.turn.closes += 1;
                self.held[link] = None;
                let peer = self.peer_of(link);
                if peer.place.stage == Stage::Dialled(link) {
                    // It never hears of it.
                    peer.place.stage = Stage::Gone { at_the_end: false };
                }
                self.links[link].close(Side::Ours, open.abort);
            }
        }
    }

    pub(crate) fn file(&mut self, number: usize) -> &mut Open {
        self.files[number].as_mut().expect("the loop uses descriptors that it has")
    }

    /// Whether anybody waits in this listener's backlog.
    pub(crate) fn has_waiting(&mut self, number: usize) -> Result<bool, Errno> {
        match &self.file(number).file {
            File::Listener(_, waiting) => Ok(!waiting.is_empty()),
            _ => Err(Errno::INVAL),
        }
    }

    /// The connection behind a descriptor.
    pub(crate) fn link(&mut self, number: usize) -> &mut Link {
        let File::Stream(link) = self.file(number).file else {
            panic!("{number} is no connection")
        };
        &mut self.links[link]
    }

    /// How many descriptors of the loop are open.
    pub(crate) fn open_count(&self) -> usize {
        self.files.iter().flatten().filter(|open| !matches!(open.file, File::Foreign)).count()
    }

    // The epoll set.

    pub(crate) fn register(&mut self, number: usize, token: Token) -> Result<(), Errno> {
        if matches!(self.file(number).file, File::Stream(_)) {
            self.meet(Call::Register, Some(number), 0)?;
        }
        self.watch(number, token);
        Ok(())
    }

    fn watch(&mut self, number: usize, token: Token) {
        if self.file(number).watched.replace(token).is_some() {
            self.violated(|| format!("descriptor {number} is registered twice"));
        }
        self.wake(number);
    }

    /// What poll says of a descriptor.
    fn readiness(&self, number: usize) -> Readiness {
        match self.files[number].as_ref().map(|open| &open.file) {
            Some(File::Stream(link)) => self.links[*link].readiness(Side::Ours),
            Some(File::Listener(_, waiting)) if !waiting.is_empty() => Readiness::IN,
            _ => Readiness::from_bits(0),
        }
    }

    /// Puts a watched descriptor into the ready list, if it is ready.
    pub(crate) fn wake(&mut self, number: usize) {
        let ready = self.readiness(number) != Readiness::from_bits(0);
        let open = self.file(number);
        if open.watched.is_some() && ready && !open.listed {
            open.listed = true;
            self.ready.push_back(Source::File(number));
        }
    }

    /// This descriptor is owed an edge, which a later step brings.
    pub(crate) fn owe(&mut self, number: usize) {
        self.file(number).owed = true;
    }

    pub(crate) fn set_alarm(&mut self, at: Time) {
        self.alarm = at;
        self.ready.retain(|&source| source != Source::Alarm);
    }

    /// epoll_wait(2). Whatever can happen meanwhile happens in an order of chance.
    pub(crate) fn wait(&mut self, events: &mut Events, block: bool) -> Result<(), Errno> {
        events.clear();
        self.tally.waits += 1;
        self.end_turn();
        for _ in 0..self.random.size(0, self.burst) {
            self.step();
        }
        if self.violation.is_some() {
            // Not an error that the loop goes on after.
            return Err(Errno::BADF);
        }
        self.meet(Call::Wait, None, 0)?;
        loop {
            self.ring();
            self.collect(events);
            if !events.is_empty() {
                self.note(|| format!("epoll_wait: {events:?}"));
                self.idle_waits = 0;
                return Ok(());
            }
            if self.violation.is_some() {
                return Err(Errno::BADF);
            }
            if !block {
                self.idle_waits += 1;
                if self.idle_waits > IDLE_WAITS {
                    self.violated(|| "the loop spins".to_owned());
                }
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

    fn end_turn(&mut self) {
        let waits = |file: &File| matches!(file, File::Listener(_, waiting) if !waiting.is_empty());
        let turn = std::mem::take(&mut self.turn);
        self.tally.most = self.tally.most.max(turn);
        // Who came after the events were collected is no business of that turn.
        let told = self.files.iter().flatten().any(|open| waits(&open.file) && !open.listed);
        self.backlog_turns = if told && turn.accepts == 0 { self.backlog_turns + 1 } else { 0 };
        self.tally.longest_backlog = self.tally.longest_backlog.max(self.backlog_turns);
    }

    /// Whatever became ready by time or from another thread.
    fn ring(&mut self) {
        if self.alarm <= self.now {
            self.alarm = Time::NEVER;
            let tick = self.now.as_nanos() / 1_000_000;
            self.rings = if self.rings.0 == tick { (tick, self.rings.1 + 1) } else { (tick, 1) };
            if self.rings.1 > RINGS {
                self.violated(|| format!("the alarm rings more than {RINGS} times in a tick"));
            }
            self.ready.push_back(Source::Alarm);
        }
        if self.waker.swap(false, Ordering::SeqCst) && !self.ready.contains(&Source::Waker) {
            self.ready.push_back(Source::Waker);
        }
    }

    /// Moves the ready list into the batch, as far as it goes (`ep_send_events`).
    fn collect(&mut self, events: &mut Events) {
        let ready = &mut self.ready;
        let (files, links) = (&mut self.files, &self.links);
        events.bring(|| {
            loop {
                match ready.pop_front()? {
                    Source::Alarm => return Some(Event::new(ALARM, Readiness::IN)),
                    Source::Waker => return Some(Event::new(WAKER, Readiness::IN)),
                    Source::File(number) => {
                        let open = files[number].as_mut()?;
                        open.listed = false;
                        let readiness = match &open.file {
                            File::Stream(link) => links[*link].readiness(Side::Ours),
                            File::Listener(_, waiting) if !waiting.is_empty() => Readiness::IN,
                            _ => Readiness::from_bits(0),
                        };
                        if let Some(token) = open.watched
                            && readiness != Readiness::from_bits(0)
                        {
                            return Some(Event::new(token, readiness));
                        }
                    }
                }
            }
        });
    }

    // Time.

    /// What the peers wait for who are not done.
    fn waits(&self) -> String {
        const MOST: usize = 3;
        let waiting: Vec<_> = self.peers.iter().filter(|peer| !peer.is_done()).collect();
        let mut waits = String::new();
        for (at, peer) in waiting.iter().enumerate() {
            waits.push_str("; ");
            if at == MOST {
                waits.push_str(&format!("and {} more", waiting.len() - MOST));
                break;
            }
            match &peer.role {
                Role::Script(player) => waits.push_str(&player.waits()),
                Role::Client(client) => waits.push_str(&format!("{:?}, {client:?}", peer.place)),
            }
        }
        waits
    }

    /// A call takes a moment, and anything may happen in it.
    pub(crate) fn call(&mut self) {
        self.tally.calls += 1;
        if self.tally.calls > CALLS {
            self.violated(|| format!("the loop has made {CALLS} calls and comes to no end"));
        }
        self.now = self.now.after(Duration::from_nanos(self.random.next() % 2000));
        self.idle_waits = 0;
        self.callbacks = 0;
        if self.random.chance(200) {
            self.step();
        }
    }

    /// The loop has called the handler back.
    ///
    /// # Panics
    ///
    /// When it does so again and again and makes no call: only a panic ends that.
    pub(crate) fn called_back(&mut self) {
        self.callbacks += 1;
        if self.callbacks > CALLBACKS {
            self.violated(|| format!("{CALLBACKS} callbacks without a call"));
            std::panic::resume_unwind(Box::new("callbacks without end"));
        }
    }

    /// So many bytes of a connection were read. A turn may serve it twice, once because it was cut
    /// off before and once for an event, and each time has a budget (C13).
    pub(crate) fn has_read(&mut self, number: usize, count: usize) {
        let (turn, most) = (self.tally.waits, self.turn_bytes.saturating_mul(2));
        let read = &mut self.file(number).read;
        *read = if read.0 == turn { (turn, read.1 + count) } else { (turn, count) };
        let bytes = read.1;
        if bytes > most {
            self.violated(|| format!("{bytes} bytes of descriptor {number} are read in one turn"));
        }
    }

    /// Lets a call fail, if it is to: on this descriptor, if it is about a connection. Answers how
    /// many bytes of `most` it may transfer.
    pub(crate) fn meet(
        &mut self,
        call: Call,
        number: Option<usize>,
        most: usize,
    ) -> Result<usize, Errno> {
        let ready = number.map_or(Readiness::from_bits(0), |number| self.readiness(number));
        let ready = if call == Call::Send { ready.is_writable() } else { ready.is_readable() };
        let Some(fault) = self.faults.meet(call, most, ready) else { return Ok(most) };
        self.note(|| fault.to_string());
        match (fault.fate, number) {
            (Fate::Short(some), _) => return Ok(some),
            (Fate::Late, Some(number)) => self.owe(number),
            (Fate::Fails(_), Some(number)) if !fault.is_passing() => self.excuse(number),
            _ => {}
        }
        Err(match fault.fate {
            Fate::Fails(error) => error,
            _ => Errno::AGAIN,
        })
    }

    /// The kernel has let this connection down, and nothing more is owed to its peer.
    fn excuse(&mut self, number: usize) {
        if let File::Stream(link) = self.file(number).file {
            self.peer_of(link).place.excused = true;
        }
    }

    /// Nothing can happen until a deadline: the clock goes there. Answers whether there is one.
    fn jump(&mut self) -> bool {
        // One that has passed is of a peer that finds no listener; it must not hold the clock.
        let peers = self.peers.iter().map(Peer::deadline).filter(|&at| at > self.now);
        let errands = self.errands.iter().map(|errand| errand.0);
        let next = peers.chain(errands).min().unwrap_or(Time::NEVER).min(self.alarm);
        if next == Time::NEVER {
            return false;
        }
        self.tally.jumps += 1;
        self.now = self.now.max(next);
        if self.now > self.limit {
            let waits = self.waits();
            self.violated(|| format!("the time that the run may take is over{waits}"));
        }
        true
    }

    // The scheduler.

    /// Lets one thing happen, if anything can.
    fn step(&mut self) -> bool {
        self.list_steps();
        if self.steps.is_empty() {
            return false;
        }
        self.tally.steps += 1;
        let step = self.random.pick(&self.steps);
        match step {
            Step::Deliver(link, from) => {
                let most = if self.calm { usize::MAX } else { self.random.size(1, 4000) };
                let woken = self.links[link].deliver(from, most);
                self.pass_on(link, woken);
            }
            Step::Act(peer) => self.act(peer),
            Step::Connect(peer) => self.connect(peer),
            Step::Mail(peer) => self.mail(peer),
            Step::Establish(link) => self.establish(link),
            Step::Errand(index) => {
                self.note(|| "something is done from outside".to_owned());
                (self.errands.swap_remove(index).1)();
            }
            Step::Foreign => self.be_foreign(),
            Step::Owed(number) => {
                self.file(number).owed = false;
                self.wake(number);
            }
        }
        true
    }

    fn list_steps(&mut self) {
        self.steps.clear();
        for (number, open) in self.files.iter().enumerate() {
            if open.as_ref().is_some_and(|open| open.owed) {
                self.steps.push(Step::Owed(number));
            }
        }
        for (index, link) in self.links.iter().enumerate() {
            for side in [Side::Ours, Side::Theirs] {
                if link.can_deliver(side) {
                    self.steps.push(Step::Deliver(index, side));
                }
            }
        }
        for (index, peer) in self.peers.iter().enumerate() {
            match peer.place.stage {
                Stage::Unborn => {
                    if peer.can_connect(self.now) && self.listener(peer).is_some() {
                        self.steps.push(Step::Connect(index));
                    }
                }
                Stage::Dialled(link) => self.steps.push(Step::Establish(link)),
                Stage::Connected(link) => {
                    if peer.can_act(&self.links[link], self.now) {
                        self.steps.push(Step::Act(index));
                    }
                    if self.post.is_some()
                        && self.held[link].is_some()
                        && peer.next_mail(1).is_some()
                    {
                        self.steps.push(Step::Mail(index));
                    }
                }
                Stage::Gone { .. } => {}
            }
        }
        for (index, errand) in self.errands.iter().enumerate() {
            if errand.0 <= self.now {
                self.steps.push(Step::Errand(index));
            }
        }
        if self.foreign > 0 && (!self.steps.is_empty() || self.has_foreign() > 0) {
            self.steps.push(Step::Foreign);
        }
    }

    /// The listener that a peer connects to: the one it asks for, or the first.
    fn listener(&self, peer: &Peer) -> Option<usize> {
        let wanted = peer.wants();
        let listens = |open: &Option<Open>| match open.as_ref().map(|open| &open.file) {
            Some(File::Listener(address, _)) => wanted.is_none_or(|wanted| wanted == *address),
            _ => false,
        };
        self.files.iter().position(listens)
    }

    fn connect(&mut self, peer: usize) {
        let Some(number) = self.listener(&self.peers[peer]) else { return };
        let buffer = self.buffer();
        let link = self.add_link(Link::new(buffer), peer);
        self.peers[peer].place.stage = Stage::Connected(link);
        if let File::Listener(_, waiting) = &mut self.file(number).file {
            waiting.push_back(link);
        }
        self.wake(number);
    }

    fn buffer(&mut self) -> usize {
        self.random.size(self.buffers.0, self.buffers.1)
    }

    fn add_link(&mut self, link: Link, peer: usize) -> usize {
        let index = self.links.len();
        self.links.push(link);
        self.owners.push(peer);
        self.held.push(None);
        self.peers[peer].place.link = Some(index);
        index
    }

    /// connect(2) to an address where a service may be.
    pub(crate) fn dial(&mut self, number: usize, address: SocketAddr) -> Result<(), Errno> {
        let meets = self.meet(Call::Connect, None, 0);
        if let Err(error) = meets
            && error != Errno::INTR
        {
            return Err(error);
        }
        let Some(at) = self.services.iter().position(|service| service.address == address) else {
            return Err(Errno::CONNREFUSED);
        };
        let (peer, buffer) = (self.peers.len(), self.buffer());
        let answer = (self.services[at].answer)(peer);
        self.peers.push(answer);
        let link = self.add_link(Link::connecting(buffer), peer);
        self.services[at].links.push(link);
        self.peers[peer].place.stage = Stage::Dialled(link);
        self.file(number).file = File::Stream(link);
        self.held[link] = Some(number);
        Err(meets.err().unwrap_or(Errno::INPROGRESS))
    }

    /// The connection that the loop has asked for last at an address.
    pub(crate) fn dialled(&self, address: SocketAddr) -> Option<usize> {
        self.services.iter().find(|service| service.address == address)?.links.last().copied()
    }

    fn establish(&mut self, link: usize) {
        let answer = self.meet(Call::Handshake, self.held[link], 0).map(|_| ());
        self.peer_of(link).place.stage = match answer {
            Ok(()) => Stage::Connected(link),
            Err(_) => Stage::Gone { at_the_end: false },
        };
        let woken = self.links[link].establish(answer);
        self.pass_on(link, woken);
    }

    fn has_foreign(&self) -> usize {
        self.files.iter().flatten().filter(|open| matches!(open.file, File::Foreign)).count()
    }

    /// Another part of the program opens descriptors, and closes them; all of them, when nothing
    /// else happens any more.
    fn be_foreign(&mut self) {
        let alone = self.steps.len() == 1;
        if !alone && self.has_foreign() < self.foreign && self.random.chance(500) {
            // One more than it may have is its own affair.
            let _ = self.open(File::Foreign);
            return;
        }
        let is_foreign = |open: &Option<Open>| {
            open.as_ref().is_some_and(|open| matches!(open.file, File::Foreign))
        };
        if let Some(number) = self.files.iter().position(is_foreign) {
            self.close(number);
        }
    }

    fn mail(&mut self, peer: usize) {
        let Stage::Connected(link) = self.peers[peer].place.stage else { return };
        let most = self.random.size(1, MAIL);
        let Some(bytes) = self.peers[peer].next_mail(most) else { return };
        let count = bytes.len();
        if self.post.as_ref().is_some_and(|post| post(link, bytes)) {
            self.note(|| format!("another thread sends {count} bytes to connection {link}"));
            self.peers[peer].client().mailed(count);
        }
    }

    /// The peer of a connection.
    pub(crate) fn peer_of(&mut self, link: usize) -> &mut Peer {
        &mut self.peers[self.owners[link]]
    }

    fn act(&mut self, peer: usize) {
        let Stage::Connected(link) = self.peers[peer].place.stage else { return };
        match self.peers[peer].act(&mut self.links[link], &mut self.random, self.now) {
            Ok(woken) => self.pass_on(link, woken),
            Err(what) => self.violated(|| what),
        }
    }

    /// Gives the edge to our descriptor; peers look for themselves.
    fn pass_on(&mut self, link: usize, woken: Woken) {
        if !woken.ours {
            return;
        }
        if let Some(number) = self.held[link] {
            self.wake(number);
        }
    }

    /// The loop rests and no peer has anything left to do: the run may come to its end.
    fn end_if_done(&mut self) -> bool {
        if !self.errands.is_empty() || !self.peers.iter().all(Peer::is_done) {
            return false;
        }
        match self.at_the_end.take() {
            Some(end) => {
                self.ended_at = Some(self.now);
                end();
                true
            }
            None => false,
        }
    }
}
