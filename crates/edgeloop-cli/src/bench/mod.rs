//! `edgeloop bench`: a load generator that tells the truth about latency.
//!
//! `args` and `config` say what is asked for, `plan` is the run that this comes to. `run` starts its
//! threads, each a `worker` on an event loop, with a `lane` for each connection. What they measure
//! (`record`) comes back each second, is shown (`live`), and becomes the `results`, from which the
//! `summary` and all files are made.

pub(crate) mod args;
pub(crate) mod config;
mod errors;
mod find;
mod gate;
mod interrupt;
mod lane;
mod live;
mod machine;
mod payload;
mod plan;
pub(crate) mod record;
pub(crate) mod results;
mod run;
mod schedule;
pub(crate) mod show;
pub(crate) mod summary;
mod verify;
mod worker;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::SystemTime;

use args::BenchArgs;
use config::{BenchConfig, Sink};
use errors::Class;
use find::{Bound, Step};
use interrupt::Interrupt;
use live::Live;
use plan::Load;
use results::{Background, Results};
use summary::Summary;

use crate::exit::{Exit, Failure};
use crate::report::Drawing;
use crate::signals::FirstSignal;

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
    let baseline = config.baseline.as_deref();
    let drawing =
        config.report.as_deref().map(|page| Drawing::begin(page, baseline)).transpose()?;
    if let Err(error) = edgeloop::raise_descriptor_limit() {
        say(&format!("cannot raise the limit of descriptors: {error} in setrlimit"));
    }
    let interrupt = Interrupt::default();
    let raise = interrupt.clone();
    FirstSignal::install()
        .and_then(|signal| signal.call(move || raise.raise()))
        .map_err(|error| Failure::fatal(format!("cannot handle signals: {error}")))?;
    let (results, table) = match &config.find {
        None => run_once(&config, csv, &interrupt)?,
        Some(bound) => (search(&config, bound, &interrupt)?, Ok(())),
    };
    let mut kept = Ok(());
    if let (Err(error), Some(path)) = (table, &config.csv) {
        kept = Err(unwritable(path, &error));
    }
    if let Some((file, path)) = json
        && let Err(error) = results.write(BufWriter::new(file))
    {
        kept = Err(unwritable(&path, &error));
    }
    if let Some(drawing) = drawing
        && let Err(failure) = drawing.finish(&results)
    {
        kept = Err(failure);
    }
    print(&config, &results)?;
    kept?;
    Ok(exit(&results))
}

/// Looks the address up, and finds addresses to connect from if it will take many ports.
fn resolve(config: &mut BenchConfig) -> Result<(), Failure> {
    let addresses = config.address.look_up()?;
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

/// Makes a run. Whether its table could be written is told beside what it has come to.
fn run_once(
    config: &BenchConfig,
    csv: Option<File>,
    interrupt: &Interrupt,
) -> Result<(Results, io::Result<()>), Failure> {
    let mut live = Live::new(&config.plan, config.quiet, csv);
    let (started, before) = (SystemTime::now(), machine::processor_time());
    let done = run::run(&config.plan, &mut live, interrupt)?;
    let processor = machine::processor_time().saturating_sub(before);
    let (intervals, table) = live.finish();
    let background = Background {
        started: humantime::format_rfc3339_seconds(started).to_string(),
        command: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        machine: machine::machine(),
        processor,
    };
    Ok((Results::new(config, background, &done, intervals), table))
}

/// Makes runs until the knee is found, and tells of each.
fn search(config: &BenchConfig, bound: &Bound, interrupt: &Interrupt) -> Result<Results, Failure> {
    let Load::Open { rate: first, arrival } = config.plan.load else {
        return Err(Failure::fatal("a search without a schedule"));
    };
    let mut cut_short = None;
    let run = |rate| {
        if interrupt.is_raised() {
            return Ok(None);
        }
        let mut config = config.clone();
        config.plan.load = Load::Open { rate, arrival };
        // Each step has its line; only a line that goes away again may stand beside it.
        config.quiet |= !io::stderr().is_terminal();
        let (results, _) = run_once(&config, None, interrupt)?;
        // A run that did not come to its end shows nothing of its rate.
        if results.ended == "whole" {
            return Ok(Some(results));
        }
        cut_short = Some(results);
        Ok::<_, Failure>(None)
    };
    let tell = |step: &Step| {
        if !config.quiet {
            say(&step.line());
        }
    };
    match (find::search(bound, first, run, tell)?, cut_short) {
        (Some((results, found)), _) => Ok(Results { find: Some(found), ..results }),
        (None, Some(results)) => Ok(results),
        (None, None) => Err(Failure::fatal("interrupted before the first run")),
    }
}

pub(crate) fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| unwritable(path, &error))
}

pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Failure {
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
    standard_output(printed)
}

/// What writing to standard output has come to. A reader that has seen enough is no failure.
pub(crate) fn standard_output(printed: io::Result<()>) -> Result<(), Failure> {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::usage(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Of what applies, the first of: verification failed, errors, too slow.
fn exit(results: &Results) -> Exit {
    let verify = &results.verify;
    let early = results.errors.get(Class::ClosedEarly.name()).copied().unwrap_or(0);
    let wrong = verify.mismatched + verify.missing + verify.surplus;
    if wrong > 0 || verify.on && early > 0 {
        return Exit::VerificationFailed;
    }
    // In a search they are what a rate is judged by.
    let found = results.find.as_ref().map(|found| found.knee.is_some());
    if found == Some(false) {
        return Exit::TooSlow;
    }
    let failed = !results.errors.is_empty() || results.unanswered > 0;
    if failed || results.ended == "no_connection" {
        return Exit::NetworkErrors;
    }
    if results.late.is_some() { Exit::TooSlow } else { Exit::Done }
}

/// A line for whoever sits there.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "edgeloop: {line}");
}
