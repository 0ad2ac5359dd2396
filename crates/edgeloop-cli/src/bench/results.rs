//! What a run has come to, as it is written into files and read from them again: docs/BENCH.md.
//!
//! Everything that is shown of a run is made from this, so that no two figures can differ.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use super::config::BenchConfig;
use super::find::Found;
pub(crate) use super::intervals::{BANDS, Interval, Series};
use super::lines::Lines;
use super::lists;
pub(crate) use super::outages::Outage;
use super::plan::{Load, Plan};
use super::record::{Estimate, Times, Waits, needed};
use super::repeats::Repeat;
use super::run::Done;
use super::schedule::Arrival;
use super::show;
use super::steps::StepResults;
use super::verify::Verdict;
use super::worker::End;

/// The version of the format. It grows when a figure is left out or comes to mean something else.
pub(crate) const SCHEMA: u32 = 2;

/// The quantiles that are told, and their names.
pub(crate) const QUANTILES: [(f64, &str); 6] = [
    (0.5, "p50"),
    (0.9, "p90"),
    (0.95, "p95"),
    (0.99, "p99"),
    (0.999, "p99_9"),
    (0.9999, "p99_99"),
];

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) schema: u32,
    pub(crate) edgeloop: String,
    /// No other run has this one.
    pub(crate) id: String,
    /// What whoever made it calls it.
    pub(crate) label: Option<String>,
    /// When it began, in UTC (RFC 3339).
    pub(crate) started: String,
    /// When its measured time began, in UTC; none if it did not.
    pub(crate) measured_from: Option<String>,
    pub(crate) machine: Machine,
    pub(crate) target: Ends,
    pub(crate) options: Options,
    /// `whole`, `interrupted`, `no_connection` or `stalled`.
    pub(crate) ended: String,
    pub(crate) messages: u64,
    pub(crate) seconds: f64,
    pub(crate) rate: f64,
    pub(crate) asked_rate: Option<f64>,
    /// Of all messages. Those that were never answered rank above whatever was.
    pub(crate) latency_us: Quantiles,
    /// Of the answered ones alone.
    pub(crate) answered_us: Quantiles,
    pub(crate) service_us: Quantiles,
    pub(crate) connect_us: Quantiles,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    #[serde(deserialize_with = "lists::counts::<_, 1000>")]
    pub(crate) errors: BTreeMap<String, u64>,
    /// What `other` of these was, by the system's name for it.
    #[serde(deserialize_with = "lists::counts::<_, 1000>")]
    pub(crate) other_errors: BTreeMap<String, u64>,
    /// Connections that the other end closed with nothing in flight. They were opened again.
    pub(crate) reopened: u64,
    pub(crate) verify: Verify,
    pub(crate) late: Option<Late>,
    pub(crate) generator: Generator,
    pub(crate) unanswered: u64,
    pub(crate) connections_alive: u64,
    /// What happened before the measured time.
    pub(crate) warmup: Warmup,
    pub(crate) cost: Cost,
    /// Where the rate was looked for: this is then the run at the knee.
    pub(crate) find: Option<Found>,
    /// The runs that these are the results of, if there were several.
    #[serde(deserialize_with = "lists::at_most::<_, _, 1000>")]
    pub(crate) repeats: Vec<Repeat>,
    /// When nothing was answered although something was to be.
    #[serde(deserialize_with = "lists::at_most::<_, _, 100000>")]
    pub(crate) outages: Vec<Outage>,
    /// The steps of a profile.
    #[serde(default)]
    pub(crate) steps: Option<Vec<StepResults>>,
    pub(crate) intervals: Vec<Interval>,
    /// The same in tenths of a second; empty for a run of more than a minute.
    #[serde(deserialize_with = "lists::at_most::<_, _, 10000>")]
    pub(crate) slices: Vec<Interval>,
}

/// What it ran on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) host: String,
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory_bytes: u64,
}

/// Both ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ends {
    pub(crate) asked: String,
    #[serde(deserialize_with = "lists::at_most::<_, _, 100000>")]
    pub(crate) addresses: Vec<String>,
    /// How many connections were made to each, over the whole run. Older files lack it.
    #[serde(default, deserialize_with = "lists::counts::<_, 100000>")]
    pub(crate) connections: BTreeMap<String, u64>,
    #[serde(deserialize_with = "lists::at_most::<_, _, 100000>")]
    pub(crate) sources: Vec<String>,
}

impl Ends {
    /// The addresses, each with the connections that were made to it.
    pub(crate) fn counted(&self) -> String {
        let one = |address: &String| match self.connections.get(address) {
            Some(made) => format!("{address} ({})", show::counted(*made, "connection")),
            None => address.clone(),
        };
        self.addresses.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// How it was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Options {
    #[serde(deserialize_with = "lists::at_most::<_, _, 100000>")]
    pub(crate) command: Vec<String>,
    pub(crate) mode: String,
    pub(crate) connections: usize,
    pub(crate) active: usize,
    pub(crate) open_rate: Option<f64>,
    pub(crate) threads: usize,
    pub(crate) size: usize,
    /// The messages of `--send`, where their replies end, and what those must be.
    #[serde(default, deserialize_with = "lists::at_most::<_, _, 100000>")]
    pub(crate) send: Vec<String>,
    #[serde(default, deserialize_with = "lists::at_most::<_, _, 100000>")]
    pub(crate) reply: Vec<String>,
    #[serde(default, deserialize_with = "lists::at_most::<_, _, 100000>")]
    pub(crate) expect: Vec<String>,
    pub(crate) pipeline: usize,
    pub(crate) arrival: Option<String>,
    /// The steps of the rate, as they were given.
    #[serde(default)]
    pub(crate) profile: Option<String>,
    pub(crate) duration_s: Option<f64>,
    pub(crate) messages: Option<u64>,
    pub(crate) warmup_s: f64,
    pub(crate) grace_s: f64,
    pub(crate) connect_timeout_s: Option<f64>,
    pub(crate) busy_poll_us: f64,
    pub(crate) seed: u64,
}

/// Times in microseconds. Without enough samples there is no figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) min: Option<f64>,
    pub(crate) mean: Option<f64>,
    pub(crate) p50: Option<f64>,
    pub(crate) p90: Option<f64>,
    pub(crate) p95: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p99_9: Option<f64>,
    pub(crate) p99_99: Option<f64>,
    pub(crate) max: Option<f64>,
    /// Answered or not.
    pub(crate) samples: u64,
    /// Those of the figures that may be larger, because messages were never answered.
    #[serde(deserialize_with = "lists::at_most::<_, _, 20>")]
    pub(crate) lower_bounds: Vec<String>,
    pub(crate) unanswered: Waited,
    /// Of the answered ones, in nanoseconds, as an HdrHistogram V2 log, deflated and in Base64.
    pub(crate) histogram: String,
}

/// For how long those have waited that were never answered, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waited {
    pub(crate) count: u64,
    pub(crate) min: Option<f64>,
    pub(crate) mean: Option<f64>,
    pub(crate) max: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verify {
    pub(crate) on: bool,
    /// Bytes.
    pub(crate) checked: u64,
    pub(crate) mismatched: u64,
    pub(crate) missing: u64,
    pub(crate) surplus: u64,
    /// Replies that differ from what `--expect` says they must be.
    #[serde(default)]
    pub(crate) wrong_replies: u64,
    /// The first of them, for people to read.
    #[serde(deserialize_with = "lists::at_most::<_, _, 10000>")]
    pub(crate) findings: Vec<String>,
}

/// A schedule that was not held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Late {
    /// Sends that came more than a millisecond after their time, of how many.
    pub(crate) missed: u64,
    pub(crate) sends: u64,
    /// The most that one of them was late.
    pub(crate) lag_us: f64,
}

/// What the load generator did to the figures itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Generator {
    /// Sends by a schedule, and how many of them came more than a millisecond after their time.
    pub(crate) sends: u64,
    pub(crate) missed: u64,
    /// The most that one of them was late.
    pub(crate) lag_us: f64,
    /// The longest time for which the process did not run at all: it was stopped, or the machine was.
    /// None where that could not be watched.
    pub(crate) stall_us: Option<f64>,
    /// The longest that a thread had to wait for a processor, in a hundredth of a second.
    pub(crate) waited_us: Option<f64>,
    /// The share of the measured time in which the busiest thread ran, and in which the unluckiest one
    /// waited for a processor.
    pub(crate) busy: Option<f64>,
    pub(crate) waited: Option<f64>,
    /// The load generator was the limit of a closed loop, and not the service.
    pub(crate) is_bottleneck: bool,
    /// Those of the figures of `latency_us` that may come from its own lags.
    #[serde(deserialize_with = "lists::at_most::<_, _, 20>")]
    pub(crate) marked: Vec<String>,
}

/// What happened before the measured time, while connections were opened and in the warm-up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Warmup {
    pub(crate) connects: u64,
    pub(crate) messages: u64,
    pub(crate) unanswered: u64,
    #[serde(deserialize_with = "lists::counts::<_, 1000>")]
    pub(crate) errors: BTreeMap<String, u64>,
    #[serde(deserialize_with = "lists::counts::<_, 1000>")]
    pub(crate) other_errors: BTreeMap<String, u64>,
    pub(crate) verify: Verify,
}

/// What the run took of its own machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Processor time of this process, from the beginning of the run to its end.
    pub(crate) processor_s: f64,
    /// Waits for events that could block. Those that polled are left out.
    pub(crate) waits: u64,
}

/// What is known of a run beside what it measured.
#[derive(Debug, Clone)]
pub(crate) struct Background {
    pub(crate) id: String,
    pub(crate) started: String,
    pub(crate) command: Vec<String>,
    pub(crate) machine: Machine,
    pub(crate) processor: Duration,
}

/// How runs ended of which a later one could not be made.
pub(crate) const FAILED: &str = "failed";

impl Results {
    pub(crate) fn new(
        config: &BenchConfig,
        background: Background,
        done: &Done,
        series: Series,
    ) -> Self {
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
        let generator = Generator::of(plan, latency, lateness, done.watched.as_ref());
        Self {
            schema: SCHEMA,
            edgeloop: env!("CARGO_PKG_VERSION").to_owned(),
            id: background.id,
            label: config.label.clone(),
            started: background.started,
            measured_from: done.from.map(|from| humantime::format_rfc3339_millis(from).to_string()),
            machine: background.machine,
            target: Ends {
                asked: config.address.to_string(),
                addresses: plan.addresses.iter().map(ToString::to_string).collect(),
                connections: plan
                    .addresses
                    .iter()
                    .zip(&done.made)
                    .map(|(address, made)| (address.to_string(), *made))
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
            verify: Verify::of(plan, &done.verdict),
            late: (asked_rate.is_some() && lateness.is_late()).then(|| Late {
                missed: lateness.missed,
                sends: lateness.sends,
                lag_us: micros(lateness.lag),
            }),
            generator,
            unanswered: counts.unanswered,
            connections_alive: done.alive as u64,
            warmup: Warmup {
                connects: done.before.connects,
                messages: done.before.messages,
                unanswered: done.before.unanswered,
                errors: done.before.errors.by_name(),
                other_errors: done.before.errors.others().clone(),
                verify: Verify::of(plan, &done.before.verdict),
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

    /// As JSON, a line for each figure and for each second.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub(crate) fn write(&self, out: impl Write) -> io::Result<()> {
        let mut out = BufWriter::new(out);
        // Straight into the file: a day has a gigabyte of values, if each is one of its own.
        self.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Lines::default()))?;
        out.write_all(b"\n")?;
        out.flush()
    }
}

impl Quantiles {
    pub(crate) fn of(times: &Times) -> Self {
        let figure = |estimate: Option<Estimate>| estimate.map(|figure| micros(figure.nanos));
        let at = |quantile| figure(times.quantile(quantile));
        Self {
            min: figure(times.min()),
            mean: times.mean().map(|nanos| nanos / 1000.0),
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: figure(times.max()),
            samples: times.samples(),
            lower_bounds: lower_bounds(times),
            unanswered: Waited::of(times.unanswered()),
            histogram: encoded(times),
        }
    }

    /// Each quantile with its name, and how many samples it takes.
    pub(crate) fn each(&self) -> [(&'static str, Option<f64>, u64); 6] {
        let figures = [self.p50, self.p90, self.p95, self.p99, self.p99_9, self.p99_99];
        let mut index = 0;
        QUANTILES.map(|(quantile, name)| {
            let one = (name, figures[index], needed(quantile));
            index += 1;
            one
        })
    }

    pub(crate) fn is_lower_bound(&self, name: &str) -> bool {
        self.lower_bounds.iter().any(|bound| bound == name)
    }
}

/// The names of the figures that may be larger, because messages were never answered.
pub(super) fn lower_bounds(times: &Times) -> Vec<String> {
    let is_bound = |estimate: Option<Estimate>| estimate.is_some_and(|it| it.is_lower_bound);
    let mean = (times.unanswered().count > 0).then_some("mean");
    let quantiles =
        QUANTILES.into_iter().filter(|&(quantile, _)| is_bound(times.quantile(quantile)));
    let min = is_bound(times.min()).then_some("min");
    let max = is_bound(times.max()).then_some("max");
    let names = min.into_iter().chain(mean).chain(quantiles.map(|(_, name)| name)).chain(max);
    names.map(str::to_owned).collect()
}

impl Verify {
    fn of(plan: &Plan, verdict: &Verdict) -> Self {
        Self {
            on: plan.verifies,
            checked: verdict.checked,
            mismatched: verdict.mismatched,
            missing: verdict.missing,
            surplus: verdict.surplus,
            wrong_replies: verdict.wrong_replies,
            findings: verdict.told(),
        }
    }

    /// Bytes that are not those that were sent, or not as often.
    pub(crate) const fn wrong(&self) -> u64 {
        self.mismatched.saturating_add(self.missing).saturating_add(self.surplus)
    }
}

impl Waited {
    fn of(waits: Waits) -> Self {
        let some = |value: f64| (waits.count > 0).then_some(value);
        #[expect(clippy::cast_precision_loss, reason = "a figure to be shown")]
        let sum = waits.sum as f64;
        Self {
            count: waits.count,
            min: some(micros(waits.shortest)),
            mean: some(sum / to_f64(waits.count) / 1000.0),
            max: some(micros(waits.longest)),
        }
    }

    /// As they were recorded.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    pub(crate) fn waits(&self) -> Waits {
        let nanos = |micros: Option<f64>| (micros.unwrap_or(0.0) * 1000.0).round();
        let sum = nanos(self.mean) * to_f64(self.count);
        Waits {
            count: self.count,
            shortest: nanos(self.min) as u64,
            longest: nanos(self.max) as u64,
            sum: sum as u128,
        }
    }
}

/// The histogram in the encoding that other tools read.
fn encoded(times: &Times) -> String {
    let mut bytes = Vec::new();
    // Writing into memory can't fail.
    let _ = V2DeflateSerializer::new().serialize(times.answered(), &mut bytes);
    STANDARD.encode(bytes)
}

/// In whole nanoseconds; as many as can be told, if there are more.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn micros(nanos: u64) -> f64 {
    to_f64(nanos) / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "a figure to be shown")]
pub(crate) fn to_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
pub(crate) mod tests;
