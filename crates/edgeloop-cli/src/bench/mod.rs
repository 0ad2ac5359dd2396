//! `edgeloop bench`: a load generator that tells the truth about latency.
//!
//! `args` and `config` say what is asked for, `plan` is the run that this comes to, `exchange` what
//! is sent to a service that does not echo, `profile` the steps of a rate. `run` starts its
//! threads, each a `worker` on an event loop, with a `lane` for each connection, or one of
//! `datagrams`, in the same `course`. What they measure (`record`) comes back each second
//! (`seconds`) and is shown (`live`). At the end `totals` makes the results of it, from which the
//! summary and all files are made.

pub(crate) mod args;
pub(crate) mod config;
mod course;
mod datagrams;
mod ends;
mod errors;
mod exchange;
mod fail_if;
mod files;
mod find;
mod generator;
mod gate;
mod interrupt;
mod lane;
mod live;
mod machine;
mod monitor;
mod payload;
mod plan;
mod profile;
mod record;
mod refusals;
mod rest;
mod run;
mod schedule;
mod seconds;
mod steps;
mod totals;
mod verdict;
mod verify;
mod worker;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Write};
use std::time::SystemTime;

use args::BenchArgs;
use config::BenchConfig;
use course::End;
use fail_if::Condition;
use files::Places;
use find::Search;
use interrupt::Interrupt;
use live::Live;
use plan::Load;
use run::Done;
use totals::Background;

use crate::exit::{Exit, Failure};
use crate::log::{PlainLog, last_line};
use crate::outputs::{Output, standard_output};
use crate::report::{self, Run};
use crate::results::compare::Comparison;
use crate::results::{FAILED, Results, Series, Step};
use crate::summary::Summary;

/// Runs as the command line says, and returns how it ended.
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
    let baseline = config.baseline.as_deref().map(report::baseline).transpose()?;
    let baseline = baseline.as_ref();
    let log = PlainLog::start();
    let interrupt = Interrupt::watch(&log)
        .map_err(|error| Failure::fatal(format!("cannot watch for signals: {error}")))?;
    let mut files = places.open()?;
    if let Err(error) = edgeloop::raise_descriptor_limit() {
        log.line(&format!("edgeloop: cannot raise the descriptor limit: {error} in setrlimit"));
    }
    let ran = match &config.find {
        None if config.repeat > 1 => repeat(&config, files.csv.as_mut(), &interrupt, &log),
        None => run_once(&config, files.csv.as_mut(), &interrupt, &log).map(Ran::from),
        Some(plan) => search(&config, plan, &interrupt, &log),
    };
    log.finish();
    let Ran { results, failure } = ran?;
    let page = config.report.as_ref().map(|_| report::page(&results, baseline)).transpose();
    files.write(&results, page.as_ref().ok().and_then(Option::as_deref));
    let (others, mut failures) = files.finish_drafts();
    failures.extend(page.err());
    failures.extend(failure);
    interrupt.stand_down();
    if !places.have_standard() {
        failures.extend(print(&config, &results, baseline).err());
    }
    failures.extend(files::finish_others(others, &interrupt));
    let baseline = baseline.map(|baseline| &baseline.results);
    let judge = |condition: &Condition| condition.failure(&results, baseline);
    let holding: Vec<_> = config.fail_if.iter().filter_map(judge).collect();
    holding.iter().for_each(|line| last_line(line));
    let Some(last) = failures.pop() else {
        return Ok(match exit(&results, &config.fail_if) {
            Exit::Done if !holding.is_empty() => Exit::Failed,
            exit => exit,
        });
    };
    for failure in failures {
        last_line(&failure.line);
    }
    Err(last)
}

/// What was measured, and why it is less than was asked for where a later run could not be made.
struct Ran {
    results: Results,
    failure: Option<Failure>,
}

impl From<Results> for Ran {
    fn from(results: Results) -> Self {
        Self { results, failure: None }
    }
}

/// Makes a run.
fn run_once(
    config: &BenchConfig,
    csv: Option<&mut Output>,
    interrupt: &Interrupt,
    log: &PlainLog,
) -> Result<Results, Failure> {
    let (done, background, series) = measure(config, csv, interrupt, log)?;
    Ok(totals::results(config, background, &done, series))
}

fn measure(
    config: &BenchConfig,
    csv: Option<&mut Output>,
    interrupt: &Interrupt,
    log: &PlainLog,
) -> Result<(Done, Background, Series), Failure> {
    let mut live = Live::new(&config.plan, config.quiet, csv, log);
    let (started, before) = (SystemTime::now(), machine::processor_time());
    let done = run::run(&config.plan, &mut live, interrupt)?;
    let processor = machine::processor_time().saturating_sub(before);
    let series = live.finish();
    let background = Background {
        id: id(),
        started: humantime::format_rfc3339_seconds(started).to_string(),
        command: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        machine: machine::machine(),
        processor,
    };
    Ok((done, background, series))
}

/// Makes several runs, one after another, and adds them up. The first one that is interrupted ends
/// it, and counts only if there is no other. So does one that can't be made, unless it is the
/// first.
fn repeat(
    config: &BenchConfig,
    csv: Option<&mut Output>,
    interrupt: &Interrupt,
    log: &PlainLog,
) -> Result<Ran, Failure> {
    let mut each = config.clone();
    // Each run has its line; only a line that goes away again may stand beside it.
    each.quiet |= !live::is_animated();
    let (mut done, mut background, mut series) = measure(&each, None, interrupt, log)?;
    let (mut repeats, mut failure) = (Vec::new(), None);
    let mut keep = |done: &Done, background: &Background| {
        let repeat =
            totals::results(config, background.clone(), done, Series::default()).as_repeat();
        repeats.push(repeat);
        if let (Some(repeat), false) = (repeats.last(), config.quiet) {
            let (number, line) = (repeats.len(), repeat.line());
            log.line(&format!("edgeloop: run {number} of {}: {line}", config.repeat));
        }
    };
    if done.end != End::Interrupted {
        keep(&done, &background);
        for _ in 1..config.repeat {
            if interrupt.is_raised() {
                done.end = End::Interrupted;
                break;
            }
            let (next, about, later) = match measure(&each, None, interrupt, log) {
                Ok(measured) => measured,
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            };
            if next.end == End::Interrupted {
                done.end = End::Interrupted;
                break;
            }
            keep(&next, &about);
            series.append(later);
            background.processor += about.processor;
            done.append(next);
        }
    }
    let mut results = Results { repeats, ..totals::results(config, background, &done, series) };
    if failure.is_some() {
        FAILED.clone_into(&mut results.ended);
    }
    if let Some(csv) = csv {
        // What fails is told at the end, see `Output`.
        let _ = csv.write_all(live::table(&results.intervals).as_bytes());
    }
    Ok(Ran { results, failure })
}

/// A name that no other run has.
fn id() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

/// Makes runs until the knee is found, and tells of each.
fn search(
    config: &BenchConfig,
    plan: &Search,
    interrupt: &Interrupt,
    log: &PlainLog,
) -> Result<Ran, Failure> {
    let Load::Open { arrival, .. } = config.plan.load else {
        return Err(Failure::fatal("a search without a schedule"));
    };
    let (mut cut_short, mut failure) = (None, None);
    if let (Some(note), false) = (&plan.note, config.quiet) {
        log.line(&format!("edgeloop: --find: {note}"));
    }
    let run = |rate, length| {
        if interrupt.is_raised() {
            return None;
        }
        let mut config = config.clone();
        config.plan.load = Load::Open { rate, arrival };
        config.plan.extent.duration = Some(length);
        // Each step has its line; only a line that goes away again may stand beside it.
        config.quiet |= !live::is_animated();
        let results = match run_once(&config, None, interrupt, log) {
            Ok(results) => results,
            Err(error) => {
                failure = Some(error);
                return None;
            }
        };
        // A run that did not come to its end shows nothing of its rate.
        if results.ended == "whole" {
            return Some(results);
        }
        cut_short = Some(results);
        None
    };
    let tell = |step: &Step| {
        if !config.quiet {
            log.line(&format!("edgeloop: {}", step.line(plan.figure())));
        }
    };
    let (results, found) = find::search(plan, run, tell);
    match (results.or(cut_short), failure) {
        (Some(results), failure) => {
            Ok(Ran { results: Results { find: Some(found), ..results }, failure })
        }
        (None, Some(failure)) => Err(failure),
        (None, None) => Err(Failure::fatal("interrupted before the first run")),
    }
}

fn print(config: &BenchConfig, results: &Results, baseline: Option<&Run>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let summary = Summary { results, verbose: config.verbose };
    let comparison =
        baseline.map(|old| Comparison { new: results, old: &old.results, name: &old.name });
    let printed = write!(out, "{summary}")
        .and_then(|()| comparison.map_or(Ok(()), |comparison| write!(out, "{comparison}")));
    standard_output(printed.and_then(|()| out.flush()))
}

/// Of what applies, the first of: verification failed, errors, too slow. Conditions come behind.
fn exit(results: &Results, conditions: &[Condition]) -> Exit {
    if results.verify.wrong() > 0 || results.warmup.verify.wrong() > 0 {
        return Exit::VerificationFailed;
    }
    // In a search they are what a rate is judged by.
    let found = results.find.as_ref().filter(|found| !found.steps.is_empty());
    let found = found.map(|found| found.knee.is_some());
    if found == Some(false) {
        return Exit::TooSlow;
    }
    // How many datagrams may be lost is known only to whoever says so.
    let tolerates = results.datagrams.is_some() && conditions.iter().any(Condition::is_of_losses);
    let unanswered = if tolerates { 0 } else { results.unanswered + results.warmup.unanswered };
    // Where nothing was answered nothing has succeeded.
    if !results.errors.is_empty() || unanswered > 0 || results.messages == 0 {
        return Exit::NetworkErrors;
    }
    if results.late.is_some() { Exit::TooSlow } else { Exit::Done }
}
