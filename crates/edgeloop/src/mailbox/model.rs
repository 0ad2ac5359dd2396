//! What the mailbox's own tests wake, instead of a kernel.

use rustix::io::Errno;

use crate::kernel::{Wake, Wakeable};

/// A waker that can be reset, as an eventfd can.
pub(super) trait Signal: Wake {
    /// A read of the eventfd.
    fn reset(&self) -> Result<(), Errno>;
}

/// What has such a waker.
pub(super) struct Model<S>(pub(super) S);

impl<S: Signal> Wakeable for Model<S> {
    type Waker = S;

    fn waker(&self) -> S {
        self.0.clone()
    }

    fn clear_waker(&mut self) -> Result<(), Errno> {
        self.0.reset()
    }
}
