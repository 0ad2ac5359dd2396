//! The whole comparison: every pair, every count, and the documents of them.

use std::path::PathBuf;
use std::time::Duration;

use indicatif::ProgressBar;
use peers::{Service, Transport};

use crate::args::{AllArgs, CountsArgs, ExamplesArgs, ROUNDS, RoundsArgs, TURN, TransportArgs};
use crate::counts;
use crate::failure::Failure;
use crate::latency::LATENCY;
use crate::overload::OVERLOAD;
use crate::pair::{self, Pair, Settings};
use crate::results::Results;
use crate::servers::{self, Contestant};
use crate::targets::{self, Verdict};
use crate::transports::{self, OTHERS};
use crate::turns::{InTurn, Measurement};
use crate::{draw, examples, plan, show};

/// Cycles of each pair.
const CYCLES: u32 = 150;

/// So long the cycles of a pair may take, all in all.
const TIME: Duration = Duration::from_secs(60);

/// By so much fewer are a quick run's.
const QUICK: u32 = 5;

/// Compares the examples with the servers of others. Returns whether every bound is kept of what
/// could be measured.
pub(crate) fn examples(arguments: &ExamplesArgs) -> Result<bool, Failure> {
    draw::check_writable(&[arguments.json.as_ref(), arguments.markdown.as_ref()])?;
    let measured = examples::compare(arguments)?;
    let bounds = targets::examples(&measured);
    let mut results = Results::of_a_part();
    results.take_examples(measured);
    if let Some(path) = &arguments.json {
        results.write(path)?;
    }
    if let Some(path) = &arguments.markdown {
        draw::write_servers(&results, path)?;
    }
    show::print(&draw::servers_text(&results))?;
    Ok(bounds.iter().all(|bound| bound.verdict != Verdict::Missed))
}

/// Measures everything that was asked for. Returns whether all of it could be measured that a
/// target names.
pub(crate) fn run(arguments: &AllArgs) -> Result<bool, Failure> {
    let files = &arguments.files;
    draw::check_writable(&[files.json.as_ref(), files.report.as_ref(), files.markdown.as_ref()])?;
    let pairs = plan::all(&arguments.shape, &arguments.against)?;
    let mut results = Results::new();
    if let Some(path) = files.json.as_ref().filter(|path| arguments.add && path.exists()) {
        let before = Results::read(path)?;
        let Results { schema, date, machine, servers, .. } = results;
        results = Results { schema, date, machine, servers, ..before };
    }
    let quick = if arguments.quick { QUICK } else { 1 };
    let settings = settings(arguments.cycles, arguments.quick);
    // With a part of the shapes or servers asked for, the counts were not.
    let is_part = !arguments.shape.is_empty() || !arguments.against.is_empty();
    let counted: Vec<_> = if arguments.no_counts || is_part { Vec::new() } else { countable() };
    let others = if counted.is_empty() { Vec::new() } else { counted_over(&OTHERS)? };
    let in_turn = !arguments.no_latency && !is_part;
    let measured = pairs.iter().flat_map(|pair| [pair.of.server, pair.against.server]);
    servers::prepare(measured.chain(counted.iter().copied()))?;
    let steps = pairs.len() as u64 * u64::from(settings.cycles);
    let turn = Duration::from_millis(TURN) / quick;
    let turns =
        if in_turn { turn_steps(&LATENCY, ROUNDS)? + turn_steps(&OVERLOAD, ROUNDS)? } else { 0 };
    // A step of counting takes about as long as some tens of cycles.
    let to_count = counted.len() as u64 * counts::STEPS + others.len() as u64 * counts::STEPS_OVER;
    let bar = show::progress(steps + to_count * STEP + turns);
    measure(&pairs, &settings, &mut results, files.json.as_ref(), &bar)?;
    for server in &counted {
        count_one(&mut results, server, &bar)?;
        save(&results, files.json.as_ref())?;
    }
    count_over(&mut results, &others, files.json.as_ref(), &bar)?;
    if in_turn {
        results.take_latency(take_turns(&LATENCY, ROUNDS, turn, &bar)?);
        save(&results, files.json.as_ref())?;
        results.take_overload(take_turns(&OVERLOAD, ROUNDS, turn, &bar)?);
        save(&results, files.json.as_ref())?;
    }
    bar.finish_and_clear();
    draw::write(&results, files.markdown.as_ref(), files.report.as_ref())?;
    show::print(&draw::text(&results))?;
    let missing = |row: &&targets::Row| {
        let is_asked =
            |asked: &[String], name: &str| asked.is_empty() || asked.iter().any(|one| one == name);
        row.verdict == Verdict::NotMeasured
            && is_asked(&arguments.shape, &row.shape)
            && is_asked(&arguments.against, &row.against)
    };
    Ok(targets::ratios(&results.pairs).iter().find(missing).is_none())
}

/// How pairs are measured.
fn settings(cycles: Option<u32>, is_quick: bool) -> Settings {
    let quick = if is_quick { QUICK } else { 1 };
    Settings {
        cycles: (cycles.unwrap_or(CYCLES) / quick).max(6),
        time: Some(TIME),
        slice: None,
        read_buffer: servers::READ_BUFFER,
    }
}

/// Measures the pairs, one after the other.
fn measure(
    pairs: &[Pair],
    settings: &Settings,
    results: &mut Results,
    json: Option<&PathBuf>,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    for (index, pair) in pairs.iter().enumerate() {
        let title = format!("{} of {}: {}", index + 1, pairs.len(), name(pair));
        let begin = index as u64 * u64::from(settings.cycles);
        let measured = pair::measure(pair, settings, &mut |attempt, cycle| {
            bar.set_message(if attempt == 1 {
                title.clone()
            } else {
                format!("{title}, again: the null did not hold")
            });
            bar.set_position(begin + u64::from(cycle));
        })?;
        if bar.is_hidden() {
            // Without a terminal there is no progress line, but somebody may read along.
            eprintln!("{title}: {}", show::estimate(measured.valid_ratio()));
        }
        results.take_pair(measured);
        save(results, json)?;
    }
    bar.set_position(pairs.len() as u64 * u64::from(settings.cycles));
    Ok(())
}

/// Whose calls and instructions are counted over these transports.
fn counted_over(transports: &[Transport]) -> Result<Vec<(Transport, Contestant)>, String> {
    let mut counted = Vec::new();
    for &transport in transports {
        counted.extend(transports::counted(transport)?.into_iter().map(|one| (transport, one)));
    }
    Ok(counted)
}

fn count_over(
    results: &mut Results,
    counted: &[(Transport, Contestant)],
    json: Option<&PathBuf>,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    for (over, server) in counted {
        let counts = counts::count_over(*over, server, servers::READ_BUFFER, &mut |what| {
            bar.set_message(format!("{} over {over}: {what}", server.name()));
            bar.inc(STEP);
        })?;
        results.take_counts(*over, counts);
        save(results, json)?;
    }
    Ok(())
}

/// Measures what runs over this transport, and draws that section of the document. Returns whether
/// every bound that was measured holds.
pub(crate) fn over(transport: Transport, arguments: &TransportArgs) -> Result<bool, Failure> {
    let json = arguments.json.as_ref();
    draw::check_writable(&[json, arguments.markdown.as_ref()])?;
    let pairs = plan::over(transport)?;
    let settings = settings(arguments.cycles, arguments.quick);
    let counted = if arguments.no_counts { Vec::new() } else { counted_over(&[transport])? };
    // Before this process is bound to a core: it counts the processors.
    let mut results = Results::new();
    servers::prepare(pairs.iter().flat_map(|pair| [pair.of.server, pair.against.server]))?;
    let steps = pairs.len() as u64 * u64::from(settings.cycles);
    let bar = show::progress(steps + counted.len() as u64 * counts::STEPS_OVER * STEP);
    measure(&pairs, &settings, &mut results, json, &bar)?;
    count_over(&mut results, &counted, json, &bar)?;
    bar.finish_and_clear();
    if let Some(path) = &arguments.markdown {
        draw::write_over(transport, &results, path)?;
    }
    show::print(&draw::over_text(transport, &results))?;
    let rows = transports::rows(transport, &results.pairs);
    Ok(rows.iter().all(|row| row.verdict != Verdict::Missed))
}

/// How many cycles a turn stands for on the progress line.
const TURN_STEP: u64 = 15;

/// How many cycles a step of counting stands for on the progress line.
const STEP: u64 = 40;

fn name(pair: &Pair) -> String {
    format!("{} against {}, {}", pair.of.server.name(), pair.against_name(), pair.shape.name)
}

fn save(results: &Results, json: Option<&PathBuf>) -> Result<(), Failure> {
    json.map_or(Ok(()), |path| results.write(path)).map_err(Failure::from)
}

/// Those that run here and echo.
fn countable() -> Vec<Contestant> {
    let mut all = servers::all();
    all.retain(|server| {
        let echoes = server.left_out().is_none() && server.serves(Service::Echo, Transport::Tcp);
        // It polls in between, so what is counted at full speed says nothing of it.
        echoes && !server.spins() && !server.prints()
    });
    all
}

fn count_one(results: &mut Results, server: &Contestant, bar: &ProgressBar) -> Result<(), Failure> {
    let counts = counts::count(server, servers::READ_BUFFER, &mut |what| {
        bar.set_message(format!("{}: {what}", server.name()));
        bar.inc(STEP);
    })?;
    results.take_counts(Transport::Tcp, counts);
    Ok(())
}

/// The counts alone.
pub(crate) fn counts(arguments: &CountsArgs) -> Result<bool, Failure> {
    draw::check_writable(&[arguments.json.as_ref()])?;
    let chosen = if arguments.names.is_empty() {
        countable()
    } else {
        let find = |name: &String| {
            let server = servers::find(name)?;
            match server.left_out() {
                Some(reason) => Err(format!("{name} is left out here: {reason}")),
                None => Ok(server),
            }
        };
        arguments.names.iter().map(find).collect::<Result<_, _>>()?
    };
    servers::prepare(chosen.iter().copied())?;
    let mut results = Results::of_a_part();
    let bar = show::progress(chosen.len() as u64 * counts::STEPS * STEP);
    for server in &chosen {
        count_one(&mut results, server, &bar)?;
        save(&results, arguments.json.as_ref())?;
    }
    bar.finish_and_clear();
    show::print(&draw::text(&results))?;
    Ok(true)
}

/// Latency alone.
pub(crate) fn latency(arguments: &RoundsArgs) -> Result<bool, Failure> {
    alone(arguments, &LATENCY, Results::take_latency)
}

/// Overload alone.
pub(crate) fn overload(arguments: &RoundsArgs) -> Result<bool, Failure> {
    alone(arguments, &OVERLOAD, Results::take_overload)
}

/// Measures one server after the other, and shows what it came to. Returns whether every bound that
/// was measured holds.
fn alone<T>(
    arguments: &RoundsArgs,
    measurement: &Measurement<T>,
    take: fn(&mut Results, Vec<InTurn<T>>),
) -> Result<bool, Failure> {
    draw::check_writable(&[arguments.json.as_ref()])?;
    servers::prepare(measurement.contestants()?)?;
    let bar = show::progress(turn_steps(measurement, arguments.rounds)?);
    let turn = Duration::from_millis(arguments.turn);
    let mut results = Results::of_a_part();
    take(&mut results, take_turns(measurement, arguments.rounds, turn, &bar)?);
    bar.finish_and_clear();
    save(&results, arguments.json.as_ref())?;
    show::print(&draw::text(&results))?;
    let mut bounds = targets::latencies(&results.latency);
    bounds.extend(targets::overloads(&results.overload));
    Ok(bounds.iter().all(|bound| bound.verdict != Verdict::Missed))
}

/// How many steps of the progress line a measurement takes.
fn turn_steps<T>(measurement: &Measurement<T>, rounds: u32) -> Result<u64, Failure> {
    Ok(measurement.contestants()?.len() as u64 * u64::from(rounds) * TURN_STEP)
}

fn take_turns<T>(
    measurement: &Measurement<T>,
    rounds: u32,
    turn: Duration,
    bar: &ProgressBar,
) -> Result<Vec<InTurn<T>>, Failure> {
    let taken = measurement.measure(&measurement.contestants()?, rounds, turn, &mut |name| {
        bar.set_message(format!("{name}: {}", measurement.what));
        bar.inc(TURN_STEP);
    })?;
    Ok(taken)
}
