//! The timers that the handler of the runs has set, by connection and key.

use std::collections::HashMap;

use edgeloop::{ConnectionId, Time};

/// The timer that ends a pause, and what a handler waits for behind its peer's end.
pub(super) const PAUSES: u32 = 0;

/// The timer that ends a time of being busy.
pub(super) const BUSY: u32 = 2;

/// The keys of the others, which mean nothing.
pub(super) const OTHERS: [u32; 3] = [1, 7, u32::MAX];

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
