//! The timers that the handler of the runs has set, by connection and key.

use std::collections::HashMap;
use std::time::Duration;

use edgeloop::{ConnectionId, Context, Time};

use super::limits::Own;
use super::session::Session;
use super::{Echo, PAUSE};

/// The timer that ends a pause, and what a handler waits for behind its peer's end.
pub(super) const PAUSES: u32 = 0;

/// The timer that ends a time of being busy.
pub(super) const BUSY: u32 = 2;

/// The timers of whoever waits for room: on the way to the write timeout, and near it.
const WATCH: u32 = 3;
const NEAR: u32 = 4;

/// The keys of the others, which mean nothing.
const OTHERS: [u32; 3] = [1, 7, u32::MAX];

/// Those of each connection in the order in which they were set.
#[derive(Debug, Default)]
pub(super) struct Alarms(HashMap<ConnectionId, Vec<(Time, u32)>>);

impl Alarms {
    pub(super) fn set(&mut self, id: ConnectionId, key: u32, at: Option<Time>) {
        let alarms = self.0.entry(id).or_default();
        alarms.retain(|&(_, other)| other != key);
        alarms.extend(at.map(|at| (at, key)));
    }

    /// The next to be called: the earliest, and of several for one time the one that was set first.
    pub(super) fn first(&self, id: ConnectionId) -> Option<(Time, u32)> {
        self.0.get(&id)?.iter().min_by_key(|&&(at, _)| at).copied()
    }

    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.0.remove(&id);
    }
}

/// Which connections are busy or were so. What the callback of another one has said does not count
/// if the loop had ended the connection by then, which only the loop knows: it is not sure.
#[derive(Debug, Default)]
pub(super) struct Busy(HashMap<ConnectionId, Work>);

#[derive(Debug, Clone, Copy, Default)]
struct Work {
    is_busy: bool,
    is_sure: bool,
    until: Time,
    surely_until: Time,
}

impl Busy {
    pub(super) fn set(&mut self, id: ConnectionId, is_busy: bool, is_sure: bool, now: Time) {
        let work = self.0.entry(id).or_default();
        if work.is_busy && !is_busy {
            work.until = now;
            if is_sure {
                work.surely_until = now;
            }
        }
        work.is_sure = if work.is_busy && is_busy { work.is_sure || is_sure } else { is_sure };
        work.is_busy = is_busy;
    }

    fn of(&self, id: ConnectionId) -> Work {
        self.0.get(&id).copied().unwrap_or_default()
    }

    pub(super) fn is_sure(&self, id: ConnectionId) -> bool {
        let work = self.of(id);
        work.is_busy && work.is_sure
    }

    /// Until when it was busy last, if it was; and until when for sure.
    pub(super) fn until(&self, id: ConnectionId) -> (Time, Time) {
        let work = self.of(id);
        (work.until, work.surely_until)
    }

    /// Whether it is or was busy.
    pub(super) fn was(&self, id: ConnectionId) -> bool {
        self.0.contains_key(&id)
    }

    pub(super) fn forget(&mut self, id: ConnectionId) {
        self.0.remove(&id);
    }
}

impl Echo {
    /// Sets, moves or cancels a timer by chance, now and then of another connection: near the
    /// loop's own timeouts, at once, or at any time.
    pub(super) fn may_set_alarm<S>(&mut self, cx: &mut impl Context<S>, session: &Session) {
        if self.random.chance(self.manner.busies) {
            self.is_busy(cx, session);
        }
        self.may_watch(cx, session);
        if !self.random.chance(self.manner.alarms) {
            return;
        }
        let whose = self.own_or_any(session);
        let key = self.random.pick(&OTHERS);
        let Own { write, idle, .. } = self.limits_of(whose.0);
        let near = [write, write, idle, Some(self.settings.drain_quiet)];
        let near = self.random.pick(&near).unwrap_or(PAUSE);
        let any = Duration::from_micros(self.random.size(0, 3_000_000) as u64);
        let after = match self.random.below(6) {
            0 => None,
            1 => Some(Duration::ZERO),
            2 => Some(any),
            3 => Some(near.saturating_sub(any / 1000)),
            // The write timeout counts from a look, too, and comes a tick later for that.
            4 => Some(near + Duration::from_millis(1)),
            _ => Some(near),
        };
        self.set_alarm(cx, whose, key, after);
    }

    /// A connection whose output waits has timers, by chance: one just behind the write timeout,
    /// and one on the way there, when that is set anew, because what moves meanwhile is not told.
    pub(super) fn may_watch<S>(&mut self, cx: &mut impl Context<S>, session: &Session) {
        if cx.queued(session.known_id()) == 0 || !self.random.chance(self.manner.watches) {
            return;
        }
        let whose = (session.known_id(), session.wire);
        let Some(write) = self.limits_of(whose.0).write else { return };
        let moved = self.world.borrow().wires[session.wire].sent_at;
        // That is rounded up to a tick.
        let late = Duration::from_micros(self.random.below(1000) as u64);
        let near = moved.after(write + late).since(cx.now());
        self.set_alarm(cx, whose, NEAR, Some(near));
        let part = self.random.pick(&[1, 2, 4]);
        self.set_alarm(cx, whose, WATCH, Some(write / 8 * part));
    }
}
