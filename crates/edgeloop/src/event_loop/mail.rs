//! Phase 6: what other threads and signal handlers have to say.

use std::any::{Any, TypeId};
use std::collections::VecDeque;
use std::os::fd::AsFd;

use super::EventLoop;
use super::serve::call;
use crate::api::closed::Reason;
use crate::api::error::{Error, ErrorKind, InCall};
use crate::api::handler::{Handler, LoopContext, Sent};
use crate::api::id::ConnectionId;
use crate::api::receive::Receive;
use crate::connection::{Connection, Life};
use crate::core::Agenda;
use crate::event_loop::call_context::CallContext;
use crate::event_loop::panics::Called;
use crate::kernel::Kernel;
use crate::mailbox::{Letter, Sender};

impl<H: Handler> EventLoop<H> {
    /// From now on, calls [`Handler::notified`] when something arrives at a descriptor of yours: a
    /// pipe or a socket that a signal handler writes to, a signalfd, a timerfd, inotify. So a
    /// server hears of signals without another thread, and a process of one thread pays less for
    /// each system call on a descriptor (`__fget_light` in fs/file.c, Linux 6.18).
    ///
    /// The loop reads nothing from it, and tells once of all that arrives until it tells: whoever
    /// is told reads until `EAGAIN`, or does not care for what there is to read (edge-triggered;
    /// epoll(7)). It is watched until it and all its duplicates are closed. Doesn't block.
    ///
    /// # Errors
    ///
    /// When it is watched already (`EEXIST`), can't be watched, as a regular file (`EPERM`), or the
    /// kernel has no memory or watches for it (`ENOMEM`, `ENOSPC`; epoll_ctl(2)).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use edgeloop::{Action, Context, EventLoop, Handler, Input, LoopContext, Origin, Stop};
    /// # struct Echo;
    /// impl Handler for Echo {
    ///     # type Session = ();
    ///     # fn session(&mut self, _: &Origin) -> Option<()> { Some(()) }
    ///     # fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
    ///     #     cx.send(input.take_all()).or_reset()
    ///     # }
    ///     fn notified(&mut self, cx: &mut impl LoopContext) {
    ///         cx.stop(Stop::Drain(None));
    ///     }
    ///     // and the rest
    /// }
    ///
    /// let (reader, writer) = std::io::pipe()?;
    /// // A signal handler writes a byte to `writer`, say by signal_hook::low_level::pipe::register.
    /// # drop(writer);
    /// let mut server = EventLoop::new(Echo)?;
    /// server.notify_on(&reader)?;
    /// server.listen("0.0.0.0:3000")?;
    /// server.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn notify_on(&self, descriptor: impl AsFd) -> Result<(), Error> {
        self.core
            .kernel
            .watch(descriptor)
            .in_call("epoll_ctl")
            .map_err(|error| Error::of_call(ErrorKind::Setup, "cannot watch a descriptor", error))
    }
}

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// Phase 6.
    pub(super) fn read_mail(&mut self) {
        if self.letters.is_empty() {
            let budget = self.core.config.turn_jobs;
            let collected = self.mailbox.collect(budget, &mut self.letters);
            self.notified |= collected.notify;
            if collected.more {
                self.core.agenda.add(Agenda::MAIL);
            }
            if collected.freed {
                self.capped = false;
                self.core.look_for_waiters();
            }
            if let Some(stop) = collected.stop {
                self.core.request_stop(stop);
            }
        }
        // No callback sends these.
        loop {
            // It may be for a connection that was started in this phase. Before it is taken,
            // because a trace may panic (C40).
            self.place_sessions();
            self.core.current = ConnectionId::NONE;
            let Some(letter) = self.letters.pop_front() else { break };
            match letter {
                Letter::Send(id, bytes) => {
                    if self.core.send_or_join(id, &bytes) == Sent::Refused {
                        self.core.end(id, Reason::OutputLimit, true);
                    }
                }
                Letter::Close(id) => self.core.begin_close(id, Reason::Closed),
                Letter::Poke(id) => self.call_poked_one(id),
                Letter::Message(message) => {
                    let receive = self.receiver(message.receiver);
                    receive(self, message.to, message.value);
                }
                // Whoever asked may have stopped waiting.
                Letter::Metrics(answer) => drop(answer.try_send(self.metrics())),
                Letter::Adopt(stream) => self.adopt_posted(stream),
                Letter::Accepted(accepted) => self.take_in(*accepted),
            }
        }
        self.letters = VecDeque::new();
        if std::mem::take(&mut self.notified) {
            self.core.current = ConnectionId::NONE;
            let mut cx = CallContext::new(&mut self.core, &mut self.started, ConnectionId::NONE);
            let called = Called::new(&mut self.own_panics.is_handlers);
            notified(&mut self.handler, &mut cx);
            called.done();
        }
    }
}

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// Phase 6, at its end: calls the sessions that are to be called, within the budget. Those that
    /// are asked for meanwhile have their turn in the next turn.
    pub(super) fn call_poked(&mut self) {
        let count = self.core.poked.len().min(self.core.config.turn_jobs);
        for _ in 0..count {
            self.place_sessions();
            let Some(id) = self.core.poked.pop_front() else { break };
            self.call_poked_one(id);
        }
        if self.core.poked.is_empty() {
            self.core.poked = VecDeque::new();
        } else {
            self.core.agenda.add(Agenda::POKED);
        }
    }

    fn call_poked_one(&mut self, id: ConnectionId) {
        if self.reaches(id) {
            let action = call!(self, id, poked);
            self.apply(id, action);
        }
    }

    /// Whether a connection can be called from elsewhere; one that is gone is counted.
    fn reaches(&mut self, id: ConnectionId) -> bool {
        self.core.current = ConnectionId::NONE;
        match self.core.connections.get(id).map(Connection::life) {
            Some(Life::Connecting | Life::Open) => true,
            Some(_) => false,
            None => {
                self.core.metrics.stale += 1;
                false
            }
        }
    }

    /// Sends messages of the type `M` to this loop and to the sessions of its connections, from
    /// other threads (C47).
    pub fn sender<M: Send + 'static>(&mut self) -> Sender<M, K>
    where
        H: Receive<M>,
    {
        let receiver = number_of::<M, H, K>(&mut self.receivers);
        Sender::new(self.handle(), receiver)
    }

    /// Gives a message of the type `M` to the handler.
    fn receive<M: 'static>(&mut self, to: Option<ConnectionId>, message: Box<dyn Any + Send>)
    where
        H: Receive<M>,
    {
        let Ok(message) = message.downcast::<M>() else { return };
        let Some(id) = to else {
            self.core.current = ConnectionId::NONE;
            let mut cx = CallContext::new(&mut self.core, &mut self.started, ConnectionId::NONE);
            let called = Called::new(&mut self.own_panics.is_handlers);
            posted(&mut self.handler, &mut cx, *message);
            called.done();
            return;
        };
        if !self.reaches(id) {
            let mut cx = CallContext::new(&mut self.core, &mut self.started, ConnectionId::NONE);
            let called = Called::new(&mut self.own_panics.is_handlers);
            undelivered(&mut self.handler, &mut cx, id, *message);
            called.done();
            return;
        }
        let action = call!(self, id, message, *message);
        self.apply(id, action);
    }
}

/// Gives the message, whose type it knows, to the handler.
pub(super) type Receiver<H, K> =
    fn(&mut EventLoop<H, K>, Option<ConnectionId>, Box<dyn Any + Send>);

/// The number of a type of messages among those that the handler receives. There is one for each
/// type, however often it is asked for.
pub(super) fn number_of<M: 'static, H: Receive<M>, K: Kernel>(
    receivers: &mut Vec<(TypeId, Receiver<H, K>)>,
) -> usize {
    let of = TypeId::of::<M>();
    let known = receivers.iter().position(|&(known, _)| known == of);
    known.unwrap_or_else(|| {
        receivers.push((of, EventLoop::<H, K>::receive::<M>));
        receivers.len() - 1
    })
}

/// Narrows the context to what [`Receive::posted`] may use.
fn posted<M, H: Receive<M>>(handler: &mut H, cx: &mut impl LoopContext<H::Session>, message: M) {
    handler.posted(cx, message);
}

/// Narrows the context to what [`Receive::undelivered`] may use.
fn undelivered<M, H: Receive<M>>(
    handler: &mut H,
    cx: &mut impl LoopContext<H::Session>,
    id: ConnectionId,
    message: M,
) {
    handler.undelivered(cx, id, message);
}

/// Narrows the context to what [`Handler::notified`] may use: there is no connection in it.
fn notified<H: Handler>(handler: &mut H, cx: &mut impl LoopContext<H::Session>) {
    handler.notified(cx);
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::api::handler::{Action, Context, Origin, Stop};
    use crate::api::input::Input;

    /// Has nothing to serve, and stops when it is told something.
    struct Told(bool);

    impl Handler for Told {
        type Session = ();

        fn session(&mut self, _: &Origin) -> Option<()> {
            None
        }

        fn data(&mut self, _: &mut impl Context, (): &mut (), _: &mut Input<'_>) -> Action {
            Action::Continue
        }

        fn notified(&mut self, cx: &mut impl LoopContext) {
            self.0 = true;
            cx.stop(Stop::Now);
        }
    }

    #[test]
    fn c33_a_byte_at_a_watched_descriptor_is_told_though_nothing_else_happens() {
        let (reader, mut writer) = UnixStream::pair().expect("a pair");
        let mut event_loop = EventLoop::new(Told(false)).expect("a loop");
        event_loop.notify_on(&reader).expect("it can be watched");
        // Without anything to wait for it would end at once; with the wake-up it ends untold.
        event_loop.wake_at(Some(event_loop.core.now.after(Duration::from_secs(10))));
        writer.write_all(b"!").expect("room");
        event_loop.run().expect("it runs");
        assert!(event_loop.into_handler().0, "nothing was told");
    }
}
