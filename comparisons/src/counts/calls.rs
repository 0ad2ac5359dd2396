//! System calls, counted by the kernel's trace points while the server runs at full speed.
//!
//! strace stops the server at every call, which changes what comes in one batch. perf(1) only
//! counts.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::process::Process;

/// How many messages are sent while the calls are counted.
pub(super) const MESSAGES: u64 = 100_000;

/// The trace point of every system call, and those of the calls that wait for events.
const ALL: &str = "raw_syscalls:sys_enter";
const WAITS: [&str; 6] = [
    "syscalls:sys_enter_epoll_wait",
    "syscalls:sys_enter_epoll_pwait",
    "syscalls:sys_enter_epoll_pwait2",
    "syscalls:sys_enter_io_uring_enter",
    "syscalls:sys_enter_poll",
    "syscalls:sys_enter_ppoll",
];

const TRACING: &str = "/sys/kernel/tracing";

/// System calls, and the waits among them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Calls {
    pub(crate) all: f64,
    pub(crate) waits: f64,
}

impl Calls {
    /// For each of so many.
    pub(super) fn each(self, count: u64) -> Self {
        let count = count as f64;
        Self { all: self.all / count, waits: self.waits / count }
    }
}

/// Counts the system calls of a process, from its start to its end.
pub(crate) struct Tracer {
    perf: Child,
    control: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// Makes the trace points visible, where this process may.
fn mount() -> io::Result<()> {
    let is_there = || Path::new(TRACING).join("events/raw_syscalls").is_dir();
    if !is_there() {
        let mounted = Command::new("mount")
            .args(["-t", "tracefs", "none", TRACING])
            .stderr(Stdio::null())
            .status()?;
        if !mounted.success() || !is_there() {
            return Err(io::Error::other("there are no trace points (tracefs)"));
        }
    }
    Ok(())
}

impl Tracer {
    /// Begins to count. When this returns, every call counts.
    ///
    /// # Errors
    ///
    /// When there are no trace points, no perf, or no right to use them.
    pub(crate) fn start(process: Process) -> io::Result<Self> {
        mount()?;
        let mut command = Command::new("perf");
        // Counters are opened switched off; what switches them on answers when it has.
        command.args(["stat", "-x", ",", "--delay=-1", "--control=fd:0,1", "-e", ALL]);
        for wait in WAITS {
            command.args(["-e", wait]);
        }
        command.arg("-p").arg(process.pid().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut perf = command
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("perf: {error}")))?;
        let (Some(control), Some(answers)) = (perf.stdin.take(), perf.stdout.take()) else {
            return Err(io::Error::other("perf has no pipes"));
        };
        let mut tracer = Self { perf, control, answers: BufReader::new(answers) };
        match tracer.order("enable\n") {
            Ok(()) => Ok(tracer),
            // What perf itself says is worth more than the broken pipe.
            Err(_) => Err(io::Error::other(format!("perf cannot count: {}", tracer.last_words()))),
        }
    }

    fn order(&mut self, order: &str) -> io::Result<()> {
        self.control.write_all(order.as_bytes())?;
        let mut answer = Vec::new();
        self.answers.read_until(b'\n', &mut answer)?;
        if answer.ends_with(b"ack\n") { Ok(()) } else { Err(io::Error::other("no answer")) }
    }

    fn last_words(&mut self) -> String {
        let mut said = String::new();
        if let Some(mut errors) = self.perf.stderr.take() {
            // What can't be read is left out of what is only a reason.
            let _ = errors.read_to_string(&mut said);
        }
        said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing").to_owned()
    }

    /// Ends counting, and returns what was counted.
    pub(crate) fn finish(mut self) -> io::Result<Calls> {
        self.order("disable\n")?;
        let pid = i32::try_from(self.perf.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or(io::ErrorKind::InvalidInput)?, Signal::INT)?;
        let mut table = String::new();
        if let Some(mut errors) = self.perf.stderr.take() {
            errors.read_to_string(&mut table)?;
        }
        self.perf.wait()?;
        parse(&table)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It has ended already, if all went well.
        let _ = self.perf.kill();
        let _ = self.perf.wait();
    }
}

/// perf's table: `COUNT,UNIT,EVENT,…`, with `<not counted>` for what never happened on a processor.
fn parse(table: &str) -> io::Result<Calls> {
    let mut calls = Calls { all: 0.0, waits: 0.0 };
    let mut found = false;
    for line in table.lines() {
        let mut fields = line.split(',');
        let (Some(count), Some(event)) = (fields.next(), fields.nth(1)) else { continue };
        let count = count.parse().unwrap_or(0.0);
        if event == ALL {
            found = true;
            calls.all += count;
        } else if WAITS.contains(&event) {
            calls.waits += count;
        }
    }
    if found { Ok(calls) } else { Err(io::Error::other(format!("perf says {table:?}"))) }
}

/// What strace has counted of a process, for where there are no trace points: exact in a closed
/// loop of one connection, where nothing comes in batches.
pub(crate) struct Strace {
    strace: Child,
    table: std::path::PathBuf,
}

impl Strace {
    /// Begins to count. When this returns, every call counts.
    pub(crate) fn start(process: Process, directory: &Path) -> io::Result<Self> {
        let table = directory.join("calls.txt");
        let mut command = Command::new("strace");
        command.args(["-f", "-c", "-U", "name,calls", "-o"]).arg(&table);
        command.arg("-p").arg(process.pid().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut strace = command
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("strace: {error}")))?;
        let mut line = String::new();
        if let Some(errors) = strace.stderr.take() {
            BufReader::new(errors).read_line(&mut line)?;
        }
        let strace = Self { strace, table };
        if line.contains("attached") { Ok(strace) } else { Err(io::Error::other(line)) }
    }

    /// Ends counting, and returns what was counted.
    pub(crate) fn finish(mut self) -> io::Result<Calls> {
        let pid = i32::try_from(self.strace.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or(io::ErrorKind::InvalidInput)?, Signal::INT)?;
        self.strace.wait()?;
        Ok(parse_strace(&fs::read_to_string(&self.table)?))
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// strace's table of names and counts, between rules of hyphens.
fn parse_strace(table: &str) -> Calls {
    let mut calls = Calls { all: 0.0, waits: 0.0 };
    for line in table.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(count)) = (words.next(), words.next()) else { continue };
        let Ok(count) = count.parse::<f64>() else { continue };
        if name == "total" {
            continue;
        }
        calls.all += count;
        if WAITS.iter().any(|wait| wait.ends_with(&format!("sys_enter_{name}"))) {
            calls.waits += count;
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfs_table_is_read() {
        let table = "60003,,raw_syscalls:sys_enter,100000,100.00,,\n\
                     <not counted>,,syscalls:sys_enter_epoll_wait,0,100.00,,\n\
                     20001,,syscalls:sys_enter_epoll_pwait,100000,100.00,,\n\n";
        let calls = parse(table).expect("a table");
        assert_eq!(calls, Calls { all: 60_003.0, waits: 20_001.0 });
        assert!((calls.each(20_000).waits - 1.000_05).abs() < 1e-9);
        assert!(parse("Error: no permission\n").is_err());
    }

    #[test]
    fn straces_table_is_read() {
        let table = "syscall              calls\n---------------- ---------\n\
                     recvfrom               500\nsendto 500\nepoll_pwait            501\n\
                     ---------------- ---------\ntotal                 1501\n";
        assert_eq!(parse_strace(table), Calls { all: 1501.0, waits: 501.0 });
    }
}
