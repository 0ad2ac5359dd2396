//! The command as a user runs it: a pair from end to end, and what it says to what is wrong.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

fn comparisons(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_comparisons"))
        .args(arguments)
        .output()
        .expect("the command can be started")
}

#[track_caller]
fn expect_usage(arguments: &[&str], words: &str) {
    let output = comparisons(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?}: {said}");
}

#[test]
fn a_wrong_name_is_one_line_that_names_it() {
    expect_usage(&["pair", "nginx", "bare", "--shape", "small-50"], "\"nginx\"");
    expect_usage(&["pair", "edgeloop", "nginx", "--shape", "small-50"], "\"nginx\"");
    expect_usage(&["pair", "edgeloop", "bare", "--shape", "small-51"], "\"small-51\"");
    expect_usage(&["pair", "edgeloop", "itself", "--shape", "small-50"], "itself");
    expect_usage(&["pair", "edgeloop", "bare", "--shape", "fanout-500"], "fanout");
    expect_usage(&["pair", "smol", "bare", "--shape", "unix-50"], "over Unix sockets");
    expect_usage(&["pair", "libevent", "bare", "--shape", "udp-50"], "over UDP");
    expect_usage(&["pair", "edgeloop", "bare"], "--shape");
    expect_usage(&["--nonsense"], "--nonsense");
}

/// Servers and client need a core each.
fn too_few_cores(test: &str) -> bool {
    let too_few = thread::available_parallelism().map_or(1, usize::from) < 2;
    if too_few {
        eprintln!("SKIPPED: {test}: there is one core only");
    }
    too_few
}

/// A pair of our own servers, which are always there, with slices as short as can be. Whether the
/// null holds depends on the machine, so both ends are allowed; that everything was answered, and
/// counted, does not.
#[track_caller]
fn expect_pair(shape: &str, unit: &str) {
    let ours = ["pair", "edgeloop-library", "edgeloop-library"];
    let short = ["--shape", shape, "--cycles", "8", "--slice", "2"];
    let output = comparisons(&[&ours[..], &short].concat());
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{said}{errors}");
    for words in ["ratio ", "null ", &format!(" of processor time a {unit}")] {
        assert!(said.contains(words), "{words:?} is not in {said}{errors}");
    }
}

#[test]
fn a_pair_is_measured_from_end_to_end() {
    if !too_few_cores("a_pair_is_measured_from_end_to_end") {
        expect_pair("small-50", "message");
    }
}

#[test]
fn a_pair_over_unix_sockets_is_measured_from_end_to_end() {
    if !too_few_cores("a_pair_over_unix_sockets_is_measured_from_end_to_end") {
        expect_pair("unix-50", "message");
        expect_pair("unix-stream-1", "KiB");
    }
}

#[test]
fn a_pair_over_udp_is_measured_from_end_to_end() {
    if !too_few_cores("a_pair_over_udp_is_measured_from_end_to_end") {
        expect_pair("udp-1", "message");
        expect_pair("udp-1400-50", "message");
    }
}

#[test]
fn an_interrupted_run_leaves_no_server_behind() {
    if too_few_cores("an_interrupted_run_leaves_no_server_behind") {
        return;
    }
    let mut run = Command::new(env!("CARGO_BIN_EXE_comparisons"))
        .args(["pair", "edgeloop-library", "edgeloop-library", "--shape", "small-1"])
        .args(["--cycles", "1000000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command can be started");
    let children = format!("/proc/{0}/task/{0}/children", run.id());
    let servers = testkit::eventually_some("there are three servers", || {
        let servers = fs::read_to_string(&children).expect("the run goes on");
        (servers.split_whitespace().count() == 3).then_some(servers)
    });
    let pid = i32::try_from(run.id()).ok().and_then(Pid::from_raw).expect("a process number");
    kill_process(pid, Signal::INT).expect("it runs");
    let ended = run.wait().expect("it was started here");
    assert_eq!(ended.code(), Some(130));
    for server in servers.split_whitespace() {
        assert!(!Path::new("/proc").join(server).exists(), "server {server} is left");
    }
}

/// What came out depends on the machine; that everything was answered, and is shown, does not.
#[track_caller]
fn expect_in_turn(command: &str, expected: &[&str]) {
    if too_few_cores(command) {
        return;
    }
    let output = comparisons(&[command, "--rounds", "6", "--turn", "20"]);
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{said}{errors}");
    for words in expected {
        assert!(said.contains(words), "{words:?} is not in {said}{errors}");
    }
}

#[test]
fn latency_is_measured_from_end_to_end() {
    let expected = ["edgeloop-spin", "tokio-ready", "p99 of edgeloop-spin by that of tokio-copy"];
    expect_in_turn("latency", &expected);
}

#[test]
fn overload_is_measured_from_end_to_end() {
    let expected = ["edgeloop", "bare", "worst connection"];
    expect_in_turn("overload", &expected);
}

#[test]
fn too_few_rounds_for_an_interval_are_refused() {
    expect_usage(&["latency", "--rounds", "5"], "5");
    expect_usage(&["overload", "--turn", "0"], "--turn");
}
