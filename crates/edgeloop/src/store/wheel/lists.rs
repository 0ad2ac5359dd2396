//! Lists of timers, threaded through nodes of 16 bytes whose memory goes back when they are gone
//! (C12). The wheel has one for each slot; whoever orders connections by a time has one.
//!
//! Each list is a ring through an *anchor*, a node that is no timer. A link to an anchor has
//! [`ANCHOR`] set, so the nodes at both ends know their list, and any node can be unlinked without
//! working out which list it is in.

/// In a link: the rest is the number of a list. Without it, the link is the id of a timer.
const ANCHOR: u32 = 1 << 31;

/// As a tick: this timer isn't set, or this list is empty.
const UNSET: u64 = u64::MAX;

/// Nodes in one page of 4 KiB.
const PAGE: u32 = 256;

/// The directory of pages isn't shrunk below this many entries: it's not worth an allocation.
const DIRECTORY: usize = 64;

#[derive(Clone, Copy)]
struct Node {
    next: u32,
    prev: u32,
    /// When the timer fires; in an anchor a lower bound of that over the list.
    tick: u64,
}

const _: () = assert!(size_of::<Node>() == 16);

struct Page {
    nodes: [Node; PAGE as usize],
    /// How many of the nodes are timers that are set.
    set: u16,
}

pub(crate) struct Lists {
    anchors: Box<[Node]>,
    /// The nodes by id; no page where no timer is set.
    pages: Vec<Option<Box<Page>>>,
    /// The page that was emptied last. A lone timer that comes and goes allocates nothing.
    spare: Option<Box<Page>>,
    /// Pages emptied since the directory was trimmed.
    emptied: usize,
    len: usize,
}

impl Lists {
    /// As many empty lists as `lists` says.
    pub(crate) fn new(lists: u32) -> Self {
        let anchors = (0..lists).map(empty).collect();
        Self { anchors, pages: Vec::new(), spare: None, emptied: 0, len: 0 }
    }

    /// How many timers are set.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The tick of `id`, if its timer is set.
    pub(crate) fn tick(&self, id: u32) -> Option<u64> {
        let page = self.pages.get(page_of(id))?.as_ref()?;
        Some(page.nodes[index_of(id)].tick).filter(|&tick| tick != UNSET)
    }

    /// A tick that's not after any in `list`: exact unless the timer that stood there is gone.
    pub(crate) fn min(&self, list: u32) -> u64 {
        self.anchors[list as usize].tick
    }

    /// The first timer of `list`, which isn't empty, and its tick.
    pub(crate) fn first(&self, list: u32) -> (u32, u64) {
        let id = self.anchors[list as usize].next;
        (id, self.node(id).tick)
    }

    /// The timers of `list` in their order.
    pub(crate) fn iter(&self, list: u32) -> impl Iterator<Item = u32> {
        let timer = |link: u32| (link < ANCHOR).then_some(link);
        let first = timer(self.anchors[list as usize].next);
        std::iter::successors(first, move |&id| timer(self.node(id).next))
    }

    /// Makes the node of `id` a timer. It must be linked next.
    pub(crate) fn claim(&mut self, id: u32) {
        assert!(id < ANCHOR, "timer id {id} is not a slot number");
        let page = page_of(id);
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, || None);
        }
        let spare = &mut self.spare;
        let page = self.pages[page].get_or_insert_with(|| spare.take().unwrap_or_default());
        page.set += 1;
        self.len += 1;
    }

    /// Gives up the node of `id`, which is in no list, and its page if that was the last timer
    /// there.
    pub(crate) fn release(&mut self, id: u32) {
        self.node_mut(id).tick = UNSET;
        self.len -= 1;
        let slot = &mut self.pages[page_of(id)];
        if let Some(page) = slot {
            page.set -= 1;
            if page.set == 0 {
                self.spare = slot.take();
                self.emptied += 1;
                self.trim();
            }
        }
    }

    /// Appends the timer of `id` to `list`.
    pub(crate) fn link(&mut self, list: u32, id: u32, tick: u64) {
        let next = ANCHOR | list;
        let anchor = &mut self.anchors[list as usize];
        let prev = anchor.prev;
        anchor.prev = id;
        anchor.tick = anchor.tick.min(tick);
        self.node_mut(prev).next = id;
        *self.node_mut(id) = Node { next, prev, tick };
    }

    /// Takes the timer of `id` out of its list, and names that list if it's empty now.
    pub(crate) fn unlink(&mut self, id: u32) -> Option<u32> {
        let Node { next, prev, .. } = *self.node(id);
        self.node_mut(prev).next = next;
        self.node_mut(next).prev = prev;
        // Only an anchor can be on both sides.
        (prev == next).then(|| {
            self.node_mut(next).tick = UNSET;
            next & !ANCHOR
        })
    }

    /// Moves all timers of the list `from`, which isn't empty, to the list `to`, which is.
    pub(crate) fn move_all(&mut self, from: u32, to: u32) {
        let anchor = std::mem::replace(&mut self.anchors[from as usize], empty(from));
        self.node_mut(anchor.next).prev = ANCHOR | to;
        self.node_mut(anchor.prev).next = ANCHOR | to;
        self.anchors[to as usize] = anchor;
    }

    /// Shortens the directory, 8 bytes a page, once as many pages were emptied as it has entries:
    /// so rarely that setting and cancelling stay O(1) although growing and trimming it are not.
    fn trim(&mut self) {
        if self.emptied >= self.pages.len() {
            let used = self.pages.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
            self.pages.truncate(used);
            self.pages.shrink_to(DIRECTORY);
            self.emptied = 0;
        }
    }

    fn node(&self, link: u32) -> &Node {
        if link >= ANCHOR {
            return &self.anchors[(link & !ANCHOR) as usize];
        }
        let page = self.pages[page_of(link)].as_ref().expect("a timer that is set has a page");
        &page.nodes[index_of(link)]
    }

    fn node_mut(&mut self, link: u32) -> &mut Node {
        if link >= ANCHOR {
            return &mut self.anchors[(link & !ANCHOR) as usize];
        }
        let page = self.pages[page_of(link)].as_mut().expect("a timer that is set has a page");
        &mut page.nodes[index_of(link)]
    }
}

#[cfg(test)]
impl Lists {
    /// The timers of `list` in their order, with their ticks; every link is looked at from both
    /// sides.
    pub(crate) fn walk(&self, list: u32) -> Vec<(u32, u64)> {
        let anchor = ANCHOR | list;
        let mut timers = Vec::new();
        let (mut prev, mut link) = (anchor, self.node(anchor).next);
        while link != anchor {
            assert_eq!(self.node(link).prev, prev);
            timers.push((link, self.node(link).tick));
            (prev, link) = (link, self.node(link).next);
        }
        assert_eq!(self.node(anchor).prev, prev);
        timers
    }

    /// Pages held, the spare one among them, and entries of the directory.
    pub(crate) fn footprint(&self) -> (usize, usize) {
        let pages = self.pages.iter().chain([&self.spare]).flatten().count();
        (pages, self.pages.len())
    }
}

impl Default for Page {
    fn default() -> Self {
        Self { nodes: [Node { next: 0, prev: 0, tick: UNSET }; PAGE as usize], set: 0 }
    }
}

/// The anchor of `list` when it's empty.
fn empty(list: u32) -> Node {
    Node { next: ANCHOR | list, prev: ANCHOR | list, tick: UNSET }
}

fn page_of(id: u32) -> usize {
    (id / PAGE) as usize
}

fn index_of(id: u32) -> usize {
    (id % PAGE) as usize
}
