//! The real kernel, through rustix: one method, one system call.

use std::cell::Cell;
use std::fs;
use std::io::{IoSlice, IoSliceMut};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::{
    self, RecvFlags, ReturnFlags, SendFlags, Shutdown, SocketFlags, SocketType, sockopt,
};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use rustix::process::{Resource, getrlimit};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};

use super::clock::Clock;
use super::names::{family_of, from_kernel, peer_from_kernel, to_kernel};
use super::persist::persist;
use super::poll::Poll;
use super::resources::Resources;
use super::sockets::{SocketOption, Sockets};
use super::source::EventSource;
use super::splice::Splice;
use super::wakeable::{Wake, Wakeable};
use crate::api::address::{Address, Credentials};
use crate::api::error::{Error, ErrorKind, Failed, InCall};
use crate::api::place::MemoryLimit;
use crate::api::time::Time;
use crate::epoll::{Batch, Epoll, ExclusiveInterest, Interest, Mode, Trigger};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The Linux that this process runs on.
///
/// The alarm is a timerfd in the epoll set, with an absolute time: it is exact to the nanosecond
/// on every kernel since 2.6.27, a signal does not stretch it (C29), and it costs no system call
/// but when the earliest deadline moves forward. epoll_pwait2 would need Linux 5.11 and a timeout
/// computed for each turn.
#[derive(Debug)]
pub struct Linux {
    epoll: Epoll,
    alarm: OwnedFd,
    waker: Arc<OwnedFd>,
    /// What tells where a datagram was sent to.
    #[cfg(feature = "udp")]
    pub(super) control: Vec<u8>,
}

impl Linux {
    /// Makes the epoll set with its alarm and its waker: three descriptors.
    ///
    /// # Errors
    ///
    /// When the process or the system is out of descriptors or memory.
    pub fn new() -> Result<Self, Error> {
        Self::make()
            .map_err(|failed| Error::of_call(ErrorKind::Setup, "cannot make an event loop", failed))
    }

    fn make() -> Result<Self, Failed> {
        let epoll = Epoll::new().in_call("epoll_create1")?;
        let alarm = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )
        .in_call("timerfd_create")?;
        let waker =
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).in_call("eventfd2")?;
        // The alarm is never read: setting it anew resets it, and each expiry is an edge.
        epoll
            .add(&alarm, EventSource::Alarm.token(), Interest::READABLE, Mode::Edge)
            .in_call("epoll_ctl")?;
        epoll
            .add(&waker, EventSource::Waker.token(), Interest::READABLE, Mode::Edge)
            .in_call("epoll_ctl")?;
        let waker = Arc::new(waker);
        #[cfg(feature = "udp")]
        return Ok(Self { epoll, alarm, waker, control: Vec::new() });
        #[cfg(not(feature = "udp"))]
        Ok(Self { epoll, alarm, waker })
    }

    /// The set's own descriptor.
    pub(crate) fn set(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Registers a descriptor for what can be read, edge-triggered.
    #[cfg(feature = "udp")]
    pub(super) fn add_readable(
        &self,
        descriptor: BorrowedFd<'_>,
        source: EventSource,
    ) -> Result<(), Errno> {
        let added = self.epoll.add(descriptor, source.token(), Interest::READABLE, Mode::Edge);
        added.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
    }

    /// Registers a descriptor that is not the loop's own, edge-triggered.
    pub(crate) fn watch(&self, descriptor: impl AsFd) -> std::io::Result<()> {
        self.epoll.add(descriptor, EventSource::Watched.token(), Interest::READABLE, Mode::Edge)
    }
}

/// Both ends of a pipe: to read from and to write to.
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    /// Behind how many splices it is tried again to make it as large as it should be; 0 if it is.
    grows_after: Cell<u32>,
}

impl Pipe {
    /// A user may have only so many pages in pipes (`fs.pipe-user-pages-soft`), and the kernel only
    /// so much memory. Until they are granted the pipe is as good with fewer, if slower (C42).
    fn grow(&self) {
        let left = self.grows_after.get();
        if left > 1 {
            self.grows_after.set(left - 1);
        } else if left == 1 {
            let grown = fcntl_setpipe_size(&self.writer, PIPE_SIZE).is_ok();
            self.grows_after.set(if grown { 0 } else { GROW_AFTER });
        }
    }
}

/// What a pipe is to hold. A piece of a socket's input takes one of its pages, however large or
/// small it is: with so many, a splice meets no more than there is of large ones, and enough of
/// packets'.
const PIPE_SIZE: usize = 256 * 1024;

/// How many splices of a pipe that could not be made that large come between two tries.
const GROW_AFTER: u32 = 256;

/// The bit of SIGPIPE, which is 13 (signal(7)), in the masks of proc(5).
const SIGPIPE_BIT: u64 = 1 << 12;

/// Whether SIGPIPE is ignored, or blocked in this thread, by what proc(5) says of the thread.
/// Nothing else tells that without unsafe code, so that no pipes are used while `/proc` is not
/// mounted.
fn sigpipe_is_harmless(status: &str) -> bool {
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    };
    (mask("SigIgn:") | mask("SigBlk:")) & SIGPIPE_BIT != 0
}

impl Clock for Linux {
    #[inline]
    fn now(&mut self) -> Time {
        let now = clock_gettime(ClockId::Monotonic);
        // The monotonic clock starts at boot, so neither part is negative.
        let seconds = now.tv_sec.cast_unsigned();
        Time::from_nanos(seconds * NANOS_PER_SECOND + now.tv_nsec.cast_unsigned())
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
}

impl Poll for Linux {
    #[inline]
    fn wait(&mut self, events: &mut Batch, block: bool) -> Result<(), Errno> {
        if block { self.epoll.block(events) } else { self.epoll.poll_now(events) }
    }

    fn wait_for(&mut self, events: &mut Batch, timeout: Duration) -> Result<(), Errno> {
        self.epoll.wait_for(events, timeout)
    }

    fn register(
        &mut self,
        socket: &OwnedFd,
        source: EventSource,
        interest: Interest,
    ) -> Result<(), Errno> {
        let added = self.epoll.add(socket, source.token(), interest, Mode::Edge);
        added.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
    }

    fn register_shared(&mut self, socket: &OwnedFd, source: EventSource) -> Result<(), Errno> {
        let (token, interest) = (source.token(), ExclusiveInterest::Readable);
        let added = self.epoll.add_exclusive(socket, token, interest, Trigger::Edge);
        added.map(drop).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
    }

    fn reregister(
        &mut self,
        socket: &OwnedFd,
        source: EventSource,
        interest: Interest,
    ) -> Result<(), Errno> {
        let changed = self.epoll.modify(socket, source.token(), interest, Mode::Edge);
        changed.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
    }

    fn deregister(&mut self, socket: &OwnedFd) -> Result<(), Errno> {
        let removed = self.epoll.remove(socket);
        removed.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
    }

    fn set_alarm(&mut self, at: Time) -> Result<(), Errno> {
        // A time of zero would disarm it; a time that has passed rings at once.
        let nanos = at.as_nanos().max(1);
        let at = Timespec {
            tv_sec: (nanos / NANOS_PER_SECOND).cast_signed(),
            tv_nsec: (nanos % NANOS_PER_SECOND).cast_signed(),
        };
        let once = Itimerspec { it_interval: Timespec::default(), it_value: at };
        timerfd_settime(&self.alarm, TimerfdTimerFlags::ABSTIME, &once).map(|_| ())
    }
}

impl Wakeable for Linux {
    type Waker = EventfdWaker;

    fn waker(&self) -> EventfdWaker {
        EventfdWaker(Arc::clone(&self.waker))
    }

    fn clear_waker(&mut self) -> Result<(), Errno> {
        let mut count = [0; 8];
        rustix::io::read(&*self.waker, &mut count).map(|_| ())
    }
}

impl Sockets for Linux {
    type Socket = OwnedFd;

    fn socket(&mut self, family: &Address) -> Result<OwnedFd, Errno> {
        let ours = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        net::socket_with(family_of(family), SocketType::STREAM, ours, None)
    }

    fn set_option(&mut self, socket: &OwnedFd, option: SocketOption) -> Result<(), Errno> {
        match option {
            SocketOption::ReuseAddress => sockopt::set_socket_reuseaddr(socket, true),
            SocketOption::ReusePort => sockopt::set_socket_reuseport(socket, true),
            SocketOption::Ipv6Only(only) => sockopt::set_ipv6_v6only(socket, only),
            SocketOption::NoDelay => sockopt::set_tcp_nodelay(socket, true),
            SocketOption::UrgentInline => sockopt::set_socket_oobinline(socket, true),
            SocketOption::ResetOnClose => sockopt::set_socket_linger(socket, Some(Duration::ZERO)),
            SocketOption::Keepalive => sockopt::set_socket_keepalive(socket, true),
            SocketOption::KeepaliveIdle(idle) => sockopt::set_tcp_keepidle(socket, idle),
            SocketOption::KeepaliveInterval(every) => sockopt::set_tcp_keepintvl(socket, every),
            SocketOption::KeepaliveCount(count) => sockopt::set_tcp_keepcnt(socket, count),
            SocketOption::UserTimeout(millis) => sockopt::set_tcp_user_timeout(socket, millis),
            SocketOption::SendBuffer(bytes) => sockopt::set_socket_send_buffer_size(socket, bytes),
        }
    }

    fn take_over(&mut self, socket: OwnedFd) -> Result<OwnedFd, Errno> {
        ioctl_fionbio(&socket, true)?;
        fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
        Ok(socket)
    }

    fn give_away(&mut self, socket: OwnedFd) -> Result<OwnedFd, OwnedFd> {
        Ok(socket)
    }

    fn receive(&mut self, socket: OwnedFd) -> Result<OwnedFd, Errno> {
        Ok(socket)
    }

    fn bind(&mut self, socket: &OwnedFd, address: &Address) -> Result<(), Errno> {
        net::bind(socket, &to_kernel(address)?)
    }

    fn listen(&mut self, socket: &OwnedFd, backlog: u32) -> Result<(), Errno> {
        net::listen(socket, i32::try_from(backlog).unwrap_or(i32::MAX))
    }

    fn local_address(&mut self, socket: &OwnedFd) -> Result<Address, Errno> {
        net::getsockname(socket).and_then(from_kernel)
    }

    fn peer_address(&mut self, socket: &OwnedFd) -> Result<Address, Errno> {
        net::getpeername(socket)?.ok_or(Errno::NOTCONN).and_then(from_kernel)
    }

    fn connect(&mut self, socket: &OwnedFd, address: &Address) -> Result<(), Errno> {
        net::connect(socket, &to_kernel(address)?)
    }

    fn take_error(&mut self, socket: &OwnedFd) -> Result<Option<Errno>, Errno> {
        sockopt::socket_error(socket).map(Result::err)
    }

    fn accept(&mut self, listener: &OwnedFd) -> Result<(OwnedFd, Address), Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, peer) = net::acceptfrom_with(listener, flags)?;
        Ok((socket, peer_from_kernel(peer)))
    }

    #[inline]
    fn recv(&mut self, socket: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
        // Both counts are the same without MSG_TRUNC; the first costs a comparison.
        net::recv(socket, buffer, RecvFlags::empty()).map(|(_, count)| count)
    }

    fn recv_message(
        &mut self,
        socket: &OwnedFd,
        buffer: &mut [u8],
    ) -> Result<(usize, bool), Errno> {
        let mut none = net::RecvAncillaryBuffer::default();
        let pieces = &mut [IoSliceMut::new(buffer)];
        let message = net::recvmsg(socket, pieces, &mut none, RecvFlags::empty())?;
        Ok((message.bytes, message.flags.contains(ReturnFlags::CTRUNC)))
    }

    fn credentials(&mut self, socket: &OwnedFd) -> Result<Credentials, Errno> {
        // Not through rustix, whose type has no place for process 0: that of another PID namespace.
        let peer = getsockopt(socket, PeerCredentials)
            .map_err(|error| Errno::from_raw_os_error(error as i32))?;
        let process = u32::try_from(peer.pid()).unwrap_or_default();
        Ok(Credentials { process: NonZeroU32::new(process), user: peer.uid(), group: peer.gid() })
    }

    #[inline]
    fn send(&mut self, socket: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
        net::send(socket, bytes, SendFlags::NOSIGNAL)
    }

    fn send_vectored(&mut self, socket: &OwnedFd, pieces: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let mut none = net::SendAncillaryBuffer::default();
        net::sendmsg(socket, pieces, &mut none, SendFlags::NOSIGNAL)
    }

    fn shutdown_write(&mut self, socket: &OwnedFd) -> Result<(), Errno> {
        net::shutdown(socket, Shutdown::Write)
    }

    fn close(&mut self, socket: OwnedFd) {
        drop(socket);
    }

    fn descriptor(&self, socket: &OwnedFd) -> i32 {
        socket.as_raw_fd()
    }
}

impl Splice for Linux {
    type Pipe = Pipe;

    fn pipe(&mut self) -> Result<Pipe, Errno> {
        // Each time, because signals are the program's own affair, and may change.
        let status = fs::read_to_string("/proc/thread-self/status")
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::PERM))?;
        if !sigpipe_is_harmless(&status) {
            return Err(Errno::PERM);
        }
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let pipe = Pipe { reader, writer, grows_after: Cell::new(1) };
        pipe.grow();
        Ok(pipe)
    }

    fn splice_in(&mut self, socket: &OwnedFd, pipe: &Pipe, most: usize) -> Result<usize, Errno> {
        pipe.grow();
        splice(socket, None, &pipe.writer, None, most, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)
    }

    fn splice_out(&mut self, pipe: &Pipe, socket: &OwnedFd, count: usize) -> Result<usize, Errno> {
        splice(&pipe.reader, None, socket, None, count, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)
    }

    fn close_pipe(&mut self, pipe: Pipe) {
        drop(pipe);
    }
}

impl Resources for Linux {
    fn spare_descriptors(&self) -> usize {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        // Reading the directory takes a descriptor itself, which is counted and closed again.
        let open = fs::read_dir("/proc/self/fd").map_or(64, Iterator::count);
        limit.saturating_sub(open)
    }

    fn memory_limit(&self) -> Option<MemoryLimit> {
        MemoryLimit::find()
    }

    fn longest_backlog(&self) -> Option<u32> {
        fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()
    }
}

/// Wakes the loop through its eventfd.
#[derive(Debug, Clone)]
pub struct EventfdWaker(Arc<OwnedFd>);

impl Wake for EventfdWaker {
    fn wake(&self) -> bool {
        // EAGAIN says that the counter is full: the loop has been told often enough. No other
        // error can come of a descriptor that is open and a buffer of 8 bytes (eventfd(2)).
        let one = 1_u64.to_ne_bytes();
        persist(|| rustix::io::write(&*self.0, &one)) != Err(Errno::INTR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c20_what_others_have_made_becomes_close_on_exec_and_does_not_block() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        fcntl_setfd(&listener, FdFlags::empty()).expect("it is open");
        let mut kernel = Linux::new().expect("descriptors");
        let socket = kernel.take_over(listener.into()).expect("it is open");
        assert_eq!(rustix::io::fcntl_getfd(&socket), Ok(FdFlags::CLOEXEC));
        assert_eq!(kernel.accept(&socket).map(drop), Err(Errno::AGAIN));
    }

    #[test]
    fn c08_pipes_are_used_where_sigpipe_is_ignored_or_blocked_and_nowhere_else() {
        let status = |blocked: u64, ignored: u64| {
            format!(
                "Name:\tserver\nSigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{:016x}\n",
                u64::MAX
            )
        };
        let sigpipe = 1 << (rustix::process::Signal::PIPE.as_raw() - 1);
        assert!(sigpipe_is_harmless(&status(0, sigpipe)));
        assert!(sigpipe_is_harmless(&status(sigpipe, 0)));
        assert!(!sigpipe_is_harmless(&status(!sigpipe, !sigpipe)));
        assert!(!sigpipe_is_harmless(""), "nothing is known");
        // The runtime of this program ignores it.
        assert!(Linux::new().expect("descriptors").pipe().is_ok());
    }
}
