//! The bytes that a callback is shown, and how far it has taken them.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;

/// Bytes that arrived and were not taken yet, in one piece. Dereferences to `&[u8]`.
///
/// What the handler takes is gone; what it leaves is kept by the loop and shown again.
///
/// # Examples
///
/// ```
/// # use edgeloop::Input;
/// let mut input = Input::new(b"one\ntwo\nthr");
/// assert_eq!(input.take_until(b'\n'), Some(&b"one\n"[..]));
/// assert_eq!(input.take_until(b'\n'), Some(&b"two\n"[..]));
/// assert_eq!(input.take_until(b'\n'), None);
/// assert_eq!(&*input, b"thr");
/// ```
pub struct Input<'a> {
    bytes: &'a [u8],
    scanned: Scanned,
    /// Where the loop wants to know how much is left.
    left: Option<&'a Cell<usize>>,
}

/// How much of the input, from its front, is known not to hold a delimiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Scanned {
    delimiter: u8,
    count: usize,
}

impl<'a> Input<'a> {
    /// Bytes to show to a handler; of use in a handler's own tests.
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::with_scanned(bytes, Scanned::default())
    }

    /// The same, with what an earlier callback found out about its front.
    #[inline]
    #[must_use]
    pub(crate) fn with_scanned(bytes: &'a [u8], scanned: Scanned) -> Self {
        Self { bytes, scanned, left: None }
    }

    /// The same; `left` always is how much of it is left.
    #[inline(always)]
    pub(crate) fn counted(bytes: &'a [u8], scanned: Scanned, left: &'a Cell<usize>) -> Self {
        left.set(bytes.len());
        Self { bytes, scanned, left: Some(left) }
    }

    /// Takes everything.
    #[inline]
    #[must_use = "bytes that were taken are not shown again"]
    pub fn take_all(&mut self) -> &'a [u8] {
        if let Some(left) = self.left {
            left.set(0);
        }
        std::mem::take(&mut self.bytes)
    }

    /// Takes the first `count` bytes.
    ///
    /// # Panics
    ///
    /// If fewer are there.
    #[inline]
    #[must_use = "bytes that were taken are not shown again; see `skip`"]
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        if let Some(left) = self.left {
            left.set(rest.len());
        }
        self.scanned.count = self.scanned.count.saturating_sub(count);
        taken
    }

    /// Takes up to and including the first `delimiter`, or nothing if it has not arrived. What an
    /// earlier callback has searched in vain is not searched again, so that a long line which
    /// comes in small pieces costs no more than one which comes at once.
    pub fn take_until(&mut self, delimiter: u8) -> Option<&'a [u8]> {
        let from = if self.scanned.delimiter == delimiter { self.scanned.count } else { 0 };
        let found = self.bytes.get(from..)?.iter().position(|&byte| byte == delimiter);
        if let Some(found) = found {
            Some(self.take(from + found + 1))
        } else {
            self.scanned = Scanned { delimiter, count: self.bytes.len() };
            None
        }
    }

    /// Takes the first `count` bytes without looking at them.
    ///
    /// # Panics
    ///
    /// If fewer are there.
    pub fn skip(&mut self, count: usize) {
        let _ = self.take(count);
    }

    /// The remaining bytes, for as long as the callback lasts.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What is known about the remaining bytes, to be kept with them.
    pub(crate) fn scanned(&self) -> Scanned {
        // What `take_all` has taken is still counted, for its own sake: it is on every echo's way.
        Scanned { count: self.scanned.count.min(self.bytes.len()), ..self.scanned }
    }
}

/// How many bytes there are: payload does not belong into a log (C34).
impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Input({} bytes)", self.bytes.len())
    }
}

impl Deref for Input<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_searched_in_vain_is_not_searched_again() {
        let mut first = Input::new(b"abc");
        assert_eq!(first.take_until(b'\n'), None);
        // The newline in the front stands for a search that would wrongly start over.
        let mut second = Input::with_scanned(b"a\nc\nd", first.scanned());
        assert_eq!(second.take_until(b'\n'), Some(&b"a\nc\n"[..]));
        assert_eq!(second.bytes(), b"d");
    }

    #[test]
    fn another_delimiter_is_searched_from_the_front() {
        let mut first = Input::new(b"a;b");
        assert_eq!(first.take_until(b'\n'), None);
        let mut second = Input::with_scanned(b"a;b", first.scanned());
        assert_eq!(second.take_until(b';'), Some(&b"a;"[..]));
    }

    #[test]
    fn lines_left_on_purpose_are_found_again() {
        let mut first = Input::new(b"a\nb\nc");
        assert_eq!(first.take_until(b'\n'), Some(&b"a\n"[..]));
        let mut second = Input::with_scanned(first.bytes(), first.scanned());
        assert_eq!(second.take_until(b'\n'), Some(&b"b\n"[..]));
    }

    #[test]
    fn what_was_taken_whole_says_nothing_about_what_comes() {
        let mut first = Input::new(b"abc");
        assert_eq!(first.take_until(b'\n'), None);
        assert_eq!(first.take_all(), b"abc");
        let mut second = Input::with_scanned(b"a\nb\nc", first.scanned());
        assert_eq!(second.take_until(b'\n'), Some(&b"a\n"[..]));
    }

    #[test]
    fn taking_within_the_searched_part_keeps_the_rest_searched() {
        let mut input = Input::new(b"abcdef");
        assert_eq!(input.take_until(b'\n'), None);
        assert_eq!(input.take(3), b"abc");
        assert_eq!(input.scanned(), Scanned { delimiter: b'\n', count: 3 });
        input.skip(1);
        assert_eq!(input.take_all(), b"ef");
        assert!(input.is_empty());
        assert_eq!(input.take_until(b'\n'), None);
    }
}
