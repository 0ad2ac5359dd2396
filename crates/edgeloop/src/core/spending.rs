//! What callbacks send within a turn, and who has sent so much that the rest must wait (C13).
//!
//! An ordinary message only takes from an allowance that all connections share. Whoever is sent to
//! when it ends is counted from then on: what it is sent in this turn beyond a budget is queued, to
//! be written in the next turn. So the callbacks of one connection that send to a fast reader, on
//! and on, are bounded by two budgets, and a message costs no look at who sent how much.

use std::collections::HashMap;

use super::Core;
use crate::api::id::ConnectionId;
use crate::connection::flags::Flags;
use crate::kernel::Kernel;

/// What is sent without being queued.
#[derive(Debug, Default)]
pub(crate) struct Spending {
    /// How many bytes may be sent before somebody looks at who sends them.
    pub(crate) allowance: usize,
    /// What the allowance was at first.
    granted: usize,
    /// In which turn it was granted, and to whose callback.
    granted_to: Option<(u64, ConnectionId)>,
    /// In which turn, by the number that the metrics have, these have sent so much.
    turn: u64,
    counted: HashMap<u32, usize>,
}

impl Spending {
    /// Takes from the allowance what is counted elsewhere once it is sent.
    pub(super) fn take(&mut self, bytes: usize) {
        self.granted -= bytes;
        self.allowance -= bytes;
    }
}

impl<K: Kernel> Core<K> {
    /// Bytes that the kernel accepted.
    pub(crate) fn bytes_out(&self) -> u64 {
        self.metrics.bytes_out + (self.spending.granted - self.spending.allowance) as u64
    }

    /// Grants another allowance, but not twice in a turn to the callbacks of one connection.
    pub(crate) fn grant_allowance(&mut self) {
        let whose = (self.metrics.turns, self.current);
        if self.spending.granted_to != Some(whose) {
            self.spending.granted_to = Some(whose);
            // What was left of the one before may have been spent in this turn, too.
            self.settle(self.config.turn_bytes / 2);
        }
    }

    /// There is more or less room than before for what a socket does not take. What is left of the
    /// allowance must fit there.
    pub(crate) fn limit_allowance(&mut self) {
        self.settle(self.spending.allowance);
    }

    /// Counts what was sent from the allowance, and grants this much, as far as there is room.
    fn settle(&mut self, most: usize) {
        self.metrics.bytes_out = self.bytes_out();
        self.spending.granted = most.min(self.memory.room());
        self.spending.allowance = self.spending.granted;
    }

    /// Counts what a connection is sent in this turn, of which this much is known.
    pub(super) fn count_sent(&mut self, id: ConnectionId, sent: usize) {
        self.connections[id].set(Flags::COUNTED);
        let spending = &mut self.spending;
        if spending.turn != self.metrics.turns {
            spending.turn = self.metrics.turns;
            spending.counted.clear();
        }
        *spending.counted.entry(id.slot()).or_default() += sent;
    }

    /// What a connection is known to have sent in this turn.
    pub(super) fn sent_in_turn(&self, id: ConnectionId) -> usize {
        let this_turn = self.spending.turn == self.metrics.turns;
        let counted = this_turn.then(|| self.spending.counted.get(&id.slot())).flatten();
        counted.copied().unwrap_or(0)
    }

    /// Ends the count of a connection that began in an earlier turn.
    pub(crate) fn stop_counting(&mut self, id: ConnectionId) {
        let this_turn = self.spending.turn == self.metrics.turns
            && self.spending.counted.contains_key(&id.slot());
        if !this_turn {
            self.connections[id].clear(Flags::COUNTED);
        }
    }
}
