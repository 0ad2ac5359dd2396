//! The knee: the highest rate at which the latency stays below a bound, found by bisection.
//!
//! A rate is tried only for as long as its figure takes to be told, and never below that.

use std::time::Duration;

use super::schedule::Arrival;
use crate::results::show::{self, typed};
use crate::results::{Ended, Found, QUANTILES, Results, Step, needed, to_f64};
use crate::values;

/// Steps are left out once two rates are so near each other.
const NEAR: f64 = 1.05;

/// The lowest and the highest rate that is tried, a second.
const LOWEST: f64 = 0.1;
const HIGHEST: f64 = 1e9;

/// Where a search begins, if nothing else is said: messages a second.
const FIRST_RATE: f64 = 1000.0;

/// How long a step takes, and how long at the most where its figure needs more samples, if nothing
/// else is said.
const STEP: Duration = Duration::from_secs(3);
const LONGEST_STEP: Duration = Duration::from_secs(60);

/// So much of a message is added to those of a step, because one may be due a nanosecond too early.
const MARGIN: f64 = 0.5;

/// What the latency must stay below: `p99<1ms`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bound {
    figure: &'static str,
    micros: f64,
    text: String,
}

impl Bound {
    /// # Errors
    ///
    /// What would have been right instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let expected = || {
            "expected mean, p50, p90, p95, p99, p99.9, p99.99 or max, and what it must stay below, \
             like p99<1ms"
                .to_owned()
        };
        let (figure, bound) = text.split_once('<').ok_or_else(expected)?;
        let name = figure.trim().replace('.', "_");
        let known = QUANTILES.into_iter().map(|quantile| quantile.1).chain(["mean", "max"]);
        let figure = known.into_iter().find(|known| *known == name).ok_or_else(expected)?;
        let bound = values::span(bound.trim()).map_err(|_| expected())?;
        Ok(Self { figure, micros: bound.as_secs_f64() * 1e6, text: text.to_owned() })
    }

    /// How many samples it takes to be judged.
    fn needed(&self) -> u64 {
        let quantile = QUANTILES.into_iter().find(|quantile| quantile.1 == self.figure);
        quantile.map_or(1, |(quantile, _)| needed(quantile))
    }

    fn figure_of(&self, results: &Results) -> Option<f64> {
        results.latency_us.figures.get(self.figure)
    }

    /// Why a run at some rate does not count as held, if it doesn't.
    fn failing(&self, results: &Results) -> Option<String> {
        if let Some(late) = &results.late {
            let lag = show::time(late.lag_us);
            return Some(format!("the sender itself could not hold it: late by up to {lag}"));
        }
        if results.unanswered > 0 {
            return Some(format!(
                "{} never answered",
                show::counted(results.unanswered, "message")
            ));
        }
        let errors: u64 = results.errors.values().sum();
        if errors > 0 {
            return Some(show::counted(errors, "error"));
        }
        match self.figure_of(results) {
            Some(micros) if micros < self.micros => None,
            Some(micros) => Some(format!("{} is {}", typed(self.figure), show::time(micros))),
            None => Some(format!("too few samples for {}", typed(self.figure))),
        }
    }
}

/// A search that is to be made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Search {
    bound: Bound,
    /// The rate of the first step.
    pub(crate) first: f64,
    /// How long a step takes that has enough samples then, and how long it may take otherwise.
    usual: Duration,
    longest: Duration,
    /// Messages that are to be due in a step.
    samples: f64,
    /// What is done so that the figure can be judged, if it is not as always.
    pub(crate) note: Option<String>,
}

impl Search {
    /// Plans a search from this rate on, in steps of this length, if they are given.
    ///
    /// # Errors
    ///
    /// When the figure can't be judged with them, with what would do.
    pub(crate) fn new(
        bound: Bound,
        rate: Option<f64>,
        duration: Option<Duration>,
        arrival: Arrival,
    ) -> Result<Self, String> {
        let needed = to_f64(bound.needed());
        // At random there may be fewer than are expected, but hardly by four standard deviations.
        let samples = match arrival {
            Arrival::Uniform => needed,
            Arrival::Poisson => needed + 4.0 * needed.sqrt(),
        };
        let (usual, longest) = (duration.unwrap_or(STEP), duration.unwrap_or(LONGEST_STEP));
        let enough = two_figures(samples / usual.as_secs_f64());
        let first = rate.unwrap_or_else(|| enough.max(FIRST_RATE));
        let mut search = Self { bound, first, usual, longest, samples, note: None };
        let figure = typed(search.bound.figure);
        let needs = format!("{figure} needs {}", show::counted(search.bound.needed(), "sample"));
        let length = search.length(first).filter(|_| first <= HIGHEST);
        let Some(length) = length else {
            let step = show::time(longest.as_secs_f64() * 1e6);
            if rate.is_none() {
                return Err(format!(
                    "{needs} in a step, more than any rate has in {step}: use a longer --duration"
                ));
            }
            let few = show::rate(first * longest.as_secs_f64());
            let rate = two_figures(samples / longest.as_secs_f64());
            let seconds = (samples / first).ceil();
            let limit =
                if duration.is_none() { ", the longest step without --duration" } else { "" };
            return Err(format!(
                "{needs} in a step, and --rate {first} has {few} in {step}{limit}: \
                 use --rate {rate} or --duration {seconds}s"
            ));
        };
        if length > usual {
            let length = show::time(length.as_secs_f64() * 1e6);
            search.note = Some(format!("steps take {length} and more, because {needs}"));
        } else if rate.is_none() && first > FIRST_RATE {
            let step = show::time(usual.as_secs_f64() * 1e6);
            search.note = Some(format!(
                "the first rate is {}/s, because {needs} in each step of {step}",
                show::rate(first)
            ));
        }
        Ok(search)
    }

    /// How long a step at a rate has to take, unless that is too long.
    pub(crate) fn length(&self, rate: f64) -> Option<Duration> {
        if self.samples <= rate * self.usual.as_secs_f64() * (1.0 + 1e-9) {
            return Some(self.usual);
        }
        // In tenths of a second.
        let tenths = ((self.samples + MARGIN) / rate * 10.0 - 1e-6).ceil();
        let least = Duration::try_from_secs_f64(tenths / 10.0).ok()?;
        (least <= self.longest).then_some(least.max(self.usual))
    }

    /// The next rate below one that was not held.
    fn below(&self, missed: f64) -> Option<f64> {
        let lowest = self.lowest();
        let half = missed / 2.0;
        if half >= lowest {
            return Some(half);
        }
        (missed > lowest * NEAR).then_some(lowest)
    }

    /// The lowest rate that can be judged.
    fn lowest(&self) -> f64 {
        LOWEST.max((self.samples + MARGIN) / self.longest.as_secs_f64())
    }
}

/// A number rounded up to two figures.
fn two_figures(number: f64) -> f64 {
    let unit = 10_f64.powf(number.log10().floor() - 1.0);
    let rounded = (number / unit - 1e-9).ceil() * unit;
    // Without what a division leaves behind.
    if unit >= 1.0 { rounded.round() } else { (rounded * 1e9).round() / 1e9 }
}

/// Looks for the knee, and tells of each step. `run` makes a run at a rate, of a length; when it
/// returns nothing, the search ends as far as it has come. Returns the run at the knee: if there is
/// none, the last, if there is one.
pub(crate) fn search(
    search: &Search,
    mut run: impl FnMut(f64, Duration) -> Option<Results>,
    mut tell: impl FnMut(&Step),
) -> (Option<Results>, Found) {
    let bound = &search.bound;
    let mut steps = Vec::new();
    let (mut held, mut missed): (Option<f64>, Option<f64>) = (None, None);
    let (mut best, mut last) = (None, None);
    let mut rate = search.first;
    let ended = loop {
        let Some(length) = search.length(rate) else { break Ended::TooFewSamples };
        let Some(results) = run(rate, length) else { break Ended::CutShort };
        let failed = bound.failing(&results);
        let too_few = failed.is_some() && bound.figure_of(&results).is_none();
        let step = Step::of(rate, &results, failed.clone(), bound);
        tell(&step);
        steps.push(step);
        if failed.is_some() {
            missed = Some(rate);
            last = Some(results);
        } else {
            held = Some(rate);
            best = Some(results);
        }
        rate = match (held, missed) {
            // Lower rates have fewer still.
            _ if too_few => break Ended::TooFewSamples,
            (Some(HIGHEST..), None) => break Ended::Highest,
            (Some(held), None) => (held * 2.0).min(HIGHEST),
            (None, Some(missed)) => match search.below(missed) {
                Some(rate) => rate,
                None if search.lowest() > LOWEST => break Ended::TooFewSamples,
                None => break Ended::Lowest,
            },
            (Some(held), Some(missed)) if missed / held <= NEAR => break Ended::Found,
            // Half-way by their ratio, because that is what a rate is judged by.
            (Some(held), Some(missed)) => (held * missed).sqrt(),
            (None, None) => break Ended::CutShort,
        };
    };
    let found = Found {
        bound: bound.text.clone(),
        figure: bound.figure.to_owned(),
        needed: bound.needed(),
        note: search.note.clone(),
        knee: held,
        ended,
        steps,
    };
    (best.or(last), found)
}

impl Step {
    fn of(asked_rate: f64, results: &Results, failed: Option<String>, bound: &Bound) -> Self {
        let latency = &results.latency_us;
        Self {
            asked_rate,
            rate: results.rate,
            seconds: results.seconds,
            failed,
            figure_us: bound.figure_of(results),
            p50_us: latency.figures.p50,
            p90_us: latency.figures.p90,
            p95_us: latency.figures.p95,
            p99_us: latency.figures.p99,
            p99_9_us: latency.figures.p99_9,
            p99_99_us: latency.figures.p99_99,
            max_us: latency.figures.max,
            samples: latency.samples,
        }
    }
}

impl Search {
    /// The figure of its bound.
    pub(crate) const fn figure(&self) -> &'static str {
        self.bound.figure
    }
}

#[cfg(test)]
mod tests;
