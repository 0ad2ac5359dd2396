//! An echo server that gets one thing wrong, for tests of whoever is to notice.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;

use crate::limits::raise_descriptor_limit;

/// What an [`OddServer`] gets wrong. Offsets count the bytes of each connection, from 0 on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Oddity {
    /// Nothing.
    None,
    /// So many bytes from this offset on don't come back.
    Loses {
        /// The first of them.
        at: u64,
        /// How many.
        count: u64,
    },
    /// The last bytes before this offset come once more.
    Repeats {
        /// The offset behind them.
        at: u64,
        /// How many.
        count: usize,
    },
    /// One bit of the byte at this offset comes back as the other.
    Flips {
        /// The byte.
        at: u64,
    },
    /// Bytes that nobody sent come in front of this offset.
    Adds {
        /// The offset.
        at: u64,
        /// Those bytes.
        bytes: &'static [u8],
    },
    /// The message that begins at this offset comes back behind the one that follows it.
    Swaps {
        /// The beginning of the first.
        at: u64,
        /// How long both are.
        size: u64,
    },
    /// What comes on one connection goes back on another: on the other of each two.
    Crosses,
    /// A FIN follows so many bytes of each connection; what else comes is read, and not answered.
    Closes {
        /// How many bytes are answered.
        after: u64,
    },
    /// An RST follows so many bytes of each connection.
    Resets {
        /// How many bytes are answered.
        after: u64,
    },
    /// All is read, and nothing answered.
    Silent,
    /// Nothing is even read.
    Deaf,
    /// Each answer comes so much later.
    Delays(Duration),
    /// Once, behind so many bytes of a connection, it stands still.
    Pauses {
        /// How many bytes are answered before.
        after: u64,
        /// For how long.
        span: Duration,
    },
}

/// A running server with an oddity, on threads of this process. It takes no more connections once
/// it is dropped; those that it has end with their peers.
#[derive(Debug)]
pub struct OddServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    oddity: Oddity,
    over: AtomicBool,
    paused: AtomicBool,
    received: AtomicU64,
    heard: AtomicUsize,
    peers: Mutex<Vec<SocketAddr>>,
}

/// What is read at a time.
const PIECE: usize = 64 * 1024;

impl OddServer {
    /// Starts one on a free port of loopback.
    #[must_use]
    #[track_caller]
    pub fn start(oddity: Oddity) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), oddity)
    }

    /// Starts one on this address, whose port may be 0.
    ///
    /// # Panics
    ///
    /// When it can't listen there.
    #[must_use]
    #[track_caller]
    pub fn at(address: SocketAddr, oddity: Oddity) -> Self {
        // Its connections are this process's, two descriptors each.
        raise_descriptor_limit();
        let listener = TcpListener::bind(address)
            .unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"));
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            oddity,
            over: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            received: AtomicU64::new(0),
            heard: AtomicUsize::new(0),
            peers: Mutex::new(Vec::new()),
        });
        let server = Self { address, shared: Arc::clone(&shared) };
        thread::spawn(move || shared.accept(&listener));
        server
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many bytes have come, on all connections.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// On how many connections anything has come.
    #[must_use]
    pub fn heard(&self) -> usize {
        self.shared.heard.load(Ordering::Relaxed)
    }

    /// Who has connected, in order.
    #[must_use]
    pub fn peers(&self) -> Vec<SocketAddr> {
        self.shared.peers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for OddServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Its accept waits for one more.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        let mut waiting: Option<TcpStream> = None;
        loop {
            let accepted = listener.accept();
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            // A connection that was reset in the queue, or no descriptor for it.
            let Ok((stream, peer)) = accepted else { continue };
            self.peers.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
            let _ = stream.set_nodelay(true);
            if self.oddity != Oddity::Crosses {
                if let Ok(out) = stream.try_clone() {
                    self.clone().answer(stream, out);
                }
            } else if let Some(other) = waiting.take() {
                if let (Ok(out), Ok(other_out)) = (other.try_clone(), stream.try_clone()) {
                    self.clone().answer(stream, out);
                    self.clone().answer(other, other_out);
                }
            } else {
                waiting = Some(stream);
            }
        }
    }

    /// Answers on `out` what comes on `stream`, on a thread of its own.
    fn answer(self: Arc<Self>, mut stream: TcpStream, mut out: TcpStream) {
        thread::spawn(move || {
            // An error is the peer's end, which is its own affair.
            let _ = self.converse(&mut stream, &mut out);
        });
    }

    fn converse(&self, stream: &mut TcpStream, out: &mut TcpStream) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        let mut editor = Editor { oddity: &self.oddity, offset: 0, kept: Vec::new() };
        if self.oddity == Oddity::Deaf {
            // Until the peer has gone: what it sent is in the way of a look for that, so it is
            // read.
            while !self.over.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(10));
            }
        }
        loop {
            let count = stream.read(&mut piece)?;
            if count == 0 {
                return Ok(());
            }
            let before = editor.offset;
            self.heard.fetch_add(usize::from(before == 0), Ordering::Relaxed);
            self.received.fetch_add(count as u64, Ordering::Relaxed);
            let reply = editor.edit(&piece[..count]);
            match self.oddity {
                Oddity::Delays(span) => thread::sleep(span),
                Oddity::Pauses { after, span }
                    if editor.offset > after && !self.paused.swap(true, Ordering::SeqCst) =>
                {
                    thread::sleep(span);
                }
                _ => {}
            }
            out.write_all(&reply)?;
            match self.oddity {
                Oddity::Closes { after } if before < after && editor.offset >= after => {
                    out.shutdown(Shutdown::Write)?;
                }
                Oddity::Resets { after } if editor.offset >= after => {
                    // At the drop of the last descriptor, which is soon.
                    return Ok(sockopt::set_socket_linger(&*stream, Some(Duration::ZERO))?);
                }
                _ => {}
            }
        }
    }
}

/// Makes the answers of one connection.
struct Editor<'a> {
    oddity: &'a Oddity,
    /// How much has come.
    offset: u64,
    /// What will be needed again.
    kept: Vec<u8>,
}

impl Editor<'_> {
    fn edit(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut reply = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.edit_one(byte, &mut reply);
            self.offset += 1;
        }
        reply
    }

    fn edit_one(&mut self, byte: u8, reply: &mut Vec<u8>) {
        let offset = self.offset;
        match *self.oddity {
            Oddity::Loses { at, count } if (at..at + count).contains(&offset) => {}
            Oddity::Flips { at } if offset == at => reply.push(byte ^ 0x40),
            Oddity::Adds { at, bytes } => {
                if offset == at {
                    reply.extend_from_slice(bytes);
                }
                reply.push(byte);
            }
            Oddity::Repeats { at, count } => {
                if offset == at {
                    reply.append(&mut self.kept);
                }
                if offset < at && offset + count as u64 >= at {
                    self.kept.push(byte);
                }
                reply.push(byte);
            }
            Oddity::Swaps { at, size } if (at..at + size).contains(&offset) => {
                self.kept.push(byte);
            }
            Oddity::Swaps { at, size } => {
                reply.push(byte);
                if offset + 1 == at + 2 * size {
                    reply.append(&mut self.kept);
                }
            }
            Oddity::Closes { after } | Oddity::Resets { after } if offset >= after => {}
            Oddity::Silent | Oddity::Deaf => {}
            _ => reply.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Peer;

    /// What comes back of these bytes, however they are cut.
    #[track_caller]
    fn edited(oddity: &Oddity, bytes: &[u8]) -> String {
        let mut editor = Editor { oddity, offset: 0, kept: Vec::new() };
        let whole = editor.edit(bytes);
        let mut editor = Editor { oddity, offset: 0, kept: Vec::new() };
        let pieces: Vec<u8> = bytes.chunks(2).flat_map(|piece| editor.edit(piece)).collect();
        assert_eq!(pieces, whole);
        String::from_utf8(whole).expect("ASCII")
    }

    #[test]
    fn each_oddity_does_what_it_says() {
        let bytes = b"abcdefgh";
        for (oddity, expected) in [
            (Oddity::None, "abcdefgh"),
            (Oddity::Loses { at: 2, count: 3 }, "abfgh"),
            (Oddity::Repeats { at: 4, count: 2 }, "abcdcdefgh"),
            (Oddity::Flips { at: 1 }, "a\"cdefgh"),
            (Oddity::Adds { at: 1, bytes: b"xyz" }, "axyzbcdefgh"),
            (Oddity::Swaps { at: 2, size: 2 }, "abefcdgh"),
            (Oddity::Closes { after: 3 }, "abc"),
            (Oddity::Silent, ""),
        ] {
            assert_eq!(edited(&oddity, bytes), expected, "{oddity:?}");
        }
    }

    #[test]
    fn ends_come_as_fin_or_as_rst_and_crossed_connections_answer_each_other() {
        let closes = OddServer::start(Oddity::Closes { after: 3 });
        let peer = Peer::connect(closes.address());
        peer.send(b"abcd");
        peer.expect(b"abc");
        peer.expect_eof();
        let resets = OddServer::start(Oddity::Resets { after: 3 });
        let peer = Peer::connect(resets.address());
        peer.send(b"abcd");
        peer.expect_reset();
        let crosses = OddServer::start(Oddity::Crosses);
        let (one, other) = (Peer::connect(crosses.address()), Peer::connect(crosses.address()));
        one.send(b"from one");
        other.send(b"from the other");
        one.expect(b"from the other");
        other.expect(b"from one");
        assert_eq!((crosses.received(), crosses.heard()), (22, 2));
        assert_eq!(crosses.peers(), [one.address(), other.address()]);
    }
}
