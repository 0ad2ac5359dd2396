//! Spinning: polls between a turn with work and the sleep behind it, for as long as that pays.

use super::EventLoop;
use super::backoff::Backoff;
use crate::api::handler::Handler;
use crate::api::time::Time;
use crate::kernel::Kernel;

/// What a loop remembers of its spins.
#[derive(Debug, Default)]
pub(super) struct Spin {
    /// How much had moved when the loop last had nothing left to do.
    moved: u64,
    /// When the spin that is under way ends; [`Time::NEVER`] until its first poll has been
    /// answered, because the turn before it may have taken longer than that.
    until: Option<Time>,
    backoff: Backoff,
}

impl<H: Handler, K: Kernel> EventLoop<H, K> {
    /// A turn has nothing left to do. Returns whether the next wait polls, because the loop spins,
    /// and does not sleep. A poll is a turn with its own clock reading (C28).
    pub(super) fn polls(&mut self) -> bool {
        if self.core.config.spin.is_zero() {
            return false;
        }
        let moved = self.core.metrics.moved().wrapping_add(self.core.bytes_out());
        if std::mem::replace(&mut self.spin.moved, moved) != moved {
            if self.spin.until.take().is_some() {
                self.core.metrics.spins_paid += 1;
                self.spin.backoff.tried(true);
            }
            if self.spin.backoff.takes() {
                self.core.metrics.spins += 1;
                self.spin.until = Some(Time::NEVER);
            }
            return self.spin.until.is_some();
        }
        // An event by which nothing moves, such as the alarm, interrupts a spin and does not end
        // it.
        match self.spin.until {
            Some(Time::NEVER) => {
                self.spin.until = Some(self.core.now.after(self.core.config.spin));
                true
            }
            Some(until) if self.core.now >= until => {
                self.spin.until = None;
                self.spin.backoff.tried(false);
                false
            }
            spinning => spinning.is_some(),
        }
    }
}
