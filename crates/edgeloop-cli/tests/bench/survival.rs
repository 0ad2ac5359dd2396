//! Results survive whatever becomes of standard error, of of a file (C35).

use std::io::Write as _;
use std::process::{Command, Stdio};

use rustix::io::ioctl_fionbio;
use tempfile::NamedTempFile;
use testkit::{OddServer, Oddity, eventually};

use crate::run::{DONE, USAGE};
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
