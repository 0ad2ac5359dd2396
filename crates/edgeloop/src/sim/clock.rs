//! When a simulation begins, and who is told what happens in it.

use std::time::Duration;

use crate::api::time::Time;

/// When a world begins.
pub const START: Time = Time::from_nanos(1_000_000_000);

/// Is told each thing that happens in a run, with the time since its beginning.
pub type Follower = Box<dyn FnMut(Duration, &str)>;
