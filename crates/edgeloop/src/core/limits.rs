//! Which limits hold for a connection: those of the loop, or its own.

use std::sync::Arc;

use super::Core;
use crate::api::bounds::{Bounds, Limits};
use crate::api::config::Config;
use crate::api::error::Error;
use crate::api::id::ConnectionId;
use crate::connection::flags::Flags;
use crate::kernel::Kernel;
use crate::store::table::Paged;

/// The limits of all connections.
#[derive(Debug)]
pub(crate) struct LimitTable {
    /// Those of the loop.
    pub(crate) common: Bounds,
    /// Those of connections that have their own, by their slots; none while nobody has any.
    own: Option<Own>,
}

#[derive(Debug, Default)]
struct Own {
    bounds: Paged<Arc<Bounds>>,
    count: usize,
}

impl LimitTable {
    pub(super) const fn new(config: &Config) -> Self {
        Self { common: config.bounds, own: None }
    }

    /// Those that hold for the connection in a slot.
    #[inline]
    pub(crate) fn of(&self, slot: u32) -> &Bounds {
        let own = self.own.as_ref().and_then(|own| own.bounds.get(slot));
        own.map_or(&self.common, |own| own)
    }

    fn set(&mut self, slot: u32, bounds: Arc<Bounds>) {
        let own = self.own.get_or_insert_default();
        match own.bounds.get_mut(slot) {
            Some(before) => *before = bounds,
            None => {
                own.bounds.insert(slot, bounds);
                own.count += 1;
            }
        }
    }

    /// The connection in a slot is gone. Returns whether it was the last with limits of its own.
    fn forget(&mut self, slot: u32) -> bool {
        let Some(own) = &mut self.own else { return false };
        if own.bounds.remove(slot).is_some() {
            own.count -= 1;
        }
        let is_last = own.count == 0;
        if is_last {
            self.own = None;
        }
        is_last
    }
}

impl<K: Kernel> Core<K> {
    /// Changes the limits of a connection.
    pub(crate) fn set_limits(&mut self, id: ConnectionId, limits: &Limits) -> Result<(), Error> {
        if self.connections.get(id).is_none() {
            self.metrics.stale += 1;
            return Ok(());
        }
        let before = self.limits.of(id.slot());
        let bounds = limits.over(before);
        bounds.check(self.config.read_buffer)?;
        if bounds != *before {
            self.hold_to(id, Arc::new(bounds));
        }
        Ok(())
    }

    /// From now on these limits hold for a connection.
    pub(crate) fn hold_to(&mut self, id: ConnectionId, bounds: Arc<Bounds>) {
        // No more than the high watermark is joined.
        self.send_joined(id);
        let high = bounds.high;
        // No send is so large that only one with other limits may make it.
        self.memory.limit_sends(bounds.output);
        self.limit_allowance();
        self.limits.set(id.slot(), bounds);
        let mark = self.mark();
        let connection = &mut self.connections[id];
        if connection.has(Flags::QUEUED) {
            if connection.queued() > high {
                connection.mark_above(mark);
            }
            if connection.is_above() {
                // To see whether it is at the low watermark now.
                connection.set(Flags::WRITABLE);
                self.list(id);
            }
        }
        self.schedule(id);
        // The low watermark that a pull waits for may be higher now.
        self.pull_on(id);
    }

    /// A connection is gone, and its limits with it.
    pub(super) fn forget_limits(&mut self, id: ConnectionId) {
        if self.limits.forget(id.slot()) {
            self.memory.limit_no_sends(self.limits.common.output);
            self.limit_allowance();
        }
    }

    /// What is noted of a connection whose queue is above its high watermark.
    pub(super) const fn mark(&self) -> Flags {
        if self.config.read_above_mark { Flags::ABOVE_READING } else { Flags::ABOVE }
    }
}
