//! Phases 1 to 3, and the turns: all of them until nothing is left to serve, or one at a time.

use std::time::Duration;

use rustix::io::Errno;

use super::EventLoop;
use crate::api::config::MAX_EVENT_BATCH;
use crate::api::error::{Error, ErrorKind, Failed};
use crate::api::handler::Handler;
use crate::api::id::ConnectionId;
use crate::api::metrics::Metrics;
use crate::core::Agenda;
use crate::epoll::Batch;
use crate::kernel::Kernel;

/// What a loop needs next; see [`EventLoop::run_once`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Turn {
    /// Another turn at once: a budget has left work over, of which the descriptor does not tell, or
    /// the loop spins ([`Config::spin`](crate::Config::spin)).
    Again,
    /// Another turn when the descriptor is readable.
    Wait,
    /// Nothing is left to serve: [`EventLoop::run`] would return.
    Done,
}

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// Serves on this thread until the loop is stopped and all connections have ended, or until
    /// there is neither a listener nor a connection left, unless it is to run
    /// [until it is stopped](crate::Config::until_stopped). Blocks for all that time.
    ///
    /// A stop ends with this call, and cancels the loop's wake-up. The loop can then be given
    /// listeners and outbound connections, and run, again.
    ///
    /// # Errors
    ///
    /// When waiting for events fails, or the last listener did. Connections that are still open
    /// then are closed when the loop is dropped, without their callbacks. Also when the loop itself
    /// panics thirty times in one turn, which is a bug in it: then all connections are reset,
    /// with their callbacks, as far as that is possible, and the loop must not be run again.
    pub fn run(&mut self) -> Result<Metrics, Error> {
        // So that the first turn looks whether there is anything to serve at all.
        self.core.agenda.add(Agenda::ACCEPT);
        if !self.core.config.spin.is_zero() {
            self.core.agenda.add(Agenda::SPIN);
        }
        // Here and not in the loop, which could not be moved to another thread with it.
        let batch = self.core.config.event_batch;
        let mut events = Batch::new(batch, MAX_EVENT_BATCH);
        let answer = self.past_panics(|it| it.turns(&mut events));
        self.end_stop();
        answer.map(|()| self.metrics())
    }

    /// Serves for one turn, so that the loop can be embedded in another one, or take turns with
    /// others on one thread. Waits for events at most as long as `timeout` says: `None` is as long
    /// as it takes, zero does not block; a signal ends the wait. Then serves what there is, within
    /// the budgets, and returns what the loop needs next.
    ///
    /// Another loop watches the descriptor ([`AsFd`](std::os::fd::AsFd)), level-triggered. It is
    /// readable when there is something to serve: events of connections and listeners, calls of a
    /// [`Handle`](crate::Handle), and deadlines, which are a timer of the kernel's in the same set.
    /// So no timeout need be computed:
    ///
    /// - After [`Turn::Again`], and after anything that was done to the loop between two turns,
    ///   such as [`connect`](Self::connect), `adopt` or [`wake_at`](Self::wake_at), call this
    ///   again, at once or after what else is ready. The descriptor does not tell of that.
    /// - After [`Turn::Wait`], call this when the descriptor is readable.
    /// - After [`Turn::Done`], the loop has ended as [`run`](Self::run) ends, also by a stop.
    ///
    /// Panics of callbacks, stops and drains are as in `run`. While the thread does something else
    /// the loop does not run, which is no proof against a peer (C39).
    ///
    /// # Errors
    ///
    /// As those of [`run`](Self::run).
    ///
    /// # Examples
    ///
    /// Two loops on one thread, each of which is watched by its descriptor:
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use edgeloop::epoll::{Epoll, Events, Interest, Mode, Token};
    /// use edgeloop::{EventLoop, Handler, Turn};
    ///
    /// type Outcome = Result<(), Box<dyn std::error::Error>>;
    ///
    /// fn run_both<H: Handler>(mut loops: [EventLoop<H>; 2]) -> Outcome {
    ///     let epoll = Epoll::new()?;
    ///     for (token, one) in (0..).zip(&loops) {
    ///         epoll.add(one, Token(token), Interest::READABLE, Mode::Level)?;
    ///     }
    ///     let (mut events, mut turns) = (Events::with_capacity(2), [Turn::Again; 2]);
    ///     while turns != [Turn::Done; 2] {
    ///         let sleeps = !turns.contains(&Turn::Again);
    ///         epoll.wait(&mut events, if sleeps { None } else { Some(Duration::ZERO) })?;
    ///         for (one, turn) in loops.iter_mut().zip(&mut turns) {
    ///             if *turn != Turn::Done {
    ///                 *turn = one.run_once(Some(Duration::ZERO))?;
    ///             }
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn run_once(&mut self, timeout: Option<Duration>) -> Result<Turn, Error> {
        if !self.core.config.spin.is_zero() {
            self.core.agenda.add(Agenda::SPIN);
        }
        let answer = Batch::of_thread(self.batch, MAX_EVENT_BATCH, |events| {
            let answer = self.turn(events, timeout);
            self.batch = events.capacity();
            answer
        });
        if !matches!(answer, Ok(Turn::Again | Turn::Wait)) {
            self.end_stop();
        }
        answer
    }

    /// Turns until there is nothing left to serve. A panic of the handler unwinds out of here, and
    /// the next call goes on with the same turn.
    fn turns(&mut self, events: &mut Batch) -> Result<(), Error> {
        self.open_adopted();
        loop {
            let rests = match self.serve_turn(events)? {
                Turn::Wait => true,
                Turn::Again => false,
                Turn::Done => return Ok(()),
            };
            self.wait(events, rests)?;
        }
    }

    /// One turn.
    fn turn(&mut self, events: &mut Batch, timeout: Option<Duration>) -> Result<Turn, Error> {
        // What was begun between two turns comes before its events.
        self.past_panics(|it| {
            it.open_adopted();
            it.place_sessions();
            Ok(())
        })?;
        if self.is_done() {
            return self.end();
        }
        let rests = self.core.agenda.may_rest() && !self.polled;
        let timeout = if rests { timeout } else { Some(Duration::ZERO) };
        let answer = match timeout {
            None => self.core.kernel.wait(events, true),
            Some(Duration::ZERO) => self.core.kernel.wait(events, false),
            Some(timeout) => self.core.kernel.wait_for(events, timeout),
        };
        self.waited(events, answer)?;
        self.past_panics(|it| it.serve_turn(events))
    }

    /// Phases 3 to 11. Returns how the next wait is to be.
    #[inline(always)]
    pub(super) fn serve_turn(&mut self, events: &Batch) -> Result<Turn, Error> {
        self.serve_events(events);
        if self.core.agenda.is_empty() { Ok(Turn::Wait) } else { self.work_off() }
    }

    /// Phases 4 to 11, where there is anything to do in them.
    #[cold]
    fn work_off(&mut self) -> Result<Turn, Error> {
        self.chores()?;
        if self.is_done() {
            return self.end();
        }
        let rests = self.core.agenda.may_rest() && !self.polls();
        self.polled = !rests;
        self.core.metrics.polls += u64::from(!rests);
        self.ready_left = self.core.ready.len();
        Ok(if rests { Turn::Wait } else { Turn::Again })
    }

    /// Nothing is left to serve.
    fn end(&mut self) -> Result<Turn, Error> {
        self.core.listeners.failure.take().map_or(Ok(Turn::Done), Err)
    }

    /// Phases 1 and 2.
    #[inline]
    pub(super) fn wait(&mut self, events: &mut Batch, rests: bool) -> Result<(), Error> {
        let answer = self.core.kernel.wait(events, rests);
        self.waited(events, answer)
    }

    /// Phase 2.
    #[inline(always)]
    fn waited(&mut self, events: &mut Batch, answer: Result<(), Errno>) -> Result<(), Error> {
        if let Err(error) = answer {
            // A signal: there are no events, and the alarm still stands (C29).
            events.clear();
            if error != Errno::INTR {
                let failed = Failed::new("epoll_pwait", error);
                return Err(Error::of_call(ErrorKind::Run, "cannot wait for events", failed));
            }
            self.interrupted();
        }
        self.served = 0;
        self.core.joining.events = events.len();
        self.core.now = self.core.kernel.now();
        self.core.metrics.turns += 1;
        Ok(())
    }

    /// Phase 3.
    #[inline(always)]
    pub(super) fn serve_events(&mut self, events: &Batch) {
        let events = events.iter();
        while let Some(event) = events.get(self.served) {
            self.served += 1;
            self.event(ConnectionId::from_bits(event.token().0), event.readiness());
        }
    }
}
