//! Figures with their units, for people to read.

/// A time in microseconds, in the unit that suits it: `12.3 µs`, `4.56 ms`, `1.20 s`.
pub(crate) fn time(micros: f64) -> String {
    if micros > 0.0 && micros < 0.0995 {
        return format!("{} ns", three_figures(micros * 1000.0));
    }
    let (value, unit) = scaled(micros, &["µs", "ms", "s"]);
    format!("{} {unit}", three_figures(value))
}

/// A time that is at least that, or just that.
pub(crate) fn bound(micros: f64, is_lower_bound: bool) -> String {
    format!("{}{}", if is_lower_bound { "≥ " } else { "" }, time(micros))
}

/// A number of bytes: `64 B`, `1.50 MB`.
pub(crate) fn bytes(bytes: f64) -> String {
    let (value, unit) = scaled(bytes, &["B", "kB", "MB", "GB", "TB", "PB"]);
    // There are no parts of a byte.
    let figures = if unit == "B" { format!("{value:.0}") } else { three_figures(value) };
    format!("{figures} {unit}")
}

/// A value in the first unit in which it is shown as less than a thousand. Each is a thousand times
/// the one before.
fn scaled(mut value: f64, units: &[&'static str]) -> (f64, &'static str) {
    let mut units = units.iter();
    let mut unit = *units.next().expect("there is a unit");
    while value >= THOUSAND
        && let Some(next) = units.next()
    {
        (value, unit) = (value / 1000.0, *next);
    }
    (value, unit)
}

/// What is shown as a thousand or more when it is rounded.
const THOUSAND: f64 = 999.5;

/// A whole number with its thousands set apart: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How often a second: `123,457`, `12.3`, `0.10`.
pub(crate) fn rate(rate: f64) -> String {
    three_figures(rate)
}

/// A rate as one would type it: `20M`, `1.5k`, `400`, `0.5`.
pub(crate) fn asked_rate(rate: f64) -> String {
    let units = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    let (unit, name) = units.into_iter().find(|(unit, _)| rate >= *unit).unwrap_or((1.0, ""));
    format!("{}{name}", rate / unit)
}

/// A share of all in percent: `12.3 %`, `100 %`. What is there is not shown as nothing, and what is
/// not all not as all.
pub(crate) fn share(part: u64, all: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a figure to be shown")]
    let percent = part as f64 * 100.0 / all.max(1) as f64;
    match percent {
        _ if part == 0 => "0 %".to_owned(),
        _ if part == all => "100 %".to_owned(),
        percent if percent < 0.1 => "<0.1 %".to_owned(),
        percent => format!("{:.1} %", percent.min(99.9)),
    }
}

/// A number with three figures, or more in front of the point. Nothing is `0`, and nothing else is.
fn three_figures(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value < 0.000_095 => format!("{value:.0e}"),
        value if value < 0.000_995 => format!("{value:.5}"),
        value if value < 0.009_95 => format!("{value:.4}"),
        value if value < 0.0995 => format!("{value:.3}"),
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value if value < THOUSAND => format!("{value:.0}"),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded")]
        value => count(value.round() as u64),
    }
}

/// `1 message`, `2 messages`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// The name of a figure as one types it: `p99_9` is p99.9.
pub(crate) fn typed(figure: &str) -> String {
    figure.replace('_', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_shown_as_it_would_be_typed() {
        let rates =
            [(0.0, "0"), (0.5, "0.5"), (400.0, "400"), (1500.0, "1.5k"), (1234.0, "1.234k")];
        for (rate, shown) in [(5e3, "5k"), (2e7, "20M"), (1e9, "1G")].into_iter().chain(rates) {
            assert_eq!(asked_rate(rate), shown);
        }
    }

    #[test]
    fn figures_have_units_and_as_many_digits_as_they_can_bear() {
        let times = [(0.0, "0 µs"), (1.234, "1.23 µs"), (12.34, "12.3 µs"), (123.4, "123 µs")];
        for (micros, shown) in times {
            assert_eq!(time(micros), shown);
        }
        assert_eq!((time(0.05), time(0.001)), ("50.0 ns".into(), "1.00 ns".into()));
        assert_eq!(time(4567.0), "4.57 ms");
        assert_eq!(time(61_000_000.0), "61.0 s");
        assert_eq!((bytes(64.0), bytes(1_500_000.0)), ("64 B".into(), "1.50 MB".into()));
        assert_eq!((count(7), count(1_234_567)), ("7".into(), "1,234,567".into()));
        assert_eq!(
            (rate(0.1), rate(12.34), rate(123_456.7)),
            ("0.10".into(), "12.3".into(), "123,457".into())
        );
        assert_eq!(
            (counted(1, "message"), counted(2, "message")),
            ("1 message".into(), "2 messages".into())
        );
    }
    #[test]
    fn a_figure_is_never_rounded_to_a_thousand_of_its_unit() {
        let times =
            [(999.4, "999 µs"), (999.5, "1.00 ms"), (999_600.0, "1.00 s"), (86.4e9, "86,400 s")];
        for (micros, shown) in times {
            assert_eq!(time(micros), shown);
        }
        for (number, shown) in [(999.0, "999 B"), (999_600.0, "1.00 MB"), (2e18, "2,000 PB")] {
            assert_eq!(bytes(number), shown);
        }
        assert_eq!((rate(999.4), rate(999.7)), ("999".into(), "1,000".into()));
    }

    #[test]
    fn what_is_little_is_not_shown_as_nothing() {
        assert_eq!(
            (rate(0.0), rate(0.001), rate(0.03)),
            ("0".into(), "0.0010".into(), "0.030".into())
        );
        assert_eq!(rate(0.000_01), "1e-5");
        assert_eq!(
            (share(0, 9), share(9, 9), share(0, 0)),
            ("0 %".into(), "100 %".into(), "0 %".into())
        );
        assert_eq!((share(1, 100_000), share(99_999, 100_000)), ("<0.1 %".into(), "99.9 %".into()));
        assert_eq!(share(1, 8), "12.5 %");
    }
}
