//! What a registration is changed to.

use rustix::io::Errno;

use super::World;
use crate::epoll::{Interest, Mode, Token};
use crate::sim::Call;

impl World {
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
