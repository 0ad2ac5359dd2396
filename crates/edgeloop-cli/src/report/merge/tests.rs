//! Which runs are parts of one, and what they come to together.

use super::*;
use crate::results::samples;
use crate::results::samples::repeats;
use crate::results::{Ended, Found};

/// A run with an id of its own.
fn run(name: &str, results: Results) -> Run {
    let results = Results { id: name.to_owned(), ..results };
    Run::new(name.to_owned(), results).expect("results")
}

#[test]
fn percentiles_of_merged_runs_are_those_of_one_run_with_all_samples() {
    let (mut one, mut other, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for sample in 1..=20_000_u64 {
        let micros = 10 + sample * sample % 7919;
        if sample % 3 == 0 { &mut one } else { &mut other }.push(micros);
        all.push(micros);
    }
    let (one, other) = (samples::open(&one, &[]), samples::open(&other, &[]));
    let whole = samples::open(&all, &[]);
    let merged = merge(&[run("a", one), run("b", other)], false).expect("merged");
    assert_eq!(merged.results.latency_us, whole.latency_us);
    assert!(merged.results.latency_us.figures.p99_99.is_some());
    assert_eq!(merged.results.messages, 20_000);
    assert_eq!(merged.name, "a, b");
}

#[test]
fn lower_bounds_are_those_of_all_that_was_never_answered() {
    let some: Vec<u64> = (1..=99).collect();
    let (one, other) = (samples::open(&some, &[]), samples::open(&some, &[98, 500]));
    assert_eq!(one.latency_us.lower_bounds, [""; 0]);
    let merged = merge(&[run("a", one), run("b", other)], false).expect("merged");
    let latency = &merged.results.latency_us;
    assert_eq!((latency.unanswered.count, latency.unanswered.min), (2, Some(98.0)));
    assert!(latency.is_lower_bound("mean") && latency.is_lower_bound("max"));
    assert!(!latency.is_lower_bound("p50") && !latency.is_lower_bound("p99"));
    assert_eq!(merged.results.answered_us.samples, 198);
    assert!(merged.results.answered_us.lower_bounds.is_empty());
}

#[test]
fn what_was_counted_is_added_and_the_longest_time_counts() {
    let (mut one, mut other) = (samples::open(&[10, 20], &[]), samples::open(&[30], &[]));
    one.errors.insert("reset".to_owned(), 2);
    one.other_errors.insert("this".to_owned(), 1);
    other.other_errors.insert("this".to_owned(), 2);
    other.errors = BTreeMap::from([("reset".to_owned(), 1), ("refused".to_owned(), 5)]);
    other.seconds = one.seconds + 0.5;
    other.machine.host = "other".to_owned();
    other.late = Some(Late { missed: 5, sends: 9, lag_us: 1500.0 });
    let rates = (one.rate + other.rate, one.asked_rate, other.seconds);
    let merged = merge(&[run("a", one.clone()), run("b", other)], false).expect("merged");
    let results = &merged.results;
    assert_eq!(results.errors["reset"], 3);
    assert_eq!(results.other_errors["this"], 3);
    assert_eq!(results.errors["refused"], 5);
    assert_eq!((results.rate, results.seconds), (rates.0, rates.2));
    assert_eq!(results.asked_rate, rates.1.map(|rate| 2.0 * rate));
    assert_eq!(results.options.connections, 2 * one.options.connections);
    assert_eq!((results.machine.host.as_str(), results.machine.processors), ("host, other", 4));
    let same = [run("a", one.clone()), run("b", one.clone())];
    let same = merge(&same, false).expect("merged").results;
    assert_eq!(same.machine, one.machine, "a machine is counted once");
    assert_eq!(results.target.addresses, one.target.addresses);
    assert_eq!(results.target.connections["127.0.0.1:3000"], 100);
    assert_eq!(results.late.as_ref().map(|late| late.missed), Some(5));
    assert_eq!(results.options.command.iter().filter(|word| *word == ";").count(), 1);
}

#[test]
fn seconds_are_added_by_their_number() {
    let second = |second, bands: &[(u32, u64)], max| Interval {
        second,
        from_s: to_f64(second),
        messages: bands.iter().map(|band| band.1).sum(),
        alive: 5,
        p50_us: Some(1.0),
        max_us: Some(max),
        bands: bands.to_vec(),
        ..samples::second()
    };
    let mut sum = vec![second(0, &[(40, 3), (44, 1)], 2.0), second(2, &[(40, 1)], 1.2)];
    add_intervals(&mut sum, vec![second(1, &[(41, 1)], 1.3), second(0, &[(36, 95)], 0.6)]);
    assert_eq!(sum.iter().map(|interval| interval.second).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(sum[0].bands, [(36, 95), (40, 3), (44, 1)]);
    assert_eq!((sum[0].messages, sum[0].alive, sum[0].max_us), (99, 10, Some(2.0)));
    // The end of band 36 is 2 to the power of 37/4 nanoseconds.
    assert_eq!(sum[0].p50_us, Some(9.25_f64.exp2() / 1000.0));
    assert_eq!(sum[0].p99_us, None, "99 samples are too few");
    assert_eq!((sum[1].alive, sum[1].p50_us), (5, Some(1.0)));
}

#[test]
fn a_quantile_from_bands_is_too_high_by_a_band_at_the_most() {
    let bands = [(40, 50), (41, 49), (60, 1)];
    let edge = |band: u32| (f64::from(band) / BANDS).exp2() / 1000.0;
    assert_eq!(quantile(&bands, 0, 0.5, None), Some((edge(41), false)));
    assert_eq!(quantile(&bands, 0, 0.99, None), Some((edge(42), false)));
    assert_eq!(quantile(&bands, 0, 0.99, Some(1.3)), Some((1.3, false)));
    assert_eq!(quantile(&bands, 0, 0.999, None), None);
    assert_eq!(quantile(&bands, 900, 0.5, Some(7.0)), Some((7.0, true)));
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
            "did not measure at the same time: one from 2026-01-02T03:04:06.500Z for 2.00 s, the \
          other from 2026-01-02T03:04:07.300Z",
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
            assert!(line.contains("would be counted twice") && !line.contains("--force"), "{line}");
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
