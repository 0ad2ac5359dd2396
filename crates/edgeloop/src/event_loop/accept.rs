//! Phases 5 and 9: listeners, and the sessions of outbound connections.

use std::net::SocketAddr;
use std::sync::Arc;

use rustix::io::Errno;

use super::EventLoop;
use crate::bounds::Bounds;
use crate::closed::Reason;
use crate::config::Config;
use crate::connection::Life;
use crate::core::{Agenda, set_option, set_options};
use crate::epoll::{Interest, Token};
use crate::error::{Error, ErrorKind, Failed, InCall};
use crate::flags::Flags;
use crate::handler::{Handler, Origin};
use crate::id::ConnectionId;
use crate::kernel::{Kernel, LISTENERS, SocketOption};
use crate::listener::{AcceptError, Listener};
use crate::notice::{Notice, Trace};

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    pub(super) fn listen_on(
        &mut self,
        address: SocketAddr,
        config: &Config,
    ) -> Result<SocketAddr, Failed> {
        let kernel = &mut self.core.kernel;
        let backlog = config.backlog;
        let socket = kernel.socket(address).in_call("socket")?;
        set_option(kernel, &socket, SocketOption::ReuseAddress)?;
        if address.is_ipv6() {
            set_option(kernel, &socket, SocketOption::Ipv6Only(config.ipv6_only))?;
        }
        set_options(kernel, &socket, config)?;
        kernel.bind(&socket, address).in_call("bind")?;
        kernel.listen(&socket, backlog).in_call("listen")?;
        let bound = kernel.local_address(&socket).in_call("getsockname")?;
        let token = Token(LISTENERS.0 + self.listeners.len() as u64);
        kernel.register(&socket, token, Interest::READABLE).in_call("epoll_ctl")?;
        if let Some(somaxconn) = kernel.longest_backlog()
            && somaxconn < backlog
        {
            self.core.tell(Notice::BacklogCapped { listener: bound, asked: backlog, somaxconn });
        }
        let mut listener = Listener::new(socket, bound);
        listener.backlog = Some(backlog);
        if config.bounds != self.core.limits.common {
            listener.limits = Some(Arc::new(config.bounds));
        }
        self.listeners.push(Some(listener));
        self.count_listeners();
        Ok(bound)
    }

    /// Phase 5.
    pub(super) fn accept(&mut self) {
        for index in 0..self.listeners.len() {
            self.accept_from(index);
        }
    }

    /// Accepts until the backlog is empty, within the budget (C15, C21).
    fn accept_from(&mut self, index: usize) {
        let mut budget = self.core.config.turn_accepts;
        loop {
            let Some(Some(listener)) = self.listeners.get_mut(index) else { return };
            if !listener.wants_accepting(self.core.now) {
                return;
            }
            if self.core.connections.len() >= self.core.cap {
                return self.at_the_cap(index);
            }
            if budget == 0 {
                return self.core.agenda.add(Agenda::ACCEPT);
            }
            if !self.core.has_memory_for_more() {
                return self.pause_accepting(index, Errno::NOMEM);
            }
            let Some(Some(listener)) = self.listeners.get_mut(index) else { return };
            budget -= 1;
            match self.core.kernel.accept(&listener.socket) {
                Ok((socket, peer)) => {
                    self.core.metrics.accepted += 1;
                    let (address, closes) = (listener.address, listener.accepted());
                    let limits = listener.limits.clone();
                    if closes {
                        self.close_listener(index);
                    }
                    self.admit(socket, peer, address, limits);
                }
                Err(error) => match AcceptError::of(error) {
                    AcceptError::Skipped => {
                        self.core.metrics.accept_errors += 1;
                        if listener.skipped() {
                            return self.pause_accepting(index, error);
                        }
                    }
                    AcceptError::Empty => {
                        if listener.emptied() {
                            self.close_listener(index);
                        }
                        return;
                    }
                    AcceptError::Exhausted => return self.pause_accepting(index, error),
                    AcceptError::Fatal => return self.end_listener(index, error),
                },
            }
        }
    }

    /// Waiters stay in the backlog; the next connection that closes lets one in (C24).
    fn at_the_cap(&mut self, index: usize) {
        let Some(Some(listener)) = self.listeners.get(index) else { return };
        if listener.is_closing() {
            return self.close_listener(index);
        }
        if !self.capped {
            self.capped = true;
            self.core.metrics.cap_reached += 1;
            self.core.tell(Notice::ConnectionCap { connections: self.core.cap });
        }
    }

    /// Descriptors or memory have run out (C23), or there were only errors for a while (C22).
    fn pause_accepting(&mut self, index: usize, error: Errno) {
        let Some(Some(listener)) = self.listeners.get_mut(index) else { return };
        // Whoever waits in the backlog is let in by the connections that end meanwhile (C37). With
        // none left there is nothing more to be hoped for.
        if listener.is_closing() && self.core.connections.len() == 0 {
            return self.close_listener(index);
        }
        let (begins, address) = (listener.pause(self.core.now), listener.address);
        let until = listener.next_deadline();
        self.core.remind(until);
        if begins {
            self.core.metrics.accept_pauses += 1;
            self.core.tell(Notice::AcceptPaused { listener: address, error: error.into() });
        }
    }

    /// The listener is of no use any more (C22). The loop ends with its last one.
    fn end_listener(&mut self, index: usize, error: Errno) {
        let Some(Some(listener)) = self.listeners.get(index) else { return };
        let address = listener.address;
        self.core.tell(Notice::ListenerFailed { listener: address, error: error.into() });
        self.close_listener(index);
        if self.listeners.iter().all(Option::is_none) && self.drain.is_none() {
            let what = format!("cannot accept on {address}");
            let failed = Failed::new("accept4", error);
            self.failed = Some(Error::of_call(ErrorKind::Run, what, failed));
        }
    }

    /// A listener began or ended: more or fewer descriptors are left to connections (C24).
    fn count_listeners(&mut self) {
        self.core.leave_descriptors_to(self.listeners.iter().flatten().count());
    }

    pub(super) fn close_listener(&mut self, index: usize) {
        if let Some(listener) = self.listeners[index].take() {
            self.core.kernel.close(listener.socket);
            self.count_listeners();
        }
    }

    /// Takes a new connection in: slot, registration, session, first callback, first read.
    fn admit(
        &mut self,
        socket: K::Socket,
        peer: SocketAddr,
        listener: SocketAddr,
        limits: Option<Arc<Bounds>>,
    ) {
        let descriptor = self.core.kernel.descriptor(&socket);
        let Some(id) = self.core.adopt(socket) else { return };
        if let Some(limits) = limits {
            self.core.hold_to(id, limits);
        }
        if H::TRACE {
            self.core.current = id;
            self.handler.trace(&Trace::Registered { id, descriptor });
        }
        self.core.current = id;
        match self.handler.session(&Origin { id, peer, listener }) {
            Some(session) => self.sessions.insert(id.slot(), session),
            None => self.core.doom(id, Reason::Reset, true),
        }
        self.core.schedule(id);
        let action = self.opened(id);
        self.apply(id, action);
        self.read_at_once(id);
    }

    /// Who speaks first has often spoken before being accepted. To read at once then saves a wait,
    /// and lets the event of the registration come together with that of the peer's FIN. Where this
    /// finds nothing it is tried less and less often. Whatever it leaves unread, that event tells.
    fn read_at_once(&mut self, id: ConnectionId) {
        let Some(connection) = self.core.connections.get_mut(id) else { return };
        let is_read = connection.life() == Life::Open && !connection.has(Flags::NO_READING);
        if !is_read || !self.first_reads.takes() {
            return;
        }
        connection.set(Flags::READABLE);
        let before = self.core.metrics.bytes_in;
        self.serve(id);
        let ended = self.core.connections.get(id).is_none_or(|it| it.has(Flags::ENDED));
        self.first_reads.tried(ended || self.core.metrics.bytes_in != before);
    }

    /// Phase 9: puts the sessions of outbound connections that were started into the table.
    pub(super) fn place_sessions(&mut self) {
        while let Some((id, descriptor)) = self.core.registered.pop_front() {
            self.core.current = id;
            self.handler.trace(&Trace::Registered { id, descriptor });
        }
        for (id, session) in self.started.drain(..) {
            self.sessions.insert(id.slot(), session);
        }
    }
}
