//! A run: a loop on each of its threads, and this one that gathers what they tell.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use edgeloop::{Config, EventLoop, Metrics, Time};

use super::course::{End, Outcome, Part, Tick};
use super::datagrams::DatagramWorker;
use super::gate::Gate;
use super::interrupt::Interrupt;
use super::monitor::{self, Monitor, Threads, Watched, monotonic};
use super::plan::{Plan, Share};
use super::record::{Before, Measured};
use super::seconds::{Moment, Pool, Second, Seconds, Watcher};
use super::steps::Steps;
use super::verdict::Verdict;
use super::worker::Worker;
use crate::exit::Failure;

/// How often whoever watches is called, at least.
const LOOK: Duration = Duration::from_millis(100);

/// What a loop may queue for each connection: a chunk, as it lies in pages.
const QUEUED: usize = 128 * 1024;

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
    /// Connections that were made to each of the addresses, from the beginning on.
    pub(crate) made: Vec<u64>,
    /// The steps of a profile.
    pub(crate) steps: Option<Steps>,
    /// What was seen of the load generator itself, if it could be watched.
    pub(crate) watched: Option<Watched>,
    /// Datagrams that this machine's own receive buffers had no room for, if that is known.
    pub(crate) receive_drops: Option<u64>,
    /// Waits of all loops that could block.
    pub(crate) waits: u64,
    /// How many threads there were.
    pub(crate) threads: usize,
}

impl Done {
    /// Adds a run that was made after this one. Neither has a profile.
    pub(crate) fn append(&mut self, later: Self) {
        self.measured.add(&later.measured);
        self.verdict.add(&later.verdict);
        self.end = self.end.and(later.end);
        self.from = self.from.or(later.from);
        self.span += later.span;
        self.alive = later.alive;
        self.before.add(&later.before);
        for (mine, theirs) in self.made.iter_mut().zip(later.made) {
            *mine += theirs;
        }
        self.threads = self.threads.max(later.threads);
        match (&mut self.watched, later.watched) {
            (Some(mine), Some(theirs)) => mine.add(&theirs),
            (mine, theirs) => *mine = mine.take().or(theirs),
        }
        self.receive_drops = plus(self.receive_drops, later.receive_drops);
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

/// One count of two that is only known if both are.
fn plus(one: Option<u64>, two: Option<u64>) -> Option<u64> {
    Some(one?.saturating_add(two?))
}

enum Report {
    Tick(Box<(Tick, Measured)>),
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
    if plan.has_datagrams() {
        run_as::<DatagramWorker>(plan, watcher, interrupt)
    } else {
        run_as::<Worker>(plan, watcher, interrupt)
    }
}

fn run_as<W: Part>(
    plan: &Plan,
    watcher: &mut dyn Watcher,
    interrupt: &Interrupt,
) -> Result<Done, Failure> {
    // Before their parts are shared out: where threads are few, each does more.
    let mut started = start(plan.shares().len(), watcher);
    let plan = Plan { threads: started.len().max(1), ..plan.clone() };
    let shares = plan.shares();
    let threads = shares.len();
    let gate = Arc::new(Gate::new(threads));
    let pool = Arc::new(Mutex::new(Vec::new()));
    let (reports_in, reports) = mpsc::channel();
    let mut loops = Vec::new();
    for share in shares {
        loops.push(make::<W>(share, &gate, &pool, &reports_in, interrupt)?);
    }
    interrupt.attach(&gate, loops.iter().map(EventLoop::handle).collect());
    let numbers = Threads::default();
    // Without it, what it would have seen is unknown.
    let monitor = Monitor::start(&gate, plan.extent.warmup, &numbers).ok();
    for event_loop in loops {
        let (reports, numbers) = (reports_in.clone(), Arc::clone(&numbers));
        let job = Job { event_loop, reports, numbers };
        match started.pop() {
            Some(thread) => drop(thread.send(job)),
            None => job.run(),
        }
    }
    drop(reports_in);
    let seconds = Seconds::new(plan.tick, watcher, &pool);
    let done = gather(&reports, threads, &gate, seconds, interrupt)?;
    let from = gate.begin().map(|begin| Time::from_nanos(begin).after(plan.extent.warmup));
    let from = from.and_then(monitor::time_of_day);
    Ok(Done { watched: monitor.and_then(Monitor::finish), from, ..done })
}

/// Starts as many of these threads as there can be. Each does the job that it is sent.
fn start<W: Part>(threads: usize, watcher: &mut dyn Watcher) -> Vec<SyncSender<Job<W>>> {
    let mut started = Vec::new();
    for number in 1..=threads {
        let (sender, jobs) = mpsc::sync_channel::<Job<W>>(1);
        let run = move || jobs.recv().into_iter().for_each(Job::run);
        if let Err(error) = thread::Builder::new().name("bench".to_owned()).spawn(run) {
            let rest = match started.len() {
                0 => "measuring on the main thread, without progress".to_owned(),
                1 => "measuring with 1 thread".to_owned(),
                some => format!("measuring with {some} threads"),
            };
            let which = match threads {
                1 => "a thread".to_owned(),
                _ => format!("thread {number} of --threads {threads}"),
            };
            watcher.say(&format!("cannot start {which}: {error}; {rest}"));
            break;
        }
        started.push(sender);
    }
    started
}

/// What one thread does.
struct Job<W: Part> {
    event_loop: EventLoop<W>,
    reports: Sender<Report>,
    numbers: Threads,
}

impl<W: Part> Job<W> {
    fn run(mut self) {
        let number = rustix::thread::gettid().as_raw_nonzero().get();
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).push(number);
        let ran = self.event_loop.run();
        let outcome = ran.map(|metrics| (self.event_loop.into_handler().into_outcome(), metrics));
        // Whoever gathers has gone only if it failed.
        let _ = self.reports.send(Report::Done(Box::new(outcome)));
    }
}

/// The loop of one thread.
fn make<W: Part>(
    share: Share,
    gate: &Arc<Gate>,
    pool: &Pool,
    reports: &Sender<Report>,
    interrupt: &Interrupt,
) -> Result<EventLoop<W>, Failure> {
    let config = settings(&share);
    let (pool, reports, interrupt) = (Arc::clone(pool), reports.clone(), interrupt.clone());
    let tell = move |tick, measured: &mut Measured| {
        let empty = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let measured = std::mem::replace(measured, empty.unwrap_or_default());
        let _ = reports.send(Report::Tick(Box::new((tick, measured))));
        interrupt.look_if_alone();
    };
    let worker = W::new(share, Arc::clone(gate), Box::new(tell));
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
        .high_watermark(0)
        .low_watermark(0)
        .read_above_mark(true)
        // Four calls for each connection; what is in flight shows a peer that has vanished.
        .keepalive(None)
        .buffer_limit(share.connections.saturating_mul(QUEUED).max(256 << 20))
}

/// Adds up what the threads tell, until all have come to their ends.
fn gather(
    reports: &Receiver<Report>,
    threads: usize,
    gate: &Gate,
    mut seconds: Seconds<'_>,
    interrupt: &Interrupt,
) -> Result<Done, Failure> {
    let begin = Instant::now();
    let mut ticks: BTreeMap<u64, (usize, Second)> = BTreeMap::new();
    // How many ticks those threads told of that tell of no more.
    let mut finished: Vec<u64> = Vec::new();
    let mut outcomes = Vec::new();
    let mut waits = 0;
    while outcomes.len() < threads {
        match reports.recv_timeout(LOOK) {
            Ok(Report::Tick(told)) => {
                let (tick, measured) = *told;
                let number = tick.number;
                let others = ticks.remove(&number);
                let told = 1 + others.as_ref().map_or(0, |(told, _)| *told);
                let slice = seconds.add_tick(others.map(|(_, slice)| slice), &tick, measured);
                ticks.insert(number, (told, slice));
            }
            Ok(Report::Done(outcome)) => {
                let (outcome, metrics) = (*outcome)?;
                waits += metrics.turns - metrics.polls;
                finished.push(outcome.ticks);
                outcomes.push(outcome);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::fatal("a thread of the run has ended early"));
            }
        }
        // Each tick is large: none is kept until threads tell of it that have ended.
        while let Some(first) = ticks.first_entry() {
            let over = finished.iter().filter(|&&ticks| ticks <= *first.key()).count();
            if first.get().0 + over < threads {
                break;
            }
            seconds.add(first.remove().1);
        }
        let begun = gate.begin().map(|begin| monotonic().since(Time::from_nanos(begin)));
        let moment = Moment { elapsed: begin.elapsed(), opened: gate.opened(), begun };
        seconds.watcher.look(&moment);
        interrupt.look_if_alone();
    }
    let total = seconds.finish();
    let mut verdict = Verdict::default();
    let mut end = End::NoConnection;
    let (mut span, mut alive, mut before, mut made) = (0, 0, Before::default(), Vec::new());
    let mut steps: Option<Steps> = None;
    let mut receive_drops = Some(0);
    for outcome in outcomes {
        match (&mut steps, outcome.steps) {
            (Some(steps), Some(others)) => steps.add(&others),
            (None, others) => steps = others,
            (Some(_), None) => {}
        }
        receive_drops = plus(receive_drops, outcome.receive_drops);
        before.add(&outcome.before);
        made.resize(outcome.made.len(), 0);
        made.iter_mut().zip(&outcome.made).for_each(|(all, made)| *all += made);
        verdict.add(&outcome.verdict);
        span = span.max(outcome.span);
        alive += outcome.alive;
        end = end.and(outcome.end);
    }
    let span = Duration::from_nanos(span);
    let (measured, from, watched) = (total, None, None);
    Ok(Done {
        measured,
        verdict,
        end,
        from,
        span,
        alive,
        before,
        made,
        steps,
        watched,
        receive_drops,
        waits,
        threads,
    })
}
