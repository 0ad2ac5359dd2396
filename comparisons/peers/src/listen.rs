//! What every server here begins with: a listener, and the line that says where it is.

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A non-blocking listener on a free port of the loopback. What it accepts inherits TCP_NODELAY
/// from it, which saves a system call for each connection.
pub(crate) fn listener() -> io::Result<TcpListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Says that the server is ready, and where.
pub(crate) fn announce(listener: &TcpListener) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on {}", listener.local_addr()?)?;
    out.flush()
}
