//! What is shown while a run goes: a line that changes on a terminal, else plain lines.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plan::{Extent, Plan};
use super::profile::Profile;
use super::seconds::{Moment, Second, Watcher};
use crate::log::{LogOutput, PlainLog};
use crate::outputs::Output;
use crate::results::{Interval, Series, show, to_f64};

/// Of a run that is longer than this, only every tenth second gets a line.
const LONG: Duration = Duration::from_secs(60);

/// Into how many parts progress is divided.
const WHOLE: u64 = 1000;

/// Shows a run as it goes, and keeps what its seconds came to.
pub(crate) struct Live<'a> {
    display: Display,
    log: PlainLog,
    stderr: LogOutput,
    csv: Option<&'a mut Output>,
    /// How many seconds a line sums up, and those that have none yet.
    every: u64,
    since: Second,
    stage: Stage,
    /// When the next line about connections being opened is due.
    next_word: Duration,
    extent: Extent,
    connections: usize,
    answered: u64,
    series: Series,
    profile: Option<Arc<Profile>>,
}

enum Display {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening,
    WarmingUp,
    Measuring,
    Ending,
}

/// Whether standard error is a terminal on which a line can change.
pub(crate) fn is_animated() -> bool {
    let is_able = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    is_able && io::stderr().is_terminal()
}

impl<'a> Live<'a> {
    pub(crate) fn new(
        plan: &Plan,
        quiet: bool,
        csv: Option<&'a mut Output>,
        log: &PlainLog,
    ) -> Self {
        let display = if quiet {
            Display::Nothing
        } else if is_animated() {
            Display::Bar(bar())
        } else {
            Display::Lines
        };
        let extent = plan.extent;
        let long = extent.duration.is_none_or(|duration| duration > LONG);
        let mut live = Self {
            display,
            log: log.clone(),
            stderr: LogOutput::new(),
            csv,
            every: if long { 10 } else { 1 },
            since: Second::default(),
            stage: Stage::Opening,
            next_word: Duration::from_secs(1),
            extent,
            // Where each message makes its own, none is opened before.
            connections: if plan.connects { 0 } else { plan.connections },
            answered: 0,
            series: Series::default(),
            profile: plan.profile.clone(),
        };
        live.table(&format!("{COLUMNS}\n"));
        live
    }

    /// Ends the display; returns what the seconds came to.
    pub(crate) fn finish(mut self) -> Series {
        if let Display::Bar(bar) = &self.display
            && !self.stderr.is_unwanted()
        {
            bar.finish_and_clear();
        }
        if matches!(self.display, Display::Lines) && !self.since.span.is_zero() {
            self.sum_up();
        }
        self.series
    }

    /// A line of what happened since the last.
    fn sum_up(&mut self) {
        let sum = std::mem::take(&mut self.since);
        let interval = sum.interval();
        self.log.line(&format!("{:>6} s  {}", tenths(interval.to_s()), line(&interval)));
    }

    /// What the run is doing now.
    fn stage(&self, moment: &Moment) -> Stage {
        // Without a connection nothing begins.
        let none = self.connections > 0 && moment.opened == 0;
        let Some(begun) = moment.begun.filter(|_| !none) else { return Stage::Opening };
        let Extent { warmup, duration, .. } = self.extent;
        match (begun.checked_sub(warmup), duration) {
            (None, _) => Stage::WarmingUp,
            (Some(measured), Some(duration)) if measured >= duration => Stage::Ending,
            (Some(_), None) if self.share(moment) >= 1.0 => Stage::Ending,
            _ => Stage::Measuring,
        }
    }

    /// How much of the run is over: all of it is the end of the measured time.
    fn share(&self, moment: &Moment) -> f64 {
        let Some(begun) = moment.begun else { return 0.0 };
        let Extent { warmup, duration, messages, .. } = self.extent;
        let by_time = duration.map_or(0.0, |it| begun.div_duration_f64(warmup + it));
        let by_count = messages.map_or(0.0, |all| to_f64(self.answered) / to_f64(all));
        by_time.max(by_count).min(1.0)
    }

    /// What is told of a stage in which nothing is measured.
    fn words(&self, moment: &Moment, stage: Stage) -> Option<String> {
        match stage {
            Stage::Opening if self.connections > 0 => Some(format!(
                "opening {} of {}",
                show::count(moment.opened as u64),
                show::counted(self.connections as u64, "connection")
            )),
            Stage::WarmingUp => {
                let warmup = show::time(self.extent.warmup.as_secs_f64() * 1e6);
                Some(format!("warming up for {warmup}"))
            }
            Stage::Ending => Some("waiting for the last answers".to_owned()),
            Stage::Opening | Stage::Measuring => None,
        }
    }

    /// Tells of a stage in a line: when it begins, or of one that takes long again and again.
    fn tell(&mut self, moment: &Moment, stage: Stage) {
        let has_begun = self.stage == Stage::Opening && stage != Stage::Opening;
        let told = match stage {
            Stage::Opening => (moment.elapsed >= self.next_word).then_some(stage),
            // It may be over by now. What is measured has its own lines.
            _ if has_begun && !self.extent.warmup.is_zero() => Some(Stage::WarmingUp),
            _ => None,
        };
        if let Some(words) = told.and_then(|stage| self.words(moment, stage)) {
            self.log.line(&format!("edgeloop: {words}"));
            let pause = Duration::from_secs(if moment.elapsed.as_secs() < 10 { 1 } else { 10 });
            self.next_word = moment.elapsed + pause;
        }
    }

    fn table(&mut self, row: &str) {
        if let Some(csv) = &mut self.csv {
            // What fails is told at the end, see `Output`.
            let _ = csv.write_all(row.as_bytes());
        }
    }
}

const COLUMNS: &str = "second,messages,unanswered,bytes_sent,bytes_received,errors,alive,in_flight,\
     p50_us,p99_us,max_us,seconds,rate,p95_us,answered_p50_us,answered_p99_us,answered_max_us,step,\
     duplicates,reordered,late,foreign,corrupted,no_room";

/// The whole table of seconds, of a run without a profile.
pub(crate) fn table(intervals: &[Interval]) -> String {
    let rows: String = intervals.iter().map(|interval| row(interval, None)).collect();
    format!("{COLUMNS}\n{rows}")
}

/// A second in the table. In a run with a profile it says in which step the second began, from 1
/// on.
fn row(interval: &Interval, profile: Option<&Profile>) -> String {
    let step = profile.map(|profile| profile.step(Duration::from_secs(interval.second)) + 1);
    let Interval { second, messages, unanswered, bytes_sent, bytes_received, .. } = interval;
    let Interval { errors, alive, in_flight, .. } = interval;
    let text = |figure: Option<f64>| figure.map(|figure| figure.to_string()).unwrap_or_default();
    let figures = [
        text(interval.p50_us),
        text(interval.p99_us),
        text(interval.max_us),
        text(Some(interval.seconds)),
        text(interval.rate()),
        text(interval.p95_us),
        text(interval.answered_p50_us),
        text(interval.answered_p99_us),
        text(interval.answered_max_us),
        step.map(|step| step.to_string()).unwrap_or_default(),
    ];
    let figures = figures.join(",");
    let strays = interval.datagrams.map_or_else(
        || ",,,,,".to_owned(),
        |strays| strays.named().map(|(_, count)| count.to_string()).join(","),
    );
    format!(
        "{second},{messages},{unanswered},{bytes_sent},{bytes_received},{errors},{alive},{in_flight},\
         {figures},{strays}\n"
    )
}

impl Watcher for Live<'_> {
    fn slice(&mut self, slice: &Second) {
        self.series.slice(slice.interval());
    }

    fn second(&mut self, second: &Second) {
        let interval = second.interval();
        self.table(&row(&interval, self.profile.as_deref()));
        self.answered += interval.messages;
        match &self.display {
            Display::Bar(bar) if !self.stderr.is_unwanted() => bar.set_message(line(&interval)),
            Display::Lines => {
                self.since.add(second);
                if (interval.second + 1).is_multiple_of(self.every) {
                    self.sum_up();
                }
            }
            Display::Bar(_) | Display::Nothing => {}
        }
        self.series.seconds.push(interval);
    }

    fn look(&mut self, moment: &Moment) {
        let stage = self.stage(moment);
        match &self.display {
            Display::Bar(bar) if !self.stderr.is_unwanted() => {
                if let Some(words) = self.words(moment, stage) {
                    bar.set_message(words);
                } else if self.stage != stage {
                    // Until the first second is over.
                    bar.set_message("measuring");
                }
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a share"
                )]
                let position = (self.share(moment) * to_f64(WHOLE)) as u64;
                bar.set_position(position);
            }
            Display::Lines => self.tell(moment, stage),
            Display::Bar(_) | Display::Nothing => {}
        }
        self.stage = stage;
    }

    fn say(&mut self, line: &str) {
        self.log.line(&format!("edgeloop: {line}"));
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:10} {percent:>3} % {wide_msg}");
    ProgressBar::with_draw_target(Some(WHOLE), ProgressDrawTarget::stderr())
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Seconds, with their tenths if there are any.
fn tenths(seconds: f64) -> String {
    let text = format!("{seconds:.1}");
    match text.strip_suffix(".0") {
        Some(whole) if whole != "0" => whole.to_owned(),
        _ => text,
    }
}

/// A second, or several, in a line. What went wrong comes first: a narrow terminal cuts the rest
/// off.
fn line(interval: &Interval) -> String {
    let mut parts = match interval.rate() {
        // A single message makes no rate.
        Some(_) if interval.in_time == 1 => vec!["1 message".to_owned()],
        Some(rate) if rate > 0.0 => vec![format!("{}/s", show::rate(rate))],
        _ => vec!["nothing answered".to_owned()],
    };
    if interval.unanswered > 0 {
        parts.push(format!("{} never answered", show::count(interval.unanswered)));
    }
    if interval.errors > 0 {
        parts.push(show::counted(interval.errors, "error"));
    }
    let times = [
        ("p50", interval.p50_us),
        ("p95", interval.p95_us),
        ("p99", interval.p99_us),
        ("max", interval.max_us),
    ];
    for (name, time) in times {
        let is_bound = interval.lower_bounds.iter().any(|bound| bound == name);
        if let Some(time) = time {
            parts.push(format!("{name} {}{}", if is_bound { "≥" } else { "" }, show::time(time)));
        }
    }
    parts.push(format!("in flight {}", show::count(interval.in_flight)));
    parts.push(format!("alive {}", show::count(interval.alive)));
    parts.join("  ")
}
