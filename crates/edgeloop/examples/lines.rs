//! A line protocol: requests may come in any number of pieces, or many in one.
//!
//! `cargo run -p edgeloop --example lines [ADDRESS]`, then `nc 127.0.0.1 3000` and type
//! `ADD 1 2`, `UPPER some words`, or `QUIT`.

use std::time::Duration;

use edgeloop::{Action, Closed, Config, Context, EventLoop, Handler, Input, Origin, Sent};

/// How long a client may think before it must have asked something.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest request, in bytes.
const MAX_LINE: usize = 1000;

struct Lines;

/// What is remembered about one client.
#[derive(Default)]
struct Client {
    requests: u64,
}

impl Handler for Lines {
    type Session = Client;

    fn session(&mut self, _: &Origin) -> Option<Client> {
        Some(Client::default())
    }

    fn opened(&mut self, cx: &mut impl Context<Self::Session>, _: &mut Client) -> Action {
        cx.set_timer(0, Some(PATIENCE));
        cx.send(b"ready\n").or_reset()
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        client: &mut Client,
        input: &mut Input<'_>,
    ) -> Action {
        loop {
            // Half a line stays where it is: the loop keeps it and shows it again, in one piece
            // with what follows.
            let line = match input.take_line(MAX_LINE) {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    let _ = cx.send(format!("error: {error}\n").as_bytes());
                    return Action::Close;
                }
            };
            client.requests += 1;
            let Some(answer) = answer(&String::from_utf8_lossy(line)) else {
                return Action::Close;
            };
            match cx.send(answer.as_bytes()) {
                Sent::Written | Sent::Queued => {}
                // The client asks faster than it reads. What it has asked already stays in the
                // input, and is shown again when the answers have drained.
                Sent::AboveMark => break,
                Sent::Refused | Sent::Gone => return Action::Reset,
            }
        }
        cx.set_timer(0, Some(PATIENCE));
        Action::Continue
    }

    fn timer(&mut self, cx: &mut impl Context<Self::Session>, _: &mut Client, _: u32) -> Action {
        let _ = cx.send(b"bye: nothing asked\n");
        Action::Close
    }

    fn closed(&mut self, _: &mut impl Context<Self::Session>, client: Client, closed: &Closed) {
        eprintln!("{}: {} requests, {closed}", closed.id, client.requests);
    }
}

/// The answer to one request; `None` says goodbye.
fn answer(line: &str) -> Option<String> {
    let (command, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    let answer = match command {
        "ADD" => rest
            .split_whitespace()
            .map(str::parse::<i64>)
            .sum::<Result<i64, _>>()
            .map_or_else(|error| format!("error: {error}"), |sum| sum.to_string()),
        "UPPER" => rest.to_uppercase(),
        "QUIT" => return None,
        _ => "error: ADD, UPPER or QUIT".to_owned(),
    };
    Some(answer + "\n")
}

fn main() -> Result<(), edgeloop::Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let config = Config::new().high_watermark(16 * 1024).low_watermark(4 * 1024);
    let mut server = EventLoop::with_config(Lines, config)?;
    eprintln!("listening on {}", server.listen(address.as_str())?);
    server.run()?;
    Ok(())
}
