//! How a server under test is started: its arguments, its limits, its tracer, its standard error.

use std::io::{BufReader, Read};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::log::Log;
use crate::process::Process;
use crate::trace::Trace;
use crate::wait::PATIENCE;

/// A server about to be started.
///
/// ```no_run
/// use testkit::Launch;
///
/// let server = Launch::new("/usr/bin/some-server").args(&["--port", "0"]).descriptors(64).start();
/// ```
#[derive(Debug, Clone)]
pub struct Launch {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    shell: Vec<String>,
    wrapper: Vec<String>,
    trace: Option<Vec<String>>,
    stdin: Option<Arc<OwnedFd>>,
    pub(crate) listeners: usize,
    stderr: Stderr,
}

/// What becomes of the server's standard error once it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stderr {
    Read,
    Stalled,
    Closed,
}

/// A program that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl Launch {
    /// A server that is the given program.
    #[must_use]
    pub fn new(program: &str) -> Self {
        Self {
            program: program.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            shell: Vec::new(),
            wrapper: Vec::new(),
            trace: None,
            stdin: None,
            listeners: 1,
            stderr: Stderr::Read,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Limits its descriptors, the soft and the hard limit both.
    #[must_use]
    pub fn descriptors(self, limit: usize) -> Self {
        self.shell(&format!("ulimit -n {limit}"))
    }

    /// Lowers its soft limit of descriptors alone.
    #[must_use]
    pub fn soft_descriptors(self, limit: usize) -> Self {
        self.shell(&format!("ulimit -S -n {limit}"))
    }

    /// Has a shell do something before it becomes the server.
    #[must_use]
    pub fn shell(mut self, command: &str) -> Self {
        self.shell.push(command.to_owned());
        self
    }

    /// Makes a descriptor its standard input, which is empty otherwise.
    #[must_use]
    pub fn stdin(mut self, descriptor: impl Into<OwnedFd>) -> Self {
        self.stdin = Some(Arc::new(descriptor.into()));
        self
    }

    /// Runs it under strace, with these arguments besides those that [`Trace`] needs. The server
    /// stays our child, and strace ends with it.
    #[must_use]
    pub fn traced(mut self, arguments: &[&str]) -> Self {
        let trace = self.trace.get_or_insert_default();
        trace.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Runs it under callgrind, which counts the instructions it executes in user space. The log of
    /// the server ends with the count.
    #[must_use]
    pub fn counted(mut self) -> Self {
        let words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
        self.wrapper = words.map(str::to_owned).to_vec();
        self
    }

    /// Runs it under another program, which takes its command line behind its own arguments.
    /// Signals go to that program.
    #[must_use]
    pub fn under(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Waits for so many lines that say `listening on`, instead of one.
    #[must_use]
    pub const fn listeners(mut self, listeners: usize) -> Self {
        self.listeners = listeners;
        self
    }

    /// Leaves its standard error open but unread once it listens.
    #[must_use]
    pub const fn stderr_stalls(mut self) -> Self {
        self.stderr = Stderr::Stalled;
        self
    }

    /// Closes the reading end of its standard error once it listens.
    #[must_use]
    pub const fn stderr_closes(mut self) -> Self {
        self.stderr = Stderr::Closed;
        self
    }

    /// Starts a program that is no server, and reads what it writes.
    #[must_use]
    #[track_caller]
    pub fn begin(self) -> Running {
        let (mut child, trace) = self.spawn();
        let stdout = read_to_end(child.stdout.take().expect("a pipe for stdout"));
        let stderr = read_to_end(child.stderr.take().expect("a pipe for stderr"));
        let name = format!("{} {:?}", self.program, self.arguments);
        Running { child, _trace: trace, name, outputs: Some([stdout, stderr]) }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// When it does not end within [`PATIENCE`]; it is killed then.
    #[must_use]
    #[track_caller]
    pub fn run(self) -> Ended {
        self.begin().end()
    }

    /// Starts it, with pipes for what it writes.
    #[track_caller]
    pub(crate) fn spawn(&self) -> (Child, Option<Trace>) {
        let mut words = Vec::new();
        if hangup_is_ignored() {
            // As nohup(1) leaves it; a program inherits that, and these tests send one.
            words.extend(["env".to_owned(), "--default-signal=HUP".to_owned()]);
        }
        if !self.shell.is_empty() {
            // exec keeps the process number, so that the server is our own child.
            let script = format!("{}; exec \"$@\"", self.shell.join("; "));
            words.extend(["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()]);
        }
        let trace = self.trace.as_ref().map(|arguments| {
            let trace = Trace::create();
            words.extend(trace.command(arguments));
            trace
        });
        words.extend_from_slice(&self.wrapper);
        words.push(self.program.clone());
        words.extend_from_slice(&self.arguments);
        let stdin = self.stdin.as_ref().map_or_else(Stdio::null, |descriptor| {
            Stdio::from(descriptor.try_clone().expect("a descriptor"))
        });
        let child = Command::new(&words[0])
            .args(&words[1..])
            .envs(self.environment.iter().cloned())
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", words[0]));
        (child, trace)
    }

    /// Returns the log and, where it is to stay open, what nobody reads any more.
    #[track_caller]
    pub(crate) fn follow(&self, stderr: ChildStderr) -> (Log, Option<BufReader<ChildStderr>>) {
        if self.stderr == Stderr::Read {
            return (Log::follow(stderr), None);
        }
        let log = Log::default();
        let mut stderr = BufReader::new(stderr);
        while log.lines_with("listening on ").len() < self.listeners {
            assert!(log.append_line(&mut stderr), "it does not listen:\n{}", log.text());
        }
        (log, (self.stderr == Stderr::Stalled).then_some(stderr))
    }
}

/// A program that runs, and whose output is read. Dropping it kills that one process.
#[derive(Debug)]
pub struct Running {
    child: Child,
    _trace: Option<Trace>,
    name: String,
    /// Standard output and standard error, until they are taken.
    outputs: Option<[JoinHandle<String>; 2]>,
}

impl Running {
    /// What can be read about it in `/proc`.
    #[must_use]
    pub fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When it does not end within [`PATIENCE`]; it is killed then.
    #[must_use]
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait for the program") {
                break status;
            }
            assert!(start.elapsed() < PATIENCE, "{} did not end within {PATIENCE:?}", self.name);
            thread::sleep(Duration::from_millis(2));
        };
        let outputs = self.outputs.take().expect("they are taken once");
        let [stdout, stderr] = outputs.map(|reader| reader.join().expect("the reader of a pipe"));
        Ended { code: status.code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this process, and so each one that it starts, ignores SIGHUP.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    // The first bit is that of signal 1, which is SIGHUP.
    mask & 1 != 0
}

/// Reads a pipe beside the program that fills it, which could not end otherwise.
fn read_to_end(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = Vec::new();
        let _ = pipe.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    })
}
