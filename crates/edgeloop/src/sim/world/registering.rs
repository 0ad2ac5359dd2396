//! What the loop registers with epoll.

use rustix::io::Errno;

use super::{File, World};
use crate::epoll::{Interest, Mode, Token};
use crate::sim::Call;

impl World {
    /// epoll_ctl(2), `EPOLL_CTL_ADD`.
    pub(crate) fn register(
        &mut self,
        number: usize,
        token: Token,
        interest: Interest,
    ) -> Result<(), Errno> {
        if let Err(error) = self.meet(Call::Register, Some(number), 0) {
            let adopted = self.wire_of(number).is_some_and(|wire| self.wires[wire].adopted);
            self.acceptor.unregistered += u64::from(adopted);
            return Err(error);
        }
        let now = Self::poll(&self.files, &mut self.wires, number);
        let added = self.epoll.add(number, token, interest, Mode::Edge, now);
        if added.is_err() {
            self.violated(|| format!("descriptor {number} is registered twice"));
        }
        self.expect_to_be_connected(number);
        if let File::Stream(wire) = self.files.get(number).file {
            self.registered.insert(token, wire);
        }
        added
    }

    /// epoll_ctl(2), `EPOLL_CTL_MOD`.
    pub(crate) fn reregister(
        &mut self,
        number: usize,
        token: Token,
        interest: Interest,
    ) -> Result<(), Errno> {
        self.meet(Call::Register, Some(number), 0)?;
        let now = Self::poll(&self.files, &mut self.wires, number);
        self.epoll.modify(number, token, interest, Mode::Edge, now)
    }
}
