//! Connections that are kept: message and answer, a chat, and those that say nothing.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use edgeloop::Address;
use peers::{Service, Transport};

use super::socket::{Socket, expect, pattern};
use super::{Client, tcp};
use crate::place;

/// The hidden command that holds idle connections.
pub(crate) const HOLD: &str = "hold";

fn connect_all(
    transport: Transport,
    server: &Address,
    connections: usize,
) -> io::Result<Vec<Socket>> {
    let connect = |_| match transport {
        Transport::Udp => Socket::over_udp(tcp(server)?),
        Transport::Tcp | Transport::Unix => Socket::connect(server),
    };
    (0..connections).map(connect).collect()
}

/// All send, then all answers are collected: every server has the same batches to serve.
#[derive(Debug)]
pub(crate) struct Crowd {
    sockets: Vec<Socket>,
    /// What each sends with one call: one message or several.
    message: Vec<u8>,
    answer: Vec<u8>,
    in_flight: usize,
    /// Over UDP, the number of the round, which each message begins with: what is answered late
    /// shows, and no message is like another. An echo may leave out what comes again and again.
    round: Option<u64>,
}

impl Crowd {
    pub(super) fn connect(
        transport: Transport,
        server: &Address,
        connections: usize,
        bytes: usize,
        in_flight: usize,
    ) -> io::Result<Self> {
        let message = pattern(0, bytes * in_flight);
        let answer = vec![0; message.len()];
        let sockets = connect_all(transport, server, connections)?;
        let round = (transport == Transport::Udp).then_some(0);
        Ok(Self { sockets, message, answer, in_flight, round })
    }

    /// So many rounds.
    pub(crate) fn rounds(&mut self, rounds: u64) -> io::Result<()> {
        (0..rounds).try_for_each(|_| self.round().map(drop))
    }

    /// The first half of a round.
    pub(crate) fn send_all(&mut self) -> io::Result<()> {
        if let Some(round) = &mut self.round {
            *round += 1;
            self.message[..8].copy_from_slice(&round.to_le_bytes());
        }
        self.sockets.iter().try_for_each(|socket| socket.send(&self.message))
    }

    /// The second half of a round.
    pub(crate) fn receive_all(&mut self) -> io::Result<()> {
        for socket in &self.sockets {
            socket.receive(&mut self.answer)?;
            if self.round.is_some() && self.answer != self.message {
                expect(&self.message, &self.answer)?;
            }
        }
        Ok(())
    }
}

impl Client for Crowd {
    fn round(&mut self) -> io::Result<u64> {
        self.send_all()?;
        self.receive_all()?;
        Ok((self.sockets.len() * self.in_flight) as u64)
    }

    fn acknowledge(&self) -> io::Result<()> {
        self.sockets.iter().try_for_each(Socket::acknowledge)
    }

    fn verify(&mut self) -> io::Result<()> {
        let length = self.message.len();
        for (index, socket) in self.sockets.iter().enumerate() {
            socket.send(&pattern(1 + index, length))?;
        }
        for (index, socket) in self.sockets.iter().enumerate() {
            socket.receive(&mut self.answer)?;
            expect(&pattern(1 + index, length), &self.answer)?;
            socket.expect_nothing()?;
        }
        Ok(())
    }
}

/// One connection whose every byte is a segment of its own.
#[derive(Debug)]
pub(super) struct Segments {
    socket: Socket,
    message: Vec<u8>,
}

/// After so many segments the client looks for answers, so that they don't fill its socket.
const SEGMENTS_AT_ONCE: usize = 16;

impl Segments {
    pub(super) fn connect(server: &Address, bytes: usize) -> io::Result<Self> {
        Ok(Self { socket: Socket::connect(server)?, message: pattern(0, bytes) })
    }

    fn exchange(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        let mut answer = vec![0; message.len()];
        let mut received = 0;
        for segments in message.chunks(SEGMENTS_AT_ONCE) {
            for segment in segments.chunks(1) {
                self.socket.send(segment)?;
            }
            received += self.socket.try_receive(&mut answer[received..])?;
        }
        self.socket.receive(&mut answer[received..])?;
        Ok(answer)
    }
}

impl Client for Segments {
    fn round(&mut self) -> io::Result<u64> {
        self.exchange(&self.message)?;
        Ok(1)
    }

    fn acknowledge(&self) -> io::Result<()> {
        self.socket.acknowledge()
    }

    fn verify(&mut self) -> io::Result<()> {
        let message = pattern(1, self.message.len());
        expect(&message, &self.exchange(&message)?)?;
        self.socket.expect_nothing()
    }
}

/// A chat: the first says something, all others receive it.
#[derive(Debug)]
pub(super) struct Chat {
    members: Vec<Socket>,
}

impl Chat {
    pub(super) fn connect(server: &Address, receivers: usize) -> io::Result<Self> {
        let chat = Self { members: connect_all(Transport::Tcp, server, 1 + receivers)? };
        // Who is not accepted yet receives nothing. The last to be accepted speaks: its message has
        // then been read behind all that were before it, and reaches everybody.
        chat.say(receivers, &pattern(0, Service::MESSAGE))?;
        Ok(chat)
    }

    /// One says something, and all others must hear exactly that.
    fn say(&self, speaker: usize, message: &[u8]) -> io::Result<()> {
        let mut heard = [0; Service::MESSAGE];
        self.members[speaker].send(message)?;
        for (_, member) in self.members.iter().enumerate().filter(|(index, _)| *index != speaker) {
            member.receive(&mut heard)?;
            expect(message, &heard)?;
        }
        Ok(())
    }
}

impl Client for Chat {
    fn round(&mut self) -> io::Result<u64> {
        self.say(0, &[b'm'; Service::MESSAGE])?;
        Ok(1)
    }

    fn acknowledge(&self) -> io::Result<()> {
        self.members.iter().try_for_each(Socket::acknowledge)
    }

    fn verify(&mut self) -> io::Result<()> {
        // Whoever speaks must not hear it: it would stand before what comes next.
        for speaker in [0, 1, self.members.len() - 1, 0] {
            self.say(speaker, &pattern(speaker, Service::MESSAGE))?;
        }
        self.members.iter().try_for_each(Socket::expect_nothing)
    }
}

/// A process that holds idle connections: this one has not descriptors enough for three servers'.
/// Dropping it closes them.
#[derive(Debug)]
pub(crate) struct Holder {
    child: Child,
}

impl Holder {
    /// Opens so many connections; each has sent one message and got it back.
    pub(crate) fn start(server: &Address, connections: usize) -> io::Result<Self> {
        let mut own = std::process::Command::new(std::env::current_exe()?);
        own.args([HOLD, &server.to_string(), &connections.to_string()]);
        let mut command = place::launched(place::CLIENT, &own)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = Self { child: command.spawn()? };
        let mut line = String::new();
        if let Some(output) = holder.child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        match line.trim() {
            "holding" => Ok(holder),
            said => Err(io::Error::other(format!("idle connections cannot be opened: {said}"))),
        }
    }

    /// Closes the connections and waits until they are closed.
    pub(crate) fn end(mut self) -> io::Result<()> {
        drop(self.child.stdin.take());
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the process of a [`Holder`] does, until its standard input ends.
pub(crate) fn hold(server: &Address, connections: usize) -> io::Result<()> {
    let open = |index| {
        let socket = Socket::connect(server)?;
        socket.expect_echo(&pattern(index, 64))?;
        Ok(socket)
    };
    let held = (0..connections).map(open).collect::<io::Result<Vec<_>>>();
    match &held {
        Ok(_) => println!("holding"),
        Err(error) => println!("{error}"),
    }
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
