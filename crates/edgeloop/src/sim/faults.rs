//! Which calls fail, how often, and with what: only what a real kernel may answer.

use std::collections::HashMap;
use std::fmt;

use rustix::io::Errno;

use super::Random;

/// A system call of the loop that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    pub(crate) const ALL: [Self; 8] = [
        Self::Wait,
        Self::Accept,
        Self::Register,
        Self::Receive,
        Self::Send,
        Self::Shutdown,
        Self::SetAlarm,
        Self::ClearWaker,
    ];

    /// Its name in section 2 of the manual.
    const fn name(self) -> &'static str {
        match self {
            Self::Wait => "epoll_wait",
            Self::Accept => "accept4",
            Self::Register => "epoll_ctl",
            Self::Receive => "recv",
            Self::Send => "send",
            Self::Shutdown => "shutdown",
            Self::SetAlarm => "timerfd_settime",
            Self::ClearWaker => "read",
        }
    }

    /// What can become of this call, by its man page, while the socket is as it should be: every
    /// error but those that end a listener, an early EAGAIN, and a single byte.
    pub(crate) fn fates(self) -> Vec<Fate> {
        let short_of_memory = [Errno::NOBUFS, Errno::NOMEM];
        let errors: Vec<Errno> = match self {
            Self::Wait | Self::SetAlarm | Self::ClearWaker => vec![Errno::INTR],
            Self::Accept => [&LOST[..], &SHORTAGES, &[Errno::INTR]].concat(),
            Self::Register => FULL.to_vec(),
            Self::Receive => [&BROKEN[..], &short_of_memory, &[Errno::INTR]].concat(),
            Self::Send => [&BROKEN[..], &short_of_memory, &[Errno::INTR, Errno::PIPE]].concat(),
            Self::Shutdown => vec![Errno::INTR, Errno::NOTCONN, Errno::NOBUFS],
        };
        let mut fates: Vec<Fate> = errors.into_iter().map(Fate::Fails).collect();
        if matches!(self, Self::Receive | Self::Send) {
            fates.extend([Fate::Late, Fate::Short(1)]);
        }
        fates
    }
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

/// What accept4(2) has too little of.
const SHORTAGES: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];

/// What epoll_ctl(2) has too little of.
const FULL: [Errno; 2] = [Errno::NOMEM, Errno::NOSPC];

/// How the network ends a connection.
const BROKEN: [Errno; 4] =
    [Errno::CONNRESET, Errno::TIMEDOUT, Errno::HOSTUNREACH, Errno::NETUNREACH];

/// The names of all errors above.
const NAMES: [(Errno, &str); 22] = [
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
];

/// An error as the manual writes it.
pub(crate) fn name(error: Errno) -> String {
    let known = NAMES.iter().find(|&&(of, _)| of == error);
    known.map_or_else(|| error.to_string(), |&(_, name)| name.to_owned())
}

/// What becomes of a call that does not go well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It takes no more than so many bytes.
    Short(usize),
    /// The socket says EAGAIN just before it gets ready; an edge follows.
    Late,
    Fails(Errno),
}

/// One call that does not go well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub(crate) call: Call,
    /// Which of these calls, counted from 1.
    pub(crate) nth: u64,
    pub(crate) fate: Fate,
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

    /// Whether the connection of the call can live on.
    pub(crate) fn is_passing(&self) -> bool {
        match (self.call, self.fate) {
            (Call::Register | Call::Shutdown, Fate::Fails(error)) => error == Errno::INTR,
            (_, Fate::Fails(error)) => {
                matches!(error, Errno::INTR | Errno::NOBUFS | Errno::NOMEM)
            }
            (_, Fate::Short(_) | Fate::Late) => true,
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

/// How many of a thousand calls meet each fault. All together make no more than a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    /// A signal interrupts the call.
    interrupted: usize,
    /// EAGAIN comes early.
    late: usize,
    /// The call takes a part of what it could.
    short: usize,
    /// The kernel has no memory for it, or no descriptor.
    exhausted: usize,
    /// The connection breaks, or accept4 has an error of one connection to report.
    broken: usize,
}

impl Rates {
    /// A mixture of its own for each seed; one seed in four has none.
    fn of(random: &mut Random) -> Self {
        if random.chance(250) {
            return Self::default();
        }
        let mut often = || random.pick(&[0, 0, 5, 50, 300]);
        Self {
            interrupted: often(),
            late: often(),
            short: often(),
            exhausted: often().min(50),
            broken: often().min(5),
        }
    }

    fn draw(&self, call: Call, most: usize, random: &mut Random) -> Option<Fate> {
        let mut left = random.below(1000);
        let mut is = |rate: usize| {
            let hit = left < rate;
            left = left.saturating_sub(rate);
            // What is left after a hit is asked no more.
            hit
        };
        if is(self.interrupted) {
            return (call != Call::Register).then_some(Fate::Fails(Errno::INTR));
        }
        if is(self.exhausted) {
            let of: &[Errno] = match call {
                Call::Register => &FULL,
                Call::Accept => &SHORTAGES,
                Call::Receive | Call::Send => &[Errno::NOBUFS, Errno::NOMEM],
                _ => return None,
            };
            return Some(Fate::Fails(random.pick(of)));
        }
        if is(self.broken) {
            return match call {
                Call::Accept => Some(Fate::Fails(random.pick(&LOST))),
                Call::Receive | Call::Send => Some(Fate::Fails(random.pick(&BROKEN))),
                _ => None,
            };
        }
        let transfers = matches!(call, Call::Receive | Call::Send);
        if is(self.late) {
            return transfers.then_some(Fate::Late);
        }
        (is(self.short) && transfers && most > 1).then(|| Fate::Short(random.size(1, most - 1)))
    }
}

/// Where faults come from.
#[derive(Debug)]
enum Source {
    /// From chance, for so many calls more: after them everything must come to its end.
    Chance { random: Random, rates: Rates, calls: u64 },
    /// From a list.
    Plan(HashMap<(Call, u64), Fate>),
}

/// What goes wrong in a run, and what did.
#[derive(Debug)]
pub(crate) struct Faults {
    source: Source,
    made: [u64; Call::ALL.len()],
    /// Those that there were, in their order.
    pub(crate) injected: Vec<Fault>,
}

impl Faults {
    fn from(source: Source) -> Self {
        Self { source, made: [0; Call::ALL.len()], injected: Vec::new() }
    }

    /// Of all kinds. Their own chance is apart from the scheduler's, so that a fault can be left
    /// out and the rest stays what it was.
    pub(crate) fn of(random: &mut Random) -> Self {
        let rates = Rates::of(random);
        let calls = random.size(100, 5000) as u64;
        Self::from(Source::Chance { random: Random::new(random.next()), rates, calls })
    }

    /// These and no others.
    pub(crate) fn plan(faults: &[Fault]) -> Self {
        let by_call = |fault: &Fault| ((fault.call, fault.nth), fault.fate);
        Self::from(Source::Plan(faults.iter().map(by_call).collect()))
    }

    /// What becomes of the call that is made now, which would transfer at most so many bytes. Only
    /// one that is `ready` to transfer some can be told EAGAIN too early: else that is the truth.
    pub(crate) fn meet(&mut self, call: Call, most: usize, ready: bool) -> Option<Fault> {
        let made = &mut self.made[call as usize];
        *made += 1;
        let nth = *made;
        let fate = match &mut self.source {
            Source::Plan(faults) => *faults.get(&(call, nth))?,
            Source::Chance { calls: 0, .. } => return None,
            Source::Chance { random, rates, calls } => {
                *calls -= 1;
                rates.draw(call, most, random)?
            }
        };
        match fate {
            Fate::Late if !ready => return None,
            Fate::Short(some) if some >= most => return None,
            _ => {}
        }
        let fault = Fault { call, nth, fate };
        self.injected.push(fault);
        Some(fault)
    }
}
