//! Calls that a signal interrupts.

use rustix::io::Errno;

/// How often a call is made before its interruption by a signal is taken for an answer. None but
/// the wait blocks, so that a signal hardly ever meets one, and never as many times in a row.
const TRIES: usize = 64;

/// Makes a call, and again where a signal interrupts it, but not for ever (C22).
pub(crate) fn persist<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 1..TRIES {
        match call() {
            Err(Errno::INTR) => {}
            answer => return answer,
        }
    }
    call()
}
