//! The examples in the man pages: what each is for, and the line as it is typed.

/// Returns the examples of a command, or of the tool.
pub(super) fn of(command: &str) -> &'static [(&'static str, &'static str)] {
    match command {
        "serve" => &SERVE,
        "bench" => &BENCH,
        "report" => &REPORT,
        _ => &TOOL,
    }
}

const TOOL: [(&str, &str); 3] = [
    ("Serve echo on port 3000 of all IPv4 addresses", "edgeloop"),
    ("Measure it at a steady rate", "edgeloop bench -r 20k -d 10s 127.0.0.1:3000"),
    (
        "Keep the results, and draw them",
        "edgeloop bench --json run.json 127.0.0.1:3000\nedgeloop report run.json -o run.html",
    ),
];

const SERVE: [(&str, &str); 5] = [
    ("Serve echo on all addresses of IPv4 and IPv6", "edgeloop serve 0.0.0.0:3000 [::]:3000"),
    (
        "Serve echo on a Unix socket to its group alone",
        "edgeloop serve unix:/run/echo.sock --unix-mode 0660 --unix-owner :www-data",
    ),
    (
        "Answer datagrams, too, each host 100 times a second at most",
        "edgeloop serve 3000 udp://3000 --udp-rate 100",
    ),
    ("Log each connection, as JSON", "edgeloop serve -v --log-format json 127.0.0.1:3000"),
    ("The same by the environment", "EDGELOOP_VERBOSE=1 EDGELOOP_LOG_FORMAT=json edgeloop serve"),
];

const BENCH: [(&str, &str); 4] = [
    ("As fast as 50 connections get answers", "edgeloop bench 127.0.0.1:3000"),
    ("On a schedule, 20,000 messages a second", "edgeloop bench -r 20k -d 10s 127.0.0.1:3000"),
    (
        "A service that does not echo: Redis",
        concat!(r"edgeloop bench --send 'PING\r\n' --expect '+PONG\r\n' \", "\n    127.0.0.1:6379"),
    ),
    (
        "Fail if the 99th percentile got worse by more than a tenth",
        "edgeloop bench -r 20k --baseline old.json \\\n    --fail-if 'p99>+10%' 127.0.0.1:3000",
    ),
];

const REPORT: [(&str, &str); 2] = [
    (
        "Draw a run beside an earlier one",
        "edgeloop report run.json --baseline old.json -o run.html",
    ),
    (
        "Merge what two machines measured at the same time",
        "edgeloop report one.json two.json --json both.json -o both.html",
    ),
];

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::args::{self, Parsed};

    #[test]
    fn every_example_is_a_command_line_that_the_tool_takes() {
        for (_, lines) in ["", "serve", "bench", "report"].into_iter().flat_map(of) {
            for line in lines.replace("\\\n", "").lines() {
                let command = line.split_once("edgeloop").map_or("", |(_, rest)| rest);
                let words = command.split_whitespace().map(|word| word.trim_matches('\''));
                let words = std::iter::once("edgeloop").chain(words).map(OsString::from);
                let parsed = args::parse(words);
                assert!(matches!(parsed, Ok(Parsed::Run(_))), "{line}: {parsed:?}");
            }
        }
    }
}
