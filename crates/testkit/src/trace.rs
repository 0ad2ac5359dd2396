//! What strace saw of a server: its system calls, in order, each with its arguments and result.
//!
//! The record lags behind the server: strace writes a line when the call is over, which its effects
//! may precede, and the line passes through another program. So nothing here reads the record
//! before that is done: each look first waits until all that the server did before the look is
//! written.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::process::Process;
use crate::wait::{eventually, eventually_some};

/// A record of system calls that grows while the server runs. The file goes with the value.
///
/// Whatever reads it waits until all that the server has done before is in it. So what a peer has
/// seen can be looked up at once; for what the server has yet to do there are
/// [`expect`](Self::expect) and [`rest`](Self::rest).
#[derive(Debug)]
pub struct Trace {
    path: PathBuf,
    /// The server, once it has been started.
    traced: Option<Process>,
    /// Whether the server stands still and all that it did is in the record.
    stands_still: AtomicBool,
}

/// A point in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(usize);

impl Mark {
    /// The beginning of a trace.
    pub const START: Self = Self(0);
}

/// One system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The thread that made it.
    pub thread: u32,
    /// Its name.
    pub name: String,
    /// Its arguments, as strace prints them.
    pub arguments: String,
    /// What it returned, as strace prints it; `None` while it has not.
    pub result: Option<String>,
}

impl Call {
    /// Whether it waits for events, by whichever name.
    #[must_use]
    pub fn is_wait(&self) -> bool {
        self.name.starts_with("epoll_wait") || self.name.starts_with("epoll_pwait")
    }

    /// Its argument number `index`, counted from 0, when no argument before it is a structure.
    #[must_use]
    pub fn argument(&self, index: usize) -> &str {
        self.arguments.split(',').nth(index).unwrap_or("").trim()
    }

    /// The most events that it takes, if it is a wait.
    #[must_use]
    pub fn batch(&self) -> Option<usize> {
        self.after_events().next().filter(|_| self.is_wait())?.parse().ok()
    }

    /// Its timeout, if it is a wait, as strace prints it; `-1` is for ever.
    #[must_use]
    pub fn timeout(&self) -> Option<&str> {
        self.after_events().nth(1).filter(|_| self.is_wait())
    }

    /// The arguments of a wait after the events, which are a list, or a pointer while it lasts.
    fn after_events(&self) -> impl Iterator<Item = &str> {
        let events = self.arguments.find(']').map_or(0, |end| end + 1);
        let skipped = if events == 0 { 2 } else { 1 };
        self.arguments[events..].split(',').map(str::trim).skip(skipped)
    }

    /// The descriptor that is its first argument.
    #[must_use]
    pub fn descriptor(&self) -> Option<i32> {
        self.argument(0).parse().ok()
    }

    /// The number that it returned, -1 for an error.
    #[must_use]
    pub fn returned(&self) -> Option<i64> {
        self.result.as_ref()?.split_whitespace().next()?.parse().ok()
    }

    /// The name of its error.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.result.as_ref()?.strip_prefix("-1 ")?.split_whitespace().next()
    }
}

/// Cuts the loop's calls into its turns. Each begins with the wait that opened it; what came
/// before the first wait is left out.
pub fn turns(calls: &[Call]) -> impl Iterator<Item = &[Call]> {
    let starts: Vec<usize> =
        calls.iter().enumerate().filter(|(_, call)| call.is_wait()).map(|(at, _)| at).collect();
    let ends: Vec<usize> = starts.iter().copied().skip(1).chain([calls.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| &calls[start..end])
}

impl Trace {
    /// One of a program that is yet to start, by [`command`](Self::command).
    #[must_use]
    pub fn create() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("edgeloop-trace-{}-{number}", process::id());
        Self {
            path: env::temp_dir().join(name),
            traced: None,
            stands_still: AtomicBool::new(false),
        }
    }

    /// The words that run a program under strace: `-D` leaves the program our child; a pipe makes
    /// strace write each line at once, where a file would get whole blocks. Beside the record,
    /// whose name has no blanks or quotes, stands the number of the process at the other end of the
    /// pipe.
    #[must_use]
    pub fn command(&self, arguments: &[String]) -> Vec<String> {
        let (record, writer) = (self.path.display(), self.writer_path());
        let output = format!("|echo $$ >'{}' && exec cat >'{record}'", writer.display());
        ["strace", "-D", "-f", "-s", "4", "-o", &output]
            .into_iter()
            .map(str::to_owned)
            .chain(arguments.iter().cloned())
            .collect()
    }

    fn writer_path(&self) -> PathBuf {
        self.path.with_extension("writer")
    }

    /// From here on, looks wait for this process.
    pub(crate) const fn follow(&mut self, process: Process) {
        self.traced = Some(process);
    }

    /// Says that the server stands still, or goes on.
    pub(crate) fn stands_still(&self, still: bool) {
        self.stands_still.store(still, Ordering::SeqCst);
    }

    /// Waits until all that the server has done before this call is in the record.
    ///
    /// strace holds a thread at the end of each call until it has written the line, and such a
    /// thread does not sleep. So a thread that was seen to sleep, in the call that it waits in, has
    /// nothing left to be written by strace; and when `cat` is seen to sleep after that, in its
    /// read of the pipe, it has written all that it was given.
    #[track_caller]
    fn catch_up(&self) {
        let Some(server) = self.traced else { return };
        if self.stands_still.load(Ordering::SeqCst) {
            return;
        }
        let mut awake: BTreeSet<u32> = server.threads().into_iter().collect();
        eventually("the server sleeps, and strace has seen why", || {
            awake
                .retain(|&thread| !matches!(server.state_of(thread), None | Some('S' | 'X' | 'Z')));
            awake.is_empty()
        });
        if matches!(server.state(), None | Some('X' | 'Z')) {
            self.expect_end();
        }
        let writer = eventually_some("strace has somebody who writes", || {
            fs::read_to_string(self.writer_path()).ok()?.trim().parse().ok().map(Process::new)
        });
        eventually("what strace has seen is written", || {
            matches!(writer.state(), None | Some('S' | 'X' | 'Z'))
        });
    }

    /// How many threads have been stopped by SIGSTOP after `mark`, by what has been written so far.
    pub(crate) fn stops_since(&self, mark: Mark) -> usize {
        let text = self.read();
        text[mark.0..].lines().filter(|line| line.contains("--- stopped by SIGSTOP ---")).count()
    }

    /// The end of what the server has done so far.
    #[must_use]
    #[track_caller]
    pub fn mark(&self) -> Mark {
        Mark(self.text().len())
    }

    /// Waits until the calls of the loop after `mark` satisfy `condition` and the loop waits for
    /// more; returns these calls and the mark behind them.
    #[track_caller]
    pub fn rest(
        &self,
        mark: Mark,
        what: &str,
        condition: impl Fn(&[Call]) -> bool,
    ) -> (Vec<Call>, Mark) {
        eventually_some(what, || {
            // A wait that has begun may find an event at once. One in which the thread sleeps has
            // none.
            let text = self.text();
            let calls = loop_calls(&text, mark);
            let rests = calls.last().is_some_and(|call| call.is_wait() && call.result.is_none());
            (rests && condition(&calls)).then_some((calls, Mark(text.len())))
        })
    }

    /// All calls so far, of all threads.
    #[must_use]
    #[track_caller]
    pub fn calls(&self) -> Vec<Call> {
        self.calls_since(Mark::START)
    }

    /// The calls that began after `mark`.
    #[must_use]
    #[track_caller]
    pub fn calls_since(&self, mark: Mark) -> Vec<Call> {
        parse(&self.text()[mark.0..])
    }

    /// The calls of the thread that runs the loop: the one that waits for events.
    #[must_use]
    #[track_caller]
    pub fn loop_calls(&self) -> Vec<Call> {
        self.loop_calls_since(Mark::START)
    }

    /// The calls of the thread that runs the loop, after `mark`.
    #[must_use]
    #[track_caller]
    pub fn loop_calls_since(&self, mark: Mark) -> Vec<Call> {
        loop_calls(&self.text(), mark)
    }

    /// The descriptor that the connection of the peer with this port was accepted as.
    #[must_use]
    #[track_caller]
    pub fn descriptor_of(&self, peer: SocketAddr) -> Option<i32> {
        let port = format!("htons({})", peer.port());
        let accepted = |call: &Call| call.name == "accept4" && call.arguments.contains(&port);
        let call = self.calls().into_iter().rev().find(accepted)?;
        i32::try_from(call.returned()?).ok()
    }

    /// How many lines after `mark` hold `words`: also for what is no call, such as signals.
    #[must_use]
    #[track_caller]
    pub fn lines_since(&self, mark: Mark, words: &str) -> usize {
        self.text()[mark.0..].lines().filter(|line| line.contains(words)).count()
    }

    /// Waits until the calls of the loop after `mark` satisfy `condition`, and returns them.
    #[track_caller]
    pub fn expect(&self, mark: Mark, what: &str, condition: impl Fn(&[Call]) -> bool) -> Vec<Call> {
        let mut calls = Vec::new();
        eventually(what, || {
            calls = loop_calls(&self.read(), mark);
            condition(&calls)
        });
        calls
    }

    /// Waits until strace has written all there is, after the server has ended.
    #[track_caller]
    pub fn expect_end(&self) {
        eventually("strace has seen the end", || {
            let text = self.read();
            text.trim_end().lines().next_back().is_some_and(|line| {
                line.contains("+++ exited with") || line.contains("+++ killed by")
            })
        });
    }

    /// The whole record.
    #[must_use]
    #[track_caller]
    pub fn text(&self) -> String {
        self.catch_up();
        self.read()
    }

    /// What has been written so far.
    fn read(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.path).unwrap_or_default()).into_owned()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // A trace that was never begun has no file.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(self.writer_path());
    }
}

/// The calls after `mark` of the thread that runs the loop.
fn loop_calls(text: &str, mark: Mark) -> Vec<Call> {
    let runner = parse(text).iter().find(|call| call.is_wait()).map(|call| call.thread);
    let mut calls = parse(&text[mark.0..]);
    calls.retain(|call| Some(call.thread) == runner);
    calls
}

fn parse(text: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    for line in text.split_inclusive('\n') {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Ok(thread) = thread.parse() else { continue };
        let rest = rest.trim_start();
        match rest.strip_suffix('\n') {
            Some(rest) => parse_call(&mut calls, thread, rest),
            // A call that lasts, or a line of which we see a part: that it began is all we know.
            None => parse_call(&mut calls, thread, &format!("{rest} <unfinished ...>")),
        }
    }
    calls
}

fn parse_call(calls: &mut Vec<Call>, thread: u32, text: &str) {
    if let Some(resumed) = text.strip_prefix("<... ") {
        // `<... accept4 resumed>ARGUMENTS) = RESULT` ends what the same thread began.
        let Some((_, rest)) = resumed.split_once(" resumed>") else { return };
        let open = calls.iter_mut().rev().find(|call| call.thread == thread);
        if let Some(call) = open.filter(|call| call.result.is_none()) {
            let (arguments, result) = split_result(rest);
            call.arguments.push_str(arguments);
            call.result = result;
        }
        return;
    }
    let Some((name, rest)) = text.split_once('(') else { return };
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return;
    }
    let (arguments, result) = match rest.strip_suffix(" <unfinished ...>") {
        Some(arguments) => (arguments, None),
        None => split_result(rest),
    };
    calls.push(Call { thread, name: name.to_owned(), arguments: arguments.to_owned(), result });
}

/// `ARGUMENTS) = RESULT`, with any number of blanks before the equals sign.
fn split_result(text: &str) -> (&str, Option<String>) {
    let Some((before, result)) = text.rsplit_once("= ") else { return (text, None) };
    let arguments = before.trim_end();
    let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
    (arguments, Some(result.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: &str = r#"
10 epoll_wait(3,  <unfinished ...>
11 --- SIGTERM {si_signo=SIGTERM} ---
11 write(5, "x", 1) = 1
10 <... epoll_wait resumed>[{events=EPOLLIN, data={u32=1, u64=1}}], 512, -1) = 1
10 recvfrom(7, "ab) "..., 65536, 0, NULL, NULL) = 64
10 sendto(7, "abcd"..., 64, MSG_NOSIGNAL, NULL, 0) = -1 EAGAIN (Resource temporarily unavailable) (INJECTED)
10 close(7)                = 0
10 epoll_wait(3,
"#;

    #[test]
    fn calls_are_told_apart_though_threads_interrupt_each_other() {
        let calls = parse(SEEN);
        let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(names, ["epoll_wait", "write", "recvfrom", "sendto", "close", "epoll_wait"]);
        assert!(calls[0].is_wait());
        assert_eq!(calls[0].returned(), Some(1));
        assert_eq!(calls[0].timeout(), Some("-1"));
        assert_eq!(calls[0].batch(), Some(512));
        assert_eq!(calls[1].thread, 11);
        assert_eq!(calls[2].descriptor(), Some(7));
        assert_eq!(calls[2].returned(), Some(64));
        assert_eq!(calls[3].error(), Some("EAGAIN"));
        assert_eq!(calls[4].returned(), Some(0));
        assert_eq!(calls[5].result, None);
        assert_eq!(turns(&calls).map(<[Call]>::len).collect::<Vec<_>>(), [5, 1]);
    }
}
