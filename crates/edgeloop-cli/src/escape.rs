//! Makes bytes and texts of others fit for one line of a log (C34).

use std::fmt::{self, Write};

/// The most bytes of a payload that a log line shows.
const SHOWN: usize = 64;

/// A payload, quoted, escaped and shortened. What it shows is printable ASCII, and says without
/// doubt which bytes they were: quotes and backslashes are escaped too.
pub(crate) struct Payload<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN)];
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.0.len() { f.write_str("...") } else { Ok(()) }
    }
}

/// A text of unknown origin as printable ASCII on one line. Quotes stay as they are.
pub(crate) struct OneLine<'a>(pub(crate) &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if matches!(character, ' '..='~') && character != '\\' {
                f.write_char(character)?;
            } else {
                write!(f, "{}", character.escape_default())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_printable(text: &str) -> bool {
        text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
    }

    #[test]
    fn c34_every_byte_is_shown_as_printable_ascii_and_no_two_alike() {
        let mut seen = std::collections::HashSet::new();
        for byte in 0..=u8::MAX {
            let shown = Payload(&[byte]).to_string();
            assert!(is_printable(&shown), "{byte}: {shown}");
            assert!(seen.insert(shown), "{byte} looks like another byte");
        }
        assert_eq!(Payload(b"\x1b[2J\r\n\"\\").to_string(), r#""\x1b[2J\r\n\"\\""#);
    }

    #[test]
    fn c34_a_long_payload_is_shortened() {
        assert_eq!(Payload(&[b'a'; SHOWN]).to_string(), format!("\"{}\"", "a".repeat(SHOWN)));
        assert_eq!(
            Payload(&[b'a'; SHOWN + 1]).to_string(),
            format!("\"{}\"...", "a".repeat(SHOWN))
        );
        assert_eq!(Payload(b"").to_string(), "\"\"");
    }

    #[test]
    fn c34_a_message_stays_on_its_line() {
        let shown = OneLine("it's\n\x1b[1mbold\u{202e} \\n \u{e9}").to_string();
        assert_eq!(shown, "it's\\n\\u{1b}[1mbold\\u{202e} \\\\n \\u{e9}");
        assert!(is_printable(&shown));
    }
}
