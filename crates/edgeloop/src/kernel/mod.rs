//! Everything that the loop asks of the kernel, as a few narrow traits, one for each kind of thing.
//!
//! The loop is compiled once for each implementation, so the traits cost nothing. Errors are
//! bare error numbers, addresses the standard library's. Nothing here decides anything: a call is
//! tried once, and what its error means is the business of the layers above, where a simulated
//! kernel can show it.

mod clock;
#[cfg(feature = "udp")]
mod datagrams;
mod descriptor_limit;
mod files;
pub(crate) mod given;
mod linux;
#[cfg(feature = "udp")]
mod linux_datagrams;
mod linux_files;
mod names;
mod persist;
mod poll;
mod resources;
mod sockets;
mod source;
mod splice;
mod wakeable;
#[cfg(all(feature = "sim", feature = "udp"))]
mod real_datagrams;

pub(crate) use clock::Clock;
#[cfg(feature = "udp")]
pub(crate) use datagrams::{Datagrams, RECEIVE, Received};
pub use descriptor_limit::raise_descriptor_limit;
pub(crate) use files::{FileId, Files};
pub use linux::Linux;
#[cfg(feature = "udp")]
pub(crate) use linux_datagrams::UdpSocket;
pub(crate) use names::UNKNOWN;
pub(crate) use persist::persist;
pub(crate) use poll::Poll;
#[cfg(all(feature = "sim", feature = "udp"))]
pub use real_datagrams::RealDatagrams;
pub(crate) use resources::Resources;
pub(crate) use sockets::{SocketOption, Sockets};
pub(crate) use source::{EventSource, ListenerId};
pub(crate) use splice::Splice;
pub(crate) use wakeable::{Wake, Wakeable};

/// A kernel: the real one, or a simulated one. What it does is no part of the interface, and
/// nobody else can implement it.
#[cfg(not(feature = "udp"))]
pub trait Kernel: Clock + Poll + Sockets + Files + Splice + Wakeable + Resources {}

#[cfg(not(feature = "udp"))]
impl<T: Clock + Poll + Sockets + Files + Splice + Wakeable + Resources> Kernel for T {}

/// A kernel: the real one, or a simulated one. What it does is no part of the interface, and
/// nobody else can implement it.
#[cfg(feature = "udp")]
pub trait Kernel:
    Clock + Poll + Sockets + Files + Datagrams + Splice + Wakeable + Resources
{
}

#[cfg(feature = "udp")]
impl<T: Clock + Poll + Sockets + Files + Datagrams + Splice + Wakeable + Resources> Kernel for T {}
