//! Connections: made at the beginning, made again when they are lost, and how each of them ends.

use std::time::Duration;

use edgeloop::{Address, Context, LoopContext};

use super::Worker;
use crate::bench::course::{End, Phase};
use crate::bench::errors::Cause;
use crate::bench::lane::Stage;
use crate::bench::schedule::Schedule;
use crate::results::nanos;

/// How many connections are being made at a time: a backlog has room for more.
const CONNECTING: usize = 256;

impl Worker {
    /// Begins to make the connections.
    pub(super) fn open(&mut self, cx: &mut impl LoopContext<u32>) {
        if std::mem::replace(&mut self.began_opening, true) {
            return self.open_more(cx);
        }
        let plan = &self.course.share.plan;
        let all = u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        if plan.connects {
            // Each message makes its own.
            self.tried = self.lanes.len();
        } else if let Some(rate) = plan.opening {
            let apart = 1.0 / rate;
            let threads = u32::try_from(plan.threads.max(1)).unwrap_or(u32::MAX);
            let thread = u32::try_from(self.course.share.thread).unwrap_or(0);
            let begin = cx.now().as_nanos();
            for lane in 0..all {
                let place = f64::from(lane) * f64::from(threads) + f64::from(thread);
                let after = Duration::try_from_secs_f64(place * apart).unwrap_or(Duration::MAX);
                self.enqueue(cx, lane, begin + nanos(after));
            }
        } else {
            self.unmade = (0..all).collect();
        }
        self.open_more(cx);
    }

    /// Connects as many as may be under way at a time. When all have been tried, this thread is
    /// ready.
    fn open_more(&mut self, cx: &mut impl LoopContext<u32>) {
        while self.connecting < CONNECTING {
            let Some(lane) = self.unmade.pop_front() else { break };
            let now = cx.clock().as_nanos();
            self.connect(cx, lane, now);
        }
        if self.course.phase != Phase::Opening || self.tried < self.lanes.len() {
            return;
        }
        let now = cx.clock().as_nanos();
        self.course.arrive(now);
        if self.course.alive == 0 && !self.course.share.plan.connects {
            self.course.is_in_vain(now, End::NoConnection);
            return self.finish(cx, now);
        }
        self.course.wake_by(cx, now);
    }

    fn connect(&mut self, cx: &mut impl LoopContext<u32>, lane: u32, now: u64) {
        let target = self.course.share.plan.target(self.number(lane));
        let begun = cx.connect(target, lane);
        self.lane(lane).dialled = now;
        match begun {
            Ok(id) => {
                self.connecting += 1;
                self.lane(lane).stage = Stage::Connecting(id);
            }
            Err(error) => {
                self.failed(Cause::of_connect(&error.error), now);
                self.give_up_flights(lane as usize, now);
                self.lost(lane);
                self.retry_later(cx, lane, now);
            }
        }
    }

    /// Which connection of the run is made next. One that was lost goes where it was before.
    fn number(&self, lane: u32) -> usize {
        let number = self.course.share.first + lane as usize;
        if !self.course.share.plan.connects {
            return number;
        }
        let made = self.lanes[lane as usize].stream / self.course.share.plan.connections as u64;
        number.wrapping_add(usize::try_from(made).unwrap_or(0))
    }

    /// Notes which of the addresses a connection was made to. One that has been reset since can't
    /// tell.
    fn was_made(&mut self, cx: &mut impl Context<u32>) {
        let addresses = &self.course.share.plan.addresses;
        let index = match addresses.len() {
            1 => Some(0),
            _ => cx.peer_address(cx.id()).ok().and_then(|peer| {
                let end = |address: &Address| (address.ip(), address.port());
                let is_it =
                    |one: &Address| one == &peer || !one.is_unix() && end(one) == end(&peer);
                addresses.iter().position(is_it)
            }),
        };
        if let Some(index) = index {
            self.course.made[index] += 1;
        }
    }

    /// A connection is gone. The next one sends a stream of its own.
    fn lost(&mut self, lane: u32) {
        let plan = &self.course.share.plan;
        let (step, exchanges) = (plan.connections as u64, plan.exchanges.as_deref());
        self.lanes[lane as usize].lost(step, exchanges);
    }

    /// All threads begin.
    pub(super) fn begin(&mut self, cx: &mut impl LoopContext<u32>, begin: u64) {
        let schedules = self.course.begin(begin);
        let (carrying, before) = (self.course.share.active, self.course.share.carrying_before);
        for (index, lane) in self.lanes[..carrying].iter_mut().enumerate() {
            lane.schedule = schedules.of(before + index);
        }
        for lane in 0..u32::try_from(carrying).unwrap_or(u32::MAX) {
            let one = self.lane(lane);
            let ready = one.is_up() || self.course.share.plan.connects;
            if ready {
                self.lane(lane).allowed = Some(begin);
                self.enqueue(cx, lane, begin);
            }
        }
    }

    /// Something is due on a connection that isn't there.
    pub(super) fn revive(&mut self, cx: &mut impl LoopContext<u32>, lane: u32, now: u64) {
        if !self.course.share.plan.connects || self.course.phase == Phase::Opening {
            return self.connect(cx, lane, now);
        }
        let due = self.lane(lane).schedule.as_ref().map_or(now, Schedule::next);
        if !self.course.may_begin(due) {
            return;
        }
        if due > now {
            return self.enqueue(cx, lane, due);
        }
        // The connection is a part of the message.
        self.lane(lane).allowed.get_or_insert(now);
        self.begin_message(lane, due, now);
        self.connect(cx, lane, now);
    }

    /// A connection is made, and the service has said what it says first.
    pub(super) fn is_ready(&mut self, cx: &mut impl Context<u32>, lane: u32, now: u64) {
        self.connecting -= 1;
        self.course.alive += 1;
        let one = &mut self.lanes[lane as usize];
        one.opened(cx.id());
        one.allowed = Some(now);
        let took = now.saturating_sub(one.dialled);
        if self.has_begun(now) {
            self.course.measured.connect.record(took);
        } else {
            self.course.before.connects += 1;
        }
        self.was_made(cx);
        if self.course.phase == Phase::Opening {
            self.course.gate.has_opened();
        }
        self.was_tried(lane);
        self.open_more(cx);
        self.feed(cx, lane, now);
        self.pump(cx, lane, now);
    }

    /// The other end will send no more: so may a reply end.
    pub(super) fn has_ended(&mut self, cx: &mut impl Context<u32>, lane: u32) {
        let now = cx.clock().as_nanos();
        let one = &mut self.lanes[lane as usize];
        if one.is_up() {
            let course = &mut self.course;
            let verdict =
                if now >= course.from { &mut course.verdict } else { &mut course.before.verdict };
            one.end(course.share.plan.exchanges.as_deref(), verdict);
        }
        let (size, verifies) = (self.size(), self.course.share.plan.verifies);
        while let Some(landing) = self.lane(lane).land(size, verifies) {
            self.last_move = now;
            self.landed(landing, now);
        }
        if self.course.phase == Phase::Grace && self.course.in_flight == 0 {
            self.course.wake_by(cx, now);
        }
    }

    fn was_tried(&mut self, lane: u32) {
        self.tried += usize::from(!std::mem::replace(&mut self.lane(lane).tried, true));
    }

    pub(super) fn has_closed(
        &mut self,
        cx: &mut impl Context<u32>,
        lane: u32,
        cause: Cause,
        discarded: u64,
    ) {
        let now = cx.clock().as_nanos();
        let was_up = self.lane(lane).is_up();
        if was_up && self.lane(lane).flights.is_empty() && !self.lane(lane).abandoned {
            self.lanes[lane as usize].discarded(discarded, self.course.verdict_at(now));
        }
        if self.course.phase == Phase::Over {
            self.connecting -= usize::from(!was_up);
            return;
        }
        self.course.alive -= usize::from(was_up);
        self.connecting -= usize::from(!was_up);
        if self.course.share.plan.verifies {
            self.lanes[lane as usize].finish(self.payload, self.course.verdict_at(now));
        }
        let one = &self.lanes[lane as usize];
        let (idle, has_answered) = (one.flights.is_empty(), one.has_answered());
        if self.course.share.plan.connects && idle {
            // It was made for one message.
            self.lost(lane);
            return self.revive(cx, lane, now);
        }
        if idle && was_up && cause.is_an_end() {
            // Nobody waits for anything on it: that is no error.
            self.course.measured.counts.reopened += u64::from(self.has_begun(now));
            self.lost(lane);
            return if has_answered {
                self.unmade.push_back(lane);
                self.open_more(cx);
            } else {
                self.retry_later(cx, lane, now);
            };
        }
        self.failed(cause, now);
        self.give_up_flights(lane as usize, now);
        self.lost(lane);
        self.retry_later(cx, lane, now);
        self.open_more(cx);
    }

    fn retry_later(&mut self, cx: &mut impl LoopContext<u32>, lane: u32, now: u64) {
        self.was_tried(lane);
        // Whatever else it had to do waits for that.
        self.lane(lane).awaits = u64::MAX;
        let wait = self.lane(lane).back_off();
        self.enqueue(cx, lane, now + nanos(wait));
    }

    /// No answer comes to what is under way on a connection.
    pub(super) fn give_up_flights(&mut self, lane: usize, now: u64) {
        while let Some(flight) = self.lanes[lane].flights.pop_front() {
            self.course.in_flight -= 1;
            self.course.unanswered(flight, now);
        }
    }

    /// A connection that was made for one message has done what it was made for.
    pub(super) fn close_if_answered(&mut self, cx: &mut impl Context<u32>, lane: u32) {
        if self.lane(lane).flights.is_empty() {
            cx.close(cx.id());
        }
    }
}
