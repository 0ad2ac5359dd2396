//! How Unix sockets are connected: at once, or not at all.

use rustix::io::Errno;

use super::{File, Owner, World};
use crate::api::address::{Address, UnixAddress};
use crate::kernel::SocketOption;
use crate::sim::peers::place::Stage;
use crate::sim::{Call, Link, Side};

impl World {
    /// A connection that waits in a backlog. What is accepted has none of its listener's options.
    pub(super) fn unaccepted(&mut self, buffer: usize) -> Link {
        let mut link = Link::unix(buffer);
        link.skip_urgent(Side::Ours, true);
        link
    }

    /// The address of whoever has connected: few clients bind their sockets.
    pub(super) fn name_of_peer(&mut self, wire: usize) -> Address {
        let name = format!("client {wire}");
        let bound = self.random.chance(100).then(|| UnixAddress::abstract_name(name).ok());
        bound.flatten().unwrap_or_default().into()
    }

    /// connect(2) of a Unix socket.
    pub(super) fn dial_unix(&mut self, number: usize, address: &Address) -> Result<(), Errno> {
        let mut met = self.meet(Call::ConnectUnix, None, 0);
        let served = self.services.iter().position(|service| service.address == *address);
        if served.is_none() && matches!(met, Err(Errno::CONNREFUSED | Errno::NOENT)) {
            // Of a server that is there the kernel never says so.
            met = Ok(0);
        }
        let passes = !met.is_err_and(|error| !matches!(error, Errno::AGAIN | Errno::INTR));
        if !passes {
            return met.map(|_| ());
        }
        let Some(at) = served else {
            met?;
            return self.probe(number, address);
        };
        let wire = match self.files.get(number).file {
            File::Stream(wire) => wire,
            _ => self.begin_to_dial(number, at),
        };
        // The backlog is full, for this time or for good.
        let place = &self.peer_of(wire).place;
        if place.silent || self.random.chance(self.full_backlogs) {
            return Err(Errno::AGAIN);
        }
        met?;
        self.peer_of(wire).place.stage = Stage::Connected(wire);
        self.wires[wire].made_at = Some(self.now);
        self.touch_wire(wire);
        Ok(())
    }

    /// Makes the peer of a connection to a service, and the connection, which is not made yet.
    fn begin_to_dial(&mut self, number: usize, service: usize) -> usize {
        let (peer, buffer) = (self.peers.len(), self.buffer());
        let mut answer = (self.services[service].answer)(peer);
        answer.place.silent |= self.random.chance(self.unanswered);
        self.peers.push(answer);
        let open = self.files.get(number);
        let mut link = Link::unix(buffer);
        link.skip_urgent(Side::Ours, !open.inline);
        let own = match &open.file {
            File::Fresh(bound) if *bound != self.services[service].address => bound.clone(),
            _ => UnixAddress::unnamed().into(),
        };
        let wire = self.add_wire(link, peer);
        self.peers[peer].place.stage = Stage::Dialled(wire);
        self.wires[wire].addresses = [own, self.services[service].address.clone()];
        self.wires[wire].tentative = true;
        self.wires[wire].held = Some(number);
        self.last_dialled = wire;
        self.files.get_mut(number).file = File::Stream(wire);
        self.touch(peer);
        wire
    }

    /// connect(2) to where no service is. A server that is there has other things to do than to
    /// notice.
    fn probe(&mut self, number: usize, address: &Address) -> Result<(), Errno> {
        let listens = match self.paths.owner(address)? {
            None => self.files.listener(Some(address)).is_some(),
            Some(Owner::Loop(number)) => self.files.listeners().contains(&number),
            Some(owner) => owner == Owner::Other,
        };
        if !listens {
            return Err(Errno::CONNREFUSED);
        }
        if self.random.chance(self.full_backlogs) {
            return Err(Errno::AGAIN);
        }
        self.files.get_mut(number).file = File::Elsewhere;
        Ok(())
    }

    /// A Unix socket is registered behind its connect, because it reports a hang-up before.
    pub(super) fn expect_to_be_connected(&mut self, number: usize) {
        match self.files.get(number).file {
            File::Stream(wire) if !self.is_made_at_all(wire) => {
                self.violated(|| format!("descriptor {number} is registered before it connects"));
            }
            File::Elsewhere => self.violated(|| "it connects to who is not simulated".to_owned()),
            _ => {}
        }
    }

    /// Whether it is a Unix socket.
    pub(crate) fn is_unix(&self, number: usize) -> bool {
        match &self.files.get(number).file {
            File::Fresh(address) | File::Listener(address, _) => address.is_unix(),
            File::Stream(wire) => self.wires[*wire].link.is_unix(),
            File::Elsewhere => true,
            _ => false,
        }
    }

    /// setsockopt(2) on a Unix socket.
    pub(crate) fn set_unix_option(
        &mut self,
        number: usize,
        option: SocketOption,
    ) -> Result<(), Errno> {
        let known = matches!(
            option,
            SocketOption::ReuseAddress
                | SocketOption::UrgentInline
                | SocketOption::ResetOnClose
                | SocketOption::SendBuffer(_)
                | SocketOption::Keepalive
        );
        if !known {
            self.violated(|| format!("{} is called for a Unix socket (C49)", option.call()));
            return Err(Errno::OPNOTSUPP);
        }
        let accepted = self.wire_of(number);
        if let Err(error) = self.meet(Call::SetOption, accepted.map(|_| number), 0) {
            self.lacks_options(accepted);
            return Err(error);
        }
        if option == SocketOption::UrgentInline {
            self.files.get_mut(number).inline = true;
            if let Some(wire) = accepted {
                self.wires[wire].link.skip_urgent(Side::Ours, false);
            }
        }
        Ok(())
    }

    /// A stream that the loop has accepted lacks an option.
    pub(crate) fn lacks_options(&mut self, stream: Option<usize>) {
        let accepted = stream.is_some_and(|wire| !self.wires[wire].adopted);
        self.lack_options += u64::from(accepted);
    }

    /// Whether getpeername(2) finds a peer of our end.
    pub(crate) fn is_connected(&self, wire: usize) -> bool {
        self.wires[wire].link.is_connected(Side::Ours) && self.is_made_at_all(wire)
    }

    /// Whether a connection is more than a connect that is tried again.
    pub(super) fn is_made_at_all(&self, wire: usize) -> bool {
        let link = &self.wires[wire].link;
        let dialled = self.peers[self.wires[wire].peer].place.stage == Stage::Dialled(wire);
        !(link.is_unix() && dialled)
    }
}
