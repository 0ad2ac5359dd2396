//! How a command ends that does not succeed: one line, and an exit code.

use std::fmt;
use std::io;

use crate::interrupt;

/// Why a command ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) line: String,
}

impl Failure {
    /// The command line is wrong, or something that is needed is missing.
    pub(crate) fn usage(line: impl Into<String>) -> Self {
        Self { code: 2, line: line.into() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let code = if interrupt::is_raised() { 130 } else { 1 };
        Self { code, line: error.to_string() }
    }
}

/// What names and shapes were given wrongly.
impl From<String> for Failure {
    fn from(line: String) -> Self {
        Self::usage(line)
    }
}

/// The error, with the name of who had it in front.
pub(crate) fn named(name: impl fmt::Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}
