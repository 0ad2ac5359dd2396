//! A server's process, seen through `/proc`: its run time, and whether it sleeps.

use std::fs;
use std::hint;
use std::io;
use std::time::{Duration, Instant};

/// How long a server may take to fall asleep when there is nothing left for it to do.
const REST: Duration = Duration::from_secs(5);

/// How long threads may run that only have to do with the start.
const BEGINNING: Duration = Duration::from_secs(2);

/// A process, known by its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pid: u32,
}

/// What a thread has used of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Schedule {
    /// Nanoseconds of run time.
    pub(crate) run: u64,
    /// How often it was given a processor.
    pub(crate) times: u64,
}

/// What a process occupies, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Pages in memory, those of files counted.
    pub(crate) resident: u64,
    /// Of these, what belongs to no file: heap, stacks, anonymous mappings.
    pub(crate) anonymous: u64,
}

impl Process {
    pub(crate) const fn new(pid: u32) -> Self {
        Self { pid }
    }

    pub(crate) const fn pid(self) -> u32 {
        self.pid
    }

    fn read(self, name: &str) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/{name}", self.pid))
    }

    /// The threads; io_uring's workers are among them.
    fn threads(self) -> io::Result<Vec<String>> {
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("/proc/{}/task", self.pid))? {
            threads.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(threads)
    }

    /// What all threads together have used. The first number is exact when they sleep.
    pub(crate) fn schedule(self) -> io::Result<Schedule> {
        let mut sum = Schedule::default();
        for thread in self.threads()? {
            // A thread that has just ended has no such file; what it used is lost with it.
            let Ok(line) = self.read(&format!("task/{thread}/schedstat")) else { continue };
            let one = parse_schedstat(&line).ok_or_else(|| {
                io::Error::other(format!("schedstat of process {} says {line:?}", self.pid))
            })?;
            sum.run += one.run;
            sum.times += one.times;
        }
        Ok(sum)
    }

    /// Whether no thread runs or wants to.
    fn is_asleep(self) -> io::Result<bool> {
        for thread in self.threads()? {
            if let Ok(stat) = self.read(&format!("task/{thread}/stat"))
                && !matches!(parse_state(&stat), Some('S' | 'I'))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits until every thread sleeps and the run time stands still, and returns that.
    ///
    /// # Errors
    ///
    /// When that does not come to pass, as with a server that spins.
    pub(crate) fn settle(self) -> io::Result<Schedule> {
        let begin = Instant::now();
        let mut last = None;
        loop {
            let asleep = self.is_asleep()?;
            let now = self.schedule()?;
            if asleep && last == Some(now) {
                return Ok(now);
            }
            last = asleep.then_some(now);
            if begin.elapsed() > REST {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it never sleeps"));
            }
            for _ in 0..200 {
                hint::spin_loop();
            }
        }
    }

    /// Waits until it has one thread, or so long that it seems to need more. What a program has
    /// started for its beginning alone may outlast that a little.
    pub(crate) fn wait_for_one_thread(self) -> io::Result<()> {
        wait_until(BEGINNING, || Ok(self.threads()?.len() == 1)).map(drop)
    }

    /// Waits until its first thread is stopped, by a signal or a tracer.
    pub(crate) fn wait_for_stop(self) -> io::Result<()> {
        let is_stopped = || Ok(matches!(parse_state(&self.read("stat")?), Some('T' | 't')));
        if wait_until(REST, is_stopped)? {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::TimedOut, "it does not stop"))
        }
    }

    /// What it occupies now.
    pub(crate) fn memory(self) -> io::Result<Memory> {
        // The counters in `status` are kept for each processor and run behind by some pages;
        // `smaps_rollup` walks the page tables.
        let rollup = self.read("smaps_rollup")?;
        let bytes = |name| {
            kibibytes(&rollup, name)
                .map(|kib| kib * 1024)
                .ok_or_else(|| io::Error::other(format!("smaps_rollup has no {name}")))
        };
        Ok(Memory { resident: bytes("Rss:")?, anonymous: bytes("Anonymous:")? })
    }

    /// How often its threads gave up the processor of themselves: each wake-up ends so.
    pub(crate) fn voluntary_switches(self) -> io::Result<u64> {
        let mut sum = 0;
        for thread in self.threads()? {
            let Ok(status) = self.read(&format!("task/{thread}/status")) else { continue };
            sum += kibibytes(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        }
        Ok(sum)
    }
}

/// `schedstat`: nanoseconds run, nanoseconds waited, times scheduled.
fn parse_schedstat(line: &str) -> Option<Schedule> {
    let mut fields = line.split_whitespace().map(str::parse);
    let run = fields.next()?.ok()?;
    fields.next()?.ok()?;
    Some(Schedule { run, times: fields.next()?.ok()? })
}

/// The letter of a thread's state.
fn parse_state(stat: &str) -> Option<char> {
    field_behind_name(stat, 3)?.chars().next()
}

/// A field of a line of `/proc/PID/stat`, by its number in proc(5): one behind the second field,
/// the name of the program, which stands in parentheses and may hold any character.
pub(crate) fn field_behind_name(stat: &str, number: usize) -> Option<&str> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(number.checked_sub(3)?)
}

/// Tries until the condition holds, but no longer than so. Returns whether it does.
pub(crate) fn wait_until(
    limit: Duration,
    mut holds: impl FnMut() -> io::Result<bool>,
) -> io::Result<bool> {
    let begin = Instant::now();
    while !holds()? {
        if begin.elapsed() > limit {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(true)
}

/// The number behind a name at the beginning of a line.
pub(crate) fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_is_run_time_waiting_time_and_turns() {
        let all = Schedule { run: 123_456, times: 7 };
        assert_eq!(parse_schedstat("123456 99 7\n"), Some(all));
        for wrong in ["", "1", "1 2", "a b c", "1 x 3", "-1 2 3"] {
            assert_eq!(parse_schedstat(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_state_stands_behind_the_last_parenthesis() {
        assert_eq!(parse_state("12 (a) R (b) S 1 2"), Some('S'));
        assert_eq!(parse_state("12 (server) T 1"), Some('T'));
        assert_eq!(parse_state("nonsense"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let me = Process::new(std::process::id());
        assert!(me.schedule().expect("schedstat").times > 0);
        let memory = me.memory().expect("smaps_rollup");
        assert!(memory.resident >= memory.anonymous && memory.anonymous > 0, "{memory:?}");
        assert!(me.voluntary_switches().is_ok());
        assert_eq!(me.pid(), std::process::id());
    }

    #[test]
    fn a_process_that_sleeps_settles() {
        let mut child =
            std::process::Command::new("sleep").arg("60").spawn().expect("sleep is everywhere");
        let settled = Process::new(child.id()).settle();
        child.kill().expect("it runs");
        child.wait().expect("it was started here");
        assert!(settled.expect("it sleeps").run > 0);
    }
}
