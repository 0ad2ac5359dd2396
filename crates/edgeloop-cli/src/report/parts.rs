//! Which runs are the parts of one: that several machines have made at once, of the same load.

use std::time::SystemTime;

use super::read::Run;
use crate::results::{Interval, Results, show, to_f64};

/// Why two runs are not parts of one.
pub(super) fn unfit(one: &Run, other: &Run) -> Option<String> {
    let settings = settings(&one.results).into_iter().zip(settings(&other.results));
    for ((option, mine), (_, theirs)) in settings {
        if mine != theirs {
            return Some(format!("they differ in {option}, {mine} and {theirs}"));
        }
    }
    for run in [one, other] {
        if run.results.find.is_some() {
            return Some(format!("{} is the result of a search (--find)", run.name));
        }
        if !run.results.repeats.is_empty() {
            return Some(format!("{} is several runs (--repeat)", run.name));
        }
    }
    not_at_once(&one.results, &other.results)
}

/// Why the sum would hold a run twice, if it would.
pub(super) fn twice(one: &Results, other: &Results) -> Option<String> {
    // Those that were merged before are named by all that they are the sum of.
    let mut parts = one.id.split('+');
    let part = parts.find(|part| other.id.split('+').any(|other| other == *part))?;
    Some(format!("both hold the run with the id {part}, which would be counted twice"))
}

/// How far apart clocks and beginnings may be beside that, in seconds.
const APART: f64 = 0.5;

/// Why two runs are not parts of one load, if they are not: nine tenths of the time in which the
/// shorter one measured the other one has to have measured, too, but for half a second.
fn not_at_once(one: &Results, other: &Results) -> Option<String> {
    let begin = |run: &Results| run.measured_from.clone().unwrap_or_else(|| run.started.clone());
    let at = |run: &Results| Some((seconds(&begin(run))?, run.seconds));
    let (Some((from, length)), Some((other_from, other_length))) = (at(one), at(other)) else {
        return Some("one of them has no start time".to_owned());
    };
    let both = (from + length).min(other_from + other_length) - from.max(other_from);
    let shorter = length.min(other_length);
    let missing = (shorter / 10.0 + APART).min(shorter / 2.0);
    (both < shorter - missing).then(|| {
        format!(
            "they did not measure at the same time: one from {} for {}, the other from {} for {}",
            begin(one),
            show::time(length * 1e6),
            begin(other),
            show::time(other_length * 1e6)
        )
    })
}

/// A time of day in seconds.
fn seconds(text: &str) -> Option<f64> {
    let time = humantime::parse_rfc3339(text).ok()?;
    Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64())
}

/// By how many seconds each run began to measure behind the first of them. None of runs that were
/// not made at once: what is merged by force is merged as if it had been.
pub(super) fn shifts(runs: &[Run]) -> Vec<u64> {
    let begin = |run: &Run| seconds(run.results.measured_from.as_deref()?);
    let begins: Option<Vec<f64>> = runs.iter().map(begin).collect();
    let parts =
        |one: &Run| runs.iter().all(|other| not_at_once(&one.results, &other.results).is_none());
    let Some(begins) = begins.filter(|_| runs.iter().all(parts)) else {
        return vec![0; runs.len()];
    };
    let first = begins.iter().copied().fold(f64::INFINITY, f64::min);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is not negative"
    )]
    let shifts = begins.iter().map(|begin| (begin - first).round() as u64).collect();
    shifts
}

pub(super) fn shift(intervals: &mut [Interval], by: u64) {
    for interval in intervals {
        interval.second = interval.second.saturating_add(by);
        interval.from_s += to_f64(by);
    }
}

/// What the parts of one run have in common, by the names that the options have in files.
fn settings(results: &Results) -> Vec<(&'static str, String)> {
    let options = &results.options;
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    let number = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |v| v.to_string());
    let open = results.asked_rate.is_some();
    let load = if open { "a rate" } else { "no rate" };
    let mut settings = vec![
        ("mode", options.mode.clone()),
        ("rate", load.to_owned()),
        ("size", options.size.to_string()),
        ("send", options.send.join(", ")),
        ("reply", options.reply.join(", ")),
        ("arrival", text(&options.arrival)),
        ("profile", text(&options.profile)),
        ("duration_s", number(options.duration_s)),
        ("warmup_s", options.warmup_s.to_string()),
        ("verify", if results.verify.on { "on" } else { "off" }.to_owned()),
    ];
    if !open {
        // With a rate it is only a bound, which depends on the number of connections.
        settings.push(("pipeline", options.pipeline.to_string()));
    }
    settings
}
