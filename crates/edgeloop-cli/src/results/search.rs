//! What a search for the knee has come to.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::lists;
use super::show::{self, typed};

/// What a search has come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) bound: String,
    /// The figure of the bound, and how many samples of a step it takes.
    pub(crate) figure: String,
    pub(crate) needed: u64,
    /// What was done so that there were as many, if it was not as always.
    pub(crate) note: Option<String>,
    /// The highest rate that was held; none if not even the lowest was.
    pub(crate) knee: Option<f64>,
    pub(crate) ended: Ended,
    #[serde(deserialize_with = "lists::at_most::<_, _, 1000>")]
    pub(crate) steps: Vec<Step>,
}

/// Why a search made no further step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// The next rate up was not held.
    Found,
    /// The highest rate of all was held.
    Highest,
    /// The lowest rate of all was not held.
    Lowest,
    /// Lower rates have too few samples in a step.
    TooFewSamples,
    /// It was interrupted, or a run did not come to its end.
    CutShort,
}

/// A run of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) asked_rate: f64,
    pub(crate) rate: f64,
    /// How long it was measured.
    pub(crate) seconds: f64,
    /// Why it was not held, if it was not.
    pub(crate) failed: Option<String>,
    /// The figure of the bound.
    pub(crate) figure_us: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p90_us: Option<f64>,
    pub(crate) p95_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) p99_9_us: Option<f64>,
    pub(crate) p99_99_us: Option<f64>,
    pub(crate) max_us: Option<f64>,
    pub(crate) samples: u64,
}

impl Step {
    /// The step in a line, with this figure of its bound.
    pub(crate) fn line(&self, figure: &str) -> String {
        let time = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), show::time);
        let mut line = format!(
            "{:>11}/s for {:>6}  p50 {:>8}  p99 {:>8}  max {:>8}",
            show::rate(self.asked_rate),
            show::time(self.seconds * 1e6),
            time(self.p50_us),
            time(self.p99_us),
            time(self.max_us)
        );
        if !["p50", "p99", "max"].contains(&figure) {
            line.push_str(&format!("  {} {:>8}", typed(figure), time(self.figure_us)));
        }
        line.push_str("  ");
        line.push_str(self.failed.as_deref().unwrap_or("held"));
        line
    }
}

impl Found {
    /// The figure of its bound, for those who begin.
    pub(crate) fn verdict(&self) -> String {
        match self.knee {
            Some(rate) => format!("up to {} messages a second", show::rate(rate)),
            None => "at no rate that was tried".to_owned(),
        }
    }

    /// Why there is no further step, where that is not plain.
    pub(crate) fn why(&self) -> Option<String> {
        match self.ended {
            Ended::Found | Ended::Lowest => None,
            Ended::Highest => Some("No higher rate is tried.".to_owned()),
            Ended::TooFewSamples => Some(format!(
                "Lower rates have too few samples for {} in a step; a longer --duration has more.",
                typed(&self.figure)
            )),
            Ended::CutShort => Some("The search was cut short.".to_owned()),
        }
    }

    /// All steps by their rates.
    pub(crate) fn by_rate(&self) -> Vec<&Step> {
        let mut steps: Vec<_> = self.steps.iter().collect();
        steps.sort_by(|one, other| one.asked_rate.total_cmp(&other.asked_rate));
        steps
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.bound, self.verdict())?;
        for step in self.by_rate() {
            writeln!(f, "{}", step.line(&self.figure))?;
        }
        if let Some(note) = &self.note {
            writeln!(f, "Note: {note}.")?;
        }
        if let Some(why) = self.why() {
            writeln!(f, "{why}")?;
        }
        Ok(())
    }
}
