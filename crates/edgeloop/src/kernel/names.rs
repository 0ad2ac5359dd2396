//! Addresses as the system calls take and give them.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix};

use crate::api::address::{Address, UnixAddress};

/// The address of a TCP peer that is gone before it was told.
pub(crate) const UNKNOWN: Address =
    Address::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));

/// The lengths of a `sockaddr_un` that has a name: its family takes two bytes of it (unix(7)).
const LEAST: u32 = 3;
const MOST: u32 = 110;

pub(super) fn family_of(address: &Address) -> AddressFamily {
    match address {
        Address::Tcp(SocketAddr::V4(_)) => AddressFamily::INET,
        Address::Tcp(SocketAddr::V6(_)) => AddressFamily::INET6,
        Address::Unix(_) => AddressFamily::UNIX,
    }
}

pub(super) fn to_kernel(address: &Address) -> Result<SocketAddrAny, Errno> {
    match address {
        Address::Tcp(address) => Ok((*address).into()),
        Address::Unix(unix) => to_sockaddr_un(unix).map(Into::into),
    }
}

fn to_sockaddr_un(address: &UnixAddress) -> Result<SocketAddrUnix, Errno> {
    match (address.as_path(), address.as_abstract_name()) {
        (Some(path), _) => SocketAddrUnix::new(path),
        (None, Some(name)) => SocketAddrUnix::new_abstract_name(name),
        (None, None) => Ok(SocketAddrUnix::new_unnamed()),
    }
}

pub(super) fn from_kernel(address: SocketAddrAny) -> Result<Address, Errno> {
    if address.address_family() != AddressFamily::UNIX {
        return SocketAddr::try_from(address).map(Address::Tcp);
    }
    // Nothing but the family is told of a socket without a name. A client's path may have 108
    // bytes, which the kernel tells with a NUL byte behind them: rustix 1.1.6 panics at that, and
    // so it stays untold.
    if !(LEAST..=MOST).contains(&address.addr_len()) {
        return Ok(UnixAddress::unnamed().into());
    }
    let unix = SocketAddrUnix::try_from(address)?;
    if let Some(path) = unix.path_bytes() {
        // One of 107 bytes comes with the NUL byte that ends it (rustix 1.1.6).
        let path = path.split(|&byte| byte == 0).next().unwrap_or_default();
        return Ok(UnixAddress::of_path(Path::new(OsStr::from_bytes(path))).into());
    }
    let name = unix.abstract_name();
    Ok(name.map_or(UnixAddress::unnamed(), UnixAddress::of_abstract_name).into())
}

/// The address of the other end of what was accepted. A TCP peer that is already gone may leave
/// none; the connection is as good as others.
pub(super) fn peer_from_kernel(address: Option<SocketAddrAny>) -> Address {
    address.and_then(|address| from_kernel(address).ok()).unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use rustix::net::{SocketType, acceptfrom, bind, connect, socket};

    use super::*;

    #[test]
    fn an_address_comes_back_from_the_kernels_form_as_it_was() {
        let addresses = [
            "127.0.0.1:3000",
            "[2001:db8::1]:1",
            "unix:/run/echo.sock",
            "unix:relative",
            "unix:@name",
            "unix:@a b\0",
        ];
        let longest = format!("unix:{}", "x".repeat(107));
        let longest_abstract = format!("unix:@{}", "x".repeat(107));
        let others = [longest.as_str(), longest_abstract.as_str()];
        for text in addresses.iter().chain(&others) {
            let address: Address = text.parse().expect(text);
            let kernels = to_kernel(&address).expect("it fits");
            assert_eq!(kernels.address_family(), family_of(&address));
            assert_eq!(from_kernel(kernels), Ok(address), "{text}");
        }
        let unnamed = Address::from(UnixAddress::unnamed());
        assert_eq!(to_kernel(&unnamed).and_then(from_kernel), Ok(unnamed));
    }

    /// A client may choose a name that ours could not have.
    #[test]
    fn c34_a_peer_may_have_any_name_that_the_kernel_takes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("listener");
        let listener = UnixListener::bind(&path).expect("a socket");
        // Without a NUL byte at its end, which the kernel adds (unix(7)).
        let length = 108 - folder.path().as_os_str().len() - 1;
        let odd = folder.path().join("x".repeat(length));
        for name in [SocketAddrUnix::new(&odd), SocketAddrUnix::new_abstract_name(&[0; 107])] {
            let name = name.expect("it fits");
            let client = socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("one");
            bind(&client, &name).expect("a name");
            connect(&client, &SocketAddrUnix::new(&path).expect("it fits")).expect("it listens");
            let (_accepted, peer) = acceptfrom(&listener).expect("it waits");
            let peer = peer_from_kernel(peer);
            let peer = peer.as_unix().expect("a Unix socket");
            match name.abstract_name() {
                Some(bytes) => assert_eq!(peer.as_abstract_name(), Some(bytes)),
                None => assert!(peer.is_unnamed(), "{peer}"),
            }
        }
    }
}
