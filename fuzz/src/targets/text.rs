//! What others send, on its way into a log (C34).

use super::expect_line;
use crate::escape::{OneLine, Payload};

/// Payloads and messages: nothing raw is in a line, and nothing false is said.
pub fn escape(data: &[u8]) {
    let payload = Payload(data).to_string();
    expect_line(&payload);
    let (shown, whole) = match payload.strip_suffix("...") {
        Some(shown) => (shown, false),
        None => (&payload[..], true),
    };
    let shown = shown.strip_prefix('"').and_then(|shown| shown.strip_suffix('"'));
    let shown = unescape(shown.expect("a payload is quoted"));
    assert!(data.starts_with(&shown), "{payload} shows other bytes");
    assert_eq!(whole, shown.len() == data.len(), "{payload} is cut without a word");

    let text = String::from_utf8_lossy(data);
    let line = OneLine(&text).to_string();
    assert!(text.is_empty() || !line.is_empty());
    assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "not printable: {line:?}");
    let plain = |part: char| matches!(part, ' '..='~') && part != '\\';
    assert_eq!(text.chars().all(plain), line == text, "{line:?} for {text:?}");
}

/// The inverse of `escape_ascii`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'"' => panic!("a quote ends the payload early: {text}"),
            b'\\' => match rest.next().expect("something is escaped") {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [rest.next(), rest.next()].map(|digit| digit.expect("a digit"));
                    let digits = std::str::from_utf8(&digits).expect("ASCII");
                    u8::from_str_radix(digits, 16).expect("two digits")
                }
                itself => itself,
            },
            plain => plain,
        });
    }
    bytes
}
