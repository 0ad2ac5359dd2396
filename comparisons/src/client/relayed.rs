//! Both ends of a proxy: its clients and its upstream, in one thread.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::time::Duration;

use super::socket::{DISCARDED, Patience, Socket, pattern};

/// The most that one call sends.
const PIECE: usize = 64 * 1024;

/// The length of a message.
const MESSAGE: usize = 64;

/// How long what was begun to see whether a proxy listens may take to reach the upstream.
const STRAY: Duration = Duration::from_millis(200);

/// Where a proxy connects to.
#[derive(Debug)]
pub(crate) struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    pub(crate) fn new() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Closes what has come before anything is measured.
    pub(crate) fn forget_all(&self) {
        std::thread::sleep(STRAY);
        while self.listener.accept().is_ok() {}
    }

    fn accept(&self) -> io::Result<Socket> {
        let mut patience = Patience::default();
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return Socket::new(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => patience.wait()?,
                Err(error) => return Err(error),
            }
        }
    }

    /// A client of the proxy, and what the proxy connects for it.
    fn pair(&self, proxy: SocketAddr) -> io::Result<(Socket, Socket)> {
        Ok((Socket::connect(proxy)?, self.accept()?))
    }

    /// Moves this many bytes over a fresh connection: from the upstream to the client, or to the
    /// upstream. The receiver's kernel discards them.
    pub(crate) fn stream(&self, proxy: SocketAddr, down: bool, bytes: usize) -> io::Result<()> {
        let (client, upstream) = self.pair(proxy)?;
        let (source, sink) = if down { (&upstream, &client) } else { (&client, &upstream) };
        let (piece, mut buffer) = (pattern(0, PIECE), vec![0; DISCARDED]);
        let mut patience = Patience::default();
        let (mut sent, mut received) = (0, 0);
        while received < bytes {
            let mut moved = 0;
            if sent < bytes {
                moved = source.try_send(&piece[..PIECE.min(bytes - sent)])?;
                sent += moved;
                if sent == bytes {
                    source.stream().shutdown(Shutdown::Write)?;
                }
            }
            if received < sent {
                let more = sink.try_discard(&mut buffer)?;
                received += more;
                moved += more;
            }
            if moved == 0 { patience.wait()? } else { patience.renew() }
        }
        Ok(())
    }
}

/// Clients whose messages the upstream sends back.
#[derive(Debug)]
pub(crate) struct Relayed {
    clients: Vec<Socket>,
    upstreams: Vec<Socket>,
    message: Vec<u8>,
    buffer: Vec<u8>,
}

impl Relayed {
    pub(crate) fn connect(
        upstream: &Upstream,
        proxy: SocketAddr,
        connections: usize,
    ) -> io::Result<Self> {
        let pairs = (0..connections).map(|_| upstream.pair(proxy));
        let pairs = pairs.collect::<io::Result<Vec<_>>>()?;
        let (clients, upstreams) = pairs.into_iter().unzip();
        let message = pattern(0, MESSAGE);
        Ok(Self { clients, upstreams, message, buffer: vec![0; MESSAGE] })
    }

    /// A message of every client, there and back. Returns how many.
    pub(crate) fn round(&mut self) -> io::Result<u64> {
        for client in &self.clients {
            client.send(&self.message)?;
        }
        for upstream in &self.upstreams {
            upstream.receive(&mut self.buffer)?;
            upstream.send(&self.buffer)?;
        }
        for client in &self.clients {
            client.receive(&mut self.buffer)?;
            if self.buffer != self.message {
                return Err(io::Error::other("a message came back changed"));
            }
        }
        Ok(self.clients.len() as u64)
    }
}
