//! The accounts that the loops of a group have in common: connections of the process, and of each
//! loop. They are touched where a connection begins or ends, and never on the way of a message.

use std::fmt;

use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering};

/// The accounts of all loops of a group.
struct Common {
    /// The most connections of the process (C24).
    cap: usize,
    open: AtomicUsize,
    /// Somebody was refused a connection since the last time that all were told.
    waits: AtomicBool,
    loads: Box<[Load]>,
    /// Has all loops look for connections that wait.
    tell: Box<dyn Fn() + Send + Sync>,
}

/// The connections of one loop, on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Load(AtomicUsize);

impl Common {
    fn new(cap: usize, loops: usize, tell: Box<dyn Fn() + Send + Sync>) -> Self {
        let loads = std::iter::repeat_with(Load::default).take(loops).collect();
        let (open, waits) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { cap, open, waits, loads, tell }
    }

    fn try_reserve(&self) -> bool {
        let below = |open| (open < self.cap).then_some(open + 1);
        self.open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, below).is_ok()
    }
}

impl fmt::Debug for Common {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Common")
            .field("cap", &self.cap)
            .field("open", &self.open)
            .field("waits", &self.waits)
            .field("loads", &self.loads)
            .finish_non_exhaustive()
    }
}

/// The accounts as one loop sees them.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    common: Arc<Common>,
    number: usize,
}

impl Share {
    /// Those of each loop of a group, in the order of their numbers. `tell` has all loops look for
    /// connections that wait.
    pub(crate) fn of_all(
        cap: usize,
        loops: usize,
        tell: Box<dyn Fn() + Send + Sync>,
    ) -> impl Iterator<Item = Self> {
        let common = Arc::new(Common::new(cap, loops, tell));
        (0..loops).map(move |number| Self { common: Arc::clone(&common), number })
    }

    fn load_of(&self, number: usize) -> &AtomicUsize {
        &self.common.loads[number].0
    }

    /// Takes a place for a connection of this loop, if there is one, and counts it. If there is
    /// none, this loop is told when there is.
    pub(crate) fn reserve(&self) -> bool {
        let takes = self.take_place();
        if takes {
            self.count();
        }
        takes
    }

    /// Takes a place for a connection that may come to be. It's not counted yet, or a loop that
    /// only looks whether somebody waits would seem to have one more.
    pub(crate) fn take_place(&self) -> bool {
        if self.common.try_reserve() {
            return true;
        }
        self.common.waits.swap(true, Ordering::SeqCst);
        // One may have ended in between, whose loop has not seen that somebody waits. Both swap, so
        // that whoever comes second sees all that the first did before.
        self.common.try_reserve()
    }

    /// A connection of this loop has taken its place.
    pub(crate) fn count(&self) {
        self.load_of(self.number).fetch_add(1, Ordering::Relaxed);
    }

    /// A connection of this loop has ended, or has not come to be.
    pub(crate) fn release(&self) {
        self.load_of(self.number).fetch_sub(1, Ordering::Relaxed);
        self.leave_place();
    }

    /// Nobody has come for a place.
    pub(crate) fn leave_place(&self) {
        self.common.open.fetch_sub(1, Ordering::SeqCst);
        if self.common.waits.swap(false, Ordering::SeqCst) {
            self.tell_all();
        }
    }

    /// Has all loops look for connections that wait in a backlog.
    pub(crate) fn tell_all(&self) {
        (self.common.tell)();
    }

    /// The one of two loops with fewer connections, if this one gives away one of its own; the
    /// first if both have as many.
    pub(crate) fn lighter(&self, one: usize, other: usize) -> usize {
        let load = |number| {
            let load = self.load_of(number).load(Ordering::Relaxed);
            if number == self.number { load.saturating_sub(1) } else { load }
        };
        if load(other) < load(one) { other } else { one }
    }

    /// A connection of one loop is one of another from now on.
    pub(crate) fn hand_on(&self, from: usize, to: usize) {
        self.load_of(to).fetch_add(1, Ordering::Relaxed);
        self.load_of(from).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn shares(cap: usize) -> ([Share; 3], Arc<AtomicUsize>) {
        let told = Arc::new(AtomicUsize::new(0));
        let tell = Arc::clone(&told);
        let tell = Box::new(move || _ = tell.fetch_add(1, Ordering::SeqCst));
        let shares: Vec<_> = Share::of_all(cap, 3, tell).collect();
        (shares.try_into().expect("three"), told)
    }

    #[test]
    fn c24_the_cap_is_that_of_all_loops_and_who_waits_is_told_once() {
        let ([first, second, third], told) = shares(2);
        assert!(first.reserve() && second.reserve() && !third.reserve());
        assert_eq!(told.load(Ordering::SeqCst), 0);
        second.release();
        first.release();
        assert_eq!(told.load(Ordering::SeqCst), 1);
        assert!(third.reserve() && third.reserve() && !first.reserve());
    }

    #[test]
    fn c52_the_lighter_of_two_loops_is_found() {
        let ([first, second, _], _) = shares(10);
        assert!(first.reserve());
        assert_eq!(first.lighter(0, 1), 0, "it counts without the one that it would give away");
        assert_eq!(second.lighter(0, 1), 1);
        assert!(first.reserve());
        assert_eq!((first.lighter(0, 2), first.lighter(1, 2)), (2, 1));
        first.hand_on(0, 1);
        assert_eq!(second.lighter(2, 0), 2);
        first.release();
        second.release();
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::thread;

    /// Two loops with a cap, and how often they were told.
    fn two(cap: usize) -> ([Share; 2], Arc<AtomicUsize>) {
        let told = Arc::new(AtomicUsize::new(0));
        let tell = Arc::clone(&told);
        let tell = Box::new(move || _ = tell.fetch_add(1, Ordering::SeqCst));
        let shares: Vec<_> = Share::of_all(cap, 2, tell).collect();
        (shares.try_into().expect("two"), told)
    }

    #[test]
    fn whoever_waits_at_the_cap_hears_of_an_end_in_every_order() {
        loom::model(|| {
            let ([one, other], told) = two(1);
            assert!(other.reserve());
            let ends = thread::spawn(move || other.release());
            let begins = one.reserve();
            ends.join().expect("no panic");
            assert!(begins || told.load(Ordering::SeqCst) == 1);
            assert!(begins || one.reserve(), "there is a place by now");
        });
    }

    #[test]
    fn two_loops_never_take_the_same_place() {
        loom::model(|| {
            let ([one, other], _) = two(1);
            let begins = thread::spawn(move || other.reserve());
            let begun = one.reserve();
            assert_ne!(begins.join().expect("no panic"), begun);
        });
    }
}
