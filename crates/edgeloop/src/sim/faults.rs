//! Which calls fail, how often, and with what: only what a real kernel may answer.

use rustix::io::Errno;

use super::Random;

/// A system call of the loop that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Wait,
    Accept,
    Register,
    Receive,
    Send,
    Shutdown,
    SetAlarm,
    ClearWaker,
}

impl Call {
    /// How many there are.
    pub(crate) const COUNT: usize = 8;

    /// What this call can fail with, by its man page, while the socket is as it should be. EAGAIN
    /// is not among them, for it would have to be followed by an edge, nor are the errors that end
    /// a listener.
    #[cfg(test)]
    pub(crate) fn errors(self) -> Vec<Errno> {
        let broken = [Errno::CONNRESET, Errno::TIMEDOUT, Errno::HOSTUNREACH, Errno::NETUNREACH];
        let of = |more: &[Errno], and: &[Errno]| [more, and].concat();
        match self {
            Self::Wait | Self::SetAlarm | Self::ClearWaker => vec![Errno::INTR],
            Self::Accept => {
                of(&LOST, &[Errno::INTR, Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM])
            }
            Self::Register => vec![Errno::NOMEM, Errno::NOSPC],
            Self::Receive => of(&broken, &[Errno::INTR, Errno::NOBUFS, Errno::NOMEM]),
            Self::Send => of(&broken, &[Errno::INTR, Errno::NOBUFS, Errno::NOMEM, Errno::PIPE]),
            Self::Shutdown => vec![Errno::INTR, Errno::NOTCONN, Errno::NOBUFS],
        }
    }
}

/// One call that is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) call: Call,
    /// Which of these calls, counted from 1.
    pub(crate) nth: u64,
    pub(crate) error: Errno,
}

impl Planned {
    /// Whether the connection of the call can live on.
    pub(crate) fn is_passing(&self) -> bool {
        match self.call {
            Call::Register | Call::Shutdown => self.error == Errno::INTR,
            _ => matches!(self.error, Errno::INTR | Errno::NOBUFS | Errno::NOMEM),
        }
    }
}

/// How many of a thousand calls of a kind meet each fault.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    /// A signal interrupts the call.
    pub(crate) interrupted: usize,
    /// The socket says EAGAIN just before it gets ready; an edge follows.
    pub(crate) late: usize,
    /// The call takes a part of what it could.
    pub(crate) short: usize,
    /// The kernel has no memory for it.
    pub(crate) exhausted: usize,
    /// accept4 has an error of one connection to report.
    pub(crate) lost: usize,
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Whole,
    Short,
    Late,
    Fails(Errno),
}

/// The errors of one connection that accept4(2) passes on.
const LOST: [Errno; 10] = [
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
];

impl Faults {
    /// A mixture of its own for each seed; one seed in four has none.
    pub(crate) fn of(random: &mut Random) -> Self {
        if random.chance(250) {
            return Self::default();
        }
        let mut often = || random.pick(&[0, 0, 5, 50, 300]);
        Self {
            interrupted: often(),
            late: often(),
            short: often(),
            exhausted: often().min(50),
            lost: often(),
        }
    }

    /// Of a wait, or of another call that a signal can interrupt.
    pub(crate) fn interrupts(&self, random: &mut Random) -> bool {
        random.chance(self.interrupted)
    }

    /// Of a receive or a send.
    pub(crate) fn of_transfer(&self, random: &mut Random) -> Fate {
        if random.chance(self.interrupted) {
            Fate::Fails(Errno::INTR)
        } else if random.chance(self.exhausted) {
            Fate::Fails(random.pick(&[Errno::NOBUFS, Errno::NOMEM]))
        } else if random.chance(self.late) {
            Fate::Late
        } else if random.chance(self.short) {
            Fate::Short
        } else {
            Fate::Whole
        }
    }

    /// Of an accept.
    pub(crate) fn of_accept(&self, random: &mut Random) -> Fate {
        if random.chance(self.interrupted) {
            Fate::Fails(Errno::INTR)
        } else if random.chance(self.exhausted) {
            Fate::Fails(random.pick(&[Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]))
        } else if random.chance(self.lost) {
            Fate::Fails(random.pick(&LOST))
        } else {
            Fate::Whole
        }
    }
}
