//! The log on standard error: which lines are written, and in which format.

mod queue;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

use crate::config::{Format, Verbosity};
use crate::escape::OneLine;
use queue::{Queue, Rank};

/// The target of the lines that are written with `-q` too.
const ALWAYS: &str = "edgeloop::always";

/// The target of the last line, which has a place in a full queue.
pub(crate) const TOTALS: &str = "edgeloop::totals";

/// How long the end waits for a slow standard error (C35).
const END: Duration = Duration::from_secs(1);

/// How long the thread that writes stays when there is nothing to write.
const LINGER: Duration = Duration::from_millis(100);

/// The running log, as long as it lives. Lines come to it through tracing's macros.
#[derive(Debug)]
pub(crate) struct Log {
    queue: Queue,
    format: Format,
}

impl Log {
    /// Makes standard error the destination of tracing's macros and of panics.
    ///
    /// # Errors
    ///
    /// When the thread that writes can't be started.
    pub(crate) fn start(format: Format, verbosity: Verbosity) -> io::Result<Self> {
        let queue = Queue::start(io::stderr(), LINGER)?;
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
        Ok(Self { queue, format })
    }

    /// The line that says where the server listens. Tools wait for it.
    pub(crate) fn listening(&self, address: SocketAddr) {
        match self.format {
            Format::Text => tracing::info!(target: ALWAYS, "listening on {address}"),
            Format::Json => {
                tracing::info!(target: ALWAYS, %address, "listening on {address}");
            }
        }
    }

    /// How many lines were dropped so far because standard error was too slow, or failed.
    pub(crate) fn dropped(&self) -> u64 {
        self.queue.dropped()
    }
}

/// Waits until everything is written, but no longer than a second (C35).
impl Drop for Log {
    fn drop(&mut self) {
        self.queue.finish(END);
    }
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
        Line { queue: &self.0, rank: Rank::Ordinary }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        let matters = *meta.level() == Level::ERROR || [ALWAYS, TOTALS].contains(&meta.target());
        Line { queue: &self.0, rank: if matters { Rank::Important } else { Rank::Ordinary } }
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
