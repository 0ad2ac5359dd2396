//! How connections begin and how they end.

use std::io;

use rustix::io::Errno;

use super::{
    Agenda, CONNECTION, Core, Dialled, UNIX_CONNECTION, set_option, set_options, transport,
};
use crate::api::address::{Address, Credentials};
use crate::api::closed::{Attempt, Reason};
use crate::api::error::{Error, ErrorKind, Failed, InCall};
use crate::api::id::ConnectionId;
use crate::api::notice::Notice;
use crate::api::target::Target;
use crate::api::time::Time;
use crate::connection::flags::Flags;
use crate::connection::{Connection, Life, Next};
use crate::kernel::{EventSource, Kernel, SocketOption};

/// A socket that is on its way to an address.
struct Begun<S> {
    socket: S,
    is_unix: bool,
    /// The backlog of the listener is full: the socket is not connected and not registered, and has
    /// to be tried again. No event tells when.
    waits: bool,
}

impl Dialled {
    /// The address that is tried could not be connected to, for this error or because it took too
    /// long. Goes over to the next one; returns whether there is one.
    fn goes_on_after(&mut self, error: Option<Errno>) -> bool {
        let errno = error.map(Errno::raw_os_error);
        self.failed.push(Attempt { address: self.target.peer().clone(), errno });
        self.target.advance()
    }
}

/// What can't be done when connecting to none of these could be begun. The error of the last one is
/// told behind it.
fn all_failed(attempts: &[Attempt]) -> String {
    let Some((last, others)) = attempts.split_last() else { return "cannot connect".to_owned() };
    let others = others.iter().map(|one| format!("{} ({}), ", one.address, one.error()));
    format!("cannot connect to {}{}", others.collect::<String>(), last.address)
}

/// Connects a socket and registers it; returns whether it has to be tried again, because the
/// backlog of a Unix socket is full.
fn connect_on<K: Kernel>(
    kernel: &mut K,
    socket: &K::Socket,
    peer: &Address,
    id: ConnectionId,
) -> Result<bool, Failed> {
    match kernel.connect(socket, peer) {
        Err(Errno::AGAIN | Errno::INTR) if peer.is_unix() => return Ok(true),
        // An interrupted connect goes on by itself (connect(2)).
        Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
        Err(error) => return Err(error).in_call("connect"),
    }
    // Only now, because a socket that was never connected reports a hang-up.
    kernel.register(socket, EventSource::Connection(id), CONNECTION).in_call("epoll_ctl")?;
    Ok(false)
}

impl<K: Kernel> Core<K> {
    /// The addresses that a connection which was not made could not be connected to.
    pub(crate) fn take_attempts(&mut self, id: ConnectionId) -> Vec<Attempt> {
        let dialled = self.dialled.get_mut(&id.slot());
        dialled.map(|dialled| std::mem::take(&mut dialled.failed)).unwrap_or_default()
    }

    // The beginning.

    /// Takes over a connected socket, for which a place is [set aside](Self::reserve), unless epoll
    /// would not have it (C19).
    pub(crate) fn register(
        &mut self,
        socket: K::Socket,
        is_unix: bool,
    ) -> Result<ConnectionId, Errno> {
        let id = self.connections.next_id();
        let interest = if is_unix { UNIX_CONNECTION } else { CONNECTION };
        if let Err(error) = self.kernel.register(&socket, EventSource::Connection(id), interest) {
            self.kernel.close(socket);
            self.unreserve();
            self.metrics.registrations_failed += 1;
            self.tell(Notice::RegistrationFailed { error: error.into() });
            return Err(error);
        }
        let mut connection = Connection::accepted(socket, id.non_zero(), self.now);
        connection.set_unix(is_unix);
        self.connections.insert(id, connection);
        Ok(id)
    }

    /// Whether another connection may begin that nobody waits for in a backlog. If so, a place is
    /// [set aside](Self::reserve) for it.
    pub(crate) fn may_begin(&mut self) -> io::Result<()> {
        if self.cuts_off {
            // What came after the walk that cuts off would keep the loop from ending (C37).
            return Err(io::Error::other("the loop is stopping"));
        }
        if self.is_at_the_cap() {
            return Err(io::Error::other(format!("connection limit {} reached", self.cap)));
        }
        if !self.has_memory_for_more() {
            return Err(Errno::NOMEM.into());
        }
        if !self.reserve() {
            return Err(io::Error::other(format!("connection limit {} reached", self.cap)));
        }
        Ok(())
    }

    /// Starts an outbound connection. Its session is put into the table in phase 9.
    pub(crate) fn connect(&mut self, to: Target) -> Result<ConnectionId, Error> {
        let what = |to: &Target| format!("cannot connect to {}", to.peer());
        self.may_begin().map_err(|error| Error::new(ErrorKind::Connect, what(&to), error))?;
        let id = self.connections.next_id();
        let mut to = Dialled { target: to, failed: Vec::new() };
        let begun = self.dial(&mut to, id).map_err(|failed| {
            self.unreserve();
            Error::of_call(ErrorKind::Connect, all_failed(&to.failed), failed)
        })?;
        let deadline = self.connect_deadline(&to.target);
        let Begun { socket, is_unix, waits } = begun;
        let mut connection = Connection::connecting(socket, id.non_zero(), self.now, deadline);
        connection.set_unix(is_unix);
        connection.connect_begun(waits, self.now);
        self.connections.insert(id, connection);
        self.dialled.insert(id.slot(), to);
        self.agenda.add(Agenda::STARTED);
        self.schedule(id);
        Ok(id)
    }

    fn connect_deadline(&self, to: &Target) -> Time {
        let timeout = to.timeout_or(self.config.connect_timeout);
        timeout.map_or(Time::NEVER, |timeout| self.now.after(timeout))
    }

    /// Begins to connect to the first address that lets itself be begun with. Returns why the last
    /// one failed if none does.
    fn dial(&mut self, to: &mut Dialled, id: ConnectionId) -> Result<Begun<K::Socket>, Failed> {
        loop {
            match self.begin_connect(to.target.peer(), to.target.source(), id) {
                Ok(begun) => return Ok(begun),
                Err(error) => {
                    if !to.goes_on_after(Some(error.errno())) {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn begin_connect(
        &mut self,
        peer: &Address,
        source: Option<&Address>,
        id: ConnectionId,
    ) -> Result<Begun<K::Socket>, Failed> {
        let socket = self.kernel.socket(peer).in_call("socket")?;
        let begun = self.begin_on(&socket, peer, source, id);
        match begun {
            Ok(waits) => Ok(Begun { socket, is_unix: peer.is_unix(), waits }),
            Err(error) => {
                self.kernel.close(socket);
                Err(error)
            }
        }
    }

    fn begin_on(
        &mut self,
        socket: &K::Socket,
        peer: &Address,
        source: Option<&Address>,
        id: ConnectionId,
    ) -> Result<bool, Failed> {
        set_options(&mut self.kernel, socket, peer, &self.config)?;
        if let Some(source) = source {
            if !source.is_of_family_of(peer) {
                return Err(Errno::NETUNREACH).in_call("bind");
            }
            if source.port().is_some_and(|port| port != 0) {
                // Or a port of our own choice would be barred for a minute after each connection.
                set_option(&mut self.kernel, socket, SocketOption::ReuseAddress)?;
            }
            self.kernel.bind(socket, source).in_call("bind")?;
        }
        let waits = connect_on(&mut self.kernel, socket, peer, id)?;
        if !waits {
            self.trace_registered(id, self.kernel.descriptor(socket));
        }
        Ok(waits)
    }

    /// The handler is to be told of an outbound socket, if it's told of each step.
    fn trace_registered(&mut self, id: ConnectionId, descriptor: i32) {
        if self.traces {
            self.registered.push_back((id, descriptor));
            self.agenda.add(Agenda::STARTED);
        }
    }

    /// A backlog was full: there may be room by now.
    pub(crate) fn connect_again(&mut self, id: ConnectionId) {
        let Some(to) = self.dialled.remove(&id.slot()) else { return };
        let connection = &mut self.connections[id];
        let again = connect_on(&mut self.kernel, &connection.socket, to.target.peer(), id);
        self.dialled.insert(id.slot(), to);
        match again {
            Ok(waits) => {
                connection.connect_begun(waits, self.now);
                let descriptor = self.kernel.descriptor(&connection.socket);
                if !waits {
                    self.trace_registered(id, descriptor);
                }
                self.schedule(id);
            }
            Err(error) => self.connect_failed(id, Some(error.errno())),
        }
    }

    /// Whether a connection that is made now is one with itself. A socket that connects to the port
    /// that it was given itself meets its own SYN (RFC 9293, 3.5, simultaneous open).
    pub(crate) fn meets_itself(&mut self, id: ConnectionId) -> bool {
        let connection = &self.connections[id];
        // If the kernel has no memory to tell, there is nothing to be said against the connection.
        let peer = self.dialled.get(&id.slot()).map(|to| to.target.peer());
        peer.is_some_and(|peer| {
            !peer.is_unix() && self.kernel.local_address(&connection.socket).as_ref() == Ok(peer)
        })
    }

    /// Who is at the other end of a Unix socket, where the kernel tells.
    pub(crate) fn credentials(&mut self, id: ConnectionId) -> Option<Credentials> {
        let connection = &self.connections[id];
        let asks = connection.has(Flags::UNIX);
        asks.then(|| self.kernel.credentials(&connection.socket).ok()).flatten()
    }

    /// What the kernel says to be an address of this connection.
    pub(crate) fn address_of(
        &mut self,
        id: ConnectionId,
        ask: impl FnOnce(&mut K, &K::Socket) -> Result<Address, Errno>,
    ) -> io::Result<Address> {
        let Some(connection) = self.connections.get(id) else {
            self.metrics.stale += 1;
            return Err(io::ErrorKind::NotConnected.into());
        };
        Ok(ask(&mut self.kernel, &connection.socket)?)
    }

    /// An address could not be connected to, for this error or because it took too long. The next
    /// one is tried, or the connection ends.
    pub(crate) fn connect_failed(&mut self, id: ConnectionId, error: Option<Errno>) {
        let mut failed = error;
        if let Some(mut to) = self.dialled.remove(&id.slot()) {
            let goes_on = to.goes_on_after(error) && !self.cuts_off;
            let begun = if goes_on { self.dial(&mut to, id).map(Some) } else { Ok(None) };
            let deadline = self.connect_deadline(&to.target);
            // Its attempts are told at its end, whichever that is.
            self.dialled.insert(id.slot(), to);
            match begun {
                Ok(None) => {}
                Ok(Some(Begun { socket, is_unix, waits })) => {
                    let connection = &mut self.connections[id];
                    let before = connection.connecting_anew(socket, deadline);
                    connection.set_unix(is_unix);
                    connection.connect_begun(waits, self.now);
                    self.kernel.close(before);
                    return self.schedule(id);
                }
                Err(error) => failed = Some(error.errno()),
            }
        }
        let Some(error) = failed else { return self.end(id, Reason::ConnectTimeout, false) };
        let released = self.connections[id].fail(error);
        self.release(released);
        self.end(id, Reason::ConnectFailed, false);
    }

    // The end.

    /// A call on the socket failed. Its output is lost, what can be read is still read (C7).
    pub(crate) fn fail(&mut self, id: ConnectionId, error: Errno) {
        let connection = &mut self.connections[id];
        let released = connection.fail(error);
        let shows = !connection.has(Flags::PEER_ENDED) || connection.owes_end();
        let readable = connection.life() == Life::Open && shows;
        self.forget_waiting(id);
        self.release(released);
        if readable {
            self.list(id);
        } else {
            self.end(id, Reason::Failed, true);
        }
    }

    /// Nothing is queued for it any more, and it waits for no memory.
    fn forget_waiting(&mut self, id: ConnectionId) {
        self.laggards.remove(id.slot());
        self.starved.remove(id.slot());
        self.waiting.remove(id.slot());
    }

    /// Ends a connection once its output is written; see [`Action::Close`](crate::Action::Close).
    pub(crate) fn begin_close(&mut self, id: ConnectionId, reason: Reason) {
        self.send_joined(id);
        if self.connections.get(id).is_some_and(|it| it.has(Flags::PEER_ENDED)) {
            // What is kept for its target goes there, as far as that takes it, and the end.
            self.carry_kept(id);
        }
        let Some(connection) = self.connections.get_mut(id) else {
            self.metrics.stale += 1;
            return;
        };
        match connection.life() {
            Life::Connecting => self.end(id, reason, false),
            Life::Open if connection.has(Flags::FAILED) => self.end(id, Reason::Failed, true),
            Life::Open => {
                let breaks = connection.has(Flags::ABORT);
                self.part(id, breaks);
                let connection = &mut self.connections[id];
                let ended = reason == Reason::Closed && connection.has(Flags::PEER_ENDED);
                let next = connection.begin_close(if ended { Reason::Finished } else { reason });
                self.forget_kept(id);
                self.follow(id, next);
                self.schedule(id);
            }
            Life::Flushing | Life::Lingering | Life::Ended => {}
        }
    }

    /// Ends a connection with an RST; see [`Action::Reset`](crate::Action::Reset).
    pub(crate) fn reset(&mut self, id: ConnectionId) {
        match self.connections.get(id).map(Connection::life) {
            Some(Life::Ended) => {}
            Some(_) => self.end(id, Reason::Reset, true),
            None => self.metrics.stale += 1,
        }
    }

    /// Ends our stream once its output is written; see [`Action::Finish`](crate::Action::Finish).
    pub(crate) fn finish(&mut self, id: ConnectionId) {
        self.send_joined(id);
        let Some(connection) = self.connections.get_mut(id) else {
            self.metrics.stale += 1;
            return;
        };
        if matches!(connection.life(), Life::Open | Life::Connecting) {
            connection.set(Flags::FINISHED);
            // What an end callback leaves of its input is kept, or goes to others, before that.
            if connection.is_served() && self.relays.ending != id {
                let next = connection.flushed();
                self.follow(id, next);
            }
        }
    }

    /// Ends a connection with an RST once its output is written; see
    /// [`Action::FlushThenReset`](crate::Action::FlushThenReset).
    pub(crate) fn flush_then_reset(&mut self, id: ConnectionId) {
        self.end_with_reset(id, Reason::Reset);
    }

    pub(super) fn end_with_reset(&mut self, id: ConnectionId, reason: Reason) {
        self.send_joined(id);
        let Some(connection) = self.connections.get_mut(id) else {
            self.metrics.stale += 1;
            return;
        };
        match connection.life() {
            Life::Open | Life::Flushing => connection.set(Flags::ABORT),
            Life::Ended => return,
            Life::Connecting | Life::Lingering => return self.end(id, reason, true),
        }
        self.begin_close(id, reason);
    }

    /// Does what follows from there being no more to write.
    pub(crate) fn follow(&mut self, id: ConnectionId, next: Next) {
        match next {
            Next::Wait => {}
            Next::Finish => self.end(id, Reason::Finished, false),
            Next::Reset => {
                let reason = self.connections[id].reason().unwrap_or(Reason::Reset);
                self.end(id, reason, true);
            }
            Next::Linger => self.linger(id),
            Next::HalfClose => {
                self.send_fin(id);
            }
        }
    }

    /// Sends our FIN, if it is not sent; returns whether the connection lives on.
    fn send_fin(&mut self, id: ConnectionId) -> bool {
        let connection = &mut self.connections[id];
        if connection.has(Flags::FIN_SENT) {
            return true;
        }
        if let Err(error) = transport::finish(&mut self.kernel, connection) {
            let released = connection.fail(error);
            self.release(released);
            self.end(id, Reason::Failed, true);
            return false;
        }
        connection.set(Flags::FIN_SENT);
        true
    }

    /// Sends our FIN and waits for the peer's (C6).
    fn linger(&mut self, id: ConnectionId) {
        if !self.send_fin(id) {
            return;
        }
        let connection = &mut self.connections[id];
        let draining = self.timeouts.drain.is_some();
        let timeout =
            if draining { self.config.drain_linger_timeout } else { self.config.linger_timeout };
        connection.linger(self.now, timeout, self.config.linger_limit);
        if connection.wants_reading() {
            self.list(id);
        }
        self.schedule(id);
    }

    /// Decides the end of a connection. The closing phase of this turn carries it out.
    pub(crate) fn end(&mut self, id: ConnectionId, reason: Reason, abort: bool) {
        self.forget_kept(id);
        let connection = &mut self.connections[id];
        if connection.life() == Life::Ended {
            return;
        }
        // What waits for a connection that is not made is lost, and what it waited for never comes.
        let breaks = abort || connection.life() == Life::Connecting;
        let released = connection.end(reason, abort);
        self.part(id, breaks);
        self.forget_waiting(id);
        self.release(released);
        if self.closing.try_reserve(1).is_err() {
            self.refused();
        }
        self.closing.push_back(id);
        self.agenda.add(Agenda::CLOSING);
    }

    /// Closes the descriptor and frees the slot. Nothing of the connection is left.
    pub(crate) fn free(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(id) else { return };
        self.wheel.cancel(id.slot());
        self.dialled.remove(&id.slot());
        self.relays.forget(id);
        self.pulls.forget(id);
        self.forget_limits(id);
        self.metrics.closed += 1;
        self.metrics.bytes_dropped += connection.dropped();
        let abort = connection.has(Flags::ABORT);
        let is_unix = connection.has(Flags::UNIX);
        // One that was given up while it was being made may have been made meanwhile. Its peer must
        // not take what it was sent, or nothing, for all that there is.
        let lacks = connection.dropped() > 0 && !connection.has(Flags::FAILED);
        let socket = connection.into_socket();
        if abort {
            self.metrics.aborted += 1;
        }
        if (abort || lacks) && !is_unix {
            // A failure leaves an ordinary close, and the kernel may keep some pages for a while.
            let _ = self.kernel.set_option(&socket, SocketOption::ResetOnClose);
        }
        self.kernel.close(socket);
        self.unreserve();
    }
}
