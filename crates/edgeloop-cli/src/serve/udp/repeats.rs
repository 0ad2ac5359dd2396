//! Ends the talk of two echo servers: what one answers is the other's next question.
//!
//! Nothing in a datagram tells an answer from a question, so it's told by what happens: the same
//! bytes come from the same address again and again. Whoever is an echo server falls silent when
//! one of them is not answered, and whoever is a client sends the next all the same.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use edgeloop::Time;

/// The same bytes that come later than this after the last are no repetition. Echo servers that
/// take longer for a round send fewer datagrams than that.
const MEMORY: Duration = Duration::from_secs(1);

/// Places among which that of a datagram is found.
const WAYS: usize = 8;

/// With 32,768 places of 24 bytes, the table takes 768 KiB, from the first datagram on.
const SETS: usize = 4096;

/// What was answered lately, in a table of fixed size. Where it is full, what was answered least
/// often is forgotten first; so a flood of other datagrams does not keep a talk alive. The hash has
/// a key, so that nobody can choose datagrams whose places are the same.
#[derive(Debug)]
pub(super) struct Repeats {
    limit: Option<u64>,
    key: RandomState,
    /// Without memory before the first datagram.
    places: Vec<[Seen; WAYS]>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    hash: u64,
    /// When it came last, in nanoseconds.
    last: u64,
    /// How often it was answered since it was not.
    answered: u64,
}

impl Repeats {
    /// With a limit of how often the same is answered in a row.
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self { limit, key: RandomState::new(), places: Vec::new() }
    }

    /// Whether to answer these bytes from this address and port: not if they were answered as often
    /// as the limit says. The next of them are then answered again.
    pub(super) fn take(&mut self, from: SocketAddr, bytes: &[u8], now: Time) -> bool {
        let Some(limit) = self.limit else { return true };
        if self.places.is_empty() {
            self.places = vec![[Seen::default(); WAYS]; SETS];
        }
        let hash = self.key.hash_one((from.ip().to_canonical(), from.port(), bytes));
        #[expect(clippy::cast_possible_truncation, reason = "the last bits are what is wanted")]
        let set = &mut self.places[hash as usize % SETS];
        let is_recent =
            |seen: &Seen| now.since(Time::from_nanos(seen.last)) < MEMORY && seen.answered > 0;
        let fresh = Seen { hash, last: now.as_nanos(), answered: 1 };
        if let Some(seen) = set.iter_mut().find(|seen| seen.hash == hash && is_recent(seen)) {
            let is_answered = seen.answered < limit;
            let answered = if is_answered { seen.answered + 1 } else { 0 };
            *seen = Seen { answered, ..fresh };
            return is_answered;
        }
        let worth = |seen: &Seen| if is_recent(seen) { (seen.answered, seen.last) } else { (0, 0) };
        if let Some(least) = set.iter_mut().min_by_key(|seen| worth(seen)) {
            *least = fresh;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(1_000_000_000 + millis * 1_000_000)
    }

    fn peer(text: &str) -> SocketAddr {
        text.parse().expect(text)
    }

    #[test]
    fn c51_behind_four_answers_to_the_same_one_is_left_out() {
        let mut repeats = Repeats::new(Some(4));
        let one = peer("192.0.2.1:4000");
        let answers: Vec<bool> = (0..15).map(|n| repeats.take(one, b"same", at(n))).collect();
        let expected = [[true; 4].as_slice(), &[false]].concat().repeat(3);
        assert_eq!(answers, expected);
    }

    #[test]
    fn c51_other_bytes_another_port_and_a_second_of_quiet_are_no_repetition() {
        let mut repeats = Repeats::new(Some(1));
        let one = peer("192.0.2.1:4000");
        assert!(repeats.take(one, b"same", at(0)));
        assert!(repeats.take(one, b"other", at(0)));
        assert!(repeats.take(one, b"", at(0)));
        assert!(repeats.take(peer("192.0.2.1:4001"), b"same", at(0)));
        assert!(repeats.take(one, b"same", at(1000)), "a second later");
        assert!(!repeats.take(peer("[::ffff:192.0.2.1]:4000"), b"same", at(1999)), "mapped");
        let mut all = Repeats::new(None);
        assert!((0..1000).all(|_| all.take(one, b"same", at(0))));
    }

    #[test]
    fn c51_a_flood_of_others_does_not_make_a_talk_forgotten() {
        let mut repeats = Repeats::new(Some(4));
        assert_eq!(size_of::<Seen>() * WAYS * SETS, 768 << 10);
        let one = peer("192.0.2.1:4000");
        assert!((0..2).all(|_| repeats.take(one, b"same", at(0))));
        for n in 0..200_000_u32 {
            assert!(repeats.take(one, &n.to_be_bytes(), at(1)), "{n}");
        }
        let rest: Vec<bool> = (0..3).map(|_| repeats.take(one, b"same", at(2))).collect();
        assert_eq!(rest, [true, true, false]);
    }
}
