//! Requests of a real protocol, several in flight on each connection; what is published reaches
//! others. Replies are counted by their lines.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::socket::{Patience, Socket};

/// After so long without a byte a first reply is whole.
const SILENCE: Duration = Duration::from_millis(50);

/// The most that one call receives.
const PIECE: usize = 64 * 1024;

fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// Receives exactly this many lines.
fn receive_lines(socket: &Socket, wanted: usize, buffer: &mut [u8]) -> io::Result<()> {
    let mut patience = Patience::default();
    let mut received = 0;
    while received < wanted {
        match socket.try_receive(buffer)? {
            0 => patience.wait()?,
            more => {
                received += lines(&buffer[..more]);
                patience.renew();
            }
        }
    }
    if received == wanted { Ok(()) } else { Err(io::Error::other("more comes than was asked for")) }
}

/// Clients that all send, and all wait for the replies to what they have sent; and those that hear
/// what is published.
#[derive(Debug)]
pub(crate) struct Talk {
    senders: Vec<Socket>,
    requests: Vec<u8>,
    /// Of the replies to all requests of a sender.
    lines: usize,
    in_flight: usize,
    listeners: Vec<Socket>,
    /// Of what a listener hears in a round.
    heard: usize,
    buffer: Vec<u8>,
}

impl Talk {
    /// Connects, asks once and looks how the reply begins.
    ///
    /// # Errors
    ///
    /// When it begins otherwise, too.
    pub(crate) fn connect(
        server: SocketAddr,
        connections: usize,
        request: &str,
        in_flight: usize,
        begins: &str,
    ) -> io::Result<Self> {
        let connect = |_| Socket::connect(server);
        let senders = (0..connections).map(connect).collect::<io::Result<Vec<_>>>()?;
        let reply = ask(&senders[0], request)?;
        if !reply.starts_with(begins.as_bytes()) {
            let reply = String::from_utf8_lossy(&reply);
            return Err(io::Error::other(format!("the reply to {request:?} is {reply:?}")));
        }
        Ok(Self {
            senders,
            requests: request.repeat(in_flight).into_bytes(),
            lines: lines(&reply) * in_flight,
            in_flight,
            listeners: Vec::new(),
            heard: 0,
            buffer: vec![0; PIECE],
        })
    }

    /// The same with so many more connections that hear every request, each as so many lines, after
    /// they have subscribed.
    pub(crate) fn heard_by(
        mut self,
        server: SocketAddr,
        listeners: usize,
        subscribe: &str,
        lines: usize,
    ) -> io::Result<Self> {
        for _ in 0..listeners {
            let listener = Socket::connect(server)?;
            ask(&listener, subscribe)?;
            self.listeners.push(listener);
        }
        self.heard = lines * self.in_flight * self.senders.len();
        Ok(self)
    }

    /// All send, and everything arrives. Returns the replies, or the deliveries where there are
    /// listeners.
    pub(crate) fn round(&mut self) -> io::Result<u64> {
        for sender in &self.senders {
            sender.send(&self.requests)?;
        }
        for listener in &self.listeners {
            receive_lines(listener, self.heard, &mut self.buffer)?;
        }
        for sender in &self.senders {
            receive_lines(sender, self.lines, &mut self.buffer)?;
        }
        Ok((self.senders.len() * self.in_flight * self.listeners.len().max(1)) as u64)
    }
}

/// One request, and the reply to it.
fn ask(socket: &Socket, request: &str) -> io::Result<Vec<u8>> {
    socket.send(request.as_bytes())?;
    let (mut reply, mut buffer) = (Vec::new(), vec![0; PIECE]);
    let (mut patience, mut last) = (Patience::default(), Instant::now());
    while reply.is_empty() || last.elapsed() < SILENCE {
        match socket.try_receive(&mut buffer)? {
            0 => patience.wait()?,
            more => {
                reply.extend_from_slice(&buffer[..more]);
                last = Instant::now();
                patience.renew();
            }
        }
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    /// Answers each line with this many.
    fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a client");
                std::thread::spawn(move || {
                    let reader = BufReader::new(stream.try_clone().expect("a descriptor"));
                    for _ in reader.lines().map_while(Result::ok) {
                        // The client may have enough.
                        let _ = stream.write_all(answer.as_bytes());
                    }
                });
            }
        });
        address
    }

    #[test]
    fn a_round_is_all_replies() {
        let mut talk = Talk::connect(server("+a\n+b\n"), 3, "x\n", 4, "+a").expect("it answers");
        assert_eq!(talk.round().expect("replies"), 12);
        assert_eq!(talk.round().expect("replies"), 12);
    }

    #[test]
    fn another_reply_is_told() {
        let error = Talk::connect(server("-ERR no\n"), 1, "x\n", 1, "+OK").expect_err("no");
        assert!(error.to_string().contains("-ERR no"), "{error}");
    }
}
