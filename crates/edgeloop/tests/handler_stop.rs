//! How a loop stops, and how its connections end in time.

mod common;

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{Echo, Script, Session, next};
use edgeloop::{Action, Config, EventLoop, Reason, Sent, Stop, Target, Time};
use testkit::{PATIENCE, Peer, eventually};

#[test]
fn c37_a_drain_closes_the_quiet_and_calls_closed_once_for_each() {
    let quiet = Duration::from_millis(50);
    let server =
        Script::new().config(Config::new().drain_quiet(quiet).drain_linger_timeout(quiet)).start();
    let peers: Vec<Peer> = (0..20).map(|_| server.connect().0).collect();
    let (metrics, closed) = server.stop(Stop::Drain(None));
    assert_eq!((metrics.closed, metrics.connections, metrics.cut_off), (20, 0, 0));
    assert_eq!(closed.len(), 20);
    assert!(closed.iter().all(|closed| closed.reason == Reason::DrainQuiet), "{closed:?}");
    peers.iter().for_each(Peer::expect_eof);
}

#[test]
fn c37_the_deadline_of_a_drain_cuts_off_who_takes_nothing() {
    // One turn may send more than the kernel takes, so that what is queued waits for the peer.
    let server = Script::new()
        .config(Config::new().turn_bytes(64 << 20).turn_accepts(64).turn_jobs(1024))
        .start();
    let (peer, id) = server.connect_narrow();
    server.ask(move |cx| while cx.send_to(id, &[0; 16 << 10]) != Sent::AboveMark {});
    let (metrics, closed) = server.stop(Stop::Drain(Some(Duration::from_millis(50))));
    assert_eq!((metrics.cut_off, closed.len(), closed[0].reason), (1, 1, Reason::CutOff));
    assert!(closed[0].dropped > 0 && metrics.bytes_dropped == closed[0].dropped);
    peer.expect_reset();
}

#[test]
fn c37_a_stopping_loop_makes_no_new_connections_and_so_comes_to_its_end() {
    let (report, errors) = mpsc::channel();
    let server = Script::new().closed(move |cx, _| {
        // As a client would that always reconnects.
        let again =
            cx.connect(Target::new(SocketAddr::from(([127, 0, 0, 1], 9))), Session::named(0));
        let _ = report.send(again.expect_err("a loop that stops").to_string());
    });
    let server = server.start();
    let _peer = server.connect();
    let (metrics, _) = server.stop(Stop::Now);
    assert_eq!(metrics.closed, 1);
    let error = next(&errors, "an error");
    assert!(error.contains("the loop is stopping"), "{error}");
}

#[test]
fn c37_a_loop_that_drains_still_connects_for_those_that_it_serves() {
    let backend = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = backend.local_addr().expect("an address");
    let server = Script::new()
        .config(
            Config::new()
                .drain_quiet(Duration::from_secs(60))
                .drain_linger_timeout(Duration::from_secs(1)),
        )
        .data(move |cx, input| {
            let _ = input.take_all();
            cx.stop(Stop::Drain(None));
            cx.set_timer(0, Some(Duration::from_millis(20)));
            Action::Pause
        })
        .timer(move |cx, _| {
            cx.connect(Target::new(address), Session::named(0)).expect("it serves on");
            Action::Close
        })
        .start();
    let (peer, _) = server.connect();
    peer.send(b"what needs a backend");
    let (stream, _) = backend.accept().expect("a connection");
    drop(stream);
    peer.expect_eof();
    drop(peer);
    assert_eq!(server.join().0.connected, 1);
}

#[test]
fn a_loop_that_was_stopped_serves_again_when_it_is_run_again() {
    let quiet = Duration::from_millis(100);
    let config = Config::new().drain_quiet(quiet).drain_linger_timeout(quiet);
    let mut event_loop = EventLoop::with_config(Echo, config).expect("a loop");
    for _ in 0..2 {
        let address = event_loop.listen("127.0.0.1:0").expect("a port");
        let handle = event_loop.handle();
        let running = thread::spawn(move || {
            let metrics = event_loop.run().expect("it runs");
            (event_loop, metrics)
        });
        let peer = Peer::connect(address);
        peer.expect_echo(b"hello");
        // While the loop drained, it would be closed for that.
        peer.expect_silence(quiet * 5);
        peer.expect_echo(b"still here");
        handle.stop(Stop::Drain(None));
        peer.expect_eof();
        eventually("the loop has ended", || running.is_finished());
        let metrics;
        (event_loop, metrics) = running.join().expect("no panic on the loop's thread");
        assert_eq!(metrics.connections, 0);
    }
    assert_eq!(event_loop.metrics().accepted, 2);
}

#[test]
fn c37_stop_now_resets_everyone() {
    let server = Script::new().start();
    let peers: Vec<Peer> = (0..20).map(|_| server.connect().0).collect();
    let (metrics, closed) = server.stop(Stop::Now);
    assert_eq!((metrics.cut_off, closed.len()), (20, 20));
    peers.iter().for_each(Peer::expect_reset);
}

#[test]
fn c05_a_handler_may_send_on_after_the_peers_end() {
    let server = Script::new().end(|_, _| Action::Continue).start();
    let (peer, id) = server.connect();
    peer.half_close();
    server.settle();
    server.ask(move |cx| cx.send_to(id, b"still ").is_accepted());
    server.ask(move |cx| cx.send_to(id, b"here").is_accepted());
    server.ask(move |cx| cx.close(id));
    assert_eq!(peer.receive_to_end(), b"still here");
    assert_eq!(server.closed().reason, Reason::Finished);
}

#[test]
fn c28_all_callbacks_of_a_turn_are_given_one_time() {
    let (report, times) = mpsc::channel();
    let server =
        Script::new().closed(move |cx, _| report.send(cx.now()).expect("the test listens")).start();
    let (_peer, id) = server.connect();
    let (before, after) = server.ask(move |cx| {
        let before = cx.now();
        thread::sleep(Duration::from_millis(2));
        cx.reset(id);
        (before, cx.now())
    });
    assert_eq!(before, after, "the clock was read within a callback");
    assert_eq!(next(&times, "a time"), after, "the clock was read between the phases of a turn");
}

#[test]
fn c30_a_timeout_is_never_early_and_can_be_moved_and_cancelled() {
    let (report, times) = mpsc::channel();
    let report_fired = report.clone();
    let server = Script::new()
        .data(move |cx, input| {
            // Each byte is a timeout in milliseconds; zero cancels.
            let millis = u64::from(*input.take_all().last().expect("a byte"));
            cx.set_timer(0, (millis > 0).then(|| Duration::from_millis(millis)));
            report.send((cx.id(), cx.now(), millis)).expect("the test listens");
            Action::Continue
        })
        .timer(move |cx, _| {
            report_fired.send((cx.id(), cx.now(), FIRED)).expect("the test listens");
            Action::Continue
        })
        .start();
    let (peer, id) = server.connect();
    // When it was set, and when one before it fired that had not been heard of.
    let set = |millis: u8| {
        peer.send(&[millis]);
        let mut fired = None;
        loop {
            match next(&times, "a timeout set or fired") {
                (_, at, FIRED) => fired = Some(at),
                (_, at, told) => {
                    assert_eq!(told, u64::from(millis));
                    return (at, fired);
                }
            }
        }
    };
    // Where we are halted for so long between the two that the first one fires, we try again.
    let set_in_time = |first: u8, then: u8| loop {
        let (begun, _) = set(first);
        let (at, fired) = set(then);
        let Some(fired) = fired else { return at };
        expect_not_early(begun, fired, first);
        set(0);
    };
    let cancelled = set_in_time(20, 0);
    eventually("its time has passed", || {
        server.ask(move |cx| cx.now()) > cancelled.after(Duration::from_millis(20))
    });
    server.settle();
    common::expect_none(&times);
    // Moved back, and then forward.
    for (first, then) in [(20, 100), (250, 100)] {
        let begun = set_in_time(first, then);
        let (fired_id, fired, kind) = next(&times, "a timeout");
        assert_eq!((fired_id, kind), (id, FIRED));
        expect_not_early(begun, fired, then);
    }
    server.settle();
    common::expect_none(&times);
}

/// What the test above is told in place of a time that was set.
const FIRED: u64 = u64::MAX;

#[track_caller]
fn expect_not_early(begun: Time, fired: Time, millis: u8) {
    let lasted = fired.since(begun);
    assert!(lasted >= Duration::from_millis(millis.into()), "{lasted:?} instead of {millis} ms");
}

#[test]
fn c30_who_is_idle_is_closed_and_never_early() {
    let idle = Duration::from_millis(150);
    let (report, times) = mpsc::channel();
    let report_end = report.clone();
    let server = Script::new()
        .config(Config::new().idle_timeout(Some(idle)))
        .opened(move |cx| {
            report.send(cx.now()).expect("the test listens");
            Action::Continue
        })
        .closed(move |cx, _| report_end.send(cx.now()).expect("the test listens"))
        .start();
    let (peer, _) = server.connect();
    peer.expect_eof();
    peer.close();
    assert_eq!(server.closed().reason, Reason::IdleTimeout);
    let (opened, closed) = (next(&times, "a time"), next(&times, "a time"));
    assert!(closed.since(opened) >= idle, "{:?}", closed.since(opened));
}

#[test]
fn c30_what_is_received_counts_for_the_idle_timeout_though_nothing_is_sent() {
    let idle = Duration::from_millis(300);
    let (report, times) = mpsc::channel();
    let (report_end, ends) = mpsc::channel();
    let server = Script::new()
        .config(Config::new().idle_timeout(Some(idle)))
        .data(move |cx, input| {
            let _ = input.take_all();
            report.send(cx.now()).expect("the test listens");
            Action::Continue
        })
        .closed(move |cx, _| report_end.send(cx.now()).expect("the test listens"))
        .start();
    let (peer, _) = server.connect();
    let start = Instant::now();
    // On a machine that halts for longer than the timeout it ends sooner, and rightly so.
    while start.elapsed() < idle * 2 && !peer.hears_within(idle / 10) {
        peer.send(b"more");
    }
    assert!(peer.hears_within(PATIENCE), "who is idle is never closed");
    peer.close();
    assert_eq!(server.closed().reason, Reason::IdleTimeout);
    let closed = next(&ends, "a time");
    let received = times.try_iter().last().expect("something was received");
    assert!(closed.since(received) >= idle, "{:?} after a byte", closed.since(received));
}

#[test]
fn c30_who_takes_nothing_is_reset_after_the_write_timeout() {
    let timeout = Duration::from_millis(100);
    let server = Script::new()
        .config(Config::new().write_timeout(Some(timeout)).output_limit(8 << 20))
        .start();
    let (peer, id) = server.connect_narrow();
    // More than the kernel's buffers find room for when it is tried again.
    server.ask(move |cx| while cx.send_to(id, &[0; 16 << 10]) != Sent::Refused {});
    let closed = server.closed();
    assert_eq!(closed.reason, Reason::WriteTimeout);
    assert!(closed.dropped > 0);
    peer.expect_reset();
}
