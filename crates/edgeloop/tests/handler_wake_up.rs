//! The loop's wake-up: on time, once, moved, cancelled; polled for; and reading above the mark.

mod common;

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use common::{Script, Session, expect_none, next};
use edgeloop::{Action, Config, LoopContext, Sent, Stop};
use testkit::eventually;

const SOON: Duration = Duration::from_millis(5);
const LATER: Duration = Duration::from_secs(3600);

#[test]
fn a_wake_up_comes_once_and_never_early() {
    let (report, woken) = mpsc::channel();
    let server = Script::new()
        .wake_up(move |cx| report.send((cx.now(), cx.clock())).expect("the test listens"))
        .start();
    for _ in 0..20 {
        let at = server.ask(|cx| {
            let at = cx.now().after(SOON);
            cx.wake_at(Some(at));
            at
        });
        let (now, clock) = next(&woken, "a wake-up");
        assert!(now >= at && clock >= now, "{at:?}, woken at {now:?}, {clock:?} on the clock");
    }
    server.settle();
    expect_none(&woken);
}

#[test]
fn a_wake_up_can_be_moved_and_cancelled() {
    let (report, woken) = mpsc::channel();
    let server =
        Script::new().wake_up(move |cx| report.send(cx.now()).expect("the test listens")).start();
    // Moved forward, which the kernel must be told.
    let at = server.ask(|cx| {
        cx.wake_at(Some(cx.now().after(LATER)));
        cx.now().after(SOON)
    });
    server.ask(move |cx| cx.wake_at(Some(at)));
    assert!(next(&woken, "a wake-up") >= at);
    // Moved back: the alarm that was set rings, and finds nothing.
    let at = server.ask(|cx| {
        cx.wake_at(Some(cx.now().after(SOON)));
        cx.now().after(4 * SOON)
    });
    server.ask(move |cx| cx.wake_at(Some(at)));
    assert!(next(&woken, "a wake-up") >= at);
    let turns = server.ask(|cx| {
        cx.wake_at(Some(cx.now().after(SOON)));
        cx.wake_at(None);
        cx.now()
    });
    eventually("its time has passed", || server.ask(move |cx| cx.now() > turns.after(2 * SOON)));
    expect_none(&woken);
}

#[test]
fn a_time_that_has_passed_wakes_in_the_next_turn() {
    let (report, woken) = mpsc::channel();
    let mut left = 100;
    let server = Script::new()
        .wake_up(move |cx| {
            left -= 1;
            if left == 0 {
                report.send(()).expect("the test listens");
            } else {
                cx.wake_at(Some(cx.now()));
            }
        })
        .start();
    server.ask(|cx| cx.wake_at(Some(cx.now())));
    next(&woken, "the hundredth wake-up");
}

#[test]
fn a_wake_up_keeps_a_loop_running_that_has_nothing_else() {
    let (report, woken) = mpsc::channel();
    let mut left = 3;
    let client = Script::new()
        .without_listener()
        .wake_up(move |cx| {
            left -= 1;
            report.send(left).expect("the test listens");
            if left > 0 {
                cx.wake_at(Some(cx.now().after(SOON)));
            }
        })
        .start_after(|event_loop| event_loop.wake_at(Some(edgeloop::Time::ZERO)));
    assert_eq!(client.join().0.closed, 0);
    assert_eq!(woken.iter().collect::<Vec<_>>(), [2, 1, 0]);
}

#[test]
fn a_stop_does_not_wait_for_a_wake_up() {
    let server = Script::new().start();
    server.ask(|cx| cx.wake_at(Some(cx.now().after(LATER))));
    let (metrics, _) = server.stop(Stop::Drain(None));
    assert_eq!(metrics.connections, 0);
}

#[test]
fn a_loop_polls_before_its_wake_up_only_if_asked_to() {
    let quiet = Script::new().start();
    quiet.ask(|cx| cx.wake_at(Some(cx.now().after(4 * SOON))));
    let now = |cx: &mut dyn LoopContext<Session>| cx.now();
    let begun = quiet.ask(now);
    let mut asked = 2;
    eventually("the wake-up has come", || {
        asked += 1;
        quiet.ask(now) > begun.after(4 * SOON)
    });
    let (metrics, _) = quiet.stop(Stop::Now);
    // A question may be a turn of the mailbox and one of what is left; then come the wake-up and
    // the stop.
    assert!(metrics.turns <= 3 * asked + 6, "{} turns for {asked} questions", metrics.turns);

    let polls = Script::new().config(Config::new().busy_poll(2 * LATER)).start();
    polls.ask(|cx| cx.wake_at(Some(cx.now().after(LATER))));
    // Nothing happens, and it goes round and round nevertheless.
    let thread = polls.ask(|_| fs::read_link("/proc/thread-self").expect("the loop's thread"));
    let schedule = Path::new("/proc").join(thread).join("schedstat");
    eventually("it has had a processor for a while", || {
        let times = fs::read_to_string(&schedule).expect("what the thread has used");
        let ran = times.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("a time");
        Duration::from_nanos(ran) > 10 * SOON
    });
    let (metrics, _) = polls.stop(Stop::Now);
    assert!(metrics.turns > 100, "{} turns", metrics.turns);
}

#[test]
fn c10_above_its_mark_a_connection_is_read_on_where_that_is_asked_for() {
    let (report, drained) = mpsc::channel();
    let (hear, heard) = mpsc::channel();
    let server = Script::new()
        .config(
            Config::new()
                .high_watermark(1)
                .low_watermark(0)
                .read_above_mark(true)
                .output_limit(64 << 20),
        )
        .data(move |cx, input| {
            if input.take_all() == b"more" {
                // More than any buffer of the kernel takes.
                assert_eq!(cx.send(&vec![7; 32 << 20]), Sent::AboveMark);
            } else {
                assert_eq!(cx.send(b"!"), Sent::AboveMark);
                hear.send(()).expect("the test listens");
            }
            Action::Continue
        })
        .drained(move |cx| {
            report.send(cx.queued(cx.id())).expect("the test listens");
            Action::Continue
        })
        .start();
    let (peer, id) = server.connect();
    peer.send(b"more");
    eventually("much is queued", || server.ask(move |cx| cx.queued(id) > 1 << 20));
    peer.send(b"ping");
    next(&heard, "what was sent behind it");
    expect_none(&drained);
    peer.expect(&vec![7; 32 << 20]);
    peer.expect(b"!");
    assert_eq!(next(&drained, "the queue drained"), 0);
}
