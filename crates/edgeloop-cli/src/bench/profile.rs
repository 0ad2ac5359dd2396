//! The profile of a run: steps of the open loop's rate, and when that makes messages due.

use std::time::Duration;

use crate::results::{self, MOST_STEPS, to_f64};
use crate::values;

/// Steps of a rate, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Profile {
    pub(crate) steps: Vec<Step>,
    /// As it was given.
    pub(crate) text: String,
}

/// A part of a run in which the rate stays as it is, or changes evenly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    /// Messages a second at its beginning and at its end.
    pub(crate) rates: [f64; 2],
    pub(crate) length: Duration,
}

impl Profile {
    /// # Errors
    ///
    /// What would have been right instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let steps = text.split(',').map(Step::parse).collect::<Result<Vec<_>, _>>()?;
        if steps.len() > MOST_STEPS {
            return Err(format!("expected at most {MOST_STEPS} steps, not {}", steps.len()));
        }
        let profile = Self { steps, text: text.to_owned() };
        if profile.messages() <= 0.0 {
            return Err("expected a rate above 0 in one of the steps".into());
        }
        if profile.length() > values::LONGEST {
            return Err("expected at most a year in all".into());
        }
        Ok(profile)
    }

    pub(crate) fn length(&self) -> Duration {
        self.steps.iter().map(|step| step.length).fold(Duration::ZERO, Duration::saturating_add)
    }

    /// The index of the step in which a time lies, or of the last one.
    pub(crate) fn step(&self, time: Duration) -> usize {
        let mut end = Duration::ZERO;
        let over = self.steps.iter().take_while(|step| {
            end += step.length;
            end <= time
        });
        over.count().min(self.steps.len() - 1)
    }

    /// How many messages are due in all.
    pub(crate) fn messages(&self) -> f64 {
        self.steps.iter().map(Step::messages).sum()
    }

    /// When messages are due, behind a warm-up at the first rate.
    pub(crate) fn curve(&self, warmup: Duration) -> Curve {
        let first = self.steps.first().map_or(0.0, |step| step.rates[0]);
        let warmup = Step { rates: [first; 2], length: warmup };
        let (mut begin, mut count) = (Duration::ZERO, 0.0);
        let pieces = std::iter::once(&warmup).chain(&self.steps).map(|&step| {
            let piece = Piece { begin: nanos(begin), count, step };
            begin += step.length;
            count += step.messages();
            piece
        });
        Curve { pieces: pieces.collect(), count, end: nanos(begin) }
    }
}

impl Step {
    fn parse(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "expected steps of a rate and a duration, like 1k:10s,5k..20k:30s, where 0 is a \
                 pause, not '{text}'"
            )
        };
        let rate = |text: &str| {
            let zero = text.trim_start_matches('0').is_empty() && !text.is_empty();
            if zero { Ok(0.0) } else { values::rate(text) }
        };
        let (rates, length) = text.trim().split_once(':').ok_or_else(expected)?;
        let (begin, end) = rates.split_once("..").unwrap_or((rates, rates));
        let within = |error: String| format!("{error}, in '{}'", text.trim());
        let rates = [rate(begin).map_err(within)?, rate(end).map_err(within)?];
        Ok(Self { rates, length: values::span(length).map_err(within)? })
    }

    /// How many messages are due in it.
    fn messages(&self) -> f64 {
        f64::midpoint(self.rates[0], self.rates[1]) * self.length.as_secs_f64()
    }
}

/// How many messages are due by when.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Curve {
    pieces: Vec<Piece>,
    /// How many are due in all.
    count: f64,
    /// When it is over, in nanoseconds.
    end: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    /// When it begins, in nanoseconds, and how many were due before.
    begin: f64,
    count: f64,
    step: Step,
}

impl Curve {
    /// When so many messages have been due, in nanoseconds from the beginning on: the message with
    /// that number is due then. The end of time behind the last one.
    pub(crate) fn time(&self, count: f64) -> f64 {
        if count >= self.count {
            return f64::INFINITY;
        }
        // The last one that begins by then. Pauses have no messages, so the next begins at the
        // same.
        let piece = self.pieces.partition_point(|piece| piece.count <= count).saturating_sub(1);
        self.pieces[piece].time(count)
    }

    /// How many messages are due before this time.
    pub(crate) fn count(&self, time: f64) -> f64 {
        if time >= self.end {
            return self.count;
        }
        let piece = self.pieces.partition_point(|piece| piece.begin <= time).saturating_sub(1);
        self.pieces[piece].count(time)
    }
}

impl Piece {
    fn time(&self, count: f64) -> f64 {
        let ([begin, end], length) = (self.step.rates, self.step.length.as_secs_f64());
        let past = count - self.count;
        let seconds = if begin <= end {
            part(past, begin, (end - begin) / length)
        } else {
            // From its end, where the rate is lowest: no difference of like numbers is divided by.
            let left = (self.step.messages() - past).max(0.0);
            length - part(left, end, (begin - end) / length)
        };
        self.begin + (seconds * 1e9).clamp(0.0, nanos(self.step.length))
    }

    fn count(&self, time: f64) -> f64 {
        let [begin, end] = self.step.rates;
        let (seconds, length) = ((time - self.begin) / 1e9, self.step.length.as_secs_f64());
        self.count + seconds * (begin + (end - begin) / length * seconds / 2.0)
    }
}

/// The seconds in which so many messages are due, from a rate on that grows by so much a second.
fn part(count: f64, rate: f64, growth: f64) -> f64 {
    // Of the two forms of the solution of a quadratic equation, the one without a difference.
    let root = (rate * rate + 2.0 * growth * count).sqrt();
    if count > 0.0 { 2.0 * count / (rate + root) } else { 0.0 }
}

/// Exact for 104 days.
fn nanos(duration: Duration) -> f64 {
    to_f64(results::nanos(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: &str) -> Profile {
        Profile::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Whole numbers of the rates and the seconds of a step.
    type Whole = (i128, i128, i128);

    /// Whether the messages of one step are due to the nanosecond, in exact arithmetic: by the
    /// nanosecond before, the count must not have been reached, and by the one behind it must.
    #[track_caller]
    fn expect_exact((begin, end, length): Whole, counts: impl Iterator<Item = i128>) {
        let curve = profile(&format!("{begin}..{end}:{length}s")).curve(Duration::ZERO);
        // Both sides times 2 length 10^18.
        let reached = |nanos: i128, count: i128| {
            let linear = 2 * length * begin * nanos * 1_000_000_000;
            linear + (end - begin) * nanos * nanos >= count * 2 * length * 10_i128.pow(18)
        };
        for count in counts {
            #[expect(clippy::cast_precision_loss, reason = "exact")]
            let time = curve.time(count as f64);
            #[expect(clippy::cast_possible_truncation, reason = "within some hours")]
            let nanos = time.round() as i128;
            let place = format!("message {count} of {begin}..{end}:{length}s at {nanos}");
            assert!(count == 0 || !reached(nanos - 1, count), "{place} is late");
            assert!(reached(nanos + 1, count), "{place} is early");
        }
    }

    #[test]
    fn an_hour_is_exact_to_a_nanosecond() {
        let some =
            |last: i128| (0..2000).map(move |number| number * last / 2000).chain(last - 2000..last);
        for (begin, end) in
            [(3, 3), (1000, 1000), (1, 1_000_001), (5000, 20_000), (0, 777), (1_000_000, 2)]
        {
            let all = (begin + end) * 3600 / 2;
            expect_exact((begin, end, 3600), some(all).filter(|&count| count >= 0));
        }
    }

    #[test]
    fn steps_follow_each_other_and_a_pause_has_no_message() {
        let curve = profile("10:1s,20:1s,0:5s,10..30:1s").curve(Duration::ZERO);
        let times = [(0.0, 0.0), (9.0, 0.9e9), (10.0, 1e9), (29.0, 1.95e9), (30.0, 7e9)];
        for (count, time) in times {
            assert!((curve.time(count) - time).abs() < 1.0, "{count}: {}", curve.time(count));
        }
        // Of 20 in the last second, 10 x + 10 x^2 are due after x seconds.
        assert!((curve.time(45.0) - 7.822_875_655e9).abs() < 1.0, "{}", curve.time(45.0));
        assert!(curve.time(50.0).is_infinite());
        for time in [0.0, 0.5e9, 1.2e9, 1.999e9, 7.1e9, 7.9e9] {
            assert!((curve.time(curve.count(time)) - time).abs() < 2.0, "{time}");
        }
        assert_eq!((curve.count(3e9), curve.count(9e9)), (30.0, 50.0));
    }

    #[test]
    fn the_warm_up_has_the_first_rate() {
        let curve = profile("10..30:1s").curve(Duration::from_secs(2));
        assert_eq!(curve.time(10.0), 1e9);
        assert_eq!(curve.time(20.0), 2e9);
        assert!((curve.time(39.999_999).round() - 3e9).abs() < 1e3);
    }

    #[test]
    fn profiles_are_rates_and_durations() {
        let good = profile("1k:10s, 2k:1m,5k..20k:30s,0:500ms,0..0.5:1s");
        assert_eq!((good.steps.len(), good.steps[2].rates), (5, [5000.0, 20_000.0]));
        assert_eq!(good.length(), Duration::from_millis(101_500));
        assert!((good.messages() - (10_000.0 + 120_000.0 + 375_000.0 + 0.25)).abs() < 1e-6);
        let many = vec!["1:1s"; 101].join(",");
        let bad = [
            "",
            "1k",
            "1k:",
            ":1s",
            "1k:10",
            "1k:0s",
            "-1:1s",
            "1..:1s",
            "1..2..3:1s",
            "1k:10s,",
            "x:1s",
            "2G:1s",
            "0:5s",
            "0..0:5s",
            "1:1000years",
            "1:300days,1:300days",
            &many,
        ];
        for text in bad {
            assert!(Profile::parse(text).expect_err(text).contains("expected"), "{text}");
        }
    }
}
