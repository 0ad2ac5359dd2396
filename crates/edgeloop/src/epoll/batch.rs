//! The batch that a wait fills, which grows while it comes back full.

use super::Event;
use rustix::event::epoll;

/// How far a batch grows unless told otherwise: 4096 events, 48 KiB on x86-64.
const DEFAULT_CEILING: usize = 4096;

/// The most that epoll_wait(2) takes: `INT_MAX` bytes of records (`EP_MAX_EVENTS` in
/// fs/eventpoll.c, Linux 6.18).
const KERNEL_CEILING: usize = i32::MAX as usize / size_of::<epoll::Event>();

/// The events of one [`wait`](super::Epoll::wait), to be used again for the next.
///
/// A batch that comes back full means that there may be more, and every further batch is another
/// system call. So a full one doubles, up to a ceiling; it never shrinks. A ceiling equal to the
/// batch keeps the size as it is.
///
/// A batch belongs to the thread that waits: it isn't `Send`, because rustix's record of an event
/// can hold a pointer (which here it never does), and saying so would take `unsafe`. Make it where
/// the waiting is done; the [`Epoll`](super::Epoll) itself goes to any thread, and the
/// [`Event`]s do.
///
/// ```
/// use edgeloop::epoll::Events;
///
/// let events = Events::with_capacity_and_ceiling(32, 1024);
/// assert!(events.is_empty());
/// assert_eq!(events.capacity(), 32);
/// ```
pub struct Events {
    /// Always initialised over its whole length, so that the kernel can be given all of it.
    buffer: Vec<epoll::Event>,
    /// How many of them the last wait has filled.
    len: usize,
    ceiling: usize,
}

impl Events {
    /// A batch of `batch` events that grows up to 4096, or not at all if it is larger already.
    ///
    /// The kernel takes no batch of 0, so that is taken as 1; nor does it take one of more than
    /// 2 GiB, which is the limit here too.
    #[must_use]
    pub fn with_capacity(batch: usize) -> Self {
        Self::with_capacity_and_ceiling(batch, DEFAULT_CEILING)
    }

    /// A batch of `batch` events that grows up to `ceiling`, or not at all if that isn't larger.
    #[must_use]
    pub fn with_capacity_and_ceiling(batch: usize, ceiling: usize) -> Self {
        let batch = batch.clamp(1, KERNEL_CEILING);
        let ceiling = ceiling.clamp(batch, KERNEL_CEILING);
        Self { buffer: vec![BLANK; batch], len: 0, ceiling }
    }

    /// How many events the last wait has brought.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the last wait has brought none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many events the next wait can bring.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// The event at `index`, by value, for a caller that needs other things in between.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Event> {
        self.filled().get(index).copied().map(Event::from_kernel)
    }

    /// The events, in the order in which the kernel has them.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { records: self.filled().iter() }
    }

    /// Forgets the events, keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends an event as the kernel would; the batch grows, beyond its ceiling if need be.
    #[allow(dead_code, reason = "only a simulated kernel and the tests bring events themselves")]
    pub(crate) fn push(&mut self, event: Event) {
        if self.len == self.buffer.len() {
            self.buffer.push(BLANK);
        }
        self.buffer[self.len] = event.to_kernel();
        self.len += 1;
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

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = Event;
    type IntoIter = Iter<'a>;

    #[inline]
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Goes through the [`Events`] of one wait, by value.
#[derive(Clone)]
pub struct Iter<'a> {
    records: std::slice::Iter<'a, epoll::Event>,
}

impl Iterator for Iter<'_> {
    type Item = Event;

    #[inline]
    fn next(&mut self) -> Option<Event> {
        self.records.next().copied().map(Event::from_kernel)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.records.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl Iter<'_> {
    /// The event at `index` of what is left, without going on.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<Event> {
        self.records.as_slice().get(index).copied().map(Event::from_kernel)
    }
}

impl std::fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clone()).finish()
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
    fn bring(events: &mut Events, count: usize) {
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
        let mut events = Events::with_capacity_and_ceiling(32, 100);
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
    fn impossible_sizes_become_possible_ones() {
        assert_eq!(Events::with_capacity(0).capacity(), 1);
        let mut events = Events::with_capacity_and_ceiling(4, 2);
        bring(&mut events, 4);
        assert_eq!(events.capacity(), 4);
    }

    #[test]
    fn a_failed_wait_leaves_no_stale_events() {
        let mut events = Events::with_capacity(4);
        bring(&mut events, 2);
        let failed = events.fill(|_| Err(rustix::io::Errno::INTR));
        assert_eq!(failed, Err(rustix::io::Errno::INTR));
        assert!(events.is_empty());
        assert_eq!(events.get(0), None);
    }

    #[test]
    fn pushed_events_are_seen_as_those_of_a_wait() {
        let mut events = Events::with_capacity_and_ceiling(1, 1);
        (0..3).for_each(|token| events.push(event(token)));
        assert_eq!(events.len(), 3);
        assert_eq!(events.get(2), Some(event(2)));
        assert_eq!(events.get(3), None);
        assert_eq!(events.iter().len(), 3);
        events.clear();
        assert_eq!(events.iter().next(), None);
    }
}
