//! What the steps of a profile have come to.

use serde::{Deserialize, Serialize};

use super::quantiles::Quantiles;
use super::show;

/// The most steps of a profile: each has a histogram of its own.
pub(crate) const MOST_STEPS: usize = 100;

/// A step of a profile, of the messages that were due in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepResults {
    /// When it began, and how much of it was measured.
    pub(crate) from_s: f64,
    pub(crate) seconds: f64,
    /// The rate that was asked for, at its beginning and at its end.
    pub(crate) asked_rate: [f64; 2],
    pub(crate) messages: u64,
    pub(crate) unanswered: u64,
    /// Those that were answered, if only later, by the seconds.
    pub(crate) rate: f64,
    /// Sends that came more than a millisecond after their time.
    pub(crate) missed: u64,
    pub(crate) latency_us: Quantiles,
}

impl StepResults {
    /// From when to when it was.
    pub(crate) fn span(&self) -> String {
        let time = |seconds: f64| match seconds {
            0.0 => "0 s".to_owned(),
            seconds => show::time(seconds * 1e6),
        };
        format!("{} to {}", time(self.from_s), time(self.from_s + self.seconds))
    }

    /// What was asked for.
    pub(crate) fn asked(&self) -> String {
        let rate = show::asked_rate;
        match self.asked_rate {
            [0.0, 0.0] => "pause".to_owned(),
            [begin, end] if begin == end => format!("{}/s", rate(begin)),
            [begin, end] => format!("{} to {}/s", rate(begin), rate(end)),
        }
    }

    /// What was answered.
    pub(crate) fn answered(&self) -> String {
        if self.messages > 0 { format!("{}/s", show::rate(self.rate)) } else { "none".to_owned() }
    }
}
