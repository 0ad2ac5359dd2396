//! Bytes that the queues of many connections share: one copy in memory, charged once (C11).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What each queue is charged for a reference: the largest part of a queue's own memory that one
/// takes, half of which may be room for more.
pub(crate) const REFERENCE: usize = 96;

/// Bytes that some queues may hold, and nobody else of ours does. What their user does with them is
/// the user's own affair, and charged to nobody.
#[derive(Debug)]
pub(crate) struct Shared {
    bytes: Arc<[u8]>,
    /// Whether some queue has held them, so that they are charged until the last one lets go.
    is_charged: AtomicBool,
}

impl Shared {
    pub(crate) fn new(bytes: Arc<[u8]>) -> Arc<Self> {
        Arc::new(Self { bytes, is_charged: AtomicBool::new(false) })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a queue that holds them next is charged.
    pub(crate) fn growth(&self) -> usize {
        // One thread has all the queues.
        REFERENCE + if self.is_charged.load(Ordering::Relaxed) { 0 } else { self.bytes.len() }
    }

    /// One more queue holds them. Returns what is charged for that.
    pub(crate) fn charge(&self) -> usize {
        let growth = self.growth();
        self.is_charged.store(true, Ordering::Relaxed);
        growth
    }

    /// What is released if a queue that holds them lets go.
    pub(crate) fn held(this: &Arc<Self>) -> usize {
        REFERENCE + if Arc::strong_count(this) == 1 { this.bytes.len() } else { 0 }
    }

    /// A queue lets go of them. Returns what is released.
    pub(crate) fn release(this: Arc<Self>) -> usize {
        REFERENCE + Self::let_go(this)
    }

    /// Somebody who was charged nothing lets go of them. Returns what is released: they, if no
    /// queue holds them any more.
    pub(crate) fn let_go(this: Arc<Self>) -> usize {
        let charged = |shared: &Self| shared.is_charged.load(Ordering::Relaxed);
        Arc::into_inner(this).filter(charged).map_or(0, |shared| shared.bytes.len())
    }
}
