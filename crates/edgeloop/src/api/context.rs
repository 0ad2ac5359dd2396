//! What a callback acts through: the loop and all its connections, or one of them.

use std::io;
#[cfg(feature = "udp")]
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::api::action::{Sent, Stop};
use crate::api::address::Address;
use crate::api::bounds::Limits;
#[cfg(feature = "udp")]
use crate::api::datagram::{Datagram, DatagramSocket, SentDatagram};
use crate::api::error::{ConnectError, Error};
use crate::api::id::ConnectionId;
use crate::api::metrics::Metrics;
use crate::api::target::Target;
use crate::api::time::Time;

/// What a handler can do to the loop and to any of its connections, from any callback.
///
/// Acting on a connection that is gone does nothing, and is counted in
/// [`Metrics::stale`](crate::Metrics::stale) (C17).
pub trait LoopContext<S = ()>: crate::sealed::Sealed {
    /// The time at which this turn began, read once for all its callbacks (C28).
    fn now(&self) -> Time;

    /// Sends bytes to any connection of this loop. Never blocks: what the socket does not take is
    /// copied into the connection's queue. See [`Sent`] for the answers, and [`Context::send`] for
    /// when they leave.
    fn send_to(&mut self, id: ConnectionId, bytes: &[u8]) -> Sent;

    /// Sends bytes that lie in several places, as if they were one slice: a head and its body, each
    /// from where it is. All or nothing, in order with everything else, and with the answers of
    /// [`send_to`](Self::send_to). 16 KiB or more, or as much as the high watermark, go by one
    /// system call (sendmsg(2)), if nothing is queued and there are no more than 64 pieces, and are
    /// not copied unless the socket is full; less is copied and sent as by `send_to`, which costs
    /// less than the setting up of pieces.
    ///
    /// # Examples
    ///
    /// ```
    /// # use edgeloop::{ConnectionId, LoopContext, Sent};
    /// fn reply(cx: &mut impl LoopContext, id: ConnectionId, body: &[u8]) -> Sent {
    ///     let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    ///     cx.send_vectored(id, &[head.as_bytes(), body])
    /// }
    /// ```
    fn send_vectored(&mut self, id: ConnectionId, pieces: &[&[u8]]) -> Sent;

    /// Sends the same bytes to many connections, in order with everything else, and keeps one copy
    /// of them for all whose sockets are full: a broadcast to 10,000 who do not read takes the
    /// memory of one, and 96 bytes for each. Returns those that did not get it, with the reason: a
    /// connection for which it was [`Refused`](Sent::Refused) should be reset, or would read on
    /// behind a hole.
    ///
    /// The bytes are charged once ([`Config::buffer_limit`](crate::Config::buffer_limit)), as long
    /// as any connection is owed them (C11); each counts them in full for its own
    /// [limit](crate::Config::output_limit) and its [high
    /// watermark](crate::Config::high_watermark). Fewer than 512 are copied as by
    /// [`send_to`](Self::send_to).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use edgeloop::{ConnectionId, LoopContext};
    /// fn tell(cx: &mut impl LoopContext, members: &[ConnectionId], message: &str) {
    ///     for (member, _) in cx.send_shared(members, Arc::from(message.as_bytes())) {
    ///         cx.reset(member);
    ///     }
    /// }
    /// ```
    #[must_use = "who was refused must not read on"]
    fn send_shared(&mut self, ids: &[ConnectionId], bytes: Arc<[u8]>) -> Vec<(ConnectionId, Sent)>;

    /// Sends what was sent to this connection in this turn and is joined, now and not before the
    /// loop waits; see [`Context::send`]. One system call, or none.
    fn flush(&mut self, id: ConnectionId);

    /// How many bytes are queued for a connection and not yet accepted by the kernel.
    fn queued(&self, id: ConnectionId) -> usize;

    /// Has a connection's handler called with its session
    /// ([`Handler::poked`](crate::Handler::poked)), later in this turn or in the next one: how
    /// callbacks of one connection, or of the loop, reach the session of another. Each call is one
    /// call of the handler, unless the connection ends before.
    fn poke(&mut self, id: ConnectionId);

    /// Has [`Handler::turn_ended`](crate::Handler::turn_ended) called once at the end of this turn,
    /// however often this asks: when all callbacks of the turn have been made, before what they
    /// have joined is sent and before the loop waits. What it sends leaves in this turn, too.
    /// Callbacks that come behind it, as those of connections that end, may ask for another call in
    /// the same turn. If it asks itself, it is called in the next turn, for which the loop does not
    /// sleep.
    fn at_end_of_turn(&mut self);

    /// Has a connection's handler asked for more output
    /// ([`Handler::writable`](crate::Handler::writable)), once, when there is room: as soon as the
    /// connection is made and no more is queued than its low watermark, later in this turn or in
    /// another. So a file or a generated stream of any length is sent without a loop, a timer, or
    /// more memory than the low watermark and one send. While the callback asks again and the
    /// socket takes what it sends, it is called again in the same turn, until a turn's budget of
    /// bytes or of jobs is used ([`Config::turn_bytes`](crate::Config::turn_bytes)); others are
    /// served before it is called further (C13).
    ///
    /// Asking twice is one call, and who waits for it is not idle. A paused connection is asked,
    /// too: pausing is about reading. While
    /// memory is short ([`Config::buffer_limit`](crate::Config::buffer_limit)) nobody is asked who
    /// is owed something. Nothing comes once the connection or our stream of it is closing, has
    /// failed or is gone, and for the target of a [relay](Self::relay), which its source fills.
    ///
    /// A callback that asks again and sends nothing is called once in each turn, and the loop does
    /// not sleep meanwhile: whoever has nothing to send now asks when there is something.
    ///
    /// # Examples
    ///
    /// A server that sends a million lines to everybody, as fast as each reads:
    ///
    /// ```
    /// use edgeloop::{Action, Context, Handler, Input, LoopContext, Origin};
    ///
    /// struct Lines;
    ///
    /// impl Handler for Lines {
    ///     type Session = u32;
    ///
    ///     fn session(&mut self, _: &Origin) -> Option<u32> {
    ///         Some(0)
    ///     }
    ///
    ///     fn opened(&mut self, cx: &mut impl Context<u32>, _: &mut u32) -> Action {
    ///         cx.pull(cx.id());
    ///         Action::Continue
    ///     }
    ///
    ///     fn writable(&mut self, cx: &mut impl Context<u32>, line: &mut u32) -> Action {
    ///         *line += 1;
    ///         if *line > 1_000_000 {
    ///             return Action::Close;
    ///         }
    ///         cx.pull(cx.id());
    ///         cx.send(format!("line {line}\n").as_bytes()).or_reset()
    ///     }
    ///
    ///     fn data(
    ///         &mut self,
    ///         _: &mut impl Context<u32>,
    ///         _: &mut u32,
    ///         input: &mut Input<'_>,
    ///     ) -> Action {
    ///         input.take_all();
    ///         Action::Continue
    ///     }
    /// }
    /// ```
    fn pull(&mut self, id: ConnectionId);

    /// What the loop has counted until now.
    fn metrics(&self) -> Metrics;

    /// All connections that are there, also those that are being made or that end. Takes time and
    /// memory for each.
    fn connections(&self) -> Vec<ConnectionId>;

    /// Stops reading from a connection, as [`Action::Pause`](crate::Action::Pause) does.
    fn pause(&mut self, id: ConnectionId);

    /// Reads again from a connection that was paused.
    fn resume(&mut self, id: ConnectionId);

    /// Ends a connection as [`Action::Close`](crate::Action::Close) does.
    fn close(&mut self, id: ConnectionId);

    /// Ends our stream of a connection as [`Action::Finish`](crate::Action::Finish) does.
    fn finish(&mut self, id: ConnectionId);

    /// Ends a connection as [`Action::FlushThenReset`](crate::Action::FlushThenReset) does.
    fn flush_then_reset(&mut self, id: ConnectionId);

    /// Ends a connection as [`Action::Reset`](crate::Action::Reset) does.
    fn reset(&mut self, id: ConnectionId);

    /// Sends what comes from `source` to `target`, from now on, without asking the handler; for
    /// both ways call it twice. What the handler has left of the input goes first. The target must
    /// not be the target of another source; it may be the source itself, which makes an echo of it.
    ///
    /// Where much comes, it goes by splice(2) through a pipe
    /// ([`Config::pipes`](crate::Config::pipes)), so that streams are not copied. A pipe raises
    /// SIGPIPE when its bytes are for a connection that is gone, so the loop makes none where that
    /// signal is neither ignored nor blocked in the loop's thread (C8). Rust's runtime ignores it.
    /// A program that changes that later must not relay. Without `/proc`, which alone tells of it,
    /// bytes are copied.
    ///
    /// - The FIN of the source's peer ends our stream to the target
    ///   ([`Action::Finish`](crate::Action::Finish)).
    /// - While the target's queue is above the high watermark, the source is not read, and not
    ///   idle. What is queued for the source itself does not keep it from being read: two ends that
    ///   say much before they read don't wait for each other.
    /// - If one of the two ends before the source's stream has, the other ends, too: with a reset
    ///   behind what it is owed ([`Action::FlushThenReset`](crate::Action::FlushThenReset)) if
    ///   something broke, else as [`Action::Close`](crate::Action::Close) ends it. The reason is
    ///   [`Reason::RelayEnded`](crate::Reason::RelayEnded).
    ///
    /// [`Handler::data`](crate::Handler::data) and [`Handler::end`](crate::Handler::end) are not
    /// called for the source, [`Handler::drained`](crate::Handler::drained) not for the target.
    /// Timeouts, limits and budgets hold as ever (C46). If the target can't be sent to, the source
    /// is reset; if the source is gone, the target is.
    fn relay(&mut self, source: ConnectionId, target: ConnectionId);

    /// Ends the relay from `source`: the handler is shown again what comes, and what is kept of the
    /// input. If the source's stream has ended already, that is by
    /// [`Handler::end`](crate::Handler::end), in a later call, even if that was called before.
    /// Returns how many bytes the relay has carried, or `None` if there was none.
    fn unrelay(&mut self, source: ConnectionId) -> Option<u64>;

    /// How many bytes of a connection's input relays have carried.
    fn relayed(&self, source: ConnectionId) -> u64;

    /// Listens on an address, from now on; returns the one that was bound, with the real port where
    /// 0 was asked for. That address names the listener. Does not block; about ten system calls.
    ///
    /// Each listener takes a descriptor, and lowers the connection cap by one where descriptors are
    /// what limits it (C24). A loop that listens goes on running.
    ///
    /// # Errors
    ///
    /// When the address can't be listened on, or the loop is stopping: a loop that drains or cuts
    /// off what is left accepts nobody who has not come yet (C37).
    fn listen(&mut self, address: Address) -> Result<Address, Error>;

    /// Stops listening on an address, at once; returns whether the loop did listen on it. Does not
    /// block. Connections that were accepted go on.
    ///
    /// Whoever waits to be accepted is reset by the kernel, as is usual when a listener closes.
    /// Nobody has seen what they sent. Only [`Stop::Drain`] accepts those first, on all listeners.
    ///
    /// A loop that is left without a listener runs until its last connection has ended.
    fn unlisten(&mut self, address: &Address) -> bool;

    /// Binds a socket for datagrams, from now on; returns its name, and the address with the real
    /// port where 0 was asked for. What arrives is shown to
    /// [`Handler::datagram`](crate::Handler::datagram). Does not block; about a dozen system calls.
    ///
    /// A socket that is bound to all addresses of the machine tells to which of them a datagram was
    /// sent, and [`reply`](Self::reply) answers from that one. Like a listener, it takes a
    /// descriptor and keeps the loop running; when the loop drains, it receives what waits, and is
    /// then closed.
    ///
    /// # Errors
    ///
    /// When the address can't be bound, or the loop is stopping.
    #[cfg(feature = "udp")]
    fn bind_udp(&mut self, address: SocketAddr) -> Result<(DatagramSocket, SocketAddr), Error>;

    /// Closes a socket for datagrams; returns whether there was one. What waits there is lost.
    #[cfg(feature = "udp")]
    fn unbind_udp(&mut self, socket: DatagramSocket) -> bool;

    /// Sends a datagram, from an address of the kernel's choice. Does not block; one system call.
    #[cfg(feature = "udp")]
    fn send_datagram(
        &mut self,
        socket: DatagramSocket,
        to: SocketAddr,
        bytes: &[u8],
    ) -> SentDatagram;

    /// Answers a datagram: sends one to where it came from, from the address that it was sent to.
    /// Does not block; one system call.
    ///
    /// Whoever has sent it may have given somebody else's address: an answer that is longer than
    /// the question is a weapon.
    #[cfg(feature = "udp")]
    fn reply(&mut self, to: &Datagram<'_>, bytes: &[u8]) -> SentDatagram;

    /// Starts an outbound connection with this session, to an address or to a [`Target`] with
    /// several of them. [`Handler::opened`](crate::Handler::opened) is called when it is made, or
    /// [`Handler::closed`](crate::Handler::closed) with the reason why it could not be: that of the
    /// last address that was tried.
    ///
    /// A connection that turns out to be one with itself counts as refused: it is what becomes of a
    /// connect to a port of this machine at which nobody listens, when the kernel happens to give
    /// the socket that very port (RFC 9293, 3.5).
    ///
    /// # Errors
    ///
    /// When the connection cap is reached, the loop is cutting off what is left behind a stop
    /// (until then a loop that drains connects), the socket can't be made, or none of the addresses
    /// lets itself be begun with. The session comes back with the error.
    fn connect(&mut self, to: Target, session: S) -> Result<ConnectionId, ConnectError<S>>;

    /// The address of a connection's own end (getsockname(2)); one system call.
    ///
    /// # Errors
    ///
    /// When the connection is gone ([`NotConnected`](io::ErrorKind::NotConnected)), or the call
    /// fails.
    fn local_address(&mut self, id: ConnectionId) -> io::Result<Address>;

    /// The address of a connection's other end (getpeername(2)); one system call. Of an outbound
    /// connection with several addresses it tells which one was connected to.
    ///
    /// # Errors
    ///
    /// When the connection is gone, not made yet, or reset
    /// ([`NotConnected`](io::ErrorKind::NotConnected)), or the call fails.
    fn peer_address(&mut self, id: ConnectionId) -> io::Result<Address>;

    /// Sets, moves or (with `None`) cancels a timer of any connection, as [`Context::set_timer`]
    /// does for one's own.
    fn set_timer_of(&mut self, id: ConnectionId, key: u32, after: Option<Duration>);

    /// Says that a connection waits for something else than its peer, such as a backend or a thread
    /// that works for it, or no longer does. A busy connection is neither idle
    /// ([`Config::idle_timeout`](crate::Config::idle_timeout)) nor quiet: a loop that drains waits
    /// for it, until the deadline (C37). It is read on; when its output is not taken, the write
    /// timeout holds. When it is busy no more, its time begins anew. To say the same again changes
    /// nothing.
    fn set_busy(&mut self, id: ConnectionId, busy: bool);

    /// Changes the limits of a connection, accepted or outbound, from now on: a shorter idle
    /// timeout counts from the last byte, not from this call, and a wider output limit lets the
    /// next send in. What the limits do not name stays as it is. A connection with limits of its
    /// own costs some 100 bytes more, and the first of a loop 64 KiB.
    ///
    /// # Errors
    ///
    /// When they contradict each other or the loop's read buffer, as those of
    /// [`Config`](crate::Config) may; then nothing is changed.
    fn set_limits(&mut self, id: ConnectionId, limits: Limits) -> Result<(), Error>;

    /// Sets, moves or (with `None`) cancels the loop's wake-up:
    /// [`Handler::wake_up`](crate::Handler::wake_up) is called once this time has come, never
    /// early. There is one for the whole loop, exact to the nanosecond but for what the kernel
    /// takes to wake the thread, which [`Config::busy_poll`](crate::Config::busy_poll) avoids; the
    /// timers of connections ([`Context::set_timer`]) have ticks of 1 ms.
    ///
    /// A wake-up that is set keeps the loop running, until it is told to stop.
    fn wake_at(&mut self, at: Option<Time>);

    /// Reads the monotonic clock: what [`now`](Self::now) answers, but not as of the beginning of
    /// the turn. No system call where the kernel's vDSO can read the clock (vdso(7)).
    fn clock(&mut self) -> Time;

    /// Stops the loop: see [`Stop`].
    fn stop(&mut self, stop: Stop);
}

/// What a handler can do in a callback that belongs to one connection.
pub trait Context<S = ()>: LoopContext<S> {
    /// The connection that this callback is about.
    fn id(&self) -> ConnectionId;

    /// Sends bytes on this connection.
    ///
    /// What callbacks send to one connection within a turn leaves together, in at most two system
    /// calls: send each reply by itself, and a pipeline of a hundred costs one call (C45). The
    /// first send goes out at once, straight from `bytes`, if the callback has taken all of its
    /// input, so that one message is never copied. What follows is copied, and leaves before the
    /// loop waits; or at once, when there are 64 KiB of it, or as much as the high watermark, or 16
    /// KiB are sent at once. [`flush`](LoopContext::flush) sends it earlier.
    fn send(&mut self, bytes: &[u8]) -> Sent;

    /// Sets, moves or (with `None`) cancels this connection's timer of this key, counted from now.
    /// [`Handler::timer`](crate::Handler::timer) is called with the key once the time has come:
    /// never early, and at most 1 ms of loop time late (C30).
    ///
    /// A connection has as many timers as it uses keys, of which the first costs least; setting
    /// one takes time for each that is set. Those that are due in one turn are called in the order
    /// of their times, and then of setting; one that an earlier callback cancels or moves is not
    /// called (C41). They end with the connection, or with [`Action::Close`](crate::Action::Close).
    ///
    /// # Examples
    ///
    /// A client has a second for each message, and a minute for all of them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use edgeloop::{Action, Context, Handler, Input, Origin};
    ///
    /// const MESSAGE: u32 = 0;
    /// const SESSION: u32 = 1;
    ///
    /// struct Strict;
    ///
    /// impl Handler for Strict {
    ///     type Session = ();
    ///
    ///     fn session(&mut self, _: &Origin) -> Option<()> {
    ///         Some(())
    ///     }
    ///
    ///     fn opened(&mut self, cx: &mut impl Context, _: &mut ()) -> Action {
    ///         cx.set_timer(SESSION, Some(Duration::from_secs(60)));
    ///         Action::Continue
    ///     }
    ///
    ///     fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
    ///         cx.set_timer(MESSAGE, Some(Duration::from_secs(1)));
    ///         cx.send(input.take_all()).or_reset()
    ///     }
    ///
    ///     fn timer(&mut self, cx: &mut impl Context, _: &mut (), key: u32) -> Action {
    ///         let _ = cx.send(if key == MESSAGE { b"too slow" } else { b"goodbye" });
    ///         Action::Close
    ///     }
    /// }
    /// ```
    fn set_timer(&mut self, key: u32, after: Option<Duration>);
}
