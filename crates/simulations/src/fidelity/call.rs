//! What a script is made of: calls, with what they answer, chosen by chance.

use edgeloop::epoll::{Event, Interest, Mode, Token};
use edgeloop::sim::Random;
use edgeloop::sim::internals::Side;
use rustix::io::Errno;

/// The most connections of a script.
pub(super) const CONNECTIONS: usize = 4;

/// How many epoll sets there are. Every file may be in each.
pub(super) const SETS: usize = 2;

/// A file of the script, by the number under which the model's sets know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Listener,
    Counter,
    End(usize, Side),
}

/// How many numbers of files there are.
pub(super) const FILES: usize = 2 + 2 * CONNECTIONS;

impl File {
    pub(super) const fn number(self) -> usize {
        match self {
            Self::Listener => 0,
            Self::Counter => 1,
            Self::End(connection, side) => 2 + 2 * connection + side as usize,
        }
    }

    pub(super) const fn of(number: usize) -> Self {
        match number {
            0 => Self::Listener,
            1 => Self::Counter,
            _ if number.is_multiple_of(2) => Self::End(number / 2 - 1, Side::Ours),
            _ => Self::End(number / 2 - 1, Side::Theirs),
        }
    }
}

/// What is asked for with a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) token: Token,
    pub(super) interest: Interest,
    pub(super) mode: Mode,
}

/// Of which sockets a script is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Tcp,
    Unix,
}

/// One call of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// socket(2): an end of a new connection, which isn't connected yet.
    Open(usize),
    /// connect(2) to the listener, or to its address when it is closed.
    Connect(usize),
    /// connect(2) to where nobody answers.
    ConnectNowhere(usize),
    /// accept4(2), which answers with the number of the connection.
    Accept,
    Send(File, usize),
    /// sendmsg(2) of a number of bytes, in a number of pieces at most.
    SendVectored(File, usize, usize),
    SendUrgent(File),
    /// sendmsg(2) of a number of bytes with a descriptor.
    SendDescriptor(File, usize),
    Receive(File, usize),
    /// recvmsg(2) without room for control data.
    ReceiveMessage(File, usize),
    /// splice(2) of so many bytes into an empty pipe, which is read to its end.
    Splice(File, usize),
    ShutDown(File),
    TakeError(File),
    Close(File),
    /// close(2) that sends an RST.
    Abort(File),
    Write(u64),
    Read,
    Add(usize, File, Wish),
    AddExclusive(usize, File, Wish),
    Modify(usize, File, Wish),
    Remove(usize, File),
    /// epoll_wait(2) for at most so many events.
    Wait(usize, usize),
}

impl Call {
    /// The next call of a script.
    pub(super) fn of(random: &mut Random, opened: usize, serial: u64) -> Self {
        let set = random.below(SETS);
        match random.below(76) {
            0..=3 if opened < CONNECTIONS => Self::Open(opened),
            4..=7 => Self::Connect(random.below(CONNECTIONS)),
            8 => Self::ConnectNowhere(random.below(CONNECTIONS)),
            9..=11 => Self::Accept,
            12..=17 => Self::Send(end(random, opened), random.size(1, 500)),
            18 => Self::SendUrgent(end(random, opened)),
            19..=24 => Self::Receive(end(random, opened), random.size(1, 700)),
            25 | 26 => Self::ShutDown(end(random, opened)),
            27 => Self::TakeError(end(random, opened)),
            28 => {
                Self::Close(if random.chance(200) { File::Listener } else { end(random, opened) })
            }
            29 => Self::Abort(end(random, opened)),
            30 => Self::Write(random.pick(&[0, 1, 1, 7, u64::MAX - 2, u64::MAX - 1, u64::MAX])),
            31 => Self::Read,
            32..=41 => Self::Add(set, file(random, opened), wish(random, serial)),
            42 => Self::AddExclusive(set, file(random, opened), wish(random, serial)),
            43..=46 => Self::Modify(set, file(random, opened), wish(random, serial)),
            47 => Self::Remove(set, file(random, opened)),
            64..=66 => Self::Splice(end(random, opened), random.size(1, 700)),
            67..=69 => {
                Self::SendVectored(end(random, opened), random.size(1, 500), random.size(1, 40))
            }
            70 | 71 => Self::SendDescriptor(end(random, opened), random.size(1, 500)),
            72..=75 => Self::ReceiveMessage(end(random, opened), random.size(1, 700)),
            _ => Self::Wait(set, random.pick(&[1, 1, 2, 3, 16])),
        }
    }
}

impl Call {
    /// Whether it is one of epoll_ctl(2) and epoll_wait(2).
    pub(super) const fn is_on_a_set(self) -> bool {
        matches!(
            self,
            Self::Add(..)
                | Self::AddExclusive(..)
                | Self::Modify(..)
                | Self::Remove(..)
                | Self::Wait(..)
        )
    }
}

fn end(random: &mut Random, opened: usize) -> File {
    File::End(random.below(opened.max(1)), random.pick(&[Side::Ours, Side::Theirs]))
}

fn file(random: &mut Random, opened: usize) -> File {
    match random.below(8) {
        0 => File::Listener,
        1 => File::Counter,
        _ => end(random, opened),
    }
}

fn wish(random: &mut Random, serial: u64) -> Wish {
    const PARTS: [Interest; 4] =
        [Interest::READABLE, Interest::WRITABLE, Interest::PRIORITY, Interest::PEER_CLOSED];
    const MODES: [Mode; 6] =
        [Mode::Level, Mode::Edge, Mode::Edge, Mode::Edge, Mode::LevelOneShot, Mode::EdgeOneShot];
    let mut interest = random.pick(&PARTS);
    for part in PARTS {
        if random.chance(400) {
            interest |= part;
        }
    }
    Wish { token: Token(serial), interest, mode: random.pick(&MODES) }
}

/// What a call answers: a count or an error, what was received, the events that were reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) count: Result<u64, Errno>,
    pub(super) bytes: Vec<u8>,
    /// Control data was cut off.
    pub(super) cut: bool,
    pub(super) events: Vec<Event>,
}

impl Answer {
    pub(super) fn of(count: Result<u64, Errno>) -> Self {
        Self { count, bytes: Vec::new(), cut: false, events: Vec::new() }
    }

    pub(super) fn of_done(done: Result<(), Errno>) -> Self {
        Self::of(done.map(|()| 0))
    }

    pub(super) fn of_error(error: Errno) -> Self {
        Self::of(Err(error))
    }

    pub(super) fn of_count(count: Result<usize, Errno>) -> Self {
        Self::of(count.map(|count| count as u64))
    }
}

#[cfg(test)]
#[test]
fn files_and_numbers_are_one_to_one() {
    for number in 0..FILES {
        assert_eq!(File::of(number).number(), number);
    }
}
