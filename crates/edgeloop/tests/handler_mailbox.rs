//! Reaching a loop from other threads: nothing is lost, nothing is reordered, and the mailbox is
//! bounded.

mod common;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;

use common::Script;
use edgeloop::{Config, Reason, SendErrorKind, Stop};
use testkit::{Peer, Prng};

#[test]
fn c33_letters_of_many_threads_all_arrive_each_threads_in_order() {
    const THREADS: u8 = 4;
    const LETTERS: u32 = 5_000;
    let server = Script::new().start();
    let peers: Vec<_> = (0..THREADS).map(|_| server.connect()).collect();
    thread::scope(|scope| {
        for (peer, id) in &peers {
            let (handle, id) = (server.handle(), *id);
            scope.spawn(move || {
                for number in 0..LETTERS {
                    let mut bytes = Box::from(number.to_be_bytes());
                    // The mailbox may be full for a moment; the bytes come back with the error.
                    while let Err(error) = handle.send(id, bytes) {
                        assert_eq!(error.kind, SendErrorKind::Full);
                        bytes = error.value;
                        thread::yield_now();
                    }
                    handle.notify();
                }
            });
            scope.spawn(move || {
                for number in 0..LETTERS {
                    assert_eq!(peer.receive(4), number.to_be_bytes(), "letter {number}");
                }
            });
        }
    });
}

#[test]
fn c33_a_full_mailbox_gives_the_bytes_back_and_delivers_what_it_took() {
    let server = Script::new().config(Config::new().mailbox_limit(10_000)).start();
    let (peer, id) = server.connect();
    let (started, starts) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let asker = server.asker();
    let busy = thread::spawn(move || {
        asker.ask(move |_| {
            let _ = started.send(());
            let _ = released.recv();
        });
    });
    starts.recv().expect("the loop is busy");
    let handle = server.handle();
    let mut taken = 0_u8;
    let error = loop {
        match handle.send(id, [taken; 1000]) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind, &error.value[..]), (SendErrorKind::Full, &[taken; 1000][..]));
    assert!((5..10).contains(&taken), "{taken} letters of 1,000 bytes in a box of 10,000");
    assert_eq!(handle.close(id), Ok(()), "there is room for a small letter");
    drop(release);
    busy.join().expect("the loop goes on");
    for number in 0..taken {
        assert_eq!(peer.receive(1000), [number; 1000]);
    }
    peer.expect_eof();
}

#[test]
fn c33_a_letter_that_comes_while_the_mail_is_read_wakes_the_loop_again() {
    let server = Script::new().start();
    let (peer, id) = server.connect();
    let handle = server.handle();
    // The job runs when the loop has emptied the mailbox, and before it waits again.
    server.ask(move |_| handle.send(id, *b"one more")).expect("there is room");
    assert_eq!(peer.receive(8), b"one more");
}

#[test]
fn c33_a_loop_that_is_gone_says_so() {
    let server = Script::new().start();
    let (_peer, id) = server.connect();
    let handle = server.handle();
    server.stop(Stop::Now);
    let error = handle.send(id, *b"too late").expect_err("nobody is there");
    assert_eq!((error.kind, &error.value[..]), (SendErrorKind::Stopped, &b"too late"[..]));
    assert_eq!(handle.close(id), Err(SendErrorKind::Stopped));
    handle.notify();
    handle.stop(Stop::Now);
}

#[test]
fn c10_a_letter_beyond_the_output_limit_ends_the_connection_with_the_reason() {
    let limit = 256 * 1024;
    let server = Script::new().config(Config::new().output_limit(limit)).start();
    let (_peer, id) = server.connect_narrow();
    let (other, _) = server.connect();
    let handle = server.handle();
    // Whatever the kernel takes, twice the limit can't be queued behind it.
    while handle.send(id, vec![0; limit]).is_ok() && server.is_open(id) {}
    assert_eq!(server.closed().reason, Reason::OutputLimit);
    other.expect_echo(b"the others go on");
}

#[test]
fn c17_a_letter_for_a_connection_that_is_gone_is_counted_and_reaches_nobody() {
    let server = Script::new().start();
    let (peer, gone) = server.connect();
    peer.close();
    server.closed();
    let (next, id) = server.connect();
    assert_ne!(gone, id);
    server.handle().send(gone, *b"for somebody else").expect("a mailbox");
    next.expect_echo(b"its own bytes only");
    let (metrics, _) = server.stop(Stop::Now);
    assert_eq!(metrics.stale, 1);
}

/// What a peer of the churn does.
fn churn(peer: Peer, random: &mut Prng) {
    let length = random.between(1, 200_000);
    match random.between(0, 4) {
        0 => peer.expect_echo(&vec![b'e'; random.between(1, 5_000)]),
        1 => {
            peer.send(b"half a stream");
            peer.half_close();
            assert_eq!(peer.receive_to_end(), b"half a stream");
        }
        2 => {
            let _ = peer.try_send(&vec![b'r'; length]);
            peer.reset();
        }
        3 => {
            let _ = peer.try_send(&vec![b'c'; random.between(1, 50_000)]);
            peer.close();
        }
        _ => peer.close(),
    }
}

#[test]
fn every_session_is_closed_exactly_once_whatever_its_peer_does() {
    let mut random = Prng::printed("every_session_is_closed_exactly_once_whatever_its_peer_does");
    let server = Script::new().start();
    let address = server.address();
    let rounds = 60;
    for _ in 0..rounds {
        let seeds: Vec<u64> = (0..8).map(|_| random.next_u64()).collect();
        thread::scope(|scope| {
            for seed in seeds {
                scope.spawn(move || churn(Peer::connect(address), &mut Prng::new(seed)));
            }
        });
    }
    let opened: Vec<_> = (0..rounds * 8).map(|_| server.opened()).collect();
    let mut closed: Vec<_> = opened.iter().map(|_| server.closed().id).collect();
    let (metrics, more) = server.stop(Stop::Now);
    assert!(more.is_empty(), "{more:?}");
    let mut opened = opened;
    opened.sort();
    closed.sort();
    assert_eq!(opened, closed);
    assert_eq!((metrics.connections, metrics.output_held, metrics.input_held), (0, 0, 0));
    assert_eq!(metrics.closed, rounds * 8);
}

#[test]
fn c33_each_byte_at_a_watched_descriptor_is_told() {
    let (reader, mut writer) = UnixStream::pair().expect("a pair");
    reader.set_nonblocking(true).expect("non-blocking");
    // What was there before it is watched counts, too.
    writer.write_all(b"!").expect("room");
    let watched = reader.try_clone().expect("a descriptor");
    let server = Script::new().start_after(|event_loop| {
        event_loop.notify_on(&watched).expect("it can be watched");
        let again = event_loop.notify_on(&watched).expect_err("it is watched already");
        assert_eq!(again.io_error().raw_os_error(), Some(rustix::io::Errno::EXIST.raw_os_error()));
    });
    // Nothing but the byte wakes the loop: a question of its own would.
    let asker = server.asker();
    let (answer, answers) = mpsc::channel();
    for _ in 0..100 {
        let answer = answer.clone();
        asker.leave(move |_| {
            let _ = answer.send(());
        });
        writer.write_all(b"!").expect("room");
        answers.recv_timeout(testkit::PATIENCE).expect("the loop is told");
    }
    // The loop has read none of them.
    let mut all = [0; 200];
    assert_eq!((&reader).read(&mut all).expect("bytes"), 101);
    // It is watched for as long as it lives, and no longer.
    drop((reader, watched));
    assert!(writer.write_all(b"!").is_err());
    server.settle();
}
