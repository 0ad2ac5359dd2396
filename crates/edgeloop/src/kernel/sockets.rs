//! Sockets, and what can be done to one.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;

use crate::api::address::{Address, Credentials};

/// The sockets of a kernel.
///
/// Every socket it makes is non-blocking and close-on-exec from birth (C20). A socket is
/// deregistered by being closed: none is ever duplicated (C18).
pub trait Sockets {
    /// An open socket. It is closed when it is dropped.
    type Socket;

    /// socket(2): a stream socket of the address's family.
    fn socket(&mut self, family: &Address) -> Result<Self::Socket, Errno>;

    /// setsockopt(2).
    fn set_option(&mut self, socket: &Self::Socket, option: SocketOption) -> Result<(), Errno>;

    /// Makes a socket that others have made non-blocking and close-on-exec, like our own.
    fn take_over(&mut self, socket: OwnedFd) -> Result<Self::Socket, Errno>;

    /// A connected socket, to be given to another loop. It comes back where that can't be done.
    fn give_away(&mut self, socket: Self::Socket) -> Result<OwnedFd, Self::Socket>;

    /// Takes what the [`give_away`](Self::give_away) of another loop has given.
    fn receive(&mut self, socket: OwnedFd) -> Result<Self::Socket, Errno>;

    /// bind(2).
    fn bind(&mut self, socket: &Self::Socket, address: &Address) -> Result<(), Errno>;

    /// listen(2).
    fn listen(&mut self, socket: &Self::Socket, backlog: u32) -> Result<(), Errno>;

    /// getsockname(2).
    fn local_address(&mut self, socket: &Self::Socket) -> Result<Address, Errno>;

    /// getpeername(2).
    fn peer_address(&mut self, socket: &Self::Socket) -> Result<Address, Errno>;

    /// connect(2). `EINPROGRESS` is the usual answer of TCP. A Unix socket is connected at once, or
    /// not: `EAGAIN` says that the listener's backlog is full, and no event tells when it isn't.
    fn connect(&mut self, socket: &Self::Socket, address: &Address) -> Result<(), Errno>;

    /// The socket's pending error, which this resets (`SO_ERROR`).
    fn take_error(&mut self, socket: &Self::Socket) -> Result<Option<Errno>, Errno>;

    /// accept4(2).
    fn accept(&mut self, listener: &Self::Socket) -> Result<(Self::Socket, Address), Errno>;

    /// recv(2). Zero is the end of the stream, so `buffer` must not be empty.
    fn recv(&mut self, socket: &Self::Socket, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// recvmsg(2) without room for control data, for Unix sockets. Returns the bytes, and whether
    /// control data was cut off (`MSG_CTRUNC`): a receive ends behind a message that came with
    /// descriptors, so that more may wait though the buffer is not full (unix(7); the kernel closes
    /// the descriptors).
    fn recv_message(
        &mut self,
        socket: &Self::Socket,
        buffer: &mut [u8],
    ) -> Result<(usize, bool), Errno>;

    /// Who has connected a Unix socket (`SO_PEERCRED`).
    fn credentials(&mut self, socket: &Self::Socket) -> Result<Credentials, Errno>;

    /// send(2), with `MSG_NOSIGNAL` (C8).
    fn send(&mut self, socket: &Self::Socket, bytes: &[u8]) -> Result<usize, Errno>;

    /// sendmsg(2) of several pieces, with `MSG_NOSIGNAL` (C8). There are at most 1,024 of them.
    fn send_vectored(
        &mut self,
        socket: &Self::Socket,
        pieces: &[IoSlice<'_>],
    ) -> Result<usize, Errno>;

    /// shutdown(2) of the write side: our FIN.
    fn shutdown_write(&mut self, socket: &Self::Socket) -> Result<(), Errno>;

    /// close(2). Whatever it answers, the descriptor is gone.
    fn close(&mut self, socket: Self::Socket);

    /// The descriptor's number, for people to read.
    fn descriptor(&self, socket: &Self::Socket) -> i32;
}

/// The socket options that the loop sets, all before any data flows or right before the close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketOption {
    /// `SO_REUSEADDR` (C26).
    ReuseAddress,
    /// `SO_REUSEPORT`, for the listeners of a group's loops.
    ReusePort,
    /// `IPV6_V6ONLY`, set either way, never left to the distribution (C26).
    Ipv6Only(bool),
    /// `TCP_NODELAY`; a listener passes it on to what it accepts.
    NoDelay,
    /// `SO_OOBINLINE`; a listener of TCP passes it on to what it accepts (C1).
    UrgentInline,
    /// `SO_LINGER {1, 0}`: the close sends an RST and leaves nothing in the kernel (C3).
    ResetOnClose,
    /// `SO_KEEPALIVE`; a listener passes this and those below on to what it accepts (C43).
    Keepalive,
    /// `TCP_KEEPIDLE`, in whole seconds.
    KeepaliveIdle(Duration),
    /// `TCP_KEEPINTVL`, in whole seconds.
    KeepaliveInterval(Duration),
    /// `TCP_KEEPCNT`.
    KeepaliveCount(u32),
    /// `TCP_USER_TIMEOUT`, in milliseconds.
    UserTimeout(u32),
    /// `SO_SNDBUF`, which the kernel doubles.
    SendBuffer(usize),
}

impl SocketOption {
    /// The call that sets it.
    pub(crate) const fn call(self) -> &'static str {
        match self {
            Self::ReuseAddress => "setsockopt(SO_REUSEADDR)",
            Self::ReusePort => "setsockopt(SO_REUSEPORT)",
            Self::Ipv6Only(_) => "setsockopt(IPV6_V6ONLY)",
            Self::NoDelay => "setsockopt(TCP_NODELAY)",
            Self::UrgentInline => "setsockopt(SO_OOBINLINE)",
            Self::ResetOnClose => "setsockopt(SO_LINGER)",
            Self::Keepalive => "setsockopt(SO_KEEPALIVE)",
            Self::KeepaliveIdle(_) => "setsockopt(TCP_KEEPIDLE)",
            Self::KeepaliveInterval(_) => "setsockopt(TCP_KEEPINTVL)",
            Self::KeepaliveCount(_) => "setsockopt(TCP_KEEPCNT)",
            Self::UserTimeout(_) => "setsockopt(TCP_USER_TIMEOUT)",
            Self::SendBuffer(_) => "setsockopt(SO_SNDBUF)",
        }
    }
}
