//! What becomes of what a handler sends: the answers, the marks, the ceiling, and the ends.

mod common;

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use common::{Script, Session, expect_none, next};
use edgeloop::{
    Action, Config, ConnectionId, Context, LoopContext, MIN_BUFFER_LIMIT, Reason, Sent, Stop,
};
use testkit::{Stream, TcpSockets, assert_same_bytes};

const PIECE: usize = 16 * 1024;

/// Sends pieces of a stream until the answer is `until`; says how many bytes were accepted.
fn fill(
    cx: &mut dyn LoopContext<Session>,
    id: ConnectionId,
    stream: &mut Stream,
    until: Sent,
) -> usize {
    let mut accepted = 0;
    loop {
        let piece = stream.take(PIECE);
        let sent = cx.send_to(id, &piece);
        accepted += if sent.is_accepted() { PIECE } else { 0 };
        if sent == until {
            return accepted;
        }
        assert!(sent.is_accepted(), "{sent:?} before {until:?}");
    }
}

#[test]
fn c10_sending_answers_written_queued_above_the_mark_and_refused() {
    let (report, drained) = mpsc::channel();
    // With a budget for the turn that fills the kernel: what is queued waits for the peer, then.
    let config = Config::new().turn_bytes(64 << 20).turn_accepts(64).turn_jobs(1024);
    let config = config.high_watermark(64 << 10).low_watermark(16 << 10).output_limit(256 << 10);
    let server = Script::new()
        .config(config)
        .drained(move |cx| {
            report.send(cx.queued(cx.id())).expect("the test listens");
            Action::Continue
        })
        .start();
    let (peer, id) = server.connect_narrow();
    let accepted = server.ask(move |cx| {
        let mut stream = Stream::new(10);
        assert_eq!(cx.send_to(id, &stream.take(100)), Sent::Written);
        let mut accepted = 100 + fill(cx, id, &mut stream, Sent::Queued);
        accepted += fill(cx, id, &mut stream, Sent::AboveMark);
        assert!(cx.queued(id) > 64 << 10);
        accepted += fill(cx, id, &mut stream, Sent::Refused);
        let queued = cx.queued(id);
        assert!(queued <= 256 << 10 && queued + PIECE > 256 << 10, "{queued}");
        assert_eq!(cx.send_to(id, &[0; PIECE]), Sent::Refused);
        assert_eq!(cx.queued(id), queued, "nothing of it is queued");
        accepted
    });
    // Above the mark the peer is not read from.
    peer.send(b"echo me");
    server.settle();
    expect_none(&drained);
    assert_same_bytes(&peer.receive(accepted), &Stream::new(10).take(accepted));
    peer.expect(b"echo me");
    assert!(next(&drained, "drained callback") <= 16 << 10);
    expect_none(&drained);
    assert_eq!(server.stop(Stop::Now).0.refused, 2);
}

#[test]
fn c10_a_message_above_the_limit_is_refused_and_nothing_of_it_written() {
    let server = Script::new().config(Config::new().output_limit(128 << 10)).start();
    let (peer, id) = server.connect();
    let sent =
        server.ask(move |cx| (cx.send_to(id, &[b'x'; (128 << 10) + 1]), cx.send_to(id, b"small")));
    assert_eq!(sent, (Sent::Refused, Sent::Written));
    peer.expect(b"small");
}

#[test]
fn c10_reading_pauses_and_resumes_on_any_connection() {
    let server = Script::new().start();
    let ((one, one_id), (two, _)) = (server.connect(), server.connect());
    server.ask(move |cx| cx.pause(one_id));
    one.send(b"held back");
    two.expect_echo(b"goes on");
    server.settle();
    assert!(one.receive_what_is_there(1).is_empty());
    server.ask(move |cx| cx.resume(one_id));
    one.expect(b"held back");
}

#[test]
fn c11_at_the_ceiling_whoever_has_output_is_not_read_and_others_are() {
    let config = Config::new()
        .buffer_limit(MIN_BUFFER_LIMIT)
        .turn_bytes(64 << 20)
        .turn_accepts(64)
        .turn_jobs(1024);
    let server = Script::new().config(config).start();
    let ((peer, id), (other, _)) = (server.connect_narrow(), server.connect());
    let accepted = server.ask(move |cx| fill(cx, id, &mut Stream::new(11), Sent::Refused));
    let _ = server.notice("buffer limit nearly reached");
    peer.send(b"later");
    other.expect_echo(b"at once");
    let queued = server.ask(move |cx| cx.queued(id));
    assert!(queued <= MIN_BUFFER_LIMIT, "{queued}");
    assert_same_bytes(&peer.receive(accepted), &Stream::new(11).take(accepted));
    peer.expect(b"later");
    let (metrics, _) = server.stop(Stop::Now);
    assert_eq!((metrics.memory_pauses, metrics.given_up, metrics.output_held), (1, 0, 0));
}

#[test]
fn c17_the_id_of_a_gone_connection_never_reaches_the_one_in_its_slot() {
    let server = Script::new().start();
    let (old, old_id) = server.connect();
    old.half_close();
    assert_eq!(server.closed().id, old_id);
    let (peer, id) = server.connect();
    let slot = |id: ConnectionId| id.to_string().split_once('@').expect("a slot").1.to_owned();
    assert_eq!(slot(id), slot(old_id), "the slot is used again");
    assert_ne!(id, old_id);
    server.handle().send(old_id, *b"stray").expect("room");
    server.handle().close(old_id).expect("room");
    let sent = server.ask(move |cx| {
        cx.close(old_id);
        cx.reset(old_id);
        cx.pause(old_id);
        cx.resume(old_id);
        (cx.send_to(old_id, b"stray"), cx.queued(old_id))
    });
    assert_eq!(sent, (Sent::Gone, 0));
    peer.expect_echo(b"mine alone");
    assert_eq!(server.stop(Stop::Now).0.stale, 7);
}

#[test]
fn c03_close_flushes_everything_before_the_fin() {
    let config = Config::new().output_limit(8 << 20);
    let server = Script::new()
        .config(config)
        .data(|cx, _| {
            assert!(cx.send(&Stream::new(3).take(6 << 20)).is_accepted());
            assert!(cx.queued(cx.id()) > 0, "some of it waits");
            Action::Close
        })
        .start();
    let (peer, _) = server.connect_narrow();
    peer.send(b"go");
    assert_same_bytes(&peer.receive_to_end(), &Stream::new(3).take(6 << 20));
    peer.close();
    let closed = server.closed();
    assert_eq!((closed.reason, closed.dropped), (Reason::Closed, 0));
}

#[test]
fn c03_a_stalled_connection_leaves_nothing_in_the_kernel() {
    let config =
        Config::new().write_timeout(Some(Duration::from_millis(100))).output_limit(8 << 20);
    let server = Script::new().config(config).start();
    let (peer, id) = server.connect_narrow();
    // Nothing of the peer's is unread, so that only we ourselves can make this end a reset.
    server.ask(move |cx| fill(cx, id, &mut Stream::new(1), Sent::Refused));
    assert_eq!(server.closed().reason, Reason::WriteTimeout);
    // The descriptor is closed when the callback has returned.
    server.settle();
    assert_eq!(TcpSockets::now().between(server.address(), peer.address()), None);
}

#[test]
fn c03_reset_drops_what_is_queued_and_says_how_much() {
    let server = Script::new().start();
    let (peer, id) = server.connect_narrow();
    let queued = server.ask(move |cx| {
        fill(cx, id, &mut Stream::new(1), Sent::AboveMark);
        let queued = cx.queued(id);
        cx.reset(id);
        queued
    });
    peer.expect_reset();
    let closed = server.closed();
    assert_eq!((closed.reason, closed.dropped), (Reason::Reset, queued as u64));
}

#[test]
fn a_handler_that_makes_no_session_refuses_the_connection() {
    let server = Script::new().session(|_| None).start();
    testkit::Peer::expect_to_be_refused(server.address());
    let (metrics, closed) = server.stop(Stop::Now);
    assert_eq!((metrics.accepted, metrics.closed, closed), (1, 1, vec![]));
}

#[test]
fn c13_what_a_callback_sends_to_a_fast_reader_is_bounded_and_goes_on_in_the_next_turns() {
    const TURN: usize = 256 << 10;
    const ALL: usize = 64 << 20;
    for piece in [64, 4 << 10, 100 << 10] {
        let (report, sent) = mpsc::channel();
        let mut stream = Stream::new(13);
        let mut left = ALL;
        // As a handler does that sends a file: for as long as nothing is queued, and from `drained`
        // on.
        let mut pour = move |cx: &mut dyn Context<Session>| {
            let mut straight = 0;
            while left > 0 {
                let bytes = stream.take(piece.min(left));
                left -= bytes.len();
                match cx.send(&bytes) {
                    Sent::Written => straight += bytes.len(),
                    Sent::Queued => {}
                    answer => {
                        assert_eq!(answer, Sent::AboveMark);
                        break;
                    }
                }
            }
            report.send(straight).expect("the test listens");
            Action::Continue
        };
        let pour = Arc::new(Mutex::new(move |cx: &mut dyn Context<Session>| pour(cx)));
        let again = Arc::clone(&pour);
        let server = Script::new()
            .data(move |cx, input| {
                let _ = input.take_all();
                (pour.lock().expect("one thread"))(cx)
            })
            .drained(move |cx| (again.lock().expect("one thread"))(cx))
            .start();
        let (peer, _) = server.connect();
        peer.send(b"go");
        peer.expect_stream(&mut Stream::new(13), ALL as u64);
        drop(peer);
        let (_, closed) = server.stop(Stop::Now);
        assert!(closed.iter().all(|closed| closed.dropped == 0), "{closed:?}");
        let most = sent.try_iter().max().expect("it was called");
        assert!(most <= 2 * TURN + piece, "{most} bytes in one callback, {piece} at a time");
    }
}

#[test]
fn c13_what_others_are_sent_meanwhile_gives_a_fast_reader_no_larger_budget() {
    const TURN: usize = 256 << 10;
    const PIECE: usize = 64;
    let server = Script::new().start();
    let (stalled, slow) = server.connect_narrow();
    let (peer, id) = server.connect();
    let (reader, read) = mpsc::channel();
    let reading = std::thread::spawn(move || {
        let bytes = peer.receive_to_end().len();
        reader.send(bytes).expect("the test listens");
    });
    let sent = server.ask(move |cx| {
        while cx.send_to(slow, &[0; 16 << 10]) != Sent::AboveMark {}
        let mut straight = 0;
        // What the slow one queues changes how much memory is left.
        while straight < 16 << 20 && cx.send_to(id, &[1; PIECE]) == Sent::Written {
            straight += PIECE;
            if straight.is_multiple_of(32 << 10) {
                assert_eq!(cx.send_to(slow, b"!"), Sent::AboveMark);
            }
        }
        cx.close(id);
        straight
    });
    assert!(sent <= 2 * TURN + PIECE, "{sent} bytes in one callback");
    assert_eq!(next(&read, "all that was sent"), sent + PIECE);
    reading.join().expect("it has read");
    drop(stalled);
}

#[test]
fn c13_a_fast_reader_has_one_budget_however_many_others_the_callback_sends_to() {
    const TURN: usize = 256 << 10;
    const PIECE: usize = 1 << 10;
    let server = Script::new().start();
    let connected: Vec<_> = (0..40).map(|_| server.connect()).collect();
    let ids: Vec<_> = connected.iter().map(|(_, id)| *id).collect();
    let read = |(peer, _): (testkit::Peer, ConnectionId)| {
        std::thread::spawn(move || peer.receive_to_end().len())
    };
    let readers: Vec<_> = connected.into_iter().map(read).collect();
    let sent = server.ask(move |cx| {
        let (&first, others) = ids.split_first().expect("forty");
        let mut straight = 0;
        // Each of the others meets the end of what the first has not quite spent.
        for &other in others {
            for _ in 0..100 {
                let written =
                    cx.queued(first) == 0 && cx.send_to(first, &[1; PIECE]) == Sent::Written;
                straight += if written { PIECE } else { 0 };
            }
            for _ in 0..40 {
                let _ = cx.send_to(other, &[2; PIECE]);
            }
        }
        ids.iter().for_each(|&id| cx.close(id));
        straight
    });
    assert!(sent <= 2 * TURN + PIECE, "{sent} bytes in one callback");
    let read: Vec<usize> =
        readers.into_iter().map(|one| one.join().expect("it has read")).collect();
    assert!((sent..=sent + PIECE).contains(&read[0]), "{sent} of {}", read[0]);
    assert!(read[1..].iter().all(|&bytes| bytes == 40 * PIECE), "{read:?}");
}

#[test]
fn more_pieces_than_one_call_takes_are_sent_in_their_order() {
    let server = Script::new().start();
    let (peer, id) = server.connect();
    let all = Stream::new(7).take(30_000);
    let bytes = all.clone();
    let sent = server.ask(move |cx| {
        let pieces: Vec<&[u8]> = bytes.chunks(10).collect();
        assert!(pieces.len() > 2 * 1024);
        cx.send_vectored(id, &pieces)
    });
    assert!(sent.is_accepted());
    assert_same_bytes(&peer.receive(all.len()), &all);
}
