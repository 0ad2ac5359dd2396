//! What is sent: every eight bytes say of which stream they are and at which place of it.
//!
//! A stream is what one connection sends. Its words are the numbers of their places, scrambled by a
//! function that can be turned round: so bytes that come back from the wrong place, or on the wrong
//! connection, show where they belong. That is what tells a lost byte from a changed one.

/// The bytes of a word.
pub(crate) const WORD: usize = 8;

/// The places of a stream that have a number of their own: eight tebibytes.
const PLACES: u32 = 40;

/// How many streams have a number of their own: the rest of a word.
pub(crate) const STREAMS: u64 = 1 << (u64::BITS - PLACES);

/// What a run sends, decided by its seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payload {
    key: u64,
}

impl Payload {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { key: scramble(seed) }
    }

    /// The word at this place of a stream.
    #[inline]
    const fn word(self, stream: u64, place: u64) -> [u8; WORD] {
        let name = stream << PLACES | (place & ((1 << PLACES) - 1));
        scramble(name ^ self.key).to_le_bytes()
    }

    /// The stream and the place of a word, if it is one of this run: else any other.
    pub(crate) const fn place(self, word: [u8; WORD]) -> (u64, u64) {
        let name = unscramble(u64::from_le_bytes(word)) ^ self.key;
        (name >> PLACES, name & ((1 << PLACES) - 1))
    }

    /// The byte at this offset.
    pub(crate) const fn byte(self, stream: u64, offset: u64) -> u8 {
        let (place, within) = split(offset);
        self.word(stream, place)[within]
    }

    /// Writes the part of a stream that begins at `offset` into all of `bytes`.
    pub(crate) fn fill(self, stream: u64, offset: u64, bytes: &mut [u8]) {
        let (head, mut place) = self.head(stream, offset);
        let count = head.len().min(bytes.len());
        bytes[..count].copy_from_slice(&head.as_slice()[..count]);
        let (words, tail) = bytes[count..].as_chunks_mut();
        for word in words {
            *word = self.word(stream, place);
            place += 1;
        }
        if !tail.is_empty() {
            let last = self.word(stream, place);
            tail.copy_from_slice(&last[..tail.len()]);
        }
    }

    /// How many of the first of `bytes` are those of the stream from `offset` on.
    pub(crate) fn matching(self, stream: u64, offset: u64, bytes: &[u8]) -> usize {
        let (head, mut place) = self.head(stream, offset);
        let count = head.len().min(bytes.len());
        let mut same = common(&bytes[..count], head.as_slice());
        if same < count {
            return same;
        }
        let (words, tail) = bytes[count..].as_chunks();
        for word in words {
            let expected = self.word(stream, place);
            // As numbers, for one comparison.
            if u64::from_ne_bytes(*word) != u64::from_ne_bytes(expected) {
                return same + common(word, &expected);
            }
            same += WORD;
            place += 1;
        }
        if tail.is_empty() { same } else { same + common(tail, &self.word(stream, place)) }
    }

    /// The rest of the word in whose middle `offset` lies, and the place of the next one.
    fn head(self, stream: u64, offset: u64) -> (Head, u64) {
        let (place, begin) = split(offset);
        if begin == 0 {
            return (Head { word: [0; WORD], begin: WORD }, place);
        }
        (Head { word: self.word(stream, place), begin }, place + 1)
    }
}

/// The place of the word in which an offset lies, and how far behind its beginning.
#[expect(clippy::cast_possible_truncation, reason = "the rest is below eight")]
const fn split(offset: u64) -> (u64, usize) {
    (offset / WORD as u64, (offset % WORD as u64) as usize)
}

/// The last bytes of a word.
struct Head {
    word: [u8; WORD],
    begin: usize,
}

impl Head {
    const fn len(&self) -> usize {
        WORD - self.begin
    }

    fn as_slice(&self) -> &[u8] {
        &self.word[self.begin..]
    }
}

/// How many bytes two slices have in common at their beginnings.
fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

// Stafford's thirteenth variant of MurmurHash3's finaliser, which is a bijection: shifts by more than
// a third of the word are undone by doing them three times, the factors by their inverses mod 2^64.
const FACTORS: [u64; 2] = [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];
const INVERSES: [u64; 2] = [0x96de_1b17_3f11_9089, 0x3196_42b2_d24d_8ec3];

pub(crate) const fn scramble(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(FACTORS[0]);
    word = (word ^ word >> 27).wrapping_mul(FACTORS[1]);
    word ^ word >> 31
}

const fn unscramble(mut word: u64) -> u64 {
    word = (word ^ word >> 31 ^ word >> 62).wrapping_mul(INVERSES[1]);
    word = (word ^ word >> 27 ^ word >> 54).wrapping_mul(INVERSES[0]);
    word ^ word >> 30 ^ word >> 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_says_where_it_belongs() {
        for (factor, inverse) in FACTORS.into_iter().zip(INVERSES) {
            assert_eq!(factor.wrapping_mul(inverse), 1);
        }
        for seed in [0, 1, u64::MAX] {
            let payload = Payload::new(seed);
            for stream in [0, 1, 12_345, (1 << 24) - 1] {
                for place in [0, 1, 77, 1 << 33, (1 << PLACES) - 1] {
                    assert_eq!(payload.place(payload.word(stream, place)), (stream, place));
                }
            }
        }
    }

    #[test]
    fn any_part_of_a_stream_is_the_same_however_it_is_cut() {
        let payload = Payload::new(7);
        let mut whole = [0; 100];
        payload.fill(3, 1000, &mut whole);
        for begin in 0..40 {
            for end in begin..100 {
                let mut part = vec![0; end - begin];
                payload.fill(3, 1000 + begin as u64, &mut part);
                assert_eq!(part, whole[begin..end], "{begin}..{end}");
                let same = payload.matching(3, 1000 + begin as u64, &part);
                assert_eq!(same, part.len(), "{begin}..{end}");
            }
            assert_eq!(payload.byte(3, 1000 + begin as u64), whole[begin]);
        }
    }

    #[test]
    fn the_first_byte_that_differs_is_found() {
        let payload = Payload::new(7);
        for offset in 0..20 {
            let mut bytes = [0; 50];
            payload.fill(1, offset, &mut bytes);
            for at in 0..50 {
                let mut changed = bytes;
                changed[at] ^= 1;
                assert_eq!(payload.matching(1, offset, &changed), at);
            }
        }
    }

    #[test]
    fn streams_and_seeds_differ() {
        let bytes = |seed, stream| {
            let mut bytes = [0; 64];
            Payload::new(seed).fill(stream, 0, &mut bytes);
            bytes
        };
        assert_ne!(bytes(1, 0), bytes(2, 0));
        assert_ne!(bytes(1, 0), bytes(1, 1));
    }
}
