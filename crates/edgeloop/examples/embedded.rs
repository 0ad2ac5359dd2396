//! A loop within another one: a server whose program waits for something else, too.
//!
//! `cargo run -p edgeloop --example embedded [ADDRESS]`, then `nc 127.0.0.1 3000`. What is typed
//! here is sent to all clients, and what they say is shown here. The end of the input ends the
//! program, once the clients have left.

use std::io::{BufRead as _, stdin};
use std::time::Duration;

use edgeloop::epoll::{Epoll, Events, Interest, Mode, Token};
use edgeloop::{
    Action, Context, EventLoop, Handler, Input, LoopContext, Origin, Receive, Stop, Turn,
};

const KEYBOARD: Token = Token(0);
const SERVER: Token = Token(1);

struct Room;

impl Handler for Room {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        while let Ok(Some(line)) = input.take_line(1000) {
            println!("{}: {}", cx.id(), line.escape_ascii());
        }
        Action::Continue
    }
}

/// What was typed.
impl Receive<Vec<u8>> for Room {
    fn posted(&mut self, cx: &mut impl LoopContext, typed: Vec<u8>) {
        for id in cx.connections() {
            // Whoever reads too slowly misses it.
            let _ = cx.send_to(id, &typed);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let mut server = EventLoop::new(Room)?;
    eprintln!("listening on {}", server.listen(address.as_str())?);
    let typed = server.sender::<Vec<u8>>();

    let epoll = Epoll::new()?;
    epoll.add(stdin(), KEYBOARD, Interest::READABLE, Mode::Level)?;
    epoll.add(&server, SERVER, Interest::READABLE, Mode::Level)?;
    let mut events = Events::with_capacity(2);
    let mut turn = Turn::Again;
    while turn != Turn::Done {
        let timeout = if turn == Turn::Again { Some(Duration::ZERO) } else { None };
        epoll.wait(&mut events, timeout)?;
        if events.iter().any(|event| event.token() == KEYBOARD) {
            let mut input = stdin().lock();
            let bytes = input.fill_buf()?.to_vec();
            input.consume(bytes.len());
            if bytes.is_empty() {
                epoll.remove(stdin())?;
                typed.handle().stop(Stop::Drain(None));
            } else {
                typed.post(bytes)?;
            }
        }
        turn = server.run_once(Some(Duration::ZERO))?;
    }
    Ok(())
}
