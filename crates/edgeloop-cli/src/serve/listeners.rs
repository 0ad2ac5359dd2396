//! Listens on the addresses that were asked for, which can be names, and can overlap.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use edgeloop::{Error, ListenOptions};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};

use super::passed::Bound;
use super::server::Server;
use super::{udp, unix};
use crate::addresses::Address;
use crate::exit::Failure;

/// How many ports are tried until one is free on all addresses of a name.
const TRIES: usize = 100;

/// An address as it was asked for, and what it stands for.
#[derive(Debug)]
pub(crate) struct Resolved<'a> {
    asked: &'a Address,
    addresses: Vec<edgeloop::Address>,
}

/// An address at which somebody is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Served {
    Streams(edgeloop::Address),
    Datagrams(SocketAddr),
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Streams(address) => address.fmt(f),
            Self::Datagrams(address) => write!(f, "udp://{address}"),
        }
    }
}

/// What is listened on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listening {
    /// Each real address: those that were passed in, and then the others in the order in which they
    /// were asked for.
    pub(crate) addresses: Vec<Served>,
    /// Which addresses of a name are left out, and why.
    pub(crate) warnings: Vec<String>,
}

impl Listening {
    /// Adds an address that is none of them.
    fn add(&mut self, address: Served) {
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }

    /// The addresses of datagrams.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = SocketAddr> {
        self.addresses.iter().filter_map(|one| match one {
            Served::Datagrams(address) => Some(*address),
            Served::Streams(_) => None,
        })
    }
}

/// Looks all addresses up.
///
/// # Errors
///
/// A line that names the first that can't be.
pub(crate) fn resolve(addresses: &[Address]) -> Result<Vec<Resolved<'_>>, Failure> {
    addresses.iter().map(|asked| Ok(Resolved { asked, addresses: asked.look_up()? })).collect()
}

/// Listens on everything. An address that another one includes has no listener of its own:
/// `[::]:3000` is `0.0.0.0:3000` too. All addresses of a name with port 0 get one port. What was
/// passed in is listened on already, and can include addresses that are in use because of it. The
/// paths of Unix sockets have options of their own.
///
/// # Errors
///
/// A line that names the first address that can't be listened on. One of several addresses of a
/// name may fail, for a reason of its own.
pub(crate) fn listen(
    server: &mut impl Server,
    resolved: &[Resolved<'_>],
    ipv6_only: bool,
    files: &ListenOptions,
    passed: &[Bound],
) -> Result<Listening, Failure> {
    let mut held = Vec::new();
    let mut wanted = Vec::new();
    for Resolved { asked, addresses } in resolved {
        let tcp: Vec<_> = addresses.iter().filter_map(edgeloop::Address::as_tcp).collect();
        let port = match tcp[..] {
            [_, _, ..] if tcp.iter().all(|address| address.port() == 0) => {
                let line = || {
                    let line = "no port is free on all its addresses; choose one";
                    Failure::usage(format!("cannot listen on {asked}: {line}"))
                };
                let mut of_udp = Vec::new();
                let kind = if asked.is_udp() { SocketType::DGRAM } else { SocketType::STREAM };
                // The loop can't bind a socket of UDP beside another: those are let go of before.
                let held = if asked.is_udp() { &mut of_udp } else { &mut held };
                let hold = |address| hold(kind, address, ipv6_only);
                Some(hold_port(&tcp, held, hold).ok_or_else(line)?)
            }
            _ => None,
        };
        wanted.extend(addresses.iter().map(|address| Wanted {
            asked,
            has_others: addresses.len() > 1,
            address: match (address.as_tcp(), port) {
                (Some(address), Some(port)) => with_port(address, port).into(),
                _ => address.clone(),
            },
            bound: None,
            error: None,
        }));
    }
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|&index| breadth(&wanted[index].address));
    for index in order {
        let Wanted { asked, has_others, ref address, .. } = wanted[index];
        let address = address.clone();
        // What was passed in is none of UDP.
        let passed = if asked.is_udp() { &[] } else { passed };
        // To listen on the path of a socket that was passed in would show it a client.
        if passed.iter().any(|one| unix::is_same(&one.address, &address))
            || wanted.iter().any(|other| other.includes(asked, &address, ipv6_only))
        {
            wanted[index].bound = Some(address);
            continue;
        }
        let none = ListenOptions::new();
        let listening = match address.as_tcp() {
            Some(address) if asked.is_udp() => {
                if udp::is_for_many(address) {
                    let line = "a datagram that was sent there would be answered by many machines";
                    return Err(Failure::usage(format!("cannot bind udp://{address}: {line}")));
                }
                let Some(bound) = server.bind_udp(address) else {
                    let line = "several threads do not serve UDP; leave --threads out";
                    return Err(Failure::usage(format!("cannot bind udp://{address}: {line}")));
                };
                bound.map(Into::into)
            }
            _ => server.listen_with(&address, if asked.has_file() { files } else { &none }),
        };
        match listening {
            Ok(bound) => wanted[index].bound = Some(bound),
            Err(error) if is_in_use(&error) && passed.iter().any(|one| serves(one, &address)) => {
                wanted[index].bound = Some(address);
            }
            Err(error) if has_others && is_of_the_address(&error) => {
                wanted[index].error = Some(error);
            }
            Err(error) => {
                let mut bound = wanted
                    .iter()
                    .filter(|other| other.asked.is_udp() == asked.is_udp())
                    .filter_map(|other| other.bound.as_ref());
                let is_twice = bound.any(|one| *one == address || unix::is_same(one, &address));
                return Err(failure(error, asked, &address, is_twice));
            }
        }
    }
    outcome(wanted, passed)
}

/// One address, on the way to its listener.
struct Wanted<'a> {
    asked: &'a Address,
    /// Other addresses belong to the same name.
    has_others: bool,
    address: edgeloop::Address,
    bound: Option<edgeloop::Address>,
    error: Option<Error>,
}

impl Wanted<'_> {
    /// Whether this one's listener accepts what is for `address`, too. What was written twice is
    /// left to fail.
    fn includes(&self, asked: &Address, address: &edgeloop::Address, ipv6_only: bool) -> bool {
        let Some(bound) = &self.bound else { return false };
        if self.asked.is_udp() != asked.is_udp() {
            return false;
        }
        if bound == address {
            return self.asked != asked;
        }
        let both = bound.as_tcp().zip(address.as_tcp());
        both.is_some_and(|(bound, address)| covers(bound, address, ipv6_only))
    }
}

/// Whether a listener that is bound here accepts what is for another address, too.
fn covers(bound: SocketAddr, address: SocketAddr, ipv6_only: bool) -> bool {
    if bound.port() != address.port() {
        return false;
    }
    // A listener for IPv6 alone takes no mapped address, whatever it listens on.
    let plain = |ip: IpAddr| if ipv6_only { ip } else { ip.to_canonical() };
    match (plain(bound.ip()), plain(address.ip())) {
        (IpAddr::V6(all), ip) if all.is_unspecified() => !ipv6_only || ip.to_canonical().is_ipv6(),
        (IpAddr::V4(all), IpAddr::V4(_)) if all.is_unspecified() => true,
        (IpAddr::V4(one), IpAddr::V4(other)) => one == other,
        _ => false,
    }
}

/// Whether a socket that was passed in accepts what is for this address. That the address is in use
/// does not say by whom.
fn serves(passed: &Bound, address: &edgeloop::Address) -> bool {
    let both = passed.address.as_tcp().zip(address.as_tcp());
    both.is_some_and(|(passed_in, address)| {
        passed_in == address || covers(passed_in, address, passed.ipv6_only)
    })
}

/// What includes others comes first.
fn breadth(address: &edgeloop::Address) -> u8 {
    match address.ip().map(|ip| ip.to_canonical()) {
        Some(IpAddr::V6(ip)) if ip.is_unspecified() => 0,
        Some(IpAddr::V4(ip)) if ip.is_unspecified() => 1,
        Some(_) => 2,
        None => 3,
    }
}

fn outcome(wanted: Vec<Wanted<'_>>, passed: &[Bound]) -> Result<Listening, Failure> {
    let served: Vec<&Address> =
        wanted.iter().filter(|one| one.bound.is_some()).map(|one| one.asked).collect();
    let mut listening = Listening::default();
    for one in passed {
        listening.add(Served::Streams(one.address.clone()));
    }
    for Wanted { asked, address, bound, error, .. } in wanted {
        if let Some(bound) = bound {
            listening.add(match bound.as_tcp() {
                Some(bound) if asked.is_udp() => Served::Datagrams(bound),
                _ => Served::Streams(bound),
            });
        }
        match error.map(|error| failure(error, asked, &address, false)) {
            Some(Failure { line, .. }) if served.contains(&asked) => {
                listening.warnings.push(format!("{line}; {asked} is served without it"));
            }
            Some(failure) => return Err(failure),
            None => {}
        }
    }
    Ok(listening)
}

fn is_in_use(error: &Error) -> bool {
    Errno::from_io_error(error.io_error()) == Some(Errno::ADDRINUSE)
}

/// Whether the error is about this one address, and not about the port or this process.
fn is_of_the_address(error: &Error) -> bool {
    let errno = Errno::from_io_error(error.io_error());
    !matches!(
        errno,
        None | Some(Errno::ADDRINUSE | Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS)
    )
}

/// The end of the start, with what to do about it.
fn failure(error: Error, asked: &Address, address: &edgeloop::Address, is_twice: bool) -> Failure {
    let hint = match Errno::from_io_error(error.io_error()) {
        Some(Errno::MFILE) => "; raise the limit of descriptors, 'ulimit -n'",
        Some(Errno::ADDRINUSE) if is_twice => "; it was given twice",
        _ if address.is_unix() => unix::hint(&error),
        Some(Errno::ADDRINUSE) if asked.is_udp() => "; 'ss -lunp' shows who listens there",
        Some(Errno::ADDRINUSE) => "; 'ss -ltnp' shows who listens there",
        Some(Errno::ADDRNOTAVAIL) => "; 'ip address' shows the addresses of this machine",
        Some(Errno::AFNOSUPPORT) => "; this machine has no IPv6",
        Some(Errno::INVAL) => "; is its interface missing, as in [fe80::1%eth0]?",
        Some(Errno::ACCESS) => "; a port below 1024 needs CAP_NET_BIND_SERVICE",
        Some(Errno::NODEV) => "; 'ip link' shows the interfaces of this machine",
        _ => "",
    };
    let Failure { exit, line } = error.into();
    Failure { exit, line: format!("{line}{hint}") }
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

/// Finds a port that is free on all these addresses. The sockets that hold it until it is listened
/// on are added to `held`. Returns 0 where none of the addresses can be bound, for which listening
/// finds the reason.
fn hold_port<S>(
    addresses: &[SocketAddr],
    held: &mut Vec<S>,
    mut hold: impl FnMut(SocketAddr) -> Result<(S, u16), Errno>,
) -> Option<u16> {
    let before = held.len();
    for _ in 0..TRIES {
        held.truncate(before);
        let mut port = 0;
        let is_taken = addresses.iter().any(|&address| match hold(with_port(address, port)) {
            Ok((socket, got)) => {
                held.push(socket);
                port = got;
                false
            }
            Err(error) => error == Errno::ADDRINUSE && port != 0,
        });
        if !is_taken {
            return Some(port);
        }
    }
    None
}

/// Binds a socket without listening. With SO_REUSEADDR the loop can bind the same beside it and
/// listen; whoever asks for any port meanwhile gets another one (Linux 6.18).
fn hold(kind: SocketType, address: SocketAddr, ipv6_only: bool) -> Result<(OwnedFd, u16), Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, kind == SocketType::STREAM)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, ipv6_only)?;
    }
    bind(&socket, &address)?;
    let bound = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok((socket, bound.port()))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use edgeloop::{Action, Config, Context, EventLoop, Handler, Input, Origin};

    use super::*;
    use crate::exit::Exit;

    fn socket_address(served: &Served) -> SocketAddr {
        match served {
            Served::Streams(address) => address.as_tcp().expect("no Unix socket"),
            Served::Datagrams(address) => *address,
        }
    }

    const UDP: &str = "udp://";

    struct Deaf;

    impl Handler for Deaf {
        type Session = ();

        fn session(&mut self, _: &Origin) -> Option<()> {
            Some(())
        }

        fn data(&mut self, _: &mut impl Context, _: &mut (), _: &mut Input<'_>) -> Action {
            Action::Continue
        }
    }

    /// Listens on what each of these stands for. A list that is separated by commas is the
    /// addresses of one name; `udp://` may stand before it.
    fn listen_on(lists: &[&str], ipv6_only: bool) -> Result<Listening, Failure> {
        let asked: Vec<Address> = lists
            .iter()
            .map(|list| {
                let scheme = if list.starts_with(UDP) { UDP } else { "" };
                let name = format!("{scheme}name:0");
                Address::parse(if list.contains(',') { name.as_str() } else { list }).expect(list)
            })
            .collect();
        let resolved: Vec<Resolved<'_>> = asked
            .iter()
            .zip(lists)
            .map(|(asked, list)| {
                let list = list.trim_start_matches(UDP);
                let addresses = list.split(',').map(|one| one.parse().expect(one)).collect();
                Resolved { asked, addresses }
            })
            .collect();
        let config = Config::new().ipv6_only(ipv6_only);
        let mut event_loop = EventLoop::with_config(Deaf, config).expect("a loop");
        let files = ListenOptions::new();
        let listening = listen(&mut event_loop, &resolved, ipv6_only, &files, &[])?;
        for address in &listening.addresses {
            match address {
                Served::Streams(address) => drop(
                    TcpStream::connect(address)
                        .unwrap_or_else(|error| panic!("{address}: {error}")),
                ),
                Served::Datagrams(address) => {
                    let taken = std::net::UdpSocket::bind(address).expect_err("it is taken");
                    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse, "{address}");
                }
            }
        }
        Ok(listening)
    }

    /// The numbers of these addresses, and the warnings; their one port is replaced by P.
    #[track_caller]
    fn shown(lists: &[&str], ipv6_only: bool) -> (Vec<String>, Vec<String>) {
        let listening = listen_on(lists, ipv6_only).unwrap_or_else(|end| panic!("{}", end.line));
        let port = format!(":{}", socket_address(&listening.addresses[0]).port());
        let shown = |line: String| line.replace(&port, ":P");
        let addresses = listening.addresses.iter().map(|address| shown(address.to_string()));
        (addresses.collect(), listening.warnings.into_iter().map(shown).collect())
    }

    /// A port that is free on all addresses; another process may take it at any time, so who needs
    /// one takes another if listening on it fails.
    fn with_free_port<T>(mut then: impl FnMut(u16) -> Result<T, Failure>) -> T {
        for _ in 0..TRIES {
            let holder = TcpListener::bind("[::]:0").expect("a port");
            let port = holder.local_addr().expect("its address").port();
            drop(holder);
            match then(port) {
                Err(end) if end.line.contains("in use") => {}
                Err(end) => panic!("{}", end.line),
                Ok(done) => return done,
            }
        }
        panic!("no free port");
    }

    #[test]
    fn c27_all_addresses_of_a_name_with_port_0_get_one_port() {
        let (addresses, warnings) = shown(&["127.0.0.1:0,127.0.0.2:0,[::1]:0"], false);
        assert_eq!(addresses, ["127.0.0.1:P", "127.0.0.2:P", "[::1]:P"]);
        assert_eq!(warnings, [] as [&str; 0]);
    }

    #[test]
    fn c27_a_port_that_is_taken_on_one_address_of_a_name_is_passed_over() {
        let addresses =
            ["192.0.2.1:0", "127.0.0.1:0", "127.0.0.2:0"].map(|text| text.parse().expect(text));
        let mut free = 1..;
        let hold = |address: SocketAddr| match (address.to_string().as_str(), address.port()) {
            ("192.0.2.1:0", _) => Err(Errno::ADDRNOTAVAIL),
            ("127.0.0.1:0", _) => free.next().map(|port| (address, port)).ok_or(Errno::ADDRINUSE),
            (_, 1 | 2) => Err(Errno::ADDRINUSE),
            (_, port) => Ok((address, port)),
        };
        let mut held = Vec::new();
        assert_eq!(hold_port(&addresses, &mut held, hold), Some(3));
        assert_eq!(held, ["127.0.0.1:0", "127.0.0.2:3"].map(|text| text.parse().expect(text)));
        let is_taken = |address: SocketAddr| match address.port() {
            0 => Ok(((), 7)),
            _ => Err(Errno::ADDRINUSE),
        };
        assert_eq!(hold_port(&addresses, &mut Vec::new(), is_taken), None);
        assert_eq!(
            hold_port(&addresses, &mut Vec::new(), |_| Err::<((), _), _>(Errno::INVAL)),
            Some(0)
        );
    }

    #[test]
    fn c27_an_address_of_a_name_that_cannot_be_bound_costs_a_warning() {
        for (bad, why) in [
            ("[fe80::1]:0", "Invalid argument"),
            ("192.0.2.1:0", "Cannot assign requested address"),
            ("[2001:db8::1]:0", "Cannot assign requested address"),
        ] {
            for list in [format!("{bad},127.0.0.1:0"), format!("127.0.0.1:0,{bad}")] {
                let (addresses, warnings) = shown(&[&list], false);
                assert_eq!(addresses, ["127.0.0.1:P"], "{list}");
                let [warning] = &warnings[..] else { panic!("{list}: {warnings:?}") };
                let begin = format!("cannot listen on {}: {why}", bad.replace(":0", ":P"));
                assert!(warning.starts_with(&begin), "{warning}");
                assert!(warning.ends_with("; name:0 is served without it"), "{warning}");
            }
        }
    }

    #[test]
    fn c27_a_name_of_which_no_address_can_be_bound_is_an_error() {
        let end = listen_on(&["[fe80::1]:0,192.0.2.1:0"], false).expect_err("none of them");
        assert_eq!(end.exit, Exit::Usage);
        assert!(end.line.starts_with("cannot listen on [fe80::1]:0: Invalid"), "{}", end.line);
    }

    #[test]
    fn c27_an_address_of_a_name_that_is_in_use_is_an_error() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("its address").port();
        let list = format!("127.0.0.2:{port},127.0.0.1:{port}");
        let end = listen_on(&[&list], false).expect_err("one is in use");
        let begin = format!("cannot listen on 127.0.0.1:{port}: Address already in use");
        assert!(end.line.starts_with(&begin), "{}", end.line);
        assert!(end.line.ends_with("'ss -ltnp' shows who listens there"), "{}", end.line);
    }

    #[test]
    fn c26_a_mapped_address_is_the_ipv4_address_that_it_maps() {
        for list in ["127.0.0.1:0,[::ffff:127.0.0.1]:0", "[::ffff:127.0.0.1]:0,127.0.0.1:0"] {
            let (addresses, warnings) = shown(&[list], false);
            assert_eq!(addresses.len(), 2, "{addresses:?}");
            assert_eq!(warnings, [] as [&str; 0]);
        }
        let (addresses, warnings) = shown(&["127.0.0.1:0,[::ffff:127.0.0.1]:0"], true);
        assert_eq!((addresses.len(), warnings.len()), (1, 1), "{warnings:?}");
    }

    #[test]
    fn c26_an_address_that_another_one_includes_is_served_with_it() {
        for hosts in [
            &["0.0.0.0", "[::]"][..],
            &["[::]", "0.0.0.0"],
            &["127.0.0.1", "[::]", "[::1]"],
            &["127.0.0.1", "0.0.0.0"],
            &["127.0.0.1", "127.0.0.2", "[::1]"],
            &["[::]", "[::ffff:127.0.0.1]"],
        ] {
            let addresses = with_free_port(|port| {
                let lists: Vec<_> = hosts.iter().map(|host| format!("{host}:{port}")).collect();
                let lists: Vec<_> = lists.iter().map(String::as_str).collect();
                let both = listen_on(&lists, false)?;
                assert_eq!(both.warnings, [] as [&str; 0]);
                listen_on(&lists, true).map(drop).or_else(|end| {
                    // Where IPv6 is alone, a mapped address can't be bound.
                    if end.line.contains("ffff") { Ok(()) } else { Err(end) }
                })?;
                Ok(both
                    .addresses
                    .iter()
                    .map(|address| socket_address(address).ip().to_string())
                    .collect::<Vec<_>>())
            });
            let expected: Vec<_> =
                hosts.iter().map(|host| host.trim_matches(['[', ']']).to_owned()).collect();
            assert_eq!(addresses, expected);
        }
    }

    #[test]
    fn c27_an_address_that_is_written_twice_is_in_use() {
        for scheme in ["", UDP] {
            let line = with_free_port(|port| {
                let address = format!("{scheme}127.0.0.1:{port}");
                let end = listen_on(&[&address, &address], false).expect_err("twice");
                if end.line.ends_with("it was given twice") { Ok(end.line) } else { Err(end) }
            });
            let begin = if scheme.is_empty() { "cannot listen on" } else { "cannot bind udp://" };
            assert!(line.starts_with(begin), "{line}");
            assert!(line.contains(": Address already in use (os error 98) in bind; "), "{line}");
        }
    }

    #[test]
    fn c27_all_addresses_of_a_name_of_udp_with_port_0_get_one_port() {
        let (addresses, warnings) = shown(&["udp://127.0.0.1:0,[::1]:0,192.0.2.1:0"], false);
        assert_eq!(addresses, ["udp://127.0.0.1:P", "udp://[::1]:P"]);
        let [warning] = &warnings[..] else { panic!("{warnings:?}") };
        assert!(warning.starts_with("cannot bind udp://192.0.2.1:P: Cannot assign"), "{warning}");
        assert!(warning.ends_with("; udp://name:0 is served without it"), "{warning}");
    }

    #[test]
    fn c26_one_port_is_served_by_udp_and_by_tcp_on_addresses_that_include_each_other() {
        let addresses = with_free_port(|port| {
            let asked = ["udp://127.0.0.1:P", "[::]:P", "udp://[::]:P", "127.0.0.1:P"];
            let asked = asked.map(|address| address.replace('P', &port.to_string()));
            let listening = listen_on(&asked.each_ref().map(String::as_str), false)?;
            assert_eq!(listening.warnings, [] as [&str; 0]);
            let shown: Vec<_> = listening.addresses.iter().map(ToString::to_string).collect();
            assert_eq!(shown, asked);
            Ok(listening.datagrams().map(|address| address.ip().to_string()).collect::<Vec<_>>())
        });
        assert_eq!(addresses, ["127.0.0.1", "::"]);
    }

    #[test]
    fn c27_a_port_of_udp_that_is_in_use_is_an_error_that_tells_who_has_it() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("its address");
        let end = listen_on(&[&format!("udp://{address}")], false).expect_err("it is in use");
        assert!(end.line.ends_with("'ss -lunp' shows who listens there"), "{}", end.line);
        assert_eq!(end.exit, Exit::Usage);
    }
}
