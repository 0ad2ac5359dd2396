//! A script on its way: which step it is at, and what became of it.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;

use crate::api::address::Address;
use crate::api::closed::Closed;
use crate::api::time::Time;
use crate::sim::clock::START;
use crate::sim::faults::name;
use crate::sim::journal::Journal;
use crate::sim::peers::place::{Place, Stage};
use crate::sim::peers::script::{Ending, Script, Shown, Step};
use crate::sim::{Link, Random, Side, Woken};

/// How many bytes are read at once where it does not matter.
const MUCH: usize = 5000;

/// Plays one script.
pub struct Player {
    script: Box<Script>,
    name: String,
    /// The step it is at, and how many bytes of that are done.
    at: usize,
    progress: usize,
    /// How many bytes it has sent in an exchange.
    sent: usize,
    /// When that step began; `None` before it has connected.
    since: Option<Time>,
    /// Its own stream has ended.
    finished: bool,
    /// It has read to the end of the other one.
    at_end: bool,
    /// What a send found the connection broken with.
    broken: Option<Errno>,
    received: Vec<u8>,
    ending: Option<Ending>,
    /// What the handler was told of the connection's end.
    pub(crate) closed: Option<Closed>,
    /// A step of it could not be done.
    failed: bool,
    journal: Rc<Journal>,
}

impl std::fmt::Debug for Player {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Player").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a receive came to.
enum Got {
    Bytes(usize),
    Nothing,
    /// The end of the stream, or an error.
    Over(Option<Errno>),
}

/// How what came differs from what was expected, first at this byte. Of long ones the part that
/// differs is shown.
fn difference(got: &[u8], wanted: &[u8], at: usize) -> String {
    const NEAR: usize = 30;
    if at < NEAR {
        return format!("got {}", Shown(got));
    }
    let (got, wanted) = (Shown(&got[at..]), Shown(&wanted[at..]));
    format!("got the first {at} bytes of that, and then {got} instead of {wanted}")
}

impl Player {
    /// Plays a script, which without a name of its own has this one.
    pub(crate) fn new(name: String, mut script: Script, journal: &Rc<Journal>) -> Self {
        Self {
            name: script.name.take().unwrap_or(name),
            script: Box::new(script),
            at: 0,
            progress: 0,
            sent: 0,
            since: None,
            finished: false,
            at_end: false,
            broken: None,
            received: Vec::new(),
            ending: None,
            closed: None,
            failed: false,
            journal: Rc::clone(journal),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn wants(&self) -> Option<&Address> {
        self.script.connects_to.as_ref()
    }

    pub(crate) fn connects_at(&self) -> Time {
        START.after(self.script.connects_after)
    }

    /// Whether a step could not be done.
    pub(crate) const fn has_failed(&self) -> bool {
        self.failed
    }

    fn step(&self) -> Option<&Step> {
        self.script.steps.get(self.at)
    }

    /// Whether there is anything that it could read and has not.
    fn can_read(&self, link: &Link) -> bool {
        !self.at_end && link.readiness(Side::Theirs).is_readable()
    }

    pub(crate) fn can_act(&self, link: &Link, now: Time) -> bool {
        if self.failed {
            // The run is over; what it would do now only confuses.
            return false;
        }
        if self.since.is_none() {
            return true;
        }
        match self.step() {
            Some(Step::Expect(bytes)) if bytes.is_empty() => true,
            Some(Step::Send(_) | Step::SendUrgent(_) | Step::SendWithDescriptor(_)) => {
                link.readiness(Side::Theirs).is_writable()
            }
            Some(Step::Exchange(out, _)) if self.can_send(out, link) => true,
            Some(Step::Vanish) => false,
            Some(
                Step::Receive(0) | Step::Finish | Step::Close | Step::Reset | Step::ExpectRefused,
            ) => true,
            Some(_) => self.deadline() <= now || self.can_read_in_step(link),
            None => !self.finished || link.readiness(Side::Theirs).is_readable(),
        }
    }

    fn can_read_in_step(&self, link: &Link) -> bool {
        match self.step() {
            // What comes behind the answer is for the next step.
            Some(Step::Exchange(out, answer)) if self.progress == answer.len() => {
                self.sent == out.len() || (self.broken.is_some() && self.can_read(link))
            }
            step => step.is_some_and(Step::reads) && self.can_read(link),
        }
    }

    /// Whether there is more of this to send, and room for it.
    fn can_send(&self, out: &[u8], link: &Link) -> bool {
        let rest = self.sent < out.len() && self.broken.is_none();
        rest && link.readiness(Side::Theirs).is_writable()
    }

    /// When its waiting, or its patience, ends.
    pub(crate) fn deadline(&self) -> Time {
        let Some(since) = self.since else { return Time::NEVER };
        match self.step() {
            Some(&Step::Wait(duration) | &Step::ExpectSilence(duration)) => since.after(duration),
            Some(step) if step.reads() => {
                self.script.patience.map_or(Time::NEVER, |patience| since.after(patience))
            }
            _ => Time::NEVER,
        }
    }

    /// Whether it is at its end, though connected.
    pub(crate) fn is_quiet(&self) -> bool {
        self.step() == Some(&Step::Vanish)
    }

    /// Its name, what it has received, how it ended, and what the handler was told of that.
    pub(crate) fn into_result(self, place: &Place) -> (String, Vec<u8>, Ending, Option<Closed>) {
        let otherwise = match place.excused {
            true => Ending::Broken,
            false if self.is_quiet() => Ending::Vanished,
            false => Ending::Cut,
        };
        (self.name, self.received, self.ending.unwrap_or(otherwise), self.closed)
    }

    fn tell(&self, now: Time, what: impl FnOnce() -> String) {
        self.journal.tell(now.since(START), || format!("{} {}", self.name, what()));
    }

    /// Goes on to the next step, which begins now.
    fn next(&mut self, now: Time) {
        self.at += 1;
        self.progress = 0;
        self.sent = 0;
        self.since = Some(now);
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
        let done = self.act_in_step(place, link, random, now);
        self.failed |= done.is_err();
        done.map(|()| Woken::default())
    }

    fn act_in_step(
        &mut self,
        place: &mut Place,
        link: &mut Link,
        random: &mut Random,
        now: Time,
    ) -> Result<(), String> {
        if self.since.is_none() {
            self.since = Some(now);
            self.tell(now, || "is connected".to_owned());
            return Ok(());
        }
        match self.step() {
            Some(Step::Send(bytes)) => {
                let rest = &bytes[self.progress..];
                let last = rest.len();
                let sent = self.send(rest, link, random, now);
                self.has_sent(sent, last, now);
            }
            Some(Step::Exchange(out, _))
                if self.can_send(out, link)
                    && (!self.can_read_in_step(link) || random.chance(500)) =>
            {
                match self.send(&out[self.sent..], link, random, now) {
                    Ok(count) => self.sent += count,
                    Err(Errno::AGAIN) => {}
                    Err(error) => self.broken = Some(error),
                }
            }
            Some(step @ &Step::SendUrgent(byte)) => {
                self.tell(now, || step.to_string());
                let sent = link.send_urgent(Side::Theirs, byte);
                self.has_sent(sent, 1, now);
            }
            Some(step @ Step::SendWithDescriptor(bytes)) => {
                self.tell(now, || step.to_string());
                let rest = &bytes[self.progress..];
                let last = rest.len();
                let sent = match self.progress {
                    0 => link.send_with_descriptors(Side::Theirs, rest),
                    _ => link.send(Side::Theirs, rest),
                };
                self.has_sent(sent, last, now);
            }
            Some(Step::Wait(_)) => self.next(now),
            Some(step @ Step::Finish) => {
                self.tell(now, || step.to_string());
                self.finish(link);
                self.next(now);
            }
            Some(step @ (Step::Close | Step::Reset)) => {
                self.tell(now, || step.to_string());
                let abort = *step == Step::Reset;
                self.leave(place, link, abort, Ending::Done);
            }
            Some(Step::Vanish) => {}
            Some(Step::ExpectRefused) => return Err(self.says("but is connected")),
            None if !self.finished => {
                self.tell(now, || Step::Finish.to_string());
                self.finish(link);
            }
            Some(_) | None => self.read(place, link, random, now)?,
        }
        Ok(())
    }

    /// Sends a piece of these bytes.
    fn send(
        &self,
        rest: &[u8],
        link: &mut Link,
        random: &mut Random,
        now: Time,
    ) -> Result<usize, Errno> {
        let whole = rest.is_empty() || self.journal.calm.get();
        let count = if whole { rest.len() } else { random.size(1, rest.len()) };
        let sent = link.send(Side::Theirs, &rest[..count]);
        self.tell(now, || match sent {
            Ok(sent) => format!("sends {}", Shown(&rest[..sent])),
            Err(error) => format!("sends, and is told {}", name(error)),
        });
        sent
    }

    fn finish(&mut self, link: &mut Link) {
        self.finished = true;
        // If the connection is dead, the next receive says so.
        let _ = link.shut_down(Side::Theirs);
    }

    /// A send of a step of which so much was left was answered so.
    fn has_sent(&mut self, answer: Result<usize, Errno>, left: usize, now: Time) {
        match answer {
            Ok(count) if count == left => self.next(now),
            Ok(count) => self.progress += count,
            Err(Errno::AGAIN) if left == 0 => self.next(now),
            Err(Errno::AGAIN) => {}
            Err(error) => {
                self.broken = Some(error);
                self.next(now);
            }
        }
    }

    /// Reads as much as its step asks for, at most.
    fn read(
        &mut self,
        place: &mut Place,
        link: &mut Link,
        random: &mut Random,
        now: Time,
    ) -> Result<(), String> {
        let wanted = match self.step() {
            Some(Step::Expect(bytes)) => bytes.len() - self.progress,
            Some(Step::Receive(count)) => count - self.progress,
            // More than the answer is read only to learn how a connection broke.
            Some(Step::Exchange(out, answer)) => match answer.len() - self.progress {
                0 if self.sent < out.len() => 1,
                left => left,
            },
            // What comes behind it is for the next step.
            Some(Step::ReceiveUntil(_) | Step::ExpectEnd) => 1,
            _ => MUCH,
        };
        if wanted == 0 {
            self.next(now);
            return Ok(());
        }
        let most = if self.journal.calm.get() { wanted } else { random.size(1, wanted) };
        let before = self.received.len();
        match self.receive(link, most) {
            Got::Bytes(count) => {
                self.tell(now, || format!("receives {}", Shown(&self.received[before..])));
                self.has_received(count, now)
            }
            Got::Over(error) => {
                let told = |error| format!("is told {}", name(error));
                let how = error.map_or_else(|| "reads the end of the stream".to_owned(), told);
                self.tell(now, || how);
                self.is_over(place, link, error, now)
            }
            Got::Nothing if self.deadline() > now => Ok(()),
            Got::Nothing if matches!(self.step(), Some(Step::ExpectSilence(_))) => {
                self.next(now);
                Ok(())
            }
            Got::Nothing => Err(self.says(&format!("{}in {:?}", self.got(None), self.spent(now)))),
        }
    }

    fn receive(&mut self, link: &mut Link, most: usize) -> Got {
        if self.at_end && self.step().is_some() {
            return Got::Nothing;
        }
        let received = &mut self.received;
        match link.receive(Side::Theirs, most, |piece| received.extend_from_slice(piece)) {
            Ok(0) => Got::Over(self.broken),
            Err(Errno::AGAIN) => Got::Nothing,
            Err(error) => Got::Over(Some(error)),
            Ok(count) => Got::Bytes(count),
        }
    }

    /// How long its step has taken.
    fn spent(&self, now: Time) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// What this step has read.
    fn of_step(&self) -> &[u8] {
        &self.received[self.received.len() - self.progress..]
    }

    /// So many bytes more were received.
    fn has_received(&mut self, count: usize, now: Time) -> Result<(), String> {
        self.progress += count;
        let got = self.of_step();
        let done = match self.step() {
            Some(Step::Expect(bytes) | Step::Exchange(_, bytes)) => {
                if got.len() > bytes.len() {
                    return Err(self.says(&format!("got {} behind it", Shown(&got[bytes.len()..]))));
                }
                if let Some(at) = got.iter().zip(bytes).position(|(got, wanted)| got != wanted) {
                    return Err(self.says(&difference(got, bytes, at)));
                }
                let sent = match self.step() {
                    Some(Step::Exchange(out, _)) => self.sent == out.len(),
                    _ => true,
                };
                got.len() == bytes.len() && sent
            }
            Some(&Step::Receive(all)) => got.len() == all,
            Some(Step::ReceiveUntil(delimiter)) => got.last() == Some(delimiter),
            Some(Step::ExpectEnd) => return Err(self.says(&format!("got {}", Shown(got)))),
            Some(Step::ExpectSilence(_)) => {
                let spent = self.spent(now);
                return Err(self.says(&format!("got {} after {spent:?}", Shown(got))));
            }
            _ => false,
        };
        if done {
            self.next(now);
        }
        Ok(())
    }

    /// Nothing more comes: the stream has ended, or the connection is broken.
    fn is_over(
        &mut self,
        place: &mut Place,
        link: &mut Link,
        error: Option<Errno>,
        now: Time,
    ) -> Result<(), String> {
        let is_reset = matches!(error, Some(Errno::CONNRESET | Errno::PIPE));
        match self.step() {
            Some(Step::ExpectEnd) if error.is_none() => {
                self.at_end = true;
                self.next(now);
            }
            None if error.is_none() || self.at_end => self.leave(place, link, false, Ending::Done),
            Some(Step::ExpectReset) if is_reset => self.leave(place, link, false, Ending::Done),
            _ if place.excused => self.leave(place, link, false, Ending::Broken),
            _ if self.script.may_end => self.leave(place, link, false, Ending::Cut),
            step => {
                let how = error.map_or_else(|| "the end of the stream".to_owned(), name);
                let silent = matches!(step, Some(Step::ExpectSilence(_)));
                let when =
                    if silent { format!(" after {:?}", self.spent(now)) } else { String::new() };
                return Err(self.says(&format!("{}{when}", self.got(Some(&how)))));
            }
        }
        Ok(())
    }

    /// What this step has got, and then how it went on.
    fn got(&self, then: Option<&str>) -> String {
        match (self.progress, then) {
            (0, None) => "got nothing ".to_owned(),
            (0, Some(then)) => format!("got {then}"),
            (_, None) => format!("got {} and no more ", Shown(self.of_step())),
            (_, Some(then)) => format!("got {} and then {then}", Shown(self.of_step())),
        }
    }

    /// Where nothing listens any more, before it could connect.
    pub(crate) fn is_refused(&mut self, place: &mut Place) -> Result<(), String> {
        let ending = match self.step() {
            Some(Step::ExpectRefused) => Ending::Done,
            _ if self.script.may_end => Ending::Cut,
            _ => {
                self.failed = true;
                return Err(format!("{} is refused: nothing listens any more", self.name));
            }
        };
        place.stage = Stage::Gone { at_the_end: false };
        self.ending = Some(ending);
        Ok(())
    }

    /// A sentence on where it is.
    fn says(&self, what: &str) -> String {
        let (name, at, all) = (&self.name, self.at + 1, self.script.steps.len());
        match self.step() {
            Some(step) => format!("{name}, step {at} of {all}: {step}, {what}"),
            None => format!("{name}, behind its last step: reads to the end, {what}"),
        }
    }

    /// What it waits for, when nothing can happen any more.
    pub(crate) fn waits(&self) -> String {
        match (self.since, self.step()) {
            (None, _) => format!("{} is not connected", self.name),
            (_, Some(Step::Send(_))) if self.progress > 0 => {
                self.says(&format!("could send {} bytes of that, and waits", self.progress))
            }
            (_, Some(step)) if step.reads() => self.says(&format!("{}and waits", self.got(None))),
            _ => self.says("and waits"),
        }
    }

    /// The whole script, with a mark at the step that it is at.
    pub(crate) fn outline(&self) -> String {
        let mut text = format!("the script of {}:", self.name);
        for (index, step) in self.script.steps.iter().enumerate() {
            let mark = if index == self.at { '>' } else { ' ' };
            // Writing to a string does not fail.
            let _ = write!(text, "\n  {mark} {}. {step}", index + 1);
        }
        text
    }
}
