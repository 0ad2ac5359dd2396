//! What every server here begins with: a listener or a socket for datagrams, and the line that says
//! where it is.

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with, sockopt,
};
use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// A non-blocking listener on a free port of the loopback. What it accepts inherits TCP_NODELAY
/// from it, which saves a system call for each connection.
pub(crate) fn listener() -> io::Result<TcpListener> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, FLAGS, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Says that the server is ready, and where.
pub(crate) fn announce(listener: &TcpListener) -> io::Result<()> {
    say(listener.local_addr()?)
}

/// A non-blocking listener on a Unix socket. Says that the server is ready, and where.
pub(crate) fn listen_on(path: &Path) -> io::Result<UnixListener> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, BACKLOG)?;
    say(format_args!("unix:{}", path.display()))?;
    Ok(socket.into())
}

/// A non-blocking socket for datagrams on a free port of the loopback. Says that the server is
/// ready, and where.
pub(crate) fn datagrams() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    say(format_args!("udp://{}", socket.local_addr()?))?;
    Ok(socket)
}

fn say(address: impl fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on {address}")?;
    out.flush()
}
