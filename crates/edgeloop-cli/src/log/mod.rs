//! The log on standard error: which lines are written, and in which format.

mod backlog;
mod queue;
mod sink;
mod terminal;

use std::fmt::Display;
use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime};

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

use crate::escape::OneLine;
use backlog::Rank;
use queue::Queue;
use sink::GapLine;
pub(crate) use terminal::LogOutput;

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    #[default]
    Text,
    /// One object for each line.
    Json,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Verbosity {
    /// Listening addresses and errors.
    Quiet,
    /// Beginning, end and warnings.
    #[default]
    Normal,
    /// Connections too.
    Connections,
    /// Descriptors, events and payload too.
    Everything,
}

/// The target of the lines that are written with `-q` too.
const ALWAYS: &str = "edgeloop::always";

/// The target of the last line, which has a place in a full queue.
pub(crate) const TOTALS: &str = "edgeloop::totals";

/// How long the end waits for a slow standard error (C35).
pub(crate) const END: Duration = Duration::from_secs(1);

/// How long it waits when it is to come at once (C38).
pub(crate) const SOON: Duration = Duration::from_millis(250);

/// How often whoever waits for that looks whether to go on.
const LOOK: Duration = Duration::from_millis(20);

/// How long the thread that writes stays when there is nothing to write.
const LINGER: Duration = Duration::from_millis(100);

/// The running log, as long as it lives. Lines come to it through tracing's macros.
#[derive(Debug)]
pub(crate) struct Log {
    queue: Queue,
    format: Format,
    /// Nothing more is waited for.
    finished: bool,
}

impl Log {
    /// Makes standard error the destination of tracing's macros and of panics.
    pub(crate) fn start(format: Format, verbosity: Verbosity) -> Self {
        let gap: GapLine = match format {
            Format::Text => gap_text,
            Format::Json => gap_json,
        };
        let queue = Queue::new(LogOutput::new(), LINGER, gap);
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(Lines(queue.clone()))
            .with_target(false)
            .log_internal_errors(false);
        let registry = tracing_subscriber::registry().with(filter(verbosity));
        // An error would mean that a log is running already, which then serves as well.
        let _ = match format {
            Format::Text => registry.with(layer).try_init(),
            Format::Json => registry.with(layer.json().flatten_event(true)).try_init(),
        };
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let message = panic.payload_as_str().unwrap_or_default();
            tracing::error!("panic at {place}: {}", OneLine(message));
        }));
        Self { queue, format, finished: false }
    }

    /// The line that says where the server listens. Tools wait for it.
    pub(crate) fn listening(&self, address: impl Display) {
        match self.format {
            Format::Text => tracing::info!(target: ALWAYS, "listening on {address}"),
            Format::Json => {
                tracing::info!(target: ALWAYS, %address, "listening on {address}");
            }
        }
    }

    /// Waits until everything is written, but no longer than `limit`, or until `look` finds
    /// something, which is returned.
    pub(crate) fn finish<T>(
        mut self,
        limit: Duration,
        mut look: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        self.finished = true;
        let deadline = Instant::now() + limit;
        while !self.queue.finish(LOOK.min(limit)) && Instant::now() < deadline {
            if let Some(found) = look() {
                return Some(found);
            }
        }
        None
    }

    /// How many lines were dropped so far because standard error was too slow, or failed.
    pub(crate) fn dropped(&self) -> u64 {
        self.queue.dropped()
    }
}

/// Waits until everything is written, but no longer than a second (C35).
impl Drop for Log {
    fn drop(&mut self) {
        if !self.finished {
            self.queue.finish(END);
        }
    }
}

/// A log of plain lines, for what runs in front of somebody. Like the other it blocks nobody.
#[derive(Debug, Clone)]
pub(crate) struct PlainLog {
    queue: Queue,
}

impl PlainLog {
    pub(crate) fn start() -> Self {
        let gap = |lines| format!("edgeloop: {}\n", gap_message(lines));
        Self { queue: Queue::new(LogOutput::new(), LINGER, gap) }
    }

    /// Adds a line, which has no line feed.
    pub(crate) fn line(&self, line: &str) {
        self.queue.push(format!("{line}\n").as_bytes(), Rank::Notable);
    }

    /// Waits until everything is written, but no longer than a second (C35).
    pub(crate) fn finish(&self) {
        self.queue.finish(END);
    }

    /// The same for an end at once (C38).
    pub(crate) fn finish_soon(&self) {
        self.queue.finish(SOON);
    }
}

/// Writes the line that says why the program ends. It waits for standard error, for a second at the
/// most, and a terminal gets it from a job in the background, too.
pub(crate) fn last_line(line: &str) {
    let line = format!("edgeloop: {line}\n").into_bytes();
    let queue = Queue::new(io::stderr(), LINGER, |_| String::new());
    queue.push(&line, Rank::Essential);
    queue.finish(END);
}

fn gap_message(lines: u64) -> String {
    format!("{lines} {} of log dropped here", if lines == 1 { "line" } else { "lines" })
}

fn gap_text(lines: u64) -> String {
    let now = humantime::format_rfc3339_micros(SystemTime::now());
    format!("{now}  WARN {} lines={lines}\n", gap_message(lines))
}

fn gap_json(lines: u64) -> String {
    let now = humantime::format_rfc3339_micros(SystemTime::now());
    let message = gap_message(lines);
    format!(r#"{{"timestamp":"{now}","level":"WARN","message":"{message}","lines":{lines}}}"#)
        + "\n"
}

/// A duration as the log shows it, in milliseconds.
#[expect(clippy::cast_precision_loss, reason = "exact for 285 years")]
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

fn filter(verbosity: Verbosity) -> Targets {
    let level = match verbosity {
        Verbosity::Quiet => LevelFilter::ERROR,
        Verbosity::Normal => LevelFilter::INFO,
        Verbosity::Connections => LevelFilter::DEBUG,
        Verbosity::Everything => LevelFilter::TRACE,
    };
    Targets::new().with_default(level).with_target(ALWAYS, LevelFilter::INFO.max(level))
}

/// Hands tracing's lines to the queue.
#[derive(Debug)]
struct Lines(Queue);

/// One line on its way; tracing writes each in one call.
struct Line<'a> {
    queue: &'a Queue,
    rank: Rank,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: &self.0, rank: Rank::Debug }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        let essential = *meta.level() == Level::ERROR || [ALWAYS, TOTALS].contains(&meta.target());
        let rank = match *meta.level() {
            _ if essential => Rank::Essential,
            Level::DEBUG | Level::TRACE => Rank::Debug,
            _ => Rank::Notable,
        };
        Line { queue: &self.0, rank }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.push(line, self.rank);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_looks_like_any_other_line() {
        let text = gap_text(1);
        assert!(text.starts_with("20"), "{text}");
        assert!(text.ends_with("Z  WARN 1 line of log dropped here lines=1\n"), "{text}");
        let json = gap_json(12);
        assert!(json.ends_with("}\n"), "{json}");
        let object: serde_json::Value = serde_json::from_str(&json).expect("an object");
        assert_eq!(object["message"], "12 lines of log dropped here");
        assert_eq!((&object["level"], &object["lines"]), (&"WARN".into(), &12.into()));
    }
}
