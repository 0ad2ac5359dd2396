//! The end of a run, which hides nothing: whatever was due and has no answer is counted.

use std::time::Duration;

use edgeloop::{LoopContext, Stop};

use super::{SECOND, Worker};
use crate::bench::course::Interrupted;
use crate::bench::lane::Stage;
use crate::bench::schedule::Schedule;
use crate::results::Times;

/// How long a run that ends with its last message waits for any byte to move, in nanoseconds.
const STALLED: u64 = 10 * SECOND;

/// How long the end of a run waits for the connections to end.
const DRAIN: Duration = Duration::from_secs(1);

impl Worker {
    /// The user wants no more.
    pub(super) fn interrupt(&mut self, cx: &mut impl LoopContext<u32>) {
        let now = cx.clock().as_nanos();
        match self.course.interrupt(now) {
            Interrupted::Finish => self.finish(cx, now),
            Interrupted::Wake => self.course.wake_by(cx, now),
            Interrupted::Nothing => {}
        }
    }

    /// When a run that ends with its last message is given up, if no byte moves until then.
    pub(super) fn stalls_at(&self) -> u64 {
        let since = self.last_move.max(self.course.from);
        // A slow schedule may have nothing to wait for.
        let waits =
            self.course.in_flight > 0 || self.course.alive == 0 || !self.course.is_open_loop();
        let ends_with_it = self.course.share.plan.extent.duration.is_none();
        if ends_with_it && waits { since.saturating_add(STALLED) } else { u64::MAX }
    }

    pub(super) fn has_stalled(&self, now: u64) -> bool {
        now > self.stalls_at()
    }

    /// Whether everything that was due has been answered.
    pub(super) fn is_done(&self) -> bool {
        let waits = |schedule: &Schedule| self.course.may_begin(schedule.next());
        self.course.in_flight == 0
            && !self.lanes.iter().filter_map(|lane| lane.schedule.as_ref()).any(waits)
    }

    /// The run is over.
    pub(super) fn finish(&mut self, cx: &mut impl LoopContext<u32>, now: u64) {
        let ends_with = self.course.ends_with(self.last_answer);
        self.course.finish();
        let scale = Times::default();
        for lane in &mut self.lanes {
            while let Some(flight) = lane.flights.pop_front() {
                lane.abandoned = true;
                self.course.give_up_at_the_end(flight, now);
            }
            let allowed = lane.allowed.filter(|_| lane.is_up());
            self.course.never_sent(lane.schedule.take(), allowed, now, &scale);
            if self.course.share.plan.verifies {
                lane.finish(self.payload, &mut self.course.verdict);
            }
            if let Stage::Up(id) | Stage::Connecting(id) | Stage::Greeting(id) = lane.stage {
                cx.close(id);
            }
        }
        self.course.tell_the_last(ends_with);
        cx.wake_at(None);
        cx.stop(Stop::Drain(Some(DRAIN)));
    }
}
