//! Some of the runs that the command `simulations` makes: seeds, early faults, and the model of the
//! kernel beside the real one.

mod fidelity;
mod runs;
mod systematic;
