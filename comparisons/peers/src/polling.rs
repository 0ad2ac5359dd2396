//! The crate polling by hand, edge-triggered: a portable poller without a runtime.

use polling::{Events, Poller};
use rustix::event::epoll::{EventData, EventFlags, add};
use rustix::net::{SocketFlags, accept_with};
use slab::Slab;
use std::convert::Infallible;
use std::io::{self, ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;

use crate::queue::Queue;

const EVENTS: NonZeroUsize = NonZeroUsize::new(1024).expect("it is not zero");
/// One below the key that the poller keeps for itself.
const LISTENER: usize = usize::MAX - 1;

struct Connection {
    stream: TcpStream,
    owed: Queue,
}

/// Registers what `Poller::add_with_mode` would for `Event::all(key)` and `PollMode::Edge`. That
/// method is not a safe one, so the call is made here, with the same flags.
fn register(poller: &Poller, source: impl AsFd, key: usize) -> io::Result<()> {
    let (read, write) = (EventFlags::IN | EventFlags::PRI, EventFlags::OUT);
    let flags = read | write | EventFlags::HUP | EventFlags::ERR | EventFlags::ET;
    Ok(add(poller, source, EventData::new_u64(key as u64), flags)?)
}

pub(crate) fn echo(read_buffer: usize) -> io::Result<Infallible> {
    let listener = crate::listen::listener()?;
    crate::listen::announce(&listener)?;
    let poller = Poller::new()?;
    let mut events = Events::with_capacity(EVENTS);
    let mut connections = Slab::new();
    let mut buffer = vec![0; read_buffer];
    register(&poller, &listener, LISTENER)?;
    loop {
        events.clear();
        poller.wait(&mut events, None)?;
        for event in events.iter() {
            if event.key == LISTENER {
                accept(&listener, &poller, &mut connections)?;
            } else if serve(&mut connections[event.key], event.readable, &mut buffer).is_err() {
                // Dropped, it closes its descriptor, and that ends the registration.
                connections.remove(event.key);
            }
        }
    }
}

fn accept(listener: &TcpListener, poller: &Poller, to: &mut Slab<Connection>) -> io::Result<()> {
    loop {
        // As the listener's own `accept`, but non-blocking from birth.
        let stream = match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            Ok(stream) => TcpStream::from(stream),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let place = to.vacant_entry();
        register(poller, &stream, place.key())?;
        place.insert(Connection { stream, owed: Queue::default() });
    }
}

/// Echoes until nothing is left or the socket is full. polling doesn't register RDHUP, so a short
/// read doesn't show that no end is behind it: only `WouldBlock` does.
fn serve(connection: &mut Connection, is_readable: bool, buffer: &mut [u8]) -> io::Result<()> {
    let Connection { stream, owed } = connection;
    if owed.is_empty() {
        if !is_readable {
            return Ok(());
        }
    } else if !owed.flush(stream)? {
        return Ok(());
    }
    loop {
        match stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(got) => {
                if !owed.send(stream, &buffer[..got])? {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
