//! Results survive whatever becomes of standard error, of a file, and of the threads (C35).

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::io::ioctl_fionbio;
use rustix::process::Signal;
use tempfile::NamedTempFile;
use testkit::{OddServer, Oddity, STRACE, eventually, skip_unless};

use crate::run::{Bench, DONE, USAGE};
use crate::serve::{edgeloop, program};

#[test]
fn c35_a_file_size_limit_costs_no_results() {
    let server = OddServer::start(Oddity::None);
    let address = server.address().to_string();
    let line = ["bench", &address, "-c", "2", "-d", "3s", "--warmup", "0"];
    let file = NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("UTF-8");
    // No file may grow at all. What standard error loses is lost; a table of seconds is a result.
    let ended = edgeloop(&line).shell(&format!("ulimit -f 0; exec 2>{path}")).run();
    assert_eq!(ended.code, Some(DONE), "{}", ended.stdout);
    assert!(ended.stdout.contains("  99 %"), "{}", ended.stdout);
    let table = NamedTempFile::new().expect("a file");
    let csv = table.path().to_str().expect("UTF-8");
    let ended = edgeloop(&line).args(&["--csv", csv]).shell("ulimit -f 0").run();
    assert_eq!(ended.code, Some(USAGE), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("  99 %"), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains(csv), "{}", ended.stderr);
}

#[test]
fn c35_without_another_thread_a_run_has_its_results() {
    if skip_unless("c35_without_another_thread_a_run_has_its_results", STRACE) {
        return;
    }
    let server = OddServer::start(Oddity::None);
    let address = server.address().to_string();
    let no_threads = ["-e", "inject=clone3,clone:error=EAGAIN", "-e", "trace=clone3,clone"];
    let alone = |options: &[&str]| {
        edgeloop(&["bench", &address, "--warmup", "0"]).args(options).traced(&no_threads)
    };
    let ended = alone(&["-c", "2", "-n", "1000"]).run();
    assert_eq!(ended.code, Some(DONE), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("1,000"), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("cannot start a thread"), "{}", ended.stderr);

    // Signals are heard on that one thread, too.
    let running = alone(&["-c", "1", "-d", "1h"]).begin();
    let before = server.received();
    eventually("messages come", || server.received() > before + 640);
    running.process().signal(Signal::INT);
    let ended = running.end();
    assert_eq!(ended.code, Some(DONE), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("Interrupted"), "{}{}", ended.stdout, ended.stderr);

    // Where several were asked for, that is said.
    let ended = alone(&["-c", "2", "-t", "2", "-n", "100"]).run();
    assert_eq!(ended.code, Some(DONE), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("thread 1 of --threads 2"), "{}", ended.stderr);
}

#[test]
fn c35_with_fewer_threads_than_were_asked_for_a_run_is_made_and_says_so() {
    let name = "c35_with_fewer_threads_than_were_asked_for_a_run_is_made_and_says_so";
    if skip_unless(name, STRACE) {
        return;
    }
    let server = OddServer::start(Oddity::None);
    let address = server.address().to_string();
    // The signals have one, so that two are left for loops.
    let few = ["-e", "inject=clone3,clone:error=EAGAIN:when=4+", "-e", "trace=clone3,clone"];
    let json = NamedTempFile::new().expect("a file");
    let path = json.path().to_str().expect("UTF-8");
    let line = ["bench", &address, "--warmup", "0", "-c", "6", "-t", "5", "-n", "1000"];
    let ended = edgeloop(&line).args(&["--json", path]).traced(&few).run();
    assert_eq!(ended.code, Some(DONE), "{}{}", ended.stdout, ended.stderr);
    let words = ["cannot start thread 3 of --threads 5", "measuring with 2 threads"];
    assert!(words.iter().all(|words| ended.stderr.contains(words)), "{}", ended.stderr);
    let text = std::fs::read_to_string(json.path()).expect("the results");
    let results: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&results["options"]["threads"], &results["messages"]), (&2.into(), &1000.into()));
    assert_eq!(results["connections_alive"], 6);
}

#[test]
fn c35_a_standard_error_that_nobody_reads_holds_no_results_back() {
    let server = OddServer::start(Oddity::None);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    ioctl_fionbio(&writer, true).expect("not to wait");
    while (&writer).write(b".").is_ok() {}
    ioctl_fionbio(&writer, false).expect("to wait");
    let mut child = Command::new(program())
        .args(["bench", &server.address().to_string(), "-d", "2s", "--warmup", "0"])
        .stderr(writer)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tool");
    let mut code = None;
    eventually("it has ended", || {
        code = child.try_wait().expect("its state");
        code.is_some()
    });
    let ended = child.wait_with_output().expect("its output");
    assert_eq!(ended.status.code(), Some(DONE));
    assert!(String::from_utf8_lossy(&ended.stdout).contains("  99 %"));
    drop(reader);
}

#[test]
fn two_signals_that_come_at_once_end_a_run_with_its_results() {
    for _ in 0..5 {
        let server = OddServer::start(Oddity::Delays(Duration::from_millis(5)));
        let going = Bench::of(&server.address().to_string(), "-c 2 -d 1h").begin();
        eventually("messages come", || server.received() >= 640);
        let process = going.running.process();
        process.signal(Signal::TERM);
        process.signal(Signal::INT);
        let ran = going.end();
        ran.expect_exit(DONE).expect_said("Interrupted");
    }
}
