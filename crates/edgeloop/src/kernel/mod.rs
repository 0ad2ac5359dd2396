//! Everything that the loop asks of the kernel, as one narrow trait with a type parameter.
//!
//! The loop is compiled once for each implementation, so the trait costs nothing. Errors are
//! bare error numbers, addresses the standard library's. Nothing here decides anything: a call is
//! tried once, and what its error means is the business of the layers above, where a simulated
//! kernel can show it.

pub(crate) mod given;
mod linux;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;

use crate::epoll::{Batch, Interest, Token};
use crate::place::MemoryLimit;
use crate::time::Time;

pub use linux::Linux;

/// The token of the alarm in the set. Connections have generations from 1 on, so 0 is free.
pub(crate) const ALARM: Token = Token(0);
/// The token of the waker.
pub(crate) const WAKER: Token = Token(1);
/// The token of what the loop's user has it watch.
pub(crate) const WATCHED: Token = Token(2);
/// The token of the first listener; the others follow.
pub(crate) const LISTENERS: Token = Token(3);

/// A kernel: the real one, or a simulated one. It holds one epoll set, in which its alarm and its
/// waker are registered from the start.
///
/// Every socket it makes is non-blocking and close-on-exec from birth (C20). A socket is
/// deregistered by being closed: none is ever duplicated (C18).
///
/// This trait is sealed.
pub trait Kernel: crate::sealed::Sealed {
    /// An open socket. It is closed when it is dropped.
    type Socket;
    /// A pipe. It is closed when it is dropped.
    type Pipe;
    /// What other threads wake the loop with.
    type Waker: Wake;

    /// The monotonic clock.
    fn now(&mut self) -> Time;

    /// epoll_wait(2), with no timeout if `block`, else with a timeout of zero.
    fn wait(&mut self, events: &mut Batch, block: bool) -> Result<(), Errno>;

    /// The same with a timeout that is not zero. It may return earlier, if that is very long.
    fn wait_for(&mut self, events: &mut Batch, timeout: Duration) -> Result<(), Errno>;

    /// Lets this thread sleep for so long: what is left when a wait does not wait.
    fn pause(&mut self, time: Duration);

    /// Registers a socket, edge-triggered (`EPOLL_CTL_ADD`).
    fn register(
        &mut self,
        socket: &Self::Socket,
        token: Token,
        interest: Interest,
    ) -> Result<(), Errno>;

    /// Takes a registered socket out of the set (`EPOLL_CTL_DEL`). Only one that others may hold
    /// open as well needs that: closing the last descriptor does it, too.
    fn deregister(&mut self, socket: &Self::Socket) -> Result<(), Errno>;

    /// Makes the alarm ring once at the time given, and not earlier (timerfd_settime(2)).
    fn set_alarm(&mut self, at: Time) -> Result<(), Errno>;

    /// Another handle on the waker.
    fn waker(&self) -> Self::Waker;

    /// Resets the waker (a read of the eventfd).
    fn clear_waker(&mut self) -> Result<(), Errno>;

    /// socket(2), of the address's family.
    fn socket(&mut self, family: SocketAddr) -> Result<Self::Socket, Errno>;

    /// setsockopt(2).
    fn set_option(&mut self, socket: &Self::Socket, option: SocketOption) -> Result<(), Errno>;

    /// Makes a socket that others have made non-blocking and close-on-exec, like our own.
    fn take_over(&mut self, socket: OwnedFd) -> Result<Self::Socket, Errno>;

    /// bind(2).
    fn bind(&mut self, socket: &Self::Socket, address: SocketAddr) -> Result<(), Errno>;

    /// listen(2).
    fn listen(&mut self, socket: &Self::Socket, backlog: u32) -> Result<(), Errno>;

    /// getsockname(2).
    fn local_address(&mut self, socket: &Self::Socket) -> Result<SocketAddr, Errno>;

    /// getpeername(2).
    fn peer_address(&mut self, socket: &Self::Socket) -> Result<SocketAddr, Errno>;

    /// connect(2); `EINPROGRESS` is the usual answer.
    fn connect(&mut self, socket: &Self::Socket, address: SocketAddr) -> Result<(), Errno>;

    /// The socket's pending error, which this resets (`SO_ERROR`).
    fn take_error(&mut self, socket: &Self::Socket) -> Result<Option<Errno>, Errno>;

    /// accept4(2).
    fn accept(&mut self, listener: &Self::Socket) -> Result<(Self::Socket, SocketAddr), Errno>;

    /// recv(2). Zero is the end of the stream, so `buffer` must not be empty.
    fn recv(&mut self, socket: &Self::Socket, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// send(2), with `MSG_NOSIGNAL` (C8).
    fn send(&mut self, socket: &Self::Socket, bytes: &[u8]) -> Result<usize, Errno>;

    /// pipe2(2), non-blocking and close-on-exec from birth (C20). Fails with `EPERM` where writing
    /// to a connection that is gone through a pipe would raise a signal that isn't ignored:
    /// splice(2) has no `MSG_NOSIGNAL` (C8). Fails with another error where that can't be told now.
    fn pipe(&mut self) -> Result<Self::Pipe, Errno>;

    /// splice(2) from a socket into an empty pipe, of up to `most` bytes. Neither 0 nor `EAGAIN`
    /// says that the socket is empty or at its end.
    fn splice_in(
        &mut self,
        socket: &Self::Socket,
        pipe: &Self::Pipe,
        most: usize,
    ) -> Result<usize, Errno>;

    /// splice(2) of `count` bytes, which must be in the pipe, to a socket.
    fn splice_out(
        &mut self,
        pipe: &Self::Pipe,
        socket: &Self::Socket,
        count: usize,
    ) -> Result<usize, Errno>;

    /// close(2) of both its ends, whatever is in it.
    fn close_pipe(&mut self, pipe: Self::Pipe);

    /// shutdown(2) of the write side: our FIN.
    fn shutdown_write(&mut self, socket: &Self::Socket) -> Result<(), Errno>;

    /// close(2). Whatever it answers, the descriptor is gone.
    fn close(&mut self, socket: Self::Socket);

    /// The descriptor's number, for people to read.
    fn descriptor(&self, socket: &Self::Socket) -> i32;

    /// How many more descriptors this process may open, as far as can be told.
    fn spare_descriptors(&self) -> usize;

    /// How much memory the place allows, if that can be told.
    fn memory_limit(&self) -> Option<MemoryLimit> {
        None
    }

    /// Whether the system refuses the memory that is asked for next. The real one says so when it
    /// is asked; a simulated one has no other way.
    fn refuses_memory(&mut self) -> bool {
        false
    }

    /// The longest backlog that the kernel grants, if it can be told (`net.core.somaxconn`).
    fn longest_backlog(&self) -> Option<u32>;
}

/// How often a call is made before its interruption by a signal is taken for an answer. None but
/// the wait blocks, so that a signal hardly ever meets one, and never so many in a row.
const TRIES: usize = 64;

/// Makes a call, and again where a signal interrupts it, but not for ever (C22).
pub(crate) fn persist<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 1..TRIES {
        match call() {
            Err(Errno::INTR) => {}
            answer => return answer,
        }
    }
    call()
}

/// Wakes a loop from another thread.
pub trait Wake: Clone + Send + Sync + 'static {
    /// Makes the loop's wait return; returns whether it will. A waker that is already full counts
    /// as signalled (C33).
    fn wake(&self) -> bool;
}

impl SocketOption {
    /// The call that sets it.
    pub(crate) const fn call(self) -> &'static str {
        match self {
            Self::ReuseAddress => "setsockopt(SO_REUSEADDR)",
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

/// The socket options that the loop sets, all before any data flows or right before the close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketOption {
    /// `SO_REUSEADDR` (C26).
    ReuseAddress,
    /// `IPV6_V6ONLY`, set either way, never left to the distribution (C26).
    Ipv6Only(bool),
    /// `TCP_NODELAY`; a listener passes it on to what it accepts.
    NoDelay,
    /// `SO_OOBINLINE`; a listener passes it on to what it accepts (C1).
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
