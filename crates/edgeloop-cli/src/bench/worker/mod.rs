//! One thread of a run: its connections, what it sends on them and when, and what comes back.
//!
//! Everything is timed by the loop's own clock, so that a run on the simulated kernel is a run.
//! What is due stands in one queue, a time and a connection each: a message to send, a connection
//! to open. The loop's wake-up is set for the first of them, or for the next thing that the clock
//! alone brings about: the end of a second, of the run, of the wait for the last answers.
//!
//! ```text
//!   Opening ──▶ Waiting ──▶ Running ──▶ Grace ──▶ Over
//!   connect     for other    warm-up,    the last   let the connections
//!   them all    threads      then count  answers    end
//! ```

mod ending;
mod greeting;
mod opening;
mod sending;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use edgeloop::{Action, Closed, Context, Handler, Input, LoopContext, Origin, Time};

use super::errors::Cause;
use super::exchange::Replies;
use super::gate::Gate;
use super::lane::{Lane, Stage};
use super::payload::Payload;
use super::plan::{Load, Share};
use super::record::{Before, Measured};
use super::steps::Steps;
use super::verdict::Verdict;
use crate::results::nanos;

const SECOND: u64 = 1_000_000_000;

/// How many due things one turn does before it looks at what came in.
const TURN: usize = 256;

/// How often a thread that waits for the others looks whether they have come.
const LOOK: u64 = 1_000_000;

/// The most bytes that are handed to the loop at once.
const CHUNK: usize = 64 * 1024;

/// Looking through so few bytes takes less time than matters.
const SHORT: usize = 4096;

/// What a thread tells of a part of the measured time that is over: of a second or less.
#[derive(Debug)]
pub(crate) struct Tick {
    /// Which part it was, from 0 on.
    pub(crate) number: u64,
    /// How much of it was measured, in nanoseconds.
    pub(crate) span: u64,
    /// Connections that are open, and messages that have no answer yet.
    pub(crate) alive: usize,
    pub(crate) in_flight: usize,
}

/// Takes what a thread tells and has measured, and leaves something empty for it to go on with: to
/// make that itself would take it longer than a message may.
pub(crate) type Teller = Box<dyn FnMut(Tick, &mut Measured) + Send>;

/// How a thread's part of a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// After its time, or with its last message.
    Whole,
    Interrupted,
    /// Not one connection could be made at the beginning.
    NoConnection,
    /// Nothing came back for so long that the last message would never have been sent.
    Stalled,
}

/// What a thread's part of a run has come to, beside what it has told each second.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) end: End,
    /// Of how many ticks it has told.
    pub(crate) ticks: u64,
    /// For how long it was measured, in nanoseconds.
    pub(crate) span: u64,
    /// Connections that were open at the end of that.
    pub(crate) alive: usize,
    /// What happened before it.
    pub(crate) before: Before,
    /// Connections that were made to each of the addresses, from the beginning on.
    pub(crate) made: Vec<u64>,
    pub(crate) steps: Option<Steps>,
    /// Datagrams that its own receive buffers had no room for, if that is known.
    pub(crate) receive_drops: Option<u64>,
}

/// The handler of a thread's loop, which does its part of a run.
pub(crate) trait Part: Handler<Session = u32> + Send + 'static {
    fn new(share: Share, gate: Arc<Gate>, tell: Teller) -> Self;

    /// What the run has come to.
    fn into_outcome(self) -> Outcome;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Connections are made.
    Opening,
    /// This thread is ready; others are not.
    Waiting,
    Running,
    /// Nothing more is sent but what was due before; answers are waited for.
    Grace,
    Over,
}

/// One thread of a run, as the handler of its loop.
pub(crate) struct Worker {
    share: Share,
    gate: Arc<Gate>,
    tell: Teller,
    payload: Payload,
    lanes: Vec<Lane>,
    /// When which connection has something to do. An entry that is not the one that the connection
    /// awaits is left over from before.
    due: BinaryHeap<Reverse<(u64, u32)>>,
    /// Connections that are still to be tried, and how many are being made.
    unmade: VecDeque<u32>,
    began_opening: bool,
    connecting: usize,
    /// How many were tried.
    tried: usize,
    alive: usize,
    in_flight: usize,
    phase: Phase,
    /// From when on messages count, and until when they may be due.
    from: u64,
    until: u64,
    /// The end of the wait for the last answers.
    over: u64,
    /// For when the wake-up is set.
    awaits: u64,
    /// How many ticks there were.
    ticks: u64,
    /// Messages that may still be begun, if they are numbered.
    left: Option<u64>,
    last_answer: u64,
    /// When a byte moved last, to the other end or from it.
    last_move: u64,
    /// Of the present tick, and of the time before all that is measured.
    measured: Measured,
    before: Before,
    /// Connections that were made to each of the addresses.
    made: Vec<u64>,
    /// The steps of a profile, from the beginning of the measured time on.
    steps: Option<Steps>,
    verdict: Verdict,
    end: End,
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
            gate,
            tell,
            payload: Payload::new(share.plan.seed),
            due: BinaryHeap::new(),
            unmade: VecDeque::new(),
            began_opening: false,
            connecting: 0,
            tried: 0,
            alive: 0,
            in_flight: 0,
            phase: Phase::Opening,
            from: u64::MAX,
            until: u64::MAX,
            over: u64::MAX,
            awaits: u64::MAX,
            ticks: 0,
            left: None,
            last_answer: 0,
            last_move: 0,
            measured: Measured::default(),
            before: Before::default(),
            made: vec![0; share.plan.addresses.len()],
            steps: None,
            verdict: Verdict::default(),
            end: End::Whole,
            scratch: vec![0; CHUNK].into_boxed_slice(),
            lanes,
            share,
        }
    }

    fn into_outcome(self) -> Outcome {
        let span = self.until.saturating_sub(self.from);
        let Self { verdict, end, ticks, alive, before, made, steps, .. } = self;
        Outcome { verdict, end, ticks, span, alive, before, made, steps, receive_drops: None }
    }
}

impl Worker {
    const fn size(&self) -> u64 {
        self.share.plan.size as u64
    }

    const fn is_open_loop(&self) -> bool {
        matches!(self.share.plan.load, Load::Open { .. })
    }

    /// Whether a message that was due at this time counts.
    const fn counts(&self, due: u64) -> bool {
        due >= self.from && due < self.until
    }

    /// Whether bytes that go or come at this time count. If messages are numbered, those of the
    /// last answer do.
    fn measures(&self, now: u64) -> bool {
        now >= self.from && (now < self.until || self.phase == Phase::Grace && self.is_numbered())
    }

    /// Whether what happens now counts: it does from the beginning of the measured time on, and
    /// where opening connections is what is measured, before that as well.
    const fn has_begun(&self, now: u64) -> bool {
        now >= self.from || self.share.plan.opening.is_some()
    }

    /// An error has happened.
    fn failed(&mut self, cause: Cause, now: u64) {
        let counts = self.has_begun(now);
        let errors =
            if counts { &mut self.measured.counts.errors } else { &mut self.before.errors };
        errors.count(if self.share.plan.is_unix() { cause.of_unix() } else { cause });
    }

    /// Whether it ends with its last message, and so takes as long as the answers do.
    fn is_numbered(&self) -> bool {
        self.left == Some(0) && self.end == End::Whole
    }

    fn lane(&mut self, lane: u32) -> &mut Lane {
        &mut self.lanes[lane as usize]
    }

    // Time.

    /// Sets the wake-up for the next thing that the clock brings about.
    fn await_next(&mut self, cx: &mut impl LoopContext<u32>) {
        let own = match self.phase {
            Phase::Opening => u64::MAX,
            Phase::Waiting => cx.now().as_nanos() + LOOK,
            Phase::Running => self.until.min(self.tick_at()),
            Phase::Grace => self.over.min(self.stalls_at()),
            Phase::Over => return,
        };
        let first = self.due.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        self.awaits = u64::MAX;
        self.wake_by(cx, own.min(first));
    }

    /// Makes sure to be woken by then.
    fn wake_by(&mut self, cx: &mut impl LoopContext<u32>, at: u64) {
        if at < self.awaits {
            self.awaits = at;
            cx.wake_at(Some(Time::from_nanos(at)));
        }
    }

    /// A connection has something to do then.
    fn enqueue(&mut self, cx: &mut impl LoopContext<u32>, lane: u32, at: u64) {
        let one = self.lane(lane);
        if at < one.awaits {
            one.awaits = at;
            self.due.push(Reverse((at, lane)));
            self.wake_by(cx, at);
        }
    }

    /// Does what is due, but not too much at once.
    fn serve_due(&mut self, cx: &mut impl LoopContext<u32>) -> u64 {
        let mut now = cx.clock().as_nanos();
        for _ in 0..TURN {
            let Some(&Reverse((at, lane))) = self.due.peek() else { break };
            if at > now {
                break;
            }
            self.due.pop();
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

    /// When the next part of the measured time is over.
    fn tick_at(&self) -> u64 {
        self.from.saturating_add((self.ticks + 1) * nanos(self.share.plan.tick))
    }

    /// A part of the measured time is over.
    fn tick(&mut self) {
        let (number, alive, in_flight) = (self.ticks, self.alive, self.in_flight);
        let length = nanos(self.share.plan.tick);
        let begin = self.from.saturating_add(number * length);
        let span = self.until.saturating_sub(begin).min(length);
        (self.tell)(Tick { number, span, alive, in_flight }, &mut self.measured);
        self.ticks += 1;
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
        let (payload, size) = (self.share.plan.verifies.then_some(self.payload), self.size());
        let (exchanges, one) =
            (self.share.plan.exchanges.as_deref(), &mut self.lanes[lane as usize]);
        let measured = now >= self.from;
        let verdict = if measured { &mut self.verdict } else { &mut self.before.verdict };
        one.receive(payload, exchanges, bytes, verdict);
        self.last_move = now;
        if self.measures(now) {
            self.measured.counts.bytes_received += bytes.len() as u64;
        }
        while let Some(landing) = self.lane(lane).land(size, payload.is_some()) {
            self.landed(landing, now);
        }
        if bytes.len() > SHORT {
            now = cx.clock().as_nanos();
        }
        if self.share.plan.connects {
            self.close_if_answered(cx, lane);
        } else {
            self.lane(lane).allowed.get_or_insert(now);
            self.pump(cx, lane, now);
        }
        if self.phase == Phase::Grace && self.in_flight == 0 {
            self.wake_by(cx, now);
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
        if self.gate.is_interrupted() {
            self.interrupt(cx);
        } else if !self.began_opening {
            self.wake_up(cx);
        }
    }

    fn wake_up(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        match self.phase {
            Phase::Opening => self.open(cx),
            Phase::Waiting => {
                if let Some(begin) = self.gate.begin() {
                    self.begin(cx, begin);
                }
            }
            _ => {}
        }
        let now = self.serve_due(cx);
        if self.phase == Phase::Running {
            // The last one ends with the run, also where this thread has overslept that.
            let told = now.min(self.until - 1);
            while told >= self.tick_at() {
                self.tick();
            }
            if now >= self.until || self.left == Some(0) {
                self.stop_sending(now, End::Whole);
            } else if self.has_stalled(now) {
                self.stop_sending(now, End::Stalled);
            }
        }
        if self.phase == Phase::Grace && (self.is_done() || now >= self.over) {
            return self.finish(cx, now);
        }
        if self.phase == Phase::Grace && self.has_stalled(now) {
            self.end = End::Stalled;
            return self.finish(cx, now);
        }
        self.await_next(cx);
    }
}
