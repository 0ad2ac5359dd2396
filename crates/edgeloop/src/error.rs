//! The error of the library's own calls: what was being done to what, and why it failed.

use std::fmt;
use std::io;

/// What the loop could not do.
///
/// Shows as one line: `cannot listen on 0.0.0.0:3000: Address already in use (os error 98)`.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    action: String,
    source: io::Error,
}

/// The kinds of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The loop's own descriptors could not be made, or one of its user's not watched.
    Setup,
    /// A setting contradicts another or is out of range.
    Config,
    /// An address could not be resolved or listened on.
    Listen,
    /// An outbound connection could not be started.
    Connect,
    /// Waiting for events failed, or the last listener did.
    Run,
}

impl Error {
    pub(crate) fn new(
        kind: ErrorKind,
        action: impl Into<String>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self { kind, action: action.into(), source: source.into() }
    }

    /// What kind of error this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The system's error behind it.
    #[must_use]
    pub fn io_error(&self) -> &io::Error {
        &self.source
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.action, self.source)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
