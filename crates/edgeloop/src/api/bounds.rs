//! The limits of one connection: how long it may be silent, and how many bytes may wait for it.

use std::io;
use std::time::Duration;

use crate::api::error::{Error, ErrorKind};

const KIB: usize = 1024;

/// Limits of a connection, or of those that a listener accepts, where they are others than those of
/// the loop. What is not named stays as it is. The methods are those of [`Config`](crate::Config),
/// which has the loop's, and explains each.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use edgeloop::Limits;
///
/// // For clients that have signed in.
/// let limits = Limits::new().idle_timeout(Some(Duration::from_secs(3600))).input_limit(1 << 20);
/// # let _ = limits;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    idle_timeout: Option<Option<Duration>>,
    write_timeout: Option<Option<Duration>>,
    high_watermark: Option<usize>,
    low_watermark: Option<usize>,
    output_limit: Option<usize>,
    input_limit: Option<usize>,
}

impl Limits {
    /// None that differs.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            idle_timeout: None,
            write_timeout: None,
            high_watermark: None,
            low_watermark: None,
            output_limit: None,
            input_limit: None,
        }
    }

    /// As [`Config::idle_timeout`](crate::Config::idle_timeout).
    #[must_use]
    pub const fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// As [`Config::write_timeout`](crate::Config::write_timeout).
    #[must_use]
    pub const fn write_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.write_timeout = Some(timeout);
        self
    }

    /// As [`Config::high_watermark`](crate::Config::high_watermark).
    #[must_use]
    pub const fn high_watermark(mut self, bytes: usize) -> Self {
        self.high_watermark = Some(bytes);
        self
    }

    /// As [`Config::low_watermark`](crate::Config::low_watermark).
    #[must_use]
    pub const fn low_watermark(mut self, bytes: usize) -> Self {
        self.low_watermark = Some(bytes);
        self
    }

    /// As [`Config::output_limit`](crate::Config::output_limit).
    #[must_use]
    pub const fn output_limit(mut self, bytes: usize) -> Self {
        self.output_limit = Some(bytes);
        self
    }

    /// As [`Config::input_limit`](crate::Config::input_limit).
    #[must_use]
    pub const fn input_limit(mut self, bytes: usize) -> Self {
        self.input_limit = Some(bytes);
        self
    }

    /// These, and what they do not name from others.
    pub(crate) fn over(&self, others: &Bounds) -> Bounds {
        Bounds {
            idle: self.idle_timeout.unwrap_or(others.idle),
            write: self.write_timeout.unwrap_or(others.write),
            high: self.high_watermark.unwrap_or(others.high),
            low: self.low_watermark.unwrap_or(others.low),
            output: self.output_limit.unwrap_or(others.output),
            input: self.input_limit.unwrap_or(others.input),
        }
    }
}

/// All limits of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) idle: Option<Duration>,
    pub(crate) write: Option<Duration>,
    pub(crate) high: usize,
    pub(crate) low: usize,
    pub(crate) output: usize,
    pub(crate) input: usize,
}

impl Bounds {
    pub(crate) const DEFAULT: Self = Self {
        idle: None,
        write: Some(Duration::from_secs(60)),
        high: 64 * KIB,
        low: 16 * KIB,
        output: 1024 * KIB,
        input: 64 * KIB,
    };

    /// Checks what can't be expressed in types, for a loop with a read buffer of this size.
    pub(crate) fn check(&self, read_buffer: usize) -> Result<(), Error> {
        let wrong = |what: String| {
            Err(Error::new(ErrorKind::Config, what, io::Error::from(io::ErrorKind::InvalidInput)))
        };
        if self.low > self.high {
            return wrong(format!(
                "the low watermark of {} bytes is above the high one of {}",
                self.low, self.high
            ));
        }
        if self.high.saturating_add(read_buffer) > self.output {
            return wrong(format!(
                "an output limit of {} bytes leaves no room for a read of {read_buffer} above the high watermark of {}",
                self.output, self.high
            ));
        }
        Ok(())
    }
}
