//! Results, and that they are read as they were written.

use super::*;
use crate::bench::plan::tests::plan;
use crate::bench::record::{Before, Measured};
use crate::bench::run::Second;

/// A run of 200 messages, one every millisecond, in 10 to 2,000 µs.
pub(crate) fn results() -> Results {
    let mut measured = Measured::default();
    for sample in 1..=200 {
        measured.latency.record(sample * 10_000);
        measured.service.record(sample * 9_000);
    }
    measured.counts.messages = 200;
    measured.counts.in_time = 200;
    measured.counts.bytes_sent = 200 * 64;
    measured.counts.bytes_received = 200 * 64;
    let load = Load::Open { rate: 1000.0, arrival: Arrival::Uniform };
    let config = BenchConfig {
        address: crate::addresses::Address::parse("127.0.0.1:7").expect("an address"),
        plan: Plan { load, ..plan() },
        mode: crate::bench::config::Mode::Open,
        ..BenchConfig::empty()
    };
    let machine = Machine {
        host: "host".to_owned(),
        kernel: "Linux 6".to_owned(),
        processor: "one".to_owned(),
        processors: 2,
        memory_bytes: 1 << 30,
    };
    let background = Background {
        id: "1".to_owned(),
        started: "2026-01-01T00:00:00Z".to_owned(),
        command: vec!["edgeloop".to_owned(), "bench".to_owned()],
        machine,
        processor: Duration::from_millis(5),
    };
    let span = Duration::from_millis(200);
    let second = Second { span, measured, alive: 1, ..Second::default() };
    let series = Series { seconds: vec![Interval::of(&second)], ..Series::default() };
    let done = Done {
        made: vec![1],
        measured: second.measured,
        verdict: Verdict { checked: 200 * 64, ..Verdict::default() },
        end: End::Whole,
        from: None,
        span,
        alive: 1,
        before: Before::default(),
        steps: None,
        watched: None,
        waits: 400,
        threads: 1,
    };
    Results::new(&config, background, &done, series)
}

#[test]
fn what_is_written_is_read_again_as_it_was() {
    let results = results();
    let mut written = Vec::new();
    results.write(&mut written).expect("memory takes all");
    let read: Results = serde_json::from_slice(&written).expect("what we wrote");
    assert_eq!(read, results);
    assert!(written.ends_with(b"}\n"));
}

#[test]
fn figures_without_enough_samples_are_null() {
    let latency = results().latency_us;
    assert!(latency.p99.is_some() && latency.p99_9.is_none() && latency.p99_99.is_none());
    assert_eq!(
        (latency.samples, latency.min, latency.max.map(f64::round)),
        (200, Some(10.0), Some(2001.0))
    );
}
