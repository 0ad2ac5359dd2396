//! An echo server with a control socket beside it: TCP for everybody, a Unix socket for whoever may
//! write to its file. One loop serves both, so a command sees and stops it without a lock.
//!
//! `cargo run --release -p edgeloop --example control [ADDRESS] [PATH]`, then
//! `socat - UNIX-CONNECT:/tmp/control.sock`, and type `stats`, `list`, `close ID` or `drain`.

use std::net::SocketAddr;
use std::time::Duration;

use edgeloop::{
    Action, Address, ConnectionId, Context, EventLoop, Handler, Input, ListenOptions, Origin, Sent,
    Stop, UnixAddress,
};

/// The longest command, in bytes.
const MAX_LINE: usize = 100;

/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(10);

struct Server;

/// Who is at the other end. The listener tells, since each has clients of one kind.
enum Session {
    Client,
    Operator { user: u32 },
}

impl Handler for Server {
    type Session = Session;

    fn session(&mut self, origin: &Origin) -> Option<Session> {
        let from_control = origin.listener.as_ref().is_some_and(Address::is_unix);
        if !from_control {
            return Some(Session::Client);
        }
        // The kernel says who it is; it can't be made up.
        origin.credentials.map(|who| Session::Operator { user: who.user })
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Session>,
        session: &mut Session,
        input: &mut Input<'_>,
    ) -> Action {
        let user = match *session {
            Session::Client => return cx.send(input.take_all()).or_reset(),
            Session::Operator { user } => user,
        };
        loop {
            let line = match input.take_line(MAX_LINE) {
                Ok(Some(line)) => String::from_utf8_lossy(line),
                Ok(None) => return Action::Continue,
                Err(_) => return Action::Close,
            };
            let answer = obey(cx, line.trim(), user);
            if cx.send(answer.as_bytes()) == Sent::Refused {
                return Action::Reset;
            }
        }
    }
}

/// Does what a line says, and returns what to answer.
fn obey(cx: &mut impl Context<Session>, line: &str, user: u32) -> String {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("stats", "") => {
            let all = cx.metrics();
            format!(
                "connections={} accepted={} bytes_in={} bytes_out={}\n",
                all.connections, all.accepted, all.bytes_in, all.bytes_out
            )
        }
        ("list", "") => {
            let all = clients(cx);
            let lines: String = all.iter().map(|(id, peer)| format!("{id} {peer}\n")).collect();
            format!("{lines}{} clients\n", all.len())
        }
        ("close", id) => match clients(cx).into_iter().find(|(known, _)| known.to_string() == id) {
            Some((id, peer)) => {
                cx.close(id);
                format!("closing {peer}\n")
            }
            None => "no such client\n".to_owned(),
        },
        ("drain", "") => {
            eprintln!("user {user} drains the server");
            cx.stop(Stop::Drain(Some(DRAIN)));
            "draining\n".to_owned()
        }
        _ => "expected stats, list, close ID or drain\n".to_owned(),
    }
}

/// The clients of TCP, with their addresses.
fn clients(cx: &mut impl Context<Session>) -> Vec<(ConnectionId, SocketAddr)> {
    let all = cx.connections();
    let of_tcp = |id| Some((id, cx.peer_address(id).ok()?.as_tcp()?));
    all.into_iter().filter_map(of_tcp).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let path = arguments.next().unwrap_or_else(|| "/tmp/control.sock".to_owned());
    let mut server = EventLoop::new(Server)?;
    eprintln!("listening on {}", server.listen(&*address)?);
    // Nobody but this user can connect, from the first moment on. The loop removes the file.
    let own = ListenOptions::new().unix_mode(0o600);
    eprintln!("listening on {}", server.listen_with(UnixAddress::path(path)?, &own)?);
    server.run()?;
    Ok(())
}
