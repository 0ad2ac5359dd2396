//! Decimal integers that are lines of their own, as text protocols write them.

use std::{error, fmt};

/// A line is no decimal integer of 64 bits; from
/// [`Input::take_integer`](crate::Input::take_integer). Nothing of it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnInteger(());

impl fmt::Display for NotAnInteger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a line is not a decimal integer of 64 bits")
    }
}

impl error::Error for NotAnInteger {}

/// Returns the integer in the first line, and how many bytes the line has with its end; `None` if
/// the end has not arrived.
#[inline]
pub(super) fn integer_line(bytes: &[u8]) -> Result<Option<(i64, usize)>, NotAnInteger> {
    const WRONG: NotAnInteger = NotAnInteger(());
    // Most lengths in a protocol are of one digit.
    if let [digit @ b'0'..=b'9', b'\r', b'\n', ..] = bytes {
        return Ok(Some((i64::from(digit - b'0'), 3)));
    }
    let sign = usize::from(bytes.starts_with(b"-"));
    let (mut at, mut below_zero) = (sign, 0_i64);
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        let next = below_zero.checked_mul(10).and_then(|it| it.checked_sub((digit - b'0').into()));
        below_zero = next.ok_or(WRONG)?;
        at += 1;
    }
    let (digits, rest) = (&bytes[sign..at], &bytes[at..]);
    let end = match rest {
        // Zeros in front, or -0.
        _ if digits.starts_with(b"0") && at > 1 => return Err(WRONG),
        [] => return Ok(None),
        _ if digits.is_empty() => return Err(WRONG),
        [b'\r'] => return Ok(None),
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        _ => return Err(WRONG),
    };
    let integer = if sign == 1 { Some(below_zero) } else { below_zero.checked_neg() };
    Ok(Some((integer.ok_or(WRONG)?, at + end)))
}
