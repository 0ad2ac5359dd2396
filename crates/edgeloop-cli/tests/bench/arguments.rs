//! Wrong command lines, files that can't be written, and outputs that nobody reads.

use std::process::Stdio;

use testkit::{Ended, OddServer, Oddity};

use crate::run::{Bench, DONE, USAGE, nobody};
use crate::serve::edgeloop;

/// The one line on standard error of a run that the user got wrong.
#[track_caller]
fn usage_error(arguments: &[&str]) -> String {
    let Ended { code, stdout, stderr } = edgeloop(&["bench"]).args(arguments).run();
    assert_eq!((code, stdout.as_str()), (Some(USAGE), ""), "{arguments:?}: {stderr}");
    let line = stderr.strip_suffix('\n').unwrap_or_default();
    assert!(!line.is_empty() && !line.contains('\n'), "{arguments:?}: not one line: {stderr:?}");
    assert!(!line.contains("panicked"), "{arguments:?}: {line}");
    line.to_owned()
}

/// These options are wrong, and the line names them so.
#[track_caller]
fn expect_named(options: &str, names: &[&str]) {
    let address = nobody().to_string();
    let mut arguments = vec![address.as_str()];
    arguments.extend(options.split(' '));
    let line = usage_error(&arguments);
    for name in names {
        assert!(line.contains(name), "{options}: {name} is missing: {line}");
    }
}

#[test]
fn every_bad_value_is_one_line_that_names_the_option_and_the_exit_code_is_2() {
    let bad = [
        ("--connections", "0 -3 1.5 x 1e3 99999999999999999999 10T 100M"),
        ("--size", "0 -1 64XB 1e6 2GiB 99999999999999999999"),
        ("--pipeline", "0 -1 many"),
        ("--duration", "0 0s -1s 10 none soon 1000years"),
        ("--messages", "0 -1 1.5 x"),
        ("--rate", "0 -1 +1 0.0 inf NaN 1e3 2G 0.0001 1. .5 fast 10/s"),
        ("--warmup", "none -1s 5 x"),
        ("--grace", "none -1s 5 x"),
        ("--hold", "0 -1 x 10T"),
        ("--threads", "0 -1 1025 x"),
        ("--source", "localhost 127.0.0.1:80 x"),
        ("--connect-timeout", "0 -1s x"),
        ("--busy-poll", "-1s x"),
        ("--seed", "-1 x 99999999999999999999"),
        ("--profile", "1k 1k:10 0:1s 1k:0s x:1s 1k..:1s 1k:1s, 2G:1s -1:1s"),
        ("--send", r"@ \ \q \x1 \400 @/nonexistent @/ @/dev/null"),
        ("--send x --expect", r"@ \q @/nonexistent @/dev/null"),
        ("--send x --reply", "bytes bytes:0 bytes:x lines:0 until: echo:1 close:1 end"),
        ("--greeting", "echo close bytes:0 lines:0 until: line"),
    ];
    for (option, values) in bad {
        for value in values.split(' ') {
            let name = option.split(' ').next_back().expect("a name");
            expect_named(&format!("{option} {value}"), &[name]);
        }
    }
    expect_named("--rate 100 --arrival sometimes", &["--arrival", "uniform or poisson"]);
    expect_named("--size 15EiB", &["'15EiB' for --size", "at most 8EiB"]);
    expect_named("--size 2GiB", &["'2GiB' for --size", "at most 1GiB"]);
    expect_named("--duration 10", &["--duration", "with its unit"]);
    expect_named("--stream --window 0", &["--window"]);
    expect_named("--hold 5 --active 0", &["--active"]);
    expect_named("--hold 5 --active 6", &["--active", "6", "5"]);
    expect_named("--hold 5 --open-rate 0", &["--open-rate"]);
    let many = vec!["1:1s"; 50].join(",");
    expect_named(&format!("--profile {many} -t 32 -c 32"), &["--profile", "--threads 32"]);
    expect_named("--send a --send b --send c --reply echo --reply echo", &["--reply", "2", "3"]);
    expect_named("--send x --expect y --expect z", &["--expect", "2", "1"]);
    expect_named("--send @/dev/zero", &["--send @/dev/zero", "larger than 1GiB"]);
}

#[test]
fn short_options_are_named_by_what_they_stand_for() {
    for (options, name) in [
        ("-c 0", "--connections"),
        ("-s 0", "--size"),
        ("-p 0", "--pipeline"),
        ("-d 0", "--duration"),
        ("-n 0", "--messages"),
        ("-r 0", "--rate"),
        ("-t 0", "--threads"),
    ] {
        expect_named(options, &[name]);
    }
}

#[test]
fn options_that_contradict_each_other_are_both_named() {
    for (options, one, other) in [
        ("--stream --hold 5", "--stream", "--hold"),
        ("--connect-per-message --stream", "--connect-per-message", "--stream"),
        ("--connect-per-message --hold 5", "--connect-per-message", "--hold"),
        ("--stream --rate 5", "--stream", "--rate"),
        ("--hold 5 --connections 5", "--hold", "--connections"),
        ("--connect-per-message -p 5", "--connect-per-message", "--pipeline"),
        ("--stream --window 1MiB -p 5", "--window", "--pipeline"),
        ("--profile 1:1s -r 5", "--profile", "--rate"),
        ("--profile 1:1s -d 5s", "--profile", "--duration"),
        ("--profile 1:1s -n 5", "--profile", "--messages"),
        ("--profile 1:1s --find p99<1s", "--profile", "--find"),
        ("--profile 1:1s --stream", "--profile", "--stream"),
        ("--send x -s 5", "--send", "--size"),
        ("--send x --stream", "--send", "--stream"),
        ("--send x --reply close -p 5", "--reply close", "--pipeline"),
        ("--send x --reply close --hold 5", "--reply close", "--hold"),
        ("--send x --stream --reply close", "--reply close", "--stream"),
        ("--send x --expect x --no-verify", "--expect", "--no-verify"),
    ] {
        expect_named(options, &[one, other, "cannot be used together"]);
    }
}

#[test]
fn options_that_say_nothing_alone_are_named_with_what_they_need() {
    for (options, one, needed) in [
        ("--active 5", "--active", "--hold"),
        ("--open-rate 5", "--open-rate", "--hold"),
        ("--window 1MiB", "--window", "--stream"),
        ("--arrival poisson", "--arrival", "--rate"),
        ("--reply lines:1", "--reply", "--send"),
        ("--expect x", "--expect", "--send"),
        ("--send x --reply lines:1 --verify", "--verify", "--expect"),
    ] {
        expect_named(options, &[one, " needs ", needed]);
    }
}

#[test]
fn unknown_missing_and_repeated_words_are_named() {
    expect_named("--nonsense", &["--nonsense"]);
    expect_named("--nonsense=\x1b[2J", &["--nonsense"]);
    expect_named("--rate", &["--rate"]);
    expect_named("-r 5 -r 6", &["--rate"]);
    expect_named("x://y", &["x://y", "for ADDRESS: expected an address without a scheme"]);
    let missing = usage_error(&[]);
    assert!(missing.contains("ADDRESS is missing"), "{missing}");
    assert!(missing.ends_with("see 'edgeloop bench --help'"), "{missing}");
}

#[test]
fn an_address_that_is_none_is_named() {
    for (address, words) in [
        ("no-such-host.invalid:7", "cannot resolve no-such-host.invalid:7"),
        ("127.0.0.1:0", "127.0.0.1:0: port 0"),
        ("0", "127.0.0.1:0: port 0"),
        ("localhost:0", "port 0"),
        ("localhost", "HOST:PORT"),
        ("127.0.0.1:99999", "65535"),
        ("::1:7", "brackets"),
        ("http://localhost:7/echo", "without a scheme or a path, as in localhost:7"),
        ("", "ADDRESS"),
    ] {
        let line = usage_error(&[address]);
        assert!(line.contains(words), "{address:?}: {line}");
    }
}

#[test]
fn a_source_that_is_no_address_of_this_machine_is_named() {
    for source in ["192.0.2.1", "2001:db8::1"] {
        let line = usage_error(&[&nobody().to_string(), "--source", source]);
        assert!(line.contains(&format!("cannot use --source {source}: ")), "{line}");
    }
}

#[test]
fn a_file_that_cannot_be_made_is_named_before_anything_is_sent() {
    let server = OddServer::start(Oddity::None);
    let address = server.address().to_string();
    for option in ["--json", "--csv"] {
        for path in ["/nonexistent/x", "/", ""] {
            let line = usage_error(&[&address, option, path, "-n", "1"]);
            assert!(line.contains(&format!("cannot write {path}: ")), "{option} {path:?}: {line}");
        }
    }
    assert_eq!(server.peers(), []);
}

#[test]
fn a_full_disk_is_one_line_and_the_summary_is_printed_all_the_same() {
    let server = OddServer::start(Oddity::Flips { at: 3 });
    let address = server.address().to_string();
    for option in ["--json", "--csv"] {
        let arguments = ["bench", &address, option, "/dev/full", "-q", "-n", "5", "--warmup", "0"];
        let ended = edgeloop(&arguments).run();
        // That weighs more than the byte that was changed.
        assert_eq!(ended.code, Some(USAGE), "{option}: {}", ended.stderr);
        let line = "edgeloop: cannot write /dev/full: No space left on device (os error 28)\n";
        assert_eq!(ended.stderr, line, "{option}");
        assert!(ended.stdout.contains("5 in "), "{option}: {}", ended.stdout);
    }
}

#[test]
fn a_standard_output_that_is_full_is_one_line_and_the_exit_code_is_2() {
    let server = OddServer::start(Oddity::None);
    let address = server.address().to_string();
    for rest in [&[][..], &["--json", "-"]] {
        let arguments = ["bench", &address, "-q", "-n", "5", "--warmup", "0"];
        let ended = edgeloop(&arguments).args(rest).shell("exec >/dev/full").run();
        assert_eq!(ended.code, Some(USAGE), "{}", ended.stderr);
        let line =
            "edgeloop: cannot write to standard output: No space left on device (os error 28)\n";
        assert_eq!(ended.stderr, line);
    }
}

#[test]
fn outputs_that_are_closed_or_full_and_say_nothing_of_the_run_change_nothing() {
    let server = OddServer::start(Oddity::None);
    let address = server.address().to_string();
    // Longer than a second, so that there is a line to be shown while it runs.
    for output in ["exec >&-", "exec 2>&-", "exec 2>/dev/full", "exec >&- 2>&-"] {
        let ran = Bench::of(&address, "-c 1 -r 50 -d 1100ms --grace 10s").shell(output).run();
        ran.expect_all_answered().expect_messages(55, 0);
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let server = OddServer::start(Oddity::None);
    let address = server.address().to_string();
    let arguments = ["bench", &address, "-q", "-n", "5", "--warmup", "0"];
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_edgeloop"))
        .args(arguments)
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool");
    let output = child.wait_with_output().expect("its end");
    assert_eq!(output.status.code(), Some(DONE), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn errors_that_nobody_can_read_still_have_their_exit_code() {
    let address = nobody().to_string();
    for output in ["exec 2>&-", "exec 2>/dev/full"] {
        let ended = edgeloop(&["bench", &address, "--rate", "0"]).shell(output).run();
        assert_eq!(ended.code, Some(USAGE), "{output}");
    }
}
