//! The deadlines of one connection: what each means, and which is the next.

use std::time::Duration;

use rustix::io::Errno;

use super::{Cold, Connection, Life};
use crate::closed::Reason;
use crate::flags::Flags;
use crate::time::Time;

/// How often a receive or a send that the kernel had no memory for is tried again before the
/// connection ends with [`Reason::Exhausted`], and the first delay, which doubles each time: 10 ms
/// to 1.28 s, 2.55 s in all.
const RETRIES: u8 = 8;
const FIRST_RETRY: Duration = Duration::from_millis(10);

/// The settings and the state of the loop that a connection's deadlines depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) idle: Option<Duration>,
    pub(crate) write: Option<Duration>,
    /// Since when the loop drains, and for how long a connection must then be quiet (C37).
    pub(crate) drain: Option<(Time, Duration)>,
}

/// What a connection's timer has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// Try receiving and sending again.
    Retry,
    /// The handler's timeout.
    Timeout,
    /// End it for this reason, in the way that the reason calls for.
    Idle(Reason),
    Stalled,
    ConnectTimeout,
    LingerTimeout,
}

/// What one more failure for want of memory leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    Later,
    GiveUp,
}

impl<S> Connection<S> {
    pub(crate) fn set_timeout(&mut self, timeout: Time) {
        if timeout != Time::NEVER || self.cold.is_some() {
            self.cold().timeout = timeout;
            self.cool();
        }
    }

    /// The loop drains: a connection that lingers does so until `at` at the latest.
    pub(crate) fn hasten(&mut self, at: Time) {
        if self.life == Life::Lingering {
            let cold = self.cold();
            cold.deadline = cold.deadline.min(at);
        }
    }

    /// The kernel had no memory for a receive or a send.
    pub(crate) fn retry(&mut self, error: Errno, now: Time) -> Retry {
        let cold = self.cold();
        if cold.retries == RETRIES {
            self.remember(error);
            return Retry::GiveUp;
        }
        cold.retry_at = now.after(FIRST_RETRY * (1 << cold.retries));
        cold.retries += 1;
        Retry::Later
    }

    /// When this connection's timer must look at it next.
    pub(crate) fn next_deadline(&self, timeouts: &Timeouts) -> Time {
        self.deadlines(timeouts).map(|(at, _)| at).min().unwrap_or(Time::NEVER)
    }

    /// What the timer has to say at `now`.
    pub(crate) fn due(&mut self, now: Time, timeouts: &Timeouts) -> Due {
        let due = self.deadlines(timeouts).filter(|&(at, _)| at <= now).min_by_key(|&(at, _)| at);
        let due = due.map_or(Due::Nothing, |(_, due)| due);
        match due {
            Due::Retry => {
                self.cold().retry_at = Time::NEVER;
                self.clear(Flags::RETRY);
                self.set(Flags::READABLE | Flags::DRAIN | Flags::WRITABLE);
            }
            Due::Timeout => {
                self.cold().timeout = Time::NEVER;
                self.cool();
            }
            _ => {}
        }
        due
    }

    /// Every deadline that holds now, with what it means.
    fn deadlines(&self, timeouts: &Timeouts) -> impl Iterator<Item = (Time, Due)> {
        let never = (Time::NEVER, Due::Nothing);
        let cold = self.cold.as_deref();
        let at = |of: fn(&Cold) -> Time, due| cold.map_or(never, |cold| (of(cold), due));
        let retry = at(|cold| cold.retry_at, Due::Retry);
        let deadline = at(|cold| cold.deadline, Due::LingerTimeout);
        let timeout = at(|cold| cold.timeout, Due::Timeout);
        match self.life {
            Life::Connecting => [(deadline.0, Due::ConnectTimeout), timeout, never],
            Life::Open => [self.quiet_deadline(timeouts), timeout, retry],
            Life::Flushing => [self.quiet_deadline(timeouts), never, retry],
            Life::Lingering => [deadline, never, retry],
            Life::Doomed => [never; 3],
        }
        .into_iter()
    }

    /// Output that waits is the write timeout's business; without one, and without any output, the
    /// idle timeout's.
    fn quiet_deadline(&self, timeouts: &Timeouts) -> (Time, Due) {
        if let Some(cold) = &self.cold
            && !cold.output.is_empty()
            && let Some(write) = timeouts.write
        {
            return (cold.progress.after(write), Due::Stalled);
        }
        let idle = timeouts.idle.map_or(Time::NEVER, |idle| self.active.after(idle));
        match timeouts.drain {
            Some((since, quiet)) if !self.has(Flags::OUTPUT) => {
                let quiet = self.active.max(since).after(quiet);
                if quiet <= idle {
                    return (quiet, Due::Idle(Reason::DrainQuiet));
                }
            }
            _ => {}
        }
        (idle, Due::Idle(Reason::IdleTimeout))
    }
}
