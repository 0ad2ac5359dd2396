//! The three servers among the library's examples beside those of others: redis, a proxy, and HTTP.
//!
//! Both servers of a pair are alive on one core, and are loaded in turn. The processor time of a
//! turn is that of all threads and children once they sleep again.

mod load;
mod running;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::args::ExamplesArgs;
use crate::binary;
use crate::failure::{Failure, named};
use crate::interrupt;
use crate::place;
use crate::show;
use crate::statistics::{Estimate, median, ratios};

use load::{Driver, LOADS, Load, idle_pair};
use running::{Program, Running};

pub(crate) use running::serve;

/// The core of the clients; the servers have the other.
const CORE: usize = 0;

/// A turn that is not counted.
const WARM_UP: Duration = Duration::from_millis(100);

/// All that was measured of the examples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Examples {
    /// How busy both cores were right before, without us: of 1.
    pub(crate) busy: f64,
    /// The load averages, as the kernel writes them.
    pub(crate) load_average: String,
    pub(crate) rounds: u32,
    pub(crate) turn_ms: u64,
    pub(crate) stream_mb: u32,
    /// The servers of others, and what they say of their version.
    pub(crate) versions: Vec<(String, String)>,
    pub(crate) compared: Vec<Compared>,
    pub(crate) memory: Vec<PairMemory>,
}

/// An example and another server under one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Compared {
    pub(crate) load: String,
    pub(crate) against: String,
    pub(crate) unit: String,
    /// Processor time of the example by that of the other.
    pub(crate) ratio: Option<Estimate>,
    /// Medians of the processor time for a unit, in nanoseconds.
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
    /// Why there is nothing, if nothing could be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
}

impl Compared {
    pub(crate) fn empty(load: &str, against: &str, unit: &str) -> Self {
        Self {
            load: load.to_owned(),
            against: against.to_owned(),
            unit: unit.to_owned(),
            ratio: None,
            ours: 0.0,
            theirs: 0.0,
            failure: None,
        }
    }
}

/// What an idle pair of a proxy takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PairMemory {
    pub(crate) server: String,
    pub(crate) bytes: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
}

/// The loads with the servers that they are compared under, by name.
#[cfg(test)]
pub(crate) fn pairs() -> Vec<(&'static str, &'static str)> {
    let mut pairs = Vec::new();
    for load in LOADS {
        pairs.extend(load.peers.iter().map(|peer| (load.name, peer.name())));
    }
    pairs
}

/// The examples that are measured, as they are built and named.
const EXAMPLES: [&str; 3] = ["redis", "proxy", "http"];

/// Measures every load, or those of the examples that are named.
pub(crate) fn compare(arguments: &ExamplesArgs) -> Result<Examples, Failure> {
    if let Some(name) = arguments.only.iter().find(|name| !EXAMPLES.contains(&name.as_str())) {
        return Err(Failure::usage(format!(
            "no example {name}; there are {}",
            EXAMPLES.join(", ")
        )));
    }
    let paths = binary::examples(&EXAMPLES).map_err(|error| Failure::usage(error.to_string()))?;
    let paths: Vec<_> = EXAMPLES.into_iter().zip(paths).collect();
    let busy = busy()?;
    let load_average = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    place::claim(CORE)?;
    let mut all = Examples {
        busy,
        load_average: load_average.trim().to_owned(),
        rounds: arguments.rounds,
        turn_ms: arguments.turn,
        stream_mb: arguments.stream,
        ..Examples::default()
    };
    let wanted =
        |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|other| other == name);
    let loads: Vec<_> = LOADS.iter().filter(|load| wanted(load.example)).collect();
    let pairs: Vec<_> =
        loads.iter().flat_map(|load| load.peers.iter().map(|peer| (*load, *peer))).collect();
    let bar = show::progress(pairs.len() as u64 * u64::from(arguments.rounds));
    for (load, peer) in pairs {
        let known = all.versions.iter().any(|(name, _)| name == peer.name());
        if !known && peer.left_out().is_none() {
            all.versions.push((peer.name().to_owned(), peer.version()));
        }
        bar.set_message(format!("{} / {}", load.name, peer.name()));
        let mut compared = Compared::empty(load.name, peer.name(), load.unit);
        let result = match peer.left_out() {
            Some(reason) => Err(io::Error::other(reason)),
            None => pair(load, peer, arguments, &paths, &mut || bar.inc(1)),
        };
        interrupt::check()?;
        match result {
            Ok((ours, theirs)) => {
                compared.ratio = Estimate::of(&ratios(&ours, &theirs));
                (compared.ours, compared.theirs) = (median(&ours), median(&theirs));
            }
            Err(error) => {
                bar.suspend(|| eprintln!("{} / {}: {error}", load.name, peer.name()));
                compared.failure = Some(error.to_string());
            }
        }
        all.compared.push(compared);
    }
    if wanted("proxy") {
        for program in [Program::Example("proxy"), Program::Haproxy, Program::Tokio] {
            let bytes = match program.left_out() {
                Some(reason) => Err(io::Error::other(reason)),
                None => idle_pair(program, &paths),
            };
            interrupt::check()?;
            let (bytes, failure) = match bytes {
                Ok(bytes) => (Some(bytes), None),
                Err(error) => (None, Some(error.to_string())),
            };
            all.memory.push(PairMemory { server: program.name().to_owned(), bytes, failure });
        }
    }
    bar.finish_and_clear();
    Ok(all)
}

/// The processor time for a unit in each round, of the example and of the other.
fn pair(
    load: &Load,
    peer: Program,
    arguments: &ExamplesArgs,
    paths: &[(&'static str, PathBuf)],
    tick: &mut dyn FnMut(),
) -> io::Result<(Vec<f64>, Vec<f64>)> {
    let start = |program: Program| {
        let bytes = arguments.stream as usize * 1_000_000;
        let mut side = Side::start(load, program, paths, bytes)?;
        side.turn(WARM_UP)?;
        Ok(side)
    };
    let name = |program: Program| move |error: io::Error| named(program.name(), &error);
    let example = Program::Example(load.example);
    let mut ours = start(example).map_err(name(example))?;
    let mut theirs = start(peer).map_err(name(peer))?;
    let turn = Duration::from_millis(arguments.turn);
    let (mut our_costs, mut their_costs) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        interrupt::check()?;
        // Ours first, theirs first: the order is reversed each time.
        if round % 2 == 0 {
            our_costs.push(ours.turn(turn).map_err(name(example))?);
        }
        their_costs.push(theirs.turn(turn).map_err(name(peer))?);
        if round % 2 == 1 {
            our_costs.push(ours.turn(turn).map_err(name(example))?);
        }
        tick();
    }
    Ok((our_costs, their_costs))
}

/// One server of a pair, with its clients.
struct Side {
    // Its connections are closed before the server ends.
    driver: Driver,
    server: Running,
}

impl Side {
    fn start(
        load: &Load,
        program: Program,
        paths: &[(&'static str, PathBuf)],
        stream: usize,
    ) -> io::Result<Self> {
        let upstream = load.upstream()?;
        let address = upstream.as_ref().map(crate::client::Upstream::address).transpose()?;
        let server = Running::start(program, address, paths)?;
        let driver = load.driver(server.address(), upstream, stream)?;
        Ok(Self { driver, server })
    }

    /// Loads it for so long. Returns the processor time for a unit, in nanoseconds.
    fn turn(&mut self, length: Duration) -> io::Result<f64> {
        let before = self.server.settle()?;
        let units = self.driver.drive(length)?;
        let after = self.server.settle()?;
        Ok((after - before) as f64 / units)
    }
}

/// How busy both cores are within a second, of 1: what else runs spoils the figures.
fn busy() -> io::Result<f64> {
    let before = ticks(&fs::read_to_string("/proc/stat")?);
    std::thread::sleep(Duration::from_secs(1));
    let after = ticks(&fs::read_to_string("/proc/stat")?);
    let ((busy_before, all_before), (busy, all)) = before
        .zip(after)
        .ok_or_else(|| io::Error::other("/proc/stat has another form than expected"))?;
    Ok((busy - busy_before) as f64 / (all - all_before).max(1) as f64)
}

/// The ticks of the clock that all cores were busy for, and all ticks.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let fields: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
    // Behind user, nice and system stand idle and what waits for a disk; guests are counted twice.
    let all = fields.iter().take(8).sum();
    Some((all - fields.get(3)? - fields.get(4)?, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_busy_is_neither_idle_nor_waiting_for_a_disk() {
        assert_eq!(ticks("cpu  10 1 5 80 4 0 2 1 7 0\ncpu0 1\n"), Some((19, 103)));
        assert_eq!(ticks("cpu0 10 1 5 80"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn every_load_is_of_an_example_and_named_once() {
        let mut names: Vec<_> = LOADS.iter().map(|load| load.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), LOADS.len());
        for load in LOADS {
            assert!(EXAMPLES.contains(&load.example) && load.name.starts_with(load.example));
            assert!(!load.peers.is_empty());
        }
    }
}
