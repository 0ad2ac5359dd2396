//! What is shown on the terminal: a progress line, and texts of results.

use std::io::{self, Write as _};

use indicatif::{ProgressBar, ProgressStyle};

use crate::pair::{Measured, NULL};
use crate::statistics::Estimate;

/// Prints to standard output; whoever reads may have seen enough.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        answer => answer,
    }
}

/// A line that says how far a run is. It is drawn only between slices, by the client's own thread:
/// one that ticks would take the client's core from it.
pub(crate) fn progress(cycles: u64) -> ProgressBar {
    let bar = ProgressBar::new(cycles);
    let template = "{elapsed_precise} [{bar:24}] {percent:>3} % {msg}";
    // The template is a constant: a wrong one would show as the default bar.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// A ratio with its interval.
pub(crate) fn estimate(estimate: Option<Estimate>) -> String {
    match estimate {
        Some(Estimate { median, low, high }) => format!("{median:.3} ({low:.3} to {high:.3})"),
        None => "none".to_owned(),
    }
}

/// A figure as it is to be shown, or a dash.
pub(crate) fn or_dash<T>(figure: Option<T>, show: impl FnOnce(T) -> String) -> String {
    figure.map_or_else(|| "–".to_owned(), show)
}

/// A time for a unit, with a unit that suits it.
pub(crate) fn nanoseconds(nanoseconds: f64) -> String {
    if nanoseconds < 1_000.0 {
        format!("{nanoseconds:.0} ns")
    } else {
        format!("{:.2} µs", nanoseconds / 1_000.0)
    }
}

/// A whole number with its thousands apart.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = if number < 0.0 { "-".to_owned() } else { String::new() };
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What one pair has come to.
pub(crate) fn pair(measured: &Measured) -> String {
    let Measured { of, against, shape, unit, .. } = measured;
    let title = format!("{of} against {against}, {shape}");
    if let Some(failure) = &measured.failure {
        return format!("{title}\n  not measured: {failure}\n");
    }
    let verdict = if measured.is_valid {
        String::new()
    } else {
        let (low, high) = NULL;
        let attempts = measured.attempts;
        format!("  not measured: in {attempts} runs the null lay outside {low} to {high}\n")
    };
    let cost = |name: &str, cost: crate::pair::Cost| {
        let rate = thousands(cost.units_per_second);
        let time = nanoseconds(cost.nanoseconds);
        let round = cost.round.map_or_else(String::new, |round| {
            format!("; a round takes {:.1} µs, p99 {:.1} µs", round.p50, round.p99)
        });
        format!("  {name:<24} {time:>9} of processor time a {unit}, {rate} a second{round}\n")
    };
    format!(
        "{title}\n  ratio {}\n  null  {}\n{verdict}{}{}",
        estimate(measured.ratio),
        estimate(measured.null),
        cost(of, measured.first),
        cost(against, measured.second),
    )
}

/// A table of texts, the first row its head; the first column is flush left, the others right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    aligned(rows, 1)
}

/// A table of words: all columns are flush left.
pub(crate) fn table_left(rows: &[Vec<String>]) -> String {
    aligned(rows, usize::MAX)
}

fn aligned(rows: &[Vec<String>], flush_left: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (index, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            line.push_str(if index == 0 { "" } else { "  " });
            if index < flush_left {
                line.push_str(&format!("{cell:<width$}"));
            } else {
                line.push_str(&format!("{cell:>width$}"));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_readers() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(-999.6), "-1,000");
        assert_eq!(thousands(12.0), "12");
        assert_eq!(nanoseconds(999.4), "999 ns");
        assert_eq!(nanoseconds(4_321.0), "4.32 µs");
        let ratio = Estimate { median: 1.0124, low: 1.0, high: 1.02 };
        assert_eq!(estimate(Some(ratio)), "1.012 (1.000 to 1.020)");
    }

    #[test]
    fn a_table_lines_up() {
        let rows = [vec!["name".into(), "µs".into()], vec!["a".into(), "12.5".into()]];
        assert_eq!(table(&rows), "name    µs\na     12.5\n");
    }
}
