//! The rest of a schedule: what was due and was never sent.

use super::record::Measured;
use super::schedule::Schedule;
use super::steps::Steps;
use crate::results::Times;

/// Where that is counted.
pub(super) struct Rest<'a> {
    pub(super) measured: &'a mut Measured,
    pub(super) steps: &'a mut Option<Steps>,
    /// Messages that may still be begun, if they are numbered.
    pub(super) left: &'a mut Option<u64>,
    /// The measured time.
    pub(super) from: u64,
    pub(super) until: u64,
    pub(super) now: u64,
}

impl Rest<'_> {
    /// Counts what was due by a schedule and was not sent, which could have been since `allowed`.
    /// Times that are alike on the scale of a histogram are recorded together, for there may be a
    /// great many.
    pub(super) fn count(&mut self, schedule: Schedule, allowed: Option<u64>, scale: &Times) {
        let Self { measured, steps, left, from, until, now } = self;
        let (mut schedule, from, until, now) = (schedule, *from, *until, *now);
        schedule.skip(from, |_| from, |_, _| {});
        let until = if **left == Some(0) { from } else { until };
        // Those of one step stand together.
        let ends = steps.as_ref().map(Steps::ends);
        let step_end = |due| {
            let later = ends.as_ref().and_then(|ends| ends.iter().find(|&&end| end > due));
            later.copied().unwrap_or(u64::MAX)
        };
        schedule.skip(
            until,
            |due| (now - scale.shortest_alike(now.saturating_sub(due)) + 1).min(step_end(due)),
            |due, mut count| {
                if let Some(left) = left.as_mut() {
                    count = count.min(*left);
                    *left -= count;
                }
                measured.latency.record_unanswered(now.saturating_sub(due), count);
                measured.counts.unanswered += count;
                let lag = allowed.map(|since| now.saturating_sub(due.max(since)));
                if let Some(lag) = lag {
                    measured.counts.lateness.sent(lag, count);
                }
                if let Some(steps) = steps.as_mut() {
                    steps.unanswered(due, now.saturating_sub(due), count);
                    steps.sent(due, lag.unwrap_or(0), count);
                }
            },
        );
    }
}
