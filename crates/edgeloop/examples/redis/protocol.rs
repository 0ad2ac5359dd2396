//! Requests and replies as bytes: RESP2, and inline commands as people type them.

use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::Range;

use edgeloop::Input;

/// The longest request, the longest argument and the longest inline command, in bytes.
pub(crate) const MAX_REQUEST: usize = 16 * 1024 * 1024;
pub(crate) const MAX_BULK: usize = 8 * 1024 * 1024;
const MAX_INLINE: usize = 64 * 1024;

/// The most arguments of a request.
const MAX_ARGUMENTS: usize = 1024 * 1024;

/// The longest line with a number, in bytes.
const MAX_NUMBER: usize = 64;

/// The next request of a client, as far as it has arrived.
///
/// An unfinished request stays in the input, which shows it again with what follows. All that is
/// remembered is where its arguments stand, so that nothing is parsed twice or copied.
#[derive(Default)]
pub(crate) struct Request {
    arguments: Vec<Range<usize>>,
    /// How many arguments have not arrived.
    missing: usize,
    /// Where the next one begins.
    at: usize,
}

impl Request {
    /// Takes the words of the next request; `None` if it has not arrived whole. An empty one has none.
    ///
    /// # Errors
    ///
    /// When this is not the protocol. The client is told, and then the connection must be closed.
    pub(crate) fn take<'a>(
        &mut self,
        input: &mut Input<'a>,
    ) -> Result<Option<Vec<&'a [u8]>>, String> {
        if self.missing == 0 {
            if input.first() != Some(&b'*') {
                let line = input.take_line(MAX_INLINE).map_err(|_| "too big inline request")?;
                let words = line.map(|line| line.split(u8::is_ascii_whitespace));
                return Ok(words.map(|words| words.filter(|word| !word.is_empty()).collect()));
            }
            let Some((count, at)) = number(input, 0, "multibulk")? else { return Ok(None) };
            self.missing = usize::try_from(count).unwrap_or(0);
            if self.missing > MAX_ARGUMENTS {
                return Err("invalid multibulk length".to_owned());
            }
            self.at = at;
        }
        while self.missing > 0 {
            match input.get(self.at) {
                None => return Ok(None),
                Some(b'$') => {}
                Some(&byte) => return Err(format!("expected '$', got '{}'", char::from(byte))),
            }
            let Some((length, begin)) = number(input, self.at, "bulk")? else { return Ok(None) };
            let length = usize::try_from(length).ok().filter(|&length| length <= MAX_BULK);
            let end = begin + length.ok_or("invalid bulk length")?;
            if end > MAX_REQUEST {
                return Err("too big request".to_owned());
            }
            if input.len() < end + 2 {
                return Ok(None);
            }
            self.arguments.push(begin..end);
            self.at = end + 2;
            self.missing -= 1;
        }
        let bytes = input.take(self.at);
        let arguments = std::mem::take(&mut self.arguments).into_iter();
        Ok(Some(arguments.map(|range| &bytes[range]).collect()))
    }
}

/// Reads the line with a number behind the byte that says what it counts. Returns where it ends, too.
fn number(input: &[u8], at: usize, what: &str) -> Result<Option<(i64, usize)>, String> {
    let mut rest = Input::new(&input[at + 1..]);
    let line = rest.take_line(MAX_NUMBER);
    let number = line.ok().map(|line| line.map(integer).transpose());
    let number = number.and_then(Result::ok).ok_or_else(|| format!("invalid {what} length"))?;
    Ok(number.map(|number| (number, input.len() - rest.len())))
}

/// An integer as Redis takes it: no sign but a minus, and no zeros in front.
pub(crate) fn integer(text: &[u8]) -> Result<i64, &'static str> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = matches!(digits, [b'1'..=b'9', ..]) || text == b"0";
    let number =
        std::str::from_utf8(text).ok().filter(|_| plain).and_then(|text| text.parse().ok());
    number.ok_or("ERR value is not an integer or out of range")
}

pub(crate) enum Reply<'a> {
    Word(&'static str),
    Error(String),
    Number(i64),
    Bulk(Cow<'a, [u8]>),
    Null,
    NullArray,
    Array(Vec<Reply<'a>>),
    /// One behind the other, as those to one SUBSCRIBE.
    Several(Vec<Reply<'a>>),
    /// There is no such command, or not with such arguments.
    Unknown,
}

impl<'a> Reply<'a> {
    pub(crate) fn bulk(bytes: impl Into<Option<&'a [u8]>>) -> Self {
        bytes.into().map_or(Self::Null, |bytes| Self::Bulk(bytes.into()))
    }

    pub(crate) fn count(count: usize) -> Self {
        Self::Number(i64::try_from(count).unwrap_or(i64::MAX))
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Word(word) => write!(out, "+{word}\r\n"),
            // A line break in it would end it early.
            Self::Error(error) => write!(out, "-{}\r\n", error.replace(['\r', '\n'], " ")),
            Self::Number(number) => write!(out, ":{number}\r\n"),
            Self::Null => out.write_all(b"$-1\r\n"),
            Self::NullArray => out.write_all(b"*-1\r\n"),
            Self::Bulk(bytes) => {
                write!(out, "${}\r\n", bytes.len())?;
                out.write_all(bytes)?;
                out.write_all(b"\r\n")
            }
            Self::Array(items) => {
                write!(out, "*{}\r\n", items.len())?;
                items.iter().try_for_each(|item| item.write(out))
            }
            Self::Several(replies) => replies.iter().try_for_each(|reply| reply.write(out)),
            Self::Unknown => Ok(()),
        }
    }
}
