//! A run beside a baseline: which differences are larger than what differs from run to run anyway.
//!
//! The method is Welch's t-test on the logarithms of what the repeats came to, at 99 %: B. L.
//! Welch, "The generalization of Student's problem when several different population variances are
//! involved", Biometrika 34 (1947). Logarithms, because times and rates differ by factors.

use std::collections::BTreeMap;
use std::fmt;

use super::repeats::{FIGURES, figures, shown};
use super::run::Results;
use super::show::{self, typed};
use super::units::to_f64;

/// Of fewer runs on a side no noise is told.
const LEAST_RUNS: usize = 3;

/// Differences up to this are never told apart, as a logarithm: histograms have steps of one part
/// in a thousand, and each of two figures lies anywhere in its step.
const RESOLUTION: f64 = 0.002;

/// Student's t for 99 % on both sides, by degrees of freedom from 1 on.
///
/// From the NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2, column 0.995.
const STUDENT: [f64; 30] = [
    63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169, 3.106, 3.055, 3.012,
    2.977, 2.947, 2.921, 2.898, 2.878, 2.861, 2.845, 2.831, 2.819, 2.807, 2.797, 2.787, 2.779,
    2.771, 2.763, 2.756, 2.750,
];

/// The same for more degrees of freedom: from so many on.
const STUDENT_FROM: [(f64, f64); 4] = [(100.0, 2.626), (80.0, 2.639), (60.0, 2.660), (40.0, 2.704)];

/// Student's t for at least so many degrees of freedom. It is never too small.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
fn student(freedom: f64) -> f64 {
    if let Some((_, t)) = STUDENT_FROM.into_iter().find(|(from, _)| freedom >= *from) {
        return t;
    }
    STUDENT[(freedom as usize).clamp(1, STUDENT.len()) - 1]
}

/// How far apart two series of runs are, and how far runs that are equal may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Noise {
    /// The logarithms of the geometric means, and their difference.
    new: f64,
    old: f64,
    difference: f64,
    /// What the difference may be off by, in 99 of 100 comparisons.
    noise: f64,
}

impl Noise {
    /// Compares two series. None if one is too short, or has figures that have no logarithm.
    pub(crate) fn of(new: &[f64], old: &[f64]) -> Option<Self> {
        let (new, old) = (Series::of(new)?, Series::of(old)?);
        let variance = new.of_mean() + old.of_mean();
        let part = |series: &Series| series.of_mean().powi(2) / (series.count - 1.0);
        let parts = part(&new) + part(&old);
        let freedom = match variance.powi(2) / parts {
            // With few runs on one side alone Welch's are too many, and differences are found
            // between equal runs three times as often as they should be. So few are always enough.
            _ if new.count != old.count => new.count.min(old.count) - 1.0,
            freedom if freedom.is_finite() => freedom,
            _ => f64::INFINITY,
        };
        let noise = (student(freedom) * variance.sqrt()).max(RESOLUTION);
        Some(Self { new: new.mean, old: old.mean, difference: new.mean - old.mean, noise })
    }

    /// The difference in percent.
    pub(crate) fn percent(&self) -> f64 {
        self.difference.exp_m1() * 100.0
    }

    /// The noise in percent.
    pub(crate) fn noise_percent(&self) -> f64 {
        self.noise.exp_m1() * 100.0
    }

    /// The noise with its unit. Where it is larger than what it belongs to it is a factor.
    pub(crate) fn shown(&self) -> String {
        match self.noise.exp() {
            factor if factor < 2.0 => format!("± {:.1} %", (factor - 1.0) * 100.0),
            factor if factor < 1000.0 => format!("×÷ {factor:.1}"),
            _ => "unbounded".to_owned(),
        }
    }

    /// The geometric means of both series.
    pub(crate) fn means(&self) -> (f64, f64) {
        (self.new.exp(), self.old.exp())
    }

    /// Whether the difference is larger than the noise.
    pub(crate) fn is_beyond(&self) -> bool {
        self.difference.abs() > self.noise
    }

    /// Whether the difference is larger than so many percent, and by more than the noise; or
    /// smaller.
    pub(crate) fn is_above(&self, percent: f64) -> bool {
        self.difference - self.noise > (percent / 100.0).ln_1p()
    }

    pub(crate) fn is_below(&self, percent: f64) -> bool {
        self.difference + self.noise < (percent / 100.0).ln_1p()
    }

    /// What the difference says of a figure.
    pub(crate) fn verdict(&self, name: &str) -> Verdict {
        let is_more_better = name == "rate";
        match (self.is_beyond(), (self.difference > 0.0) == is_more_better) {
            (false, _) => Verdict::Noise,
            (true, true) => Verdict::Better,
            (true, false) => Verdict::Worse,
        }
    }
}

/// What a difference says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing: equal runs may differ as much.
    Noise,
    Better,
    Worse,
}

impl Verdict {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Noise => "within the noise",
            Self::Better => "better",
            Self::Worse => "worse",
        }
    }
}

/// The logarithms of a figure of several runs.
struct Series {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Series {
    fn of(values: &[f64]) -> Option<Self> {
        let is_usable = |value: &f64| value.is_finite() && *value > 0.0;
        if values.len() < LEAST_RUNS || !values.iter().all(is_usable) {
            return None;
        }
        let count = to_f64(values.len() as u64);
        let mean = values.iter().map(|value| value.ln()).sum::<f64>() / count;
        let squares = values.iter().map(|value| (value.ln() - mean).powi(2));
        Some(Self { count, mean, variance: squares.sum::<f64>() / (count - 1.0) })
    }

    /// The variance of the mean.
    fn of_mean(&self) -> f64 {
        self.variance / self.count
    }
}

/// The noise of each figure where it is known, by the name that the figure has in results.
pub(crate) fn noises(new: &Results, old: &Results) -> BTreeMap<String, Noise> {
    let names = FIGURES.into_iter().flat_map(|name| match name {
        "rate" => vec![name.to_owned()],
        name => vec![format!("latency_us.{name}"), format!("answered_us.{name}")],
    });
    let noise = |name: String| {
        let noise = Noise::of(&figures(&new.repeats, &name)?, &figures(&old.repeats, &name)?)?;
        Some((name, noise))
    };
    names.filter_map(noise).collect()
}

/// What tells of a comparison whose noise is not known.
pub(crate) const UNKNOWN: &str = "noise unknown: use --repeat 5 on both sides";

/// What tells of one whose noise is known.
const MEANS: &str = "with noise: geometric means of the repeats; equal runs differ by no more in 99 of 100 \
                     comparisons";

/// A figure of results by its short name: `rate`, `p99`. And whether it is a lower bound.
pub(crate) fn figure(results: &Results, name: &str) -> Option<(f64, bool)> {
    if name == "rate" {
        return Some((results.rate, false));
    }
    let latency = &results.latency_us;
    latency.figures.get(name).map(|value| (value, latency.is_lower_bound(name)))
}

/// The options in which two runs differ, with the values of both.
fn differing(new: &Results, old: &Results) -> Vec<String> {
    let settings = |results: &Results| {
        let options = &results.options;
        let number = |number: Option<f64>| {
            number.map_or_else(|| "none".to_owned(), |number| number.to_string())
        };
        [
            ("mode", options.mode.clone()),
            ("connections", options.connections.to_string()),
            ("active", options.active.to_string()),
            ("size", options.size.to_string()),
            ("send", options.send.join(", ")),
            ("reply", options.reply.join(", ")),
            ("profile", options.profile.clone().unwrap_or_else(|| "none".to_owned())),
            ("pipeline", options.pipeline.to_string()),
            ("rate", number(results.asked_rate)),
            ("arrival", options.arrival.clone().unwrap_or_else(|| "none".to_owned())),
            ("duration_s", number(options.duration_s)),
            ("messages", number(options.messages.map(to_f64))),
            ("threads", options.threads.to_string()),
            ("verify", if results.verify.on { "on" } else { "off" }.to_owned()),
        ]
    };
    let both = settings(new).into_iter().zip(settings(old));
    both.filter(|(mine, theirs)| mine != theirs)
        .map(|((name, mine), (_, theirs))| format!("{name} {mine} and {theirs}"))
        .collect()
}

/// The comparison as the summary shows it.
pub(crate) struct Comparison<'a> {
    pub(crate) new: &'a Results,
    pub(crate) old: &'a Results,
    /// Where the old results come from.
    pub(crate) name: &'a str,
}

impl fmt::Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { new, old, name } = *self;
        let differing = differing(new, old);
        writeln!(f, "\nBeside {}, of {}", crate::escape::OneLine(name), old.started)?;
        if !differing.is_empty() {
            writeln!(f, "The runs had different options: {}", differing.join(", "))?;
        }
        let heads = ["this run", "baseline", "difference", "noise"];
        let [this, other, difference, noise] = heads;
        writeln!(f, "  {:<12}{this:>14}{other:>14}{difference:>14}{noise:>12}", "")?;
        let noises = noises(new, old);
        for name in FIGURES {
            let (Some(mine), Some(theirs)) = (figure(new, name), figure(old, name)) else {
                continue;
            };
            let full = if name == "rate" { name.to_owned() } else { format!("latency_us.{name}") };
            let noise = noises.get(&full);
            // The means of the repeats, whose difference it is.
            let (mine, theirs) = noise.map_or((mine, theirs), |noise| {
                let (new, old) = noise.means();
                ((new, false), (old, false))
            });
            let cell = |(value, is_bound): (f64, bool)| {
                format!("{}{}", if is_bound { "≥ " } else { "" }, shown(name, value))
            };
            let difference = match noise {
                Some(noise) => signed(noise.percent()),
                None => plain_difference(mine, theirs),
            };
            let told = noise.map_or_else(String::new, Noise::shown);
            let verdict = noise.map_or("", |noise| noise.verdict(name).name());
            let line = format!(
                "  {:<12}{:>14}{:>14}{difference:>14}{told:>12}  {verdict}",
                typed(name),
                cell(mine),
                cell(theirs)
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        let about = if noises.is_empty() { UNKNOWN } else { MEANS };
        writeln!(f, "  {about}")
    }
}

/// A difference whose noise is not known. It is a bound itself where one of the two may be larger.
fn plain_difference(new: (f64, bool), old: (f64, bool)) -> String {
    if old.0 <= 0.0 {
        return if new.0 <= 0.0 { signed(0.0) } else { "–".to_owned() };
    }
    let difference = signed((new.0 / old.0 - 1.0) * 100.0);
    match (new.1, old.1) {
        (false, false) => difference,
        (true, false) => format!("≥ {difference}"),
        (false, true) => format!("≤ {difference}"),
        (true, true) => "–".to_owned(),
    }
}

/// A difference in percent, with its sign.
pub(crate) fn signed(percent: f64) -> String {
    let sign = match percent {
        percent if percent.abs() < 0.05 => return "0.0 %".to_owned(),
        percent if percent < 0.0 => '−',
        _ => '+',
    };
    match percent.abs() {
        percent if percent < 99.95 => format!("{sign}{percent:.1} %"),
        percent => format!("{sign}{} %", show::rate(percent)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::samples::repeats;
    use crate::results::samples::results;

    /// Numbers that are the same each time: splitmix64 (Steele, Lea and Flood, 2014).
    struct Random(u64);

    impl Random {
        /// From 0 to 1, both left out.
        fn unit(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.0;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (to_f64((word ^ (word >> 31)) >> 11) + 0.5) / 2_f64.powi(53)
        }

        /// Normally distributed (Box and Muller, 1958).
        fn normal(&mut self) -> f64 {
            let (radius, angle) = (self.unit(), self.unit());
            (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
        }

        /// Runs around this figure, that differ by so much from each other.
        fn runs(&mut self, count: usize, figure: f64, spread: f64) -> Vec<f64> {
            (0..count).map(|_| figure * (spread * self.normal()).exp()).collect()
        }
    }

    const TRIALS: u32 = 5000;

    /// In which share of trials a difference is found between runs of these figures.
    fn found(counts: (usize, usize), ratio: f64, spreads: (f64, f64)) -> f64 {
        let mut random = Random(17);
        let trial = |_: &u32| {
            let old = random.runs(counts.1, 200.0, spreads.1);
            let new = random.runs(counts.0, 200.0 * ratio, spreads.0);
            Noise::of(&new, &old).expect("enough runs").is_beyond()
        };
        f64::from(u32::try_from((0..TRIALS).filter(trial).count()).expect("few"))
            / f64::from(TRIALS)
    }

    #[test]
    fn equal_runs_are_said_to_differ_in_one_comparison_of_a_hundred_at_the_most() {
        for counts in [(3, 3), (5, 5), (10, 10), (3, 10), (5, 20)] {
            for spreads in [(0.01, 0.01), (0.2, 0.2), (0.05, 0.2), (0.2, 0.05)] {
                let share = found(counts, 1.0, spreads);
                // Three standard deviations of a count of 50 in 5,000 are 0.4 %.
                assert!(share <= 0.014, "{counts:?} {spreads:?}: {share}");
            }
        }
    }

    #[test]
    fn runs_that_differ_by_a_known_amount_are_said_to() {
        // By four times what single runs differ by, of five on both sides: in nine of ten.
        let share = found((5, 5), 0.20_f64.exp(), (0.05, 0.05));
        assert!(share >= 0.9, "{share}");
        let share = found((10, 10), 0.10_f64.exp(), (0.05, 0.05));
        assert!(share >= 0.9, "{share}");
        let share = found((5, 5), 2.0, (0.1, 0.1));
        assert!(share >= 0.99, "{share}");
    }

    #[test]
    fn an_excess_over_a_limit_is_found_by_its_own_noise() {
        let mut random = Random(99);
        let mut share = |ratio: f64, percent: f64| {
            let trial = |_: &u32| {
                let old = random.runs(5, 200.0, 0.03);
                let new = random.runs(5, 200.0 * ratio, 0.03);
                Noise::of(&new, &old).expect("enough runs").is_above(percent)
            };
            (0..TRIALS).filter(trial).count()
        };
        // Half of what is beyond the noise lies on one side.
        assert!(share(1.10, 10.0) <= 45, "at the limit");
        assert_eq!(share(1.0, 10.0), 0);
        assert!(share(1.35, 10.0) > 4500);
    }

    #[test]
    fn what_a_histogram_does_not_tell_apart_is_no_difference() {
        let noise = Noise::of(&[20.031; 5], &[20.0; 5]).expect("enough");
        assert!(!noise.is_beyond() && (noise.noise_percent() - 0.2).abs() < 0.001);
        assert!(Noise::of(&[20.1; 5], &[20.0; 5]).expect("enough").is_beyond());
        let shown = |new: &[f64]| Noise::of(new, &[20.0; 3]).expect("enough").shown();
        assert_eq!(shown(&[20.0; 3]), "± 0.2 %");
        assert_eq!(shown(&[20.0, 30.0, 20.0]), "×÷ 3.8");
        assert_eq!(shown(&[1.0, 1e6, 1.0]), "unbounded");
    }

    #[test]
    fn few_runs_and_figures_that_are_none_have_no_noise() {
        let three = [1.0, 2.0, 3.0];
        assert!(Noise::of(&three[..2], &three).is_none() && Noise::of(&three, &[]).is_none());
        assert!(Noise::of(&[0.0, 1.0, 2.0], &three).is_none());
        assert!(Noise::of(&three, &three).is_some());
    }

    #[test]
    fn quantiles_of_student_grow_with_fewer_runs() {
        let quantiles = [student(0.5), student(1.0), student(4.9), student(30.0), student(1e9)];
        assert_eq!(quantiles, [63.657, 63.657, 4.604, 2.750, 2.626]);
        assert_eq!(student(39.9), 2.750);
        assert!((1..200_u32).all(|freedom| student(f64::from(freedom)) > 2.576));
    }

    fn results_of(figures: &[f64]) -> Results {
        Results { repeats: repeats(figures), ..results() }
    }

    #[test]
    fn the_summary_says_which_differences_are_beyond_the_noise() {
        let old = results_of(&[100.0, 101.0, 99.0]);
        let new = results_of(&[150.0, 151.0, 149.0]);
        let text = Comparison { new: &new, old: &old, name: "old.json" }.to_string();
        assert!(text.contains("Beside old.json, of 2026"), "{text}");
        let line = |name: &str| {
            let found = text.lines().find(|line| line.trim_start().starts_with(name));
            found.unwrap_or_else(|| panic!("{name}: {text}")).to_owned()
        };
        assert!(line("rate").ends_with("better"), "{text}");
        assert!(line("p99").contains("+50.0 %") && line("p99").ends_with("worse"), "{text}");
        let same = Comparison { new: &old, old: &old, name: "a" }.to_string();
        assert!(same.contains("within the noise") && !same.contains("worse"), "{same}");
        let alone = Comparison { new: &results(), old: &old, name: "a" }.to_string();
        assert!(alone.contains(UNKNOWN) && !alone.contains('±'), "{alone}");
    }

    #[test]
    fn runs_that_were_asked_for_different_things_are_told_apart() {
        let (new, mut old) = (results(), results());
        old.options.size = 4096;
        let text = Comparison { new: &new, old: &old, name: "a" }.to_string();
        assert!(text.contains("different options: size 64 and 4096"), "{text}");
        assert!(
            !Comparison { new: &new, old: &new, name: "a" }
                .to_string()
                .contains("different options")
        );
    }
}
