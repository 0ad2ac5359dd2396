//! The loop without its handler: connections, memory, time, and what can be done to them.
//!
//! Callbacks reach this through [`CallContext`](crate::event_loop::call_context::CallContext), so
//! nothing here calls the handler. What a callback has to be told about is put on a list that a
//! later phase of the turn works off.

mod adopting;
mod agenda;
#[cfg(feature = "udp")]
mod datagrams;
mod joining;
mod life;
mod limits;
pub(crate) mod listener;
mod listening;
mod member;
mod options;
mod outgoing;
mod pull;
mod relay;
mod relief;
mod room;
mod sending;
mod sharing;
mod shortage;
mod socket_file;
mod spending;
mod splicing;
pub(crate) mod transport;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rustix::io::Errno;

use crate::api::closed::{Attempt, Reason};
use crate::api::config::Config;
use crate::api::handler::Stop;
use crate::api::id::ConnectionId;
use crate::api::metrics::Metrics;
use crate::api::notice::Notice;
use crate::api::place::MemoryLimit;
use crate::api::target::Target;
use crate::api::time::Time;
use crate::connection::flags::Flags;
use crate::connection::hold_ups::HoldUps;
use crate::connection::{Connection, Retry, Timeouts, Transfer};
use crate::epoll::{Interest, Readiness};
use crate::kernel::Kernel;
use crate::store::common::Share;
use crate::store::memory::Memory;
use crate::store::pipes::Pipes;
use crate::store::slot_queue::SlotQueue;
use crate::store::table::{self, Slots};
use crate::store::wheel::Wheel;
pub(crate) use adopting::NotAdopted;
pub(crate) use agenda::Agenda;
#[cfg(feature = "udp")]
pub(crate) use datagrams::DatagramSockets;
pub(crate) use joining::Joining;
pub(crate) use limits::LimitTable;
pub(crate) use listening::Listeners;
pub(crate) use options::{inherits_options, set_option, set_options};
pub(crate) use pull::Pulls;
pub(crate) use relay::Relays;
pub(crate) use sharing::SHARED;
pub(crate) use shortage::Ballast;
pub(crate) use spending::Spending;

/// What every connection is registered for, once, for all it will ever need.
const CONNECTION: Interest = UNIX_CONNECTION.union(Interest::WRITABLE);

/// The same of a Unix socket, of whose room only what awaits some wants to hear.
const UNIX_CONNECTION: Interest =
    Interest::READABLE.union(Interest::PEER_CLOSED).union(Interest::PRIORITY);

/// What a listener is registered for.
const LISTENER: Interest = Interest::READABLE;

/// Descriptors below the limit that connections may not take: for files, resolvers, children, and
/// what else the program opens while it runs (C24).
const RESERVE: usize = 32;

/// Of how many descriptors one pipe may be had.
const PIPES_SHARE: usize = 64;

/// For this many connections no memory is looked for: what was set aside holds them.
const FIRST_CONNECTIONS: usize = 64;

/// An outbound connection that is not made yet: its address and the others, and those that have
/// failed.
#[derive(Debug)]
pub(crate) struct Dialled {
    target: Target,
    failed: Vec<Attempt>,
}

pub(crate) struct Core<K: Kernel> {
    pub(crate) kernel: K,
    pub(crate) config: Config,
    pub(crate) connections: Slots<Connection<K::Socket>>,
    pub(crate) listeners: Listeners<K::Socket>,
    #[cfg(feature = "udp")]
    pub(crate) datagrams: DatagramSockets<K::Datagrams>,
    pub(crate) memory: Memory,
    /// Who has output queued, whoever has taken none of it for longest first.
    pub(crate) laggards: SlotQueue,
    pub(crate) ballast: Ballast,
    /// How much memory the place allows.
    pub(crate) memory_limit: Option<MemoryLimit>,
    /// The number of connections for which there is memory.
    pub(crate) provided: usize,
    pub(crate) pipes: Pipes<K::Pipe>,
    pub(crate) metrics: Metrics,
    pub(crate) spending: Spending,
    pub(crate) joining: Joining,
    pub(crate) relays: Relays,
    pub(crate) agenda: Agenda,
    /// The time of this turn (C28).
    pub(crate) now: Time,
    /// When the alarm rings.
    pub(crate) alarm: Time,
    /// When the handler wants to be woken.
    pub(crate) wake_up: Time,
    pub(crate) wheel: Wheel,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: LimitTable,
    /// Connections that a budget or a pause kept from their input or output (C13).
    pub(crate) ready: VecDeque<ConnectionId>,
    /// The readiness, with OUT or without, of an event that may go the way of ordinary messages:
    /// that of IN, and while reading has to be careful with memory none.
    pub(crate) ordinary: Readiness,
    /// Connections with queued output that wait for memory to be read again (C11).
    pub(crate) starved: SlotQueue,
    /// Those without, which wait for others to take theirs or to be given up.
    pub(crate) waiting: SlotQueue,
    /// The one of them whose turn has come, in this turn of the loop.
    pub(crate) fed: ConnectionId,
    /// When those are looked at next that could be given up for the waiting.
    pub(crate) relief_at: Time,
    /// Connections whose end is decided.
    pub(crate) closing: VecDeque<ConnectionId>,
    /// Connections whose sessions are to be called.
    pub(crate) poked: VecDeque<ConnectionId>,
    pub(crate) pulls: Pulls,
    /// Whether the handler is told of each step, and outbound sockets of which it is still to be.
    pub(crate) traces: bool,
    pub(crate) registered: VecDeque<(ConnectionId, i32)>,
    /// Where the outbound connections that are not made yet go to, by their slots.
    pub(crate) dialled: HashMap<u32, Dialled>,
    pub(crate) notices: VecDeque<Notice>,
    pub(crate) stop: Option<Stop>,
    /// What is left is being cut off, so nothing new may begin (C37).
    pub(crate) cuts_off: bool,
    /// The most connections at a time, of all loops if this is one of a group (C24).
    pub(crate) cap: usize,
    /// What it has in common with the other loops of its group.
    pub(crate) share: Option<Share>,
    /// The descriptors that connections, listeners and pipes could have when the loop was made.
    spare: usize,
    /// Whose callback runs, to know who panicked (C32).
    pub(crate) current: ConnectionId,
}

impl<K: Kernel> Core<K> {
    pub(crate) fn new(mut kernel: K, config: Config, ballast: Ballast) -> Self {
        let now = kernel.now();
        let memory_limit = kernel.memory_limit();
        let config = config.fitted(memory_limit.as_ref());
        let spare = kernel.spare_descriptors();
        let (cap, pipes) = shares(&config, spare);
        let mut core = Self {
            cap,
            share: None,
            spare,
            kernel,
            connections: Slots::default(),
            listeners: Listeners::default(),
            #[cfg(feature = "udp")]
            datagrams: DatagramSockets::default(),
            memory: Memory::new(&config),
            laggards: SlotQueue::new(),
            ballast,
            memory_limit,
            provided: FIRST_CONNECTIONS,
            pipes: Pipes::new(pipes),
            metrics: Metrics::default(),
            spending: Spending::default(),
            joining: Joining::default(),
            relays: Relays::default(),
            agenda: Agenda::default(),
            now,
            alarm: Time::NEVER,
            wake_up: Time::NEVER,
            wheel: Wheel::new(now),
            limits: LimitTable::new(&config),
            timeouts: Timeouts { drain: None, hold_ups: HoldUps::default() },
            ready: VecDeque::new(),
            ordinary: Readiness::INPUT,
            starved: SlotQueue::new(),
            waiting: SlotQueue::new(),
            fed: ConnectionId::NONE,
            relief_at: Time::NEVER,
            closing: VecDeque::new(),
            poked: VecDeque::new(),
            pulls: Pulls::default(),
            traces: false,
            registered: VecDeque::new(),
            dialled: HashMap::new(),
            notices: VecDeque::new(),
            stop: None,
            cuts_off: false,
            current: ConnectionId::NONE,
            config,
        };
        core.grant_allowance();
        core
    }

    /// So many listeners have a descriptor each: the cap and the pipes fit what is left (C24).
    pub(crate) fn leave_descriptors_to(&mut self, listeners: usize) {
        if self.share.is_some() {
            // Counted once for all loops, when they begin.
            return;
        }
        let (cap, pipes) = shares(&self.config, self.spare.saturating_sub(listeners));
        self.cap = cap;
        // One that is lent must come back to the pool that it is from.
        if self.pipes.has_none() {
            self.pipes = Pipes::new(pipes);
        }
    }

    // Lists.

    /// Puts a connection on the ready list, to be served in the next turn.
    pub(crate) fn list(&mut self, id: ConnectionId) {
        let connection = &mut self.connections[id];
        if !connection.has(Flags::LISTED) {
            connection.set(Flags::LISTED);
            if self.ready.try_reserve(1).is_err() {
                self.refused();
            }
            self.ready.push_back(id);
            self.agenda.add(Agenda::READY);
        }
    }

    /// Lets a connection wait until queued output has shrunk.
    pub(crate) fn starve(&mut self, id: ConnectionId) {
        let owed = self.is_owed(id);
        self.connections[id].set(Flags::STARVED);
        if owed {
            self.starved.push(id.slot());
        } else {
            self.waiting.push(id.slot());
            self.relieve(id);
            self.agenda.add(Agenda::STARVED);
        }
    }

    /// Whether a connection is not to be read for want of memory: because it has output queued, or
    /// there is no room, or others without output have waited for longer.
    pub(crate) fn lacks_memory(&self, id: ConnectionId, owed: bool) -> bool {
        self.memory.is_paused()
            && (owed
                || !self.memory.has_room()
                || (self.waiting.first().is_some() && self.fed != id))
    }

    /// It need not wait for memory any more.
    pub(crate) fn feed(&mut self, id: ConnectionId) {
        self.starved.remove(id.slot());
        self.waiting.remove(id.slot());
        let connection = &mut self.connections[id];
        if connection.has(Flags::STARVED) {
            connection.fed(self.now);
            self.schedule(id);
            self.list(id);
        }
    }

    /// Has a connection's session called.
    pub(crate) fn poke(&mut self, id: ConnectionId) {
        if self.connections.get(id).is_none() {
            self.metrics.stale += 1;
            return;
        }
        if self.poked.try_reserve(1).is_err() {
            self.refused();
        }
        self.poked.push_back(id);
        self.agenda.add(Agenda::POKED);
    }

    /// What the loop has counted.
    pub(crate) fn metrics(&self) -> Metrics {
        let mut metrics = self.metrics;
        metrics.bytes_out = self.bytes_out();
        metrics.output_held = self.memory.output_held();
        metrics.input_held = self.memory.input_held();
        metrics.connections = self.connections.len();
        metrics
    }

    pub(crate) fn tell(&mut self, notice: Notice) {
        self.notices.push_back(notice);
        self.agenda.add(Agenda::NOTICES);
    }

    pub(crate) fn request_stop(&mut self, stop: Stop) {
        self.stop = Some(self.stop.map_or(stop, |earlier| earlier.stricter(stop)));
        self.agenda.add(Agenda::STOP);
    }

    // Time.

    /// Makes sure that the wheel looks at a connection no later than its next deadline. A timer
    /// that now could ring later is left alone: it finds nothing and is set anew (C30).
    pub(crate) fn schedule(&mut self, id: ConnectionId) {
        let connection = &self.connections[id];
        let at = connection.next_deadline(&self.timeouts, self.limits.of(id.slot()));
        if at == Time::NEVER {
            return;
        }
        let tick = at.after(Duration::from_millis(1));
        if self.wheel.deadline(id.slot()).is_none_or(|set| set >= tick) {
            self.wheel.set(id.slot(), at);
            self.remind(at);
        }
    }

    /// When the connection in a slot is to be looked at next; never if there is none.
    pub(crate) fn deadline_at(&self, slot: u32) -> Time {
        self.connections.at(slot).map_or(Time::NEVER, |id| {
            self.connections[id].next_deadline(&self.timeouts, self.limits.of(slot))
        })
    }

    /// The alarm must ring no later than this.
    pub(crate) fn remind(&mut self, at: Time) {
        if at < self.alarm {
            self.agenda.add(Agenda::ALARM);
        }
    }

    /// Sets, moves or cancels a timer of a connection.
    pub(crate) fn set_timer(&mut self, id: ConnectionId, key: u32, after: Option<Duration>) {
        let at = after.map_or(Time::NEVER, |after| self.now.after(after));
        match self.connections.get_mut(id) {
            Some(connection) => {
                connection.set_timer(key, at);
                self.schedule(id);
            }
            None => self.metrics.stale += 1,
        }
    }

    /// A connection waits for something else than its peer, or no longer does.
    pub(crate) fn set_busy(&mut self, id: ConnectionId, busy: bool) {
        match self.connections.get_mut(id) {
            Some(connection) => {
                connection.set_busy(busy, self.now);
                self.schedule(id);
            }
            None => self.metrics.stale += 1,
        }
    }

    /// Sets, moves or cancels the handler's wake-up.
    pub(crate) fn wake_at(&mut self, at: Option<Time>) {
        self.wake_up = at.unwrap_or(Time::NEVER);
        self.agenda.add(Agenda::WAKE_UP);
    }

    /// From when on the loop polls, to be on time for the handler's wake-up.
    pub(crate) fn polls_from(&self) -> Time {
        if self.wake_up == Time::NEVER {
            return Time::NEVER;
        }
        let before = u64::try_from(self.config.busy_poll.as_nanos()).unwrap_or(u64::MAX);
        Time::from_nanos(self.wake_up.as_nanos().saturating_sub(before))
    }

    // Input.

    /// Forgets the input that is kept for a connection.
    pub(crate) fn forget_kept(&mut self, id: ConnectionId) {
        let connection = &mut self.connections[id];
        let kept = connection.kept();
        let (bytes, _) = connection.take_kept();
        connection.leave_unread(bytes.len());
        self.memory.account_kept(id.slot(), kept, 0);
    }

    pub(crate) fn pause(&mut self, id: ConnectionId) {
        match self.connections.get_mut(id) {
            Some(connection) if connection.is_served() => {
                connection.set(Flags::PAUSED);
                if connection.has(Flags::RELAYED) {
                    self.pause_relayed(id, true);
                }
            }
            Some(_) => {}
            None => self.metrics.stale += 1,
        }
    }

    /// The handler wants a connection to be read again.
    pub(crate) fn resume_by_handler(&mut self, id: ConnectionId) {
        let relayed = self.connections.get(id).is_some_and(|it| it.has(Flags::RELAYED));
        if !relayed || self.pause_relayed(id, false) {
            self.resume(id);
        }
    }

    pub(crate) fn resume(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            self.metrics.stale += 1;
            return;
        };
        connection.resume(self.now);
        if connection.wants_reading() {
            self.list(id);
        }
        // While it was paused it was never idle, and no timer may be set for that.
        self.schedule(id);
    }

    /// A receive or a send found the kernel without memory: it is tried again from a timer.
    /// Returns whether it will be; if not, the connection has ended.
    pub(crate) fn retry(&mut self, id: ConnectionId, transfer: Transfer, error: Errno) -> bool {
        let connection = &mut self.connections[id];
        match connection.retry(transfer, error, self.now) {
            Retry::Later => {
                self.metrics.retries += 1;
                self.schedule(id);
                true
            }
            Retry::GiveUp => {
                self.end(id, Reason::Exhausted, true);
                false
            }
        }
    }
}

/// The cap on connections, and the most pipes, where `spare` descriptors are to be had (C24).
pub(crate) fn shares(config: &Config, spare: usize) -> (usize, usize) {
    // Each pipe has two descriptors. Where there are few, there are fewer pipes.
    let pipes = config.pipes.min(spare / PIPES_SHARE);
    let reserve = (RESERVE + 2 * pipes).min(spare / 2);
    let allowed = (spare - reserve).clamp(1, table::MOST);
    (config.max_connections.map_or(allowed, |asked| asked.min(allowed)), pipes)
}

/// The kernel had no memory for this call, or interrupted it as often as it was made: no error of
/// the connection, and no "would block", because no edge will follow.
pub(crate) fn is_exhaustion(error: Errno) -> bool {
    matches!(error, Errno::NOBUFS | Errno::NOMEM | Errno::INTR)
}
