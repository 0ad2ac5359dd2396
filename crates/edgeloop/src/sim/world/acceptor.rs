//! Another part of the program, which accepts at an address of its own and gives what it accepts to
//! the loop, and which passes it listeners.
//!
//! A socket that is given has a descriptor of the real kernel's for a stand-in, which says nothing
//! but whose it is: one end of a pair, or a listener to which nobody comes.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::io::Errno;

use super::network::address_of;
use super::{File, World};
use crate::api::address::Address;
use crate::api::time::Time;
use crate::mailbox::{AdoptError, AdoptErrorKind};
use crate::sim::peers::place::Stage;
use crate::sim::{Link, Side};

/// Gives the loop a stream, from another thread or from a callback.
pub(crate) type Adopt = Box<dyn Fn(OwnedFd) -> Result<(), AdoptError>>;

/// How long a connection is kept before it's given away; meanwhile its peer may do all it has to
/// do.
const KEPT: [Duration; 4] =
    [Duration::ZERO, Duration::ZERO, Duration::from_micros(50), Duration::from_millis(5)];

/// Who accepts elsewhere.
#[derive(Default)]
pub struct Acceptor {
    /// Where.
    pub at: Option<Address>,
    /// By which the loop is given streams.
    pub adopt: Option<Adopt>,
    /// Connections that are kept, and until when at least.
    kept: Vec<(Time, usize)>,
    /// What is on its way to the loop, by its stand-in: a connection with the other end of the
    /// pair, or the descriptor of a listener.
    streams: HashMap<RawFd, (usize, UnixStream)>,
    listeners: HashMap<RawFd, usize>,
    /// The other ends of those that the loop has not come to.
    left: Vec<UnixStream>,
    is_over: bool,
    /// The loop is about to wait: what it is given now, and opens, belongs to the turn that begins.
    pub before_turn: bool,
    /// How many streams the loop has taken over, and could not register then.
    pub taken: u64,
    pub unregistered: u64,
    /// How many it was given between its turns, and how many of these it refused.
    pub direct: u64,
    pub refused: u64,
}

impl Acceptor {
    fn is_at(&self, wanted: Option<&Address>) -> bool {
        wanted.is_some() && wanted == self.at.as_ref() && !self.is_over
    }

    /// When the next connection may be given away.
    pub(super) fn next(&self) -> Time {
        let kept = self.kept.iter().filter(|_| self.adopt.is_some());
        kept.map(|kept| kept.0).min().unwrap_or(Time::NEVER)
    }

    /// Whether every stand-in that the loop has not come to was closed with the loop.
    ///
    /// # Errors
    ///
    /// When one was not.
    pub fn expect_all_closed(&mut self) -> Result<(), String> {
        for mut end in self.left.drain(..) {
            let is_closed = end.set_nonblocking(true).and_then(|()| end.read(&mut [0]));
            if !matches!(is_closed, Ok(0)) {
                return Err("a stream that the loop was given outlives it".to_owned());
            }
        }
        Ok(())
    }
}

impl World {
    /// Whether somebody accepts where this peer wants to connect to.
    pub(super) fn accepts(&self, peer: usize) -> bool {
        let wanted = self.peers[peer].wants();
        self.acceptor.is_at(wanted) || self.files.listener(wanted).is_some()
    }

    /// Connects a peer to the acceptor, if that is what it wants.
    pub(super) fn connect_elsewhere(&mut self, peer: usize) -> bool {
        let wanted = self.peers[peer].wants();
        let Some(address) = wanted.filter(|_| self.acceptor.is_at(wanted)).cloned() else {
            return false;
        };
        let buffer = self.buffer();
        let is_unix = address.is_unix();
        let link = if is_unix { self.unaccepted(buffer) } else { Link::new(buffer) };
        let wire = self.add_wire(link, peer);
        self.peers[peer].place.stage = Stage::Connected(wire);
        let of_peer = if is_unix { self.name_of_peer(wire) } else { address_of(wire) };
        self.wires[wire].addresses = [address, of_peer];
        self.wires[wire].adopted = true;
        let until = self.now.after(self.random.pick(&KEPT));
        self.acceptor.kept.push((until, wire));
        true
    }

    /// Takes a connection that may be given away, with its stand-in.
    ///
    /// # Panics
    ///
    /// If the real kernel makes no pair.
    pub fn next_adopted(&mut self) -> Option<(usize, OwnedFd)> {
        let now = self.now;
        let index = self.acceptor.kept.iter().position(|kept| kept.0 <= now)?;
        let (_, wire) = self.acceptor.kept.remove(index);
        let (stand_in, other) = UnixStream::pair().expect("two descriptors");
        self.acceptor.streams.insert(stand_in.as_raw_fd(), (wire, other));
        Some((wire, stand_in.into()))
    }

    /// Gives a connection to the loop, if there is one and it takes it.
    pub fn hand_over(&mut self) {
        let Some((wire, stand_in)) = self.next_adopted() else { return };
        let number = stand_in.as_raw_fd();
        self.note(|| format!("connection {wire} is given to the loop"));
        let given = self.acceptor.adopt.as_ref().map(|adopt| adopt(stand_in));
        let Some(Err(error)) = given else { return };
        self.acceptor.streams.remove(&number);
        if matches!(error.kind, AdoptErrorKind::Full) {
            let later = self.now.after(Duration::from_millis(1));
            self.acceptor.kept.push((later, wire));
        } else {
            self.turn_away(wire);
        }
    }

    /// A few things happen before the loop runs, so that somebody may have connected.
    pub fn begin_elsewhere(&mut self) {
        const STEPS: usize = 20;
        if self.acceptor.at.is_some() {
            self.touch_all();
            for _ in 0..self.random.size(0, STEPS) {
                self.step();
            }
        }
    }

    fn turn_away(&mut self, wire: usize) {
        self.wires[wire].link.turn_away(Side::Ours);
        self.excuse(wire);
        self.touch_wire(wire);
    }

    /// Makes a listener, and passes it on.
    ///
    /// # Errors
    ///
    /// When the process has no descriptor for it.
    pub fn pass_listener(&mut self, address: &Address) -> io::Result<OwnedFd> {
        let stand_in = TcpListener::bind("127.0.0.1:0")?;
        let number = self.files.open(File::Fresh(address.clone()))?;
        self.files.listen(number)?;
        self.acceptor.listeners.insert(stand_in.as_raw_fd(), number);
        Ok(stand_in.into())
    }

    /// The loop takes over a socket that it was given.
    pub(crate) fn take_over(&mut self, stand_in: &OwnedFd) -> Result<usize, Errno> {
        let given = stand_in.as_raw_fd();
        if let Some(number) = self.acceptor.listeners.remove(&given) {
            return Ok(number);
        }
        // Nothing else of the real kernel's has a place here.
        let (wire, _) = self.acceptor.streams.remove(&given).ok_or(Errno::OPNOTSUPP)?;
        self.acceptor.taken += 1;
        self.open(File::Stream(wire)).inspect_err(|_| self.turn_away(wire))
    }

    /// The loop is over: what it was given and has not come to is closed with it, and the rest with
    /// the program.
    pub(super) fn end_acceptor(&mut self) {
        self.acceptor.is_over = true;
        let (streams, left): (Vec<_>, Vec<_>) =
            self.acceptor.streams.drain().map(|(_, given)| given).unzip();
        self.acceptor.left = left;
        let kept = std::mem::take(&mut self.acceptor.kept).into_iter().map(|kept| kept.1);
        let mut wires: Vec<_> = kept.chain(streams).collect();
        wires.sort_unstable();
        wires.into_iter().for_each(|wire| self.turn_away(wire));
        self.touch_all();
    }
}
