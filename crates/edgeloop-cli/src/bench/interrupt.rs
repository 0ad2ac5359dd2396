//! The first signal: it ends the run that goes on, and whatever was to come behind it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use edgeloop::Handle;

use super::gate::Gate;

/// The run that goes on: what its threads look at, and how they are made to look.
type Current = (Arc<Gate>, Vec<Handle>);

/// Ends runs from another thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt {
    raised: Arc<AtomicBool>,
    current: Arc<Mutex<Option<Current>>>,
}

impl Interrupt {
    /// Ends the run that goes on, if there is one, and every later one as soon as it begins.
    pub(crate) fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((gate, handles)) = &*current {
            gate.interrupt();
            handles.iter().for_each(Handle::notify);
        }
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    /// This is the run that goes on now.
    pub(crate) fn attach(&self, gate: &Arc<Gate>, handles: Vec<Handle>) {
        let current = Some((Arc::clone(gate), handles));
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = current;
        // It may have been raised before there was anything to end.
        if self.is_raised() {
            self.raise();
        }
    }
}
