//! What a message costs the load generator, in system calls: those of any client, and none to time
//! it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;

use testkit::{STRACE, skip_unless};

use crate::serve::{program, server};

/// How often the thread that sends makes each system call, in a run of this many messages. What the
/// other threads do each second is no part of a message, and on a busy machine a run takes many
/// seconds.
fn calls(address: SocketAddr, messages: u32) -> BTreeMap<String, u32> {
    let record = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-s", "0", "-o"]).arg(record.path()).arg(program());
    strace.args(["bench", &address.to_string(), "-c", "1", "--warmup", "0", "-q"]);
    let output = strace.args(["-n", &messages.to_string()]).output().expect("run strace");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut threads: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    for line in std::fs::read_to_string(record.path()).expect("the record").lines() {
        let (thread, rest) = line.split_once(' ').expect("a thread");
        // Where a thread is interrupted by another's line, its call has two, of which one begins
        // with `<`.
        if let Some((name, _)) = rest.trim_start().split_once('(')
            && !name.starts_with(['<', '-', '+'])
        {
            let calls = threads.entry(thread.to_owned()).or_default();
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    let sends = |calls: &BTreeMap<String, u32>| calls.get("sendto").copied();
    threads.into_values().max_by_key(sends).expect("a thread")
}

#[test]
fn a_message_is_a_send_a_receive_and_a_wait_and_no_call_to_time_it() {
    if skip_unless("a_message_is_a_send_a_receive_and_a_wait_and_no_call_to_time_it", STRACE) {
        return;
    }
    const MORE: u32 = 1000;
    let server = server(&[]).start();
    let (few, many) = (calls(server.address(), 100), calls(server.address(), 100 + MORE));
    let more = |name: &str| {
        many.get(name).copied().unwrap_or(0).abs_diff(few.get(name).copied().unwrap_or(0))
    };
    assert_eq!((more("sendto"), more("recvfrom")), (MORE, MORE), "{few:?}, {many:?}");
    let waits: u32 = ["epoll_wait", "epoll_pwait", "epoll_pwait2"].map(more).iter().sum();
    assert!(waits <= MORE + MORE / 50, "{waits} waits, {few:?}, {many:?}");
    // What a thread does each second, or as its memory grows, is none of the messages'.
    for name in many.keys().filter(|name| !name.starts_with("epoll")) {
        if !matches!(name.as_str(), "sendto" | "recvfrom") {
            assert!(more(name) < MORE / 10, "{} more calls of {name}", more(name));
        }
    }
}
