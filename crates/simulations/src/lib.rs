//! Runs of an echo server, and of a proxy, on the simulated kernel by seed and with every early
//! fault, and the model of that kernel compared with the real one.

mod fidelity;
mod runs;

pub use fidelity::compare;
pub use runs::ends::AtTheEnd;
pub use runs::systematic::{Case, alone, in_pairs};
pub use runs::{Outcome, run, run_plain, shrink};
