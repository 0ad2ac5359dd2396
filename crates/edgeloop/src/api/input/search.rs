//! The search for delimiters, and how far it has come.

use std::io::BufRead;
use std::num::NonZeroU8;

/// 1 to 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delimiter {
    /// Those behind its length are 0.
    bytes: [u8; Self::LONGEST],
    length: NonZeroU8,
}

impl Delimiter {
    /// It is kept by value, beside what is known of it.
    const LONGEST: usize = 8;

    pub(super) const LF: Self =
        Self { bytes: [b'\n', 0, 0, 0, 0, 0, 0, 0], length: NonZeroU8::MIN };

    /// # Panics
    ///
    /// If there are no bytes, or more than 8.
    pub(super) fn new(delimiter: &[u8]) -> Self {
        let length = u8::try_from(delimiter.len()).ok().and_then(NonZeroU8::new);
        let Some(length) = length.filter(|_| delimiter.len() <= Self::LONGEST) else {
            panic!("a delimiter has 1 to 8 bytes, not {}", delimiter.len());
        };
        let mut bytes = [0; Self::LONGEST];
        bytes[..delimiter.len()].copy_from_slice(delimiter);
        Self { bytes, length }
    }

    pub(super) fn len(self) -> usize {
        self.length.get().into()
    }
}

/// What searches in vain have found out about the input: for each of two delimiters, the bytes in
/// which one may still begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// The later one first.
    searches: [Option<Search>; 2],
}

/// How far a search has come. This is counted from the end of the input, so that it stays right
/// when something is taken from the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Search {
    delimiter: Delimiter,
    /// No delimiter begins before the last so many bytes.
    unsearched: u32,
}

// It lies beside the kept input of every connection that has some.
const _: () = assert!(size_of::<Scanned>() == 32);

impl Scanned {
    pub(crate) const NONE: Self = Self { searches: [None; 2] };

    /// What it says when so many bytes have arrived behind the others.
    pub(crate) fn followed_by(self, arrived: usize) -> Self {
        let more = |search: Search| {
            let unsearched = unsearched(arrived.checked_add(search.unsearched as usize)?)?;
            Some(Search { unsearched, ..search })
        };
        Self { searches: self.searches.map(|search| search.and_then(more)) }
    }

    /// How many bytes at the front of an input of this length need no search for a delimiter.
    pub(super) fn searched(&self, delimiter: Delimiter, length: usize) -> usize {
        let mut searches = self.searches.iter().flatten();
        searches
            .find(|search| search.delimiter == delimiter)
            .map_or(0, |search| length.saturating_sub(search.unsearched as usize))
    }

    /// None of these begins before the last `left` bytes.
    pub(super) fn remember(&mut self, delimiter: Delimiter, left: usize) {
        if self.searches[0].is_none_or(|search| search.delimiter != delimiter) {
            self.searches.swap(0, 1);
        }
        self.searches[0] = unsearched(left).map(|unsearched| Search { delimiter, unsearched });
    }
}

impl Default for Scanned {
    fn default() -> Self {
        Self::NONE
    }
}

/// An input of 4 GiB is searched from its front.
fn unsearched(bytes: usize) -> Option<u32> {
    u32::try_from(bytes).ok()
}

/// Returns where the first delimiter begins.
pub(super) fn find(bytes: &[u8], delimiter: Delimiter) -> Option<usize> {
    let wanted = &delimiter.bytes[..delimiter.len()];
    if wanted.len() >= LONG {
        return find_long(bytes, wanted);
    }
    let starts = bytes.len().checked_sub(wanted.len())? + 1;
    let mut from = 0;
    loop {
        let at = from + find_byte(&bytes[from..starts], wanted[0])?;
        counted::add(wanted.len() - 1);
        if bytes[at + 1..].starts_with(&wanted[1..]) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// From this length on, a delimiter is found sooner by leaps.
const LONG: usize = 4;

/// Looks at the last byte of a place where the delimiter may be, and leaps to the next such place:
/// by all its length where the byte is none of it (Horspool, 1980).
fn find_long(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let last = wanted.len() - 1;
    let mut end = last;
    while let Some(&byte) = bytes.get(end) {
        counted::add(1);
        match wanted.iter().rposition(|&other| other == byte) {
            None => end += wanted.len(),
            Some(at) if at < last => end += last - at,
            Some(_) => {
                counted::add(last);
                if bytes[end - last..].starts_with(wanted) {
                    return Some(end - last);
                }
                end += 1;
            }
        }
    }
    None
}

/// The standard library calls memchr(3) in this method only. On lines of 1 KiB it takes a tenth of
/// the time of `Iterator::position`, on those of 16 bytes as much.
fn find_byte(bytes: &[u8], byte: u8) -> Option<usize> {
    let count = { bytes }.skip_until(byte).expect("reading from a slice can't fail");
    counted::add(count);
    count.checked_sub(1).filter(|&last| bytes[last] == byte)
}

/// The bytes that searches have looked at, for tests that hold the work to be linear.
pub(crate) mod counted {
    #[cfg(test)]
    thread_local! {
        static COUNT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    #[cfg(test)]
    pub(super) fn add(bytes: usize) {
        COUNT.set(COUNT.get() + bytes);
    }

    #[cfg(not(test))]
    pub(super) fn add(_: usize) {}

    /// Since the last call, on this thread.
    #[cfg(test)]
    pub(crate) fn take() -> usize {
        COUNT.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All texts of this many letters, of which there are two.
    fn texts(length: u32) -> impl Iterator<Item = Vec<u8>> {
        (0..1_u32 << length).map(move |text| {
            (0..length).map(|at| if text >> at & 1 == 0 { b'a' } else { b'b' }).collect()
        })
    }

    #[test]
    fn the_first_of_a_delimiter_is_found_in_every_text_of_two_letters() {
        for wanted in (1..=5).flat_map(texts) {
            for text in (0..=9).flat_map(texts) {
                let first = text.windows(wanted.len()).position(|window| window == wanted);
                assert_eq!(find(&text, Delimiter::new(&wanted)), first, "{wanted:?} in {text:?}");
            }
        }
    }
}
