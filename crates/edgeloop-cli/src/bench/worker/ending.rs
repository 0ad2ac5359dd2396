//! The end of a run, which hides nothing: whatever was due and has no answer is counted.

use std::time::Duration;

use edgeloop::{LoopContext, Stop};

use super::{End, Phase, SECOND, Worker, nanos};
use crate::bench::lane::Stage;
use crate::bench::record::Times;
use crate::bench::schedule::Schedule;

/// How long a run that ends with its last message waits for anything to come back, in nanoseconds.
const STALLED: u64 = 10 * SECOND;

/// How long the end of a run waits for the connections to end.
const DRAIN: Duration = Duration::from_secs(1);

impl Worker {
    /// The user wants no more.
    pub(super) fn interrupt(&mut self, cx: &mut impl LoopContext) {
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

    /// Whether nothing has come back for so long that a run which ends with its last message never
    /// would.
    pub(super) fn has_stalled(&self, now: u64) -> bool {
        let since = self.last_news.max(self.from);
        // A slow schedule may have nothing to wait for.
        let waits = self.in_flight > 0 || self.alive == 0 || !self.is_open_loop();
        self.until == u64::MAX && waits && now > since.saturating_add(STALLED)
    }

    /// Nothing more becomes due.
    pub(super) fn stop_sending(&mut self, now: u64, end: End) {
        self.phase = Phase::Grace;
        self.end = end;
        // What was due until now counts.
        self.until = self.until.min(now + 1).max(self.from);
        self.over = now + nanos(self.share.plan.extent.grace);
    }

    /// Whether everything that was due has been answered.
    pub(super) fn is_done(&self) -> bool {
        let waits = |schedule: &Schedule| self.may_begin(schedule.next());
        self.in_flight == 0
            && !self.lanes.iter().filter_map(|lane| lane.schedule.as_ref()).any(waits)
    }

    /// The run is over.
    pub(super) fn finish(&mut self, cx: &mut impl LoopContext, now: u64) {
        // An answer of which a part has come, and that then had all this time.
        let had_time = self.phase == Phase::Grace && now >= self.over;
        let is_numbered = self.is_numbered();
        self.phase = Phase::Over;
        let (size, scale) = (self.size(), Times::default());
        for lane in 0..self.lanes.len() {
            self.give_up_flights(lane, now);
            self.never_sent(lane, now, &scale);
            if self.share.plan.verifies {
                self.lanes[lane].finish(self.payload, size, had_time, &mut self.verdict);
            }
            if let Stage::Up(id) | Stage::Connecting(id) = self.lanes[lane].stage {
                cx.close(id);
            }
        }
        if is_numbered {
            self.until = self.last_answer.max(self.from);
        }
        self.tick();
        cx.wake_at(None);
        cx.stop(Stop::Drain(Some(DRAIN)));
    }

    /// What was due on a connection and was not sent. Times that are alike on the scale of a histogram
    /// are recorded together, for there may be a great many.
    fn never_sent(&mut self, lane: usize, now: u64, scale: &Times) {
        let lane = &mut self.lanes[lane];
        let Some(mut schedule) = lane.schedule.take() else { return };
        let allowed = lane.allowed.filter(|_| lane.is_up());
        schedule.skip(self.from, |_| self.from, |_, _| {});
        let until = if self.left == Some(0) { self.from } else { self.until };
        let (measured, left) = (&mut self.measured, &mut self.left);
        schedule.skip(
            until,
            |due| now - scale.shortest_alike(now.saturating_sub(due)) + 1,
            |due, mut count| {
                if let Some(left) = left {
                    count = count.min(*left);
                    *left -= count;
                }
                measured.latency.record_unanswered(now.saturating_sub(due), count);
                measured.counts.unanswered += count;
                if let Some(since) = allowed {
                    measured.counts.lateness.sent(now.saturating_sub(due.max(since)), count);
                }
            },
        );
    }
}
