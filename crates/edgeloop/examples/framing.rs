//! Three ways to tell where a message ends: lines, frames with their length in front, and records
//! with a fixed header. Each message is answered in capitals, in the same way.
//!
//! `cargo run -p edgeloop --example framing PROTOCOL [ADDRESS]`, with one of:
//!
//! - `lines`: up to LF or CRLF. Try it with `nc 127.0.0.1 3000`.
//! - `frames`: a length of 4 bytes, big-endian, and that many bytes.
//! - `records`: a header of 8 bytes, big-endian, and a body. A record that the server does not know
//!   is answered with `UNKNOWN`, and the connection goes on.
//!
//! ```text
//!   0       1       2       3       4                               8
//!   ┌───────┬───────┬───────────────┬───────────────────────────────┬──────┄
//!   │ MAGIC │ kind  │ body's length │ number, given back in answers │ body
//!   └───────┴───────┴───────────────┴───────────────────────────────┴──────┄
//! ```

use std::error::Error;
use std::process::ExitCode;

use edgeloop::{Action, Closed, Context, EventLoop, Handler, Input, Origin, Sent};

/// The most bytes of a line, a frame or a body. With what stands around it, it must fit within
/// `Config::input_limit`, which is 64 KiB here.
const MAX: usize = 16 * 1024;

const MAGIC: u8 = 0xed;
const HEADER: usize = 8;

/// Kinds of records.
const PING: u8 = 0;
const CAPITALS: u8 = 1;
const UNKNOWN: u8 = 0xff;

#[derive(Debug, Clone, Copy)]
enum Protocol {
    Lines,
    Frames,
    Records,
}

/// A message that has arrived whole. It borrows from the input: nothing is copied.
struct Message<'a> {
    /// Of a record.
    kind: u8,
    number: u32,
    body: &'a [u8],
}

impl Protocol {
    /// Takes the next message; `None` if it has not arrived whole. What is there of it stays in the
    /// input, and is shown again with what follows.
    fn take<'a>(self, input: &mut Input<'a>) -> Result<Option<Message<'a>>, Box<dyn Error>> {
        let body = match self {
            Self::Lines => input.take_line(MAX)?,
            Self::Frames => input.take_frame_be::<u32>(MAX)?,
            Self::Records => return take_record(input),
        };
        Ok(body.map(|body| Message { kind: CAPITALS, number: 0, body }))
    }

    fn answer(self, message: &Message<'_>) -> Vec<u8> {
        let (kind, body): (u8, &[u8]) = match message.kind {
            PING => (PING, b""),
            CAPITALS => (CAPITALS, message.body),
            _ => (UNKNOWN, b""),
        };
        // A body is not longer than `MAX`.
        let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
        let before = match self {
            Self::Lines => Vec::new(),
            Self::Frames => u32::from(length).to_be_bytes().to_vec(),
            Self::Records => {
                let number = message.number.to_be_bytes();
                [&[MAGIC, kind][..], &length.to_be_bytes(), &number].concat()
            }
        };
        let after: &[u8] = if matches!(self, Self::Lines) { b"\n" } else { b"" };
        [&before, &*body.to_ascii_uppercase(), after].concat()
    }
}

/// The header is read from a copy of the input, so that it is taken with its body or not at all.
fn take_record<'a>(input: &mut Input<'a>) -> Result<Option<Message<'a>>, Box<dyn Error>> {
    let mut record = Input::new(input.bytes());
    match record.take_be::<u8>() {
        None => return Ok(None),
        Some(MAGIC) => {}
        Some(other) => return Err(format!("a record begins with {other:#04x}").into()),
    }
    let (Some(kind), Some(length), Some(number)) =
        (record.take_be(), record.take_be::<u16>().map(usize::from), record.take_be())
    else {
        return Ok(None);
    };
    if length > MAX {
        return Err(format!("a body of {length} bytes is longer than {MAX}").into());
    }
    let Some(body) = record.try_take(length) else { return Ok(None) };
    input.skip(HEADER + length);
    Ok(Some(Message { kind, number, body }))
}

struct Server {
    protocol: Protocol,
}

impl Handler for Server {
    /// How many messages were answered.
    type Session = u64;

    fn session(&mut self, _: &Origin) -> Option<u64> {
        Some(0)
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        answered: &mut u64,
        input: &mut Input<'_>,
    ) -> Action {
        loop {
            let message = match self.protocol.take(input) {
                Ok(Some(message)) => message,
                Ok(None) => return Action::Continue,
                Err(error) => {
                    eprintln!("{}: {error}", cx.id());
                    return Action::Close;
                }
            };
            *answered += 1;
            match cx.send(&self.protocol.answer(&message)) {
                Sent::Written | Sent::Queued => {}
                // The rest is shown again when the answers have drained.
                Sent::AboveMark => return Action::Continue,
                Sent::Refused | Sent::Gone => return Action::Reset,
            }
        }
    }

    fn end(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        _: &mut u64,
        input: &mut Input<'_>,
    ) -> Action {
        let rest = input.take_all().len();
        if rest > 0 {
            eprintln!("{}: ended within a message, after {rest} bytes of it", cx.id());
        }
        Action::Close
    }

    fn closed(&mut self, _: &mut impl Context<Self::Session>, answered: u64, closed: &Closed) {
        eprintln!("{}: {answered} messages, {closed}", closed.id);
    }
}

fn run(protocol: Protocol, address: &str) -> Result<(), edgeloop::Error> {
    let mut server = EventLoop::new(Server { protocol })?;
    eprintln!("listening on {}", server.listen(address)?);
    server.run()?;
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (protocol, rest) = match &arguments[..] {
        ["lines", rest @ ..] => (Protocol::Lines, rest),
        ["frames", rest @ ..] => (Protocol::Frames, rest),
        ["records", rest @ ..] => (Protocol::Records, rest),
        _ => {
            eprintln!("usage: framing lines|frames|records [ADDRESS]");
            return ExitCode::from(2);
        }
    };
    match run(protocol, rest.first().unwrap_or(&"127.0.0.1:3000")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};
    use std::thread;
    use std::time::Duration;

    use edgeloop::sim::{Faults, Script, check};
    use edgeloop::{Reason, Stop};

    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).expect("it is short");
        [&length.to_be_bytes()[..], body].concat()
    }

    fn record(kind: u8, number: u32, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("it is short");
        let header = [&[MAGIC, kind][..], &length.to_be_bytes(), &number.to_be_bytes()].concat();
        [&header, body].concat()
    }

    /// What a client asks, and what it is answered.
    fn exchanges() -> [(Protocol, Vec<u8>, Vec<u8>); 3] {
        [
            (Protocol::Lines, b"one\n\ntwo\r\nthree\r\n".into(), b"ONE\n\nTWO\nTHREE\n".into()),
            (
                Protocol::Frames,
                [frame(b"one"), frame(b""), frame(b"two\n")].concat(),
                [frame(b"ONE"), frame(b""), frame(b"TWO\n")].concat(),
            ),
            (
                Protocol::Records,
                [record(CAPITALS, 7, b"one"), record(PING, 8, b""), record(9, 9, b"two")].concat(),
                [record(CAPITALS, 7, b"ONE"), record(PING, 8, b""), record(UNKNOWN, 9, b"")]
                    .concat(),
            ),
        ]
    }

    #[test]
    fn messages_cut_at_any_byte_are_answered_whole() {
        for (protocol, asked, answer) in exchanges() {
            for at in 0..=asked.len() {
                check(0..3, |simulation| {
                    let (first, second) = asked.split_at(at);
                    let pause = Duration::from_secs(1);
                    let script = Script::new().send(first).wait(pause).send(second).expect(&answer);
                    let report = simulation.peer(script).run(Server { protocol })?;
                    assert_eq!(report.peers[0].reason(), Some(Reason::Finished));
                    Ok(())
                });
            }
        }
    }

    #[test]
    fn messages_are_answered_under_faults_and_through_small_buffers() {
        for (protocol, asked, answer) in exchanges() {
            check(0..50, |simulation| {
                let (asked, answer) = (asked.repeat(10), answer.repeat(10));
                let script = Script::new().exchange(asked, answer);
                simulation
                    .buffers(1..=200)
                    .faults(Faults::passing())
                    .peer(script)
                    .run(Server { protocol })
                    .map(drop)
            });
        }
    }

    #[test]
    fn whoever_claims_or_sends_too_much_is_closed() {
        let longest = vec![b'x'; MAX];
        for (protocol, fits, too_long) in [
            (Protocol::Lines, [&longest[..], b"\r\n"].concat(), [&longest[..], b"x\n"].concat()),
            (Protocol::Frames, frame(&longest), vec![0xff; 4]),
            (
                Protocol::Records,
                record(CAPITALS, 1, &longest),
                vec![MAGIC, 0, 0xff, 0xff, 0, 0, 0, 0],
            ),
            (Protocol::Records, record(CAPITALS, 1, &longest), b"GET / HTTP/1.1\r\n".into()),
        ] {
            check(0..20, |simulation| {
                let answer = match protocol {
                    Protocol::Lines => [&*longest.to_ascii_uppercase(), b"\n"].concat(),
                    _ => fits.to_ascii_uppercase(),
                };
                let script = Script::new().exchange(&fits, answer).send(&too_long).expect_end();
                let simulation = simulation.buffers(5000..=50_000).peer(script);
                let report = simulation.run(Server { protocol })?;
                assert_eq!(report.peers[0].reason(), Some(Reason::Closed));
                Ok(())
            });
        }
    }

    #[test]
    fn a_client_that_ends_within_a_message_ends_its_connection() {
        for (protocol, asked, _) in exchanges() {
            check(0..20, |simulation| {
                let script = Script::new().send(&asked[..2]).finish().expect_end();
                let report = simulation.peer(script).run(Server { protocol })?;
                assert_eq!(report.peers[0].reason(), Some(Reason::Finished));
                Ok(())
            });
        }
    }

    /// A client that is not of this house: it sends each byte by itself.
    const CLIENT: &str = "
import socket, sys
port, asked, answer = int(sys.argv[1]), bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3])
with socket.create_connection(('127.0.0.1', port), timeout=10) as client:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in asked:
        client.send(bytes([byte]))
    client.shutdown(socket.SHUT_WR)
    received = b''
    while piece := client.recv(65536):
        received += piece
sys.exit(received != answer and f'received {received}')
";

    #[test]
    fn real_clients_are_answered() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for (protocol, asked, answer) in exchanges() {
            let mut server = EventLoop::new(Server { protocol }).expect("an event loop");
            let address = server.listen("127.0.0.1:0").expect("a listener");
            let handle = server.handle();
            let server = thread::spawn(move || server.run());
            let mut python = Command::new("python3");
            let port = address.port().expect("an IP").to_string();
            let output = python.args(["-c", CLIENT, &port, &hex(&asked), &hex(&answer)]).output();
            handle.stop(Stop::Now);
            server.join().expect("no panic").expect("no error");
            let Output { status, stderr, .. } = output.expect("python3 is installed");
            assert!(status.success(), "{protocol:?}: {}", String::from_utf8_lossy(&stderr));
        }
    }
}
