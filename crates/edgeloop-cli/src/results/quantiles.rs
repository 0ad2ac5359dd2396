//! The figures of some times, as results have them.

use serde::{Deserialize, Serialize};

use super::histogram::pack;
use super::lists;
use super::show;
use super::times::{Estimate, QUANTILES, Times, Waits, needed};
use super::units::{micros, to_f64};

/// Times in microseconds. Without enough samples there is no figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) min: Option<f64>,
    pub(crate) mean: Option<f64>,
    pub(crate) p50: Option<f64>,
    pub(crate) p90: Option<f64>,
    pub(crate) p95: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p99_9: Option<f64>,
    pub(crate) p99_99: Option<f64>,
    pub(crate) max: Option<f64>,
}

/// The figures of some times, and what they are made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    #[serde(flatten)]
    pub(crate) figures: Figures,
    /// Answered or not.
    pub(crate) samples: u64,
    /// Those of the figures that may be larger, because messages were never answered.
    #[serde(deserialize_with = "lists::at_most::<_, _, 20>")]
    pub(crate) lower_bounds: Vec<String>,
    pub(crate) unanswered: Waited,
    /// Of the answered ones, in nanoseconds, as an HdrHistogram V2 log, deflated and in Base64.
    pub(crate) histogram: String,
}

/// For how long those have waited that were never answered, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waited {
    pub(crate) count: u64,
    pub(crate) min: Option<f64>,
    pub(crate) mean: Option<f64>,
    pub(crate) max: Option<f64>,
}

impl Figures {
    fn of(times: &Times) -> Self {
        let figure = |estimate: Option<Estimate>| estimate.map(|figure| micros(figure.nanos));
        let at = |quantile| figure(times.quantile(quantile));
        Self {
            min: figure(times.min()),
            mean: times.mean().map(|nanos| nanos / 1000.0),
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: figure(times.max()),
        }
    }

    /// All of them with their names.
    pub(crate) const fn each(&self) -> [(&'static str, Option<f64>); 9] {
        [
            ("min", self.min),
            ("mean", self.mean),
            ("p50", self.p50),
            ("p90", self.p90),
            ("p95", self.p95),
            ("p99", self.p99),
            ("p99_9", self.p99_9),
            ("p99_99", self.p99_99),
            ("max", self.max),
        ]
    }

    /// A figure by its name.
    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.each().into_iter().find(|one| one.0 == name)?.1
    }
}

impl Quantiles {
    pub(crate) fn of(times: &Times) -> Self {
        Self {
            figures: Figures::of(times),
            samples: times.samples(),
            lower_bounds: times.lower_bounds(),
            unanswered: Waited::of(times.unanswered()),
            histogram: pack(times.answered()),
        }
    }

    /// Each quantile with its name, and how many samples it takes.
    pub(crate) fn each(&self) -> [(&'static str, Option<f64>, u64); 6] {
        QUANTILES.map(|(quantile, name)| (name, self.figures.get(name), needed(quantile)))
    }

    pub(crate) fn is_lower_bound(&self, name: &str) -> bool {
        self.lower_bounds.iter().any(|bound| bound == name)
    }

    /// A figure by its name, with its unit.
    pub(crate) fn shown(&self, name: &str) -> Option<String> {
        self.figures.get(name).map(|micros| show::bound(micros, self.is_lower_bound(name)))
    }
}

impl Waited {
    fn of(waits: Waits) -> Self {
        let some = |value: f64| (waits.count > 0).then_some(value);
        #[expect(clippy::cast_precision_loss, reason = "a figure to be shown")]
        let sum = waits.sum as f64;
        Self {
            count: waits.count,
            min: some(micros(waits.shortest)),
            mean: some(sum / to_f64(waits.count) / 1000.0),
            max: some(micros(waits.longest)),
        }
    }

    /// As they were recorded.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    pub(crate) fn waits(&self) -> Waits {
        let nanos = |micros: Option<f64>| (micros.unwrap_or(0.0) * 1000.0).round();
        let sum = nanos(self.mean) * to_f64(self.count);
        Waits {
            count: self.count,
            shortest: nanos(self.min) as u64,
            longest: nanos(self.max) as u64,
            sum: sum as u128,
        }
    }
}
