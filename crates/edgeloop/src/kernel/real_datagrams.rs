//! A datagram socket of the real kernel without a loop, by which the simulated one is compared.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::datagrams::{Datagrams as _, RECEIVE, Received};
use super::linux::Linux;
use super::linux_datagrams::UdpSocket;

/// One datagram: where it's from, where it was sent to, what it says.
type Got = (SocketAddr, IpAddr, Vec<u8>);

/// A socket, by the calls that the loop makes on it.
pub struct RealDatagrams {
    kernel: Linux,
    socket: UdpSocket,
    buffer: Vec<u8>,
}

impl fmt::Debug for RealDatagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

impl AsFd for RealDatagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl RealDatagrams {
    /// A bound socket.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn bind(address: SocketAddr, ipv6_only: bool) -> Result<Self, Errno> {
        let mut kernel = Linux::new().map_err(|_| Errno::MFILE)?;
        let socket = kernel.bind_datagrams(address, ipv6_only);
        let socket = socket.map_err(|failed| failed.errno())?;
        Ok(Self { kernel, socket, buffer: vec![0; RECEIVE] })
    }

    /// getsockname(2).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn address(&mut self) -> Result<SocketAddr, Errno> {
        self.kernel.datagram_address(&self.socket)
    }

    /// Receives one.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn receive(&mut self) -> Result<Got, Errno> {
        let Received { length, from, to, .. } =
            self.kernel.receive_datagram(&self.socket, &mut self.buffer)?;
        Ok((from, to, self.buffer[..length].to_vec()))
    }

    /// Sends one.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn send(
        &mut self,
        to: SocketAddr,
        from: Option<IpAddr>,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        self.kernel.send_datagram(&self.socket, to, from, bytes)
    }
}
