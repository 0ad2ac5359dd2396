//! Datagram sockets: binding them, and receiving, in phase 3 and, where a budget cut it off, in
//! phase 5.

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::EventLoop;
use crate::api::datagram::{Datagram, DatagramSocket};
use crate::api::error::{Error, ErrorKind, InCall as _};
use crate::api::handler::{Handler, LoopContext};
use crate::api::id::ConnectionId;
use crate::api::listening::bind_first;
use crate::core::Agenda;
use crate::event_loop::call_context::CallContext;
use crate::event_loop::panics::Called;
use crate::kernel::{Kernel, RECEIVE, Received, Sockets as _, UdpSocket, given};

/// How many datagrams of one socket are shown in a turn before others have their share, if their
/// bytes don't come to its budget before that (C13).
const BUDGET: u32 = 256;

impl<H: Handler> EventLoop<H> {
    /// Receives the datagrams of a UDP socket that was bound elsewhere, as
    /// [`bind_udp`](Self::bind_udp) does of one of its own; returns its name and its address. This
    /// is the way to options that are not offered here: multicast, broadcast, larger buffers. Does
    /// not block.
    ///
    /// It becomes non-blocking and close-on-exec. Datagrams that wait there are not lost.
    ///
    /// # Errors
    ///
    /// When it is no bound UDP socket, which the error says, when one of the calls fails, or the
    /// loop is stopping. The descriptor is closed then.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::UdpSocket;
    /// # use edgeloop::{Action, Context, EventLoop, Handler, Input, Origin};
    /// # struct Echo;
    /// # impl Handler for Echo {
    /// #     type Session = ();
    /// #     fn session(&mut self, _: &Origin) -> Option<()> { Some(()) }
    /// #     fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
    /// #         cx.send(input.take_all()).or_reset()
    /// #     }
    /// # }
    ///
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// socket.set_broadcast(true)?;
    /// let address = socket.local_addr()?;
    /// let mut server = EventLoop::new(Echo)?;
    /// assert_eq!(server.bind_udp_fd(socket)?.1, address);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bind_udp_fd(
        &mut self,
        descriptor: impl Into<OwnedFd>,
    ) -> Result<(DatagramSocket, SocketAddr), Error> {
        let descriptor = descriptor.into();
        let what = format!("cannot receive datagrams on {}", given::name_of(&descriptor));
        self.core.may_listen(|| what.clone())?;
        if let Err(error) = given::expect_datagrams(&descriptor) {
            return Err(Error::new(ErrorKind::Listen, what, error));
        }
        let given = self.core.kernel.take_over(descriptor).in_call("fcntl");
        let added =
            given.and_then(UdpSocket::new).and_then(|socket| self.core.add_datagrams(socket));
        added.map_err(|failed| Error::of_call(ErrorKind::Listen, what, failed))
    }
}

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// Binds a socket for datagrams, as [`LoopContext::bind_udp`](crate::LoopContext::bind_udp)
    /// does from a callback. Of a name with several addresses, the first that can be bound is.
    /// Resolving a name blocks.
    ///
    /// # Errors
    ///
    /// When the name can't be resolved, none of its addresses can be bound, or the loop is
    /// stopping.
    pub fn bind_udp(
        &mut self,
        address: impl ToSocketAddrs,
    ) -> Result<(DatagramSocket, SocketAddr), Error> {
        bind_first(address.to_socket_addrs(), "bind", |address| self.core.bind_udp(address))
    }

    /// An edge of a datagram socket came: receives what waits there, a budget's worth.
    #[cold]
    pub(super) fn datagrams_arrived(&mut self, id: DatagramSocket) {
        if self.core.datagrams.get_mut(id).is_none() {
            self.core.metrics.stale += 1;
            return;
        }
        if !self.core.datagrams.note(id) {
            return;
        }
        self.serve_datagrams(id);
        if self.core.datagrams.ready().is_some() {
            self.core.datagrams.cut_off(self.core.metrics.turns);
            self.core.agenda.add(Agenda::DATAGRAMS);
        }
    }

    /// Goes on where an earlier turn was cut off, a budget's worth at each socket.
    #[cold]
    pub(super) fn receive_datagrams(&mut self) {
        self.core.datagrams.resume(self.core.now);
        if self.core.datagrams.waits(self.core.metrics.turns) {
            return;
        }
        let mut left = self.core.datagrams.ready().map_or(0, |(_, more)| more + 1);
        while left > 0
            && let Some((id, _)) = self.core.datagrams.ready()
        {
            left -= 1;
            self.serve_datagrams(id);
        }
        // What a budget has left makes the next wait not block (C16).
        if self.core.datagrams.ready().is_none() {
            self.core.agenda.take(Agenda::DATAGRAMS);
        }
    }

    /// Serves the socket that is the first of those that are ready. It stays that until it was
    /// served: a callback may panic.
    fn serve_datagrams(&mut self, id: DatagramSocket) {
        self.datagram.resize(RECEIVE, 0);
        self.receive_at(id);
        if let Some(drained) = self.core.datagrams.served() {
            self.core.unbind_udp(drained);
        }
        if self.core.datagrams.is_empty() {
            self.datagram = Vec::new();
        }
    }

    fn receive_at(&mut self, id: DatagramSocket) {
        let now = self.core.now;
        let (mut left, mut bytes_left) = (BUDGET, self.core.config.turn_bytes);
        while left > 0 && bytes_left > 0 {
            let bind = self.core.datagrams.get_mut(id).filter(|bind| bind.is_ready());
            let Some(bind) = bind else { return };
            left -= 1;
            match self.core.kernel.receive_datagram(&bind.socket, &mut self.datagram) {
                Ok(received) => {
                    bind.has_received();
                    bytes_left = bytes_left.saturating_sub(received.length);
                    self.show_datagram(id, received);
                }
                Err(Errno::AGAIN) => return bind.is_empty(),
                // Of one that was sent before, such as ECONNREFUSED (udp(7)), or want of memory.
                Err(_) => {
                    self.core.metrics.datagram_errors += 1;
                    if self.core.datagrams.failed(id, now) {
                        self.core.agenda.add(Agenda::ALARM);
                    }
                }
            }
        }
    }

    fn show_datagram(&mut self, socket: DatagramSocket, received: Received) {
        self.core.metrics.datagrams_in += 1;
        self.core.current = ConnectionId::NONE;
        let Received { length, from, to, local } = received;
        let bytes = &self.datagram[..length];
        let datagram = Datagram { socket, from, to, local, bytes };
        let mut cx = CallContext::new(&mut self.core, &mut self.started, ConnectionId::NONE);
        let called = Called::new(&mut self.own_panics.is_handlers);
        call(&mut self.handler, &mut cx, &datagram);
        called.done();
    }
}

/// Narrows the context to what [`Handler::datagram`] may use: there is no connection in it.
fn call<H: Handler>(
    handler: &mut H,
    cx: &mut impl LoopContext<H::Session>,
    datagram: &Datagram<'_>,
) {
    handler.datagram(cx, datagram);
}
