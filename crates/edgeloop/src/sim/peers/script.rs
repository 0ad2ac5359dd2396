//! Peers that follow a script of their user's: what a script says.

use std::fmt;
use std::time::Duration;

use crate::api::address::Address;

/// What one peer does, step by step: it connects, and then sends, waits and expects.
///
/// A [`name`](Self::name), [`connect_to`](Self::connect_to),
/// [`connect_after`](Self::connect_after), [`patience`](Self::patience) and
/// [`may_end`](Self::may_end) are settings, and hold for the whole script, wherever they stand. All
/// else are steps.
///
/// Each step begins when the one before is done. How its bytes are cut into segments, when they
/// arrive, and how much it reads at once is the simulation's choice. Behind the last step it ends
/// its stream with a FIN, unless it has, reads the other stream to its end, whatever comes, and
/// closes. What it received in all is in the [`Report`](crate::sim::Report).
///
/// A step that can't be done ends the simulation with a [`Failure`](crate::sim::Failure), unless a
/// fault has broken the connection before.
///
/// # Panics
///
/// Where a step can't follow the ones before: nothing follows a
/// [`close`](Self::close), a [`reset`](Self::reset), a [`vanish`](Self::vanish), an
/// [`expect_reset`](Self::expect_reset) or an [`expect_refused`](Self::expect_refused); nothing is
/// sent behind a [`finish`](Self::finish), and nothing read behind an
/// [`expect_end`](Self::expect_end).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use edgeloop::sim::Script;
///
/// let client = Script::new()
///     .name("alice")
///     .send("PING\n")
///     .expect("PONG\n")
///     .wait(Duration::from_secs(3600))
///     .send("QUIT\n")
///     .expect_end();
/// # drop(client);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a script does nothing until a simulation has it"]
pub struct Script {
    pub(crate) name: Option<String>,
    pub(crate) connects_to: Option<Address>,
    pub(crate) connects_after: Duration,
    /// How long an expectation may take.
    pub(crate) patience: Option<Duration>,
    /// Whether the server may end the connection before the script is done.
    pub(crate) may_end: bool,
    /// Whether the loop's connect is left without an answer.
    pub(crate) never_answers: bool,
    pub(crate) steps: Vec<Step>,
}

/// A step of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Send(Vec<u8>),
    SendUrgent(u8),
    SendWithDescriptor(Vec<u8>),
    Wait(Duration),
    Expect(Vec<u8>),
    /// What is sent, and what is expected meanwhile.
    Exchange(Vec<u8>, Vec<u8>),
    Receive(usize),
    ReceiveUntil(u8),
    ExpectSilence(Duration),
    ExpectEnd,
    ExpectReset,
    ExpectRefused,
    Finish,
    Close,
    Reset,
    Vanish,
}

impl Step {
    /// Whether it is about what the peer is sent.
    pub(crate) const fn reads(&self) -> bool {
        match self {
            Self::Expect(_)
            | Self::Exchange(..)
            | Self::Receive(_)
            | Self::ReceiveUntil(_)
            | Self::ExpectSilence(_)
            | Self::ExpectEnd
            | Self::ExpectReset => true,
            Self::Send(_)
            | Self::SendUrgent(_)
            | Self::SendWithDescriptor(_)
            | Self::Wait(_)
            | Self::ExpectRefused
            | Self::Finish
            | Self::Close
            | Self::Reset
            | Self::Vanish => false,
        }
    }

    const fn is_last(&self) -> bool {
        matches!(
            self,
            Self::ExpectReset | Self::ExpectRefused | Self::Close | Self::Reset | Self::Vanish
        )
    }

    /// Why it can't follow these.
    fn obstacle(&self, before: &[Self]) -> Option<String> {
        if let Some(last) = before.last().filter(|last| last.is_last()) {
            return Some(format!("nothing can follow a peer that {last}"));
        }
        let sends = matches!(
            self,
            Self::Send(_)
                | Self::SendUrgent(_)
                | Self::SendWithDescriptor(_)
                | Self::Exchange(..)
                | Self::Finish
        );
        if sends && before.contains(&Self::Finish) {
            return Some(format!("a peer that {} before can't do so", Self::Finish));
        }
        if self.reads() && before.contains(&Self::ExpectEnd) {
            return Some(format!("nothing comes behind what a peer {} before", Self::ExpectEnd));
        }
        (*self == Self::ExpectRefused && !before.is_empty())
            .then(|| "a connection is refused before anything else".to_owned())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(bytes) => write!(f, "sends {}", Shown(bytes)),
            Self::SendUrgent(byte) => write!(f, "sends {} as urgent", Shown(&[*byte])),
            Self::SendWithDescriptor(bytes) => {
                write!(f, "sends {} with a descriptor", Shown(bytes))
            }
            Self::Wait(duration) => write!(f, "waits {duration:?}"),
            Self::Expect(bytes) => write!(f, "expects {}", Shown(bytes)),
            Self::Exchange(out, answer) => {
                write!(f, "sends {} and meanwhile expects {}", Shown(out), Shown(answer))
            }
            Self::Receive(count) => write!(f, "receives {count} bytes"),
            Self::ReceiveUntil(byte) => write!(f, "receives up to {}", Shown(&[*byte])),
            Self::ExpectSilence(duration) => write!(f, "expects silence for {duration:?}"),
            Self::ExpectEnd => f.write_str("expects the end of the stream"),
            Self::ExpectReset => f.write_str("expects a reset"),
            Self::ExpectRefused => f.write_str("expects to be refused"),
            Self::Finish => f.write_str("ends its stream"),
            Self::Close => f.write_str("closes"),
            Self::Reset => f.write_str("resets"),
            Self::Vanish => f.write_str("vanishes"),
        }
    }
}

/// Bytes for people to read: escaped, and the first of them only.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 60;
        let (first, rest) = self.0.split_at(self.0.len().min(MOST));
        write!(f, "\"{}\"", first.escape_ascii())?;
        if rest.is_empty() { Ok(()) } else { write!(f, " and {} bytes more", rest.len()) }
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::new()
    }
}

impl Script {
    /// A peer that connects at the beginning.
    pub const fn new() -> Self {
        Self {
            name: None,
            connects_to: None,
            connects_after: Duration::ZERO,
            patience: None,
            may_end: false,
            never_answers: false,
            steps: Vec::new(),
        }
    }

    /// As the other end of a connect of the loop: says nothing at all, so that the connect timeout
    /// is what ends it. At a Unix address, its backlog is full for good. None of the steps is done,
    /// and its [`Ending`] is [`Cut`](Ending::Cut). A peer that connects by itself is not changed by
    /// it.
    pub const fn never_answers(mut self) -> Self {
        self.never_answers = true;
        self
    }

    /// What the peer is called in failures, in traces and in the report. Without a name it is
    /// `peer 0` and so on, by the order in which peers were added.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Connects to this listener of several, and not to the first.
    pub fn connect_to(mut self, listener: impl Into<Address>) -> Self {
        self.connects_to = Some(listener.into());
        self
    }

    /// Connects so long after the beginning.
    pub const fn connect_after(mut self, after: Duration) -> Self {
        self.connects_after = after;
        self
    }

    /// How long each step that expects or receives something may take by the simulated clock, the
    /// whole of it. Without, it may take as long as the run.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Lets the server end, reset or refuse the connection at any step. That ends the script, and
    /// its [`Ending`] is [`Cut`](Ending::Cut).
    pub const fn may_end(mut self) -> Self {
        self.may_end = true;
        self
    }

    #[track_caller]
    fn then(mut self, step: Step) -> Self {
        if let Some(obstacle) = step.obstacle(&self.steps) {
            panic!("a script can't go on with a peer that {step}: {obstacle}");
        }
        self.steps.push(step);
        self
    }

    /// Sends all these bytes, and reads nothing meanwhile. If the connection ends, the rest is
    /// dropped, and the next step shows how it ended.
    ///
    /// A server that answers at once fills the buffers of a peer that sends much before it reads,
    /// and then stops reading, too: see [`exchange`](Self::exchange).
    #[track_caller]
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Sends one byte with the urgent mark (`MSG_OOB`).
    #[track_caller]
    pub fn send_urgent(self, byte: u8) -> Self {
        self.then(Step::SendUrgent(byte))
    }

    /// Sends these bytes in one message that brings a descriptor (`SCM_RIGHTS`), as far as they
    /// have room; the rest follows without. Over TCP no descriptor comes with them.
    #[track_caller]
    pub fn send_with_descriptor(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::SendWithDescriptor(bytes.as_ref().to_vec()))
    }

    /// Does nothing and reads nothing, for so long by the simulated clock.
    #[track_caller]
    pub fn wait(self, duration: Duration) -> Self {
        self.then(Step::Wait(duration))
    }

    /// Reads exactly these bytes. Others fail the run as soon as the first of them is read.
    #[track_caller]
    pub fn expect(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Expect(bytes.as_ref().to_vec()))
    }

    /// Sends all these bytes, and reads exactly that answer meanwhile.
    #[track_caller]
    pub fn exchange(self, bytes: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) -> Self {
        self.then(Step::Exchange(bytes.as_ref().to_vec(), answer.as_ref().to_vec()))
    }

    /// Reads so many bytes, whatever they are.
    #[track_caller]
    pub fn receive(self, count: usize) -> Self {
        self.then(Step::Receive(count))
    }

    /// Reads up to and including the first `delimiter`, and nothing behind it.
    #[track_caller]
    pub fn receive_until(self, delimiter: u8) -> Self {
        self.then(Step::ReceiveUntil(delimiter))
    }

    /// For so long by the simulated clock, nothing comes: no byte, no end, no reset.
    #[track_caller]
    pub fn expect_silence(self, duration: Duration) -> Self {
        self.then(Step::ExpectSilence(duration))
    }

    /// Reads the end of the stream, and no byte before it. The peer's own stream goes on: behind
    /// this it may still send, wait, close, reset or vanish.
    #[track_caller]
    pub fn expect_end(self) -> Self {
        self.then(Step::ExpectEnd)
    }

    /// Reads whatever comes, up to a reset. Over a Unix socket a server that resets is seen to
    /// close: its reset is an end, unless it has left something unread.
    #[track_caller]
    pub fn expect_reset(self) -> Self {
        self.then(Step::ExpectReset)
    }

    /// Its connect is refused, because nothing listens any more.
    #[track_caller]
    pub fn expect_refused(self) -> Self {
        self.then(Step::ExpectRefused)
    }

    /// Ends its own stream (a FIN), and goes on reading.
    #[track_caller]
    pub fn finish(self) -> Self {
        self.then(Step::Finish)
    }

    /// Closes. What has arrived and was not read makes that a reset, as in every kernel.
    #[track_caller]
    pub fn close(self) -> Self {
        self.then(Step::Close)
    }

    /// Resets the connection; what it has sent and what has not arrived is lost. Over a Unix socket
    /// that is a close.
    #[track_caller]
    pub fn reset(self) -> Self {
        self.then(Step::Reset)
    }

    /// Is heard of no more: it reads nothing, sends nothing, and stays connected.
    #[track_caller]
    pub fn vanish(self) -> Self {
        self.then(Step::Vanish)
    }
}

/// How a peer came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// Every step was done.
    Done,
    /// It vanished, as its script says, and was connected still.
    Vanished,
    /// The server ended its connection, and its script says that it [may](Script::may_end); or gave
    /// up a connection to it before it was made.
    Cut,
    /// A fault of the simulation broke its connection first.
    Broken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect_panic(build: impl FnOnce() -> Script, words: &str) {
        let built = std::panic::catch_unwind(std::panic::AssertUnwindSafe(build));
        let payload = built.expect_err("the script is refused");
        assert_eq!(payload.downcast_ref::<String>().map(String::as_str), Some(words));
    }

    #[test]
    fn steps_that_can_not_follow_are_refused_where_they_are_written() {
        expect_panic(
            || Script::new().close().send("a"),
            "a script can't go on with a peer that sends \"a\": nothing can follow a peer that closes",
        );
        expect_panic(
            || Script::new().finish().send_urgent(b'!'),
            "a script can't go on with a peer that sends \"!\" as urgent: a peer that ends its \
             stream before can't do so",
        );
        expect_panic(
            || Script::new().expect_end().receive(1),
            "a script can't go on with a peer that receives 1 bytes: nothing comes behind what a \
             peer expects the end of the stream before",
        );
        expect_panic(
            || Script::new().send("a").expect_refused(),
            "a script can't go on with a peer that expects to be refused: a connection is refused \
             before anything else",
        );
        for last in [Script::reset, Script::vanish, Script::expect_reset, Script::expect_refused] {
            let built = std::panic::catch_unwind(|| last(Script::new()).wait(Duration::ZERO));
            assert!(built.is_err());
        }
    }

    #[test]
    fn long_bytes_are_shown_by_their_beginning() {
        assert_eq!(Shown(b"a\n\x00").to_string(), "\"a\\n\\x00\"");
        assert_eq!(
            Shown(&[b'x'; 70]).to_string(),
            format!("\"{}\" and 10 bytes more", "x".repeat(60))
        );
    }
}
