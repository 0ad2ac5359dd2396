//! The loop as a callback sees it.

use std::cell::Cell;
use std::io;
#[cfg(feature = "udp")]
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::api::address::Address;
use crate::api::bounds::Limits;
use crate::api::closed::Reason;
#[cfg(feature = "udp")]
use crate::api::datagram::{Datagram, DatagramSocket, SentDatagram};
use crate::api::error::{ConnectError, Error};
use crate::api::handler::{Context, LoopContext, Sent, Stop};
use crate::api::id::ConnectionId;
use crate::api::metrics::Metrics;
use crate::api::target::Target;
use crate::api::time::Time;
use crate::connection::Connection;
use crate::core::{Agenda, Core, SHARED};
use crate::kernel::Kernel;
use crate::store::pieces::Pieces;
use crate::store::shared::Shared;

/// Sessions of connections that callbacks have started, until they are put into the table.
pub(crate) type Started<S> = Vec<(ConnectionId, S)>;

/// Borrows the loop for the length of one callback.
pub(crate) struct CallContext<'a, K: Kernel, S> {
    core: &'a mut Core<K>,
    started: &'a mut Started<S>,
    id: ConnectionId,
    /// How much of its input is left, if nothing was sent on this connection in this turn.
    unsent: Option<&'a Cell<usize>>,
    /// The connection is plain: it was when the callback began, and nothing was done to any since.
    is_plain: bool,
}

impl<'a, K: Kernel, S> CallContext<'a, K, S> {
    pub(crate) fn new(
        core: &'a mut Core<K>,
        started: &'a mut Started<S>,
        id: ConnectionId,
    ) -> Self {
        Self { core, started, id, unsent: None, is_plain: false }
    }

    /// The same for a connection of which it may be known that nothing was sent on it in this turn;
    /// then `unsent` is how much of its input the callback has not taken.
    #[inline(always)]
    pub(crate) fn first(
        core: &'a mut Core<K>,
        started: &'a mut Started<S>,
        id: ConnectionId,
        unsent: Option<&'a Cell<usize>>,
    ) -> Self {
        Self { core, started, id, unsent, is_plain: false }
    }

    /// The same for a connection that is plain.
    #[inline(always)]
    pub(crate) fn plain(
        core: &'a mut Core<K>,
        started: &'a mut Started<S>,
        id: ConnectionId,
        unsent: &'a Cell<usize>,
    ) -> Self {
        Self { core, started, id, unsent: Some(unsent), is_plain: true }
    }

    /// The loop, to do something to a connection of it.
    fn touch(&mut self) -> &mut Core<K> {
        self.is_plain = false;
        self.core
    }

    /// The loop, to send something to a connection of it.
    fn touch_to_send(&mut self, id: ConnectionId) -> &mut Core<K> {
        if id == self.id {
            self.unsent = None;
        }
        self.touch()
    }

    /// Whether something was sent on a connection of which nothing was known to be.
    pub(crate) const fn has_sent(&self) -> bool {
        self.unsent.is_none()
    }
}

impl<K: Kernel, S> crate::sealed::Sealed for CallContext<'_, K, S> {}

impl<K: Kernel, S> LoopContext<S> for CallContext<'_, K, S> {
    fn now(&self) -> Time {
        self.core.now
    }

    fn send_to(&mut self, id: ConnectionId, bytes: &[u8]) -> Sent {
        if id == self.id {
            return self.send(bytes);
        }
        // Of what is left in the input, more may follow for the same connection.
        if self.unsent.is_some_and(|left| left.get() > 0) {
            return self.touch().join(id, bytes);
        }
        self.touch().send_or_join(id, bytes)
    }

    fn send_vectored(&mut self, id: ConnectionId, pieces: &[&[u8]]) -> Sent {
        let pieces = Pieces::new(pieces);
        let high = self.core.limits.of(id.slot()).high;
        if let Some(joined) = self.core.joining.small(pieces, high) {
            let sent = self.send_to(id, &joined);
            self.core.joining.give_back(joined);
            return sent;
        }
        self.touch_to_send(id).send_pieces(id, pieces)
    }

    fn send_shared(&mut self, ids: &[ConnectionId], bytes: Arc<[u8]>) -> Vec<(ConnectionId, Sent)> {
        let shared = (bytes.len() >= SHARED).then(|| Shared::new(Arc::clone(&bytes)));
        let mut refused = Vec::new();
        for &id in ids {
            let sent = match &shared {
                Some(shared) => self.touch_to_send(id).share(id, shared),
                None => self.send_to(id, &bytes),
            };
            if !sent.is_accepted() {
                refused.push((id, sent));
            }
        }
        if let Some(shared) = shared {
            self.core.has_shared(shared);
        }
        refused
    }

    fn flush(&mut self, id: ConnectionId) {
        let core = self.touch();
        core.send_joined(id);
        core.flush_queued(id);
    }

    fn queued(&self, id: ConnectionId) -> usize {
        self.core.connections.get(id).map_or(0, Connection::queued)
    }

    fn poke(&mut self, id: ConnectionId) {
        self.core.poke(id);
    }

    fn at_end_of_turn(&mut self) {
        self.core.agenda.add(Agenda::TURN_ENDS);
    }

    fn pull(&mut self, id: ConnectionId) {
        self.core.pull(id);
    }

    fn metrics(&self) -> Metrics {
        self.core.metrics()
    }

    fn connections(&self) -> Vec<ConnectionId> {
        let slots = 0..self.core.connections.end();
        slots.filter_map(|slot| self.core.connections.at(slot)).collect()
    }

    fn pause(&mut self, id: ConnectionId) {
        self.touch().pause(id);
    }

    fn resume(&mut self, id: ConnectionId) {
        self.touch().resume_by_handler(id);
    }

    fn close(&mut self, id: ConnectionId) {
        self.touch().begin_close(id, Reason::Closed);
    }

    fn finish(&mut self, id: ConnectionId) {
        self.touch().finish(id);
    }

    fn reset(&mut self, id: ConnectionId) {
        self.touch().reset(id);
    }

    fn flush_then_reset(&mut self, id: ConnectionId) {
        self.touch().flush_then_reset(id);
    }

    fn relay(&mut self, source: ConnectionId, target: ConnectionId) {
        self.touch().relay(source, target);
    }

    fn unrelay(&mut self, source: ConnectionId) -> Option<u64> {
        self.touch().unrelay(source)
    }

    fn relayed(&self, source: ConnectionId) -> u64 {
        self.core.relays.carried(source)
    }

    fn listen(&mut self, address: Address) -> Result<Address, Error> {
        self.core.listen(&address)
    }

    fn unlisten(&mut self, address: &Address) -> bool {
        self.core.unlisten(address)
    }

    #[cfg(feature = "udp")]
    fn bind_udp(&mut self, address: SocketAddr) -> Result<(DatagramSocket, SocketAddr), Error> {
        self.core.bind_udp(address)
    }

    #[cfg(feature = "udp")]
    fn unbind_udp(&mut self, socket: DatagramSocket) -> bool {
        self.core.unbind_udp(socket)
    }

    #[cfg(feature = "udp")]
    fn send_datagram(
        &mut self,
        socket: DatagramSocket,
        to: SocketAddr,
        bytes: &[u8],
    ) -> SentDatagram {
        self.core.send_datagram(socket, to, None, bytes)
    }

    #[cfg(feature = "udp")]
    fn reply(&mut self, to: &Datagram<'_>, bytes: &[u8]) -> SentDatagram {
        self.core.send_datagram(to.socket, to.from, to.local, bytes)
    }

    fn connect(&mut self, to: Target, session: S) -> Result<ConnectionId, ConnectError<S>> {
        match self.touch().connect(to) {
            Ok(id) => {
                self.started.push((id, session));
                Ok(id)
            }
            Err(error) => Err(ConnectError { error, session }),
        }
    }

    fn local_address(&mut self, id: ConnectionId) -> io::Result<Address> {
        self.core.address_of(id, K::local_address)
    }

    fn peer_address(&mut self, id: ConnectionId) -> io::Result<Address> {
        self.core.address_of(id, K::peer_address)
    }

    fn set_timer_of(&mut self, id: ConnectionId, key: u32, after: Option<Duration>) {
        self.core.set_timer(id, key, after);
    }

    fn set_busy(&mut self, id: ConnectionId, busy: bool) {
        self.touch().set_busy(id, busy);
    }

    fn set_limits(&mut self, id: ConnectionId, limits: Limits) -> Result<(), Error> {
        self.touch().set_limits(id, &limits)
    }

    fn wake_at(&mut self, at: Option<Time>) {
        self.core.wake_at(at);
    }

    fn clock(&mut self) -> Time {
        self.core.kernel.now()
    }

    fn stop(&mut self, stop: Stop) {
        self.core.request_stop(stop);
    }
}

impl<K: Kernel, S> Context<S> for CallContext<'_, K, S> {
    #[inline]
    fn id(&self) -> ConnectionId {
        self.id
    }

    #[inline(always)]
    fn send(&mut self, bytes: &[u8]) -> Sent {
        match self.unsent.take() {
            Some(left) if left.get() == 0 && self.is_plain => {
                self.is_plain = false;
                self.core.send_plain(self.id, bytes)
            }
            Some(left) if left.get() == 0 => self.core.send(self.id, bytes),
            Some(_) => self.core.join(self.id, bytes),
            None => self.core.send_or_join(self.id, bytes),
        }
    }

    fn set_timer(&mut self, key: u32, after: Option<Duration>) {
        self.core.set_timer(self.id, key, after);
    }
}
