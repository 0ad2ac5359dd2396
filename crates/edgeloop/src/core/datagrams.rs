//! The loop's datagram sockets: how they begin and end, and what is sent on them.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{Agenda, Core};
use crate::api::datagram::{DatagramSocket, SentDatagram};
use crate::api::error::{Error, ErrorKind, Failed, InCall};
use crate::api::time::Time;
use crate::kernel::{EventSource, Kernel};

/// How many errors of receiving may follow each other before the socket is left alone for a while:
/// such an error may as well be the answer to every call.
const ERRORS_IN_A_ROW: u32 = 32;

/// For how long.
const PAUSE: Duration = Duration::from_millis(100);

/// The datagram sockets of a loop.
pub(crate) struct DatagramSockets<D> {
    /// In the order of their ids.
    all: Vec<Bind<D>>,
    /// The id of the next one, unless that is in use still.
    next: DatagramSocket,
    /// Where datagrams may wait for which no edge will come. The first is the one that is served.
    /// Some may have been closed.
    ready: VecDeque<DatagramSocket>,
    /// The turn in which one was cut off as soon as its edge came.
    cut_off_in: u64,
    /// Which are left alone, and until when.
    paused: Vec<(Time, DatagramSocket)>,
}

/// One socket.
pub(crate) struct Bind<D> {
    id: DatagramSocket,
    pub(crate) socket: D,
    state: State,
    /// How many errors of receiving came in a row.
    errors: u32,
    /// It is to be closed when nothing waits any more (C37).
    closing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The next datagram brings an edge.
    Empty,
    /// It is in the queue of those that are ready.
    Ready,
    /// It is left alone for a while.
    Paused,
}

impl<D> Default for DatagramSockets<D> {
    fn default() -> Self {
        let (all, ready, paused) = (Vec::new(), VecDeque::new(), Vec::new());
        Self { all, next: DatagramSocket::FIRST, ready, cut_off_in: u64::MAX, paused }
    }
}

impl<D> DatagramSockets<D> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) const fn len(&self) -> usize {
        self.all.len()
    }

    fn place(&self, id: DatagramSocket) -> Result<usize, usize> {
        self.all.binary_search_by_key(&id, |bind| bind.id)
    }

    pub(crate) fn get_mut(&mut self, id: DatagramSocket) -> Option<&mut Bind<D>> {
        let place = self.place(id).ok()?;
        self.all.get_mut(place)
    }

    /// Adds one; returns its id.
    fn add(&mut self, socket: D) -> DatagramSocket {
        while self.place(self.next).is_ok() {
            self.next = self.next.next();
        }
        let id = self.next;
        self.next = id.next();
        // What waits already is told by the kernel as soon as the socket is registered.
        let bind = Bind { id, socket, state: State::Empty, errors: 0, closing: false };
        let (Ok(place) | Err(place)) = self.place(id);
        self.all.insert(place, bind);
        id
    }

    fn remove(&mut self, id: DatagramSocket) -> Option<Bind<D>> {
        let place = self.place(id).ok()?;
        self.paused.retain(|&(_, paused)| paused != id);
        Some(self.all.remove(place))
    }

    /// An edge came. Returns whether this one is to be served now, as the first that is ready: not
    /// if it waits for its next share already, or is left alone.
    pub(crate) fn note(&mut self, id: DatagramSocket) -> bool {
        let bind = self.get_mut(id).filter(|bind| bind.state == State::Empty);
        let is_new = bind.map(|bind| bind.state = State::Ready).is_some();
        if is_new {
            self.ready.push_front(id);
        }
        is_new
    }

    /// Some had its share of this turn, and more waits.
    pub(crate) const fn cut_off(&mut self, turn: u64) {
        self.cut_off_in = turn;
    }

    /// Whether what is ready has to wait for the next turn.
    pub(crate) const fn waits(&self, turn: u64) -> bool {
        self.cut_off_in == turn
    }

    /// The one to be served, and how many more there are.
    pub(crate) fn ready(&self) -> Option<(DatagramSocket, usize)> {
        self.ready.front().map(|&id| (id, self.ready.len() - 1))
    }

    /// The first of those that are ready was served, or its share of the turn is over: then it's
    /// the last of them. Returns it if it is to be closed.
    pub(crate) fn served(&mut self) -> Option<DatagramSocket> {
        let id = self.ready.pop_front()?;
        let bind = self.get_mut(id)?;
        // A drain does not wait for a socket at which every call may fail.
        let is_drained = bind.closing && bind.state != State::Ready;
        if bind.state == State::Ready {
            self.ready.push_back(id);
        }
        is_drained.then_some(id)
    }

    /// Receiving failed at the one that is served. Returns whether it is left alone for a while.
    pub(crate) fn failed(&mut self, id: DatagramSocket, now: Time) -> bool {
        let Some(bind) = self.get_mut(id) else { return false };
        bind.errors = (bind.errors + 1) % ERRORS_IN_A_ROW;
        if bind.errors > 0 {
            return false;
        }
        bind.state = State::Paused;
        self.paused.push((now.after(PAUSE), id));
        true
    }

    /// When a pause of one of them ends, for each.
    pub(crate) fn deadlines(&self) -> impl Iterator<Item = Time> {
        self.paused.iter().map(|&(until, _)| until)
    }

    /// Ends the pauses that are over. Nobody knows what came meanwhile.
    pub(crate) fn resume(&mut self, now: Time) {
        let mut paused = std::mem::take(&mut self.paused);
        paused.retain(|&(until, id)| {
            if until <= now {
                self.make_ready(id);
            }
            until > now
        });
        self.paused = paused;
    }

    fn make_ready(&mut self, id: DatagramSocket) {
        if let Some(bind) = self.get_mut(id).filter(|bind| bind.state != State::Ready) {
            bind.state = State::Ready;
            self.ready.push_back(id);
        }
    }
}

impl<D> Bind<D> {
    pub(crate) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// One was received.
    pub(crate) const fn has_received(&mut self) {
        self.errors = 0;
    }

    /// None waits any more.
    pub(crate) const fn is_empty(&mut self) {
        self.errors = 0;
        self.state = State::Empty;
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
        let id = self.datagrams.add(socket);
        let bind = self.datagrams.get_mut(id).expect("it was added");
        let registered = self.kernel.register_datagrams(&bind.socket, EventSource::Datagrams(id));
        if let Err(error) = registered {
            self.datagrams.remove(id);
            return Err(Failed::new("epoll_ctl", error));
        }
        self.count_listeners();
        Ok((id, bound))
    }

    /// Closes a socket; returns whether there was one.
    pub(crate) fn unbind_udp(&mut self, id: DatagramSocket) -> bool {
        let Some(bind) = self.datagrams.remove(id) else { return false };
        drop(bind.socket);
        // The loop may have nothing left to serve.
        self.agenda.add(Agenda::DATAGRAMS);
        self.count_listeners();
        self.descriptor_is_free();
        true
    }

    /// The loop drains: what waits at each is received, and it is then closed (C37).
    pub(crate) fn drain_datagrams(&mut self) {
        self.datagrams.paused.clear();
        for place in 0..self.datagrams.len() {
            self.datagrams.all[place].closing = true;
            let id = self.datagrams.all[place].id;
            self.datagrams.make_ready(id);
            self.agenda.add(Agenda::DATAGRAMS);
        }
    }

    /// Closes all of them.
    pub(crate) fn unbind_all(&mut self) {
        while let Some(bind) = self.datagrams.all.last() {
            self.unbind_udp(bind.id);
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
        let Some(bind) = self.datagrams.get_mut(id) else {
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
