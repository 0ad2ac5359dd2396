//! Our own addresses: what comes from one of them was forged, and its answer would come back here.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// The addresses that our own sockets are bound to.
#[derive(Debug, Default)]
pub(super) struct Own {
    bound: Vec<SocketAddr>,
}

impl Own {
    pub(super) fn new(bound: Vec<SocketAddr>) -> Self {
        Self { bound }
    }

    /// Whether an answer to `from` would come to one of our own sockets. `to` is an address of this
    /// machine, to which the datagram was sent.
    pub(super) fn has(&self, from: SocketAddr, to: IpAddr) -> bool {
        let ip = from.ip().to_canonical();
        let mut same_port = self.bound.iter().filter(|bound| bound.port() == from.port());
        same_port.any(|bound| match bound.ip().to_canonical() {
            all if all.is_unspecified() => {
                ip.is_loopback() || to.to_canonical() == ip || is_here(from)
            }
            one => one == ip,
        })
    }
}

/// Whether an address is one of this machine's, as only the kernel knows: then, and only then, it
/// can be bound to. Addresses come and go, so it's asked each time; few clients have our port.
fn is_here(mut address: SocketAddr) -> bool {
    address.set_port(0);
    if let IpAddr::V4(ip) = address.ip().to_canonical() {
        address.set_ip(ip.into());
    }
    // Where it can't be told, for want of descriptors, say, no answer is the safe one.
    UdpSocket::bind(address).err().is_none_or(|error| error.kind() != ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(bound: &[&str]) -> Own {
        Own::new(bound.iter().map(|text| text.parse().expect(text)).collect())
    }

    #[track_caller]
    fn expect(own: &Own, from: &str, to: &str, is_own: bool) {
        let has = own.has(from.parse().expect(from), to.parse().expect(to));
        assert_eq!(has, is_own, "{from} to {to}");
    }

    #[test]
    fn c51_a_bound_address_is_our_own_with_its_port() {
        let own = own(&["127.0.0.1:3000", "[::1]:4000"]);
        expect(&own, "127.0.0.1:3000", "127.0.0.1", true);
        expect(&own, "[::ffff:127.0.0.1]:3000", "::1", true);
        expect(&own, "127.0.0.1:4000", "127.0.0.1", false);
        expect(&own, "127.0.0.2:3000", "127.0.0.1", false);
        expect(&own, "[::1]:4000", "127.0.0.1", true);
    }

    #[test]
    fn c51_where_all_addresses_are_bound_each_of_this_machine_is_our_own() {
        for bound in ["0.0.0.0:3000", "[::]:3000"] {
            let own = own(&[bound]);
            expect(&own, "127.0.0.1:3000", "127.0.0.1", true);
            expect(&own, "127.7.7.7:3000", "127.0.0.1", true);
            expect(&own, "[::ffff:127.7.7.7]:3000", "::ffff:127.0.0.1", true);
            expect(&own, "[::1]:3000", "::1", true);
            expect(&own, "192.0.2.1:3000", "192.0.2.1", true);
            expect(&own, "[2001:db8::1]:3000", "2001:db8::1", true);
            expect(&own, "127.0.0.1:3001", "127.0.0.1", false);
            // RFC 5737 and 3849: addresses of nobody.
            expect(&own, "192.0.2.1:3000", "127.0.0.1", false);
            expect(&own, "[2001:db8::1]:3000", "::1", false);
        }
    }
}
