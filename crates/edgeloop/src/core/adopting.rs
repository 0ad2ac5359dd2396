//! Streams that were connected elsewhere become connections of this loop.

use std::io;
use std::os::fd::OwnedFd;

use super::{Core, set_options};
use crate::api::error::{Failed, InCall};
use crate::api::id::ConnectionId;
use crate::kernel::{Kernel, SocketOption};

/// Why a stream could not be adopted.
#[derive(Debug)]
pub(crate) enum NotAdopted {
    /// Nothing new may begin, or there is no room for it.
    NoRoom(io::Error),
    Failed(Failed),
}

impl<K: Kernel> Core<K> {
    /// Takes over a stream that is connected, with whatever has come on it already. It is reset
    /// where that can't be done.
    pub(crate) fn adopt_given(&mut self, stream: OwnedFd) -> Result<ConnectionId, NotAdopted> {
        let socket = self.kernel.take_over(stream).in_call("fcntl").map_err(NotAdopted::Failed)?;
        let room = self.may_begin().map_err(NotAdopted::NoRoom);
        let has_room = room.is_ok();
        let is_unix = match room.and_then(|()| self.prepare(&socket)) {
            Ok(is_unix) => is_unix,
            Err(error) => {
                if has_room {
                    self.unreserve();
                }
                let _ = self.kernel.set_option(&socket, SocketOption::ResetOnClose);
                self.kernel.close(socket);
                return Err(error);
            }
        };
        let id = self.register(socket, is_unix).in_call("epoll_ctl").map_err(NotAdopted::Failed)?;
        self.metrics.adopted += 1;
        Ok(id)
    }

    /// Gives a stream the options of ours. Returns whether it's a Unix socket.
    fn prepare(&mut self, stream: &K::Socket) -> Result<bool, NotAdopted> {
        let family = self.kernel.local_address(stream).in_call("getsockname");
        let family = family.map_err(NotAdopted::Failed)?;
        set_options(&mut self.kernel, stream, &family, &self.config).map_err(NotAdopted::Failed)?;
        Ok(family.is_unix())
    }
}
