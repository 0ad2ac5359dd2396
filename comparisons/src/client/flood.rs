//! Messages on a schedule, whatever the server makes of them: an open loop, for a server that can't
//! keep up.
//!
//! The client must be cheaper than the server, or it is the one that can't. So messages that are
//! due at once go with one call, and answers are discarded by the kernel, as with streams. The
//! bytes are compared before and after.

use std::io;
use std::time::{Duration, Instant};

use edgeloop::Address;

use super::socket::{DISCARDED, Patience, Socket, pattern};
use super::{Rounds, rounds};
use crate::interrupt;

/// The length of a message: the server copies it twice, and the client once.
const BYTES: usize = 4096;

/// How many messages of a connection may be unanswered. What is due beyond that waits, and its time
/// runs.
const WINDOW: usize = 64;

/// After so many rounds over all connections it is looked whether the run was interrupted.
const LOOK: u32 = 4096;

/// Messages at a steady rate, dealt out to connections in turn. Everything about one follows from
/// its number, so nothing is kept for those that wait.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    connections: usize,
    /// Messages a second on all of them.
    rate: u64,
}

const SECOND: u128 = 1_000_000_000;

impl Schedule {
    /// How many messages of a connection are due so long after the beginning.
    fn due(self, connection: usize, elapsed: Duration) -> usize {
        // The first message of all is due at once.
        let all = elapsed.as_nanos() * u128::from(self.rate) / SECOND + 1;
        let all = usize::try_from(all).unwrap_or(usize::MAX);
        (all + self.connections - 1 - connection) / self.connections
    }

    /// When the message of this number on a connection is due, after the beginning.
    fn time(self, connection: usize, number: usize) -> Duration {
        let index = (number * self.connections + connection) as u128;
        let nanos = (index * SECOND).div_ceil(u128::from(self.rate));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// A connection, and how far it is.
#[derive(Debug)]
struct Line {
    socket: Socket,
    sent: usize,
    received: usize,
    /// Whether something that was due could not be sent, for the server had not answered enough.
    held: bool,
    waited: Rounds,
}

impl Line {
    const fn answered(&self) -> usize {
        self.received / BYTES
    }

    /// Sends what is `due`, as far as the window and the socket allow. Returns how many messages
    /// were begun, and of these the ones that had been held back.
    fn send(&mut self, due: usize, messages: &[u8]) -> io::Result<(usize, usize)> {
        let allowed = due.min(self.answered() + WINDOW);
        let wanted = (allowed * BYTES).saturating_sub(self.sent);
        let begun = self.sent.div_ceil(BYTES);
        let start = self.sent % BYTES;
        let wanted = wanted.min(messages.len() - start);
        let mut sent = 0;
        if wanted > 0 {
            sent = self.socket.try_send(&messages[start..start + wanted])?;
            self.sent += sent;
        }
        let begun = self.sent.div_ceil(BYTES) - begun;
        let late = if self.held { begun } else { 0 };
        self.held = due > allowed || sent < wanted;
        Ok((begun, late))
    }
}

/// What came of a schedule that the server could not keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Flooded {
    /// Messages answered a second, while the schedule ran.
    pub(crate) answered: f64,
    /// The part of the messages that was held back because the server had not answered enough.
    pub(crate) held: f64,
    /// The 99th percentile of the time from when a message was due to its answer, of the connection
    /// in the middle and of the worst one, in milliseconds.
    pub(crate) median: f64,
    pub(crate) worst: f64,
}

/// The connections.
#[derive(Debug)]
pub(crate) struct Flood {
    lines: Vec<Line>,
    messages: Vec<u8>,
    buffer: Vec<u8>,
}

impl Flood {
    pub(crate) fn connect(server: &Address, connections: usize) -> io::Result<Self> {
        let open = |_| {
            let (socket, waited) = (Socket::connect(server)?, rounds()?);
            Ok(Line { socket, sent: 0, received: 0, held: false, waited })
        };
        let lines = (0..connections).map(open).collect::<io::Result<Vec<_>>>()?;
        // A message that was sent in part is gone on with, and as many follow as the window has.
        let messages = pattern(0, (WINDOW + 1) * BYTES);
        Ok(Self { lines, messages, buffer: vec![0; DISCARDED] })
    }

    /// Sends what no other message looks like on each connection, and compares what comes back.
    pub(crate) fn verify(&self) -> io::Result<()> {
        for (index, line) in self.lines.iter().enumerate() {
            line.socket.expect_echo(&pattern(1 + index, 3 * BYTES + 1))?;
            line.socket.expect_nothing()?;
        }
        Ok(())
    }

    /// How many messages a second the server answers if it is always given the next.
    pub(crate) fn peak(&mut self, length: Duration) -> io::Result<f64> {
        let mut answered = 0_u32;
        self.run(length, |_, _| usize::MAX, |_, _, _| answered += 1)?;
        Ok(f64::from(answered) / length.as_secs_f64())
    }

    /// Sends at this rate for so long.
    pub(crate) fn flood(&mut self, rate: u64, length: Duration) -> io::Result<Flooded> {
        let schedule = Schedule { connections: self.lines.len(), rate };
        let mut in_time = 0_u64;
        let (begun, held) = self.run(
            length,
            |connection, elapsed| schedule.due(connection, elapsed),
            |(connection, number), elapsed, waited| {
                let waits = elapsed.saturating_sub(schedule.time(connection, number));
                waited.saturating_record(u64::try_from(waits.as_nanos()).unwrap_or(u64::MAX));
                in_time += u64::from(elapsed <= length);
            },
        )?;
        let mut p99s: Vec<f64> = self
            .lines
            .iter()
            .map(|line| line.waited.value_at_quantile(0.99) as f64 / 1_000_000.0)
            .collect();
        p99s.sort_unstable_by(f64::total_cmp);
        Ok(Flooded {
            answered: in_time as f64 / length.as_secs_f64(),
            held: held as f64 / begun.max(1) as f64,
            median: p99s[p99s.len() / 2],
            worst: p99s[p99s.len() - 1],
        })
    }

    /// From the beginning: sends what is due for so long, and then waits for the rest of the
    /// answers; each is told. Returns how many messages were begun, and how many of them had been
    /// held back.
    fn run(
        &mut self,
        length: Duration,
        due: impl Fn(usize, Duration) -> usize,
        mut answered: impl FnMut((usize, usize), Duration, &mut Rounds),
    ) -> io::Result<(usize, usize)> {
        for line in &mut self.lines {
            (line.sent, line.received, line.held) = (0, 0, false);
            line.waited.reset();
        }
        let begin = Instant::now();
        let (mut begun, mut held) = (0, 0);
        let mut patience = Patience::default();
        let mut looks = 0_u32;
        loop {
            let (mut moved, mut owed) = (false, false);
            for (connection, line) in self.lines.iter_mut().enumerate() {
                let elapsed = begin.elapsed();
                // What was begun when the time is up is sent to its end.
                let due = if elapsed < length {
                    due(connection, elapsed)
                } else {
                    line.sent.div_ceil(BYTES)
                };
                let before = line.sent;
                let (more, late) = line.send(due, &self.messages)?;
                begun += more;
                held += late;
                moved |= line.sent > before;
                if line.sent > line.received {
                    let first = line.answered();
                    let count = line.socket.try_discard(&mut self.buffer)?;
                    line.received += count;
                    moved |= count > 0;
                    let elapsed = begin.elapsed();
                    for number in first..line.answered() {
                        answered((connection, number), elapsed, &mut line.waited);
                    }
                }
                owed |= line.sent > line.received || line.sent % BYTES > 0;
            }
            if !owed && begin.elapsed() >= length {
                return Ok((begun, held));
            }
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(LOOK) {
                interrupt::check()?;
            }
            if moved { patience.renew() } else { patience.wait()? }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_due_at_its_time_and_not_before() {
        let schedule = Schedule { connections: 3, rate: 1000 };
        for connection in 0..3 {
            for number in [0, 1, 2, 100, 12_345] {
                let time = schedule.time(connection, number);
                let shortly = Duration::from_nanos(1_000);
                assert_eq!(schedule.due(connection, time + shortly), number + 1);
                let before = time.saturating_sub(shortly);
                let expected = if time.is_zero() { 1 } else { number };
                assert_eq!(schedule.due(connection, before), expected, "{connection} {number}");
            }
        }
    }

    #[test]
    fn all_messages_of_a_second_are_due_after_a_second() {
        let schedule = Schedule { connections: 50, rate: 123_456 };
        let after = Duration::from_secs(1) + Duration::from_nanos(100);
        let due: usize = (0..50).map(|connection| schedule.due(connection, after)).sum();
        // The one at the very beginning, and the one at the very end.
        assert_eq!(due, 123_457);
    }
}
