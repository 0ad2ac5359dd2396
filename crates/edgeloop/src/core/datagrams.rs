//! The loop's datagram sockets: how they begin and end, and what is sent on them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;

use super::{Agenda, Core};
use crate::api::datagram::{DatagramSocket, SentDatagram};
use crate::api::error::{Error, ErrorKind, Failed, InCall};
use crate::api::time::Time;
use crate::kernel::{EventSource, Kernel};

/// How many errors of receiving may follow each other before the socket is left alone for a while:
/// such an error may as well be the answer to every call.
const ERRORS_IN_A_ROW: u32 = 32;

/// For how long.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// The datagram sockets of a loop.
pub(crate) struct DatagramSockets<D> {
    by_id: BTreeMap<DatagramSocket, Bind<D>>,
    /// The id of the next one, unless that is in use still.
    next: DatagramSocket,
}

/// One socket.
pub(crate) struct Bind<D> {
    pub(crate) socket: D,
    /// Datagrams may wait for which no edge will come.
    ready: bool,
    /// Receiving waits until then.
    paused_until: Time,
    errors: u32,
    /// It is to be closed when nothing waits any more (C37).
    closing: bool,
}

impl<D> Default for DatagramSockets<D> {
    fn default() -> Self {
        Self { by_id: BTreeMap::new(), next: DatagramSocket::FIRST }
    }
}

impl<D> DatagramSockets<D> {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn get_mut(&mut self, id: DatagramSocket) -> Option<&mut Bind<D>> {
        self.by_id.get_mut(&id)
    }

    /// The first one behind this, or of all.
    pub(crate) fn after(&self, id: Option<DatagramSocket>) -> Option<DatagramSocket> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_id.range((from, Bound::Unbounded)).next().map(|(&id, _)| id)
    }

    pub(crate) fn last(&self) -> Option<DatagramSocket> {
        self.by_id.last_key_value().map(|(&id, _)| id)
    }

    /// When a pause of one of them ends by itself, for each.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = Time> {
        let paused = |bind: &Bind<D>| bind.ready && bind.paused_until != Time::ZERO;
        self.by_id
            .values()
            .map(move |bind| if paused(bind) { bind.paused_until } else { Time::NEVER })
    }

    /// Whether datagrams may wait at any of them that is not left alone now.
    pub(crate) fn wait(&self, now: Time) -> bool {
        self.by_id.values().any(|bind| bind.wants_receiving(now))
    }

    /// Whether it's to be closed, and nothing waits there any more (C37).
    pub(crate) fn is_drained(&self, id: DatagramSocket) -> bool {
        self.by_id.get(&id).is_some_and(|bind| bind.closing && !bind.ready)
    }

    fn new_id(&mut self) -> DatagramSocket {
        while self.by_id.contains_key(&self.next) {
            self.next = self.next.next();
        }
        let id = self.next;
        self.next = id.next();
        id
    }
}

impl<D> Bind<D> {
    /// An edge came.
    pub(crate) fn note(&mut self) {
        self.ready = true;
    }

    pub(crate) fn wants_receiving(&self, now: Time) -> bool {
        self.ready && self.paused_until <= now
    }

    /// One was received.
    pub(crate) fn has_received(&mut self) {
        self.errors = 0;
    }

    /// None waits any more.
    pub(crate) fn is_empty(&mut self) {
        self.errors = 0;
        self.ready = false;
    }

    /// Receiving failed. Returns whether it is left alone for a while.
    pub(crate) fn failed(&mut self, now: Time) -> bool {
        self.errors = (self.errors + 1) % ERRORS_IN_A_ROW;
        if self.errors == 0 {
            self.paused_until = now.after(PAUSE);
        }
        self.errors == 0
    }

    /// From here on it receives what waits, and is then closed (C37).
    pub(crate) fn drain(&mut self) {
        self.ready = true;
        self.paused_until = Time::ZERO;
        self.closing = true;
    }
}

impl<K: Kernel> Core<K> {
    /// Binds a socket for datagrams; see
    /// [`LoopContext::bind_udp`](crate::LoopContext::bind_udp).
    pub(crate) fn bind_udp(
        &mut self,
        address: SocketAddr,
    ) -> Result<(DatagramSocket, SocketAddr), Error> {
        let what = || format!("cannot bind udp://{address}");
        self.may_listen(what)?;
        self.bind_datagrams(address)
            .map_err(|failed| Error::of_call(ErrorKind::Listen, what(), failed))
    }

    fn bind_datagrams(
        &mut self,
        address: SocketAddr,
    ) -> Result<(DatagramSocket, SocketAddr), Failed> {
        let socket = self.kernel.bind_datagrams(address, self.config.ipv6_only)?;
        self.add_datagrams(socket)
    }

    /// Serves a socket that is bound.
    pub(crate) fn add_datagrams(
        &mut self,
        socket: K::Datagrams,
    ) -> Result<(DatagramSocket, SocketAddr), Failed> {
        let bound = self.kernel.datagram_address(&socket).in_call("getsockname")?;
        let id = self.datagrams.new_id();
        self.kernel.register_datagrams(&socket, EventSource::Datagrams(id)).in_call("epoll_ctl")?;
        // What waits already is told by the kernel as soon as the socket is registered.
        let bind =
            Bind { socket, ready: false, paused_until: Time::ZERO, errors: 0, closing: false };
        self.datagrams.by_id.insert(id, bind);
        self.count_listeners();
        Ok((id, bound))
    }

    /// Closes a socket; returns whether there was one.
    pub(crate) fn unbind_udp(&mut self, id: DatagramSocket) -> bool {
        let Some(bind) = self.datagrams.by_id.remove(&id) else { return false };
        drop(bind.socket);
        self.count_listeners();
        self.descriptor_is_free();
        true
    }

    /// The loop drains.
    pub(crate) fn drain_datagrams(&mut self) {
        for bind in self.datagrams.by_id.values_mut() {
            bind.drain();
            self.agenda.add(Agenda::DATAGRAMS);
        }
    }

    pub(crate) fn unbind_all(&mut self) {
        while let Some(id) = self.datagrams.last() {
            self.unbind_udp(id);
        }
    }

    /// Sends one datagram.
    pub(crate) fn send_datagram(
        &mut self,
        id: DatagramSocket,
        to: SocketAddr,
        from: Option<IpAddr>,
        bytes: &[u8],
    ) -> SentDatagram {
        let Some(bind) = self.datagrams.by_id.get_mut(&id) else {
            self.metrics.stale += 1;
            return SentDatagram::Gone;
        };
        let sent = SentDatagram::of(self.kernel.send_datagram(&bind.socket, to, from, bytes));
        match sent {
            SentDatagram::Sent => self.metrics.datagrams_out += 1,
            SentDatagram::Dropped => self.metrics.datagrams_dropped += 1,
            SentDatagram::Refused(_) | SentDatagram::Gone => self.metrics.datagrams_refused += 1,
        }
        sent
    }
}
