//! A context without a loop, for tests that call a handler themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
#[cfg(feature = "udp")]
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::api::address::Address;
use crate::api::bounds::Limits;
use crate::api::closed::{Closed, Reason};
#[cfg(feature = "udp")]
use crate::api::datagram::{Datagram, DatagramSocket, SentDatagram};
use crate::api::error::{ConnectError, Error, ErrorKind};
use crate::api::handler::{Context, LoopContext, Origin, Sent, Stop};
use crate::api::id::ConnectionId;
use crate::api::metrics::Metrics;
use crate::api::target::Target;
use crate::api::time::Time;
use crate::sim::clock::START;

/// What a handler did with a [`TestContext`], beside sending.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act {
    /// [`LoopContext::flush`].
    Flush(ConnectionId),
    /// [`LoopContext::poke`].
    Poke(ConnectionId),
    /// [`LoopContext::pull`].
    Pull(ConnectionId),
    /// [`LoopContext::at_end_of_turn`].
    AtEndOfTurn,
    /// [`LoopContext::pause`].
    Pause(ConnectionId),
    /// [`LoopContext::resume`].
    Resume(ConnectionId),
    /// [`LoopContext::close`].
    Close(ConnectionId),
    /// [`LoopContext::finish`].
    Finish(ConnectionId),
    /// [`LoopContext::flush_then_reset`].
    FlushThenReset(ConnectionId),
    /// [`LoopContext::reset`].
    Reset(ConnectionId),
    /// [`LoopContext::relay`], from the first to the second.
    Relay(ConnectionId, ConnectionId),
    /// [`LoopContext::unrelay`].
    Unrelay(ConnectionId),
    /// [`LoopContext::listen`].
    Listen(Address),
    /// [`LoopContext::unlisten`].
    Unlisten(Address),
    /// [`LoopContext::bind_udp`].
    #[cfg(feature = "udp")]
    BindUdp(SocketAddr),
    /// [`LoopContext::unbind_udp`].
    #[cfg(feature = "udp")]
    UnbindUdp(DatagramSocket),
    /// [`LoopContext::send_datagram`], or [`LoopContext::reply`], which says from which address.
    #[cfg(feature = "udp")]
    SendDatagram {
        /// The socket that sends it.
        socket: DatagramSocket,
        /// The address of this machine that it's sent from, if not one of the kernel's choice.
        from: Option<IpAddr>,
        /// Where it's sent to.
        to: SocketAddr,
        /// What it says.
        bytes: Vec<u8>,
    },
    /// [`LoopContext::connect`]. The session is in [`TestContext::take_session`].
    Connect(ConnectionId, Target),
    /// [`LoopContext::set_timer_of`], or [`Context::set_timer`]: the key, and the time from now.
    SetTimer(ConnectionId, u32, Option<Duration>),
    /// [`LoopContext::set_busy`].
    SetBusy(ConnectionId, bool),
    /// [`LoopContext::set_limits`].
    SetLimits(ConnectionId, Limits),
    /// [`LoopContext::wake_at`].
    WakeAt(Option<Time>),
    /// [`LoopContext::stop`].
    Stop(Stop),
}

/// A [`Context`] that writes down what a handler does, for tests that call its callbacks
/// themselves: without a loop, sockets or a simulation. It does nothing of it, and answers as the
/// test says.
///
/// # Examples
///
/// ```
/// use edgeloop::sim::{Act, TestContext};
/// use edgeloop::{Action, Context, Handler, Input, Origin, Sent};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     type Session = u64;
///
///     fn session(&mut self, _: &Origin) -> Option<u64> {
///         Some(0)
///     }
///
///     fn data(
///         &mut self,
///         cx: &mut impl Context<u64>,
///         count: &mut u64,
///         input: &mut Input<'_>,
///     ) -> Action {
///         *count += input.len() as u64;
///         cx.set_timer(0, Some(std::time::Duration::from_secs(5)));
///         cx.send(input.take_all()).or_reset()
///     }
/// }
///
/// let mut cx = TestContext::new();
/// let (mut handler, mut count) = (Echo, 0);
/// let action = handler.data(&mut cx, &mut count, &mut Input::new(b"hello"));
/// assert_eq!((action, count), (Action::Continue, 5));
/// assert_eq!(cx.take_sent(), b"hello");
/// assert!(matches!(cx.take_acts()[..], [Act::SetTimer(_, 0, Some(_))]));
///
/// cx.answer(Sent::Refused);
/// let action = handler.data(&mut cx, &mut count, &mut Input::new(b"hello"));
/// assert_eq!(action, Action::Reset);
/// ```
pub struct TestContext<S = ()> {
    id: ConnectionId,
    now: Time,
    answer: Sent,
    connects: bool,
    sent: BTreeMap<ConnectionId, Vec<u8>>,
    queued: BTreeMap<ConnectionId, usize>,
    addresses: BTreeMap<ConnectionId, (Address, Address)>,
    acts: Vec<Act>,
    sessions: BTreeMap<ConnectionId, S>,
    started: u64,
    #[cfg(feature = "udp")]
    sent_datagram: SentDatagram,
    #[cfg(feature = "udp")]
    bound: u32,
}

impl<S> fmt::Debug for TestContext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestContext")
            .field("id", &self.id)
            .field("acts", &self.acts)
            .finish_non_exhaustive()
    }
}

impl<S> Default for TestContext<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> TestContext<S> {
    /// A context of [connection](Self::connection) 1. What is sent is [written](Sent::Written), and
    /// what is connected to is begun with.
    #[must_use]
    pub fn new() -> Self {
        Self {
            id: Self::connection(1),
            now: START,
            answer: Sent::Written,
            connects: true,
            sent: BTreeMap::new(),
            queued: BTreeMap::new(),
            addresses: BTreeMap::new(),
            acts: Vec::new(),
            sessions: BTreeMap::new(),
            started: 0,
            #[cfg(feature = "udp")]
            sent_datagram: SentDatagram::Sent,
            #[cfg(feature = "udp")]
            bound: 0,
        }
    }

    /// A name for a connection, by a number from 1 on. Connections that the handler starts have
    /// numbers from 1,000,001 on.
    ///
    /// # Panics
    ///
    /// If the number is 0.
    #[must_use]
    pub const fn connection(number: u64) -> ConnectionId {
        let generation = NonZeroU64::new(number).expect("numbers begin at 1");
        ConnectionId::new((number % 1_000_000) as u32, generation)
    }

    /// Where a connection comes from, for [`Handler::session`](crate::Handler::session).
    #[must_use]
    pub fn origin(
        id: ConnectionId,
        peer: impl Into<Address>,
        listener: impl Into<Address>,
    ) -> Origin {
        let listener = Some(listener.into());
        Origin { id, peer: peer.into(), credentials: None, listener }
    }

    /// An end in which nothing was lost, for [`Handler::closed`](crate::Handler::closed). Change
    /// its fields for others.
    #[must_use]
    pub fn closed(id: ConnectionId, reason: Reason) -> Closed {
        Closed {
            id,
            reason,
            dropped: 0,
            discarded: 0,
            peer_ended: reason == Reason::Finished,
            relayed: 0,
            errno: None,
            attempts: Vec::new(),
        }
    }

    /// A name for a datagram socket, by a number from 1 on. Those that the handler binds have
    /// numbers from 1,001 on.
    #[cfg(feature = "udp")]
    #[must_use]
    pub const fn datagram_socket(number: u32) -> DatagramSocket {
        DatagramSocket(number % (DatagramSocket::LAST + 1))
    }

    /// A datagram for [`Handler::datagram`](crate::Handler::datagram), from this address to
    /// 127.0.0.1 and [socket](Self::datagram_socket) 1. Change its fields for others.
    #[cfg(feature = "udp")]
    #[must_use]
    pub const fn datagram(from: SocketAddr, bytes: &[u8]) -> Datagram<'_> {
        let to = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Datagram { socket: Self::datagram_socket(1), from, to, local: Some(to), bytes }
    }

    /// What becomes of datagrams that are sent from now on. They are written down in any case.
    #[cfg(feature = "udp")]
    pub const fn answer_datagrams(&mut self, sent: SentDatagram) {
        self.sent_datagram = sent;
    }

    /// The next callback is about this connection.
    pub const fn turn_to(&mut self, id: ConnectionId) -> &mut Self {
        self.id = id;
        self
    }

    /// What becomes of what is sent from now on. Of what is [refused](Sent::Refused) or sent to one
    /// that is [gone](Sent::Gone), nothing is written down.
    pub const fn answer(&mut self, sent: Sent) {
        self.answer = sent;
    }

    /// Whether connections can be started from now on.
    pub const fn let_connect(&mut self, connects: bool) {
        self.connects = connects;
    }

    /// How many bytes [`LoopContext::queued`] tells of a connection from now on; none at first.
    pub fn set_queued(&mut self, id: ConnectionId, bytes: usize) {
        self.queued.insert(id, bytes);
    }

    /// The addresses of a connection's own end and of its peer. Without them, asking fails as for
    /// one that is gone.
    pub fn set_addresses(
        &mut self,
        id: ConnectionId,
        local: impl Into<Address>,
        peer: impl Into<Address>,
    ) {
        self.addresses.insert(id, (local.into(), peer.into()));
    }

    /// Time passes.
    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// What was sent to the connection of the present callback since this was asked last.
    pub fn take_sent(&mut self) -> Vec<u8> {
        self.take_sent_to(self.id)
    }

    /// What was sent to a connection since this was asked last.
    pub fn take_sent_to(&mut self, id: ConnectionId) -> Vec<u8> {
        self.sent.remove(&id).unwrap_or_default()
    }

    /// What else was done since this was asked last, in order.
    pub fn take_acts(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    /// The session of a connection that the handler has started.
    pub fn take_session(&mut self, id: ConnectionId) -> Option<S> {
        self.sessions.remove(&id)
    }
}

impl<S> crate::sealed::Sealed for TestContext<S> {}

impl<S> LoopContext<S> for TestContext<S> {
    fn now(&self) -> Time {
        self.now
    }

    fn send_to(&mut self, id: ConnectionId, bytes: &[u8]) -> Sent {
        if self.answer.is_accepted() {
            self.sent.entry(id).or_default().extend_from_slice(bytes);
        }
        self.answer
    }

    fn send_vectored(&mut self, id: ConnectionId, pieces: &[&[u8]]) -> Sent {
        self.send_to(id, &pieces.concat())
    }

    fn send_shared(&mut self, ids: &[ConnectionId], bytes: Arc<[u8]>) -> Vec<(ConnectionId, Sent)> {
        let sent = ids.iter().map(|&id| (id, self.send_to(id, &bytes)));
        sent.filter(|(_, sent)| !sent.is_accepted()).collect()
    }

    fn flush(&mut self, id: ConnectionId) {
        self.acts.push(Act::Flush(id));
    }

    fn queued(&self, id: ConnectionId) -> usize {
        self.queued.get(&id).copied().unwrap_or(0)
    }

    fn poke(&mut self, id: ConnectionId) {
        self.acts.push(Act::Poke(id));
    }

    fn at_end_of_turn(&mut self) {
        self.acts.push(Act::AtEndOfTurn);
    }

    fn pull(&mut self, id: ConnectionId) {
        self.acts.push(Act::Pull(id));
    }

    /// All of them are 0.
    fn metrics(&self) -> Metrics {
        Metrics::default()
    }

    /// The connection of the present callback, and those that the handler has started.
    fn connections(&self) -> Vec<ConnectionId> {
        let started = (1..=self.started).map(|number| Self::connection(1_000_000 + number));
        [self.id].into_iter().chain(started).collect()
    }

    fn pause(&mut self, id: ConnectionId) {
        self.acts.push(Act::Pause(id));
    }

    fn resume(&mut self, id: ConnectionId) {
        self.acts.push(Act::Resume(id));
    }

    fn close(&mut self, id: ConnectionId) {
        self.acts.push(Act::Close(id));
    }

    fn finish(&mut self, id: ConnectionId) {
        self.acts.push(Act::Finish(id));
    }

    fn flush_then_reset(&mut self, id: ConnectionId) {
        self.acts.push(Act::FlushThenReset(id));
    }

    fn reset(&mut self, id: ConnectionId) {
        self.acts.push(Act::Reset(id));
    }

    fn relay(&mut self, source: ConnectionId, target: ConnectionId) {
        self.acts.push(Act::Relay(source, target));
    }

    /// There was no relay.
    fn unrelay(&mut self, source: ConnectionId) -> Option<u64> {
        self.acts.push(Act::Unrelay(source));
        None
    }

    fn relayed(&self, _: ConnectionId) -> u64 {
        0
    }

    fn listen(&mut self, address: Address) -> Result<Address, Error> {
        self.acts.push(Act::Listen(address.clone()));
        Ok(address)
    }

    fn unlisten(&mut self, address: &Address) -> bool {
        self.acts.push(Act::Unlisten(address.clone()));
        true
    }

    #[cfg(feature = "udp")]
    fn bind_udp(&mut self, address: SocketAddr) -> Result<(DatagramSocket, SocketAddr), Error> {
        self.acts.push(Act::BindUdp(address));
        self.bound += 1;
        Ok((Self::datagram_socket(1_000 + self.bound), address))
    }

    #[cfg(feature = "udp")]
    fn unbind_udp(&mut self, socket: DatagramSocket) -> bool {
        self.acts.push(Act::UnbindUdp(socket));
        true
    }

    #[cfg(feature = "udp")]
    fn send_datagram(
        &mut self,
        socket: DatagramSocket,
        to: SocketAddr,
        bytes: &[u8],
    ) -> SentDatagram {
        self.acts.push(Act::SendDatagram { socket, from: None, to, bytes: bytes.to_vec() });
        self.sent_datagram
    }

    #[cfg(feature = "udp")]
    fn reply(&mut self, to: &Datagram<'_>, bytes: &[u8]) -> SentDatagram {
        let Datagram { socket, from: peer, local, .. } = *to;
        self.acts.push(Act::SendDatagram { socket, from: local, to: peer, bytes: bytes.to_vec() });
        self.sent_datagram
    }

    fn connect(&mut self, to: Target, session: S) -> Result<ConnectionId, ConnectError<S>> {
        if !self.connects {
            let what = format!("cannot connect to {}", to.peer());
            let error = Error::new(ErrorKind::Connect, what, io::Error::other("the test says so"));
            return Err(ConnectError { error, session });
        }
        self.started += 1;
        let id = Self::connection(1_000_000 + self.started);
        self.acts.push(Act::Connect(id, to));
        self.sessions.insert(id, session);
        Ok(id)
    }

    fn local_address(&mut self, id: ConnectionId) -> io::Result<Address> {
        let addresses = self.addresses.get(&id);
        addresses.map(|(local, _)| local.clone()).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn peer_address(&mut self, id: ConnectionId) -> io::Result<Address> {
        let addresses = self.addresses.get(&id);
        addresses.map(|(_, peer)| peer.clone()).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn set_timer_of(&mut self, id: ConnectionId, key: u32, after: Option<Duration>) {
        self.acts.push(Act::SetTimer(id, key, after));
    }

    fn set_busy(&mut self, id: ConnectionId, busy: bool) {
        self.acts.push(Act::SetBusy(id, busy));
    }

    fn set_limits(&mut self, id: ConnectionId, limits: Limits) -> Result<(), Error> {
        self.acts.push(Act::SetLimits(id, limits));
        Ok(())
    }

    fn wake_at(&mut self, at: Option<Time>) {
        self.acts.push(Act::WakeAt(at));
    }

    fn clock(&mut self) -> Time {
        self.now
    }

    fn stop(&mut self, stop: Stop) {
        self.acts.push(Act::Stop(stop));
    }
}

impl<S> Context<S> for TestContext<S> {
    fn id(&self) -> ConnectionId {
        self.id
    }

    fn send(&mut self, bytes: &[u8]) -> Sent {
        self.send_to(self.id, bytes)
    }

    fn set_timer(&mut self, key: u32, after: Option<Duration>) {
        self.set_timer_of(self.id, key, after);
    }
}
