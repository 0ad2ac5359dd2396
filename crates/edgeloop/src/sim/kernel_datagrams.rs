//! The simulated kernel has no datagrams.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

use crate::api::error::Failed;
use crate::kernel::{Datagrams, EventSource, Received};
use crate::sim::SimulatedKernel;

impl Datagrams for SimulatedKernel {
    type Datagrams = Infallible;

    fn bind_datagrams(&mut self, _: SocketAddr, _: bool) -> Result<Infallible, Failed> {
        Err(Failed::new("socket", Errno::OPNOTSUPP))
    }

    fn datagram_address(&mut self, socket: &Infallible) -> Result<SocketAddr, Errno> {
        match *socket {}
    }

    fn register_datagrams(&mut self, socket: &Infallible, _: EventSource) -> Result<(), Errno> {
        match *socket {}
    }

    fn receive_datagram(&mut self, socket: &Infallible, _: &mut [u8]) -> Result<Received, Errno> {
        match *socket {}
    }

    fn send_datagram(
        &mut self,
        socket: &Infallible,
        _: SocketAddr,
        _: Option<IpAddr>,
        _: &[u8],
    ) -> Result<(), Errno> {
        match *socket {}
    }
}
