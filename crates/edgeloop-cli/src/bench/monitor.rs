//! Watches the load generator itself: whether it was stopped, or kept from a processor, or busy.
//!
//! A thread of its own sleeps for a hundredth of a second again and again. What it sleeps longer is
//! time in which the process was stopped, or in which it had to wait for a processor; the kernel
//! tells the latter for each thread (`/proc/self/task/TID/schedstat`, sched-stats.rst), so both can
//! be told apart.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use edgeloop::Time;

use super::gate::Gate;
use super::record::{LATE, Lags};
use crate::results::nanos;

/// How often it looks.
const EVERY: Duration = Duration::from_millis(10);

/// What it has seen in the measured time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Watched {
    /// The longest time for which the process did not run, in nanoseconds.
    pub(crate) stall: u64,
    /// The longest that a thread waited for a processor between two looks.
    pub(crate) wait: u64,
    /// All of either that were longer than [`LATE`].
    pub(crate) lags: Lags,
    /// The share of the time in which the busiest thread ran, and in which the unluckiest one
    /// waited for a processor.
    pub(crate) busy: Option<f64>,
    pub(crate) waited: Option<f64>,
}

impl Watched {
    /// Adds what was seen of a later run.
    pub(crate) fn add(&mut self, later: &Self) {
        self.stall = self.stall.max(later.stall);
        self.wait = self.wait.max(later.wait);
        self.lags.add(&later.lags);
        let most = |mine: Option<f64>, theirs| mine.map(|mine| mine.max(theirs)).or(Some(theirs));
        if let Some(busy) = later.busy {
            self.busy = most(self.busy, busy);
        }
        if let Some(waited) = later.waited {
            self.waited = most(self.waited, waited);
        }
    }
}

/// The threads of a run, which tell their numbers.
pub(crate) type Threads = Arc<Mutex<Vec<i32>>>;

/// The thread that watches.
pub(crate) struct Monitor {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Watched>,
}

impl Monitor {
    /// Watches these threads, in the time that begins `warmup` behind the gate.
    pub(crate) fn start(gate: &Arc<Gate>, warmup: Duration, threads: &Threads) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (gate, threads, stopped) = (Arc::clone(gate), Arc::clone(threads), Arc::clone(&stop));
        let thread = thread::Builder::new().name("monitor".to_owned()).spawn(move || {
            let begin = || Some(Time::from_nanos(gate.begin()?).after(warmup));
            watch(begin, || gate.is_left() || stopped.load(Ordering::Acquire), &threads)
        })?;
        Ok(Self { stop, thread })
    }

    /// What it has seen; None if it failed.
    pub(crate) fn finish(self) -> Option<Watched> {
        self.stop.store(true, Ordering::Release);
        self.thread.join().ok()
    }
}

/// What the kernel knows of a thread, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spent {
    running: u64,
    waiting: u64,
}

impl Spent {
    fn of(thread: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_whitespace().map(str::parse);
        Some(Self { running: numbers.next()?.ok()?, waiting: numbers.next()?.ok()? })
    }
}

/// A thread that is watched.
struct One {
    number: i32,
    first: Spent,
    last: Spent,
}

fn watch(
    begin: impl Fn() -> Option<Time>,
    is_over: impl Fn() -> bool,
    threads: &Threads,
) -> Watched {
    let mut watched = Watched::default();
    let mut ones: Vec<One> = Vec::new();
    let own = rustix::thread::gettid().as_raw_nonzero().get();
    let (mut since, mut until) = (None, Instant::now());
    let mut last = Spent::of(own);
    while !is_over() {
        let before = Instant::now();
        thread::sleep(EVERY);
        let slept = nanos(before.elapsed().saturating_sub(EVERY));
        let spent = Spent::of(own);
        let own_wait = last.zip(spent).map_or(0, |(last, now)| now.waiting - last.waiting);
        last = spent;
        let now = Instant::now();
        let numbers = threads.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for number in numbers.into_iter().skip(ones.len()) {
            // At its beginning it had spent nothing.
            let none = Spent { running: 0, waiting: 0 };
            ones.push(One { number, first: none, last: none });
        }
        let Some(begun) = begin().and_then(going_on) else {
            // What is measured begins behind this look.
            for one in &mut ones {
                one.first = Spent::of(one.number).unwrap_or(one.first);
                one.last = one.first;
            }
            (since, until) = (Some(now), now);
            continue;
        };
        since.get_or_insert(before);
        // The first look may have begun before that.
        let stall = slept.saturating_sub(own_wait).min(nanos(begun));
        watched.stall = watched.stall.max(stall);
        let mut longest = stall;
        for one in &mut ones {
            let Some(now) = Spent::of(one.number) else { continue };
            let wait = now.waiting.saturating_sub(one.last.waiting);
            watched.wait = watched.wait.max(wait);
            longest = longest.max(wait);
            one.last = now;
        }
        if longest > LATE {
            watched.lags.record(longest, 1);
        }
        until = now;
    }
    if let Some(since) = since {
        let all = until.saturating_duration_since(since).as_secs_f64();
        let share = |spent: fn(&Spent) -> u64| {
            let shares = ones.iter().map(|one| spent(&one.last).saturating_sub(spent(&one.first)));
            let most = shares.max().filter(|_| all > 0.0)?;
            Some((Duration::from_nanos(most).as_secs_f64() / all).min(1.0))
        };
        watched.busy = share(|spent| spent.running);
        watched.waited = share(|spent| spent.waiting);
    }
    watched
}

/// What a clock on the wall showed at a time; None if it is still to come.
pub(crate) fn time_of_day(at: Time) -> Option<SystemTime> {
    let now = monotonic();
    if now < at { None } else { SystemTime::now().checked_sub(now.since(at)) }
}

/// For how long the measured time goes on, if it has begun.
fn going_on(begin: Time) -> Option<Duration> {
    let now = monotonic();
    (now >= begin).then(|| now.since(begin))
}

pub(super) fn monotonic() -> Time {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Time::from_nanos(now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_tells_of_a_thread_is_read() {
        let spent = Spent { running: 12, waiting: 34 };
        assert_eq!(Spent::parse("12 34 5\n"), Some(spent));
        assert_eq!((Spent::parse(""), Spent::parse("1 x 3")), (None, None));
    }

    #[test]
    fn a_thread_that_never_rests_is_busy_or_waits_for_a_processor() {
        let threads: Threads = Threads::default();
        let (done, numbers) = (Arc::new(AtomicBool::new(false)), Arc::clone(&threads));
        let over = Arc::clone(&done);
        let (told, tells) = std::sync::mpsc::channel();
        let spins = thread::spawn(move || {
            let number = rustix::thread::gettid().as_raw_nonzero().get();
            numbers.lock().expect("no panic").push(number);
            told.send(()).expect("it is awaited");
            while !over.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
        });
        tells.recv().expect("it has begun");
        let until = Instant::now() + Duration::from_millis(300);
        let begin = monotonic().after(Duration::from_millis(50));
        let watched = watch(|| Some(begin), || Instant::now() > until, &threads);
        done.store(true, Ordering::Release);
        spins.join().expect("no panic");
        let (busy, waited) = (watched.busy.expect("some"), watched.waited.expect("some"));
        // A wait counts when it is over, and the last one may be a long one.
        assert!(busy + waited > 0.3, "{busy} busy and {waited} waited");
    }
}
