//! What a run has come to, as it is written into files and read from them again: docs/BENCH.md.
//!
//! Everything that is shown of a run is made from this, so that no two figures can differ.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use serde::{Deserialize, Serialize};

use super::datagrams::Datagrams;
use super::interval::Interval;
use super::lines::Lines;
use super::lists;
use super::outages::Outage;
use super::quantiles::Quantiles;
use super::repeats::{Bounded, Repeat};
use super::search::Found;
use super::show;
use super::steps::StepResults;
use super::units::to_f64;

/// The version of the format. It grows when a figure is left out or changes its meaning.
pub(crate) const SCHEMA: u32 = 2;

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
    /// What datagrams came to beside that; none where there are connections.
    #[serde(default)]
    pub(crate) datagrams: Option<Datagrams>,
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
    /// Where what the service says first ends.
    #[serde(default)]
    pub(crate) greeting: Option<String>,
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
    /// How long the answer to a datagram is waited for; none where there are connections.
    #[serde(default)]
    pub(crate) timeout_s: Option<f64>,
    pub(crate) busy_poll_us: f64,
    pub(crate) seed: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verify {
    pub(crate) on: bool,
    /// Bytes.
    pub(crate) checked: u64,
    pub(crate) mismatched: u64,
    pub(crate) missing: u64,
    pub(crate) surplus: u64,
    /// Those of the surplus that came before anything was sent on their connection.
    #[serde(default)]
    pub(crate) greeting: u64,
    /// Replies that differ from what `--expect` says they must be.
    #[serde(default)]
    pub(crate) wrong_replies: u64,
    /// Replies that ended with their connection and had no byte.
    #[serde(default)]
    pub(crate) empty_replies: u64,
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
    /// The longest time for which the process did not run at all: it was stopped, or the machine
    /// was. None where that could not be watched.
    pub(crate) stall_us: Option<f64>,
    /// The longest that a thread had to wait for a processor, in a hundredth of a second.
    pub(crate) waited_us: Option<f64>,
    /// The share of the measured time in which the busiest thread ran, and in which the unluckiest
    /// one waited for a processor.
    pub(crate) busy: Option<f64>,
    pub(crate) waited: Option<f64>,
    /// Datagrams that its own receive buffers had no room for, in the whole run.
    #[serde(default)]
    pub(crate) receive_drops: Option<u64>,
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

/// How runs ended of which a later one could not be made.
pub(crate) const FAILED: &str = "failed";

impl Results {
    /// The share of all messages that was never answered, from 0 to 1.
    pub(crate) fn lost(&self) -> f64 {
        let all = self.messages.saturating_add(self.unanswered);
        if all == 0 { 0.0 } else { to_f64(self.unanswered) / to_f64(all) }
    }

    /// As one of several runs.
    pub(crate) fn as_repeat(&self) -> Repeat {
        Repeat {
            started: self.started.clone(),
            ended: self.ended.clone(),
            seconds: self.seconds,
            rate: self.rate,
            messages: self.messages,
            unanswered: self.unanswered,
            errors: self.errors.values().sum(),
            latency_us: Bounded::of(&self.latency_us),
            answered_us: Bounded::of(&self.answered_us),
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

impl Verify {
    /// Bytes that are not those that were sent, or not as often.
    pub(crate) const fn wrong(&self) -> u64 {
        self.mismatched.saturating_add(self.missing).saturating_add(self.surplus)
    }
}

impl Generator {
    /// A thread that runs for more than this share of a closed loop is its limit.
    pub(crate) const BUSY: f64 = 0.9;
}

#[cfg(test)]
mod tests {
    use crate::results::Results;
    use crate::results::samples::results;

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
        assert!(
            latency.figures.p99.is_some()
                && latency.figures.p99_9.is_none()
                && latency.figures.p99_99.is_none()
        );
        assert_eq!(
            (latency.samples, latency.figures.min, latency.figures.max.map(f64::round)),
            (200, Some(10.0), Some(2001.0))
        );
    }
}
