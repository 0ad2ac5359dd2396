//! Conditions on which a run fails: `p99>1ms`, or beside a baseline `p99>+10%`.

use crate::escape::OneLine;
use crate::results::compare::{self, Noise, noises};
use crate::results::show::typed;
use crate::results::{FIGURES, QUANTILES, Results, needed, show, shown, to_f64};
use crate::values;

/// What must not be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    /// As in [`FIGURES`], or one of [`COUNTS`].
    figure: &'static str,
    /// Whether it fails above the limit, or below it.
    is_above: bool,
    limit: Limit,
    text: String,
}

/// What a figure is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Limit {
    /// In microseconds, a second, or a number.
    Absolute(f64),
    /// That of the baseline, and so many percent of it more.
    Relative(f64),
    /// A percentage of all messages.
    Share(f64),
}

/// Figures that count something.
const COUNTS: [&str; 3] = ["errors", "unanswered", LOST];

/// Those that were never answered, by their number or as a share of all.
const LOST: &str = "lost";

/// A figure and whether it may be larger than it seems.
type Value = (f64, bool);

impl Condition {
    /// # Errors
    ///
    /// What would have been right instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let split = text.split_once('>').map(|parts| (parts, true));
        let split = split.or_else(|| text.split_once('<').map(|parts| (parts, false)));
        let Some(((figure, limit), is_above)) = split else {
            return Err(
                "expected a figure, > or <, and a limit, like 'p99>1ms' or 'p99>+10%'".into()
            );
        };
        let name = figure.trim().replace('.', "_");
        let known = FIGURES.into_iter().chain(COUNTS).find(|known| *known == name);
        let figure = known.ok_or(
            "expected one of min, mean, p50, p90, p95, p99, p99.9, p99.99, max, rate, errors, \
             unanswered and lost in front of > or <",
        )?;
        let limit = limit.trim();
        let limit = match limit.strip_suffix('%') {
            Some(percent) if figure == LOST && !percent.starts_with(['+', '-']) => {
                Limit::Share(share(percent.trim())?)
            }
            Some(percent) => Limit::Relative(relative(percent.trim())?),
            None => Limit::Absolute(absolute(figure, limit)?),
        };
        Ok(Self { figure, is_above, limit, text: text.to_owned() })
    }

    /// Whether it can't be judged without a baseline.
    pub(crate) const fn is_relative(&self) -> bool {
        matches!(self.limit, Limit::Relative(_))
    }

    /// Whether it says how many messages may be lost.
    pub(crate) fn is_of_losses(&self) -> bool {
        ["unanswered", LOST].contains(&self.figure)
    }

    /// Says why a run fails, if it does. What can't be judged fails, too.
    pub(crate) fn failure(&self, results: &Results, baseline: Option<&Results>) -> Option<String> {
        let reason = match self.limit {
            Limit::Absolute(limit) => self.absolutely(results, limit),
            Limit::Share(percent) => self.as_share(results, percent),
            Limit::Relative(percent) => self.relatively(results, baseline, percent),
        }?;
        Some(format!("--fail-if '{}': {reason}", OneLine(&self.text)))
    }

    fn absolutely(&self, results: &Results, limit: f64) -> Option<String> {
        let Some((value, is_bound)) = self.value(results) else {
            return Some(self.few("this run", results));
        };
        let shown = self.shown((value, is_bound));
        let bound = self.shown((limit, false));
        let (name, side) = (typed(self.figure), if self.is_above { "above" } else { "below" });
        match self.is_beyond(value, limit) {
            // It may be larger, which makes it no less so.
            true if self.is_above || !is_bound => {
                Some(format!("{name} is {shown}, {side} {bound}"))
            }
            false if !self.is_above || !is_bound => None,
            _ => Some(format!(
                "{name} cannot be judged: it is {shown}, because messages were never answered"
            )),
        }
    }

    fn as_share(&self, results: &Results, percent: f64) -> Option<String> {
        let side = if self.is_above { "above" } else { "below" };
        let lost = results.lost() * 100.0;
        let all = results.messages.saturating_add(results.unanswered);
        if all == 0 {
            return Some(format!("{LOST} cannot be judged: no message was due"));
        }
        let shown = show::share(results.unanswered, all);
        let fails = self.is_beyond(lost, percent);
        fails.then(|| format!("{LOST} is {shown}, {side} {percent} %"))
    }

    fn relatively(
        &self,
        results: &Results,
        baseline: Option<&Results>,
        percent: f64,
    ) -> Option<String> {
        // Whoever gave it gave a baseline: that is seen to before the run.
        let baseline = baseline?;
        let Some(mine) = self.value(results) else { return Some(self.few("this run", results)) };
        let Some(theirs) = self.value(baseline) else {
            return Some(self.few("the baseline", baseline));
        };
        let name = typed(self.figure);
        let beside = |mine, theirs| {
            format!("{} beside {} in the baseline", self.shown(mine), self.shown(theirs))
        };
        if let Some(noise) = self.noise(results, baseline) {
            let (mine, theirs) = noise.means();
            let beside = beside((mine, false), (theirs, false));
            let fails =
                if self.is_above { noise.is_above(percent) } else { noise.is_below(percent) };
            let difference = compare::signed(noise.percent());
            return fails.then(|| format!("{name} is {beside}: {difference} {}", noise.shown()));
        }
        let beside = beside(mine, theirs);
        let limit = theirs.0 * (1.0 + percent / 100.0);
        let fails = self.is_beyond(mine.0, limit);
        // What may be larger than it seems on the side that would change the answer.
        let is_open = if fails == self.is_above { theirs.1 } else { mine.1 };
        if is_open {
            return Some(format!(
                "{name} cannot be judged: it is {beside}, because messages were never answered"
            ));
        }
        let difference = if theirs.0 > 0.0 {
            compare::signed((mine.0 / theirs.0 - 1.0) * 100.0)
        } else {
            "more than none".to_owned()
        };
        fails.then(|| format!("{name} is {beside}: {difference}"))
    }

    fn noise(&self, results: &Results, baseline: &Results) -> Option<Noise> {
        let name = match self.figure {
            "rate" => "rate".to_owned(),
            figure => format!("latency_us.{figure}"),
        };
        noises(results, baseline).get(&name).copied()
    }

    fn is_beyond(&self, value: f64, limit: f64) -> bool {
        if self.is_above { value > limit } else { value < limit }
    }

    fn value(&self, results: &Results) -> Option<Value> {
        match self.figure {
            "errors" => Some((to_f64(results.errors.values().sum()), false)),
            "unanswered" | LOST => Some((to_f64(results.unanswered), false)),
            name => compare::figure(results, name),
        }
    }

    fn shown(&self, (value, is_bound): Value) -> String {
        let value = if COUNTS.contains(&self.figure) {
            format!("{value:.0}")
        } else {
            shown(self.figure, value)
        };
        if is_bound { format!("at least {value}") } else { value }
    }

    /// A figure is not there.
    fn few(&self, of: &str, results: &Results) -> String {
        let quantile = QUANTILES.into_iter().find(|quantile| quantile.1 == self.figure);
        let needed = quantile.map_or(1, |(quantile, _)| needed(quantile));
        format!(
            "{} cannot be judged: it needs {}, and {of} has {}",
            typed(self.figure),
            show::counted(needed, "sample"),
            show::count(results.latency_us.samples)
        )
    }
}

/// A limit in percent of all messages.
fn share(percent: &str) -> Result<f64, String> {
    let is_plain = percent.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let share = percent.parse().ok().filter(|share| is_plain && (0.0..=100.0).contains(share));
    share.ok_or_else(|| "expected a share from 0% to 100%, like 0.1%".into())
}

/// A limit in percent of the baseline, with its sign.
fn relative(percent: &str) -> Result<f64, String> {
    let expected =
        || "expected a difference to the baseline with its sign, like +10% or -5%".to_owned();
    let (sign, number) = match percent.strip_prefix('+') {
        Some(number) => (1.0, number),
        None => (-1.0, percent.strip_prefix('-').ok_or_else(expected)?),
    };
    let is_plain = number.starts_with(|first: char| first.is_ascii_digit())
        && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 =
        if is_plain { number.parse().map_err(|_| expected())? } else { return Err(expected()) };
    let percent = sign * number;
    if percent > -100.0 && percent < 1e9 {
        return Ok(percent);
    }
    Err("expected more than -100%, and less than a thousand million".into())
}

/// A limit with the unit that the figure has.
fn absolute(figure: &str, text: &str) -> Result<f64, String> {
    match figure {
        "rate" => values::rate(text),
        "errors" | "unanswered" | LOST => values::count(text, 0, u64::MAX).map(to_f64),
        _ => values::pause(text).map(|limit| limit.as_secs_f64() * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::samples::repeats;
    use crate::results::samples::results;

    #[track_caller]
    fn failure(text: &str, new: &Results, old: &Results) -> Option<String> {
        Condition::parse(text).expect(text).failure(new, Some(old))
    }

    #[track_caller]
    fn expect_failure(text: &str, new: &Results, old: &Results, words: &str) {
        let line = failure(text, new, old).unwrap_or_else(|| panic!("{text} does not fail"));
        assert!(line.starts_with(&format!("--fail-if '{text}': ")), "{line}");
        assert!(line.contains(words), "{words} is missing: {line}");
    }

    #[test]
    fn a_condition_is_a_figure_and_a_limit_with_its_unit() {
        for text in [
            "p99>1ms",
            "p99.9 > 500us",
            "p99_99>1s",
            "min<10us",
            "max>1s",
            "rate<50k",
            "errors>0",
            "unanswered>10",
            "p99>+10%",
            "rate<-5%",
            "mean>+0.5 %",
            "p95>0",
        ] {
            assert!(Condition::parse(text).is_ok(), "{text}");
        }
        for (text, words) in [
            ("", "like 'p99>1ms'"),
            ("p99=1ms", "like 'p99>1ms'"),
            ("p98>1ms", "one of min, mean"),
            ("p99>1", "with its unit"),
            ("p99>=1ms", "expected a duration"),
            ("rate<1ms", "expected a rate"),
            ("errors>1.5", "expected a whole number"),
            ("p99>10%", "with its sign"),
            ("p99>+x%", "with its sign"),
            ("p99>+inf%", "with its sign"),
            ("p99>+1e3%", "with its sign"),
            ("rate<-100%", "more than -100%"),
        ] {
            let error = Condition::parse(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!(Condition::parse("p99>+10%").expect("relative").is_relative());
        assert!(!Condition::parse("p99>10ms").expect("absolute").is_relative());
    }

    #[test]
    fn figures_fail_beyond_their_limits_and_not_within_them() {
        // The 99th percentile of 10 to 2,000 µs is 1,980 µs.
        let run = results();
        expect_failure("p99>1ms", &run, &run, "p99 is 1.98 ms, above 1.00 ms");
        assert_eq!(failure("p99>2ms", &run, &run), None);
        expect_failure("rate<2k", &run, &run, "rate is 1,000/s, below 2,000/s");
        assert_eq!(failure("rate<1k", &run, &run), None);
        assert_eq!(failure("errors>0", &run, &run), None);
        let mut broken = results();
        broken.errors.insert("reset".to_owned(), 3);
        broken.unanswered = 1;
        expect_failure("errors>2", &broken, &run, "errors is 3, above 2");
        expect_failure("unanswered>0", &broken, &run, "unanswered is 1, above 0");
        expect_failure("errors>+10%", &broken, &run, "more than none");
        assert_eq!(failure("errors>3", &broken, &run), None);
    }

    #[test]
    fn what_can_not_be_judged_fails_in_its_own_words() {
        let run = results();
        let few = "p99.9 cannot be judged: it needs 1,000 samples, and this run has 200";
        expect_failure("p99.9>1h", &run, &run, few);
        expect_failure("p99.9<1us", &run, &run, few);
        let mut enough = results();
        enough.latency_us.figures.p99_9 = Some(5.0);
        expect_failure("p99.9>+10%", &enough, &run, "and the baseline has 200");
        expect_failure("p99.9>+10%", &run, &enough, "and this run has 200");
    }

    #[test]
    fn a_lower_bound_fails_above_a_limit_and_is_never_known_to_lie_below_one() {
        let (mut run, exact) = (results(), results());
        run.latency_us.lower_bounds.push("p99".to_owned());
        let unknown = "p99 cannot be judged: it is at least 1.98 ms";
        expect_failure("p99>1ms", &run, &exact, "p99 is at least 1.98 ms, above 1.00 ms");
        expect_failure("p99>5ms", &run, &exact, unknown);
        expect_failure("p99<5ms", &run, &exact, unknown);
        assert_eq!(failure("p99<1ms", &run, &exact), None);
        expect_failure("p99>-10%", &run, &exact, "p99 is at least 1.98 ms beside 1.98 ms");
        expect_failure("p99>+10%", &run, &exact, unknown);
        expect_failure("p99>-10%", &exact, &run, "cannot be judged");
        assert_eq!(failure("p99>+10%", &exact, &run), None, "the baseline is larger yet");
        expect_failure("p99<+10%", &exact, &run, "1.98 ms beside at least 1.98 ms");
    }

    #[test]
    fn beside_a_baseline_the_excess_has_to_be_beyond_the_noise() {
        let of = |figures: &[f64]| {
            let middle = figures[1];
            let mut run = Results { repeats: repeats(figures), rate: middle, ..results() };
            run.latency_us.figures.p99 = Some(middle);
            run
        };
        let (old, new) = (of(&[99.0, 100.0, 101.0]), of(&[119.0, 120.0, 121.0]));
        expect_failure(
            "p99>+10%",
            &new,
            &old,
            "p99 is 120 µs beside 100 µs in the baseline: +20.0 % ±",
        );
        assert_eq!(failure("p99>+10%", &old, &old), None);
        assert_eq!(failure("p99>+18%", &new, &old), None, "20 % are within the noise of 18 %");
        expect_failure("rate<-5%", &old, &new, "−16.7 %");
        let wild = of(&[60.0, 120.0, 240.0]);
        assert_eq!(failure("p99>+10%", &wild, &old), None);
        // Without repeats it is the figures themselves.
        let single = Results { repeats: Vec::new(), ..wild };
        expect_failure("p99>+10%", &single, &old, "+20.0 %");
    }
}
