//! The parsers of single values, with what must hold for whatever they accept.

use std::time::Duration;

use super::expect_line;
use crate::addresses::Address;
use crate::values;

/// Addresses to listen on: what is shown of one reads as the same one.
pub fn addresses(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Address::parse(text) {
        Ok(address) => {
            let shown = address.to_string();
            assert!(!shown.contains(|part: char| part.is_control() || part.is_whitespace()));
            // An interface can have a name that must be escaped, and then is not shown as it is.
            if !shown.contains('\\') {
                assert_eq!(Address::parse(&shown), Ok(address), "{text:?} is shown as {shown:?}");
            }
        }
        Err(expected) => expect_line(&expected),
    }
}

/// Durations, sizes, counts and switches.
pub fn values(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    durations(text);
    for minimum in [0, 1, 1000, usize::MAX] {
        match values::size(text, minimum) {
            Ok(bytes) => {
                assert!(bytes >= minimum, "{text:?} is {bytes}, less than {minimum}");
                assert_eq!(values::size(&bytes.to_string(), minimum), Ok(bytes), "{text:?}");
            }
            Err(expected) => expect_line(&expected),
        }
    }
    for (minimum, maximum) in [(0, 2), (1, u64::MAX), (4096, 1 << 31), (0, u64::MAX)] {
        match values::count(text, minimum, maximum) {
            Ok(count) => {
                assert!((minimum..=maximum).contains(&count), "{text:?} is {count}");
                assert_eq!(values::count(&count.to_string(), minimum, maximum), Ok(count));
                let shown = text.trim_start_matches('0');
                if values::digits(text).is_some() {
                    assert_eq!(if shown.is_empty() { "0" } else { shown }, count.to_string());
                }
            }
            Err(expected) => expect_line(&expected),
        }
    }
    if let Err(expected) = values::switch(text) {
        expect_line(&expected);
    }
}

fn durations(text: &str) {
    let deadline = values::deadline(text);
    match values::timeout(text) {
        Ok(timeout) => {
            assert_ne!(timeout, Some(Duration::ZERO), "{text:?}");
            assert_eq!(deadline, Ok(timeout), "{text:?}");
            let shown = timeout.map_or("none".to_owned(), |timeout| {
                humantime::format_duration(timeout).to_string()
            });
            assert_eq!(values::timeout(&shown), Ok(timeout), "{text:?} is shown as {shown:?}");
        }
        Err(expected) => {
            expect_line(&expected);
            assert!(matches!(deadline, Err(_) | Ok(Some(Duration::ZERO))), "{text:?}");
        }
    }
    if let Err(expected) = deadline {
        expect_line(&expected);
    }
}
