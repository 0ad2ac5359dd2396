//! Connections that come, say one thing, and go, one after the other.
//!
//! The client ends first and waits for the server's end, so that the whole life of a connection
//! lies in the slice. Its port then rests in TIME_WAIT. Linux takes such a port again after a
//! second on loopback (`tcp_tw_reuse` of 2, the default); where all of one address rest, the next
//! address of 127.0.0.0/8 is taken.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpStream};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use super::Client;
use super::socket::{Socket, expect, pattern};

#[derive(Debug)]
pub(super) struct Visits {
    server: SocketAddr,
    message: Vec<u8>,
    answer: Vec<u8>,
    /// How many times all ports of a source address were taken.
    exhausted: u8,
}

impl Visits {
    pub(super) fn new(server: SocketAddr, bytes: usize) -> Self {
        Self { server, message: pattern(0, bytes), answer: vec![0; bytes], exhausted: 0 }
    }

    fn connect(&mut self) -> io::Result<Socket> {
        loop {
            let connected = match self.exhausted {
                // The kernel may share a port between several servers if nobody binds it.
                0 => TcpStream::connect(self.server),
                number => self.connect_from(Ipv4Addr::new(127, 0, 1, number)),
            };
            match connected {
                Ok(stream) => return Socket::new(stream),
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                    self.exhausted = self.exhausted.checked_add(1).ok_or(error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn connect_from(&self, source: Ipv4Addr) -> io::Result<TcpStream> {
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddrV4::new(source, 0)).map_err(|error| match error {
            // What bind(2) says when no port is free.
            rustix::io::Errno::ADDRINUSE => io::Error::from(ErrorKind::AddrNotAvailable),
            error => error.into(),
        })?;
        connect(&socket, &self.server)?;
        Ok(TcpStream::from(socket))
    }

    fn visit(&mut self) -> io::Result<()> {
        let socket = self.connect()?;
        socket.send(&self.message)?;
        socket.receive(&mut self.answer)?;
        socket.stream().shutdown(Shutdown::Write)?;
        socket.expect_end()
    }
}

impl Client for Visits {
    fn round(&mut self) -> io::Result<u64> {
        self.visit()?;
        Ok(1)
    }

    // Its connections are closed, and what was owed with them.
    fn acknowledge(&self) -> io::Result<()> {
        Ok(())
    }

    fn verify(&mut self) -> io::Result<()> {
        let length = self.message.len();
        for visitor in 1..=10 {
            let usual = std::mem::replace(&mut self.message, pattern(visitor, length));
            self.visit()?;
            expect(&self.message, &self.answer)?;
            self.message = usual;
        }
        Ok(())
    }
}
