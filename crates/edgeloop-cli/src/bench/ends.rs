//! Where the load goes to, and from where: found out before the first connection, so that what is
//! wrong with an address is not counted as errors of the network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::io::Errno;

use super::config::BenchConfig;
use crate::addresses::Address;
use crate::exit::Failure;

/// How many loopback addresses are used where each message needs a port of its own.
const LOOPBACK_SOURCES: u8 = 32;

/// Looks the address up, and finds addresses to connect from if it will take many ports.
///
/// # Errors
///
/// When the name has no address, or this machine none to connect from.
pub(super) fn resolve(config: &mut BenchConfig) -> Result<(), Failure> {
    let addresses = config.address.look_up()?;
    let plan = &mut config.plan;
    if let Address::Unix(_) = config.address {
        if let Some(source) = plan.sources.first() {
            let (to, line) =
                (&config.address, "a Unix socket is connected to without an IP address");
            return Err(Failure::usage(format!("cannot use --source {source} for {to}: {line}")));
        }
        plan.addresses = addresses;
        return Ok(());
    }
    let addresses: Vec<_> = addresses.iter().filter_map(edgeloop::Address::as_tcp).collect();
    let addresses = with_sources(config, addresses)?;
    config.plan.addresses = addresses.into_iter().map(Into::into).collect();
    Ok(())
}

/// Those of the addresses of TCP that are loaded. Finds addresses to connect from if it will take
/// many ports.
fn with_sources(
    config: &mut BenchConfig,
    addresses: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, Failure> {
    let plan = &mut config.plan;
    if let Some(port) = addresses.iter().find(|address| address.port() == 0) {
        return Err(Failure::usage(format!(
            "cannot connect to {port}: port 0 is only for listening"
        )));
    }
    for &source in &plan.sources {
        // Else each connect would fail, as if there were no port. This takes one, and nothing more.
        UdpSocket::bind((source, 0)).map_err(|error| {
            let hint = "'ip address' shows the addresses of this machine";
            Failure::usage(format!("cannot use --source {source}: {error}; {hint}"))
        })?;
        if addresses.iter().all(|address| address.is_ipv4() != source.is_ipv4()) {
            let line = "one is IPv4, the other IPv6";
            let to = addresses[0];
            return Err(Failure::usage(format!("cannot use --source {source} for {to}: {line}")));
        }
    }
    let mut addresses = if plan.sources.is_empty() {
        with_a_way(&addresses, reach)?
    } else {
        let is_alike = |to: &SocketAddr, from: &IpAddr| to.is_ipv4() == from.is_ipv4();
        let mut addresses = addresses;
        addresses.retain(|to| plan.sources.iter().any(|from| is_alike(to, from)));
        addresses
    };
    if config.first_address {
        addresses.truncate(1);
        // Those of the other family lead nowhere now.
        let to = addresses[0];
        plan.sources.retain(|from| from.is_ipv4() == to.is_ipv4());
    }
    let is_loopback = addresses.iter().all(|address| match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(_) => false,
    });
    if is_loopback && plan.connects && plan.sources.is_empty() {
        plan.sources = loopback_sources(|source| UdpSocket::bind((source, 0)).is_ok());
    }
    Ok(addresses)
}

/// The addresses of the loopback that can be connected from. It may have one alone, 127.0.0.1/32.
fn loopback_sources(is_usable: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
    let all = (1..=LOOPBACK_SOURCES).map(|last| IpAddr::from(Ipv4Addr::new(127, 0, 0, last)));
    all.filter(|&source| is_usable(source)).collect()
}

/// Leaves out addresses for which this machine has none to connect from, such as ::1 where IPv6 is
/// switched off. A connect to one fails as if all ports were taken (EADDRNOTAVAIL).
///
/// # Errors
///
/// A line that names the first address, when none is left.
fn with_a_way(
    addresses: &[SocketAddr],
    reach: impl Fn(SocketAddr) -> io::Result<()>,
) -> Result<Vec<SocketAddr>, Failure> {
    let (mut left, mut first) = (Vec::new(), None);
    for &address in addresses {
        match reach(address) {
            Err(error) if lacks_an_address(&error) => first = first.or(Some((address, error))),
            _ => left.push(address),
        }
    }
    match first {
        Some((address, error)) if left.is_empty() => {
            let hint = "this machine has no address to connect from ('ip address' shows all)";
            Err(Failure::usage(format!("cannot connect to {address}: {error}; {hint}")))
        }
        _ => Ok(left),
    }
}

/// Looks for a way to an address. Nothing is sent.
fn reach(address: SocketAddr) -> io::Result<()> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0))?.connect(address)
}

fn lacks_an_address(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::args::BenchArgs;

    fn failing(errno: Errno) -> io::Result<()> {
        Err(errno.into())
    }

    #[test]
    fn an_address_that_there_is_no_way_to_is_left_out() {
        let both: [SocketAddr; 2] = ["[::1]:7", "127.0.0.1:7"].map(|one| one.parse().expect(one));
        let v4_only = |errno| {
            move |address: SocketAddr| if address.is_ipv4() { Ok(()) } else { failing(errno) }
        };
        for errno in [Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT] {
            assert_eq!(with_a_way(&both, v4_only(errno)).expect("one"), both[1..]);
        }
        // These are errors of the network, and are counted.
        for errno in [Errno::NETUNREACH, Errno::ACCESS, Errno::MFILE] {
            assert_eq!(with_a_way(&both, v4_only(errno)).expect("both"), both);
        }
        let failure = with_a_way(&both, |_| failing(Errno::ADDRNOTAVAIL)).expect_err("none");
        assert!(failure.line.starts_with("cannot connect to [::1]:7: "), "{}", failure.line);
        assert!(failure.line.contains("no address to connect from"), "{}", failure.line);
    }

    #[test]
    fn a_loopback_of_one_address_is_connected_from_alone() {
        let one = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert_eq!(loopback_sources(|source| source == one), [one]);
        assert_eq!(loopback_sources(|_| true).len(), 32);
    }

    #[test]
    fn a_source_of_the_other_family_is_told() {
        let args = BenchArgs {
            address: "127.0.0.1:7".into(),
            source: vec!["::1".into()],
            ..BenchArgs::default()
        };
        let mut config = BenchConfig::resolve(&args).expect("a run");
        let line = resolve(&mut config).expect_err("a wrong source").line;
        let expected = "cannot use --source ::1 for 127.0.0.1:7: one is IPv4, the other IPv6";
        assert_eq!(line, expected);
        let args = BenchArgs { address: "unix:/x".into(), ..args };
        let mut config = BenchConfig::resolve(&args).expect("a run");
        let line = resolve(&mut config).expect_err("a source for a path").line;
        assert!(line.starts_with("cannot use --source ::1 for unix:/x: a Unix socket"), "{line}");
    }
}
