//! What a handler is shown: every byte once it was left, in one piece, until a limit is reached.

mod common;

use std::sync::mpsc::{self, Receiver, Sender};

use common::{Script, Session, expect_none, next};
use edgeloop::{Action, Config, Context, Input, MIN_BUFFER_LIMIT, Reason};

/// A data callback that takes whole lines, and reports all that it was shown before it did.
fn lines(
    shown: Sender<Vec<u8>>,
) -> impl FnMut(&mut dyn Context<Session>, &mut Input<'_>) -> Action + Send + 'static {
    move |cx, input| {
        shown.send(input.to_vec()).expect("the test listens");
        while let Ok(Some(line)) = input.take_until(b"\n", usize::MAX) {
            let _ = cx.send(line);
        }
        Action::Continue
    }
}

#[track_caller]
fn expect_shown(shown: &Receiver<Vec<u8>>, bytes: &[u8]) {
    let got = next(shown, "data callback");
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(bytes));
}

#[test]
fn what_a_callback_leaves_is_shown_again_in_front_of_what_follows() {
    let (report, shown) = mpsc::channel();
    let server = Script::new().data(lines(report)).start();
    let (peer, _) = server.connect();
    peer.send(b"on");
    expect_shown(&shown, b"on");
    peer.send(b"e\ntw");
    expect_shown(&shown, b"one\ntw");
    peer.expect(b"one\n");
    peer.send(b"o\n");
    expect_shown(&shown, b"two\n");
    peer.send(b"three\n");
    expect_shown(&shown, b"three\n");
    peer.expect(b"two\nthree\n");
}

#[test]
fn the_end_of_input_shows_what_was_left() {
    let (report, shown) = mpsc::channel();
    let (report_end, ends) = mpsc::channel();
    let server = Script::new()
        .data(lines(report))
        .end(move |cx, input| {
            report_end.send(input.to_vec()).expect("the test listens");
            let _ = cx.send(b"bye");
            Action::Close
        })
        .start();
    let (peer, _) = server.connect();
    peer.send(b"line\nrest");
    expect_shown(&shown, b"line\nrest");
    peer.half_close();
    expect_shown(&ends, b"rest");
    assert_eq!(peer.receive_to_end(), b"line\nbye");
    assert_eq!(server.closed().reason, Reason::Finished);
}

#[test]
fn kept_bytes_are_shown_again_after_a_pause_though_nothing_new_came() {
    let (report, shown) = mpsc::channel();
    let mut pauses = true;
    let server = Script::new()
        .data(move |_, input| {
            report.send(input.to_vec()).expect("the test listens");
            if std::mem::take(&mut pauses) {
                return Action::Pause;
            }
            input.skip(input.len());
            Action::Continue
        })
        .start();
    let (peer, id) = server.connect();
    peer.send(b"kept");
    expect_shown(&shown, b"kept");
    server.settle();
    expect_none(&shown);
    server.ask(move |cx| cx.resume(id));
    expect_shown(&shown, b"kept");
    server.settle();
    expect_none(&shown);
}

#[test]
fn what_came_during_a_pause_is_shown_behind_what_was_kept() {
    let (report, shown) = mpsc::channel();
    let server = Script::new()
        .data(move |_, input| {
            report.send(input.to_vec()).expect("the test listens");
            Action::Pause
        })
        .start();
    let (peer, id) = server.connect();
    peer.send(b"a");
    expect_shown(&shown, b"a");
    peer.send(b"b");
    server.settle();
    expect_none(&shown);
    // The kept byte comes first; it is left again, and the handler pauses again.
    server.ask(move |cx| cx.resume(id));
    expect_shown(&shown, b"a");
    server.settle();
    expect_none(&shown);
}

#[test]
fn reaching_the_input_limit_closes_after_what_was_sent_is_flushed() {
    let greeting = vec![b'g'; 3 << 20];
    let copy = greeting.clone();
    let (report, shown) = mpsc::channel();
    let server = Script::new()
        .config(
            Config::new()
                .high_watermark(4 << 20)
                .low_watermark(1 << 20)
                .output_limit(8 << 20)
                .input_limit(8),
        )
        .opened(move |cx| cx.send(&copy).or_reset())
        .data(lines(report))
        .start();
    let (peer, id) = server.connect_narrow();
    assert!(server.ask(move |cx| cx.queued(id)) > 0, "the greeting waits");
    peer.send(b"1234567");
    expect_shown(&shown, b"1234567");
    server.settle();
    assert!(server.is_open(id), "one byte below the limit");
    peer.send(b"8");
    expect_shown(&shown, b"12345678");
    server.settle();
    assert!(!server.is_open(id), "at the limit");
    assert!(peer.receive_to_end() == greeting, "the greeting arrives whole");
    peer.close();
    let closed = server.closed();
    assert_eq!((closed.id, closed.reason, closed.dropped), (id, Reason::InputLimit, 0));
}

#[test]
fn a_handler_that_pauses_does_not_reach_the_limit() {
    let (report, shown) = mpsc::channel();
    let mut calls = 0;
    let server = Script::new()
        .config(Config::new().input_limit(4))
        .data(move |_, input| {
            report.send(input.to_vec()).expect("the test listens");
            calls += 1;
            if calls == 1 {
                return Action::Pause;
            }
            input.skip(input.len());
            Action::Continue
        })
        .start();
    let (peer, id) = server.connect();
    peer.send(b"far more than four");
    expect_shown(&shown, b"far more than four");
    server.settle();
    assert!(server.is_open(id));
    server.ask(move |cx| cx.resume(id));
    expect_shown(&shown, b"far more than four");
    assert!(server.is_open(id));
}

#[test]
fn c11_when_the_share_of_input_is_full_whoever_holds_most_is_closed_and_others_go_on() {
    let (report, shown) = mpsc::channel();
    let server = Script::new()
        .config(
            Config::new().buffer_limit(MIN_BUFFER_LIMIT).read_buffer(4096).input_limit(usize::MAX),
        )
        .data(lines(report))
        .start();
    let (heavy, heavy_id) = server.connect();
    heavy.send(&[b'h'; 20_000]);
    while next(&shown, "data callback").len() < 20_000 {}
    let mut lights = Vec::new();
    while server.is_open(heavy_id) {
        assert!(lights.len() * 2000 < MIN_BUFFER_LIMIT / 4, "the share is exceeded");
        let (light, id) = server.connect();
        light.send(&[b'l'; 2000]);
        while next(&shown, "data callback").len() < 2000 {}
        lights.push((light, id));
    }
    heavy.expect_eof();
    heavy.close();
    let closed = server.closed();
    assert_eq!((closed.id, closed.reason), (heavy_id, Reason::InputShare));
    let mut line = [b'l'; 2001];
    line[2000] = b'\n';
    for (light, _) in &lights {
        light.send(b"\n");
        light.expect(&line);
    }
    assert_eq!(server.ask(move |cx| cx.queued(heavy_id)), 0);
    drop(lights);
    let (metrics, _) = server.stop(edgeloop::Stop::Drain(None));
    assert_eq!(metrics.input_held, 0);
}
