//! Phases 5 and 9: accepting, and the sessions of outbound connections.

use std::sync::Arc;

use rustix::io::Errno;

use super::EventLoop;
use super::panics::Called;
use crate::api::address::Address;
use crate::api::bounds::Bounds;
use crate::api::closed::Reason;
use crate::api::error::{Error, ErrorKind, Failed};
use crate::api::handler::{Handler, Origin};
use crate::api::id::ConnectionId;
use crate::api::notice::{Notice, Trace};
use crate::connection::Life;
use crate::connection::flags::Flags;
use crate::core::Agenda;
use crate::core::listener::AcceptError;
use crate::kernel::{Kernel, ListenerId};

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// Phase 5.
    pub(super) fn accept(&mut self) {
        // Those that callbacks add meanwhile have their turn when an event tells of them.
        let Some(last) = self.core.listeners.last() else { return };
        let mut next = self.core.listeners.after(None);
        while let Some(id) = next.filter(|&id| id <= last) {
            self.accept_from(id);
            next = self.core.listeners.after(Some(id));
        }
    }

    /// Accepts until the backlog is empty, within the budget (C15, C21).
    fn accept_from(&mut self, id: ListenerId) {
        let mut budget = self.core.config.turn_accepts;
        loop {
            let Some(listener) = self.core.listeners.get_mut(id) else { return };
            if !listener.wants_accepting(self.core.now) {
                return;
            }
            if self.core.is_at_the_cap() {
                return self.at_the_cap(id);
            }
            if budget == 0 {
                return self.core.agenda.add(Agenda::ACCEPT);
            }
            if !self.core.has_memory_for_more() {
                return self.pause_accepting(id, Errno::NOMEM);
            }
            if !self.core.take_place() {
                return self.at_the_cap(id);
            }
            let Some(listener) = self.core.listeners.get_mut(id) else { return };
            budget -= 1;
            match self.core.kernel.accept(&listener.socket) {
                Ok((socket, peer)) => {
                    self.core.metrics.accepted += 1;
                    let (address, closes) = (listener.address.clone(), listener.accepted());
                    let limits = listener.limits.clone();
                    let lacks_options = listener.lacks_options;
                    self.core.count_place();
                    if closes {
                        self.core.close_listener(id);
                    }
                    if lacks_options && self.core.set_options_of(&socket, &address).is_err() {
                        self.core.kernel.close(socket);
                        self.core.unreserve();
                        self.core.metrics.accept_errors += 1;
                        continue;
                    }
                    self.admit_or_hand_on(socket, peer, address, limits);
                }
                Err(error) => {
                    if !self.accept_failed(id, error) {
                        return;
                    }
                }
            }
        }
    }

    /// Returns whether there may be more to accept.
    fn accept_failed(&mut self, id: ListenerId, error: Errno) -> bool {
        self.core.leave_place();
        let Some(listener) = self.core.listeners.get_mut(id) else { return false };
        match AcceptError::of(error) {
            AcceptError::Skipped => {
                self.core.metrics.accept_errors += 1;
                if !listener.skipped() {
                    return true;
                }
                self.pause_accepting(id, error);
            }
            AcceptError::Empty => {
                if listener.emptied() {
                    self.core.close_listener(id);
                }
            }
            AcceptError::Exhausted => self.pause_accepting(id, error),
            AcceptError::Fatal => self.end_listener(id, error),
        }
        false
    }

    /// Waiters stay in the backlog; the next connection that closes lets one in (C24).
    fn at_the_cap(&mut self, id: ListenerId) {
        let Some(listener) = self.core.listeners.get_mut(id) else { return };
        if listener.is_closing() {
            return self.core.close_listener(id);
        }
        self.tell_of_the_cap();
    }

    pub(super) fn tell_of_the_cap(&mut self) {
        if !self.capped {
            self.capped = true;
            self.core.metrics.cap_reached += 1;
            self.core.tell(Notice::ConnectionCap { connections: self.core.cap });
        }
    }

    /// Descriptors or memory have run out (C23), or there were only errors for a while (C22).
    fn pause_accepting(&mut self, id: ListenerId, error: Errno) {
        let Some(listener) = self.core.listeners.get_mut(id) else { return };
        // Whoever waits in the backlog is let in by the connections that end meanwhile (C37). With
        // none left there is nothing more to be hoped for.
        if listener.is_closing() && self.core.connections.len() == 0 {
            return self.core.close_listener(id);
        }
        let (begins, address) = (listener.pause(self.core.now), listener.address.clone());
        let until = listener.next_deadline();
        self.core.remind(until);
        if begins {
            self.core.metrics.accept_pauses += 1;
            self.core.tell(Notice::AcceptPaused { listener: address, error: error.into() });
        }
    }

    /// The listener is of no use any more (C22). The loop ends with its last one.
    fn end_listener(&mut self, id: ListenerId, error: Errno) {
        let Some(listener) = self.core.listeners.get_mut(id) else { return };
        let address = listener.address.clone();
        let notice = Notice::ListenerFailed { listener: address.clone(), error: error.into() };
        self.core.tell(notice);
        let lives_on = self.core.config.until_stopped || self.drain.is_some();
        self.core.close_listener(id);
        if self.core.listeners.is_empty() && !lives_on {
            let what = format!("cannot accept on {address}");
            let failed = Failed::new("accept4", error);
            self.core.listeners.failure = Some(Error::of_call(ErrorKind::Run, what, failed));
        }
    }

    /// Takes a new connection in: slot, registration, session, first callback, first read.
    pub(super) fn admit(
        &mut self,
        socket: K::Socket,
        peer: Address,
        listener: Address,
        limits: Option<Arc<Bounds>>,
    ) {
        let Ok(id) = self.core.register(socket, listener.is_unix()) else { return };
        let credentials = self.core.credentials(id);
        if let Some(limits) = limits {
            self.core.hold_to(id, limits);
        }
        self.begin(id, &Origin { id, peer, credentials, listener: Some(listener) });
    }

    /// Begins to serve a connection that is registered and has no session.
    pub(super) fn begin(&mut self, id: ConnectionId, origin: &Origin) {
        self.trace_registered(id);
        self.core.current = id;
        let call = Called::new(&mut self.own_panics.is_handlers);
        let session = self.handler.session(origin);
        call.done();
        match session {
            Some(session) => {
                self.sessions.insert(id.slot(), session);
                self.open(id);
            }
            None => self.core.end(id, Reason::Reset, true),
        }
    }

    pub(super) fn trace_registered(&mut self, id: ConnectionId) {
        if H::TRACE {
            let descriptor = self.core.kernel.descriptor(&self.core.connections[id].socket);
            self.trace(id, &Trace::Registered { id, descriptor });
        }
    }

    pub(super) fn trace(&mut self, id: ConnectionId, trace: &Trace<'_>) {
        self.core.current = id;
        let call = Called::new(&mut self.own_panics.is_handlers);
        self.handler.trace(trace);
        call.done();
    }

    /// The first callback and the first read of a connection that has a session.
    pub(super) fn open(&mut self, id: ConnectionId) {
        self.core.schedule(id);
        let action = self.opened(id);
        self.apply(id, action);
        self.read_at_once(id);
    }

    /// Who speaks first has often spoken before being accepted. To read at once then saves a wait,
    /// and lets the event of the registration come together with that of the peer's FIN. Where this
    /// finds nothing it is tried less and less often. Whatever it leaves unread, that event tells.
    fn read_at_once(&mut self, id: ConnectionId) {
        let connection = &mut self.core.connections[id];
        let is_read = connection.life() == Life::Open && !connection.has(Flags::NO_READING);
        if !is_read || !self.first_reads.takes() {
            return;
        }
        connection.set(Flags::READABLE);
        let before = self.core.metrics.bytes_in;
        self.serve(id);
        let ended = self.core.connections[id].has(Flags::PEER_ENDED);
        self.first_reads.tried(ended || self.core.metrics.bytes_in != before);
    }

    /// Phase 9: puts the sessions of outbound connections that were started into the table.
    pub(super) fn place_sessions(&mut self) {
        while let Some((id, descriptor)) = self.core.registered.pop_front() {
            self.trace(id, &Trace::Registered { id, descriptor });
        }
        for (id, session) in self.started.drain(..) {
            self.sessions.insert(id.slot(), session);
        }
    }
}
