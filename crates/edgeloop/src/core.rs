//! The loop without its handler: connections, memory, time, and what can be done to them.
//!
//! Callbacks reach this through [`Turn`](crate::context::Turn), so nothing here calls the handler.
//! What a callback has to be told about is put on a list that a later phase of the turn works off.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;

use crate::closed::Reason;
use crate::config::Config;
use crate::connection::{Connection, Life, Next, Retry, Timeouts};
use crate::epoll::{Interest, Readiness, Token};
use crate::error::{Error, ErrorKind};
use crate::flags::Flags;
use crate::handler::{Sent, Stop};
use crate::id::ConnectionId;
use crate::kernel::{Kernel, SocketOption};
use crate::memory::Memory;
use crate::metrics::Metrics;
use crate::notice::Notice;
use crate::table::{self, Slots};
use crate::time::Time;
use crate::wheel::Wheel;

/// What every connection is registered for, once, for all it will ever need.
const CONNECTION: Interest = Interest::READABLE
    .union(Interest::WRITABLE)
    .union(Interest::PEER_CLOSED)
    .union(Interest::PRIORITY);

/// Descriptors below the limit that connections may not take: for files, resolvers, children, and
/// what else the program opens while it runs (C24).
const RESERVE: usize = 32;

/// What a turn has to do beside its events. Only the loop's lists set these, and an empty agenda
/// is what lets it block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Agenda(u16);

impl Agenda {
    pub(crate) const READY: Self = Self(1);
    pub(crate) const STARVED: Self = Self(1 << 1);
    pub(crate) const ACCEPT: Self = Self(1 << 2);
    pub(crate) const MAIL: Self = Self(1 << 3);
    pub(crate) const TIMERS: Self = Self(1 << 4);
    pub(crate) const STOP: Self = Self(1 << 5);
    pub(crate) const DRAIN: Self = Self(1 << 6);
    pub(crate) const BORN: Self = Self(1 << 7);
    pub(crate) const CLOSING: Self = Self(1 << 8);
    pub(crate) const NOTICES: Self = Self(1 << 9);
    pub(crate) const ALARM: Self = Self(1 << 10);

    pub(crate) fn add(&mut self, item: Self) {
        self.0 |= item.0;
    }

    /// Takes an item off; answers whether it was on.
    pub(crate) fn take(&mut self, item: Self) -> bool {
        let on = self.0 & item.0 != 0;
        self.0 &= !item.0;
        on
    }

    #[inline]
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// An outbound connection whose session is still to be made.
#[derive(Debug)]
pub(crate) struct Born {
    pub(crate) id: ConnectionId,
    pub(crate) peer: SocketAddr,
    pub(crate) tag: u64,
}

pub(crate) struct Core<K: Kernel> {
    pub(crate) kernel: K,
    pub(crate) config: Config,
    pub(crate) connections: Slots<Connection<K::Socket>>,
    pub(crate) memory: Memory,
    pub(crate) metrics: Metrics,
    pub(crate) agenda: Agenda,
    /// The time of this turn (C28).
    pub(crate) now: Time,
    /// When the alarm rings.
    pub(crate) alarm: Time,
    pub(crate) wheel: Wheel,
    /// Readiness that takes an event off the way of ordinary messages: all but IN and OUT, and
    /// while reading waits for memory, all.
    pub(crate) unusual: Readiness,
    pub(crate) timeouts: Timeouts,
    /// Connections that a budget or a pause kept from their input or output (C13).
    pub(crate) ready: VecDeque<ConnectionId>,
    /// Connections that wait for memory to be read again (C11).
    pub(crate) starved: VecDeque<ConnectionId>,
    /// Connections whose end is decided.
    pub(crate) closing: VecDeque<ConnectionId>,
    pub(crate) born: VecDeque<Born>,
    pub(crate) notices: VecDeque<Notice>,
    pub(crate) stop: Option<Stop>,
    /// The most connections at a time (C24).
    pub(crate) cap: usize,
    /// Whose callback runs, to know who panicked (C32).
    pub(crate) current: ConnectionId,
}

impl<K: Kernel> Core<K> {
    pub(crate) fn new(mut kernel: K, config: Config) -> Self {
        let now = kernel.now();
        let spare = kernel.spare_descriptors();
        let allowed = spare.saturating_sub(RESERVE.min(spare / 2)).clamp(1, table::MOST);
        Self {
            cap: config.max_connections.map_or(allowed, |asked| asked.min(allowed)),
            kernel,
            connections: Slots::default(),
            memory: Memory::new(&config),
            metrics: Metrics::default(),
            agenda: Agenda::default(),
            now,
            alarm: Time::NEVER,
            wheel: Wheel::new(now),
            unusual: Readiness::ALL_BUT_IN_OUT,
            timeouts: Timeouts {
                idle: config.idle_timeout,
                write: config.write_timeout,
                drain: None,
            },
            ready: VecDeque::new(),
            starved: VecDeque::new(),
            closing: VecDeque::new(),
            born: VecDeque::new(),
            notices: VecDeque::new(),
            stop: None,
            current: ConnectionId::NONE,
            config,
        }
    }

    // Lists.

    /// Puts a connection on the ready list, to be served in the next turn.
    pub(crate) fn list(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.has(Flags::LISTED)
        {
            connection.set(Flags::LISTED);
            self.ready.push_back(id);
            self.agenda.add(Agenda::READY);
        }
    }

    /// Lets a connection wait until queued output has shrunk.
    pub(crate) fn starve(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.set(Flags::STARVED);
            self.starved.push_back(id);
        }
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
        let Some(connection) = self.connections.get(id) else { return };
        let at = connection.next_deadline(&self.timeouts);
        if at == Time::NEVER {
            return;
        }
        let tick = at.after(Duration::from_millis(1));
        if self.wheel.deadline(id.slot).is_none_or(|set| set >= tick) {
            self.wheel.set(id.slot, at);
            self.remind(at);
        }
    }

    /// The alarm must ring no later than this.
    pub(crate) fn remind(&mut self, at: Time) {
        if at < self.alarm {
            self.agenda.add(Agenda::ALARM);
        }
    }

    // Output.

    #[inline(always)]
    pub(crate) fn send(&mut self, id: ConnectionId, bytes: &[u8]) -> Sent {
        let Some(connection) = self.connections.get_plain(id) else {
            return self.send_carefully(id, bytes);
        };
        if bytes.len() > self.memory.room() || bytes.is_empty() {
            return self.send_carefully(id, bytes);
        }
        let answer = self.kernel.send(&connection.socket, bytes);
        if answer != Ok(bytes.len()) {
            return self.send_on(id, bytes, answer);
        }
        connection.active = self.now;
        self.metrics.bytes_out += bytes.len() as u64;
        Sent::Written
    }

    #[cold]
    fn send_carefully(&mut self, id: ConnectionId, bytes: &[u8]) -> Sent {
        let Some(connection) = self.connections.get_mut(id) else {
            self.metrics.stale += 1;
            return Sent::Gone;
        };
        if !connection.is_sendable() {
            if connection.has(Flags::FAILED) {
                // The handler could not know yet; its bytes are lost like those before them (C3).
                connection.lose(bytes.len());
            }
            return Sent::Gone;
        }
        if bytes.is_empty() {
            return Sent::Written;
        }
        // All or nothing: what could not be queued to its end must not be begun (C10).
        if connection.queued() + bytes.len() > self.config.output_limit
            || !self.memory.fits(connection.growth(bytes.len()))
        {
            self.metrics.refused += 1;
            return Sent::Refused;
        }
        if connection.life() == Life::Open && !connection.has(Flags::OUTPUT) {
            let answer = self.kernel.send(&connection.socket, bytes);
            return self.send_on(id, bytes, answer);
        }
        self.queue(id, bytes)
    }

    /// Goes on after a first send was answered so. A partial send is followed by another until the
    /// kernel says EAGAIN, since only that promises an edge.
    #[cold]
    fn send_on(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        mut answer: Result<usize, Errno>,
    ) -> Sent {
        let mut sent = 0;
        loop {
            let Some(connection) = self.connections.get_mut(id) else { return Sent::Gone };
            match answer {
                Ok(count) => {
                    sent += count;
                    connection.active = self.now;
                    self.metrics.bytes_out += count as u64;
                    if sent == bytes.len() {
                        return Sent::Written;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return self.queue(id, &bytes[sent..]),
                Err(error) if is_exhaustion(error) => {
                    let queued = self.queue(id, &bytes[sent..]);
                    return if self.retry(id, error) { queued } else { Sent::Gone };
                }
                Err(error) => {
                    connection.lose(bytes.len() - sent);
                    self.fail(id, error);
                    return Sent::Gone;
                }
            }
            answer = self.kernel.send(&connection.socket, &bytes[sent..]);
        }
    }

    fn queue(&mut self, id: ConnectionId, bytes: &[u8]) -> Sent {
        let Some(connection) = self.connections.get_mut(id) else { return Sent::Gone };
        let first = !connection.has(Flags::OUTPUT);
        let grown = connection.push(bytes, self.now, self.config.high_watermark);
        let above = connection.has(Flags::ABOVE);
        if self.memory.charge(grown) {
            self.unusual = Readiness::ALL;
            self.metrics.memory_pauses += 1;
            self.tell(Notice::MemoryCeiling { held: self.memory.output_held() });
        }
        if first {
            self.schedule(id);
        }
        if above { Sent::AboveMark } else { Sent::Queued }
    }

    /// Writes queued output until it is gone, the socket is full, or the budget is spent. Answers
    /// whether the handler is to be told that the queue has drained.
    pub(crate) fn flush(&mut self, id: ConnectionId) -> bool {
        let mut budget = self.config.turn_bytes;
        loop {
            let Some(connection) = self.connections.get_mut(id) else { return false };
            let front = connection.front();
            if front.is_empty() {
                break;
            }
            if budget == 0 {
                self.list(id);
                break;
            }
            match self.kernel.send(&connection.socket, &front[..front.len().min(budget)]) {
                Ok(count) => {
                    budget -= count;
                    self.metrics.bytes_out += count as u64;
                    let released = connection.wrote(count, self.now);
                    self.release(released);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    connection.clear(Flags::WRITABLE);
                    break;
                }
                Err(error) if is_exhaustion(error) => {
                    connection.clear(Flags::WRITABLE);
                    if !self.retry(id, error) {
                        return false;
                    }
                    break;
                }
                Err(error) => {
                    self.fail(id, error);
                    return false;
                }
            }
        }
        let Some(connection) = self.connections.get_mut(id) else { return false };
        let fell = connection.falls(self.config.low_watermark);
        let next = connection.flushed();
        if !connection.has(Flags::OUTPUT) {
            // From here on the idle timeout counts, which may be the shorter one.
            self.schedule(id);
        }
        self.follow(id, next);
        fell
    }

    /// Queues released memory; reading may go on again.
    pub(crate) fn release(&mut self, bytes: usize) {
        if bytes > 0 && self.memory.release(bytes) {
            self.unusual = Readiness::ALL_BUT_IN_OUT;
            self.agenda.add(Agenda::STARVED);
        }
    }

    // Input.

    /// Forgets the input that is kept for a connection.
    pub(crate) fn forget_kept(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            let kept = connection.kept();
            drop(connection.take_kept());
            self.memory.keep(id.slot, kept, 0);
        }
    }

    pub(crate) fn pause(&mut self, id: ConnectionId) {
        match self.connections.get_mut(id) {
            Some(connection) if connection.is_sendable() => connection.set(Flags::PAUSED),
            Some(_) => {}
            None => self.metrics.stale += 1,
        }
    }

    pub(crate) fn resume(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            self.metrics.stale += 1;
            return;
        };
        connection.resume();
        if connection.wants_reading() {
            self.list(id);
        }
    }

    /// A receive or a send found the kernel without memory: it is tried again from a timer.
    /// Answers whether it will be; if not, the connection is doomed.
    pub(crate) fn retry(&mut self, id: ConnectionId, error: Errno) -> bool {
        let Some(connection) = self.connections.get_mut(id) else { return false };
        match connection.retry(error, self.now) {
            Retry::Later => {
                self.metrics.retries += 1;
                self.schedule(id);
                true
            }
            Retry::GiveUp => {
                self.doom(id, Reason::Exhausted, true);
                false
            }
        }
    }

    // The end.

    /// A call on the socket failed. Its output is lost, what can be read is still read (C7).
    pub(crate) fn fail(&mut self, id: ConnectionId, error: Errno) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let released = connection.fail(error);
        let readable = connection.life() == Life::Open && !connection.has(Flags::ENDED);
        self.release(released);
        if readable {
            self.list(id);
        } else {
            self.doom(id, Reason::Failed, true);
        }
    }

    /// Ends a connection once its output is written; see [`Action::Close`](crate::Action::Close).
    pub(crate) fn begin_close(&mut self, id: ConnectionId, reason: Reason) {
        let Some(connection) = self.connections.get_mut(id) else {
            self.metrics.stale += 1;
            return;
        };
        match connection.life() {
            Life::Connecting => self.doom(id, reason, false),
            Life::Open if connection.has(Flags::FAILED) => self.doom(id, Reason::Failed, true),
            Life::Open => {
                let ended = reason == Reason::Closed && connection.has(Flags::ENDED);
                let next = connection.begin_close(if ended { Reason::Finished } else { reason });
                self.forget_kept(id);
                self.follow(id, next);
                self.schedule(id);
            }
            Life::Flushing | Life::Lingering | Life::Doomed => {}
        }
    }

    /// Ends a connection with an RST; see [`Action::Reset`](crate::Action::Reset).
    pub(crate) fn reset(&mut self, id: ConnectionId) {
        match self.connections.get(id).map(Connection::life) {
            Some(Life::Doomed) => {}
            Some(_) => self.doom(id, Reason::Reset, true),
            None => self.metrics.stale += 1,
        }
    }

    fn follow(&mut self, id: ConnectionId, next: Next) {
        match next {
            Next::Wait => {}
            Next::Finish => self.doom(id, Reason::Finished, false),
            Next::Linger => self.linger(id),
        }
    }

    /// Sends our FIN and waits for the peer's (C6).
    fn linger(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let mut answer = self.kernel.shutdown_write(&connection.socket);
        while answer == Err(Errno::INTR) {
            answer = self.kernel.shutdown_write(&connection.socket);
        }
        if let Err(error) = answer {
            let released = connection.fail(error);
            self.release(released);
            self.doom(id, Reason::Failed, true);
            return;
        }
        let draining = self.timeouts.drain.is_some();
        let timeout =
            if draining { self.config.drain_linger_timeout } else { self.config.linger_timeout };
        connection.linger(self.now.after(timeout), self.config.linger_limit);
        if connection.wants_reading() {
            self.list(id);
        }
        self.schedule(id);
    }

    /// Decides the end of a connection. The closing phase of this turn carries it out.
    pub(crate) fn doom(&mut self, id: ConnectionId, reason: Reason, abort: bool) {
        self.forget_kept(id);
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.life() == Life::Doomed {
            return;
        }
        let released = connection.doom(reason, abort);
        self.release(released);
        self.closing.push_back(id);
        self.agenda.add(Agenda::CLOSING);
    }

    /// Closes the descriptor and frees the slot. Nothing of the connection is left.
    pub(crate) fn bury(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(id) else { return };
        self.wheel.cancel(id.slot);
        self.metrics.closed += 1;
        self.metrics.bytes_dropped += connection.dropped();
        let abort = connection.has(Flags::ABORT);
        let socket = connection.into_socket();
        if abort {
            self.metrics.aborted += 1;
            // A failure leaves an ordinary close, and the kernel may keep some pages for a while.
            let _ = self.kernel.set_option(&socket, SocketOption::ResetOnClose);
        }
        self.kernel.close(socket);
    }

    // The beginning.

    /// Takes over a connected socket; answers `None` if epoll would not have it (C19).
    pub(crate) fn adopt(&mut self, socket: K::Socket) -> Option<ConnectionId> {
        let id = self.connections.next_id();
        if let Err(error) = self.kernel.register(&socket, Token(id.to_bits()), CONNECTION) {
            self.kernel.close(socket);
            self.metrics.registrations_failed += 1;
            self.tell(Notice::RegistrationFailed { error: error.into() });
            return None;
        }
        self.connections.insert(id, Connection::accepted(socket, id.non_zero(), self.now));
        Some(id)
    }

    pub(crate) fn connect(&mut self, peer: SocketAddr, tag: u64) -> Result<ConnectionId, Error> {
        let wrong = |error: io::Error| {
            Error::new(ErrorKind::Connect, format!("cannot connect to {peer}"), error)
        };
        if self.timeouts.drain.is_some() {
            // What came after the walk that cuts off would keep the loop from ending (C37).
            return Err(wrong(io::Error::other("the loop is stopping")));
        }
        if self.connections.len() >= self.cap {
            let cap =
                io::Error::other(format!("{} connections are open, the most allowed", self.cap));
            return Err(wrong(cap));
        }
        let socket = self.kernel.socket(peer).map_err(|error| wrong(error.into()))?;
        let id = self.connections.next_id();
        match self.begin_connect(&socket, peer, id) {
            Ok(()) => {}
            Err(error) => {
                self.kernel.close(socket);
                return Err(wrong(error.into()));
            }
        }
        let deadline =
            self.config.connect_timeout.map_or(Time::NEVER, |timeout| self.now.after(timeout));
        let connection = Connection::connecting(socket, id.non_zero(), self.now, deadline);
        self.connections.insert(id, connection);
        self.born.push_back(Born { id, peer, tag });
        self.agenda.add(Agenda::BORN);
        self.schedule(id);
        Ok(id)
    }

    fn begin_connect(
        &mut self,
        socket: &K::Socket,
        peer: SocketAddr,
        id: ConnectionId,
    ) -> Result<(), Errno> {
        self.kernel.set_option(socket, SocketOption::NoDelay)?;
        self.kernel.set_option(socket, SocketOption::UrgentInline)?;
        match self.kernel.connect(socket, peer) {
            // An interrupted connect goes on by itself (connect(2)).
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        // Only now, because a socket that was never connected reports a hang-up.
        self.kernel.register(socket, Token(id.to_bits()), CONNECTION)
    }
}

/// The kernel had no memory for this call: no error of the connection, and no "would block",
/// because no edge will follow.
pub(crate) fn is_exhaustion(error: Errno) -> bool {
    matches!(error, Errno::NOBUFS | Errno::NOMEM)
}
