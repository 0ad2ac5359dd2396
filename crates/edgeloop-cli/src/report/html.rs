//! Texts within a page: whatever they hold, they stay texts.
//!
//! The pages of `comparisons` are written with this file, too.

use std::fmt::{self, Write};

/// A text of unknown origin, for the inside of an element or of a quoted attribute.
///
/// What can't be seen but changes how the rest is read (control characters, and those that turn the
/// direction of writing) is shown as the replacement character.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' => f.write_char('\n')?,
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => f.write_char('\u{fffd}')?,
                character if character.is_control() => f.write_char('\u{fffd}')?,
                character => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// A command as a shell would take it.
pub(super) fn shell(command: &[String]) -> String {
    let quoted = |word: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+[]".contains(c);
        // What separates the commands of a merged run is no word of any.
        if word == ";" || !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    command.iter().map(quoted).collect::<Vec<_>>().join(" ").replace(" ; ", "\n")
}

/// What a section of a page writes of something.
#[cfg(test)]
pub(super) fn shown<T>(write: fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result, of: &T) -> String {
    fmt::from_fn(|f| write(f, of)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_element_or_its_attribute() {
        let hostile = "</title><script>alert('1')</script>\" onload=\"x & y\u{202e}\0\u{1b}[1m";
        let shown = Text(hostile).to_string();
        assert!(!shown.contains(['<', '>', '"', '\'', '\0', '\u{1b}', '\u{202e}']), "{shown}");
        assert!(shown.starts_with("&lt;/title&gt;&lt;script&gt;alert(&#39;1&#39;)"), "{shown}");
        assert_eq!(Text("12.3 µs, ≥ 5").to_string(), "12.3 µs, ≥ 5");
    }

    #[test]
    fn a_command_can_be_copied_into_a_shell() {
        let command = ["edgeloop", "bench", "[::1]:80", "--json", "it's here", ""];
        let command: Vec<_> = command.map(str::to_owned).into();
        assert_eq!(shell(&command), r"edgeloop bench [::1]:80 --json 'it'\''s here' ''");
        let merged: Vec<_> = ["a", "-q", ";", "b"].map(str::to_owned).into();
        assert_eq!(shell(&merged), "a -q\nb");
    }
}
