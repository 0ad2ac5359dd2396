//! Requests and replies as bytes: RESP2, and inline commands as people type them.

use std::borrow::Cow;
use std::ops::Range;

use edgeloop::Input;

/// The longest request, the longest argument and the longest inline command, in bytes.
pub(crate) const MAX_REQUEST: usize = 16 * 1024 * 1024;
pub(crate) const MAX_BULK: usize = 8 * 1024 * 1024;
const MAX_INLINE: usize = 64 * 1024;

/// The most arguments of a request.
const MAX_ARGUMENTS: i64 = 1024 * 1024;

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
    missing: i64,
    /// Where the next one begins.
    at: usize,
}

impl Request {
    /// Takes the words of the next request; `None` if it has not arrived whole. An empty one has
    /// none.
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
            if count > MAX_ARGUMENTS {
                return Err("invalid multibulk length".to_owned());
            }
            (self.missing, self.at) = (count.max(0), at);
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
            (self.missing, self.at) = (self.missing - 1, end + 2);
        }
        let bytes = input.take(self.at);
        let words = self.arguments.drain(..).map(|range| &bytes[range]).collect();
        self.arguments.shrink_to(64);
        Ok(Some(words))
    }
}

/// Reads the line with a number behind the byte that says what it counts. Returns where it ends,
/// too.
fn number(input: &[u8], at: usize, what: &str) -> Result<Option<(i64, usize)>, String> {
    let rest = &input[at + 1..input.len().min(at + MAX_NUMBER)];
    let line = match rest.iter().position(|&byte| byte == b'\n') {
        None if rest.len() < MAX_NUMBER - 1 => return Ok(None),
        end => &rest[..end.unwrap_or(0)],
    };
    let number = integer(line.strip_suffix(b"\r").unwrap_or(line));
    let number = number.map_err(|_| format!("invalid {what} length"))?;
    Ok(Some((number, at + 1 + line.len() + 1)))
}

/// An integer as Redis takes it: no sign but a minus, and no zeros in front.
pub(crate) fn integer(text: &[u8]) -> Result<i64, &'static str> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let below_zero = digits.iter().try_fold(0_i64, |sum, &digit| match digit {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_sub(i64::from(digit - b'0')),
        _ => None,
    });
    let plain = matches!(digits, [b'1'..=b'9', ..]) || text == b"0";
    let below_zero = below_zero.filter(|_| plain);
    let number =
        if text.len() > digits.len() { below_zero } else { below_zero.and_then(i64::checked_neg) };
    number.ok_or("ERR value is not an integer or out of range")
}

/// Writes an integer in decimal.
pub(crate) fn write_integer(out: &mut Vec<u8>, number: i64) {
    let (mut digits, mut at, mut rest) = ([0; 20], 20, number.unsigned_abs());
    while at == 20 || rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    if number < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.extend_from_slice(&digits[at..]);
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
    /// What is sent before the connection is closed.
    Last(Box<Reply<'a>>),
}

impl<'a> Reply<'a> {
    pub(crate) fn bulk(bytes: &'a [u8]) -> Self {
        Self::Bulk(bytes.into())
    }

    pub(crate) fn count(count: usize) -> Self {
        Self::Number(i64::try_from(count).unwrap_or(i64::MAX))
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut line = |kind, number| {
            out.push(kind);
            write_integer(out, number);
            out.extend_from_slice(b"\r\n");
        };
        match self {
            Self::Word(word) => out.extend(["+", word, "\r\n"].concat().bytes()),
            // A line break in it would end it early.
            Self::Error(error) => {
                out.extend(["-", &error.replace(['\r', '\n'], " "), "\r\n"].concat().bytes());
            }
            Self::Number(number) => line(b':', *number),
            Self::Null => line(b'$', -1),
            Self::NullArray => line(b'*', -1),
            Self::Bulk(bytes) => {
                line(b'$', bytes.len() as i64);
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            Self::Array(items) => {
                line(b'*', items.len() as i64);
                items.iter().for_each(|item| item.write(out));
            }
            Self::Several(replies) => replies.iter().for_each(|reply| reply.write(out)),
            Self::Last(reply) => reply.write(out),
        }
    }
}
