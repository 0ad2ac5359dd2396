//! What happens on the network and at the other ends: connecting, sending, delivering, closing.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustix::io::Errno;

use super::chances::Steps;
use super::{FIRST_PORT, File, Known, MAIL, Wire, World};
use crate::api::address::Address;
use crate::epoll::Readiness;
use crate::sim::model::ends::SHUT_DOWN;
use crate::sim::model::epoll::ANYTHING;
use crate::sim::peers::place::Stage;
use crate::sim::peers::{Peer, Role};
use crate::sim::{Call, Link, Side, Woken};

/// An address that the loop may connect to, and who answers there.
pub struct Service {
    pub address: Address,
    /// Makes the peer of the next connection, whose number among all peers is given.
    pub(crate) answer: Box<dyn FnMut(usize) -> Peer>,
}

impl Service {
    pub fn new(address: Address, answer: impl FnMut(usize) -> Peer + 'static) -> Self {
        Self { address, answer: Box::new(answer) }
    }
}

/// The address of whoever has made a connection: its number is its port.
pub(crate) fn address_of(wire: usize) -> Address {
    let port = u16::try_from(FIRST_PORT + wire).unwrap_or(u16::MAX);
    SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()
}

/// Sends so many bytes to a connection by way of the loop's mailbox.
pub(crate) type Post = Box<dyn Fn(usize, Vec<u8>) -> bool>;

impl World {
    /// Lets this happen to a peer or on its connection.
    pub(super) fn happen(&mut self, peer: usize, step: Steps) {
        let wire = self.peers[peer].place.link;
        match (step, wire) {
            (Steps::CONNECT, _) => self.connect(peer),
            (Steps::ESTABLISH, Some(wire)) => self.establish(wire),
            (Steps::ACT, Some(wire)) => self.act(peer, wire),
            (Steps::MAIL, Some(wire)) => self.mail(peer, wire),
            (Steps::DELIVER_OURS, Some(wire)) => self.deliver(wire, Side::Ours),
            (Steps::DELIVER_THEIRS, Some(wire)) => self.deliver(wire, Side::Theirs),
            (Steps::EDGE, Some(wire)) => {
                self.wires[wire].owed = false;
                if let Some(number) = self.wires[wire].held {
                    self.wake(number, ANYTHING);
                }
            }
            _ => unreachable!("{step:?} is possible only for {peer} with a connection"),
        }
    }

    // Descriptors.

    /// Opens a descriptor, if the process may have one more.
    pub(crate) fn open(&mut self, file: File) -> Result<usize, Errno> {
        let wire = if let File::Stream(wire) = file { Some(wire) } else { None };
        let number = self.files.open(file)?;
        if let Some(wire) = wire {
            let now = self.now;
            let opened = &mut self.wires[wire];
            opened.held = Some(number);
            // As long as it was in the backlog it waited for something else.
            opened.unread_since = opened.unread_since.map(|_| now);
            self.touch_wire(wire);
        }
        Ok(number)
    }

    /// Closing the only descriptor of a socket takes it out of the epoll set, too.
    pub(crate) fn close(&mut self, number: usize) {
        let Some(open) = self.files.close(number) else {
            return self.violated(|| format!("descriptor {number} is closed twice"));
        };
        // One that was never made is closed where that shows, and not by the closing phase alone.
        let counts = matches!(open.file, File::Stream(wire) if !self.wires[wire].tentative);
        let is_registered = self.epoll.token(number).is_some();
        let closes = counts && is_registered;
        self.vigil.turn.closes += u64::from(closes);
        if open.abort {
            self.note(|| format!("an RST is sent for {number}"));
        }
        self.epoll.closed(number);
        self.paths.closed(number);
        match open.file {
            File::Fresh(_) | File::Foreign | File::Elsewhere | File::Pipe | File::Directory => {}
            File::Listener(_, waiting) => {
                for wire in waiting {
                    self.wires[wire].link.turn_away(Side::Ours);
                    self.excuse(wire);
                }
                self.touch_all();
            }
            #[cfg(feature = "udp")]
            File::Datagrams(bound) => self.datagrams_closed(number, *bound),
            File::Stream(wire) => {
                self.wires[wire].held = None;
                self.wires[wire].aborted = open.abort;
                self.wires[wire].link.close(Side::Ours, open.abort);
                let refused = self.wires[wire].adopted && !is_registered;
                let tentative = self.wires[wire].tentative || refused;
                let peer = self.peer_of(wire);
                // The handler never heard of it, whatever the peer did on it.
                peer.place.excused |= tentative && !matches!(peer.role, Role::Script(_));
                if let Stage::Dialled(_) = peer.place.stage {
                    // It never hears of it.
                    peer.place.stage = Stage::Gone { at_the_end: false };
                }
                self.touch_wire(wire);
            }
        }
    }

    /// Takes a descriptor out of the epoll set.
    pub(crate) fn deregister(&mut self, number: usize) -> Result<(), Errno> {
        self.epoll.delete(number)
    }

    pub(crate) fn wire_of(&self, number: usize) -> Option<usize> {
        match self.files.get(number).file {
            File::Stream(wire) => Some(wire),
            _ => None,
        }
    }

    /// Does something with the connection behind a descriptor.
    pub(crate) fn with_link<T>(&mut self, number: usize, act: impl FnOnce(&mut Link) -> T) -> T {
        let wire = self.wire_of(number).expect("a call of connections is made on a connection");
        let answer = act(&mut self.wires[wire].link);
        let woken = self.wires[wire].link.take_woken();
        self.pass_on(wire, woken);
        self.touch_wire(wire);
        answer
    }

    /// What the loop reads of one connection goes to another from now on, or no longer. What it
    /// has read of it before, and has not passed on, goes there too.
    pub fn is_relayed(&mut self, source: usize, target: Option<usize>, carried: u64) {
        let before = std::mem::replace(&mut self.wires[source].known.target, target);
        if let Some(before) = before {
            self.wires[before].known.given = carried;
        }
        if let Some(target) = target {
            self.wires[target].known.given = self.wires[source].taken;
            self.wires[target].known.fed = true;
        }
    }

    /// Whether another connection is relayed to this one of which nothing goes on for now: it was
    /// paused, or its last receive found no memory.
    pub(super) fn waits_for_source(&self, wire: usize) -> bool {
        let waits = |known: &Known| known.paused || known.exhausted[0];
        let others = self.wires.iter().enumerate().filter(|&(index, _)| index != wire);
        others.map(|(_, it)| &it.known).any(|it| it.target == Some(wire) && waits(it))
    }

    /// send(2) on one of our descriptors.
    pub(crate) fn send(&mut self, number: usize, bytes: &[u8]) -> Result<usize, Errno> {
        let answer = self.with_link(number, |link| link.send(Side::Ours, bytes));
        if let Some(wire) = self.wire_of(number) {
            let wire = &mut self.wires[wire];
            match answer {
                Ok(_) => wire.sent_at = self.clock_read,
                Err(Errno::AGAIN) => wire.refused_at = Some(self.now),
                Err(_) => {
                    wire.failed_at.get_or_insert(self.now);
                }
            }
        }
        answer
    }

    /// shutdown(2) of the write side of one of our descriptors, which wakes our own end.
    pub(crate) fn shut_down(&mut self, number: usize) -> Result<(), Errno> {
        if let Some(wire) = self.wire_of(number) {
            let turn = self.vigil.tally.waits;
            self.wires[wire].is_shut(self.now, self.turn_began, turn);
            if self.wires[wire].owed || self.wires[wire].misled == turn {
                // The loop asked for input, and was told too early that there is none.
                self.excuse(wire);
            }
        }
        let answer = self.with_link(number, |link| link.shut_down(Side::Ours));
        self.wake(number, SHUT_DOWN);
        answer
    }

    /// The kernel has let this connection down, and nothing more is owed to its peer.
    pub(super) fn excuse(&mut self, wire: usize) {
        self.wires[wire].known.served = false;
        self.peer_of(wire).place.excused = true;
    }

    /// The peer of a connection.
    pub fn peer_of(&mut self, wire: usize) -> &mut Peer {
        &mut self.peers[self.wires[wire].peer]
    }

    /// The same to look at.
    pub fn peer_at(&self, wire: usize) -> &Peer {
        &self.peers[self.wires[wire].peer]
    }

    // Connecting.

    fn connect(&mut self, peer: usize) {
        if self.connect_elsewhere(peer) {
            return;
        }
        let Some(number) = self.files.listener(self.peers[peer].wants()) else { return };
        let buffer = self.buffer();
        let is_unix = self.files.is_unix(number);
        let link = if is_unix { self.unaccepted(buffer) } else { Link::new(buffer) };
        let wire = self.add_wire(link, peer);
        self.peers[peer].place.stage = Stage::Connected(wire);
        let of_peer = if is_unix { self.name_of_peer(wire) } else { address_of(wire) };
        if let File::Listener(address, waiting) = &mut self.files.get_mut(number).file {
            self.wires[wire].addresses = [address.clone(), of_peer];
            waiting.push_back(wire);
        }
        self.wake(number, Readiness::IN);
    }

    /// Nobody listens at an address any more: those who wanted to connect there take the first.
    pub fn forsake(&mut self, address: &Address) {
        for peer in &mut self.peers {
            if let Role::Client(client) = &mut peer.role {
                client.wants.take_if(|wanted| wanted == address);
            }
        }
        self.touch_all();
    }

    pub(super) fn buffer(&mut self) -> usize {
        self.random.size(self.buffers.0, self.buffers.1)
    }

    pub(super) fn add_wire(&mut self, link: Link, peer: usize) -> usize {
        let index = self.wires.len();
        let (least, most) = self.latency;
        let range = usize::try_from((most - least).as_nanos()).unwrap_or(usize::MAX);
        let latency = least + Duration::from_nanos(self.random.size(0, range) as u64);
        let addresses = [address_of(index), address_of(index)];
        self.wires.push(Wire::new(link, peer, latency, addresses));
        self.wires[index].light = self.peers[peer].is_light();
        let place = &mut self.peers[peer].place;
        place.link = Some(index);
        place.excused |= self.stop_cuts && self.stopped.is_some();
        index
    }

    /// connect(2) to an address where a service may be.
    pub(crate) fn dial(&mut self, number: usize, address: &Address) -> Result<(), Errno> {
        if address.is_unix() {
            return self.dial_unix(number, address);
        }
        let meets = self.meet(Call::Connect, None, 0);
        if let Err(error) = meets
            && error != Errno::INTR
        {
            return Err(error);
        }
        let Some(at) = self.services.iter().position(|service| service.address == *address) else {
            return Err(Errno::CONNREFUSED);
        };
        let (peer, buffer) = (self.peers.len(), self.buffer());
        let mut answer = (self.services[at].answer)(peer);
        answer.place.silent |= self.random.chance(self.unanswered);
        self.peers.push(answer);
        let wire = self.add_wire(Link::connecting(buffer), peer);
        self.peers[peer].place.stage = Stage::Dialled(wire);
        let file = &mut self.files.get_mut(number).file;
        let is_bound = |bound: &Address| bound != address && bound.port().is_some_and(|it| it != 0);
        let own = match file {
            File::Fresh(bound) if is_bound(bound) => bound.clone(),
            _ => address_of(wire),
        };
        self.wires[wire].addresses = [own, address.clone()];
        *file = File::Stream(wire);
        self.last_dialled = wire;
        self.wires[wire].tentative = true;
        self.wires[wire].held = Some(number);
        self.touch(peer);
        Err(meets.err().unwrap_or(Errno::INPROGRESS))
    }

    fn establish(&mut self, wire: usize) {
        let answer = self.meet(Call::Handshake, self.wires[wire].held, 0).map(|_| ());
        self.peer_of(wire).place.stage = match answer {
            Ok(()) => {
                self.wires[wire].made_at = Some(self.now);
                Stage::Connected(wire)
            }
            Err(_) => Stage::Gone { at_the_end: false },
        };
        let woken = self.wires[wire].link.establish(answer);
        self.pass_on(wire, woken);
    }

    // What goes on while connected.

    fn act(&mut self, peer: usize, wire: usize) {
        let link = &mut self.wires[wire].link;
        match self.peers[peer].act(link, &mut self.random, self.now) {
            Ok(woken) => self.pass_on(wire, woken),
            Err(what) => self.violated(|| what),
        }
        let woken = self.wires[wire].link.take_woken();
        if woken.mask(Side::Ours).is_some() {
            self.wires[wire].has_arrived(Side::Theirs, self.now);
        }
        self.pass_on(wire, woken);
    }

    fn deliver(&mut self, wire: usize, from: Side) {
        let most = if self.calm { usize::MAX } else { self.random.size(1, 4000) };
        if self.random.chance(self.resizes) && self.wires[wire].link.unread(from.other()) == 0 {
            let buffer = self.buffer();
            self.wires[wire].link.resize(from, buffer);
        }
        let woken = self.wires[wire].link.deliver(from, most);
        self.wires[wire].has_arrived(from, self.now);
        self.pass_on(wire, woken);
    }

    /// Gives the edge to our descriptor; peers look for themselves.
    fn pass_on(&mut self, wire: usize, woken: Woken) {
        if let Some(mask) = woken.mask(Side::Ours)
            && let Some(number) = self.wires[wire].held
        {
            self.wake(number, mask);
        }
    }

    fn mail(&mut self, peer: usize, wire: usize) {
        let most = self.random.size(1, MAIL);
        let Some(bytes) = self.peers[peer].next_mail(most) else { return };
        let count = bytes.len();
        if self.post.as_ref().is_some_and(|post| post(wire, bytes)) {
            self.note(|| format!("another thread sends {count} bytes to connection {wire}"));
            self.peers[peer].client().mailed(count);
        }
    }

    /// Another part of the program opens descriptors, and closes them; all of them, when nothing
    /// else happens any more.
    pub(super) fn be_foreign(&mut self, alone: bool) {
        let (_, used) = self.files.counts();
        if !alone && used < self.foreign && self.random.chance(500) {
            // One more than it may have is its own affair.
            let _ = self.open(File::Foreign);
        } else if let Some(number) = self.files.any_foreign() {
            self.close(number);
        }
    }
}
