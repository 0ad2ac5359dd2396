//! What the steps of a profile have come to: a message belongs to the step in which it was due.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::profile::Profile;
use super::record::{LATE, Times};
use super::results::{Quantiles, to_f64};
use super::show;

/// The steps of a run, as they are measured.
#[derive(Debug, Clone)]
pub(crate) struct Steps {
    /// When each is over, in nanoseconds of the loop's clock.
    ends: Arc<[u64]>,
    each: Vec<Measured>,
}

/// A step, as it is measured.
#[derive(Debug, Clone, Default)]
struct Measured {
    latency: Times,
    missed: u64,
}

impl Steps {
    /// Those of a run that is measured from this time on.
    pub(crate) fn new(profile: &Profile, from: u64) -> Self {
        let mut end = from;
        let ends = profile.steps.iter().map(|step| {
            end = end.saturating_add(nanos(step.length));
            end
        });
        Self { ends: ends.collect(), each: vec![Measured::default(); profile.steps.len()] }
    }

    /// The step of a message that was due then, in the measured time.
    fn of(&mut self, due: u64) -> &mut Measured {
        let step = self.ends.partition_point(|&end| end <= due);
        let last = self.each.len() - 1;
        &mut self.each[step.min(last)]
    }

    /// When the steps are over.
    pub(crate) fn ends(&self) -> Arc<[u64]> {
        Arc::clone(&self.ends)
    }

    pub(crate) fn answered(&mut self, due: u64, nanos: u64) {
        self.of(due).latency.record(nanos);
    }

    pub(crate) fn unanswered(&mut self, due: u64, nanos: u64, count: u64) {
        self.of(due).latency.record_unanswered(nanos, count);
    }

    /// Some were sent, or could have been, so late.
    pub(crate) fn sent(&mut self, due: u64, lag: u64, count: u64) {
        if lag > LATE {
            self.of(due).missed += count;
        }
    }

    /// Those of another thread of the same run.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.each.iter_mut().zip(&other.each) {
            mine.latency.add(&theirs.latency);
            mine.missed += theirs.missed;
        }
    }

    /// What they have come to in so much measured time. Those that did not begin are left out.
    pub(crate) fn results(&self, profile: &Profile, span: Duration) -> Vec<StepResults> {
        let mut from = Duration::ZERO;
        let mut results = Vec::new();
        for (step, measured) in profile.steps.iter().zip(&self.each) {
            let length = step.length.min(span.saturating_sub(from));
            let messages = measured.latency.answered().len();
            if !length.is_zero() {
                results.push(StepResults {
                    from_s: from.as_secs_f64(),
                    seconds: length.as_secs_f64(),
                    asked_rate: step.rates,
                    messages,
                    unanswered: measured.latency.unanswered().count,
                    rate: to_f64(messages) / length.as_secs_f64(),
                    missed: measured.missed,
                    latency_us: Quantiles::of(&measured.latency),
                });
            }
            from += step.length;
        }
        results
    }
}

impl StepResults {
    /// From when to when it was.
    pub(crate) fn span(&self) -> String {
        let time = |seconds: f64| show::time(seconds * 1e6);
        format!("{} to {}", time(self.from_s), time(self.from_s + self.seconds))
    }

    /// What was asked for.
    pub(crate) fn asked(&self) -> String {
        let [begin, end] =
            self.asked_rate.map(|rate| if rate > 0.0 { show::rate(rate) } else { "0".into() });
        if begin == end { format!("{begin}/s") } else { format!("{begin} to {end}/s") }
    }
}

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

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}
