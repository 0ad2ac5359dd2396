//! Datagrams: sent when they are due and may be, and lost when no answer comes in time.

use std::cmp::Reverse;

use edgeloop::{LoopContext, SentDatagram};

use super::{DatagramWorker, End, Phase};
use crate::bench::errors::Cause;
use crate::bench::lane::Flight;
use crate::bench::schedule::Schedule;
use crate::results::nanos;

/// How many datagrams of one socket are sent before others have their turn.
const SENDS: usize = 64;

/// How long a closed loop waits before it sends again what the kernel had no room for, in
/// nanoseconds.
const NO_ROOM: u64 = 1_000_000;

impl DatagramWorker {
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

    /// Sends on a socket all that may be sent now.
    pub(super) fn pump(&mut self, cx: &mut impl LoopContext<u32>, flow: u32, now: u64) {
        let mut now = now;
        for _ in 0..SENDS {
            let Some(due) = self.next_message(flow) else { return self.has_sent_all(cx, now) };
            let at = due.max(self.flow(flow).resumes);
            if at > now {
                return self.enqueue(cx, flow, at);
            }
            self.send(cx, flow, due, now);
            now = cx.clock().as_nanos();
        }
        self.enqueue(cx, flow, now);
    }

    /// The last of so many messages may have been sent.
    fn has_sent_all(&mut self, cx: &mut impl LoopContext<u32>, now: u64) {
        if self.phase == Phase::Running && self.left == Some(0) {
            self.wake_by(cx, now);
        }
    }

    /// When the next message of a socket is due, if it may be begun as far as the others allow.
    fn next_message(&mut self, flow: u32) -> Option<u64> {
        let pipeline = self.share.plan.pipeline;
        let one = self.flow(flow);
        one.socket?;
        if one.open() >= pipeline {
            one.allowed = None;
            return None;
        }
        // In the closed loop, at once.
        let due = one.schedule.as_ref().map_or(0, Schedule::next);
        self.may_begin(due).then_some(due)
    }

    fn send(&mut self, cx: &mut impl LoopContext<u32>, flow: u32, due: u64, now: u64) {
        let one = &mut self.flows[flow as usize];
        let Some(socket) = one.socket else { return };
        one.fill(self.payload, &mut self.scratch);
        let sent = cx.send_datagram(socket, one.target, &self.scratch);
        match sent {
            SentDatagram::Sent => {}
            SentDatagram::Dropped => {
                self.strays(now).no_room += 1;
                if !self.is_open_loop() {
                    self.flow(flow).resumes = now + NO_ROOM;
                    return;
                }
            }
            SentDatagram::Refused(_) => {
                if let Some(error) = sent.error() {
                    self.failed(Cause::of_send(&error), now);
                }
                if !self.is_open_loop() {
                    let one = self.flow(flow);
                    one.resumes = now + nanos(one.back_off());
                    return;
                }
            }
            SentDatagram::Gone => {
                self.flow(flow).socket = None;
                return;
            }
        }
        let flight = self.begin_message(flow, due, now);
        if !sent.is_sent() {
            // It was due, and no answer can come.
            return self.unanswered(flight, now);
        }
        self.flow(flow).sent(flight);
        self.in_flight += 1;
        self.silent_since.get_or_insert(now);
        if self.measures(now) {
            self.measured.counts.bytes_sent += self.share.plan.size as u64;
        }
        self.watch_oldest(cx, flow);
    }

    /// A message is begun, whatever becomes of it.
    fn begin_message(&mut self, flow: u32, due: u64, now: u64) -> Flight {
        let one = &mut self.flows[flow as usize];
        let mut lag = None;
        let due = match &mut one.schedule {
            Some(schedule) => {
                schedule.advance();
                lag = Some(now.saturating_sub(due.max(one.allowed.unwrap_or(now))));
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

    /// Sees to it that the oldest in flight is looked at when it may be lost.
    pub(super) fn watch_oldest(&mut self, cx: &mut impl LoopContext<u32>, flow: u32) {
        let timeout = self.timeout();
        let one = self.flow(flow);
        if one.expires == u64::MAX
            && let Some(sent) = one.oldest()
        {
            let at = sent.saturating_add(timeout).saturating_add(1);
            one.expires = at;
            self.expiring.push(Reverse((at, flow)));
            self.wake_by(cx, at);
        }
    }

    /// Those that were not answered in time are lost.
    pub(super) fn expire(&mut self, flow: u32, now: u64) {
        let timeout = self.timeout();
        while let Some(flight) = self.flow(flow).expire(now, timeout) {
            self.in_flight -= 1;
            self.unanswered(flight, now);
            self.last_settled = now;
            self.flow(flow).allowed.get_or_insert(now);
        }
    }

    /// No answer will come to this one, or none that counts.
    pub(super) fn unanswered(&mut self, flight: Flight, now: u64) {
        if self.counts(flight.due) {
            self.count_unanswered(flight, now);
        } else if flight.due < self.from {
            self.before.unanswered += 1;
        }
    }

    pub(super) fn count_unanswered(&mut self, flight: Flight, now: u64) {
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
}
