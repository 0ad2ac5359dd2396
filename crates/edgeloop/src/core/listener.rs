//! When a listener accepts, when it pauses, and when it ends: without its system calls.

use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::inherits_options;
use super::socket_file::SocketFile;
use crate::api::address::Address;
use crate::api::bounds::Bounds;
use crate::api::time::Time;

/// How long accepting pauses when descriptors or memory have run out; doubles up to the second
/// while it is in vain. A connection that closes ends the pause at once (C23).
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How many errors of single connections may follow each other before accepting pauses in the same
/// way: such an error may as well be the answer to every call (a security module's EPERM), with the
/// connection still in the backlog (C22).
const ERRORS_IN_A_ROW: u32 = 32;

/// One listener.
#[derive(Debug)]
pub(crate) struct Listener<S> {
    pub(crate) socket: S,
    pub(crate) address: Address,
    /// The file of a Unix socket, which is removed with it.
    pub(crate) file: Option<SocketFile>,
    /// The limits of what it accepts, where they are not the loop's.
    pub(crate) limits: Option<Arc<Bounds>>,
    /// How long its backlog is, where that is known.
    pub(crate) backlog: Option<u32>,
    /// Others may hold it open as well, or may have listened on it before.
    pub(crate) given: bool,
    /// What it accepts may have come before its options were set, and then has none of them.
    pub(crate) lacks_options: bool,
    /// The backlog may hold connections for which no edge will come.
    ready: bool,
    /// Accepting waits until then, or until a descriptor is free.
    paused_until: Time,
    pause: Duration,
    /// Errors of single connections since the last that was accepted.
    errors: u32,
    /// It is to be closed once its backlog is empty, or once so many more were accepted (C37).
    closing_after: Option<u32>,
}

/// What an error of accept4(2) means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcceptError {
    /// The backlog is empty.
    Empty,
    /// One connection was lost before it was accepted; the next may be fine (C22).
    Skipped,
    /// Descriptors or memory have run out (C23).
    Exhausted,
    /// The listener is of no use any more (C22).
    Fatal,
}

impl AcceptError {
    /// Errors that the manual does not name are taken as exhaustion: they neither end the
    /// listener nor make the loop spin.
    pub(crate) fn of(error: Errno) -> Self {
        match error {
            Errno::AGAIN => Self::Empty,
            Errno::CONNABORTED
            | Errno::PERM
            | Errno::PROTO
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH
            | Errno::INTR => Self::Skipped,
            Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::FAULT => Self::Fatal,
            _ => Self::Exhausted,
        }
    }
}

impl<S> Listener<S> {
    pub(crate) fn new(socket: S, address: Address) -> Self {
        Self {
            socket,
            lacks_options: !inherits_options(&address),
            address,
            file: None,
            limits: None,
            backlog: None,
            given: false,
            ready: true,
            paused_until: Time::ZERO,
            pause: FIRST_PAUSE,
            errors: 0,
            closing_after: None,
        }
    }

    /// One of a Unix socket that has a file.
    pub(crate) fn of_file(socket: S, address: Address, file: SocketFile) -> Self {
        Self { file: Some(file), ..Self::new(socket, address) }
    }

    /// One that was made by others, and may have been listening for long.
    pub(crate) fn given(socket: S, address: Address) -> Self {
        Self { given: true, lacks_options: true, ..Self::new(socket, address) }
    }

    /// The same one with another descriptor of its socket. The file stays with this.
    pub(crate) fn twin<T>(&self, socket: T) -> Listener<T> {
        Listener {
            limits: self.limits.clone(),
            backlog: self.backlog,
            given: true,
            lacks_options: self.lacks_options,
            ..Listener::new(socket, self.address.clone())
        }
    }

    /// An edge came.
    pub(crate) fn note(&mut self) {
        self.ready = true;
    }

    /// Whether accepting makes sense now.
    pub(crate) fn wants_accepting(&self, now: Time) -> bool {
        self.ready && self.paused_until <= now
    }

    /// A connection was accepted; returns whether the listener is to be closed now.
    pub(crate) fn accepted(&mut self) -> bool {
        self.pause = FIRST_PAUSE;
        self.errors = 0;
        if let Some(left) = &mut self.closing_after {
            *left = left.saturating_sub(1);
        }
        self.closing_after == Some(0)
    }

    /// The backlog is empty; returns whether the listener is to be closed now.
    pub(crate) fn emptied(&mut self) -> bool {
        self.ready = false;
        self.lacks_options = !inherits_options(&self.address);
        self.pause = FIRST_PAUSE;
        self.errors = 0;
        self.is_closing()
    }

    /// A connection was lost before it was accepted; returns whether accepting is to pause, because
    /// that happened too often in a row.
    pub(crate) const fn skipped(&mut self) -> bool {
        self.errors = (self.errors + 1) % ERRORS_IN_A_ROW;
        self.errors == 0
    }

    /// Pauses; returns whether it has just begun to.
    pub(crate) fn pause(&mut self, now: Time) -> bool {
        let begins = self.pause == FIRST_PAUSE;
        self.paused_until = now.after(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        begins
    }

    /// A descriptor is free again; returns whether anybody may be waiting for one.
    pub(crate) fn resume(&mut self) -> bool {
        self.paused_until = Time::ZERO;
        self.ready
    }

    /// When a pause ends by itself.
    pub(crate) fn next_deadline(&self) -> Time {
        if self.ready && self.paused_until != Time::ZERO { self.paused_until } else { Time::NEVER }
    }

    /// From here on it accepts what waits, at most `most`, and is then closed (C37).
    pub(crate) fn drain(&mut self, most: u32) {
        self.ready = true;
        self.paused_until = Time::ZERO;
        self.closing_after.get_or_insert(most);
    }

    pub(crate) const fn is_closing(&self) -> bool {
        self.closing_after.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Address = Address::Tcp(std::net::SocketAddr::new(
        std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        1,
    ));

    fn at(millis: u64) -> Time {
        Time::ZERO.after(Duration::from_millis(millis))
    }

    #[test]
    fn c22_exactly_the_named_errors_end_a_listener() {
        for number in 1..134 {
            let error = Errno::from_raw_os_error(number);
            let meaning = AcceptError::of(error);
            let fatal = [Errno::BADF, Errno::INVAL, Errno::NOTSOCK, Errno::FAULT].contains(&error);
            assert_eq!(meaning == AcceptError::Fatal, fatal, "{error}");
            assert_eq!(meaning == AcceptError::Empty, error == Errno::AGAIN, "{error}");
        }
    }

    #[test]
    fn c23_exhaustion_pauses_and_resumes_without_a_new_edge() {
        for error in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(AcceptError::of(error), AcceptError::Exhausted);
        }
        let mut listener = Listener::new((), ADDRESS);
        assert_eq!(listener.next_deadline(), Time::NEVER, "it does not pause");
        assert!(listener.wants_accepting(at(0)));
        assert!(listener.pause(at(0)), "the pause begins and is told once");
        assert!(!listener.wants_accepting(at(99)));
        assert_eq!(listener.next_deadline(), at(100));
        assert!(listener.wants_accepting(at(100)), "by time alone");
        assert!(!listener.pause(at(100)), "the same pause goes on");
        assert_eq!(listener.next_deadline(), at(300));
        assert!(listener.resume());
        assert!(listener.wants_accepting(at(101)), "because a connection closed");
        listener.accepted();
        assert!(listener.pause(at(200)), "a new pause");
        listener.emptied();
        assert_eq!(listener.next_deadline(), Time::NEVER, "nobody waits");
    }

    #[test]
    fn c22_errors_of_single_connections_pause_accepting_only_in_a_row() {
        let mut listener = Listener::new((), ADDRESS);
        for _ in 0..3 {
            assert!((1..ERRORS_IN_A_ROW).all(|_| !listener.skipped()));
            listener.accepted();
            assert!((1..ERRORS_IN_A_ROW).all(|_| !listener.skipped()));
            listener.emptied();
        }
        for _ in 0..3 {
            assert!((1..ERRORS_IN_A_ROW).all(|_| !listener.skipped()));
            assert!(listener.skipped(), "it goes on");
        }
    }

    #[test]
    fn c23_pauses_grow_to_a_second() {
        let mut listener = Listener::new((), ADDRESS);
        let mut now = at(0);
        for expected in [100, 200, 400, 800, 1000, 1000] {
            listener.pause(now);
            assert_eq!(listener.next_deadline().since(now), Duration::from_millis(expected));
            now = listener.next_deadline();
        }
    }

    #[test]
    fn c37_a_draining_listener_closes_when_its_backlog_is_empty() {
        let mut listener = Listener::new((), ADDRESS);
        assert!(!listener.emptied());
        listener.drain(2);
        assert!(listener.wants_accepting(at(0)), "without an edge");
        assert!(!listener.accepted());
        assert!(listener.accepted(), "newcomers do not keep it open for ever");
        assert!(listener.emptied());
    }
}
