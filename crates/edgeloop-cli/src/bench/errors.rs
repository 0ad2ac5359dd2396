//! What can go wrong on the network, in the classes in which it is counted.

use std::collections::BTreeMap;
use std::io;

use edgeloop::{Closed, Error, Reason};
use rustix::io::Errno;

/// A class of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nobody listens there, or only this very socket does.
    Refused,
    /// No answer to a connect, or none of the bytes sent was taken, for too long.
    TimedOut,
    /// A connection was made, but the service did not say what it was to say first.
    NoGreeting,
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
    /// None of these. What it was is counted by its name.
    Other,
}

/// One error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) class: Class,
    /// What it was, if its class does not say, or says something else of a Unix socket.
    name: Option<String>,
}

impl Cause {
    /// Why a connection ended whose end was not ours.
    pub(crate) fn of_end(closed: &Closed) -> Self {
        match closed.reason {
            Reason::Finished | Reason::Closed => Class::ClosedEarly.into(),
            Reason::ConnectTimeout | Reason::WriteTimeout => Class::TimedOut.into(),
            reason => match closed.error() {
                Some(error) => Self::of_io_error(&error),
                None => Self { class: Class::Other, name: Some(reason.to_string()) },
            },
        }
    }

    /// Why a connect could not even begin.
    pub(crate) fn of_connect(error: &Error) -> Self {
        let error = error.io_error();
        match Class::of_io_error(error) {
            // Not the system's: the loop is at its cap, which the limit of descriptors sets.
            Class::Other if error.raw_os_error().is_none() => Class::OutOfDescriptors.into(),
            _ => Self::of_io_error(error),
        }
    }

    /// Whether the other end has closed the connection in order.
    pub(crate) fn is_an_end(&self) -> bool {
        self.class == Class::ClosedEarly
    }

    /// The same of a Unix socket. What is not permitted there is the file's mode, and no firewall.
    pub(crate) fn of_unix(self) -> Self {
        let class = if self.name.is_some() { Class::Other } else { self.class };
        Self { class, ..self }
    }

    /// Why the kernel did not send a datagram.
    pub(crate) fn of_send(error: &io::Error) -> Self {
        // What is not permitted is a firewall, or broadcast: its name tells which.
        Self::of_io_error(error).of_unix()
    }

    fn of_io_error(error: &io::Error) -> Self {
        let class = Class::of_io_error(error);
        let is_named = class == Class::Other || error.kind() == io::ErrorKind::PermissionDenied;
        Self { class, name: is_named.then(|| error.to_string()) }
    }
}

impl From<Class> for Cause {
    fn from(class: Class) -> Self {
        Self { class, name: None }
    }
}

impl Class {
    pub(crate) const ALL: [Self; 9] = [
        Self::Refused,
        Self::TimedOut,
        Self::NoGreeting,
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
            Self::NoGreeting => "no_greeting",
            Self::Reset => "reset",
            Self::ClosedEarly => "closed_early",
            Self::Unreachable => "unreachable",
            Self::OutOfPorts => "out_of_ports",
            Self::OutOfDescriptors => "out_of_descriptors",
            Self::Other => "other",
        }
    }

    fn of_io_error(error: &io::Error) -> Self {
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Errors {
    counts: [u64; Class::ALL.len()],
    /// Those of [`Class::Other`], by name.
    others: BTreeMap<String, u64>,
}

impl Errors {
    pub(crate) fn count(&mut self, cause: Cause) {
        self.counts[cause.class as usize] += 1;
        if let Some(name) = cause.name.filter(|_| cause.class == Class::Other) {
            *self.others.entry(name).or_default() += 1;
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        for (name, theirs) in &other.others {
            *self.others.entry(name.clone()).or_default() += theirs;
        }
    }

    pub(crate) const fn of(&self, class: Class) -> u64 {
        self.counts[class as usize]
    }

    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Those that were met, with how often.
    pub(crate) fn met(&self) -> impl Iterator<Item = (Class, u64)> + '_ {
        Class::ALL.into_iter().map(|class| (class, self.of(class))).filter(|&(_, count)| count > 0)
    }

    /// Those that were met, as they are called in files.
    pub(crate) fn by_name(&self) -> BTreeMap<String, u64> {
        self.met().map(|(class, count)| (class.name().to_owned(), count)).collect()
    }

    /// What the class "other" was, and how often.
    pub(crate) const fn others(&self) -> &BTreeMap<String, u64> {
        &self.others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(errno: Errno) -> Cause {
        Cause::of_io_error(&errno.into())
    }

    #[test]
    fn errors_of_no_class_of_their_own_are_counted_by_name() {
        let mut errors = Errors::default();
        errors.count(cause(Errno::CONNREFUSED));
        errors.count(cause(Errno::NOBUFS));
        errors.count(cause(Errno::INVAL));
        let mut sum = Errors::default();
        sum.count(cause(Errno::NOBUFS));
        sum.add(&errors);
        assert_eq!(sum.met().collect::<Vec<_>>(), [(Class::Refused, 1), (Class::Other, 3)]);
        let others: Vec<_> =
            sum.others().iter().map(|(name, &count)| (name.as_str(), count)).collect();
        let expected = [
            ("Invalid argument (os error 22)", 1),
            ("No buffer space available (os error 105)", 2),
        ];
        assert_eq!(others, expected);
        assert_eq!((sum.total(), sum.of(Class::Other)), (4, 3));
    }

    #[test]
    fn a_class_of_its_own_needs_no_name() {
        for errno in [Errno::CONNREFUSED, Errno::PIPE, Errno::HOSTUNREACH, Errno::MFILE] {
            assert_eq!(cause(errno).name, None, "{errno}");
        }
    }

    #[test]
    fn a_file_that_may_not_be_connected_to_is_told_from_an_address_without_a_way() {
        let mut errors = Errors::default();
        errors.count(cause(Errno::ACCESS));
        assert_eq!(errors.met().collect::<Vec<_>>(), [(Class::Unreachable, 1)]);
        assert!(errors.others().is_empty());
        let mut errors = Errors::default();
        errors.count(cause(Errno::ACCESS).of_unix());
        errors.count(cause(Errno::CONNREFUSED).of_unix());
        assert_eq!(errors.met().collect::<Vec<_>>(), [(Class::Refused, 1), (Class::Other, 1)]);
        assert_eq!(errors.others()["Permission denied (os error 13)"], 1);
    }
}
