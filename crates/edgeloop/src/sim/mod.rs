//! A simulated Linux to test handlers on: the same loop, unchanged, and a seed decides every
//! schedule.
//!
#![doc = include_str!("guide.md")]

// How it works inside: `SimulatedKernel` takes the place of the real one behind the trait `Kernel`.
// A `World` holds its descriptors, its connections, its clock, and the peers at the other ends.
// Whenever the loop makes a call, a scheduler may let peers act and bytes arrive first; when the
// loop waits and nothing can happen any more, the clock jumps to the next deadline.

mod check;
mod clock;
mod context;
mod failure;
#[allow(missing_docs, reason = "public for `internals` only, which nobody reads about")]
mod faults;
mod injector;
#[doc(hidden)]
pub mod internals;
mod journal;
mod kernel;
#[cfg(feature = "udp")]
mod kernel_datagrams;
mod kernel_files;
#[allow(missing_docs, reason = "public for `internals` only, which nobody reads about")]
mod model;
#[allow(missing_docs, reason = "public for `internals` only, which nobody reads about")]
mod peers;
mod random;
mod report;
mod simulation;
#[cfg(test)]
mod tests;
mod watched;
#[allow(missing_docs, reason = "public for `internals` only, which nobody reads about")]
mod world;

pub use check::{check, try_check};
pub use context::{Act, TestContext};
pub use failure::Failure;
pub use faults::Fault;
pub use injector::Faults;
pub use kernel::SimulatedKernel;
#[cfg(feature = "udp")]
pub use peers::datagram_script::DatagramScript;
pub use peers::script::{Ending, Script};
pub use random::Random;
#[cfg(feature = "udp")]
pub use report::CorrespondentReport;
pub use report::{PeerReport, Report};
pub use simulation::{Simulation, Start};

use faults::{Call, Fate};
use injector::Injector;
use model::ends::{Side, Woken};
use model::link::Link;
use world::World;
#[cfg(feature = "udp")]
pub use world::packets::Packets;
