//! Figures with their units, for people to read.

/// A time in microseconds, in the unit that suits it: `12.3 µs`, `4.56 ms`, `1.20 s`.
pub(crate) fn time(micros: f64) -> String {
    let (value, unit) = match micros {
        micros if micros < 1000.0 => (micros, "µs"),
        micros if micros < 1_000_000.0 => (micros / 1000.0, "ms"),
        micros => (micros / 1_000_000.0, "s"),
    };
    format!("{} {unit}", three_figures(value))
}

/// A number of bytes: `64 B`, `1.50 MB`.
pub(crate) fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{value:.0} B")
    } else {
        format!("{} {}", three_figures(value), UNITS[unit])
    }
}

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

/// How often a second: `123,457`, `12.3`, `0.100`.
pub(crate) fn rate(rate: f64) -> String {
    if rate >= 1000.0 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded")]
        return count(rate.round() as u64);
    }
    three_figures(rate)
}

/// A number with three figures, or more in front of the point.
fn three_figures(value: f64) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2}"),
        value if value < 99.95 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// `1 message`, `2 messages`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units_and_as_many_digits_as_they_can_bear() {
        let times = [(0.0, "0.00 µs"), (1.234, "1.23 µs"), (12.34, "12.3 µs"), (123.4, "123 µs")];
        for (micros, shown) in times {
            assert_eq!(time(micros), shown);
        }
        assert_eq!(time(999.96), "1000 µs");
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
}
