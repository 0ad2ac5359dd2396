//! The operator of a server: who is told the loop's notices, and whose signal ends it (C37).

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use edgeloop::{LoopContext, Notice, Stop};

use crate::notices::Notices;
use crate::signals::FirstSignal;

/// What a handler has for its operator.
#[derive(Debug)]
pub(crate) struct Operator {
    notices: Notices,
    signal: FirstSignal,
    /// How long a drain may last.
    drain: Option<Duration>,
}

/// Handlers that serve an operator.
pub(crate) trait Operated {
    fn operator(&self) -> &Operator;
}

impl Operator {
    pub(crate) fn new(signal: FirstSignal, drain: Option<Duration>) -> Self {
        Self { notices: Notices::default(), signal, drain }
    }

    /// The loop has something to tell.
    pub(crate) fn notice(&mut self, notice: &Notice) {
        self.notices.tell(notice, Instant::now());
    }

    /// What of the notices is still to be told at the end.
    pub(crate) fn tell_the_rest(&self) {
        self.notices.tell_the_rest();
    }

    /// Something has come to what the loop watches: it drains, if it was the signal.
    pub(crate) fn notified(&mut self, cx: &mut impl LoopContext) {
        if let Some(name) = self.signal.take() {
            announce(name, self.drain);
            cx.stop(Stop::Drain(self.drain));
        }
    }
}

/// What the loop watches for the signal.
impl AsFd for Operator {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signal.as_fd()
    }
}

fn announce(name: &str, drain: Option<Duration>) {
    match drain {
        Some(Duration::ZERO) => tracing::info!("{name}: ending at once"),
        Some(drain) => {
            let drain = humantime::format_duration(drain);
            tracing::info!("{name}: draining for {drain} at most; a second signal ends it at once");
        }
        None => tracing::info!("{name}: draining; a second signal ends it at once"),
    }
}
