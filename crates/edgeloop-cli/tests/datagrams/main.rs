//! The echo of datagrams: that it answers whoever asks, and is no weapon (C50, C51).

#[path = "../serve/mod.rs"]
mod serve;

mod echo;
mod limits;
mod networks;

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use rustix::process::Signal;
use serve::edgeloop;
use testkit::{Launch, PATIENCE, Server};

/// How long a client waits for what must not come.
const SILENCE: Duration = Duration::from_millis(300);

/// A server of this address alone.
fn server(address: &str, options: &[&str]) -> Launch {
    edgeloop(&["serve", address]).args(options)
}

/// A client of a server at this address.
struct Client {
    socket: UdpSocket,
    server: SocketAddr,
}

impl Client {
    #[track_caller]
    fn of(server: SocketAddr) -> Self {
        let any = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        Self::at(any, server)
    }

    #[track_caller]
    fn at(address: &str, server: SocketAddr) -> Self {
        Self { socket: UdpSocket::bind(address).expect("a free port"), server }
    }

    #[track_caller]
    fn send(&self, bytes: &[u8]) {
        let sent = self.socket.send_to(bytes, self.server);
        assert_eq!(sent.expect("it is sent"), bytes.len());
    }

    /// What comes within this time.
    #[track_caller]
    fn receive(&self, limit: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(limit)).expect("a timeout");
        let mut bytes = vec![0; 65_536];
        match self.socket.recv_from(&mut bytes) {
            Ok((length, from)) => {
                let (ip, port) = (from.ip().to_canonical(), from.port());
                assert_eq!((ip, port), (self.server.ip().to_canonical(), self.server.port()));
                bytes.truncate(length);
                Some(bytes)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends this and expects the same from the address that it was sent to.
    #[track_caller]
    fn expect_echo(&self, bytes: &[u8]) {
        self.send(bytes);
        let answer = self.receive(PATIENCE).expect("an answer");
        assert!(answer == bytes, "{} bytes for {}", answer.len(), bytes.len());
    }

    #[track_caller]
    fn expect_silence(&self) {
        assert_eq!(self.receive(SILENCE), None);
    }
}

/// The totals of a server that is ended.
struct Totals {
    line: String,
}

impl Totals {
    /// Ends it, which has nothing to complain about.
    #[track_caller]
    fn of(mut server: Server) -> Self {
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code_within(PATIENCE), 0);
        Self { line: server.log().expect_line("totals") }
    }

    /// What stands behind a name, or 0 if it is not there.
    #[track_caller]
    fn number(&self, name: &str) -> u64 {
        let Some((_, rest)) = self.line.split_once(&format!(" {name}=")) else { return 0 };
        let end = rest.find(' ').unwrap_or(rest.len());
        rest[..end].parse().unwrap_or_else(|_| panic!("{name}: {}", self.line))
    }

    #[track_caller]
    fn expect(&self, numbers: &[(&str, u64)]) {
        for &(name, expected) in numbers {
            assert_eq!(self.number(name), expected, "{name}: {}", self.line);
        }
    }
}
