//! Ctrl-C: the run ends in order, so that no server is left behind.

use std::io;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

static SIGNALLED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// The text of the error that ends an interrupted run.
const WORDS: &str = "interrupted";

/// From now on a signal only raises the flag; a second one ends the process at once, and the
/// servers with it, since they ask the kernel for a signal at their parent's end.
pub(crate) fn install() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&SIGNALLED))?;
        flag::register(signal, Arc::clone(&SIGNALLED))?;
    }
    Ok(())
}

/// Whether a signal has come.
pub(crate) fn is_raised() -> bool {
    SIGNALLED.load(Ordering::Relaxed)
}

/// # Errors
///
/// When a signal has come: every loop that takes long asks here.
pub(crate) fn check() -> io::Result<()> {
    // Not `Interrupted`, which callers of system calls take for EINTR.
    if is_raised() { Err(io::Error::other(WORDS)) } else { Ok(()) }
}
