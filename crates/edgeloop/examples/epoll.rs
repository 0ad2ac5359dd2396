//! The 100-line echo server on bare epoll, as it should have been.
//!
//! Everybody has written it once: a listener, an epoll instance, a batch of 32 events, connections
//! registered for `IN | RDHUP | ET`, one read and one write for each event. It echoes what one
//! types, and loses data as soon as anybody sends more. This is the same program with what was
//! missing; each comment that begins with "The original" says what went wrong in that place.
//!
//!     cargo run --release --example epoll [ADDRESS]        (0.0.0.0:3000)
//!
//! It uses [`edgeloop::epoll`] alone. The loop of the crate does all this and the rest of the
//! contract too: timeouts, limits, draining.

use edgeloop::epoll::{Epoll, Events, Interest, Mode, Token};
use rustix::io::Errno;
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const LISTENER: Token = Token(0);
/// The original had no `WRITABLE`: it could not learn that a full socket has room again.
const ALL: Interest = Interest::READABLE.union(Interest::WRITABLE).union(Interest::PEER_CLOSED);
const BUFFER: usize = 32 * 1024;
/// How many buffers one connection may fill before the others have their turn.
const READS_PER_TURN: usize = 16;
/// How long to wait, at most, before accepting is tried again that had no descriptor.
const RETRY: Duration = Duration::from_millis(100);

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "0.0.0.0:3000".into());
    let listener = TcpListener::bind(&address)?;
    listener.set_nonblocking(true)?;
    // Connections inherit it. Without it, a byte sent as urgent would be missing from the echo.
    rustix::net::sockopt::set_socket_oobinline(&listener, true)?;
    log(format_args!("listening on {}", listener.local_addr()?));

    let epoll = Epoll::new()?;
    epoll.add(&listener, LISTENER, Interest::READABLE, Mode::Edge)?;
    let mut events = Events::with_capacity(32);
    let mut server =
        Server { epoll, listener, connections: HashMap::new(), last: 0, starved: false };
    let mut buffer = vec![0; BUFFER];
    loop {
        server.epoll.wait(&mut events, server.starved.then_some(RETRY))?;
        let mut accept = server.starved;
        for event in &events {
            match event.token() {
                LISTENER => accept = true,
                token => server.serve(token, &mut buffer),
            }
        }
        // After the batch, so that no event in it can be about a connection newer than itself.
        if accept {
            server.accept()?;
        }
    }
}

struct Server {
    epoll: Epoll,
    listener: TcpListener,
    /// The original's key was the descriptor, whose number the next client gets. Tokens are counted
    /// here: an event that comes too late finds nobody, rather than somebody else.
    connections: HashMap<Token, Connection>,
    last: u64,
    /// Out of descriptors; clients may be waiting in the backlog.
    starved: bool,
}

impl Server {
    /// Accepts everybody who waits. The original accepted one for each edge, so that of two clients
    /// that came together the second waited for a third.
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let error = match self.listener.accept() {
                Ok((stream, _)) => {
                    self.welcome(stream);
                    continue;
                }
                Err(error) => error,
            };
            match Errno::from_io_error(&error) {
                Some(Errno::AGAIN) => {
                    self.starved = false;
                    return Ok(());
                }
                // The edge for those who wait is spent, and no other will come for them, so the
                // next turn tries again, and a timer sees to it that there is one. The original
                // ended here.
                Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    if !self.starved {
                        log(format_args!("cannot accept for now: {error}"));
                    }
                    self.starved = true;
                    return Ok(());
                }
                Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK) | None => return Err(error),
                // A client that has gone again; accept(2) has a dozen such errors.
                Some(_) => {}
            }
        }
    }

    /// Registers a new connection, once for all that it will need. What is there to be read already
    /// counts as its first edge.
    fn welcome(&mut self, stream: TcpStream) {
        self.last += 1;
        let token = Token(self.last);
        let registered = stream
            .set_nonblocking(true)
            .and_then(|()| self.epoll.add(&stream, token, ALL, Mode::Edge));
        match registered {
            Ok(()) => {
                self.connections.insert(token, Connection { stream, owed: Vec::new() });
            }
            // The client is closed, not the server.
            Err(error) => log(format_args!("cannot serve a client: {error}")),
        }
    }

    /// Serves the connection that an event is about.
    fn serve(&mut self, token: Token, buffer: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        let ended = match connection.echo(buffer) {
            Ok(Next::Wait) => false,
            // There is no edge for what is there already, but modifying reports it anew, behind
            // everybody else who is ready.
            Ok(Next::Again) => {
                self.epoll.modify(&connection.stream, token, ALL, Mode::Edge).is_err()
            }
            // Any error of one client is that client's affair; the original ended the process.
            Ok(Next::Close) | Err(_) => true,
        };
        if ended {
            // Dropped, it closes its only descriptor, and that ends the registration. The original
            // forgot to: each reset leaked a descriptor.
            self.connections.remove(&token);
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// What was read and couldn't be written yet. Never more than one buffer: while anything is
    /// owed nothing is read, and TCP's flow control stops the peer.
    owed: Vec<u8>,
}

/// What becomes of a connection after its turn.
enum Next {
    /// The kernel has said `EAGAIN`, so it will report the next edge.
    Wait,
    /// The turn is over, the work is not.
    Again,
    Close,
}

impl Connection {
    /// Writes what is owed, then reads and writes until the kernel has no room or no data.
    ///
    /// The event's flags aren't looked at: whatever they say, these calls know better. The original
    /// closed on `RDHUP` and lost all that had come with the FIN; here a FIN is found where it
    /// stands, behind the last byte, as a read of 0. And the original read once for each edge: of
    /// more than 32 KiB at a time the rest makes no edge, and stalled for ever.
    fn echo(&mut self, buffer: &mut [u8]) -> io::Result<Next> {
        for _ in 0..READS_PER_TURN {
            if !self.owed.is_empty() {
                let taken = write(&mut self.stream, &self.owed)?;
                self.owed.drain(..taken);
                if !self.owed.is_empty() {
                    return Ok(Next::Wait);
                }
                self.owed = Vec::new(); // an idle connection keeps no memory
            }
            match self.stream.read(buffer) {
                // Nothing is owed and nothing is unread, so that closing sends a FIN after the
                // last byte, and not a reset in its stead.
                Ok(0) => return Ok(Next::Close),
                Ok(count) => {
                    let taken = write(&mut self.stream, &buffer[..count])?;
                    self.owed.extend_from_slice(&buffer[taken..count]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Next::Again)
    }
}

/// Writes as much as the socket takes, and says how much that was. The original took a partial
/// write for a whole one and lost the rest.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match stream.write(&bytes[taken..]) {
            Ok(count) => taken += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// One line to stderr; that nobody may be reading it is no reason to end. The original printed its
/// whole buffer for each event, which took 28 times as long as the echo.
fn log(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}
