//! Results to test with.

use std::collections::BTreeMap;
use std::fmt;

use crate::bench::record::Times;
use crate::bench::results::{
    Cost, Ends, Generator, Interval, Machine, Options, Quantiles, Results, SCHEMA, Verify, Warmup,
    to_f64,
};

/// A section of a page, as it shows these results.
pub(super) fn section(
    write: fn(&mut fmt::Formatter<'_>, &Results) -> fmt::Result,
    results: &Results,
) -> String {
    fmt::from_fn(|f| write(f, results)).to_string()
}

/// A second in which nothing happened.
pub(super) fn second() -> Interval {
    Interval {
        second: 0,
        from_s: 0.0,
        seconds: 1.0,
        messages: 0,
        in_time: 0,
        unanswered: 0,
        bytes_sent: 0,
        bytes_received: 0,
        errors: 0,
        alive: 0,
        in_flight: 0,
        p50_us: None,
        p95_us: None,
        p99_us: None,
        max_us: None,
        lower_bounds: Vec::new(),
        answered_p50_us: None,
        answered_p99_us: None,
        answered_max_us: None,
        bands: Vec::new(),
    }
}

/// A run in the open loop: after how many microseconds messages were answered, or given up.
pub(super) fn open(answered: &[u64], unanswered: &[u64]) -> Results {
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
            pipeline: 80_000,
            arrival: Some("uniform".to_owned()),
            profile: None,
            duration_s: Some(2.0),
            messages: None,
            warmup_s: 1.0,
            grace_s: 1.0,
            connect_timeout_s: Some(10.0),
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
            wrong_replies: 0,
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
            is_bottleneck: false,
            marked: Vec::new(),
        },
        unanswered: unanswered.len() as u64,
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
