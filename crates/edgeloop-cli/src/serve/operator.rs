//! The operator of a server: who is told the loop's notices, and whose signal ends it (C37, C38).

use std::sync::mpsc;
use std::time::{Duration, Instant};

use edgeloop::{LoopContext, Notice, Stop};
use nix::sys::signal::Signal;

use super::notices::Notices;
use super::udp::DatagramEcho;
use crate::signals::{PAUSE, Signals, Wish};

/// What a handler has for its operator.
#[derive(Debug, Default)]
pub(crate) struct Operator {
    notices: Notices,
    /// None on all loops of a group but the first.
    signals: Option<Signals>,
    /// The second signal.
    second: Option<Signal>,
    /// How long a drain may last.
    drain: Option<Duration>,
    /// Who gets it back at the end of its loop.
    home: Option<mpsc::Sender<Self>>,
}

/// Handlers that serve an operator.
pub(crate) trait Operated {
    fn operator(&self) -> &Operator;

    fn datagrams(&self) -> &DatagramEcho;

    fn into_parts(self) -> (Operator, DatagramEcho);
}

impl Operator {
    pub(crate) fn new(signals: Signals, drain: Option<Duration>) -> Self {
        Self {
            notices: Notices::default(),
            signals: Some(signals),
            second: None,
            drain,
            home: None,
        }
    }

    /// The same one, that comes back when its handler is dropped, as at the end of a group.
    pub(crate) fn returning_to(mut self, home: mpsc::Sender<Self>) -> Self {
        self.home = Some(home);
        self
    }

    /// What brings the signals, if this is the loop that hears of them.
    pub(crate) const fn signals(&self) -> Option<&Signals> {
        self.signals.as_ref()
    }

    /// The loop has something to tell.
    pub(crate) fn notice(&mut self, notice: &Notice) {
        self.notices.tell(notice, Instant::now());
    }

    /// What of the notices is still to be told at the end.
    pub(crate) fn tell_the_rest(&self) {
        self.notices.tell_the_rest();
    }

    /// Something has come to what the loop watches, or it is time to look there: the loop drains or
    /// ends, if it was a signal.
    #[cold]
    pub(crate) fn notified<S>(&mut self, cx: &mut impl LoopContext<S>) {
        let Some(signals) = &mut self.signals else { return };
        match signals.next() {
            Some(Wish::End(signal)) => {
                announce(signal, self.drain);
                cx.stop(Stop::Drain(self.drain));
            }
            Some(Wish::EndNow(signal)) => {
                self.second = Some(signal);
                cx.stop(Stop::Now);
            }
            None => {}
        }
        if !signals.is_settled() {
            let at = cx.clock().after(PAUSE);
            cx.wake_at(Some(at));
        }
    }

    /// The signal that asked for the end to come at once, once there was one.
    pub(crate) fn second_signal(&mut self) -> Option<Signal> {
        if self.second.is_none()
            && let Some(Wish::EndNow(signal)) = self.signals.as_mut().and_then(Signals::next)
        {
            self.second = Some(signal);
        }
        self.second
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            let _ = home.send(std::mem::take(self));
        } else if self.signals.is_none() {
            // That of a loop that nobody asks at the end.
            self.tell_the_rest();
        }
    }
}

fn announce(signal: Signal, drain: Option<Duration>) {
    match drain {
        Some(Duration::ZERO) => tracing::info!("{signal}: ending at once"),
        Some(drain) => {
            let drain = humantime::format_duration(drain);
            tracing::info!(
                "{signal}: draining for {drain} at most; a second signal ends it at once"
            );
        }
        None => tracing::info!("{signal}: draining; a second signal ends it at once"),
    }
}
