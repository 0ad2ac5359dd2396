//! Where the load goes to, and from where: found out before the first connection, so that what is
//! wrong with an address is not counted as errors of the network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use edgeloop::Address;
use rustix::io::Errno;

use super::config::BenchConfig;
use super::refusals::check_size;
use crate::addresses;
use crate::exit::Failure;

/// How many loopback addresses are used where each message needs a port of its own.
const LOOPBACK_SOURCES: u8 = 32;

/// Looks the addresses up, and finds addresses to connect from if it will take many ports.
///
/// # Errors
///
/// When a name has no address, or this machine none to connect from.
pub(super) fn resolve(config: &mut BenchConfig) -> Result<(), Failure> {
    let looked_up = config.addresses.iter().map(addresses::Address::look_up);
    let found = looked_up.collect::<Result<Vec<_>, _>>()?;
    let plan = &mut config.plan;
    if let Some(port) = found.iter().flatten().find(|address| address.port() == Some(0)) {
        return Err(Failure::usage(format!(
            "cannot connect to {port}: port 0 is only for listening"
        )));
    }
    check_sources(&plan.sources, &found)?;
    for addresses in found {
        let mut addresses = if plan.sources.is_empty() {
            with_a_way(&addresses, reach)?
        } else {
            let has_source = |to: &Address| plan.sources.iter().any(|from| is_alike(to, *from));
            addresses.into_iter().filter(has_source).collect()
        };
        if config.first_address {
            addresses.truncate(1);
        }
        for address in addresses {
            if !plan.addresses.contains(&address) {
                plan.addresses.push(address);
            }
        }
    }
    if plan.timeout.is_some() {
        check_size(plan.size, &plan.addresses)?;
    }
    if config.first_address {
        // Those of the other family lead nowhere now.
        plan.sources.retain(|from| plan.addresses.iter().any(|to| is_alike(to, *from)));
    }
    let mut ips = plan.addresses.iter().filter_map(Address::ip).peekable();
    let is_loopback = ips.peek().is_some() && ips.all(|ip| ip.is_ipv4() && ip.is_loopback());
    if is_loopback && plan.connects && plan.sources.is_empty() {
        plan.sources = loopback_sources(|source| UdpSocket::bind((source, 0)).is_ok());
    }
    Ok(())
}

/// Refuses sources that this machine does not have, or that can reach none of the addresses, and
/// addresses that none of them can reach. `found` has what each asked address stands for.
fn check_sources(sources: &[IpAddr], found: &[Vec<Address>]) -> Result<(), Failure> {
    let cannot = |source: IpAddr, to: &Address| {
        let line = if to.is_unix() {
            "a Unix socket is connected to without an IP address"
        } else {
            "one is IPv4, the other IPv6"
        };
        Err(Failure::usage(format!("cannot use --source {source} for {to}: {line}")))
    };
    for &source in sources {
        // Else each connect would fail, as if there were no port. This takes one, and nothing more.
        UdpSocket::bind((source, 0)).map_err(|error| {
            let hint = "'ip address' shows the addresses of this machine";
            Failure::usage(format!("cannot use --source {source}: {error}; {hint}"))
        })?;
        if found.iter().flatten().all(|to| !is_alike(to, source)) {
            return cannot(source, &found[0][0]);
        }
    }
    let Some(&first) = sources.first() else { return Ok(()) };
    let is_left_out = |to: &Address| sources.iter().all(|from| !is_alike(to, *from));
    match found.iter().find(|addresses| addresses.iter().all(is_left_out)) {
        Some(addresses) => cannot(first, &addresses[0]),
        None => Ok(()),
    }
}

/// Whether an address can be connected to from this one.
fn is_alike(to: &Address, from: IpAddr) -> bool {
    to.ip().is_some_and(|to| to.is_ipv4() == from.is_ipv4())
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
    addresses: &[Address],
    reach: impl Fn(SocketAddr) -> io::Result<()>,
) -> Result<Vec<Address>, Failure> {
    let (mut left, mut first) = (Vec::new(), None);
    for address in addresses {
        match address.as_tcp().map_or(Ok(()), &reach) {
            Err(error) if lacks_an_address(&error) => first = first.or(Some((address, error))),
            _ => left.push(address.clone()),
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
        let both: [Address; 2] = ["[::1]:7", "127.0.0.1:7"].map(|one| one.parse().expect(one));
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
    fn each_address_is_loaded_once_and_of_each_name_the_first_if_asked_for() {
        let address = ["127.0.0.1:7", "unix:/x", "tcp://127.0.0.1:7", "unix:@y", "127.0.0.2:7"];
        let args = BenchArgs {
            address: address.map(Into::into).to_vec(),
            first_address: true,
            connect_per_message: true,
            ..BenchArgs::default()
        };
        let mut config = BenchConfig::resolve(&args).expect("a run");
        resolve(&mut config).expect("addresses");
        let shown: Vec<_> = config.plan.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["127.0.0.1:7", "unix:/x", "unix:@y", "127.0.0.2:7"]);
        assert!(!config.plan.sources.is_empty(), "those of TCP are on the loopback");
        let asked = "127.0.0.1:7 unix:/x 127.0.0.1:7 unix:@y 127.0.0.2:7";
        assert_eq!(config.asked_addresses(), asked);
    }

    #[test]
    fn a_source_of_the_other_family_is_told() {
        let args = BenchArgs {
            address: vec!["127.0.0.1:7".into()],
            source: vec!["::1".into()],
            ..BenchArgs::default()
        };
        let mut config = BenchConfig::resolve(&args).expect("a run");
        let line = resolve(&mut config).expect_err("a wrong source").line;
        let expected = "cannot use --source ::1 for 127.0.0.1:7: one is IPv4, the other IPv6";
        assert_eq!(line, expected);
        for addresses in [&["unix:/x"][..], &["[::1]:7", "unix:/x"]] {
            let address = addresses.iter().map(Into::into).collect();
            let args = BenchArgs { address, source: vec!["::1".into()], ..BenchArgs::default() };
            let mut config = BenchConfig::resolve(&args).expect("a run");
            let line = resolve(&mut config).expect_err("a source for a path").line;
            let begin = "cannot use --source ::1 for unix:/x: a Unix socket is connected to";
            assert!(line.starts_with(begin), "{line}");
        }
    }
}
