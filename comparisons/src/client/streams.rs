//! Streams: bytes without a pause, so many of them unanswered at any time.
//!
//! While it is measured the client has its kernel discard what comes back. To copy it would make
//! the client the slower end, and a server that waits for its client sleeps and wakes for every few
//! pieces. The bytes are compared before and after.

use std::io;
use std::time::Instant;

use edgeloop::Address;

use super::socket::{DISCARDED, Patience, Socket, pattern};
use super::{Client, Done, Rounds, Until};

/// The most that one call sends.
const PIECE: usize = 64 * 1024;

/// What a round moves on each connection; between rounds a slice may end.
const ROUND: u64 = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    window: u64,
    piece: Vec<u8>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Stream {
    socket: Socket,
    sent: u64,
    received: u64,
}

impl Streams {
    pub(super) fn connect(server: &Address, connections: usize, window: usize) -> io::Result<Self> {
        let open = |_| Ok(Stream { socket: Socket::connect(server)?, sent: 0, received: 0 });
        Ok(Self {
            streams: (0..connections).map(open).collect::<io::Result<_>>()?,
            window: window as u64,
            piece: pattern(0, PIECE),
            buffer: vec![0; DISCARDED],
        })
    }

    /// Moves bytes until there are enough, and then until all are answered.
    fn flow(&mut self, until: Until) -> io::Result<u64> {
        let mut patience = Patience::default();
        let before: u64 = self.streams.iter().map(|stream| stream.received).sum();
        let mut is_open = true;
        loop {
            let (mut moved, mut owed, mut received) = (0, 0, 0);
            for stream in &mut self.streams {
                let room = self.window - (stream.sent - stream.received);
                // Pieces are whole as long as the kernel takes them whole, for all servers alike.
                if is_open && room >= PIECE as u64 {
                    let sent = stream.socket.try_send(&self.piece)? as u64;
                    stream.sent += sent;
                    moved += sent;
                }
                if stream.sent > stream.received {
                    let more = stream.socket.try_discard(&mut self.buffer)? as u64;
                    stream.received += more;
                    moved += more;
                }
                owed += stream.sent - stream.received;
                received += stream.received;
            }
            if !is_open && owed == 0 {
                return Ok(received - before);
            }
            match until {
                Until::Time(time) => is_open = is_open && Instant::now() < time,
                Until::Rounds(rounds) => {
                    let enough = rounds * ROUND * self.streams.len() as u64;
                    is_open = received + owed - before < enough;
                }
            }
            if moved == 0 {
                patience.wait()?;
            } else {
                patience.renew();
            }
        }
    }
}

impl Client for Streams {
    fn round(&mut self) -> io::Result<u64> {
        Ok(self.flow(Until::Rounds(1))? / 1024)
    }

    // A stream has no rounds.
    fn drive(&mut self, until: Until, _: &mut Rounds) -> io::Result<Done> {
        let begin = Instant::now();
        let bytes = self.flow(until)?;
        Ok(Done { units: bytes / 1024, time: begin.elapsed() })
    }

    fn acknowledge(&self) -> io::Result<()> {
        self.streams.iter().try_for_each(|stream| stream.socket.acknowledge())
    }

    fn verify(&mut self) -> io::Result<()> {
        for (index, stream) in self.streams.iter().enumerate() {
            stream.socket.expect_echo(&pattern(1 + index, 1_048_573))?;
            stream.socket.expect_nothing()?;
        }
        Ok(())
    }
}
