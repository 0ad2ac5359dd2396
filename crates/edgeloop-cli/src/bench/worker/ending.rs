//! The end of a run, which hides nothing: whatever was due and has no answer is counted.

use std::time::Duration;

use edgeloop::{LoopContext, Stop};

use super::{End, Phase, SECOND, Worker};
use crate::bench::lane::Stage;
use crate::bench::plan::Load;
use crate::bench::rest::Rest;
use crate::bench::schedule::Schedule;
use crate::results::{Times, nanos, to_f64};

/// How long a run that ends with its last message waits for any byte to move, in nanoseconds.
const STALLED: u64 = 10 * SECOND;

/// How long the end of a run waits for the connections to end.
const DRAIN: Duration = Duration::from_secs(1);

impl Worker {
    /// The user wants no more.
    pub(super) fn interrupt(&mut self, cx: &mut impl LoopContext<u32>) {
        let now = cx.clock().as_nanos();
        match self.phase {
            Phase::Opening | Phase::Waiting => {
                (self.from, self.until, self.end) = (now, now, End::Interrupted);
                self.finish(cx, now);
            }
            Phase::Running => {
                self.stop_sending(now, End::Interrupted);
                self.wake_by(cx, now);
            }
            Phase::Grace if self.end != End::Interrupted => {
                self.end = End::Interrupted;
                self.finish(cx, now);
            }
            Phase::Grace | Phase::Over => {}
        }
    }

    /// When a run that ends with its last message is given up, if no byte moves until then.
    pub(super) fn stalls_at(&self) -> u64 {
        let since = self.last_move.max(self.from);
        // A slow schedule may have nothing to wait for.
        let waits = self.in_flight > 0 || self.alive == 0 || !self.is_open_loop();
        let ends_with_it = self.share.plan.extent.duration.is_none();
        if ends_with_it && waits { since.saturating_add(STALLED) } else { u64::MAX }
    }

    pub(super) fn has_stalled(&self, now: u64) -> bool {
        now > self.stalls_at()
    }

    /// Nothing more becomes due.
    pub(super) fn stop_sending(&mut self, now: u64, end: End) {
        self.phase = Phase::Grace;
        self.end = end;
        // What was due until now counts.
        self.until = self.until.min(now + 1).max(self.from);
        let extent = self.share.plan.extent;
        // All of so many messages are waited for, as long as anything moves.
        let waits = self.is_numbered() && extent.duration.is_none();
        self.over = if waits { u64::MAX } else { now + nanos(extent.grace) };
        self.gate.leave();
    }

    /// Whether everything that was due has been answered.
    pub(super) fn is_done(&self) -> bool {
        let waits = |schedule: &Schedule| self.may_begin(schedule.next());
        self.in_flight == 0
            && !self.lanes.iter().filter_map(|lane| lane.schedule.as_ref()).any(waits)
    }

    /// The run is over.
    pub(super) fn finish(&mut self, cx: &mut impl LoopContext<u32>, now: u64) {
        let is_numbered = self.is_numbered();
        if self.phase != Phase::Grace {
            self.gate.leave();
        }
        self.phase = Phase::Over;
        if self.end == End::NoConnection {
            // Nothing else was measured.
            self.measured.counts.errors.add(&std::mem::take(&mut self.before.errors));
        }
        let scale = Times::default();
        for lane in 0..self.lanes.len() {
            self.give_up_at_the_end(lane, now);
            self.never_sent(lane, now, &scale);
            if self.share.plan.verifies {
                self.lanes[lane].finish(self.payload, &mut self.verdict);
            }
            if let Stage::Up(id) | Stage::Connecting(id) | Stage::Greeting(id) =
                self.lanes[lane].stage
            {
                cx.close(id);
            }
        }
        if is_numbered {
            self.until = self.last_answer.max(self.scheduled_end()).max(self.from);
        }
        self.tick();
        cx.wake_at(None);
        cx.stop(Stop::Drain(Some(DRAIN)));
    }

    /// What is in flight at the end counts, and what was sent in the warm-up does, too: it had all
    /// of the measured time.
    fn give_up_at_the_end(&mut self, lane: usize, now: u64) {
        while let Some(flight) = self.lanes[lane].flights.pop_front() {
            self.in_flight -= 1;
            self.lanes[lane].abandoned = true;
            if flight.due < self.until.max(self.from) {
                self.count_unanswered(flight, now);
            }
        }
    }

    /// When a schedule of so many messages is over: their rate is counted over that.
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

    /// What was due on a connection and was not sent.
    fn never_sent(&mut self, lane: usize, now: u64, scale: &Times) {
        let lane = &mut self.lanes[lane];
        let Some(schedule) = lane.schedule.take() else { return };
        let allowed = lane.allowed.filter(|_| lane.is_up());
        let (measured, steps, left) = (&mut self.measured, &mut self.steps, &mut self.left);
        let mut rest = Rest { measured, steps, left, from: self.from, until: self.until, now };
        rest.count(schedule, allowed, scale);
    }
}
