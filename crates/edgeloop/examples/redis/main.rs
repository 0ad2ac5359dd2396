//! A server that speaks the protocol of Redis (RESP2): strings with expiry, lists, and channels.
//!
//! `cargo run --release -p edgeloop --example redis [ADDRESS]`, then `redis-cli`. It drains on SIGTERM
//! and SIGINT; a second one ends it at once.
//!
//! What it bounds: a request has at most 16 MiB and 1,048,576 arguments, an argument 8 MiB, an inline
//! command 64 KiB. Whoever sends more is told so, and disconnected. A client that asks faster than it
//! reads is not read from. One that reads too slowly for its channels, or asks for a reply of more than
//! 16 MiB, is reset. All input and output together have at most 256 MiB. As in Redis by default, only
//! its clients bound the data itself.

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
use protocol::Reply::{self, Array, Null, Several, Unknown, Word};
use protocol::{MAX_REQUEST, Request, integer};

/// The most output that waits for one client, in bytes.
const MAX_OUTPUT: usize = 16 * 1024 * 1024;

/// How long clients have to end when the server stops.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many expired keys are removed in one turn.
const EXPIRED_AT_ONCE: usize = 1000;

/// The commands, to tell one with wrong arguments from one that is not known.
const COMMANDS: &str = "APPEND COMMAND CONFIG DBSIZE DECR DECRBY DEL ECHO EXISTS EXPIRE FLUSHALL \
    FLUSHDB GET INCR INCRBY INFO KEYS LINDEX LLEN LPOP LPUSH LRANGE MGET MSET PERSIST PEXPIRE PING \
    PTTL PUBLISH QUIT RPOP RPUSH SELECT SET STRLEN SUBSCRIBE TTL TYPE UNSUBSCRIBE";

/// What programs want to know of the configuration: nothing is saved to a disk.
const SETTINGS: [[&[u8]; 2]; 2] = [[b"save", b""], [b"appendonly", b"no"]];

#[derive(Default)]
struct Server {
    keys: Keys,
    channels: HashMap<Vec<u8>, BTreeSet<ConnectionId>>,
    /// When the loop is to wake up for the next key that expires.
    wakes: Option<Time>,
    clients: usize,
    commands: u64,
    stops: bool,
}

/// What is remembered about one client.
#[derive(Default)]
struct Client {
    request: Request,
    channels: BTreeSet<Vec<u8>>,
}

impl Server {
    /// Answers all requests that have arrived whole.
    fn serve(
        &mut self,
        cx: &mut impl Context,
        client: &mut Client,
        input: &mut Input<'_>,
    ) -> Action {
        let mut out = Vec::new();
        loop {
            out.clear();
            let (reply, action) = match client.request.take(input) {
                Ok(None) => return Action::Continue,
                Ok(Some(request)) => self.answer(cx, client, &request),
                Err(error) => (Reply::Error(format!("ERR Protocol error: {error}")), Action::Close),
            };
            // Writing to a vector does not fail.
            let _ = reply.write(&mut out);
            match cx.send(&out) {
                Sent::Refused => return Action::Reset,
                _ if action != Action::Continue => return action,
                Sent::Written | Sent::Queued => {}
                // The client asks faster than it reads. What is left in the input is shown again
                // when the replies have drained.
                Sent::AboveMark | Sent::Gone => return Action::Continue,
            }
        }
    }

    fn answer<'a>(
        &'a mut self,
        cx: &mut impl Context,
        client: &mut Client,
        request: &[&'a [u8]],
    ) -> (Reply<'a>, Action) {
        let [name, args @ ..] = request else { return (Several(Vec::new()), Action::Continue) };
        self.commands += 1;
        let capitals = name.to_ascii_uppercase();
        let action = if capitals == b"QUIT" { Action::Close } else { Action::Continue };
        match self.run(cx, client, &capitals, args) {
            Ok(Unknown) => (Reply::Error(unknown(&capitals, name, args)), action),
            Ok(reply) => (reply, action),
            Err(error) => (Reply::Error(error), action),
        }
    }

    /// Runs a command, whose name is in capitals.
    fn run<'a>(
        &'a mut self,
        cx: &mut impl Context,
        client: &mut Client,
        name: &[u8],
        args: &[&'a [u8]],
    ) -> Result<Reply<'a>, String> {
        let subscribes = !client.channels.is_empty();
        Ok(match (name, args) {
            (b"SUBSCRIBE", channels @ [_, ..]) => Several(
                channels.iter().map(|channel| self.join(cx.id(), client, channel)).collect(),
            ),
            (b"UNSUBSCRIBE", []) if subscribes => {
                let channels = client.channels.clone();
                let replies =
                    channels.into_iter().map(|channel| self.leave(cx.id(), client, channel));
                Several(replies.collect())
            }
            (b"UNSUBSCRIBE", []) => told(b"unsubscribe", Null, client),
            (b"UNSUBSCRIBE", channels) => {
                let channels = channels.iter().map(|channel| channel.to_vec());
                Several(channels.map(|channel| self.leave(cx.id(), client, channel)).collect())
            }
            (b"PING", [] | [_]) if subscribes => {
                let word = args.first().copied().unwrap_or_default();
                Array(vec![Reply::bulk(&b"pong"[..]), Reply::bulk(word)])
            }
            (b"PING", []) => Word("PONG"),
            (b"QUIT", _) => Word("OK"),
            _ if subscribes => {
                let name = String::from_utf8_lossy(name).to_lowercase();
                return Err(format!(
                    "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT \
                     / RESET are allowed in this context"
                ));
            }
            (b"PUBLISH", [channel, message]) => self.publish(cx, channel, message),
            (b"PING" | b"ECHO", [word]) => Reply::bulk(*word),
            (b"SELECT", [number]) if integer(number)? == 0 => Word("OK"),
            (b"SELECT", [_]) => return Err("ERR DB index is out of range".to_owned()),
            (b"COMMAND", [what]) if what.eq_ignore_ascii_case(b"count") => {
                Reply::count(COMMANDS.split(' ').count())
            }
            // redis-cli asks for documentation, and does without.
            (b"COMMAND", _) => Array(Vec::new()),
            (b"CONFIG", [get, names @ ..]) if get.eq_ignore_ascii_case(b"get") => {
                let known = SETTINGS.iter().filter(|[name, _]| names.contains(name)).flatten();
                Array(known.map(|&word| Reply::bulk(word)).collect())
            }
            (b"INFO", _) => Reply::Bulk(self.info().into_bytes().into()),
            _ => self.keys.run(name, args)?,
        })
    }

    fn publish(&mut self, cx: &mut impl Context, channel: &[u8], message: &[u8]) -> Reply<'static> {
        let mut out = Vec::new();
        let words = [b"message", channel, message].map(Reply::bulk);
        let _ = Array(words.into()).write(&mut out);
        let mut heard = 0;
        for &id in self.channels.get(channel).into_iter().flatten() {
            match cx.send_to(id, &out) {
                // It reads too slowly, and must not go on with a hole in what it reads.
                Sent::Refused => cx.reset(id),
                Sent::Gone => {}
                _ => heard += 1,
            }
        }
        Reply::count(heard)
    }

    fn join<'a>(&mut self, id: ConnectionId, client: &mut Client, channel: &'a [u8]) -> Reply<'a> {
        client.channels.insert(channel.to_vec());
        self.channels.entry(channel.to_vec()).or_default().insert(id);
        told(b"subscribe", Reply::bulk(channel), client)
    }

    fn leave(&mut self, id: ConnectionId, client: &mut Client, channel: Vec<u8>) -> Reply<'static> {
        client.channels.remove(&channel);
        if let Some(subscribers) = self.channels.get_mut(&channel) {
            subscribers.remove(&id);
            if subscribers.is_empty() {
                self.channels.remove(&channel);
            }
        }
        told(b"unsubscribe", Reply::Bulk(channel.into()), client)
    }

    fn info(&self) -> String {
        format!(
            "# Server\r\nredis_version:7.0.0\r\nprocess_id:{}\r\n\r\n\
             # Clients\r\nconnected_clients:{}\r\n\r\n\
             # Stats\r\ntotal_commands_processed:{}\r\npubsub_channels:{}\r\n\r\n\
             # Keyspace\r\ndb0:keys={},expires={},avg_ttl=0\r\n",
            std::process::id(),
            self.clients,
            self.commands,
            self.channels.len(),
            self.keys.len(),
            self.keys.deadlines.len(),
        )
    }

    /// Has the loop wake up when the next key expires.
    fn schedule(&mut self, cx: &mut impl LoopContext) {
        let next = self.keys.deadlines.first().map(|(at, _)| *at);
        if next != self.wakes {
            self.wakes = next;
            cx.wake_at(next);
        }
    }
}

/// What a client is told that has subscribed or unsubscribed.
fn told<'a>(what: &'a [u8], channel: Reply<'a>, client: &Client) -> Reply<'a> {
    Array(vec![Reply::bulk(what), channel, Reply::count(client.channels.len())])
}

/// What is wrong with a command that was not run, in the words of Redis.
fn unknown(capitals: &[u8], name: &[u8], args: &[&[u8]]) -> String {
    let name = String::from_utf8_lossy(&name[..name.len().min(128)]);
    if COMMANDS.split(' ').any(|known| known.as_bytes() == capitals) {
        return format!("ERR wrong number of arguments for '{}' command", name.to_lowercase());
    }
    let mut first = String::new();
    for arg in args {
        let most = arg.len().min(128_usize.saturating_sub(first.len()));
        if most > 0 {
            first += &format!("'{}' ", String::from_utf8_lossy(&arg[..most]));
        }
    }
    format!("ERR unknown command '{name}', with args beginning with: {first}")
}

impl Handler for Server {
    type Session = Client;

    fn session(&mut self, _: &Origin) -> Option<Client> {
        self.clients += 1;
        Some(Client::default())
    }

    fn data(
        &mut self,
        cx: &mut impl Context,
        client: &mut Client,
        input: &mut Input<'_>,
    ) -> Action {
        self.keys.now = cx.now();
        let action = self.serve(cx, client, input);
        self.schedule(cx);
        action
    }

    fn closed(&mut self, _: &mut impl Context, mut client: Client, closed: &Closed) {
        self.clients -= 1;
        while let Some(channel) = client.channels.pop_first() {
            self.leave(closed.id, &mut client, channel);
        }
    }

    fn wake_up(&mut self, cx: &mut impl LoopContext) {
        self.wakes = None;
        self.keys.now = cx.now();
        self.keys.expire(EXPIRED_AT_ONCE);
        self.schedule(cx);
    }

    /// A signal came.
    fn notified(&mut self, cx: &mut impl LoopContext) {
        let again = std::mem::replace(&mut self.stops, true);
        cx.stop(if again { Stop::Now } else { Stop::Drain(Some(PATIENCE)) });
    }

    fn input_limit(&self, _: &Client) -> usize {
        // A line end follows the last argument.
        MAX_REQUEST + 2
    }
}

fn config() -> Config {
    Config::new().output_limit(MAX_OUTPUT)
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
