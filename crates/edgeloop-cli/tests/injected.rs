//! Faults injected from outside, by strace: nothing is lost, and nobody else is hurt.
//!
//! EAGAIN is not injected so, for the kernel would owe an edge that never comes.

mod serve;

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serve::{SOCKETS_AND_EVENTS, edgeloop, server};
use testkit::{Call, Mark, Peer, STRACE, Server, Stream, eventually, pour, skip_unless};

const KIB: usize = 1024;
const ENDED: Duration = testkit::PATIENCE;

/// How often a call that says ENOBUFS or ENOMEM is tried again before the connection is given up.
const RETRIES: usize = 8;

/// A bit of everything: streams, a stalled peer, an idle one that is sent off, and a drain.
#[track_caller]
fn expect_a_whole_life(server: &mut Server) {
    expect_nothing_lost(server);
    let last = Peer::connect(server.address());
    last.expect_echo(b"before the drain");
    server.signal(Signal::TERM);
    last.expect_eof();
    last.close();
    assert_eq!(server.exit_code_within(ENDED), 0);
}

/// A life without its end.
#[track_caller]
fn expect_nothing_lost(server: &Server) {
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let address = server.address();
            scope.spawn(move || {
                let peer = Peer::connect(address);
                peer.expect_stream_echo(seed, 700 * KIB as u64);
                peer.half_close();
                peer.expect_eof();
            });
        }
    });
    let peers = [Peer::narrow(server.address())];
    let mut streams = [Stream::new(9)];
    pour(&peers, &mut streams);
    peers[0].expect_stream(&mut Stream::new(9), streams[0].position());
    // It says no more, and the idle timeout ends it.
    peers[0].expect_eof();
}

/// Does this with each case at once: most of the time they wait for timers.
#[track_caller]
fn side_by_side<T: Send>(cases: impl IntoIterator<Item = T>, act: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| act(case));
        }
    });
}

#[test]
fn c27_an_error_of_starting_names_the_call_that_failed() {
    if skip_unless("c27_an_error_of_starting_names_the_call_that_failed", STRACE) {
        return;
    }
    let address = "127.0.0.1:0";
    let (new, listen) = ("make an event loop", "listen on 127.0.0.1:0");
    let calls = [
        ("epoll_create1", 1, new, "epoll_create1", 70),
        ("timerfd_create", 1, new, "timerfd_create", 70),
        ("eventfd2", 1, new, "eventfd2", 70),
        ("epoll_ctl", 1, new, "epoll_ctl", 70),
        ("socket", 1, listen, "socket", 2),
        ("setsockopt", 1, listen, "setsockopt(SO_REUSEADDR)", 2),
        ("setsockopt", 2, listen, "setsockopt(TCP_NODELAY)", 2),
        ("setsockopt", 3, listen, "setsockopt(SO_OOBINLINE)", 2),
        ("bind", 1, listen, "bind", 2),
        ("listen", 1, listen, "listen", 2),
        ("getsockname", 1, listen, "getsockname", 2),
    ];
    for (call, nth, what, named, code) in calls {
        let trace = format!("trace={call}");
        let inject = format!("inject={call}:error=EPERM:when={nth}");
        let ended = edgeloop(&["serve", address]).traced(&["-e", &trace, "-e", &inject]).run();
        let line = format!("cannot {what}: Operation not permitted (os error 1) in {named}\n");
        assert!(ended.stderr.ends_with(&line), "{call}: {}", ended.stderr);
        assert_eq!(ended.code, Some(code), "{call}");
    }
}

/// How often the thread that becomes the loop has made this call before it waits for the first
/// time: loading the program is not what is tested.
fn calls_at_start(name: &str) -> usize {
    let filter = format!("trace={name},epoll_wait,epoll_pwait,epoll_pwait2");
    let server = server(&[]).traced(&["-e", &filter]).start();
    eventually("the loop waits", || !server.trace().loop_calls().is_empty());
    let calls = server.trace().loop_calls();
    calls.iter().take_while(|call| !call.is_wait()).filter(|call| call.name == name).count()
}

/// A server whose every other call of this name is interrupted, once it serves.
#[track_caller]
fn interrupted(name: &str) -> Server {
    let first = calls_at_start(name) + 1;
    let fault = format!("inject={name}:error=EINTR:when={first}+2");
    server(&["--idle-timeout", "2s"])
        .traced(&["-e", &format!("trace={name}"), "-e", &fault])
        .start()
}

#[track_caller]
fn expect_injected(server: &Server) {
    eventually("the fault is in the trace", || server.trace().text().contains("(INJECTED)"));
}

#[test]
fn eintr_loses_nothing() {
    if skip_unless("eintr_loses_nothing", STRACE) {
        return;
    }
    side_by_side(["recvfrom", "accept4", "shutdown", "read"], |name| {
        let mut server = interrupted(name);
        expect_a_whole_life(&mut server);
        expect_injected(&server);
    });
}

#[test]
fn eintr_of_sends_loses_nothing() {
    if skip_unless("eintr_of_sends_loses_nothing", STRACE) {
        return;
    }
    let mut server = interrupted("sendto");
    expect_a_whole_life(&mut server);
    expect_injected(&server);
}

#[test]
fn eintr_of_waits_loses_nothing() {
    if skip_unless("eintr_of_waits_loses_nothing", STRACE) {
        return;
    }
    let waits = "epoll_wait,epoll_pwait,epoll_pwait2";
    let fault = format!("inject={waits}:error=EINTR:when=1+2");
    let mut server = server(&["--idle-timeout", "2s"]).traced(&["-e", &fault]).start();
    expect_a_whole_life(&mut server);
}

#[test]
fn eintr_of_timers_loses_nothing() {
    if skip_unless("eintr_of_timers_loses_nothing", STRACE) {
        return;
    }
    let fault = "inject=timerfd_settime:error=EINTR:when=1+2";
    let mut server = server(&["--idle-timeout", "2s"]).traced(&["-e", fault]).start();
    expect_a_whole_life(&mut server);
}

#[test]
fn eintr_of_writes_in_any_thread_loses_nothing() {
    if skip_unless("eintr_of_writes_in_any_thread_loses_nothing", STRACE) {
        return;
    }
    // The eventfd that wakes the loop, the log.
    let fault = "inject=write,writev:error=EINTR:when=1+2";
    let mut server = server(&["-v", "--idle-timeout", "2s"]).traced(&["-e", fault]).start();
    expect_a_whole_life(&mut server);
}

/// What the loop calls on its ordinary ways, sending aside.
const LOOP_CALLS: &str =
    "recvfrom,accept4,epoll_wait,epoll_pwait,epoll_pwait2,timerfd_settime,shutdown";

#[test]
fn eintr_everywhere_at_once_loses_nothing() {
    if skip_unless("eintr_everywhere_at_once_loses_nothing", STRACE) {
        return;
    }
    let fault = format!("inject=sendto,{LOOP_CALLS}:error=EINTR:when=2+3");
    let mut server = server(&["--idle-timeout", "2s"]).traced(&["-e", &fault]).start();
    expect_a_whole_life(&mut server);
    expect_injected(&server);
}

#[test]
fn a_passing_shortage_of_buffers_loses_nothing() {
    if skip_unless("a_passing_shortage_of_buffers_loses_nothing", STRACE) {
        return;
    }
    let errors = ["ENOBUFS", "ENOMEM"];
    let cases = ["recvfrom", "sendto"].map(|call| errors.map(|error| (call, error)));
    side_by_side(cases.into_iter().flatten(), |(call, error)| {
        let fault = format!("inject={call}:error={error}:when=2+4");
        let server = server(&["--idle-timeout", "2s"]).traced(&["-e", &fault]).start();
        expect_nothing_lost(&server);
        expect_injected(&server);
    });
}

/// One peer's call fails `times` times in a row, while another peer is quiet.
#[track_caller]
fn shortage(call: &str, error: &str, times: usize) -> (Server, Peer, Peer) {
    // By then there was one such call for each of the two peers, and a receive in vain when it
    // came.
    let first = if call == "recvfrom" { 5 } else { 3 };
    let fault = format!("inject={call}:error={error}:when={first}..{}", first - 1 + times);
    let mut trace = SOCKETS_AND_EVENTS.to_vec();
    trace.extend(["-e", &fault]);
    let server = server(&["-v"]).traced(&trace).start();
    let [victim, other] = [1, 2].map(|number| {
        let peer = Peer::connect(server.address());
        let in_vain = |call: &&Call| call.name == "recvfrom" && call.error() == Some("EAGAIN");
        eventually("it was received from in vain", || {
            server.trace().loop_calls().iter().filter(in_vain).count() == number
        });
        peer
    });
    victim.expect_echo(b"hello");
    other.expect_echo(b"hello");
    (server, victim, other)
}

#[test]
fn a_lasting_shortage_of_buffers_ends_that_connection_with_the_reason() {
    if skip_unless("a_lasting_shortage_of_buffers_ends_that_connection_with_the_reason", STRACE) {
        return;
    }
    let errors = [("ENOBUFS", "No buffer space available"), ("ENOMEM", "Cannot allocate memory")];
    let cases =
        ["recvfrom", "sendto"].map(|call| errors.map(|(error, words)| (call, error, words)));
    side_by_side(cases.into_iter().flatten(), |(call, error, words)| {
        let (server, victim, other) = shortage(call, error, RETRIES + 1);
        let echoed =
            |calls: &[Call]| calls.iter().filter(|call| call.name == "sendto").count() == 2;
        let (_, mark) = server.trace().rest(Mark::START, "both echoes are in the trace", echoed);
        victim.send(b"never answered");
        let closing = server.closing_of(victim.address());
        assert!(closing.says("out of resources"), "{closing}");
        assert!(closing.says(words), "{closing}");
        let dropped = if call == "sendto" { 14 } else { 0 };
        assert_eq!(closing.dropped(), dropped, "{closing}");
        victim.expect_reset();
        let closed = |calls: &[Call]| calls.iter().any(|call| call.name == "close");
        let (calls, _) = server.trace().rest(mark, "the close is in the trace", closed);
        let tries = calls.iter().filter(|made| made.error() == Some(error)).count();
        assert_eq!(tries, RETRIES + 1, "{call} was to be tried again {RETRIES} times: {calls:#?}");
        other.expect_echo(b"the other one is served on");
    });
}

#[test]
fn one_try_less_and_the_connection_lives() {
    if skip_unless("one_try_less_and_the_connection_lives", STRACE) {
        return;
    }
    side_by_side(["recvfrom", "sendto"], |call| {
        let (server, victim, other) = shortage(call, "ENOBUFS", RETRIES);
        victim.expect_echo(b"answered in the end");
        other.expect_echo(b"and so is the other");
        victim.expect_echo(b"on it goes");
        let injected = || server.trace().lines_since(Mark::START, "(INJECTED)");
        eventually("each failure is in the trace", || injected() == RETRIES);
    });
}

#[test]
fn a_shortage_of_one_connection_delays_no_other() {
    if skip_unless("a_shortage_of_one_connection_delays_no_other", STRACE) {
        return;
    }
    // The victim's send fails once; it waits for its timer, and the loop does not.
    let (server, victim, other) = shortage("sendto", "ENOBUFS", 1);
    let mark = server.trace().mark();
    victim.send(b"later");
    eventually("its send has failed", || server.trace().lines_since(mark, "(INJECTED)") == 1);
    other.expect_echo(b"at once");
    victim.expect(b"later");
}

/// Waits until this many calls were injected. Returns how long that has taken since `begin`.
#[track_caller]
fn time_of_injected(server: &Server, count: usize, begin: Instant) -> Duration {
    let injected = || server.trace().lines_since(Mark::START, "(INJECTED)");
    eventually(&format!("{count} calls have failed"), || injected() >= count);
    begin.elapsed()
}

#[test]
fn c22_an_accept_that_always_fails_pauses_accepting_and_is_told() {
    if skip_unless("c22_an_accept_that_always_fails_pauses_accepting_and_is_told", STRACE) {
        return;
    }
    // A security module that allows no accept leaves the connection in the backlog.
    let fault = "inject=accept4:error=EPERM:when=1..200";
    // It tries to accept as soon as it runs.
    let begin = Instant::now();
    let server = server(&[]).traced(&["-e", "trace=accept4", "-e", fault]).start();
    let peer = Peer::connect(server.address());
    // Behind each 32 there is a pause, of 100 ms, 200, 400, 800, 1000 and 1000.
    let time = time_of_injected(&server, 200, begin);
    assert!(time >= Duration::from_millis(3500), "200 failed within {time:?}");
    peer.expect_echo(b"when that is over");
    let lines = server.log().lines_with("accepting on");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("Operation not permitted"), "{lines:?}");
}

#[test]
fn c22_a_wait_that_is_always_interrupted_does_not_spin() {
    if skip_unless("c22_a_wait_that_is_always_interrupted_does_not_spin", STRACE) {
        return;
    }
    let waits = "epoll_wait,epoll_pwait,epoll_pwait2";
    let fault = format!("inject={waits}:error=EINTR:when=1..960");
    let server = server(&[]).traced(&["-e", &format!("trace={waits}"), "-e", &fault]).start();
    // Behind each 64 the loop sleeps, for 1 ms, 2, 4 and so on up to 100, unless strace takes so
    // long for this number, which is no spin.
    time_of_injected(&server, 960, Instant::now());
    Peer::connect(server.address()).expect_echo(b"when that is over");
    assert!(server.log().lines_with("interrupted again and again").len() <= 1);
}
