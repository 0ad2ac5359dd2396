//! The course of one thread's part of a run: its phases and its times, what counts in them, and
//! what is counted. Whatever the messages go over, `worker` or `datagrams`, this is the same.
//!
//! ```text
//!   Opening ──▶ Waiting ──▶ Running ──▶ Grace ──▶ Over
//!               for other    warm-up,    the last
//!               threads      then count  answers
//! ```

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use edgeloop::{Handler, LoopContext, Time};

use super::gate::Gate;
use super::lane::Flight;
use super::plan::{Load, Share};
use super::profile::Curve;
use super::record::{Before, Measured};
use super::rest::Rest;
use super::schedule::Schedule;
use super::steps::Steps;
use super::verdict::Verdict;
use crate::results::{Times, nanos, to_f64};

/// How often a thread that waits for the others looks whether they have come.
pub(super) const LOOK: u64 = 1_000_000;

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
pub(super) enum Phase {
    /// Connections are made.
    Opening,
    /// This thread is ready; others are not.
    Waiting,
    Running,
    /// Nothing more is sent but what was due before; answers are waited for.
    Grace,
    Over,
}

/// What an interruption asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupted {
    Finish,
    Wake,
    Nothing,
}

pub(super) struct Course {
    pub(super) share: Share,
    pub(super) gate: Arc<Gate>,
    tell: Teller,
    pub(super) phase: Phase,
    /// From when on messages count, and until when they may be due.
    pub(super) from: u64,
    pub(super) until: u64,
    /// The end of the wait for the last answers.
    pub(super) over: u64,
    /// How many ticks there were.
    ticks: u64,
    /// Messages that may still be begun, if they are numbered.
    left: Option<u64>,
    pub(super) alive: usize,
    pub(super) in_flight: usize,
    /// Of the present tick, and of the time before all that is measured.
    pub(super) measured: Measured,
    pub(super) before: Before,
    /// Connections that were made to each of the addresses.
    pub(super) made: Vec<u64>,
    /// The steps of a profile, from the beginning of the measured time on.
    steps: Option<Steps>,
    pub(super) verdict: Verdict,
    pub(super) end: End,
    /// When which connection has something to do. An entry that is not the one that the connection
    /// awaits is left over from before.
    pub(super) due: BinaryHeap<Reverse<(u64, u32)>>,
    /// For when the wake-up is set.
    pub(super) awaits: u64,
}

/// Makes the schedules of connections.
pub(super) struct Schedules {
    curve: Option<Arc<Curve>>,
    load: Load,
    seed: u64,
    /// Of how many connections.
    all: usize,
    begin: u64,
}

impl Schedules {
    /// That of the connection of this number; none in the closed loop.
    pub(super) fn of(&self, number: usize) -> Option<Schedule> {
        let Load::Open { rate, arrival } = self.load else { return None };
        let seed = self.seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let of = (number, self.all);
        Some(match &self.curve {
            Some(curve) => Schedule::along(curve.clone(), arrival, of, seed, self.begin),
            None => Schedule::new(arrival, rate, of, seed, self.begin),
        })
    }
}

impl Course {
    pub(super) fn new(share: Share, gate: Arc<Gate>, tell: Teller) -> Self {
        Self {
            gate,
            tell,
            phase: Phase::Opening,
            from: u64::MAX,
            until: u64::MAX,
            over: u64::MAX,
            ticks: 0,
            left: None,
            alive: 0,
            in_flight: 0,
            measured: Measured::default(),
            before: Before::default(),
            made: vec![0; share.plan.addresses.len()],
            steps: None,
            verdict: Verdict::default(),
            end: End::Whole,
            due: BinaryHeap::new(),
            awaits: u64::MAX,
            share,
        }
    }

    pub(super) fn into_outcome(self, receive_drops: Option<u64>) -> Outcome {
        let span = self.until.saturating_sub(self.from);
        let Self { verdict, end, ticks, alive, before, made, steps, .. } = self;
        Outcome { verdict, end, ticks, span, alive, before, made, steps, receive_drops }
    }

    pub(super) const fn is_open_loop(&self) -> bool {
        matches!(self.share.plan.load, Load::Open { .. })
    }

    /// Whether a message that was due at this time counts.
    pub(super) const fn counts(&self, due: u64) -> bool {
        due >= self.from && due < self.until
    }

    /// Whether bytes that go or come at this time count. If messages are numbered, those of the
    /// last answer do.
    pub(super) fn measures(&self, now: u64) -> bool {
        now >= self.from && (now < self.until || self.phase == Phase::Grace && self.is_numbered())
    }

    /// Whether it ends with its last message, and so takes as long as the answers do.
    fn is_numbered(&self) -> bool {
        self.left == Some(0) && self.end == End::Whole
    }

    /// Whether the last of the messages that are numbered has been begun.
    pub(super) fn has_begun_all(&self) -> bool {
        self.phase == Phase::Running && self.left == Some(0)
    }

    /// Whether one more message may be begun.
    pub(super) fn may_begin(&self, due: u64) -> bool {
        let sends = match self.phase {
            Phase::Running => true,
            // What was due before is still sent, though nothing new is.
            Phase::Grace => self.is_open_loop() && self.end == End::Whole,
            Phase::Opening | Phase::Waiting | Phase::Over => false,
        };
        sends && due < self.until && self.left != Some(0)
    }

    /// Where what is wrong with bytes of this time is counted.
    pub(super) fn verdict_at(&mut self, now: u64) -> &mut Verdict {
        if now >= self.from { &mut self.verdict } else { &mut self.before.verdict }
    }

    // Its beginning.

    /// All has been tried: this thread is ready, and waits for others.
    pub(super) fn arrive(&mut self, now: u64) {
        self.phase = Phase::Waiting;
        self.gate.arrive(now, 2 * LOOK);
    }

    /// There is nothing to measure.
    pub(super) fn is_in_vain(&mut self, now: u64, end: End) {
        (self.from, self.until, self.end) = (now, now, end);
    }

    /// All threads begin. Returns what makes the schedules.
    pub(super) fn begin(&mut self, begin: u64) -> Schedules {
        let plan = &self.share.plan;
        let (extent, load, seed, all) = (plan.extent, plan.load, plan.seed, plan.active);
        self.phase = Phase::Running;
        self.from = begin + nanos(extent.warmup);
        self.until = extent.duration.map_or(u64::MAX, |duration| self.from + nanos(duration));
        self.left = self.share.messages;
        let profile = plan.profile.clone();
        let curve = profile.as_ref().map(|profile| Arc::new(profile.curve(extent.warmup)));
        self.steps = profile.map(|profile| Steps::new(&profile, self.from));
        Schedules { curve, load, seed, all, begin }
    }

    // Time.

    /// Sets the wake-up for this time, or for the first thing that is due.
    pub(super) fn await_next(&mut self, cx: &mut impl LoopContext<u32>, own: u64) {
        let first = self.due.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        self.awaits = u64::MAX;
        self.wake_by(cx, own.min(first));
    }

    /// Makes sure to be woken by then.
    pub(super) fn wake_by(&mut self, cx: &mut impl LoopContext<u32>, at: u64) {
        if at < self.awaits {
            self.awaits = at;
            cx.wake_at(Some(Time::from_nanos(at)));
        }
    }

    /// A connection, which awaits something else until now, has something to do then.
    pub(super) fn enqueue(
        &mut self,
        cx: &mut impl LoopContext<u32>,
        awaits: &mut u64,
        lane: u32,
        at: u64,
    ) {
        if at < *awaits {
            *awaits = at;
            self.due.push(Reverse((at, lane)));
            self.wake_by(cx, at);
        }
    }

    /// Takes the first thing off that is due by now: its time, and the connection.
    pub(super) fn take_due(&mut self, now: u64) -> Option<(u64, u32)> {
        let &Reverse((at, _)) = self.due.peek()?;
        if at > now {
            return None;
        }
        self.due.pop().map(|Reverse(due)| due)
    }

    /// When the next part of the measured time is over.
    pub(super) fn tick_at(&self) -> u64 {
        self.from.saturating_add((self.ticks + 1) * nanos(self.share.plan.tick))
    }

    /// A part of the measured time is over.
    fn tick(&mut self) {
        let (number, alive, in_flight) = (self.ticks, self.alive, self.in_flight);
        let length = nanos(self.share.plan.tick);
        let begin = self.from.saturating_add(number * length);
        let span = self.until.saturating_sub(begin).min(length);
        if self.share.plan.has_datagrams() {
            // None is told from none of any kind.
            self.measured.counts.datagrams.get_or_insert_default();
        }
        (self.tell)(Tick { number, span, alive, in_flight }, &mut self.measured);
        self.ticks += 1;
    }

    // Messages.

    /// A message is begun that was due then, on a connection with this schedule that may send since
    /// `allowed`. In the closed loop it is due now.
    pub(super) fn begin_message(
        &mut self,
        schedule: &mut Option<Schedule>,
        allowed: Option<u64>,
        due: u64,
        now: u64,
    ) -> Flight {
        let mut lag = None;
        let due = match schedule {
            Some(schedule) => {
                schedule.advance();
                lag = Some(now.saturating_sub(due.max(allowed.unwrap_or(now))));
                due
            }
            None => now,
        };
        if let Some(lag) = lag.filter(|_| self.counts(due)) {
            self.measured.counts.lateness.sent(lag, 1);
            if let Some(steps) = &mut self.steps {
                steps.sent(due, lag, 1);
            }
        }
        if due >= self.from
            && let Some(left) = &mut self.left
        {
            *left -= 1;
        }
        Flight { due, sent: now }
    }

    /// A message was answered. Returns whether it counts.
    #[inline]
    pub(super) fn answered(&mut self, flight: Flight, now: u64) -> bool {
        if !self.counts(flight.due) {
            self.before.messages += u64::from(flight.due < self.from);
            return false;
        }
        self.measured.latency.record(now.saturating_sub(flight.due));
        if let Some(steps) = &mut self.steps {
            steps.answered(flight.due, now.saturating_sub(flight.due));
        }
        if self.is_open_loop() {
            self.measured.service.record(now.saturating_sub(flight.sent));
        }
        self.measured.counts.messages += 1;
        self.measured.counts.in_time += u64::from(self.measures(now));
        true
    }

    /// No answer will come to this one, or none that counts.
    pub(super) fn unanswered(&mut self, flight: Flight, now: u64) {
        if self.counts(flight.due) {
            self.count_unanswered(flight, now);
        } else if flight.due < self.from {
            self.before.unanswered += 1;
        }
    }

    fn count_unanswered(&mut self, flight: Flight, now: u64) {
        let waited = now.saturating_sub(flight.due);
        self.measured.latency.record_unanswered(waited, 1);
        if let Some(steps) = &mut self.steps {
            steps.unanswered(flight.due, waited, 1);
        }
        if self.is_open_loop() {
            self.measured.service.record_unanswered(now.saturating_sub(flight.sent), 1);
        }
        self.measured.counts.unanswered += 1;
    }

    // Its end.

    /// The user wants no more.
    pub(super) fn interrupt(&mut self, now: u64) -> Interrupted {
        match self.phase {
            Phase::Opening | Phase::Waiting => {
                self.is_in_vain(now, End::Interrupted);
                Interrupted::Finish
            }
            Phase::Running => {
                self.stop_sending(now, End::Interrupted);
                Interrupted::Wake
            }
            Phase::Grace if self.end != End::Interrupted => {
                self.end = End::Interrupted;
                Interrupted::Finish
            }
            Phase::Grace | Phase::Over => Interrupted::Nothing,
        }
    }

    /// Tells of what is over, and begins to end if it is time, or if nothing comes back any more.
    pub(super) fn look_at_the_clock(&mut self, now: u64, has_stalled: bool) {
        if self.phase != Phase::Running {
            return;
        }
        // The last one ends with the run, also where this thread has overslept that.
        let told = now.min(self.until - 1);
        while told >= self.tick_at() {
            self.tick();
        }
        if now >= self.until || self.left == Some(0) {
            self.stop_sending(now, End::Whole);
        } else if has_stalled {
            self.stop_sending(now, End::Stalled);
        }
    }

    /// Nothing more becomes due.
    fn stop_sending(&mut self, now: u64, end: End) {
        self.phase = Phase::Grace;
        self.end = end;
        // What was due until now counts.
        self.until = self.until.min(now + 1).max(self.from);
        let extent = self.share.plan.extent;
        // Where messages are numbered, the answers to all of them are waited for.
        let waits = self.is_numbered() && extent.duration.is_none();
        self.over = if waits { u64::MAX } else { now.saturating_add(nanos(extent.grace)) };
        self.gate.leave();
    }

    /// Whether the last answers are not waited for any more, though some are missing.
    pub(super) fn gives_up(&mut self, now: u64, has_stalled: bool) -> bool {
        if now >= self.over {
            return true;
        }
        if has_stalled {
            self.end = End::Stalled;
        }
        has_stalled
    }

    /// The run is over, but for what is still to be counted.
    pub(super) fn finish(&mut self) {
        if self.phase != Phase::Grace {
            self.gate.leave();
        }
        self.phase = Phase::Over;
        if self.end == End::NoConnection {
            // Nothing else was measured.
            self.measured.counts.errors.add(&std::mem::take(&mut self.before.errors));
        }
    }

    /// What is in flight at the end counts, and what was sent in the warm-up does, too: it had all
    /// of the measured time.
    pub(super) fn give_up_at_the_end(&mut self, flight: Flight, now: u64) {
        self.in_flight -= 1;
        if flight.due < self.until.max(self.from) {
            self.count_unanswered(flight, now);
        }
    }

    /// What was due by a schedule and was not sent, though it could have been since `allowed`.
    pub(super) fn never_sent(
        &mut self,
        schedule: Option<Schedule>,
        allowed: Option<u64>,
        now: u64,
        scale: &Times,
    ) {
        let Some(schedule) = schedule else { return };
        let (measured, steps, left) = (&mut self.measured, &mut self.steps, &mut self.left);
        let mut rest = Rest { measured, steps, left, from: self.from, until: self.until, now };
        rest.count(schedule, allowed, scale);
    }

    /// Tells of the last part of the measured time. One that ends with its last message has lasted
    /// until `last`, or until its schedule was over; `is_numbered` says so before what was never
    /// sent was counted.
    pub(super) fn tell_the_last(&mut self, ends_with: Option<u64>) {
        if let Some(last) = ends_with {
            self.until = last.max(self.scheduled_end()).max(self.from);
        }
        self.tick();
    }

    /// When the last answer came, if the run ends with that.
    pub(super) fn ends_with(&self, last: u64) -> Option<u64> {
        self.is_numbered().then_some(last)
    }

    /// When the schedule of all messages is over: their rate is counted over that.
    fn scheduled_end(&self) -> u64 {
        let plan = &self.share.plan;
        match (plan.load, plan.extent.messages) {
            (Load::Open { rate, .. }, Some(all)) => {
                let length = Duration::try_from_secs_f64(to_f64(all) / rate);
                self.from.saturating_add(nanos(length.unwrap_or(Duration::MAX)))
            }
            _ => self.from,
        }
    }
}
