//! Results to test with.

use std::collections::BTreeMap;

use super::interval::Interval;
use super::quantiles::Quantiles;
use super::repeats::Repeat;
use super::run::{Cost, Ends, Generator, Machine, Options, Results, SCHEMA, Verify, Warmup};
use super::times::Times;
use super::units::to_f64;

/// A second in which nothing happened.
pub(crate) fn second() -> Interval {
    Interval { seconds: 1.0, ..Interval::default() }
}

/// A run in the open loop: after how many microseconds messages were answered, or given up.
pub(crate) fn open(answered: &[u64], unanswered: &[u64]) -> Results {
    let mut times = Times::default();
    answered.iter().for_each(|micros| times.record(micros * 1000));
    unanswered.iter().for_each(|micros| times.record_unanswered(micros * 1000, 1));
    let latency_us = Quantiles::of(&times);
    let messages = answered.len() as u64;
    Results {
        schema: SCHEMA,
        edgeloop: "0.1.0".to_owned(),
        id: "1".to_owned(),
        label: None,
        started: "2026-01-02T03:04:05Z".to_owned(),
        measured_from: Some("2026-01-02T03:04:06.500Z".to_owned()),
        machine: Machine {
            host: "host".to_owned(),
            kernel: "Linux 6.1".to_owned(),
            processor: "a processor".to_owned(),
            processors: 2,
            memory_bytes: 8_000_000_000,
        },
        target: Ends {
            asked: "127.0.0.1:3000".to_owned(),
            addresses: vec!["127.0.0.1:3000".to_owned()],
            connections: BTreeMap::from([("127.0.0.1:3000".to_owned(), 50)]),
            sources: Vec::new(),
        },
        options: Options {
            command: vec!["edgeloop".to_owned(), "bench".to_owned(), "3000".to_owned()],
            mode: "open".to_owned(),
            connections: 50,
            active: 50,
            open_rate: None,
            threads: 1,
            size: 64,
            send: Vec::new(),
            reply: Vec::new(),
            expect: Vec::new(),
            greeting: None,
            pipeline: 80_000,
            arrival: Some("uniform".to_owned()),
            profile: None,
            duration_s: Some(2.0),
            messages: None,
            warmup_s: 1.0,
            grace_s: 1.0,
            connect_timeout_s: Some(10.0),
            timeout_s: None,
            busy_poll_us: 200.0,
            seed: 1,
        },
        ended: "whole".to_owned(),
        messages,
        seconds: 2.0,
        rate: to_f64(messages) / 2.0,
        asked_rate: Some(1000.0),
        answered_us: Quantiles::of(&times.answered_alone()),
        service_us: latency_us.clone(),
        connect_us: Quantiles::of(&Times::default()),
        latency_us,
        bytes_sent: 64 * messages,
        bytes_received: 64 * messages,
        errors: BTreeMap::new(),
        other_errors: BTreeMap::new(),
        reopened: 0,
        verify: Verify {
            on: true,
            checked: 64 * messages,
            mismatched: 0,
            missing: 0,
            surplus: 0,
            greeting: 0,
            wrong_replies: 0,
            empty_replies: 0,
            findings: Vec::new(),
        },
        late: None,
        generator: Generator {
            sends: messages,
            missed: 0,
            lag_us: 0.0,
            stall_us: Some(0.0),
            waited_us: Some(0.0),
            busy: Some(0.25),
            waited: Some(0.0),
            receive_drops: None,
            is_bottleneck: false,
            marked: Vec::new(),
        },
        unanswered: unanswered.len() as u64,
        datagrams: None,
        connections_alive: 50,
        warmup: Warmup::default(),
        cost: Cost { processor_s: 0.5, waits: 100 },
        find: None,
        outages: Vec::new(),
        slices: Vec::new(),
        repeats: Vec::new(),
        steps: None,
        intervals: vec![
            Interval {
                messages,
                in_time: messages,
                max_us: Some(20.0),
                bands: vec![(55, messages)],
                ..second()
            },
            Interval { second: 1, from_s: 1.0, ..second() },
        ],
    }
}

/// A run of 200 messages, one every millisecond, in 10 to 2,000 µs.
pub(crate) fn results() -> Results {
    let micros: Vec<u64> = (1..=200).map(|sample| sample * 10).collect();
    let mut latency = Times::default();
    micros.iter().for_each(|micros| latency.record(micros * 1000));
    let counts = Interval {
        seconds: 0.2,
        messages: 200,
        in_time: 200,
        alive: 1,
        ..Interval::timed(&latency)
    };
    Results { seconds: 0.2, rate: 1000.0, intervals: vec![counts], ..open(&micros, &[]) }
}

/// Runs whose rate and whose latencies are all the same figure.
pub(crate) fn repeats(figures: &[f64]) -> Vec<Repeat> {
    let one = |&figure: &f64| {
        let mut results = results();
        results.rate = figure;
        let latency = &mut results.latency_us.figures;
        (latency.min, latency.mean, latency.p50) = (Some(figure), Some(figure), Some(figure));
        (latency.p90, latency.p95, latency.p99) = (Some(figure), Some(figure), Some(figure));
        latency.max = Some(figure);
        results.as_repeat()
    };
    figures.iter().map(one).collect()
}
