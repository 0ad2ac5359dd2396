//! Makes the results of a run from what was asked for and what was measured.

use std::time::Duration;

use super::config::BenchConfig;
use super::course::End;
use super::plan::{Load, Plan};
use super::run::Done;
use super::schedule::Arrival;
use super::verdict::Verdict;
use crate::results::{
    Cost, Ends, Generator, Late, Machine, Options, Quantiles, Results, SCHEMA, Series, Verify,
    Warmup, micros, nanos, to_f64,
};

/// What is known of a run beside what it measured.
#[derive(Debug, Clone)]
pub(crate) struct Background {
    pub(crate) id: String,
    pub(crate) started: String,
    pub(crate) command: Vec<String>,
    pub(crate) machine: Machine,
    pub(crate) processor: Duration,
}

/// Makes the results of a run.
pub(crate) fn results(
    config: &BenchConfig,
    background: Background,
    done: &Done,
    series: Series,
) -> Results {
    let (plan, counts) = (&config.plan, &done.measured.counts);
    let seconds = done.span.as_secs_f64();
    let rate = if seconds > 0.0 { to_f64(counts.in_time) / seconds } else { 0.0 };
    let (asked_rate, arrival) = match plan.load {
        Load::Closed => (None, None),
        Load::Open { rate, arrival } => (Some(rate), Some(arrival)),
    };
    let latency_us = Quantiles::of(&done.measured.latency);
    // Without a schedule a message is due when it is sent.
    let service_us = match asked_rate {
        Some(_) => Quantiles::of(&done.measured.service),
        None => latency_us.clone(),
    };
    let lateness = &counts.lateness;
    let steps = plan.profile.as_ref().zip(done.steps.as_ref());
    let steps = steps.map(|(profile, steps)| steps.results(profile, done.span));
    // In the pauses of a profile nothing is due.
    let outage_rate = if steps.is_some() { Some(0.0) } else { asked_rate };
    let answered_us = Quantiles::of(&done.measured.latency.answered_alone());
    let latency = &done.measured.latency;
    let generator = Generator {
        receive_drops: done.receive_drops,
        ..Generator::of(plan, latency, lateness, done.watched.as_ref())
    };
    let scheme = if plan.timeout.is_some() { "udp://" } else { "" };
    Results {
        schema: SCHEMA,
        edgeloop: env!("CARGO_PKG_VERSION").to_owned(),
        id: background.id,
        label: config.label.clone(),
        started: background.started,
        measured_from: done.from.map(|from| humantime::format_rfc3339_millis(from).to_string()),
        machine: background.machine,
        target: Ends {
            asked: config.asked_addresses(),
            addresses: plan.addresses.iter().map(|one| format!("{scheme}{one}")).collect(),
            connections: plan
                .addresses
                .iter()
                .zip(&done.made)
                .map(|(address, made)| (format!("{scheme}{address}"), *made))
                .collect(),
            sources: plan.sources.iter().map(ToString::to_string).collect(),
        },
        options: Options {
            command: background.command,
            mode: config.mode.name().to_owned(),
            connections: plan.connections,
            active: plan.active,
            open_rate: plan.opening,
            threads: done.threads,
            size: plan.size,
            send: config.shown.send.clone(),
            reply: config.shown.reply.clone(),
            expect: config.shown.expect.clone(),
            greeting: plan.greeting.as_ref().map(ToString::to_string),
            pipeline: plan.pipeline,
            arrival: arrival.map(|arrival| match arrival {
                Arrival::Uniform => "uniform".to_owned(),
                Arrival::Poisson => "poisson".to_owned(),
            }),
            profile: plan.profile.as_ref().map(|profile| profile.text.clone()),
            duration_s: plan.extent.duration.map(|duration| duration.as_secs_f64()),
            messages: plan.extent.messages,
            warmup_s: plan.extent.warmup.as_secs_f64(),
            grace_s: plan.extent.grace.as_secs_f64(),
            connect_timeout_s: plan.connect_timeout.map(|timeout| timeout.as_secs_f64()),
            timeout_s: plan.timeout.map(|timeout| timeout.as_secs_f64()),
            busy_poll_us: micros(nanos(plan.busy_poll)),
            seed: plan.seed,
        },
        ended: match done.end {
            End::Whole => "whole",
            End::Interrupted => "interrupted",
            End::NoConnection => "no_connection",
            End::Stalled => "stalled",
        }
        .to_owned(),
        messages: counts.messages,
        seconds,
        rate,
        asked_rate,
        latency_us,
        answered_us,
        service_us,
        connect_us: Quantiles::of(&done.measured.connect),
        bytes_sent: counts.bytes_sent,
        bytes_received: counts.bytes_received,
        errors: counts.errors.by_name(),
        other_errors: counts.errors.others().clone(),
        reopened: counts.reopened,
        verify: verify(plan, &done.verdict),
        late: (asked_rate.is_some() && lateness.is_late()).then(|| Late {
            missed: lateness.missed,
            sends: lateness.sends,
            lag_us: micros(lateness.lag),
        }),
        generator,
        unanswered: counts.unanswered,
        datagrams: counts.datagrams,
        connections_alive: done.alive as u64,
        warmup: Warmup {
            connects: done.before.connects,
            messages: done.before.messages,
            unanswered: done.before.unanswered,
            errors: done.before.errors.by_name(),
            other_errors: done.before.errors.others().clone(),
            verify: verify(plan, &done.before.verdict),
        },
        cost: Cost { processor_s: background.processor.as_secs_f64(), waits: done.waits },
        find: None,
        repeats: Vec::new(),
        outages: series.outages(outage_rate),
        steps,
        intervals: series.seconds,
        slices: series.slices,
    }
}

fn verify(plan: &Plan, verdict: &Verdict) -> Verify {
    Verify {
        on: plan.verifies,
        checked: verdict.checked,
        mismatched: verdict.mismatched,
        missing: verdict.missing,
        surplus: verdict.surplus,
        greeting: verdict.greeting,
        wrong_replies: verdict.wrong_replies,
        empty_replies: verdict.empty_replies,
        findings: verdict.told(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::config::Mode;
    use crate::bench::plan::tests::plan;
    use crate::bench::record::{Before, Measured};
    use crate::bench::seconds::Second;
    use crate::results::samples;

    #[test]
    fn what_was_measured_becomes_the_figures_of_the_results() {
        let mut measured = Measured::default();
        for sample in 1..=200 {
            measured.latency.record(sample * 10_000);
            measured.service.record(sample * 9_000);
        }
        measured.counts.messages = 200;
        measured.counts.in_time = 200;
        let config = BenchConfig {
            plan: Plan { load: Load::Open { rate: 1000.0, arrival: Arrival::Uniform }, ..plan() },
            mode: Mode::Open,
            ..BenchConfig::empty()
        };
        let background = Background {
            id: "1".to_owned(),
            started: "2026-01-01T00:00:00Z".to_owned(),
            command: vec!["edgeloop".to_owned(), "bench".to_owned()],
            machine: samples::results().machine,
            processor: Duration::from_millis(5),
        };
        let second =
            Second { span: Duration::from_millis(200), measured, alive: 1, ..Second::default() };
        let series = Series { seconds: vec![second.interval()], ..Series::default() };
        let done = Done {
            made: vec![1],
            verdict: Verdict { checked: 200 * 64, ..Verdict::default() },
            end: End::Whole,
            from: None,
            span: second.span,
            alive: 1,
            before: Before::default(),
            steps: None,
            watched: None,
            receive_drops: None,
            waits: 400,
            threads: 1,
            measured: second.measured,
        };
        let results = results(&config, background, &done, series);
        assert_eq!(results.latency_us, samples::results().latency_us);
        assert_eq!(results.latency_us, results.answered_us);
        assert_eq!((results.rate, results.asked_rate), (1000.0, Some(1000.0)));
        assert_eq!(results.service_us.figures.min.map(f64::round), Some(9.0));
        assert_eq!((results.messages, results.intervals[0].messages), (200, 200));
        assert_eq!((results.ended.as_str(), results.verify.checked), ("whole", 12_800));
        assert_eq!((results.cost.processor_s, results.cost.waits), (0.005, 400));
    }
}
