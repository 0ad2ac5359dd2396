//! Contract, Faults: C33 to C36. A panic in a handler (C32) cannot be caused from outside; the
//! library's own tests show it.

mod serve;

use std::net::TcpListener;
use std::time::Duration;

use rustix::process::Signal;
use serve::{edgeloop, serve, server};
use testkit::{PATIENCE, Peer, Stopwatch, Stream, TcpSockets, eventually};

const MIB: usize = 1024 * 1024;

#[test]
fn c33_a_signal_always_wakes_the_loop() {
    for round in 0..20 {
        let mut server = serve(&[]);
        // At different moments of its life: while it starts, while it works, while it sleeps.
        if round % 3 > 0 {
            let peer = Peer::connect(server.address());
            peer.expect_echo(b"hello");
            if round % 3 > 1 {
                peer.half_close();
                peer.expect_eof();
            }
        }
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code_within(PATIENCE), 0, "round {round}");
    }
}

#[test]
fn c33_a_signal_in_the_same_wake_up_as_data_loses_neither() {
    let mut server = serve(&[]);
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    server.stopped(|| {
        peer.send(b"one more");
        server.signal(Signal::TERM);
    });
    peer.expect(b"one more");
    peer.half_close();
    peer.expect_eof();
    assert_eq!(server.exit_code_within(PATIENCE), 0);
}

/// What a hostile peer would like to see in somebody's terminal.
const HOSTILE: &[u8] =
    b"HOSTILE\x1b[31mred\x1b]0;title\x07\n2000-01-01 INFO forged line\r\x08\x00\x7f\x9b31m\xc2\x9b\xe2\x80\xae";

/// Nothing but what a terminal prints, and the line feeds that end our own lines.
#[track_caller]
fn expect_harmless(log: &[u8]) {
    let text = std::str::from_utf8(log).expect("a log in UTF-8");
    let harmful = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    let found = text.chars().find(|&c| harmful(c));
    assert_eq!(found, None, "in the log:\n{}", text.escape_debug());
    let forged = text.lines().find(|line| line.starts_with("2000-01-01"));
    assert_eq!(forged, None, "a peer wrote a line of its own");
}

#[test]
fn c34_a_peers_bytes_never_reach_the_log_raw() {
    for format in ["text", "json"] {
        let server = serve(&["-vv", "--log-format", format]);
        let peer = Peer::connect(server.address());
        peer.expect_echo(HOSTILE);
        peer.half_close();
        peer.expect_eof();
        server.closing_of(peer.address());
        let log = server.log().raw();
        assert!(server.log().text().contains("HOSTILE"), "{format}: no payload with -vv");
        expect_harmless(&log);
        if format == "json" {
            let objects = |line: &str| line.starts_with('{') && line.ends_with('}');
            assert!(server.log().text().lines().all(objects), "{}", server.log().text());
        }
    }
}

#[test]
fn c34_payload_is_logged_at_the_most_verbose_level_only() {
    let server = serve(&[]);
    let peer = Peer::connect(server.address());
    peer.expect_echo(HOSTILE);
    peer.half_close();
    peer.expect_eof();
    server.closing_of(peer.address());
    assert!(!server.log().text().contains("HOSTILE"), "{}", server.log().text());
    expect_harmless(&server.log().raw());
}

#[test]
fn c34_payload_is_shortened() {
    let server = serve(&["-vv"]);
    let peer = Peer::connect(server.address());
    peer.expect_stream_echo(34, 2 * MIB as u64);
    peer.half_close();
    peer.expect_eof();
    server.closing_of(peer.address());
    let logged = server.log().raw().len();
    assert!(logged < MIB, "{logged} bytes of log for 2 MiB of payload");
    expect_harmless(&server.log().raw());
}

/// Far more lines than a pipe holds.
#[track_caller]
fn chat(address: std::net::SocketAddr) {
    let peer = Peer::connect(address);
    for number in 0..3000_u32 {
        peer.expect_echo(&number.to_be_bytes());
    }
    for _ in 0..100 {
        Peer::connect(address).expect_echo(b"hello");
    }
}

#[test]
fn c35_a_blocked_stderr_blocks_neither_the_loop_nor_the_end() {
    let mut server = server(&["-vv"]).stderr_stalls().start();
    chat(server.address());
    let before = server.process().memory().rss;
    chat(server.address());
    let grown = server.process().memory().rss.saturating_sub(before);
    assert!(grown < 4 * MIB, "lines that nobody reads took {grown} bytes");
    let watch = Stopwatch::start(&[server.process()]);
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 0);
    // Nobody is connected: all that it may wait for is the writer of its log, for a second.
    watch.expect_within(Duration::from_secs(8));
}

#[test]
fn c35_a_closed_stderr_does_not_end_it() {
    let mut server = server(&["-vv"]).stderr_closes().start();
    chat(server.address());
    assert!(server.is_running());
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 0);
}

#[test]
fn c35_stderr_is_never_made_non_blocking() {
    let server = serve(&["-vv"]);
    Peer::connect(server.address()).expect_echo(b"hello");
    let descriptors = server.process().descriptors();
    for open in descriptors.iter().filter(|open| open.number <= 2) {
        assert!(!open.is_non_blocking(), "{open:?} is shared with the user's shell");
    }
}

#[test]
fn c36_without_standard_descriptors_it_serves_and_logs_into_no_socket() {
    for closed in ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"] {
        let free = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = free.local_addr().expect("address");
        drop(free);
        let mut server = edgeloop(&["serve", "-vv", &address.to_string()])
            .shell(&format!("exec {closed}"))
            .start_mute();
        eventually(&format!("it listens with {closed}"), || {
            assert!(server.is_running(), "it ended with {closed}");
            TcpSockets::now().listener(address.port()).is_some()
        });
        for seed in 0..20 {
            let peer = Peer::connect(address);
            // Any byte that is not an echo would be a line of log.
            peer.expect_stream_echo(seed, 3000);
            peer.half_close();
            peer.expect_eof();
        }
        for open in server.process().descriptors() {
            assert!(open.number > 2 || !open.is_socket(), "with {closed}: {open:?}");
        }
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code_within(PATIENCE), 0, "with {closed}");
    }
}

#[test]
fn c36_what_a_peer_sends_is_not_mistaken_for_standard_input() {
    let mut server = server(&[]).shell("exec 0<&-").start();
    let bytes = Stream::new(36).take(1000);
    Peer::connect(server.address()).expect_echo(&bytes);
    assert!(server.is_running());
}
