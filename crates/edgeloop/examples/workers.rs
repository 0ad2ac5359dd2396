//! Work that takes long is done by other threads, and the loop goes on meanwhile.
//!
//! `cargo run --release -p edgeloop --example workers [ADDRESS]`, then `nc 127.0.0.1 3000` and type
//! numbers: each line is answered with how many primes there are below it.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use edgeloop::{Action, Config, ConnectionId, Context, EventLoop, Handler, Input, Origin, Receive};

/// The longest line, in bytes.
const MAX_LINE: usize = 20;

/// A connection on which nothing moves for so long is closed, unless its work is being done.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Who has asked, and for the primes below which number.
type Question = (ConnectionId, u64);

/// How many there are.
struct Answer(u64);

struct Server {
    questions: Sender<Question>,
}

/// What is remembered about one client.
#[derive(Default)]
struct Client {
    /// A worker has a question of it. It has one at a time, so that the answers come in order.
    waits: bool,
    /// It has ended its stream.
    has_ended: bool,
    /// The question that a worker has is its last one.
    is_last: bool,
}

impl Handler for Server {
    type Session = Client;

    fn session(&mut self, _: &Origin) -> Option<Client> {
        Some(Client::default())
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Client>,
        client: &mut Client,
        input: &mut Input<'_>,
    ) -> Action {
        if client.waits {
            return Action::Pause;
        }
        let line = match input.take_line(MAX_LINE) {
            Ok(Some(line)) => line,
            Ok(None) if !client.has_ended => return Action::Continue,
            Ok(None) | Err(_) => return Action::Close,
        };
        let Some(number) = std::str::from_utf8(line).ok().and_then(|line| line.parse().ok()) else {
            let _ = cx.send(b"not a number\n");
            return Action::Close;
        };
        if self.questions.send((cx.id(), number)).is_err() {
            return Action::Reset;
        }
        // Until the answer comes it is not read, and neither idle nor in the way of a drain.
        *client = Client { waits: true, is_last: client.has_ended && input.is_empty(), ..*client };
        cx.set_busy(cx.id(), true);
        Action::Pause
    }

    /// The client asks nothing more. What it has asked is answered first.
    fn end(
        &mut self,
        cx: &mut impl Context<Client>,
        client: &mut Client,
        input: &mut Input<'_>,
    ) -> Action {
        *client = Client { has_ended: true, is_last: input.is_empty(), ..*client };
        self.data(cx, client, input)
    }
}

impl Receive<Answer> for Server {
    fn message(
        &mut self,
        cx: &mut impl Context<Client>,
        client: &mut Client,
        answer: Answer,
    ) -> Action {
        client.waits = false;
        cx.set_busy(cx.id(), false);
        let sent = cx.send(format!("{}\n", answer.0).as_bytes());
        if client.is_last {
            return Action::Close;
        }
        // What is left of the input is shown again.
        cx.resume(cx.id());
        sent.or_reset()
    }
}

/// How many primes there are below a number.
fn primes_below(number: u64) -> u64 {
    let is_prime = |n: &u64| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (2..number).filter(is_prime).count() as u64
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let (questions, waiting) = channel::<Question>();
    let waiting = Arc::new(Mutex::new(waiting));
    let config = Config::new().idle_timeout(Some(IDLE_TIMEOUT));
    let mut server = EventLoop::with_config(Server { questions }, config)?;
    for _ in 0..2 {
        let (waiting, answers) = (Arc::clone(&waiting), server.sender::<Answer>());
        std::thread::spawn(move || {
            loop {
                let question = waiting.lock().map(|waiting| waiting.recv());
                let Ok(Ok((id, number))) = question else { return };
                // A client that is gone gets none.
                let _ = answers.send_to(id, Answer(primes_below(number)));
            }
        });
    }
    eprintln!("listening on {}", server.listen(&*address)?);
    server.run()?;
    Ok(())
}
