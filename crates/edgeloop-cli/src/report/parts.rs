//! Which runs are the parts of one: that several machines have made at once, of the same load.

use std::time::SystemTime;

use super::read::Run;
use crate::bench::results::{Interval, Results, to_f64};
use crate::bench::show;

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

/// Why two runs are not parts of one load, if they are not: nine tenths of the time in which the shorter
/// one measured the other one has to have measured, too, but for half a second.
fn not_at_once(one: &Results, other: &Results) -> Option<String> {
    let begin = |run: &Results| run.measured_from.clone().unwrap_or_else(|| run.started.clone());
    let at = |run: &Results| Some((seconds(&begin(run))?, run.seconds));
    let (Some((from, length)), Some((other_from, other_length))) = (at(one), at(other)) else {
        return Some("one of them does not say when it measured".to_owned());
    };
    let both = (from + length).min(other_from + other_length) - from.max(other_from);
    let shorter = length.min(other_length);
    let missing = (shorter / 10.0 + APART).min(shorter / 2.0);
    (both < shorter - missing).then(|| {
        format!(
            "they did not measure at the same time, but from {} on for {}, and from {} on for {}",
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

/// By how many seconds each run began to measure behind the first of them. None of runs that were not
/// made at once: what is merged by force is merged as if it had been.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::find::{Ended, Found};
    use crate::bench::repeats::tests::repeats;
    use crate::report::merge::merge;
    use crate::report::samples;

    /// A run with an id of its own.
    fn run(name: &str, results: Results) -> Run {
        let results = Results { id: name.to_owned(), ..results };
        Run::new(name.to_owned(), results).expect("results")
    }

    #[track_caller]
    fn refusal(one: &Results, other: &Results) -> String {
        let runs = [run("a.json", one.clone()), run("b.json", other.clone())];
        let failure = merge(&runs, false).expect_err("they don't fit together");
        assert!(merge(&runs, true).is_ok());
        assert!(failure.line.contains("a.json") && failure.line.contains("b.json"));
        failure.line
    }

    #[test]
    fn runs_that_are_no_parts_of_one_are_refused() {
        let one = samples::open(&[10], &[]);
        let mut other = one.clone();
        other.options.connections = 7;
        other.options.pipeline = 9;
        other.options.seed = 3;
        other.target.asked = "elsewhere:1".to_owned();
        assert!(merge(&[run("a", one.clone()), run("b", other)], false).is_ok());
        type Change = fn(&mut Results);
        let changes: [(&str, Change); 9] = [
            ("they differ in mode, open and hold", |results| results.options.mode = "hold".into()),
            ("they differ in rate, a rate and no rate", |results| results.asked_rate = None),
            ("they differ in size, 64 and 65", |results| results.options.size = 65),
            ("they differ in arrival", |results| results.options.arrival = Some("poisson".into())),
            ("they differ in duration_s", |results| results.options.duration_s = None),
            ("they differ in verify, on and off", |results| results.verify.on = false),
            (
                "did not measure at the same time, but from 2026-01-02T03:04:06.500Z on for 2.00 s, and \
              from 2026-01-02T03:04:07.300Z on",
                |results| at(results, "07.300"),
            ),
            ("b.json is the result of a search", |results| results.find = Some(found())),
            ("b.json is several runs", |results| results.repeats = repeats(&[1.0])),
        ];
        for (reason, change) in changes {
            let mut other = one.clone();
            change(&mut other);
            let line = refusal(&one, &other);
            assert!(line.contains(reason), "{line}");
        }
    }

    /// It measured from this second on.
    fn at(results: &mut Results, second: &str) {
        results.measured_from = Some(format!("2026-01-02T03:04:{second}Z"));
    }

    fn found() -> Found {
        Found {
            bound: "p99<1ms".to_owned(),
            figure: "p99".to_owned(),
            needed: 100,
            note: None,
            knee: None,
            ended: Ended::Lowest,
            steps: Vec::new(),
        }
    }

    #[test]
    fn a_run_is_never_counted_twice_not_even_by_force_or_in_a_sum() {
        let results = samples::open(&[10], &[]);
        let parts = [run("a", results.clone()), run("b", results.clone())];
        let sum = merge(&parts, false).expect("merged");
        assert_eq!(sum.results.id, "a+b");
        let [a, b] = parts;
        for twice in [vec![a.clone(), a.clone()], vec![sum.clone(), a], vec![b, sum]] {
            for force in [false, true] {
                let line = merge(&twice, force).expect_err("it is there twice").line;
                assert!(
                    line.contains("would be counted twice") && !line.contains("--force"),
                    "{line}"
                );
            }
        }
    }

    #[test]
    fn runs_are_parts_of_one_if_nine_tenths_of_the_shorter_one_are_common() {
        let of = |second: &str, seconds: f64| {
            let mut results = samples::open(&[10], &[]);
            at(&mut results, second);
            results.seconds = seconds;
            results
        };
        let one = of("10.000", 10.0);
        for (second, seconds, fits) in [
            // Of ten seconds one may be missing, and half a second for clocks that differ.
            ("11.400", 10.0, true),
            ("11.600", 10.0, false),
            ("08.600", 10.0, true),
            ("08.400", 10.0, false),
            // A short one within a long one, and those that run over its end: half must be common.
            ("15.000", 1.0, true),
            ("19.400", 1.0, true),
            ("19.600", 1.0, false),
            ("20.300", 0.4, false),
        ] {
            let parts = [run("a", one.clone()), run("b", of(second, seconds))];
            assert_eq!(merge(&parts, false).is_ok(), fits, "{second} {seconds}");
        }
        // Each two of them: both may lie within a long one, and not overlap.
        let three = [of("10.000", 10.0), of("11.000", 2.0), of("15.000", 2.0)];
        let runs: Vec<_> = ["a", "b", "c"].into_iter().zip(three).map(|(n, r)| run(n, r)).collect();
        let line = merge(&runs, false).expect_err("two are apart").line;
        assert!(line.contains("cannot merge b and c"), "{line}");
    }

    #[test]
    fn seconds_of_a_run_that_began_later_stand_behind_those_of_the_first() {
        let of = |second: &str| {
            let mut results = samples::open(&[10], &[]);
            at(&mut results, second);
            results.seconds = 60.0;
            results.intervals = vec![Interval { messages: 1, ..samples::second() }];
            results
        };
        let seconds = |one, other, force| {
            let parts = [run("a", of(one)), run("b", of(other))];
            let sum = merge(&parts, force).expect("merged").results;
            assert_eq!(sum.measured_from, of(one.min(other)).measured_from);
            sum.intervals.iter().map(|one| (one.second, one.messages)).collect::<Vec<_>>()
        };
        assert_eq!(seconds("00.000", "00.400", false), [(0, 2)]);
        assert_eq!(seconds("00.000", "03.000", false), [(0, 1), (3, 1)]);
        assert_eq!(seconds("03.000", "00.000", false), [(0, 1), (3, 1)]);
        // By force they are summed as if they had been made at once.
        assert_eq!(seconds("00.000", "30.000", true), [(0, 2)]);
    }

    #[test]
    fn labels_of_parts_are_told_together() {
        let label = |label: Option<&str>| {
            let label = label.map(str::to_owned);
            Results { label, ..samples::open(&[10], &[]) }
        };
        for (one, other, both) in [
            (None, None, None),
            (Some("x"), None, Some("x")),
            (None, Some("x"), Some("x")),
            (Some("x"), Some("x"), Some("x")),
            (Some("x"), Some("y"), Some("x, y")),
        ] {
            let parts = [run("a", label(one)), run("b", label(other))];
            assert_eq!(merge(&parts, false).expect("merged").results.label.as_deref(), both);
        }
    }
}
