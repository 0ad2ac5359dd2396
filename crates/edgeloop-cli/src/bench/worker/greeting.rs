//! Services that speak first: nothing is sent on a connection before its greeting has come.

use edgeloop::{Action, Closed, Context, Reason};

use super::Worker;
use crate::bench::errors::{Cause, Class};
use crate::bench::lane::Stage;

/// The timer of a connection whose greeting is awaited. It has no other.
const GREETING: u32 = 0;

impl Worker {
    pub(super) fn has_opened(&mut self, cx: &mut impl Context<u32>, lane: u32) {
        if self.course.share.plan.greeting.is_none() {
            let now = cx.clock().as_nanos();
            return self.is_ready(cx, lane, now);
        }
        self.lane(lane).stage = Stage::Greeting(cx.id());
        // It is a part of opening the connection, and may take as long as a connect.
        cx.set_timer(GREETING, self.course.share.plan.connect_timeout);
    }

    /// Bytes have come on a connection whose greeting is awaited.
    #[cold]
    pub(super) fn greeted(&mut self, cx: &mut impl Context<u32>, lane: u32, bytes: &[u8]) {
        let now = cx.clock().as_nanos();
        self.last_move = now;
        if self.course.measures(now) {
            self.course.measured.counts.bytes_received += bytes.len() as u64;
        }
        let one = &mut self.lanes[lane as usize];
        let Some(framing) = &self.course.share.plan.greeting else { return };
        let Some(rest) = one.greet(framing, bytes) else { return };
        cx.set_timer(GREETING, None);
        // Nothing was sent yet, so that this is a reply to an empty message, or to none.
        let course = &mut self.course;
        let verdict =
            if now >= course.from { &mut course.verdict } else { &mut course.before.verdict };
        one.receive(None, course.share.plan.exchanges.as_deref(), rest, verdict);
        self.is_ready(cx, lane, now);
    }

    /// The greeting has not come in time.
    pub(super) fn is_not_greeted(&self, lane: u32) -> Action {
        match self.lanes[lane as usize].stage {
            Stage::Greeting(_) => Action::Reset,
            Stage::Down | Stage::Connecting(_) | Stage::Up(_) => Action::Continue,
        }
    }

    /// Why a connection has ended.
    pub(super) fn cause_of(&self, lane: u32, closed: &Closed) -> Cause {
        match (self.lanes[lane as usize].stage, closed.reason) {
            (Stage::Greeting(_), Reason::Reset) => Class::NoGreeting.into(),
            _ => Cause::of_end(closed),
        }
    }
}
