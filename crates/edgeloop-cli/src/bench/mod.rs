//! `edgeloop bench`: a load generator that tells the truth about latency.
//!
//! `args` and `config` say what is asked for, `plan` is the run that this comes to, `exchange` what is
//! sent to a service that does not echo, `profile` the steps of a rate. `run` starts its
//! threads, each a `worker` on an event loop, with a `lane` for each connection. What they measure
//! (`record`) comes back each second, is shown (`live`), and becomes the `results`, from which the
//! `summary` and all files are made.

pub(crate) mod args;
pub(crate) mod client;
pub(crate) mod config;
mod distribution;
mod ends;
mod errors;
mod exchange;
mod files;
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
pub(crate) mod profile;
pub(crate) mod record;
pub(crate) mod results;
mod run;
mod schedule;
mod seconds;
pub(crate) mod show;
pub(crate) mod steps;
pub(crate) mod summary;
mod verify;
mod worker;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Write};
use std::time::SystemTime;

use args::BenchArgs;
use config::BenchConfig;
use files::Places;
use find::{Bound, Step};
use interrupt::Interrupt;
use live::Live;
use plan::Load;
use results::{Background, Results};
use summary::Summary;

use crate::exit::{Exit, Failure};
use crate::log::PlainLog;
use crate::outputs::{Output, standard_output};
use crate::report::Drawing;

/// Runs as the command line says, and answers how it ended.
///
/// # Errors
///
/// When something is wrong with the command line, an address or a file, or with this machine.
pub(crate) fn bench(args: &BenchArgs) -> Result<Exit, Failure> {
    let mut config = BenchConfig::resolve(args)?;
    config.load()?;
    let places = Places::find(&config)?;
    ends::resolve(&mut config)?;
    // Read before anything is written: it may be the file that is replaced.
    let baseline = config.baseline.as_deref();
    let drawing = config.report.as_ref().map(|_| Drawing::begin(baseline)).transpose()?;
    let log = PlainLog::start();
    let interrupt = Interrupt::watch(&log)
        .map_err(|error| Failure::fatal(format!("cannot watch for signals: {error}")))?;
    let mut files = places.open()?;
    if let Err(error) = edgeloop::raise_descriptor_limit() {
        log.line(&format!("edgeloop: cannot raise the limit of descriptors: {error} in setrlimit"));
    }
    let ran = match &config.find {
        None => run_once(&config, files.csv.as_mut(), &interrupt, &log),
        Some(bound) => search(&config, bound, &interrupt, &log),
    };
    log.finish();
    let results = ran?;
    let page = drawing.map(|drawing| drawing.page(&results)).transpose();
    files.write(&results, page.as_ref().ok().and_then(Option::as_deref));
    let (others, mut failures) = files.finish_drafts();
    failures.extend(page.err());
    interrupt.stand_down();
    if !places.have_standard() {
        failures.extend(print(&config, &results).err());
    }
    failures.extend(files::finish_others(others, &interrupt));
    let Some(last) = failures.pop() else { return Ok(exit(&results)) };
    for failure in failures {
        crate::log::last_line(&failure.line);
    }
    Err(last)
}

/// Makes a run.
fn run_once(
    config: &BenchConfig,
    csv: Option<&mut Output>,
    interrupt: &Interrupt,
    log: &PlainLog,
) -> Result<Results, Failure> {
    let mut live = Live::new(&config.plan, config.quiet, csv, log);
    let (started, before) = (SystemTime::now(), machine::processor_time());
    let done = run::run(&config.plan, &mut live, interrupt)?;
    let processor = machine::processor_time().saturating_sub(before);
    let intervals = live.finish();
    let background = Background {
        id: id(),
        started: humantime::format_rfc3339_seconds(started).to_string(),
        command: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        machine: machine::machine(),
        processor,
    };
    Ok(Results::new(config, background, &done, intervals))
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
        let results = run_once(&config, None, interrupt, log)?;
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

fn print(config: &BenchConfig, results: &Results) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let summary = Summary { results, verbose: config.verbose };
    standard_output(write!(out, "{summary}").and_then(|()| out.flush()))
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
