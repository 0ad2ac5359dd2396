use std::os::unix::ffi::OsStringExt;

use clap::{Args, Command};

use super::*;
use crate::args::Parsed;

/// Resolves a command line together with an environment, both as in a shell.
fn resolve(line: &str, variables: &[(&str, &str)]) -> Result<ServeConfig, Failure> {
    let args = std::iter::once("edgeloop").chain(line.split_whitespace()).map(OsString::from);
    let crate::args::Command::Serve(args) = (match crate::args::parse(args)? {
        Parsed::Run(command) => command,
        Parsed::Print(_) => panic!("{line}: help"),
    }) else {
        panic!("another command");
    };
    let lookup = |name: &str| {
        variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| value.into())
    };
    ServeConfig::resolve(args, &lookup)
}

#[track_caller]
fn resolved(line: &str, variables: &[(&str, &str)]) -> ServeConfig {
    resolve(line, variables).unwrap_or_else(|failure| panic!("{line}: {}", failure.line))
}

fn address(text: &str) -> Address {
    Address::parse(text).expect(text)
}

/// The long options that take a value, with their help.
fn options() -> Vec<(String, String)> {
    let command = ServeArgs::augment_args(Command::new("serve"));
    let options = command.get_arguments().filter(|arg| arg.get_action().takes_values());
    options
        .filter_map(|arg| Some((arg.get_long()?.to_owned(), arg.get_help()?.to_string())))
        .collect()
}

#[test]
fn the_defaults_are_those_of_the_issue() {
    let config = resolved("", &[]);
    assert_eq!(config.addresses, [address("0.0.0.0:3000")]);
    assert_eq!(config.drain_timeout, Some(Duration::from_secs(10)));
    assert_eq!(config.event_loop, Config::new().idle_timeout(Some(Duration::from_secs(600))));
    assert_eq!(config.format, Format::Text);
    assert_eq!(config.verbosity, Verbosity::Normal);
}

#[test]
fn the_defaults_that_the_help_names_are_those_that_hold() {
    let mut named = 0;
    for (option, help) in options() {
        let Some((_, default)) = help.split_once("[default: ") else { panic!("--{option}") };
        let default = default.trim_end_matches(']');
        if default.contains(' ') {
            continue; // told in words
        }
        assert_eq!(
            ServeConfig {
                udp_given: Vec::new(),
                ..resolved(&format!("--{option} {default}"), &[])
            },
            resolved("", &[]),
            "--{option}"
        );
        named += 1;
    }
    assert_eq!(named, 14);
}

#[test]
fn each_option_reaches_the_configuration_from_either_place() {
    let minute = Some(Duration::from_secs(60));
    let base = || resolved("", &[]);
    let event_loop = |change: fn(Config) -> Config| {
        let base = base();
        ServeConfig { event_loop: change(base.event_loop.clone()), ..base }
    };
    let cases = [
        ("idle-timeout", "none", event_loop(|config| config.idle_timeout(None))),
        ("write-timeout", "none", event_loop(|config| config.write_timeout(None))),
        (
            "buffer-limit",
            "1MiB",
            ServeConfig {
                buffer_limit: Some(1_048_576),
                ..event_loop(|config| config.buffer_limit(1_048_576))
            },
        ),
        ("keepalive", "none", event_loop(|config| config.keepalive(None))),
        ("keepalive", "30s", event_loop(|config| config.keepalive(Some(Duration::from_secs(30))))),
        (
            "user-timeout",
            "1m",
            event_loop(|config| config.user_timeout(Some(Duration::from_secs(60)))),
        ),
        (
            "send-buffer",
            "16KiB",
            ServeConfig {
                send_buffer: Some(16_384),
                ..event_loop(|config| config.send_buffer(Some(16_384)))
            },
        ),
        ("backlog", "5000", event_loop(|config| config.backlog(5000))),
        ("event-batch", "32", event_loop(|config| config.event_batch(32))),
        ("pipes", "0", event_loop(|config| config.pipes(0))),
        ("drain-timeout", "0", ServeConfig { drain_timeout: Some(Duration::ZERO), ..base() }),
        ("backlog", "10k", event_loop(|config| config.backlog(10_000))),
        ("event-batch", "1k", event_loop(|config| config.event_batch(1000))),
        ("pipes", "1k", event_loop(|config| config.pipes(1000))),
        ("drain-timeout", "none", ServeConfig { drain_timeout: None, ..base() }),
        ("drain-timeout", "1m", ServeConfig { drain_timeout: minute, ..base() }),
        ("log-format", "json", ServeConfig { format: Format::Json, ..base() }),
        (
            "udp-rate",
            "500",
            ServeConfig {
                udp: Limits { rate: Some(Rate::per_second(500.0)), ..base().udp },
                udp_given: vec!["--udp-rate"],
                ..base()
            },
        ),
        (
            "udp-rate-total",
            "none",
            ServeConfig {
                udp: Limits { total: None, ..base().udp },
                udp_given: vec!["--udp-rate-total"],
                ..base()
            },
        ),
        (
            "udp-repeats",
            "9",
            ServeConfig {
                udp: Limits { repeats: Some(9), ..base().udp },
                udp_given: vec!["--udp-repeats"],
                ..base()
            },
        ),
        (
            "unix-mode",
            "0660",
            ServeConfig { unix: Access { mode: Some(0o660), owner: None }, ..base() },
        ),
        (
            "unix-owner",
            "root:0",
            ServeConfig {
                unix: Access { mode: None, owner: unix::owner("root:0").ok() },
                ..base()
            },
        ),
        (
            "max-connections",
            "1.5k",
            ServeConfig {
                max_connections: Some(1500),
                ..event_loop(|config| config.max_connections(Some(1500)))
            },
        ),
    ];
    for (option, value, expected) in cases {
        assert_eq!(resolved(&format!("--{option} {value}"), &[]), expected, "--{option}");
        assert_eq!(resolved("", &[(&variable(option), value)]), expected, "{option}");
    }
    let v6_only = ServeConfig { ipv6_only: true, ..event_loop(|config| config.ipv6_only(true)) };
    assert_eq!(resolved("--ipv6-only", &[]), v6_only);
    assert_eq!(resolved("", &[("EDGELOOP_IPV6_ONLY", "yes")]), v6_only);
}

#[test]
fn addresses_come_from_either_place() {
    let several = [address("1"), address("localhost:2"), address("[::1]:3")];
    assert_eq!(resolved("1 localhost:2 [::1]:3", &[]).addresses, several);
    for listed in ["1 localhost:2 [::1]:3", "1,localhost:2,[::1]:3", " 1, localhost:2\n[::1]:3, "] {
        assert_eq!(resolved("", &[("EDGELOOP_ADDRESS", listed)]).addresses, several, "{listed:?}");
    }
    let odd = [("EDGELOOP_ADDRESS", "1,[fe80::1%a,b]:2,3")];
    assert_eq!(
        resolved("", &odd).addresses,
        [address("1"), address("[fe80::1%a,b]:2"), address("3")]
    );
    let of_all_kinds =
        [("EDGELOOP_ADDRESS", "unix:/a[b,1 unix:@c]:d,[fe80::1%a,b]:2,tcp://[::1]:3")];
    assert_eq!(
        resolved("", &of_all_kinds).addresses,
        ["unix:/a[b", "1", "unix:@c]:d", "[fe80::1%a,b]:2", "[::1]:3"].map(address)
    );
    assert_eq!(resolved("unix:/a,b tcp://1", &[]).addresses, ["unix:/a,b", "1"].map(address));
    assert_eq!(resolved("4", &[("EDGELOOP_ADDRESS", "1")]).addresses, [address("4")]);
    assert_eq!(resolved("", &[("EDGELOOP_ADDRESS", " , ")]).addresses, [address("3000")]);
}

#[test]
fn what_is_passed_in_takes_the_place_of_the_default_and_of_no_address_that_is_named() {
    let ours = std::process::id().to_string();
    let passed = |count, pid| [("LISTEN_FDS", count), ("LISTEN_PID", pid)];
    let of = |line: &str, variables: &[_]| {
        let config = resolved(line, variables);
        (config.addresses, config.passed.count)
    };
    assert_eq!(of("", &passed("2", &ours)), (vec![], 2));
    assert_eq!(of("4", &passed("2", &ours)), (vec![address("4")], 2));
    let [fds, pid] = passed("2", &ours);
    assert_eq!(of("", &[fds, pid, ("EDGELOOP_ADDRESS", "5")]), (vec![address("5")], 2));
    for (count, pid) in [("0", ours.as_str()), ("2", "1"), ("2", "")] {
        assert_eq!(of("", &passed(count, pid)), (vec![address("3000")], 0), "{count} {pid}");
    }
    let end = resolve("", &passed("x", &ours)).expect_err("no number");
    assert!(end.line.contains("'x' for LISTEN_FDS: "), "{}", end.line);
}

#[test]
fn the_command_line_comes_before_the_environment() {
    let config = resolved("--backlog 5000", &[("EDGELOOP_BACKLOG", "nonsense")]);
    assert_eq!(config, resolved("--backlog 5000", &[]));
}

#[test]
fn an_empty_variable_counts_as_none() {
    for (option, _) in options() {
        assert_eq!(resolved("", &[(&variable(&option), "")]), resolved("", &[]), "{option}");
    }
}

#[test]
fn verbosity_comes_from_one_place_only() {
    use Verbosity::{Connections, Everything, Normal, Quiet};
    let cases = [
        ("", &[][..], Normal),
        ("-q", &[], Quiet),
        ("-v", &[], Connections),
        ("-vv", &[], Everything),
        ("-vvvv", &[], Everything),
        ("", &[("EDGELOOP_QUIET", "1")], Quiet),
        ("", &[("EDGELOOP_QUIET", "0"), ("EDGELOOP_VERBOSE", "1")], Connections),
        ("", &[("EDGELOOP_VERBOSE", "2")], Everything),
        ("", &[("EDGELOOP_VERBOSE", "0")], Normal),
        ("-v", &[("EDGELOOP_QUIET", "1")], Connections),
        ("-q", &[("EDGELOOP_VERBOSE", "2")], Quiet),
    ];
    for (line, variables, expected) in cases {
        assert_eq!(resolved(line, variables).verbosity, expected, "{line} {variables:?}");
    }
    let both = [("EDGELOOP_QUIET", "1"), ("EDGELOOP_VERBOSE", "1")];
    let failure = resolve("", &both).expect_err("a contradiction");
    assert_eq!(
        failure.line,
        "EDGELOOP_QUIET and EDGELOOP_VERBOSE cannot be used together; unset one"
    );
}

#[test]
fn a_bad_value_is_reported_by_the_name_that_it_came_under() {
    let cases = [
        ("max-connections", "0", "at least 1"),
        ("idle-timeout", "0", "none disables it"),
        ("idle-timeout", "soon", "10m"),
        ("write-timeout", "-1s", "10m"),
        ("drain-timeout", "10", "0 or none"),
        ("buffer-limit", "1KiB", "at least 262144 bytes"),
        ("buffer-limit", "15EiB", "at most 8EiB"),
        ("idle-timeout", "10", "with its unit"),
        ("keepalive", "500ms", "1s to 32767s"),
        ("keepalive", "10h", "1s to 32767s"),
        ("user-timeout", "25d", "1ms to 2147483647ms"),
        ("send-buffer", "1", "at least 4096 bytes"),
        ("send-buffer", "1GiB", "at most 1073741823 bytes"),
        ("backlog", "128", "from 4096 to 2147483647"),
        ("event-batch", "4097", "from 1 to 4096"),
        ("pipes", "1025", "from 0 to 1024"),
        ("log-format", "xml", "text or json"),
    ];
    let expect = |line: &str, variables: &[(&str, &str)], start: &str, words: &str| {
        let failure = resolve(line, variables).expect_err(start);
        assert_eq!(failure.exit, crate::exit::Exit::Usage);
        let line = failure.line;
        assert!(line.starts_with(start) && line.contains(words), "{line}");
    };
    for (option, value, words) in cases {
        let start = format!("invalid value '{value}' for --{option}: expected ");
        expect(&format!("--{option} {value}"), &[], &start, words);
        let variable = variable(option);
        let start = format!("invalid value '{value}' for {variable}: expected ");
        expect("", &[(&variable, value)], &start, words);
    }
    expect("--pipes --backlog", &[], "invalid value '--backlog' for --pipes", "value missing?");
    expect("nonsense", &[], "invalid value 'nonsense' for ADDRESS", "HOST:PORT");
    expect("", &[("EDGELOOP_ADDRESS", "1 x")], "invalid value 'x' for EDGELOOP_ADDRESS", "HOST");
    expect("", &[("EDGELOOP_QUIET", "2")], "invalid value '2' for EDGELOOP_QUIET", "yes or no");
    expect("", &[("EDGELOOP_VERBOSE", "3")], "invalid value '3' for EDGELOOP_VERBOSE", "0 to 2");
    expect("", &[("EDGELOOP_IPV6_ONLY", "6")], "invalid value '6' for EDGELOOP_IPV6_ONLY", "on");
}

#[test]
fn a_value_is_shown_on_one_line_whatever_it_holds() {
    let args = ServeArgs {
        backlog: Some(OsString::from_vec(b"\x1b[2J\n\xff".to_vec())),
        ..ServeArgs::default()
    };
    let failure = ServeConfig::resolve(args, &|_| None).expect_err("not a number");
    let shown = "invalid value '\\u{1b}[2J\\n\\u{fffd}' for --backlog: expected UTF-8";
    assert_eq!(failure.line, shown);
}
