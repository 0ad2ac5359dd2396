//! What the steps of a profile have come to: a message belongs to the step in which it was due.

use std::sync::Arc;
use std::time::Duration;

use super::profile::Profile;
use super::record::LATE;
use crate::results::{Quantiles, StepResults, Times, nanos, to_f64};

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

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(profile: &Profile) -> Steps {
        Steps::new(profile, 1000)
    }

    #[test]
    fn a_message_belongs_to_the_step_in_which_it_was_due() {
        let profile = Profile::parse("1:1s,2..4:2s,0:1s").expect("a profile");
        let (mut one, mut other) = (steps(&profile), steps(&profile));
        for (due, nanos) in [(1000, 10), (1_000_000_999, 20), (1_000_001_000, 30)] {
            one.answered(due, nanos);
        }
        other.unanswered(3_000_000_999, 40, 2);
        other.unanswered(4_000_000_999, 50, 1);
        other.sent(5, LATE + 1, 3);
        other.sent(5, LATE, 3);
        one.add(&other);
        let results = one.results(&profile, Duration::from_secs(4));
        let counts = results.iter().map(|step| (step.messages, step.unanswered, step.missed));
        assert_eq!(counts.collect::<Vec<_>>(), [(2, 0, 3), (1, 2, 0), (0, 1, 0)]);
        assert_eq!((results[0].rate, results[1].rate), (2.0, 0.5));
        let shown = results.iter().map(|step| (step.span(), step.asked(), step.answered()));
        let expected = [
            ("0 s to 1.00 s", "1/s", "2.00/s"),
            ("1.00 s to 3.00 s", "2 to 4/s", "0.50/s"),
            ("3.00 s to 4.00 s", "pause", "none"),
        ];
        let expected = expected.map(|(span, asked, answered)| {
            (span.to_owned(), asked.to_owned(), answered.to_owned())
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_run_that_ended_early_has_the_steps_that_it_came_to() {
        let profile = Profile::parse("1:1s,2:2s,3:3s").expect("a profile");
        let results = steps(&profile).results(&profile, Duration::from_millis(1500));
        let spans: Vec<_> = results.iter().map(|step| (step.from_s, step.seconds)).collect();
        assert_eq!(spans, [(0.0, 1.0), (1.0, 0.5)]);
    }
}
