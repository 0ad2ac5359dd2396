//! Datagram sockets as Linux has them (udp(7); net/ipv4/udp.c and net/socket.c of 6.18), as far as
//! a server meets them: bound and not connected.
//!
//! - An error that is pending is the answer to the next call, and is gone with that
//!   (`sock_error`). What waits in the queue is received by the one after it.
//! - Each datagram that is queued brings an edge (`__udp_enqueue_schedule_skb`). Kernels from 6.8
//!   on brought one, for some years, only where the queue had been empty (`becomes_readable`), as
//!   far as the reader has not taken it over: it takes the whole queue whenever its own part is
//!   empty (`__skb_recv_udp`). A reader that reads to the end needs no more than that.
//! - A datagram for which the receive buffer has no room is dropped, and nobody hears of it. What
//!   counts is not its length but what it occupies. Into an empty queue any datagram fits.
//! - An unconnected socket hears of no ICMP message, unless it asks for them (`IP_RECVERR`).

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;

use crate::epoll::Readiness;

/// What the kernel needs of a small datagram beside its bytes (`SKB_TRUESIZE`).
const OVERHEAD: usize = 768;

/// The longest datagram by each version of IP.
const LONGEST: [usize; 2] = [65_507, 65_527];

/// A datagram on its way, and in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// One that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting<T> {
    message: Message,
    /// What whoever delivered it wants to know of it.
    tag: T,
}

/// A bound socket. `T` is what is known of each datagram beside what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpSocket<T = ()> {
    local: SocketAddr,
    ipv6_only: bool,
    queue: VecDeque<Waiting<T>>,
    /// How much of the receive buffer is occupied, and how large that is (`SO_RCVBUF`).
    held: usize,
    room: usize,
    /// How many of those that wait the reader has not taken over.
    new: usize,
    /// An edge comes only where there was nothing new.
    merges_edges: bool,
    /// Of `SO_ERROR`.
    error: Option<Errno>,
}

impl<T> UdpSocket<T> {
    pub const fn new(local: SocketAddr, ipv6_only: bool, room: usize, merges_edges: bool) -> Self {
        let queue = VecDeque::new();
        Self { local, ipv6_only, queue, held: 0, room, new: 0, merges_edges, error: None }
    }

    pub const fn local(&self) -> SocketAddr {
        self.local
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What is known of those that wait, in their order.
    pub fn tags(&mut self) -> impl Iterator<Item = &mut T> {
        self.queue.iter_mut().map(|waiting| &mut waiting.tag)
    }

    /// What poll says of it (`udp_poll`). It never wants for room to send.
    pub fn readiness(&self) -> Readiness {
        let input = if self.queue.is_empty() { 0 } else { Readiness::IN.bits() };
        let error = if self.error.is_some() { Readiness::ERR.bits() } else { 0 };
        Readiness::from_bits(Readiness::OUT.bits() | input | error)
    }

    /// Whether a datagram to this address is for it, and how exactly (`compute_score`).
    pub fn takes(&self, to: SocketAddr) -> Option<u8> {
        if self.local.port() != to.port() {
            return None;
        }
        let (own, to) = (self.local.ip(), to.ip().to_canonical());
        if own.to_canonical() == to {
            return Some(2);
        }
        match own {
            IpAddr::V4(own) => (own.is_unspecified() && to.is_ipv4()).then_some(1),
            IpAddr::V6(own) => {
                let takes = own.is_unspecified() && (to.is_ipv6() || !self.ipv6_only);
                takes.then_some(u8::from(to.is_ipv6()))
            }
        }
    }

    /// Whether another socket can't be bound beside it (`inet_rcv_saddr_equal`).
    pub fn is_in_the_way_of(&self, address: SocketAddr, ipv6_only: bool) -> bool {
        let (one, other) = (self.local.ip(), address.ip());
        let families_meet = match (one, other) {
            (IpAddr::V4(_), IpAddr::V6(other)) => {
                !ipv6_only && (other.is_unspecified() || other.to_ipv4_mapped().is_some())
            }
            (IpAddr::V6(one), IpAddr::V4(_)) => {
                !self.ipv6_only && (one.is_unspecified() || one.to_ipv4_mapped().is_some())
            }
            _ => true,
        };
        let same = one.to_canonical() == other.to_canonical();
        let any = one.is_unspecified() || other.is_unspecified();
        self.local.port() == address.port() && families_meet && (same || any)
    }

    /// A datagram arrives. Returns whether there was room for it, and whether that brings an edge.
    pub fn arrive(&mut self, message: Message, tag: T) -> (bool, bool) {
        let size = message.bytes.len() + OVERHEAD;
        if self.held > 0 && self.held + size > self.room {
            return (false, false);
        }
        let is_edge = self.new == 0 || !self.merges_edges;
        self.new += 1;
        self.held += size;
        self.queue.push_back(Waiting { message, tag });
        (true, is_edge)
    }

    /// Something has gone wrong of which the next call tells.
    pub const fn fail(&mut self, error: Errno) {
        self.error = Some(error);
    }

    /// recvmsg(2).
    pub fn receive(&mut self) -> Result<(Message, T), Errno> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let Waiting { message, tag } = self.pop().ok_or(Errno::AGAIN)?;
        Ok((message, tag))
    }

    fn pop(&mut self) -> Option<Waiting<T>> {
        if self.new == self.queue.len() {
            // Its own part is empty: it takes all that is new.
            self.new = 0;
        }
        let waiting = self.queue.pop_front()?;
        self.held -= waiting.message.bytes.len() + OVERHEAD;
        Some(waiting)
    }

    /// The address from which a datagram would be sent, from this one of the machine or from one of
    /// the kernel's choice; or why it can't be (`udp_sendmsg`, `udpv6_sendmsg`).
    pub fn source(
        &self,
        to: SocketAddr,
        from: Option<IpAddr>,
        length: usize,
    ) -> Result<SocketAddr, Errno> {
        let by_v4 = to.ip().to_canonical().is_ipv4();
        if by_v4 && self.local.is_ipv6() && self.ipv6_only {
            return Err(Errno::NETUNREACH);
        }
        if by_v4 && length > 0xFFFF {
            return Err(Errno::MSGSIZE);
        }
        if self.local.is_ipv4() && to.is_ipv6() {
            return Err(Errno::AFNOSUPPORT);
        }
        if to.port() == 0 {
            return Err(Errno::INVAL);
        }
        if to.ip().to_canonical() == IpAddr::V4(Ipv4Addr::BROADCAST) {
            // SO_BROADCAST is not set.
            return Err(Errno::ACCESS);
        }
        if length > LONGEST[usize::from(!by_v4)] {
            return Err(Errno::MSGSIZE);
        }
        let specific = |ip: &IpAddr| !ip.is_unspecified();
        // The loop says where from only where the socket is bound to all addresses.
        let own = Some(self.local.ip()).filter(specific).or(from.filter(specific));
        let chosen = || match by_v4 {
            true if self.local.is_ipv6() => Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
            true => IpAddr::V4(Ipv4Addr::LOCALHOST),
            false => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        Ok(SocketAddr::new(own.unwrap_or_else(chosen), self.local.port()))
    }
}

/// An address as a socket of this family is told of it: one of IPv4 is mapped for one of IPv6.
pub fn seen_by(socket: SocketAddr, address: SocketAddr) -> SocketAddr {
    match (socket.is_ipv6(), address.ip().to_canonical()) {
        (true, IpAddr::V4(ip)) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        (false, ip) => SocketAddr::new(ip, address.port()),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn message(length: usize) -> Message {
        let (from, to) = (at("127.0.0.1:9"), at("127.0.0.1:7"));
        Message { from, to, bytes: vec![b'x'; length] }
    }

    fn socket(address: &str) -> UdpSocket {
        UdpSocket::new(at(address), false, 10_000, false)
    }

    /// The lengths of the next ones, at most this number of them.
    fn received(socket: &mut UdpSocket, count: usize) -> Vec<usize> {
        let lengths = (0..count).map_while(|_| socket.receive().ok());
        lengths.map(|(message, ())| message.bytes.len()).collect()
    }

    #[test]
    fn what_waits_is_received_one_by_one_and_in_order() {
        let mut socket = socket("127.0.0.1:7");
        for length in [3, 0, 5] {
            assert_eq!(socket.arrive(message(length), ()), (true, true));
        }
        assert_eq!(received(&mut socket, 9), [3, 0, 5]);
        assert_eq!(socket.receive(), Err(Errno::AGAIN));
    }

    #[test]
    fn an_error_comes_first_and_once() {
        let mut socket = socket("127.0.0.1:7");
        socket.arrive(message(1), ());
        socket.fail(Errno::CONNREFUSED);
        assert_eq!(socket.receive(), Err(Errno::CONNREFUSED));
        assert_eq!(received(&mut socket, 2), [1]);
    }

    #[test]
    fn what_has_no_room_is_dropped_unless_nothing_else_waits() {
        let mut socket = UdpSocket::new(at("127.0.0.1:7"), false, 2000, false);
        assert_eq!(socket.arrive(message(60_000), ()), (true, true));
        assert_eq!(socket.arrive(message(0), ()), (false, false));
        assert_eq!(received(&mut socket, 9), [60_000]);
        assert_eq!(socket.arrive(message(0), ()), (true, true));
        assert_eq!(socket.arrive(message(2000), ()), (false, false));
    }

    #[test]
    fn an_edge_comes_for_each_or_only_where_nothing_new_waits() {
        let mut socket = UdpSocket::new(at("127.0.0.1:7"), false, 10_000, true);
        let edges = [1, 1].map(|length| socket.arrive(message(length), ()).1);
        assert_eq!(edges, [true, false]);
        // The reader has taken both over, of which one is left.
        received(&mut socket, 1);
        assert!(socket.arrive(message(1), ()).1);
    }

    #[test]
    fn the_most_exact_socket_is_meant_and_a_wildcard_is_in_the_way_of_all() {
        let (own, any) = (socket("127.0.0.1:7"), socket("0.0.0.0:7"));
        let dual = socket("[::]:7");
        let scores = |to: &str| [&own, &any, &dual].map(|socket| socket.takes(at(to)));
        assert_eq!(scores("127.0.0.1:7"), [Some(2), Some(1), Some(0)]);
        assert_eq!(scores("127.0.0.2:7"), [None, Some(1), Some(0)]);
        assert_eq!(scores("[::1]:7"), [None, None, Some(1)]);
        assert_eq!(scores("127.0.0.1:8"), [None; 3]);
        assert!(any.is_in_the_way_of(at("127.0.0.2:7"), false));
        assert!(!own.is_in_the_way_of(at("127.0.0.2:7"), false));
        assert!(own.is_in_the_way_of(at("[::]:7"), false));
        assert!(!own.is_in_the_way_of(at("[::]:7"), true));
        assert!(!own.is_in_the_way_of(at("127.0.0.1:8"), false));
    }

    #[test]
    fn what_cannot_be_sent_is_refused_as_the_kernel_does() {
        let socket = socket("0.0.0.0:7");
        let sent = |to: &str, length| socket.source(at(to), None, length);
        assert_eq!(sent("127.0.0.1:9", 65_507), Ok(at("127.0.0.1:7")));
        assert_eq!(sent("127.0.0.1:9", 65_508), Err(Errno::MSGSIZE));
        assert_eq!(sent("127.0.0.1:0", 1), Err(Errno::INVAL));
        assert_eq!(sent("255.255.255.255:9", 1), Err(Errno::ACCESS));
        assert_eq!(sent("[::1]:9", 1), Err(Errno::AFNOSUPPORT));
        let from = Some(at("127.0.0.5:0").ip());
        assert_eq!(socket.source(at("127.0.0.1:9"), from, 1), Ok(at("127.0.0.5:7")));
        let bound = self::socket("127.0.0.1:7");
        assert_eq!(bound.source(at("127.0.0.1:9"), from, 1), Ok(at("127.0.0.1:7")));
    }
}
