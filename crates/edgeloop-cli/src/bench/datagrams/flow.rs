//! One socket of a run: what is in flight on it, and what the datagrams are that come back.
//!
//! Datagram `n` of a socket carries a part of the socket's stream: it begins at the `n`th multiple
//! of its size, rounded up to whole words. So its first word tells both its number and its socket,
//! and every byte behind it is known.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use edgeloop::DatagramSocket;

use crate::bench::lane::Flight;
use crate::bench::payload::{Payload, STREAMS, WORD};
use crate::bench::schedule::Schedule;

/// How long a socket whose datagrams the kernel refuses waits, at first and at the most.
const BACKOFF: Duration = Duration::from_millis(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// How many places a stream has.
const PLACES: u64 = 1 << 40;

/// Among how many of the oldest in flight the beginning of a shorter answer is looked for.
const LOOKED_THROUGH: usize = 64;

/// One socket of a run.
#[derive(Debug)]
pub(super) struct Flow {
    /// Without one, it could not be bound.
    pub(super) socket: Option<DatagramSocket>,
    /// Its own address, and the service's.
    pub(super) local: SocketAddr,
    pub(super) target: SocketAddr,
    pub(super) stream: u64,
    pub(super) schedule: Option<Schedule>,
    /// The number of the first in the window, and those from it on that were sent. One that has
    /// been answered stays until those before it have gone.
    first: u64,
    window: VecDeque<Slot>,
    /// How many of them wait for their answer.
    open: usize,
    /// Lost ones whose answers have not come late either, as many as are remembered.
    lost: BTreeSet<u64>,
    remembered: usize,
    /// Of those below it, the lost ones are forgotten.
    forgotten: u64,
    /// The latest that was answered.
    latest: u64,
    /// For when it stands in the queue of those that have something due, and in that of those
    /// whose oldest may be lost; the end of time if it doesn't.
    pub(super) awaits: u64,
    pub(super) expires: u64,
    /// Nothing is sent until then: the kernel has refused it.
    pub(super) resumes: u64,
    /// Since when it may send. None while it may not.
    pub(super) allowed: Option<u64>,
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    flight: Flight,
    is_open: bool,
}

/// Of which datagram some bytes are the answer, right or wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Number(u64),
    /// Its first word is another, but a later one tells it, or too few came.
    Corrupted(u64),
    /// Nothing that this socket has sent.
    Foreign,
}

/// What an answer is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// The first one in time, and whether a later datagram was answered before.
    First(Flight, bool),
    /// The first one, but too late.
    Late,
    Duplicate,
}

impl Flow {
    pub(super) fn new(
        stream: u64,
        local: SocketAddr,
        target: SocketAddr,
        remembered: usize,
    ) -> Self {
        Self {
            socket: None,
            local,
            target,
            stream: stream % STREAMS,
            schedule: None,
            first: 0,
            window: VecDeque::new(),
            open: 0,
            lost: BTreeSet::new(),
            remembered,
            forgotten: 0,
            latest: 0,
            awaits: u64::MAX,
            expires: u64::MAX,
            resumes: 0,
            allowed: None,
            failures: 0,
        }
    }

    /// How many wait for their answer.
    pub(super) const fn open(&self) -> usize {
        self.open
    }

    /// The number of the next one.
    fn next(&self) -> u64 {
        self.first + self.window.len() as u64
    }

    /// Where in the stream a datagram of this size begins, in bytes.
    fn offset(number: u64, size: usize) -> u64 {
        let words = size.div_ceil(WORD) as u64;
        number % (PLACES / words) * words * WORD as u64
    }

    /// Writes the next datagram.
    pub(super) fn fill(&self, payload: Payload, bytes: &mut [u8]) {
        payload.fill(self.stream, Self::offset(self.next(), bytes.len()), bytes);
    }

    /// It was sent.
    pub(super) fn sent(&mut self, flight: Flight) {
        self.window.push_back(Slot { flight, is_open: true });
        self.open += 1;
        self.failures = 0;
    }

    /// How long to wait after the kernel has refused one.
    pub(super) fn back_off(&mut self) -> Duration {
        let wait = BACKOFF.saturating_mul(1 << self.failures.min(10)).min(LONGEST_BACKOFF);
        self.failures += 1;
        wait
    }

    /// When the oldest that waits was sent.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.window.front().map(|slot| slot.flight.sent)
    }

    /// Takes off the oldest one that was not answered in time, if there is one.
    pub(super) fn expire(&mut self, now: u64, timeout: u64) -> Option<Flight> {
        let slot = *self.window.front()?;
        if now.saturating_sub(slot.flight.sent) <= timeout {
            return None;
        }
        self.open -= 1;
        self.lost.insert(self.first);
        if self.lost.len() > self.remembered
            && let Some(oldest) = self.lost.pop_first()
        {
            self.forgotten = oldest + 1;
        }
        self.window.pop_front();
        self.first += 1;
        self.trim();
        Some(slot.flight)
    }

    /// Takes off all that wait.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = Flight> + use<> {
        self.open = 0;
        let slots = std::mem::take(&mut self.window);
        slots.into_iter().filter(|slot| slot.is_open).map(|slot| slot.flight)
    }

    /// The first in the window waits for its answer.
    fn trim(&mut self) {
        while self.window.front().is_some_and(|slot| !slot.is_open) {
            self.window.pop_front();
            self.first += 1;
        }
    }

    /// What these bytes answer.
    pub(super) fn identify(&self, payload: Payload, size: usize, bytes: &[u8]) -> Seen {
        let (words, _) = bytes.as_chunks::<WORD>();
        if words.is_empty() {
            return self.begun(payload, size, bytes).map_or(Seen::Foreign, Seen::Corrupted);
        }
        let each = size.div_ceil(WORD);
        let told = |(index, word): (usize, &[u8; WORD])| {
            let (stream, place) = payload.place(*word);
            let place = place.checked_sub(index as u64).filter(|_| stream == self.stream)?;
            self.number(place, each as u64)
        };
        let mut words = words.iter().take(each).enumerate();
        match words.next().and_then(told) {
            Some(number) => Seen::Number(number),
            None => words.find_map(told).map_or(Seen::Foreign, Seen::Corrupted),
        }
    }

    /// The number of the datagram that begins at this place, the latest one that was sent.
    fn number(&self, place: u64, words: u64) -> Option<u64> {
        let (last, cycle) = (self.next().checked_sub(1)?, PLACES / words);
        let within = place / words;
        if !place.is_multiple_of(words) || within >= cycle {
            return None;
        }
        last.checked_sub((last % cycle + cycle - within) % cycle)
    }

    /// The oldest in flight that begins with these bytes, too few to tell a number.
    fn begun(&self, payload: Payload, size: usize, bytes: &[u8]) -> Option<u64> {
        let window = self.window.iter().zip(self.first..).take(LOOKED_THROUGH);
        let mut open = window.filter(|(slot, _)| slot.is_open).map(|(_, number)| number);
        open.find(|&number| {
            let offset = Self::offset(number, size);
            payload.matching(self.stream, offset, bytes) == bytes.len()
        })
    }

    /// How many bytes of an answer are changed, missing and too many.
    pub(super) fn compare(
        &self,
        payload: Payload,
        number: u64,
        bytes: &[u8],
        expected: &mut [u8],
    ) -> [u64; 3] {
        let (offset, size) = (Self::offset(number, expected.len()), expected.len());
        let common = bytes.len().min(size);
        let mut changed = 0;
        if payload.matching(self.stream, offset, &bytes[..common]) < common {
            payload.fill(self.stream, offset, expected);
            let pairs = bytes.iter().zip(&*expected);
            changed = pairs.filter(|(came, sent)| came != sent).count() as u64;
        }
        let (missing, surplus) = (size - common, bytes.len() - common);
        [changed, missing as u64, surplus as u64]
    }

    /// An answer to this datagram has come. What is too old by now has been taken off before.
    pub(super) fn answered(&mut self, number: u64) -> Answer {
        let Some(index) = number.checked_sub(self.first) else {
            let is_late = self.lost.remove(&number) || number < self.forgotten;
            return if is_late { Answer::Late } else { Answer::Duplicate };
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(slot) = self.window.get_mut(index).filter(|slot| slot.is_open) else {
            return Answer::Duplicate;
        };
        slot.is_open = false;
        let flight = slot.flight;
        self.open -= 1;
        let is_reordered = number < self.latest;
        self.latest = self.latest.max(number);
        self.trim();
        Answer::First(flight, is_reordered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: Payload = Payload::new(7);

    fn flow(remembered: usize) -> Flow {
        let address = SocketAddr::from(([127, 0, 0, 1], 7));
        Flow::new(3, address, address, remembered)
    }

    fn send(flow: &mut Flow, sent: u64, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        flow.fill(PAYLOAD, &mut bytes);
        flow.sent(Flight { due: sent, sent });
        bytes
    }

    #[track_caller]
    fn expect(flow: &mut Flow, number: u64, expected: &str) {
        let answer = match flow.answered(number) {
            Answer::First(_, false) => "first",
            Answer::First(_, true) => "reordered",
            Answer::Late => "late",
            Answer::Duplicate => "duplicate",
        };
        assert_eq!(answer, expected, "{number}");
    }

    #[test]
    fn each_datagram_tells_its_number_at_any_size() {
        for size in [8, 9, 15, 16, 64, 1000, 65_507] {
            let mut flow = flow(10);
            for number in 0..20 {
                let bytes = send(&mut flow, 0, size);
                assert_eq!(flow.identify(PAYLOAD, size, &bytes), Seen::Number(number));
                let mut expected = vec![0; size];
                assert_eq!(flow.compare(PAYLOAD, number, &bytes, &mut expected), [0; 3]);
            }
        }
    }

    #[test]
    fn numbers_go_on_where_the_places_of_a_stream_begin_again() {
        let (mut flow, size) = (flow(10), 65_507);
        let cycle = PLACES / 8189;
        flow.first = cycle - 2;
        for number in cycle - 2..cycle + 2 {
            let bytes = send(&mut flow, 0, size);
            assert_eq!(flow.identify(PAYLOAD, size, &bytes), Seen::Number(number));
        }
    }

    #[test]
    fn what_is_changed_cut_or_of_others_is_told_apart() {
        let mut flow = flow(10);
        let _ = send(&mut flow, 0, 20);
        let mut bytes = send(&mut flow, 0, 20);
        let mut expected = [0; 20];
        assert_eq!(flow.identify(PAYLOAD, 20, &bytes[..8]), Seen::Number(1));
        assert_eq!(flow.compare(PAYLOAD, 1, &bytes[..8], &mut expected), [0, 12, 0]);
        assert_eq!(flow.identify(PAYLOAD, 20, &bytes[..7]), Seen::Corrupted(1));
        assert_eq!(flow.identify(PAYLOAD, 20, &[]), Seen::Corrupted(0), "the oldest");
        bytes[0] ^= 1;
        assert_eq!(flow.identify(PAYLOAD, 20, &bytes), Seen::Corrupted(1));
        assert_eq!(flow.compare(PAYLOAD, 1, &bytes, &mut expected), [1, 0, 0]);
        bytes.push(0);
        assert_eq!(flow.compare(PAYLOAD, 1, &bytes, &mut expected), [1, 0, 1]);
        bytes[8] ^= 1;
        assert_eq!(flow.identify(PAYLOAD, 20, &bytes), Seen::Foreign);
        // Not sent yet, and sent by another socket.
        let mut other = vec![0; 20];
        PAYLOAD.fill(3, 2 * 24, &mut other);
        assert_eq!(flow.identify(PAYLOAD, 20, &other), Seen::Foreign);
        PAYLOAD.fill(4, 24, &mut other);
        assert_eq!(flow.identify(PAYLOAD, 20, &other), Seen::Foreign);
    }

    #[test]
    fn an_answer_counts_once_and_only_in_time() {
        let mut flow = flow(10);
        (0..5).for_each(|at| drop(send(&mut flow, at, 8)));
        expect(&mut flow, 2, "first");
        expect(&mut flow, 2, "duplicate");
        expect(&mut flow, 1, "reordered");
        assert_eq!(flow.open(), 3);
        // 0 was sent at 0, and is lost behind 10; the answered ones go with it.
        assert!(flow.expire(10, 10).is_none());
        assert_eq!(flow.expire(11, 10).expect("one").sent, 0);
        assert!(flow.expire(11, 10).is_none());
        assert_eq!((flow.first, flow.open(), flow.oldest()), (3, 2, Some(3)));
        expect(&mut flow, 0, "late");
        expect(&mut flow, 0, "duplicate");
        expect(&mut flow, 1, "duplicate");
        expect(&mut flow, 3, "first");
        assert_eq!(flow.give_up().map(|flight| flight.sent).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn lost_ones_are_remembered_up_to_a_bound() {
        let mut flow = flow(2);
        (0..5).for_each(|at| drop(send(&mut flow, at, 8)));
        while flow.expire(100, 10).is_some() {}
        assert_eq!((flow.lost.len(), flow.open(), flow.forgotten), (2, 0, 3));
        expect(&mut flow, 4, "late");
        expect(&mut flow, 4, "duplicate");
        // It can't be known any more whether it had come.
        expect(&mut flow, 0, "late");
    }
}
