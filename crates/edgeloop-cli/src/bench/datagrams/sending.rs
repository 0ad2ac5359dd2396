//! Datagrams: sent when they are due and may be, and lost when no answer comes in time.

use std::cmp::Reverse;

use edgeloop::{LoopContext, SentDatagram};

use super::DatagramWorker;
use crate::bench::errors::Cause;
use crate::bench::schedule::Schedule;
use crate::results::nanos;

/// How many datagrams of one socket are sent before others have their turn.
const SENDS: usize = 64;

/// How long a closed loop waits before it sends again what the kernel had no room for, in
/// nanoseconds.
const NO_ROOM: u64 = 1_000_000;

impl DatagramWorker {
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

    /// The last of the numbered messages may have been sent.
    fn has_sent_all(&mut self, cx: &mut impl LoopContext<u32>, now: u64) {
        if self.course.has_begun_all() {
            self.course.wake_by(cx, now);
        }
    }

    /// When the next message of a socket is due, if it may be begun as far as the others allow.
    fn next_message(&mut self, flow: u32) -> Option<u64> {
        let pipeline = self.course.share.plan.pipeline;
        let one = self.flow(flow);
        one.socket?;
        if one.open() >= pipeline {
            one.allowed = None;
            return None;
        }
        // In the closed loop, at once.
        let due = one.schedule.as_ref().map_or(0, Schedule::next);
        self.course.may_begin(due).then_some(due)
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
                if !self.course.is_open_loop() {
                    self.flow(flow).resumes = now + NO_ROOM;
                    return;
                }
            }
            SentDatagram::Refused(_) => {
                if let Some(error) = sent.error() {
                    self.failed(Cause::of_send(&error), now);
                }
                if !self.course.is_open_loop() {
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
        let one = &mut self.flows[flow as usize];
        let flight = self.course.begin_message(&mut one.schedule, one.allowed, due, now);
        if !sent.is_sent() {
            // It was due, and no answer can come.
            return self.course.unanswered(flight, now);
        }
        self.flow(flow).sent(flight);
        self.course.in_flight += 1;
        self.silent_since.get_or_insert(now);
        if self.course.measures(now) {
            self.course.measured.counts.bytes_sent += self.course.share.plan.size as u64;
        }
        self.watch_oldest(cx, flow);
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
            self.course.wake_by(cx, at);
        }
    }

    /// Those that were not answered in time are lost.
    pub(super) fn expire(&mut self, flow: u32, now: u64) {
        let timeout = self.timeout();
        while let Some(flight) = self.flow(flow).expire(now, timeout) {
            self.course.in_flight -= 1;
            self.course.unanswered(flight, now);
            self.last_settled = now;
            self.flow(flow).allowed.get_or_insert(now);
        }
    }
}
