//! What the place allows.

use crate::api::place::MemoryLimit;

/// How much of what is limited there is.
pub trait Resources {
    /// How many more descriptors this process may open, as far as can be told.
    fn spare_descriptors(&self) -> usize;

    /// How much memory the place allows, if that can be told.
    fn memory_limit(&self) -> Option<MemoryLimit> {
        None
    }

    /// Whether the system refuses the memory that is asked for next. The real one says so when it
    /// is asked; a simulated one has no other way.
    fn refuses_memory(&mut self) -> bool {
        false
    }

    /// The longest backlog that the kernel grants, if it can be told (`net.core.somaxconn`).
    fn longest_backlog(&self) -> Option<u32>;
}
