//! The words of these tests: a run, and what it came to.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;
use tempfile::NamedTempFile;
use testkit::{Ended, Launch, Process, Running, Stopwatch, eventually};

use crate::serve::edgeloop;

pub(crate) const DONE: i32 = 0;
pub(crate) const NETWORK_ERRORS: i32 = 1;
pub(crate) const USAGE: i32 = 2;
pub(crate) const VERIFICATION_FAILED: i32 = 3;
pub(crate) const TOO_SLOW: i32 = 4;
pub(crate) const FATAL: i32 = 70;

/// A run about to begin: without a warm-up, and its results in a file beside the summary.
pub(crate) struct Bench {
    launch: Launch,
    json: NamedTempFile,
}

/// A run that goes on.
pub(crate) struct Going {
    pub(crate) running: Running,
    json: NamedTempFile,
}

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) summary: String,
    pub(crate) stderr: String,
    results: Value,
}

/// Runs `edgeloop bench` against this address, with options as one would type them.
#[track_caller]
pub(crate) fn bench(address: SocketAddr, options: &str) -> Ran {
    Bench::of(&address.to_string(), options).run()
}

impl Bench {
    pub(crate) fn of(address: &str, options: &str) -> Self {
        let json = NamedTempFile::new().expect("a temporary file");
        let path = json.path().to_str().expect("a path in UTF-8");
        let words: Vec<&str> = options.split_whitespace().collect();
        let launch = edgeloop(&["bench", address, "--json", path]).args(&words);
        let launch =
            if words.contains(&"--warmup") { launch } else { launch.args(&["--warmup", "0"]) };
        Self { launch, json }
    }

    /// With these arguments, which may have blanks in them, such as paths.
    pub(crate) fn with(self, arguments: &[&str]) -> Self {
        Self { launch: self.launch.args(arguments), ..self }
    }

    /// With so many descriptors at the most.
    pub(crate) fn descriptors(self, limit: usize) -> Self {
        Self { launch: self.launch.descriptors(limit), ..self }
    }

    /// Has a shell do something before.
    pub(crate) fn shell(self, command: &str) -> Self {
        Self { launch: self.launch.shell(command), ..self }
    }

    #[track_caller]
    pub(crate) fn begin(self) -> Going {
        Going { running: self.launch.begin(), json: self.json }
    }

    #[track_caller]
    pub(crate) fn run(self) -> Ran {
        self.begin().end()
    }
}

impl Going {
    /// Waits for its end, and tells as well for how long others had the machine meanwhile.
    #[track_caller]
    pub(crate) fn end_and_starved(self) -> (Ran, Duration) {
        let here = Process::new(std::process::id());
        let watch = Stopwatch::start(&[self.running.process(), here]);
        let ran = self.end();
        (ran, watch.elapsed() - watch.used())
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(self) -> Ran {
        let Ended { code, stdout, stderr } = self.running.end();
        assert!(!stderr.contains("panicked"), "{stderr}");
        for words in ["NaN", "inf "] {
            assert!(!stdout.contains(words), "{words} is no figure:\n{stdout}");
        }
        let text = std::fs::read_to_string(self.json.path()).expect("the results");
        let results = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error} in: {text}\n{stdout}\n{stderr}"));
        crate::valid::expect_valid(&results);
        Ran { code, summary: stdout, stderr, results }
    }
}

impl Ran {
    #[track_caller]
    pub(crate) fn expect_exit(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stderr, self.summary);
        self
    }

    /// Every message has its answer, and it is right. A machine that is busy with other things may
    /// not hold the schedule; then that is said.
    #[track_caller]
    pub(crate) fn expect_all_answered(&self) -> &Self {
        let code = if self.at("/late").is_null() { DONE } else { TOO_SLOW };
        self.expect_exit(code).expect_errors(&[]).expect_wrong(0, 0, 0);
        assert_eq!(self.number("/unanswered"), 0, "{}", self.summary);
        self
    }

    /// The summary has these words.
    #[track_caller]
    pub(crate) fn expect_said(&self, words: &str) -> &Self {
        assert!(self.summary.contains(words), "{words:?} is missing:\n{}", self.summary);
        self
    }

    /// So many bytes were found to be changed, missing and too many.
    #[track_caller]
    pub(crate) fn expect_wrong(&self, mismatched: u64, missing: u64, surplus: u64) -> &Self {
        let found = ["mismatched", "missing", "surplus"]
            .map(|name| self.number(&format!("/verify/{name}")));
        assert_eq!(found, [mismatched, missing, surplus], "{}", self.summary);
        self
    }

    /// The errors that were met are of this class, or there are none.
    #[track_caller]
    pub(crate) fn expect_errors(&self, classes: &[&str]) -> &Self {
        let errors = self.at("/errors").as_object().expect("an object");
        let met: Vec<&str> = errors.keys().map(String::as_str).collect();
        assert_eq!(met, classes, "{}", self.summary);
        self
    }

    /// So many messages were answered, and so many never.
    #[track_caller]
    pub(crate) fn expect_messages(&self, answered: u64, unanswered: u64) -> &Self {
        let counts = [self.number("/messages"), self.number("/unanswered")];
        assert_eq!(counts, [answered, unanswered], "{}", self.summary);
        self
    }

    /// All of them.
    pub(crate) const fn results(&self) -> &Value {
        &self.results
    }

    /// A figure, by its path: `/verify/missing`.
    #[track_caller]
    pub(crate) fn at(&self, path: &str) -> &Value {
        self.results.pointer(path).unwrap_or_else(|| panic!("no {path} in {}", self.results))
    }

    /// A whole number.
    #[track_caller]
    pub(crate) fn number(&self, path: &str) -> u64 {
        let value = self.at(path);
        value.as_u64().unwrap_or_else(|| panic!("{path} is {value}"))
    }

    /// A number.
    #[track_caller]
    pub(crate) fn figure(&self, path: &str) -> f64 {
        let value = self.at(path);
        value.as_f64().unwrap_or_else(|| panic!("{path} is {value}"))
    }

    /// How many of the times were above so many milliseconds, by the histogram.
    #[track_caller]
    pub(crate) fn above(&self, name: &str, millis: u64) -> u64 {
        let histogram = self.histogram(name);
        histogram.count_between(millis * 1_000_000 + 1, u64::MAX)
    }

    /// The histogram of `latency_us` or `service_us`, in nanoseconds.
    #[track_caller]
    pub(crate) fn histogram(&self, name: &str) -> Histogram<u64> {
        let text = self.at(&format!("/{name}/histogram")).as_str().expect("a text");
        let bytes = STANDARD.decode(text).expect("Base64");
        Deserializer::new().deserialize(&mut bytes.as_slice()).expect("an HdrHistogram")
    }
}

/// An address of loopback at which nobody listens now.
pub(crate) fn nobody() -> SocketAddr {
    let holder = TcpListener::bind("127.0.0.1:0").expect("bind");
    holder.local_addr().expect("its address")
}

/// A table that is read while it is written: a file is there only once it is complete.
pub(crate) struct Rows {
    directory: tempfile::TempDir,
    lines: Arc<AtomicUsize>,
}

impl Rows {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (kind, mode) = (FileType::Fifo, Mode::from_raw_mode(0o600));
        mknodat(CWD, directory.path().join("rows"), kind, mode, 0).expect("a FIFO");
        let (path, lines) = (directory.path().join("rows"), Arc::default());
        let counts: Arc<AtomicUsize> = Arc::clone(&lines);
        thread::spawn(move || {
            let file = BufReader::new(File::open(path).expect("the FIFO"));
            for _ in file.lines().map_while(Result::ok) {
                counts.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { directory, lines }
    }

    /// For `--csv`.
    pub(crate) fn path(&self) -> String {
        self.directory.path().join("rows").to_str().expect("a path in UTF-8").to_owned()
    }

    /// So many rows have come.
    #[track_caller]
    pub(crate) fn await_rows(&self, count: usize) {
        eventually("rows come", || self.lines.load(Ordering::Relaxed) > count);
    }
}
