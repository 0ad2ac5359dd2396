//! SIGTERM and SIGINT: the first one ends in order, the second one at once (C37, C38).
//!
//! The first one writes a byte to a socket, which a loop can watch. So nobody has to wait for it on a
//! thread of its own: see [`EventLoop::notify_on`](edgeloop::EventLoop::notify_on) for what one costs.
//!
//! SIGHUP keeps its default, which is to end the program: it has no configuration to read again,
//! and its terminal is gone.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use signal_hook::low_level::signal_name;

/// They do nothing: of a file size limit and a terminal, writing says more (C35).
const IGNORED: [Signal; 2] = [Signal::SIGXFSZ, Signal::SIGTTOU];

/// Blocks the signals that are to do nothing. Has to come before the first thread is started.
pub(crate) fn prepare() {
    // It can't fail: there is no such mask that is none.
    let _ = IGNORED.into_iter().collect::<SigSet>().thread_block();
}

/// Does something with all signals blocked. A thread that is started so takes none, ever.
pub(crate) fn blocked<T>(something: impl FnOnce() -> T) -> T {
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let done = something();
    if let Ok(mask) = mask {
        let _ = mask.thread_set_mask();
    }
    done
}

/// The first signal. Its descriptor becomes readable when it comes.
#[derive(Debug)]
pub(crate) struct FirstSignal {
    signalled: Arc<AtomicBool>,
    delivery: SignalDelivery<UnixStream, SignalOnly>,
    taken: bool,
}

impl FirstSignal {
    /// From now on, the first signal is noted, and a second one ends the process.
    ///
    /// # Errors
    ///
    /// When a handler can't be installed, or there are no descriptors left.
    pub(crate) fn install() -> io::Result<Self> {
        let signalled = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order, a first signal finds the flag down, and any second one finds it up. It
            // then exits from within the signal handler: no thread that is stuck can be in its way.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&signalled))?;
            flag::register(signal, Arc::clone(&signalled))?;
        }
        let (reader, writer) = UnixStream::pair()?;
        let mut early = writer.try_clone()?;
        let signals = [SIGTERM, SIGINT];
        let delivery = SignalDelivery::with_pipe(reader, writer, SignalOnly, signals)?;
        if signalled.load(Ordering::SeqCst) {
            // It may have come before there was anybody to write the byte.
            early.write_all(b"X")?;
        }
        Ok(Self { signalled, delivery, taken: false })
    }

    /// Its name, once, when it has come.
    pub(crate) fn take(&mut self) -> Option<&'static str> {
        if self.taken || !self.signalled.load(Ordering::SeqCst) {
            return None;
        }
        self.taken = true;
        // One that came early is known by the flag alone.
        self.delivery.pending().next().and_then(signal_name).or(Some("signal"))
    }

    /// Calls this when it comes, on a thread of its own.
    ///
    /// # Errors
    ///
    /// When the thread can't be started.
    pub(crate) fn call(mut self, first: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let wait = move || {
            // There is a byte or, were the writers gone, an end: either way, nothing to wait for.
            let _ = self.delivery.get_read_mut().read_exact(&mut [0]);
            first();
        };
        thread::Builder::new().name("signals".to_owned()).spawn(wait)?;
        Ok(())
    }
}

impl AsFd for FirstSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}
