//! Contract, Stopping: C37 and C38.

mod serve;

use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serve::{expect_backlog_served, serve, server};
use testkit::{PATIENCE, Peer, Stopwatch, Stream, eventually, holds_for, pour};

const QUIET: Duration = Duration::from_secs(1);
const KIB: usize = 1024;

#[test]
fn c37_with_nothing_to_do_it_ends_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = serve(&[]);
        let watch = Stopwatch::start(&[server.process()]);
        server.signal(signal);
        assert_eq!(server.exit_code_within(PATIENCE), 0);
        watch.expect_within(Duration::from_secs(8));
    }
}

#[test]
fn c37_what_waits_in_the_backlog_is_served() {
    let mut server = serve(&[]);
    let address = server.address();
    expect_backlog_served(&mut server, || Peer::connect(address));
}

#[test]
fn c37_the_listeners_close_and_the_connected_are_served_on() {
    let mut server = serve(&["--drain-timeout", "60s"]);
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    server.signal(Signal::TERM);
    eventually("newcomers are refused", || {
        peer.expect_echo(b"tick");
        Peer::try_connect(server.address()).is_err()
    });
    holds_for(3 * QUIET, "it is served on", || {
        peer.expect_echo(b"tick");
        thread::sleep(QUIET / 20);
        true
    });
    peer.half_close();
    peer.expect_eof();
    assert_eq!(server.exit_code_within(PATIENCE), 0);
}

#[test]
fn c37_the_second_of_quiet_counts_from_the_signal() {
    let mut server = serve(&[]);
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    // It has been quiet for longer than a second when the signal comes.
    peer.expect_silence(QUIET * 3 / 2);
    let watch = Stopwatch::start(&[server.process()]);
    server.signal(Signal::TERM);
    peer.expect_eof();
    assert!(watch.elapsed() >= QUIET, "closed {:?} after the signal", watch.elapsed());
    watch.expect_within(QUIET * 6);
    peer.half_close();
    assert_eq!(server.exit_code_within(PATIENCE), 0);
}

#[test]
fn c37_the_second_of_quiet_counts_from_the_last_byte() {
    let mut server = serve(&["--drain-timeout", "60s"]);
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    server.signal(Signal::TERM);
    peer.expect_silence(QUIET / 2);
    let watch = Stopwatch::start(&[server.process()]);
    peer.expect_echo(b"my last word");
    peer.expect_eof();
    assert!(watch.elapsed() >= QUIET, "closed {:?} after the last byte", watch.elapsed());
    watch.expect_within(QUIET * 6);
    peer.half_close();
    assert_eq!(server.exit_code_within(PATIENCE), 0);
}

#[test]
fn c37_an_idle_client_that_never_closes_does_not_hang_it() {
    let mut server = serve(&[]);
    let peers: Vec<Peer> = (0..10).map(|_| Peer::connect(server.address())).collect();
    for peer in &peers {
        peer.expect_echo(b"hello");
    }
    let watch = Stopwatch::start(&[server.process()]);
    server.signal(Signal::TERM);
    // A second of quiet, a second of lingering; the drain timeout is ten.
    assert_eq!(server.exit_code_within(PATIENCE), 0);
    watch.expect_within(Duration::from_secs(8));
}

#[test]
fn c37_a_quiet_peer_that_is_owed_something_is_waited_for() {
    let mut server = serve(&["--drain-timeout", "60s"]);
    let peers = [Peer::narrow(server.address())];
    let mut streams = [Stream::new(37)];
    pour(&peers, &mut streams);
    server.signal(Signal::TERM);
    holds_for(QUIET * 3, "it waits", || server.is_running());
    peers[0].expect_stream(&mut Stream::new(37), streams[0].position());
    peers[0].expect_eof();
    peers[0].half_close();
    assert_eq!(server.exit_code_within(PATIENCE), 0);
}

#[test]
fn c37_accepted_output_outlives_the_server() {
    let mut server = serve(&[]);
    let peer = Peer::connect(server.address());
    let owed = Stream::new(38).take(500 * KIB);
    peer.send(&owed);
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 0);
    peer.expect(&owed);
    peer.expect_eof();
}

#[test]
fn c37_the_deadline_cuts_off_the_rest_and_counts_them() {
    let mut server = serve(&["--drain-timeout", "2s"]);
    let peers: Vec<Peer> = (0..3).map(|_| Peer::narrow(server.address())).collect();
    pour(&peers, &mut vec![Stream::new(39); peers.len()]);
    let watch = Stopwatch::start(&[server.process()]);
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 1);
    let lasted = watch.elapsed();
    assert!(lasted >= Duration::from_secs(2), "it ended after {lasted:?}");
    watch.expect_within(Duration::from_secs(9));
    for peer in &peers {
        let closing = server.closing_of(peer.address());
        assert!(closing.says("cut off"), "{closing}");
        assert!(closing.dropped() > 0, "{closing}");
        peer.expect_reset();
    }
    let line = server.log().expect_line("connections cut off by the drain timeout");
    assert!(line.ends_with(": 3"), "{line}");
}

#[test]
fn c37_a_client_that_never_falls_silent_is_cut_off() {
    let mut server = serve(&["--drain-timeout", "2s"]);
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    server.signal(Signal::TERM);
    eventually("it is cut off", || {
        let _ = peer.stream().take_error();
        thread::sleep(QUIET / 20);
        peer.try_send(b"tick").is_err()
    });
    assert_eq!(server.exit_code_within(PATIENCE), 1);
}

#[test]
fn c37_a_drain_timeout_of_0_ends_at_once() {
    let mut server = serve(&["--drain-timeout", "0"]);
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    let watch = Stopwatch::start(&[server.process()]);
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 1);
    watch.expect_within(Duration::from_secs(5));
}

#[test]
fn c37_the_end_says_its_totals() {
    let mut server = server(&[]).start();
    for _ in 0..3 {
        let peer = Peer::connect(server.address());
        peer.expect_echo(&[b'x'; 1000]);
        peer.half_close();
        peer.expect_eof();
    }
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 0);
    let line = server.log().expect_line("totals");
    for count in ["accepted=3", "ended=3", "cut_off=0", "bytes_in=3000", "bytes_out=3000"] {
        assert!(line.contains(count), "{count} is missing: {line}");
    }
}

#[test]
fn c37_exit_code_0_means_that_the_kernel_accepted_all_output() {
    let mut server = serve(&["--write-timeout", "1s"]);
    let peers = [Peer::narrow(server.address())];
    pour(&peers, &mut [Stream::new(41)]);
    let closing = server.closing_of(peers[0].address());
    assert!(closing.dropped() > 0, "{closing}");
    // All connections have ended, and nothing is cut off.
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 1);
    let line = server.log().expect_line("bytes of output dropped");
    assert!(line.ends_with(&format!(": {}", closing.dropped())), "{line}");
    let log = server.log().text();
    assert!(log.ends_with(&format!("{line}\n")), "it is not the last line: {log}");
}

#[test]
fn c37_a_reset_that_costs_no_output_is_no_bad_end() {
    let mut server = serve(&[]);
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    let address = peer.address();
    peer.reset();
    server.closing_of(address);
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 0);
}

#[test]
fn c38_a_second_signal_ends_it_at_once() {
    for (first, second, code) in [
        (Signal::TERM, Signal::TERM, 128 + 15),
        (Signal::INT, Signal::INT, 128 + 2),
        (Signal::TERM, Signal::INT, 128 + 2),
        (Signal::INT, Signal::TERM, 128 + 15),
    ] {
        let mut server = serve(&["--drain-timeout", "60s"]);
        let peers = [Peer::narrow(server.address())];
        pour(&peers, &mut [Stream::new(40)]);
        server.signal(first);
        eventually("it drains", || Peer::try_connect(server.address()).is_err());
        let watch = Stopwatch::start(&[server.process()]);
        assert_eq!(server.exit_code_of_signals(second, PATIENCE), code, "{first:?}, {second:?}");
        watch.expect_within(Duration::from_secs(5));
        let name = if code == 130 { "SIGINT" } else { "SIGTERM" };
        server.log().expect_line(&format!("{name}, the second signal: ended at once"));
        let log = server.log().text();
        let last = log.lines().last().unwrap_or_default();
        assert!(last.ends_with("connections cut off: 1") && last.contains(name), "{log}");
        assert!(log.contains("totals accepted="), "{log}");
    }
}
