//! Reads addresses: `HOST:PORT`, `[IPV6]:PORT` or `PORT`, behind `udp://` for datagrams, or behind
//! `tcp://` or nothing, and those of Unix sockets.

mod unix;

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;

use edgeloop::UnixAddress;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

use crate::escape::OneLine;
use crate::exit::Failure;
use crate::values::{digits, read_any};

/// What an address that lacks its host listens on.
const EVERYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The most bytes of an interface's name (netdevice(7)).
const LONGEST_INTERFACE: usize = 15;

/// What stands before an address for datagrams.
const UDP: &str = "udp://";

/// One address as it was asked for; a name is not resolved yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(Internet),
    Udp(Internet),
    Unix(UnixAddress),
}

/// Where TCP or UDP goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Internet {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    /// An IPv6 address with its interface, by name or by number: `fe80::1%eth0`.
    Scoped(Ipv6Addr, String),
    Name(String),
}

impl Address {
    /// Reads one that was given under this name.
    pub(crate) fn read(name: &str, value: &OsStr) -> Result<Self, Failure> {
        read_any(name, value, |value| Self::parse(value))
    }

    /// # Errors
    ///
    /// What would have been right instead.
    pub(crate) fn parse(text: impl AsRef<OsStr>) -> Result<Self, String> {
        let text = text.as_ref();
        // A path need not be UTF-8.
        if let Some(name) = text.as_bytes().strip_prefix(b"unix:") {
            return unix::parse(name).map(Self::Unix);
        }
        let text = text.to_str().ok_or("expected UTF-8, but for a path behind unix:")?;
        if let Some(rest) = text.strip_prefix("tcp://") {
            return behind_scheme("", rest).map(Self::Tcp);
        }
        if let Some(rest) = text.strip_prefix(UDP) {
            return behind_udp(rest).map(Self::Udp);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return Err(without_scheme(scheme, rest));
        }
        if let Some(hint) = unix::mistaken(text) {
            return Err(hint);
        }
        Internet::parse(text).map(Self::Tcp)
    }

    /// The same to connect to: where one listens at all of this machine's addresses, the loopback.
    pub(crate) fn reachable(self) -> Self {
        match self {
            Self::Tcp(address) => Self::Tcp(address.reachable()),
            Self::Udp(address) => Self::Udp(address.reachable()),
            Self::Unix(_) => self,
        }
    }

    /// Whether it takes datagrams of UDP.
    pub(crate) const fn is_udp(&self) -> bool {
        matches!(self, Self::Udp(_))
    }

    /// Whether it's the path of a Unix socket, which has a file.
    pub(crate) fn has_file(&self) -> bool {
        matches!(self, Self::Unix(address) if address.as_path().is_some())
    }

    /// Every address that this one stands for, at least one. Those of UDP look like those of TCP.
    ///
    /// # Errors
    ///
    /// A line that names it, when there is none or it can't be looked up.
    pub(crate) fn look_up(&self) -> Result<Vec<edgeloop::Address>, Failure> {
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
    /// When the name has no address or can't be looked up, or there is no such interface.
    pub(crate) fn resolve(&self) -> io::Result<Vec<edgeloop::Address>> {
        match self {
            Self::Tcp(address) | Self::Udp(address) => {
                Ok(address.resolve()?.into_iter().map(Into::into).collect())
            }
            Self::Unix(address) => Ok(vec![address.clone().into()]),
        }
    }
}

impl Internet {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(digits) = digits(text) {
            return Ok(Self { host: Host::Ip(EVERYWHERE), port: port(digits)? });
        }
        let Some((host, port_text)) = text.rsplit_once(':') else {
            return Err(without_port(text));
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) => ipv6(inner)?,
            None => name_or_ipv4(host, text)?,
        };
        if let Some((port, _)) = port_text.split_once('/')
            && digits(port).is_some()
        {
            return Err("expected an address without a path, as in 127.0.0.1:3000".into());
        }
        Ok(Self { host, port: port(port_text)? })
    }

    fn reachable(self) -> Self {
        let host = match self.host {
            Host::Ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Host::Ip(Ipv4Addr::LOCALHOST.into()),
            Host::Ip(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => Host::Ip(Ipv6Addr::LOCALHOST.into()),
            host => host,
        };
        Self { host, port: self.port }
    }

    fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let name = match &self.host {
            Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, self.port)]),
            Host::Scoped(ip, interface) => {
                let scope = scope(interface)?;
                return Ok(vec![SocketAddrV6::new(*ip, self.port, 0, scope).into()]);
            }
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
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Udp(address) => write!(f, "{UDP}{address}"),
            Self::Unix(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for Internet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) => SocketAddr::new(*ip, self.port).fmt(f),
            Host::Scoped(ip, interface) => write!(f, "[{ip}%{}]:{}", OneLine(interface), self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// The number of an interface. As for glibc, what can be both is a name.
fn scope(interface: &str) -> io::Result<u32> {
    // Any socket will do (netdevice(7)), and a machine may have no IPv4 or no IPv6.
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let named = netdevice::name_to_index(&socket, interface).ok();
    let numbered = || digits(interface)?.parse().ok().filter(|&number| number > 0);
    named.or_else(numbered).ok_or_else(|| {
        let line = format!("no interface is named '{}' (see 'ip link')", OneLine(interface));
        io::Error::new(io::ErrorKind::NotFound, line)
    })
}

fn port(text: &str) -> Result<u16, String> {
    digits(text)
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| "expected a port from 0 to 65535".into())
}

/// What stands behind `tcp://` or, as the example shows it, behind `scheme`.
fn behind_scheme(scheme: &str, text: &str) -> Result<Internet, String> {
    Internet::parse(text).map_err(|error| match text.find(['/', '?', '#']) {
        Some(end) if is_shown(&text[..end]) && Internet::parse(&text[..end]).is_ok() => {
            format!("expected an address without a path, as in {scheme}{}", &text[..end])
        }
        _ => error,
    })
}

/// What stands behind `udp://`. What is wrong with it is told with the scheme, without which the
/// address would be one of TCP.
fn behind_udp(text: &str) -> Result<Internet, String> {
    behind_scheme(UDP, text).map_err(|error| match error.strip_prefix("expected ") {
        _ if error == forms() => {
            "expected udp://HOST:PORT, udp://[IPV6]:PORT or udp://PORT, as in udp://127.0.0.1:3000"
                .into()
        }
        Some(expected) if !error.contains(UDP) => format!("expected, behind udp://, {expected}"),
        _ => error,
    })
}

/// An example is no place for what can't be read.
fn is_shown(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn without_scheme(scheme: &str, rest: &str) -> String {
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let usual = match scheme {
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        _ => 3000,
    };
    let example = [host.to_owned(), format!("{host}:{usual}")]
        .into_iter()
        .find(|text| is_shown(text) && Internet::parse(text).is_ok())
        .unwrap_or_else(|| "localhost:3000".to_owned());
    format!("expected an address without a scheme or a path, as in {example}")
}

fn without_port(text: &str) -> String {
    if is_name(text) && text.is_ascii() && !text.starts_with(['-', '_', '.']) {
        return format!("expected HOST:PORT, as in {text}:3000");
    }
    forms()
}

/// What to say of what looks like none of the forms.
fn forms() -> String {
    "expected HOST:PORT, [IPV6]:PORT, PORT, udp://HOST:PORT, unix:PATH or unix:@NAME, \
     as in 127.0.0.1:3000"
        .into()
}

/// An IPv6 address from within its brackets, with or without its interface.
fn ipv6(text: &str) -> Result<Host, String> {
    let (address, interface) = text.split_once('%').map_or((text, None), |(a, i)| (a, Some(i)));
    let Ok(ip) = address.parse::<Ipv6Addr>() else {
        let is_other = text.is_ascii() && name_or_ipv4(text, text).is_ok();
        return Err(if is_other {
            format!("expected an IPv6 address in the brackets; {text}:PORT needs none")
        } else {
            "expected an IPv6 address in the brackets, as in [::1]:3000".into()
        });
    };
    match interface {
        None if ip.is_unicast_link_local() => {
            Err(format!("expected an interface behind {ip}, as in [{ip}%eth0]:3000"))
        }
        None => Ok(Host::Ip(IpAddr::V6(ip))),
        Some(interface) if is_interface(interface) => Ok(Host::Scoped(ip, interface.to_owned())),
        Some(_) => Err("expected an interface behind the %, as in [fe80::1%eth0]:3000".into()),
    }
}

fn name_or_ipv4(host: &str, text: &str) -> Result<Host, String> {
    if let Ok(ip) = host.parse() {
        return Ok(Host::Ip(IpAddr::V4(ip)));
    }
    if text.contains(',') {
        return Err("expected one address; write several as separate arguments".into());
    }
    if text.starts_with('[') && text.ends_with(']') {
        return Err("expected a port behind the brackets, as in [::1]:3000".into());
    }
    if host.contains(':') {
        let scheme = ["tcp:", "udp:"].into_iter().find(|&scheme| text.starts_with(scheme));
        if let Some(scheme) = scheme {
            let rest = &text[scheme.len()..];
            let is_right = is_shown(rest) && Internet::parse(rest).is_ok();
            let example = if is_right { rest } else { "127.0.0.1:3000" };
            return Err(format!("expected // behind {scheme}, as in {scheme}//{example}"));
        }
        return Err("expected brackets around an IPv6 address, as in [::1]:3000".into());
    }
    if host == "*" {
        return Err("expected the port alone for all IPv4 addresses, as in 3000, \
                    or [::]:3000 for IPv6 too"
            .into());
    }
    if !is_name(host) {
        return Err("expected a host before the port, as in localhost:3000, \
                    or the port alone, as in 3000"
            .into());
    }
    // The resolver would take 010.0.0.1 for 8.0.0.1.
    let parts = host.split('.');
    if parts.clone().count() == 4 && parts.into_iter().all(|part| digits(part).is_some()) {
        return Err(
            "expected four numbers from 0 to 255 in an IPv4 address, as in 127.0.0.1:3000".into()
        );
    }
    Ok(Host::Name(host.to_owned()))
}

/// Whether the resolver should see it at all. It is the judge of what a name is, but blanks,
/// control characters and brackets are in none, and would deface the log.
fn is_name(text: &str) -> bool {
    let fits = |part: char| part.is_alphanumeric() || matches!(part, '-' | '_' | '.');
    !text.is_empty() && text.chars().all(fits)
}

/// Whether the kernel lets an interface have this name (dev_valid_name, Linux 6.18).
fn is_interface(text: &str) -> bool {
    let is_blank = |byte| matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0);
    let is_illegal = |byte| matches!(byte, b'/' | b':' | 0) || is_blank(byte);
    (1..=LONGEST_INTERFACE).contains(&text.len())
        && text != "."
        && text != ".."
        && !text.bytes().any(is_illegal)
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
            ("[FE80::1%2]:1", "[fe80::1%2]:1"),
            ("[fe80::1%eth0.5@a]:1", "[fe80::1%eth0.5@a]:1"),
            ("[fe80::1%a%b]:1", "[fe80::1%a%b]:1"),
            ("[fe80::1%[]]:1", "[fe80::1%[]]:1"),
            ("[fe80::1%\x1b]:1", "[fe80::1%\\u{1b}]:1"),
            ("[fe80::1%123456789012345]:1", "[fe80::1%123456789012345]:1"),
            ("127.1:1", "127.1:1"),
            ("tcp://3000", "0.0.0.0:3000"),
            ("tcp://localhost:3000", "localhost:3000"),
            ("tcp://[fe80::1%eth0]:1", "[fe80::1%eth0]:1"),
            ("tcp:3000", "tcp:3000"),
            ("udp://3000", "udp://0.0.0.0:3000"),
            ("udp://localhost:3000", "udp://localhost:3000"),
            ("udp://[::1]:3000", "udp://[::1]:3000"),
            ("udp:3000", "udp:3000"),
            ("unix:/run/echo.sock", "unix:/run/echo.sock"),
            ("unix:/a, b:c", "unix:/a, b:c"),
            ("unix:\n\u{202e}", "unix:\\u{a}\\u{202e}"),
            ("unix:@echo", "unix:@echo"),
            ("unix:3000", "unix:3000"),
        ];
        for (text, shown) in good {
            assert_eq!(parsed(text), shown);
        }
    }

    #[test]
    fn bad_addresses_are_told_what_would_be_right() {
        let bad = [
            ("", "HOST:PORT"),
            ("localhost", "as in localhost:3000"),
            ("127.0.0.1", "as in 127.0.0.1:3000"),
            ("-1", "HOST:PORT"),
            ("+3000", "HOST:PORT"),
            ("30 00", "HOST:PORT"),
            ("65536", "a port from 0 to 65535"),
            ("99999999999999999999", "a port from 0 to 65535"),
            ("127.0.0.1:", "a port from 0 to 65535"),
            ("127.0.0.1:65536", "a port from 0 to 65535"),
            ("127.0.0.1:+80", "a port from 0 to 65535"),
            ("127.0.0.1:-1", "a port from 0 to 65535"),
            ("localhost:http", "a port from 0 to 65535"),
            ("localhost:80/", "without a path"),
            (":3000", "host before the port"),
            ("a b:3000", "host before the port"),
            ("a\n:3000", "host before the port"),
            ("a\0:3000", "host before the port"),
            ("*:3000", "[::]:3000 for IPv6 too"),
            ("256.0.0.1:3000", "from 0 to 255"),
            ("010.0.0.1:3000", "from 0 to 255"),
            ("[::1:3000", "brackets around"),
            ("::1:3000", "brackets around"),
            ("::1", "brackets around"),
            ("[::1]", "a port behind the brackets"),
            ("[]:3000", "in the brackets, as in [::1]:3000"),
            ("[localhost]:3000", "localhost:PORT needs none"),
            ("[127.0.0.1]:3000", "127.0.0.1:PORT needs none"),
            ("[fe80::1]:1", "as in [fe80::1%eth0]:3000"),
            ("[fe80::1%]:1", "interface"),
            ("[fe80::1%a b]:1", "interface"),
            ("[fe80::1%a/b]:1", "interface"),
            ("[fe80::1%a:b]:1", "interface"),
            ("[fe80::1%..]:1", "interface"),
            ("[fe80::1%1234567890123456]:1", "interface"),
            ("[fe80::1%\u{e0}]:1", "interface"), // whose second byte the kernel takes for a blank
            ("1:1,2:2", "separate arguments"),
            ("http://localhost:80", "without a scheme or a path, as in localhost:80"),
            ("http://localhost/path", "as in localhost:80"),
            ("https://example.com", "as in example.com:443"),
            ("tcp://[::1]:7?x", "without a path, as in [::1]:7"),
            ("tcp://localhost:7/", "without a path"),
            ("tcp://", "HOST:PORT"),
            ("tcp://localhost", "as in localhost:3000"),
            ("tcp://x://y", "a port from 0 to 65535"),
            ("tcp://[fe80::1%\x1b]:1/", "without a path"),
            ("tcp:127.0.0.1:80", "as in tcp://127.0.0.1:80"),
            ("tcp:a:b:80", "as in tcp://127.0.0.1:3000"),
            ("x://", "as in localhost:3000"),
            ("x://[fe80::1%\x1b]:1", "as in localhost:3000"),
            ("b\u{fc}cher.example", "as in 127.0.0.1:3000"),
            ("[b\u{fc}cher.example]:1", "in the brackets, as in [::1]:3000"),
            ("http://b\u{fc}cher.example", "as in localhost:3000"),
            ("/run/socket", "as in unix:/run/socket"),
            ("unix://run/socket", "as in unix:/run/socket"),
            ("unix:", "as in unix:/run/echo.sock"),
        ];
        for (text, words) in bad {
            let error = Address::parse(text).expect_err(text);
            assert!(error.contains(words), "{text:?}: {error}");
            assert!(error.starts_with("expected "), "{text:?}: {error}");
            assert!(error.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}: {error}");
        }
    }

    #[test]
    fn what_is_wrong_behind_udp_is_told_with_the_scheme() {
        for (text, line) in [
            (
                "udp://",
                "expected udp://HOST:PORT, udp://[IPV6]:PORT or udp://PORT, as in udp://127.0.0.1:3000",
            ),
            ("udp://localhost", "expected, behind udp://, HOST:PORT, as in localhost:3000"),
            ("udp://localhost:x", "expected, behind udp://, a port from 0 to 65535"),
            ("udp://[::1]:7/x", "expected an address without a path, as in udp://[::1]:7"),
            (
                "udp://::1:7",
                "expected, behind udp://, brackets around an IPv6 address, as in [::1]:3000",
            ),
            ("udp:127.0.0.1:80", "expected // behind udp:, as in udp://127.0.0.1:80"),
        ] {
            assert_eq!(Address::parse(text).expect_err(text), line);
        }
    }

    #[test]
    fn an_address_of_udp_stands_for_what_one_of_tcp_does() {
        let address = Address::parse("udp://7").expect("an address");
        assert!(address.is_udp() && !Address::parse("7").expect("an address").is_udp());
        assert_eq!(address.resolve().expect("itself"), ["0.0.0.0:7".parse().expect("an address")]);
        assert_eq!(address.reachable().to_string(), "udp://127.0.0.1:7");
    }

    #[test]
    fn a_path_alone_may_be_other_than_utf_8() {
        let text = OsStr::from_bytes(b"unix:/a\xff");
        assert_eq!(Address::parse(text).expect("a path").to_string(), "unix:/a\\xff");
        let error = Address::parse(OsStr::from_bytes(b"a\xff:1")).expect_err("a host");
        assert_eq!(error, "expected UTF-8, but for a path behind unix:");
    }

    #[test]
    fn an_interface_is_a_name_or_a_number() {
        let resolved = |text: &str| Address::parse(text).expect(text).resolve();
        let loopback = scope("lo").expect("the loopback");
        for text in ["[fe80::1%lo]:7".to_owned(), format!("[fe80::1%{loopback}]:7")] {
            let expected = SocketAddrV6::new("fe80::1".parse().expect("IPv6"), 7, 0, loopback);
            assert_eq!(resolved(&text).expect(&text), [edgeloop::Address::from(expected)]);
        }
        for text in ["[fe80::1%none\x1b]:7", "[fe80::1%0]:7", "[fe80::1%99999999999]:7"] {
            let error = resolved(text).expect_err(text).to_string();
            assert!(error.starts_with("no interface is named '"), "{error}");
            assert!(!error.contains('\x1b'), "{error}");
        }
    }

    #[test]
    fn a_number_needs_no_resolver_and_a_name_gives_each_address_once() {
        let address = Address::parse("[::1]:7").expect("an address");
        assert_eq!(address.resolve().expect("itself"), ["[::1]:7".parse().expect("an address")]);
        let all = Address::parse("localhost:7").expect("an address").resolve().expect("localhost");
        let is_here = |ip: IpAddr| ip.is_loopback();
        assert!(all.iter().all(|one| one.ip().is_some_and(is_here) && one.port() == Some(7)));
        assert!(!all.is_empty());
        assert!(all.iter().enumerate().all(|(index, one)| !all[..index].contains(one)), "{all:?}");
    }
}
