//! `edgeloop bench`: a load generator that tells the truth about latency.
//!
//! `args` and `config` say what is asked for, `plan` is the run that this comes to. `run` starts its
//! threads, each a `worker` on an event loop, with a `lane` for each connection. What they measure
//! (`record`) comes back each second, is shown (`live`), and becomes the `results`, from which the
//! `summary` and all files are made.

pub(crate) mod args;
mod config;
mod errors;
mod gate;
mod lane;
mod live;
mod machine;
mod payload;
mod plan;
mod record;
mod results;
mod run;
mod schedule;
mod show;
mod summary;
mod verify;
mod worker;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::SystemTime;

use args::BenchArgs;
use config::{BenchConfig, Sink};
use live::Live;
use results::{Background, Results};
use run::{Controls, Done};
use summary::Summary;
use worker::End;

use crate::exit::{Exit, Failure};
use crate::signals;

/// How many loopback addresses are used where each message needs a port of its own.
const LOOPBACK_SOURCES: u8 = 32;

/// Runs as the command line says, and answers how it ended.
///
/// # Errors
///
/// When something is wrong with the command line, an address or a file, or with this machine.
pub(crate) fn bench(args: &BenchArgs) -> Result<Exit, Failure> {
    let mut config = BenchConfig::resolve(args)?;
    resolve(&mut config)?;
    // Before the run, so that a result is not lost for want of a place.
    let json = match &config.json {
        Some(Sink::File(path)) => Some((create(path)?, path.clone())),
        _ => None,
    };
    let csv = config.csv.as_deref().map(create).transpose()?;
    if let Err(error) = edgeloop::raise_descriptor_limit() {
        say(&format!("cannot raise the limit of descriptors: {error}"));
    }
    let mut live = Live::new(&config.plan, config.quiet, csv);
    let (started, before) = (SystemTime::now(), machine::processor_time());
    let done = run::run(&config.plan, &mut live, interrupt_on_signals)?;
    let processor = machine::processor_time().saturating_sub(before);
    let (intervals, table) = live.finish();
    let background = Background {
        started: humantime::format_rfc3339_seconds(started).to_string(),
        command: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        machine: machine::machine(),
        processor,
    };
    let results = Results::new(&config, background, &done, intervals);
    let mut kept = Ok(());
    if let (Err(error), Some(path)) = (table, &config.csv) {
        kept = Err(unwritable(path, &error));
    }
    if let Some((file, path)) = json
        && let Err(error) = results.write(BufWriter::new(file))
    {
        kept = Err(unwritable(&path, &error));
    }
    print(&config, &results)?;
    kept?;
    Ok(exit(&done, &results))
}

/// Looks the address up, and finds addresses to connect from if it will take many ports.
fn resolve(config: &mut BenchConfig) -> Result<(), Failure> {
    let addresses = config.address.resolve();
    let addresses = addresses
        .map_err(|error| Failure::usage(format!("cannot resolve {}: {error}", config.address)))?;
    if addresses.is_empty() {
        return Err(Failure::usage(format!("cannot resolve {}: no address", config.address)));
    }
    let plan = &mut config.plan;
    for &source in &plan.sources {
        // Else each connect would fail, as if there were no port. This takes one, and nothing more.
        UdpSocket::bind((source, 0))
            .map_err(|error| Failure::usage(format!("cannot use --source {source}: {error}")))?;
    }
    plan.addresses = addresses;
    let loopback = plan.addresses.iter().all(|address| match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(_) => false,
    });
    if loopback && plan.connects && plan.sources.is_empty() {
        let sources = (1..=LOOPBACK_SOURCES).map(|last| Ipv4Addr::new(127, 0, 0, last).into());
        plan.sources = sources.collect();
    }
    if let Some(port) = plan.addresses.iter().find(|address| address.port() == 0) {
        return Err(Failure::usage(format!("cannot connect to {port}: port 0 is none")));
    }
    Ok(())
}

fn interrupt_on_signals(controls: Controls) -> Result<(), Failure> {
    let Controls { gate, handles } = controls;
    let interrupt = move |_: &'static str| {
        gate.interrupt();
        handles.iter().for_each(edgeloop::Handle::notify);
    };
    signals::install(interrupt)
        .map_err(|error| Failure::fatal(format!("cannot handle signals: {error}")))
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let path = path.to_string_lossy();
    Failure::usage(format!("cannot write {}: {error}", crate::escape::OneLine(&path)))
}

/// The summary or, where that is asked for, the results themselves.
fn print(config: &BenchConfig, results: &Results) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let printed = if config.json == Some(Sink::Standard) {
        results.write(out)
    } else {
        let summary = Summary { results, verbose: config.verbose };
        write!(out, "{summary}").and_then(|()| out.flush())
    };
    match printed {
        // A reader that has seen enough is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::usage(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Of what applies, the first of: verification failed, errors, too slow.
fn exit(done: &Done, results: &Results) -> Exit {
    let early = done.measured.counts.errors.of(errors::Class::ClosedEarly);
    if !done.verdict.is_clean() || results.verify.on && early > 0 {
        return Exit::VerificationFailed;
    }
    let failed = done.measured.counts.errors.total() > 0 || results.unanswered > 0;
    if failed || done.end == End::NoConnection {
        return Exit::NetworkErrors;
    }
    if results.late.is_some() { Exit::TooSlow } else { Exit::Done }
}

/// A line for whoever sits there.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "edgeloop: {line}");
}
