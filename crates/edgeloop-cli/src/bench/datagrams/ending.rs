//! The end of a run, which hides nothing: whatever was due and has no answer is counted.

use std::time::Duration;

use edgeloop::{LoopContext, Stop};

use super::{DatagramWorker, overflow};
use crate::bench::course::Interrupted;
use crate::bench::schedule::Schedule;
use crate::results::Times;

/// How long a run that ends with its last message waits for anything to come back, in nanoseconds,
/// or twice as long as an answer is waited for.
const STALLED: u64 = 10_000_000_000;

impl DatagramWorker {
    /// The user wants no more.
    pub(super) fn interrupt(&mut self, cx: &mut impl LoopContext<u32>) {
        let now = cx.clock().as_nanos();
        match self.course.interrupt(now) {
            Interrupted::Finish => self.finish(cx, now),
            Interrupted::Wake => self.course.wake_by(cx, now),
            Interrupted::Nothing => {}
        }
    }

    /// When a run that ends with its last message is given up, if nothing comes back until then.
    pub(super) fn stalls_at(&self) -> u64 {
        if self.course.share.plan.extent.duration.is_some() {
            return u64::MAX;
        }
        let wait = STALLED.max(self.timeout().saturating_mul(2));
        self.silent_since.map_or(u64::MAX, |since| since.max(self.course.from).saturating_add(wait))
    }

    pub(super) fn has_stalled(&self, now: u64) -> bool {
        now > self.stalls_at()
    }

    /// Whether everything that was due has been answered or is lost.
    pub(super) fn is_done(&self) -> bool {
        let waits = |schedule: &Schedule| self.course.may_begin(schedule.next());
        let sends = self.flows.iter().filter(|flow| flow.socket.is_some());
        self.course.in_flight == 0 && !sends.filter_map(|flow| flow.schedule.as_ref()).any(waits)
    }

    /// The run is over.
    pub(super) fn finish(&mut self, cx: &mut impl LoopContext<u32>, now: u64) {
        let ends_with = self.course.ends_with(self.last_settled);
        self.course.finish();
        let bound = self.flows.iter().filter(|flow| flow.socket.is_some());
        self.receive_drops = overflow::drops(&bound.map(|flow| flow.local).collect());
        let scale = Times::default();
        for flow in &mut self.flows {
            for flight in flow.give_up() {
                self.course.give_up_at_the_end(flight, now);
            }
            let allowed = flow.allowed.filter(|_| flow.socket.is_some());
            self.course.never_sent(flow.schedule.take(), allowed, now, &scale);
            if let Some(socket) = flow.socket {
                cx.unbind_udp(socket);
            }
        }
        self.course.tell_the_last(ends_with);
        cx.wake_at(None);
        cx.stop(Stop::Drain(Some(Duration::ZERO)));
    }
}
