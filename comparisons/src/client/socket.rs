//! A connected socket whose calls are repeated until they are done, without ever sleeping.

use std::hint;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use edgeloop::{Address, UnixAddress};
use rustix::io::Errno;
use rustix::net::{RecvFlags, sockopt};

use super::drain::Drain;
use crate::interrupt;

/// How long a server may owe an answer before the run fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that one call should discard.
pub(super) const DISCARDED: usize = 256 * 1024;

/// Looks at the clock only now and then, while nothing moves.
#[derive(Debug, Default)]
pub(super) struct Patience {
    tries: u32,
    since: Option<Instant>,
}

impl Patience {
    /// Something has moved.
    pub(super) fn renew(&mut self) {
        *self = Self::default();
    }

    /// Nothing has moved. Leaves the socket alone for a moment: whoever holds its lock makes the
    /// kernel process what arrives on this core instead of the server's.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        for _ in 0..8 {
            hint::spin_loop();
        }
        self.tries = self.tries.wrapping_add(1);
        if self.tries.is_multiple_of(4096) {
            interrupt::check()?;
            let since = *self.since.get_or_insert_with(Instant::now);
            if since.elapsed() > PATIENCE {
                let words = format!("no answer for {} s", PATIENCE.as_secs());
                return Err(io::Error::new(ErrorKind::TimedOut, words));
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Socket {
    /// Of any transport: the calls are the same.
    stream: TcpStream,
    over: Over,
}

#[derive(Debug)]
enum Over {
    Tcp,
    /// With what discards.
    Unix(Drain),
    Udp,
}

impl Socket {
    pub(super) fn connect(server: impl Into<Address>) -> io::Result<Self> {
        match server.into() {
            Address::Unix(server) => Self::connect_to_path(&server),
            server => Self::new(TcpStream::connect(server)?),
        }
    }

    fn connect_to_path(server: &UnixAddress) -> io::Result<Self> {
        let path = server.as_path().ok_or(ErrorKind::AddrNotAvailable)?;
        let stream = TcpStream::from(OwnedFd::from(UnixStream::connect(path)?));
        stream.set_nonblocking(true)?;
        Ok(Self { stream, over: Over::Unix(Drain::new()) })
    }

    /// A socket for datagrams to and from this server alone.
    pub(super) fn over_udp(server: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        Ok(Self { stream: TcpStream::from(OwnedFd::from(socket)), over: Over::Udp })
    }

    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, over: Over::Tcp })
    }

    pub(super) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends what the kernel takes at once; nothing is 0.
    #[inline]
    pub(super) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        match (&self.stream).write(bytes) {
            Err(error) if is_not_yet(&error) => Ok(0),
            answer => answer,
        }
    }

    /// Receives what is there; nothing is 0, and the end of the stream an error.
    #[inline]
    pub(super) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match (&self.stream).read(buffer) {
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server has closed")),
            Err(error) if is_not_yet(&error) => Ok(0),
            answer => answer,
        }
    }

    /// Counts what is there, up to the length of `buffer`, and lets the kernel discard it: with
    /// `MSG_TRUNC` nothing is copied (tcp(7)). Over Unix sockets there is no such flag.
    #[inline]
    pub(super) fn try_discard(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Over::Unix(drain) = &self.over {
            return drain.discard(&self.stream);
        }
        match rustix::net::recv(&self.stream, buffer, RecvFlags::TRUNC) {
            Ok((_, 0)) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server has closed")),
            Ok((_, count)) => Ok(count),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Acknowledges what was received, now. The kernel waits up to 40 ms for something to send the
    /// acknowledgement with, and the timer of that fires on the core of the servers: whichever of
    /// them is being loaded by then would be charged.
    pub(super) fn acknowledge(&self) -> io::Result<()> {
        if !matches!(self.over, Over::Tcp) {
            // Nothing is acknowledged elsewhere.
            return Ok(());
        }
        // The first makes it send what it owes; the second takes it back to waiting (tcp(7)).
        sockopt::set_tcp_quickack(&self.stream, true)?;
        sockopt::set_tcp_quickack(&self.stream, false)?;
        Ok(())
    }

    /// Sends all of it.
    pub(super) fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        let mut patience = Patience::default();
        while !bytes.is_empty() {
            match self.try_send(bytes)? {
                0 => patience.wait()?,
                sent => {
                    bytes = &bytes[sent..];
                    patience.renew();
                }
            }
        }
        Ok(())
    }

    /// Fills the buffer; over UDP, with one datagram.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<()> {
        let mut patience = Patience::default();
        let mut received = 0;
        while received < buffer.len() {
            match self.try_receive(&mut buffer[received..])? {
                0 => patience.wait().map_err(|error| self.lost(error))?,
                short if matches!(self.over, Over::Udp) && short < buffer.len() => {
                    let words = format!("{short} bytes came back, not {}", buffer.len());
                    return Err(io::Error::new(ErrorKind::InvalidData, words));
                }
                more => {
                    received += more;
                    patience.renew();
                }
            }
        }
        Ok(())
    }

    /// The error of waiting, where nothing can be late.
    fn lost(&self, error: io::Error) -> io::Error {
        match self.over {
            Over::Udp if error.kind() == ErrorKind::TimedOut => {
                io::Error::new(error.kind(), format!("a datagram was lost: {error}"))
            }
            _ => error,
        }
    }

    /// Sends and receives at the same time, and compares what comes back: the service is echo.
    pub(super) fn expect_echo(&self, bytes: &[u8]) -> io::Result<()> {
        let mut patience = Patience::default();
        let mut answer = vec![0; bytes.len()];
        let (mut sent, mut received) = (0, 0);
        while received < bytes.len() {
            let out = self.try_send(&bytes[sent..])?;
            let back = self.try_receive(&mut answer[received..])?;
            sent += out;
            received += back;
            if out + back == 0 {
                patience.wait()?;
            } else {
                patience.renew();
            }
        }
        expect(bytes, &answer)
    }

    /// Waits for the end of the stream.
    pub(super) fn expect_end(&self) -> io::Result<()> {
        let mut patience = Patience::default();
        loop {
            match (&self.stream).read(&mut [0]) {
                Ok(0) => return Ok(()),
                Ok(_) => return Err(surplus()),
                Err(error) if is_not_yet(&error) => patience.wait()?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Whatever was owed has come: there must be nothing besides.
    pub(super) fn expect_nothing(&self) -> io::Result<()> {
        if self.try_receive(&mut [0])? == 0 { Ok(()) } else { Err(surplus()) }
    }
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn surplus() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "more came back than was sent")
}

/// # Errors
///
/// When the answer is not what was sent; the text says where it begins to differ.
pub(super) fn expect(sent: &[u8], answer: &[u8]) -> io::Result<()> {
    match sent.iter().zip(answer).position(|(sent, answer)| sent != answer) {
        None => Ok(()),
        Some(at) => {
            let words = format!("the answer differs from what was sent at byte {at}");
            Err(io::Error::new(ErrorKind::InvalidData, words))
        }
    }
}

/// Bytes that depend on who sends them and on their place: what is swapped, lost or repeated shows.
pub(super) fn pattern(sender: usize, length: usize) -> Vec<u8> {
    // The constant is SplitMix64's; any odd number with bits all over would do.
    let word = |index: usize| {
        let mixed = ((sender as u64) << 32 | index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ (mixed >> 29)).to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(word).collect();
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client over UDP, and a server that has sent it a datagram of this length.
    fn answered(bytes: usize) -> (Socket, UdpSocket) {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let client = Socket::over_udp(server.local_addr().expect("an address")).expect("a socket");
        let to = client.stream().local_addr().expect("an address");
        server.send_to(&vec![7; bytes], to).expect("it can be sent");
        (client, server)
    }

    #[test]
    fn an_answer_over_udp_is_one_datagram() {
        let mut buffer = [0; 64];
        let (client, _server) = answered(64);
        client.receive(&mut buffer).expect("an answer");
        client.expect_nothing().expect("no other");
        let (client, _server) = answered(63);
        let short = client.receive(&mut buffer).expect_err("a byte is missing").to_string();
        assert!(short.contains("63 bytes came back, not 64"), "{short}");
    }

    #[test]
    fn a_lost_datagram_is_said() {
        let timeout = || io::Error::new(ErrorKind::TimedOut, "no answer");
        let (client, _server) = answered(64);
        assert!(client.lost(timeout()).to_string().contains("a datagram was lost"));
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let tcp = Socket::connect(listener.local_addr().expect("an address")).expect("connect");
        assert_eq!(tcp.lost(timeout()).to_string(), "no answer");
    }

    #[test]
    fn patterns_differ_by_sender_and_by_place() {
        assert_eq!(pattern(3, 13).len(), 13);
        assert_ne!(pattern(1, 64), pattern(2, 64));
        let long = pattern(1, 4096);
        assert!((64..4032).step_by(64).all(|at| long[at..at + 64] != long[..64]));
    }

    #[test]
    fn a_difference_is_named_by_its_place() {
        assert!(expect(b"abc", b"abc").is_ok());
        let error = expect(b"abc", b"abd").expect_err("they differ");
        assert!(error.to_string().contains("byte 2"), "{error}");
    }
}
