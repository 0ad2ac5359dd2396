//! A simulated Linux: the same loop, unchanged, on a kernel whose every schedule comes from a seed.
//!
//! [`SimulatedKernel`] takes the place of the real one behind [`Kernel`](crate::kernel::Kernel). A
//! [`World`] holds its descriptors, its connections, its clock, and the peers at the other ends.
//! Whenever the loop makes a call, a scheduler may let peers act and bytes arrive first; when the
//! loop waits and nothing can happen any more, the clock jumps to the next deadline.
//!
//! Only the library's own tests use it yet.

mod faults;
#[cfg(test)]
mod fidelity;
mod kernel;
mod link;
mod peer;
mod random;
mod runs;
mod world;

use faults::{Call, Faults, Planned};
use kernel::SimulatedKernel;
use link::{Link, Side, Woken};
use peer::{Kind, Peer};
use random::Random;
use world::World;
