//! The bytes that a callback is shown, and how far it has taken them.

mod decimal;
mod search;
#[cfg(test)]
mod tests;
mod too_long;
mod unsigned;

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;

pub use decimal::NotAnInteger;
use decimal::integer_line;
pub(crate) use search::Scanned;
#[cfg(test)]
pub(crate) use search::counted;
use search::{Delimiter, find};
pub use too_long::TooLong;
pub use unsigned::Unsigned;

/// Bytes that arrived and were not taken yet, in one piece. Dereferences to `&[u8]`.
///
/// What the handler takes is gone. What it leaves is kept by the loop and shown again, in one piece
/// with what follows, up to [`Config::input_limit`](crate::Config::input_limit).
///
/// Everything that is taken borrows from the input: nothing is copied or allocated, whatever length
/// the peer claims. A method that needs more than has arrived takes nothing.
///
/// - Lines: [`take_line`](Self::take_line).
/// - Lengths and counts that are lines: [`take_integer`](Self::take_integer).
/// - Messages with another delimiter: [`take_until`](Self::take_until).
/// - Frames with their length in front: [`take_frame_be`](Self::take_frame_be) and
///   [`take_frame_le`](Self::take_frame_le).
/// - Fixed headers: [`try_take`](Self::try_take), [`peek_be`](Self::peek_be),
///   [`take_be`](Self::take_be), and the same in little-endian.
///
/// # Work
///
/// The input remembers how far it was searched, from one callback to the next: a line that arrives
/// in a thousand pieces is searched once. It does so for the two delimiters that were last
/// searched for in vain. The handler may take anything and search for anything in between.
///
/// # Examples
///
/// ```
/// # use edgeloop::Input;
/// let mut input = Input::new(b"one\ntwo\r\nthr");
/// assert_eq!(input.take_line(80), Ok(Some(&b"one"[..])));
/// assert_eq!(input.take_line(80), Ok(Some(&b"two"[..])));
/// assert_eq!(input.take_line(80), Ok(None));
/// assert_eq!(&*input, b"thr");
/// ```
pub struct Input<'a> {
    bytes: &'a [u8],
    scanned: Scanned,
    /// Where the loop wants to know how much is left.
    left: Option<&'a Cell<usize>>,
    /// It was read with a full buffer.
    fills: bool,
}

impl<'a> Input<'a> {
    /// Bytes to show to a handler in its own tests, or a part of an input to parse by itself.
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, scanned: Scanned::NONE, left: None, fills: false }
    }

    /// Bytes with what earlier callbacks found out about them. The last `arrived` of them are new.
    #[must_use]
    pub(crate) fn with_scanned(bytes: &'a [u8], scanned: Scanned, arrived: usize) -> Self {
        Self { bytes, scanned: scanned.followed_by(arrived), left: None, fills: false }
    }

    /// The same; `left` always is how much of it is left.
    #[inline(always)]
    pub(crate) fn counted(mut self, left: &'a Cell<usize>) -> Self {
        left.set(self.bytes.len());
        self.left = Some(left);
        self
    }

    /// The same; `fills` says that the read has filled the loop's buffer.
    pub(crate) const fn filling(mut self, fills: bool) -> Self {
        self.fills = fills;
        self
    }

    /// Whether the peer streams: the last read has filled the loop's whole buffer
    /// ([`Config::read_buffer`](crate::Config::read_buffer)), so that there is more to come. A
    /// handler that does nothing with such a stream but to send it on may
    /// [relay](crate::LoopContext::relay) it from here on.
    #[inline]
    #[must_use]
    pub const fn streams(&self) -> bool {
        self.fills
    }

    /// Takes everything.
    #[inline]
    #[must_use = "bytes that were taken are not shown again"]
    pub fn take_all(&mut self) -> &'a [u8] {
        let bytes = self.bytes;
        self.leave(&[]);
        bytes
    }

    /// Takes the first `count` bytes.
    ///
    /// # Panics
    ///
    /// If fewer are there; see [`try_take`](Self::try_take).
    #[inline]
    #[must_use = "bytes that were taken are not shown again; see `skip`"]
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(count);
        self.leave(rest);
        taken
    }

    #[inline(always)]
    fn leave(&mut self, rest: &'a [u8]) {
        self.bytes = rest;
        if let Some(left) = self.left {
            left.set(rest.len());
        }
    }

    /// Takes the first `count` bytes, or nothing and returns `None` if fewer are there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use edgeloop::Input;
    /// let mut input = Input::new(b"abcde");
    /// assert_eq!(input.try_take(3), Some(&b"abc"[..]));
    /// assert_eq!(input.try_take(3), None);
    /// assert_eq!(&*input, b"de");
    /// ```
    #[inline]
    #[must_use = "bytes that were taken are not shown again; see `skip`"]
    pub fn try_take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.leave(rest);
        Some(taken)
    }

    /// Takes a line, and returns it without its end, which is LF or CRLF. `None` means that its end
    /// has not arrived. A CR elsewhere is a byte like any other.
    ///
    /// When the peer ends its stream in the middle of a line, that part is shown to
    /// [`Handler::end`](crate::Handler::end), where [`take_all`](Self::take_all) takes it.
    ///
    /// # Errors
    ///
    /// When the line is longer than `max` bytes without its end, as soon as that is certain.
    /// Nothing is taken. For `max` to be reached, the handler's
    /// [`input_limit`](crate::Config::input_limit) must be at least `max + 2`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use edgeloop::{Input, TooLong};
    /// let mut input = Input::new(b"GET\r\na long line");
    /// assert_eq!(input.take_line(8), Ok(Some(&b"GET"[..])));
    /// assert_eq!(input.take_line(8), Err(TooLong::Line { max: 8 }));
    /// ```
    pub fn take_line(&mut self, max: usize) -> Result<Option<&'a [u8]>, TooLong> {
        // Within this is the LF of every line that is not too long.
        let window = self.window(max.saturating_add(2));
        let Some(at) = self.search(Delimiter::LF, window) else {
            let may_be_crlf = window.len() == max.saturating_add(1) && window.ends_with(b"\r");
            let fits = window.len() <= max || may_be_crlf;
            return if fits { Ok(None) } else { Err(TooLong::Line { max }) };
        };
        let line = &window[..at];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > max {
            self.scanned.remember(Delimiter::LF, self.bytes.len() - at);
            return Err(TooLong::Line { max });
        }
        self.skip(at + 1);
        Ok(Some(line))
    }

    /// Takes a line that is a decimal integer, such as the lengths of RESP, and returns it. `None`
    /// means that its end, LF or CRLF, has not arrived. There is one way to write each integer: no
    /// plus, no spaces and no zeros in front.
    ///
    /// # Errors
    ///
    /// When the line is no such integer or does not fit, as soon as that is certain. Nothing is
    /// taken.
    ///
    /// # Examples
    ///
    /// ```
    /// # use edgeloop::Input;
    /// let mut input = Input::new(b"5\r\nhello\r\n-1\nx\n");
    /// assert_eq!(input.take_integer(), Ok(Some(5)));
    /// assert_eq!(input.try_take(7), Some(&b"hello\r\n"[..]));
    /// assert_eq!(input.take_integer(), Ok(Some(-1)));
    /// assert!(input.take_integer().is_err());
    /// assert_eq!(&*input, b"x\n");
    /// ```
    #[inline]
    pub fn take_integer(&mut self) -> Result<Option<i64>, NotAnInteger> {
        let Some((integer, length)) = integer_line(self.bytes)? else { return Ok(None) };
        self.skip(length);
        Ok(Some(integer))
    }

    /// Takes up to and including the first `delimiter`, and returns it all. `None` means that it
    /// has not arrived.
    ///
    /// # Errors
    ///
    /// When the delimiter does not end within the first `max` bytes. Nothing is taken. For `max` to
    /// be reached, the [`input_limit`](crate::Config::input_limit) must be at least
    /// `max`.
    ///
    /// # Panics
    ///
    /// If the delimiter does not have 1 to 8 bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// # use edgeloop::{Input, TooLong};
    /// let mut input = Input::new(b"Host: a\r\n\r\nbody");
    /// assert_eq!(input.take_until(b"\r\n\r\n", 100), Ok(Some(&b"Host: a\r\n\r\n"[..])));
    /// assert_eq!(input.take_until(b"\r\n\r\n", 100), Ok(None));
    /// assert_eq!(input.take_until(b"\r\n\r\n", 4), Err(TooLong::Delimited { max: 4 }));
    /// assert_eq!(&*input, b"body");
    /// ```
    pub fn take_until(
        &mut self,
        delimiter: &[u8],
        max: usize,
    ) -> Result<Option<&'a [u8]>, TooLong> {
        let window = self.window(max);
        match self.search(Delimiter::new(delimiter), window) {
            Some(at) => Ok(self.try_take(at + delimiter.len())),
            None if window.len() < max => Ok(None),
            None => Err(TooLong::Delimited { max }),
        }
    }

    /// Takes a frame whose length stands before it as a big-endian integer of type `N`, and returns
    /// it without the integer, which does not count itself. `None` means that a part is missing.
    ///
    /// # Errors
    ///
    /// When the frame is longer than `max` bytes, as soon as its length has arrived. Nothing is
    /// taken. For `max` to be reached, the [`input_limit`](crate::Config::input_limit)
    /// must be at least `max` and the size of the integer.
    ///
    /// # Examples
    ///
    /// ```
    /// # use edgeloop::{Input, TooLong};
    /// let mut input = Input::new(b"\x00\x03one\x00\x05tw");
    /// assert_eq!(input.take_frame_be::<u16>(100), Ok(Some(&b"one"[..])));
    /// assert_eq!(input.take_frame_be::<u16>(100), Ok(None));
    /// let error = TooLong::Frame { length: 5, max: 4 };
    /// assert_eq!(input.take_frame_be::<u16>(4), Err(error));
    /// assert_eq!(error.to_string(), "a frame of 5 bytes is longer than 4");
    /// ```
    pub fn take_frame_be<N: Unsigned>(&mut self, max: usize) -> Result<Option<&'a [u8]>, TooLong> {
        self.take_frame(self.peek_be::<N>(), max)
    }

    /// Takes a frame whose length stands before it as a little-endian integer: see
    /// [`take_frame_be`](Self::take_frame_be).
    ///
    /// # Errors
    ///
    /// When the frame is longer than `max` bytes. Nothing is taken.
    ///
    /// # Examples
    ///
    /// ```
    /// # use edgeloop::Input;
    /// let mut input = Input::new(b"\x03\x00\x00\x00one");
    /// assert_eq!(input.take_frame_le::<u32>(100), Ok(Some(&b"one"[..])));
    /// ```
    pub fn take_frame_le<N: Unsigned>(&mut self, max: usize) -> Result<Option<&'a [u8]>, TooLong> {
        self.take_frame(self.peek_le::<N>(), max)
    }

    fn take_frame<N: Unsigned>(
        &mut self,
        length: Option<N>,
        max: usize,
    ) -> Result<Option<&'a [u8]>, TooLong> {
        let Some(length) = length.map(Into::<u64>::into) else { return Ok(None) };
        let Some(size) = usize::try_from(length).ok().filter(|&size| size <= max) else {
            return Err(TooLong::Frame { length, max });
        };
        let frame = self.bytes[size_of::<N>()..].get(..size);
        if frame.is_some() {
            self.skip(size_of::<N>() + size);
        }
        Ok(frame)
    }

    /// Takes a big-endian integer, or nothing and returns `None` if it has not arrived whole.
    ///
    /// # Examples
    ///
    /// ```
    /// # use edgeloop::Input;
    /// let mut input = Input::new(b"\x07\x00\x00\x01\x02\xff");
    /// assert_eq!(input.take_be::<u8>(), Some(7));
    /// assert_eq!(input.take_be::<u32>(), Some(0x102));
    /// assert_eq!(input.take_be::<u16>(), None);
    /// assert_eq!(&*input, b"\xff");
    /// ```
    #[inline]
    #[must_use = "bytes that were taken are not shown again; see `skip`"]
    pub fn take_be<N: Unsigned>(&mut self) -> Option<N> {
        self.try_take(size_of::<N>()).and_then(N::from_be)
    }

    /// Takes a little-endian integer, or nothing and returns `None` if it has not arrived whole.
    ///
    /// # Examples
    ///
    /// ```
    /// # use edgeloop::Input;
    /// let mut input = Input::new(b"\x02\x01");
    /// assert_eq!(input.take_le::<u16>(), Some(0x102));
    /// ```
    #[inline]
    #[must_use = "bytes that were taken are not shown again; see `skip`"]
    pub fn take_le<N: Unsigned>(&mut self) -> Option<N> {
        self.try_take(size_of::<N>()).and_then(N::from_le)
    }

    /// Returns the big-endian integer at the front and leaves it there; `None` if it has not
    /// arrived whole.
    ///
    /// # Examples
    ///
    /// A header is left where it is until its message is there.
    ///
    /// ```
    /// # use edgeloop::Input;
    /// let mut input = Input::new(b"\x00\x04rest");
    /// let length: u16 = input.peek_be().expect("two bytes");
    /// if input.len() >= 2 + usize::from(length) {
    ///     input.skip(2);
    ///     assert_eq!(input.take(length.into()), b"rest");
    /// }
    /// ```
    #[inline]
    #[must_use]
    pub fn peek_be<N: Unsigned>(&self) -> Option<N> {
        self.bytes.get(..size_of::<N>()).and_then(N::from_be)
    }

    /// Returns the little-endian integer at the front and leaves it there; `None` if it has not
    /// arrived whole.
    ///
    /// # Examples
    ///
    /// ```
    /// # use edgeloop::Input;
    /// let input = Input::new(b"\x02\x01");
    /// assert_eq!((input.peek_le::<u16>(), input.peek_le::<u32>()), (Some(0x102), None));
    /// ```
    #[inline]
    #[must_use]
    pub fn peek_le<N: Unsigned>(&self) -> Option<N> {
        self.bytes.get(..size_of::<N>()).and_then(N::from_le)
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

    /// Of the bytes that were shown: how many are left, and what is known about them, to be kept
    /// with them.
    pub(crate) fn rest_of(&self, shown: &[u8]) -> (usize, Scanned) {
        if self.bytes.as_ptr_range().end == shown.as_ptr_range().end {
            return (self.bytes.len(), self.scanned);
        }
        // All was taken, or the handler has assigned another input to this one: what is known about
        // that one says nothing about the bytes that were shown.
        (self.bytes.len().min(shown.len()), Scanned::NONE)
    }

    /// The first `most` bytes, or all.
    fn window(&self, most: usize) -> &'a [u8] {
        &self.bytes[..self.bytes.len().min(most)]
    }

    /// Returns where the first delimiter begins in `window`, a front part of the bytes. If there is
    /// none, the next search for it begins where this one ended.
    fn search(&mut self, delimiter: Delimiter, window: &[u8]) -> Option<usize> {
        let length = self.bytes.len();
        let from = self.scanned.searched(delimiter, length);
        if let Some(at) = window.get(from..).and_then(|rest| find(rest, delimiter)) {
            return Some(from + at);
        }
        // The last bytes may be the beginning of one.
        let end = (window.len() + 1).saturating_sub(delimiter.len());
        self.scanned.remember(delimiter, length - end.max(from));
        None
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
