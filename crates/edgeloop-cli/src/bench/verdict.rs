//! What was wrong with what came back: how much of it, and the first findings, for people to read.

use std::fmt;

use crate::escape::Payload;

/// How many findings are kept to be shown.
pub(crate) const SHOWN: usize = 10;

/// What comparing has come to, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Compared, whatever came of it.
    pub(crate) checked: u64,
    /// Came back as others.
    pub(crate) mismatched: u64,
    /// Never came back, though later ones did.
    pub(crate) missing: u64,
    /// Came back once more, or were never sent.
    pub(crate) surplus: u64,
    /// Those of them that came before anything was sent on their connection.
    pub(crate) greeting: u64,
    /// Replies that ended with their connection before any byte of them.
    pub(crate) empty_replies: u64,
    /// The first findings.
    pub(crate) findings: Vec<Finding>,
    /// Replies that were not as expected, and the first of them.
    pub(crate) wrong_replies: u64,
    pub(crate) replies: Vec<WrongReply>,
    /// The first datagrams that were not as expected, in words.
    pub(crate) notes: Vec<String>,
}

impl Verdict {
    #[cfg(test)]
    pub(crate) fn is_clean(&self) -> bool {
        self.mismatched == 0 && self.missing == 0 && self.surplus == 0
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.checked += other.checked;
        self.mismatched += other.mismatched;
        self.missing += other.missing;
        self.surplus += other.surplus;
        self.greeting += other.greeting;
        self.empty_replies += other.empty_replies;
        let room = SHOWN.saturating_sub(self.findings.len());
        self.findings.extend(other.findings.iter().take(room).copied());
        self.wrong_replies += other.wrong_replies;
        let room = SHOWN.saturating_sub(self.replies.len());
        self.replies.extend(other.replies.iter().take(room).cloned());
        let room = SHOWN.saturating_sub(self.notes.len());
        self.notes.extend(other.notes.iter().take(room).cloned());
    }

    /// Keeps these words to be shown, if there is room.
    pub(crate) fn note(&mut self, words: impl FnOnce() -> String) {
        if self.notes.len() < SHOWN {
            self.notes.push(words());
        }
    }

    /// What was found, in words.
    pub(crate) fn told(&self) -> Vec<String> {
        let replies = self.replies.iter().map(ToString::to_string);
        let findings = self.findings.iter().map(ToString::to_string);
        replies.chain(findings).chain(self.notes.iter().cloned()).take(SHOWN).collect()
    }

    pub(crate) fn find(&mut self, wrong: Wrong, stream: u64, offset: u64, count: u64) {
        if count == 0 {
            return;
        }
        *match wrong {
            Wrong::Mismatched => &mut self.mismatched,
            Wrong::Missing => &mut self.missing,
            Wrong::Surplus | Wrong::Greeting => &mut self.surplus,
        } += count;
        self.greeting += if wrong == Wrong::Greeting { count } else { 0 };
        // What comes in pieces is one finding; where nothing was asked for, all of it has one
        // place.
        if let Some(last) = self.findings.last_mut()
            && (last.wrong, last.stream) == (wrong, stream)
            && (last.offset + last.count == offset
                || matches!(wrong, Wrong::Surplus | Wrong::Greeting) && last.offset == offset)
        {
            last.count += count;
        } else if self.findings.len() < SHOWN {
            self.findings.push(Finding { wrong, stream, offset, count });
        }
    }
}

/// What can be wrong with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    Mismatched,
    Missing,
    Surplus,
    /// Came before anything was sent: too many, too.
    Greeting,
}

/// Some bytes that are wrong, at an offset of what a connection has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) wrong: Wrong,
    pub(crate) stream: u64,
    pub(crate) offset: u64,
    pub(crate) count: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wrong, stream, offset, count } = self;
        let what = match wrong {
            Wrong::Mismatched => "changed",
            Wrong::Missing => "missing",
            Wrong::Surplus => "too many",
            Wrong::Greeting => "came before anything was sent",
        };
        let unit = if *count == 1 { "byte" } else { "bytes" };
        write!(f, "connection {stream}, offset {offset}: {count} {unit} {what}")
    }
}

/// How many bytes of a wrong reply are kept to be shown, and as many of what was expected: one more
/// than is shown, so that a longer one is marked.
pub(super) const KEPT: usize = 65;

/// A reply that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrongReply {
    pub(super) stream: u64,
    /// The message that it answers, of those of its connection, from 0 on.
    pub(super) message: u64,
    /// The first byte that differs.
    pub(super) offset: u64,
    /// What came from there on, and what was expected: the first bytes of both.
    pub(super) came: Vec<u8>,
    pub(super) expected: Vec<u8>,
}

impl fmt::Display for WrongReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Part<'a>(&'a [u8]);
        impl fmt::Display for Part<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if self.0.is_empty() { f.write_str("its end") } else { Payload(self.0).fmt(f) }
            }
        }
        let Self { stream, message, offset, came, expected } = self;
        write!(
            f,
            "connection {stream}, message {message}: the reply differs at offset {offset}: {}, \
             expected {}",
            Part(came),
            Part(expected)
        )
    }
}
