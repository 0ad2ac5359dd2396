//! When nothing was answered although something was to be: a service that stood still, or was away.

use serde::{Deserialize, Serialize};

use super::interval::Interval;

/// A time in which nothing was answered, in seconds of the measured time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outage {
    pub(crate) from_s: f64,
    pub(crate) to_s: f64,
}

/// Shorter ones are none.
const SHORTEST: f64 = 0.5;

/// In a time in which so many messages are expected to be due, some are, also at random.
const DUE: f64 = 20.0;

/// Nor are those that are shorter than so many times what an answer usually takes.
const TIMES: f64 = 10.0;

impl Outage {
    pub(crate) fn seconds(&self) -> f64 {
        self.to_s - self.from_s
    }

    /// The outages of a run, to the length of its intervals. Without a rate something is always
    /// awaited.
    pub(crate) fn of(intervals: &[Interval], asked_rate: Option<f64>) -> Vec<Self> {
        let least = SHORTEST.max(TIMES * usual(intervals));
        let parts = intervals.chunk_by(|one, next| is_still(one) && is_still(next));
        let stills = parts.filter(|part| part.iter().all(is_still));
        let outages = stills.filter_map(|still| {
            let (from, to_s) = (still.first()?.from_s, still.last()?.to_s());
            let is_due = asked_rate.is_none_or(|rate| rate * (to_s - from) >= DUE);
            // Before something was in flight nothing need have been due.
            let awaited = still.iter().find(|one| is_awaited(one)).map(|one| one.from_s);
            let from_s = is_due.then_some(from).or(awaited)?;
            Some(Self { from_s, to_s })
        });
        // Figures like 0.1 + 0.2 are not quite what they should be.
        outages.filter(|outage| outage.seconds() >= least - 1e-6).collect()
    }
}

fn is_still(interval: &Interval) -> bool {
    interval.in_time == 0
}

/// Whether something was certainly to be answered in an interval.
const fn is_awaited(interval: &Interval) -> bool {
    interval.in_flight > 0 || interval.unanswered > 0 || interval.errors > 0
}

/// What an answer takes in half of the intervals, in seconds. A single one in which all the answers
/// that an outage held up come at once is not what is usual.
fn usual(intervals: &[Interval]) -> f64 {
    let time = |one: &Interval| one.answered_p50_us.or(one.answered_max_us);
    // Those that came when the run was over say nothing of it.
    let answered = intervals.iter().filter(|one| !is_still(one));
    let mut times: Vec<f64> = answered.filter_map(time).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).map_or(0.0, |micros| micros / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::to_f64;

    /// Tenths of a second with so many answers each, of 1 ms.
    fn slices(answers: &[u64], in_flight: u64) -> Vec<Interval> {
        let slice = |(index, &messages): (usize, &u64)| Interval {
            second: index as u64 / 10,
            from_s: to_f64(index as u64) / 10.0,
            seconds: 0.1,
            messages,
            in_time: messages,
            in_flight,
            answered_max_us: (messages > 0).then_some(1000.0),
            ..Interval::default()
        };
        answers.iter().enumerate().map(slice).collect()
    }

    #[track_caller]
    fn expect(intervals: &[Interval], rate: Option<f64>, expected: &[(f64, f64)]) {
        let found = Outage::of(intervals, rate);
        let near = |one: f64, other: f64| (one - other).abs() < 1e-9;
        let same = found
            .iter()
            .zip(expected)
            .all(|(one, other)| near(one.from_s, other.0) && near(one.to_s, other.1));
        assert!(same && found.len() == expected.len(), "{found:?} and not {expected:?}");
    }

    #[test]
    fn an_outage_is_from_the_last_answer_to_the_next() {
        let answers = [9, 9, 0, 0, 0, 0, 0, 9, 0, 0, 9];
        for rate in [None, Some(100.0)] {
            expect(&slices(&answers, 5), rate, &[(0.2, 0.7)]);
            expect(&slices(&answers, 0), rate, &[(0.2, 0.7)]);
        }
        expect(&slices(&[9; 20], 5), None, &[]);
        expect(&[], None, &[]);
    }

    #[test]
    fn nothing_is_awaited_where_nothing_is_due() {
        // One a second.
        let mut answers = [0; 30];
        (answers[0], answers[10], answers[20]) = (1, 1, 1);
        expect(&slices(&answers, 0), Some(1.0), &[]);
        // The second one had no answer for eight tenths, once it was sent.
        let mut late = slices(&answers, 0);
        (late[10].in_time, late[18].in_time) = (0, 1);
        late[10..18].iter_mut().for_each(|slice| slice.in_flight = 1);
        expect(&late, Some(1.0), &[(1.0, 1.8)]);
        // Where many are due, it matters not how little was in flight: nothing could be sent.
        answers = [0; 30];
        answers[0] = 1;
        expect(&slices(&answers, 0), Some(10.0), &[(0.1, 3.0)]);
        // A few need not be due at all, if they come at random. Failed connections tell more.
        expect(&slices(&answers, 0), Some(5.0), &[]);
        let mut refused = slices(&answers, 0);
        refused[7].errors = 1;
        expect(&refused, Some(1.0), &[(0.7, 3.0)]);
    }

    #[test]
    fn a_service_that_always_takes_long_has_no_outage() {
        let mut answers = [0; 60];
        [12, 24, 36, 48].iter().for_each(|&index: &usize| answers[index] = 1);
        let mut slow = slices(&answers, 1);
        slow.iter_mut().for_each(|slice| {
            slice.answered_max_us = slice.answered_max_us.map(|_| 1_200_000.0);
        });
        expect(&slow, None, &[]);
    }

    #[test]
    fn where_nothing_is_answered_at_all_it_is_all_of_the_time() {
        let mut none = slices(&[0; 20], 3);
        expect(&none, None, &[(0.0, 2.0)]);
        // Also where all answers come when it is over.
        (none[19].messages, none[19].answered_max_us) = (20, Some(1_900_000.0));
        expect(&none, None, &[(0.0, 2.0)]);
    }
}
