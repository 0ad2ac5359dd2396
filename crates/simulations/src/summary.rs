//! What many runs came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use edgeloop::Metrics;
use edgeloop::sim::internals::Tally;
use simulations::Outcome;

use crate::many::Total;

/// Of runs of the simulation.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    runs: u64,
    tally: Tally,
    metrics: Metrics,
    simulated: Duration,
    faults: BTreeMap<String, u64>,
    violations: Vec<String>,
}

impl Summary {
    pub(crate) fn add_run(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.tally.add(outcome.tally);
        add(&mut self.metrics, &outcome.metrics);
        self.simulated += outcome.simulated;
        for fault in &outcome.faults {
            *self.faults.entry(fault.kind()).or_default() += 1;
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }
}

impl Total for Summary {
    fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        self.tally.add(other.tally);
        add(&mut self.metrics, &other.metrics);
        self.simulated += other.simulated;
        for (kind, count) in other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.violations.extend(other.violations);
    }

    fn violation(&mut self, what: String) {
        self.runs += 1;
        self.violations.push(what);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        let faults: u64 = self.faults.values().sum();
        writeln!(f, "runs             {:>16}", self.runs)?;
        let metrics = &self.metrics;
        writeln!(f, "connections      {:>16}", metrics.accepted + metrics.connected)?;
        writeln!(f, "bytes received   {:>16}", metrics.bytes_in)?;
        writeln!(f, "bytes sent       {:>16}", metrics.bytes_out)?;
        writeln!(f, "system calls     {:>16}", self.tally.calls)?;
        writeln!(f, "waits            {:>16}", self.tally.waits)?;
        writeln!(f, "outside steps    {:>16}", self.tally.steps)?;
        writeln!(f, "clock jumps      {:>16}", self.tally.jumps)?;
        writeln!(f, "simulated time   {:>14.0} s", self.simulated.as_secs_f64())?;
        writeln!(f, "faults           {faults:>16}")?;
        for (kind, count) in &self.faults {
            writeln!(f, "    {kind:<44} {count:>12}")?;
        }
        writeln!(f, "limits that were met")?;
        for (what, count) in met(metrics) {
            writeln!(f, "    {what:<44} {count:>12}")?;
        }
        writeln!(f, "violations       {:>16}", self.violations.len())
    }
}

/// How often the loop came to its limits: what was never met was not tested.
const fn met(metrics: &Metrics) -> [(&'static str, u64); 12] {
    [
        ("connection cap reached", metrics.cap_reached),
        ("accepting paused for want of descriptors", metrics.accept_pauses),
        ("connections lost before they were accepted", metrics.accept_errors),
        ("registrations failed", metrics.registrations_failed),
        ("reading paused near the ceiling of memory", metrics.memory_pauses),
        ("connections given up at the ceiling", metrics.given_up),
        ("reading paused because memory was refused", metrics.memory_refusals),
        ("messages refused", metrics.refused),
        ("transfers tried again for want of memory", metrics.retries),
        ("events, timers and letters for who was gone", metrics.stale),
        ("connections cut off by a drain", metrics.cut_off),
        ("panics of the handler", metrics.panics),
    ]
}

/// Adds up what is told in the end.
fn add(sum: &mut Metrics, other: &Metrics) {
    sum.accepted += other.accepted;
    sum.connected += other.connected;
    sum.bytes_in += other.bytes_in;
    sum.bytes_out += other.bytes_out;
    sum.cap_reached += other.cap_reached;
    sum.accept_pauses += other.accept_pauses;
    sum.accept_errors += other.accept_errors;
    sum.registrations_failed += other.registrations_failed;
    sum.memory_pauses += other.memory_pauses;
    sum.given_up += other.given_up;
    sum.memory_refusals += other.memory_refusals;
    sum.refused += other.refused;
    sum.retries += other.retries;
    sum.stale += other.stale;
    sum.cut_off += other.cut_off;
    sum.panics += other.panics;
}

/// Of comparisons with the real kernel.
#[derive(Debug, Default)]
pub(crate) struct Scripts {
    scripts: u64,
    differences: Vec<String>,
}

impl Scripts {
    pub(crate) fn count(&mut self) {
        self.scripts += 1;
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.differences.is_empty()
    }
}

impl Total for Scripts {
    fn merge(&mut self, other: Self) {
        self.scripts += other.scripts;
        self.differences.extend(other.differences);
    }

    fn violation(&mut self, what: String) {
        self.differences.push(what);
    }
}

impl fmt::Display for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            writeln!(f, "{difference}")?;
        }
        writeln!(f, "scripts          {:>16}", self.scripts)?;
        writeln!(f, "differences      {:>16}", self.differences.len())
    }
}
