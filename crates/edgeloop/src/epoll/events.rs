//! The events of one wait, for its caller.

use super::Event;
use super::batch::{Batch, KERNEL_CEILING};

/// How far a batch grows unless told otherwise: 4096 events, 64 KiB.
const DEFAULT_CEILING: usize = 4096;

/// The events of one [`wait`](super::Epoll::wait), to be used again for the next.
///
/// A batch that comes back full means that there may be more, and every further batch is another
/// system call. So a full one doubles, up to a ceiling; it never shrinks. A ceiling equal to the
/// batch keeps the size as it is.
///
/// The kernel writes into memory that belongs to the thread that waits, and from there the events
/// are copied, so that they can go to any thread.
///
/// ```
/// use edgeloop::epoll::Events;
///
/// let events = Events::with_capacity_and_ceiling(32, 1024);
/// assert!(events.is_empty());
/// assert_eq!(events.capacity(), 32);
/// ```
pub struct Events {
    filled: Vec<Event>,
    /// How many the next wait can bring.
    batch: usize,
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
        Self { filled: Vec::with_capacity(batch), batch, ceiling }
    }

    /// How many events the last wait has brought.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.filled.len()
    }

    /// Whether the last wait has brought none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filled.is_empty()
    }

    /// How many events the next wait can bring.
    #[inline]
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.batch
    }

    /// The event at `index`, by value, for a caller that needs other things in between.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Event> {
        self.filled.get(index).copied()
    }

    /// The events, in the order in which the kernel has them.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { events: self.filled.iter() }
    }

    /// Forgets the events, keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.filled.clear();
    }

    /// Has `wait` fill a batch of this thread, and takes over its events.
    pub(super) fn fill<E>(
        &mut self,
        wait: impl FnOnce(&mut Batch) -> Result<(), E>,
    ) -> Result<(), E> {
        self.clear();
        Batch::of_thread(self.batch, self.ceiling, |batch| {
            wait(batch)?;
            // A batch has no more events than there is room for here.
            self.filled.extend(batch.iter());
            let more = batch.capacity() - self.filled.len();
            // Without memory for more, the batch stays as it is.
            if batch.capacity() > self.batch && self.filled.try_reserve_exact(more).is_ok() {
                self.batch = batch.capacity();
            }
            Ok(())
        })
    }
}

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
    events: std::slice::Iter<'a, Event>,
}

impl Iterator for Iter<'_> {
    type Item = Event;

    #[inline]
    fn next(&mut self) -> Option<Event> {
        self.events.next().copied()
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.events.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl std::fmt::Debug for Iter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::epoll::{Epoll, Interest, Mode, Token};

    #[test]
    fn events_go_to_any_thread() {
        fn movable<T: Send + Sync>() {}
        movable::<Events>();
        let (mut near, far) = UnixStream::pair().expect("a pair");
        let epoll = Epoll::new().expect("a descriptor");
        epoll.add(&far, Token(7), Interest::READABLE, Mode::Level).expect("it can be watched");
        near.write_all(b"x").expect("there is room");
        let mut events = Events::with_capacity_and_ceiling(1, 4);
        // A full batch doubles, whichever thread waits.
        for room in [2, 2, 2] {
            events = std::thread::scope(|scope| {
                let waits = scope.spawn(|| {
                    let waited = epoll.wait(&mut events, Some(Duration::from_secs(10)));
                    assert_eq!(waited.expect("it waits"), 1);
                    events
                });
                waits.join().expect("it has waited")
            });
            assert_eq!(events.get(0).map(Event::token), Some(Token(7)));
            assert_eq!((events.len(), events.capacity()), (1, room));
        }
    }

    #[test]
    fn impossible_sizes_become_possible_ones() {
        assert_eq!(Events::with_capacity(0).capacity(), 1);
        assert_eq!(Events::with_capacity_and_ceiling(4, 2).ceiling, 4);
    }
}
