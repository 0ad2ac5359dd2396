//! Every peer does what it is compared for, and the example fails as it is said to.

// Elsewhere than on Linux there are no peers.
#![cfg(target_os = "linux")]

mod echo;
mod example;
mod fanout;
mod server;
mod unix;
