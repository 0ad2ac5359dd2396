//! What many runs came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use edgeloop::sim::checks::{Outcome, Tally};

use crate::many::Total;

/// Of runs of the simulation.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    runs: u64,
    tally: Tally,
    connections: u64,
    bytes: u64,
    simulated: Duration,
    faults: BTreeMap<String, u64>,
    violations: Vec<String>,
}

impl Summary {
    pub(crate) fn add_run(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.tally.add(outcome.tally);
        self.connections += outcome.connections;
        self.bytes += outcome.bytes;
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
        self.connections += other.connections;
        self.bytes += other.bytes;
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
        writeln!(f, "connections      {:>16}", self.connections)?;
        writeln!(f, "bytes echoed     {:>16}", self.bytes)?;
        writeln!(f, "system calls     {:>16}", self.tally.calls)?;
        writeln!(f, "waits            {:>16}", self.tally.waits)?;
        writeln!(f, "outside steps    {:>16}", self.tally.steps)?;
        writeln!(f, "clock jumps      {:>16}", self.tally.jumps)?;
        writeln!(f, "simulated time   {:>14.0} s", self.simulated.as_secs_f64())?;
        writeln!(f, "faults           {faults:>16}")?;
        for (kind, count) in &self.faults {
            writeln!(f, "    {kind:<44} {count:>12}")?;
        }
        writeln!(f, "violations       {:>16}", self.violations.len())
    }
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
