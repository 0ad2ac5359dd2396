//! Reads the values of options. What is wrong is answered with what would have been right.

use std::ffi::OsStr;
use std::time::Duration;

use edgeloop::MAX_SPIN;

use crate::escape::OneLine;
use crate::exit::Failure;

/// The longest duration that a run can take.
pub(crate) const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The largest size: no object in memory is larger.
const LARGEST_SIZE: usize = isize::MAX.unsigned_abs();

/// Reads a value that was given under this name.
pub(crate) fn read<T>(
    name: &str,
    value: &OsStr,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, Failure> {
    read_any(name, value, |value| parse(value.to_str().ok_or("expected UTF-8")?))
}

/// Reads a value that need not be UTF-8.
pub(crate) fn read_any<T>(
    name: &str,
    value: &OsStr,
    parse: impl FnOnce(&OsStr) -> Result<T, String>,
) -> Result<T, Failure> {
    let expected = match parse(value) {
        Ok(parsed) => return Ok(parsed),
        Err(expected) => expected,
    };
    let value = value.to_string_lossy();
    // The next option was taken for the value.
    let is_option = name.starts_with("--") && value.starts_with("--");
    let hint = if is_option { "; is its value missing?" } else { "" };
    Err(Failure::usage(format!("invalid value '{}' for {name}: {expected}{hint}", OneLine(&value))))
}

/// A duration above zero, or `none`.
pub(crate) fn timeout(text: &str) -> Result<Option<Duration>, String> {
    match limit(text) {
        Ok(Some(Duration::ZERO)) => Err("expected more than zero; none disables it".into()),
        Err(Wrong::TooLong) => Err(format!("expected at most {MAXIMUM}; none disables it")),
        Err(Wrong::Unclear) => {
            Err(expected_duration(text, "500ms, 10m or 1h30m, or none to disable it"))
        }
        Ok(limit) => Ok(limit),
    }
}

/// A duration, zero included, or `none`.
pub(crate) fn deadline(text: &str) -> Result<Option<Duration>, String> {
    limit(text).map_err(|wrong| match wrong {
        Wrong::TooLong => format!("expected at most {MAXIMUM}, or none"),
        Wrong::Unclear => expected_duration(text, "500ms, 10s or 1m30s, 0 or none"),
    })
}

/// Why a text is no duration.
enum Wrong {
    Unclear,
    TooLong,
}

/// What a [`Duration`] holds.
const MAXIMUM: &str = "18446744073709551615s";

fn limit(text: &str) -> Result<Option<Duration>, Wrong> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    // The crate panics on some sums that exceed what a `Duration` holds, so it sees one part at a
    // time.
    let mut sum = Duration::ZERO;
    let mut rest = text.trim_start();
    loop {
        let (part, behind) = rest.split_at(first_part(rest));
        let part = humantime::parse_duration(part).map_err(|error| match error {
            // Of a fraction it says the same when the digits are too many.
            humantime::DurationError::NumberOverflow if !part.contains('.') => Wrong::TooLong,
            _ => Wrong::Unclear,
        })?;
        sum = sum.checked_add(part).ok_or(Wrong::TooLong)?;
        if behind.is_empty() {
            return Ok(Some(sum));
        }
        rest = behind;
    }
}

/// The length of a number and its unit: up to the first digit behind a letter.
fn first_part(text: &str) -> usize {
    let unit = text.find(char::is_alphabetic).unwrap_or(text.len());
    let next = text[unit..].find(|part: char| part.is_ascii_digit());
    next.map_or(text.len(), |next| unit + next)
}

/// What is usually wrong with a duration is that it has no unit.
fn expected_duration(text: &str, examples: &str) -> String {
    let unit = if decimal(text).is_some() { " with its unit" } else { "" };
    format!("expected a duration{unit}, like {examples}")
}

/// A size in bytes of at least `minimum`.
pub(crate) fn size(text: &str, minimum: usize) -> Result<usize, String> {
    let least = if minimum == 1 { "1 byte".to_owned() } else { format!("{minimum} bytes") };
    let expected = || format!("expected a size like 1048576, 512KiB or 64MB, at least {least}");
    let too_large = || "expected at most 8EiB".to_owned();
    // The crate would also ignore blanks and underscores within a number, and read `1e6`.
    let unit = text.trim_start_matches(|part: char| part.is_ascii_digit() || part == '.');
    let is_plain = text.starts_with(|first: char| first.is_ascii_digit())
        && unit.bytes().all(|letter| letter.is_ascii_alphabetic());
    if !is_plain {
        return Err(expected());
    }
    // Where the digits exceed its 64 bits it rounds the last of them, and does not see that this
    // may exceed them too.
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let fits = digits.parse::<u64>().is_ok();
    let bytes = match parse_size::parse_size(if fits { text.into() } else { format!("1{unit}") }) {
        Ok(bytes) if fits => bytes,
        Ok(_) | Err(parse_size::Error::PosOverflow) => return Err(too_large()),
        Err(_) => return Err(expected()),
    };
    match usize::try_from(bytes) {
        Ok(bytes) if bytes < minimum => Err(format!("expected at least {least}")),
        Ok(bytes) if bytes <= LARGEST_SIZE => Ok(bytes),
        _ => Err(too_large()),
    }
}

/// A whole number within a range, with a unit or without: `50000`, `50k`, `1.5M`.
pub(crate) fn count(text: &str, minimum: u64, maximum: u64) -> Result<u64, String> {
    let expected = || {
        let like = if maximum < 10_000 { "" } else { ", like 50000 or 50k" };
        match maximum {
            u64::MAX => format!("expected a whole number of at least {minimum}{like}"),
            maximum => format!("expected a whole number from {minimum} to {maximum}{like}"),
        }
    };
    let (number, unit) = split_unit(text).ok_or_else(expected)?;
    if let Some(digits) = digits(number) {
        let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        return match number {
            Some(number) if (minimum..=maximum).contains(&number) => Ok(number),
            None if maximum == u64::MAX => Err(format!("expected at most {maximum}")),
            _ => Err(expected()),
        };
    }
    let scaled = decimal(number).ok_or_else(expected)? * unit_to_f64(unit);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    let number = (scaled.fract() == 0.0 && scaled < 9e15).then_some(scaled as u64);
    number.filter(|number| (minimum..=maximum).contains(number)).ok_or_else(expected)
}

/// How many a second: above 0, with a fraction or a unit or both.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let expected = || "expected a rate from 0.001 to 1G a second, like 0.5, 2000 or 50k".to_owned();
    let (number, unit) = split_unit(text).ok_or_else(expected)?;
    let rate = decimal(number).ok_or_else(expected)? * unit_to_f64(unit);
    if (0.001..=1e9).contains(&rate) { Ok(rate) } else { Err(expected()) }
}

fn split_unit(text: &str) -> Option<(&str, u64)> {
    let last = text.chars().last()?;
    let unit = match last {
        'k' | 'K' => 1_000,
        'M' => 1_000_000,
        'G' => 1_000_000_000,
        '0'..='9' => return Some((text, 1)),
        _ => return None,
    };
    Some((&text[..text.len() - 1], unit))
}

/// A number in plain decimals: `parse` would take a sign, an exponent, and `inf` as well.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let ends = text.starts_with('.') || text.ends_with('.');
    (plain && !ends).then(|| text.parse().ok()).flatten()
}

#[expect(clippy::cast_precision_loss, reason = "units are exact")]
const fn unit_to_f64(unit: u64) -> f64 {
    unit as f64
}

/// A duration above zero, and none but a duration.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let duration = pause(text)?;
    if duration.is_zero() { Err("expected more than zero".into()) } else { Ok(duration) }
}

/// A duration, zero included, and none but a duration.
pub(crate) fn pause(text: &str) -> Result<Duration, String> {
    match limit(text) {
        Ok(Some(duration)) if duration <= LONGEST => Ok(duration),
        Ok(Some(_)) | Err(Wrong::TooLong) => Err("expected at most a year".into()),
        Ok(None) | Err(Wrong::Unclear) => Err(expected_duration(text, "100ms, 10s or 1m30s")),
    }
}

/// How long to spin; zero or `none` for not at all.
pub(crate) fn spin(text: &str) -> Result<Duration, String> {
    match limit(text).map(Option::unwrap_or_default) {
        Ok(duration) if duration <= MAX_SPIN => Ok(duration),
        Ok(_) | Err(Wrong::TooLong) => Err("expected at most 1s, like 50us, 0 or none".into()),
        Err(Wrong::Unclear) => Err(expected_duration(text, "50us, 1s at most, 0 or none")),
    }
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
            "1e3s",
            "1s.5s",
            "s1s",
            "1s 2",
            "1 s x",
            "1s\n1",
            "\u{0661}s",
        ];
        for text in bad {
            assert!(timeout(text).is_err(), "{text:?}");
            assert!(deadline(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_no_duration_can_hold_is_too_long() {
        let longest = "18446744073709551615s 999999999ns";
        let nanos = Duration::MAX;
        assert_eq!(timeout(longest), Ok(Some(nanos)));
        assert_eq!(deadline(&humantime::format_duration(nanos).to_string()), Ok(Some(nanos)));
        for text in [
            "99999999999999999999s",
            "18446744073709551616s",
            "1000000000000years",
            // The crate alone panics on these two.
            "18446744073709551615s 1000000000ns",
            "9223372036854775807s9223372036854775807s1s1000ms",
            "18446744073709551615s 1s",
            "18446744073709551615s 60000000000m",
        ] {
            let error = timeout(text).expect_err(text);
            assert_eq!(error, "expected at most 18446744073709551615s; none disables it", "{text}");
            let error = deadline(text).expect_err(text);
            assert_eq!(error, "expected at most 18446744073709551615s, or none", "{text}");
            assert_eq!(pause(text), Err("expected at most a year".into()), "{text}");
            assert!(spin(text).expect_err(text).starts_with("expected at most 1s"), "{text}");
        }
        // Not too long, but more digits than can be told.
        let error = timeout("0.99999999999999999999s").expect_err("too fine");
        assert!(error.starts_with("expected a duration, like "), "{error}");
    }

    #[test]
    fn a_missing_unit_is_told() {
        for text in ["10", "1.5"] {
            for error in
                [timeout(text).err(), deadline(text).err(), span(text).err(), spin(text).err()]
            {
                let error = error.expect(text);
                assert!(error.starts_with("expected a duration with its unit, like "), "{error}");
            }
        }
        assert!(timeout("soon").expect_err("soon").starts_with("expected a duration, like "));
    }

    #[test]
    fn only_a_deadline_can_be_zero() {
        for zero in ["0", "0s", "0ms"] {
            assert_eq!(deadline(zero), Ok(Some(Duration::ZERO)));
            assert!(timeout(zero).expect_err(zero).contains("none disables it"));
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
            ("1EiB", 1 << 60),
            ("7.5EiB", 15 << 59),
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
        assert_eq!(size("999", 1000), Err("expected at least 1000 bytes".into()));
        // Below 2^64, but no object is so large.
        for text in ["8EiB", "15EiB", "16EiB", "17EiB", "18EB", "99999999999999999999"] {
            assert_eq!(size(text, 0), Err("expected at most 8EiB".into()), "{text}");
        }
    }

    #[test]
    fn counts_within_their_range() {
        assert_eq!(count("1", 1, 10), Ok(1));
        assert_eq!(count("010", 1, 10), Ok(10));
        for text in ["", "0", "11", "-1", "+1", "1.5", "1 ", "0x1", "1e1", "99999999999999999999"] {
            assert!(count(text, 1, 10).expect_err(text).contains("from 1 to 10"), "{text:?}");
        }
        assert!(count("0", 1, u64::MAX).expect_err("zero").contains("at least 1"));
        for text in ["99999999999999999999", "18446744073709552k"] {
            let expected = "expected at most 18446744073709551615";
            assert_eq!(count(text, 1, u64::MAX), Err(expected.into()));
        }
    }

    #[test]
    fn counts_and_rates_with_units() {
        for (text, number) in
            [("1", 1), ("50k", 50_000), ("10K", 10_000), ("1.5M", 1_500_000), ("2G", 2_000_000_000)]
        {
            assert_eq!(count(text, 1, u64::MAX), Ok(number), "{text}");
        }
        assert_eq!(count("4k", 1, 4096), Ok(4000));
        for text in ["", "0", "k", "-1", "+1", "1.5", "1e3", "50 k", "50kk", ".5k", "10ki", "5T"] {
            let error = count(text, 1, u64::MAX).expect_err(text);
            assert!(error.contains("at least 1, like 50000 or 50k"), "{text:?}: {error}");
        }
        assert!(count("5k", 1, 4096).expect_err("too many").contains("from 1 to 4096"));
        for (text, expected) in [("0.1", 0.1), ("50k", 50_000.0), ("2.5M", 2.5e6), ("1G", 1e9)] {
            assert_eq!(rate(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "0.0", "-1", "inf", "NaN", "1e9", "2G", "0.0001", "1.", ".1", "k"] {
            assert!(rate(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn spins_up_to_the_longest() {
        let good = [("50us", 50), ("0", 0), ("none", 0), ("1ms", 1000), ("1s", 1_000_000)];
        for (text, micros) in good {
            assert_eq!(spin(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        for text in ["", "50", "-50us", "1001ms", "2s", "on"] {
            assert!(spin(text).expect_err(text).contains("like 50us"), "{text:?}");
        }
    }

    #[test]
    fn durations_of_a_run() {
        assert_eq!(span("0.1s"), Ok(Duration::from_millis(100)));
        assert_eq!(pause("0"), Ok(Duration::ZERO));
        for text in ["0", "none", "-1s", "1000years"] {
            assert!(span(text).is_err(), "{text}");
        }
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
