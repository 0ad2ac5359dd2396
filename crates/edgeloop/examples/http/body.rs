//! The body of a request: of a stated length, or in chunks (RFC 9112, 7.1).

use edgeloop::Input;

/// A status code with its reason phrase.
pub(crate) type Status = &'static str;

pub(crate) const BAD_REQUEST: Status = "400 Bad Request";
pub(crate) const TOO_LARGE_FIELDS: Status = "431 Request Header Fields Too Large";
const TOO_LARGE: Status = "413 Content Too Large";

/// The most bytes of a body, and of all lines between its chunks and behind them.
pub(crate) const MAX_BODY: usize = 256 * 1024;

/// The most bytes of such a line.
pub(crate) const MAX_LINE: usize = 4 * 1024;

/// A body that is arriving; an empty one by default.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    /// How many bytes are left, of the chunk or of all.
    pub(crate) left: usize,
    /// The line that follows these.
    pub(crate) next: Option<Line>,
    pub(crate) lines: usize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Line {
    Size,
    EndOfChunk,
    Trailer,
}

impl Body {
    /// Takes what has arrived. Returns whether that is all.
    pub(crate) fn read(&mut self, input: &mut Input<'_>) -> Result<bool, Status> {
        loop {
            let piece = input.take(self.left.min(input.len()));
            self.bytes.extend_from_slice(piece);
            self.left -= piece.len();
            let (max, too_long) = match self.next {
                _ if self.left > 0 => return Ok(false),
                None => return Ok(true),
                Some(Line::EndOfChunk) => (2, BAD_REQUEST),
                Some(Line::Size | Line::Trailer) => (MAX_LINE, TOO_LARGE_FIELDS),
            };
            let line = input.take_until(b"\r\n", max).map_err(|_| too_long)?;
            let Some((line, _)) = line.and_then(<[u8]>::split_last_chunk::<2>) else {
                return Ok(false);
            };
            self.lines += line.len();
            self.next = match self.next {
                _ if line.contains(&b'\r') || line.contains(&b'\n') => return Err(BAD_REQUEST),
                Some(Line::Size) => {
                    // Blanks and extensions may follow it.
                    let size = line.split(|byte| b"; \t".contains(byte)).next().unwrap_or(line);
                    self.left = number(size, 16)?;
                    Some(if self.left == 0 { Line::Trailer } else { Line::EndOfChunk })
                }
                Some(Line::EndOfChunk) => Some(Line::Size),
                Some(Line::Trailer) | None => self.next.filter(|_| !line.is_empty()),
            };
            if self.bytes.len() + self.left > MAX_BODY || self.lines > MAX_BODY {
                return Err(TOO_LARGE);
            }
        }
    }
}

/// Reads a length, which consists of digits alone and is not above [`MAX_BODY`].
pub(crate) fn number(digits: &[u8], radix: u32) -> Result<usize, Status> {
    if digits.is_empty() || !digits.iter().all(|&digit| char::from(digit).is_digit(radix)) {
        return Err(BAD_REQUEST);
    }
    // With more digits than a number holds, the number is too large.
    let length = str::from_utf8(digits).map(|digits| usize::from_str_radix(digits, radix));
    length.into_iter().flatten().find(|&length| length <= MAX_BODY).ok_or(TOO_LARGE)
}
