//! The server on the simulated kernel.
