//! What strace saw of a server: its system calls, in order, each with its arguments and result.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::wait::{eventually, eventually_some};

/// A record of system calls that grows while the server runs. The file goes with the value.
#[derive(Debug)]
pub struct Trace {
    path: PathBuf,
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
        Self { path: env::temp_dir().join(name) }
    }

    /// The words that run a program under strace: `-D` leaves the program our child; a pipe makes
    /// strace write each line at once, where a file would get whole blocks.
    #[must_use]
    pub fn command(&self, arguments: &[String]) -> Vec<String> {
        let output = format!("|exec cat >'{}'", self.path.display());
        ["strace", "-D", "-f", "-s", "4", "-o", &output]
            .into_iter()
            .map(str::to_owned)
            .chain(arguments.iter().cloned())
            .collect()
    }

    /// The end of what has been seen so far. What the server has just done may not be among it
    /// yet; [`rest`](Self::rest) is certain.
    #[must_use]
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
            let end = self.mark();
            let calls = self.loop_calls_since(mark);
            let rests = calls.last().is_some_and(|call| call.is_wait() && call.result.is_none());
            // Both looks must have seen the same.
            (rests && condition(&calls) && self.mark() == end).then_some((calls, end))
        })
    }

    /// Whether no thread is known to do anything but to wait in a call, if it has not ended. It takes
    /// a trace of all calls to tell.
    #[must_use]
    pub fn all_threads_wait(&self) -> bool {
        let waits = |call: &Call| call.result.is_none() || call.name == "exit";
        let last: BTreeMap<u32, bool> =
            self.calls().iter().map(|call| (call.thread, waits(call))).collect();
        last.values().all(|&waits| waits)
    }

    /// All calls so far, of all threads.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.calls_since(Mark::START)
    }

    /// The calls that began after `mark`.
    #[must_use]
    pub fn calls_since(&self, mark: Mark) -> Vec<Call> {
        parse(&self.text()[mark.0..])
    }

    /// The calls of the thread that runs the loop: the one that waits for events.
    #[must_use]
    pub fn loop_calls(&self) -> Vec<Call> {
        self.loop_calls_since(Mark::START)
    }

    /// The calls of the thread that runs the loop, after `mark`.
    #[must_use]
    pub fn loop_calls_since(&self, mark: Mark) -> Vec<Call> {
        let runner = self.calls().iter().find(|call| call.is_wait()).map(|call| call.thread);
        let mut calls = self.calls_since(mark);
        calls.retain(|call| Some(call.thread) == runner);
        calls
    }

    /// The descriptor that the connection of the peer with this port was accepted as.
    #[must_use]
    pub fn descriptor_of(&self, peer: SocketAddr) -> Option<i32> {
        let port = format!("htons({})", peer.port());
        let accepted = |call: &Call| call.name == "accept4" && call.arguments.contains(&port);
        let call = self.calls().into_iter().rev().find(accepted)?;
        i32::try_from(call.returned()?).ok()
    }

    /// How many lines after `mark` hold `words`: also for what is no call, such as signals.
    #[must_use]
    pub fn lines_since(&self, mark: Mark, words: &str) -> usize {
        self.text()[mark.0..].lines().filter(|line| line.contains(words)).count()
    }

    /// Waits until the calls of the loop after `mark` satisfy `condition`, and returns them.
    #[track_caller]
    pub fn expect(&self, mark: Mark, what: &str, condition: impl Fn(&[Call]) -> bool) -> Vec<Call> {
        let mut calls = Vec::new();
        eventually(what, || {
            calls = self.loop_calls_since(mark);
            condition(&calls)
        });
        calls
    }

    /// Waits until strace has written all there is, after the server has ended.
    #[track_caller]
    pub fn expect_end(&self) {
        eventually("strace has seen the end", || {
            let text = self.text();
            text.trim_end().lines().next_back().is_some_and(|line| {
                line.contains("+++ exited with") || line.contains("+++ killed by")
            })
        });
    }

    /// The whole record, for a failure's message.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.path).unwrap_or_default()).into_owned()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // A trace that was never begun has no file.
        let _ = fs::remove_file(&self.path);
    }
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
