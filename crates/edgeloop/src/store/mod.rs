//! Where things are kept: by slot, by time, in queues, and in accounts. Nothing here makes a system
//! call or knows what it is kept for.

pub(crate) mod common;
pub(crate) mod memory;
pub(crate) mod output;
pub(crate) mod pieces;
pub(crate) mod pipes;
pub(crate) mod sessions;
pub(crate) mod shared;
pub(crate) mod slot_queue;
pub(crate) mod table;
pub(crate) mod wheel;
