//! What callbacks send within a turn leaves together (C45), each case brought about by itself.

use std::cell::Cell;

use super::*;

/// All that a simulation has sent, call by call, on any connection.
fn watched(simulation: Simulation) -> (Simulation, Rc<RefCell<Vec<usize>>>) {
    let sent = Rc::new(RefCell::new(Vec::new()));
    let sees = Rc::clone(&sent);
    let simulation = simulation.trace(move |_, what| {
        if what.starts_with("send(") {
            let taken = what.rsplit(": ").next().and_then(|taken| taken.parse().ok());
            sees.borrow_mut().push(taken.unwrap_or(0));
        }
    });
    (simulation, sent)
}

/// The sends of a server that does this with all that one peer says at once.
fn sends_for(
    says: &[u8],
    gets: &[u8],
    data: impl FnMut(&mut dyn Context, &mut Input<'_>) -> Action + 'static,
) -> Vec<usize> {
    let simulation = Simulation::new(1).calm().buffers(200_000..=200_000);
    let peer = Script::new().send(says).expect(gets).finish().expect_end();
    let (simulation, sent) = watched(simulation.peer(peer));
    run(simulation, Probe::new().data(data));
    sent.take()
}

#[test]
fn c45_a_hundred_replies_to_a_pipeline_leave_in_one_call() {
    let sends = sends_for(&b"ping\n".repeat(100), &b"+PONG\r\n".repeat(100), |cx, input| {
        while let Ok(Some(_)) = input.take_line(100) {
            assert!(cx.send(b"+PONG\r\n").is_accepted());
        }
        Action::Continue
    });
    assert_eq!(sends, [700]);
}

#[test]
fn c45_one_message_is_one_send_straight_from_the_bytes() {
    let sends = sends_for(b"hello", b"hello", |cx, input| {
        assert_eq!(cx.send(input.take_all()), Sent::Written);
        assert_eq!(cx.queued(cx.id()), 0);
        Action::Continue
    });
    assert_eq!(sends, [5]);
}

#[test]
fn c45_what_follows_the_first_send_is_one_more_call() {
    let sends = sends_for(b"hello", b"head, body and tail", |cx, input| {
        let _ = input.take_all();
        assert_eq!(cx.send(b"head, "), Sent::Written);
        assert_eq!(cx.send(b"body"), Sent::Queued);
        assert_eq!(cx.send(b" and tail"), Sent::Queued);
        assert_eq!(cx.queued(cx.id()), 13);
        Action::Continue
    });
    assert_eq!(sends, [6, 13]);
}

#[test]
fn c45_a_callback_sends_to_its_own_connection_by_its_name_as_well() {
    let sends = sends_for(b"hello", b"one two three", |cx, input| {
        let _ = input.take_all();
        assert!(cx.send_to(cx.id(), b"one").is_accepted());
        assert!(cx.send(b" two").is_accepted() && cx.send(b" three").is_accepted());
        Action::Continue
    });
    assert_eq!(sends, [3, 10]);
}

#[test]
fn c45_what_is_joined_is_sent_at_once_where_that_is_asked_for() {
    let sends = sends_for(b"hello", b"one two", |cx, input| {
        assert_eq!(cx.send(b"one"), Sent::Queued, "there is input left");
        cx.flush(cx.id());
        assert_eq!(cx.queued(cx.id()), 0);
        let _ = input.take_all();
        assert_eq!(cx.send(b" two"), Sent::Queued, "something was sent in this turn");
        Action::Continue
    });
    assert_eq!(sends, [3, 4]);
}

#[test]
fn c45_a_large_send_is_not_copied_and_goes_behind_what_is_joined() {
    let large = vec![b'x'; 20_000];
    let all = [b"head", &large[..], b"tail"].concat();
    let sends = sends_for(b"hello", &all, move |cx, input| {
        assert_eq!(cx.send(b"head"), Sent::Queued);
        assert_eq!(cx.send(&large), Sent::Written);
        assert_eq!(cx.send(b"tail"), Sent::Queued);
        let _ = input.take_all();
        Action::Continue
    });
    assert_eq!(sends, [4, 20_000, 4]);
}

#[test]
fn c45_what_comes_to_the_stated_amount_leaves_before_the_end_of_the_turn() {
    let all = vec![b'x'; 100_000];
    let sends = sends_for(b"hello", &all, |cx, input| {
        let sent = [b'x'; 1000];
        assert!((0..100).all(|_| cx.send(&sent).is_accepted()));
        let _ = input.take_all();
        Action::Continue
    });
    assert_eq!(sends, [65_000, 1000, 34_000]);
}

#[test]
fn c45_pieces_however_small_are_not_joined_past_the_high_watermark() {
    let config = Config::new().high_watermark(3000).low_watermark(500);
    let peer = Script::new().send("hello").expect(vec![b'x'; 9000]).finish().expect_end();
    let simulation = Simulation::new(1).calm().buffers(20_000..=20_000).config(config).peer(peer);
    let (simulation, sent) = watched(simulation);
    let probe = Probe::new().data(|cx, input| {
        assert!((0..100).all(|_| cx.send(&[b'x'; 90]).is_accepted()));
        let _ = input.take_all();
        Action::Continue
    });
    run(simulation, probe);
    assert_eq!(sent.take(), [2970, 90, 2970, 90, 2880]);
}

#[test]
fn c11_joined_bytes_are_charged_by_the_page_however_small_the_pieces() {
    let sends = sends_for(b"hello", &[b'x'; 20_000], |cx, input| {
        for joined in (100..=20_000).step_by(100) {
            assert_eq!(cx.send(&[b'x'; 100]), Sent::Queued);
            assert_eq!(cx.queued(cx.id()), joined);
            assert_eq!(cx.metrics().output_held, joined.next_multiple_of(4096));
        }
        let _ = input.take_all();
        Action::Continue
    });
    assert_eq!(sends, [20_000]);
}

#[test]
fn c45_what_is_joined_is_sent_before_the_connection_is_closed() {
    let sends = sends_for(b"bye", b"one two", |cx, input| {
        let _ = input.take_all();
        assert!(cx.send(b"one").is_accepted() && cx.send(b" two").is_accepted());
        Action::Close
    });
    assert_eq!(sends, [3, 4]);
}

#[test]
fn c45_what_is_sent_to_another_connection_is_joined_as_well() {
    let hears = Cell::new(None);
    let listens = Script::new().send("hear").expect(b"said".repeat(20)).finish().expect_end();
    let says = Script::new().wait(SECOND).send([b'x'; 20]).wait(SECOND).finish().expect_end();
    let simulation = Simulation::new(1).calm().buffers(10_000..=10_000).peer(listens).peer(says);
    let (simulation, sent) = watched(simulation);
    let probe = Probe::new().data(move |cx, input| {
        let words = input.take_all();
        if words == b"hear" {
            hears.set(Some(cx.id()));
            return Action::Continue;
        }
        let to = hears.get().expect("it came a second before");
        words.iter().for_each(|_| assert!(cx.send_to(to, b"said").is_accepted()));
        Action::Continue
    });
    run(simulation, probe);
    // The first one at once, since nothing had moved on that connection in this turn.
    assert_eq!(sent.take(), [4, 76]);
}

/// Found by the simulated kernel: while output was joined the connection's timer rang, found
/// nothing, and was not set again (seed 126670).
#[test]
fn c45_whose_output_was_joined_is_as_idle_as_anybody() {
    // Nor was it where another timeout was set meanwhile, for later (seed 2487).
    for later in [None, Some(50 * SECOND)] {
        let config = Config::new().idle_timeout(Some(3 * SECOND));
        let probe = Probe::new()
            .opened(|cx| {
                cx.set_timer(0, Some(SECOND));
                Action::Continue
            })
            .timer(move |cx, _| {
                assert!(cx.send(b"one").is_accepted() && cx.send(b" two").is_accepted());
                cx.set_timer(0, later);
                Action::Continue
            });
        let peer = Script::new().may_end().expect("one two").wait(10 * SECOND).expect_end();
        let simulation = Simulation::new(1).calm().buffers(1000..=1000).config(config).peer(peer);
        let report = run(simulation, probe);
        assert_eq!(report.handler.closed[0].reason, Reason::IdleTimeout);
        assert!(report.elapsed < 20 * SECOND, "{:?}", report.elapsed);
    }
}
