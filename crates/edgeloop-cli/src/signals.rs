//! The signals: which ones are taken and what they mean (C37, C38).
//!
//! Those that are taken are blocked, and read from a descriptor (signalfd(2)) that a loop can
//! watch. So nobody has to wait for them on a thread of its own (see
//! [`EventLoop::notify_on`](edgeloop::EventLoop::notify_on) for what one costs), no handler
//! interrupts a system call, and what the parent blocked or ignored does not matter.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// A second signal that comes sooner is the first: GNU timeout signals a process and then its
/// group.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// They do nothing, during a drain either: users' signals without a use here, the file size limit
/// and the terminal, of which writing says more (C35).
const IGNORED: [Signal; 4] = [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGXFSZ, Signal::SIGTTOU];

/// Blocks the signals that are to do nothing and unblocks all others, whatever the parent blocked.
/// Has to come before the first thread is started.
pub(crate) fn prepare() {
    // It can't fail: there is no such mask that is none.
    let _ = IGNORED.into_iter().collect::<SigSet>().thread_set_mask();
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

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The first signal: an end in order.
    End(Signal),
    /// The second one: an end at once.
    EndNow(Signal),
}

/// The signals that end the program. The descriptor is readable when one has come.
#[derive(Debug)]
pub(crate) struct Signals {
    descriptor: SignalFd,
    /// When the first one was read.
    first: Option<Instant>,
    /// Whether the next one is a second one.
    armed: bool,
}

impl Signals {
    /// From now on, these signals do nothing but to be read. Has to come before the first thread is
    /// started that does not block them.
    ///
    /// # Errors
    ///
    /// When there are no descriptors left, or no signalfd(2).
    pub(crate) fn watch() -> io::Result<Self> {
        let mut signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
        if !ignores_hangup() {
            signals.add(Signal::SIGHUP);
        }
        signals.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self { descriptor: SignalFd::with_flags(&signals, flags)?, first: None, armed: false })
    }

    /// What was asked for since the last call. Never blocks.
    ///
    /// Two signals that come within [`PAUSE`] are one. When one came is not known, so what is there
    /// has to be read once behind that time, before another one counts: see
    /// [`is_settled`](Self::is_settled).
    pub(crate) fn next(&mut self) -> Option<Wish> {
        let arms = self.first.is_some_and(|first| first.elapsed() >= PAUSE);
        while let Some(signal) = self.read() {
            match self.first {
                None => {
                    self.first = Some(Instant::now());
                    return Some(Wish::End(signal));
                }
                // Of a terminal that goes away there are several, beside the signals of others.
                Some(_) if self.armed && signal != Signal::SIGHUP => {
                    return Some(Wish::EndNow(signal));
                }
                Some(_) => {}
            }
        }
        self.armed |= arms;
        None
    }

    /// Whether [`next`](Self::next) need not be called but when the descriptor is readable.
    pub(crate) fn is_settled(&self) -> bool {
        self.armed || self.first.is_none()
    }

    fn read(&self) -> Option<Signal> {
        loop {
            match self.descriptor.read_signal() {
                Ok(Some(info)) => {
                    let number = i32::try_from(info.ssi_signo).unwrap_or_default();
                    return Signal::try_from(number).ok();
                }
                Err(Errno::EINTR) => {}
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Whether the parent had SIGHUP ignored, as nohup does: then the program is to outlive its
/// terminal.
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The lowest bit is that of the signal 1.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0) & 1 == 1
}
