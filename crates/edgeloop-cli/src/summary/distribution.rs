//! How the times of a run are spread, as bars in a few lines.

use std::fmt;

use hdrhistogram::Histogram;

use crate::results::{Quantiles, histogram, show, to_f64};

/// The most lines: with more, each stands for ten times the time instead of about twice.
const LINES: usize = 12;

/// The longest bar, in characters.
const LONGEST: usize = 32;

/// From when to when, in microseconds, and how many.
type Bar = (f64, f64, u64);

/// The times of a run in bars, the shortest first, with what was never answered behind them.
pub(super) struct Distribution {
    /// None is a gap.
    bars: Vec<Option<Bar>>,
    unanswered: u64,
}

impl Distribution {
    /// None if there is nothing to be shown.
    pub(super) fn of(times: &Quantiles) -> Option<Self> {
        let answered = histogram::unpack(&times.histogram).ok()?;
        let unanswered = times.unanswered.count;
        let fine = bars(&answered, &[1.0, 2.0, 5.0]);
        let bars = if fine.len() > LINES { bars(&answered, &[1.0]) } else { fine };
        (unanswered > 0 || !bars.is_empty()).then_some(Self { bars, unanswered })
    }
}

/// The bars between these factors of the powers of ten, from the first that has anything to the
/// last. Several in a row that have nothing are a gap.
fn bars(answered: &Histogram<u64>, factors: &[f64]) -> Vec<Option<Bar>> {
    let bars = all_bars(answered, factors);
    let is_empty = |bar: &Bar| bar.2 == 0;
    let runs = bars.chunk_by(|one, next| is_empty(one) && is_empty(next));
    let lines = |run: &[Bar]| -> Vec<Option<Bar>> {
        if run.len() > 2 { vec![None] } else { run.iter().copied().map(Some).collect() }
    };
    runs.flat_map(lines).collect()
}

fn all_bars(answered: &Histogram<u64>, factors: &[f64]) -> Vec<Bar> {
    let mut edges = (-3..=10)
        .flat_map(|power| factors.iter().map(move |factor| 10_f64.powi(power) * factor))
        .peekable();
    let mut bars: Vec<Bar> = Vec::new();
    for value in answered.iter_recorded() {
        let micros = to_f64(value.value_iterated_to()) / 1000.0;
        loop {
            if let Some((_, to, count)) = bars.last_mut()
                && micros < *to
            {
                *count += value.count_at_value();
                break;
            }
            let Some(from) = edges.next() else { return bars };
            let Some(&to) = edges.peek() else { return bars };
            // Those before the first that has anything are left out.
            if !bars.is_empty() || micros < to {
                bars.push((from, to, 0));
            }
        }
    }
    bars
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = || self.bars.iter().flatten().map(|bar| bar.2).chain([self.unanswered]);
        let (most, all) = (counts().max().unwrap_or(0), counts().sum());
        let line = |f: &mut fmt::Formatter<'_>, name: &str, count: u64| {
            let (bar, share) = (bar(count, most), show::share(count, all));
            writeln!(f, "  {name:>20}  {bar:<LONGEST$} {:>13}  {share:>7}", show::count(count))
        };
        for bar in &self.bars {
            match *bar {
                Some((from, to, count)) => line(f, &range(from, to), count)?,
                None => writeln!(f, "  {:>20}", "…")?,
            }
        }
        if self.unanswered > 0 {
            line(f, "never answered", self.unanswered)?;
        }
        Ok(())
    }
}

/// Two round times in microseconds: `50 µs to 100 µs`.
fn range(from: f64, to: f64) -> String {
    let round = |micros: f64| match micros {
        micros if micros < 0.9 => format!("{:.0} ns", micros * 1e3),
        micros if micros < 900.0 => format!("{micros:.0} µs"),
        micros if micros < 0.9e6 => format!("{:.0} ms", micros / 1e3),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a round number"
        )]
        micros => format!("{} s", show::count((micros / 1e6).round() as u64)),
    };
    format!("{} to {}", round(from), round(to))
}

/// A bar as long as its share of the longest one, to an eighth of a character; what is there is
/// seen.
fn bar(count: u64, most: u64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a short bar")]
    let eighths =
        (to_f64(count) / to_f64(most.max(1)) * 8.0 * to_f64(LONGEST as u64)).round() as usize;
    let eighths = eighths.max(usize::from(count > 0));
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Times;

    fn lines(answered: &[(u64, u64)], unanswered: u64) -> Vec<String> {
        let mut times = Times::default();
        for &(micros, count) in answered {
            (0..count).for_each(|_| times.record(micros * 1000));
        }
        if unanswered > 0 {
            times.record_unanswered(1000, unanswered);
        }
        let shown = Distribution::of(&Quantiles::of(&times)).map(|shown| shown.to_string());
        let lines: Vec<_> = shown.unwrap_or_default().lines().map(str::to_owned).collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
        assert!(lines.len() <= LINES + 1, "{lines:#?}");
        lines
    }

    #[test]
    fn each_time_is_counted_once_in_its_bar() {
        let lines = lines(&[(60, 10), (150, 80), (1500, 9)], 1);
        let shown: Vec<_> = lines.iter().map(|line| line.split_whitespace().collect()).collect();
        let shown: Vec<Vec<&str>> = shown;
        assert_eq!(shown[0][..5], ["50", "µs", "to", "100", "µs"]);
        assert_eq!(shown[0][6..], ["10", "10.0", "%"]);
        assert_eq!(shown[1][..5], ["100", "µs", "to", "200", "µs"]);
        assert_eq!(shown[1][5], "█".repeat(LONGEST));
        assert_eq!(shown[1][6..], ["80", "80.0", "%"]);
        // Nothing lies between.
        assert_eq!(shown[2][5..], ["0", "0", "%"]);
        assert_eq!(shown[4][..5], ["1", "ms", "to", "2", "ms"]);
        assert_eq!(shown[5], ["never", "answered", "▍", "1", "1.0", "%"]);
        assert_eq!(shown.len(), 6);
    }

    #[test]
    fn nothing_is_shown_of_nothing_and_one_time_is_a_line() {
        assert!(lines(&[], 0).is_empty());
        let one = lines(&[(3, 1)], 0);
        assert_eq!(one.len(), 1);
        assert!(one[0].contains("2 µs to 5 µs") && one[0].contains("1    100 %"), "{one:?}");
        let none = lines(&[], 7);
        assert!(none.len() == 1 && none[0].contains("never answered"), "{none:?}");
    }

    #[test]
    fn times_that_are_far_apart_have_one_line_for_each_power_of_ten() {
        let times: Vec<_> = (0..10).map(|power| (10_u64.pow(power), 5)).collect();
        let lines = lines(&times, 0);
        assert!(lines.len() == 10 && lines[0].contains("1 µs to 10 µs"), "{lines:#?}");
    }

    #[test]
    fn a_gap_is_a_line_and_a_few_beside_very_many_can_be_seen() {
        let lines = lines(&[(1, 1_000_000), (3_600_000_000, 3)], 12_345_678_901);
        assert!(lines.len() == 4 && lines[1].trim() == "…", "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("2,000 s to 5,000 s")), "{lines:#?}");
        // Three of thirteen thousand millions can be seen.
        assert!(
            lines.iter().any(|line| line.contains("▏") && line.contains("<0.1 %")),
            "{lines:#?}"
        );
    }
}
