//! Requests and replies as bytes: RESP2, and inline commands as people type them.

use edgeloop::Input;

/// The longest request, the longest argument and the longest inline command, in bytes.
pub(crate) const MAX_REQUEST: usize = 16 * 1024 * 1024;
pub(crate) const MAX_BULK: usize = 8 * 1024 * 1024;
pub(crate) const MAX_INLINE: usize = 64 * 1024;

/// The most output that waits for one client, in bytes.
pub(crate) const MAX_OUTPUT: usize = 16 * 1024 * 1024;

/// The most arguments of a request.
const MAX_ARGUMENTS: i64 = 1024 * 1024;

/// How far an unfinished request was looked at.
#[derive(Default)]
pub(crate) struct Seen {
    /// Where the next argument begins; 0 before the first.
    at: usize,
    /// How many arguments have not arrived.
    missing: usize,
}

/// Takes the words of the next request, and returns whether it has arrived whole. An empty one has
/// none.
///
/// An unfinished request stays in the input, which shows it again with what follows. What was
/// `seen` of it is looked at once more when it is whole, and not before, however slowly it comes.
///
/// # Errors
///
/// When this is not the protocol. The client is told, and then the connection must be closed.
pub(crate) fn take_request<'a>(
    input: &mut Input<'a>,
    seen: &mut Seen,
    words: &mut Vec<&'a [u8]>,
) -> Result<bool, String> {
    words.clear();
    if !input.starts_with(b"*") {
        let line = input.take_line(MAX_INLINE).map_err(|_| "too big inline request")?;
        let all = line.into_iter().flat_map(|line| line.split(u8::is_ascii_whitespace));
        words.extend(all.filter(|word| !word.is_empty()));
        return Ok(line.is_some());
    }
    let resumes = seen.at > 0;
    let mut ahead = Input::new(&input.bytes()[seen.at..]);
    if !resumes {
        ahead.skip(1);
        let missing = match ahead.take_integer() {
            Ok(None) => return Ok(false),
            // Less than nothing is nothing.
            Ok(Some(count)) if count <= MAX_ARGUMENTS => count.try_into().unwrap_or(0),
            _ => return Err("invalid multibulk length".to_owned()),
        };
        *seen = Seen { at: input.len() - ahead.len(), missing };
    }
    while seen.missing > 0 {
        match ahead.first() {
            None => return Ok(false),
            Some(b'$') => ahead.skip(1),
            Some(&byte) => return Err(format!("expected '$', got '{}'", char::from(byte))),
        }
        let length = match ahead.take_integer().map(|length| length.map(usize::try_from)) {
            Ok(None) => return Ok(false),
            Ok(Some(Ok(length))) if length <= MAX_BULK => length,
            _ => return Err("invalid bulk length".to_owned()),
        };
        if seen.at + length > MAX_REQUEST {
            return Err("too big request".to_owned());
        }
        let Some(word) = ahead.try_take(length + 2) else { return Ok(false) };
        words.push(&word[..length]);
        *seen = Seen { at: input.len() - ahead.len(), missing: seen.missing - 1 };
    }
    *seen = Seen::default();
    if resumes {
        return take_request(input, seen, words);
    }
    input.skip(input.len() - ahead.len());
    Ok(true)
}

/// An integer as Redis takes it: no sign but a minus, and no zeros in front.
pub(crate) fn integer(text: &[u8]) -> Result<i64, &'static str> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    let plain = matches!(text, b"0" | [b'1'..=b'9', ..] | [b'-', b'1'..=b'9', ..]);
    number.filter(|_| plain).ok_or("ERR value is not an integer or out of range")
}

/// The bytes of a reply.
#[derive(Default)]
pub(crate) struct Reply(pub(crate) Vec<u8>);

impl Reply {
    pub(crate) fn line(&mut self, kind: u8, text: &str) {
        self.0.push(kind);
        self.0.extend_from_slice(text.as_bytes());
        self.0.extend_from_slice(b"\r\n");
    }

    pub(crate) fn ok(&mut self) {
        self.line(b'+', "OK");
    }

    pub(crate) fn number(&mut self, number: impl itoa::Integer) {
        self.line(b':', itoa::Buffer::new().format(number));
    }

    /// Adds a string. Behind more than may be sent nothing is added, or a short request for a long
    /// list would take its memory once more.
    pub(crate) fn string(&mut self, string: &[u8]) {
        if self.0.len() > MAX_OUTPUT {
            return;
        }
        self.line(b'$', itoa::Buffer::new().format(string.len()));
        self.0.extend_from_slice(string);
        self.0.extend_from_slice(b"\r\n");
    }

    pub(crate) fn string_or_null(&mut self, string: Option<impl AsRef<[u8]>>) {
        match string {
            Some(string) => self.string(string.as_ref()),
            None => self.line(b'$', "-1"),
        }
    }

    /// The head of an array, whose elements follow as replies of their own.
    pub(crate) fn array(&mut self, length: usize) {
        self.line(b'*', itoa::Buffer::new().format(length));
    }

    pub(crate) fn strings(&mut self, strings: impl ExactSizeIterator<Item: AsRef<[u8]>>) {
        self.array(strings.len());
        strings.for_each(|string| self.string(string.as_ref()));
    }
}
