//! Finds environment variables that look like ours and are not read.

use std::ffi::OsString;

use crate::escape::OneLine;
use crate::nearest::{is_near, nearest, question};

const PREFIX: &str = "EDGELOOP_";

/// What the project's own tests read.
const TESTS: [&str; 5] = ["SEED", "SEEDS", "UNDER_TEST", "TEST_", "FUZZ_"];

/// What other programs call an address.
const ADDRESSES: [&str; 6] = ["BIND", "HOST", "HOSTNAME", "LISTEN", "PORT", "URL"];

/// What other programs call the verbosity.
const LEVELS: [&str; 4] = ["DEBUG", "LOG", "LOGLEVEL", "LOG_LEVEL"];

/// Returns a line about each variable that is misspelt or unknown, so that nobody believes it to
/// be in force. `known` are those that are read.
pub(crate) fn strays(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    known: &[String],
) -> Vec<String> {
    let mut lines: Vec<String> = environment
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, value)| {
            let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
            line(&name, &value, known)
        })
        .collect();
    lines.sort();
    lines
}

fn line(name: &str, value: &str, known: &[String]) -> Option<String> {
    if known.iter().any(|known| known == name) {
        return None;
    }
    let upper = name.to_uppercase().replace('-', "_");
    let meant: Vec<&str> = match upper.strip_prefix(PREFIX) {
        Some(rest) if is_of_tests(rest) || is_of_a_link(rest, value) => return None,
        Some(rest) if ADDRESSES.contains(&rest) => vec!["EDGELOOP_ADDRESS"],
        Some(rest) if LEVELS.contains(&rest) => vec!["EDGELOOP_VERBOSE"],
        Some(rest) => {
            let names = known.iter().filter_map(|known| known.strip_prefix(PREFIX));
            let near = nearest(rest, names);
            let is_meant = |known: &&str| near.iter().any(|near| known.ends_with(near));
            known.iter().map(String::as_str).filter(is_meant).collect()
        }
        None => vec![known.iter().find(|known| is_near(&upper, known, 2))?.as_str()],
    };
    let hint = question(&meant).unwrap_or_else(|| "'edgeloop --help' names all".to_owned());
    Some(format!("unknown variable {} is ignored; {hint}", OneLine(name)))
}

fn is_of_tests(rest: &str) -> bool {
    TESTS
        .iter()
        .any(|name| if name.ends_with('_') { rest.starts_with(name) } else { rest == *name })
}

/// Kubernetes sets such variables in each pod for a service named edgeloop, and Docker for a link:
/// `EDGELOOP_SERVICE_HOST`, `EDGELOOP_PORT_3000_TCP_ADDR`, `EDGELOOP_PORT=tcp://10.0.0.1:3000`.
fn is_of_a_link(rest: &str, value: &str) -> bool {
    let port = rest.split("PORT_").nth(1);
    rest.ends_with("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || rest.ends_with("PORT") && value.contains("://")
        || port.is_some_and(|port| port.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, value: &str) -> Vec<String> {
        let known = ["ADDRESS", "BACKLOG", "IDLE_TIMEOUT", "WRITE_TIMEOUT", "MAX_CONNECTIONS"]
            .map(|name| format!("{PREFIX}{name}"));
        strays([(name.into(), value.into())], &known)
    }

    #[test]
    fn a_misspelt_variable_is_named_with_the_nearest() {
        for (name, meant) in [
            ("EDGELOOP_IDLETIMEOUT", "'EDGELOOP_IDLE_TIMEOUT'"),
            ("EDGELOOP_IDLE_TIMOUT", "'EDGELOOP_IDLE_TIMEOUT'"),
            ("EDGELOOP_CONNECTIONS", "'EDGELOOP_MAX_CONNECTIONS'"),
            ("EDGELOOP_TIMEOUT", "'EDGELOOP_IDLE_TIMEOUT' or 'EDGELOOP_WRITE_TIMEOUT'"),
            ("EDGELOOP_ADDRESSES", "'EDGELOOP_ADDRESS'"),
            ("EDGELOOP_PORT", "'EDGELOOP_ADDRESS'"),
            ("EDGELOOP_LOG_LEVEL", "'EDGELOOP_VERBOSE'"),
            ("EDGELOOP-BACKLOG", "'EDGELOOP_BACKLOG'"),
            ("edgeloop_backlog", "'EDGELOOP_BACKLOG'"),
            ("EDGE_LOOP_BACKLOG", "'EDGELOOP_BACKLOG'"),
            ("EGDELOOP_BACKLOGS", "'EDGELOOP_BACKLOG'"),
        ] {
            let line = format!("unknown variable {name} is ignored; did you mean {meant}?");
            assert_eq!(said(name, "1"), [line], "{name}");
        }
        let lines = said("EDGELOOP_NONSENSE\x1b", "1");
        let line =
            "unknown variable EDGELOOP_NONSENSE\\u{1b} is ignored; 'edgeloop --help' names all";
        assert_eq!(lines, [line]);
    }

    #[test]
    fn what_is_not_meant_for_it_is_left_alone() {
        for (name, value) in [
            ("EDGELOOP_BACKLOG", "5000"),
            ("EDGELOOP_IDLETIMEOUT", ""),
            ("EDGELOOP_TEST_SEED", "7"),
            ("EDGELOOP_UNDER_TEST", "a"),
            ("EDGELOOP_SERVICE_HOST", "10.0.0.1"),
            ("EDGELOOP_SERVICE_PORT_ECHO", "3000"),
            ("EDGELOOP_PORT", "tcp://10.0.0.1:3000"),
            ("EDGELOOP_PORT_3000_TCP_ADDR", "10.0.0.1"),
            ("EDGELOOP_CANARY_PORT_3000_TCP", "tcp://10.0.0.1:3000"),
            ("BACKLOG", "5000"),
            ("PATH", "/bin"),
            ("", "1"),
        ] {
            assert_eq!(said(name, value), [] as [&str; 0], "{name}");
        }
    }
}
