//! What `serve` is to do, resolved from the command line and the environment, without any effect.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::thread;
use std::time::Duration;

use edgeloop::{
    Config, MAX_EVENT_BATCH, MAX_LOOPS, MAX_PIPES, MAX_SEND_BUFFER, MIN_BACKLOG, MIN_BUFFER_LIMIT,
    MIN_SEND_BUFFER, Spread,
};

use super::args::{ServeArgs, variable};
use super::passed::Announced;
use super::udp::{self, Limits, Rate};
use super::unix::{self, Access};
use crate::addresses::Address;
use crate::exit::Failure;
use crate::log::{Format, Verbosity};
use crate::values::{self, read};

const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers a second.
const UDP_RATE: f64 = 10_000.0;
const UDP_RATE_TOTAL: f64 = 100_000.0;

/// Two echo servers exchange ten datagrams at most: each answers as often, and one has begun.
const UDP_REPEATS: u64 = 4;

/// Everything that `serve` needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServeConfig {
    /// Where to listen, beside what is passed in.
    pub(crate) addresses: Vec<Address>,
    /// The sockets that are passed in.
    pub(crate) passed: Announced,
    /// The cap that was asked for, which the limit of descriptors may lower.
    pub(crate) max_connections: Option<usize>,
    /// As `event_loop` has it.
    pub(crate) ipv6_only: bool,
    /// Who may connect through the files of Unix sockets.
    pub(crate) unix: Access,
    /// How many datagrams are answered.
    pub(crate) udp: Limits,
    /// The options of those that were given.
    pub(crate) udp_given: Vec<&'static str>,
    /// The ceiling of queued bytes, if one was asked for.
    pub(crate) buffer_limit: Option<usize>,
    /// The send buffer that was asked for, which the kernel may lower.
    pub(crate) send_buffer: Option<usize>,
    pub(crate) event_loop: Config,
    pub(crate) threads: Threads,
    pub(crate) drain_timeout: Option<Duration>,
    pub(crate) format: Format,
    pub(crate) verbosity: Verbosity,
}

/// On which threads it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Threads {
    /// How many; `None` for one on each processor.
    pub(crate) count: Option<usize>,
    /// How connections are spread over them.
    pub(crate) spread: Spread,
    /// Whether each has a processor of its own.
    pub(crate) pin: bool,
}

impl Threads {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        let processors = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.count.unwrap_or_else(|| processors().min(MAX_LOOPS))
    }

    /// What was given that has no effect on a single thread.
    pub(crate) fn without_effect(&self) -> impl Iterator<Item = &'static str> {
        let spread = (self.spread != Spread::default()).then_some("--spread");
        spread.into_iter().chain(self.pin.then_some("--pin"))
    }
}

/// The environment, as a function of the variable's name.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl ServeConfig {
    /// # Errors
    ///
    /// Names the first value that is wrong, by the option or the variable that it came from.
    pub(crate) fn resolve(args: ServeArgs, environment: Environment<'_>) -> Result<Self, Failure> {
        let verbosity = verbosity(&args, environment)?;
        let ipv6_only = args.ipv6_only || switch("ipv6-only", environment)?;
        let get = |option, argument| Given::find(option, argument, environment);
        let max_connections = get("max-connections", args.max_connections)
            .read(|text| values::count(text, 1, u64::MAX))?
            .map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let mut event_loop =
            Config::new().max_connections(max_connections).ipv6_only(ipv6_only).idle_timeout(
                get("idle-timeout", args.idle_timeout)
                    .read(values::timeout)?
                    .unwrap_or(Some(IDLE_TIMEOUT)),
            );
        if let Some(timeout) = get("write-timeout", args.write_timeout).read(values::timeout)? {
            event_loop = event_loop.write_timeout(timeout);
        }
        let buffer_limit = get("buffer-limit", args.buffer_limit)
            .read(|text| values::size(text, MIN_BUFFER_LIMIT))?;
        if let Some(bytes) = buffer_limit {
            event_loop = event_loop.buffer_limit(bytes);
        }
        if let Some(after) = get("keepalive", args.keepalive).read(keepalive)? {
            event_loop = event_loop.keepalive(after);
        }
        if let Some(timeout) = get("user-timeout", args.user_timeout).read(user_timeout)? {
            event_loop = event_loop.user_timeout(timeout);
        }
        let send_buffer = get("send-buffer", args.send_buffer).read(send_buffer)?;
        event_loop = event_loop.send_buffer(send_buffer);
        if let Some(backlog) = get("backlog", args.backlog).read(backlog)? {
            event_loop = event_loop.backlog(backlog);
        }
        if let Some(events) =
            get("event-batch", args.event_batch).read(|text| at_most(text, 1, MAX_EVENT_BATCH))?
        {
            event_loop = event_loop.event_batch(events);
        }
        if let Some(pipes) = get("pipes", args.pipes).read(|text| at_most(text, 0, MAX_PIPES))? {
            event_loop = event_loop.pipes(pipes);
        }
        if let Some(most) = get("spin", args.spin).read(values::spin)? {
            event_loop = event_loop.spin(most);
        }
        let threads = Threads {
            count: get("threads", args.threads).read(threads)?.unwrap_or(Some(1)),
            spread: get("spread", args.spread).read(spread)?.unwrap_or_default(),
            pin: args.pin || switch("pin", environment)?,
        };
        let passed = Announced::read(environment, std::process::id())?;
        let mut addresses = addresses(&args.address, environment)?;
        if addresses.is_empty() && passed.count == 0 {
            addresses.push(Address::read("ADDRESS", OsStr::new("0.0.0.0:3000"))?);
        }
        let unix = Access {
            mode: get("unix-mode", args.unix_mode).read(unix::mode)?,
            owner: get("unix-owner", args.unix_owner).read(unix::owner)?,
        };
        let rate = get("udp-rate", args.udp_rate);
        let total = get("udp-rate-total", args.udp_rate_total);
        let repeats = get("udp-repeats", args.udp_repeats);
        Ok(Self {
            addresses,
            passed,
            max_connections,
            ipv6_only,
            unix,
            udp: Limits {
                rate: rate.read(Rate::parse)?.unwrap_or(Some(Rate::per_second(UDP_RATE))),
                total: total.read(Rate::parse)?.unwrap_or(Some(Rate::per_second(UDP_RATE_TOTAL))),
                repeats: repeats.read(udp::repeats)?.unwrap_or(Some(UDP_REPEATS)),
            },
            udp_given: [
                (rate, "--udp-rate"),
                (total, "--udp-rate-total"),
                (repeats, "--udp-repeats"),
            ]
            .into_iter()
            .filter_map(|(given, option)| given.value.is_some().then_some(option))
            .collect(),
            buffer_limit,
            send_buffer,
            event_loop,
            threads,
            drain_timeout: get("drain-timeout", args.drain_timeout)
                .read(values::deadline)?
                .unwrap_or(Some(DRAIN_TIMEOUT)),
            format: get("log-format", args.log_format).read(format)?.unwrap_or_default(),
            verbosity,
        })
    }
}

/// The value of one option, if there is one, and the name under which it was given.
struct Given {
    name: String,
    value: Option<OsString>,
}

impl Given {
    fn find(option: &str, argument: Option<OsString>, environment: Environment<'_>) -> Self {
        if argument.is_some() {
            Self { name: format!("--{option}"), value: argument }
        } else {
            Self::variable(option, environment)
        }
    }

    /// An empty variable counts as none: that is how a compose file leaves one out.
    fn variable(option: &str, environment: Environment<'_>) -> Self {
        let name = variable(option);
        let value = environment(&name).filter(|value| !value.is_empty());
        Self { name, value }
    }

    fn read<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, Failure> {
        let read = |value: &OsString| read(&self.name, value, parse);
        self.value.as_ref().map(read).transpose()
    }
}

/// The addresses that are named, which can be none.
fn addresses(args: &[OsString], environment: Environment<'_>) -> Result<Vec<Address>, Failure> {
    if !args.is_empty() {
        return args.iter().map(|arg| Address::read("ADDRESS", arg)).collect();
    }
    let Given { name, value } = Given::variable("address", environment);
    let listed = value.unwrap_or_default();
    let parts = listed.as_bytes().split(|byte| matches!(byte, b' ' | b'\t' | b'\n'));
    let read = |part: &[u8]| Address::read(&name, OsStr::from_bytes(part));
    parts.flat_map(split).map(read).collect()
}

/// The parts of a list that are separated by commas.
fn split(listed: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut rest) = (Vec::new(), listed);
    while !rest.is_empty() {
        let end = first_part(rest);
        parts.push(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// The length of the first part of a list. A comma in brackets belongs to the name of an interface;
/// in a path, brackets are like any other letters.
fn first_part(listed: &[u8]) -> usize {
    let may_have_brackets = !listed.starts_with(b"unix:");
    let mut is_bracketed = false;
    let end = listed.iter().position(|&byte| {
        is_bracketed = may_have_brackets && (byte == b'[' || is_bracketed && byte != b']');
        byte == b',' && !is_bracketed
    });
    end.unwrap_or(listed.len())
}

/// The command line decides alone if it says anything about verbosity.
fn verbosity(args: &ServeArgs, environment: Environment<'_>) -> Result<Verbosity, Failure> {
    let (quiet, verbose) = if args.quiet || args.verbose > 0 {
        (args.quiet, args.verbose.into())
    } else {
        let verbose = Given::variable("verbose", environment);
        let level = verbose.read(|text| values::count(text, 0, 2))?.unwrap_or(0);
        (switch("quiet", environment)?, level)
    };
    match (quiet, verbose) {
        (true, 0) => Ok(Verbosity::Quiet),
        (true, _) => Err(Failure::usage(format!(
            "{} and {} cannot be used together; unset one",
            variable("quiet"),
            variable("verbose")
        ))),
        (false, 0) => Ok(Verbosity::Normal),
        (false, 1) => Ok(Verbosity::Connections),
        (false, _) => Ok(Verbosity::Everything),
    }
}

fn switch(option: &str, environment: Environment<'_>) -> Result<bool, Failure> {
    Ok(Given::variable(option, environment).read(values::switch)?.unwrap_or(false))
}

fn backlog(text: &str) -> Result<u32, String> {
    // listen(2) takes an int.
    let most = i32::MAX.unsigned_abs();
    let count = values::count(text, MIN_BACKLOG.into(), most.into())?;
    Ok(u32::try_from(count).unwrap_or(most))
}

fn keepalive(text: &str) -> Result<Option<Duration>, String> {
    let range = Duration::from_secs(1)..=Duration::from_secs(32_767);
    let after = values::timeout(text)?;
    if after.is_some_and(|after| !range.contains(&after)) {
        return Err("expected 1s to 32767s (9h 6m 7s), or none".into());
    }
    Ok(after)
}

fn user_timeout(text: &str) -> Result<Option<Duration>, String> {
    // TCP_USER_TIMEOUT takes milliseconds.
    let range = Duration::from_millis(1)..=Duration::from_millis(i32::MAX.unsigned_abs().into());
    let timeout = values::timeout(text)?;
    if timeout.is_some_and(|timeout| !range.contains(&timeout)) {
        return Err("expected 1ms to 2147483647ms (24 days), or none".into());
    }
    Ok(timeout)
}

fn send_buffer(text: &str) -> Result<usize, String> {
    let bytes = values::size(text, MIN_SEND_BUFFER)?;
    if bytes > MAX_SEND_BUFFER {
        return Err(format!("expected at most {MAX_SEND_BUFFER} bytes"));
    }
    Ok(bytes)
}

fn at_most(text: &str, least: u64, most: usize) -> Result<usize, String> {
    let count = values::count(text, least, most as u64)?;
    Ok(usize::try_from(count).unwrap_or(most))
}

fn threads(text: &str) -> Result<Option<usize>, String> {
    if text == "auto" {
        return Ok(None);
    }
    at_most(text, 1, MAX_LOOPS).map(Some).map_err(|expected| format!("{expected}, or auto"))
}

fn spread(text: &str) -> Result<Spread, String> {
    match text {
        "least" => Ok(Spread::Least),
        "reuseport" => Ok(Spread::ReusePort),
        "exclusive" => Ok(Spread::Exclusive),
        _ => Err("expected least, reuseport or exclusive".into()),
    }
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err("expected text or json".into()),
    }
}

#[cfg(test)]
mod tests;
