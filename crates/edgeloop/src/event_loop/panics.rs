//! What a panic leads to: of a callback (C32, C40), or of the loop itself, which is a bug in it.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::EventLoop;
use crate::api::closed::Reason;
use crate::api::error::{Error, ErrorKind};
use crate::api::handler::Handler;
use crate::api::id::ConnectionId;
use crate::api::notice::Notice;
use crate::core::Agenda;
use crate::kernel::Kernel;

/// How often the loop itself may panic within one turn. What makes it panic is not on its way to
/// being done then: the turn would be begun again without end.
const OWN_PANICS: u32 = 30;

/// Whose panics there are.
#[derive(Debug, Default)]
pub(super) struct OwnPanics {
    /// The one that unwinds now is of the handler.
    pub(super) is_handlers: bool,
    /// How many the loop itself has had in this turn.
    count: u32,
    turn: u64,
}

/// Held while the handler runs, so that a panic of it is known as such. It costs nothing where
/// there is none.
pub(super) struct Called<'a>(&'a mut bool);

impl<'a> Called<'a> {
    #[inline(always)]
    pub(super) const fn new(is_handlers: &'a mut bool) -> Self {
        Self(is_handlers)
    }

    /// The handler has returned.
    #[inline(always)]
    pub(super) const fn done(self) {
        std::mem::forget(self);
    }
}

impl Drop for Called<'_> {
    fn drop(&mut self) {
        *self.0 = true;
    }
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// The payload is a value of the handler's, and dropping it may panic in turn (C40). What that
/// panic carries is leaked, or this would have no end.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(again);
    }
}

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// Does a part of a turn, again from where it has come when a callback of it panics.
    ///
    /// # Errors
    ///
    /// Those of the part, and when the loop itself panics again and again.
    pub(super) fn past_panics<T>(
        &mut self,
        mut part: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        loop {
            match catch_unwind(AssertUnwindSafe(|| part(self))) {
                Ok(answer) => return answer,
                Err(payload) => self.panicked(payload)?,
            }
        }
    }

    /// A callback panicked: its connection ends, everything else goes on (C32). So it is if the
    /// loop itself panicked, unless that has no end.
    #[cold]
    fn panicked(&mut self, payload: Box<dyn Any + Send>) -> Result<(), Error> {
        self.core.metrics.panics += 1;
        let is_handlers = std::mem::take(&mut self.own_panics.is_handlers);
        let id = std::mem::replace(&mut self.core.current, ConnectionId::NONE);
        let id = (id != ConnectionId::NONE).then_some(id);
        let message = message_of(&*payload);
        discard(payload);
        if !is_handlers {
            self.loop_panicked(message)?;
        } else if std::mem::take(&mut self.telling) {
            // Telling of it would panic again, without end.
            self.core.agenda.add(Agenda::NOTICES);
        } else {
            self.core.tell(Notice::Panicked { id, message });
        }
        if let Some(id) = id
            && self.core.connections.get(id).is_some()
        {
            // If it was the closed callback that panicked, the end is on its list already.
            self.core.end(id, Reason::Panicked, true);
        }
        // Any phase may have been left half-way.
        self.core.agenda.add(Agenda::ACCEPT);
        self.core.agenda.add(Agenda::PULLED);
        for item in [Agenda::READY, Agenda::STARVED, Agenda::MAIL, Agenda::POKED, Agenda::TIMERS] {
            self.core.agenda.add(item);
        }
        #[cfg(feature = "udp")]
        self.core.agenda.add(Agenda::DATAGRAMS);
        for item in [Agenda::STARTED, Agenda::CLOSING] {
            self.core.agenda.add(item);
        }
        // A wake-up that the callback set is none of these, and is on the agenda already.
        if self.drain.is_some() {
            self.core.agenda.add(Agenda::DRAIN);
        }
        Ok(())
    }

    /// No callback has panicked, but the loop.
    fn loop_panicked(&mut self, message: String) -> Result<(), Error> {
        let turn = self.core.metrics.turns;
        let own = &mut self.own_panics;
        if std::mem::replace(&mut own.turn, turn) != turn {
            own.count = 0;
        }
        own.count += 1;
        let goes_on = own.count < OWN_PANICS;
        self.core.tell(Notice::LoopPanicked { message: message.clone() });
        if goes_on {
            return Ok(());
        }
        self.end_all();
        let what = format!("the event loop panicked {OWN_PANICS} times in one turn");
        Err(Error::new(ErrorKind::Run, what, io::Error::other(message)))
    }

    /// Ends every connection as the deadline of a drain does, and tells the handler, each by
    /// itself: whatever is broken may panic again.
    fn end_all(&mut self) {
        self.core.cuts_off = true;
        self.whatever_panics(Self::place_sessions);
        for slot in 0..self.core.connections.end() {
            self.whatever_panics(|it| {
                let Some(id) = it.core.connections.at(slot) else { return };
                it.cut_off(id);
                it.say_closed(id);
                it.core.free(id);
            });
        }
        self.core.closing.clear();
        self.whatever_panics(|it| it.core.close_listeners());
        #[cfg(feature = "udp")]
        self.whatever_panics(|it| it.core.unbind_all());
        // One that panics is not told again.
        for _ in 0..self.core.notices.len() {
            self.whatever_panics(Self::tell_notices);
        }
        (self.telling, self.own_panics.is_handlers) = (false, false);
    }

    fn whatever_panics(&mut self, part: impl FnOnce(&mut Self)) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| part(self))) {
            self.core.metrics.panics += 1;
            discard(payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::num::NonZeroU64;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::api::closed::Closed;
    use crate::api::handler::{Action, Context, LoopContext, Origin, Stop};
    use crate::api::input::Input;
    use crate::api::receive::Receive;

    /// Panics at each message but the last, and when told of a panic of its own.
    #[derive(Default)]
    struct Fragile {
        messages: usize,
        closed: Vec<Reason>,
        told: usize,
        bugs: usize,
    }

    impl Handler for Fragile {
        type Session = ();

        fn session(&mut self, _: &Origin) -> Option<()> {
            None
        }

        fn data(&mut self, _: &mut impl Context, (): &mut (), _: &mut Input<'_>) -> Action {
            Action::Continue
        }

        fn closed(&mut self, _: &mut impl Context, (): (), closed: &Closed) {
            self.closed.push(closed.reason);
        }

        fn notice(&mut self, notice: &Notice) {
            match notice {
                Notice::LoopPanicked { .. } => self.bugs += 1,
                _ => self.told += 1,
            }
            panic_quietly();
        }
    }

    impl Receive<bool> for Fragile {
        fn message(&mut self, _: &mut impl Context, (): &mut (), _: bool) -> Action {
            Action::Continue
        }

        fn posted(&mut self, cx: &mut impl LoopContext, is_last: bool) {
            self.messages += 1;
            if is_last {
                return cx.stop(Stop::Now);
            }
            panic_quietly();
        }
    }

    /// Without a word of the panic hook, of which there would be many.
    fn panic_quietly() {
        std::panic::resume_unwind(Box::new("as planned"));
    }

    #[test]
    fn c32_the_loop_ends_with_an_error_when_it_panics_by_itself_without_end() {
        let mut event_loop = EventLoop::new(Fragile::default()).expect("a loop");
        let (stream, mut peer) = UnixStream::pair().expect("a pair");
        let (last, _open) = UnixStream::pair().expect("a pair");
        for stream in [stream, last] {
            event_loop.adopt(stream, ()).expect("there is room");
        }
        // Nobody has this id: closing it panics, and it stays on the list.
        let nobody = ConnectionId::new(7, NonZeroU64::MIN);
        event_loop.core.closing.push_back(nobody);
        event_loop.core.agenda.add(Agenda::CLOSING);
        let error = event_loop.run().expect_err("it has no end");
        assert_eq!(error.kind(), ErrorKind::Run);
        let line = error.to_string();
        assert!(line.starts_with("the event loop panicked 30 times in one turn: "), "{line}");
        let handler = event_loop.handler();
        // The last one that was called may be what is broken.
        assert_eq!(handler.closed, [Reason::CutOff, Reason::Panicked], "each is told, and once");
        assert_eq!((handler.bugs, handler.told), (30, 0));
        assert_eq!(event_loop.metrics().connections, 0);
        assert_eq!(peer.read(&mut [0]).expect("an end"), 0);
    }

    #[test]
    fn c32_panics_of_the_loop_in_turn_after_turn_do_not_end_it() {
        let mut event_loop = EventLoop::new(Fragile::default()).expect("a loop");
        let sender = event_loop.sender::<bool>();
        for turn in 0..40 {
            event_loop.core.metrics.turns = turn;
            event_loop.loop_panicked("as planned".to_owned()).expect("it goes on");
        }
        sender.post(true).expect("room");
        event_loop.wake_at(Some(event_loop.core.now));
        event_loop.run().expect("it is stopped");
        assert_eq!(event_loop.handler().bugs, 40);
    }

    #[test]
    fn c32_however_often_callbacks_panic_in_one_turn_the_loop_goes_on() {
        let config = crate::api::config::Config::new().until_stopped(true);
        let mut event_loop = EventLoop::with_config(Fragile::default(), config).expect("a loop");
        let sender = event_loop.sender::<bool>();
        for is_last in (0..200).map(|number| number == 199) {
            sender.post(is_last).expect("room");
        }
        event_loop.run().expect("it is stopped");
        let Fragile { messages, told, bugs, .. } = *event_loop.handler();
        assert_eq!((messages, told, bugs), (200, 199, 0));
    }
}
