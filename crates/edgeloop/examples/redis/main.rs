//! A server that speaks the protocol of Redis (RESP2): strings, lists, and channels.
//!
//! `cargo run --release -p edgeloop --example redis [ADDRESS]`, then `redis-cli`. It drains on
//! SIGTERM and SIGINT; a second one ends it at once.
//!
//! What it bounds: a request has at most 16 MiB and 1,048,576 arguments, an argument 8 MiB, an
//! inline command 64 KiB. Whoever sends more is told so, and disconnected. A client that asks
//! faster than it reads is not read from. One that reads too slowly for its channels, or asks for a
//! reply of more than 16 MiB, is reset. One that is silent for an hour is disconnected, unless it
//! listens to a channel. All input and output together have at most 256 MiB. As in Redis by
//! default, only its clients bound the data itself.

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
    Action, Closed, Config, ConnectionId, Context, EventLoop, Handler, Input, Limits, LoopContext,
    Origin, Sent, Stop,
};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use keys::Keys;
use protocol::{MAX_INLINE, MAX_OUTPUT, MAX_REQUEST, Reply, Seen, integer, take_request};

/// After how long without a byte a client is disconnected.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// How long clients have to end when the server stops.
const PATIENCE: Duration = Duration::from_secs(10);

/// The names of all commands. They tell a wrong number of arguments from a wrong name.
const COMMANDS: &str = "ping echo select quit command config get set mset incr decr del exists \
    lpush rpush lpop rpop llen lrange dbsize flushall subscribe unsubscribe publish";

/// The longest name that is looked at.
const MAX_NAME: usize = 128;

#[derive(Default)]
struct Server {
    keys: Keys,
    channels: HashMap<Vec<u8>, Vec<ConnectionId>>,
    /// Where a reply is written before it is sent.
    reply: Reply,
    stops: bool,
}

/// What is remembered about one client.
#[derive(Default)]
struct Client {
    seen: Seen,
    channels: BTreeSet<Vec<u8>>,
}

impl Server {
    /// Runs a command, and writes the reply. Returns what is to be done when it is sent.
    ///
    /// # Errors
    ///
    /// What the client is told instead.
    fn run(
        &mut self,
        cx: &mut impl Context<Client>,
        client: &mut Client,
        request: &[&[u8]],
    ) -> Result<Action, String> {
        let [name, args @ ..] = request else { return Ok(Action::Continue) };
        let name = &name[..name.len().min(MAX_NAME)];
        let mut upper = [0; MAX_NAME];
        let upper = &mut upper[..name.len()];
        upper.iter_mut().zip(name).for_each(|(upper, byte)| *upper = byte.to_ascii_uppercase());
        let listens = !client.channels.is_empty();
        let reply = &mut self.reply;
        match (&*upper, args) {
            _ if !listens && self.keys.run(upper, args, reply)? => {}
            (b"SUBSCRIBE", [_, ..]) => {
                for &channel in args {
                    if client.channels.insert(channel.to_vec()) {
                        self.channels.entry(channel.to_vec()).or_default().push(cx.id());
                    }
                    self.told(client, "subscribe", Some(channel));
                }
            }
            (b"UNSUBSCRIBE", []) if !listens => self.told(client, "unsubscribe", None),
            (b"UNSUBSCRIBE", []) => {
                while let Some(channel) = client.channels.first().cloned() {
                    self.unsubscribe(cx, client, &channel);
                }
            }
            (b"UNSUBSCRIBE", _) => args.iter().for_each(|it| self.unsubscribe(cx, client, it)),
            (b"QUIT", _) => {
                reply.ok();
                return Ok(Action::Close);
            }
            (b"PING", []) if !listens => reply.line(b'+', "PONG"),
            (b"PING" | b"ECHO", [word]) if !listens => reply.string(word),
            (b"PING", []) => reply.strings(["pong", ""].iter()),
            (b"PING", [word]) => reply.strings([b"pong", *word].iter()),
            _ if listens => return Err(refusal(name, listens)),
            (b"PUBLISH", [channel, message]) => self.publish(cx, channel, message),
            (b"SELECT", [number]) if integer(number)? == 0 => reply.ok(),
            (b"SELECT", [_]) => return Err("ERR DB index is out of range".to_owned()),
            // redis-cli asks for documentation, and does without.
            (b"COMMAND", _) => reply.array(0),
            // What redis-benchmark asks: nothing is saved to a disk.
            (b"CONFIG", [_, b"save"]) => reply.strings(["save", ""].iter()),
            (b"CONFIG", [_, b"appendonly"]) => reply.strings(["appendonly", "no"].iter()),
            _ => return Err(refusal(name, listens)),
        }
        if listens == client.channels.is_empty() {
            // While it listens it may be silent.
            let timeout = listens.then_some(IDLE_TIMEOUT);
            let _ = cx.set_limits(cx.id(), Limits::new().idle_timeout(timeout));
        }
        Ok(Action::Continue)
    }

    fn publish(&mut self, cx: &mut impl Context<Client>, channel: &[u8], message: &[u8]) {
        let listeners = self.channels.get(channel).map_or(&[][..], |them| &**them);
        self.reply.strings([b"message", channel, message].iter());
        let refused = cx.send_shared(listeners, self.reply.0.as_slice().into());
        // They read too slowly, and must not go on with a hole in what they read.
        refused.iter().for_each(|&(id, _)| cx.reset(id));
        self.reply.0.clear();
        self.reply.number(listeners.len() - refused.len());
    }

    fn unsubscribe(&mut self, cx: &mut impl Context<Client>, client: &mut Client, channel: &[u8]) {
        if client.channels.remove(channel) {
            self.forget(cx.id(), channel);
        }
        self.told(client, "unsubscribe", Some(channel));
    }

    /// A client no longer listens to a channel.
    fn forget(&mut self, id: ConnectionId, channel: &[u8]) {
        let Some(listeners) = self.channels.get_mut(channel) else { return };
        listeners.retain(|&listener| listener != id);
        if listeners.is_empty() {
            self.channels.remove(channel);
        }
    }

    /// Tells a client that it has subscribed or unsubscribed.
    fn told(&mut self, client: &Client, what: &str, channel: Option<&[u8]>) {
        self.reply.array(3);
        self.reply.string(what.as_bytes());
        self.reply.string_or_null(channel);
        self.reply.number(client.channels.len());
    }
}

impl Handler for Server {
    type Session = Client;

    fn session(&mut self, _: &Origin) -> Option<Client> {
        Some(Client::default())
    }

    /// Replies to all requests that have arrived whole.
    fn data(
        &mut self,
        cx: &mut impl Context<Client>,
        client: &mut Client,
        input: &mut Input<'_>,
    ) -> Action {
        let (mut request, mut action) = (Vec::with_capacity(8), Action::Continue);
        while action == Action::Continue {
            let ran = match take_request(input, &mut client.seen, &mut request) {
                Ok(false) => break,
                Ok(true) => self.run(cx, client, &request),
                Err(error) => {
                    action = Action::Close;
                    Err(format!("ERR Protocol error: {error}"))
                }
            };
            match ran {
                Ok(then) => action = then,
                // A line break in it would end it early.
                Err(error) => self.reply.line(b'-', &error.replace(['\r', '\n'], " ")),
            }
            let sent = cx.send(&self.reply.0);
            self.reply.0.clear();
            match sent {
                Sent::Written | Sent::Queued => {}
                Sent::Refused => action = Action::Reset,
                // The client asks faster than it reads. What is left in the input is shown again
                // when the replies have drained.
                Sent::AboveMark | Sent::Gone => break,
            }
        }
        self.reply.0.shrink_to(MAX_INLINE);
        action
    }

    fn closed(&mut self, _: &mut impl Context<Client>, client: Client, closed: &Closed) {
        client.channels.iter().for_each(|channel| self.forget(closed.id, channel));
    }

    /// A signal came.
    fn notified(&mut self, cx: &mut impl LoopContext<Client>) {
        let again = std::mem::replace(&mut self.stops, true);
        cx.stop(if again { Stop::Now } else { Stop::Drain(Some(PATIENCE)) });
    }
}

/// Why a command is not run.
fn refusal(name: &[u8], listens: bool) -> String {
    let name = String::from_utf8_lossy(name);
    let known = name.to_lowercase();
    match (COMMANDS.split(' ').any(|it| it == known), listens) {
        (false, _) => format!("ERR unknown command '{name}'"),
        (true, false) => format!("ERR wrong number of arguments for '{known}' command"),
        (true, true) => format!(
            "ERR Can't execute '{known}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
             RESET are allowed in this context"
        ),
    }
}

fn config() -> Config {
    // A line end follows the last argument.
    let config = Config::new().output_limit(MAX_OUTPUT).input_limit(MAX_REQUEST + 2);
    config.idle_timeout(Some(IDLE_TIMEOUT))
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
    let (code, error) = match address.map(run) {
        Some(Ok(())) => return ExitCode::SUCCESS,
        Some(Err(error)) => (1, format!("redis: {error}")),
        None => (2, "usage: redis [ADDRESS], such as 127.0.0.1:6379 or [::1]:6379".to_owned()),
    };
    eprintln!("{error}");
    ExitCode::from(code)
}
