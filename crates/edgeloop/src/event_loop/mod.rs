//! The loop: what it waits for, and the numbered phases of each of its turns.

mod accept;
mod backoff;
mod call_context;
mod close;
mod connecting;
#[cfg(feature = "udp")]
mod datagrams;
mod due;
mod embed;
mod ends;
mod interrupted;
mod mail;
mod member;
mod panics;
mod of_loop;
mod pull;
mod serve;
mod spin;
mod starved;
#[cfg(test)]
mod tests;
mod timers;
mod turn;

use std::any::TypeId;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::api::address::{Address, ToAddresses};
use crate::api::config::Config;
use crate::api::error::{ConnectError, Error, ErrorKind, Failed};
use crate::api::handler::Handler;
use crate::api::id::ConnectionId;
use crate::api::listening::{ListenOptions, bind_first};
use crate::api::metrics::Metrics;
use crate::api::place::MemoryLimit;
use crate::api::target::Target;
use crate::api::time::Time;
use crate::connection::flags::Flags;
use crate::core::{Agenda, Ballast, Core};
use crate::event_loop::call_context::Started;
use crate::kernel::{EventSource, Kernel, Linux, persist};
use crate::mailbox::{Handle, Letter, Mailbox};
use crate::store::sessions::Sessions;
use backoff::Backoff;
use close::Drain;
use due::DueList;
use interrupted::Interruptions;
pub(crate) use member::{Member, Registry};
use panics::{Called, OwnPanics};
use spin::Spin;
pub use turn::Turn;

/// An event loop: listeners, connections, and the handler that serves them, on one thread.
///
/// Nothing in it blocks but the wait itself. Each turn goes through these phases, each with a
/// budget where its work could be unbounded; what a budget leaves over makes the next wait return
/// at once:
///
/// 1. **Wait** for events; without blocking if anything is left to do, and for a while before that
///    if the loop spins ([`Config::spin`]).
/// 2. **Clock**: read the monotonic clock, once (C28).
/// 3. **Events**: serve the connections that are ready, note the listeners and the mailbox.
/// 4. **Ready list**: serve what an earlier turn cut off (C13), and what waits for memory (C11).
/// 5. **Accept** new connections (C15), and read each at once, unless that was in vain too often.
/// 6. **Mail** from other threads (C33), and sessions that are to be called (C47) or asked for
///    more.
/// 7. **Timers** that are due (C30), and the loop's wake-up; then the call at the end of the turn,
///    if the handler asked for that.
/// 8. **Stop**: begin to drain, or cut off what is left at the deadline (C37).
/// 9. **Sessions** of outbound connections that callbacks have started are put into the table.
/// 10. **Close** what has ended: the last callback, the descriptor, the slot.
/// 11. **Alarm**: tell the kernel the next deadline, if it has moved forward.
///
/// # Examples
///
/// ```no_run
/// # use edgeloop::{Action, Context, EventLoop, Handler, Input, Origin};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type Session = ();
/// #     fn session(&mut self, _: &Origin) -> Option<()> { Some(()) }
/// #     fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
/// #         cx.send(input.take_all()).or_reset()
/// #     }
/// # }
/// let mut server = EventLoop::new(Echo)?;
/// server.listen("0.0.0.0:3000")?;
/// server.run()?;
/// # Ok::<(), edgeloop::Error>(())
/// ```
pub struct EventLoop<H: Handler, K: Kernel = Linux> {
    handler: H,
    sessions: Sessions<H::Session>,
    /// The sessions of outbound connections that callbacks have started in this phase.
    started: Started<H::Session>,
    core: Core<K>,
    /// Connections that were adopted since the loop last ran, and are to be opened.
    adopted: VecDeque<ConnectionId>,
    mailbox: Mailbox,
    letters: VecDeque<Letter>,
    /// What the handler can receive from other threads, by the type of the message.
    receivers: Vec<(TypeId, mail::Receiver<H, K>)>,
    notified: bool,
    /// How many events the next wait may bring, if it is not one of [`run`](Self::run).
    batch: usize,
    /// How many of the turn's events are served. It is here and not in a local variable, so that a
    /// turn goes on where a panic left it (C32).
    served: usize,
    /// How many of the ready list this turn serves.
    ready_left: usize,
    due: DueList,
    /// All input is read into this one buffer (C9).
    buffer: Box<[u8]>,
    drain: Option<Drain>,
    /// When the phases behind the events were last gone through: a time at which the loop ran.
    chores_at: Time,
    /// Whether the wait behind them did not block.
    polled: bool,
    /// Whether the connection cap was reached since the last connection closed.
    capped: bool,
    /// Whether new connections are read at once.
    first_reads: Backoff,
    /// What a datagram is received into, while there is a socket for datagrams.
    #[cfg(feature = "udp")]
    datagram: Vec<u8>,
    spin: Spin,
    interruptions: Interruptions,
    /// What it knows of the group that it is a loop of.
    member: Option<Box<Member<H, K>>>,
    /// Whether the handler is being told a notice, so that a panic of that is not told in turn.
    telling: bool,
    own_panics: OwnPanics,
}

impl<H: Handler> EventLoop<H> {
    /// A loop with the default settings.
    ///
    /// # Errors
    ///
    /// When the process or the system is out of descriptors or memory.
    pub fn new(handler: H) -> Result<Self, Error> {
        Self::with_config(handler, Config::new())
    }

    /// A loop with settings of your own.
    ///
    /// # Errors
    ///
    /// When a setting is out of range or contradicts another, or the process or the system is out
    /// of descriptors or memory.
    pub fn with_config(handler: H, config: Config) -> Result<Self, Error> {
        Self::with_kernel(handler, config, Linux::new()?)
    }
}

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    pub(crate) fn with_kernel(handler: H, config: Config, kernel: K) -> Result<Self, Error> {
        config.check()?;
        let mailbox = Mailbox::new(config.mailbox_limit);
        let ballast = Ballast::new(size_of::<H::Session>())?;
        Ok(Self::with_core(handler, Core::new(kernel, config, ballast), mailbox))
    }

    fn with_core(handler: H, mut core: Core<K>, mailbox: Mailbox) -> Self {
        core.traces = H::TRACE;
        let config = &core.config;
        let buffer = vec![0; config.read_buffer.min(config.turn_bytes)].into_boxed_slice();
        Self {
            handler,
            sessions: Sessions::default(),
            started: Started::new(),
            adopted: VecDeque::new(),
            mailbox,
            letters: VecDeque::new(),
            receivers: Vec::new(),
            notified: false,
            batch: config.event_batch,
            served: 0,
            ready_left: 0,
            due: DueList::default(),
            buffer,
            drain: None,
            chores_at: core.now,
            polled: false,
            capped: false,
            first_reads: Backoff::default(),
            #[cfg(feature = "udp")]
            datagram: Vec::new(),
            spin: Spin::default(),
            interruptions: Interruptions::default(),
            member: None,
            telling: false,
            own_panics: OwnPanics::default(),
            core,
        }
    }

    /// Listens on an address; returns the one that was bound, with the real port where 0 was
    /// asked for. Of a name with several addresses, the first that can be bound is.
    ///
    /// Resolving a name blocks. Connections are accepted once the loop runs.
    ///
    /// # Errors
    ///
    /// When the name can't be resolved, none of its addresses can be listened on, or the loop is
    /// stopping.
    pub fn listen(&mut self, address: impl ToAddresses) -> Result<Address, Error> {
        self.listen_with(address, &ListenOptions::new())
    }

    /// Listens like [`listen`](Self::listen), with other options than the loop's.
    ///
    /// # Errors
    ///
    /// The same, and when an option is out of range or contradicts another.
    pub fn listen_with(
        &mut self,
        address: impl ToAddresses,
        options: &ListenOptions,
    ) -> Result<Address, Error> {
        let config = options.over(&self.core.config);
        config.check()?;
        bind_first(address.to_addresses(), "listen on", |address| {
            self.core.listen_with(&address, &config, options.access())
        })
    }

    /// Stops listening on an address, as [`LoopContext::unlisten`](crate::LoopContext::unlisten)
    /// does from a callback.
    pub fn unlisten(&mut self, address: &Address) -> bool {
        self.core.unlisten(address)
    }

    /// Starts an outbound connection, as [`LoopContext::connect`](crate::LoopContext::connect) does
    /// from a callback.
    ///
    /// # Errors
    ///
    /// When the connection cap is reached, or the socket can't be made. The session comes back with
    /// the error.
    pub fn connect(
        &mut self,
        to: impl Into<Target>,
        session: H::Session,
    ) -> Result<ConnectionId, ConnectError<H::Session>> {
        // No turn has begun, so nobody has read the clock lately (C30).
        self.core.now = self.core.kernel.now();
        match self.core.connect(to.into()) {
            Ok(id) => {
                self.sessions.insert(id.slot(), session);
                Ok(id)
            }
            Err(error) => Err(ConnectError { error, session }),
        }
    }

    /// Sets, moves or cancels the loop's wake-up, as
    /// [`LoopContext::wake_at`](crate::LoopContext::wake_at) does from a callback.
    pub fn wake_at(&mut self, at: Option<Time>) {
        self.core.wake_at(at);
    }

    /// Reaches this loop from other threads.
    #[must_use]
    pub fn handle(&self) -> Handle<K> {
        self.mailbox.handle(self.core.kernel.waker())
    }

    /// The handler.
    #[must_use]
    pub fn handler(&self) -> &H {
        &self.handler
    }

    /// The handler, from a loop that is needed no more. Connections that are open are closed,
    /// without their callbacks; after [`run`](Self::run) has ended in order there are none.
    #[must_use]
    pub fn into_handler(self) -> H {
        self.handler
    }

    /// Whether there are sessions.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn has_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// The connection cap that holds: the one asked for, or what descriptors allow (C24). Each
    /// listener takes a descriptor, so that it is known once all listen.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.core.cap
    }

    /// The ceiling of all queued bytes that holds: the one asked for, or the default, lowered to
    /// fit [`memory_limit`](Self::memory_limit) (C11).
    #[must_use]
    pub fn buffer_limit(&self) -> usize {
        self.core.config.buffer_limit
    }

    /// After how long without traffic connections are closed; `None` if they never are.
    #[must_use]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.core.config.bounds.idle
    }

    /// After how long without traffic the kernel probes connections; `None` if it never does
    /// ([`Config::keepalive`]).
    #[must_use]
    pub fn keepalive(&self) -> Option<Duration> {
        self.core.config.keepalive_after()
    }

    /// How much memory the place allowed when the loop was made; `None` if no limit is known.
    #[must_use]
    pub fn memory_limit(&self) -> Option<&MemoryLimit> {
        self.core.memory_limit.as_ref()
    }

    /// What the loop has counted.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.core.metrics()
    }

    /// Phases 4 to 11, where there is anything to do in them.
    #[cold]
    fn chores(&mut self) -> Result<(), Error> {
        self.core.joining.events = 0;
        if std::mem::take(&mut self.polled) {
            // A wait that does not block takes no time, whatever the alarm is set for (C39).
            let hold_ups = &mut self.core.timeouts.hold_ups;
            hold_ups.noticed(self.chores_at, self.chores_at, self.core.now);
            self.chores_at = self.core.now;
        }
        self.serve_ready();
        if self.core.agenda.take(Agenda::ACCEPT) {
            self.accept();
        }
        // It is taken off when all are shown: a callback may panic.
        #[cfg(feature = "udp")]
        if self.core.agenda.has(Agenda::DATAGRAMS) {
            self.receive_datagrams();
        }
        if self.core.agenda.take(Agenda::MAIL) {
            self.read_mail();
        }
        if self.core.agenda.take(Agenda::POKED) {
            self.call_poked();
        }
        if self.core.agenda.take(Agenda::PULLED) {
            self.call_pulled();
        }
        if self.core.agenda.take(Agenda::TIMERS) || self.core.now >= self.core.alarm {
            self.run_timers();
        }
        if self.core.agenda.take(Agenda::WAKE_UP) {
            self.wake_up();
        }
        self.end_turn();
        // Before a stop may cut off what they are sent to.
        if self.core.agenda.take(Agenda::JOINED) {
            self.core.send_all_joined();
        }
        if self.core.agenda.take(Agenda::STOP) {
            self.begin_stop();
        }
        if self.core.agenda.take(Agenda::DRAIN) {
            self.drain();
        }
        if self.core.agenda.take(Agenda::STARTED) {
            self.place_sessions();
        }
        if self.core.agenda.take(Agenda::CLOSING) {
            self.close();
        }
        self.end_turn();
        // A closed callback may have connected again; the session must be there before the event.
        if self.core.agenda.take(Agenda::STARTED) {
            self.place_sessions();
        }
        // What closed callbacks have sent. An end that comes of it is carried out in the next turn.
        if self.core.agenda.take(Agenda::JOINED) {
            self.core.send_all_joined();
        }
        if self.core.agenda.take(Agenda::NOTICES) {
            self.tell_notices();
        }
        if self.core.agenda.take(Agenda::ALARM) {
            self.set_alarm()?;
        }
        // Behind all callbacks, one of which may panic: then this turn goes on.
        if self.core.agenda.take(Agenda::NEXT_ENDS) {
            self.core.agenda.add(Agenda::TURN_ENDS);
        }
        self.chores_at = self.core.now;
        Ok(())
    }

    /// An event of the alarm, the waker or a listener, or of a connection that is gone (C17).
    #[cold]
    fn other_event(&mut self, source: EventSource) {
        match source {
            EventSource::Connection(_) => self.core.metrics.stale += 1,
            EventSource::Listener(id) => match self.core.listeners.get_mut(id) {
                Some(listener) => {
                    listener.note();
                    self.core.agenda.add(Agenda::ACCEPT);
                }
                None => self.core.metrics.stale += 1,
            },
            #[cfg(feature = "udp")]
            EventSource::Datagrams(id) => self.datagrams_arrived(id),
            EventSource::Alarm => self.core.agenda.add(Agenda::TIMERS),
            EventSource::Waker => {
                // The mail is collected only after that (C33).
                self.mailbox.woken(&mut self.core.kernel);
                self.core.agenda.add(Agenda::MAIL);
            }
            EventSource::Watched => {
                self.notified = true;
                self.core.agenda.add(Agenda::MAIL);
            }
        }
    }

    /// Phase 4.
    fn serve_ready(&mut self) {
        if self.core.agenda.take(Agenda::STARVED) {
            self.serve_starved();
        }
        while self.ready_left > 0 {
            self.ready_left -= 1;
            let Some(id) = self.core.ready.pop_front() else { break };
            if let Some(connection) = self.core.connections.get_mut(id) {
                connection.clear(Flags::LISTED);
                let at_its_end = connection.has(Flags::PEER_ENDED);
                self.serve(id);
                if at_its_end {
                    self.core.carry_kept(id);
                }
            }
        }
        self.core.fed = ConnectionId::NONE;
        if self.core.ready.is_empty() {
            self.core.agenda.take(Agenda::READY);
        }
    }

    /// Phase 7.
    fn run_timers(&mut self) {
        if self.core.now >= self.core.alarm {
            let hold_ups = &mut self.core.timeouts.hold_ups;
            hold_ups.noticed(self.core.alarm, self.chores_at, self.core.now);
            self.core.alarm = Time::NEVER;
        }
        self.core.agenda.add(Agenda::ALARM);
        if self.due.is_empty() {
            self.collect_due();
            // No event may have told of it yet, and whoever is sent to is not quiet (C39).
            self.read_mail();
        }
        self.call_due();
        if self.core.listeners.deadlines().any(|at| at <= self.core.now) {
            self.core.agenda.add(Agenda::ACCEPT);
        }
        #[cfg(feature = "udp")]
        if self.core.datagrams.deadlines().any(|at| at <= self.core.now) {
            self.core.agenda.add(Agenda::DATAGRAMS);
        }
        if self.drain.as_ref().is_some_and(|drain| drain.deadline <= self.core.now) {
            self.core.agenda.add(Agenda::DRAIN);
        }
        if self.core.relief_at <= self.core.now {
            self.core.relief_at = Time::NEVER;
            self.core.agenda.add(Agenda::STARVED);
        }
        if self.core.polls_from() <= self.core.now {
            self.core.agenda.add(Agenda::WAKE_UP);
        }
        if self.core.ballast.look_at() <= self.core.now {
            self.core.look_for_memory();
        }
    }

    /// Phase 11.
    fn set_alarm(&mut self) -> Result<(), Error> {
        // A deadline of the loop that has passed is on the agenda already.
        let own = self.core.listeners.deadlines();
        #[cfg(feature = "udp")]
        let own = own.chain(self.core.datagrams.deadlines());
        let own = own.chain(self.drain.as_ref().map(|drain| drain.deadline));
        let own = own.chain([self.core.polls_from(), self.core.relief_at]);
        let own = own.chain([self.core.ballast.look_at()]);
        let own = own.filter(|&at| at > self.core.now).min().unwrap_or(Time::NEVER);
        let next = self.core.wheel.next_wake().min(own);
        if next >= self.core.alarm {
            return Ok(());
        }
        if next <= self.core.now {
            // A budget has left timers that are due. The next turn runs them, alarm or not.
            self.core.agenda.add(Agenda::TIMERS);
            return Ok(());
        }
        persist(|| self.core.kernel.set_alarm(next)).map_err(|error| {
            let failed = Failed::new("timerfd_settime", error);
            Error::of_call(ErrorKind::Run, "cannot set the loop's timer", failed)
        })?;
        self.core.alarm = next;
        Ok(())
    }

    fn tell_notices(&mut self) {
        self.core.current = ConnectionId::NONE;
        while let Some(notice) = self.core.notices.pop_front() {
            self.telling = true;
            let called = Called::new(&mut self.own_panics.is_handlers);
            self.handler.notice(&notice);
            called.done();
            self.telling = false;
        }
    }

    #[cfg(feature = "udp")]
    fn has_no_datagrams(&self) -> bool {
        self.core.datagrams.is_empty()
    }

    #[cfg(not(feature = "udp"))]
    const fn has_no_datagrams(&self) -> bool {
        let _ = self;
        true
    }

    fn has_nothing_left(&self) -> bool {
        self.core.connections.len() == 0
            && self.core.listeners.is_empty()
            && self.has_no_datagrams()
            && self.core.notices.is_empty()
            && self.core.stop.is_none()
            && (self.drain.is_some() || !self.stays())
    }
}

impl<H: Handler, K: Kernel> fmt::Debug for EventLoop<H, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop").field("metrics", &self.metrics()).finish_non_exhaustive()
    }
}
