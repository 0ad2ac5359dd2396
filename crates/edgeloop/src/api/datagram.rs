//! Datagrams: what a handler is shown of one, and what becomes of one that it sends.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

/// The most bytes of a datagram over IPv4: an IP packet has 65,535, of which the headers take 28
/// (udp(7)). Over IPv6 it's 20 more.
pub const MAX_DATAGRAM: usize = 65_507;

/// Names a datagram socket of one loop. A name is not used again before all others were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatagramSocket(pub(crate) u32);

impl DatagramSocket {
    pub(crate) const FIRST: Self = Self(0);
    /// No socket has a number above this.
    pub(crate) const LAST: u32 = (1 << 21) - 1;

    /// The name behind this one; behind the last comes the first.
    #[must_use]
    pub(crate) const fn next(self) -> Self {
        if self.0 < Self::LAST { Self(self.0 + 1) } else { Self::FIRST }
    }
}

impl fmt::Display for DatagramSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "datagram socket {}", self.0)
    }
}

/// A datagram that has arrived, whole.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Datagram<'a> {
    /// The socket that it has arrived at.
    pub socket: DatagramSocket,
    /// The address that it says to come from. Anybody may send with the address of somebody else.
    pub from: SocketAddr,
    /// The address that it was sent to: one of this machine's, or one of many machines (multicast,
    /// broadcast).
    pub to: IpAddr,
    /// The address of this machine that a [`reply`](crate::LoopContext::reply) leaves from: the
    /// same, unless it was sent to many. `None` leaves the choice to the kernel.
    pub local: Option<IpAddr>,
    /// What it says: 0 to 65,507 bytes (65,527 over IPv6).
    pub bytes: &'a [u8],
}

/// What has become of a datagram that was to be sent. None of these is an error of the socket: the
/// next datagram may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a datagram that is not sent is lost"]
pub enum SentDatagram {
    /// The kernel has taken it. It may still be lost on its way, and nobody will say so.
    Sent,
    /// There was no room for it in the send buffer, or no memory; it's lost, and counted in
    /// [`Metrics::datagrams_dropped`](crate::Metrics::datagrams_dropped).
    Dropped,
    /// The kernel does not send it, for this error number: it's too long (`EMSGSIZE`), or there's
    /// no way to the address (`ENETUNREACH`), or it's not allowed (`EACCES` for broadcast, `EPERM`
    /// of a firewall), or was sent to port 0 (`EINVAL`). It's counted in
    /// [`Metrics::datagrams_refused`](crate::Metrics::datagrams_refused).
    Refused(i32),
    /// The socket is closed.
    Gone,
}

impl SentDatagram {
    /// Whether the kernel has taken it.
    #[must_use]
    pub const fn is_sent(self) -> bool {
        matches!(self, Self::Sent)
    }

    /// The system's error, if the kernel has refused it.
    #[must_use]
    pub fn error(self) -> Option<io::Error> {
        match self {
            Self::Refused(errno) => Some(io::Error::from_raw_os_error(errno)),
            Self::Sent | Self::Dropped | Self::Gone => None,
        }
    }

    /// What an answer of sendmsg(2) means.
    pub(crate) const fn of(answer: Result<(), Errno>) -> Self {
        match answer {
            Ok(()) => Self::Sent,
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM | Errno::INTR) => Self::Dropped,
            Err(error) => Self::Refused(error.raw_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_the_kernel_is_sent_dropped_or_refused() {
        for error in [Errno::AGAIN, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(SentDatagram::of(Err(error)), SentDatagram::Dropped);
        }
        assert_eq!(SentDatagram::of(Ok(())), SentDatagram::Sent);
        let refused = SentDatagram::of(Err(Errno::MSGSIZE));
        let error = refused.error().expect("one").to_string();
        assert_eq!(error, "Message too long (os error 90)");
        assert!(!refused.is_sent() && SentDatagram::Gone.error().is_none());
    }
}
