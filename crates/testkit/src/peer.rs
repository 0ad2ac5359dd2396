//! The other end of a connection: what a client says, and what it must hear.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv, send,
    socket_with, sockopt,
};

use crate::bytes::{Prng, Stream, assert_same_bytes};
use crate::wait::PATIENCE;

/// A connection to the server under test. Reads and writes block, for [`PATIENCE`] at the most.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
}

/// What a narrow peer asks for: a small window, so that little of the server's output is under way,
/// and some room to send from. The kernel doubles both.
const NARROW_RECEIVE: usize = 4096;
const NARROW_SEND: usize = 128 * 1024;

impl Peer {
    /// Connects.
    ///
    /// # Panics
    ///
    /// When that fails.
    #[must_use]
    #[track_caller]
    pub fn connect(address: impl ToSocketAddrs) -> Self {
        let address = address.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        let address = address.unwrap_or_else(|| panic!("no IP to connect to"));
        Self::try_connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects to a Unix socket.
    ///
    /// # Panics
    ///
    /// When that fails.
    #[must_use]
    #[track_caller]
    pub fn connect_unix(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        UnixStream::connect(path)
            .and_then(Self::over_unix)
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", path.display()))
    }

    /// Wraps a Unix socket that was connected otherwise.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub fn over_unix(stream: UnixStream) -> io::Result<Self> {
        // The same calls do for both.
        let stream = TcpStream::from(OwnedFd::from(stream));
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    /// Connects, where it may fail.
    ///
    /// # Errors
    ///
    /// Those of connect(2); a timeout after [`PATIENCE`].
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    /// Connects, and is reset before anything else happens; perhaps even before connect(2) has
    /// returned, whose error it then is.
    ///
    /// # Panics
    ///
    /// When anything else happens.
    #[track_caller]
    pub fn expect_to_be_refused(address: SocketAddr) {
        match Self::try_connect(address) {
            Ok(peer) => peer.expect_reset(),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("expected a reset, got {}", told(&error)),
        }
    }

    /// Connects with small buffers, so that the server's output soon has nowhere to go.
    #[must_use]
    #[track_caller]
    pub fn narrow(address: SocketAddr) -> Self {
        Self::made(address, None, true)
    }

    /// Connects from the given address. The port of it may be 0.
    #[must_use]
    #[track_caller]
    pub fn connect_from(source: SocketAddr, address: SocketAddr) -> Self {
        Self::made(address, Some(source), false)
    }

    /// Wraps a connection that was made otherwise.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream })
    }

    #[track_caller]
    fn made(address: SocketAddr, source: Option<SocketAddr>, narrow: bool) -> Self {
        let make = || -> io::Result<Self> {
            let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
            if narrow {
                // Before the handshake, which tells the other end the window's scale.
                sockopt::set_socket_recv_buffer_size(&socket, NARROW_RECEIVE)?;
                sockopt::set_socket_send_buffer_size(&socket, NARROW_SEND)?;
            }
            if let Some(source) = source {
                bind(&socket, &source)?;
            }
            connect(&socket, &address)?;
            Self::over(socket.into())
        };
        make().unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Its own address, as the server knows it.
    ///
    /// # Panics
    ///
    /// When the socket has none.
    #[must_use]
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        self.stream.local_addr().expect("a local address")
    }

    /// The server's address.
    ///
    /// # Panics
    ///
    /// When the socket is no longer connected.
    #[must_use]
    #[track_caller]
    pub fn server(&self) -> SocketAddr {
        self.stream.peer_addr().expect("a peer address")
    }

    /// The connection itself.
    #[must_use]
    pub const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends all of `bytes`.
    #[track_caller]
    pub fn send(&self, bytes: &[u8]) {
        self.try_send(bytes).unwrap_or_else(|error| {
            panic!("cannot send {} bytes: {}", bytes.len(), told(&error));
        });
    }

    /// Sends all of `bytes`, where it may fail.
    ///
    /// # Errors
    ///
    /// Those of send(2); `WouldBlock` when the server takes nothing for [`PATIENCE`].
    pub fn try_send(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.stream).write_all(bytes)
    }

    /// Sends as much of `bytes` as is taken at once, and says how much that was. A connection that
    /// has ended takes nothing.
    #[must_use]
    pub fn send_what_fits(&self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match send(&self.stream, &bytes[sent..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(more) => sent += more,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        sent
    }

    /// Sends one urgent byte (TCP's out-of-band data).
    #[track_caller]
    pub fn send_urgent(&self, byte: u8) {
        send(&self.stream, &[byte], SendFlags::OOB).expect("send the urgent byte");
    }

    /// Receives exactly these bytes.
    #[track_caller]
    pub fn expect(&self, bytes: &[u8]) {
        let got = self.receive(bytes.len());
        assert_same_bytes(&got, bytes);
    }

    /// Sends these bytes and receives the same.
    #[track_caller]
    pub fn expect_echo(&self, bytes: &[u8]) {
        self.send(bytes);
        self.expect(bytes);
    }

    /// Receives the next `length` bytes of `stream`.
    #[track_caller]
    pub fn expect_stream(&self, stream: &mut Stream, mut length: u64) {
        while length > 0 {
            let piece = usize::try_from(length.min(64 * 1024)).expect("at most 64 KiB");
            self.expect(&stream.take(piece));
            length -= piece as u64;
        }
    }

    /// Sends the first `length` bytes of the stream with this seed, in pieces of all sizes, and
    /// receives the same at the same time.
    #[track_caller]
    pub fn expect_stream_echo(&self, seed: u64, length: u64) {
        thread::scope(|scope| {
            let sender = scope.spawn(|| self.try_send_stream(seed, length));
            self.expect_stream(&mut Stream::new(seed), length);
            sender.join().expect("the sender").expect("send the stream");
        });
    }

    /// Sends the first `length` bytes of the stream with this seed, in pieces of all sizes.
    ///
    /// # Errors
    ///
    /// Those of send(2).
    pub fn try_send_stream(&self, seed: u64, mut length: u64) -> io::Result<()> {
        let mut stream = Stream::new(seed);
        let mut sizes = Prng::new(!seed);
        while length > 0 {
            let most = usize::try_from(length).unwrap_or(usize::MAX);
            // Powers of two up to 128 KiB, and anything below each.
            let size = 1 << sizes.between(0, 17);
            let size = sizes.between(1, size).min(most);
            self.try_send(&stream.take(size))?;
            length -= size as u64;
        }
        Ok(())
    }

    /// Receives exactly `length` bytes; fewer where the stream ends.
    #[must_use]
    #[track_caller]
    pub fn receive(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match (&self.stream).read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("received {filled} of {length} bytes, then {}", told(&error)),
            }
        }
        bytes.truncate(filled);
        bytes
    }

    /// Receives what is there now, up to `limit` bytes, without waiting. Empty also at the end.
    #[must_use]
    #[track_caller]
    pub fn receive_what_is_there(&self, limit: usize) -> Vec<u8> {
        self.try_receive_what_is_there(limit)
            .unwrap_or_else(|error| panic!("cannot receive: {error}"))
    }

    /// The same where it may fail.
    ///
    /// # Errors
    ///
    /// Those of recv(2).
    pub fn try_receive_what_is_there(&self, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; limit];
        match recv(self.stream.as_fd(), bytes.as_mut_slice(), RecvFlags::DONTWAIT) {
            Ok((length, _)) => bytes.truncate(length),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => bytes.clear(),
            Err(error) => return Err(error.into()),
        }
        Ok(bytes)
    }

    /// Receives everything up to the server's FIN.
    #[must_use]
    #[track_caller]
    pub fn receive_to_end(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Err(error) = (&self.stream).read_to_end(&mut bytes) {
            panic!("received {} bytes, then {}", bytes.len(), told(&error));
        }
        bytes
    }

    /// The server's FIN is next.
    #[track_caller]
    pub fn expect_eof(&self) {
        let mut byte = [0];
        match (&self.stream).read(&mut byte) {
            Ok(0) => {}
            Ok(_) => panic!("expected the end of the stream, got byte {:#04x}", byte[0]),
            Err(error) => panic!("expected the end of the stream, got {}", told(&error)),
        }
    }

    /// Data or not, the connection ends with the server's RST, not with its FIN.
    #[track_caller]
    pub fn expect_reset(&self) {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            match (&self.stream).read(&mut bytes) {
                Ok(0) => panic!("expected a reset, got the end of the stream"),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("expected a reset, got {}", told(&error)),
            }
        }
    }

    /// Nothing comes for `span`, neither data nor an end.
    #[track_caller]
    pub fn expect_silence(&self, span: Duration) {
        assert!(!self.hears_within(span), "expected nothing for {span:?}, but something came");
    }

    /// Whether data, an end or an error comes within `span`. What comes is left unread.
    #[must_use]
    #[track_caller]
    pub fn hears_within(&self, span: Duration) -> bool {
        let start = Instant::now();
        loop {
            let left = span.saturating_sub(start.elapsed());
            if left.is_zero() {
                return false;
            }
            self.stream.set_read_timeout(Some(left)).expect("set a timeout");
            let heard = self.stream.peek(&mut [0]);
            self.stream.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
            match heard {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return true,
            }
        }
    }

    /// Ends its own stream (FIN) and goes on receiving.
    #[track_caller]
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("shutdown");
    }

    /// Ends the connection with an RST.
    #[track_caller]
    pub fn reset(self) {
        sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).expect("linger");
        drop(self);
    }

    /// Closes its descriptor: a FIN, or an RST where something is unread.
    pub fn close(self) {
        drop(self);
    }
}

/// A timeout of the socket is reported as EAGAIN, which says little.
fn told(error: &io::Error) -> String {
    if error.kind() == ErrorKind::WouldBlock {
        return format!("nothing for {PATIENCE:?}");
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (Peer, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let peer = Peer::narrow(listener.local_addr().expect("address"));
        (peer, listener.accept().expect("accept").0)
    }

    #[test]
    fn an_end_and_a_reset_are_told_apart() {
        let (peer, other) = pair();
        drop(other);
        peer.expect_eof();
        let (peer, other) = pair();
        peer.send(b"unread");
        let unread = other.peek(&mut [0; 8]).expect("peek");
        assert!(unread > 0);
        drop(other);
        peer.expect_reset();
    }

    #[test]
    fn silence_is_heard_and_what_comes_is_left() {
        let (peer, mut other) = pair();
        peer.expect_silence(Duration::from_millis(20));
        other.write_all(b"word").expect("write");
        assert!(peer.hears_within(PATIENCE));
        peer.expect(b"word");
    }

    #[test]
    #[should_panic(expected = "got the end of the stream")]
    fn a_fin_is_no_reset() {
        let (peer, other) = pair();
        drop(other);
        peer.expect_reset();
    }

    #[test]
    #[should_panic(expected = "3 bytes, expected 4")]
    fn a_stream_that_ends_early_is_no_echo() {
        let (peer, mut other) = pair();
        other.write_all(b"abc").expect("write");
        drop(other);
        peer.expect(b"abcd");
    }

    #[test]
    fn a_narrow_peer_takes_only_so_much() {
        let (peer, other) = pair();
        let sent = peer.send_what_fits(&vec![0; 64 << 20]);
        assert!(sent > 0 && sent < 64 << 20, "{sent}");
        drop(other);
    }
}
