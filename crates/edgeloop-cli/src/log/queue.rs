//! The way of a line to standard error: a bounded queue, and a thread that empties it (C35).
//!
//! tracing-appender has the like, but its end can wait for ever: when the queue is full it says so
//! on standard output, which may be the same blocked pipe. It also loses lines to write errors
//! without counting them, and bounds their number only.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

/// The stack of the thread that writes. Where memory is refused, the usual 2 MiB would be what the loop has
/// given up to be able to go on (C11).
const STACK: usize = 128 * 1024;

/// What must be free for a thread to begin.
const BEGINNING: usize = 512 * 1024;

/// The bytes that wait for the writer at the most. Beyond that, lines are dropped and counted.
const LIMIT: usize = 1024 * 1024;

/// What is kept free for lines that matter more: see [`Rank`].
const RESERVE: usize = 64 * 1024;

/// The most that is written at once. A pipe takes that much whole (PIPE_BUF, pipe(7)), so that no
/// line of another process falls into one of ours.
const PIECE: usize = 4096;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// Dropped when the queue is full.
    Ordinary,
    /// May use the reserve: errors, listening addresses, totals.
    Important,
}

/// Where lines are written to.
trait Output: Write + AsFd + Send {}

impl<T: Write + AsFd + Send> Output for T {}

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
    /// The writer's, as long as it lives.
    output: Mutex<Box<dyn Output>>,
    /// How long the writer waits for a line before it ends.
    linger: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// Whole lines.
    waiting: Vec<u8>,
    /// Whether there is a thread that will look at `waiting` again.
    has_writer: bool,
    /// Whether the writer has lines in hand that it took from `waiting`.
    writing: bool,
    dropped: u64,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("state", &self.shared.state).finish_non_exhaustive()
    }
}

impl Queue {
    /// Starts the thread that writes to `output`. It is not waited for when the program ends,
    /// except by [`finish`](Self::finish).
    ///
    /// It ends when there was no line for as long as `linger`, and the next line starts another. A
    /// process whose only thread is its loop pays less for each of its system calls.
    pub(super) fn start(
        output: impl Write + AsFd + Send + 'static,
        linger: Duration,
    ) -> io::Result<Self> {
        let shared = Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            output: Mutex::new(Box::new(output)),
            linger,
        };
        let queue = Self { shared: Arc::new(shared) };
        queue.see_to_a_writer(&mut queue.lock())?;
        Ok(queue)
    }

    /// Adds a line, its line feed included, or drops and counts it. Never waits for the output.
    pub(super) fn push(&self, line: &[u8], rank: Rank) {
        let limit = if rank == Rank::Important { LIMIT + RESERVE } else { LIMIT };
        let mut state = self.lock();
        if state.waiting.len() + line.len() > limit {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        // If no thread can be started now, the line waits for the next one, which tries again.
        let _ = self.see_to_a_writer(&mut state);
        drop(state);
        self.shared.filled.notify_one();
    }

    /// How many lines were dropped: by a full queue, or by an output that failed.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Waits until everything is written, but no longer than `timeout`.
    pub(super) fn finish(&self, timeout: Duration) {
        let busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        let _ = self.shared.emptied.wait_timeout_while(self.lock(), timeout, busy);
    }

    fn see_to_a_writer(&self, state: &mut State) -> io::Result<()> {
        if !state.has_writer {
            // A thread that begins asks for memory, and ends the process if it is refused some.
            let mut memory: Vec<u8> = Vec::new();
            memory.try_reserve_exact(BEGINNING).map_err(|_| io::ErrorKind::OutOfMemory)?;
            drop(std::hint::black_box(memory));
            let writer = self.clone();
            let thread = thread::Builder::new().name("log".to_owned()).stack_size(STACK);
            thread.spawn(move || writer.write())?;
            state.has_writer = true;
        }
        Ok(())
    }

    /// What the writer does. One that ends may still have the output for a moment.
    fn write(&self) {
        let mut output = self.shared.output.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(lines) = self.take() {
            let mut dropped = 0;
            for piece in pieces(&lines) {
                if write_whole(&mut *output, piece).is_err() {
                    dropped += count_lines(piece);
                }
            }
            self.lock().dropped += dropped;
        }
    }

    /// Everything that waits. What was taken before counts as written now. `None` is the end of the
    /// writer.
    fn take(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        state.writing = false;
        if state.waiting.is_empty() {
            self.shared.emptied.notify_all();
        }
        let empty = |state: &mut State| state.waiting.is_empty();
        let waited = self.shared.filled.wait_timeout_while(state, self.shared.linger, empty);
        (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.has_writer = !state.waiting.is_empty();
        state.writing = state.has_writer;
        state.writing.then(|| std::mem::take(&mut state.waiting))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cuts lines into pieces of whole lines, none longer than [`PIECE`] unless a single line is.
fn pieces(mut lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends_line = |byte: &u8| *byte == b'\n';
    std::iter::from_fn(move || {
        if lines.is_empty() {
            return None;
        }
        let fits = &lines[..lines.len().min(PIECE)];
        let end = fits.iter().rposition(ends_line).or_else(|| lines.iter().position(ends_line));
        let (piece, rest) = lines.split_at(end.map_or(lines.len(), |end| end + 1));
        lines = rest;
        Some(piece)
    })
}

fn count_lines(piece: &[u8]) -> u64 {
    piece.iter().map(|&byte| u64::from(byte == b'\n')).sum()
}

/// Like `write_all`, but waits where somebody else has made the output non-blocking: what the
/// descriptor refers to is shared with the user's shell, and so are its flags.
fn write_whole(output: &mut dyn Output, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Whatever comes of it, the next write shows.
                let waits_for = PollFd::from_borrowed_fd(output.as_fd(), PollFlags::OUT);
                let _ = poll(&mut [waits_for], None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn lines_are_written_in_order_and_the_end_waits_for_them() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let queue = Queue::start(writer, LONG).expect("a thread");
        let lines: Vec<String> = (0..1000).map(|number| format!("line {number}\n")).collect();
        for line in &lines {
            queue.push(line.as_bytes(), Rank::Ordinary);
        }
        queue.finish(LONG);
        let mut written = vec![0; lines.concat().len()];
        reader.read_exact(&mut written).expect("all of it, already there");
        assert_eq!(written, lines.concat().as_bytes());
        assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn c35_a_blocked_output_blocks_nobody_and_what_is_dropped_is_counted() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let queue = Queue::start(writer, LONG).expect("a thread");
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        let pushed = 4 * LIMIT / line.len();
        for _ in 0..pushed {
            queue.push(&line, Rank::Ordinary);
        }
        let dropped = queue.dropped();
        assert!(dropped > 0, "the queue has no end");
        queue.push(b"important\n", Rank::Important);
        assert_eq!(queue.dropped(), dropped, "the reserve was not kept");

        let begin = Instant::now();
        queue.finish(Duration::from_millis(50));
        assert!(begin.elapsed() < LONG, "the end waited for a blocked output");

        let kept = (pushed - usize::try_from(dropped).expect("few")) * line.len();
        let mut written = vec![0; kept + b"important\n".len()];
        reader.read_exact(&mut written).expect("everything that was not dropped");
        assert!(written.ends_with(b"\nimportant\n"));
    }

    #[test]
    fn c35_a_full_disk_costs_lines_and_nothing_else() {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let queue = Queue::start(full, LONG).expect("a thread");
        for _ in 0..10 {
            queue.push(b"lost\n", Rank::Important);
        }
        queue.finish(LONG);
        assert_eq!(queue.dropped(), 10);
    }

    #[test]
    fn c35_an_output_that_somebody_made_non_blocking_gets_every_line() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&writer, true).expect("non-blocking");
        let queue = Queue::start(writer, LONG).expect("a thread");
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..512 {
            queue.push(&line, Rank::Ordinary);
        }
        let mut written = vec![0; 512 * line.len()];
        reader.read_exact(&mut written).expect("all of it");
        assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn a_writer_without_work_ends_and_another_one_writes_what_comes_later() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let queue = Queue::start(writer, Duration::from_millis(1)).expect("a thread");
        let mut written = [0; 5];
        for _ in 0..20 {
            queue.push(b"line\n", Rank::Ordinary);
            reader.read_exact(&mut written).expect("the line");
            assert_eq!(&written, b"line\n");
            let begin = Instant::now();
            while queue.lock().has_writer {
                assert!(begin.elapsed() < LONG, "it never ends");
                thread::yield_now();
            }
        }
        queue.finish(LONG);
        assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn pieces_end_where_lines_do() {
        let lines = [b"a\n".repeat(PIECE), vec![b'b'; 2 * PIECE], b"\nc\n".to_vec()].concat();
        let mut joined = Vec::new();
        for piece in pieces(&lines) {
            assert!(piece.ends_with(b"\n"));
            assert!(piece.len() <= PIECE || count_lines(piece) == 1, "{}", piece.len());
            joined.extend_from_slice(piece);
        }
        assert_eq!(joined, lines);
    }
}
