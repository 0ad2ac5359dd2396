//! Bytes that are sent as one and lie in several places.

use std::io::IoSlice;

/// The most pieces that one call is given. The kernel takes 1,024 (`UIO_MAXIOV`); so few are set up
/// on the stack, and a call of them is worth its price.
pub(crate) const PIECES: usize = 64;

/// What is left of several slices, in their order.
#[derive(Clone, Copy)]
pub(crate) struct Pieces<'a> {
    slices: &'a [&'a [u8]],
    /// How much of the first is gone.
    gone: usize,
    len: usize,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(slices: &'a [&'a [u8]]) -> Self {
        Self { slices, gone: 0, len: slices.iter().map(|slice| slice.len()).sum() }
    }

    /// How many bytes they have together.
    pub(crate) const fn len(self) -> usize {
        self.len
    }

    /// The same but for the first `count` bytes, which are gone.
    pub(crate) fn behind(mut self, count: usize) -> Self {
        self.len -= count;
        self.gone += count;
        while let Some((first, rest)) = self.slices.split_first()
            && self.gone >= first.len()
        {
            self.gone -= first.len();
            self.slices = rest;
        }
        self
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let cut = move |(index, slice): (usize, &&'a [u8])| {
            let slice: &'a [u8] = slice;
            if index == 0 { &slice[self.gone..] } else { slice }
        };
        self.slices.iter().enumerate().map(cut).filter(|slice| !slice.is_empty())
    }

    /// Sets up the first of them for a call. Returns how many these are.
    pub(crate) fn gather(self, into: &mut [IoSlice<'a>; PIECES]) -> usize {
        let slots = into.iter_mut().zip(self.iter());
        slots.map(|(slot, piece)| *slot = IoSlice::new(piece)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_what_was_not_taken_wherever_it_is_cut() {
        let slices: [&[u8]; 6] = [b"", b"ab", b"", b"cde", b"f", b""];
        for count in 0..=6 {
            let left = Pieces::new(&slices).behind(count);
            assert_eq!(left.iter().flatten().copied().collect::<Vec<_>>(), b"abcdef"[count..]);
            assert_eq!(left.len(), 6 - count);
            assert!(left.iter().all(|piece| !piece.is_empty()));
            for more in 0..=left.len() {
                assert_eq!(
                    left.behind(more).iter().collect::<Vec<_>>().concat(),
                    b"abcdef"[count + more..]
                );
            }
        }
    }

    #[test]
    fn no_more_are_set_up_than_one_call_takes() {
        let slices = [&b"x"[..]; PIECES + 1];
        let mut set_up = [IoSlice::new(&[]); PIECES];
        assert_eq!(Pieces::new(&slices).gather(&mut set_up), PIECES);
        assert_eq!(Pieces::new(&slices).behind(2).gather(&mut set_up), PIECES - 1);
    }
}
