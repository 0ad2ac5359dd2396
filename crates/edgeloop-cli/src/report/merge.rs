//! Merges runs that several machines have made at once, as if one had made them all.

use std::collections::BTreeMap;

use super::parts::{shift, shifts, twice, unfit};
use super::read::Run;
use super::steps;
use crate::escape::OneLine;
use crate::exit::Failure;
use crate::results::{
    BANDS, Datagrams, Ends, FAILED, Generator, Interval, Late, Machine, Options, Quantiles,
    Results, Series, Verify, Warmup, needed, to_f64,
};

/// Merges runs; `force` merges those that don't fit together, too.
///
/// # Errors
///
/// When they don't fit together, with a line that says why.
pub(super) fn merge(runs: &[Run], force: bool) -> Result<Run, Failure> {
    let (first, others) = runs.split_first().ok_or_else(|| Failure::usage("no run to merge"))?;
    for (index, one) in runs.iter().enumerate() {
        for other in &runs[index + 1..] {
            let twice = twice(&one.results, &other.results);
            let unfit = || unfit(one, other).map(|reason| format!("{reason}; --force merges them"));
            let reason = twice.or_else(|| if force { None } else { unfit() });
            if let Some(reason) = reason {
                let line = format!("cannot merge {} and {}: {reason}", one.name, other.name);
                return Err(Failure::usage(OneLine(&line).to_string()));
            }
        }
    }
    let mut sum = first.clone();
    // Seconds of runs that began one after another are not the same.
    let shifts = shifts(runs);
    shift(&mut sum.results.intervals, shifts[0]);
    for (other, by) in others.iter().zip(&shifts[1..]) {
        sum.name = format!("{}, {}", sum.name, other.name);
        sum.latency.add(&other.latency);
        sum.service.add(&other.service);
        sum.connect.add(&other.connect);
        steps::add(&mut sum, other);
        add(&mut sum.results, &other.results, *by);
    }
    if !others.is_empty() {
        sum.results.machine = machines(runs);
        sum.results.latency_us = Quantiles::of(&sum.latency);
        sum.results.answered_us = Quantiles::of(&sum.latency.answered_alone());
        sum.results.service_us = Quantiles::of(&sum.service);
        sum.results.connect_us = Quantiles::of(&sum.connect);
    }
    Ok(sum)
}

fn add(sum: &mut Results, other: &Results, shift_by: u64) {
    sum.id = format!("{}+{}", sum.id, other.id);
    match (&mut sum.label, &other.label) {
        (Some(mine), Some(theirs)) => both(mine, theirs),
        (mine, theirs) => *mine = mine.take().or_else(|| theirs.clone()),
    }
    both(&mut sum.edgeloop, &other.edgeloop);
    // Times of day in one notation and one zone are in order as texts.
    sum.started = sum.started.clone().min(other.started.clone());
    let first = sum.measured_from.iter().chain(&other.measured_from).min();
    sum.measured_from = first.cloned();
    add_ends(&mut sum.target, &other.target);
    add_options(&mut sum.options, &other.options);
    sum.ended = match (sum.ended.as_str(), other.ended.as_str()) {
        ("interrupted", _) | (_, "interrupted") => "interrupted",
        (FAILED, _) | (_, FAILED) => FAILED,
        ("stalled", _) | (_, "stalled") => "stalled",
        ("whole", _) | (_, "whole") => "whole",
        _ => "no_connection",
    }
    .to_owned();
    count(&mut sum.messages, other.messages);
    sum.seconds = sum.seconds.max(other.seconds);
    sum.rate += other.rate;
    sum.asked_rate = plus(sum.asked_rate, other.asked_rate, |one, two| one + two);
    count(&mut sum.bytes_sent, other.bytes_sent);
    count(&mut sum.bytes_received, other.bytes_received);
    add_errors(&mut sum.errors, &other.errors);
    add_errors(&mut sum.other_errors, &other.other_errors);
    add_verify(&mut sum.verify, &other.verify);
    add_late(&mut sum.late, other.late.as_ref());
    count(&mut sum.unanswered, other.unanswered);
    Datagrams::join(&mut sum.datagrams, other.datagrams.as_ref());
    count(&mut sum.connections_alive, other.connections_alive);
    sum.cost.processor_s += other.cost.processor_s;
    count(&mut sum.cost.waits, other.cost.waits);
    count(&mut sum.reopened, other.reopened);
    add_generator(&mut sum.generator, &other.generator);
    add_warmup(&mut sum.warmup, &other.warmup);
    // What was found with a part of the load says nothing of the whole.
    sum.find = None;
    sum.repeats.clear();
    let shifted = |intervals: &[Interval]| {
        let mut intervals = intervals.to_vec();
        shift(&mut intervals, shift_by);
        intervals
    };
    add_intervals(&mut sum.intervals, shifted(&other.intervals));
    if sum.slices.is_empty() || other.slices.is_empty() {
        sum.slices = Vec::new();
    } else {
        add_intervals(&mut sum.slices, shifted(&other.slices));
    }
    let series = Series { seconds: sum.intervals.clone(), slices: sum.slices.clone() };
    // In the pauses of a profile nothing is due.
    let rate = if sum.steps.is_some() { Some(0.0) } else { sum.asked_rate };
    sum.outages = series.outages(rate);
}

fn count(sum: &mut u64, other: u64) {
    *sum = sum.saturating_add(other);
}

/// One figure of two that is only there if both are.
fn plus<T>(one: Option<T>, two: Option<T>, add: impl FnOnce(T, T) -> T) -> Option<T> {
    Some(add(one?, two?))
}

/// Two texts in one, if they differ.
fn both(sum: &mut String, other: &str) {
    if !sum.split(", ").any(|part| part == other) {
        sum.push_str(", ");
        sum.push_str(other);
    }
}

/// All machines in one, each of them once: several runs may have been made on the same.
fn machines(runs: &[Run]) -> Machine {
    let mut seen: Vec<&Machine> = Vec::new();
    for machine in runs.iter().map(|run| &run.results.machine) {
        if !seen.contains(&machine) {
            seen.push(machine);
        }
    }
    let mut sum = seen[0].clone();
    for other in &seen[1..] {
        both(&mut sum.host, &other.host);
        both(&mut sum.kernel, &other.kernel);
        both(&mut sum.processor, &other.processor);
        sum.processors = sum.processors.saturating_add(other.processors);
        count(&mut sum.memory_bytes, other.memory_bytes);
    }
    sum
}

fn add_ends(sum: &mut Ends, other: &Ends) {
    both(&mut sum.asked, &other.asked);
    for (mine, theirs) in
        [(&mut sum.addresses, &other.addresses), (&mut sum.sources, &other.sources)]
    {
        let new: Vec<_> = theirs.iter().filter(|one| !mine.contains(one)).cloned().collect();
        mine.extend(new);
    }
    for (address, made) in &other.connections {
        count(sum.connections.entry(address.clone()).or_default(), *made);
    }
}

fn add_options(sum: &mut Options, other: &Options) {
    // As one would type them in a line.
    sum.command.push(";".to_owned());
    sum.command.extend_from_slice(&other.command);
    both(&mut sum.mode, &other.mode);
    if let (Some(mine), Some(theirs)) = (&mut sum.arrival, &other.arrival) {
        both(mine, theirs);
    }
    sum.connections = sum.connections.saturating_add(other.connections);
    sum.active = sum.active.saturating_add(other.active);
    sum.open_rate = plus(sum.open_rate, other.open_rate, |one, two| one + two);
    sum.threads = sum.threads.saturating_add(other.threads);
    sum.pipeline = sum.pipeline.max(other.pipeline);
    sum.messages = plus(sum.messages, other.messages, u64::saturating_add);
    sum.duration_s = plus(sum.duration_s, other.duration_s, f64::max);
}

fn add_verify(sum: &mut Verify, other: &Verify) {
    // What one of them found is not to be lost because another did not look.
    sum.on |= other.on;
    count(&mut sum.checked, other.checked);
    count(&mut sum.mismatched, other.mismatched);
    count(&mut sum.missing, other.missing);
    count(&mut sum.surplus, other.surplus);
    count(&mut sum.greeting, other.greeting);
    count(&mut sum.wrong_replies, other.wrong_replies);
    count(&mut sum.empty_replies, other.empty_replies);
    sum.findings.extend_from_slice(&other.findings);
}

fn add_late(sum: &mut Option<Late>, other: Option<&Late>) {
    let Some(other) = other else { return };
    let late = sum.get_or_insert(Late { missed: 0, sends: 0, lag_us: 0.0 });
    count(&mut late.missed, other.missed);
    count(&mut late.sends, other.sends);
    late.lag_us = late.lag_us.max(other.lag_us);
}

/// What any of them did to its figures was done to those of all.
fn add_generator(sum: &mut Generator, other: &Generator) {
    count(&mut sum.sends, other.sends);
    count(&mut sum.missed, other.missed);
    sum.lag_us = sum.lag_us.max(other.lag_us);
    sum.is_bottleneck |= other.is_bottleneck;
    let most = |mine: &mut Option<f64>, theirs: Option<f64>| {
        *mine = mine.zip(theirs).map(|(one, two)| one.max(two)).or(*mine).or(theirs);
    };
    most(&mut sum.stall_us, other.stall_us);
    most(&mut sum.waited_us, other.waited_us);
    most(&mut sum.busy, other.busy);
    most(&mut sum.waited, other.waited);
    if let Some(drops) = other.receive_drops {
        count(sum.receive_drops.get_or_insert_default(), drops);
    }
    let new = other.marked.iter().filter(|name| !sum.marked.contains(name)).cloned();
    let new: Vec<_> = new.collect();
    sum.marked.extend(new);
}

fn add_warmup(sum: &mut Warmup, other: &Warmup) {
    count(&mut sum.connects, other.connects);
    count(&mut sum.messages, other.messages);
    count(&mut sum.unanswered, other.unanswered);
    add_errors(&mut sum.errors, &other.errors);
    add_errors(&mut sum.other_errors, &other.other_errors);
    add_verify(&mut sum.verify, &other.verify);
}

fn add_errors(sum: &mut BTreeMap<String, u64>, other: &BTreeMap<String, u64>) {
    for (name, errors) in other {
        count(sum.entry(name.clone()).or_default(), *errors);
    }
}

fn add_intervals(sum: &mut Vec<Interval>, others: Vec<Interval>) {
    let mut seconds: BTreeMap<u64, Interval> = BTreeMap::new();
    for interval in sum.drain(..).chain(others) {
        if let Some(there) = seconds.get_mut(&interval.tenth()) {
            add_measured(there, &interval);
            there.seconds = there.seconds.max(interval.seconds);
            count(&mut there.alive, interval.alive);
            count(&mut there.in_flight, interval.in_flight);
        } else {
            seconds.insert(interval.tenth(), interval);
        }
    }
    sum.extend(seconds.into_values());
}

/// Adds what was measured in one interval to another, whether it went on beside it or after it.
pub(super) fn add_measured(sum: &mut Interval, other: &Interval) {
    count(&mut sum.messages, other.messages);
    count(&mut sum.in_time, other.in_time);
    count(&mut sum.bytes_sent, other.bytes_sent);
    count(&mut sum.bytes_received, other.bytes_received);
    count(&mut sum.errors, other.errors);
    Datagrams::join(&mut sum.datagrams, other.datagrams.as_ref());
    let is_empty = |one: &Interval| one.bands.is_empty() && one.unanswered == 0;
    let (mine, theirs) = (is_empty(sum), is_empty(other));
    count(&mut sum.unanswered, other.unanswered);
    if theirs {
        return;
    }
    if mine {
        let figures = other.clone();
        let Interval { messages, unanswered, bytes_sent, bytes_received, .. } = *sum;
        let Interval { second, from_s, seconds, in_time, errors, alive, in_flight, .. } = *sum;
        let datagrams = sum.datagrams;
        *sum = Interval { messages, unanswered, bytes_sent, bytes_received, ..figures };
        (sum.second, sum.from_s, sum.seconds) = (second, from_s, seconds);
        (sum.in_time, sum.errors) = (in_time, errors);
        (sum.alive, sum.in_flight) = (alive, in_flight);
        sum.datagrams = datagrams;
        return;
    }
    let mut bands: BTreeMap<u32, u64> = sum.bands.iter().copied().collect();
    for &(band, times) in &other.bands {
        count(bands.entry(band).or_default(), times);
    }
    sum.bands = bands.into_iter().collect();
    let most = |one: Option<f64>, two: Option<f64>| match (one, two) {
        (Some(one), Some(two)) => Some(one.max(two)),
        (one, two) => one.or(two),
    };
    sum.max_us = most(sum.max_us, other.max_us);
    sum.answered_max_us = most(sum.answered_max_us, other.answered_max_us);
    sum.lower_bounds.clear();
    let unanswered = sum.unanswered;
    let mut figure = |quantile, name: &str| {
        let (time, is_lower_bound) = self::quantile(&sum.bands, unanswered, quantile, sum.max_us)?;
        if is_lower_bound {
            sum.lower_bounds.push(name.to_owned());
        }
        Some(time)
    };
    (sum.p50_us, sum.p95_us) = (figure(0.5, "p50"), figure(0.95, "p95"));
    sum.p99_us = figure(0.99, "p99");
    if unanswered > 0 {
        sum.lower_bounds.push("max".to_owned());
    }
    let answered = |share| quantile(&sum.bands, 0, share, sum.answered_max_us);
    sum.answered_p50_us = answered(0.5).map(|figure| figure.0);
    sum.answered_p99_us = answered(0.99).map(|figure| figure.0);
}

/// A quantile as far as bands tell it, and whether it is a lower bound: the end of the band in
/// which it lies, which is too long by a band at the most, and never too short. What was never
/// answered ranks above all of them.
fn quantile(
    bands: &[(u32, u64)],
    unanswered: u64,
    quantile: f64,
    max_us: Option<f64>,
) -> Option<(f64, bool)> {
    let samples = bands.iter().fold(unanswered, |sum, (_, times)| sum.saturating_add(*times));
    if samples < needed(quantile) {
        return None;
    }
    let rank = (to_f64(samples) * quantile).ceil();
    let mut below = 0;
    let band = bands.iter().find(|(_, times)| {
        count(&mut below, *times);
        to_f64(below) >= rank
    });
    let Some((band, _)) = band else { return max_us.map(|max| (max, true)) };
    let end = (f64::from(band + 1) / BANDS).exp2() / 1000.0;
    Some((max_us.map_or(end, |max| end.min(max)), false))
}

#[cfg(test)]
mod tests;
