//! Peers that follow a script of their user's.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;

use super::faults::name;
use super::peer::{Place, Stage};
use super::world::START;
use super::{Link, Random, Side, Woken};
use crate::time::Time;

/// What one peer does, step by step: it connects, and then sends, waits and expects.
///
/// Each step begins when the one before is done. How its bytes are cut into segments, when they
/// arrive, and how much it reads at once is the simulation's choice. Behind the last step it ends
/// its stream with a FIN, unless it has, and reads to the end of the other one; what it received in
/// all is in the [`Report`](super::Report).
///
/// A step that can't be done ends the simulation with a [`Failure`](super::Failure), unless a fault
/// has broken the connection before.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use edgeloop::sim::Script;
///
/// let client = Script::new()
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
    connects_to: Option<SocketAddr>,
    connects_after: Duration,
    steps: Vec<Step>,
}

/// A step of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Send(Vec<u8>),
    SendUrgent(u8),
    Wait(Duration),
    Expect(Vec<u8>),
    Receive(usize),
    ExpectEnd,
    ExpectReset,
    Finish,
    Close,
    Reset,
    Vanish,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(bytes) => write!(f, "sends {}", Shown(bytes)),
            Self::SendUrgent(byte) => write!(f, "sends {} as urgent", Shown(&[*byte])),
            Self::Wait(duration) => write!(f, "waits {duration:?}"),
            Self::Expect(bytes) => write!(f, "expects {}", Shown(bytes)),
            Self::Receive(count) => write!(f, "receives {count} bytes"),
            Self::ExpectEnd => f.write_str("expects the end"),
            Self::ExpectReset => f.write_str("expects a reset"),
            Self::Finish => f.write_str("ends its stream"),
            Self::Close => f.write_str("closes"),
            Self::Reset => f.write_str("resets"),
            Self::Vanish => f.write_str("has vanished"),
        }
    }
}

/// Bytes for people to read: escaped, and the first of them only.
struct Shown<'a>(&'a [u8]);

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
        Self { connects_to: None, connects_after: Duration::ZERO, steps: Vec::new() }
    }

    /// Connects to this listener of several, and not to the first.
    pub const fn connect_to(mut self, listener: SocketAddr) -> Self {
        self.connects_to = Some(listener);
        self
    }

    /// Connects so long after the beginning.
    pub const fn connect_after(mut self, after: Duration) -> Self {
        self.connects_after = after;
        self
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Sends all these bytes. If the connection ends meanwhile the rest is dropped, and the next
    /// step shows how it ended.
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Sends one byte with the urgent mark (`MSG_OOB`).
    pub fn send_urgent(self, byte: u8) -> Self {
        self.then(Step::SendUrgent(byte))
    }

    /// Does nothing, for so long by the simulated clock, which then jumps.
    pub fn wait(self, duration: Duration) -> Self {
        self.then(Step::Wait(duration))
    }

    /// Reads exactly these bytes.
    pub fn expect(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Expect(bytes.as_ref().to_vec()))
    }

    /// Reads so many bytes, whatever they are.
    pub fn receive(self, count: usize) -> Self {
        self.then(Step::Receive(count))
    }

    /// Reads the end of the stream, and nothing before it. The peer has closed then.
    pub fn expect_end(self) -> Self {
        self.then(Step::ExpectEnd)
    }

    /// Reads whatever comes, up to a reset.
    pub fn expect_reset(self) -> Self {
        self.then(Step::ExpectReset)
    }

    /// Ends its own stream (a FIN), and goes on reading.
    pub fn finish(self) -> Self {
        self.then(Step::Finish)
    }

    /// Closes. What it has not read makes that a reset, as in every kernel.
    pub fn close(self) -> Self {
        self.then(Step::Close)
    }

    /// Resets the connection; what it has sent and what has not arrived is lost.
    pub fn reset(self) -> Self {
        self.then(Step::Reset)
    }

    /// Is heard of no more: it reads nothing, sends nothing, and stays.
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
    /// A fault of the simulation broke its connection first.
    LetDown,
}

/// A script on its way.
#[derive(Debug)]
pub(crate) struct Player {
    script: Script,
    /// Which of its peers this is, to name it.
    number: usize,
    /// The step it is at, and how many bytes of that are done.
    at: usize,
    progress: usize,
    /// Since when it waits.
    since: Option<Time>,
    /// Its own stream has ended.
    finished: bool,
    /// What a send found the connection broken with.
    broken: Option<Errno>,
    received: Vec<u8>,
    ending: Option<Ending>,
}

impl Player {
    pub(crate) const fn new(number: usize, script: Script) -> Self {
        Self {
            script,
            number,
            at: 0,
            progress: 0,
            since: None,
            finished: false,
            broken: None,
            received: Vec::new(),
            ending: None,
        }
    }

    pub(crate) const fn wants(&self) -> Option<SocketAddr> {
        self.script.connects_to
    }

    pub(crate) fn connects_at(&self) -> Time {
        START.after(self.script.connects_after)
    }

    fn step(&self) -> Option<&Step> {
        self.script.steps.get(self.at)
    }

    pub(crate) fn can_act(&self, link: &Link, now: Time) -> bool {
        let readiness = link.readiness(Side::Theirs);
        match self.step() {
            Some(Step::Send(_) | Step::SendUrgent(_)) => readiness.is_writable(),
            Some(Step::Wait(_)) => self.since.is_none() || self.deadline() <= now,
            Some(Step::Finish | Step::Close | Step::Reset) => true,
            Some(Step::Vanish) => false,
            Some(Step::Expect(_) | Step::Receive(_) | Step::ExpectEnd | Step::ExpectReset) => {
                readiness.is_readable()
            }
            None => !self.finished || readiness.is_readable(),
        }
    }

    /// When its waiting ends.
    pub(crate) fn deadline(&self) -> Time {
        match (self.step(), self.since) {
            (Some(&Step::Wait(duration)), Some(since)) => since.after(duration),
            _ => Time::NEVER,
        }
    }

    /// Whether it is at its end, though connected.
    pub(crate) fn is_quiet(&self) -> bool {
        self.step() == Some(&Step::Vanish)
    }

    /// What it has received, and how it ended.
    pub(crate) fn into_result(self, place: &Place) -> (Vec<u8>, Ending) {
        let otherwise = if place.excused { Ending::LetDown } else { Ending::Vanished };
        (self.received, self.ending.unwrap_or(otherwise))
    }

    fn next(&mut self) {
        self.at += 1;
        self.progress = 0;
        self.since = None;
    }

    fn leave(&mut self, place: &mut Place, link: &mut Link, abort: bool, ending: Ending) {
        link.close(Side::Theirs, abort);
        place.stage = Stage::Gone { at_the_end: false };
        self.ending = Some(ending);
    }

    /// Does a part of its step.
    pub(crate) fn act(
        &mut self,
        place: &mut Place,
        link: &mut Link,
        random: &mut Random,
        now: Time,
    ) -> Result<Woken, String> {
        match self.step() {
            Some(Step::Send(bytes)) => {
                let rest = &bytes[self.progress..];
                let last = rest.len();
                let count = if rest.is_empty() { 0 } else { random.size(1, rest.len()) };
                let sent = link.send(Side::Theirs, &rest[..count]);
                self.has_sent(sent, last);
            }
            Some(&Step::SendUrgent(byte)) => {
                let sent = link.send_urgent(Side::Theirs, byte);
                self.has_sent(sent, 1);
            }
            Some(Step::Wait(_)) if self.since.is_none() => self.since = Some(now),
            Some(Step::Wait(_)) => self.next(),
            Some(Step::Finish) => {
                self.finish(link);
                self.next();
            }
            Some(Step::Close) => self.leave(place, link, false, Ending::Done),
            Some(Step::Reset) => self.leave(place, link, true, Ending::Done),
            Some(Step::Vanish) => {}
            None if !self.finished => self.finish(link),
            Some(Step::Expect(_) | Step::Receive(_) | Step::ExpectEnd | Step::ExpectReset)
            | None => self.receive(place, link, random)?,
        }
        Ok(Woken::default())
    }

    fn finish(&mut self, link: &mut Link) {
        self.finished = true;
        // If the connection is dead, the next receive says so.
        let _ = link.shut_down(Side::Theirs);
    }

    /// A send of a step of which so much was left was answered so.
    fn has_sent(&mut self, answer: Result<usize, Errno>, left: usize) {
        match answer {
            Ok(count) if count == left => self.next(),
            Ok(count) => self.progress += count,
            Err(Errno::AGAIN) if left == 0 => self.next(),
            Err(Errno::AGAIN) => {}
            Err(error) => {
                self.broken = Some(error);
                self.next();
            }
        }
    }

    /// Reads as much as its step asks for, at most.
    fn receive(
        &mut self,
        place: &mut Place,
        link: &mut Link,
        random: &mut Random,
    ) -> Result<(), String> {
        let wanted = match self.step() {
            Some(Step::Expect(bytes)) => bytes.len() - self.progress,
            Some(Step::Receive(count)) => count - self.progress,
            Some(Step::ExpectEnd) => 1,
            _ => 5000,
        };
        if wanted == 0 {
            self.next();
            return Ok(());
        }
        let most = random.size(1, wanted);
        let before = self.received.len();
        let received = &mut self.received;
        let answer = link.receive(Side::Theirs, most, |piece| received.extend_from_slice(piece));
        match answer {
            Ok(0) => self.at_the_end(place, link, self.broken),
            Err(Errno::AGAIN) => Ok(()),
            Err(error) => self.at_the_end(place, link, Some(error)),
            Ok(count) => self.has_received(count, before),
        }
    }

    fn has_received(&mut self, count: usize, before: usize) -> Result<(), String> {
        let new = &self.received[before..];
        let done = match self.step() {
            Some(Step::Expect(bytes)) => {
                if new != &bytes[self.progress..self.progress + count] {
                    let got = &self.received[before - self.progress..];
                    return Err(self.says(&format!("and got {}", Shown(got))));
                }
                self.progress + count == bytes.len()
            }
            Some(&Step::Receive(all)) => self.progress + count == all,
            Some(Step::ExpectEnd) => return Err(self.says(&format!("and got {}", Shown(new)))),
            _ => return Ok(()),
        };
        self.progress += count;
        if done {
            self.next();
        }
        Ok(())
    }

    /// Nothing more comes: the stream has ended, or the connection is broken.
    fn at_the_end(
        &mut self,
        place: &mut Place,
        link: &mut Link,
        error: Option<Errno>,
    ) -> Result<(), String> {
        let fits = match (self.step(), error) {
            (Some(Step::ExpectEnd) | None, None)
            | (Some(Step::ExpectReset), Some(Errno::CONNRESET | Errno::PIPE)) => true,
            _ => place.excused,
        };
        if !fits {
            let how = error.map_or_else(|| "the end".to_owned(), name);
            let step = self.step();
            let got = match step {
                Some(Step::Expect(_) | Step::Receive(_)) if self.progress > 0 => {
                    let got = &self.received[self.received.len() - self.progress..];
                    format!("and got {} and then {how}", Shown(got))
                }
                _ => format!("and got {how}"),
            };
            return Err(self.says(&got));
        }
        let last = self.at + 1 >= self.script.steps.len();
        let all = last && (error.is_none() || self.step().is_some());
        if !all && !place.excused {
            return Err(self.says("but it has more to do"));
        }
        let ending = if all { Ending::Done } else { Ending::LetDown };
        self.leave(place, link, false, ending);
        Ok(())
    }

    /// A sentence on where it is.
    fn says(&self, what: &str) -> String {
        let number = self.number;
        match self.step() {
            Some(step) => format!("peer {number}, step {}: it {step}, {what}", self.at),
            None => format!("peer {number} reads to the end, {what}"),
        }
    }

    /// What it waits for, when nothing can happen any more.
    pub(crate) fn waits(&self) -> String {
        match self.progress {
            0 => self.says("and waits"),
            some => self.says(&format!("has done {some} bytes of that, and waits")),
        }
    }
}
