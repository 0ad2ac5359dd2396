//! Reads the values of options. What is wrong is answered with what would have been right.

use std::time::Duration;

/// A duration above zero, or `none`.
pub(crate) fn timeout(text: &str) -> Result<Option<Duration>, String> {
    match limit(text) {
        Some(Some(Duration::ZERO)) => Err("expected more than zero; none switches it off".into()),
        Some(limit) => Ok(limit),
        None => Err("expected a duration like 500ms, 10m or 1h30m, or none".into()),
    }
}

/// A duration, zero included, or `none`.
pub(crate) fn deadline(text: &str) -> Result<Option<Duration>, String> {
    limit(text).ok_or_else(|| "expected a duration like 500ms, 10s or 1m30s, 0 or none".into())
}

fn limit(text: &str) -> Option<Option<Duration>> {
    if text.eq_ignore_ascii_case("none") {
        return Some(None);
    }
    humantime::parse_duration(text).ok().map(Some)
}

/// A size in bytes of at least `minimum`.
pub(crate) fn size(text: &str, minimum: usize) -> Result<usize, String> {
    // The crate would also ignore blanks and underscores within a number, and read `1e6`.
    let is_plain = text.starts_with(|first: char| first.is_ascii_digit())
        && text.chars().all(|part| part.is_ascii_alphanumeric() || part == '.')
        && !text.contains(['e', 'E']);
    // Where the digits exceed its 64 bits it rounds the last of them, and does not see that this
    // may exceed them too.
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if !is_plain || digits.parse::<u64>().is_err() {
        return Err(expected_size(minimum));
    }
    let bytes = parse_size::parse_size(text).ok().and_then(|bytes| usize::try_from(bytes).ok());
    bytes.filter(|&bytes| bytes >= minimum).ok_or_else(|| expected_size(minimum))
}

fn expected_size(minimum: usize) -> String {
    format!("expected a size like 1048576, 512KiB or 64MB, at least {minimum} bytes")
}

/// A whole number within a range.
pub(crate) fn count(text: &str, minimum: u64, maximum: u64) -> Result<u64, String> {
    let number = digits(text).and_then(|digits| digits.parse().ok());
    number.filter(|number| (minimum..=maximum).contains(number)).ok_or_else(|| match maximum {
        u64::MAX => format!("expected a whole number of at least {minimum}"),
        maximum => format!("expected a whole number from {minimum} to {maximum}"),
    })
}

/// The text itself if it is nothing but decimal digits: `parse` would take a sign as well.
pub(crate) fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

/// A switch in an environment variable.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("expected 1 or 0, true or false, yes or no, on or off".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_the_usual_notations() {
        let good = [
            ("500ms", Some(Duration::from_millis(500))),
            ("1s", Some(Duration::from_secs(1))),
            ("10m", Some(Duration::from_secs(600))),
            ("10min", Some(Duration::from_secs(600))),
            ("1h30m", Some(Duration::from_secs(5400))),
            ("1h 30m", Some(Duration::from_secs(5400))),
            ("1.5s", Some(Duration::from_millis(1500))),
            ("2days", Some(Duration::from_secs(172_800))),
            ("1ns", Some(Duration::from_nanos(1))),
            ("none", None),
            ("None", None),
        ];
        for (text, expected) in good {
            assert_eq!(timeout(text), Ok(expected), "{text}");
            assert_eq!(deadline(text), Ok(expected), "{text}");
        }
        let bad = [
            "",
            " ",
            "10",
            "-1",
            "-1s",
            "+1s",
            "1x",
            "s",
            "m10",
            "1s,",
            "1.s",
            "0x1s",
            "no",
            "99999999999999999999s",
            "1e3s",
            "1s\n1",
            "\u{0661}s",
        ];
        for text in bad {
            assert!(timeout(text).is_err(), "{text:?}");
            assert!(deadline(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_a_deadline_can_be_zero() {
        for zero in ["0", "0s", "0ms"] {
            assert_eq!(deadline(zero), Ok(Some(Duration::ZERO)));
            assert!(timeout(zero).expect_err(zero).contains("none switches it off"));
        }
    }

    #[test]
    fn sizes_in_the_usual_notations() {
        let good = [
            ("0", 0),
            ("65536", 65_536),
            ("65536B", 65_536),
            ("64KiB", 65_536),
            ("64kib", 65_536),
            ("1MB", 1_000_000),
            ("1.5MiB", 1_572_864),
            ("2GiB", 2_147_483_648),
        ];
        for (text, bytes) in good {
            assert_eq!(size(text, 0), Ok(bytes), "{text}");
        }
        let bad = [
            "",
            " ",
            "-1",
            "+1",
            "KiB",
            "1XB",
            "64 KiB",
            "1_000",
            "1e6",
            "99999999999999999999",
            "17EiB",
            "184467440737095516155",
            "18446744073709551615.5KiB",
            "none",
            "1,5MB",
            "64KiB ",
        ];
        for text in bad {
            assert!(size(text, 0).is_err(), "{text:?}");
        }
        assert!(size("999", 1000).expect_err("too small").contains("at least 1000 bytes"));
    }

    #[test]
    fn counts_within_their_range() {
        assert_eq!(count("1", 1, 10), Ok(1));
        assert_eq!(count("010", 1, 10), Ok(10));
        for text in ["", "0", "11", "-1", "+1", "1.0", "1 ", "0x1", "1e1", "99999999999999999999"] {
            assert!(count(text, 1, 10).expect_err(text).contains("from 1 to 10"), "{text:?}");
        }
        assert!(count("0", 1, u64::MAX).expect_err("zero").contains("at least 1"));
    }

    #[test]
    fn switches() {
        for text in ["1", "true", "TRUE", "yes", "on"] {
            assert_eq!(switch(text), Ok(true), "{text}");
        }
        for text in ["0", "false", "no", "Off"] {
            assert_eq!(switch(text), Ok(false), "{text}");
        }
        for text in ["", "2", "y", "maybe"] {
            assert!(switch(text).is_err(), "{text:?}");
        }
    }
}
