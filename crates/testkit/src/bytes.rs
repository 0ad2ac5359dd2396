//! Bytes that can be told apart: seeded streams and a comparison that names the first difference.

use std::env;
use std::time::SystemTime;

/// The environment variable that replays a seed.
const SEED: &str = "EDGELOOP_TEST_SEED";

/// A small pseudo-random generator (SplitMix64): sampling, not cryptography.
#[derive(Debug, Clone)]
pub struct Prng {
    state: u64,
}

impl Prng {
    /// A generator with a seed of its own, which is printed with the command that replays it.
    /// `EDGELOOP_TEST_SEED` chooses the seed.
    #[must_use]
    pub fn printed(test: &str) -> Self {
        let fresh = || {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            u64::from(now.subsec_nanos()) ^ now.as_secs()
        };
        let seed = env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(fresh);
        println!("replay with: {SEED}={seed} cargo test {test}");
        Self::new(seed)
    }

    /// A generator with the given seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    ///
    /// # Panics
    ///
    /// When `low` is above `high`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        assert!(low <= high, "{low} is above {high}");
        let span = high as u64 - low as u64 + 1;
        let offset = if span == 0 { self.next_u64() } else { self.next_u64() % span };
        low + usize::try_from(offset).expect("an offset below usize::MAX")
    }
}

/// An endless stream of bytes that depends on its seed alone, not on how it is cut: the sender
/// takes it in its pieces, the receiver in its own, and neither has to keep what went before.
#[derive(Debug, Clone)]
pub struct Stream {
    prng: Prng,
    word: [u8; 8],
    used: usize,
    position: u64,
}

impl Stream {
    /// The stream of the given seed, from its start.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { prng: Prng::new(seed), word: [0; 8], used: 8, position: 0 }
    }

    /// How many bytes have been taken.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            if self.used == 8 {
                self.word = self.prng.next_u64().to_le_bytes();
                self.used = 0;
            }
            let piece = (length - bytes.len()).min(8 - self.used);
            bytes.extend_from_slice(&self.word[self.used..self.used + piece]);
            self.used += piece;
        }
        self.position += length as u64;
        bytes
    }
}

/// Says where two byte strings part, instead of printing megabytes.
///
/// # Panics
///
/// When they are not the same.
#[track_caller]
pub fn assert_same_bytes(got: &[u8], want: &[u8]) {
    if got == want {
        return;
    }
    let at = got.iter().zip(want).take_while(|(got, want)| got == want).count();
    let near = |bytes: &[u8]| {
        let end = bytes.len().min(at + 32);
        String::from_utf8_lossy(&bytes[at.min(end)..end]).escape_debug().to_string()
    };
    panic!(
        "{} bytes, expected {}; they part at offset {at}: got \"{}\", expected \"{}\"",
        got.len(),
        want.len(),
        near(got),
        near(want)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_does_not_depend_on_how_it_is_cut() {
        let whole = Stream::new(7).take(1000);
        let mut stream = Stream::new(7);
        let mut pieces = Vec::new();
        for length in [1, 2, 3, 5, 8, 13, 100, 868] {
            pieces.extend(stream.take(length));
        }
        assert_same_bytes(&pieces, &whole);
        assert_eq!(stream.position(), 1000);
    }

    #[test]
    #[should_panic(expected = "part at offset 3")]
    fn the_first_difference_is_named() {
        assert_same_bytes(b"abcd", b"abce");
    }
}
