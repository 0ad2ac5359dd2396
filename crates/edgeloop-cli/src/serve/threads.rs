//! Serving on several threads: a group of loops, whose first hears of the signals.

use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use edgeloop::{Handler, LoopGroup, Seat};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::config::ServeConfig;
use super::operator::{Operated, Operator};
use super::udp::DatagramEcho;
use super::{Served, Setup, end, watch_signals};
use crate::log::Log;

/// Serves until a signal.
pub(super) fn serve<H: Handler + Operated>(
    handler: impl Fn(Operator, DatagramEcho) -> H + Sync,
    config: &ServeConfig,
    setup: Setup<'_>,
    log: &Log,
) -> Served {
    let threads = &config.threads;
    // Before the threads begin, which have them blocked like this one.
    let signals = watch_signals()?;
    let operators = Mutex::new(None);
    let processors = threads.pin.then(processors);
    let make = |seat: Seat<H>| {
        if let Some(processors) = &processors {
            pin(seat.number(), processors);
        }
        let operator = if seat.number() == 0 {
            operators.lock().unwrap_or_else(PoisonError::into_inner).take()
        } else {
            None
        };
        handler(operator.unwrap_or_default(), DatagramEcho::new(config.udp))
    };
    let mut group = LoopGroup::new(make)
        .threads(threads.count())
        .spread(threads.spread)
        .config(config.event_loop.clone());
    group.notify_on(&signals)?;
    setup.listen(&mut group, config, log)?;
    let handle = group.handle()?;
    let (home, operator) = mpsc::channel();
    let first = Operator::new(signals, config.drain_timeout).returning_to(home);
    *operators.lock().unwrap_or_else(PoisonError::into_inner) = Some(first);
    let begin = Instant::now();
    let run = group.run();
    let metrics =
        run.as_ref().map_or_else(|_| handle.metrics(Duration::ZERO), |all| Some(all.clone()));
    let metrics = metrics.map(|all| all.total).unwrap_or_default();
    // If its loop could not begin, it is where it was.
    let waits = operators.into_inner().unwrap_or_else(PoisonError::into_inner);
    drop(waits);
    let operator = operator.try_recv().unwrap_or_default();
    Ok(end(run.map(drop), &metrics, operator, None, begin, log))
}

/// The processors that this process may use.
fn processors() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::MAX_CPU).filter(|&processor| allowed.is_set(processor)).collect()
}

/// Binds this thread, the one of this number, to one of them.
fn pin(number: usize, processors: &[usize]) {
    let Some(&processor) = processors.get(number % processors.len().max(1)) else { return };
    let mut one = CpuSet::new();
    one.set(processor);
    if let Err(error) = sched_setaffinity(None, &one) {
        tracing::warn!("--pin: cannot bind thread {number} to processor {processor}: {error}");
    }
}
