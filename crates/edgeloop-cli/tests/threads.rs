//! `serve --threads`: a group of loops in the tool.

mod serve;

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;
use serve::{edgeloop, expect_backlog_served, server};
use testkit::{PATIENCE, Peer, STRACE, Server, eventually, skip_unless};

/// How many connections each loop has, by the lines of `-v`.
fn loads(log: &str) -> BTreeMap<String, usize> {
    let mut loads = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains(" opened ")) {
        let id = line.split("id=").nth(1).and_then(|rest| rest.split(' ').next()).expect("an id");
        let number = id.split_once('/').map_or("0", |(number, _)| number);
        *loads.entry(number.to_owned()).or_default() += 1;
    }
    loads
}

/// The value of a field in the line of the totals.
fn total(server: &Server, field: &str) -> u64 {
    let line = server.log().expect_line("totals");
    let value = line.split(&format!(" {field}=")).nth(1).and_then(|rest| rest.split(' ').next());
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{field} in {line}"))
}

#[test]
fn c52_serve_spreads_connections_over_its_threads_and_sums_up() {
    for spread in ["least", "reuseport", "exclusive"] {
        let mut server = server(&["-v", "--threads", "3", "--spread", spread, "--pin"]).start();
        let peers: Vec<_> = (0..60).map(|_| Peer::connect(server.address())).collect();
        peers.iter().for_each(|peer| peer.expect_echo(b"hello"));
        for peer in peers {
            peer.half_close();
            peer.expect_eof();
        }
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code_within(PATIENCE), 0);
        let sums = ["accepted", "ended", "bytes_in", "bytes_out"].map(|it| total(&server, it));
        assert_eq!(sums, [60, 60, 300, 300], "{spread}");
        let loads = loads(&server.log().text());
        assert_eq!(loads.values().sum::<usize>(), 60);
        if spread == "least" {
            assert!(loads.len() == 3 && loads.values().all(|&load| load <= 22), "{loads:?}");
        }
    }
}

#[test]
fn c52_serve_with_threads_drains_what_waits_in_every_backlog() {
    for spread in ["least", "reuseport"] {
        let mut server = server(&["--threads", "2", "--spread", spread]).start();
        let address = server.address();
        expect_backlog_served(&mut server, || Peer::connect(address));
    }
}

#[test]
fn c52_the_drain_timeout_and_a_second_signal_end_all_threads() {
    let mut server = server(&["--threads", "2", "--drain-timeout", "50ms"]).start();
    let stuck: Vec<_> = (0..4).map(|_| Peer::narrow(server.address())).collect();
    let fill = |peer: &Peer| while peer.send_what_fits(&[b'x'; 64 * 1024]) > 0 {};
    stuck.iter().for_each(fill);
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 1);
    assert_eq!(total(&server, "cut_off"), 4);

    let mut server = serve::server(&["--threads", "2", "--drain-timeout", "none"]).start();
    let stuck: Vec<_> = (0..4).map(|_| Peer::narrow(server.address())).collect();
    stuck.iter().for_each(fill);
    server.signal(Signal::TERM);
    eventually("it drains", || Peer::try_connect(server.address()).is_err());
    assert_eq!(server.exit_code_of_signals(Signal::INT, PATIENCE), 130);
}

#[test]
fn c52_the_cap_of_serve_is_that_of_all_threads() {
    let server = server(&["--threads", "3", "--max-connections", "4"]).start();
    let mut peers: Vec<_> = (0..4).map(|_| Peer::connect(server.address())).collect();
    peers.iter().for_each(|peer| peer.expect_echo(b"in"));
    let waiter = Peer::connect(server.address());
    waiter.send(b"let me in");
    server.log().expect_line("connection limit");
    waiter.expect_silence(Duration::from_millis(50));
    peers.pop();
    waiter.expect(b"let me in");
}

#[test]
fn c52_a_loop_whose_thread_cant_be_started_ends_the_group_and_is_named() {
    let name = "c52_a_loop_whose_thread_cant_be_started_ends_the_group_and_is_named";
    if skip_unless(name, STRACE) {
        return;
    }
    let refused = ["-e", "trace=clone3,clone", "-e", "inject=clone3,clone:error=EAGAIN"];
    let ended = edgeloop(&["serve", "127.0.0.1:0", "--threads", "3"]).traced(&refused).run();
    assert_eq!(ended.code, Some(70), "{}", ended.stderr);
    let line = "cannot start the thread of loop 1: Resource temporarily unavailable";
    assert!(ended.stderr.contains(line), "{}", ended.stderr);
}

#[test]
fn c52_the_descriptors_that_loops_share_leave_a_reserve() {
    let server = server(&["--threads", "4", "--pipes", "0", "--max-connections", "1000"])
        .descriptors(200)
        .start();
    let line = server.log().expect_line("--max-connections 1000 lowered to ");
    let cap = line.split(" lowered to ").nth(1).and_then(|rest| rest.split(':').next());
    let cap: usize = cap.and_then(|cap| cap.parse().ok()).expect("a number");
    // 32 are the reserve; each loop has 3 descriptors, and one for its listener.
    assert!((110..=200 - 32 - 4 * 4).contains(&cap), "{line}");
    let peers: Vec<_> = (0..cap).map(|_| Peer::connect(server.address())).collect();
    peers.iter().for_each(|peer| peer.expect_echo(b"hello"));
    assert!(server.process().descriptor_count() <= 200 - 32);
}

#[test]
fn threads_and_spread_are_read_and_what_has_no_effect_is_said() {
    for (option, value, expected) in [
        ("--threads", "0", "from 1 to 512, or auto"),
        ("--threads", "many", "from 1 to 512, or auto"),
        ("--spread", "most", "least, reuseport or exclusive"),
    ] {
        let ended = edgeloop(&["serve", option, value]).run();
        assert_eq!(ended.code, Some(2));
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
    let ended = edgeloop(&["serve", "--threads", "4", "--buffer-limit", "512KiB"]).run();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("524288 bytes for 4 loops is below 1048576"), "{}", ended.stderr);
    let server = server(&["--spread", "exclusive", "--pin"]).start();
    server.log().expect_line("--spread has no effect: there is one thread");
    server.log().expect_line("--pin has no effect: there is one thread");
    let server = serve::server(&["--threads", "auto"]).start();
    Peer::connect(server.address()).expect_echo(b"hello");
}
