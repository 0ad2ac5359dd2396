//! A run: a loop on each of its threads, and this one that gathers what they tell.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use edgeloop::{Config, EventLoop, Metrics, Time};

use super::gate::Gate;
use super::interrupt::Interrupt;
use super::monitor::{self, Monitor, Threads, Watched};
use super::plan::{Plan, Share};
use super::record::{Before, Measured};
use super::verify::Verdict;
use super::worker::{End, Outcome, Tick, Worker};
use crate::exit::Failure;

/// How often whoever watches is called, at least.
const LOOK: Duration = Duration::from_millis(100);

/// What a loop may queue for each connection: a chunk, as it lies in pages.
const QUEUED: usize = 128 * 1024;

/// A second of a run, of all threads together.
#[derive(Debug, Default)]
pub(crate) struct Second {
    /// From 0 on.
    pub(crate) number: u64,
    /// How much of it was measured.
    pub(crate) span: Duration,
    pub(crate) measured: Measured,
    /// At its end.
    pub(crate) alive: usize,
    pub(crate) in_flight: usize,
}

/// Is shown how a run goes.
pub(crate) trait Watcher {
    /// All threads have told of this second.
    fn second(&mut self, second: &Second);

    /// Called several times a second.
    fn look(&mut self, elapsed: Duration);

    /// Something has to be said.
    fn say(&mut self, line: &str);
}

/// What a run has come to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) measured: Measured,
    pub(crate) verdict: Verdict,
    pub(crate) end: End,
    /// When the measured time began, if it did.
    pub(crate) from: Option<SystemTime>,
    /// For how long it was measured.
    pub(crate) span: Duration,
    /// Connections that were open at the end.
    pub(crate) alive: usize,
    /// What happened before that time.
    pub(crate) before: Before,
    /// What was seen of the load generator itself, if it could be watched.
    pub(crate) watched: Option<Watched>,
    /// Waits of all loops that could block.
    pub(crate) waits: u64,
}

impl Done {
    /// Adds a run that was made after this one.
    pub(crate) fn append(&mut self, later: Self) {
        self.measured.add(&later.measured);
        self.verdict.add(&later.verdict);
        self.end = self.end.and(later.end);
        self.from = self.from.or(later.from);
        self.span += later.span;
        self.alive = later.alive;
        self.before.add(&later.before);
        match (&mut self.watched, later.watched) {
            (Some(mine), Some(theirs)) => mine.add(&theirs),
            (mine, theirs) => *mine = mine.take().or(theirs),
        }
        self.waits += later.waits;
    }
}

impl End {
    /// What two parts of a run have come to together.
    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Interrupted, _) | (_, Self::Interrupted) => Self::Interrupted,
            (Self::Stalled, _) | (_, Self::Stalled) => Self::Stalled,
            (Self::Whole, _) | (_, Self::Whole) => Self::Whole,
            _ => Self::NoConnection,
        }
    }
}

enum Report {
    Tick(Box<Tick>),
    Done(Box<Result<(Outcome, Metrics), edgeloop::Error>>),
}

/// Runs, and blocks until the end.
///
/// # Errors
///
/// When a loop can't be made, or fails.
pub(crate) fn run(
    plan: &Plan,
    watcher: &mut dyn Watcher,
    interrupt: &Interrupt,
) -> Result<Done, Failure> {
    let shares = plan.shares();
    let threads = shares.len();
    let gate = Arc::new(Gate::new(threads));
    let pool = Arc::new(Mutex::new(Vec::new()));
    let (reports_in, reports) = mpsc::channel();
    let mut loops = Vec::new();
    for share in shares {
        loops.push(make(share, &gate, &pool, &reports_in, interrupt)?);
    }
    interrupt.attach(&gate, loops.iter().map(EventLoop::handle).collect());
    let numbers = Threads::default();
    // Without it, what it would have seen is unknown.
    let monitor = Monitor::start(&gate, plan.extent.warmup, &numbers).ok();
    for (number, event_loop) in (1..).zip(loops) {
        // Whoever can start no thread does not lose the loop.
        let event_loop = Arc::new(Mutex::new(Some(event_loop)));
        let (reports, threads_in) = (reports_in.clone(), Arc::clone(&numbers));
        let job = Job { event_loop: Arc::clone(&event_loop), reports, numbers: threads_in };
        let job = move || job.run();
        match thread::Builder::new().name("bench".to_owned()).spawn(job) {
            Ok(_) => {}
            Err(error) if threads == 1 => {
                watcher.say(&format!(
                    "cannot start a thread: {error}; measuring on this one, and showing nothing meanwhile"
                ));
                let (reports, numbers) = (reports_in.clone(), Arc::clone(&numbers));
                Job { event_loop, reports, numbers }.run();
            }
            Err(error) => {
                return Err(Failure::fatal(format!(
                    "cannot start thread {number} of --threads {threads}: {error}"
                )));
            }
        }
    }
    drop(reports_in);
    let done = gather(&reports, threads, &pool, watcher, interrupt)?;
    let from = gate.begin().map(|begin| Time::from_nanos(begin).after(plan.extent.warmup));
    let from = from.and_then(monitor::time_of_day);
    Ok(Done { watched: monitor.and_then(Monitor::finish), from, ..done })
}

/// What one thread does.
struct Job {
    event_loop: Arc<Mutex<Option<EventLoop<Worker>>>>,
    reports: Sender<Report>,
    numbers: Threads,
}

impl Job {
    fn run(self) {
        let number = rustix::thread::gettid().as_raw_nonzero().get();
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        let event_loop = self.event_loop.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut event_loop) = event_loop else { return };
        let ran = event_loop.run();
        let outcome = ran.map(|metrics| (event_loop.into_handler().into_outcome(), metrics));
        // Whoever gathers has gone only if it failed.
        let _ = self.reports.send(Report::Done(Box::new(outcome)));
    }
}

type Pool = Arc<Mutex<Vec<Measured>>>;

/// The loop of one thread.
fn make(
    share: Share,
    gate: &Arc<Gate>,
    pool: &Pool,
    reports: &Sender<Report>,
    interrupt: &Interrupt,
) -> Result<EventLoop<Worker>, Failure> {
    let config = settings(&share);
    let (pool, reports, interrupt) = (Arc::clone(pool), reports.clone(), interrupt.clone());
    let tell = move |tick| {
        let _ = reports.send(Report::Tick(Box::new(tick)));
        interrupt.look_if_alone();
        pool.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    };
    let worker = Worker::new(share, Arc::clone(gate), Box::new(tell));
    let mut event_loop = EventLoop::with_config(worker, config)?;
    event_loop.wake_at(Some(Time::ZERO));
    Ok(event_loop)
}

/// The settings of a thread's loop.
pub(crate) fn settings(share: &Share) -> Config {
    Config::new()
        .connect_timeout(share.plan.connect_timeout)
        .busy_poll(share.plan.busy_poll)
        // As soon as anything is left over, a connection is given no more.
        .watermarks(0, 0)
        .read_above_mark(true)
        // Four calls for each connection; what is in flight shows a peer that has vanished.
        .keepalive(None)
        .buffer_limit(share.connections.saturating_mul(QUEUED).max(256 << 20))
}

/// Adds up what the threads tell, until all have come to their ends.
fn gather(
    reports: &Receiver<Report>,
    threads: usize,
    pool: &Pool,
    watcher: &mut dyn Watcher,
    interrupt: &Interrupt,
) -> Result<Done, Failure> {
    let begin = Instant::now();
    let mut seconds: BTreeMap<u64, (usize, Second)> = BTreeMap::new();
    let mut total = Measured::default();
    let mut outcomes = Vec::new();
    let mut waits = 0;
    while outcomes.len() < threads {
        match reports.recv_timeout(LOOK) {
            Ok(Report::Tick(tick)) => {
                total.add(&tick.measured);
                let fresh = || (0, Second { number: tick.second, ..Second::default() });
                let (told, second) = seconds.entry(tick.second).or_insert_with(fresh);
                *told += 1;
                second.alive += tick.alive;
                second.in_flight += tick.in_flight;
                second.span = second.span.max(Duration::from_nanos(tick.span));
                second.measured.add(&tick.measured);
                let mut spent = tick.measured;
                spent.clear();
                pool.lock().unwrap_or_else(PoisonError::into_inner).push(spent);
                if *told == threads
                    && let Some((_, second)) = seconds.remove(&tick.second)
                {
                    watcher.second(&second);
                }
            }
            Ok(Report::Done(outcome)) => {
                let (outcome, metrics) = (*outcome)?;
                waits += metrics.turns - metrics.polls;
                outcomes.push(outcome);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::fatal("a thread of the run has ended before its time"));
            }
        }
        watcher.look(begin.elapsed());
        interrupt.look_if_alone();
    }
    // Threads that had fewer seconds to tell of than others.
    for (_, second) in seconds.into_values() {
        watcher.second(&second);
    }
    let mut verdict = Verdict::default();
    let mut end = End::NoConnection;
    let (mut span, mut alive, mut before) = (0, 0, Before::default());
    for outcome in outcomes {
        before.add(&outcome.before);
        verdict.add(&outcome.verdict);
        span = span.max(outcome.span);
        alive += outcome.alive;
        end = end.and(outcome.end);
    }
    let span = Duration::from_nanos(span);
    let (from, watched) = (None, None);
    Ok(Done { measured: total, verdict, end, from, span, alive, before, watched, waits })
}
