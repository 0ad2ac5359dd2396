//! When a Unix socket is watched for room in its send buffer.
//!
//! A TCP socket is watched from its beginning, which costs nothing: the kernel tells of room only
//! if a send has found none (`SOCK_NOSPACE`). A Unix socket tells each time its peer has received
//! something (unix_write_space in net/unix/af_unix.c, Linux 6.18), which would wake the loop twice
//! for each message. So it's watched when a send has found no room, and no more when it tells of
//! room that nobody waits for.

use rustix::io::Errno;

use super::{CONNECTION, Core, UNIX_CONNECTION};
use crate::api::id::ConnectionId;
use crate::connection::flags::Flags;
use crate::epoll::Interest;
use crate::kernel::{EventSource, Kernel};

impl<K: Kernel> Core<K> {
    /// A send has found no room. Returns whether an event will tell when there is some; if not, the
    /// connection has failed (C19).
    pub(super) fn awaits_room(&mut self, id: ConnectionId) -> bool {
        let connection = &mut self.connections[id];
        if !connection.has(Flags::UNIX) || connection.is_watched_for_room() {
            return true;
        }
        match self.watch(id, CONNECTION) {
            Ok(()) => {
                self.connections[id].set_watched_for_room(true);
                true
            }
            Err(error) => {
                self.fail(id, error);
                false
            }
        }
    }

    /// An event has told of room that nobody waits for.
    #[cold]
    pub(crate) fn needs_no_room(&mut self, id: ConnectionId) {
        // If that fails, the next such event will try again.
        if self.watch(id, UNIX_CONNECTION).is_ok() {
            self.connections[id].set_watched_for_room(false);
        }
    }

    fn watch(&mut self, id: ConnectionId, interest: Interest) -> Result<(), Errno> {
        let socket = &self.connections[id].socket;
        self.kernel.reregister(socket, EventSource::Connection(id), interest)
    }
}
