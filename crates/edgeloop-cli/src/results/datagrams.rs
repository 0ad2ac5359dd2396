//! What came of datagrams beside answers and losses.

use serde::{Deserialize, Serialize};

/// Datagrams that are told apart from answers, of a whole run or of a part of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Datagrams {
    /// Answers that had come before.
    pub(crate) duplicates: u64,
    /// Answers that came behind that of a later datagram of their socket.
    pub(crate) reordered: u64,
    /// Answers that came when they were no longer waited for: their datagrams are lost.
    pub(crate) late: u64,
    /// What came from elsewhere, or answers nothing that was sent.
    pub(crate) foreign: u64,
    /// Answers whose bytes are not those that were sent.
    pub(crate) corrupted: u64,
    /// Sends for which the kernel had no room.
    pub(crate) no_room: u64,
}

impl Datagrams {
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { duplicates, reordered, late, foreign, corrupted, no_room } = self;
        let both = [
            (duplicates, other.duplicates),
            (reordered, other.reordered),
            (late, other.late),
            (foreign, other.foreign),
            (corrupted, other.corrupted),
            (no_room, other.no_room),
        ];
        both.into_iter().for_each(|(mine, theirs)| *mine = mine.saturating_add(theirs));
    }

    /// Adds those of another run, or of a part of one, if it had datagrams.
    pub(crate) fn join(sum: &mut Option<Self>, other: Option<&Self>) {
        if let Some(other) = other {
            sum.get_or_insert_default().add(other);
        }
    }

    /// Each with its name, as people read it.
    pub(crate) const fn named(&self) -> [(&'static str, u64); 6] {
        [
            ("duplicate", self.duplicates),
            ("reordered", self.reordered),
            ("late", self.late),
            ("foreign", self.foreign),
            ("corrupted", self.corrupted),
            ("not sent for want of room", self.no_room),
        ]
    }
}
