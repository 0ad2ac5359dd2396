//! A client of an echo server that checks what comes back.

use std::time::Duration;

use rustix::io::Errno;

use crate::api::address::Address;
use crate::api::time::Time;
use crate::sim::peers::place::{Place, Stage};
use crate::sim::{Link, Random, Side, Woken};

/// How a peer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sends and receives as it comes, ends its stream, and expects everything back.
    Fair,
    /// Receives byte by byte.
    Slow,
    /// Sends as long as it can before it receives anything.
    Greedy,
    /// Makes one byte in eight urgent.
    Urgent,
    /// Resets the connection when it has sent half.
    Resetting,
    /// Closes when it has sent all, whatever has come.
    Deaf,
    /// Sends, and neither receives nor says anything more.
    Vanishing,
    /// Connects and says nothing.
    Silent,
    /// Says nothing either, and gets what other threads of the server send it.
    Subscriber,
    /// Sends little at a time, reads at once, and waits for the answer before it says more.
    Light,
    /// Reads a little, and then nothing for a while, though never for so long that it is given up.
    Lazy,
}

impl Kind {
    pub const ALL: [Self; 11] = [
        Self::Fair,
        Self::Slow,
        Self::Greedy,
        Self::Urgent,
        Self::Resetting,
        Self::Deaf,
        Self::Vanishing,
        Self::Silent,
        Self::Subscriber,
        Self::Light,
        Self::Lazy,
    ];

    const fn is_owed_all(self) -> bool {
        matches!(
            self,
            Self::Fair | Self::Slow | Self::Greedy | Self::Urgent | Self::Subscriber | Self::Light
        )
    }
}

#[derive(Debug)]
pub struct Client {
    pub kind: Kind,
    seed: u64,
    length: u64,
    sent: u64,
    pub received: u64,
    /// What the server sent it of its own accord.
    pub pushed: u64,
    /// What more it would have sent, but for the connection, which was ending.
    pub doubtful: u64,
    /// Whether the server may end the connection before all has come back.
    pub may_be_left: bool,
    /// The address that it connects to, if not the first.
    pub wants: Option<Address>,
    /// The server has paused reading from it for good.
    pub abandoned: bool,
    /// For how long it rests at the most, and until when it does.
    pub rests: Duration,
    rests_until: Time,
    /// The end of its stream is out.
    ended: bool,
}

/// What a light client sends at once, and in all, at the most.
const LITTLE: usize = 20;
const LIGHT: usize = 200;

/// The byte at a position of a peer's stream.
pub(crate) const fn byte(seed: u64, position: u64) -> u8 {
    let mixed =
        (seed ^ position.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (mixed >> 56) as u8
}

impl Client {
    /// One of any of these kinds.
    pub fn of_any(kinds: &[Kind], is_meant: impl Fn(&Kind) -> bool, random: &mut Random) -> Self {
        let kind = loop {
            let kind = random.pick(kinds);
            if is_meant(&kind) {
                break kind;
            }
        };
        let length = match kind {
            Kind::Silent => 0,
            Kind::Light | Kind::Lazy => random.size(1, LIGHT) as u64,
            _ => random.size(0, 3000) as u64,
        };
        Self::of(kind, length, random)
    }

    /// One with so many bytes to send.
    pub fn of(kind: Kind, length: u64, random: &mut Random) -> Self {
        Self {
            kind,
            seed: random.next(),
            length,
            sent: 0,
            received: 0,
            pushed: 0,
            doubtful: 0,
            may_be_left: false,
            wants: None,
            abandoned: false,
            rests: Duration::ZERO,
            rests_until: Time::ZERO,
            ended: false,
        }
    }

    /// Whether it is owed every byte of its stream.
    pub const fn is_owed_all(&self, place: &Place) -> bool {
        self.kind.is_owed_all() && !place.excused
    }

    /// Whether it can do anything now.
    pub(crate) fn can_act(&self, link: &Link, now: Time) -> bool {
        self.wants_to_send(link) || self.wants_to_receive(link, now) || self.wants_to_end()
    }

    /// Until when it rests, if it does.
    pub(crate) const fn deadline(&self) -> Time {
        self.rests_until
    }

    fn wants_to_send(&self, link: &Link) -> bool {
        self.kind != Kind::Subscriber
            && (self.kind != Kind::Light || self.received == self.sent)
            && self.sent < self.length
            && link.readiness(Side::Theirs).is_writable()
    }

    fn wants_to_receive(&self, link: &Link, now: Time) -> bool {
        let patient = match self.kind {
            Kind::Vanishing | Kind::Deaf => return false,
            _ if self.abandoned => return false,
            Kind::Greedy => self.sent == self.length || !self.wants_to_send(link),
            _ => self.rests_until <= now,
        };
        patient && link.readiness(Side::Theirs).is_readable()
    }

    fn wants_to_end(&self) -> bool {
        match self.kind {
            Kind::Resetting => self.sent >= self.length / 2,
            Kind::Deaf => self.sent == self.length,
            Kind::Vanishing | Kind::Silent => false,
            Kind::Subscriber => self.received == self.length && !self.ended,
            _ => self.sent == self.length && !self.ended,
        }
    }

    /// What another thread of the server would send it now, at most so many bytes.
    pub(crate) fn next_mail(&self, most: usize) -> Option<Vec<u8>> {
        let wants = self.kind == Kind::Subscriber && self.received == self.pushed;
        let end = self.length.min(self.pushed + most as u64);
        (wants && self.pushed < self.length)
            .then(|| (self.pushed..end).map(|at| byte(self.seed, at)).collect())
    }

    /// So much of it is in the mailbox.
    pub(crate) const fn mailed(&mut self, count: usize) {
        self.pushed += count as u64;
        self.sent = self.pushed;
    }

    /// Does one of the things that it can do. Answers who is woken, or what is wrong.
    pub(crate) fn act(
        &mut self,
        place: &mut Place,
        link: &mut Link,
        random: &mut Random,
        now: Time,
    ) -> Result<Woken, String> {
        let sends = self.wants_to_send(link);
        let receives = self.wants_to_receive(link, now);
        if sends && (!receives || random.chance(500)) {
            self.send(place, link, random);
        } else if receives {
            if self.kind == Kind::Lazy {
                // As long as it may, so that only the last try before it is given up finds room.
                let longest = random.chance(300);
                let rest = if longest { self.rests } else { random.share(self.rests * 2 / 3) };
                self.rests_until = now.after(rest);
            }
            return self.receive(place, link, random).map(|()| Woken::default());
        } else {
            self.end(place, link);
        }
        Ok(Woken::default())
    }

    fn send(&mut self, place: &mut Place, link: &mut Link, random: &mut Random) {
        let left = usize::try_from(self.length - self.sent).unwrap_or(usize::MAX);
        let left = if self.kind == Kind::Light { left.min(LITTLE) } else { left };
        // No more is made than is taken.
        let count = random.size(1, left).min(link.room(Side::Theirs).max(1));
        let bytes: Vec<u8> =
            (self.sent..self.sent + count as u64).map(|at| byte(self.seed, at)).collect();
        let urgent = self.kind == Kind::Urgent && random.chance(125);
        let sent = if urgent {
            link.send_urgent(Side::Theirs, bytes[0])
        } else if link.is_unix() && random.chance(125) {
            link.send_with_descriptors(Side::Theirs, &bytes)
        } else {
            link.send(Side::Theirs, &bytes)
        };
        match sent {
            Ok(count) => self.sent += count as u64,
            Err(Errno::AGAIN) => {}
            Err(_) => leave(place, link, false),
        }
    }

    fn receive(
        &mut self,
        place: &mut Place,
        link: &mut Link,
        random: &mut Random,
    ) -> Result<(), String> {
        let most = match self.kind {
            Kind::Slow => 1,
            // A Unix socket's sender has no more room before a whole message is read.
            Kind::Lazy if link.is_unix() => usize::MAX,
            Kind::Lazy => random.size(1, LITTLE),
            _ => random.size(1, 5000),
        };
        let (seed, mut at) = (self.seed, self.received);
        let mut wrong = None;
        let answer = link.receive(Side::Theirs, most, |bytes| {
            for &got in bytes {
                if got != byte(seed, at) && wrong.is_none() {
                    wrong = Some(at);
                }
                at += 1;
            }
        });
        self.received = at;
        if let Some(at) = wrong {
            return Err(format!("the byte at {at} came back changed: {place:?}, {self:?}"));
        }
        if self.received > self.sent {
            return Err(format!("more came back than was sent: {self:?}"));
        }
        match answer {
            Ok(0) if self.is_owed_all(place) && !self.may_be_left && !self.has_all() => {
                Err(format!("its stream ended early: {place:?}, {self:?}"))
            }
            Ok(0) => {
                leave(place, link, true);
                Ok(())
            }
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) if self.is_owed_all(place) => Err(format!("{error}: {place:?}, {self:?}")),
            Err(_) => {
                leave(place, link, false);
                Ok(())
            }
        }
    }

    fn end(&mut self, place: &mut Place, link: &mut Link) {
        match self.kind {
            Kind::Resetting => {
                link.close(Side::Theirs, true);
                place.stage = Stage::Gone { at_the_end: false };
            }
            Kind::Deaf => leave(place, link, false),
            _ => {
                self.ended = true;
                // If the connection is dead, the next receive says so.
                let _ = link.shut_down(Side::Theirs);
            }
        }
    }

    /// The server will never read from it again: it says nothing more, or loses patience.
    pub const fn is_abandoned(&mut self, resets: bool) {
        self.abandoned = true;
        self.kind = if resets { Kind::Resetting } else { Kind::Vanishing };
        self.length = self.sent;
    }

    /// Whether all that it is owed has come, and all that it has to say was said.
    pub(crate) fn has_all(&self) -> bool {
        self.received == self.length && self.sent == self.length
    }

    /// Whether it says nothing more, and reads nothing more.
    pub(crate) const fn is_quiet(&self) -> bool {
        matches!(self.kind, Kind::Vanishing | Kind::Silent)
    }
}

fn leave(place: &mut Place, link: &mut Link, at_the_end: bool) {
    link.close(Side::Theirs, false);
    place.stage = Stage::Gone { at_the_end };
}
