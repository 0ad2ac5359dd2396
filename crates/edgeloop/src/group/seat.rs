//! What the handler of one loop of a group is made with.

use std::fmt;
use std::sync::Arc;

use super::handle::{GroupHandle, GroupSender};
use crate::api::handler::Handler;
use crate::api::receive::Receive;
use crate::event_loop::Registry;
use crate::kernel::Linux;

/// One loop of a [`LoopGroup`](crate::LoopGroup), as it is given to the closure that makes the
/// loop's handler.
pub struct Seat<H: Handler> {
    pub(super) number: usize,
    pub(super) group: GroupHandle,
    pub(super) registry: Arc<Registry<H, Linux>>,
}

impl<H: Handler> Seat<H> {
    /// The number of the loop, from 0 on. It is that of
    /// [`ConnectionId::loop_number`](crate::ConnectionId::loop_number).
    #[must_use]
    pub const fn number(&self) -> usize {
        self.number
    }

    /// The number of loops in the group.
    #[must_use]
    pub fn count(&self) -> usize {
        self.group.count()
    }

    /// Reaches all loops of the group.
    #[must_use]
    pub const fn group(&self) -> &GroupHandle {
        &self.group
    }

    /// Sends messages of the type `M` to the loops of the group, and to the sessions of their
    /// connections (C47). [`LoopGroup`](crate::LoopGroup) has an example.
    #[must_use]
    pub fn sender<M: Send + 'static>(&self) -> GroupSender<M>
    where
        H: Receive<M>,
    {
        self.group.sender_of(self.registry.number_of::<M>())
    }
}

impl<H: Handler> fmt::Debug for Seat<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat")
            .field("number", &self.number)
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}
