//! Datagram sockets on the real kernel, through quinn-udp.

use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

use super::datagrams::{DatagramBatch, Datagrams, PLACE, PLACES};
use super::linux::Linux;
use super::source::EventSource;
use crate::api::error::{Failed, InCall};

/// A datagram socket, and what the crate knows of it.
#[derive(Debug)]
pub struct UdpSocket {
    socket: OwnedFd,
    state: UdpSocketState,
}

impl Datagrams for Linux {
    type Datagrams = UdpSocket;

    fn bind_datagrams(
        &mut self,
        address: SocketAddr,
        ipv6_only: bool,
    ) -> Result<UdpSocket, Failed> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(family, SocketType::DGRAM, flags, None).in_call("socket")?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, ipv6_only).in_call("setsockopt(IPV6_V6ONLY)")?;
        }
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).in_call("setsockopt")?;
        fragment(&socket, address).in_call("setsockopt(IP_MTU_DISCOVER)")?;
        net::bind(&socket, &address).in_call("bind")?;
        Ok(UdpSocket { socket, state })
    }

    fn datagram_address(&mut self, socket: &UdpSocket) -> Result<SocketAddr, Errno> {
        net::getsockname(&socket.socket).and_then(SocketAddr::try_from)
    }

    fn register_datagrams(&mut self, socket: &UdpSocket, source: EventSource) -> Result<(), Errno> {
        self.add_readable(socket.socket.as_fd(), source)
    }

    fn receive_datagrams(
        &mut self,
        socket: &UdpSocket,
        batch: &mut DatagramBatch,
    ) -> Result<(), Errno> {
        batch.clear();
        let mut meta = [RecvMeta::default(); PLACES];
        let mut places = batch.bytes.chunks_exact_mut(PLACE);
        let mut places: [IoSliceMut<'_>; PLACES] =
            std::array::from_fn(|_| IoSliceMut::new(places.next().unwrap_or_default()));
        let received = socket.state.recv(UdpSockRef::from(&socket.socket), &mut places, &mut meta);
        let count = received.map_err(|error| errno(&error))?;
        for (place, one) in meta[..count].iter().enumerate() {
            batch.add(place, one.len, one.stride, one.addr, one.dst_ip);
        }
        batch.is_full = count == PLACES;
        Ok(())
    }

    fn send_datagram(
        &mut self,
        socket: &UdpSocket,
        to: SocketAddr,
        from: Option<IpAddr>,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        if to.port() == 0 {
            // As the kernel says (udp_sendmsg). The crate would take it for a kernel that is old.
            return Err(Errno::INVAL);
        }
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size: None,
            src_ip: from,
        };
        let sent = socket.state.try_send(UdpSockRef::from(&socket.socket), &transmit);
        sent.map_err(|error| errno(&error))
    }
}

/// The crate forbids fragments, for those who look for the longest packet of a path. A server sends
/// what it is given.
fn fragment(socket: &OwnedFd, address: SocketAddr) -> Result<(), Errno> {
    if address.is_ipv6() {
        nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::Ipv6DontFrag, &false)
            .map_err(|error| Errno::from_raw_os_error(error as i32))?;
        sockopt::set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::WANT)?;
    }
    // Of a socket of IPv6, too: it may talk to addresses of IPv4.
    sockopt::set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::WANT)
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
