//! Waiting for a condition, with a deadline: the only way in which a test here lets time pass.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must happen: long enough for a starved process on two cores,
/// short enough to fail before the reader of the log gives up. Where failures are expected, the
/// build may say less, in seconds (`EDGELOOP_TEST_PATIENCE`).
pub const PATIENCE: Duration = Duration::from_secs(match option_env!("EDGELOOP_TEST_PATIENCE") {
    None => 60,
    Some(seconds) => match u64::from_str_radix(seconds, 10) {
        Ok(seconds) => seconds,
        Err(_) => panic!("EDGELOOP_TEST_PATIENCE is no number of seconds"),
    },
});

/// How long a look is apart from the next. Only the pace depends on it, never a verdict.
const PACE: Duration = Duration::from_millis(2);

/// Waits until `condition` holds.
///
/// # Panics
///
/// When it does not hold within [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(PATIENCE, what, condition);
}

/// Waits until `condition` holds, for `limit` at the most.
///
/// # Panics
///
/// When it does not hold within `limit`.
#[track_caller]
pub fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "not so within {limit:?}: {what}");
        thread::sleep(PACE);
    }
}

/// Waits until `look` finds something, and returns it.
///
/// # Panics
///
/// When nothing is found within [`PATIENCE`].
#[track_caller]
pub fn eventually_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "not so within {PATIENCE:?}: {what}");
        thread::sleep(PACE);
    }
}

/// Watches for `span` that `condition` goes on holding: for what must not happen, where there is
/// no event to wait for.
///
/// # Panics
///
/// As soon as it does not hold.
#[track_caller]
pub fn holds_for(span: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    loop {
        assert!(condition(), "no longer so after {:?}: {what}", start.elapsed());
        if start.elapsed() >= span {
            return;
        }
        thread::sleep(PACE.min(span));
    }
}

/// Sets a flag when it is dropped, so that threads which go on until then end after a failure, too.
/// A scope waits for its threads, and would wait for ever.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
