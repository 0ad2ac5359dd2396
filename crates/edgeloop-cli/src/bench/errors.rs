//! What can go wrong on the network, in the classes in which it is counted.

use edgeloop::{Closed, Error, Reason};
use rustix::io::Errno;

/// A class of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nobody listens there, or only this very socket does.
    Refused,
    /// No answer to a connect, or none of the bytes sent was taken, for too long.
    TimedOut,
    /// The other end sent an RST.
    Reset,
    /// The other end ended its stream before everything was answered.
    ClosedEarly,
    /// There is no way to the address.
    Unreachable,
    /// The kernel had no free port for one more connection.
    OutOfPorts,
    /// The process or the system has no descriptor for one more connection.
    OutOfDescriptors,
    Other,
}

impl Class {
    pub(crate) const ALL: [Self; 8] = [
        Self::Refused,
        Self::TimedOut,
        Self::Reset,
        Self::ClosedEarly,
        Self::Unreachable,
        Self::OutOfPorts,
        Self::OutOfDescriptors,
        Self::Other,
    ];

    /// As it is called in files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Reset => "reset",
            Self::ClosedEarly => "closed_early",
            Self::Unreachable => "unreachable",
            Self::OutOfPorts => "out_of_ports",
            Self::OutOfDescriptors => "out_of_descriptors",
            Self::Other => "other",
        }
    }

    /// The class of a connection's end that was not ours.
    pub(crate) fn of_end(closed: &Closed) -> Self {
        match closed.reason {
            Reason::Finished | Reason::Closed => Self::ClosedEarly,
            Reason::ConnectTimeout | Reason::WriteTimeout => Self::TimedOut,
            _ => closed.error().as_ref().map_or(Self::Other, Self::of_io_error),
        }
    }

    /// The class of a connect that could not even begin.
    pub(crate) fn of_connect(error: &Error) -> Self {
        match Self::of_io_error(error.io_error()) {
            // Not the system's: the loop is at its cap, which the limit of descriptors sets.
            Self::Other if error.io_error().raw_os_error().is_none() => Self::OutOfDescriptors,
            class => class,
        }
    }

    fn of_io_error(error: &std::io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::CONNREFUSED) => Self::Refused,
            Some(Errno::TIMEDOUT) => Self::TimedOut,
            Some(Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED) => Self::Reset,
            Some(
                Errno::NETUNREACH
                | Errno::HOSTUNREACH
                | Errno::NETDOWN
                | Errno::HOSTDOWN
                | Errno::AFNOSUPPORT
                | Errno::ACCESS
                | Errno::PERM,
            ) => Self::Unreachable,
            // bind(2) of a source whose ports are taken, and connect(2) (ip(7)).
            Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE) => Self::OutOfPorts,
            Some(Errno::MFILE | Errno::NFILE) => Self::OutOfDescriptors,
            _ => Self::Other,
        }
    }
}

/// How often each class was met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Errors([u64; Class::ALL.len()]);

impl Errors {
    pub(crate) fn count(&mut self, class: Class) {
        self.0[class as usize] += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    pub(crate) const fn of(&self, class: Class) -> u64 {
        self.0[class as usize]
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Those that were met, with how often.
    pub(crate) fn met(&self) -> impl Iterator<Item = (Class, u64)> + '_ {
        Class::ALL.into_iter().map(|class| (class, self.of(class))).filter(|&(_, count)| count > 0)
    }
}
