//! What `bench` is to do, resolved from the command line, without any effect.

use std::ffi::OsString;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::args::BenchArgs;
use super::exchange::asked::{self, Asked, Shown};
use super::fail_if::Condition;
use super::find::{Bound, Search};
use super::payload::{LARGEST, STREAMS};
use super::plan::{Extent, Load, Plan};
use super::profile::Profile;
use super::refusals;
use super::schedule::Arrival;
use crate::addresses::Address;
use crate::exit::Failure;
use crate::values::{self, read};

/// The most messages in flight if no number is asked for: what is remembered of each takes 16
/// bytes.
const FLIGHTS: usize = 4_000_000;

/// The most runs of one command.
const REPEATS: u64 = 100;

/// The most histograms of the steps of a profile, for all threads: each takes a quarter of a
/// megabyte.
const HISTOGRAMS: u64 = 1000;

/// A run of up to this is told of in parts of a second.
const SLICED: Duration = Duration::from_secs(60);
const SLICE: Duration = Duration::from_millis(100);

/// Everything that `bench` needs to know.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BenchConfig {
    pub(crate) addresses: Vec<Address>,
    /// Of the addresses of each, the first alone is used.
    pub(crate) first_address: bool,
    /// Without the addresses, which are still to be looked up.
    pub(crate) plan: Plan,
    pub(crate) mode: Mode,
    /// What the run is called.
    pub(crate) label: Option<String>,
    /// What is sent to a service that does not echo, with its files still to be read.
    pub(crate) asked: Option<Asked>,
    pub(crate) shown: Shown,
    /// The rate is looked for that keeps within this.
    pub(crate) find: Option<Search>,
    /// How many runs are made.
    pub(crate) repeat: u64,
    /// On what it fails.
    pub(crate) fail_if: Vec<Condition>,
    /// Files; `-` is standard output.
    pub(crate) json: Option<OsString>,
    pub(crate) csv: Option<OsString>,
    pub(crate) report: Option<OsString>,
    pub(crate) baseline: Option<OsString>,
    pub(crate) verbose: bool,
    pub(crate) quiet: bool,
}

/// What a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Closed,
    Open,
    Connect,
    Stream,
    Hold,
}

impl Mode {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Connect => "connect",
            Self::Stream => "stream",
            Self::Hold => "hold",
        }
    }
}

impl BenchConfig {
    /// # Errors
    ///
    /// Names the first value that is wrong, by its option, or two that cannot be used together.
    pub(crate) fn resolve(args: &BenchArgs) -> Result<Self, Failure> {
        contradictions(args)?;
        let read_address = |address| Address::read("ADDRESS", address).map(Address::reachable);
        let addresses = args.address.iter().map(|address| read_address(address));
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        let timeout = refusals::timeout(args, &addresses)?;
        let count = |name, value| option(name, value, |text| values::count(text, 1, u64::MAX));
        let hold = option("--hold", &args.hold, lanes)?;
        let connections = match hold {
            Some(hold) => hold,
            None => option("--connections", &args.connections, lanes)?.unwrap_or(50),
        };
        let active = match (hold, count("--active", &args.active)?) {
            (_, Some(active)) => usize::try_from(active).unwrap_or(usize::MAX),
            (Some(_), None) => connections.div_ceil(100),
            (None, None) => connections,
        };
        if active > connections {
            return Err(Failure::usage(format!(
                "--active {active} is more than the number of connections, {connections}"
            )));
        }
        let usual = if args.stream { 64 * 1024 } else { 64 };
        let size = option("--size", &args.size, message_size)?.unwrap_or(usual);
        let profile = option("--profile", &args.profile, Profile::parse)?;
        let arrival = option("--arrival", &args.arrival, arrival)?.unwrap_or_default();
        let rate = option("--rate", &args.rate, values::rate)?;
        let find = find(args, rate, arrival)?;
        let mean = |profile: &Profile| profile.messages() / profile.length().as_secs_f64();
        let rate = rate.or(profile.as_ref().map(mean));
        let rate = rate.or(find.as_ref().map(|search| search.first));
        let load = rate.map_or(Load::Closed, |rate| Load::Open { rate, arrival });
        let window = option("--window", &args.window, |text| values::size(text, 1))?;
        let usual = if args.stream {
            (window.unwrap_or(256 * 1024) / size).max(1)
        } else if rate.is_some() {
            (FLIGHTS / active).max(1)
        } else {
            1
        };
        let pipeline = count("--pipeline", &args.pipeline)?
            .map_or(usual, |pipeline| usize::try_from(pipeline).unwrap_or(usize::MAX));
        let threads = option("--threads", &args.threads, |text| values::count(text, 1, 1024))?;
        let opening = option("--open-rate", &args.open_rate, values::rate)?;
        let busy_poll = option("--busy-poll", &args.busy_poll, values::deadline)?;
        let mut extent = extent(args, timeout)?;
        if let Some(profile) = &profile {
            extent.duration = Some(profile.length());
            histograms(profile, threads.unwrap_or(1).min(active as u64))?;
        }
        let asked = Asked::resolve(args)?;
        let verifies = match &asked {
            Some(asked) => asked.verifies() && !args.no_verify,
            None if args.stream => args.verify,
            None => !args.no_verify,
        };
        // The next message needs another connection anyway.
        let connects = args.connect_per_message || asked.as_ref().is_some_and(Asked::closes);
        let plan = Plan {
            addresses: Vec::new(),
            sources: sources(&args.source)?,
            connections,
            active,
            opening: hold.map(|_| opening.unwrap_or(1000.0)),
            threads: usize::try_from(threads.unwrap_or(1)).unwrap_or(1),
            size,
            exchanges: None,
            greeting: option("--greeting", &args.greeting, asked::greeting)?,
            pipeline,
            load,
            profile: profile.map(Arc::new),
            connects,
            extent,
            connect_timeout: option("--connect-timeout", &args.connect_timeout, values::timeout)?
                .unwrap_or(Some(Duration::from_secs(10)))
                .filter(|_| timeout.is_none()),
            timeout,
            verifies,
            seed: option("--seed", &args.seed, |text| values::count(text, 0, u64::MAX))?
                .unwrap_or(1),
            busy_poll: busy_poll
                .unwrap_or(Some(Duration::from_micros(200)))
                .unwrap_or(Duration::ZERO),
            tick: if extent.duration.is_some_and(|duration| duration > SLICED) {
                Duration::from_secs(1)
            } else {
                SLICE
            },
        };
        let mode = match (connects, args.stream, hold) {
            (true, _, _) => Mode::Connect,
            (_, true, _) => Mode::Stream,
            (_, _, Some(_)) => Mode::Hold,
            _ if rate.is_some() => Mode::Open,
            _ => Mode::Closed,
        };
        Ok(Self {
            addresses,
            first_address: args.first_address,
            plan,
            mode,
            label: option("--label", &args.label, label)?,
            asked,
            shown: Shown::default(),
            find,
            repeat: option("--repeat", &args.repeat, |text| values::count(text, 1, REPEATS))?
                .unwrap_or(1),
            fail_if: conditions(args)?,
            json: args.json.clone(),
            csv: args.csv.clone(),
            report: args.report.clone(),
            baseline: args.baseline.clone(),
            verbose: args.verbose,
            quiet: args.quiet,
        })
    }

    /// Reads the messages that are in files.
    ///
    /// # Errors
    ///
    /// Names a file that can't be used.
    pub(crate) fn load(&mut self) -> Result<(), Failure> {
        if let Some(asked) = &self.asked {
            let (exchanges, shown) = asked.load(self.plan.verifies)?;
            self.plan.size = exchanges.longest();
            self.plan.exchanges = Some(Arc::new(exchanges));
            self.shown = shown;
        }
        Ok(())
    }
}

/// Options that can't be meant together, or that mean nothing alone.
fn contradictions(args: &BenchArgs) -> Result<(), Failure> {
    let modes = [
        ("--connect-per-message", args.connect_per_message),
        ("--stream", args.stream),
        ("--hold", args.hold.is_some()),
    ];
    let asked: Vec<_> = modes.into_iter().filter(|mode| mode.1).map(|mode| mode.0).collect();
    let together = |one: &str, other: &str| {
        Err(Failure::usage(format!("{one} and {other} cannot be used together")))
    };
    if let [one, other, ..] = asked[..] {
        return together(one, other);
    }
    // Each message has a connection of its own then, too.
    let closes = args.reply.iter().any(|reply| reply == "close");
    let pairs = [
        ("--stream", args.stream, "--rate", args.rate.is_some()),
        ("--stream", args.stream, "--find", args.find.is_some()),
        ("--hold", args.hold.is_some(), "--find", args.find.is_some()),
        ("--messages", args.messages.is_some(), "--find", args.find.is_some()),
        ("--repeat", args.repeat.is_some(), "--find", args.find.is_some()),
        ("--repeat", args.repeat.is_some(), "--profile", args.profile.is_some()),
        ("--csv", args.csv.is_some(), "--find", args.find.is_some()),
        ("--hold", args.hold.is_some(), "--connections", args.connections.is_some()),
        ("--connect-per-message", args.connect_per_message, "--pipeline", args.pipeline.is_some()),
        ("--reply close", closes, "--pipeline", args.pipeline.is_some()),
        ("--reply close", closes, "--hold", args.hold.is_some()),
        ("--reply close", closes, "--stream", args.stream),
        ("--window", args.window.is_some(), "--pipeline", args.pipeline.is_some()),
        ("--profile", args.profile.is_some(), "--rate", args.rate.is_some()),
        ("--profile", args.profile.is_some(), "--duration", args.duration.is_some()),
        ("--profile", args.profile.is_some(), "--messages", args.messages.is_some()),
        ("--profile", args.profile.is_some(), "--find", args.find.is_some()),
        ("--profile", args.profile.is_some(), "--stream", args.stream),
        ("--send", !args.send.is_empty(), "--size", args.size.is_some()),
        ("--send", !args.send.is_empty(), "--stream", args.stream),
        ("--expect", !args.expect.is_empty(), "--no-verify", args.no_verify),
    ];
    for (one, is, other, also) in pairs {
        if is && also {
            return together(one, other);
        }
    }
    // Where nothing shows or uses it, it would say nothing.
    let is_standard = |file: &Option<OsString>| file.as_ref().is_some_and(|file| file == "-");
    let compares = args.report.is_some()
        || !args.fail_if.is_empty()
        || !is_standard(&args.json) && !is_standard(&args.csv);
    let has_schedule = args.rate.is_some() || args.find.is_some() || args.profile.is_some();
    let needs = [
        ("--arrival", args.arrival.is_some(), "--rate", has_schedule),
        ("--window", args.window.is_some(), "--stream", args.stream),
        ("--active", args.active.is_some(), "--hold", args.hold.is_some()),
        ("--open-rate", args.open_rate.is_some(), "--hold", args.hold.is_some()),
        ("--baseline", args.baseline.is_some(), "--report, --fail-if or the summary", compares),
    ];
    for (one, is, needed, there) in needs {
        if is && !there {
            return Err(Failure::usage(format!("{one} needs {needed}")));
        }
    }
    Ok(())
}

fn conditions(args: &BenchArgs) -> Result<Vec<Condition>, Failure> {
    let read = |text: &OsString| read("--fail-if", text, Condition::parse);
    let conditions = args.fail_if.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    if args.baseline.is_none() && conditions.iter().any(Condition::is_relative) {
        let line = "--fail-if with a percentage needs --baseline, the run to compare with";
        return Err(Failure::usage(line));
    }
    Ok(conditions)
}

/// The search that is asked for, if one is.
fn find(args: &BenchArgs, rate: Option<f64>, arrival: Arrival) -> Result<Option<Search>, Failure> {
    let Some(bound) = option("--find", &args.find, Bound::parse)? else { return Ok(None) };
    let duration = option("--duration", &args.duration, values::span)?;
    let search = Search::new(bound, rate, duration, arrival);
    search.map(Some).map_err(|fault| Failure::usage(format!("--find: {fault}")))
}

fn extent(args: &BenchArgs, timeout: Option<Duration>) -> Result<Extent, Failure> {
    let messages = option("--messages", &args.messages, |text| values::count(text, 1, u64::MAX))?;
    let asked = option("--duration", &args.duration, values::span)?;
    // The steps of a search have lengths of their own.
    let usual = messages.is_none().then_some(Duration::from_secs(10));
    let warmup = option("--warmup", &args.warmup, values::pause)?;
    // Whoever asks for so many messages expects that so many reach the service.
    let usual_warmup = Duration::from_secs(if messages.is_some() { 0 } else { 1 });
    let grace = option("--grace", &args.grace, values::pause)?;
    Ok(Extent {
        duration: asked.or(usual),
        messages,
        warmup: warmup.unwrap_or(usual_warmup),
        grace: grace.or(timeout).unwrap_or(Duration::from_secs(1)),
    })
}

fn option<T>(
    name: &str,
    value: &Option<OsString>,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, Failure> {
    value.as_ref().map(|value| read(name, value, parse)).transpose()
}

/// Refuses more histograms than fit into memory.
fn histograms(profile: &Profile, threads: u64) -> Result<(), Failure> {
    let steps = profile.steps.len() as u64;
    if steps * threads <= HISTOGRAMS {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "--profile with {steps} steps and --threads {threads} need {} histograms; expected at most \
         {HISTOGRAMS}; use fewer threads or steps",
        steps * threads
    )))
}

/// How many connections: no two may have the same number.
fn lanes(text: &str) -> Result<usize, String> {
    let lanes = values::count(text, 1, STREAMS)?;
    Ok(usize::try_from(lanes).unwrap_or(usize::MAX))
}

fn message_size(text: &str) -> Result<usize, String> {
    match values::size(text, 1) {
        Ok(size) if size > LARGEST => Err("expected at most 1GiB".into()),
        size => size,
    }
}

fn sources(values: &[OsString]) -> Result<Vec<IpAddr>, Failure> {
    let parse = |text: &str| {
        text.parse().map_err(|_| "expected an IP address of this machine, as in 127.0.0.2".into())
    };
    values.iter().map(|value| read("--source", value, parse)).collect()
}

/// What a run is called: a short line that can be seen.
fn label(text: &str) -> Result<String, String> {
    // Some characters can't be seen, but turn the direction in which the others are read.
    let turns = |letter| matches!(letter, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_seen = |letter: char| !letter.is_control() && !turns(letter);
    if text.trim().is_empty() || text.chars().count() > 80 || !text.chars().all(is_seen) {
        return Err("expected a name of 1 to 80 visible characters, like 'new allocator'".into());
    }
    Ok(text.trim().to_owned())
}

fn arrival(text: &str) -> Result<Arrival, String> {
    match text {
        "uniform" => Ok(Arrival::Uniform),
        "poisson" => Ok(Arrival::Poisson),
        _ => Err("expected uniform or poisson".into()),
    }
}

impl BenchConfig {
    /// The addresses as they were given.
    pub(crate) fn asked_addresses(&self) -> String {
        self.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
impl BenchConfig {
    /// One that asks for nothing.
    pub(crate) fn empty() -> Self {
        let args = BenchArgs { address: vec!["127.0.0.1:7".into()], ..BenchArgs::default() };
        Self::resolve(&args).unwrap_or_else(|failure| panic!("{}", failure.line))
    }
}
