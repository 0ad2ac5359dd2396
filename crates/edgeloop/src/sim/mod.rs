//! A simulated Linux: the same loop, unchanged, on a kernel whose every schedule comes from a seed.
//!
//! [`SimulatedKernel`] takes the place of the real one behind [`Kernel`](crate::kernel::Kernel). A
//! [`World`] holds its descriptors, its connections, its clock, and the peers at the other ends.
//! Whenever the loop makes a call, a scheduler may let peers act and bytes arrive first; when the
//! loop waits and nothing can happen any more, the clock jumps to the next deadline.
//!
//! Only the library's own tests, and the command of `simulations`, use it yet.

mod client;
mod echo;
mod epoll;
mod eventfd;
mod faults;
mod fidelity;
mod injector;
mod kernel;
mod link;
mod peer;
mod random;
mod runs;
mod script;
mod simulation;
mod systematic;
mod watched;
mod world;

pub use faults::Fault;
pub use injector::Faults;
pub use kernel::SimulatedKernel;
pub use random::Random;
pub use script::{Ending, Script};
pub use simulation::{Failure, PeerReport, Report, Simulation, check};

#[doc(hidden)]
pub mod checks {
    //! What the project's own command `simulations` runs. No part of the library that others use.

    pub use super::fidelity::compare;
    pub use super::runs::{Outcome, run, shrink};
    pub use super::systematic::{Case, alone, in_pairs};
    pub use super::world::{Follower, Tally, Turn};
}

use faults::{Call, Fate};
use injector::Injector;
use link::{Link, Side, Woken};
use world::World;
