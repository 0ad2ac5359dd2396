//! The error of the library's own calls: what was being done to what, and why it failed.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// What the loop could not do.
///
/// Shows as one line: `cannot listen on 0.0.0.0:3000: Address already in use (os error 98) in
/// bind`.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    action: String,
    source: io::Error,
    call: Option<&'static str>,
}

/// The kinds of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The loop's own descriptors could not be made, or one of its user's not watched.
    Setup,
    /// A setting contradicts another or is out of range.
    Config,
    /// An address could not be resolved or listened on, or a descriptor not.
    Listen,
    /// A stream could not be adopted.
    Adopt,
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
        Self { kind, action: action.into(), source: source.into(), call: None }
    }

    /// The same with the system call that failed.
    pub(crate) fn of_call(kind: ErrorKind, action: impl Into<String>, failed: Failed) -> Self {
        Self { call: Some(failed.call), ..Self::new(kind, action, failed.error) }
    }

    /// The same, of one loop of a group.
    pub(crate) fn in_loop(mut self, number: usize) -> Self {
        self.action = format!("loop {number} has ended: {}", self.action);
        self
    }

    /// The system call that failed, such as `bind` or `setsockopt(SO_KEEPALIVE)`, if it was one.
    #[must_use]
    pub const fn call(&self) -> Option<&'static str> {
        self.call
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

/// An outbound connection could not be started. The session that was meant for it comes back.
pub struct ConnectError<S> {
    /// Why.
    pub error: Error,
    /// The session.
    pub session: S,
}

/// Without the session: what users keep does not belong into a log (C34).
impl<S> fmt::Debug for ConnectError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<S> fmt::Display for ConnectError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<S> std::error::Error for ConnectError<S> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl<S> From<ConnectError<S>> for Error {
    fn from(failed: ConnectError<S>) -> Self {
        failed.error
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.action, self.source)?;
        match self.call {
            Some(call) => write!(f, " in {call}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// A system call that failed, and its error.
#[derive(Debug)]
pub struct Failed {
    call: &'static str,
    error: io::Error,
}

impl Failed {
    pub(crate) fn new(call: &'static str, error: impl Into<io::Error>) -> Self {
        Self { call, error: error.into() }
    }

    pub(crate) fn errno(&self) -> Errno {
        Errno::from_io_error(&self.error).unwrap_or(Errno::INVAL)
    }
}

/// Names the system call that an answer came from.
pub(crate) trait InCall<T> {
    /// # Errors
    ///
    /// The answer's own, with the name of the call.
    fn in_call(self, call: &'static str) -> Result<T, Failed>;
}

impl<T, E: Into<io::Error>> InCall<T> for Result<T, E> {
    fn in_call(self, call: &'static str) -> Result<T, Failed> {
        self.map_err(|error| Failed::new(call, error))
    }
}
