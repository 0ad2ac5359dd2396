//! Messages: begun when they are due and may be, handed to the loop, and answered.

use edgeloop::{LoopContext, Sent};

use super::{CHUNK, End, Phase, Worker};
use crate::bench::lane::{Flight, Landing, Stage};
use crate::bench::schedule::Schedule;

impl Worker {
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

    /// Sends on a connection all that may be sent now.
    pub(super) fn pump(&mut self, cx: &mut impl LoopContext<u32>, lane: u32, now: u64) {
        if lane as usize >= self.share.active || self.share.plan.connects {
            return;
        }
        while let Some(due) = self.next_message(lane) {
            if due > now {
                return self.enqueue(cx, lane, due);
            }
            self.begin_message(lane, due, now);
            // Those that go at once are one send.
            let one = &self.lanes[lane as usize];
            let goes_on = one.begun - one.sent < CHUNK as u64
                && self.next_message(lane).is_some_and(|due| due <= now);
            if !goes_on {
                self.feed(cx, lane, now);
            }
        }
        if self.phase == Phase::Running && self.left == Some(0) {
            self.wake_by(cx, now);
        }
    }

    /// When the next message of a connection is due, if it may be begun as far as the others allow.
    fn next_message(&mut self, lane: u32) -> Option<u64> {
        let one = &mut self.lanes[lane as usize];
        if one.full || one.flights.len() >= self.share.plan.pipeline {
            one.allowed = None;
            return None;
        }
        // In the closed loop, at once.
        let due = one.schedule.as_ref().map_or(0, Schedule::next);
        self.may_begin(due).then_some(due)
    }

    pub(super) fn begin_message(&mut self, lane: u32, due: u64, now: u64) {
        let (mut size, one) = (self.size(), &mut self.lanes[lane as usize]);
        if let (Some(replies), Some(exchanges)) = (&mut one.replies, &self.share.plan.exchanges) {
            size = replies.begin(exchanges);
        }
        let mut lag = None;
        let due = match &mut one.schedule {
            Some(schedule) => {
                schedule.advance();
                lag = Some(now.saturating_sub(due.max(one.allowed.unwrap_or(now))));
                due
            }
            None => now,
        };
        one.flights.push_back(Flight { due, sent: now });
        one.begun += size;
        self.in_flight += 1;
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
    }

    /// Hands the loop what was begun, as far as the kernel takes it.
    pub(super) fn feed(&mut self, cx: &mut impl LoopContext<u32>, lane: u32, now: u64) {
        let measures = self.measures(now);
        let one = &mut self.lanes[lane as usize];
        let Stage::Up(id) = one.stage else { return };
        while one.sent < one.begun && !one.full {
            let count = usize::try_from(one.begun - one.sent).unwrap_or(CHUNK).min(CHUNK);
            let bytes = &mut self.scratch[..count];
            match (&one.replies, &self.share.plan.exchanges) {
                (Some(replies), Some(exchanges)) => replies.fill(exchanges, one.sent, bytes),
                _ => self.payload.fill(one.stream, one.sent, bytes),
            }
            match cx.send_to(id, bytes) {
                Sent::Written => {}
                Sent::Queued | Sent::AboveMark => one.full = true,
                // Its end is told of by and by.
                Sent::Gone | Sent::Refused => return,
            }
            one.sent += count as u64;
            self.last_move = now;
            if measures {
                self.measured.counts.bytes_sent += count as u64;
            }
        }
    }

    /// An answer has come.
    #[inline]
    pub(super) fn landed(&mut self, Landing { flight, whole }: Landing, now: u64) {
        self.in_flight -= 1;
        if !whole {
            return self.unanswered(flight, now);
        }
        if !self.counts(flight.due) {
            self.before.messages += u64::from(flight.due < self.from);
            return;
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
        self.last_answer = now;
    }
}
