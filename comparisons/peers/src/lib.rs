//! The servers that edgeloop is compared with, each in its best idiomatic form.
//!
//! Every server listens on a port of its own on the loopback, or on a Unix socket, says `listening
//! on 127.0.0.1:PORT`, `listening on udp://127.0.0.1:PORT` or `listening on unix:PATH` on its
//! standard output, and serves on one thread until a signal ends it (the runtimes of smol and Go
//! have more). Those in C and Go are programs that the build script compiles; those in Rust run in
//! the caller's own program, started again.
//!
//! ```no_run
//! use peers::{Place, Service, find};
//!
//! let bare = find("bare").expect("it is always there");
//! if bare.left_out().is_none() {
//!     let server = bare.command(Service::Echo, 65_536, &Place::Tcp).spawn()?;
//! }
//! # std::io::Result::Ok(())
//! ```

// Elsewhere than on Linux there is nothing to compare.
#![cfg(target_os = "linux")]

// The layers, lowest first: a module names only modules above it in this list. A test holds that.
mod listen;
mod compio;
mod example;
mod monoio;
mod service;
mod queue;
mod mio;
mod polling;
mod smol;
mod tokio_copy;
mod tokio_fanout;
mod tokio_ready;
mod tokio_udp;
mod tokio_proxy;
mod hyper_http;
mod peer;

pub use hyper_http::{HYPER, http};
pub use peer::{Peer, all, find, serve};
pub use service::{Place, Service, Transport};
pub use tokio_proxy::{TOKIO, proxy};
