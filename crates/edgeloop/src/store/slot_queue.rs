//! Connections in an order: of those with queued output, in which each last took some, and of those
//! that wait for memory, in which they began to (C11).

use crate::store::wheel::lists::Lists;

/// The one list.
const ALL: u32 = 0;

/// Slots, each once, first in first out. Each step is O(1).
pub(crate) struct SlotQueue {
    lists: Lists,
}

impl SlotQueue {
    pub(crate) fn new() -> Self {
        Self { lists: Lists::new(ALL + 1) }
    }

    /// Puts a slot at the end, wherever it stood before.
    pub(crate) fn push(&mut self, slot: u32) {
        if self.lists.tick(slot).is_some() {
            self.lists.unlink(slot);
        } else {
            self.lists.claim(slot);
        }
        self.lists.link(ALL, slot, 0);
    }

    /// Takes a slot out, if it is there.
    pub(crate) fn remove(&mut self, slot: u32) {
        if self.lists.tick(slot).is_some() {
            self.lists.unlink(slot);
            self.lists.release(slot);
        }
    }

    /// The first slot, if there is one.
    pub(crate) fn first(&self) -> Option<u32> {
        self.iter().next()
    }

    /// All slots in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.lists.iter(ALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(queue: &SlotQueue) -> Vec<u32> {
        queue.iter().collect()
    }

    #[test]
    fn a_slot_stands_in_it_once_and_the_last_pushed_is_the_last() {
        let mut queue = SlotQueue::new();
        assert_eq!((queue.first(), slots(&queue)), (None, vec![]));
        [7, 3, 9, 7].into_iter().for_each(|slot| queue.push(slot));
        assert_eq!((queue.first(), slots(&queue)), (Some(3), vec![3, 9, 7]));
        for _ in 0..2 {
            queue.remove(9);
            assert_eq!(slots(&queue), [3, 7]);
        }
        queue.remove(3);
        queue.remove(7);
        assert_eq!(queue.first(), None);
        queue.push(1);
        assert_eq!(slots(&queue), [1]);
    }
}
