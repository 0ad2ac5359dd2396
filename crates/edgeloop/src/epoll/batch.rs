//! The records that a wait fills, as the kernel writes them. There are more when they come back
//! full.

use std::cell::Cell;

use super::Event;
use rustix::event::epoll;

/// The most that epoll_wait(2) takes: `INT_MAX` bytes of records (`EP_MAX_EVENTS` in
/// fs/eventpoll.c, Linux 6.18).
pub(super) const KERNEL_CEILING: usize = i32::MAX as usize / size_of::<epoll::Event>();

thread_local! {
    /// A batch belongs to the thread that waits: rustix's record of an event can hold a pointer,
    /// which here it never does, and is not `Send` for that.
    static KEPT: Cell<Option<Batch>> = const { Cell::new(None) };
}

/// The records of one wait, to be used again for the next.
///
/// A batch that comes back full means that there may be more, and every further batch is another
/// system call. So a full one doubles, up to a ceiling; it never shrinks.
pub struct Batch {
    /// Always initialised over its whole length, so that the kernel can be given all of it.
    buffer: Vec<epoll::Event>,
    /// How many of them the last wait has filled.
    len: usize,
    ceiling: usize,
}

impl Batch {
    /// A batch of `batch` events that grows up to `ceiling`.
    pub(crate) fn new(batch: usize, ceiling: usize) -> Self {
        Self { buffer: vec![BLANK; batch], len: 0, ceiling }
    }

    /// Has `wait` use the batch that this thread keeps, with room for `batch` events; one within
    /// another has its own.
    pub(crate) fn of_thread<T>(
        batch: usize,
        ceiling: usize,
        wait: impl FnOnce(&mut Self) -> T,
    ) -> T {
        // At the very end of a thread there is none.
        let kept = KEPT.try_with(Cell::take).ok().flatten();
        let mut kept = kept.unwrap_or_else(|| Self::new(0, 0));
        kept.buffer.resize(batch, BLANK);
        (kept.len, kept.ceiling) = (0, ceiling);
        let answer = wait(&mut kept);
        let _ = KEPT.try_with(|it| it.set(Some(kept)));
        answer
    }

    /// How many events the last wait has brought.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether the last wait has brought none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many events the next wait can bring.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// The events, in the order in which the kernel has them.
    #[inline]
    pub(crate) fn iter(&self) -> Records<'_> {
        Records { records: self.filled().iter() }
    }

    /// Forgets the events, keeps the memory.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Fills the batch with what `next` answers, as the kernel would: as far as it goes, and it
    /// grows for the next time if that was all of it.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn bring(&mut self, mut next: impl FnMut() -> Option<Event>) {
        self.clear();
        while self.len < self.buffer.len()
            && let Some(event) = next()
        {
            self.buffer[self.len] = event.to_kernel();
            self.len += 1;
        }
        if self.len == self.buffer.len() {
            self.grow();
        }
    }

    /// Lets `wait` fill the whole buffer and say how many it has filled; none if it failed.
    #[inline]
    pub(super) fn fill(
        &mut self,
        wait: impl FnOnce(&mut [epoll::Event]) -> rustix::io::Result<usize>,
    ) -> rustix::io::Result<()> {
        self.len = 0;
        self.len = wait(&mut self.buffer)?;
        if self.len == self.buffer.len() {
            self.grow();
        }
        Ok(())
    }

    /// The part that the last wait has filled.
    #[inline]
    fn filled(&self) -> &[epoll::Event] {
        &self.buffer[..self.len]
    }

    /// Doubles the room, up to the ceiling.
    #[cold]
    fn grow(&mut self) {
        let room = (self.buffer.len() * 2).min(self.ceiling);
        // Without memory for more, the batch stays as it is.
        let more = room.saturating_sub(self.buffer.len());
        if more > 0 && self.buffer.try_reserve_exact(more).is_ok() {
            self.buffer.resize(room, BLANK);
        }
    }
}

/// What stands where the kernel hasn't written yet.
const BLANK: epoll::Event =
    epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };

/// Goes through the events of one wait.
pub(crate) struct Records<'a> {
    records: std::slice::Iter<'a, epoll::Event>,
}

impl Iterator for Records<'_> {
    type Item = Event;

    #[inline]
    fn next(&mut self) -> Option<Event> {
        self.records.next().copied().map(Event::from_kernel)
    }
}

impl Records<'_> {
    /// The event at `index` of what is left, without going on.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<Event> {
        self.records.as_slice().get(index).copied().map(Event::from_kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoll::{Readiness, Token};

    fn event(token: u64) -> Event {
        Event::new(Token(token), Readiness::IN)
    }

    /// A wait that fills `count` events, as the kernel would.
    fn bring(events: &mut Batch, count: usize) {
        let wait = |buffer: &mut [epoll::Event]| {
            for (token, slot) in (0..).zip(&mut buffer[..count]) {
                *slot = event(token).to_kernel();
            }
            Ok(count)
        };
        events.fill(wait).unwrap();
    }

    #[test]
    fn a_full_batch_doubles_up_to_its_ceiling() {
        let mut events = Batch::new(32, 100);
        for (full, next) in [(32, 64), (64, 100), (100, 100)] {
            bring(&mut events, full - 1);
            assert_eq!(events.capacity(), full);
            bring(&mut events, full);
            assert_eq!(events.capacity(), next);
            assert_eq!(events.len(), full);
            assert!(events.iter().eq((0..full as u64).map(event)), "growing keeps the events");
        }
    }

    #[test]
    fn a_failed_wait_leaves_no_stale_events() {
        let mut events = Batch::new(4, 4);
        bring(&mut events, 2);
        let failed = events.fill(|_| Err(rustix::io::Errno::INTR));
        assert_eq!(failed, Err(rustix::io::Errno::INTR));
        assert!(events.is_empty());
        assert_eq!(events.iter().get(0), None);
    }

    #[test]
    fn a_thread_keeps_one_batch_and_a_wait_within_a_wait_has_another() {
        let inner = Batch::of_thread(4, 8, |outer| {
            bring(outer, 4);
            let inner = Batch::of_thread(2, 2, |inner| (inner.len(), inner.capacity()));
            assert!(outer.iter().eq((0..4).map(event)));
            assert_eq!(outer.capacity(), 8);
            inner
        });
        assert_eq!(inner, (0, 2));
        // Whatever was left in it is no event of this wait.
        assert_eq!(Batch::of_thread(3, 3, |kept| (kept.len(), kept.capacity())), (0, 3));
    }
}
