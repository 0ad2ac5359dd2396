//! The timers that the handler of the runs has set, by connection and key.

use std::collections::HashMap;

use edgeloop::{ConnectionId, Time};

/// The timer that ends a pause, and what a handler waits for behind its peer's end.
pub(super) const PAUSES: u32 = 0;

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
