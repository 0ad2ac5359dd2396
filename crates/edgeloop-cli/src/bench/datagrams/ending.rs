//! The end of a run, which hides nothing: whatever was due and has no answer is counted.

use std::time::Duration;

use edgeloop::{LoopContext, Stop};

use super::{DatagramWorker, End, Phase, overflow};
use crate::bench::plan::Load;
use crate::bench::rest::Rest;
use crate::bench::schedule::Schedule;
use crate::results::{Times, nanos, to_f64};

/// How long a run that ends with its last message waits for anything to come back, in nanoseconds,
/// or twice as long as an answer is waited for.
const STALLED: u64 = 10_000_000_000;

impl DatagramWorker {
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

    /// When a run that ends with its last message is given up, if nothing comes back until then.
    pub(super) fn stalls_at(&self) -> u64 {
        if self.share.plan.extent.duration.is_some() {
            return u64::MAX;
        }
        let wait = STALLED.max(self.timeout().saturating_mul(2));
        self.silent_since.map_or(u64::MAX, |since| since.max(self.from).saturating_add(wait))
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
        // All of so many messages are waited for: each has its own time.
        let waits = self.is_numbered() && extent.duration.is_none();
        self.over = if waits { u64::MAX } else { now.saturating_add(nanos(extent.grace)) };
        self.gate.leave();
    }

    /// Whether everything that was due has been answered or is lost.
    pub(super) fn is_done(&self) -> bool {
        let waits = |schedule: &Schedule| self.may_begin(schedule.next());
        let sends = self.flows.iter().filter(|flow| flow.socket.is_some());
        self.in_flight == 0 && !sends.filter_map(|flow| flow.schedule.as_ref()).any(waits)
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
        let bound = self.flows.iter().filter(|flow| flow.socket.is_some());
        self.receive_drops = overflow::drops(&bound.map(|flow| flow.local).collect());
        let scale = Times::default();
        for index in 0..self.flows.len() {
            self.give_up_at_the_end(index, now);
            let flow = &mut self.flows[index];
            let allowed = flow.allowed.filter(|_| flow.socket.is_some());
            if let Some(schedule) = flow.schedule.take() {
                let (measured, steps, left) = (&mut self.measured, &mut self.steps, &mut self.left);
                let (from, until) = (self.from, self.until);
                Rest { measured, steps, left, from, until, now }.count(schedule, allowed, &scale);
            }
            if let Some(socket) = self.flows[index].socket {
                cx.unbind_udp(socket);
            }
        }
        if is_numbered {
            self.until = self.last_settled.max(self.scheduled_end()).max(self.from);
        }
        self.tick();
        cx.wake_at(None);
        cx.stop(Stop::Drain(Some(Duration::ZERO)));
    }

    /// What is in flight at the end counts, and what was sent in the warm-up does, too: it had all
    /// of the measured time.
    fn give_up_at_the_end(&mut self, index: usize, now: u64) {
        for flight in self.flows[index].give_up() {
            self.in_flight -= 1;
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
}
