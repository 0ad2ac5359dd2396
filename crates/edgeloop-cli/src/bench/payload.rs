//! What is sent: every eight bytes say of which stream they are and at which place of it.
//!
//! A stream is what one connection sends. Its words are the numbers of their places, scrambled by a
//! function that can be turned round: so bytes that come back from the wrong place, or on the wrong
//! connection, show where they belong. That is what tells a lost byte from a changed one.
//!
//! A number is multiplied by an odd factor, and its upper half is added to its lower one without
//! carrying. The next word's product is a sum away, which processors make for several words at
//! once: this is the greater part of what `bench` itself does with a large message.

/// The largest message: offsets have room for many more, but answers are waited for whole.
pub(crate) const LARGEST: usize = 1 << 30;

/// The bytes of a word.
pub(crate) const WORD: usize = 8;

/// Words that are compared at once.
const BLOCK: usize = 8;

/// The bits of a number that name the stream. Those above name the place: eight tebibytes have
/// numbers of their own.
const STREAM_BITS: u32 = 24;

/// How many streams have a number of their own.
pub(crate) const STREAMS: u64 = 1 << STREAM_BITS;

/// An odd number has an inverse modulo 2^64. This one is 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const INVERSE: u64 = 0xf1de_83e1_9937_733d;

/// From one place's product to the next one's.
const STEP: u64 = FACTOR << STREAM_BITS;

/// Its own inverse.
const fn fold(word: u64) -> u64 {
    word ^ word >> 32
}

/// What a run sends, decided by its seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payload {
    key: u64,
}

impl Payload {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { key: scramble(seed) }
    }

    /// The product of a place's number. That of the next place is [`STEP`] more.
    const fn product(self, stream: u64, place: u64) -> u64 {
        (place << STREAM_BITS | stream).wrapping_add(self.key).wrapping_mul(FACTOR)
    }

    /// The word at this place of a stream.
    const fn word(self, stream: u64, place: u64) -> [u8; WORD] {
        fold(self.product(stream, place)).to_le_bytes()
    }

    /// The stream and the place of a word, if it is one of this run: else any other.
    pub(crate) const fn place(self, word: [u8; WORD]) -> (u64, u64) {
        // Folding twice changes nothing.
        let product = fold(u64::from_le_bytes(word));
        let name = product.wrapping_mul(INVERSE).wrapping_sub(self.key);
        (name & (STREAMS - 1), name >> STREAM_BITS)
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
        let mut product = self.product(stream, place);
        for word in &mut *words {
            *word = fold(product).to_le_bytes();
            product = product.wrapping_add(STEP);
        }
        place += words.len() as u64;
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
        // By blocks, each with one question.
        let (words, tail) = bytes[count..].as_chunks::<WORD>();
        let (blocks, _) = words.as_chunks::<BLOCK>();
        let mut product = self.product(stream, place);
        for block in blocks {
            let mut differing = 0;
            let mut next = product;
            for word in block {
                differing |= u64::from_le_bytes(*word) ^ fold(next);
                next = next.wrapping_add(STEP);
            }
            if differing != 0 {
                break;
            }
            (same, place, product) = (same + BLOCK * WORD, place + BLOCK as u64, next);
        }
        // What is left of the words, or the block that differs.
        for word in &words[(same - count) / WORD..] {
            let expected = self.word(stream, place);
            if *word != expected {
                return same + common(word, &expected);
            }
            (same, place) = (same + WORD, place + 1);
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

// Stafford's thirteenth variant of MurmurHash3's finaliser.
pub(crate) const fn scramble(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_says_where_it_belongs() {
        assert_eq!(FACTOR.wrapping_mul(INVERSE), 1);
        for seed in [0, 1, u64::MAX] {
            let payload = Payload::new(seed);
            for stream in [0, 1, 12_345, (1 << 24) - 1] {
                for place in [0, 1, 77, 1 << 33, (1 << 40) - 1] {
                    assert_eq!(payload.place(payload.word(stream, place)), (stream, place));
                }
            }
        }
    }

    #[test]
    fn any_part_of_a_stream_is_the_same_however_it_is_cut() {
        let payload = Payload::new(7);
        let mut whole = [0; 200];
        payload.fill(3, 1000, &mut whole);
        for begin in 0..40 {
            for end in begin..whole.len() {
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
            let mut bytes = [0; 150];
            payload.fill(1, offset, &mut bytes);
            for at in 0..bytes.len() {
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
