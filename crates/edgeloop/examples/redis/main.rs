//! A server that speaks the protocol of Redis (RESP2): strings with expiry, lists, and channels.
//!
//! `cargo run --release -p edgeloop --example redis [ADDRESS]`, then `redis-cli`. It drains on
//! SIGTERM and SIGINT; a second one ends it at once.
//!
//! What it bounds: a request has at most 16 MiB and 1,048,576 arguments, an argument 8 MiB, an
//! inline command 64 KiB. Whoever sends more is told so, and disconnected. A client that asks
//! faster than it reads is not read from. One that reads too slowly for its channels, or asks for a
//! reply of more than 16 MiB, is reset. All input and output together have at most 256 MiB. As in
//! Redis by default, only its clients bound the data itself.

mod keys;
mod protocol;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use edgeloop::{
    Action, Closed, Config, ConnectionId, Context, EventLoop, Handler, Input, LoopContext, Origin,
    Sent, Stop, Time,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use keys::Keys;
use protocol::Reply::{self, Array, Last, Null, Number, Several, Word};
use protocol::{MAX_REQUEST, Request, integer};

/// The most output that waits for one client, in bytes.
const MAX_OUTPUT: usize = 16 * 1024 * 1024;

/// How long clients have to end when the server stops.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many expired keys are removed in one turn.
const EXPIRED_AT_ONCE: usize = 1000;

/// What programs want to know of the configuration: nothing is saved to a disk.
const SETTINGS: [[&[u8]; 2]; 2] = [[b"save", b""], [b"appendonly", b"no"]];

#[derive(Default)]
struct Server {
    keys: Keys,
    channels: HashMap<Vec<u8>, BTreeSet<ConnectionId>>,
    /// When the loop is to wake up for the next key that expires.
    wakes: Option<Time>,
    clients: usize,
    stops: bool,
}

/// What is remembered about one client.
#[derive(Default)]
struct Client {
    request: Request,
    channels: BTreeSet<Vec<u8>>,
}

impl Server {
    /// Replies to all requests that have arrived whole.
    fn serve(
        &mut self,
        cx: &mut impl Context<Client>,
        client: &mut Client,
        input: &mut Input<'_>,
    ) -> Action {
        let mut out = Vec::with_capacity(64);
        loop {
            let reply = match client.request.take(input) {
                Ok(None) => return Action::Continue,
                Ok(Some(request)) => self.run(cx, client, &request).unwrap_or_else(Reply::Error),
                Err(error) => Last(Reply::Error(format!("ERR Protocol error: {error}")).into()),
            };
            out.clear();
            reply.write(&mut out);
            match cx.send(&out) {
                Sent::Refused => return Action::Reset,
                _ if matches!(reply, Last(_)) => return Action::Close,
                Sent::Written | Sent::Queued => {}
                // The client asks faster than it reads. What is left in the input is shown again
                // when the replies have drained.
                Sent::AboveMark | Sent::Gone => return Action::Continue,
            }
        }
    }

    fn run<'a>(
        &'a mut self,
        cx: &mut impl Context<Client>,
        client: &mut Client,
        request: &[&'a [u8]],
    ) -> Result<Reply<'a>, String> {
        let [name, args @ ..] = request else { return Ok(Several(Vec::new())) };
        let subscribes = !client.channels.is_empty();
        Ok(match (&*name.to_ascii_uppercase(), args) {
            (b"SUBSCRIBE", channels @ [_, ..]) => Several(
                channels.iter().map(|channel| self.join(cx.id(), client, channel)).collect(),
            ),
            (b"UNSUBSCRIBE", []) if !subscribes => told("unsubscribe", Null, client),
            (b"UNSUBSCRIBE", []) => {
                let channels = client.channels.clone();
                let replies = channels.iter().map(|channel| self.leave(cx.id(), client, channel));
                Several(replies.collect())
            }
            (b"UNSUBSCRIBE", channels) => Several(
                channels.iter().map(|channel| self.leave(cx.id(), client, channel)).collect(),
            ),
            (b"PING", [] | [_]) if subscribes => {
                Array([b"pong", args.first().copied().unwrap_or_default()].map(Reply::bulk).into())
            }
            (b"PING", []) => Word("PONG"),
            (b"QUIT", _) => Last(Word("OK").into()),
            _ if subscribes => {
                let name = String::from_utf8_lossy(name).to_lowercase();
                return Err(format!(
                    "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT \
                     / RESET are allowed in this context"
                ));
            }
            (b"PUBLISH", [channel, message]) => self.publish(cx, channel, message),
            (b"PING" | b"ECHO", [word]) => Reply::bulk(word),
            (b"SELECT", [number]) if integer(number)? == 0 => Word("OK"),
            (b"SELECT", [_]) => return Err("ERR DB index is out of range".to_owned()),
            // redis-cli asks for documentation, and does without.
            (b"COMMAND", _) => Array(Vec::new()),
            (b"CONFIG", [get, names @ ..]) if get.eq_ignore_ascii_case(b"get") => {
                let known = SETTINGS.iter().filter(|[name, _]| names.contains(name)).flatten();
                Array(known.map(|&word| Reply::bulk(word)).collect())
            }
            (b"INFO", _) => {
                let (clients, keys) = (self.clients, self.keys.len());
                let info = format!(
                    "# Server\r\nredis_version:7.0.0\r\n# Clients\r\nconnected_clients:{clients}\r\n\
                     # Keyspace\r\ndb0:keys={keys},expires={},avg_ttl=0\r\n",
                    self.keys.deadlines.len()
                );
                Reply::Bulk(info.into_bytes().into())
            }
            (capitals, _) => self.keys.run(capitals, request)?,
        })
    }

    fn publish(
        &mut self,
        cx: &mut impl Context<Client>,
        channel: &[u8],
        message: &[u8],
    ) -> Reply<'static> {
        let (mut out, mut heard) = (Vec::new(), 0);
        Array([b"message", channel, message].map(Reply::bulk).into()).write(&mut out);
        for &id in self.channels.get(channel).into_iter().flatten() {
            match cx.send_to(id, &out) {
                // It reads too slowly, and must not go on with a hole in what it reads.
                Sent::Refused => cx.reset(id),
                Sent::Gone => {}
                _ => heard += 1,
            }
        }
        Number(heard)
    }

    fn join<'a>(&mut self, id: ConnectionId, client: &mut Client, channel: &'a [u8]) -> Reply<'a> {
        client.channels.insert(channel.to_vec());
        self.channels.entry(channel.to_vec()).or_default().insert(id);
        told("subscribe", Reply::bulk(channel), client)
    }

    fn leave(&mut self, id: ConnectionId, client: &mut Client, channel: &[u8]) -> Reply<'static> {
        client.channels.remove(channel);
        if let Some(subscribers) = self.channels.get_mut(channel) {
            subscribers.remove(&id);
            if subscribers.is_empty() {
                self.channels.remove(channel);
            }
        }
        told("unsubscribe", Reply::Bulk(channel.to_vec().into()), client)
    }

    /// Has the loop wake up when the next key expires.
    fn schedule(&mut self, cx: &mut impl LoopContext<Client>) {
        let next = self.keys.deadlines.first().map(|(at, _)| *at);
        if next != self.wakes {
            self.wakes = next;
            cx.wake_at(next);
        }
    }
}

/// What a client is told that has subscribed or unsubscribed.
fn told<'a>(what: &'static str, channel: Reply<'a>, client: &Client) -> Reply<'a> {
    Array(vec![Reply::bulk(what.as_bytes()), channel, Reply::count(client.channels.len())])
}

impl Handler for Server {
    type Session = Client;

    fn session(&mut self, _: &Origin) -> Option<Client> {
        self.clients += 1;
        Some(Client::default())
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        client: &mut Client,
        input: &mut Input<'_>,
    ) -> Action {
        self.keys.now = cx.now();
        let action = self.serve(cx, client, input);
        self.schedule(cx);
        action
    }

    fn closed(&mut self, _: &mut impl Context<Self::Session>, mut client: Client, closed: &Closed) {
        self.clients -= 1;
        for channel in client.channels.clone() {
            self.leave(closed.id, &mut client, &channel);
        }
    }

    fn wake_up(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        self.wakes = None;
        self.keys.now = cx.now();
        self.keys.expire(EXPIRED_AT_ONCE);
        self.schedule(cx);
    }

    /// A signal came.
    fn notified(&mut self, cx: &mut impl LoopContext<Self::Session>) {
        let again = std::mem::replace(&mut self.stops, true);
        cx.stop(if again { Stop::Now } else { Stop::Drain(Some(PATIENCE)) });
    }
}

fn config() -> Config {
    // A line end follows the last argument.
    Config::new().output_limit(MAX_OUTPUT).input_limit(MAX_REQUEST + 2)
}

fn run(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let (reader, writer) = std::io::pipe()?;
    pipe::register(SIGINT, writer.try_clone()?)?;
    pipe::register(SIGTERM, writer)?;
    let mut server = EventLoop::with_config(Server::default(), config())?;
    server.notify_on(&reader)?;
    eprintln!("listening on {}", server.listen(address)?);
    server.run()?;
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let address = match &arguments[..] {
        [] => Some(SocketAddr::from(([127, 0, 0, 1], 6379))),
        [address] => address.to_str().and_then(|address| address.parse().ok()),
        _ => None,
    };
    let Some(address) = address else {
        eprintln!("usage: redis [ADDRESS], such as 127.0.0.1:6379 or [::1]:6379");
        return ExitCode::from(2);
    };
    match run(address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("redis: {error}");
            ExitCode::FAILURE
        }
    }
}
