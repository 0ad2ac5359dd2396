//! What other threads wake the loop with.

use rustix::io::Errno;

/// What a loop has that other threads may wake.
pub trait Wakeable {
    /// What other threads wake the loop with.
    type Waker: Wake;

    /// Another handle on the waker.
    fn waker(&self) -> Self::Waker;

    /// Resets the waker (a read of the eventfd).
    fn clear_waker(&mut self) -> Result<(), Errno>;
}

/// Wakes a loop from another thread.
pub trait Wake: Clone + Send + Sync + 'static {
    /// Makes the loop's wait return; returns whether it will. A waker that is already full counts
    /// as signalled (C33).
    fn wake(&self) -> bool;
}
