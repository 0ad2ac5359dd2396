//! A service that knows some requests and has a reply for each, sent in pieces of any size.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Returns the reply to a request: the number of its connection, how many requests that has made
/// before, and which of the known ones it is.
type Answer = Box<dyn Fn(usize, usize, usize) -> Vec<u8> + Send + Sync>;

/// How a [`ReplyServer`] is to behave.
pub struct Replies {
    requests: Vec<Vec<u8>>,
    answer: Answer,
    piece: usize,
    gather: usize,
    last: usize,
}

impl Replies {
    /// Knows these requests, none of which begins with another one.
    #[must_use]
    pub fn to(
        requests: &[&str],
        answer: impl Fn(usize, usize, usize) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let requests = requests.iter().map(|request| request.as_bytes().to_vec()).collect();
        let (piece, gather, last) = (usize::MAX, 1, usize::MAX);
        Self { requests, answer: Box::new(answer), piece, gather, last }
    }

    /// Sends this many bytes at a time, each time in a segment of its own.
    #[must_use]
    pub fn in_pieces_of(self, piece: usize) -> Self {
        Self { piece, ..self }
    }

    /// Answers when this many requests have come, to all of them at once.
    #[must_use]
    pub fn gathered(self, gather: usize) -> Self {
        Self { gather, ..self }
    }

    /// Closes each connection behind this many replies.
    #[must_use]
    pub fn closing_after(self, last: usize) -> Self {
        Self { last, ..self }
    }

    /// Starts it on a free port of loopback.
    ///
    /// # Panics
    ///
    /// When it can't listen.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> ReplyServer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared { over: AtomicBool::new(false), heard: Mutex::default() });
        let server = ReplyServer { address, shared: Arc::clone(&shared) };
        let replies = Arc::new(self);
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if shared.over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                shared.heard().push(Vec::new());
                let (replies, shared) = (Arc::clone(&replies), Arc::clone(&shared));
                // An error is the peer's end, which is its own affair.
                thread::spawn(move || replies.converse(number, stream, &shared));
            }
        });
        server
    }

    fn converse(&self, number: usize, mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (mut unread, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
        let (mut waiting, mut count) = (Vec::new(), 0);
        loop {
            let read = stream.read(&mut chunk)?;
            if read == 0 {
                return Ok(());
            }
            unread.extend_from_slice(&chunk[..read]);
            while let Some(which) = self.requests.iter().position(|one| unread.starts_with(one)) {
                unread.drain(..self.requests[which].len());
                shared.heard()[number].push(which);
                waiting.push((self.answer)(number, count, which));
                count += 1;
                if count == self.last {
                    return stream.write_all(&waiting.concat());
                }
            }
            assert!(
                self.requests.iter().any(|request| request.starts_with(&unread)),
                "an unknown request: {}",
                unread.escape_ascii()
            );
            if waiting.len() >= self.gather {
                for piece in waiting.concat().chunks(self.piece) {
                    stream.write_all(piece)?;
                }
                waiting.clear();
            }
        }
    }
}

/// A running service, on threads of this process. It takes no more connections once it is dropped.
pub struct ReplyServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    over: AtomicBool,
    heard: Mutex<Vec<Vec<usize>>>,
}

impl Shared {
    fn heard(&self) -> std::sync::MutexGuard<'_, Vec<Vec<usize>>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReplyServer {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Which requests have come, on each connection.
    #[must_use]
    pub fn heard(&self) -> Vec<Vec<usize>> {
        self.shared.heard().clone()
    }
}

impl Drop for ReplyServer {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Its accept waits for one more.
        let _ = TcpStream::connect(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Peer;

    #[test]
    fn known_requests_are_answered_together_and_remembered() {
        let answer = |connection, before, which| format!("{connection}.{before}.{which} ").into();
        let server = Replies::to(&["one", "two"], answer).gathered(2).in_pieces_of(1).start();
        let peer = Peer::connect(server.address());
        peer.send(b"tw");
        peer.send(b"oone");
        peer.expect(b"0.0.1 0.1.0 ");
        assert_eq!(server.heard(), [[1, 0]]);
        let server = Replies::to(&["one"], |_, _, _| b"1".to_vec()).closing_after(2).start();
        let peer = Peer::connect(server.address());
        peer.send(b"oneoneone");
        peer.expect(b"11");
    }
}
