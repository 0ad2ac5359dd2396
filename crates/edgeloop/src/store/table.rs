//! Tables by slot, in pages that never move and that go back when they are empty.
//!
//! They have two levels, like the page tables of a processor: a root of fixed size, so that finding
//! an entry needs no comparison with its length, and pages of 512 entries. Slots are given out
//! lowest first, so that the high pages empty and their memory can be released (C12). Generations
//! are counted for the whole loop and not for each slot, so they survive the pages.

use std::num::NonZeroU64;
use std::ops::{Index, IndexMut};

use crate::api::id::{ConnectionId, LoopName, SLOT_BITS};

const PAGE: usize = 512;
const PAGE_BITS: u32 = PAGE.trailing_zeros();
const ROOT: usize = 8192;

/// The most entries of a table, 4,194,304: four times the descriptors that Linux lets a process
/// have unless `fs.nr_open` is raised (proc(5)).
pub(crate) const MOST: usize = ROOT * PAGE;
const _: () = assert!(MOST == 1 << SLOT_BITS);

/// Where a slot lies: its page, and its entry there. Slots are below [`MOST`].
#[inline]
const fn place(slot: u32) -> (usize, usize) {
    ((slot >> PAGE_BITS) as usize % ROOT, slot as usize % PAGE)
}

/// A page is a bare array on the heap, so that an entry is found with one look-up behind the root.
/// It is as well aligned as its entries are.
type Page<T> = Box<[Option<T>; PAGE]>;

/// Collected on the heap, because an array of this size might not fit a thread's stack.
fn array<T, const N: usize>() -> Box<[Option<T>; N]> {
    let entries: Box<[_]> = std::iter::repeat_with(|| None).take(N).collect();
    entries.try_into().unwrap_or_else(|_| unreachable!("{N} entries were collected"))
}

/// A sparse array of small entries, in pages that are made on first use and freed when they are
/// empty.
#[derive(Debug)]
pub(crate) struct Paged<T> {
    pages: Box<[Option<Page<T>>; ROOT]>,
    /// How many entries of each page are in use. All pages behind these are empty.
    used: Vec<u16>,
    /// One emptied page is kept, so that a count that sways around a page's edge costs nothing.
    spare: Option<Page<T>>,
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self { pages: array(), used: Vec::new(), spare: None }
    }
}

impl<T> Paged<T> {
    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        let (page, entry) = place(slot);
        self.pages[page].as_ref()?[entry].as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        let (page, entry) = place(slot);
        self.pages[page].as_mut()?[entry].as_mut()
    }

    /// Puts a value into an empty slot.
    pub(crate) fn insert(&mut self, slot: u32, value: T) {
        let (index, entry) = place(slot);
        if index >= self.used.len() {
            self.used.resize(index + 1, 0);
        }
        let page = self.pages[index].get_or_insert_with(|| self.spare.take().unwrap_or_else(array));
        debug_assert!(page[entry].is_none(), "slot {slot} is taken");
        page[entry] = Some(value);
        self.used[index] += 1;
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let (index, entry) = place(slot);
        let value = self.pages[index].as_mut()?[entry].take()?;
        self.used[index] -= 1;
        if self.used[index] == 0 {
            self.spare = self.pages[index].take();
            let end = self.used.iter().rposition(|&used| used > 0).map_or(0, |last| last + 1);
            self.used.truncate(end);
        }
        Some(value)
    }

    /// The end of the slots that can be in use: all of them are below it.
    #[expect(clippy::cast_possible_truncation, reason = "slots are 32 bits")]
    pub(crate) fn end(&self) -> u32 {
        (self.used.len() * PAGE) as u32
    }
}

/// What lies in a [`Slots`] table carries its generation.
pub(crate) trait Entry {
    fn generation(&self) -> u64;

    /// Whether it is of this generation, and nothing about it is out of the ordinary.
    fn is_plain(&self, generation: u64) -> bool;
}

/// A table that gives out slots, each with a generation that never comes again (C17).
#[derive(Debug)]
pub(crate) struct Slots<T> {
    entries: Paged<T>,
    /// A bit for each slot, set where it is free, for all pages ever used at once; 64 bytes a
    /// page.
    free: Vec<[u64; PAGE / 64]>,
    /// No page below this one has a free slot.
    lowest: usize,
    len: usize,
    generation: NonZeroU64,
    /// Which generations there are.
    name: LoopName,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self::of(LoopName::ALONE)
    }
}

impl<T> Slots<T> {
    /// Those of the loop of this name.
    pub(crate) fn of(name: LoopName) -> Self {
        let (generation, _) = name.generations();
        let (entries, free) = (Paged::default(), Vec::new());
        Self { entries, free, lowest: 0, len: 0, generation, name }
    }
}

impl<T: Entry> Slots<T> {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The end of the slots in use.
    pub(crate) fn end(&self) -> u32 {
        self.entries.end()
    }

    /// The name that the next [`insert`](Self::insert) must be given.
    pub(crate) fn next_id(&mut self) -> ConnectionId {
        let page = (self.lowest..self.free.len())
            .find(|&page| self.free[page] != [0; PAGE / 64])
            .unwrap_or_else(|| {
                self.free.push([u64::MAX; PAGE / 64]);
                self.free.len() - 1
            });
        self.lowest = page;
        let words = &self.free[page];
        let word = words.iter().position(|&word| word != 0).unwrap_or_default();
        let entry = word * 64 + words[word].trailing_zeros() as usize;
        #[expect(clippy::cast_possible_truncation, reason = "slots are 32 bits")]
        let slot = (page * PAGE + entry) as u32;
        self.name.id(slot, self.generation)
    }

    /// Fills the slot that [`next_id`](Self::next_id) named.
    pub(crate) fn insert(&mut self, id: ConnectionId, value: T) {
        debug_assert_eq!(value.generation(), id.generation());
        debug_assert_eq!(self.next_id(), id);
        let (page, entry) = place(id.slot());
        self.free[page][entry / 64] &= !(1 << (entry % 64));
        self.entries.insert(id.slot(), value);
        self.len += 1;
        let (first, last) = self.name.generations();
        self.generation =
            self.generation.checked_add(1).filter(|next| next.get() <= last).unwrap_or(first);
    }

    /// The value of exactly this generation.
    #[inline]
    pub(crate) fn get(&self, id: ConnectionId) -> Option<&T> {
        self.entries.get(id.slot()).filter(|value| value.generation() == id.generation())
    }

    /// The value of exactly this generation.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut T> {
        self.entries.get_mut(id.slot()).filter(|value| value.generation() == id.generation())
    }

    /// The value of exactly this generation, if nothing about it is out of the ordinary: one
    /// comparison fewer, for the way of every message.
    #[inline]
    pub(crate) fn get_plain(&mut self, id: ConnectionId) -> Option<&mut T> {
        self.entries.get_mut(id.slot()).filter(|value| value.is_plain(id.generation()))
    }

    /// The value in a slot of which it is known that it is of this generation.
    #[inline]
    pub(crate) fn get_known(&mut self, id: ConnectionId) -> Option<&mut T> {
        let value = self.entries.get_mut(id.slot());
        debug_assert!(value.as_ref().is_none_or(|it| it.generation() == id.generation()));
        value
    }

    /// Who is in a slot now.
    pub(crate) fn at(&self, slot: u32) -> Option<ConnectionId> {
        let generation = NonZeroU64::new(self.entries.get(slot)?.generation())?;
        Some(self.name.id(slot, generation))
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<T> {
        self.get(id)?;
        let value = self.entries.remove(id.slot())?;
        let (page, entry) = place(id.slot());
        self.free[page][entry / 64] |= 1 << (entry % 64);
        self.lowest = self.lowest.min(page);
        self.len -= 1;
        if self.len == 0 {
            self.free = Vec::new();
        }
        Some(value)
    }
}

/// The value of an id that is known to be in the table.
///
/// # Panics
///
/// When it is not.
impl<T: Entry> Index<ConnectionId> for Slots<T> {
    type Output = T;

    fn index(&self, id: ConnectionId) -> &T {
        self.get(id).unwrap_or_else(|| gone(id))
    }
}

impl<T: Entry> IndexMut<ConnectionId> for Slots<T> {
    fn index_mut(&mut self, id: ConnectionId) -> &mut T {
        self.get_mut(id).unwrap_or_else(|| gone(id))
    }
}

#[cold]
fn gone(id: ConnectionId) -> ! {
    unreachable!("{id} has left the table")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::id::GENERATION_BITS;

    #[derive(Debug, PartialEq)]
    struct Item(u64);

    impl Entry for Item {
        fn generation(&self) -> u64 {
            self.0
        }

        fn is_plain(&self, generation: u64) -> bool {
            self.0 == generation
        }
    }

    fn add(slots: &mut Slots<Item>) -> ConnectionId {
        let id = slots.next_id();
        slots.insert(id, Item(id.generation()));
        id
    }

    #[test]
    fn c17_an_old_name_never_reaches_the_slots_next_owner() {
        let mut slots = Slots::default();
        let old = add(&mut slots);
        assert!(slots.remove(old).is_some());
        let new = add(&mut slots);
        assert_eq!(old.slot(), new.slot(), "the slot is used again");
        assert!(slots.get(old).is_none() && slots.get_mut(old).is_none());
        assert!(slots.remove(old).is_none());
        assert!(slots.get(new).is_some());
    }

    #[test]
    fn c17_a_generation_survives_the_memory_of_its_page() {
        let mut slots = Slots::default();
        let old = add(&mut slots);
        slots.remove(old);
        assert_eq!(slots.end(), 0, "the page is gone");
        assert_ne!(add(&mut slots), old);
    }

    #[test]
    fn c17_a_generation_does_not_come_again_after_four_billion_connections() {
        let mut slots = Slots::default();
        let old = add(&mut slots);
        slots.remove(old);
        slots.generation = NonZeroU64::new(u64::from(u32::MAX)).expect("not 0");
        for _ in 0..3 {
            let new = add(&mut slots);
            assert_eq!((old.slot(), new.generation() >= u64::from(u32::MAX)), (new.slot(), true));
            assert!(slots.get(old).is_none() && slots.remove(new).is_some());
        }
        // There is an end to it, and no flag is set by that.
        slots.generation = NonZeroU64::new((1 << GENERATION_BITS) - 1).expect("not 0");
        let last = add(&mut slots);
        assert!(slots.remove(last).is_some());
        assert_eq!(add(&mut slots), old, "two years later");
    }

    #[test]
    fn c17_a_name_never_reaches_a_connection_of_another_loop() {
        let mut loops = [0, 1, 2].map(|number| Slots::of(LoopName::new(number, 3)));
        let ids = loops.each_mut().map(add);
        for (number, slots) in loops.iter_mut().enumerate() {
            let at_home: Vec<_> = ids.iter().filter(|&&id| slots.get(id).is_some()).collect();
            assert_eq!(at_home, [&ids[number]]);
            assert_eq!(slots.at(0), Some(ids[number]), "all have the same slot");
            // Also where its generations begin anew.
            let (_, last) = slots.name.generations();
            slots.generation = NonZeroU64::new(last).expect("not 0");
            let last = add(slots);
            assert_eq!(
                (last.generation(), last.loop_number()),
                (slots.name.generations().1, number)
            );
            slots.remove(ids[number]);
            assert_eq!(add(slots), ids[number]);
        }
    }

    #[test]
    fn there_are_as_many_slots_as_is_said() {
        assert_eq!(MOST, 4_194_304);
        let (last, entry) = place(u32::try_from(MOST - 1).expect("32 bits"));
        assert_eq!((last, entry), (ROOT - 1, PAGE - 1));
    }

    #[test]
    fn c12_pages_go_back_and_low_slots_come_first() {
        let mut slots = Slots::default();
        let ids: Vec<_> = (0..10 * PAGE).map(|_| add(&mut slots)).collect();
        assert_eq!(slots.end() as usize, 10 * PAGE);
        for &id in &ids[PAGE..] {
            slots.remove(id);
        }
        assert_eq!((slots.len(), slots.end() as usize), (PAGE, PAGE));
        slots.remove(ids[77]);
        assert_eq!(add(&mut slots).slot(), 77);
        assert_eq!(add(&mut slots).slot() as usize, PAGE);
    }

    #[test]
    fn every_slot_has_one_owner() {
        let mut slots = Slots::default();
        let mut owned = std::collections::BTreeMap::new();
        let mut random = 0x9E37_79B9_u32;
        for _ in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if random >> 31 == 0 || owned.is_empty() {
                let id = add(&mut slots);
                assert_eq!(owned.insert(id.slot(), id), None, "{id} is handed out twice");
            } else {
                let nth = (random >> 8) as usize % owned.len();
                let (&slot, &id) = owned.iter().nth(nth).expect("within the length");
                owned.remove(&slot);
                assert_eq!(slots.remove(id), Some(Item(id.generation())));
            }
            assert_eq!(slots.len(), owned.len());
        }
        assert!(owned.values().all(|&id| slots.at(id.slot()) == Some(id)));
    }
}
