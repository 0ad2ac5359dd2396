//! Token buckets: how many answers a second each source gets, and all of them together.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};

use edgeloop::Time;

use crate::values;

const SECOND: f64 = 1e9;

/// Answers a second. A bucket holds a second's worth, and at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// From one answer to the next, in nanoseconds, rounded up.
    interval: u64,
    /// What it takes to fill an empty bucket.
    depth: u64,
}

impl Rate {
    /// Reads a rate, or `none` for no limit.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, String> {
        if text.eq_ignore_ascii_case("none") {
            return Ok(None);
        }
        let rate = values::rate(text).map_err(|error| error + ", or none")?;
        Ok(Some(Self::per_second(rate)))
    }

    /// This many a second, from 0.001 to 1,000,000,000.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of these rates")]
    pub(crate) fn per_second(rate: f64) -> Self {
        let interval = (SECOND / rate).ceil() as u64;
        Self { interval, depth: interval * (rate as u64).max(1) }
    }
}

/// When a bucket is full again. Until then, tokens are missing: one for each interval of its rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct FullAt(u64);

impl FullAt {
    /// The same without one more token, if there is one.
    fn without_one(self, now: u64, rate: Rate) -> Option<Self> {
        let then = self.0.max(now) + rate.interval;
        (then <= now + rate.depth).then_some(Self(then))
    }

    fn is_full(self, now: u64) -> bool {
        self.0 <= now
    }
}

/// One bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Option<Rate>,
    full_at: FullAt,
}

impl Bucket {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self { rate, full_at: FullAt::default() }
    }

    /// Whether there is a token.
    pub(super) fn has_one(&self, now: Time) -> bool {
        self.rate.is_none_or(|rate| self.full_at.without_one(now.as_nanos(), rate).is_some())
    }

    /// Takes a token; returns whether there was one.
    pub(super) fn take(&mut self, now: Time) -> bool {
        let Some(rate) = self.rate else { return true };
        let left = self.full_at.without_one(now.as_nanos(), rate);
        self.full_at = left.unwrap_or(self.full_at);
        left.is_some()
    }
}

/// Buckets that share a place, the last bits of their hashes.
const WAYS: usize = 8;

/// With 65,536 buckets of 16 bytes, the table takes 1 MiB, from the first datagram on.
const SETS: usize = 8192;

/// A bucket for each source, in a table of fixed size. A bucket that is full needs no place. A
/// source that finds none shares one bucket with all others that find none, so no flood of forged
/// sources gets anybody more than the rate. The hash has a key, so that nobody can choose sources
/// whose places are the same.
#[derive(Debug)]
pub(super) struct Sources {
    rate: Option<Rate>,
    key: RandomState,
    /// Without memory before the first source.
    places: Vec<[Place; WAYS]>,
    without_place: Bucket,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    hash: u64,
    full_at: FullAt,
}

impl Sources {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        let key = RandomState::new();
        Self { rate, key, places: Vec::new(), without_place: Bucket::new(rate) }
    }

    /// Takes a token of this source; returns whether there was one.
    pub(super) fn take(&mut self, source: SocketAddr, now: Time) -> bool {
        let Some(rate) = self.rate else { return true };
        let (hash, set) = self.set_of(source);
        let at = now.as_nanos();
        let is_its_own = |place: &&mut Place| place.hash == hash && !place.full_at.is_full(at);
        let place = match set.iter_mut().find(is_its_own) {
            Some(place) => place,
            None => match set.iter_mut().find(|place| place.full_at.is_full(at)) {
                Some(place) => place,
                None => return self.without_place.take(now),
            },
        };
        let left = place.full_at.without_one(at, rate);
        *place = Place { hash, full_at: left.unwrap_or(place.full_at) };
        left.is_some()
    }

    /// Puts a token back that was just taken, because nothing was answered.
    pub(super) fn put_back(&mut self, source: SocketAddr) {
        let Some(rate) = self.rate else { return };
        let (hash, set) = self.set_of(source);
        let place = set.iter_mut().filter(|place| place.hash == hash);
        let full_at = match place.max_by_key(|place| place.full_at) {
            Some(place) => &mut place.full_at,
            None => &mut self.without_place.full_at,
        };
        full_at.0 = full_at.0.saturating_sub(rate.interval);
    }

    /// The hash of a source, and the places among which its own is.
    fn set_of(&mut self, source: SocketAddr) -> (u64, &mut [Place; WAYS]) {
        if self.places.is_empty() {
            self.places = vec![[Place::default(); WAYS]; SETS];
        }
        let hash = self.key.hash_one(network(source.ip()));
        #[expect(clippy::cast_possible_truncation, reason = "the last bits are what is wanted")]
        let set = &mut self.places[hash as usize % SETS];
        (hash, set)
    }
}

/// What counts as one source: an IPv4 address, mapped or not, or the /64 of an IPv6 address, which
/// is what one host has.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(1_000_000_000 + millis * 1_000_000)
    }

    fn source(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().expect(text), 1)
    }

    /// How many tokens a source gets at once.
    fn taken(sources: &mut Sources, text: &str, now: Time) -> usize {
        (0..1000).filter(|_| sources.take(source(text), now)).count()
    }

    #[test]
    fn rates_are_read_as_they_are_written() {
        for (text, interval, burst) in [
            ("10k", 100_000, 10_000),
            ("1", 1_000_000_000, 1),
            ("0.5", 2_000_000_000, 1),
            ("3", 333_333_334, 3),
            ("2.5", 400_000_000, 2),
            ("1G", 1, 1_000_000_000),
            ("0.001", 1_000_000_000_000, 1),
        ] {
            let rate = Rate { interval, depth: interval * burst };
            assert_eq!(Rate::parse(text), Ok(Some(rate)), "{text}");
        }
        assert_eq!(Rate::parse("None"), Ok(None));
        for text in ["0", "-1", "", "10k/s", "2G"] {
            let error = Rate::parse(text).expect_err(text);
            assert!(error.ends_with("like 0.5, 2000 or 50k, or none"), "{error}");
        }
    }

    #[test]
    fn c51_a_bucket_holds_a_seconds_worth_and_fills_at_its_rate() {
        let mut bucket = Bucket::new(Some(Rate::per_second(10.0)));
        let mut take = |millis, most| (0..most).filter(|_| bucket.take(at(millis))).count();
        assert_eq!(take(0, 100), 10);
        assert_eq!(take(99, 100), 0);
        assert_eq!(take(100, 100), 1);
        assert_eq!(take(450, 100), 3);
        assert_eq!(take(60_000, 100), 10, "no more than a second's worth");
        assert!(!bucket.has_one(at(60_050)) && bucket.has_one(at(60_100)));
        let mut endless = Bucket::new(None);
        assert!((0..100_000).all(|_| endless.take(at(0))));
    }

    #[test]
    fn c51_a_source_is_an_ipv4_address_or_the_64_of_an_ipv6_address() {
        let mut sources = Sources::new(Some(Rate::per_second(5.0)));
        for (first, others, foreign) in [
            ("192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("2001:db8::1", "2001:db8::ffff:1:2:3", "2001:db8:0:1::1"),
        ] {
            assert_eq!(taken(&mut sources, first, at(0)), 5);
            assert_eq!(taken(&mut sources, others, at(0)), 0, "{others}");
            assert_eq!(taken(&mut sources, foreign, at(0)), 5, "{foreign}");
            assert_eq!(taken(&mut sources, first, at(1000)), 5);
        }
    }

    #[test]
    fn c51_sources_without_a_place_share_one_bucket() {
        let mut sources = Sources::new(Some(Rate::per_second(2.0)));
        assert_eq!(size_of::<Place>() * WAYS * SETS, 1 << 20);
        // Many more than there are places, of which each gets one token, if it has a place.
        let all: Vec<_> =
            (0..200_000_u32).map(|n| SocketAddr::new(IpAddr::from(n.to_be_bytes()), 1)).collect();
        let answered = all.iter().filter(|&&one| sources.take(one, at(0))).count();
        assert!(answered <= WAYS * SETS + 2, "{answered} of 200000");
        assert!(answered > WAYS * SETS / 2, "{answered} of 200000");
        // The first has kept its place.
        assert_eq!((0..9).filter(|_| sources.take(all[0], at(0))).count(), 1);
        // When the buckets are full again, the places are free.
        assert!(all[150_000..].iter().take(1000).all(|&one| sources.take(one, at(1000))));
    }
}
