//! The kernel's table of TCP sockets: what is queued where, and what is left when all is over.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The state of a TCP socket, as `include/net/tcp_states.h` numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketState {
    /// Data flows both ways.
    Established,
    /// We sent our FIN, and it is not yet acknowledged.
    FinWait1,
    /// Our FIN is acknowledged; the peer's is missing.
    FinWait2,
    /// Both ended; the kernel waits for stray segments.
    TimeWait,
    /// The peer ended; we have not.
    CloseWait,
    /// Both ended; the last acknowledgement is missing.
    LastAck,
    /// Accepting.
    Listen,
    /// Any other: a handshake, or a simultaneous end.
    Other(u8),
}

impl SocketState {
    const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Established,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            other => Self::Other(other),
        }
    }
}

/// One socket of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Its own address.
    pub local: SocketAddr,
    /// Its peer's address.
    pub remote: SocketAddr,
    /// Its state.
    pub state: SocketState,
    /// Bytes sent and not yet acknowledged.
    pub unsent: u64,
    /// Bytes received and not yet read; for a listener, connections waiting to be accepted.
    pub unread: u64,
    /// Whether the timer that runs is that of keepalive.
    pub probes: bool,
}

/// A look at the kernel's table (`/proc/net/tcp` and `/proc/net/tcp6`).
#[derive(Debug, Clone)]
pub struct TcpSockets {
    sockets: Vec<Socket>,
}

impl TcpSockets {
    /// The table as it is now.
    ///
    /// # Panics
    ///
    /// When `/proc` cannot be read.
    #[must_use]
    pub fn now() -> Self {
        let mut sockets = parse(&fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp"));
        // A kernel without IPv6 has no such table.
        sockets.extend(parse(&fs::read_to_string("/proc/net/tcp6").unwrap_or_default()));
        Self { sockets }
    }

    /// The socket with this pair of addresses.
    #[must_use]
    pub fn between(&self, local: SocketAddr, remote: SocketAddr) -> Option<&Socket> {
        self.sockets.iter().find(|socket| socket.local == local && socket.remote == remote)
    }

    /// All sockets on this local port, the listener's own included.
    pub fn on_port(&self, port: u16) -> impl Iterator<Item = &Socket> {
        self.sockets.iter().filter(move |socket| socket.local.port() == port)
    }

    /// The listener on this port.
    #[must_use]
    pub fn listener(&self, port: u16) -> Option<&Socket> {
        self.on_port(port).find(|socket| socket.state == SocketState::Listen)
    }
}

fn parse(table: &str) -> Vec<Socket> {
    table.lines().skip(1).filter_map(parse_line).collect()
}

/// `sl local rem st tx_queue:rx_queue …`, all in hexadecimal.
fn parse_line(line: &str) -> Option<Socket> {
    let mut fields = line.split_whitespace().skip(1);
    let local = parse_address(fields.next()?)?;
    let remote = parse_address(fields.next()?)?;
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let (unsent, unread) = fields.next()?.split_once(':')?;
    // tr:tm->when; 2 is a timer that probes or waits for an end (proc_pid_net(5)).
    let timer = fields.next()?.split(':').next()?;
    Some(Socket {
        local,
        remote,
        state: SocketState::from_number(state),
        probes: timer == "02",
        unsent: u64::from_str_radix(unsent, 16).ok()?,
        unread: u64::from_str_radix(unread, 16).ok()?,
    })
}

/// An address is printed as words of 32 bits in the machine's order. A v4 address seen by a v6
/// socket is given as the v4 address that the peer has.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut octets = [0_u8; 16];
    for (word, bytes) in octets.chunks_exact_mut(4).enumerate().take(address.len() / 8) {
        let word = u32::from_str_radix(address.get(word * 8..word * 8 + 8)?, 16).ok()?;
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    let address = if address.len() == 8 {
        IpAddr::V4(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]))
    } else {
        Ipv6Addr::from(octets).to_canonical()
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_in_the_table() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let table = TcpSockets::now();
        let socket = table.listener(address.port()).expect("the listener");
        assert_eq!(socket.local, address);
        assert_eq!(socket.state, SocketState::Listen);
    }

    #[test]
    fn addresses_of_both_families_are_understood() {
        let v4 = if cfg!(target_endian = "little") { "0100007F:0BB8" } else { "7F000001:0BB8" };
        assert_eq!(parse_address(v4), "127.0.0.1:3000".parse().ok());
        if cfg!(target_endian = "little") {
            let v6 = "00000000000000000000000001000000:0BB8";
            assert_eq!(parse_address(v6), "[::1]:3000".parse().ok());
            let mapped = "0000000000000000FFFF00000100007F:0BB8";
            assert_eq!(parse_address(mapped), "127.0.0.1:3000".parse().ok());
        }
    }
}
