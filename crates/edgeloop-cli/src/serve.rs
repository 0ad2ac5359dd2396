//! `edgeloop serve`: the one place where things happen, in the order in which they do.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use edgeloop::{DEFAULT_BUFFER_LIMIT, Error, EventLoop, Handler, MemoryLimit, Metrics};
use rustix::io::Errno;

use crate::addresses::Address;
use crate::config::{ServeConfig, Verbosity};
use crate::echo::{Echo, LoggedEcho};
use crate::exit::{Exit, Failure};
use crate::log::{Log, TOTALS, millis};
use crate::operator::{Operated, Operator};
use crate::signals::FirstSignal;

/// Serves until a signal, and answers how it ended. The log has said everything about it.
///
/// # Errors
///
/// When there is no log to say it in.
pub(crate) fn serve(config: &ServeConfig) -> Result<Exit, Failure> {
    let log = Log::start(config.format, config.verbosity)
        .map_err(|error| Failure::fatal(format!("cannot start the log: {error}")))?;
    let served = match config.verbosity {
        Verbosity::Quiet | Verbosity::Normal => serve_with(Echo::new, config, &log),
        Verbosity::Connections => serve_with(LoggedEcho::<false>::new, config, &log),
        Verbosity::Everything => serve_with(LoggedEcho::<true>::new, config, &log),
    };
    Ok(served.unwrap_or_else(|failure| {
        tracing::error!("{}", failure.line);
        failure.exit
    }))
}

fn serve_with<H>(
    handler: impl FnOnce(Operator) -> H,
    config: &ServeConfig,
    log: &Log,
) -> Result<Exit, Failure>
where
    H: Handler + Operated,
{
    if let Err(error) = edgeloop::raise_descriptor_limit() {
        tracing::warn!("cannot raise the limit of descriptors: {error} in setrlimit");
    }
    let resolved = resolve(&config.addresses)?;
    // Before listening, so that whoever reads that line can already signal.
    let signal = FirstSignal::install()
        .map_err(|error| Failure::fatal(format!("cannot handle signals: {error}")))?;
    let handler = handler(Operator::new(signal, config.drain_timeout));
    let mut event_loop = EventLoop::with_config(handler, config.event_loop.clone())?;
    event_loop.notify_on(event_loop.handler().operator())?;
    let bound = listen(&mut event_loop, &resolved)?;
    // Only now, since each listener takes a descriptor.
    let cap = event_loop.max_connections();
    if let Some(asked) = config.max_connections.filter(|&asked| asked > cap) {
        tracing::warn!(
            "a limit of {asked} connections was asked for, descriptors suffice for {cap}"
        );
    }
    let version = env!("CARGO_PKG_VERSION");
    let buffer_limit = event_loop.buffer_limit();
    let keepalive =
        event_loop.keepalive().map(|after| humantime::format_duration(after).to_string());
    tracing::info!(
        max_connections = cap,
        buffer_limit,
        keepalive,
        "edgeloop {version} serves echo"
    );
    if event_loop.keepalive().is_none() && event_loop.idle_timeout().is_none() {
        tracing::warn!(
            "--idle-timeout none and --keepalive none: a connection whose peer has vanished is kept \
             for ever"
        );
    }
    if let Some(asked) = config.send_buffer {
        tell_send_buffer(asked);
    }
    if let Some(limit) = event_loop.memory_limit() {
        tell_memory(limit, buffer_limit, config.buffer_limit);
    }
    for address in bound {
        log.listening(address);
    }
    let begin = Instant::now();
    let run = event_loop.run();
    let metrics = run.as_ref().map_or_else(|_| event_loop.metrics(), |metrics| *metrics);
    event_loop.handler().operator().tell_the_rest();
    tell_totals(&metrics, begin.elapsed(), log);
    run?;
    if metrics.cut_off > 0 {
        let line = format!("connections cut off by the drain timeout: {}", metrics.cut_off);
        return Err(Failure { exit: Exit::CutOff, line });
    }
    Ok(Exit::Done)
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

/// An address as it was asked for, and what it stands for.
struct Resolved<'a> {
    asked: &'a Address,
    addresses: Vec<SocketAddr>,
}

fn resolve(addresses: &[Address]) -> Result<Vec<Resolved<'_>>, Failure> {
    addresses.iter().map(|asked| Ok(Resolved { asked, addresses: asked.look_up()? })).collect()
}

/// Listens on everything, and answers with the real addresses.
fn listen<H: Handler>(
    event_loop: &mut EventLoop<H>,
    resolved: &[Resolved<'_>],
) -> Result<Vec<SocketAddr>, Failure> {
    let mut bound = Vec::new();
    for Resolved { asked, addresses } in resolved {
        let before = bound.len();
        let mut unavailable = Vec::new();
        for &address in addresses {
            match event_loop.listen(address) {
                Ok(address) => bound.push(address),
                // localhost has an IPv6 address on machines without IPv6, too.
                Err(error) if addresses.len() > 1 && is_unavailable(&error) => {
                    unavailable.push(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if bound.len() == before
            && let Some(error) = unavailable.pop()
        {
            return Err(error.into());
        }
        for error in unavailable {
            tracing::warn!("{error}; {asked} is served without it");
        }
    }
    Ok(bound)
}

/// Whether this machine lacks the address, or its whole family.
fn is_unavailable(error: &Error) -> bool {
    let errno = Errno::from_io_error(error.io_error());
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

fn tell_totals(metrics: &Metrics, duration: Duration, log: &Log) {
    let log_lines_dropped = log.dropped();
    tracing::info!(
        target: TOTALS,
        accepted = metrics.accepted,
        ended = metrics.closed,
        aborted = metrics.aborted,
        cut_off = metrics.cut_off,
        bytes_in = metrics.bytes_in,
        bytes_out = metrics.bytes_out,
        bytes_dropped = metrics.bytes_dropped,
        duration_ms = millis(duration),
        spins = (metrics.spins > 0).then_some(metrics.spins),
        spins_paid = (metrics.spins > 0).then_some(metrics.spins_paid),
        log_lines_dropped = (log_lines_dropped > 0).then_some(log_lines_dropped),
        "totals"
    );
}
