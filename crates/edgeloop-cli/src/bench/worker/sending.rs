//! Messages: begun when they are due and may be, handed to the loop, and answered.

use edgeloop::{LoopContext, Sent};

use super::{CHUNK, Worker};
use crate::bench::lane::{Landing, Stage};
use crate::bench::schedule::Schedule;

impl Worker {
    /// Sends on a connection all that may be sent now.
    pub(super) fn pump(&mut self, cx: &mut impl LoopContext<u32>, lane: u32, now: u64) {
        if lane as usize >= self.course.share.active || self.course.share.plan.connects {
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
        if self.course.has_begun_all() {
            self.course.wake_by(cx, now);
        }
    }

    /// When the next message of a connection is due, if it may be begun as far as the others allow.
    fn next_message(&mut self, lane: u32) -> Option<u64> {
        let one = &mut self.lanes[lane as usize];
        if one.full || one.flights.len() >= self.course.share.plan.pipeline {
            one.allowed = None;
            return None;
        }
        // In the closed loop, at once.
        let due = one.schedule.as_ref().map_or(0, Schedule::next);
        self.course.may_begin(due).then_some(due)
    }

    pub(super) fn begin_message(&mut self, lane: u32, due: u64, now: u64) {
        let (mut size, one) = (self.size(), &mut self.lanes[lane as usize]);
        if let (Some(replies), Some(exchanges)) =
            (&mut one.replies, &self.course.share.plan.exchanges)
        {
            size = replies.begin(exchanges);
        }
        let flight = self.course.begin_message(&mut one.schedule, one.allowed, due, now);
        one.flights.push_back(flight);
        one.begun += size;
        self.course.in_flight += 1;
    }

    /// Hands the loop what was begun, as far as the kernel takes it.
    pub(super) fn feed(&mut self, cx: &mut impl LoopContext<u32>, lane: u32, now: u64) {
        let measures = self.course.measures(now);
        let one = &mut self.lanes[lane as usize];
        let Stage::Up(id) = one.stage else { return };
        while one.sent < one.begun && !one.full {
            let count = usize::try_from(one.begun - one.sent).unwrap_or(CHUNK).min(CHUNK);
            let bytes = &mut self.scratch[..count];
            match (&one.replies, &self.course.share.plan.exchanges) {
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
                self.course.measured.counts.bytes_sent += count as u64;
            }
        }
    }

    /// An answer has come.
    #[inline]
    pub(super) fn landed(&mut self, Landing { flight, whole }: Landing, now: u64) {
        self.course.in_flight -= 1;
        if !whole {
            return self.course.unanswered(flight, now);
        }
        if self.course.answered(flight, now) {
            self.last_answer = now;
        }
    }
}
