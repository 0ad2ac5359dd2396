//! Everything that a run has come to, as it stands in the file of figures.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use peers::Transport;
use serde::{Deserialize, Serialize};

use crate::counts::Counts;
use crate::examples::Examples;
use crate::failure::named;
use crate::latency::Latency;
use crate::overload::Overload;
use crate::pair::Measured;
use crate::process::kibibytes;
use crate::servers;

/// The form of the file. It changes when a reader of the older form would misread it.
pub(crate) const SCHEMA: &str = "edgeloop-comparison/1";

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) schema: String,
    /// When the last figure was taken, in UTC.
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) servers: Vec<About>,
    pub(crate) pairs: Vec<Measured>,
    pub(crate) counts: Vec<Counts>,
    /// Of calls and instructions over Unix sockets.
    #[serde(default)]
    pub(crate) unix_counts: Vec<Counts>,
    /// The same over UDP.
    #[serde(default)]
    pub(crate) udp_counts: Vec<Counts>,
    #[serde(default)]
    pub(crate) latency: Vec<Latency>,
    #[serde(default)]
    pub(crate) overload: Vec<Overload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) examples: Option<Examples>,
}

/// What it ran on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory_mib: u64,
    /// Of edgeloop, with a `+` if the tree had changes.
    pub(crate) commit: String,
    pub(crate) rustc: String,
    pub(crate) cc: String,
    /// How TCP finds out how fast it may send (`net.ipv4.tcp_congestion_control`).
    #[serde(default)]
    pub(crate) congestion_control: String,
}

/// A server that took part, or could not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) left_out: Option<String>,
}

impl Results {
    /// Without figures yet.
    pub(crate) fn new() -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            date: now(),
            machine: machine(),
            servers: abouts(),
            pairs: Vec::new(),
            counts: Vec::new(),
            unix_counts: Vec::new(),
            udp_counts: Vec::new(),
            latency: Vec::new(),
            overload: Vec::new(),
            examples: None,
        }
    }

    /// The same, for a part of the comparison: without the list of all servers.
    pub(crate) fn of_a_part() -> Self {
        Self { servers: Vec::new(), ..Self::new() }
    }

    /// # Errors
    ///
    /// When the file can't be read or is none of ours. The text names it.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let named = |error: &dyn std::fmt::Display| {
            io::Error::other(format!("{}: {error}", path.display()))
        };
        let text = fs::read_to_string(path).map_err(|error| named(&error))?;
        let results: Self = serde_json::from_str(&text).map_err(|error| named(&error))?;
        if results.schema != SCHEMA {
            return Err(named(&format!("it is of the schema {}, not {SCHEMA}", results.schema)));
        }
        Ok(results)
    }

    /// Writes the file, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        write(path, &text)
    }

    /// Takes what is measured of the pair now, in place of what was.
    pub(crate) fn take_pair(&mut self, measured: Measured) {
        self.date = now();
        match self.pairs.iter_mut().find(|pair| pair.is_same(&measured)) {
            Some(pair) => *pair = measured,
            None => self.pairs.push(measured),
        }
    }

    /// The same for latencies, which are measured together.
    pub(crate) fn take_latency(&mut self, latency: Vec<Latency>) {
        self.date = now();
        self.latency = latency;
    }

    /// The same for overload.
    pub(crate) fn take_overload(&mut self, overload: Vec<Overload>) {
        self.date = now();
        self.overload = overload;
    }

    /// The same for the examples.
    pub(crate) fn take_examples(&mut self, examples: Examples) {
        self.date = now();
        self.examples = Some(examples);
    }

    /// The same for counts over this transport.
    pub(crate) fn take_counts(&mut self, transport: Transport, counts: Counts) {
        self.date = now();
        let all = self.counts_over(transport);
        match all.iter_mut().find(|other| other.name == counts.name) {
            Some(other) => *other = counts,
            None => all.push(counts),
        }
    }

    pub(crate) const fn counts_over(&mut self, transport: Transport) -> &mut Vec<Counts> {
        match transport {
            Transport::Tcp => &mut self.counts,
            Transport::Unix => &mut self.unix_counts,
            Transport::Udp => &mut self.udp_counts,
        }
    }
}

/// Writes a file, whole or not at all: whoever looks at it while a run goes on finds one.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|error| named(path.display(), &error))
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

fn abouts() -> Vec<About> {
    let about = |server: &servers::Contestant| About {
        name: server.name().to_owned(),
        about: server.about().to_owned(),
        version: server.version().to_owned(),
        left_out: server.left_out().map(str::to_owned),
    };
    servers::all().iter().map(about).collect()
}

/// The first line that a program prints; empty if there is none.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.ok().and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_default()
}

/// The version of the compiler, such as `1.95.0`; empty if there is none.
pub(crate) fn rustc() -> String {
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let line = first_line(&compiler, &["--version"]);
    line.split_whitespace().nth(1).unwrap_or_default().to_owned()
}

fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model =
        processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let commit = first_line("git", &["-C", root, "rev-parse", "--short=10", "HEAD"]);
    let changes = first_line("git", &["-C", root, "status", "--porcelain", "-uno"]);
    let changed = if changes.is_empty() { "" } else { "+" };
    Machine {
        kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        processor: model.map(|(_, name)| name.trim().to_owned()).unwrap_or_default(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        memory_mib: kibibytes(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0) / 1024,
        commit: format!("{commit}{changed}"),
        rustc: rustc(),
        cc: servers::find(servers::BARE).map_or("", |bare| bare.version()).to_owned(),
        congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control").trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Counted;

    fn counts(name: &str, calls: Counted) -> Counts {
        Counts { calls_one: calls, ..Counts::empty(name) }
    }

    #[test]
    fn a_file_holds_everything() {
        let mut results = Results::new();
        results.take_counts(Transport::Tcp, counts("one", Counted::Value(3.0)));
        results
            .take_counts(Transport::Tcp, counts("other", Counted::Missing("no perf".to_owned())));
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("figures.json");
        results.write(&path).expect("it can be written");
        assert_eq!(Results::read(&path).expect("it can be read"), results);
    }

    #[test]
    fn a_file_of_another_schema_is_refused_by_name() {
        let mut results = Results::new();
        results.schema = "another/9".to_owned();
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("figures.json");
        results.write(&path).expect("it can be written");
        let error = Results::read(&path).expect_err("another schema").to_string();
        assert!(error.contains("another/9") && error.contains("figures.json"), "{error}");
    }

    #[test]
    fn newer_figures_take_the_place_of_older_ones() {
        let mut results = Results::new();
        results.take_counts(Transport::Tcp, counts("one", Counted::Value(3.0)));
        results.take_counts(Transport::Tcp, counts("one", Counted::Value(2.0)));
        assert_eq!(results.counts, [counts("one", Counted::Value(2.0))]);
    }
}
