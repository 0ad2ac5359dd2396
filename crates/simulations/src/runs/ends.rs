//! How a run comes to its end, and what time that may take.

use std::time::Duration;

use edgeloop::sim::SimulatedKernel;
use edgeloop::{ConnectionId, Handle, Stop};

/// How long a drain may take.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);

/// What is done at the end: by a handle, with the connections that were made.
pub type AtTheEnd = fn(&Handle<SimulatedKernel>, &[(ConnectionId, usize)]);

/// How a run comes to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    /// The loop is stopped in the midst of it.
    pub(crate) early: Option<(Duration, Stop)>,
    /// Is called when no peer has anything left to do, and stops the loop.
    pub(crate) late: AtTheEnd,
}

impl Default for Ends {
    fn default() -> Self {
        Self { early: None, late: |handle, _| handle.stop(Stop::Drain(Some(DRAIN))) }
    }
}

impl Ends {
    /// Whether an early stop leaves enough time to serve whoever is connected.
    pub(crate) fn serves_on(&self) -> bool {
        !matches!(self.early, Some((_, Stop::Now)))
            && !matches!(self.early, Some((_, Stop::Drain(Some(after)))) if after < DRAIN)
    }
}
