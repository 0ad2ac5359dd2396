//! The exit codes, in one place, so that `--help` and the code can't drift apart.

use std::process::ExitCode;

use edgeloop::{Error, ErrorKind};
use nix::sys::signal::Signal;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All connections ended by themselves and the kernel accepted all output; the run is done.
    Done,
    /// The drain deadline cut connections off, or the kernel did not accept all output.
    OutputLost,
    /// The network failed in a run, or left messages without an answer.
    NetworkErrors,
    /// The command line or the environment is wrong, or an address can't be listened on.
    Usage,
    /// What came back is not what was sent.
    VerificationFailed,
    /// The rate that was asked for could not be held.
    TooSlow,
    /// A figure of the run is beyond a limit that was asked for.
    Failed,
    /// A fatal error while running.
    Fatal,
    /// A second signal.
    Signal(Signal),
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::OutputLost | Self::NetworkErrors => 1,
            Self::Usage => 2,
            Self::VerificationFailed => 3,
            Self::TooSlow => 4,
            Self::Failed => 5,
            Self::Fatal => 70,
            Self::Signal(signal) => u8::try_from(128 + signal as i32).unwrap_or(u8::MAX),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An end before its time: the code and the one line that says why.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) line: String,
}

impl Failure {
    pub(crate) fn usage(line: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, line: line.into() }
    }

    pub(crate) fn fatal(line: impl Into<String>) -> Self {
        Self { exit: Exit::Fatal, line: line.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Listen | ErrorKind::Config => Self::usage(error.to_string()),
            _ => Self::fatal(error.to_string()),
        }
    }
}
