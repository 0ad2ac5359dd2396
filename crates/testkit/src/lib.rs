//! The vocabulary of edgeloop's tests: servers under test, peers, and waits with a condition.
//!
//! A test reads like the sentence that it proves, so each word here does one thing, panics at the
//! line of the test when it fails, and gives up after [`PATIENCE`] instead of hanging. What a
//! machine lacks is said on the real stderr, with the word `SKIPPED` or `SCALED DOWN`, and once
//! more at the end of `cargo test`.
//!
//! [`Server`] and what hangs on it ([`Process`], [`Trace`]) know a server by its process alone;
//! [`Peer`] knows it by its address alone, so tests of the library use it too. For tests of clients
//! there is an [`OddServer`], which gets one thing wrong, and a [`ReplyServer`], which does not
//! echo.

// Elsewhere the library says why nothing can be built; this says nothing beside it.
#![cfg(target_os = "linux")]

// The layers, lowest first: a module names only modules above it in this list. A test holds that.
mod bytes;
mod examples;
mod notes;
mod files;
mod limits;
mod oddities;
mod process;
mod replies;
mod sockets;
mod stopwatch;
mod tools;
mod wait;
mod log;
mod peer;
mod trace;
mod launch;
mod server;
mod crowd;

pub use bytes::{Prng, Stream, assert_same_bytes};
pub use crowd::{Crowd, expect_poured, expect_rest, pour, pour_once, receive_once};
pub use examples::example;
pub use files::Files;
pub use launch::{Ended, Launch, Running};
pub use limits::{
    descriptors_granted, in_full, in_full_or_scaled_down, machine_to_myself, raise_descriptor_limit,
};
pub use log::Log;
pub use notes::{say, tell_notes};
pub use oddities::{OddServer, Oddity};
pub use peer::Peer;
pub use process::{Descriptor, Memory, Process};
pub use replies::{Replies, ReplyServer};
pub use server::{Closing, Server};
pub use sockets::{Socket, SocketState, TcpSockets};
pub use stopwatch::Stopwatch;
pub use tools::{
    AB, BASH, CHROMIUM, CURL, FISH, GIT, HAPROXY, MANDOC, MEMCACHED, NC, NETWORKS, NGINX, PYTHON,
    REDIS, REDIS_TOOLS, SCRIPT, SETPRIV, SOCAT, SOCKET_ACTIVATE, STRACE, SYSTEMD_ANALYZE, Tool,
    UNSHARE, VALGRIND, WRK, ZSH, skip_unless,
};
pub use trace::{Call, Mark, Trace, turns};
pub use wait::{PATIENCE, SetOnDrop, eventually, eventually_some, holds_for, within};
