//! The signals of a run: the first one ends it and whatever was to come behind it, the second one
//! the program.

use std::io;
use std::os::fd::AsFd as _;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use edgeloop::Handle;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::gate::Gate;
use crate::exit::Exit;
use crate::log::PlainLog;
use crate::outputs;
use crate::signals::{self, PAUSE, Signals, Wish};

/// Ends runs from another thread. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    state: Arc<Mutex<State>>,
    log: PlainLog,
    /// Whether there is a thread that looks.
    has_thread: bool,
}

#[derive(Debug)]
struct State {
    signals: Signals,
    raised: bool,
    /// The run that goes on: what its threads look at, and how they are made to look.
    current: Option<(Arc<Gate>, Vec<Handle>)>,
}

impl State {
    fn raise(&mut self) {
        self.raised = true;
        if let Some((gate, handles)) = &self.current {
            gate.interrupt();
            handles.iter().for_each(Handle::notify);
        }
    }
}

impl Interrupt {
    /// The first signal ends the run that goes on, if there is one, and every later one as soon as
    /// it begins. A second one ends the program, whatever the other threads are stuck in. Has to
    /// come before the first thread is started.
    ///
    /// # Errors
    ///
    /// When signals can't be watched for.
    pub(crate) fn watch(log: &PlainLog) -> io::Result<Self> {
        let signals = Signals::watch()?;
        let descriptor = signals.as_fd().try_clone_to_owned()?;
        let state = Arc::new(Mutex::new(State { signals, raised: false, current: None }));
        let mut interrupt = Self { state, log: log.clone(), has_thread: false };
        let watcher = interrupt.clone();
        let watch = move || {
            loop {
                let limit = watcher.look().then(|| Timespec::try_from(PAUSE).ok()).flatten();
                if poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], limit.as_ref()).is_err() {
                    thread::sleep(PAUSE);
                }
            }
        };
        let thread = thread::Builder::new().name("signals".to_owned()).spawn(watch);
        interrupt.has_thread = thread.is_ok();
        Ok(interrupt)
    }

    /// Looks whether a signal has come, where there is no thread that does.
    pub(crate) fn look_if_alone(&self) {
        if !self.has_thread {
            self.look();
        }
    }

    /// From here on nobody looks who has no thread for it: the next signal does what it does by
    /// default, unless it belongs to the first one.
    pub(crate) fn stand_down(&self) {
        if !self.has_thread {
            if self.look() {
                thread::sleep(PAUSE);
                self.look();
            }
            signals::prepare();
        }
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.lock().raised
    }

    /// This is the run that goes on now.
    pub(crate) fn attach(&self, gate: &Arc<Gate>, handles: Vec<Handle>) {
        let mut state = self.lock();
        state.current = Some((Arc::clone(gate), handles));
        // It may have been raised before there was anything to end.
        if state.raised {
            state.raise();
        }
    }

    /// Does what a signal asks for. Returns whether to look again after a pause.
    fn look(&self) -> bool {
        let mut state = self.lock();
        match state.signals.next() {
            Some(Wish::End(_)) => state.raise(),
            Some(Wish::EndNow(signal)) => {
                self.log.line(&format!("edgeloop: {signal}, the second signal: ended at once"));
                self.log.finish_soon();
                outputs::abandon();
                process::exit(Exit::Signal(signal).code().into());
            }
            None => {}
        }
        !state.signals.is_settled()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
