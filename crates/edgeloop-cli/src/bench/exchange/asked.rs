//! Exchanges as they are asked for: `--send`, `--reply` and `--expect`.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::framing::Pattern;
use super::{Exchange, Exchanges, Framing};
use crate::bench::args::BenchArgs;
use crate::bench::payload::LARGEST;
use crate::escape::OneLine;
use crate::exit::Failure;
use crate::values::{self, read};

/// How many bytes of a text the results show.
const SHOWN: usize = 200;

/// What `--send`, `--reply` and `--expect` ask for. Files are still to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    sends: Vec<Text>,
    replies: Vec<Reply>,
    expects: Vec<Text>,
}

/// Bytes that were given, or the name of a file with them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Text {
    Bytes(Vec<u8>),
    File(PathBuf),
}

/// What a reply was said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reply {
    /// As long as the message.
    Echo,
    Framed(Framing),
}

/// The exchanges as the results show them, the texts escaped and cut short.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) send: Vec<String>,
    pub(crate) reply: Vec<String>,
    pub(crate) expect: Vec<String>,
}

impl Asked {
    /// Returns what is asked for, if there is any `--send`.
    ///
    /// # Errors
    ///
    /// Names the first value that is wrong, or options that do not fit each other.
    pub(crate) fn resolve(args: &BenchArgs) -> Result<Option<Self>, Failure> {
        let texts = |name: &str, values: &[OsString]| -> Result<Vec<Text>, Failure> {
            values.iter().map(|value| read(name, value, Text::parse)).collect()
        };
        let asked = Self {
            sends: texts("--send", &args.send)?,
            replies: args
                .reply
                .iter()
                .map(|value| read("--reply", value, Reply::parse))
                .collect::<Result<_, _>>()?,
            expects: texts("--expect", &args.expect)?,
        };
        let sends = asked.sends.len();
        for (name, count) in [("--reply", asked.replies.len()), ("--expect", asked.expects.len())] {
            if count > 0 && sends == 0 {
                return Err(Failure::usage(format!("{name} needs --send")));
            }
            if count > 1 && count != sends {
                return Err(Failure::usage(format!(
                    "{name} is given {count} times and --send {sends}; give one {name} for all \
                     messages, or one for each"
                )));
            }
        }
        asked.refuse_empty("--send", &asked.sends)?;
        asked.refuse_empty("--expect", &asked.expects)?;
        if args.verify && sends > 0 && !asked.verifies() {
            return Err(Failure::usage("--verify needs --expect, or --reply echo, with --send"));
        }
        Ok((sends > 0).then_some(asked))
    }

    /// Where a connection says by its end that a reply is over, nothing may be sent before it, and
    /// nothing may come.
    fn refuse_empty(&self, name: &str, texts: &[Text]) -> Result<(), Failure> {
        let closes =
            |index| matches!(of(&self.replies, index), Some(Reply::Framed(Framing::Close)));
        let is_empty = |index: usize| of(texts, index).is_some_and(Text::is_empty);
        if (0..self.sends.len()).all(|index| !is_empty(index) || closes(index)) {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "invalid value '' for {name}: expected a text, or @ and the name of a file; only with \
             --reply close it may be empty"
        )))
    }

    /// Whether a reply ends with its connection, so that each message needs one of its own.
    pub(crate) fn closes(&self) -> bool {
        self.replies.contains(&Reply::Framed(Framing::Close))
    }

    /// Whether any reply can be compared with what it must be.
    pub(crate) fn verifies(&self) -> bool {
        let echoes = self.replies.is_empty() || self.replies.contains(&Reply::Echo);
        echoes || !self.expects.is_empty()
    }

    /// Reads the files. Replies are verified only with `verifies`.
    ///
    /// # Errors
    ///
    /// Names a file that can't be read, that is empty or too large.
    pub(crate) fn load(&self, verifies: bool) -> Result<(Exchanges, Shown), Failure> {
        let bytes = |name: &str, texts: &[Text]| -> Result<Vec<Arc<[u8]>>, Failure> {
            let all = texts.iter().map(|text| text.load(name)).collect::<Result<Vec<_>, _>>()?;
            let total = all.iter().fold(0, |total: usize, one| total.saturating_add(one.len()));
            if total > LARGEST {
                return Err(Failure::usage(format!(
                    "all {name} together have {total} bytes; expected at most 1GiB"
                )));
            }
            Ok(all)
        };
        let (sends, expects) = (bytes("--send", &self.sends)?, bytes("--expect", &self.expects)?);
        let exchange = |(index, message): (usize, &Arc<[u8]>)| {
            let asked = of(&self.replies, index);
            let expected = of(&expects, index)
                .or((asked.is_none_or(|one| *one == Reply::Echo)).then_some(message));
            let reply = match asked {
                Some(Reply::Framed(framing)) => framing.clone(),
                Some(Reply::Echo) => Framing::Bytes(message.len() as u64),
                // As long as it must be.
                None => Framing::Bytes(expected.unwrap_or(message).len() as u64),
            };
            Exchange {
                message: Arc::clone(message),
                reply,
                expected: expected.filter(|_| verifies).cloned(),
            }
        };
        let exchanges = Exchanges::new(sends.iter().enumerate().map(exchange).collect());
        let reply = |exchange: (usize, &Exchange)| match of(&self.replies, exchange.0) {
            Some(Reply::Echo) => "echo".to_owned(),
            None if expects.is_empty() => "echo".to_owned(),
            _ => exchange.1.reply.to_string(),
        };
        let shown = Shown {
            send: sends.iter().map(|text| shown(text)).collect(),
            reply: exchanges.each.iter().enumerate().map(reply).collect(),
            expect: expects.iter().map(|text| shown(text)).collect(),
        };
        Ok((exchanges, shown))
    }
}

/// The one for all, or that of the message with this index.
fn of<T>(given: &[T], index: usize) -> Option<&T> {
    if let [one] = given { Some(one) } else { given.get(index) }
}

/// A text, escaped and cut short.
fn shown(bytes: &[u8]) -> String {
    let dots = if bytes.len() > SHOWN { "..." } else { "" };
    format!("{}{dots}", bytes[..bytes.len().min(SHOWN)].escape_ascii())
}

impl Text {
    /// Text with C escapes, or `@` and the name of a file. `@@` begins a text with `@`.
    fn parse(text: &str) -> Result<Self, String> {
        let text = match text.strip_prefix('@') {
            Some("") => return Err("expected the name of a file after @".into()),
            Some(rest) if !rest.starts_with('@') => return Ok(Self::File(rest.into())),
            Some(rest) => rest,
            None => text,
        };
        unescape(text).map(Self::Bytes)
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Bytes(bytes) if bytes.is_empty())
    }

    fn load(&self, name: &str) -> Result<Arc<[u8]>, Failure> {
        let path = match self {
            Self::Bytes(bytes) => return Ok(bytes.as_slice().into()),
            Self::File(path) => path,
        };
        let shown = path.to_string_lossy();
        let wrong =
            |what: &str| Failure::usage(format!("cannot use {name} @{}: {what}", OneLine(&shown)));
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LARGEST as u64 + 1).read_to_end(&mut bytes))
            .map_err(|error| wrong(&error.to_string()))?;
        match bytes.len() {
            0 => Err(wrong("the file is empty")),
            size if size > LARGEST => Err(wrong("the file is larger than 1GiB")),
            _ => Ok(bytes.into()),
        }
    }
}

impl Reply {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "echo" => Ok(Self::Echo),
            "close" => Ok(Self::Framed(Framing::Close)),
            _ => framing(text, "echo, close, ").map(Self::Framed),
        }
    }
}

/// What comes before the first message of each connection, and where that ends.
pub(crate) fn greeting(text: &str) -> Result<Framing, String> {
    framing(text, "")
}

/// An end that the bytes themselves tell. What else could have been given is named with the rest.
fn framing(text: &str, others: &str) -> Result<Framing, String> {
    let (kind, value) = text.split_once(':').unwrap_or((text, ""));
    Ok(match kind {
        "bytes" => Framing::Bytes(values::size(value, 1)? as u64),
        "lines" => Framing::Lines(values::count(value, 1, u64::MAX)?),
        "until" => {
            let bytes = unescape(value)?;
            if bytes.is_empty() {
                return Err(r"expected a text after until:, like until:\r\n".into());
            }
            Framing::Until(Pattern::new(bytes))
        }
        _ => return Err(format!("expected {others}bytes:N, lines:N or until:TEXT")),
    })
}

/// The bytes of a text with the escapes of C. `\x` takes two digits.
pub(super) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'\\' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let [letter, ..] = tail else {
            return Err(r"expected an escape after the last \; a backslash is \\".into());
        };
        let (byte, length) = match letter {
            b'r' => (b'\r', 1),
            b'n' => (b'\n', 1),
            b't' => (b'\t', 1),
            b'a' => (0x07, 1),
            b'b' => (0x08, 1),
            b'v' => (0x0b, 1),
            b'f' => (0x0c, 1),
            b'e' => (0x1b, 1),
            b'\\' | b'"' | b'\'' | b'?' => (*letter, 1),
            b'x' => (hex(tail.get(1..3))?, 3),
            b'0'..=b'7' => octal(tail)?,
            _ => {
                let escape = text[text.len() - tail.len()..].chars().next().unwrap_or_default();
                return Err(format!(
                    r"unknown escape \{}; expected \r \n \t \0 \\ \xHH and the others of C",
                    escape.escape_default()
                ));
            }
        };
        bytes.push(byte);
        rest = &tail[length..];
    }
    Ok(bytes)
}

fn hex(digits: Option<&[u8]>) -> Result<u8, String> {
    let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
    value.ok_or_else(|| r"expected two hexadecimal digits after \x, like \x0a".into())
}

/// Up to three digits: their value, and how many they are.
fn octal(text: &[u8]) -> Result<(u8, usize), String> {
    let digits = text.iter().take(3).take_while(|digit| matches!(digit, b'0'..=b'7'));
    let (value, count) = digits
        .fold((0, 0), |(value, count), digit| (value * 8 + u32::from(digit - b'0'), count + 1));
    let value = u8::try_from(value).map_err(|_| r"expected at most \377 for a byte".to_owned())?;
    Ok((value, count))
}
