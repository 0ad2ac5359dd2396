//! Phase 3: opening outbound connections.

use rustix::io::Errno;

use super::EventLoop;
use crate::api::handler::Handler;
use crate::api::id::ConnectionId;
use crate::connection::flags::Flags;
use crate::epoll::Readiness;
use crate::kernel::Kernel;

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// The outbound connection is made, or can't be.
    pub(super) fn connect_event(&mut self, id: ConnectionId, readiness: Readiness) {
        let connection = &mut self.core.connections[id];
        match self.core.kernel.take_error(&connection.socket) {
            Ok(None) if readiness.is_writable() => {
                if self.core.meets_itself(id) {
                    // Nobody listens there.
                    return self.core.connect_failed(id, Some(Errno::CONNREFUSED));
                }
                self.core.dialled.remove(&id.slot());
                let connection = &mut self.core.connections[id];
                connection.connected(self.core.now);
                connection.note(readiness);
                // A relay may have listed it before. Then it is served from there (C13).
                let listed = connection.has(Flags::LISTED);
                self.core.metrics.connected += 1;
                let action = self.opened(id);
                self.apply(id, action);
                self.end_finished(id);
                self.core.pull_on(id);
                self.core.schedule(id);
                if !listed {
                    self.serve(id);
                }
            }
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => self.core.connect_failed(id, Some(error)),
        }
    }
}
