//! Who sends datagrams to the loop and receives its answers: one that checks its echo, or a script.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::api::time::Time;
use crate::sim::Random;
use crate::sim::peers::datagram_script::{DatagramPlayer, Sending};

/// What a correspondent does.
#[derive(Debug)]
pub enum Habit {
    Asker(Asker),
    Script(DatagramPlayer),
}

/// Somebody with an address.
#[derive(Debug)]
pub struct Correspondent {
    pub address: SocketAddr,
    pub habit: Habit,
}

impl Correspondent {
    /// When it does something next of its own accord.
    pub(crate) fn next(&self) -> Time {
        match &self.habit {
            Habit::Asker(asker) => asker.next,
            Habit::Script(player) => player.next(),
        }
    }

    /// Does it.
    pub(crate) fn act(&mut self, now: Time, random: &mut Random) -> Result<Sending, String> {
        match &mut self.habit {
            Habit::Asker(asker) => Ok(asker.act(now, random)),
            Habit::Script(player) => player.act(now),
        }
    }

    /// How many things it does at once.
    pub(crate) fn burst(&self, random: &mut Random) -> usize {
        match &self.habit {
            Habit::Asker(asker) if asker.gap.is_zero() => random.size(1, 50),
            _ => 1,
        }
    }

    /// A datagram arrives at it.
    pub(crate) fn hears(&mut self, from: SocketAddr, bytes: Vec<u8>) -> Result<(), String> {
        match &mut self.habit {
            Habit::Asker(asker) => asker.hears(from, &bytes),
            Habit::Script(player) => {
                player.hears(from, bytes);
                Ok(())
            }
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        match &self.habit {
            Habit::Asker(asker) => asker.left == 0,
            Habit::Script(player) => player.is_done(),
        }
    }

    /// What it waits for.
    pub(crate) fn waits(&self) -> String {
        match &self.habit {
            Habit::Asker(asker) => format!("{asker:?}"),
            Habit::Script(player) => player.waits(),
        }
    }
}

/// Sends datagrams of any length at any time, and expects of each that comes back that it was sent
/// there, and comes from there.
pub struct Asker {
    /// Where it sends to, by chance.
    to: Vec<SocketAddr>,
    /// How many it sends still, and when the next.
    left: usize,
    next: Time,
    /// How long it waits at the most between two. Without, it sends them all at once.
    gap: Duration,
    longest: usize,
    /// What it has sent.
    sent: Vec<(SocketAddr, Vec<u8>)>,
    /// How many answers came.
    pub answers: u64,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, next, answers, .. } = self;
        write!(f, "an asker with {left} to send from {next:?} on, and {answers} answers")
    }
}

impl Asker {
    /// One that sends this number of datagrams, none longer than this, from that time on.
    pub fn new(
        to: Vec<SocketAddr>,
        count: usize,
        longest: usize,
        begins: Time,
        gap: Duration,
    ) -> Self {
        Self { to, left: count, next: begins, gap, longest, sent: Vec::new(), answers: 0 }
    }

    fn act(&mut self, now: Time, random: &mut Random) -> Sending {
        self.left = self.left.checked_sub(1)?;
        self.next = if self.left == 0 { Time::NEVER } else { now.after(random.share(self.gap)) };
        let to = random.pick(&self.to);
        let length = match random.below(10) {
            0 => 0,
            // Some of one length follow each other, so that they may be joined.
            1..=4 => self.sent.last().map_or(1, |(_, last)| last.len()),
            _ => random.size(0, self.longest),
        };
        let bytes = random.bytes(length);
        self.sent.push((to, bytes.clone()));
        Some((to, bytes))
    }

    fn hears(&mut self, from: SocketAddr, bytes: &[u8]) -> Result<(), String> {
        self.answers += 1;
        let known = self.sent.iter().any(|(to, sent)| *to == from && sent == bytes);
        if known {
            return Ok(());
        }
        Err(format!("an answer of {} bytes comes from {from}, where none was due", bytes.len()))
    }
}
