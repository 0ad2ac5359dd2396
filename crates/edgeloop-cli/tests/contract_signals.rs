//! Contract, Stopping: what each signal does, and how it is heard (C37, C38).

mod serve;

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serve::{edgeloop, program, serve, server};
use testkit::{Launch, PATIENCE, PYTHON, Peer, STRACE, Server, eventually, holds_for, skip_unless};

/// After that a server that drains should long have ended, on any machine.
const ENDED: Duration = Duration::from_secs(25);

/// Those that do nothing. The last two come from what the log is written to.
const IGNORED: [Signal; 5] = [Signal::USR1, Signal::USR2, Signal::PIPE, Signal::XFSZ, Signal::TTOU];

/// A server whose parent does something first, and then becomes it.
fn after_python(preparation: &str) -> Launch {
    let script =
        format!("import os, signal, sys; {preparation}; os.execv(sys.argv[1], sys.argv[1:])");
    Launch::new("python3").args(&["-c", &script, &program(), "serve", "-v", "127.0.0.1:0"])
}

/// A drain that nothing but the end of this peer, or another signal, ends.
#[track_caller]
fn busy(server: &Server) -> Peer {
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    peer
}

/// Waits until the first signal has been heard.
#[track_caller]
fn expect_draining(server: &Server, peer: &Peer) {
    eventually("it drains", || {
        peer.expect_echo(b"tick");
        Peer::try_connect(server.address()).is_err()
    });
}

#[test]
fn c37_signals_that_the_parent_blocked_or_ignored_are_heard() {
    let name = "c37_signals_that_the_parent_blocked_or_ignored_are_heard";
    if skip_unless(name, PYTHON) {
        return;
    }
    let all = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())";
    let ignored = "[signal.signal(s, signal.SIG_IGN) for s in (signal.SIGINT, signal.SIGTERM)]";
    for preparation in [all, ignored] {
        for signal in [Signal::TERM, Signal::INT] {
            let mut server = after_python(preparation).start();
            Peer::connect(server.address()).expect_echo(b"hello");
            server.signal(signal);
            assert_eq!(server.exit_code_within(ENDED), 0, "{preparation}, {signal:?}");
            server.log().expect_line("totals");
        }
    }
}

#[test]
fn c37_a_blocked_signal_that_keeps_its_default_is_unblocked() {
    let name = "c37_a_blocked_signal_that_keeps_its_default_is_unblocked";
    if skip_unless(name, PYTHON) {
        return;
    }
    let all = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())";
    let mut server = after_python(all).start();
    server.signal(Signal::ALARM);
    eventually("it has ended", || !server.is_running());
}

#[test]
fn c37_signals_without_a_meaning_end_neither_a_server_nor_its_drain() {
    let mut server = serve(&["--drain-timeout", "60s"]);
    let peer = busy(&server);
    let send_all = |server: &Server| {
        for signal in IGNORED {
            for _ in 0..3 {
                server.signal(signal);
            }
        }
    };
    send_all(&server);
    peer.expect_echo(b"still there");
    server.signal(Signal::TERM);
    expect_draining(&server, &peer);
    send_all(&server);
    // Longer than the time in which a second signal would be taken for the first.
    holds_for(Duration::from_millis(500), "it drains", || {
        server.signal(Signal::HUP);
        peer.expect_echo(b"tick");
        server.is_running()
    });
    peer.half_close();
    peer.expect_eof();
    assert_eq!(server.exit_code_within(ENDED), 0);
    server.log().expect_line("totals accepted=");
}

#[test]
fn c37_a_hangup_drains_unless_it_was_ignored_from_the_start() {
    let mut hung_up = serve(&[]);
    let peer = busy(&hung_up);
    hung_up.signal(Signal::HUP);
    expect_draining(&hung_up, &peer);
    peer.half_close();
    peer.expect_eof();
    assert_eq!(hung_up.exit_code_within(ENDED), 0);
    hung_up.log().expect_line("SIGHUP: draining");

    let mut immune = server(&["-v"]).shell("trap '' HUP").start();
    immune.signal(Signal::HUP);
    let peer = busy(&immune);
    holds_for(Duration::from_millis(300), "it serves on", || {
        Peer::connect(immune.address()).expect_echo(b"hello");
        immune.is_running()
    });
    immune.signal(Signal::TERM);
    expect_draining(&immune, &peer);
    peer.half_close();
    assert_eq!(immune.exit_code_within(ENDED), 0);
}

#[test]
fn c37_two_signals_that_come_at_once_are_one() {
    for (first, second) in [
        (Signal::TERM, Signal::TERM),
        (Signal::TERM, Signal::INT),
        (Signal::INT, Signal::TERM),
        (Signal::HUP, Signal::TERM),
    ] {
        for _ in 0..5 {
            let mut server = serve(&["--drain-timeout", "60s"]);
            let peer = busy(&server);
            server.signal(first);
            server.signal(second);
            expect_draining(&server, &peer);
            // Far beyond the time in which the second would end it.
            peer.expect_stream_echo(7, 100_000);
            peer.half_close();
            peer.expect_eof();
            assert_eq!(server.exit_code_within(ENDED), 0, "{first:?}, {second:?}");
        }
    }
}

#[test]
fn c37_two_signals_that_a_stopped_server_finds_are_one() {
    let mut server = serve(&["--drain-timeout", "60s"]);
    let peer = busy(&server);
    server.stopped(|| {
        server.signal(Signal::TERM);
        server.signal(Signal::INT);
    });
    expect_draining(&server, &peer);
    peer.half_close();
    peer.expect_eof();
    assert_eq!(server.exit_code_within(ENDED), 0);
}

#[test]
fn c37_timeout_of_gnu_drains() {
    // It signals the process, and then its group with the process in it.
    let drain = || {
        let launch = edgeloop(&["serve", "127.0.0.1:0", "--drain-timeout", "30s"]);
        let mut server = launch.under(&["timeout", "3"]).start();
        let peer = Peer::connect(server.address());
        expect_draining(&server, &peer);
        peer.half_close();
        peer.expect_eof();
        // That of timeout, which has timed out.
        assert_eq!(server.exit_code_within(ENDED), 124);
        let totals = server.log().expect_line("totals");
        assert!(totals.contains("cut_off=0"), "{totals}");
        assert!(!server.log().text().contains("ended at once"), "{}", server.log().text());
    };
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(drain);
        }
    });
}

#[test]
fn c38_a_second_signal_ends_a_drain_that_a_hangup_began() {
    let mut server = serve(&["--drain-timeout", "60s"]);
    let peer = busy(&server);
    server.signal(Signal::HUP);
    expect_draining(&server, &peer);
    assert_eq!(server.exit_code_of_signals(Signal::TERM, PATIENCE), 143);
    peer.expect_reset();
}

#[test]
fn c37_the_signal_is_heard_although_sockets_cannot_send() {
    if skip_unless("c37_the_signal_is_heard_although_sockets_cannot_send", STRACE) {
        return;
    }
    let fault = "inject=sendto,sendmsg,write:error=EPERM";
    let mut server =
        server(&[]).traced(&["-e", fault, "-e", "trace=sendto,sendmsg,write"]).start_mute();
    // Its log can't be read, since it can't be written.
    eventually("it has a listener", || {
        let descriptors = server.process().descriptors();
        descriptors.iter().any(|open| open.is_socket() && !open.is_unix_socket())
    });
    let start = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(ENDED), 0);
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
}

#[test]
fn c38_one_second_signal_is_enough_once_the_pause_is_over() {
    let mut server = serve(&["--drain-timeout", "60s"]);
    let peer = busy(&server);
    server.signal(Signal::TERM);
    expect_draining(&server, &peer);
    holds_for(Duration::from_secs(1), "it drains", || {
        peer.expect_echo(b"tick");
        server.is_running()
    });
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 143);
}
