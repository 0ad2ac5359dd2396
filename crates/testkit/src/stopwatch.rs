//! How long something took, without the time for which the machine was given to others.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::process::Process;

/// How long the pulse sleeps at a time. What it sleeps beyond that, the machine did not run us.
const PULSE: Duration = Duration::from_millis(5);

/// Measures a time that must not be exceeded, on a machine that may have other work to do.
///
/// Too early is always wrong, and [`elapsed`](Self::elapsed) tells it. Too late is wrong only where
/// nobody was in the way. So [`used`](Self::used) leaves out for how long threads of the server
/// under test, and of this process, were ready to run and had no processor (`schedstat`), and for
/// how long this whole process stood still (a thread that sleeps, and notices that it overslept).
///
/// ```no_run
/// use std::time::Duration;
/// use testkit::{Server, Stopwatch};
///
/// let server = Server::start("/usr/bin/some-server", &[]);
/// let watch = Stopwatch::start(&[server.process()]);
/// server.log().expect_line("done");
/// watch.expect_within(Duration::from_secs(1));
/// ```
#[derive(Debug)]
pub struct Stopwatch {
    begin: Instant,
    pulse: Pulse,
}

impl Stopwatch {
    /// Starts it. The time for which one of these processes waits for a processor is left out, like
    /// that for which the calling thread does.
    #[must_use]
    pub fn start(processes: &[Process]) -> Self {
        Self { pulse: Pulse::start(Waits::of(processes)), begin: Instant::now() }
    }

    /// How long ago it was started.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// The same without the time for which others had the machine.
    #[must_use]
    pub fn used(&self) -> Duration {
        self.elapsed().saturating_sub(self.pulse.lost())
    }

    /// No more than `limit` has passed, others' time left out.
    ///
    /// # Panics
    ///
    /// When more has.
    #[track_caller]
    pub fn expect_within(&self, limit: Duration) {
        let (elapsed, used) = (self.elapsed(), self.used());
        assert!(used < limit, "it took {elapsed:?}, {used:?} of it its own, and not {limit:?}");
    }
}

/// For how long threads have been ready to run and had no processor. A kernel that does not count
/// that says 0.
#[derive(Debug)]
struct Waits {
    /// `schedstat` of the thread that asked for it.
    caller: PathBuf,
    processes: Vec<Process>,
    before: Vec<Duration>,
    /// The most that was seen: a process that has ended says nothing any more.
    most: Vec<Duration>,
}

impl Waits {
    fn of(processes: &[Process]) -> Self {
        let thread = fs::read_link("/proc/thread-self").unwrap_or_default();
        let mut waits = Self {
            caller: Path::new("/proc").join(thread).join("schedstat"),
            processes: processes.to_vec(),
            before: Vec::new(),
            most: Vec::new(),
        };
        waits.before = waits.now();
        waits.most.clone_from(&waits.before);
        waits
    }

    fn now(&self) -> Vec<Duration> {
        let caller = fs::read_to_string(&self.caller).unwrap_or_default();
        let caller = caller.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
        let theirs = self.processes.iter().map(|process| process.waited_for_processor());
        theirs.chain([Duration::from_nanos(caller.unwrap_or(0))]).collect()
    }

    /// How much there has been since the beginning.
    fn look(&mut self) -> Duration {
        let now = self.now();
        for (most, now) in self.most.iter_mut().zip(now) {
            *most = now.max(*most);
        }
        self.most.iter().zip(&self.before).map(|(most, before)| *most - *before).sum()
    }
}

/// A thread that sleeps and adds up how much longer that lasted than it should. It looks at the
/// waits now and then, as long as there is something to be seen.
#[derive(Debug)]
struct Pulse {
    overslept: Arc<AtomicU64>,
    waits: Arc<Mutex<Waits>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    fn start(waits: Waits) -> Self {
        let overslept = Arc::new(AtomicU64::new(0));
        let waits = Arc::new(Mutex::new(waits));
        let over = Arc::new(AtomicBool::new(false));
        let (total, seen, ended) = (Arc::clone(&overslept), Arc::clone(&waits), Arc::clone(&over));
        let beat = move || {
            while !ended.load(Ordering::Relaxed) {
                let begin = Instant::now();
                thread::sleep(PULSE);
                // What the kernel's own timers may add is no lag.
                let lag = begin.elapsed().saturating_sub(PULSE + PULSE / 5);
                let nanos = u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX);
                total.fetch_add(nanos, Ordering::Relaxed);
                seen.lock().unwrap_or_else(PoisonError::into_inner).look();
            }
        };
        // Where no thread can be had, nothing is left out.
        let thread = thread::Builder::new().name("pulse".to_owned()).spawn(beat).ok();
        Self { overslept, waits, over, thread }
    }

    /// For how long others have had the machine.
    fn lost(&self) -> Duration {
        let waited = self.waits.lock().unwrap_or_else(PoisonError::into_inner).look();
        waited + Duration::from_nanos(self.overslept.load(Ordering::Relaxed))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::id;

    use super::*;
    use crate::wait::{SetOnDrop, eventually};

    #[test]
    fn what_passes_counts_and_no_more_than_passes() {
        let watch = Stopwatch::start(&[]);
        thread::sleep(Duration::from_millis(50));
        assert!(watch.elapsed() >= Duration::from_millis(50));
        assert!(watch.used() <= watch.elapsed());
        watch.expect_within(Duration::from_secs(5));
    }

    #[test]
    #[should_panic(expected = "of it its own")]
    fn what_takes_too_long_is_told() {
        // Of no process: in this one other tests make threads wait for a processor.
        let watch = Stopwatch::start(&[]);
        eventually("time passes", || watch.used() > Duration::from_millis(20));
        watch.expect_within(Duration::from_millis(10));
    }

    #[test]
    fn what_a_crowded_machine_takes_is_left_out() {
        let me = Process::new(id());
        let watch = Stopwatch::start(&[me]);
        let over = AtomicBool::new(false);
        let threads = thread::available_parallelism().map_or(1, usize::from) + 2;
        thread::scope(|scope| {
            let _at_the_end = SetOnDrop(&over);
            for _ in 0..threads {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            eventually("it is noticed", || watch.used() < watch.elapsed() / 2);
        });
    }
}
