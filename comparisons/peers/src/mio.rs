//! mio by hand: an event loop on mio's `Poll`, with a slab of connections and one read buffer.

use mio::event::{Event, Source};
use mio::net::{TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use std::convert::Infallible;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use crate::queue::{Partial, Queue};
use crate::service::Service;

const EVENTS: usize = 1024;
const LISTENER: Token = Token(usize::MAX);

/// A listener, and what it accepts.
trait Listener: Source {
    type Stream: Source + Read + Write;

    /// Whether a short read empties a socket. Over Unix sockets it need not: a message that comes
    /// with descriptors ends a read (unix(7)).
    const SHORT_IS_LAST: bool;

    fn accept(&self) -> io::Result<Self::Stream>;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    const SHORT_IS_LAST: bool = true;

    fn accept(&self) -> io::Result<TcpStream> {
        Ok(Self::accept(self)?.0)
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    const SHORT_IS_LAST: bool = false;

    fn accept(&self) -> io::Result<UnixStream> {
        Ok(Self::accept(self)?.0)
    }
}

/// A connection, what it owes, and what its service keeps for it.
struct Connection<S, K> {
    stream: S,
    owed: Queue,
    kept: K,
}

/// The loop. An error of `serve` ends the connection of that key.
fn run<L: Listener, K: Default>(
    mut listener: L,
    mut serve: impl FnMut(&mut Slab<Connection<L::Stream, K>>, usize, &Event) -> io::Result<()>,
) -> io::Result<Infallible> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(EVENTS);
    let mut connections = Slab::new();
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    loop {
        wait(&mut poll, &mut events)?;
        for event in &events {
            let Token(key) = event.token();
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
            } else if serve(&mut connections, key, event).is_err() {
                // Dropped, it closes its descriptor, and that ends the registration.
                connections.remove(key);
            }
        }
    }
}

fn wait(poll: &mut Poll, events: &mut Events) -> io::Result<()> {
    match poll.poll(events, None) {
        // Without events.
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
        result => result,
    }
}

fn accept<L: Listener, K: Default>(
    listener: &L,
    poll: &Poll,
    connections: &mut Slab<Connection<L::Stream, K>>,
) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok(stream) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let place = connections.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(place.key()), interest)?;
        place.insert(Connection { stream, owed: Queue::default(), kept: K::default() });
    }
}

/// Reads; nothing means that there is nothing more for now, and the end of the stream is an error.
fn read(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match stream.read(buffer) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(got) => Ok(Some(got)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a short read leaves something: the end or an error, behind the bytes.
fn is_last(event: &Event) -> bool {
    event.is_read_closed() || event.is_error()
}

fn on_loopback() -> io::Result<TcpListener> {
    let listener = crate::listen::listener()?;
    crate::listen::announce(&listener)?;
    Ok(TcpListener::from_std(listener))
}

pub(crate) fn echo(read_buffer: usize) -> io::Result<Infallible> {
    serve_echo(on_loopback()?, read_buffer)
}

pub(crate) fn echo_on_unix(read_buffer: usize, path: &Path) -> io::Result<Infallible> {
    serve_echo(UnixListener::from_std(crate::listen::listen_on(path)?), read_buffer)
}

fn serve_echo<L: Listener>(listener: L, read_buffer: usize) -> io::Result<Infallible> {
    let mut buffer = vec![0; read_buffer];
    run::<L, ()>(listener, |connections, key, event| {
        let Connection { stream, owed, .. } = &mut connections[key];
        let mut must_drain = !L::SHORT_IS_LAST || is_last(event);
        if !owed.is_empty() {
            if !owed.flush(stream)? {
                return Ok(());
            }
            // The edge of what came meanwhile is gone.
            must_drain = true;
        } else if !event.is_readable() {
            return Ok(());
        }
        while let Some(got) = read(stream, &mut buffer)? {
            let is_sent = owed.send(stream, &buffer[..got])?;
            if !is_sent || (got < buffer.len() && !must_drain) {
                break;
            }
        }
        Ok(())
    })
}

/// One socket for all, which is received from until nothing is left.
pub(crate) fn echo_datagrams(read_buffer: usize) -> io::Result<Infallible> {
    let mut socket = UdpSocket::from_std(crate::listen::datagrams()?);
    let mut buffer = vec![0; read_buffer];
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(EVENTS);
    poll.registry().register(&mut socket, LISTENER, Interest::READABLE)?;
    loop {
        wait(&mut poll, &mut events)?;
        loop {
            match socket.recv_from(&mut buffer) {
                Ok((length, from)) => drop(socket.send_to(&buffer[..length], from)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
}

pub(crate) fn fanout(read_buffer: usize) -> io::Result<Infallible> {
    let mut buffer = vec![0; Service::MESSAGE + read_buffer];
    run::<_, Partial>(on_loopback()?, |connections, key, event| {
        let Connection { stream, owed, .. } = &mut connections[key];
        if !owed.is_empty() {
            owed.flush(stream)?;
        }
        if !event.is_readable() {
            return Ok(());
        }
        while let Some(got) = read(&mut connections[key].stream, &mut buffer[Service::MESSAGE..])? {
            let messages = connections[key].kept.whole(&mut buffer, got);
            for (other, Connection { stream, owed, .. }) in connections.iter_mut() {
                if other == key {
                    continue;
                }
                if owed.is_empty() {
                    // Whoever's connection has failed is told so by an event of its own.
                    let _ = owed.send(stream, messages);
                } else {
                    owed.add(messages);
                }
            }
            if got < read_buffer && !is_last(event) {
                break;
            }
        }
        Ok(())
    })
}
