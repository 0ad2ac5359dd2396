//! Datagram sockets.

use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

use super::source::EventSource;
use crate::api::error::Failed;

/// The datagram sockets of a kernel. Like all others they are non-blocking and close-on-exec from
/// birth (C20), and a socket is deregistered by being closed.
pub trait Datagrams {
    /// A bound socket. It's closed when it is dropped.
    type Datagrams;

    /// socket(2) and bind(2). A socket that is bound to all addresses of the machine is asked to
    /// tell to which of them each datagram was sent. Datagrams that are longer than the path's
    /// packets are cut into fragments, as is the kernel's own choice.
    fn bind_datagrams(
        &mut self,
        address: SocketAddr,
        ipv6_only: bool,
    ) -> Result<Self::Datagrams, Failed>;

    /// getsockname(2).
    fn datagram_address(&mut self, socket: &Self::Datagrams) -> Result<SocketAddr, Errno>;

    /// Registers a socket for what arrives, edge-triggered.
    fn register_datagrams(
        &mut self,
        socket: &Self::Datagrams,
        source: EventSource,
    ) -> Result<(), Errno>;

    /// Receives one datagram into the buffer, as [`RECEIVE`] bytes hold each. One that is longer
    /// than the buffer is lost, which is the error EMSGSIZE.
    fn receive_datagram(
        &mut self,
        socket: &Self::Datagrams,
        buffer: &mut [u8],
    ) -> Result<Received, Errno>;

    /// Sends one datagram, from this address of the machine or from one of the kernel's choice.
    fn send_datagram(
        &mut self,
        socket: &Self::Datagrams,
        to: SocketAddr,
        from: Option<IpAddr>,
        bytes: &[u8],
    ) -> Result<(), Errno>;
}

/// A buffer that is long enough for every datagram: the length field of UDP has 16 bits (RFC 768).
pub(crate) const RECEIVE: usize = 65_536;

/// What there is to know of a datagram that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    pub(crate) length: usize,
    pub(crate) from: SocketAddr,
    /// Where it was sent to.
    pub(crate) to: IpAddr,
    /// The address that an answer leaves from. One that was sent to many has none for it to be.
    pub(crate) local: Option<IpAddr>,
}
