//! Datagrams: the sockets of the loop for them, what is under way, and who sends and receives them
//! elsewhere.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::io::Errno;

use super::packets::Packets;
use super::{File, World};
use crate::api::datagram::{Datagram, DatagramSocket};
use crate::api::time::Time;
use crate::epoll::Readiness;
use crate::kernel::Received;
use crate::sim::model::epoll::ANYTHING;
use crate::sim::model::udp::{Message, UdpSocket, seen_by};
use crate::sim::peers::correspondent::Correspondent;
use crate::sim::world::SLACK;
use crate::sim::{Call, Fate};

/// What the loop promises: how many datagrams of a socket a turn shows before others have their
/// share (C13), and for how long it leaves a socket alone after how many errors in a row (C50).
const BUDGET: usize = 256;
const ERRORS_IN_A_ROW: u32 = 32;
const PAUSE: Duration = Duration::from_millis(100);

/// How much longer those take at the most that are overtaken.
const DELAY: Duration = Duration::from_millis(10);

/// Within what time a datagram that waits is received, whatever others do (C13).
const SOON: Duration = Duration::from_secs(1);

/// How many things that are due count as much as those of other peers do, at the most.
const WEIGHT: usize = 8;

/// How many datagrams arrive at once at the most.
const BURST: usize = 100;

/// The first port of the kernel's own choice.
const EPHEMERAL: u16 = 32_768;

/// A bound socket of the loop.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) socket: UdpSocket<Time>,
    /// What the loop calls it.
    id: Option<DatagramSocket>,
    /// An early EAGAIN is owed an edge.
    owed: bool,
    /// How many errors there were in a row, when the last was, and until when the loop has to leave
    /// the socket alone for that.
    errors: u32,
    failed_at: Time,
    quiet_until: Time,
    /// In which turn it was last received from, and how many datagrams and bytes then.
    turn: (u64, usize, usize),
}

impl Bound {
    fn waits_for_a_pause(&self) -> bool {
        self.errors > 0 && self.errors.is_multiple_of(ERRORS_IN_A_ROW)
    }
}

/// A datagram under way.
#[derive(Debug)]
struct Flight {
    message: Message,
    arrives: Time,
}

/// One that the loop has received and its handler is to be shown.
#[derive(Debug)]
struct Unshown {
    number: usize,
    id: Option<DatagramSocket>,
    from: SocketAddr,
    to: IpAddr,
    bytes: Vec<u8>,
}

/// A time in which calls on datagram sockets fail, each of them.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    pub begins: Time,
    pub ends: Time,
    pub error: Errno,
    /// Of sends, or of receives.
    pub sends: bool,
}

/// What became of datagrams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DatagramTally {
    /// Those that our kernel has put into a queue, and those for which that had no room.
    pub arrived: u64,
    pub overflowed: u64,
    /// Those that the handler was shown.
    pub shown: u64,
    /// Those that were lost with their socket, though they had waited when the drain began.
    pub lost: u64,
    /// Those that our kernel has taken, those for which it had no room, and those that it refused.
    pub sent: u64,
    pub dropped: u64,
    pub refused: u64,
    /// Errors of receiving.
    pub errors: u64,
}

/// All about datagrams.
#[derive(Debug)]
pub struct Datagrams {
    pub packets: Packets,
    /// The bounds of the receive buffers.
    pub room: (usize, usize),
    /// An edge comes only where nothing new waits.
    pub merges_edges: bool,
    pub outage: Option<Outage>,
    pub peers: Vec<Correspondent>,
    /// The handler was told that the loop drains.
    pub drains: bool,
    /// The handler closes a socket now.
    pub unbinds: bool,
    /// Turns begin once more behind panics, so that no budget of them holds.
    pub no_budget: bool,
    pub tally: DatagramTally,
    flights: Vec<Flight>,
    received: VecDeque<Unshown>,
    /// The descriptors of the loop's sockets.
    bound: Vec<usize>,
    next_port: u16,
}

impl Datagrams {
    pub(super) fn new() -> Self {
        Self {
            packets: Packets::orderly(),
            room: (200_000, 200_000),
            merges_edges: false,
            outage: None,
            peers: Vec::new(),
            drains: false,
            unbinds: false,
            no_budget: false,
            tally: DatagramTally::default(),
            flights: Vec::new(),
            received: VecDeque::new(),
            bound: Vec::new(),
            next_port: EPHEMERAL,
        }
    }

    /// Whether nobody has anything left to say, and nothing is under way.
    pub(super) fn are_done(&self) -> bool {
        self.flights.is_empty() && self.peers.iter().all(Correspondent::is_done)
    }

    /// How many datagrams were received that the handler was not shown.
    pub fn unshown(&self) -> usize {
        self.received.len()
    }

    /// When something happens next by itself.
    pub(super) fn next(&self) -> Time {
        let flights = self.flights.iter().map(|flight| flight.arrives);
        flights.chain(self.peers.iter().map(Correspondent::next)).min().unwrap_or(Time::NEVER)
    }

    fn fails(&self, now: Time, sends: bool) -> Result<(), Errno> {
        let is_out =
            |outage: &Outage| outage.sends == sends && (outage.begins..outage.ends).contains(&now);
        self.outage.filter(is_out).map_or(Ok(()), |outage| Err(outage.error))
    }

    /// How many flights and peers are due, as far as that counts.
    fn due(&self, now: Time) -> (usize, usize) {
        let flights = self.flights.iter().filter(|flight| flight.arrives <= now);
        let peers = self.peers.iter().filter(|peer| peer.next() <= now);
        (flights.take(WEIGHT).count(), peers.count())
    }
}

impl World {
    fn bound(&mut self, number: usize) -> &mut Bound {
        match &mut self.files.get_mut(number).file {
            File::Datagrams(bound) => bound,
            other => panic!("a call of datagrams is made on {other:?}"),
        }
    }

    fn owed(&self) -> impl Iterator<Item = usize> {
        self.datagrams.bound.iter().copied().filter(
            |&number| matches!(&self.files.get(number).file, File::Datagrams(bound) if bound.owed),
        )
    }

    // The loop's calls.

    /// bind(2).
    pub(crate) fn bind_datagrams(
        &mut self,
        number: usize,
        mut address: SocketAddr,
        ipv6_only: bool,
    ) -> Result<(), Errno> {
        let is_taken = |world: &Self, address: SocketAddr| {
            world.datagrams.bound.iter().any(|&other| {
                matches!(&world.files.get(other).file, File::Datagrams(bound)
                    if bound.socket.is_in_the_way_of(address, ipv6_only))
            })
        };
        while address.port() == 0 {
            let port = self.datagrams.next_port;
            self.datagrams.next_port = port.checked_add(1).unwrap_or(EPHEMERAL);
            let chosen = SocketAddr::new(address.ip(), port);
            if !is_taken(self, chosen) {
                address = chosen;
            }
        }
        if is_taken(self, address) {
            return Err(Errno::ADDRINUSE);
        }
        let (least, most) = self.datagrams.room;
        let room = if least == most { most } else { self.random.size(least, most) };
        let socket = UdpSocket::new(address, ipv6_only, room, self.datagrams.merges_edges);
        self.files.get_mut(number).file = File::Datagrams(Box::new(Bound {
            socket,
            id: None,
            owed: false,
            errors: 0,
            failed_at: Time::ZERO,
            quiet_until: Time::ZERO,
            turn: (0, 0, 0),
        }));
        self.datagrams.bound.push(number);
        Ok(())
    }

    pub(crate) fn datagram_address(&mut self, number: usize) -> SocketAddr {
        self.bound(number).socket.local()
    }

    pub(crate) fn is_named(&mut self, number: usize, id: DatagramSocket) {
        self.bound(number).id = Some(id);
    }

    /// recvmsg(2).
    pub(crate) fn receive_datagram(
        &mut self,
        number: usize,
        buffer: &mut [u8],
    ) -> Result<Received, Errno> {
        self.expect_to_receive(number);
        let answer = self.receive_one(number, buffer);
        let (now, read) = (self.now, self.clock_read);
        let bound = self.bound(number);
        if let Err(error) = answer
            && error != Errno::AGAIN
        {
            bound.errors += 1;
            bound.failed_at = now;
            if bound.waits_for_a_pause() {
                bound.quiet_until = read.after(PAUSE);
            }
            self.datagrams.tally.errors += 1;
        } else {
            (bound.errors, bound.quiet_until) = (0, Time::ZERO);
        }
        answer
    }

    fn receive_one(&mut self, number: usize, buffer: &mut [u8]) -> Result<Received, Errno> {
        self.datagrams.fails(self.now, false)?;
        let waits = !self.bound(number).socket.is_empty();
        if let Some(fault) = self.faults.meet(Call::ReceiveDatagram, 1, waits) {
            self.note(|| fault.to_string());
            let now = self.now;
            if let Fate::Fails(error) = fault.fate {
                return Err(error);
            }
            // What waits counts as having come just afterwards.
            let bound = self.bound(number);
            bound.owed = true;
            bound.socket.tags().for_each(|arrived| *arrived = now);
            return Err(Errno::AGAIN);
        }
        let bound = self.bound(number);
        let (id, local) = (bound.id, bound.socket.local());
        let (message, arrived) = bound.socket.receive()?;
        let (from, to) = (seen_by(local, message.from), seen_by(local, message.to).ip());
        let length = message.bytes.len();
        buffer[..length].copy_from_slice(&message.bytes);
        let failed_at = bound.failed_at;
        let turn = self.vigil.tally.waits;
        let so_far = &mut self.bound(number).turn;
        if so_far.0 != turn {
            *so_far = (turn, 0, 0);
        }
        so_far.1 += 1;
        so_far.2 += length;
        let since = arrived.max(failed_at);
        if self.now > since.after(SOON + SLACK + self.holds.since(since)) {
            let now = self.now;
            self.violated(|| format!("a datagram has waited since {arrived:?} until {now:?}"));
        }
        let bytes = message.bytes;
        self.datagrams.received.push_back(Unshown { number, id, from, to, bytes });
        Ok(Received { length, from, to, local: Some(to) })
    }

    /// The loop may receive there now: it has not had its share of the turn (C13), nor met errors
    /// for which it has to leave the socket alone (C50).
    fn expect_to_receive(&mut self, number: usize) {
        let (turn, read) = (self.vigil.tally.waits, self.clock_read);
        let most = self.vigil.budgets.bytes;
        // A drain tries once more.
        let stops = self.stopped.or(self.ended_at).is_some() || self.datagrams.drains;
        let bound = self.bound(number);
        let quiet = read < bound.quiet_until && !stops;
        let (of, datagrams, bytes) = bound.turn;
        let has_had_all = of == turn && (datagrams >= BUDGET || bytes >= most);
        if has_had_all && !self.datagrams.no_budget {
            self.violated(|| {
                format!("a turn receives more than {datagrams} datagrams of {bytes} bytes (C13)")
            });
        }
        if quiet {
            let what = "it receives though 32 calls have failed in the last 100 ms (C50)";
            self.violated(|| what.to_owned());
        }
    }

    /// sendmsg(2).
    pub(crate) fn send_datagram(
        &mut self,
        number: usize,
        to: SocketAddr,
        from: Option<IpAddr>,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        let answer = self.datagram_is_taken(number, to, from, bytes);
        let tally = &mut self.datagrams.tally;
        match answer {
            Ok(()) => tally.sent += 1,
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => tally.dropped += 1,
            Err(_) => tally.refused += 1,
        }
        answer
    }

    fn datagram_is_taken(
        &mut self,
        number: usize,
        to: SocketAddr,
        from: Option<IpAddr>,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        self.datagrams.fails(self.now, true)?;
        if let Some(fault) = self.faults.meet(Call::SendDatagram, 0, false) {
            self.note(|| fault.to_string());
            if let Fate::Fails(error) = fault.fate {
                return Err(error);
            }
        }
        let source = self.bound(number).socket.source(to, from, bytes.len())?;
        self.fly(source, to, bytes);
        Ok(())
    }

    // The network.

    /// A datagram is under way, if it isn't lost.
    fn fly(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let canonical =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (from, to) = (canonical(from), canonical(to));
        let Packets { lost, repeated, overtaken } = self.datagrams.packets;
        let happens = |world: &mut Self, often: usize| often > 0 && world.random.chance(often);
        if happens(self, lost) {
            return self.note(|| format!("a datagram from {from} to {to} is lost"));
        }
        let copies = 1 + usize::from(happens(self, repeated));
        for _ in 0..copies {
            let (least, most) = self.latency;
            let mut arrives = self.now.after(least + self.random.share(most - least));
            if happens(self, overtaken) {
                arrives = arrives.after(self.random.share(DELAY));
            }
            if overtaken == 0 {
                // None is faster than those before it.
                let last = self.datagrams.flights.iter().map(|flight| flight.arrives).max();
                arrives = arrives.max(last.unwrap_or(Time::ZERO));
            }
            let bytes = bytes.to_vec();
            self.datagrams.flights.push(Flight { message: Message { from, to, bytes }, arrives });
        }
    }

    /// How many things may happen to datagrams now.
    pub(super) fn datagram_steps(&self) -> usize {
        // Before the loop runs nobody says anything.
        if self.at_the_end.is_none() && self.ended_at.is_none() {
            return 0;
        }
        let (flights, peers) = self.datagrams.due(self.now);
        flights + peers + self.owed().count()
    }

    /// Lets one of these happen.
    pub(super) fn datagram_step(&mut self, chosen: usize) {
        let now = self.now;
        let (flights, peers) = self.datagrams.due(now);
        if chosen < flights {
            // One, or a burst of them.
            let most = if self.random.chance(200) { self.random.size(1, BURST) } else { 1 };
            (0..most).for_each(|_| self.next_arrives());
        } else if chosen < flights + peers {
            let is_due = |peer: &&mut Correspondent| peer.next() <= now;
            let Some(peer) = self.datagrams.peers.iter_mut().filter(is_due).nth(chosen - flights)
            else {
                return;
            };
            let from = peer.address;
            let mut sent = Vec::new();
            let mut wrong = None;
            for _ in 0..peer.burst(&mut self.random) {
                match peer.act(now, &mut self.random) {
                    Ok(sending) => sent.extend(sending),
                    Err(what) => wrong = wrong.or(Some(what)),
                }
            }
            for (to, bytes) in sent {
                self.note(|| format!("{from} sends {} bytes to {to}", bytes.len()));
                self.fly(from, to, &bytes);
            }
            if let Some(what) = wrong {
                self.violated(|| what);
            }
        } else {
            let owed = self.owed().nth(chosen - flights - peers);
            if let Some(number) = owed {
                self.bound(number).owed = false;
                self.wake(number, ANYTHING);
            }
        }
    }

    /// The first datagram arrives that is due, if any is.
    fn next_arrives(&mut self) {
        let now = self.now;
        let due = self.datagrams.flights.iter().enumerate();
        let due = due.filter(|(_, flight)| flight.arrives <= now);
        let first = due.min_by_key(|(_, flight)| flight.arrives).map(|(at, _)| at);
        if let Some(first) = first {
            let Flight { message, .. } = self.datagrams.flights.remove(first);
            self.arrives(message);
        }
    }

    fn arrives(&mut self, message: Message) {
        let taken = self.datagrams.bound.iter().copied().filter_map(|number| {
            let File::Datagrams(bound) = &self.files.get(number).file else { return None };
            Some((bound.socket.takes(message.to)?, number))
        });
        let (now, to) = (self.now, message.to);
        if let Some((_, number)) = taken.max_by_key(|&(score, _)| score) {
            let (has_room, edge) = self.bound(number).socket.arrive(message, now);
            self.datagrams.tally.arrived += u64::from(has_room);
            self.datagrams.tally.overflowed += u64::from(!has_room);
            if !has_room {
                self.note(|| format!("a datagram to {to} is dropped: the queue is full"));
            }
            if edge {
                self.wake(number, Readiness::IN);
            }
        } else if let Some(peer) = self.datagrams.peers.iter_mut().find(|peer| peer.address == to) {
            if let Err(what) = peer.hears(message.from, message.bytes) {
                self.violated(|| what);
            }
        } else {
            self.note(|| format!("a datagram arrives at {to}, where nobody is"));
        }
    }

    /// A socket is closed. What waits there is lost, and what was received of it is not shown any
    /// more.
    pub(super) fn datagrams_closed(&mut self, number: usize, mut bound: Bound) {
        self.datagrams.bound.retain(|&other| other != number);
        let before = self.datagrams.received.len();
        self.datagrams.received.retain(|received| received.number != number);
        let unshown = before - self.datagrams.received.len();
        if self.datagrams.unbinds {
            return;
        }
        let Some(began) = self.stopped.or(self.ended_at) else { return };
        if bound.errors == 0 {
            let waited = bound.socket.tags().filter(|arrived| **arrived < began).count();
            self.datagrams.tally.lost += (waited + unshown) as u64;
        }
    }

    // What is expected of the loop.

    /// The handler is shown a datagram: the next of those that were received (C50).
    pub fn is_shown(&mut self, datagram: &Datagram<'_>) {
        let next = self.datagrams.received.pop_front();
        let is_right = next.as_ref().is_some_and(|next| {
            next.id == Some(datagram.socket)
                && next.from == datagram.from
                && next.to == datagram.to
                && next.bytes == datagram.bytes
        });
        self.datagrams.tally.shown += 1;
        if !is_right {
            let (socket, from, length) = (datagram.socket, datagram.from, datagram.bytes.len());
            let next = next.map(|next| (next.id, next.from, next.bytes.len()));
            self.violated(|| {
                format!("{length} bytes from {from} at {socket} are shown, and not {next:?} (C50)")
            });
        }
    }

    /// A loop that blocks has received all that it was told of (C50).
    pub(super) fn ask_why_datagrams_wait(&mut self) {
        if !self.datagrams.received.is_empty() {
            let count = self.datagrams.received.len();
            return self.violated(|| format!("the loop rests, and {count} datagrams are unshown"));
        }
        let waits = self.datagrams.bound.iter().find(|&&number| {
            let File::Datagrams(bound) = &self.files.get(number).file else { return false };
            let told = self.epoll.token(number).is_some() && !self.epoll.is_listed(number);
            told && !bound.owed && !bound.socket.is_empty() && !bound.waits_for_a_pause()
        });
        if let Some(&number) = waits {
            self.violated(|| format!("the loop rests, and datagrams wait at descriptor {number}"));
        }
    }

    /// The clock is about to jump there: the loop has come back to what it has left alone (C50).
    pub(super) fn expect_datagrams_received(&mut self, next: Time) {
        let forgotten = self.datagrams.bound.iter().find(|&&number| {
            let File::Datagrams(bound) = &self.files.get(number).file else { return false };
            let until = bound.quiet_until;
            bound.waits_for_a_pause() && next > until.after(SLACK + self.holds.since(until))
        });
        if let Some(&number) = forgotten {
            self.violated(|| format!("descriptor {number} was left alone for too long (C50)"));
        }
    }
}
