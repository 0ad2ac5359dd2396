//! How calls can fail: only as a real kernel may let them.

use std::fmt;

use rustix::io::Errno;

/// A system call of the loop that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    Wait,
    Accept,
    Register,
    Receive,
    Send,
    Pipe,
    SpliceIn,
    SpliceOut,
    Shutdown,
    SetAlarm,
    ClearWaker,
    Socket,
    SetOption,
    Bind,
    Listen,
    LocalAddress,
    PeerAddress,
    Connect,
    /// connect(2) of a Unix socket.
    ConnectUnix,
    /// lstat(2), unlink(2), the calls that give a file its owner and mode, and flock(2): of the
    /// files of Unix sockets.
    Stat,
    Unlink,
    SetAccess,
    Lock,
    /// Not a call, but what becomes of a connect that is under way; `SO_ERROR` tells it.
    Handshake,
    /// The memory for queued output, kept input or more connections. It is no call of the kernel's
    /// trait, but mmap(2) or the allocator's.
    Memory,
    /// recvmsg(2) and sendmsg(2) of datagrams.
    ReceiveDatagram,
    SendDatagram,
}

impl Call {
    pub const ALL: [Self; 27] = [
        Self::Wait,
        Self::Accept,
        Self::Register,
        Self::Receive,
        Self::Send,
        Self::Pipe,
        Self::SpliceIn,
        Self::SpliceOut,
        Self::Shutdown,
        Self::SetAlarm,
        Self::ClearWaker,
        Self::Socket,
        Self::SetOption,
        Self::Bind,
        Self::Listen,
        Self::LocalAddress,
        Self::PeerAddress,
        Self::Connect,
        Self::ConnectUnix,
        Self::Stat,
        Self::Unlink,
        Self::SetAccess,
        Self::Lock,
        Self::Handshake,
        Self::Memory,
        Self::ReceiveDatagram,
        Self::SendDatagram,
    ];

    /// Its name in section 2 of the manual.
    const fn name(self) -> &'static str {
        match self {
            Self::Wait => "epoll_wait",
            Self::Accept => "accept4",
            Self::Register => "epoll_ctl",
            Self::Receive => "recv",
            Self::Send => "send",
            Self::Pipe => "pipe2",
            Self::SpliceIn => "splice from a socket",
            Self::SpliceOut => "splice to a socket",
            Self::Shutdown => "shutdown",
            Self::SetAlarm => "timerfd_settime",
            Self::ClearWaker => "read",
            Self::Socket => "socket",
            Self::SetOption => "setsockopt",
            Self::Bind => "bind",
            Self::Listen => "listen",
            Self::LocalAddress => "getsockname",
            Self::PeerAddress => "getpeername",
            Self::Connect => "connect",
            Self::ConnectUnix => "connect of a Unix socket",
            Self::Stat => "lstat",
            Self::Unlink => "unlink",
            Self::SetAccess => "fchownat or fchmodat",
            Self::Lock => "flock",
            Self::Handshake => "the handshake of connect",
            Self::Memory => "mmap",
            Self::ReceiveDatagram => "recvmsg of a datagram",
            Self::SendDatagram => "sendmsg of a datagram",
        }
    }

    /// With what it can fail, by its man page, while the socket is as it should be.
    pub(crate) const fn errors(self) -> &'static [Errno] {
        match self {
            Self::Wait => &[Errno::INTR, Errno::BADF, Errno::INVAL],
            Self::SetAlarm => &[Errno::INTR, Errno::INVAL],
            Self::ClearWaker => &[Errno::INTR],
            Self::Accept => &ACCEPT,
            Self::Register => &[Errno::NOMEM, Errno::NOSPC],
            Self::Receive => &RECEIVE,
            Self::Send | Self::SpliceOut => &SEND,
            Self::Pipe => &[Errno::MFILE, Errno::NFILE, Errno::NOMEM],
            Self::SpliceIn => &SPLICE_IN,
            Self::Shutdown => &[Errno::INTR, Errno::NOTCONN, Errno::NOBUFS],
            Self::Socket => &SOCKET,
            Self::SetOption => &[Errno::NOBUFS, Errno::NOMEM],
            Self::Bind => &[Errno::ACCESS, Errno::ADDRINUSE, Errno::ADDRNOTAVAIL],
            Self::Listen => &[Errno::ADDRINUSE],
            Self::LocalAddress | Self::PeerAddress => &[Errno::NOBUFS],
            Self::Connect => &CONNECT,
            Self::ConnectUnix => &CONNECT_UNIX,
            Self::Stat => &[Errno::ACCESS, Errno::NOMEM],
            Self::Unlink => &[Errno::ACCESS, Errno::BUSY, Errno::ROFS],
            Self::SetAccess => &[Errno::PERM, Errno::NOENT, Errno::STALE],
            Self::Lock => &[Errno::INTR, Errno::AGAIN, Errno::ACCESS, Errno::NOLCK],
            Self::Handshake => &HANDSHAKE,
            Self::Memory => &[Errno::NOMEM],
            Self::ReceiveDatagram => &RECEIVE_DATAGRAM,
            Self::SendDatagram => &SEND_DATAGRAM,
        }
    }

    /// Whether it moves bytes of a connection.
    pub(crate) const fn transfers(self) -> bool {
        matches!(self, Self::Receive | Self::Send | Self::SpliceIn | Self::SpliceOut)
    }

    /// Whether it may take a part of what it could, or find nothing just before something comes.
    pub(crate) const fn can_be_cut(self) -> bool {
        self.transfers() || matches!(self, Self::ReceiveDatagram)
    }

    /// What can become of this call: each of its errors, an early EAGAIN, and a single byte.
    pub fn fates(self) -> Vec<Fate> {
        let mut fates: Vec<Fate> = self.errors().iter().copied().map(Fate::Fails).collect();
        if self.can_be_cut() {
            fates.push(Fate::Late);
        }
        if self.transfers() {
            fates.push(Fate::Short(1));
        }
        fates
    }
}

/// What an error means for whoever made the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A signal came.
    Interrupted,
    /// There is no memory for it, or no descriptor.
    Exhausted,
    /// It is the end of the connection, or of one that was never made.
    Broken,
    /// The call was made on what it can't be made on: nothing can be done about it (C22).
    Fatal,
}

/// accept4(2); "already-pending network errors on the new socket" are those from ENETDOWN on.
const ACCEPT: [Errno; 19] = [
    Errno::INTR,
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOBUFS,
    Errno::NOMEM,
    Errno::CONNABORTED,
    Errno::PERM,
    Errno::PROTO,
    Errno::NETDOWN,
    Errno::NOPROTOOPT,
    Errno::HOSTDOWN,
    Errno::NONET,
    Errno::HOSTUNREACH,
    Errno::OPNOTSUPP,
    Errno::NETUNREACH,
    Errno::BADF,
    Errno::INVAL,
    Errno::NOTSOCK,
    Errno::FAULT,
];

/// recv(2), and the errors of tcp(7) and ip(7) that any call may pass on.
const RECEIVE: [Errno; 7] = [
    Errno::INTR,
    Errno::NOBUFS,
    Errno::NOMEM,
    Errno::CONNRESET,
    Errno::TIMEDOUT,
    Errno::HOSTUNREACH,
    Errno::NETUNREACH,
];

/// send(2), and the same of tcp(7) and ip(7).
const SEND: [Errno; 8] = [
    Errno::INTR,
    Errno::NOBUFS,
    Errno::NOMEM,
    Errno::PIPE,
    Errno::CONNRESET,
    Errno::TIMEDOUT,
    Errno::HOSTUNREACH,
    Errno::NETUNREACH,
];

/// splice(2), where a seccomp filter may forbid it, and the same of tcp(7) and ip(7).
const SPLICE_IN: [Errno; 8] = [
    Errno::INTR,
    Errno::NOMEM,
    Errno::INVAL,
    Errno::PERM,
    Errno::CONNRESET,
    Errno::TIMEDOUT,
    Errno::HOSTUNREACH,
    Errno::NETUNREACH,
];

/// socket(2).
const SOCKET: [Errno; 6] =
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ACCESS, Errno::AFNOSUPPORT];

/// connect(2), where it answers at once. EAGAIN says that no local port is free.
const CONNECT: [Errno; 10] = [
    Errno::INTR,
    Errno::NOBUFS,
    Errno::ACCESS,
    Errno::PERM,
    Errno::ADDRINUSE,
    Errno::ADDRNOTAVAIL,
    Errno::AGAIN,
    Errno::CONNREFUSED,
    Errno::NETUNREACH,
    Errno::TIMEDOUT,
];

/// connect(2) of a Unix socket. EAGAIN says that the listener's backlog is full.
const CONNECT_UNIX: [Errno; 9] = [
    Errno::INTR,
    Errno::AGAIN,
    Errno::NOMEM,
    Errno::NFILE,
    Errno::ACCESS,
    Errno::PERM,
    Errno::CONNREFUSED,
    Errno::NOENT,
    Errno::PROTOTYPE,
];

/// connect(2), where the answer comes later.
const HANDSHAKE: [Errno; 5] =
    [Errno::CONNREFUSED, Errno::CONNRESET, Errno::TIMEDOUT, Errno::HOSTUNREACH, Errno::NETUNREACH];

/// recvmsg(2), what udp(7) says of pending errors, and a firewall or a security module that forbids
/// it.
const RECEIVE_DATAGRAM: [Errno; 8] = [
    Errno::NOMEM,
    Errno::NOBUFS,
    Errno::CONNREFUSED,
    Errno::HOSTUNREACH,
    Errno::NETUNREACH,
    Errno::NETDOWN,
    Errno::PERM,
    Errno::ACCESS,
];

/// sendmsg(2), and the same. EAGAIN says that the send buffer is full.
const SEND_DATAGRAM: [Errno; 11] = [
    Errno::AGAIN,
    Errno::NOBUFS,
    Errno::NOMEM,
    Errno::CONNREFUSED,
    Errno::HOSTUNREACH,
    Errno::NETUNREACH,
    Errno::NETDOWN,
    Errno::MSGSIZE,
    Errno::INVAL,
    Errno::PERM,
    Errno::ACCESS,
];

/// What an error means.
pub(crate) const fn meaning(error: Errno) -> Meaning {
    match error {
        Errno::INTR => Meaning::Interrupted,
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::NOSPC => {
            Meaning::Exhausted
        }
        Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::FAULT => Meaning::Fatal,
        _ => Meaning::Broken,
    }
}

/// The names of all errors above.
const NAMES: [(Errno, &str); 37] = [
    (Errno::INTR, "EINTR"),
    (Errno::CONNABORTED, "ECONNABORTED"),
    (Errno::PERM, "EPERM"),
    (Errno::PROTO, "EPROTO"),
    (Errno::NETDOWN, "ENETDOWN"),
    (Errno::NOPROTOOPT, "ENOPROTOOPT"),
    (Errno::HOSTDOWN, "EHOSTDOWN"),
    (Errno::NONET, "ENONET"),
    (Errno::HOSTUNREACH, "EHOSTUNREACH"),
    (Errno::OPNOTSUPP, "EOPNOTSUPP"),
    (Errno::NETUNREACH, "ENETUNREACH"),
    (Errno::MFILE, "EMFILE"),
    (Errno::NFILE, "ENFILE"),
    (Errno::NOBUFS, "ENOBUFS"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::NOSPC, "ENOSPC"),
    (Errno::CONNRESET, "ECONNRESET"),
    (Errno::TIMEDOUT, "ETIMEDOUT"),
    (Errno::PIPE, "EPIPE"),
    (Errno::NOTCONN, "ENOTCONN"),
    (Errno::AGAIN, "EAGAIN"),
    (Errno::BADF, "EBADF"),
    (Errno::INVAL, "EINVAL"),
    (Errno::NOTSOCK, "ENOTSOCK"),
    (Errno::FAULT, "EFAULT"),
    (Errno::ACCESS, "EACCES"),
    (Errno::AFNOSUPPORT, "EAFNOSUPPORT"),
    (Errno::ADDRINUSE, "EADDRINUSE"),
    (Errno::ADDRNOTAVAIL, "EADDRNOTAVAIL"),
    (Errno::CONNREFUSED, "ECONNREFUSED"),
    (Errno::NOENT, "ENOENT"),
    (Errno::PROTOTYPE, "EPROTOTYPE"),
    (Errno::BUSY, "EBUSY"),
    (Errno::ROFS, "EROFS"),
    (Errno::STALE, "ESTALE"),
    (Errno::NOLCK, "ENOLCK"),
    (Errno::MSGSIZE, "EMSGSIZE"),
];

/// An error as the manual writes it.
pub(crate) fn name(error: Errno) -> String {
    let known = NAMES.iter().find(|&&(of, _)| of == error);
    known.map_or_else(|| error.to_string(), |&(_, name)| name.to_owned())
}

/// What becomes of a call that does not go well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It takes no more than so many bytes.
    Short(usize),
    /// The socket says EAGAIN just before it gets ready; an edge follows.
    Late,
    Fails(Errno),
}

/// One call that does not go well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    #[doc(hidden)]
    pub call: Call,
    /// Which of these calls, counted from 1.
    #[doc(hidden)]
    pub nth: u64,
    #[doc(hidden)]
    pub fate: Fate,
}

impl Fault {
    /// Its kind: the call, and what becomes of it.
    #[must_use]
    pub fn kind(&self) -> String {
        let call = self.call.name();
        match self.fate {
            Fate::Short(_) => format!("{call}: cut short"),
            Fate::Late => format!("{call}: EAGAIN, and ready just afterwards"),
            Fate::Fails(error) => format!("{call}: {}", name(error)),
        }
    }

    /// Whether a receive or a send found no memory. A splice from a socket that finds none is
    /// followed by a receive.
    #[doc(hidden)]
    #[must_use]
    pub fn is_want_of_memory(&self) -> bool {
        let transfers = self.call.transfers() && self.call != Call::SpliceIn;
        transfers && matches!(self.fate, Fate::Fails(error) if meaning(error) == Meaning::Exhausted)
    }

    /// Whether the system refused memory, so that reading paused.
    #[doc(hidden)]
    #[must_use]
    pub fn is_refused_memory(&self) -> bool {
        self.call == Call::Memory
    }

    /// Whether a socket option could not be set.
    #[doc(hidden)]
    #[must_use]
    pub fn is_of_an_option(&self) -> bool {
        self.call == Call::SetOption
    }

    /// Whether the loop, or one of its listeners, can't live on.
    #[doc(hidden)]
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        let fatal = matches!(self.fate, Fate::Fails(error) if meaning(error) == Meaning::Fatal);
        // A receive does instead, and a datagram is refused.
        fatal && !matches!(self.call, Call::SpliceIn | Call::SendDatagram)
    }

    /// Whether the connection of the call can live on.
    pub(crate) fn is_passing(&self) -> bool {
        match (self.call, self.fate) {
            (Call::SpliceIn, Fate::Fails(Errno::INVAL | Errno::PERM))
            | (Call::Memory | Call::Lock, Fate::Fails(_))
            | (Call::ConnectUnix, Fate::Fails(Errno::AGAIN | Errno::INTR))
            | (_, Fate::Short(_) | Fate::Late) => true,
            (call, Fate::Fails(error))
                if call.transfers() || matches!(call, Call::Shutdown | Call::Connect) =>
            {
                let meaning = meaning(error);
                meaning == Meaning::Interrupted
                    || (meaning == Meaning::Exhausted && call.transfers())
            }
            (_, Fate::Fails(_)) => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (call, nth) = (self.call.name(), self.nth);
        match self.fate {
            Fate::Short(most) => write!(f, "{call} number {nth} takes {most} bytes"),
            Fate::Late => write!(f, "{call} number {nth} says EAGAIN just before it is ready"),
            Fate::Fails(error) => write!(f, "{call} number {nth} fails with {}", name(error)),
        }
    }
}
