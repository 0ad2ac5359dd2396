//! What the server costs, counted in system calls: nothing that noise could touch.

mod serve;

use rustix::process::Signal;
use serve::{SOCKETS_AND_EVENTS, server};
use testkit::{Call, Mark, PATIENCE, Peer, STRACE, Server, TcpSockets, eventually, skip_unless};

/// Every call of every thread is in the trace.
fn start() -> Server {
    server(&[]).traced(&["-e", "trace=all"]).start()
}

fn named(calls: &[Call], name: &str) -> usize {
    calls.iter().filter(|call| call.name == name).count()
}

/// The loop's calls after `mark`, and the mark at which it came to rest after so many sends.
#[track_caller]
fn rest_after(server: &Server, mark: Mark, sends: usize) -> (Vec<Call>, Mark) {
    let (calls, mark) =
        server.trace().rest(mark, "the loop rests", |calls| named(calls, "sendto") == sends);
    // The thread of the log may still be there, and ends when it has had nothing to do for a while.
    eventually("the loop is the only thread", || server.process().threads().len() == 1);
    let later = server.trace().loop_calls_since(mark);
    assert!(later.is_empty(), "the loop was to rest: {later:#?}");
    (calls, server.trace().mark())
}

#[test]
fn a_round_trip_is_one_receive_one_send_and_at_most_one_wait() {
    if skip_unless("a_round_trip_is_one_receive_one_send_and_at_most_one_wait", STRACE) {
        return;
    }
    let server = start();
    let peer = Peer::connect(server.address());
    let message = [b'm'; 64];
    peer.expect_echo(&message);
    let (_, mark) = rest_after(&server, Mark::START, 1);

    let rounds = 100;
    for _ in 0..rounds {
        peer.expect_echo(&message);
    }
    let (calls, _) = rest_after(&server, mark, rounds);
    let waits = calls.iter().filter(|call| call.is_wait()).count();
    assert_eq!(named(&calls, "recvfrom"), rounds);
    assert_eq!(named(&calls, "sendto"), rounds);
    assert!(waits <= rounds, "{waits} waits for {rounds} round trips");
    // Of any thread.
    let all = server.trace().calls_since(mark);
    let other: Vec<&Call> = all
        .iter()
        .filter(|call| !call.is_wait() && !matches!(call.name.as_str(), "recvfrom" | "sendto"))
        .collect();
    assert!(other.is_empty(), "{other:#?}");
}

#[test]
fn sixteen_messages_in_one_segment_are_one_receive_and_one_send() {
    if skip_unless("sixteen_messages_in_one_segment_are_one_receive_and_one_send", STRACE) {
        return;
    }
    let server = start();
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    let (_, mark) = rest_after(&server, Mark::START, 1);
    peer.expect_echo(&[b'm'; 16 * 64]);
    let (calls, _) = rest_after(&server, mark, 1);
    assert_eq!(named(&calls, "recvfrom"), 1, "{calls:#?}");
    assert_eq!(named(&calls, "sendto"), 1, "{calls:#?}");
}

/// The names of the loop's calls from accepting this peer to closing it, waits left out.
#[track_caller]
fn life(server: &Server, mark: Mark, peer: &Peer) -> Vec<String> {
    let descriptor = server.trace().descriptor_of(peer.address()).expect("accepted");
    let closed = |call: &Call| call.name == "close" && call.descriptor() == Some(descriptor);
    let calls = server.trace().expect(mark, "it is closed", |calls| calls.iter().any(closed));
    let end = calls.iter().position(closed).expect("the close");
    let failed = |call: &&Call| call.error() != Some("EAGAIN");
    calls[..=end]
        .iter()
        .filter(|call| !call.is_wait())
        .filter(failed)
        .filter(|call| !is_debug_check(call))
        .map(|call| call.name.clone())
        .collect()
}

/// Without optimisation, the standard library looks whether a descriptor is open before closing it.
fn is_debug_check(call: &Call) -> bool {
    cfg!(debug_assertions) && call.name == "fcntl" && call.arguments.contains("F_GETFD")
}

#[test]
fn a_connections_life_is_six_calls() {
    if skip_unless("a_connections_life_is_six_calls", STRACE) {
        return;
    }
    let server = start();
    // The first connection may set things up that the others find.
    let first = Peer::connect(server.address());
    first.expect_echo(b"hello");
    let (_, mark) = rest_after(&server, Mark::START, 1);

    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    peer.half_close();
    peer.expect_eof();
    let names = life(&server, mark, &peer);
    // The peer ended first: no shutdown, and no epoll_ctl but the one that adds.
    assert_eq!(names, ["accept4", "epoll_ctl", "recvfrom", "sendto", "recvfrom", "close"]);
}

#[test]
fn options_are_set_on_the_listener_and_inherited() {
    if skip_unless("options_are_set_on_the_listener_and_inherited", STRACE) {
        return;
    }
    let options = ["--idle-timeout", "none", "--user-timeout", "1m", "--send-buffer", "64KiB"];
    let server = server(&options).traced(SOCKETS_AND_EVENTS).start();
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    let echoed = |calls: &[Call]| named(calls, "sendto") == 1;
    let calls = server.trace().expect(Mark::START, "the echo is in the trace", echoed);
    let listened = calls.iter().position(|call| call.name == "listen").expect("listen");
    for option in [
        "TCP_NODELAY",
        "SO_OOBINLINE",
        "SO_REUSEADDR",
        "SO_KEEPALIVE",
        "TCP_KEEPIDLE, [120]",
        "TCP_KEEPINTVL, [20]",
        "TCP_KEEPCNT, [6]",
        "TCP_USER_TIMEOUT, [60000]",
        "SO_SNDBUF, [65536]",
    ] {
        let set = calls[..listened]
            .iter()
            .any(|call| call.name == "setsockopt" && call.arguments.contains(option));
        assert!(set, "{option} is not set before listen");
    }
    let accepted = calls.iter().position(|call| call.name == "accept4").expect("accept");
    for name in ["setsockopt", "getsockopt", "fcntl", "ioctl", "getsockname", "getpeername"] {
        let made = calls[accepted..].iter().filter(|call| !is_debug_check(call));
        assert_eq!(made.filter(|call| call.name == name).count(), 0, "{name} after accept4");
    }
}

#[test]
fn a_connection_that_says_nothing_costs_four_calls() {
    if skip_unless("a_connection_that_says_nothing_costs_four_calls", STRACE) {
        return;
    }
    let server = start();
    let first = Peer::connect(server.address());
    first.expect_echo(b"hello");
    let (_, mark) = rest_after(&server, Mark::START, 1);
    let peer = Peer::connect(server.address());
    eventually("it is accepted", || {
        TcpSockets::now().listener(server.port()).is_some_and(|listener| listener.unread == 0)
            && server.trace().descriptor_of(peer.address()).is_some()
    });
    peer.half_close();
    peer.expect_eof();
    let names = life(&server, mark, &peer);
    assert_eq!(names, ["accept4", "epoll_ctl", "recvfrom", "close"]);
}

#[test]
fn who_spoke_before_being_accepted_is_answered_before_the_next_wait() {
    if skip_unless("who_spoke_before_being_accepted_is_answered_before_the_next_wait", STRACE) {
        return;
    }
    let server = start();
    let first = Peer::connect(server.address());
    first.expect_echo(b"hello");
    let (_, mark) = rest_after(&server, Mark::START, 1);
    let peer = server.stopped(|| {
        let peer = Peer::connect(server.address());
        peer.send(b"hello");
        peer
    });
    peer.expect(b"hello");
    let (calls, mark) = rest_after(&server, mark, 1);
    let accepted = calls.iter().position(|call| call.name == "accept4").expect("it is accepted");
    let names: Vec<&str> = calls[accepted..].iter().map(|call| call.name.as_str()).collect();
    let [begin @ .., wait, _] = &names[..] else { panic!("{names:?}") };
    assert_eq!(begin, ["accept4", "epoll_ctl", "recvfrom", "sendto", "accept4"]);
    // The registration's own event finds nothing more to read.
    assert!(wait.starts_with("epoll_"), "{names:?}");
    peer.half_close();
    peer.expect_eof();
    let closes = |calls: &[Call]| named(calls, "close") == 1;
    let calls = server.trace().expect(mark, "it is closed", closes);
    assert_eq!(named(&calls, "recvfrom"), 1, "{calls:#?}");
}

#[test]
fn while_there_is_nothing_to_log_the_loop_is_the_only_thread() {
    let mut server = server(&[]).start();
    eventually("the log has nothing to do", || server.process().threads().len() == 1);
    Peer::connect(server.address()).expect_echo(b"hello");
    assert_eq!(server.process().threads().len(), 1, "an echo takes another thread");
    // Nobody waits for the signal, and it ends the loop nevertheless, with all that there is to
    // say.
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 0);
    server.log().expect_line("SIGTERM: draining");
    server.log().expect_line("totals");
}
