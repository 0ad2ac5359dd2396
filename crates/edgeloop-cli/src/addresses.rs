//! Reads the addresses to listen on: `HOST:PORT`, `[IPV6]:PORT` or `PORT`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use crate::exit::Failure;
use crate::values::digits;

/// What an address that lacks its host listens on.
const EVERYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// One address as it was asked for; a name is not resolved yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    /// A name, or an IPv6 address whose scope has a name (`fe80::1%eth0`).
    Name(String),
}

impl Address {
    /// # Errors
    ///
    /// What would have been right instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(digits) = digits(text) {
            return Ok(Self { host: Host::Ip(EVERYWHERE), port: port(digits)? });
        }
        let (host, port_text) = text
            .rsplit_once(':')
            .ok_or("expected HOST:PORT, [IPV6]:PORT or PORT, as in 127.0.0.1:3000")?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) => ipv6(inner)?,
            None => name_or_ipv4(host)?,
        };
        Ok(Self { host, port: port(port_text)? })
    }

    /// The same to connect to: where one listens at all of this machine's addresses, the loopback.
    pub(crate) fn reachable(self) -> Self {
        let host = match self.host {
            Host::Ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Host::Ip(Ipv4Addr::LOCALHOST.into()),
            Host::Ip(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Host::Ip(Ipv6Addr::LOCALHOST.into()),
            host => host,
        };
        Self { host, ..self }
    }

    /// Every address that this one stands for, at least one.
    ///
    /// # Errors
    ///
    /// A line that names it, when there is none or it can't be looked up.
    pub(crate) fn look_up(&self) -> Result<Vec<SocketAddr>, Failure> {
        match self.resolve() {
            Ok(addresses) if addresses.is_empty() => {
                Err(Failure::usage(format!("cannot resolve {self}: no address")))
            }
            Ok(addresses) => Ok(addresses),
            Err(error) => Err(Failure::usage(format!("cannot resolve {self}: {error}"))),
        }
    }

    /// Every address that this one stands for, each once. A name is looked up, which may block.
    ///
    /// # Errors
    ///
    /// When the name has no address or can't be looked up.
    pub(crate) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let name = match &self.host {
            Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, self.port)]),
            Host::Name(name) => name.as_str(),
        };
        let mut addresses = Vec::new();
        for address in (name, self.port).to_socket_addrs()? {
            // /etc/hosts may say the same twice, and glibc maps ::1 to 127.0.0.1 beside it.
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Name(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

fn port(text: &str) -> Result<u16, String> {
    digits(text)
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| "expected a port from 0 to 65535".into())
}

fn ipv6(text: &str) -> Result<Host, String> {
    let (address, scope) = text.split_once('%').map_or((text, None), |(a, s)| (a, Some(s)));
    let ip: Ipv6Addr = address.parse().map_err(|_| "expected an IPv6 address in the brackets")?;
    match scope {
        None => Ok(Host::Ip(IpAddr::V6(ip))),
        Some(scope) if is_name(scope) => Ok(Host::Name(text.to_owned())),
        Some(_) => Err("expected an interface after the %".into()),
    }
}

fn name_or_ipv4(text: &str) -> Result<Host, String> {
    if let Ok(ip) = text.parse() {
        return Ok(Host::Ip(IpAddr::V4(ip)));
    }
    if text.contains(':') {
        return Err("expected brackets around an IPv6 address, as in [::1]:3000".into());
    }
    if !is_name(text) {
        return Err("expected a host before the port, as in localhost:3000".into());
    }
    Ok(Host::Name(text.to_owned()))
}

/// Whether the resolver should see it at all. It is the judge of what a name is, but blanks,
/// control characters and brackets are in none, and would deface the log.
fn is_name(text: &str) -> bool {
    let fits = |part: char| part.is_alphanumeric() || matches!(part, '-' | '_' | '.');
    !text.is_empty() && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parsed(text: &str) -> String {
        Address::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
    }

    #[test]
    fn good_addresses() {
        let good = [
            ("3000", "0.0.0.0:3000"),
            ("0", "0.0.0.0:0"),
            ("65535", "0.0.0.0:65535"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("localhost:3000", "localhost:3000"),
            ("my_host-1.example.:80", "my_host-1.example.:80"),
            ("b\u{fc}cher.example:80", "b\u{fc}cher.example:80"),
            ("[::]:3000", "[::]:3000"),
            ("[::1]:1", "[::1]:1"),
            ("[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1"),
            ("[fe80::1%eth0]:1", "[fe80::1%eth0]:1"),
            ("[fe80::1%2]:1", "[fe80::1%2]:1"),
        ];
        for (text, shown) in good {
            assert_eq!(parsed(text), shown);
        }
    }

    #[test]
    fn bad_addresses_are_told_what_would_be_right() {
        let bad = [
            ("", "HOST:PORT"),
            ("localhost", "HOST:PORT"),
            ("127.0.0.1", "HOST:PORT"),
            ("-1", "HOST:PORT"),
            ("+3000", "HOST:PORT"),
            ("30 00", "HOST:PORT"),
            ("65536", "port"),
            ("99999999999999999999", "port"),
            ("127.0.0.1:", "port"),
            ("127.0.0.1:65536", "port"),
            ("127.0.0.1:+80", "port"),
            ("127.0.0.1:-1", "port"),
            ("localhost:http", "port"),
            (":3000", "host before the port"),
            ("a b:3000", "host before the port"),
            ("a\n:3000", "host before the port"),
            ("a\0:3000", "host before the port"),
            ("[::1:3000", "brackets"),
            ("::1:3000", "brackets"),
            ("[::1]", "brackets"),
            ("[]:3000", "brackets"),
            ("[localhost]:3000", "brackets"),
            ("[127.0.0.1]:3000", "brackets"),
            ("[fe80::1%]:1", "interface"),
            ("[fe80::1%a b]:1", "interface"),
        ];
        for (text, words) in bad {
            let error = Address::parse(text).expect_err(text);
            assert!(error.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_number_needs_no_resolver_and_a_name_gives_each_address_once() {
        let address = Address::parse("[::1]:7").expect("an address");
        assert_eq!(address.resolve().expect("itself"), ["[::1]:7".parse().expect("an address")]);
        let all = Address::parse("localhost:7").expect("an address").resolve().expect("localhost");
        assert!(all.iter().all(|address| address.ip().is_loopback() && address.port() == 7));
        assert!(!all.is_empty());
        assert!(all.iter().enumerate().all(|(index, one)| !all[..index].contains(one)), "{all:?}");
    }
}
