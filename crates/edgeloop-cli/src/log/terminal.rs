//! Standard error as the log writes to it, which a terminal does not stop.

use std::io::{self, IsTerminal as _, Stderr, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, tcgetattr, tcgetpgrp};

/// Standard error. Where a background job would be stopped for writing to its terminal (`stty
/// tostop`), a write fails instead.
#[derive(Debug)]
pub(crate) struct LogOutput {
    stderr: Stderr,
    is_terminal: bool,
}

impl LogOutput {
    pub(crate) fn new() -> Self {
        let stderr = io::stderr();
        let is_terminal = stderr.is_terminal();
        Self { stderr, is_terminal }
    }

    /// Whether the terminal wants no output of a job in the background, and we are one.
    pub(crate) fn is_unwanted(&self) -> bool {
        let stops = || {
            let modes = tcgetattr(&self.stderr)?.local_modes;
            Ok::<_, io::Error>(
                modes.contains(LocalModes::TOSTOP) && tcgetpgrp(&self.stderr)? != getpgrp(),
            )
        };
        // Of a terminal that is not the process's own, or is gone, a write says more.
        self.is_terminal && stops().unwrap_or(false)
    }
}

impl Write for LogOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_unwanted() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.stderr.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for LogOutput {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stderr.as_fd()
    }
}
