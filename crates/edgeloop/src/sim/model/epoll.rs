//! An epoll set as Linux keeps it: who is registered for what, and who is ready, in which order.
//!
//! A model of fs/eventpoll.c (Linux 6.18), without a clock and without descriptors of its own.
//! Files are known by small numbers, which are indices, so that nothing here searches or hashes;
//! what a file is ready for, the caller says. Sets within sets are left out.

use std::collections::VecDeque;

use rustix::io::Errno;

use crate::epoll::{Batch, Event, Interest, Mode, Readiness, Token};

/// What is reported whether asked for or not (`do_epoll_ctl` adds it to what was asked).
const IMPLIED: u32 = Readiness::ERR.bits() | Readiness::HUP.bits();

/// A wake-up without a mask, such as `sk_state_change` makes: whoever is registered is listed, and
/// only the look at the file decides what is reported.
pub const ANYTHING: Readiness = Readiness::from_bits(u32::MAX);

/// A registration (`struct epitem`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    token: Token,
    /// What is reported; nothing, while a one-shot registration waits to be armed again.
    asked: u32,
    mode: Mode,
    exclusive: bool,
    /// It stands in the ready list.
    listed: bool,
}

impl Entry {
    fn new(token: Token, interest: Interest, mode: Mode) -> Self {
        let asked = IMPLIED | bits(interest);
        Self { token, asked, mode, exclusive: false, listed: false }
    }

    const fn reports(&self, readiness: Readiness) -> u32 {
        readiness.bits() & self.asked
    }
}

/// The flags of poll that an interest asks for.
fn bits(interest: Interest) -> u32 {
    let flags = [
        (interest.is_readable(), Readiness::IN),
        (interest.is_writable(), Readiness::OUT),
        (interest.is_priority(), Readiness::PRI),
        (interest.is_peer_closed(), Readiness::RDHUP),
    ];
    flags.iter().filter(|(asked, _)| *asked).fold(0, |bits, (_, flag)| bits | flag.bits())
}

/// An epoll instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpollSet {
    /// By the number of the file.
    entries: Vec<Option<Entry>>,
    /// The files that may be ready, first come, first reported (`rdllist`).
    ready: VecDeque<usize>,
}

impl EpollSet {
    /// `EPOLL_CTL_ADD` of a file that is ready for `now`, which counts as its first event.
    ///
    /// # Errors
    ///
    /// `EEXIST` when it is registered.
    pub fn add(
        &mut self,
        file: usize,
        token: Token,
        interest: Interest,
        mode: Mode,
        now: Readiness,
    ) -> Result<(), Errno> {
        self.insert(file, Entry::new(token, interest, mode), now)
    }

    /// `EPOLL_CTL_ADD` with `EPOLLEXCLUSIVE`. Which of several sets hears of an event is decided
    /// among those that somebody waits in, so that within one set nothing else is different.
    ///
    /// # Errors
    ///
    /// `EINVAL` for another interest than in reading and writing, and for one-shot
    /// (`EPOLLEXCLUSIVE_OK_BITS`), before it is looked whether the file is registered: `EEXIST`.
    pub fn add_exclusive(
        &mut self,
        file: usize,
        token: Token,
        interest: Interest,
        mode: Mode,
        now: Readiness,
    ) -> Result<(), Errno> {
        if interest.is_priority() || interest.is_peer_closed() || is_one_shot(mode) {
            return Err(Errno::INVAL);
        }
        let entry = Entry { exclusive: true, ..Entry::new(token, interest, mode) };
        self.insert(file, entry, now)
    }

    /// `ep_insert`.
    fn insert(&mut self, file: usize, entry: Entry, now: Readiness) -> Result<(), Errno> {
        if file >= self.entries.len() {
            self.entries.resize(file + 1, None);
        }
        if self.entries[file].is_some() {
            return Err(Errno::EXIST);
        }
        self.entries[file] = Some(entry);
        self.list_if(file, now);
        Ok(())
    }

    /// `EPOLL_CTL_MOD`: what the file is ready for now is reported anew, whatever was reported
    /// before, and a one-shot registration is armed again (`ep_modify`).
    ///
    /// # Errors
    ///
    /// `ENOENT` when the file is not registered, `EINVAL` when it is so exclusively.
    pub fn modify(
        &mut self,
        file: usize,
        token: Token,
        interest: Interest,
        mode: Mode,
        now: Readiness,
    ) -> Result<(), Errno> {
        let entry = self.entry(file).ok_or(Errno::NOENT)?;
        if entry.exclusive {
            return Err(Errno::INVAL);
        }
        *entry = Entry { listed: entry.listed, ..Entry::new(token, interest, mode) };
        self.list_if(file, now);
        Ok(())
    }

    /// `EPOLL_CTL_DEL`.
    ///
    /// # Errors
    ///
    /// `ENOENT` when the file is not registered.
    pub fn delete(&mut self, file: usize) -> Result<(), Errno> {
        let entry = self.entries.get_mut(file).and_then(Option::take).ok_or(Errno::NOENT)?;
        if entry.listed {
            self.ready.retain(|&listed| listed != file);
        }
        Ok(())
    }

    /// The last descriptor of a file is closed: its registration goes, if it has one
    /// (`eventpoll_release_file`).
    pub fn closed(&mut self, file: usize) {
        // Most files that are closed are registered, but nobody is told of those that are not.
        let _ = self.delete(file);
    }

    /// Something has come to pass with a file, and its waiters are told what it may be ready for;
    /// [`ANYTHING`] if that isn't said (`ep_poll_callback`).
    #[inline]
    pub fn wake(&mut self, file: usize, what: Readiness) {
        // A registration that asks for nothing is a one-shot that has been reported.
        self.list_if(file, what);
    }

    /// Appends a file to the ready list unless it stands there, or isn't interested.
    #[inline]
    fn list_if(&mut self, file: usize, readiness: Readiness) {
        if let Some(Some(entry)) = self.entries.get_mut(file)
            && entry.reports(readiness) != 0
            && !entry.listed
        {
            entry.listed = true;
            self.ready.push_back(file);
        }
    }

    /// epoll_wait(2) that doesn't wait: fills `events` as far as they go, in the order in which the
    /// files were listed. `look` says what a file is ready for now (`ep_send_events`).
    pub(crate) fn collect_into(
        &mut self,
        events: &mut Batch,
        mut look: impl FnMut(usize) -> Readiness,
    ) {
        // A level-triggered file that is listed again is no part of this batch.
        let mut left = self.ready.len();
        events.bring(|| self.next(&mut left, &mut look));
    }

    /// The same for `most` events at the most.
    pub fn collect(&mut self, most: usize, look: impl FnMut(usize) -> Readiness) -> Vec<Event> {
        let mut events = Batch::new(most, most);
        self.collect_into(&mut events, look);
        events.iter().collect()
    }

    /// The next of so many files that is ready.
    fn next(
        &mut self,
        left: &mut usize,
        look: &mut impl FnMut(usize) -> Readiness,
    ) -> Option<Event> {
        while *left > 0 {
            *left -= 1;
            let file = self.ready.pop_front()?;
            let entry = self.entries[file].as_mut()?;
            entry.listed = false;
            // What made it ready may be over: the file is looked at again, and not listed any more
            // if so, level-triggered or not.
            let readiness = entry.reports(look(file));
            if readiness == 0 {
                continue;
            }
            match entry.mode {
                Mode::LevelOneShot | Mode::EdgeOneShot => entry.asked = 0,
                Mode::Edge => {}
                // It goes behind all others, so that none starves, and is looked at by the next
                // wait, ready or not.
                Mode::Level => {
                    entry.listed = true;
                    self.ready.push_back(file);
                }
            }
            return Some(Event::new(entry.token, Readiness::from_bits(readiness)));
        }
        None
    }

    /// The token under which the file is registered, if it is.
    pub fn token(&self, file: usize) -> Option<Token> {
        self.entries.get(file).copied().flatten().map(|entry| entry.token)
    }

    /// What would be reported of a file that is ready for this.
    pub fn reports(&self, file: usize, readiness: Readiness) -> Readiness {
        let entry = self.entries.get(file).and_then(Option::as_ref);
        Readiness::from_bits(entry.map_or(0, |entry| entry.reports(readiness)))
    }

    /// Whether the file stands in the ready list.
    pub fn is_listed(&self, file: usize) -> bool {
        self.entries.get(file).is_some_and(|entry| entry.is_some_and(|entry| entry.listed))
    }

    /// The files in the ready list, in its order.
    pub fn listed(&self) -> impl Iterator<Item = usize> {
        self.ready.iter().copied()
    }

    /// Puts the ready list into another order, in which the same files are.
    pub fn arrange(&mut self, order: impl IntoIterator<Item = usize>) {
        let length = self.ready.len();
        self.ready.clear();
        self.ready.extend(order);
        assert_eq!(self.ready.len(), length, "no file is lost or won by another order");
    }

    fn entry(&mut self, file: usize) -> Option<&mut Entry> {
        self.entries.get_mut(file)?.as_mut()
    }
}

const fn is_one_shot(mode: Mode) -> bool {
    matches!(mode, Mode::LevelOneShot | Mode::EdgeOneShot)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Readiness = Readiness::from_bits(0);
    const IN: Readiness = Readiness::IN;
    const OUT: Readiness = Readiness::OUT;
    const READ: Interest = Interest::READABLE;
    const BOTH: Interest = Interest::READABLE.union(Interest::WRITABLE);

    /// A set with files whose readiness the test sets.
    #[derive(Default)]
    struct Files {
        set: EpollSet,
        ready: [u32; 4],
    }

    impl Files {
        fn add(&mut self, file: usize, interest: Interest, mode: Mode) {
            let now = Readiness::from_bits(self.ready[file]);
            self.set.add(file, Token(file as u64), interest, mode, now).expect("not registered");
        }

        fn modify(&mut self, file: usize, interest: Interest, mode: Mode) {
            let now = Readiness::from_bits(self.ready[file]);
            self.set.modify(file, Token(file as u64), interest, mode, now).expect("registered");
        }

        /// The file is ready for this from now on, and its waiters are told.
        fn becomes(&mut self, file: usize, readiness: Readiness) {
            self.ready[file] = readiness.bits();
            self.set.wake(file, readiness);
        }

        #[track_caller]
        fn expect(&mut self, most: usize, expected: &[(u64, Readiness)]) {
            let events = self.set.collect(most, |file| Readiness::from_bits(self.ready[file]));
            let got: Vec<_> =
                events.iter().map(|event| (event.token().0, event.readiness())).collect();
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn events_come_in_the_order_in_which_files_became_ready() {
        let mut files = Files::default();
        for file in 0..4 {
            files.add(file, READ, Mode::Edge);
        }
        for file in [2, 0, 3, 0, 2] {
            files.becomes(file, IN);
        }
        files.expect(8, &[(2, IN), (0, IN), (3, IN)]);
        files.expect(8, &[]);
    }

    #[test]
    fn what_is_ready_when_it_is_added_is_reported() {
        let mut files = Files::default();
        files.ready[1] = OUT.bits();
        files.add(1, BOTH, Mode::Edge);
        files.add(0, BOTH, Mode::Edge);
        files.expect(8, &[(1, OUT)]);
    }

    #[test]
    fn an_edge_is_reported_once_and_a_level_at_each_wait() {
        let mut files = Files::default();
        files.add(0, READ, Mode::Edge);
        files.add(1, READ, Mode::Level);
        files.becomes(0, IN);
        files.becomes(1, IN);
        files.expect(8, &[(0, IN), (1, IN)]);
        files.expect(8, &[(1, IN)]);
        files.becomes(1, NOTHING);
        files.expect(8, &[]);
        assert!(!files.set.is_listed(1), "one that is not ready leaves the list");
        files.becomes(1, IN);
        files.expect(8, &[(1, IN)]);
    }

    #[test]
    fn levels_go_behind_what_a_small_batch_left_over() {
        let mut files = Files::default();
        for file in 0..3 {
            files.add(file, READ, Mode::Level);
            files.becomes(file, IN);
        }
        files.expect(2, &[(0, IN), (1, IN)]);
        files.expect(2, &[(2, IN), (0, IN)]);
        files.expect(1, &[(1, IN)]);
        files.expect(8, &[(2, IN), (0, IN), (1, IN)]);
    }

    #[test]
    fn a_one_shot_is_silent_until_it_is_modified_errors_and_hang_ups_included() {
        for mode in [Mode::LevelOneShot, Mode::EdgeOneShot] {
            let mut files = Files::default();
            files.add(0, READ, mode);
            files.becomes(0, IN);
            files.expect(8, &[(0, IN)]);
            files.becomes(0, Readiness::IN | Readiness::ERR | Readiness::HUP);
            files.set.wake(0, ANYTHING);
            files.expect(8, &[]);
            files.modify(0, READ, mode);
            files.expect(8, &[(0, Readiness::IN | Readiness::ERR | Readiness::HUP)]);
            files.expect(8, &[]);
        }
    }

    #[test]
    fn modifying_reports_readiness_anew() {
        let mut files = Files::default();
        files.add(0, READ, Mode::Edge);
        files.becomes(0, Readiness::IN | Readiness::OUT);
        files.expect(8, &[(0, IN)]);
        files.modify(0, READ, Mode::Edge);
        files.expect(8, &[(0, IN)]);
        files.modify(0, BOTH, Mode::Edge);
        files.expect(8, &[(0, Readiness::IN | Readiness::OUT)]);
    }

    #[test]
    fn modifying_keeps_the_place_in_the_list_and_the_new_interest_counts() {
        let mut files = Files::default();
        files.add(0, READ, Mode::Edge);
        files.add(1, READ, Mode::Edge);
        files.becomes(0, IN);
        files.becomes(1, IN);
        files.modify(0, READ, Mode::Level);
        files.modify(1, Interest::WRITABLE, Mode::Edge);
        files.expect(8, &[(0, IN)]);
        files.expect(8, &[(0, IN)]);
    }

    #[test]
    fn a_wake_up_counts_if_its_mask_meets_the_interest_and_then_all_that_is_ready_is_reported() {
        let mut files = Files::default();
        files.add(0, BOTH, Mode::Edge);
        files.add(1, Interest::WRITABLE, Mode::Edge);
        files.ready = [IN.bits() | OUT.bits(); 4];
        for file in [0, 1] {
            files.set.wake(file, IN);
        }
        files.expect(8, &[(0, Readiness::IN | Readiness::OUT)]);
        files.set.wake(1, ANYTHING);
        files.expect(8, &[(1, OUT)]);
    }

    #[test]
    fn errors_and_hang_ups_are_reported_unasked() {
        let mut files = Files::default();
        files.add(0, READ, Mode::Edge);
        files.becomes(0, Readiness::ERR);
        files.expect(8, &[(0, Readiness::ERR)]);
        files.becomes(0, Readiness::HUP | Readiness::RDHUP);
        files.expect(8, &[(0, Readiness::HUP)]);
    }

    #[test]
    fn what_is_gone_is_not_reported_and_may_be_added_again() {
        let mut files = Files::default();
        for file in 0..3 {
            files.add(file, READ, Mode::Level);
            files.becomes(file, IN);
        }
        files.set.delete(0).expect("registered");
        files.set.closed(2);
        files.set.closed(3);
        files.expect(8, &[(1, IN)]);
        assert_eq!((files.set.token(1), files.set.token(2)), (Some(Token(1)), None));
        files.add(2, READ, Mode::Edge);
        files.expect(8, &[(1, IN), (2, IN)]);
    }

    #[test]
    fn wrong_calls_are_refused_as_the_kernel_does() {
        let mut set = EpollSet::default();
        let (token, edge) = (Token(7), Mode::Edge);
        assert_eq!(set.delete(5), Err(Errno::NOENT));
        assert_eq!(set.modify(5, token, READ, edge, NOTHING), Err(Errno::NOENT));
        assert_eq!(set.add(5, token, READ, edge, NOTHING), Ok(()));
        assert_eq!(set.add(5, token, READ, edge, NOTHING), Err(Errno::EXIST));
        assert_eq!(set.add_exclusive(5, token, READ, edge, NOTHING), Err(Errno::EXIST));
        assert_eq!(set.delete(5), Ok(()));
        assert_eq!(set.delete(5), Err(Errno::NOENT));
    }

    #[test]
    fn an_exclusive_registration_is_narrow_and_never_modified() {
        let mut set = EpollSet::default();
        for wrong in [Interest::PRIORITY, Interest::PEER_CLOSED | READ] {
            let refused = set.add_exclusive(1, Token(1), wrong, Mode::Level, NOTHING);
            assert_eq!(refused, Err(Errno::INVAL));
        }
        let refused = set.add_exclusive(1, Token(1), READ, Mode::EdgeOneShot, NOTHING);
        assert_eq!(refused, Err(Errno::INVAL));
        assert_eq!(set.add_exclusive(1, Token(1), BOTH, Mode::Edge, NOTHING), Ok(()));
        assert_eq!(set.modify(1, Token(1), BOTH, Mode::Edge, NOTHING), Err(Errno::INVAL));
        assert_eq!(set.delete(1), Ok(()));
    }

    #[test]
    fn the_list_can_be_seen_and_put_into_another_order() {
        let mut files = Files::default();
        for file in 0..3 {
            files.add(file, READ, Mode::Edge);
            files.becomes(file, IN);
        }
        assert_eq!(files.set.listed().collect::<Vec<_>>(), [0, 1, 2]);
        assert!(files.set.is_listed(2) && !files.set.is_listed(3));
        files.set.arrange([2, 0, 1]);
        files.expect(8, &[(2, IN), (0, IN), (1, IN)]);
    }
}
