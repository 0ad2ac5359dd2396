//! The threads of a group: how they begin, and how they end.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::{GroupHandle, GroupMetrics, LoopGroup, Prepared, Seat, Spread};
use crate::api::error::{Error, ErrorKind};
use crate::api::handler::{Handler, Stop};
use crate::api::id::LoopName;
use crate::api::metrics::Metrics;
use crate::core::Core;
use crate::event_loop::{EventLoop, Member, Registry};
use crate::kernel::Linux;
use crate::mailbox::{Handle, Mailbox};
use crate::store::common::Share;

/// What one loop is made of, on its way to its thread.
struct Parts {
    number: usize,
    core: Core<Linux>,
    mailbox: Mailbox,
}

/// What all threads see of the group.
struct Running<'a, H: Handler, F> {
    make: &'a F,
    handle: GroupHandle,
    registry: Arc<Registry<H, Linux>>,
    hands_on: bool,
    /// Why the group has to end; the first reason of several.
    failure: Mutex<Option<Error>>,
}

impl<H: Handler, F: Fn(Seat<H>) -> H + Sync> LoopGroup<H, F> {
    /// Serves until the group is stopped and all connections have ended. Blocks for all that time.
    /// The first loop runs on this thread, the others on threads of their own.
    ///
    /// A loop of a group does not end because it has neither a listener nor a connection, since
    /// others may give it some.
    ///
    /// # Errors
    ///
    /// When a loop can't be made, or it ends by itself: waiting for events failed, its last
    /// listener did, or its handler panicked where no callback runs, as while it was made. The
    /// error names the loop. All others are stopped at once ([`Stop::Now`]).
    pub fn run(mut self) -> Result<GroupMetrics, Error> {
        self.prepared()?;
        let Some(Prepared { cores, mailboxes, handle, registry }) = self.prepared.take() else {
            unreachable!("it was made just now")
        };
        let parts = join_up(cores, mailboxes, &handle);
        let hands_on = self.spread == Spread::Least && handle.count() > 1;
        let failure = Mutex::new(None);
        let running = Running { make: &self.make, handle, registry, hands_on, failure };
        let by_loop = running.run_all(parts);
        let failure = running.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        failure.map_or_else(|| Ok(GroupMetrics::of(by_loop)), Err)
    }
}

/// Gives each loop its name and its share of what all have in common. All descriptors of the group
/// are open by now, so that the rest is for connections (C24).
fn join_up(cores: Vec<Core<Linux>>, mailboxes: Vec<Mailbox>, handle: &GroupHandle) -> Vec<Parts> {
    let count = cores.len();
    let Some(first) = cores.first() else { return Vec::new() };
    let (cap, pipes) = first.shares_of(count);
    let tell = {
        let handles = Arc::clone(handle.handles());
        Box::new(move || handles.iter().for_each(Handle::freed))
    };
    let shares = Share::of_all(cap, count, tell);
    let parts = cores.into_iter().zip(mailboxes).zip(shares).enumerate();
    let join = parts.map(|(number, ((mut core, mailbox), share))| {
        core.become_member(LoopName::new(number, count), share, cap, pipes);
        Parts { number, core, mailbox }
    });
    join.collect()
}

impl<H: Handler, F: Fn(Seat<H>) -> H + Sync> Running<'_, H, F> {
    /// Runs all loops, the first on this thread, and waits until all have ended. Returns what each
    /// has counted.
    fn run_all(&self, parts: Vec<Parts>) -> Vec<Metrics> {
        let mut parts = parts.into_iter();
        let Some(first) = parts.next() else { return Vec::new() };
        thread::scope(|scope| {
            let threads: Vec<_> = parts
                .map_while(|parts| {
                    let number = parts.number;
                    let thread = thread::Builder::new().name(format!("loop-{number}"));
                    match thread.spawn_scoped(scope, move || self.run_one(parts)) {
                        Ok(thread) => Some(thread),
                        Err(error) => {
                            let what = format!("cannot start the thread of loop {number}");
                            self.fail(Error::new(ErrorKind::Setup, what, error));
                            None
                        }
                    }
                })
                .collect();
            let mut by_loop = vec![self.run_one(first)];
            // No panic leaves a thread.
            by_loop.extend(threads.into_iter().map(|thread| thread.join().unwrap_or_default()));
            by_loop
        })
    }

    /// Runs one loop on this thread until it ends. If that is no end in order, all others end, too.
    fn run_one(&self, parts: Parts) -> Metrics {
        let number = parts.number;
        let answer = catch_unwind(AssertUnwindSafe(|| self.serve(parts)));
        let metrics = match answer {
            Ok(Ok(metrics)) => metrics,
            Ok(Err(error)) => {
                self.fail(error.in_loop(number));
                Metrics::default()
            }
            Err(payload) => {
                let what = format!("loop {number} has ended");
                let message = io::Error::other(message_of(payload.as_ref()));
                self.fail(Error::new(ErrorKind::Run, what, message));
                // Dropping it may panic in turn.
                std::mem::forget(payload);
                Metrics::default()
            }
        };
        self.handle.has_ended(number, metrics);
        metrics
    }

    fn serve(&self, parts: Parts) -> Result<Metrics, Error> {
        let Parts { number, core, mailbox } = parts;
        let seat =
            Seat { number, group: self.handle.clone(), registry: Arc::clone(&self.registry) };
        let handler = (self.make)(seat);
        let group = self.handle.clone();
        let member = Member {
            number,
            handles: Arc::clone(self.handle.handles()),
            hands_on: self.hands_on,
            registry: Arc::clone(&self.registry),
            stop: Arc::new(move |stop| group.stop(stop)),
            // Any number but zero will do, and a different one for each loop.
            random: 0x9E37_79B9_7F4A_7C15 ^ (number as u64 + 1),
        };
        EventLoop::of_group(handler, core, mailbox, member).run()
    }

    /// The group has to end, for this reason unless there was one before.
    fn fail(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.handle.stop(Stop::Now);
    }
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.map_or_else(|| "a panic without a message".to_owned(), |text| format!("panic: {text}"))
}
