//! Durations and counts as numbers.

use std::time::Duration;

/// In whole nanoseconds. At most a quarter of those that a number has room for, so that sums of
/// them don't overflow.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 4)
}

pub(crate) fn micros(nanos: u64) -> f64 {
    to_f64(nanos) / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "a figure to be shown")]
pub(crate) fn to_f64(number: u64) -> f64 {
    number as f64
}
