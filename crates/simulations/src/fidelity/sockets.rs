//! Real sockets of each family: how they are made, bound and connected.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, SocketAddrAny, SocketAddrUnix, SocketAddrV4, SocketFlags, SocketType,
    sockopt,
};
use std::net::Ipv4Addr;
use std::sync::LazyLock;

use super::call::Family;

/// So much that no send buffer of a script is ever filled to a quarter: the most that is granted
/// without privileges.
const BUFFER: usize = 208 * 1024;

/// A listener whose backlog is full. One of TCP answers nobody (`tcp_conn_request` drops the SYN).
struct Nowhere {
    address: SocketAddrAny,
    _listener: OwnedFd,
    _waiting: OwnedFd,
}

impl Nowhere {
    fn new(family: Family) -> Result<Self, Errno> {
        let (listener, address) = listener(family, 0)?;
        let waiting = open(family)?;
        match net::connect(&waiting, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {
                Ok(Self { address, _listener: listener, _waiting: waiting })
            }
            Err(error) => Err(error),
        }
    }
}

/// Where nobody answers.
pub(super) fn nowhere(family: Family) -> &'static SocketAddrAny {
    static TCP: LazyLock<Result<Nowhere, Errno>> = LazyLock::new(|| Nowhere::new(Family::Tcp));
    static UNIX: LazyLock<Result<Nowhere, Errno>> = LazyLock::new(|| Nowhere::new(Family::Unix));
    let nowhere = match family {
        Family::Tcp => &*TCP,
        Family::Unix => &*UNIX,
    };
    &nowhere.as_ref().expect("a listener, and room for one").address
}

/// A listener, with its address.
pub(super) fn listener(family: Family, backlog: i32) -> Result<(OwnedFd, SocketAddrAny), Errno> {
    // Whoever a listener of TCP accepts has the options from the beginning (inet_csk_clone_lock).
    let listener = open(family)?;
    if family == Family::Tcp {
        net::bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    }
    net::listen(&listener, backlog)?;
    let address = net::getsockname(&listener)?;
    Ok((listener, address))
}

/// A socket with its options. One of Unix has an address of its own, as one of TCP has once it
/// connects.
pub(super) fn open(family: Family) -> Result<OwnedFd, Errno> {
    let domain = match family {
        Family::Tcp => AddressFamily::INET,
        Family::Unix => AddressFamily::UNIX,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(domain, SocketType::STREAM, flags, None)?;
    if family == Family::Tcp {
        sockopt::set_tcp_nodelay(&socket, true)?;
    } else {
        // An abstract name of the kernel's choice (autobind, unix(7)).
        net::bind(&socket, &SocketAddrUnix::new_unnamed())?;
    }
    set_options(&socket, family)?;
    Ok(socket)
}

/// The options of whatever a Unix socket accepts, which has none of its listener's.
pub(super) fn set_options(socket: &OwnedFd, family: Family) -> Result<(), Errno> {
    sockopt::set_socket_oobinline(socket, true)?;
    if family == Family::Unix {
        sockopt::set_socket_send_buffer_size(socket, BUFFER)?;
    }
    Ok(())
}
