//! One of two ends that a proxy joins: it says a stream of its own, and keeps what it hears.

use std::time::Duration;

use rustix::io::Errno;

use crate::api::time::Time;
use crate::sim::peers::client::byte;
use crate::sim::peers::place::{Place, Stage};
use crate::sim::{Link, Random, Side};

/// When a talker says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As soon as there is room.
    Free,
    /// When it has heard as much as it has said, or to the end.
    Asks,
    /// As much as it has heard, and its end behind the other's.
    Answers,
}

/// How a talker reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Whatever has come.
    AtWill,
    /// Byte by byte.
    Slowly,
    /// Only when it can't say anything.
    Last,
    /// A little, and then nothing for a while.
    Lazily,
}

/// How a talker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// It ends its stream when it has said all, and reads on.
    Finishes,
    /// The same, behind the end of the other one's stream.
    FinishesLast,
    /// It closes when it has said all, whatever comes.
    Closes,
    /// It resets the connection when it has said half.
    Resets,
    /// It says all and does nothing more, nor does it ever read.
    Vanishes,
}

/// How what a talker hears came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// By a FIN.
    End,
    /// By a reset.
    Reset,
}

/// How much a lazy one reads at once, at the most.
const LITTLE: usize = 20;

#[derive(Debug, Clone)]
pub struct Talker {
    pub pace: Pace,
    pub reads: Reads,
    pub parting: Parting,
    /// It makes one byte in eight urgent.
    pub urgent: bool,
    /// For how long it rests at the most, if it is lazy.
    pub rests: Duration,
    seed: u64,
    length: u64,
    /// How much of its stream it has said, and whether the FIN is out.
    pub sent: u64,
    pub ended: bool,
    /// What it has heard, and how that ended.
    pub received: Vec<u8>,
    pub heard: Option<Heard>,
    /// A send has failed.
    broken: bool,
    rests_until: Time,
}

impl Talker {
    /// One that sends `length` bytes, if it does not answer.
    pub fn new(length: u64, random: &mut Random) -> Self {
        Self {
            pace: Pace::Free,
            reads: Reads::AtWill,
            parting: Parting::Finishes,
            urgent: false,
            rests: Duration::ZERO,
            seed: random.next(),
            length,
            sent: 0,
            ended: false,
            received: Vec::new(),
            heard: None,
            broken: false,
            rests_until: Time::ZERO,
        }
    }

    /// Whether it says all that it has to say, hears all that is said to it, and takes no time.
    pub const fn is_honest(&self) -> bool {
        matches!(self.parting, Parting::Finishes | Parting::FinishesLast)
            && !matches!(self.reads, Reads::Lazily)
    }

    /// Whether these are the first bytes of its stream.
    pub fn says(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 <= self.sent && (0..).zip(bytes).all(|(at, &it)| it == self.byte(at))
    }

    const fn byte(&self, at: u64) -> u8 {
        byte(self.seed, at)
    }

    pub(crate) const fn is_quiet(&self) -> bool {
        matches!(self.parting, Parting::Vanishes)
    }

    pub(crate) const fn deadline(&self) -> Time {
        self.rests_until
    }

    pub(crate) fn can_act(&self, link: &Link, now: Time) -> bool {
        self.wants_to_send(link) || self.wants_to_receive(link, now) || self.wants_to_part()
    }

    fn wants_to_send(&self, link: &Link) -> bool {
        self.left() > 0 && link.readiness(Side::Theirs).is_writable()
    }

    /// How much it would say now.
    fn left(&self) -> u64 {
        let heard = self.received.len() as u64;
        if self.broken || self.ended {
            return 0;
        }
        match self.pace {
            Pace::Asks if heard < self.sent && self.heard.is_none() => 0,
            Pace::Free | Pace::Asks => self.length - self.sent,
            Pace::Answers => heard - self.sent,
        }
    }

    fn wants_to_receive(&self, link: &Link, now: Time) -> bool {
        let reads = match self.reads {
            Reads::Last => !self.wants_to_send(link),
            _ => self.rests_until <= now,
        };
        let reads = reads && self.heard.is_none() && self.parting != Parting::Vanishes;
        reads && link.readiness(Side::Theirs).is_readable()
    }

    /// Whether it has said all.
    fn is_done(&self) -> bool {
        let done = match self.pace {
            Pace::Answers => self.heard.is_some() && self.sent == self.received.len() as u64,
            Pace::Free | Pace::Asks => self.sent == self.length,
        };
        done || self.broken
    }

    fn wants_to_part(&self) -> bool {
        match self.parting {
            Parting::Finishes => !self.ended && self.is_done(),
            Parting::FinishesLast => !self.ended && self.is_done() && self.heard.is_some(),
            Parting::Closes => self.is_done(),
            Parting::Resets => self.sent >= self.length / 2 || self.is_done(),
            Parting::Vanishes => false,
        }
    }

    /// Does one of the things that it can do.
    pub(crate) fn act(
        &mut self,
        place: &mut Place,
        link: &mut Link,
        random: &mut Random,
        now: Time,
    ) {
        let receives = self.wants_to_receive(link, now);
        if self.wants_to_send(link) && (!receives || random.chance(500)) {
            self.send(link, random);
        } else if receives {
            self.receive(link, random, now);
        } else {
            self.part(place, link);
        }
        let is_over = self.ended && self.heard.is_some();
        if is_over || self.heard == Some(Heard::Reset) {
            self.leave(place, link, false);
        }
    }

    fn send(&mut self, link: &mut Link, random: &mut Random) {
        let left = usize::try_from(self.left()).unwrap_or(usize::MAX);
        // No more is made than is taken.
        let count = random.size(1, left).min(link.room(Side::Theirs).max(1));
        let bytes: Vec<u8> = (self.sent..).take(count).map(|at| self.byte(at)).collect();
        let sent = if self.urgent && random.chance(125) {
            link.send_urgent(Side::Theirs, bytes[0])
        } else {
            link.send(Side::Theirs, &bytes)
        };
        match sent {
            Ok(count) => self.sent += count as u64,
            Err(Errno::AGAIN) => {}
            // What has come is still read.
            Err(_) => self.broken = true,
        }
    }

    fn receive(&mut self, link: &mut Link, random: &mut Random, now: Time) {
        let most = match self.reads {
            Reads::Slowly => 1,
            Reads::Lazily => random.size(1, LITTLE),
            Reads::AtWill | Reads::Last => random.size(1, 5000),
        };
        if self.reads == Reads::Lazily {
            self.rests_until = now.after(random.share(self.rests));
        }
        let received = &mut self.received;
        match link.receive(Side::Theirs, most, |bytes| received.extend_from_slice(bytes)) {
            // The send has taken the error.
            Ok(0) if self.broken => self.heard = Some(Heard::Reset),
            Ok(0) => self.heard = Some(Heard::End),
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(_) => self.heard = Some(Heard::Reset),
        }
    }

    fn part(&mut self, place: &mut Place, link: &mut Link) {
        match self.parting {
            Parting::Resets => self.leave(place, link, true),
            Parting::Closes => {
                self.ended = true;
                self.leave(place, link, false);
            }
            Parting::Finishes | Parting::FinishesLast | Parting::Vanishes => {
                self.ended = true;
                // If the connection is dead, the next receive says so.
                let _ = link.shut_down(Side::Theirs);
            }
        }
    }

    fn leave(&self, place: &mut Place, link: &mut Link, resets: bool) {
        link.close(Side::Theirs, resets);
        place.stage = Stage::Gone { at_the_end: self.heard == Some(Heard::End) };
    }
}
