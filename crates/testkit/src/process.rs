//! A process seen through `/proc`: what it holds, what it has used, and whether it runs.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A process, known by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pid: u32,
}

/// One open descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Its number.
    pub number: u32,
    /// What it leads to, as `/proc/PID/fd` shows it: `socket:[1234]`, `anon_inode:[eventpoll]`.
    pub target: String,
    /// The flags that it is open with.
    flags: u32,
    unix: bool,
}

impl Descriptor {
    /// Whether a child process would not get it (O_CLOEXEC).
    #[must_use]
    pub const fn is_close_on_exec(&self) -> bool {
        self.flags & 0o2_000_000 != 0
    }

    /// Whether calls on it never block (O_NONBLOCK).
    #[must_use]
    pub const fn is_non_blocking(&self) -> bool {
        self.flags & 0o4000 != 0
    }

    /// Whether it is a socket.
    #[must_use]
    pub fn is_socket(&self) -> bool {
        self.target.starts_with("socket:")
    }

    /// Whether it is a socket that never leaves the machine (AF_UNIX), such as one of a pair.
    #[must_use]
    pub const fn is_unix_socket(&self) -> bool {
        self.unix
    }
}

/// What a process occupies, in bytes (`/proc/PID/smaps_rollup`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// The proportional set size: pages that several processes map are divided among them. It
    /// moves when a neighbour that runs the same program comes or goes.
    pub pss: usize,
    /// The resident set size, an upper bound of the PSS that no neighbour moves.
    pub rss: usize,
    /// What of it is the process's own, and not the text of a file that happens to be resident.
    pub anonymous: usize,
}

/// What the kernel's scheduler has counted.
#[derive(Debug, Default)]
struct Schedule {
    ran: Duration,
    waited: Duration,
    times: u64,
}

impl Process {
    /// The process with this number.
    #[must_use]
    pub const fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// Its number.
    #[must_use]
    pub const fn pid(self) -> u32 {
        self.pid
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// When there is no such process.
    #[track_caller]
    pub fn signal(self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).expect("a process number");
        kill_process(pid, signal)
            .unwrap_or_else(|error| panic!("cannot signal process {}: {error}", self.pid));
    }

    /// The letter of its state: `R` runs, `S` sleeps, `T` is stopped, `t` is stopped by a tracer,
    /// `Z` has ended. `None` when it is gone.
    #[must_use]
    pub fn state(self) -> Option<char> {
        self.state_at("stat")
    }

    /// The letter of the state of one of its threads.
    #[must_use]
    pub fn state_of(self, thread: u32) -> Option<char> {
        self.state_at(&format!("task/{thread}/stat"))
    }

    fn state_at(self, name: &str) -> Option<char> {
        let stat = fs::read_to_string(self.path(name)).ok()?;
        // The command stands in parentheses and may hold any character.
        stat.rsplit_once(')')?.1.trim_start().chars().next()
    }

    /// Whether all its threads sleep. One that is woken is ready to run from that moment on, even
    /// if it gets no processor for long. So a server that sleeps has dealt with all that came
    /// before.
    #[must_use]
    pub fn sleeps(self) -> bool {
        self.threads().iter().all(|&thread| matches!(self.state_of(thread), None | Some('S')))
    }

    /// Its open descriptors.
    #[must_use]
    pub fn descriptors(self) -> Vec<Descriptor> {
        let Ok(entries) = fs::read_dir(self.path("fd")) else { return Vec::new() };
        let unix = fs::read_to_string("/proc/net/unix").unwrap_or_default();
        // `Num RefCount Protocol Flags Type St Inode Path`
        let unix: Vec<String> = unix
            .lines()
            .filter_map(|line| line.split_whitespace().nth(6))
            .map(|inode| format!("socket:[{inode}]"))
            .collect();
        let describe = |number: u32| {
            let target = fs::read_link(self.path(&format!("fd/{number}"))).ok()?;
            let info = fs::read_to_string(self.path(&format!("fdinfo/{number}"))).ok()?;
            let flags = value_of(&info, "flags:")?;
            let target = target.to_string_lossy().into_owned();
            let unix = unix.contains(&target);
            Some(Descriptor { number, target, flags: u32::from_str_radix(&flags, 8).ok()?, unix })
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(describe)
            .collect()
    }

    /// How many descriptors it has open.
    #[must_use]
    pub fn descriptor_count(self) -> usize {
        fs::read_dir(self.path("fd")).map_or(0, Iterator::count)
    }

    /// How many of its descriptors are sockets.
    #[must_use]
    pub fn socket_count(self) -> usize {
        let Ok(entries) = fs::read_dir(self.path("fd")) else { return 0 };
        entries
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    }

    /// The processor time that all its threads have used.
    #[must_use]
    pub fn cpu_time(self) -> Duration {
        self.schedule().ran
    }

    /// For how long its threads have been ready to run and had no processor.
    #[must_use]
    pub fn waited_for_processor(self) -> Duration {
        self.schedule().waited
    }

    /// How often its threads have been given a processor. While this number stays the same, no
    /// thread has run, so none has made a system call.
    #[must_use]
    pub fn times_scheduled(self) -> u64 {
        self.schedule().times
    }

    /// `schedstat` of each thread: nanoseconds run, nanoseconds waited, times scheduled.
    fn schedule(self) -> Schedule {
        let mut total = Schedule::default();
        for thread in self.threads() {
            let path = self.path(&format!("task/{thread}/schedstat"));
            // A thread that has just ended has no such file.
            let Ok(line) = fs::read_to_string(path) else { continue };
            let mut numbers = line.split_whitespace().map(|number| number.parse().unwrap_or(0));
            total.ran += Duration::from_nanos(numbers.next().unwrap_or(0));
            total.waited += Duration::from_nanos(numbers.next().unwrap_or(0));
            total.times += numbers.next().unwrap_or(0);
        }
        total
    }

    /// The numbers of its threads.
    #[must_use]
    pub fn threads(self) -> Vec<u32> {
        let Ok(entries) = fs::read_dir(self.path("task")) else { return Vec::new() };
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
    }

    /// What it occupies.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    #[must_use]
    #[track_caller]
    pub fn memory(self) -> Memory {
        let rollup = fs::read_to_string(self.path("smaps_rollup")).expect("smaps_rollup");
        let bytes = |name| {
            let kib: usize = value_of(&rollup, name).and_then(|kib| kib.parse().ok()).expect(name);
            kib * 1024
        };
        Memory { pss: bytes("Pss:"), rss: bytes("Rss:"), anonymous: bytes("Anonymous:") }
    }

    /// The most that it has ever occupied, in bytes (VmHWM). `None` when it has ended.
    #[must_use]
    pub fn peak(self) -> Option<usize> {
        let status = fs::read_to_string(self.path("status")).ok()?;
        let kib: usize = value_of(&status, "VmHWM:")?.parse().ok()?;
        Some(kib * 1024)
    }

    /// Its soft and its hard limit of descriptors; `None` is no limit.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    #[must_use]
    #[track_caller]
    pub fn descriptor_limits(self) -> (Option<u64>, Option<u64>) {
        let limits = fs::read_to_string(self.path("limits")).expect("limits");
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))
            .expect("a limit of open files");
        let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
        (numbers.next().flatten(), numbers.next().flatten())
    }

    fn path(self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }
}

/// The first word after `name` in a file of lines that begin with names.
fn value_of(text: &str, name: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let me = Process::new(std::process::id());
        assert!(matches!(me.state(), Some('R' | 'S')), "{:?}", me.state());
        assert!(me.memory().pss <= me.memory().rss);
        assert!(me.memory().pss > 0);
        assert!(me.peak().is_some_and(|peak| peak >= me.memory().anonymous));
        assert!(me.times_scheduled() > 0);
        assert!(me.cpu_time() > Duration::ZERO);
        assert!(me.descriptors().len() >= 3);
        assert!(me.descriptor_limits().0.is_some());
    }
}
