//! What is shown while a run goes: a line that changes on a terminal, else plain lines.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plan::Plan;
use super::profile::Profile;
use super::results::{Interval, to_f64};
use super::run::{Second, Watcher};
use super::show;
use crate::log::{LogOutput, PlainLog};
use crate::outputs::Output;

/// Of a run that is longer than this only every tenth second gets a line.
const LONG: Duration = Duration::from_secs(60);

/// Shows a run as it goes, and keeps what its seconds came to.
pub(crate) struct Live<'a> {
    display: Display,
    log: PlainLog,
    stderr: LogOutput,
    csv: Option<&'a mut Output>,
    every: u64,
    all: Option<Duration>,
    profile: Option<Arc<Profile>>,
    intervals: Vec<Interval>,
}

enum Display {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

impl<'a> Live<'a> {
    pub(crate) fn new(
        plan: &Plan,
        quiet: bool,
        csv: Option<&'a mut Output>,
        log: &PlainLog,
    ) -> Self {
        let all = plan.extent.duration.map(|duration| plan.extent.warmup + duration);
        let display = if quiet {
            Display::Nothing
        } else if io::stderr().is_terminal() {
            Display::Bar(bar(all))
        } else {
            Display::Lines
        };
        let long = plan.extent.duration.is_none_or(|duration| duration > LONG);
        let mut live = Self {
            display,
            log: log.clone(),
            stderr: LogOutput::new(),
            csv,
            every: if long { 10 } else { 1 },
            all,
            profile: plan.profile.clone(),
            intervals: Vec::new(),
        };
        live.table(&format!("{COLUMNS}\n"));
        live
    }

    /// Ends the display; answers what the seconds came to.
    pub(crate) fn finish(self) -> Vec<Interval> {
        if let Display::Bar(bar) = &self.display
            && !self.stderr.is_unwanted()
        {
            bar.finish_and_clear();
        }
        self.intervals
    }

    fn table(&mut self, row: &str) {
        if let Some(csv) = &mut self.csv {
            // What fails is told at the end, see `Output`.
            let _ = csv.write_all(row.as_bytes());
        }
    }
}

const COLUMNS: &str = "second,messages,unanswered,bytes_sent,bytes_received,errors,alive,in_flight,p50_us,p99_us,max_us,step";

/// The whole table of seconds, of a run without a profile.
pub(crate) fn table(intervals: &[Interval]) -> String {
    let rows: String = intervals.iter().map(|interval| row(interval, None)).collect();
    format!("{COLUMNS}\n{rows}")
}

/// A second in the table. In a run with a profile it says in which step the second began, from 1 on.
fn row(interval: &Interval, profile: Option<&Profile>) -> String {
    let step = profile.map(|profile| profile.step(Duration::from_secs(interval.second)) + 1);
    let step = step.map(|step| step.to_string()).unwrap_or_default();
    let time = |time: Option<f64>| time.map(|time| time.to_string()).unwrap_or_default();
    let Interval { second, messages, unanswered, bytes_sent, bytes_received, .. } = interval;
    let Interval { errors, alive, in_flight, p50_us, p99_us, max_us, .. } = interval;
    format!(
        "{second},{messages},{unanswered},{bytes_sent},{bytes_received},{errors},{alive},{in_flight},{},{},{},{step}\n",
        time(*p50_us),
        time(*p99_us),
        time(*max_us)
    )
}

impl Watcher for Live<'_> {
    fn second(&mut self, second: &Second) {
        let interval = Interval::of(second);
        self.table(&row(&interval, self.profile.as_deref()));
        let line = line(&interval);
        match &self.display {
            Display::Bar(bar) if !self.stderr.is_unwanted() => bar.set_message(line),
            Display::Lines if (interval.second + 1).is_multiple_of(self.every) => {
                self.log.line(&format!("{:>6} s  {line}", interval.second + 1));
            }
            Display::Bar(_) | Display::Lines | Display::Nothing => {}
        }
        self.intervals.push(interval);
    }

    fn look(&mut self, elapsed: Duration) {
        if let (Display::Bar(bar), Some(all)) = (&self.display, self.all)
            && !self.stderr.is_unwanted()
        {
            let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            bar.set_position(millis(elapsed).min(millis(all)));
        }
    }

    fn say(&mut self, line: &str) {
        self.log.line(&format!("edgeloop: {line}"));
    }
}

fn bar(all: Option<Duration>) -> ProgressBar {
    let target = ProgressDrawTarget::stderr();
    let Some(all) = all else {
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}");
        return bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    };
    let length = u64::try_from(all.as_millis()).unwrap_or(u64::MAX);
    let style = ProgressStyle::with_template("{bar:20} {percent:>3} % {wide_msg}");
    ProgressBar::with_draw_target(Some(length), target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A second in a line.
fn line(interval: &Interval) -> String {
    let time = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), show::time);
    format!(
        "{}/s  p50 {}  p99 {}  in flight {}  alive {}  errors {}",
        show::rate(to_f64(interval.messages)),
        time(interval.p50_us),
        time(interval.p99_us),
        show::count(interval.in_flight),
        show::count(interval.alive),
        show::count(interval.errors)
    )
}
