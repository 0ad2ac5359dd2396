//! What a search tries, and what it concludes.

use super::*;
use crate::results::samples::results;

/// A service whose 99th percentile is 100 µs up to this rate, and 5 ms above it.
fn service(knee: f64) -> impl FnMut(f64, Duration) -> Option<Results> {
    let usual = results();
    move |rate, _| {
        let mut results = usual.clone();
        results.rate = rate;
        results.latency_us.figures.p99 = Some(if rate <= knee { 100.0 } else { 5000.0 });
        Some(results)
    }
}

#[track_caller]
fn plan(bound: &str, rate: Option<f64>, seconds: Option<f64>) -> Result<Search, String> {
    let bound = Bound::parse(bound).expect("a bound");
    Search::new(bound, rate, seconds.map(Duration::from_secs_f64), Arrival::Uniform)
}

#[track_caller]
fn from(rate: f64) -> Search {
    plan("p99<1ms", Some(rate), Some(3600.0)).expect("a search")
}

#[test]
fn bounds_are_a_figure_and_a_time() {
    for text in ["p99<1ms", "p95<1ms", "p99.9 < 500us", "p99_99<1s", "max<1s", "mean<10us"] {
        assert!(Bound::parse(text).is_ok(), "{text}");
    }
    for text in ["", "p99", "p98<1ms", "p99<", "p99<0s", "p99>1ms", "p99<1", "<1ms"] {
        let error = Bound::parse(text).expect_err(text);
        assert!(error.contains("p99<1ms"), "{error}");
    }
}

#[test]
fn the_knee_is_found_from_below_and_from_above() {
    for knee in [0.5, 3.0, 777.0, 1000.0, 123_456.0, 9e8] {
        for first in [1.0, 1000.0, 1e6] {
            let (results, found) = search(&from(first), service(knee), |_| {});
            let rate = found.knee.expect("a knee");
            assert!(rate <= knee && rate * NEAR * 1.001 >= knee, "{knee} from {first}: {rate}");
            let results = results.expect("there were some");
            assert!((results.rate - rate).abs() < 1e-9, "the run at the knee is returned");
            assert!(found.steps.len() < 50);
            assert_eq!(found.ended, Ended::Found);
        }
    }
}

#[test]
fn what_can_not_be_held_at_all_has_no_knee() {
    let (_, found) = search(&from(100.0), service(0.0), |_| {});
    assert_eq!((found.knee, found.ended), (None, Ended::Lowest));
    assert!(found.steps.iter().all(|step| step.failed.is_some()));
    let (_, found) = search(&from(1e8), service(1e10), |_| {});
    assert_eq!((found.knee, found.ended), (Some(HIGHEST), Ended::Highest));
}

#[test]
fn a_search_that_is_ended_tells_how_far_it_has_come() {
    let (mut service, mut left) = (service(1e6), 3);
    let run = |rate, length| {
        left -= 1;
        if left < 0 { None } else { service(rate, length) }
    };
    let (_, found) = search(&from(1000.0), run, |_| {});
    assert_eq!((found.steps.len(), found.knee), (3, Some(4000.0)));
    assert_eq!(found.ended, Ended::CutShort);
    let (none, found) = search(&from(1.0), |_, _| None, |_| {});
    assert_eq!((none, found.steps.len(), found.ended), (None, 0, Ended::CutShort));
}

#[test]
fn each_step_is_planned_to_have_enough_samples() {
    let usual = results();
    for (bound, needed) in [
        ("max<1s", 1.0),
        ("mean<1s", 1.0),
        ("p50<1s", 2.0),
        ("p95<1s", 20.0),
        ("p99<1s", 100.0),
        ("p99.9<1s", 1000.0),
        ("p99.99<1s", 10_000.0),
    ] {
        for knee in [0.0, 0.15, 30.0, 400.0, 5000.0, 1e6] {
            let run = |rate: f64, length: Duration| {
                // As many as are due at the least.
                assert!((rate * length.as_secs_f64() + 1e-6).floor() >= needed, "{bound} {rate}");
                assert!(length <= LONGEST_STEP, "{bound} {rate}");
                let mut results = usual.clone();
                let time = Some(if rate <= knee { 1.0 } else { 5e6 });
                let latency = &mut results.latency_us;
                (
                    latency.figures.mean,
                    latency.figures.p50,
                    latency.figures.p95,
                    latency.figures.p99,
                ) = (time, time, time, time);
                (latency.figures.p99_9, latency.figures.p99_99, latency.figures.max) =
                    (time, time, time);
                Some(results)
            };
            let plan = plan(bound, None, None).expect("defaults suffice for each figure");
            let (_, found) = search(&plan, run, |_| {});
            let lowest = LOWEST.max((needed + MARGIN) / 60.0);
            assert_eq!(found.knee.is_some(), knee >= lowest, "{bound} up to {knee}");
            let few = found.knee.is_none() && lowest > LOWEST;
            assert_eq!(found.ended == Ended::TooFewSamples, few, "{bound} up to {knee}");
            assert_eq!(few, found.why().is_some());
            if let Some(rate) = found.knee {
                assert!(rate <= knee && rate * NEAR * 1.001 >= knee, "{bound}: {rate}");
            }
        }
    }
}

#[test]
fn what_is_done_for_enough_samples_is_said_and_what_can_not_be_is_refused() {
    let search = plan("p99.99<50ms", None, None).expect("a search");
    assert_eq!((search.first, search.length(search.first)), (3400.0, Some(STEP)));
    let note = search.note.expect("a note");
    assert!(note.contains("3,400/s") && note.contains("p99.99 needs 10,000 samples"), "{note}");
    // Half of it takes twice as long.
    let plain = plan("p99<1ms", None, None).expect("a search");
    assert_eq!((plain.first, plain.note), (1000.0, None));
    let slow = plan("p99.99<50ms", Some(1000.0), None).expect("a search");
    assert_eq!(slow.length(1000.0), Some(Duration::from_millis(10_100)));
    assert!(slow.note.expect("a note").contains("steps take 10.1 s and more"));
    let given = plan("p99.99<50ms", None, Some(1.0)).expect("a search");
    assert_eq!((given.first, given.length(5000.0)), (10_000.0, None));
    for (rate, seconds, words) in [
        (
            Some(1000.0),
            Some(3.0),
            "--rate 1000 has 3,000 in 3.00 s: use --rate 3400 or --duration 10s",
        ),
        (Some(10.0), None, "longest step without --duration: use --rate 170 or --duration 1000s"),
        (None, Some(1e-9), "use a longer --duration"),
    ] {
        let error = plan("p99.99<50ms", rate, seconds).expect_err("too few");
        assert!(error.starts_with("p99.99 needs 10,000 samples in a step"), "{error}");
        assert!(error.contains(words), "{error}");
    }
    let bound = Bound::parse("p99.99<50ms").expect("a bound");
    let random = Search::new(bound, None, None, Arrival::Poisson).expect("a search");
    assert_eq!(random.first, 3500.0, "it may be fewer");
}

#[test]
fn fewer_samples_than_were_planned_are_the_end_of_it() {
    let run = |rate, _| {
        let mut results = results();
        results.latency_us.figures.p99 = (rate > 100.0).then_some(5000.0);
        Some(results)
    };
    let (_, found) = search(&from(1000.0), run, |_| {});
    assert_eq!((found.knee, found.steps.len()), (None, 5));
    assert_eq!(found.ended, Ended::TooFewSamples);
}

#[test]
fn a_late_sender_and_lost_messages_are_no_held_rate() {
    let bound = Bound::parse("p99<1s").expect("a bound");
    let mut late = results();
    late.late = Some(crate::results::Late { missed: 5, sends: 10, lag_us: 2000.0 });
    assert!(bound.failing(&late).expect("late").contains("sender"));
    let mut lost = results();
    lost.unanswered = 1;
    assert_eq!(bound.failing(&lost).as_deref(), Some("1 message never answered"));
    let mut broken = results();
    broken.errors.insert("reset".to_owned(), 2);
    assert_eq!(bound.failing(&broken).as_deref(), Some("2 errors"));
    let mut few = results();
    few.latency_us.figures.p99 = None;
    assert!(bound.failing(&few).expect("few").contains("too few samples"));
}
