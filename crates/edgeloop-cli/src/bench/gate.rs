//! Where the threads of a run wait for each other, so that they measure at the same time.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// A time that no clock shows.
const SHUT: u64 = u64::MAX;

/// Opens when all threads have come, and says when they begin. Nobody blocks at it: whoever waits
/// asks again.
#[derive(Debug)]
pub(crate) struct Gate {
    awaited: AtomicUsize,
    begin: AtomicU64,
    /// Connections that were opened before.
    opened: AtomicUsize,
    /// Threads that have not sent all yet.
    sending: AtomicUsize,
    interrupted: AtomicBool,
}

impl Gate {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            awaited: AtomicUsize::new(threads),
            begin: AtomicU64::new(SHUT),
            opened: AtomicUsize::new(0),
            sending: AtomicUsize::new(threads),
            interrupted: AtomicBool::new(false),
        }
    }

    /// One thread is ready, at this time. The last one opens it, for a time `delay` later.
    pub(crate) fn arrive(&self, now: u64, delay: u64) {
        if self.awaited.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.begin.store(now.saturating_add(delay), Ordering::Release);
        }
    }

    /// A connection is there.
    pub(crate) fn has_opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// How many connections are there, until all begin.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// When all begin, once that is known.
    pub(crate) fn begin(&self) -> Option<u64> {
        Some(self.begin.load(Ordering::Acquire)).filter(|&begin| begin != SHUT)
    }

    /// One thread sends no more.
    pub(crate) fn leave(&self) {
        self.sending.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether all threads have left.
    pub(crate) fn is_left(&self) -> bool {
        self.sending.load(Ordering::Acquire) == 0
    }

    /// The user wants no more.
    pub(crate) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Release);
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_when_the_last_one_has_come() {
        let gate = Gate::new(3);
        gate.arrive(5, 10);
        gate.arrive(9, 10);
        assert_eq!(gate.begin(), None);
        gate.arrive(7, 10);
        assert_eq!(gate.begin(), Some(17));
    }
}
