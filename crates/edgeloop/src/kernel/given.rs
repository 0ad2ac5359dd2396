//! Descriptors that the loop is given: what they are, and what they must be to be served.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;

use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_protocol, socket_type};
use rustix::net::{AddressFamily, SocketType, getpeername, ipproto};

/// What a descriptor stands for, for people to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    Listener,
    Other(&'static str),
}

const LISTENER: &str = "a listening TCP socket";

/// Makes a listener of somebody else's non-blocking and close-on-exec (C20).
///
/// # Errors
///
/// When it is no listening TCP socket. The error says what it is.
pub(crate) fn take_listener(descriptor: &OwnedFd) -> io::Result<()> {
    take(descriptor, Nature::Listener, LISTENER)
}

fn take(descriptor: &OwnedFd, wanted: Nature, name: &str) -> io::Result<()> {
    let nature = nature_of(descriptor)?;
    if nature != wanted {
        let is = match nature {
            Nature::Listener => LISTENER,
            Nature::Other(is) => is,
        };
        let what = format!("it is {is}, not {name}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    ioctl_fionbio(descriptor, true)?;
    fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
    Ok(())
}

/// How a descriptor is called in an error.
pub(crate) fn name_of(descriptor: &OwnedFd) -> String {
    format!("descriptor {}", descriptor.as_raw_fd())
}

fn nature_of(descriptor: &OwnedFd) -> Result<Nature, Errno> {
    match socket_type(descriptor) {
        Ok(SocketType::STREAM) => {}
        Ok(SocketType::DGRAM) => return Ok(Nature::Other("a datagram socket")),
        Ok(_) => return Ok(Nature::Other("a socket that is no stream")),
        Err(Errno::NOTSOCK) => return Ok(Nature::Other(file_type_of(descriptor))),
        Err(error) => return Err(error),
    }
    match socket_domain(descriptor)? {
        AddressFamily::INET | AddressFamily::INET6 => {}
        AddressFamily::UNIX => return Ok(Nature::Other("a Unix socket")),
        _ => return Ok(Nature::Other("a socket that is not of IPv4 or IPv6")),
    }
    // Multipath TCP takes the same calls and options (mptcp in Documentation/networking).
    if !matches!(socket_protocol(descriptor)?, Some(ipproto::TCP | ipproto::MPTCP)) {
        return Ok(Nature::Other("a stream socket of another protocol than TCP"));
    }
    if socket_acceptconn(descriptor)? {
        return Ok(Nature::Listener);
    }
    Ok(match getpeername(descriptor) {
        Ok(_) => Nature::Other("a connected TCP socket"),
        Err(_) => Nature::Other("a TCP socket that neither listens nor is connected"),
    })
}

/// What is no socket.
fn file_type_of(descriptor: &OwnedFd) -> &'static str {
    let metadata = descriptor.try_clone().and_then(|descriptor| File::from(descriptor).metadata());
    match metadata.map(|metadata| metadata.file_type()) {
        Ok(kind) if kind.is_file() => "a file",
        Ok(kind) if kind.is_dir() => "a directory",
        Ok(kind) if kind.is_fifo() => "a pipe",
        Ok(kind) if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "no socket",
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixListener;

    use rustix::event::{EventfdFlags, eventfd};
    use rustix::io::fcntl_getfd;

    use super::*;

    #[test]
    fn only_a_listening_tcp_socket_is_listened_on_and_what_else_it_is_is_said() {
        let listener = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let folder = tempfile::tempdir().expect("a folder");
        let unix = UnixListener::bind(folder.path().join("socket")).expect("a socket");
        let fresh = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
        let here = listener();
        let connected = TcpStream::connect(here.local_addr().expect("an address"));
        let cases: Vec<(OwnedFd, &str)> = vec![
            (UdpSocket::bind("127.0.0.1:0").expect("a port").into(), "a datagram socket"),
            (unix.into(), "a Unix socket"),
            (File::open("/proc/self/status").expect("a file").into(), "a file"),
            (File::open("/").expect("a directory").into(), "a directory"),
            (File::open("/dev/null").expect("a device").into(), "a device"),
            (io::pipe().expect("a pipe").0.into(), "a pipe"),
            (eventfd(0, EventfdFlags::empty()).expect("one"), "no socket"),
            (connected.expect("it listens").into(), "a connected TCP socket"),
            (fresh.expect("a socket"), "a TCP socket that neither listens nor is connected"),
        ];
        for (descriptor, is) in cases {
            let error = take_listener(&descriptor).expect_err(is).to_string();
            assert_eq!(error, format!("it is {is}, not a listening TCP socket"));
        }
        let given = OwnedFd::from(listener());
        fcntl_setfd(&given, FdFlags::empty()).expect("it is open");
        assert!(take_listener(&given).is_ok());
        assert_eq!(fcntl_getfd(&given), Ok(FdFlags::CLOEXEC));
    }
}
