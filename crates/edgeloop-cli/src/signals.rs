//! SIGTERM and SIGINT: the first one ends in order, the second one at once (C37, C38).
//!
//! SIGHUP keeps its default, which is to end the program: it has no configuration to read again,
//! and its terminal is gone.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

/// From now on, the first signal calls this, with its name, on a thread of its own.
///
/// # Errors
///
/// When a handler can't be installed, or the thread that waits for signals can't be started.
pub(crate) fn install(first: impl FnOnce(&'static str) + Send + 'static) -> io::Result<()> {
    let signalled = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // In this order, a first signal finds the flag down, and any second one finds it up. It
        // then exits from within the signal handler: no thread that is stuck can be in its way.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&signalled))?;
        flag::register(signal, Arc::clone(&signalled))?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let wait = move || {
        // A signal that came before the line above has left nothing but the flag.
        let came_early = signalled.load(Ordering::SeqCst);
        let signal = if came_early { None } else { signals.forever().next() };
        first(signal.and_then(signal_name).unwrap_or("signal"));
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
    Ok(())
}
