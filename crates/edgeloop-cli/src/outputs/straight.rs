//! What is no file that could be replaced: pipes, terminals, devices. It is written as it comes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// How long a FIFO without a reader is given: the two may be started at once.
const READER: Duration = Duration::from_secs(1);

/// How often it is looked for a reader.
const PACE: Duration = Duration::from_millis(10);

/// How often whoever waits looks whether the user wants no more, and how long it then still waits
/// for a reader to take anything.
const LOOK: Duration = Duration::from_millis(100);
const STUCK: Duration = Duration::from_secs(1);

/// The most bytes that a pipe takes without waiting, if it takes any (PIPE_BUF, pipe(7)).
const PIECE: usize = 4096;

/// A descriptor that nobody waits for until the end: what it does not take at once is kept.
#[derive(Debug)]
pub(super) struct Straight {
    file: File,
    kept: Vec<u8>,
    /// How much of that is written.
    written: usize,
}

/// Opens a FIFO or a device.
///
/// # Errors
///
/// When it can't be opened; of a FIFO, also when nobody reads it.
pub(super) fn open(path: &Path) -> io::Result<Straight> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let is_fifo = fs::metadata(path)?.file_type().is_fifo();
    let begin = Instant::now();
    loop {
        let opened =
            OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(path);
        match opened {
            Err(error) if is_fifo && Errno::from_io_error(&error) == Some(Errno::NXIO) => {
                if begin.elapsed() >= READER {
                    return Err(io::Error::other("nobody reads this FIFO; start its reader first"));
                }
                thread::sleep(PACE);
            }
            opened => return opened.map(Straight::new),
        }
    }
}

/// Opens what another descriptor of this process leads to. A file is added to, because others may
/// have written there.
///
/// # Errors
///
/// When it can't be opened.
pub(super) fn append(path: &Path) -> io::Result<Straight> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened =
        OpenOptions::new().append(true).custom_flags(flags.bits().cast_signed()).open(path);
    opened.map(Straight::new)
}

impl Straight {
    pub(super) const fn new(file: File) -> Self {
        Self { file, kept: Vec::new(), written: 0 }
    }

    /// Never waits.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.kept.extend_from_slice(bytes);
        self.push()
    }

    /// Writes all, and waits until it can. When `ends` says that the user wants no more, it waits
    /// only for who reads.
    pub(super) fn finish(&mut self, ends: &dyn Fn() -> bool) -> io::Result<()> {
        let (mut before, mut moved) = (self.written, Instant::now());
        loop {
            self.push()?;
            if self.kept.is_empty() {
                return Ok(());
            }
            if self.written != before {
                (before, moved) = (self.written, Instant::now());
            }
            if ends() && moved.elapsed() >= STUCK {
                return Err(io::Error::other("interrupted; its reader does not read"));
            }
            self.is_ready(LOOK)?;
        }
    }

    fn push(&mut self) -> io::Result<()> {
        while self.written < self.kept.len() && self.is_ready(Duration::ZERO)? {
            let rest = &self.kept[self.written..];
            match self.file.write(&rest[..rest.len().min(PIECE)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.written == self.kept.len() {
            self.kept.clear();
            self.written = 0;
        }
        Ok(())
    }

    /// Whether it takes anything, or fails.
    fn is_ready(&self, limit: Duration) -> io::Result<bool> {
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], Some(&limit)) {
            Err(Errno::INTR) => Ok(false),
            ready => Ok(ready? > 0),
        }
    }
}
