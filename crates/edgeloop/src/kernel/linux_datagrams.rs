//! Datagram sockets on the real kernel.
//!
//! Each datagram is a call. With one call for 16 of them (recvmmsg, sendmmsg) an echo on loopback
//! took as long, or longer: what a datagram costs, it costs in the kernel's network.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use rustix::io::Errno;
use rustix::net::sockopt::set_ipv6_v6only;
use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType,
};

use super::datagrams::{Datagrams, Received};
use super::linux::Linux;
use super::source::EventSource;
use crate::api::error::{Failed, InCall};

/// A datagram socket.
#[derive(Debug)]
pub struct UdpSocket {
    socket: OwnedFd,
    /// The address that it is bound to, where that's one. Else the kernel tells of each datagram
    /// where it was sent to, which costs more than to know it.
    bound_to: Option<IpAddr>,
}

impl UdpSocket {
    /// Sets up a socket that is bound.
    pub(crate) fn new(socket: OwnedFd) -> Result<Self, Failed> {
        let bound = address_of(&socket).in_call("getsockname")?;
        let bound_to = Some(bound.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_multicast());
        if bound_to.is_none() {
            let (asked, name) = match bound {
                SocketAddr::V4(_) => {
                    (setsockopt(&socket, sockopt::Ipv4PacketInfo, &true), "setsockopt(IP_PKTINFO)")
                }
                SocketAddr::V6(_) => (
                    setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true),
                    "setsockopt(IPV6_RECVPKTINFO)",
                ),
            };
            asked.map_err(errno).in_call(name)?;
        }
        Ok(Self { socket, bound_to })
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
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
            set_ipv6_v6only(&socket, ipv6_only).in_call("setsockopt(IPV6_V6ONLY)")?;
        }
        net::bind(&socket, &address).in_call("bind")?;
        UdpSocket::new(socket)
    }

    fn datagram_address(&mut self, socket: &UdpSocket) -> Result<SocketAddr, Errno> {
        address_of(&socket.socket)
    }

    fn register_datagrams(&mut self, socket: &UdpSocket, source: EventSource) -> Result<(), Errno> {
        self.add_readable(socket.socket.as_fd(), source)
    }

    fn receive_datagram(
        &mut self,
        socket: &UdpSocket,
        buffer: &mut [u8],
    ) -> Result<Received, Errno> {
        match socket.bound_to {
            Some(to) => receive_at(&socket.socket, to, buffer),
            None => receive_anywhere(&socket.socket, &mut self.control, buffer),
        }
    }

    fn send_datagram(
        &mut self,
        socket: &UdpSocket,
        to: SocketAddr,
        from: Option<IpAddr>,
        bytes: &[u8],
    ) -> Result<(), Errno> {
        match from {
            Some(from) if socket.bound_to.is_none() => send_from(&socket.socket, to, from, bytes),
            _ => net::sendto(&socket.socket, bytes, SendFlags::empty(), &to).map(|_| ()),
        }
    }
}

fn address_of(socket: &OwnedFd) -> Result<SocketAddr, Errno> {
    net::getsockname(socket).and_then(SocketAddr::try_from)
}

/// recvfrom(2), where it's known to which address it was sent.
fn receive_at(socket: &OwnedFd, to: IpAddr, buffer: &mut [u8]) -> Result<Received, Errno> {
    let room = buffer.len();
    // The whole length is told, of what was cut off too.
    let (_, length, from) = net::recvfrom(socket, buffer, RecvFlags::TRUNC)?;
    if length > room {
        return Err(Errno::MSGSIZE);
    }
    let from = from.ok_or(Errno::AFNOSUPPORT).and_then(|from: SocketAddrAny| from.try_into())?;
    Ok(Received { length, from, to, local: Some(to) })
}

/// recvmsg(2), with the address that it was sent to.
fn receive_anywhere(
    socket: &OwnedFd,
    control: &mut Vec<u8>,
    buffer: &mut [u8],
) -> Result<Received, Errno> {
    if control.is_empty() {
        *control = nix::cmsg_space!(libc::in6_pktinfo);
        control.resize(control.capacity(), 0);
    }
    let mut pieces = [IoSliceMut::new(buffer)];
    let received = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut pieces,
        Some(control),
        MsgFlags::empty(),
    )
    .map_err(errno)?;
    if received.flags.contains(MsgFlags::MSG_TRUNC) {
        return Err(Errno::MSGSIZE);
    }
    let from = received.address.as_ref().and_then(address_from).ok_or(Errno::AFNOSUPPORT)?;
    let (to, local) = match received.cmsgs().map_err(errno)?.next() {
        Some(ControlMessageOwned::Ipv4PacketInfo(info)) => {
            let address = |ip: libc::in_addr| Ipv4Addr::from(ip.s_addr.to_ne_bytes());
            // The one of the packet, and one of this machine (ip(7)).
            let local = address(info.ipi_spec_dst);
            let local = Some(local.into()).filter(|_| !local.is_unspecified());
            (address(info.ipi_addr).into(), local)
        }
        Some(ControlMessageOwned::Ipv6PacketInfo(info)) => {
            let to = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            let is_many = to.is_multicast() || to.to_canonical().is_multicast();
            (to.into(), Some(to.into()).filter(|_| !is_many))
        }
        _ => (unspecified(from), None),
    };
    Ok(Received { length: received.bytes, from, to, local })
}

/// sendmsg(2), from an address of choice.
fn send_from(socket: &OwnedFd, to: SocketAddr, from: IpAddr, bytes: &[u8]) -> Result<(), Errno> {
    let pieces = [IoSlice::new(bytes)];
    let (v4, v6);
    let from = match from {
        IpAddr::V4(ip) => {
            let unspecified = libc::in_addr { s_addr: 0 };
            let ip = libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
            v4 = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: ip, ipi_addr: unspecified };
            ControlMessage::Ipv4PacketInfo(&v4)
        }
        IpAddr::V6(ip) => {
            let ipi6_addr = libc::in6_addr { s6_addr: ip.octets() };
            v6 = libc::in6_pktinfo { ipi6_addr, ipi6_ifindex: 0 };
            ControlMessage::Ipv6PacketInfo(&v6)
        }
    };
    let to = SockaddrStorage::from(to);
    let sent = sendmsg(socket.as_raw_fd(), &pieces, &[from], MsgFlags::empty(), Some(&to));
    sent.map(|_| ()).map_err(errno)
}

fn address_from(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|&v4| SocketAddr::V4(v4.into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|&v6| SocketAddr::V6(v6.into())))
}

const fn unspecified(like: SocketAddr) -> IpAddr {
    match like {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// The same with rustix's error number.
fn errno(error: nix::Error) -> Errno {
    Errno::from_raw_os_error(error as i32)
}
