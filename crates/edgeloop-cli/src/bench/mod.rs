//! `edgeloop bench`: a load generator that tells the truth about latency.
//!
//! `args` and `config` say what is asked for, `plan` is the run that this comes to. `run` starts its
//! threads, each a `worker` on an event loop, with a `lane` for each connection. What they measure
//! (`record`) comes back each second, is shown (`live`), and becomes the `results`, from which the
//! `summary` and all files are made.

pub(crate) mod args;
pub(crate) mod config;
mod distribution;
mod ends;
mod errors;
mod find;
mod generator;
mod gate;
mod interrupt;
mod intervals;
mod lane;
mod live;
mod machine;
mod monitor;
mod outages;
mod payload;
mod plan;
pub(crate) mod record;
pub(crate) mod results;
mod run;
mod schedule;
mod seconds;
pub(crate) mod show;
pub(crate) mod summary;
mod verify;
mod worker;

use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::SystemTime;

use args::BenchArgs;
use config::{BenchConfig, Sink};
use find::{Bound, Step};
use interrupt::Interrupt;
use live::Live;
use plan::Load;
use results::{Background, Results};
use summary::Summary;

use crate::exit::{Exit, Failure};
use crate::log::PlainLog;
use crate::report::{Drawing, same};

/// Runs as the command line says, and answers how it ended.
///
/// # Errors
///
/// When something is wrong with the command line, an address or a file, or with this machine.
pub(crate) fn bench(args: &BenchArgs) -> Result<Exit, Failure> {
    let mut config = BenchConfig::resolve(args)?;
    ends::resolve(&mut config)?;
    spare_the_baseline(args)?;
    // Before the run, so that a result is not lost for want of a place.
    let json = match &config.json {
        Some(Sink::File(path)) => Some((create(path)?, path.clone())),
        _ => None,
    };
    let csv = config.csv.as_deref().map(create).transpose()?;
    let baseline = config.baseline.as_deref();
    let drawing =
        config.report.as_deref().map(|page| Drawing::begin(page, baseline)).transpose()?;
    let log = PlainLog::start();
    let interrupt = Interrupt::watch(&log)
        .map_err(|error| Failure::fatal(format!("cannot watch for signals: {error}")))?;
    if let Err(error) = edgeloop::raise_descriptor_limit() {
        log.line(&format!("edgeloop: cannot raise the limit of descriptors: {error} in setrlimit"));
    }
    let ran = match &config.find {
        None => run_once(&config, csv, &interrupt, &log),
        Some(bound) => search(&config, bound, &interrupt, &log).map(|results| (results, Ok(()))),
    };
    log.finish();
    let (results, table) = ran?;
    interrupt.stand_down();
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

/// Refuses outputs that would overwrite the results that this run is compared with.
fn spare_the_baseline(args: &BenchArgs) -> Result<(), Failure> {
    let Some(baseline) = &args.baseline else { return Ok(()) };
    let outputs = [("--json", &args.json), ("--csv", &args.csv), ("--report", &args.report)];
    for (option, file) in outputs {
        if file.as_ref().is_some_and(|file| same(baseline, file)) {
            let line = format!("{option} would overwrite --baseline; choose another file");
            return Err(Failure::usage(line));
        }
    }
    Ok(())
}

/// Makes a run. Whether its table could be written is told beside what it has come to.
fn run_once(
    config: &BenchConfig,
    csv: Option<File>,
    interrupt: &Interrupt,
    log: &PlainLog,
) -> Result<(Results, io::Result<()>), Failure> {
    let mut live = Live::new(&config.plan, config.quiet, csv, log);
    let (started, before) = (SystemTime::now(), machine::processor_time());
    let done = run::run(&config.plan, &mut live, interrupt)?;
    let processor = machine::processor_time().saturating_sub(before);
    let (intervals, table) = live.finish();
    let background = Background {
        id: id(),
        started: humantime::format_rfc3339_seconds(started).to_string(),
        command: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        machine: machine::machine(),
        processor,
    };
    Ok((Results::new(config, background, &done, intervals), table))
}

/// A name that no other run has.
fn id() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

/// Makes runs until the knee is found, and tells of each.
fn search(
    config: &BenchConfig,
    bound: &Bound,
    interrupt: &Interrupt,
    log: &PlainLog,
) -> Result<Results, Failure> {
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
        config.quiet |= !live::is_animated();
        let (results, _) = run_once(&config, None, interrupt, log)?;
        // A run that did not come to its end shows nothing of its rate.
        if results.ended == "whole" {
            return Ok(Some(results));
        }
        cut_short = Some(results);
        Ok::<_, Failure>(None)
    };
    let tell = |step: &Step| {
        if !config.quiet {
            log.line(&format!("edgeloop: {}", step.line()));
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
    if verify.mismatched + verify.missing + verify.surplus > 0 {
        return Exit::VerificationFailed;
    }
    // In a search they are what a rate is judged by.
    let found = results.find.as_ref().map(|found| found.knee.is_some());
    if found == Some(false) {
        return Exit::TooSlow;
    }
    let unanswered = results.unanswered + results.warmup.unanswered;
    // Where nothing was answered nothing has succeeded.
    if !results.errors.is_empty() || unanswered > 0 || results.messages == 0 {
        return Exit::NetworkErrors;
    }
    if results.late.is_some() { Exit::TooSlow } else { Exit::Done }
}
