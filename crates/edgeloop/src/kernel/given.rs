//! Descriptors that the loop is given: what they are, and what they must be to be served.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_protocol, socket_type};
use rustix::net::{AddressFamily, SocketType, getpeername, getsockname, ipproto};

/// What a descriptor stands for, for people to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    Listener,
    Stream,
    #[cfg(feature = "udp")]
    Datagrams,
    Other(&'static str),
}

/// Looks whether a descriptor may be listened on.
///
/// # Errors
///
/// When it's no listening TCP or Unix socket. The error says what it is.
pub(crate) fn expect_listener(descriptor: &OwnedFd) -> io::Result<()> {
    expect(descriptor, Nature::Listener)
}

/// Looks whether a descriptor may be served as a connection. One that the peer has reset, or that
/// both have ended, may: what has come on it is still to be read (C7).
///
/// # Errors
///
/// When it's no connected TCP or Unix socket. The error says what it is.
pub(crate) fn expect_stream(descriptor: &OwnedFd) -> io::Result<()> {
    expect(descriptor, Nature::Stream)
}

/// Looks whether datagrams can be received on a descriptor.
///
/// # Errors
///
/// When it's no bound UDP socket. The error says what it is.
#[cfg(feature = "udp")]
pub(crate) fn expect_datagrams(descriptor: &OwnedFd) -> io::Result<()> {
    expect(descriptor, Nature::Datagrams)
}

fn expect(descriptor: &OwnedFd, wanted: Nature) -> io::Result<()> {
    let is = nature_of(descriptor)?;
    if is == wanted {
        return Ok(());
    }
    let what = format!("it is {}, not {}", is.name(), wanted.name());
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

impl Nature {
    const fn name(self) -> &'static str {
        match self {
            Self::Listener => "a listening TCP or Unix socket",
            Self::Stream => "a connected TCP or Unix socket",
            #[cfg(feature = "udp")]
            Self::Datagrams => "a bound UDP socket",
            Self::Other(name) => name,
        }
    }
}

/// How a descriptor is called in an error.
pub(crate) fn name_of(descriptor: &OwnedFd) -> String {
    format!("descriptor {}", descriptor.as_raw_fd())
}

fn nature_of(descriptor: &OwnedFd) -> Result<Nature, Errno> {
    match socket_type(descriptor) {
        Ok(SocketType::STREAM) => {}
        Ok(SocketType::DGRAM) => return nature_of_datagrams(descriptor),
        Ok(_) => return Ok(Nature::Other("a socket that is no stream")),
        Err(Errno::NOTSOCK) => return Ok(Nature::Other(file_type_of(descriptor))),
        Err(error) => return Err(error),
    }
    match socket_domain(descriptor)? {
        AddressFamily::UNIX => {}
        // Multipath TCP takes the same calls and options (mptcp in Documentation/networking).
        AddressFamily::INET | AddressFamily::INET6 => {
            if !matches!(socket_protocol(descriptor)?, Some(ipproto::TCP | ipproto::MPTCP)) {
                return Ok(Nature::Other("a stream socket of another protocol than TCP"));
            }
        }
        _ => return Ok(Nature::Other("a socket that is not of IPv4, IPv6 or Unix")),
    }
    if socket_acceptconn(descriptor)? {
        return Ok(Nature::Listener);
    }
    if getpeername(descriptor).is_ok() || has_been_connected(descriptor)? {
        return Ok(Nature::Stream);
    }
    Ok(Nature::Other("a socket that neither listens nor is connected"))
}

fn nature_of_datagrams(descriptor: &OwnedFd) -> Result<Nature, Errno> {
    if socket_domain(descriptor)? == AddressFamily::UNIX {
        return Ok(Nature::Other("a Unix datagram socket"));
    }
    if socket_protocol(descriptor)? != Some(ipproto::UDP) {
        return Ok(Nature::Other("a datagram socket of another protocol than UDP"));
    }
    let bound = getsockname(descriptor).and_then(SocketAddr::try_from)?;
    if bound.port() == 0 {
        return Ok(Nature::Other("a UDP socket that is not bound"));
    }
    #[cfg(feature = "udp")]
    return Ok(Nature::Datagrams);
    #[cfg(not(feature = "udp"))]
    Ok(Nature::Other("a bound UDP socket"))
}

/// Whether a socket without a peer has had one. An end or an error shows that; poll(2) takes
/// neither away (tcp_poll in net/ipv4/tcp.c, Linux 6.18). A Unix socket whose peer is gone still
/// knows it (unix_getname in net/unix/af_unix.c).
fn has_been_connected(descriptor: &OwnedFd) -> Result<bool, Errno> {
    let mut asked = [PollFd::new(descriptor, PollFlags::RDHUP)];
    poll(&mut asked, Some(&Timespec::default()))?;
    Ok(asked[0].revents().intersects(PollFlags::RDHUP | PollFlags::ERR))
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
    use std::io::Write as _;
    use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
    use std::time::{Duration, Instant};

    use super::*;
    use rustix::event::{EventfdFlags, eventfd};
    use rustix::net::sockopt;

    #[test]
    fn only_a_listening_socket_is_listened_on_and_what_else_it_is_is_said() {
        let listener = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let folder = tempfile::tempdir().expect("a folder");
        let unix = UnixListener::bind(folder.path().join("socket")).expect("a socket");
        let fresh = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
        let alone = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None);
        let unbound = rustix::net::socket(AddressFamily::INET6, SocketType::DGRAM, None);
        let pair = UnixStream::pair().expect("a pair");
        let here = listener();
        let connected = TcpStream::connect(here.local_addr().expect("an address"));
        let cases: Vec<(OwnedFd, &str)> = vec![
            (UdpSocket::bind("127.0.0.1:0").expect("a port").into(), "a bound UDP socket"),
            (UnixDatagram::unbound().expect("one").into(), "a Unix datagram socket"),
            (unbound.expect("a socket"), "a UDP socket that is not bound"),
            (pair.0.into(), "a connected TCP or Unix socket"),
            (alone.expect("a socket"), "a socket that neither listens nor is connected"),
            (File::open("/proc/self/status").expect("a file").into(), "a file"),
            (File::open("/").expect("a directory").into(), "a directory"),
            (File::open("/dev/null").expect("a device").into(), "a device"),
            (io::pipe().expect("a pipe").0.into(), "a pipe"),
            (eventfd(0, EventfdFlags::empty()).expect("one"), "no socket"),
            (connected.expect("it listens").into(), "a connected TCP or Unix socket"),
            (fresh.expect("a socket"), "a socket that neither listens nor is connected"),
        ];
        for (descriptor, is) in cases {
            let error = expect_listener(&descriptor).expect_err(is).to_string();
            assert_eq!(error, format!("it is {is}, not a listening TCP or Unix socket"));
        }
        assert!(expect_listener(&listener().into()).is_ok());
        let error = expect_stream(&listener().into()).expect_err("no stream").to_string();
        let expected = "it is a listening TCP or Unix socket, not a connected TCP or Unix socket";
        assert_eq!(error, expected);
        assert!(expect_listener(&unix.into()).is_ok());
    }

    #[test]
    fn c07_a_stream_that_has_ended_or_failed_is_a_stream_and_one_that_never_began_is_none() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        for resets in [false, true] {
            let (mut peer, stream) = (TcpStream::connect(address), listener.accept());
            let (peer, stream) = (peer.as_mut().expect("it listens"), stream.expect("one").0);
            peer.write_all(b"data").expect("room");
            if resets {
                sockopt::set_socket_linger(&*peer, Some(Duration::ZERO)).expect("it is open");
            } else {
                stream.shutdown(Shutdown::Write).expect("it is open");
            }
            drop(std::mem::replace(peer, TcpStream::connect(address).expect("it listens")));
            drop(listener.accept());
            let stream = OwnedFd::from(stream);
            let gone = || has_been_connected(&stream).expect("it is open");
            let deadline = Instant::now() + Duration::from_secs(10);
            while !gone() && Instant::now() < deadline {
                std::thread::yield_now();
            }
            assert!(gone(), "resets: {resets}");
            assert!(expect_stream(&stream).is_ok(), "resets: {resets}");
        }
    }
}
