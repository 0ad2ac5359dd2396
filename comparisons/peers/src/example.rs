//! The 100-line example, ported from Go: what many have written once, with all that is wrong in it.
//!
//! An epoll wrapper (create, add with or without edge triggering, wait for up to 32 events), a
//! listener registered level-triggered, connections registered for `IN | RDHUP | ET`, and a handler
//! chosen by the event. Its faults are its own, and stay:
//!
//! - it reads once, 32 KiB at the most, for each edge: what is behind that stays in the kernel
//!   until more arrives, so whoever sends more than that and waits for it waits for ever;
//! - it writes once: what the socket doesn't take is lost;
//! - data that arrives together with a FIN is not read;
//! - a connection that is reset is never closed, and its descriptor leaks;
//! - an error of accept, whatever it is, ends the server.
//!
//! With printing, it prints the whole buffer of 32 KiB for each event. Here that goes to /dev/null,
//! so it is the cost of formatting alone, without a terminal's.

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::net::{SocketFlags, accept_with};
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

const BUFFER: usize = 32 * 1024;
const EVENTS: usize = 32;

/// The event of a connection whose peer has sent, and of one whose peer has also ended.
const SENT: EventFlags = EventFlags::IN;
const ENDED: EventFlags = EventFlags::IN.union(EventFlags::RDHUP);

/// The wrapper.
struct Epoll(OwnedFd);

impl Epoll {
    fn create() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    fn add(&self, fd: impl AsFd, mut events: EventFlags, is_edge: bool) -> io::Result<()> {
        let key = EventData::new_u64(u64::try_from(fd.as_fd().as_raw_fd()).expect("not negative"));
        events.set(EventFlags::ET, is_edge);
        Ok(epoll::add(&self.0, fd, key, events)?)
    }

    fn wait(&self, events: &mut Vec<Event>) -> io::Result<()> {
        events.clear();
        match epoll::wait(&self.0, rustix::buffer::spare_capacity(events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The example without its printing.
pub(crate) fn quiet(_: usize) -> io::Result<Infallible> {
    serve(None)
}

/// The example as it is.
pub(crate) fn printing(_: usize) -> io::Result<Infallible> {
    serve(Some(OpenOptions::new().write(true).open("/dev/null")?))
}

fn serve(mut print: Option<File>) -> io::Result<Infallible> {
    let listener = crate::listen::listener()?;
    let epoll = Epoll::create()?;
    epoll.add(&listener, EventFlags::IN, false)?;
    crate::listen::announce(&listener)?;
    let mut connections: HashMap<RawFd, OwnedFd> = HashMap::new();
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        epoll.wait(&mut events)?;
        for event in &events {
            let (key, flags) = (event.data.u64(), event.flags);
            let fd = RawFd::try_from(key).expect("every key is a descriptor");
            if fd == listener.as_raw_fd() {
                let connection =
                    accept_with(&listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
                epoll.add(&connection, ENDED, true)?;
                connections.insert(connection.as_raw_fd(), connection);
            } else if flags == SENT {
                if let Some(connection) = connections.get(&fd) {
                    // What went wrong was printed, and that was all.
                    let _ = echo(connection, print.as_mut());
                }
            } else if flags == ENDED {
                connections.remove(&fd);
            }
        }
    }
}

/// One read into a new buffer, and one write.
fn echo(connection: &OwnedFd, print: Option<&mut File>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let got = rustix::io::read(connection, &mut buffer)?;
    if let Some(out) = print {
        out.write_all(line(&buffer).as_bytes())?;
    }
    rustix::io::write(connection, &buffer[..got])?;
    Ok(())
}

/// A slice of bytes as Go prints it: numbers in brackets, made up whole and then written at once.
fn line(bytes: &[u8]) -> String {
    let mut line = String::from("[");
    for byte in bytes {
        write!(line, "{byte} ").expect("a string takes everything");
    }
    line.pop();
    line.push_str("]\n");
    line
}
