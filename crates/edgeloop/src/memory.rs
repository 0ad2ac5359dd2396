//! The accounts of queued bytes, and the ceiling that bounds them (C11).
//!
//! Output and kept input have shares of their own. At the output's ceiling reading pauses, since
//! reading is what makes output; the input's is enforced by closing whoever holds most of it, so
//! that neither waiting output nor a thousand half lines can stop the reading that would free them.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::output::{CHUNK, PAGE};

#[derive(Debug)]
pub(crate) struct Memory {
    output_share: usize,
    output_held: usize,
    output_limit: usize,
    /// What can be sent on a connection with an empty queue without asking any further.
    room: usize,
    /// Reading pauses when less than this is left: a read's worth of output must always fit.
    reserve: usize,
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
        let mut memory = Self {
            output_share: config.buffer_limit - input_share,
            output_held: 0,
            output_limit: config.output_limit,
            room: 0,
            reserve: config.read_buffer.next_multiple_of(PAGE),
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

    /// Whether reading pauses until queued output has shrunk, or the system has memory again.
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

    pub(crate) const fn output_held(&self) -> usize {
        self.output_held
    }

    pub(crate) const fn input_held(&self) -> usize {
        self.input_held
    }

    /// Whether queues may grow by so much memory.
    pub(crate) const fn fits(&self, growth: usize) -> bool {
        growth <= self.output_share - self.output_held
    }

    /// Output queues have grown; answers whether that made reading pause.
    pub(crate) fn charge(&mut self, bytes: usize) -> bool {
        self.output_held += bytes;
        let paused = !self.paused && self.output_share - self.output_held < self.reserve;
        self.paused |= paused;
        self.recount();
        paused
    }

    /// Output queues have shrunk; answers whether reading may go on again, which it may at three
    /// quarters of where it pauses, so that it does not pause and resume with every chunk.
    pub(crate) fn release(&mut self, bytes: usize) -> bool {
        self.output_held -= bytes;
        self.recount();
        let resumed = self.paused && self.output_held <= self.resume_at();
        self.paused &= !resumed;
        resumed && !self.refused
    }

    /// A connection's kept input changed its size.
    pub(crate) fn keep(&mut self, slot: u32, before: usize, after: usize) {
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

    const fn resume_at(&self) -> usize {
        self.output_share.saturating_sub(self.reserve) / 4 * 3
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
    use crate::config::MIN_BUFFER_LIMIT;

    fn smallest() -> Memory {
        Memory::new(&Config::new().buffer_limit(MIN_BUFFER_LIMIT))
    }

    #[test]
    fn c11_reading_pauses_while_a_whole_read_would_not_fit_and_resumes_below() {
        let mut memory = smallest();
        let share = MIN_BUFFER_LIMIT / 4 * 3;
        assert!(!memory.charge(share - 64 * 1024), "a read still fits");
        assert!(memory.charge(PAGE) && memory.is_paused());
        assert!(!memory.charge(PAGE), "it pauses once");
        assert!(!memory.fits(64 * 1024));
        assert!(!memory.release(2 * PAGE) && memory.is_paused(), "not at the very edge");
        while memory.is_paused() {
            memory.release(PAGE);
        }
        assert!(memory.output_held() <= (share - 64 * 1024) / 4 * 3);
        assert!(memory.fits(64 * 1024));
    }

    #[test]
    fn c11_the_accounts_are_exact() {
        let share = MIN_BUFFER_LIMIT / 4 * 3;
        let config = Config::new().buffer_limit(MIN_BUFFER_LIMIT).output_limit(MIN_BUFFER_LIMIT);
        let mut memory = Memory::new(&config);
        assert_eq!((memory.output_held(), memory.room()), (0, share - CHUNK));
        assert!(memory.charge(share - PAGE), "there is no room for a read");
        assert_eq!((memory.output_held(), memory.room()), (share - PAGE, 0));
        // It goes on at three quarters of what leaves room for a read.
        let resumes = (share - 64 * 1024) / 4 * 3;
        assert!(!memory.release(share - PAGE - resumes - 1) && memory.is_paused());
        assert!(memory.release(1) && !memory.is_paused());
        assert_eq!((memory.output_held(), memory.room()), (resumes, share - resumes - CHUNK));
    }

    #[test]
    fn c11_whoever_keeps_most_input_is_named_when_the_share_is_full() {
        let mut memory = smallest();
        let share = MIN_BUFFER_LIMIT / 4;
        memory.keep(1, 0, share / 2);
        memory.keep(2, 0, share / 2 - 10);
        assert_eq!(memory.heaviest(), None);
        memory.keep(3, 0, 11);
        assert_eq!(memory.heaviest(), Some(1));
        memory.keep(1, share / 2, 0);
        assert_eq!((memory.heaviest(), memory.input_held()), (None, share / 2 + 1));
        memory.keep(2, share / 2 - 10, 0);
        memory.keep(3, 11, 0);
        assert!(memory.holders.is_empty(), "nobody keeps any");
    }

    #[test]
    fn the_smallest_ceiling_lets_an_echo_through() {
        let memory = smallest();
        assert!(memory.room() >= 64 * 1024);
    }
}
