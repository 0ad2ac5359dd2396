//! What a user of the loop writes: one handler, with callbacks that answer with an action.
//!
//! A handler never owns a socket and can't re-enter the loop. It is called with three things: the
//! [`Context`], through which it acts on its own connection and on others, the session that it
//! made for the connection, and whatever the callback is about.

pub use crate::api::action::{Action, Sent, Stop};
use crate::api::address::{Address, Credentials};
use crate::api::closed::Closed;
pub use crate::api::context::{Context, LoopContext};
#[cfg(feature = "udp")]
use crate::api::datagram::Datagram;
use crate::api::id::ConnectionId;
use crate::api::input::Input;
use crate::api::notice::{Notice, Trace};

/// The user's side of an event loop: one value for the loop, one session for each connection.
///
/// The handler owns what its connections share; the loop owns the sessions. Nothing here needs a
/// lock or a reference count, because every callback runs on the loop's thread, one at a time.
///
/// # Panics
///
/// A callback that panics costs its own connection only: that connection is reset, counted in
/// [`Metrics::panics`](crate::Metrics::panics), and its [`closed`](Handler::closed) callback comes
/// with [`Reason::Panicked`](crate::Reason::Panicked) (C32). Programs built with `panic = "abort"`
/// give that up.
///
/// # Wrapping and testing
///
/// A handler may wrap another one that has the same sessions, and pass on to it what it is given:
/// to count, to log, to let only some in. Its callbacks can be called in a test without a loop,
/// with a `sim::TestContext`; or run with one, on a simulated kernel (`sim::Simulation`; both with
/// the feature `sim`).
///
/// ```
/// use edgeloop::{Action, Closed, Context, Handler, Input, Origin};
///
/// /// Lets no more than a number of clients in at a time.
/// struct Limited<H> {
///     inner: H,
///     left: usize,
/// }
///
/// impl<H: Handler> Handler for Limited<H> {
///     type Session = H::Session;
///
///     fn session(&mut self, origin: &Origin) -> Option<H::Session> {
///         self.left = self.left.checked_sub(1)?;
///         self.inner.session(origin)
///     }
///
///     fn data(
///         &mut self,
///         cx: &mut impl Context<H::Session>,
///         session: &mut H::Session,
///         input: &mut Input<'_>,
///     ) -> Action {
///         self.inner.data(cx, session, input)
///     }
///
///     fn closed(
///         &mut self,
///         cx: &mut impl Context<H::Session>,
///         session: H::Session,
///         closed: &Closed,
///     ) {
///         self.left += 1;
///         self.inner.closed(cx, session, closed);
///     }
///     // And so the others.
/// }
/// ```
///
/// # Examples
///
/// An echo server that copies nothing: what it sends is a slice of the loop's own read buffer.
///
/// ```
/// use edgeloop::{Action, Context, Handler, Input, Origin};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     type Session = ();
///
///     fn session(&mut self, _: &Origin) -> Option<()> {
///         Some(())
///     }
///
///     fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
///         cx.send(input.take_all()).or_reset()
///     }
/// }
/// ```
pub trait Handler {
    /// What the handler keeps for each connection. It may be of any size and takes no more memory
    /// than that; one above 64 bytes is allocated by itself. It's moved when it is made and when it
    /// ends, by way of the loop's stack: put into a `Box` what does not fit there a few times.
    type Session;

    /// Whether [`trace`](Handler::trace) is called. The default, `false`, compiles it out.
    const TRACE: bool = false;

    /// Makes the session of a connection that was accepted.
    ///
    /// `None` refuses the connection: it is reset at once and no other callback comes. The session
    /// of an outbound connection is given to [`connect`](LoopContext::connect).
    fn session(&mut self, origin: &Origin) -> Option<Self::Session>;

    /// The connection is open: accepted, or connected. A server that speaks first does so here.
    fn opened(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: &mut Self::Session,
    ) -> Action {
        let _ = (cx, session);
        Action::Continue
    }

    /// Bytes arrived. What the handler does not take from `input` is kept and shown again, in one
    /// piece with what follows, until [`Config::input_limit`](crate::Config::input_limit) is
    /// reached.
    ///
    /// A handler that does little for each message gains by `#[inline(always)]` on this method: it
    /// is then compiled into the loop, which saves the call.
    ///
    /// After a pause, or once a full output queue has drained, kept bytes are shown again even
    /// though nothing new has come.
    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: &mut Self::Session,
        input: &mut Input<'_>,
    ) -> Action;

    /// The peer will send no more (its FIN was read). `input` shows what was left unconsumed.
    ///
    /// What is not taken is discarded when the connection ends, unless it is
    /// [relayed](LoopContext::relay) before. If that relay is [ended](LoopContext::unrelay) before
    /// it has carried all, this is called again with the rest.
    ///
    /// The default closes once everything that is owed has been written (C5). Answering
    /// [`Action::Continue`] keeps the connection open for sending only, until it is closed or our
    /// stream is [finished](Action::Finish), too.
    fn end(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: &mut Self::Session,
        input: &mut Input<'_>,
    ) -> Action {
        let _ = (cx, session, input);
        Action::Close
    }

    /// The output queue, which had risen above the high watermark, has fallen to the low one. For
    /// those who fill the queue by themselves: where [`LoopContext::pull`] has asked for
    /// [`writable`](Handler::writable), that is called and not this.
    fn drained(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: &mut Self::Session,
    ) -> Action {
        let _ = (cx, session);
        Action::Continue
    }

    /// The timer of this key, which [`Context::set_timer`] set, has come. It is not set any more.
    fn timer(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: &mut Self::Session,
        key: u32,
    ) -> Action {
        let _ = (cx, session, key);
        Action::Close
    }

    /// [`LoopContext::poke`] or [`Handle::poke`](crate::Handle::poke) asked for this call, once for
    /// each time (C47): something that the session waits for has happened elsewhere.
    fn poked(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: &mut Self::Session,
    ) -> Action {
        let _ = (cx, session);
        Action::Continue
    }

    /// [`LoopContext::pull`] asked for this call, and there is room for more output. Whoever has
    /// more to send than what it sends now asks again.
    fn writable(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: &mut Self::Session,
    ) -> Action {
        let _ = (cx, session);
        Action::Continue
    }

    /// The connection is gone; its descriptor is closed when this returns. Called exactly once for
    /// every session. Sending to this connection answers [`Sent::Gone`].
    fn closed(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        session: Self::Session,
        closed: &Closed,
    ) {
        let _ = (cx, session, closed);
    }

    /// [`Handle::notify`](crate::Handle::notify) was called, once or several times since the last,
    /// or something has arrived where [`EventLoop::notify_on`](crate::EventLoop::notify_on)
    /// watches.
    fn notified(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        let _ = cx;
    }

    /// The time that [`LoopContext::wake_at`] set has come. It is not set any more.
    fn wake_up(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        let _ = cx;
    }

    /// [`LoopContext::at_end_of_turn`] asked for this call: all that came in this turn was served,
    /// and nothing that is joined has left. A server that batches does here, once for all, what it
    /// would do for each: it writes the log that its clients' requests have filled, and then sends
    /// the replies.
    fn turn_ended(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        let _ = cx;
    }

    /// A datagram has arrived at a socket that [`LoopContext::bind_udp`] has bound. The default
    /// ignores it.
    #[cfg(feature = "udp")]
    fn datagram(&mut self, cx: &mut impl LoopContext<Self::Session>, datagram: &Datagram<'_>) {
        let _ = (cx, datagram);
    }

    /// The loop begins to drain ([`Stop::Drain`]): the moment to tell clients that they should
    /// leave. Called once for each stop, and not where everything ends at once.
    fn draining(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        let _ = cx;
    }

    /// The loop has something to tell its operator. Never called for ordinary traffic.
    fn notice(&mut self, notice: &Notice) {
        let _ = notice;
    }

    /// Every step of the loop, for debugging; only where [`TRACE`](Handler::TRACE) is `true`.
    fn trace(&mut self, trace: &Trace<'_>) {
        let _ = trace;
    }
}

/// Where a connection comes from that this loop has not started itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The connection that is being made.
    pub id: ConnectionId,
    /// The address of the other end; `0.0.0.0:0` if it is gone and was not told before.
    pub peer: Address,
    /// Who is at the other end of a Unix socket.
    pub credentials: Option<Credentials>,
    /// The address that the listener is bound to that has accepted it; `None` if it was accepted
    /// elsewhere and given to the loop ([`Handle::adopt`](crate::Handle::adopt)).
    pub listener: Option<Address>,
}
