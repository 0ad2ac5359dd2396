//! The knee: the highest rate at which the latency stays below a bound, found by bisection.

use serde::{Deserialize, Serialize};

use super::results::Results;
use super::show;
use crate::values;

/// Steps are left out once two rates are so near each other.
const NEAR: f64 = 1.05;

/// The lowest and the highest rate that is tried, a second.
const LOWEST: f64 = 0.1;
const HIGHEST: f64 = 1e9;

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
            "expected mean, p50, p90, p99, p99.9, p99.99 or max, and what it must stay below, \
             like p99<1ms"
                .to_owned()
        };
        let (figure, bound) = text.split_once('<').ok_or_else(expected)?;
        let figure = match figure.trim() {
            "mean" => "mean",
            "p50" => "p50",
            "p90" => "p90",
            "p99" => "p99",
            "p99.9" | "p99_9" => "p99_9",
            "p99.99" | "p99_99" => "p99_99",
            "max" => "max",
            _ => return Err(expected()),
        };
        let bound = values::span(bound.trim()).map_err(|_| expected())?;
        Ok(Self { figure, micros: bound.as_secs_f64() * 1e6, text: text.to_owned() })
    }

    fn figure_of(&self, results: &Results) -> Option<f64> {
        let latency = &results.latency_us;
        match self.figure {
            "mean" => latency.mean,
            "max" => latency.max,
            name => latency.each().into_iter().find(|one| one.0 == name)?.1,
        }
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
            Some(micros) => Some(format!("{} is {}", self.figure, show::time(micros))),
            None => Some(format!("there are too few samples for {}", self.figure)),
        }
    }
}

/// What a search has come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) bound: String,
    /// The highest rate that was held; none if not even the lowest was.
    pub(crate) knee: Option<f64>,
    pub(crate) steps: Vec<Step>,
}

/// A run of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) asked_rate: f64,
    pub(crate) rate: f64,
    /// Why it was not held, if it was not.
    pub(crate) failed: Option<String>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p90_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) p99_9_us: Option<f64>,
    pub(crate) max_us: Option<f64>,
    pub(crate) samples: u64,
}

/// Looks for the knee, from the rate `first` on, and tells of each step. `run` makes a run at a rate;
/// when it answers nothing, the search ends as far as it has come. Answers with the run at the knee: if there is none, with the
/// last.
///
/// # Errors
///
/// Those of a run.
pub(crate) fn search<E>(
    bound: &Bound,
    first: f64,
    mut run: impl FnMut(f64) -> Result<Option<Results>, E>,
    mut tell: impl FnMut(&Step),
) -> Result<Option<(Results, Found)>, E> {
    let mut found = Found { bound: bound.text.clone(), knee: None, steps: Vec::new() };
    let mut best: Option<Results> = None;
    let mut last = None;
    let (mut held, mut missed): (Option<f64>, Option<f64>) = (None, None);
    let mut rate = first;
    while (LOWEST..=HIGHEST).contains(&rate) {
        let Some(results) = run(rate)? else { break };
        let failed = bound.failing(&results);
        let too_few = bound.figure_of(&results).is_none();
        let step = Step::of(rate, &results, failed.clone());
        tell(&step);
        found.steps.push(step);
        if failed.is_some() {
            missed = Some(rate);
            last = Some(results);
        } else {
            held = Some(rate);
            best = Some(results);
        }
        if too_few {
            // And lower rates have fewer still.
            break;
        }
        rate = match (held, missed) {
            (Some(HIGHEST..) | None, None) => break,
            (Some(held), None) => (held * 2.0).min(HIGHEST),
            (None, Some(missed)) => missed / 2.0,
            (Some(held), Some(missed)) if missed / held <= NEAR => break,
            // Half-way by their ratio, because that is what a rate is judged by.
            (Some(held), Some(missed)) => (held * missed).sqrt(),
        };
    }
    found.knee = held;
    Ok(best.or(last).map(|results| (results, found)))
}

impl Step {
    fn of(asked_rate: f64, results: &Results, failed: Option<String>) -> Self {
        let latency = &results.latency_us;
        Self {
            asked_rate,
            rate: results.rate,
            failed,
            p50_us: latency.p50,
            p90_us: latency.p90,
            p99_us: latency.p99,
            p99_9_us: latency.p99_9,
            max_us: latency.max,
            samples: latency.samples,
        }
    }

    /// The step in a line.
    pub(crate) fn line(&self) -> String {
        let time = |time: Option<f64>| time.map_or_else(|| "-".to_owned(), show::time);
        let verdict = self.failed.as_deref().unwrap_or("held");
        format!(
            "{:>11}/s  p50 {:>8}  p99 {:>8}  max {:>8}  {verdict}",
            show::rate(self.asked_rate),
            time(self.p50_us),
            time(self.p99_us),
            time(self.max_us)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::results;

    /// A service whose 99th percentile is 100 µs up to this rate, and 5 ms above it.
    fn service(knee: f64) -> impl FnMut(f64) -> Result<Option<Results>, ()> {
        move |rate| {
            let mut results = results();
            results.rate = rate;
            results.latency_us.p99 = Some(if rate <= knee { 100.0 } else { 5000.0 });
            Ok(Some(results))
        }
    }

    #[test]
    fn bounds_are_a_figure_and_a_time() {
        for text in ["p99<1ms", "p99.9 < 500us", "max<1s", "mean<10us"] {
            assert!(Bound::parse(text).is_ok(), "{text}");
        }
        for text in ["", "p99", "p98<1ms", "p99<", "p99<0s", "p99>1ms", "p99<1", "<1ms"] {
            let error = Bound::parse(text).expect_err(text);
            assert!(error.contains("p99<1ms"), "{error}");
        }
    }

    #[test]
    fn the_knee_is_found_from_below_and_from_above() {
        let bound = Bound::parse("p99<1ms").expect("a bound");
        for knee in [0.5, 3.0, 777.0, 1000.0, 123_456.0, 9e8] {
            for first in [1.0, 1000.0, 1e6] {
                let (results, found) = search(&bound, first, service(knee), |_| {})
                    .expect("runs go well")
                    .expect("there were some");
                let rate = found.knee.expect("a knee");
                assert!(rate <= knee && rate * NEAR * 1.001 >= knee, "{knee} from {first}: {rate}");
                assert!((results.rate - rate).abs() < 1e-9, "the run at the knee is answered");
                assert!(found.steps.len() < 50);
            }
        }
    }

    #[test]
    fn what_can_not_be_held_at_all_has_no_knee() {
        let bound = Bound::parse("p99<1ms").expect("a bound");
        let (_, found) = search(&bound, 100.0, service(0.0), |_| {}).expect("well").expect("some");
        assert_eq!(found.knee, None);
        assert!(found.steps.iter().all(|step| step.failed.is_some()));
    }

    #[test]
    fn a_search_that_is_ended_tells_how_far_it_has_come() {
        let bound = Bound::parse("p99<1ms").expect("a bound");
        let (mut service, mut left) = (service(1e6), 3);
        let run = |rate| {
            left -= 1;
            if left < 0 { Ok(None) } else { service(rate) }
        };
        let (_, found) = search(&bound, 1000.0, run, |_| {}).expect("well").expect("some");
        assert_eq!((found.steps.len(), found.knee), (3, Some(4000.0)));
        assert!(search(&bound, 1.0, |_| Ok::<_, ()>(None), |_| {}).expect("well").is_none());
    }

    #[test]
    fn rates_with_too_few_samples_are_the_end_of_it() {
        let bound = Bound::parse("p99<1ms").expect("a bound");
        let run = |rate| {
            let mut results = results();
            results.latency_us.p99 = (rate > 100.0).then_some(5000.0);
            Ok::<_, ()>(Some(results))
        };
        let (_, found) = search(&bound, 1000.0, run, |_| {}).expect("well").expect("some");
        assert_eq!((found.knee, found.steps.len()), (None, 5));
    }

    #[test]
    fn a_late_sender_and_lost_messages_are_no_held_rate() {
        let bound = Bound::parse("p99<1s").expect("a bound");
        let mut late = results();
        late.late = Some(crate::bench::results::Late { missed: 5, sends: 10, lag_us: 2000.0 });
        assert!(bound.failing(&late).expect("late").contains("sender"));
        let mut lost = results();
        lost.unanswered = 1;
        assert_eq!(bound.failing(&lost).as_deref(), Some("1 message never answered"));
        let mut broken = results();
        broken.errors.insert("reset".to_owned(), 2);
        assert_eq!(bound.failing(&broken).as_deref(), Some("2 errors"));
        let mut few = results();
        few.latency_us.p99 = None;
        assert!(bound.failing(&few).expect("few").contains("too few samples"));
    }
}
