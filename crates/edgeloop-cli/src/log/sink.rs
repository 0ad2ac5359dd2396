//! What writes to standard error, and knows what was lost on the way (C35).

use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};

use super::backlog::{Item, count_lines};

/// Where lines are written to.
pub(super) trait Output: Write + AsFd + Send {}

impl<T: Write + AsFd + Send> Output for T {}

/// Makes the line that tells how many lines were dropped.
pub(crate) type GapLine = fn(u64) -> String;

/// The output would block, and nobody waits for it.
#[derive(Debug)]
pub(super) struct Blocked;

/// An output, with what is on its way there.
pub(super) struct Sink {
    output: Box<dyn Output>,
    gap: GapLine,
    /// What is being written, and how much of it is.
    text: Vec<u8>,
    written: usize,
    /// Where the line about the gap ends in `text`, and the log's own lines begin.
    begin: usize,
    /// Lines dropped before `text`, or before what comes next, that were not told of.
    missing: u64,
    /// The last thing that was written is half a line.
    torn: bool,
    /// The last write failed.
    failed: bool,
}

impl Sink {
    pub(super) fn new(output: impl Write + AsFd + Send + 'static, gap: GapLine) -> Self {
        Self {
            output: Box::new(output),
            gap,
            text: Vec::new(),
            written: 0,
            begin: 0,
            missing: 0,
            torn: false,
            failed: false,
        }
    }

    /// Whether everything that it was given is written, or lost.
    pub(super) fn is_idle(&self) -> bool {
        self.written == self.text.len()
    }

    /// Takes what is to be written next. It must be idle.
    pub(super) fn feed(&mut self, item: Item) {
        match item {
            Item::Gap(lines) => self.missing += lines,
            Item::Lines(_, lines) => {
                self.tell_gap();
                self.begin = self.text.len();
                self.text.extend_from_slice(&lines);
            }
        }
    }

    /// Nothing comes behind the gap for now: it is told of, unless nothing can be written anyway.
    pub(super) fn feed_end(&mut self) {
        if self.missing > 0 && !self.failed {
            self.tell_gap();
            self.begin = self.text.len();
        }
    }

    fn tell_gap(&mut self) {
        if self.torn {
            self.text.push(b'\n');
        }
        if self.missing > 0 {
            self.text.extend_from_slice((self.gap)(self.missing).as_bytes());
        }
    }

    /// Writes what it was given, and returns how many lines of it were lost.
    ///
    /// # Errors
    ///
    /// When the output would block, and `waits` is false. The next call goes on with it.
    pub(super) fn flush(&mut self, waits: bool) -> Result<u64, Blocked> {
        while !self.is_idle() {
            // Each of the two parts fits into a pipe whole.
            let end = if self.written < self.begin { self.begin } else { self.text.len() };
            let part = &self.text[self.written..end];
            let wrote =
                if waits { self.output.write(part) } else { write_now(&mut *self.output, part) };
            match wrote {
                Ok(0) => return Ok(self.fail()),
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Somebody else has made it non-blocking: what the descriptor refers to is shared
                // with the user's shell, and so are its flags.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !waits {
                        return Err(Blocked);
                    }
                    self.wait(None);
                }
                Err(_) => return Ok(self.fail()),
            }
        }
        if !self.text.is_empty() {
            self.text.clear();
            (self.written, self.begin, self.missing) = (0, 0, 0);
            (self.torn, self.failed) = (false, false);
        }
        Ok(0)
    }

    /// Gives up what is not written.
    fn fail(&mut self) -> u64 {
        let lost = count_lines(&self.text[self.written.max(self.begin)..]);
        if self.written >= self.begin && self.begin > 0 {
            self.missing = 0;
        }
        self.missing += lost;
        if self.written > 0 {
            self.torn = self.text[self.written - 1] != b'\n';
        }
        self.failed = true;
        self.text.clear();
        (self.written, self.begin) = (0, 0);
        lost
    }

    /// Waits until the output takes something, or is broken, for `limit` at the most.
    pub(super) fn wait(&self, limit: Option<Duration>) {
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        // Whatever comes of it, the next write shows.
        let _ = poll(
            &mut [PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::OUT)],
            limit.as_ref(),
        );
    }
}

/// Writes without waiting, although the descriptor may be one that waits.
fn write_now(output: &mut dyn Output, bytes: &[u8]) -> io::Result<usize> {
    match pwritev2(output.as_fd(), &[IoSlice::new(bytes)], u64::MAX, ReadWriteFlags::NOWAIT) {
        // Terminals, some file systems, old kernels. There, what is writable takes at least
        // something; a file takes all.
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE) => {
            let mut ready = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::OUT)];
            match poll(&mut ready, Some(&Timespec::default())) {
                Ok(0) => Err(ErrorKind::WouldBlock.into()),
                _ => output.write(bytes),
            }
        }
        wrote => Ok(wrote?),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;
    use std::sync::{Arc, Mutex};

    use super::super::backlog::Rank;
    use super::*;

    /// A file on a disk with so much room left.
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (text, room) = &mut *self.0.lock().expect("no panic");
            let bytes = &bytes[..bytes.len().min(*room)];
            if bytes.is_empty() {
                return Err(ErrorKind::StorageFull.into());
            }
            *room -= bytes.len();
            text.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl AsFd for Disk {
        fn as_fd(&self) -> BorrowedFd<'_> {
            unreachable!("it never blocks")
        }
    }

    #[test]
    fn c35_half_a_line_is_ended_before_the_gap_is_told() {
        let disk = Arc::new(Mutex::new((Vec::new(), 2)));
        let mut sink = Sink::new(Disk(Arc::clone(&disk)), |lines| format!("[{lines}]\n"));
        let mut write = |line: &[u8]| {
            sink.feed(Item::Lines(Rank::Debug, line.to_vec()));
            sink.flush(true).expect("it waits")
        };
        assert_eq!(write(b"half\n"), 1);
        assert_eq!(write(b"lost\nlost\n"), 2);
        disk.lock().expect("no panic").1 = 100;
        assert_eq!(write(b"whole\n"), 0);
        assert_eq!(write(b"more\n"), 0);
        let text = String::from_utf8_lossy(&disk.lock().expect("no panic").0).into_owned();
        assert_eq!(text, "ha\n[3]\nwhole\nmore\n");
    }
}
