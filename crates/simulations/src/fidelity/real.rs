//! The real kernel's side of a script: the same calls on sockets of the loopback device, or on Unix
//! sockets.

use std::fs::File as Disk;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::LazyLock;
use std::time::Duration;

use edgeloop::epoll::{
    Epoll, Events, ExclusiveInterest, Interest, Mode, Readiness, Token, Trigger,
};
use edgeloop::sim::internals::Side;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::{
    self, RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown, SocketAddrAny, SocketFlags, sockopt,
};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};

use super::call::{Answer, CONNECTIONS, Call, FILES, Family, File, SETS, Wish};
use super::sockets::{self, listener, nowhere, set_options};

/// What is passed with messages.
static PASSED: LazyLock<Disk> =
    LazyLock::new(|| Disk::open("/dev/null").expect("/dev/null can be read"));

/// Everything that an interest can ask for.
const ALL: Interest = Interest::READABLE
    .union(Interest::WRITABLE)
    .union(Interest::PRIORITY)
    .union(Interest::PEER_CLOSED);

/// What can be seen of a file without a change to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    pub(super) readiness: Readiness,
    /// How many bytes wait to be read (`FIONREAD`).
    pub(super) unread: usize,
    /// Whether it has a peer (getpeername(2)): not before it is connected, nor when all is over.
    pub(super) connected: bool,
}

/// The files and the epoll sets.
pub(super) struct Real {
    files: [Option<OwnedFd>; FILES],
    sets: [Epoll; SETS],
    /// Hears of each wake-up of a socket, edge-triggered.
    witness: Epoll,
    family: Family,
    address: SocketAddrAny,
    /// The nearer ends' own addresses, by which an accepted end is known.
    names: [Option<SocketAddrAny>; CONNECTIONS],
    /// What the witness has said and nobody has asked for yet.
    said: Vec<File>,
}

impl Real {
    pub(super) fn new(family: Family) -> io::Result<Self> {
        let (listener, address) = listener(family, 64)?;
        let counter = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let mut real = Self {
            files: Default::default(),
            sets: [Epoll::new()?, Epoll::new()?],
            witness: Epoll::new()?,
            family,
            address,
            names: Default::default(),
            said: Vec::new(),
        };
        real.put(File::Listener, listener)?;
        real.files[File::Counter.number()] = Some(counter);
        Ok(real)
    }

    /// Keeps a socket, and lets the witness hear of it from now on.
    fn put(&mut self, file: File, socket: OwnedFd) -> io::Result<()> {
        self.witness.add(&socket, Token(file.number() as u64), ALL, Mode::Edge)?;
        self.files[file.number()] = Some(socket);
        // That it is ready already is no wake-up.
        let mut said = self.heard();
        said.retain(|&other| other != file);
        self.said = said;
        Ok(())
    }

    pub(super) fn make(&mut self, call: Call, bytes: &[u8]) -> Answer {
        match call {
            Call::Open(connection) => Answer::of_done(self.open(connection)),
            Call::Connect(connection) => self.connect(connection, &self.address.clone()),
            Call::ConnectNowhere(connection) => self.connect(connection, nowhere(self.family)),
            Call::Accept => Answer::of_count(self.accept()),
            Call::Write(value) => self.with(File::Counter, |counter| {
                let written = rustix::io::write(counter, &value.to_ne_bytes());
                Answer::of_done(written.map(|_| ()))
            }),
            Call::Read => self.with(File::Counter, |counter| {
                let mut value = [0; 8];
                let read = rustix::io::read(counter, &mut value);
                Answer::of(read.map(|_| u64::from_ne_bytes(value)))
            }),
            Call::Send(file, _) => {
                self.with(file, |end| Answer::of_count(net::send(end, bytes, SendFlags::NOSIGNAL)))
            }
            Call::SendVectored(file, length, pieces) => self.with(file, |end| {
                let pieces: Vec<_> =
                    bytes.chunks(length.div_ceil(pieces)).map(IoSlice::new).collect();
                let mut none = SendAncillaryBuffer::default();
                Answer::of_count(net::sendmsg(end, &pieces, &mut none, SendFlags::NOSIGNAL))
            }),
            Call::SendUrgent(file) => self.with(file, |end| {
                Answer::of_count(net::send(end, bytes, SendFlags::NOSIGNAL | SendFlags::OOB))
            }),
            Call::Receive(file, most) => self.with(file, |end| {
                let mut bytes = vec![0; most];
                let received = net::recv(end, &mut *bytes, RecvFlags::empty());
                let count = received.map(|(count, _)| count);
                bytes.truncate(count.unwrap_or(0));
                Answer { bytes, ..Answer::of_count(count) }
            }),
            Call::SendDescriptor(file, _) => {
                self.with(file, |end| Answer::of_count(send_descriptor(end, bytes)))
            }
            Call::ReceiveMessage(file, most) => self.with(file, |end| receive_message(end, most)),
            Call::Splice(file, most) => self.with(file, |end| splice_from(end, most)),
            Call::ShutDown(file) => {
                self.with(file, |end| Answer::of_done(net::shutdown(end, Shutdown::Write)))
            }
            Call::TakeError(file) => self.with(file, |end| match sockopt::socket_error(end) {
                Ok(Ok(())) => Answer::of_done(Ok(())),
                Ok(Err(error)) | Err(error) => Answer::of_error(error),
            }),
            Call::Close(file) => {
                let closed = self.files[file.number()].take();
                Answer::of_done(closed.map(drop).ok_or(Errno::BADF))
            }
            Call::Abort(file) => match self.files[file.number()].take() {
                Some(end) => {
                    Answer::of_done(sockopt::set_socket_linger(&end, Some(Duration::ZERO)))
                }
                None => Answer::of_error(Errno::BADF),
            },
            Call::Add(set, file, Wish { token, interest, mode }) => {
                let set = &self.sets[set];
                self.with(file, |file| answer(set.add(file, token, interest, mode)))
            }
            Call::AddExclusive(set, file, wish) => {
                self.with(file, |file| answer(add_exclusive(&self.sets[set], file, wish)))
            }
            Call::Modify(set, file, Wish { token, interest, mode }) => {
                let set = &self.sets[set];
                self.with(file, |file| answer(set.modify(file, token, interest, mode)))
            }
            Call::Remove(set, file) => self.with(file, |file| answer(self.sets[set].remove(file))),
            Call::Wait(set, most) => {
                let mut events = Events::with_capacity_and_ceiling(most, most);
                let waited = self.sets[set].wait(&mut events, Some(Duration::ZERO));
                let events = events.iter().collect();
                Answer { events, ..answer(waited.map(|_| ())) }
            }
        }
    }

    fn with(&self, file: File, call: impl FnOnce(&OwnedFd) -> Answer) -> Answer {
        self.files[file.number()].as_ref().map_or(Answer::of_error(Errno::BADF), call)
    }

    fn open(&mut self, connection: usize) -> Result<(), Errno> {
        let socket = sockets::open(self.family)?;
        self.put(File::End(connection, Side::Ours), socket).map_err(|error| errno(&error))
    }

    fn connect(&mut self, connection: usize, address: &SocketAddrAny) -> Answer {
        let Some(end) = &self.files[File::End(connection, Side::Ours).number()] else {
            return Answer::of_error(Errno::BADF);
        };
        let connected = net::connect(end, address);
        self.names[connection] = net::getsockname(end).ok();
        Answer::of_done(connected)
    }

    /// Accepts an end, and says of which connection.
    fn accept(&mut self) -> Result<usize, Errno> {
        let listener = self.files[File::Listener.number()].as_ref().ok_or(Errno::BADF)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (end, peer) = net::acceptfrom_with(listener, flags)?;
        let connection = self.names.iter().position(|name| *name == peer && peer.is_some());
        let connection = connection.ok_or(Errno::CONNABORTED)?;
        if self.family == Family::Unix {
            set_options(&end, self.family)?;
        }
        self.put(File::End(connection, Side::Theirs), end).map_err(|error| errno(&error))?;
        Ok(connection)
    }

    /// Which sockets were woken since the last time that this was asked.
    pub(super) fn heard(&mut self) -> Vec<File> {
        let mut events = Events::with_capacity_and_ceiling(FILES, FILES);
        self.witness.wait(&mut events, Some(Duration::ZERO)).expect("epoll_wait can't fail");
        let numbers = events.iter().filter_map(|event| usize::try_from(event.token().0).ok());
        let mut heard = std::mem::take(&mut self.said);
        heard.extend(numbers.map(File::of));
        heard
    }

    /// What can be seen of an open file. FIONREAD comes last: it takes the socket's lock, and so
    /// waits until what the look before saw the beginning of is over, wake-ups included.
    pub(super) fn state(&self, file: File) -> Option<State> {
        let fd = self.files[file.number()].as_ref()?;
        let readiness = readiness(fd);
        let (mut unread, mut connected) = (0, false);
        if let File::End(..) = file {
            connected = net::getpeername(fd).is_ok_and(|peer| peer.is_some());
            let count = ioctl_fionread(fd).expect("a socket");
            unread = usize::try_from(count).expect("few bytes");
        }
        Some(State { readiness, unread, connected })
    }
}

impl Drop for Real {
    /// Leaves no connection in TIME_WAIT behind, of which there would be many thousands.
    fn drop(&mut self) {
        for end in self.files.iter().flatten() {
            // An eventfd has no such option, and a listener no use for it.
            let _ = sockopt::set_socket_linger(end, Some(Duration::ZERO));
        }
    }
}

/// What poll(2) says of a descriptor now.
pub(super) fn readiness(fd: impl AsFd) -> Readiness {
    let all = PollFlags::IN | PollFlags::OUT | PollFlags::PRI | PollFlags::RDHUP;
    let mut fds = [PollFd::new(&fd, all)];
    poll(&mut fds, Some(&Timespec::default())).expect("poll of one descriptor");
    Readiness::from_bits(fds[0].revents().bits().into())
}

/// Registers exclusively: by the wrapper, or past it what its types refuse.
fn add_exclusive(set: &Epoll, file: &OwnedFd, wish: Wish) -> io::Result<()> {
    let Wish { token, interest, mode } = wish;
    let narrow = match (interest.is_readable(), interest.is_writable()) {
        _ if interest.is_priority() || interest.is_peer_closed() => None,
        (true, true) => Some(ExclusiveInterest::ReadableOrWritable),
        (true, false) => Some(ExclusiveInterest::Readable),
        (false, _) => Some(ExclusiveInterest::Writable),
    };
    let trigger = match mode {
        Mode::Level => Some(Trigger::Level),
        Mode::Edge => Some(Trigger::Edge),
        Mode::LevelOneShot | Mode::EdgeOneShot => None,
    };
    if let (Some(narrow), Some(trigger)) = (narrow, trigger) {
        return set.add_exclusive(file, token, narrow, trigger).map(drop);
    }
    let flags = [
        (true, EventFlags::EXCLUSIVE),
        (interest.is_readable(), EventFlags::IN),
        (interest.is_writable(), EventFlags::OUT),
        (interest.is_priority(), EventFlags::PRI),
        (interest.is_peer_closed(), EventFlags::RDHUP),
        (matches!(mode, Mode::Edge | Mode::EdgeOneShot), EventFlags::ET),
        (matches!(mode, Mode::LevelOneShot | Mode::EdgeOneShot), EventFlags::ONESHOT),
    ];
    let flags = flags.iter().filter(|(asked, _)| *asked).map(|(_, flag)| *flag).collect();
    Ok(epoll::add(set, file, EventData::new_u64(token.0), flags)?)
}

fn answer(done: io::Result<()>) -> Answer {
    Answer::of_done(done.map_err(|error| errno(&error)))
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::INVAL)
}

/// Splices into a pipe, and reads that to its end.
fn splice_from(end: &OwnedFd, most: usize) -> Answer {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("a pipe");
    let spliced = splice(end, None, &writer, None, most, SpliceFlags::NONBLOCK);
    let mut bytes = vec![0; spliced.unwrap_or(0)];
    if !bytes.is_empty() {
        let read = rustix::io::read(&reader, &mut *bytes);
        assert_eq!(read, spliced, "what is in the pipe");
    }
    Answer { bytes, ..Answer::of_count(spliced) }
}

/// Sends a message with a descriptor.
fn send_descriptor(end: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let passed = [PASSED.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&passed)), "there is room for one");
    net::sendmsg(end, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
}

/// Receives without room for descriptors.
fn receive_message(end: &OwnedFd, most: usize) -> Answer {
    let mut bytes = vec![0; most];
    let mut none = RecvAncillaryBuffer::default();
    let pieces = &mut [IoSliceMut::new(&mut bytes)];
    let received = net::recvmsg(end, pieces, &mut none, RecvFlags::empty());
    let cut = received.as_ref().is_ok_and(|it| it.flags.contains(ReturnFlags::CTRUNC));
    let count = received.map(|message| message.bytes);
    bytes.truncate(count.unwrap_or(0));
    Answer { bytes, cut, ..Answer::of_count(count) }
}
