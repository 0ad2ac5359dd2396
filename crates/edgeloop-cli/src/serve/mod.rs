//! `edgeloop serve`: the one place where things happen, in the order in which they do.

pub(crate) mod args;
mod server;
pub(crate) mod passed;
mod unix;
mod udp;
pub(crate) mod config;
mod listeners;
mod notices;
mod operator;
mod echo;
mod threads;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use edgeloop::{DEFAULT_BUFFER_LIMIT, EventLoop, Handler, ListenOptions, MemoryLimit, Metrics};
use nix::sys::signal::Signal;

use config::ServeConfig;
use echo::{Echo, LoggedEcho};
use listeners::Resolved;
use operator::{Operated, Operator};
use passed::Passed;
use server::Server;
use udp::{DatagramEcho, Refusal};

use crate::addresses::Address;
use crate::exit::{Exit, Failure};
use crate::log::{self, Log, TOTALS, Verbosity, millis};
use crate::signals::Signals;

/// Serves until a signal, and returns how it ended. The log has said everything about it, the
/// warnings first. What was passed in is listened on, beside the addresses.
pub(crate) fn serve(config: &ServeConfig, passed: Vec<Passed>, warnings: &[String]) -> Exit {
    let log = Log::start(config.format, config.verbosity);
    for warning in warnings.iter().chain(&config.passed.ignored) {
        tracing::warn!("{warning}");
    }
    if !config.addresses.iter().any(Address::has_file) {
        for option in config.unix.given() {
            tracing::warn!("{option} has no effect: no address is unix:PATH");
        }
    }
    if !config.addresses.iter().any(Address::is_udp) {
        for option in &config.udp_given {
            tracing::warn!("{option} has no effect: no address is udp://");
        }
    }
    let served = match config.verbosity {
        Verbosity::Quiet | Verbosity::Normal => serve_with(Echo::new, config, passed, &log),
        Verbosity::Connections => serve_with(LoggedEcho::<false>::new, config, passed, &log),
        Verbosity::Everything => serve_with(LoggedEcho::<true>::new, config, passed, &log),
    };
    let (ended, mut operator) = match served {
        Ok((ended, operator)) => (ended, Some(operator)),
        Err(failure) => (Err(failure), None),
    };
    let exit = ended.unwrap_or_else(|failure| {
        tracing::error!("{}", failure.line);
        failure.exit
    });
    if matches!(exit, Exit::Signal(_)) {
        log.finish(log::SOON, || None::<Signal>);
        return exit;
    }
    // The end waits for the log, and a second signal ends that, too.
    let second = log.finish(log::END, || operator.as_mut().and_then(Operator::second_signal));
    second.map_or(exit, Exit::Signal)
}

/// How it ended, and the operator, who may have sent a second signal.
type Served = Result<(Result<Exit, Failure>, Operator), Failure>;

fn serve_with<H>(
    handler: impl Fn(Operator, DatagramEcho) -> H + Sync,
    config: &ServeConfig,
    passed: Vec<Passed>,
    log: &Log,
) -> Served
where
    H: Handler + Operated,
{
    let setup = Setup::new(config, passed)?;
    if config.threads.count() > 1 {
        return threads::serve(handler, config, setup, log);
    }
    for option in config.threads.without_effect() {
        tracing::warn!("{option} has no effect: there is one thread");
    }
    // Before listening, so that whoever reads that line can already signal.
    let signals = watch_signals()?;
    let operator = Operator::new(signals, config.drain_timeout);
    let handler = handler(operator, DatagramEcho::new(config.udp));
    let mut event_loop = EventLoop::with_config(handler, config.event_loop.clone())?;
    if let Some(signals) = event_loop.handler().operator().signals() {
        event_loop.notify_on(signals)?;
    }
    let datagrams = setup.listen(&mut event_loop, config, log)?;
    event_loop.handler().datagrams().bound(datagrams);
    let begin = Instant::now();
    let run = event_loop.run();
    let metrics = run.as_ref().map_or_else(|_| event_loop.metrics(), |metrics| *metrics);
    let (operator, datagrams) = event_loop.into_handler().into_parts();
    let has_datagrams = config.addresses.iter().any(Address::is_udp);
    let datagrams = has_datagrams.then_some(&datagrams);
    Ok(end(run.map(drop), &metrics, operator, datagrams, begin, log))
}

/// Says at the end what there was, and how it ended.
fn end(
    run: Result<(), edgeloop::Error>,
    metrics: &Metrics,
    mut operator: Operator,
    datagrams: Option<&DatagramEcho>,
    begin: Instant,
    log: &Log,
) -> (Result<Exit, Failure>, Operator) {
    operator.tell_the_rest();
    if let Some(datagrams) = datagrams {
        datagrams.refusals().tell_the_rest();
    }
    tell_totals(metrics, datagrams, begin.elapsed(), log);
    let ended = run.map_err(Failure::from);
    let ended = ended.and_then(|()| judge(metrics, operator.second_signal()));
    (ended, operator)
}

fn watch_signals() -> Result<Signals, Failure> {
    Signals::watch().map_err(|error| Failure::fatal(format!("cannot watch for signals: {error}")))
}

/// What is known before anything listens.
struct Setup<'a> {
    /// The limit of descriptors, if it could be raised.
    descriptors: Option<u64>,
    resolved: Vec<Resolved<'a>>,
    files: ListenOptions,
    passed: Vec<Passed>,
}

impl<'a> Setup<'a> {
    fn new(config: &'a ServeConfig, passed: Vec<Passed>) -> Result<Self, Failure> {
        let descriptors = edgeloop::raise_descriptor_limit();
        if let Err(error) = &descriptors {
            tracing::warn!("cannot raise the descriptor limit: {error} in setrlimit");
        }
        let resolved = listeners::resolve(&config.addresses)?;
        let files = config.unix.options()?;
        Ok(Self { descriptors: descriptors.ok(), resolved, files, passed })
    }

    /// Listens, and says on what and with which limits. Returns the addresses of datagrams.
    fn listen(
        self,
        server: &mut impl Server,
        config: &ServeConfig,
        log: &Log,
    ) -> Result<Vec<SocketAddr>, Failure> {
        let passed = passed::listen(server, self.passed)?;
        let listening =
            listeners::listen(server, &self.resolved, config.ipv6_only, &self.files, &passed)?;
        let datagrams = listening.datagrams().collect();
        for warning in listening.warnings {
            tracing::warn!("{warning}");
        }
        // Only now, since each listener takes a descriptor.
        let cap = server.max_connections()?;
        if let Some(asked) = config.max_connections.filter(|&asked| asked > cap) {
            let limit = self.descriptors.map_or_else(String::new, |limit| format!(" {limit}"));
            tracing::warn!(
                "--max-connections {asked} lowered to {cap}: descriptor limit{limit} (see ulimit \
                 -n)"
            );
        }
        let version = env!("CARGO_PKG_VERSION");
        let threads = config.threads.count();
        let buffer_limit = server.buffer_limit()?;
        let keepalive =
            server.keepalive().map(|after| humantime::format_duration(after).to_string());
        tracing::info!(
            max_connections = cap,
            buffer_limit,
            keepalive,
            threads = (threads > 1).then_some(threads),
            "edgeloop {version} serves echo"
        );
        if server.keepalive().is_none() && server.idle_timeout().is_none() {
            tracing::warn!(
                "--idle-timeout none and --keepalive none: a connection whose peer has vanished is \
                 kept for ever"
            );
        }
        if let Some(asked) = config.send_buffer {
            tell_send_buffer(asked);
        }
        if let Some(limit) = server.memory_limit()? {
            tell_memory(limit, buffer_limit, config.buffer_limit);
        }
        for one in &passed {
            one.tell();
        }
        for address in &listening.addresses {
            log.listening(address);
        }
        Ok(datagrams)
    }
}

/// How a run ended that did not fail (C37, C38). The line of a bad end is the last of the log.
fn judge(metrics: &Metrics, second: Option<Signal>) -> Result<Exit, Failure> {
    let &Metrics { cut_off, bytes_dropped, .. } = metrics;
    let (exit, line) = if let Some(signal) = second {
        let line =
            format!("{signal}, the second signal: ended at once; connections cut off: {cut_off}");
        (Exit::Signal(signal), line)
    } else if cut_off > 0 {
        (Exit::OutputLost, format!("connections cut off by the drain timeout: {cut_off}"))
    } else if bytes_dropped > 0 {
        let line = "bytes of output dropped, because of resets, write timeouts or limits";
        (Exit::OutputLost, format!("{line}: {bytes_dropped}"))
    } else {
        return Ok(Exit::Done);
    };
    Err(Failure { exit, line })
}

/// Says what the place's memory did to the buffer limit, or may do to a larger one (C11).
fn tell_memory(limit: &MemoryLimit, holds: usize, asked: Option<usize>) {
    let allowed = usize::try_from(limit.bytes()).unwrap_or(usize::MAX);
    match asked {
        Some(asked) if asked > allowed / 2 => tracing::warn!(
            "--buffer-limit {asked} is more than half of the memory allowed, {limit}: \
             when that is used up, reading pauses, or the kernel ends the process"
        ),
        None if holds < DEFAULT_BUFFER_LIMIT => tracing::info!(
            "buffer limit lowered from {DEFAULT_BUFFER_LIMIT} to {holds} bytes: \
             a quarter of the memory allowed, {limit}"
        ),
        _ => {}
    }
}

/// Says what the kernel makes of the send buffer that was asked for (socket(7)).
fn tell_send_buffer(asked: usize) {
    let most = std::fs::read_to_string("/proc/sys/net/core/wmem_max").ok();
    let most = most.and_then(|text| text.trim().parse::<usize>().ok());
    if let Some(most) = most.filter(|&most| most < asked) {
        tracing::warn!("--send-buffer {asked} lowered to {most}: net.core.wmem_max caps it");
    }
}

/// Says what it all came to. What there was none of is left out, but for what is always of
/// interest.
fn tell_totals(metrics: &Metrics, datagrams: Option<&DatagramEcho>, duration: Duration, log: &Log) {
    let some = |count: u64| (count > 0).then_some(count);
    let refused = |refusal| datagrams.and_then(|datagrams| datagrams.refusals().of(refusal));
    tracing::info!(
        target: TOTALS,
        accepted = metrics.accepted,
        ended = metrics.closed,
        aborted = metrics.aborted,
        cut_off = metrics.cut_off,
        bytes_in = metrics.bytes_in,
        bytes_out = metrics.bytes_out,
        bytes_dropped = metrics.bytes_dropped,
        datagrams_in = datagrams.map(|_| metrics.datagrams_in),
        datagrams_out = datagrams.map(|_| metrics.datagrams_out),
        refused_port = refused(Refusal::Port),
        refused_own = refused(Refusal::Own),
        refused_group = refused(Refusal::Group),
        refused_rate = refused(Refusal::Rate),
        refused_total = refused(Refusal::Total),
        refused_repeat = refused(Refusal::Repeat),
        datagrams_dropped = some(metrics.datagrams_dropped),
        datagrams_failed = some(metrics.datagrams_refused),
        datagram_errors = some(metrics.datagram_errors),
        duration_ms = millis(duration),
        spins = some(metrics.spins),
        spins_paid = (metrics.spins > 0).then_some(metrics.spins_paid),
        log_lines_dropped = some(log.dropped()),
        "totals"
    );
}
