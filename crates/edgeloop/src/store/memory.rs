//! The accounts of queued bytes, and the ceiling that bounds them (C11).
//!
//! Output and kept input have shares of their own. The share of output has three marks:
//!
//! - Up to the first, everybody is read.
//! - Above it, only connections without queued output are read: reading is what makes output, and
//!   a peer that takes none must not keep those waiting who take theirs.
//! - Above the second, less is left than the output that one read may become. Then connections that
//!   take nothing are given up, so that this much is always left to whoever is owed nothing.
//!
//! The input's share is enforced by closing whoever holds most of it. So neither waiting output nor
//! a thousand half lines can stop the reading that would free them.

use std::collections::BTreeSet;

use crate::api::config::Config;
use crate::store::output::{CHUNK, PAGE};

/// Which part of the output's share is left to connections without queued output.
const FOR_THE_UNQUEUED: usize = 8;

#[derive(Debug)]
pub(crate) struct Memory {
    output_share: usize,
    output_held: usize,
    /// The least output limit of any connection.
    output_limit: usize,
    /// What can be sent on a connection with an empty queue without asking any further.
    room: usize,
    /// Above this, connections with queued output are not read.
    pause_above: usize,
    /// Above this, less is left than the output that one read may become.
    full_above: usize,
    paused: bool,
    /// The system has refused memory.
    refused: bool,
    input_share: usize,
    input_held: usize,
    /// Who keeps how much input, the least first.
    holders: BTreeSet<(usize, u32)>,
}

impl Memory {
    pub(crate) fn new(config: &Config) -> Self {
        let input_share = config.buffer_limit / 4;
        let output_share = config.buffer_limit - input_share;
        let read = config.read_buffer.next_multiple_of(PAGE);
        let mut memory = Self {
            output_share,
            output_held: 0,
            output_limit: config.bounds.output,
            room: 0,
            // A queue grows by a chunk, however little is read.
            pause_above: output_share - (output_share / FOR_THE_UNQUEUED).max(read + CHUNK),
            full_above: output_share - read,
            paused: false,
            refused: false,
            input_share,
            input_held: 0,
            holders: BTreeSet::new(),
        };
        memory.recount();
        memory
    }

    #[inline]
    pub(crate) const fn room(&self) -> usize {
        self.room
    }

    /// Whether connections with queued output are not read, until there is less of it or the system
    /// has memory again.
    #[inline]
    pub(crate) const fn is_paused(&self) -> bool {
        self.paused || self.refused
    }

    /// Whether the system has refused memory.
    pub(crate) const fn is_refused(&self) -> bool {
        self.refused
    }

    /// The system refuses memory; returns whether it did not before.
    pub(crate) fn refuse(&mut self) -> bool {
        let begins = !self.refused;
        self.refused = true;
        self.recount();
        begins
    }

    /// The system has memory again; returns whether reading may go on.
    pub(crate) fn grant(&mut self) -> bool {
        self.refused = false;
        self.recount();
        !self.paused
    }

    /// Whether there is room for what one read may become.
    pub(crate) const fn has_room(&self) -> bool {
        !self.is_full() && !self.refused
    }

    /// Whether less is left than whoever is owed nothing may need.
    pub(crate) const fn is_full(&self) -> bool {
        self.output_held > self.full_above
    }

    pub(crate) const fn output_held(&self) -> usize {
        self.output_held
    }

    pub(crate) const fn input_held(&self) -> usize {
        self.input_held
    }

    /// Whether the queue of a connection that has one may grow by this much memory.
    pub(crate) const fn fits(&self, growth: usize) -> bool {
        growth <= self.full_above.saturating_sub(self.output_held)
    }

    /// Whether this much may be set aside until the end of the turn, without making anybody wait.
    pub(crate) const fn fits_aside(&self, growth: usize) -> bool {
        !self.is_paused() && growth <= self.pause_above.saturating_sub(self.output_held)
    }

    /// Whether a queue that takes this much memory may begin now.
    pub(crate) const fn fits_anew(&self, growth: usize) -> bool {
        growth <= self.output_share - self.output_held
    }

    /// Whether it may begin once others are given up.
    pub(crate) const fn may_fit_anew(&self, growth: usize) -> bool {
        growth <= self.full_above
    }

    /// Output queues have grown. Returns whether that made reading pause.
    pub(crate) fn charge(&mut self, bytes: usize) -> bool {
        self.output_held += bytes;
        let paused = !self.paused && self.output_held > self.pause_above;
        self.paused |= paused;
        self.recount();
        paused
    }

    /// Output queues have shrunk. Returns whether all may be read again: at three quarters of where
    /// reading pauses, so that it does not pause and resume with every chunk.
    pub(crate) fn release(&mut self, bytes: usize) -> bool {
        self.output_held -= bytes;
        self.recount();
        let resumed = self.paused && self.output_held <= self.pause_above / 4 * 3;
        self.paused &= !resumed;
        resumed && !self.refused
    }

    /// There is a connection that may have no more than so much output.
    pub(crate) fn limit_sends(&mut self, limit: usize) {
        self.output_limit = self.output_limit.min(limit);
        self.recount();
    }

    /// All connections may have so much output.
    pub(crate) fn limit_no_sends(&mut self, limit: usize) {
        self.output_limit = limit;
        self.recount();
    }

    /// A connection's kept input changed its size.
    pub(crate) fn account_kept(&mut self, slot: u32, before: usize, after: usize) {
        if before > 0 {
            self.holders.remove(&(before, slot));
        }
        if after > 0 {
            self.holders.insert((after, slot));
        }
        self.input_held = self.input_held - before + after;
    }

    /// Who must give up its kept input, if the share is exceeded.
    pub(crate) fn heaviest(&self) -> Option<u32> {
        let (_, slot) = self.holders.last()?;
        (self.input_held > self.input_share).then_some(*slot)
    }

    fn recount(&mut self) {
        // Rounding up to pages costs up to one page a chunk; a chunk's worth covers it.
        let left = (self.output_share - self.output_held).saturating_sub(CHUNK);
        // Whatever is sent while memory is refused goes the careful way.
        self.room = if self.refused { 0 } else { self.output_limit.min(left) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::config::MIN_BUFFER_LIMIT;

    fn smallest() -> Memory {
        Memory::new(&Config::new().buffer_limit(MIN_BUFFER_LIMIT))
    }

    #[test]
    fn c11_those_with_output_pause_above_a_mark_and_go_on_well_below_it() {
        let mut memory = smallest();
        // An eighth is less than two reads.
        let mark = MIN_BUFFER_LIMIT / 4 * 3 - 2 * 64 * 1024;
        assert!(!memory.charge(mark), "it may be reached");
        assert!(memory.charge(PAGE) && memory.is_paused());
        assert!(!memory.charge(PAGE), "it pauses once");
        assert!(!memory.is_full(), "there is room for those without output");
        assert!(!memory.release(2 * PAGE) && memory.is_paused(), "not at the very edge");
        while memory.is_paused() {
            memory.release(PAGE);
        }
        assert_eq!(memory.output_held(), mark / 4 * 3);
        let large = Memory::new(&Config::new().buffer_limit(1 << 30));
        assert_eq!(large.pause_above, (1 << 30) / 4 * 3 / 8 * 7);
    }

    /// Found by a seed: with a small read buffer, a queue that grew by a large chunk for a small
    /// read was refused it.
    #[test]
    fn c11_where_reading_does_not_pause_there_is_room_for_what_is_read() {
        for read in [1, 16, PAGE, PAGE + 1, 64 * 1024] {
            for limit in [MIN_BUFFER_LIMIT, 1 << 20, 1 << 30] {
                let mut memory = Memory::new(&Config::new().buffer_limit(limit).read_buffer(read));
                memory.charge(memory.pause_above);
                assert!(!memory.is_paused() && memory.fits(CHUNK), "{read} of {limit}");
            }
        }
    }

    #[test]
    fn c11_a_reads_worth_is_left_to_those_who_are_owed_nothing() {
        let mut memory = smallest();
        let full = MIN_BUFFER_LIMIT / 4 * 3 - 64 * 1024;
        assert!(memory.fits(full) && !memory.fits(full + 1));
        assert!(memory.fits_anew(full + 64 * 1024) && memory.may_fit_anew(full));
        assert!(!memory.may_fit_anew(full + 1), "no giving up would make room for that");
        memory.charge(full);
        assert!(!memory.is_full() && !memory.fits(1));
        assert!(memory.fits_anew(64 * 1024) && !memory.fits_anew(64 * 1024 + 1));
        memory.charge(1);
        assert!(memory.is_full() && !memory.fits(1));
    }

    #[test]
    fn c11_the_accounts_are_exact() {
        let share = MIN_BUFFER_LIMIT / 4 * 3;
        let config = Config::new().buffer_limit(MIN_BUFFER_LIMIT).output_limit(MIN_BUFFER_LIMIT);
        let mut memory = Memory::new(&config);
        assert_eq!((memory.output_held(), memory.room()), (0, share - CHUNK));
        assert!(memory.charge(share - PAGE), "there is no room for a read");
        assert_eq!((memory.output_held(), memory.room()), (share - PAGE, 0));
        let resumes = (share - 2 * 64 * 1024) / 4 * 3;
        assert!(!memory.release(share - PAGE - resumes - 1) && memory.is_paused());
        assert!(memory.release(1) && !memory.is_paused());
        assert_eq!((memory.output_held(), memory.room()), (resumes, share - resumes - CHUNK));
    }

    #[test]
    fn c11_whoever_keeps_most_input_is_named_when_the_share_is_full() {
        let mut memory = smallest();
        let share = MIN_BUFFER_LIMIT / 4;
        memory.account_kept(1, 0, share / 2);
        memory.account_kept(2, 0, share / 2 - 10);
        assert_eq!(memory.heaviest(), None);
        memory.account_kept(3, 0, 11);
        assert_eq!(memory.heaviest(), Some(1));
        memory.account_kept(1, share / 2, 0);
        assert_eq!((memory.heaviest(), memory.input_held()), (None, share / 2 + 1));
        memory.account_kept(2, share / 2 - 10, 0);
        memory.account_kept(3, 11, 0);
        assert!(memory.holders.is_empty(), "nobody keeps any");
    }

    #[test]
    fn the_smallest_ceiling_lets_an_echo_through() {
        let memory = smallest();
        assert!(memory.room() >= 64 * 1024);
    }
}
