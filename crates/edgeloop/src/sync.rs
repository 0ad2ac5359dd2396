//! What threads share: the standard library's, or loom's where the model checker takes its place.
//!
//! `RUSTFLAGS="--cfg loom"` builds the crate for the checker, and for nothing else: loom's types
//! work only within one of its models.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
#[cfg(not(loom))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard};
