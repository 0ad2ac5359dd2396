//! Contract, Time: C28 to C31.

mod serve;

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serve::{SOCKETS_AND_EVENTS, serve, server, wide_server};
use testkit::{
    Call, Crowd, Mark, PATIENCE, Peer, STRACE, Stopwatch, Stream, descriptors_granted, eventually,
    holds_for, machine_to_myself, pour, pour_once, skip_unless,
};

/// How long after its last byte each of `times` peers is sent off: by the clock, and without the
/// time for which others had the machine.
fn ends_of_idle_peers(idle: &str, times: usize) -> Vec<(Duration, Duration)> {
    let server = serve(&["--idle-timeout", idle]);
    (0..times)
        .map(|_| {
            // The turn in which the server receives it begins later than this: a new connection may
            // be read in the turn that accepts it. It ends the connection before we see it.
            let watch = Stopwatch::start(&[server.process()]);
            let peer = Peer::connect(server.address());
            peer.expect_echo(b"my last word");
            peer.expect_eof();
            (watch.elapsed(), watch.used())
        })
        .collect()
}

#[test]
fn c28_a_timeout_is_never_early() {
    let idle = Duration::from_millis(50);
    for (lasted, _) in ends_of_idle_peers("50ms", 30) {
        assert!(lasted >= idle, "{lasted:?} instead of {idle:?}");
    }
}

#[test]
fn c28_a_timeout_is_hardly_late() {
    // Noise only makes it later, so the best of many tells what the server itself adds: a tick of
    // a millisecond, a round trip, and no more.
    let best = ends_of_idle_peers("50ms", 30).into_iter().map(|(_, used)| used).min();
    assert!(best < Some(Duration::from_millis(54)), "at best {best:?} instead of 50ms");
}

#[test]
fn c28_waiting_for_a_timer_neither_spins_nor_polls() {
    if skip_unless("c28_waiting_for_a_timer_neither_spins_nor_polls", STRACE) {
        return;
    }
    let server = server(&["--idle-timeout", "1500ms"]).traced(SOCKETS_AND_EVENTS).start();
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    peer.expect_eof();
    let calls = server.trace().expect(Mark::START, "our end is in the trace", |calls| {
        calls.iter().any(|call| call.name == "shutdown")
    });
    let echoed = calls.iter().position(|call| call.name == "sendto").expect("the echo");
    let ended = calls.iter().position(|call| call.name == "shutdown").expect("the end");
    let waits = calls[echoed..ended].iter().filter(|call| call.is_wait()).count();
    assert!((1..=3).contains(&waits), "{waits} waits for one timer: {:#?}", &calls[echoed..ended]);
}

#[test]
fn c29_signals_stretch_no_timer() {
    let idle = Duration::from_secs(1);
    let server = serve(&["--idle-timeout", "1s"]);
    let start = Instant::now();
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"my last word");
    // Each of these makes a wait that has begun return EINTR. Were the whole timeout waited for
    // again each time, it would never pass.
    let mut interruptions = 0;
    while !peer.hears_within(Duration::from_millis(20)) {
        server.stopped(|| {});
        interruptions += 1;
        assert!(start.elapsed() < PATIENCE, "the timeout was stretched by signals");
    }
    peer.expect_eof();
    assert!(start.elapsed() >= idle, "{:?} instead of {idle:?}", start.elapsed());
    assert!(interruptions >= 5, "only {interruptions} interruptions");
}

#[test]
fn c29_signals_shorten_no_timer() {
    for lasted in {
        let server = serve(&["--idle-timeout", "400ms"]);
        let lasted = || {
            let start = Instant::now();
            let peer = Peer::connect(server.address());
            peer.expect_echo(b"my last word");
            server.stopped(|| {});
            server.stopped(|| {});
            peer.expect_eof();
            start.elapsed()
        };
        [lasted(), lasted(), lasted()]
    } {
        assert!(lasted >= Duration::from_millis(400), "{lasted:?} instead of 400ms");
    }
}

#[test]
fn c30_what_is_received_moves_the_idle_timeout() {
    let idle = Duration::from_secs(2);
    let server = serve(&["--idle-timeout", "2s"]);
    let peer = Peer::connect(server.address());
    let begin = Instant::now();
    let mut last = Stopwatch::start(&[server.process()]);
    // Where we are halted for longer than the timeout it ends sooner, and rightly so.
    while begin.elapsed() < idle * 5 / 2 && !peer.hears_within(idle / 10) {
        let next = Stopwatch::start(&[server.process()]);
        if peer.try_send(b"tick").is_err() || peer.receive(4) != b"tick" {
            break;
        }
        last = next;
    }
    peer.expect_eof();
    assert!(last.elapsed() >= idle, "{:?} after the last byte", last.elapsed());
    last.expect_within(idle * 4);
}

#[test]
fn c30_a_write_timeout_is_never_early() {
    let stall = Duration::from_secs(1);
    let server = serve(&["--write-timeout", "1s", "--idle-timeout", "none"]);
    let peers = [Peer::narrow(server.address())];
    let mut streams = [Stream::new(30)];
    let start = Instant::now();
    pour(&peers, &mut streams);
    let poured = Stopwatch::start(&[server.process()]);
    let closing = server.closing_of(peers[0].address());
    assert!(closing.says("write timeout"), "{closing}");
    assert!(start.elapsed() >= stall, "{:?} instead of {stall:?}", start.elapsed());
    poured.expect_within(stall * 5);
}

#[test]
fn c30_a_peer_that_reads_slowly_is_not_stalled() {
    // It takes some all the time, but less than the third of a send buffer that the kernel waits
    // for before it reports EPOLLOUT.
    let server = serve(&["--write-timeout", "3s", "--idle-timeout", "none"]);
    let peers = [Peer::narrow(server.address())];
    let mut streams = [Stream::new(31)];
    pour(&peers, &mut streams);
    let mut expected = Stream::new(31);
    holds_for(Duration::from_secs(8), "a slow reader stays", || {
        peers[0].expect_stream(&mut expected, 16 * 1024);
        pour_once(&peers, &mut streams);
        thread::sleep(Duration::from_millis(100));
        server.log().lines_with("closed").is_empty()
    });
    let owed = streams[0].position() - expected.position();
    peers[0].expect_stream(&mut expected, owed);
    peers[0].expect_echo(b"and it is served on");
}

#[test]
fn c30_a_timer_that_moves_wakes_once_in_each_of_its_periods() {
    if skip_unless("c30_a_timer_that_moves_wakes_once_in_each_of_its_periods", STRACE) {
        return;
    }
    let server = server(&["--idle-timeout", "1s"]).traced(SOCKETS_AND_EVENTS).start();
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    let start = Instant::now();
    let echoed = |calls: &[Call]| calls.iter().any(|call| call.name == "sendto");
    let (_, mark) = server.trace().rest(Mark::START, "the first echo is in the trace", echoed);
    let mut messages = 0;
    while start.elapsed() < Duration::from_secs(4) {
        peer.expect_echo(b"tick");
        messages += 1;
        thread::sleep(Duration::from_millis(20));
    }
    let periods = usize::try_from(start.elapsed().as_secs()).expect("few") + 1;
    let (calls, _) = server.trace().rest(mark, "the last echo is in the trace", |calls| {
        calls.iter().filter(|call| call.name == "sendto").count() == messages
    });
    let named = |name: &str| calls.iter().filter(|call| call.name == name).count();
    let waits = calls.iter().filter(|call| call.is_wait()).count();
    assert!(
        waits <= messages + 2 * periods + 1,
        "{waits} waits for {messages} messages in {periods} periods"
    );
    let armed = named("timerfd_settime");
    assert!(armed <= 2 * periods, "armed {armed} times in {periods} periods");
}

#[test]
fn c31_a_loop_that_spins_sleeps_after_its_last_spin() {
    if skip_unless("c31_a_loop_that_spins_sleeps_after_its_last_spin", STRACE) {
        return;
    }
    let server = server(&["--spin", "20ms"]).traced(SOCKETS_AND_EVENTS).start();
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    peer.expect_echo(b"and again");
    eventually("the loop is the only thread", || server.process().threads().len() == 1);
    // It sleeps as soon as it does not spin any more.
    let before = server.trace().mark();
    let polled = |call: &&Call| call.is_wait() && call.timeout() == Some("0");
    let polls = server.trace().loop_calls().iter().filter(polled).count();
    // It did spin, and has ended that.
    assert!(polls >= 2, "{polls} polls: {}", server.trace().text());
    holds_for(Duration::from_secs(2), "it makes no call", || server.trace().mark() == before);
    peer.expect_echo(b"and it is awake at once");
    server.signal(Signal::TERM);
    drop(peer);
    let totals = server.log().expect_line("totals");
    assert!(totals.contains(" spins=") && totals.contains(" spins_paid="), "{totals}");
}

#[test]
fn c31_an_idle_loop_with_18000_connections_makes_no_system_call() {
    let test = "c31_an_idle_loop_with_18000_connections_makes_no_system_call";
    let _turn = machine_to_myself();
    let size = descriptors_granted(test, 18_000);
    let server = wide_server(&[]).start();
    let crowd = Crowd::connect(&server, size);
    crowd.expect_echoes(b"hello");
    let process = server.process();
    eventually("the loop is the only thread, and sleeps", || {
        process.threads().len() == 1 && process.sleeps()
    });
    let before = process.times_scheduled();
    holds_for(Duration::from_secs(5), "no thread of it runs", || {
        process.times_scheduled() == before
    });
    crowd.peers()[0].expect_echo(b"and it is awake at once");
}
