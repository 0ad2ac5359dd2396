//! Where a reply ends in the stream of a connection.

use std::fmt;

/// How the end of a reply is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Framing {
    /// After so many bytes.
    Bytes(u64),
    /// Behind this pattern.
    Until(Pattern),
    /// Behind so many line feeds.
    Lines(u64),
    /// With the connection: it is all that comes until the other end's FIN.
    Close,
}

impl Framing {
    /// How many of `bytes`, of which there is one at least, belong to the reply, and whether it
    /// ends with the last of them. `state` is 0 at the beginning of a reply, and remembers what is
    /// needed between its parts.
    #[inline]
    pub(crate) fn take(&self, state: &mut u64, bytes: &[u8]) -> (usize, bool) {
        match self {
            Self::Bytes(all) => {
                let left = usize::try_from(all - *state).unwrap_or(usize::MAX);
                let count = left.min(bytes.len());
                *state += count as u64;
                (count, count == left)
            }
            Self::Until(pattern) => pattern.take(state, bytes),
            Self::Lines(all) => {
                for at in memchr::memchr_iter(b'\n', bytes) {
                    *state += 1;
                    if *state == *all {
                        return (at + 1, true);
                    }
                }
                (bytes.len(), false)
            }
            Self::Close => (bytes.len(), false),
        }
    }
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(count) => write!(f, "bytes:{count}"),
            Self::Until(pattern) => write!(f, "until:{}", pattern.bytes.escape_ascii()),
            Self::Lines(count) => write!(f, "lines:{count}"),
            Self::Close => f.write_str("close"),
        }
    }
}

/// Bytes that are looked for in a stream, by Knuth, Morris and Pratt: each byte is looked at once,
/// and none has to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    bytes: Vec<u8>,
    /// For each beginning of the pattern, by its length less one: the length of the longest shorter
    /// beginning that it ends with.
    borders: Vec<usize>,
}

impl Pattern {
    /// Of one byte at least.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let mut borders = vec![0; bytes.len()];
        let mut length = 0;
        for end in 1..bytes.len() {
            while length > 0 && bytes[end] != bytes[length] {
                length = borders[length - 1];
            }
            length += usize::from(bytes[end] == bytes[length]);
            borders[end] = length;
        }
        Self { bytes, borders }
    }

    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// See [`Framing::take`]; the state is how much of the pattern the last bytes are.
    fn take(&self, state: &mut u64, bytes: &[u8]) -> (usize, bool) {
        let mut matched = usize::try_from(*state).unwrap_or(0);
        let mut at = 0;
        while at < bytes.len() {
            if matched == 0 {
                let Some(skipped) = memchr::memchr(self.bytes[0], &bytes[at..]) else { break };
                at += skipped;
            }
            while matched > 0 && bytes[at] != self.bytes[matched] {
                matched = self.borders[matched - 1];
            }
            matched += usize::from(bytes[at] == self.bytes[matched]);
            at += 1;
            if matched == self.bytes.len() {
                return (at, true);
            }
        }
        *state = matched as u64;
        (bytes.len(), false)
    }
}
