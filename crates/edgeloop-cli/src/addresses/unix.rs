//! Addresses of Unix sockets: what is right behind `unix:`, and what was probably meant instead.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use edgeloop::UnixAddress;

use super::is_shown;

/// Reads what stands behind `unix:`, a path or `@` and an abstract name.
pub(super) fn parse(text: &[u8]) -> Result<UnixAddress, String> {
    if text.starts_with(b"//") {
        let text = String::from_utf8_lossy(text);
        let name = text.trim_start_matches('/');
        let meant = if name.starts_with('@') { name.to_owned() } else { format!("/{name}") };
        return Err(format!("expected no // behind unix:, as in {}", example(&meant)));
    }
    let address = match text {
        b"" => return Err(format!("expected a path behind unix:, as in {}", example(""))),
        b"@" => return Err("expected a name behind unix:@, as in unix:@echo".into()),
        [b'@', name @ ..] => UnixAddress::abstract_name(name),
        path => UnixAddress::path(OsStr::from_bytes(path)),
    };
    address.map_err(|error| error.to_string())
}

/// What to say of a path or an abstract name without its `unix:`.
pub(super) fn mistaken(text: &str) -> Option<String> {
    let is_path = ["/", "./", "../"].iter().any(|begin| text.starts_with(begin));
    (is_path || text.starts_with('@'))
        .then(|| format!("expected unix: before a path or an @NAME, as in {}", example(text)))
}

/// This behind `unix:`, if it can be shown and is right.
fn example(text: &str) -> String {
    let is_right = text.len() > 1 && !text.starts_with("//") && parse(text.as_bytes()).is_ok();
    let name = if is_shown(text) && is_right { text } else { "/run/echo.sock" };
    format!("unix:{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_shown() {
        let usual = "unix:/run/echo.sock";
        for (text, meant) in [
            ("///run/x", "unix:/run/x"),
            ("//run/x", "unix:/run/x"),
            ("//@x", "unix:@x"),
            ("//", usual),
            ("", usual),
            ("///a b", usual),
            ("@", "unix:@echo"),
        ] {
            let error = parse(text.as_bytes()).expect_err(text);
            assert!(error.starts_with("expected "), "{error}");
            assert!(error.ends_with(&format!(", as in {meant}")), "{error}");
        }
        for (text, meant) in [
            ("/run/x", "unix:/run/x"),
            ("./x", "unix:./x"),
            ("../x", "unix:../x"),
            ("@x", "unix:@x"),
            ("//x", usual),
            ("/", usual),
            ("@", usual),
            ("/a\x1b", usual),
        ] {
            let error = mistaken(text).expect(text);
            assert!(error.ends_with(&format!(", as in {meant}")), "{error}");
        }
        for text in ["", "localhost", "a/b:1", "127.0.0.1:1"] {
            assert_eq!(mistaken(text), None);
        }
    }

    #[test]
    fn what_is_too_long_is_told_with_the_limit_and_its_length() {
        for (begin, what) in [("", "path"), ("@", "abstract name")] {
            let text = format!("{begin}{}", "x".repeat(200));
            let error = parse(text.as_bytes()).expect_err("too long");
            let line = format!("a Unix socket's {what} has at most 107 bytes, not 200");
            assert_eq!(error, line);
        }
        assert_eq!(parse(b"a\0b"), Err("a Unix socket's path has no NUL byte".to_owned()));
    }
}
