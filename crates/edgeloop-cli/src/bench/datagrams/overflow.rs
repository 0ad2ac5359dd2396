//! What this machine's own receive buffers had no room for: it looks like a loss of the service.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How many datagrams these sockets have dropped, by the kernel's count for each (proc_net_udp(5)).
/// None if it can't be known.
///
/// Both files are read as a whole: this is for the end of a run.
pub(super) fn drops(sockets: &HashSet<SocketAddr>) -> Option<u64> {
    let of = |is_ipv4: bool| sockets.iter().filter(|one| one.is_ipv4() == is_ipv4).count();
    let mut sum = 0_u64;
    for (path, count) in [("/proc/self/net/udp", of(true)), ("/proc/self/net/udp6", of(false))] {
        if count > 0 {
            let table = fs::read_to_string(path).ok()?;
            let found: Vec<u64> = table.lines().filter_map(|line| row(line, sockets)).collect();
            if found.len() != count {
                return None;
            }
            sum = found.into_iter().fold(sum, u64::saturating_add);
        }
    }
    Some(sum)
}

/// The drops of a row, if it is one of these sockets.
fn row(line: &str, sockets: &HashSet<SocketAddr>) -> Option<u64> {
    let mut columns = line.split_ascii_whitespace();
    let local = columns.nth(1).and_then(address)?;
    let drops = columns.next_back()?.parse().ok()?;
    sockets.contains(&local).then_some(drops)
}

/// An address as it stands there: words of the machine's own order, in hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words = ip.as_bytes().chunks(8).map(|word| {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes = words.collect::<Option<Vec<_>>>()?.concat();
    let ip: IpAddr = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn what_overflows_is_counted_for_the_sockets_asked_for_and_no_others() {
        for any in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
            let Ok(socket) = UdpSocket::bind(any) else { continue };
            let Ok(other) = UdpSocket::bind(any) else { continue };
            let address = socket.local_addr().expect("its address");
            let sockets = HashSet::from([address]);
            assert_eq!(drops(&sockets), Some(0), "{any}");
            let ip: IpAddr = if address.is_ipv4() {
                Ipv4Addr::LOCALHOST.into()
            } else {
                Ipv6Addr::LOCALHOST.into()
            };
            // On loopback each is there, or has been dropped, when the call returns.
            for _ in 0..2000 {
                other.send_to(&[0; 1400], SocketAddr::new(ip, address.port())).expect("sent");
            }
            assert!(drops(&sockets).is_some_and(|drops| (1..2000).contains(&drops)), "{any}");
            let its = HashSet::from([other.local_addr().expect("its address")]);
            assert_eq!(drops(&its), Some(0), "{any}");
        }
    }

    #[test]
    fn of_a_socket_that_is_not_there_nothing_is_known() {
        let gone = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        assert_eq!(drops(&HashSet::from([gone.expect("its address")])), None);
        assert_eq!(drops(&HashSet::new()), Some(0));
    }
}
