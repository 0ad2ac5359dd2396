//! Datagram sockets on the real kernel, through quinn-udp.

use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv6DontFrag, ReceiveTimestampns};
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

impl UdpSocket {
    /// Sets up a socket of UDP that nobody has bound yet, or that was bound elsewhere: it becomes
    /// non-blocking, and tells of each datagram to which address it was sent.
    pub(crate) fn new(socket: OwnedFd, is_ipv6: bool) -> Result<Self, Failed> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).in_call("setsockopt")?;
        // The crate forbids fragments, for those who look for the longest packet of a path. A
        // server sends what it is given. Of a socket of IPv6, too: it may talk to IPv4.
        sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::WANT)
            .in_call("setsockopt(IP_MTU_DISCOVER)")?;
        if is_ipv6 {
            sockopt::set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::WANT)
                .in_call("setsockopt(IPV6_MTU_DISCOVER)")?;
            nix(setsockopt(&socket, Ipv6DontFrag, &false)).in_call("setsockopt(IPV6_DONTFRAG)")?;
        }
        // It asks for the time of each, which nobody reads. That is a message more to copy, and a
        // clock that the kernel reads for every packet of the machine (net_enable_timestamp in
        // net/core/dev.c, Linux 6.18).
        nix(setsockopt(&socket, ReceiveTimestampns, &false))
            .in_call("setsockopt(SO_TIMESTAMPNS)")?;
        Ok(Self { socket, state })
    }
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
        let socket = UdpSocket::new(socket, address.is_ipv6())?;
        net::bind(&socket.socket, &address).in_call("bind")?;
        Ok(socket)
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

/// The same with rustix's error number.
fn nix<T>(answer: nix::Result<T>) -> Result<T, Errno> {
    answer.map_err(|error| Errno::from_raw_os_error(error as i32))
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
