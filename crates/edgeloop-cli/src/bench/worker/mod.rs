//! One thread of a run: its connections, what it sends on them and when, and what comes back.
//!
//! Everything is timed by the loop's own clock, so that a run on the simulated kernel is a run.
//! What is due stands in one queue, a time and a connection each: a message to send, a connection
//! to open. The loop's wake-up is set for the first of them, or for the next thing that the clock
//! alone brings about (`course`): the end of a second, of the run, of the wait for the last
//! answers.

mod ending;
mod greeting;
mod opening;
mod sending;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use edgeloop::{Action, Closed, Context, Handler, Input, LoopContext, Origin};

use super::course::{Course, LOOK, Outcome, Part, Phase, Teller};
use super::errors::Cause;
use super::exchange::Replies;
use super::gate::Gate;
use super::lane::{Lane, Stage};
use super::payload::Payload;
use super::plan::Share;

const SECOND: u64 = 1_000_000_000;

/// How many due things one turn does before it looks at what came in.
const TURN: usize = 256;

/// The most bytes that are handed to the loop at once.
const CHUNK: usize = 64 * 1024;

/// Looking through so few bytes takes less time than matters.
const SHORT: usize = 4096;

/// One thread of a run, as the handler of its loop.
pub(crate) struct Worker {
    course: Course,
    payload: Payload,
    lanes: Vec<Lane>,
    /// Connections that are still to be tried, and how many are being made.
    unmade: VecDeque<u32>,
    began_opening: bool,
    connecting: usize,
    /// How many were tried.
    tried: usize,
    last_answer: u64,
    /// When a byte moved last, to the other end or from it.
    last_move: u64,
    scratch: Box<[u8]>,
}

impl Part for Worker {
    fn new(share: Share, gate: Arc<Gate>, tell: Teller) -> Self {
        let mut lanes: Vec<_> =
            (0..share.connections).map(|lane| Lane::new((share.first + lane) as u64)).collect();
        if share.plan.exchanges.is_some() {
            for lane in &mut lanes[..share.active] {
                lane.replies = Some(Box::new(Replies::new(share.plan.connects)));
            }
        }
        Self {
            payload: Payload::new(share.plan.seed),
            unmade: VecDeque::new(),
            began_opening: false,
            connecting: 0,
            tried: 0,
            last_answer: 0,
            last_move: 0,
            scratch: vec![0; CHUNK].into_boxed_slice(),
            lanes,
            course: Course::new(share, gate, tell),
        }
    }

    fn into_outcome(self) -> Outcome {
        self.course.into_outcome(None)
    }
}

impl Worker {
    const fn size(&self) -> u64 {
        self.course.share.plan.size as u64
    }

    /// Whether what happens now counts: it does from the beginning of the measured time on, and
    /// where opening connections is what is measured, before that as well.
    const fn has_begun(&self, now: u64) -> bool {
        now >= self.course.from || self.course.share.plan.opening.is_some()
    }

    /// An error has happened.
    fn failed(&mut self, cause: Cause, now: u64) {
        let counts = self.has_begun(now);
        let errors = if counts {
            &mut self.course.measured.counts.errors
        } else {
            &mut self.course.before.errors
        };
        errors.count(if self.course.share.plan.is_unix() { cause.of_unix() } else { cause });
    }

    fn lane(&mut self, lane: u32) -> &mut Lane {
        &mut self.lanes[lane as usize]
    }

    // Time.

    /// Sets the wake-up for the next thing that the clock brings about.
    fn await_next(&mut self, cx: &mut impl LoopContext<u32>) {
        let own = match self.course.phase {
            Phase::Opening => u64::MAX,
            Phase::Waiting => cx.now().as_nanos() + LOOK,
            Phase::Running => self.course.until.min(self.course.tick_at()),
            Phase::Grace => self.course.over.min(self.stalls_at()),
            Phase::Over => return,
        };
        self.course.await_next(cx, own);
    }

    /// A connection has something to do then.
    fn enqueue(&mut self, cx: &mut impl LoopContext<u32>, lane: u32, at: u64) {
        self.course.enqueue(cx, &mut self.lanes[lane as usize].awaits, lane, at);
    }

    /// Does what is due, but not too much at once.
    fn serve_due(&mut self, cx: &mut impl LoopContext<u32>) -> u64 {
        let mut now = cx.clock().as_nanos();
        for _ in 0..TURN {
            let Some((at, lane)) = self.course.take_due(now) else { break };
            if self.lane(lane).awaits != at {
                continue;
            }
            self.lane(lane).awaits = u64::MAX;
            match self.lane(lane).stage {
                Stage::Up(_) => self.pump(cx, lane, now),
                Stage::Connecting(_) | Stage::Greeting(_) => {}
                Stage::Down => self.revive(cx, lane, now),
            }
            now = cx.clock().as_nanos();
        }
        now
    }
}

impl Handler for Worker {
    /// Which of the lanes it is.
    type Session = u32;

    /// It has no listener.
    fn session(&mut self, _: &Origin) -> Option<u32> {
        None
    }

    fn opened(&mut self, cx: &mut impl Context<Self::Session>, lane: &mut u32) -> Action {
        self.has_opened(cx, *lane);
        Action::Continue
    }

    #[inline]
    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        lane: &mut u32,
        input: &mut Input<'_>,
    ) -> Action {
        let mut now = cx.clock().as_nanos();
        let (bytes, lane) = (input.take_all(), *lane);
        if matches!(self.lanes[lane as usize].stage, Stage::Greeting(_)) {
            self.greeted(cx, lane, bytes);
            return Action::Continue;
        }
        let (payload, size) =
            (self.course.share.plan.verifies.then_some(self.payload), self.size());
        let (course, one) = (&mut self.course, &mut self.lanes[lane as usize]);
        let verdict =
            if now >= course.from { &mut course.verdict } else { &mut course.before.verdict };
        one.receive(payload, course.share.plan.exchanges.as_deref(), bytes, verdict);
        self.last_move = now;
        if self.course.measures(now) {
            self.course.measured.counts.bytes_received += bytes.len() as u64;
        }
        while let Some(landing) = self.lane(lane).land(size, payload.is_some()) {
            self.landed(landing, now);
        }
        if bytes.len() > SHORT {
            now = cx.clock().as_nanos();
        }
        if self.course.share.plan.connects {
            self.close_if_answered(cx, lane);
        } else {
            self.lane(lane).allowed.get_or_insert(now);
            self.pump(cx, lane, now);
        }
        if self.course.phase == Phase::Grace && self.course.in_flight == 0 {
            self.course.wake_by(cx, now);
        }
        Action::Continue
    }

    fn drained(&mut self, cx: &mut impl Context<Self::Session>, lane: &mut u32) -> Action {
        let (now, lane) = (cx.clock().as_nanos(), *lane);
        let one = self.lane(lane);
        one.full = false;
        one.allowed = Some(now);
        self.last_move = now;
        self.feed(cx, lane, now);
        self.pump(cx, lane, now);
        Action::Continue
    }

    fn end(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        lane: &mut u32,
        _: &mut Input<'_>,
    ) -> Action {
        self.has_ended(cx, *lane);
        Action::Close
    }

    fn timer(&mut self, _: &mut impl Context<Self::Session>, lane: &mut u32, _: u32) -> Action {
        self.is_not_greeted(*lane)
    }

    fn closed(&mut self, cx: &mut impl Context<Self::Session>, lane: u32, closed: &Closed) {
        let cause = self.cause_of(lane, closed);
        self.has_closed(cx, lane, cause, closed.discarded);
    }

    fn notified(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        if self.course.gate.is_interrupted() {
            self.interrupt(cx);
        } else if !self.began_opening {
            self.wake_up(cx);
        }
    }

    fn wake_up(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        match self.course.phase {
            Phase::Opening => self.open(cx),
            Phase::Waiting => {
                if let Some(begin) = self.course.gate.begin() {
                    self.begin(cx, begin);
                }
            }
            _ => {}
        }
        let now = self.serve_due(cx);
        let has_stalled = self.has_stalled(now);
        self.course.look_at_the_clock(now, has_stalled);
        if self.course.phase == Phase::Grace
            && (self.is_done() || self.course.gives_up(now, has_stalled))
        {
            return self.finish(cx, now);
        }
        self.await_next(cx);
    }
}
