//! Full buffers, compared with the real kernel: how much they take is its own affair, but whoever
//! was told `EAGAIN` gets an edge, and the streams are whole.
//!
//! One connection with small buffers, both ends registered edge-triggered. Each end sends until
//! `EAGAIN`, or less; each reads until `EAGAIN`, or less. The model is told how much was taken and
//! how much was read, and says what is read and how the connection ends.
//!
//! While an end waits for an edge, whoever's receive buffer is full reads. Else the edge may not
//! come for long, and that is no fault: an end without room for what it is sent drops the segments,
//! and with them the ACK and the window that they carry (`tcp_validate_incoming`), until they are
//! sent again, later each time.
//!
//! Receive buffers are not the smallest that there are: with less than a segment of loopback, which
//! has 64 KiB, streams go on by the timer of zero windows alone (`tcp_probe_timer`), which takes
//! seconds.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use edgeloop::epoll::{Epoll, Events, Interest, Mode, Token};
use edgeloop::sim::Random;
use edgeloop::sim::internals::{Link, Side};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt};

use super::PATIENCE;
use super::call::Family;
use super::real::readiness;

const SIDES: [Side; 2] = [Side::Ours, Side::Theirs];

/// What each end is registered for.
const ALL: Interest = Interest::READABLE
    .union(Interest::WRITABLE)
    .union(Interest::PRIORITY)
    .union(Interest::PEER_CLOSED);

/// The most rounds of a script.
const ROUNDS: usize = 5;

/// One connection, real and modelled.
struct Comparison {
    ends: [OwnedFd; 2],
    epoll: Epoll,
    events: Events,
    link: Link,
    /// Edges that were reported and not used yet: of input, of room.
    edges: [[bool; 2]; 2],
    /// Each end was told `EAGAIN` by its last receive, by its last send.
    again: [[bool; 2]; 2],
    /// How much is on the way to each end.
    owed: [usize; 2],
}

const INPUT: usize = 0;
const ROOM: usize = 1;

/// Runs one script on both.
pub(super) fn compare(random: &mut Random, family: Family) -> Result<(), String> {
    let sizes = (random.pick(&[1, 20_000]), random.pick(&[20_000, 60_000]));
    let mut comparison = Comparison::new(family, sizes).map_err(|error| error.to_string())?;
    let compared = comparison.run(random);
    compared.map_err(|what| format!("{what}, of {family:?} with buffers of {sizes:?} bytes"))
}

impl Comparison {
    /// With buffers of these sizes, to send from and to receive into.
    fn new(family: Family, (send, receive): (usize, usize)) -> io::Result<Self> {
        let (ends, link) = match family {
            Family::Tcp => (tcp_pair()?, Link::new(1 << 30)),
            Family::Unix => {
                let (ours, theirs) = UnixStream::pair()?;
                ([ours.into(), theirs.into()], Link::unix(1 << 30))
            }
        };
        let epoll = Epoll::new()?;
        for (end, token) in ends.iter().zip(0..) {
            sockopt::set_socket_recv_buffer_size(end, receive)?;
            sockopt::set_socket_send_buffer_size(end, send)?;
            ioctl_fionbio(end, true)?;
            epoll.add(end, Token(token), ALL, Mode::Edge)?;
        }
        Ok(Self {
            ends,
            epoll,
            events: Events::with_capacity(2),
            link,
            edges: [[false; 2]; 2],
            again: [[false; 2]; 2],
            owed: [0; 2],
        })
    }

    fn run(&mut self, random: &mut Random) -> Result<(), String> {
        for _ in 0..random.size(1, ROUNDS) {
            let side = random.pick(&SIDES);
            // Whoever was told EAGAIN and was not woken since doesn't try again.
            if !self.again[side as usize][ROOM] || self.edges[side as usize][ROOM] {
                self.fill(side, random)?;
            }
            let reader = random.pick(&SIDES);
            if random.chance(500) {
                self.drain(reader, random.size(0, 100_000))?;
            }
            if random.chance(700) {
                self.expect_room(side)?;
            }
        }
        self.expect_end(random)
    }

    /// Sends until EAGAIN, or less.
    fn fill(&mut self, side: Side, random: &mut Random) -> Result<(), String> {
        let end = side as usize;
        self.edges[end][ROOM] = false;
        self.again[end][ROOM] = false;
        let most = random.pick(&[10, 10_000, usize::MAX]);
        let mut sent = 0;
        while sent < most {
            let length = random.size(1, 30_000).min(most - sent);
            let first = random.next();
            let bytes: Vec<u8> = (0_u64..length as u64)
                .map(|at| first.wrapping_add(at * 7).to_le_bytes()[0])
                .collect();
            match send(&self.ends[end], &bytes, SendFlags::NOSIGNAL) {
                Ok(count) => {
                    let taken = self.link.send(side, &bytes[..count]);
                    if taken != Ok(count) {
                        return Err(format!("{count} bytes are taken and not {taken:?}"));
                    }
                    sent += count;
                    self.owed[side.other() as usize] += count;
                }
                Err(Errno::AGAIN) => {
                    self.again[end][ROOM] = true;
                    break;
                }
                Err(error) => return Err(format!("a send fails with {error:?}")),
            }
        }
        // Somebody who found nothing must hear that there is something now.
        let other = side.other() as usize;
        if sent > 0 && self.again[other][INPUT] {
            self.expect_edge(side.other(), INPUT)?;
        }
        Ok(())
    }

    /// Reads so many bytes, or until EAGAIN.
    fn drain(&mut self, side: Side, most: usize) -> Result<(), String> {
        let end = side as usize;
        let mut read = 0;
        while read < most {
            let mut bytes = [0; 5000];
            self.edges[end][INPUT] = false;
            self.again[end][INPUT] = false;
            match recv(&self.ends[end], &mut bytes[..], RecvFlags::empty()) {
                Ok((count, _)) if count > 0 => {
                    self.has_read(side, &bytes[..count])?;
                    read += count;
                }
                Err(Errno::AGAIN) => {
                    self.again[end][INPUT] = true;
                    break;
                }
                other => return Err(format!("a receive answers {other:?}")),
            }
        }
        Ok(())
    }

    /// Reads as much as was sent, waiting for edges only.
    fn drain_all(&mut self, side: Side) -> Result<(), String> {
        while self.owed[side as usize] > 0 {
            if self.again[side as usize][INPUT] {
                self.expect_edge(side, INPUT)?;
            }
            self.drain(side, self.owed[side as usize])?;
        }
        Ok(())
    }

    /// What the real kernel has given, the model gives as well.
    fn has_read(&mut self, side: Side, bytes: &[u8]) -> Result<(), String> {
        while self.link.has_news(side.other()) {
            let _ = self.link.deliver(side.other(), usize::MAX);
        }
        let mut expected = Vec::new();
        let _ = self.link.receive(side, bytes.len(), |piece| expected.extend_from_slice(piece));
        if expected != bytes {
            return Err(format!("{side:?} reads other bytes than the model"));
        }
        self.owed[side as usize] -= bytes.len();
        Ok(())
    }

    /// If this end was told EAGAIN, it hears of room once the other has read everything.
    fn expect_room(&mut self, side: Side) -> Result<(), String> {
        if self.again[side as usize][ROOM] {
            self.drain_all(side.other())?;
            self.expect_edge(side, ROOM)?;
        }
        Ok(())
    }

    /// Waits for an edge, unless it has been reported.
    fn expect_edge(&mut self, side: Side, what: usize) -> Result<(), String> {
        // Whose full receive buffer may keep it from hearing of the other's ACKs and window.
        let deaf = if what == ROOM { side } else { side.other() };
        let begin = Instant::now();
        self.take_events(Duration::ZERO)?;
        while !self.edges[side as usize][what] {
            self.drain(deaf, self.owed[deaf as usize])?;
            let left = PATIENCE.saturating_sub(begin.elapsed());
            if left == Duration::ZERO {
                let (what, owed) = (["input", "room"][what], self.owed);
                let says = SIDES.map(|side| readiness(&self.ends[side as usize]));
                return Err(format!(
                    "after EAGAIN, {side:?} gets no edge for {what}; poll says {says:?}, and \
                     {owed:?} bytes are not read"
                ));
            }
            self.take_events(left)?;
        }
        Ok(())
    }

    /// Waits so long for events, and notes what they say.
    fn take_events(&mut self, longest: Duration) -> Result<(), String> {
        let waited = self.epoll.wait(&mut self.events, Some(longest));
        waited.map_err(|error| error.to_string())?;
        for event in &self.events {
            let edges = &mut self.edges[usize::from(event.token() != Token(0))];
            edges[INPUT] |= event.readiness().is_readable();
            edges[ROOM] |= event.readiness().is_writable();
        }
        Ok(())
    }

    /// Everything is read, both streams are ended, and both sides say so.
    fn expect_end(&mut self, random: &mut Random) -> Result<(), String> {
        for side in SIDES {
            self.drain_all(side)?;
            self.expect_room(side.other())?;
        }
        let first = random.pick(&SIDES);
        for side in [first, first.other()] {
            shutdown(&self.ends[side as usize], Shutdown::Write).map_err(|e| e.to_string())?;
            self.link.shut_down(side).map_err(|error| error.to_string())?;
            let _ = self.link.deliver(side, usize::MAX);
            let begin = Instant::now();
            while SIDES
                .iter()
                .any(|&side| readiness(&self.ends[side as usize]) != self.link.readiness(side))
            {
                if begin.elapsed() > PATIENCE {
                    return Err("the ends are not what the model says".to_owned());
                }
                std::thread::yield_now();
            }
        }
        for side in SIDES {
            let read = recv(&self.ends[side as usize], &mut [0; 8][..], RecvFlags::empty());
            let expected = self.link.receive(side, 8, |_| {});
            if read.map(|(count, _)| count) != expected {
                return Err(format!("at the end {read:?} and not {expected:?} is received"));
            }
        }
        Ok(())
    }
}

/// Both ends of a connection over loopback.
fn tcp_pair() -> io::Result<[OwnedFd; 2]> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let theirs = TcpStream::connect(listener.local_addr()?)?;
    let (ours, _) = listener.accept()?;
    for end in [&ours, &theirs] {
        end.set_nodelay(true)?;
    }
    Ok([ours.into(), theirs.into()])
}
