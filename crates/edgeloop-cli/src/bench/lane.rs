//! One of the connections of a run, over all the sockets that it has in turn.

use std::collections::VecDeque;
use std::time::Duration;

use edgeloop::ConnectionId;

use super::exchange::{Exchanges, Framing, Replies};
use super::payload::{Payload, STREAMS};
use super::schedule::Schedule;
use super::verdict::{Verdict, Wrong};
use super::verify::Verifier;

/// How long a connection that was lost waits before it is opened again, at first and at the most.
const BACKOFF: Duration = Duration::from_millis(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// A message that has no answer yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flight {
    /// When it was due, and when it was sent, in nanoseconds.
    pub(crate) due: u64,
    pub(crate) sent: u64,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// There is none: not yet, or not any more.
    Down,
    Connecting(ConnectionId),
    /// Connected; the service speaks first, and has not come to the end of that.
    Greeting(ConnectionId),
    Up(ConnectionId),
}

/// One of the connections of a run, over all the sockets that it has in turn.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) stage: Stage,
    /// The number of what it sends now; each socket sends a stream of its own.
    pub(crate) stream: u64,
    pub(crate) schedule: Option<Schedule>,
    pub(crate) flights: VecDeque<Flight>,
    verifier: Verifier,
    /// Where the service does not echo.
    pub(crate) replies: Option<Box<Replies>>,
    /// Offsets in the stream: the end of the last message that was begun, what was handed to the
    /// loop, the beginning of the first message without an answer, and what came back if that isn't
    /// verified.
    pub(crate) begun: u64,
    pub(crate) sent: u64,
    pub(crate) answered: u64,
    pub(crate) received: u64,
    /// The loop holds output that the kernel has not taken.
    pub(crate) full: bool,
    /// For when it stands in the queue of those that have something due; the end of time if it
    /// doesn't.
    pub(crate) awaits: u64,
    /// Connecting it was tried, and succeeded or failed.
    pub(crate) tried: bool,
    /// Since when it may send: since the last answer that made room, since the kernel takes output
    /// again. None while it may not.
    pub(crate) allowed: Option<u64>,
    /// When its connect began.
    pub(crate) dialled: u64,
    /// What the framing remembers of the greeting.
    greeting: u64,
    /// At the end of the run it had messages in flight: what still comes may be their answers.
    pub(crate) abandoned: bool,
    /// How often connecting has failed in a row.
    failures: u32,
}

impl Lane {
    pub(crate) fn new(stream: u64) -> Self {
        Self {
            stage: Stage::Down,
            stream: stream % STREAMS,
            schedule: None,
            flights: VecDeque::new(),
            verifier: Verifier::default(),
            replies: None,
            begun: 0,
            sent: 0,
            answered: 0,
            received: 0,
            full: false,
            awaits: u64::MAX,
            tried: false,
            allowed: None,
            dialled: 0,
            greeting: 0,
            abandoned: false,
            failures: 0,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Up(_))
    }

    pub(crate) fn opened(&mut self, id: ConnectionId) {
        self.stage = Stage::Up(id);
        self.failures = 0;
    }

    /// Its connection is gone; the next one, `step` further on, sends a stream of its own.
    pub(crate) fn lost(&mut self, step: u64, exchanges: Option<&Exchanges>) {
        let (schedule, flights) = (self.schedule.take(), std::mem::take(&mut self.flights));
        let Self { awaits, tried, failures, .. } = *self;
        let (mut replies, fresh) = (self.replies.take(), Self::new(self.stream + step));
        if let (Some(replies), Some(exchanges)) = (&mut replies, exchanges) {
            replies.lost(exchanges);
        }
        *self = Self { schedule, flights, replies, awaits, tried, failures, ..fresh };
    }

    /// How long to wait before it is connected again.
    pub(crate) fn back_off(&mut self) -> Duration {
        let wait = BACKOFF.saturating_mul(1 << self.failures.min(10)).min(LONGEST_BACKOFF);
        self.failures += 1;
        wait
    }

    /// The next part of what the service says first. Returns what comes behind that, if it has come
    /// to its end.
    pub(crate) fn greet<'a>(&mut self, framing: &Framing, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (count, ends) = framing.take(&mut self.greeting, bytes);
        ends.then_some(&bytes[count..])
    }

    /// Whether it awaits the reply to a message of no bytes.
    fn awaits_unasked(&self) -> bool {
        self.begun == 0 && !self.flights.is_empty()
    }

    /// The other end will send no more: so may an answer end, if all of its message was sent.
    pub(crate) fn end(&mut self, exchanges: Option<&Exchanges>, verdict: &mut Verdict) {
        if let (Some(replies), Some(exchanges)) = (&mut self.replies, exchanges)
            && self.sent == self.begun
            && !self.full
        {
            replies.end(exchanges, self.stream, verdict);
        }
    }

    /// This much came after we had closed the connection. If nothing was in flight, nobody had
    /// asked for it.
    pub(crate) fn discarded(&self, count: u64, verdict: &mut Verdict) {
        let offset = self.replies.as_ref().map_or(self.sent, |replies| replies.received());
        verdict.find(Wrong::Surplus, self.stream, offset, count);
    }

    /// Bytes have come back.
    pub(crate) fn receive(
        &mut self,
        payload: Option<Payload>,
        exchanges: Option<&Exchanges>,
        bytes: &[u8],
        verdict: &mut Verdict,
    ) {
        if self.sent == 0 && !self.awaits_unasked() {
            return verdict.find(Wrong::Greeting, self.stream, 0, bytes.len() as u64);
        }
        if let (Some(replies), Some(exchanges)) = (&mut self.replies, exchanges) {
            return replies.receive(exchanges, self.stream, bytes, verdict);
        }
        match payload {
            Some(payload) => {
                self.verifier.receive(payload, self.stream, self.sent, bytes, verdict);
            }
            None => {
                let received = self.received + bytes.len() as u64;
                // More than was asked for would answer messages that are still to be sent.
                let surplus = received.saturating_sub(self.sent);
                verdict.find(Wrong::Surplus, self.stream, self.sent, surplus);
                self.received = received - surplus;
            }
        }
    }

    /// Whether its present connection has answered anything.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered > 0 || self.replies.as_ref().is_some_and(|replies| replies.has_ended())
    }

    /// How far the answers have come.
    pub(crate) fn reached(&self, verifies: bool) -> u64 {
        if verifies { self.verifier.reached() } else { self.received }
    }

    /// Takes the first message without an answer off if its answer has come to its end by now:
    /// whole, or with a part missing.
    pub(crate) fn land(&mut self, size: u64, verifies: bool) -> Option<Landing> {
        if let Some(replies) = &mut self.replies {
            let flight = if replies.land() { self.flights.pop_front() } else { None };
            return flight.map(|flight| Landing { flight, whole: true });
        }
        let end = self.answered + size;
        if self.reached(verifies) < end {
            return None;
        }
        let flight = self.flights.pop_front()?;
        let whole = !(verifies && self.verifier.lacks(&(self.answered..end)));
        self.answered = end;
        Some(Landing { flight, whole })
    }

    /// Nothing more comes back on its connection.
    pub(crate) fn finish(&mut self, payload: Payload, verdict: &mut Verdict) {
        if let Some(replies) = &mut self.replies {
            return replies.finish(verdict);
        }
        self.verifier.finish(payload, self.stream, self.sent, verdict);
    }
}

/// A message whose answer has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Landing {
    pub(crate) flight: Flight,
    pub(crate) whole: bool,
}
