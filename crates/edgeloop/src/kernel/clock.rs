//! Time: what it is, and how it passes.

use std::time::Duration;

use crate::api::time::Time;

/// The clock of a kernel.
pub trait Clock {
    /// The monotonic clock.
    fn now(&mut self) -> Time;

    /// Lets this thread sleep for so long: what is left when a wait does not wait.
    fn pause(&mut self, time: Duration);
}
