//! The way of a line to standard error: a bounded queue, and a thread that empties it (C35).
//!
//! tracing-appender has the like, but its end can wait for ever: when the queue is full it says so
//! on standard output, which may be the same blocked pipe. It also loses lines to write errors
//! without counting them, and bounds their number only.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use super::backlog::{Backlog, Rank};
use super::sink::{GapLine, Sink};
use crate::signals;

/// How long to wait before trying again to start a thread, where none could be.
const RETRY: Duration = Duration::from_millis(100);

/// The stack of the thread that writes. Where memory is refused, the usual 2 MiB would be what the
/// loop has given up to be able to go on (C11).
const STACK: usize = 128 * 1024;

/// How often whoever waits for the end looks whether it can write itself.
const LOOK: Duration = Duration::from_millis(10);

/// What must be free for a thread to begin.
const BEGINNING: usize = 512 * 1024;

/// The queue, as its producers and its writer share it.
#[derive(Clone)]
pub(super) struct Queue {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Something is there to be written.
    filled: Condvar,
    /// Everything is written.
    emptied: Condvar,
    /// Of whoever writes: the writer, or at the end and for want of one another thread.
    sink: Mutex<Sink>,
    /// How long the writer waits for a line before it ends.
    linger: Duration,
}

#[derive(Debug, Default)]
struct State {
    backlog: Backlog,
    /// Whether there is a thread that will look at the backlog again.
    has_writer: bool,
    /// Whether the writer has lines in hand that it took from the backlog.
    writing: bool,
    /// No thread could be started; until then, none is tried.
    retry: Option<Instant>,
}

impl State {
    fn is_busy(&self) -> bool {
        self.writing || !self.backlog.is_empty()
    }

    /// Gives the sink what is next in line. Returns false when there is nothing.
    fn feed(&mut self, sink: &mut Sink) -> bool {
        match self.backlog.pop() {
            Some(item) => sink.feed(item),
            None => sink.feed_end(),
        }
        self.writing = !sink.is_idle();
        self.writing || !self.backlog.is_empty()
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("state", &self.shared.state).finish_non_exhaustive()
    }
}

impl Queue {
    /// A queue in front of `output`. A thread writes there; it is not waited for when the program
    /// ends, except by [`finish`](Self::finish).
    ///
    /// The thread ends when there was no line for as long as `linger`, and the next line starts
    /// another. A process whose only thread is its loop pays less for each of its system calls.
    ///
    /// Where no thread can be started, lines are written by whoever has them, as far as that does
    /// not block.
    pub(super) fn new(
        output: impl Write + AsFd + Send + 'static,
        linger: Duration,
        gap: GapLine,
    ) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            sink: Mutex::new(Sink::new(output, gap)),
            linger,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Adds a line, its line feed included, or drops and counts it. Never waits for the output.
    pub(super) fn push(&self, line: &[u8], rank: Rank) {
        let mut state = self.lock();
        state.backlog.push(line, rank);
        let has_writer = self.see_to_a_writer(&mut state);
        drop(state);
        if has_writer {
            self.shared.filled.notify_one();
        } else {
            self.write_what_fits();
        }
    }

    /// How many lines were dropped: by a full queue, or by an output that failed.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().backlog.dropped()
    }

    /// Waits until everything is written, but no longer than `timeout`. Returns whether it is.
    ///
    /// What is written without a wait depends on no other thread, which might get no processor in
    /// time.
    pub(super) fn finish(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            if self.write_what_fits() {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let mut state = self.lock();
            if !state.is_busy() || left.is_zero() {
                return !state.is_busy();
            }
            if self.see_to_a_writer(&mut state) {
                self.shared.filled.notify_one();
                let busy = |state: &mut State| state.is_busy();
                let _ = self.shared.emptied.wait_timeout_while(state, left.min(LOOK), busy);
                continue;
            }
            drop(state);
            match self.try_sink() {
                Some(sink) => sink.wait(Some(left.min(RETRY))),
                // A writer is about to end.
                None => thread::yield_now(),
            }
        }
    }

    /// Returns whether there is a thread that writes.
    fn see_to_a_writer(&self, state: &mut State) -> bool {
        if state.has_writer || state.retry.is_some_and(|at| Instant::now() < at) {
            return state.has_writer;
        }
        let writer = self.clone();
        let thread = thread::Builder::new().name("log".to_owned()).stack_size(STACK);
        let spawn = || {
            // A thread that begins asks for memory, and ends the process if it is refused some.
            let mut memory: Vec<u8> = Vec::new();
            memory.try_reserve_exact(BEGINNING).map_err(|_| io::ErrorKind::OutOfMemory)?;
            drop(std::hint::black_box(memory));
            thread.spawn(move || writer.write())
        };
        // It inherits that no signal interrupts it, or ends what it writes: neither a file size
        // limit (SIGXFSZ) nor a terminal (SIGTTOU).
        state.has_writer = signals::blocked(spawn).is_ok();
        state.retry = (!state.has_writer).then(|| Instant::now() + RETRY);
        state.has_writer
    }

    /// What the writer does.
    fn write(&self) {
        loop {
            self.write_all();
            let state = self.lock();
            if state.is_busy() {
                continue;
            }
            self.shared.emptied.notify_all();
            let idle = |state: &mut State| !state.is_busy();
            let waited = self.shared.filled.wait_timeout_while(state, self.shared.linger, idle);
            let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if !state.is_busy() {
                state.has_writer = false;
                return;
            }
        }
    }

    /// Writes, and waits for the output.
    fn write_all(&self) {
        let mut sink = self.shared.sink.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let lost = sink.flush(true).unwrap_or_default();
            let mut state = self.lock();
            state.backlog.lose(lost);
            if !state.feed(&mut sink) {
                return;
            }
        }
    }

    /// Writes what the output takes, but does not wait. Returns whether everything is written.
    fn write_what_fits(&self) -> bool {
        let Some(mut sink) = self.try_sink() else { return false };
        loop {
            let flushed = sink.flush(false);
            let mut state = self.lock();
            let Ok(lost) = flushed else { return false };
            state.backlog.lose(lost);
            if !state.feed(&mut sink) {
                return true;
            }
        }
    }

    fn try_sink(&self) -> Option<MutexGuard<'_, Sink>> {
        match self.shared.sink.try_lock() {
            Ok(sink) => Some(sink),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{self, Read};

    use super::super::backlog::LIMIT;
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn gap(lines: u64) -> String {
        format!("[{lines}]\n")
    }

    fn queue(output: impl Write + AsFd + Send + 'static) -> Queue {
        Queue::new(output, Duration::from_millis(50), gap)
    }

    /// A queue for which no thread can be started.
    fn alone(output: impl Write + AsFd + Send + 'static) -> Queue {
        let queue = queue(output);
        queue.lock().retry = Some(Instant::now() + 100 * LONG);
        queue
    }

    #[test]
    fn lines_are_written_in_order_and_the_end_waits_for_them() {
        for queue_of in [queue, alone] {
            let (mut reader, writer) = io::pipe().expect("a pipe");
            let queue = queue_of(writer);
            let lines: Vec<String> = (0..1000).map(|number| format!("line {number}\n")).collect();
            for line in &lines {
                queue.push(line.as_bytes(), Rank::Debug);
            }
            assert!(queue.finish(LONG), "not written");
            let mut written = vec![0; lines.concat().len()];
            reader.read_exact(&mut written).expect("all of it, already there");
            assert_eq!(written, lines.concat().as_bytes());
            assert_eq!(queue.dropped(), 0);
        }
    }

    #[test]
    fn c35_the_end_waits_for_no_writer_that_gets_no_processor() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let queue = queue(writer);
        // There is one, as far as is known, and it never runs.
        queue.lock().has_writer = true;
        for line in [b"one\n", b"two\n"] {
            queue.push(line, Rank::Essential);
        }
        assert!(queue.finish(LONG), "not written");
        let mut written = [0; 8];
        reader.read_exact(&mut written).expect("both, already there");
        assert_eq!(&written, b"one\ntwo\n");
    }

    #[test]
    fn c35_a_blocked_output_blocks_nobody_and_what_is_dropped_is_counted() {
        for queue_of in [queue, alone] {
            let (mut reader, writer) = io::pipe().expect("a pipe");
            let queue = queue_of(writer);
            let line = [&[b'x'; 1023][..], b"\n"].concat();
            let pushed = 4 * LIMIT / line.len();
            for _ in 0..pushed {
                queue.push(&line, Rank::Debug);
            }
            let dropped = queue.dropped();
            assert!(dropped > 0, "the queue has no end");
            queue.push(b"important\n", Rank::Essential);
            assert_eq!(queue.dropped(), dropped, "the reserve was not kept");

            let begin = Instant::now();
            assert!(!queue.finish(Duration::from_millis(50)), "nobody has read it");
            assert!(begin.elapsed() < LONG, "the end waited for a blocked output");

            let read = thread::spawn(move || {
                let mut text = String::new();
                reader.read_to_string(&mut text).expect("everything that was not dropped");
                text
            });
            assert!(queue.finish(LONG), "not written");
            drop(queue);
            let text = read.join().expect("the reader");
            assert!(text.ends_with("\nimportant\n"));
            // Where lines are missing, there is a gap.
            let gaps = text.lines().filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
            let missing: u64 = gaps.map(|lines| lines.parse::<u64>().expect("a count")).sum();
            assert_eq!(missing, dropped);
            let whole = text.lines().filter(|whole| whole.len() == line.len() - 1).count();
            assert_eq!(whole, pushed - usize::try_from(dropped).expect("few"));
        }
    }

    #[test]
    fn c35_a_full_disk_costs_lines_and_nothing_else() {
        for queue_of in [queue, alone] {
            let full = File::options().write(true).open("/dev/full").expect("/dev/full");
            let queue = queue_of(full);
            for _ in 0..10 {
                queue.push(b"lost\n", Rank::Essential);
            }
            assert!(queue.finish(LONG));
            assert_eq!(queue.dropped(), 10);
        }
    }

    #[test]
    fn c35_an_output_that_somebody_made_non_blocking_gets_every_line() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&writer, true).expect("non-blocking");
        let queue = queue(writer);
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..512 {
            queue.push(&line, Rank::Debug);
        }
        let mut written = vec![0; 512 * line.len()];
        reader.read_exact(&mut written).expect("all of it");
        assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn c35_once_a_thread_can_be_started_it_writes_what_waits() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let queue = alone(writer);
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..512 {
            queue.push(&line, Rank::Debug);
        }
        queue.lock().retry = Some(Instant::now());
        queue.push(&line, Rank::Debug);
        let mut written = vec![0; 513 * line.len()];
        reader.read_exact(&mut written).expect("all of it");
        assert!(queue.finish(LONG));
        assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn a_writer_without_work_ends_and_another_one_writes_what_comes_later() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let queue = Queue::new(writer, Duration::from_millis(1), gap);
        let mut written = [0; 5];
        for _ in 0..20 {
            queue.push(b"line\n", Rank::Debug);
            reader.read_exact(&mut written).expect("the line");
            assert_eq!(&written, b"line\n");
            let begin = Instant::now();
            while queue.lock().has_writer {
                assert!(begin.elapsed() < LONG, "it never ends");
                thread::yield_now();
            }
        }
        assert!(queue.finish(LONG));
        assert_eq!(queue.dropped(), 0);
    }
}
