//! Bytes that lie in several places and are sent as one.

use super::*;

/// Calls that send: which, and how many bytes were taken.
type Calls = Rc<RefCell<Vec<(String, usize)>>>;

/// All calls of a simulation that send.
fn watched(simulation: Simulation) -> (Simulation, Calls) {
    let calls = Rc::new(RefCell::new(Vec::new()));
    let sees = Rc::clone(&calls);
    let simulation = simulation.trace(move |_, what| {
        if let Some((call, _)) = what.split_once('(')
            && call.starts_with("send")
            && let Some((_, taken)) = what.rsplit_once(": ")
        {
            sees.borrow_mut().push((call.to_owned(), taken.parse().unwrap_or(0)));
        }
    });
    (simulation, calls)
}

/// The calls of a server that sends to one who says a byte, through a buffer of this size.
fn calls_for(
    buffer: usize,
    gets: &[u8],
    mut sends: impl FnMut(&mut dyn Context) -> Sent + 'static,
) -> Vec<(String, usize)> {
    let peer = Script::new().send("!").wait(SECOND).expect(gets).finish().expect_end();
    let simulation = Simulation::new(1).calm().buffers(buffer..=buffer);
    let (simulation, calls) = watched(simulation.peer(peer));
    run(
        simulation,
        Probe::new().data(move |cx, input| {
            let _ = input.take_all();
            sends(cx).or_reset()
        }),
    );
    calls.take()
}

fn called(call: &str, taken: usize) -> (String, usize) {
    (call.to_owned(), taken)
}

#[test]
fn a_large_body_leaves_with_its_head_by_one_call() {
    let body = vec![b'b'; 100_000];
    let all = [b"head", &body[..], b"tail"].concat();
    let calls = calls_for(200_000, &all, move |cx| {
        let sent = cx.send_vectored(cx.id(), &[b"head", b"", &body, b"tail"]);
        assert_eq!((sent, cx.queued(cx.id())), (Sent::Written, 0));
        sent
    });
    assert_eq!(calls, [called("sendmsg", 100_008)]);
}

#[test]
fn c45_small_pieces_are_one_send_and_what_follows_is_joined() {
    let calls = calls_for(200_000, b"head, body; head, body", |cx| {
        assert_eq!(cx.send_vectored(cx.id(), &[b"head", b", ", b"body"]), Sent::Written);
        assert_eq!(cx.send_vectored(cx.id(), &[b"; ", b"head"]), Sent::Queued);
        cx.send_vectored(cx.id(), &[b", body"])
    });
    assert_eq!(calls, [called("send", 10), called("send", 12)]);
}

#[test]
fn c45_what_is_joined_leaves_before_large_pieces() {
    let body = vec![b'b'; 20_000];
    let all = [b"one two", &body[..], b"three"].concat();
    let calls = calls_for(200_000, &all, move |cx| {
        assert_eq!(cx.send(b"one"), Sent::Written);
        assert_eq!(cx.send(b" two"), Sent::Queued);
        cx.send_vectored(cx.id(), &[&body, b"three"])
    });
    assert_eq!(calls, [called("send", 3), called("send", 4), called("sendmsg", 20_005)]);
}

#[test]
fn c04_a_call_that_is_cut_short_in_any_piece_queues_exactly_the_rest() {
    let lengths = [10, 7000, 1, 9000, 600];
    let cuts = [1, 9, 10, 11, 5000, 7010, 7011, 7012, 16_010, 16_011, 16_012, 16_611];
    for buffer in cuts {
        let pieces: Vec<Vec<u8>> =
            lengths.iter().zip(b'a'..).map(|(&length, byte)| vec![byte; length]).collect();
        let all = pieces.concat();
        let length = all.len();
        let calls = calls_for(buffer, &all, move |cx| {
            let slices: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
            let sent = cx.send_vectored(cx.id(), &slices);
            assert_eq!(cx.queued(cx.id()), length - buffer.min(length), "cut at {buffer}");
            sent
        });
        assert_eq!(calls[0], called("sendmsg", buffer.min(length)));
        assert_eq!(calls.iter().map(|call| call.1).sum::<usize>(), length);
    }
}

#[test]
fn c10_pieces_above_the_limit_are_refused_and_nothing_of_them_is_sent() {
    let config = Config::new().output_limit(150_000);
    let large = vec![b'x'; 80_000];
    let probe = Probe::new().data(move |cx, input| {
        let _ = input.take_all();
        assert_eq!(cx.send_vectored(cx.id(), &[&large, &large]), Sent::Refused);
        assert_eq!(cx.queued(cx.id()), 0);
        cx.send(b"small").or_reset()
    });
    let peer = Script::new().send("!").expect("small").finish().expect_end();
    let report = run(Simulation::new(1).config(config).peer(peer), probe);
    assert_eq!(report.metrics.refused, 1);
}

#[test]
fn c03_pieces_that_fail_count_as_dropped() {
    let body = vec![b'x'; 20_000];
    let probe = Probe::new().data(move |cx, input| {
        let _ = input.take_all();
        assert_eq!(cx.send_vectored(cx.id(), &[b"head", &body]), Sent::Gone);
        Action::Continue
    });
    let peer = Script::new().may_end().send("!").wait(SECOND);
    let report = run(failing(Call::Send, 1, Errno::PIPE).peer(peer), probe);
    assert_eq!(report.handler.closed[0].dropped, 20_004);
}

#[test]
fn what_is_queued_in_several_chunks_leaves_in_one_call() {
    // The first 1,000 bytes fill the socket; the rest waits in chunks of up to 64 KiB.
    let config = Config::new()
        .output_limit(2 << 20)
        .high_watermark(1 << 20)
        .low_watermark(1000)
        .turn_bytes(1 << 20)
        .turn_accepts(10)
        .turn_jobs(10);
    let body = vec![b'x'; 301_000];
    let peer = Script::new().send("!").wait(SECOND).expect(&body).finish().expect_end();
    let simulation = Simulation::new(1).calm().buffers(300_000..=300_000).config(config);
    let (simulation, calls) = watched(simulation.peer(peer));
    let probe = Probe::new().data(move |cx, input| {
        let _ = input.take_all();
        assert_eq!(cx.send(&body[..300_000]), Sent::Written);
        for _ in 0..10 {
            assert_eq!(cx.send(&body[..100]), Sent::Queued);
            cx.flush(cx.id());
        }
        Action::Continue
    });
    run(simulation, probe);
    assert!(calls.borrow().len() <= 3, "{:?}", calls.borrow());
}
