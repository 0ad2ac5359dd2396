//! Runs of the same command, one after another: what each came to, and by how much they differ.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::lists;
use super::quantiles::{Figures, Quantiles};
use super::show::{self, typed};

/// The figures that are compared from run to run. But for the rate, less is better.
pub(crate) const FIGURES: [&str; 10] =
    ["rate", "min", "mean", "p50", "p90", "p95", "p99", "p99_9", "p99_99", "max"];

/// What one of several runs has come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Repeat {
    pub(crate) started: String,
    pub(crate) ended: String,
    pub(crate) seconds: f64,
    pub(crate) rate: f64,
    pub(crate) messages: u64,
    pub(crate) unanswered: u64,
    pub(crate) errors: u64,
    pub(crate) latency_us: Bounded,
    pub(crate) answered_us: Bounded,
}

/// The figures of a run, and which of them may be larger, because messages were never answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bounded {
    #[serde(flatten)]
    pub(crate) figures: Figures,
    #[serde(deserialize_with = "lists::at_most::<_, _, 20>")]
    pub(crate) lower_bounds: Vec<String>,
}

impl Bounded {
    pub(super) fn of(times: &Quantiles) -> Self {
        Self { figures: times.figures.clone(), lower_bounds: times.lower_bounds.clone() }
    }

    pub(crate) fn is_lower_bound(&self, name: &str) -> bool {
        self.lower_bounds.iter().any(|bound| bound == name)
    }

    /// A figure by its name, with its unit.
    pub(crate) fn shown(&self, name: &str) -> Option<String> {
        self.figures.get(name).map(|micros| show::bound(micros, self.is_lower_bound(name)))
    }

    /// A figure by its name, unless it is a lower bound.
    fn exact(&self, name: &str) -> Option<f64> {
        self.figures.get(name).filter(|_| !self.is_lower_bound(name))
    }
}

impl Repeat {
    /// A figure by the name that it has in results: `rate`, `latency_us.p99`.
    fn figure(&self, name: &str) -> Option<f64> {
        match name.split_once('.') {
            None if name == "rate" => Some(self.rate),
            Some(("latency_us", figure)) => self.latency_us.exact(figure),
            Some(("answered_us", figure)) => self.answered_us.exact(figure),
            _ => None,
        }
    }

    /// The run in a line.
    pub(crate) fn line(&self) -> String {
        let time = |name| self.latency_us.shown(name).unwrap_or_else(|| "-".to_owned());
        format!(
            "{:>11}/s  p50 {:>8}  p99 {:>8}  max {:>8}  unanswered {}  errors {}",
            show::rate(self.rate),
            time("p50"),
            time("p99"),
            time("max"),
            show::count(self.unanswered),
            show::count(self.errors)
        )
    }
}

/// A figure in all repeats, if each has it: as in [`Repeat::figure`].
pub(crate) fn figures(repeats: &[Repeat], name: &str) -> Option<Vec<f64>> {
    repeats.iter().map(|repeat| repeat.figure(name)).collect()
}

/// A figure's values in several runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spread {
    /// As in [`FIGURES`].
    pub(crate) name: &'static str,
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// From the least to the most, in percent of the median.
    pub(crate) fn percent(&self) -> f64 {
        if self.median > 0.0 { (self.most - self.least) / self.median * 100.0 } else { 0.0 }
    }

    /// The spread with its unit.
    pub(crate) fn percent_shown(&self) -> String {
        match self.percent() {
            percent if percent < 99.95 => format!("{percent:.1} %"),
            percent => format!("{} %", show::rate(percent)),
        }
    }

    /// The median, the least and the most, with their units.
    pub(crate) fn shown(&self) -> [String; 3] {
        [self.median, self.least, self.most].map(|value| shown(self.name, value))
    }
}

/// A figure with its unit.
pub(crate) fn shown(name: &str, value: f64) -> String {
    if name == "rate" { format!("{}/s", show::rate(value)) } else { show::time(value) }
}

/// The spread of each figure that all runs have.
pub(crate) fn spreads(repeats: &[Repeat]) -> Vec<Spread> {
    let spread = |name: &'static str| {
        let full = if name == "rate" { name.to_owned() } else { format!("latency_us.{name}") };
        let mut values = figures(repeats, &full)?;
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Spread { name, median: f64::midpoint(low, high), least, most })
    };
    FIGURES.into_iter().filter_map(spread).collect()
}

/// The spread as the summary shows it.
pub(crate) struct Table<'a>(pub(crate) &'a [Repeat]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = show::counted(self.0.len() as u64, "run");
        writeln!(f, "  {runs:<12}{:>14}{:>14}{:>14}{:>14}", "median", "least", "most", "spread")?;
        for spread in spreads(self.0) {
            let [median, least, most] = spread.shown();
            let name = typed(spread.name);
            let percent = spread.percent_shown();
            writeln!(f, "  {name:<12}{median:>14}{least:>14}{most:>14}{percent:>14}")?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::samples::repeats;

    #[test]
    fn the_spread_is_that_of_the_runs() {
        let spreads = spreads(&repeats(&[30.0, 10.0, 20.0, 25.0]));
        let names: Vec<_> = spreads.iter().map(|spread| spread.name).collect();
        // 200 samples are too few for the others.
        assert_eq!(names, ["rate", "min", "mean", "p50", "p90", "p95", "p99", "max"]);
        for spread in spreads {
            assert_eq!((spread.least, spread.median, spread.most), (10.0, 22.5, 30.0));
            assert!((spread.percent() - 88.9).abs() < 0.1, "{}", spread.percent());
        }
        let odd = &super::spreads(&repeats(&[3.0, 1.0, 2.0]))[0];
        assert_eq!(odd.shown(), ["2.00/s", "1.00/s", "3.00/s"]);
    }

    #[test]
    fn a_figure_that_is_a_lower_bound_in_a_run_has_no_spread() {
        let mut repeats = repeats(&[10.0, 20.0]);
        repeats[1].latency_us.lower_bounds.push("p99".to_owned());
        assert!(spreads(&repeats).iter().all(|spread| spread.name != "p99"));
        assert!(repeats[1].line().contains("p99 ≥ 20.0 µs"), "{}", repeats[1].line());
        assert!(Table(&repeats).to_string().contains("2 runs"), "{}", Table(&repeats));
    }
}
