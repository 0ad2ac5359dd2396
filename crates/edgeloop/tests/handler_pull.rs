//! Handlers that are asked for more, on real sockets.

mod common;

use std::io::Read as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{ON_PURPOSE, Script, hush_panics_on_purpose};
use edgeloop::{Action, Reason, Stop};
use testkit::Peer;

/// How much is sent at a time, and in all. The pattern's length shares no factor with a piece's.
const PIECE: usize = 48 * 1024;
const ALL: usize = 200_000_000;
const PATTERN: usize = 65_521;

/// The default low watermark.
const LOW: usize = 16 * 1024;

/// The pattern, long enough for a piece from any place in it.
fn pattern() -> Vec<u8> {
    let word = |at: u32| at.wrapping_mul(0x9e37_79b9).to_be_bytes()[0];
    (0..)
        .map(word)
        .take(PATTERN)
        .collect::<Vec<_>>()
        .into_iter()
        .cycle()
        .take(PATTERN + PIECE.max(1 << 20))
        .collect()
}

#[test]
fn two_hundred_megabytes_are_made_as_a_reader_of_changing_speed_takes_them() {
    let most = Arc::new(AtomicUsize::new(0));
    let held = Arc::clone(&most);
    let (mut sent, bytes) = (0, pattern());
    let server = Script::new()
        .opened(|cx| {
            cx.pull(cx.id());
            Action::Continue
        })
        .writable(move |cx| {
            let at = sent % PATTERN;
            let piece = &bytes[at..at + PIECE.min(ALL - sent)];
            sent += piece.len();
            assert!(cx.send(piece).is_accepted(), "there was room");
            held.fetch_max(cx.metrics().output_held, Ordering::Relaxed);
            if sent == ALL {
                return Action::Close;
            }
            cx.pull(cx.id());
            Action::Continue
        })
        .start();
    let mut reader = TcpStream::connect(server.address()).expect("a connection");
    let (bytes, mut buffer) = (pattern(), vec![0; 1 << 20]);
    let mut received = 0;
    // Sizes from a byte to a megabyte, and now and then nothing until the server has nothing to do.
    for round in 0.. {
        if round % 64 == 0 {
            server.settle();
        }
        let most = 1 << (round % 21);
        let count = reader.read(&mut buffer[..most]).expect("no error");
        if count == 0 {
            break;
        }
        let at = received % PATTERN;
        assert!(buffer[..count] == bytes[at..at + count], "another byte behind {received}");
        received += count;
    }
    assert_eq!(received, ALL);
    drop(reader);
    let closed = server.closed();
    assert_eq!((closed.reason, closed.dropped), (Reason::Closed, 0));
    // Memory is charged by chunks of whole pages.
    let allowed = LOW + PIECE + 64 * 1024;
    let most = most.load(Ordering::Relaxed);
    assert!(most <= allowed, "{most} bytes were held, and not {allowed}");
    server.stop(Stop::Now);
}

#[test]
fn c40_a_panic_of_one_who_is_asked_leaves_the_others_to_be_asked() {
    hush_panics_on_purpose();
    let mut asked = 0;
    let server = Script::new()
        .data(|cx, input| {
            let _ = input.take_all();
            for id in cx.connections() {
                cx.pull(id);
            }
            Action::Continue
        })
        .writable(move |_| {
            asked += 1;
            assert!(asked != 2, "{ON_PURPOSE}");
            // Or it would linger, because its peer does not end.
            Action::Reset
        })
        .start();
    let peers: Vec<Peer> = (0..5).map(|_| server.connect().0).collect();
    peers[0].send(b"go");
    let reasons: Vec<_> = (0..5).map(|_| server.closed().reason).collect();
    let panicked = reasons.iter().filter(|&&reason| reason == Reason::Panicked).count();
    assert_eq!(panicked, 1, "{reasons:?}");
    server.stop(Stop::Now);
}
