//! Contract, Bytes: C1 to C8, seen from the peer's side.

mod serve;

use std::io::Read as _;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use serve::{SOCKETS_AND_EVENTS, serve, server};
use testkit::{
    Call, Mark, Peer, Prng, STRACE, Server, SocketState, Stopwatch, Stream, TcpSockets, eventually,
    pour, skip_unless,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The state of the server's end of a connection.
fn state(server: &Server, peer: SocketAddr) -> Option<SocketState> {
    TcpSockets::now().between(server.address(), peer).map(|socket| socket.state)
}

/// What the server's kernel has received of this peer and the server has not read. A FIN counts
/// as one byte.
#[track_caller]
fn expect_unread(server: &Server, peer: &Peer, bytes: usize) {
    eventually(&format!("{bytes} bytes wait to be read"), || {
        TcpSockets::now()
            .between(server.address(), peer.address())
            .is_some_and(|socket| socket.unread == bytes as u64)
    });
}

/// A connection that has carried so much that the kernel lets the server's receive queue grow.
#[track_caller]
fn well_used(server: &Server) -> Peer {
    let peer = Peer::connect(server.address());
    peer.expect_stream_echo(1, 8 * MIB as u64);
    peer
}

#[test]
fn c01_every_byte_before_the_fin_comes_back_once_and_in_order() {
    let mut prng = Prng::printed("c01_every_byte_before_the_fin_comes_back_once_and_in_order");
    let server = serve(&[]);
    thread::scope(|scope| {
        for _ in 0..6 {
            let (seed, length) = (prng.next_u64(), prng.between(1, 6 * MIB) as u64);
            let address = server.address();
            scope.spawn(move || {
                let peer = Peer::connect(address);
                peer.expect_stream_echo(seed, length);
                peer.half_close();
                peer.expect_eof();
            });
        }
    });
}

#[test]
fn c01_what_came_in_one_wake_up_is_read_to_its_end() {
    let server = serve(&[]);
    let peer = well_used(&server);
    let bytes = Stream::new(2).take(192 * KIB);
    server.stopped(|| {
        peer.send(&bytes);
        expect_unread(&server, &peer, bytes.len());
    });
    // No further segment comes, so no further edge: whoever reads once for each keeps the rest.
    peer.expect(&bytes);
}

#[test]
fn c01_the_urgent_byte_is_echoed_in_its_place() {
    let server = serve(&[]);
    let peer = Peer::connect(server.address());
    peer.send(b"abc");
    peer.send_urgent(b'd');
    peer.send(b"efgh");
    peer.half_close();
    assert_eq!(peer.receive_to_end(), b"abcdefgh");
}

#[test]
fn c01_an_urgent_byte_alone_is_echoed() {
    let server = serve(&[]);
    let peer = Peer::connect(server.address());
    for byte in [b'1', b'2', b'3'] {
        peer.send_urgent(byte);
        peer.expect(&[byte]);
    }
}

#[test]
fn c02_data_behind_the_urgent_mark_is_read() {
    let server = serve(&[]);
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    server.stopped(|| {
        peer.send(b"abc");
        peer.send_urgent(b'd');
        peer.send(b"efgh");
        expect_unread(&server, &peer, 8);
    });
    // The stream stays open: nothing but the server's own persistence gets at the last four.
    peer.expect(b"abcdefgh");
    peer.expect_echo(b"and on it goes");
}

#[test]
fn c02_data_with_a_fin_behind_it_is_read_to_the_end() {
    let server = serve(&[]);
    for length in [1, 1000, 60_000] {
        let peer = Peer::connect(server.address());
        peer.expect_echo(b"hello");
        let bytes = Stream::new(length).take(usize::try_from(length).expect("a length"));
        server.stopped(|| {
            peer.send(&bytes);
            peer.half_close();
            expect_unread(&server, &peer, bytes.len() + 1);
        });
        peer.expect(&bytes);
        peer.expect_eof();
    }
}

#[test]
fn c02_more_than_one_read_with_a_fin_behind_it_is_read_to_the_end() {
    let server = serve(&[]);
    // On both sides of the read buffer's size and its multiples.
    for length in [65_535, 65_536, 65_537, 131_072, 180_000] {
        let peer = well_used(&server);
        let bytes = Stream::new(3).take(length);
        server.stopped(|| {
            peer.send(&bytes);
            peer.half_close();
            expect_unread(&server, &peer, length + 1);
        });
        peer.expect(&bytes);
        peer.expect_eof();
    }
}

/// A newcomer is read before it has had an event.
#[test]
fn what_stands_behind_the_first_read_of_a_newcomer_is_read() {
    let server = serve(&[]);
    let newcomer = |act: &dyn Fn(&Peer), unread| {
        server.stopped(|| {
            let peer = Peer::connect(server.address());
            act(&peer);
            expect_unread(&server, &peer, unread);
            peer
        })
    };
    let marked = |peer: &Peer| {
        peer.send(b"abc");
        peer.send_urgent(b'd');
        peer.send(b"efgh");
    };
    let peer = newcomer(&marked, 8);
    peer.expect(b"abcdefgh");
    peer.expect_echo(b"and on it goes");
    for length in [0, 1, 60_000] {
        let bytes = Stream::new(length).take(usize::try_from(length).expect("a length"));
        let ends = |peer: &Peer| {
            peer.send(&bytes);
            peer.half_close();
        };
        let peer = newcomer(&ends, bytes.len() + 1);
        peer.expect(&bytes);
        peer.expect_eof();
    }
}

#[test]
fn c03_every_byte_sent_before_closing_precedes_our_fin() {
    let server = serve(&[]);
    let peers = [Peer::narrow(server.address())];
    let mut streams = [Stream::new(3)];
    pour(&peers, &mut streams);
    let [peer] = &peers;
    peer.half_close();
    let owed = streams[0].position();
    assert!(owed > 1_000_000, "only {owed} bytes under way");
    peer.expect_stream(&mut Stream::new(3), owed);
    peer.expect_eof();
    let closing = server.closing_of(peer.address());
    assert_eq!(closing.received(), owed, "{closing}");
    assert_eq!(closing.sent(), owed, "{closing}");
    assert_eq!(closing.dropped(), 0, "{closing}");
}

#[test]
fn c03_a_stalled_connection_says_how_many_bytes_were_dropped() {
    let server = serve(&["--write-timeout", "3s"]);
    let peers = [Peer::narrow(server.address())];
    pour(&peers, &mut [Stream::new(4)]);
    let closing = server.closing_of(peers[0].address());
    assert!(closing.says("write timeout"), "{closing}");
    // More than the high watermark was queued, and the kernel had taken none of it.
    assert!(closing.dropped() > 64 * KIB as u64, "{closing}");
    assert_eq!(closing.received(), closing.sent() + closing.dropped(), "{closing}");
    peers[0].expect_reset();
}

#[test]
fn c03_stalled_connections_leave_nothing_in_the_kernel() {
    let server = serve(&["--write-timeout", "3s"]);
    let peers: Vec<Peer> = (0..8).map(|_| Peer::narrow(server.address())).collect();
    pour(&peers, &mut vec![Stream::new(5); peers.len()]);
    for peer in &peers {
        server.closing_of(peer.address());
        // The close follows the line of log. A plain one would leave an orphan here, with
        // megabytes, until the peer reads.
        eventually("nothing is left", || state(&server, peer.address()).is_none());
    }
}

#[test]
fn c03_a_reset_by_the_peer_says_how_many_bytes_were_dropped() {
    let server = serve(&[]);
    let peers = [Peer::narrow(server.address())];
    pour(&peers, &mut [Stream::new(6)]);
    let [peer] = peers;
    let address = peer.address();
    peer.reset();
    let closing = server.closing_of(address);
    assert!(closing.dropped() > 64 * KIB as u64, "{closing}");
    // What was still read after the reset (C7) could not be sent at all.
    assert!(closing.received() >= closing.sent() + closing.dropped(), "{closing}");
    assert!(!closing.says("finished"), "{closing}");
}

#[test]
fn c04_the_first_write_is_tried_at_once() {
    if skip_unless("c04_the_first_write_is_tried_at_once", STRACE) {
        return;
    }
    let server = server(&[]).traced(SOCKETS_AND_EVENTS).start();
    let peer = Peer::connect(server.address());
    let sent = |calls: &[Call]| calls.iter().any(|call| call.name == "sendto");
    peer.expect_echo(b"first");
    let (_, mark) = server.trace().rest(Mark::START, "the first echo is in the trace", sent);
    peer.expect_echo(b"second");
    let (calls, _) = server.trace().rest(mark, "the second echo is in the trace", sent);
    let received = calls.iter().position(|call| call.name == "recvfrom").expect("a receive");
    assert_eq!(calls[received + 1].name, "sendto", "{calls:#?}");
    assert_eq!(calls[received + 1].returned(), Some(6), "{calls:#?}");
    assert!(calls.iter().all(|call| call.name != "epoll_ctl"), "{calls:#?}");
}

#[test]
fn c04_only_the_rest_of_a_write_waits_at_its_offset() {
    if skip_unless("c04_only_the_rest_of_a_write_waits_at_its_offset", STRACE) {
        return;
    }
    let server = server(&[]).traced(SOCKETS_AND_EVENTS).start();
    let peers = [Peer::narrow(server.address())];
    let mut streams = [Stream::new(7)];
    pour(&peers, &mut streams);
    let descriptor = server.trace().descriptor_of(peers[0].address());
    peers[0].expect_stream(&mut Stream::new(7), streams[0].position());
    // A stream passes through a pipe: splice(2) names where it goes to third.
    let spliced_to =
        |call: &Call| call.name == "splice" && call.argument(2).parse().ok() == descriptor;
    let to_peer = |call: &&Call| {
        // A queue of several chunks leaves by sendmsg(2).
        let sends = matches!(call.name.as_str(), "sendto" | "sendmsg");
        (sends && call.descriptor() == descriptor) || spliced_to(call)
    };
    let all = i64::try_from(streams[0].position()).expect("small");
    let (calls, _) = server.trace().rest(Mark::START, "every byte is in the trace", |calls| {
        let sent = calls.iter().filter(to_peer).filter_map(Call::returned);
        sent.filter(|&sent| sent > 0).sum::<i64>() == all
    });
    let sends = || calls.iter().filter(to_peer);
    // The trace shows that the kernel did take less than it was given.
    assert!(sends().any(|call| call.error() == Some("EAGAIN")), "no write was cut off");
    let modified = calls.iter().filter(|call| call.arguments.contains("EPOLL_CTL_MOD")).count();
    assert_eq!(modified, 0, "the registration was changed");
}

#[test]
fn c05_a_fin_with_data_is_answered_and_then_ours_follows() {
    let server = serve(&[]);
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    server.stopped(|| {
        peer.send(b"one last word");
        peer.half_close();
        expect_unread(&server, &peer, 14);
    });
    peer.expect(b"one last word");
    peer.expect_eof();
    let closing = server.closing_of(peer.address());
    assert!(closing.says("finished"), "{closing}");
}

#[test]
fn c05_a_connection_whose_whole_life_is_one_wake_up_is_answered() {
    let server = serve(&[]);
    let peer = server.stopped(|| {
        let peer = Peer::connect(server.address());
        peer.send(b"hello and good bye");
        peer.half_close();
        peer
    });
    assert_eq!(peer.receive_to_end(), b"hello and good bye");
}

#[test]
fn c05_a_fin_alone_is_answered_with_ours() {
    let server = serve(&[]);
    let peer = Peer::connect(server.address());
    peer.half_close();
    peer.expect_eof();
}

#[test]
fn c06_input_after_our_fin_does_not_destroy_what_the_kernel_had_accepted() {
    let server = serve(&["--idle-timeout", "500ms"]);
    let owed = Stream::new(8).take(700 * KIB);
    let peer = loop {
        let begun = Instant::now();
        let peer = Peer::connect(server.address());
        peer.send(&owed);
        // The kernel has taken the echo, the idle timeout has ended our side, and the FIN waits
        // behind what the peer has not read.
        eventually("our side has ended", || {
            matches!(state(&server, peer.address()), None | Some(SocketState::FinWait1))
        });
        let send_on_and_receive = || {
            let mut got = vec![0; owed.len()];
            (0..10).try_for_each(|_| peer.try_send(&[b'x'; 10 * KIB]))?;
            peer.stream().read_exact(&mut got)?;
            std::io::Result::Ok(got)
        };
        match send_on_and_receive() {
            Ok(got) => {
                testkit::assert_same_bytes(&got, &owed);
                break peer;
            }
            // Where we are halted for longer than it lingers, it is right to give us up.
            Err(_) if begun.elapsed() > Duration::from_secs(5) => {}
            Err(error) => panic!("what was owed is lost: {error}"),
        }
    };
    peer.expect_eof();
    peer.send(b"still no reset");
    peer.half_close();
    let closing = server.closing_of(peer.address());
    assert!(closing.says("idle timeout"), "{closing}");
}

#[test]
fn c06_the_write_side_is_shut_before_the_descriptor_is_closed() {
    if skip_unless("c06_the_write_side_is_shut_before_the_descriptor_is_closed", STRACE) {
        return;
    }
    let server = server(&["--idle-timeout", "300ms"]).traced(SOCKETS_AND_EVENTS).start();
    let peer = Peer::connect(server.address());
    peer.expect_eof();
    let descriptor = server.trace().descriptor_of(peer.address());
    peer.send(b"discarded");
    peer.half_close();
    let of_peer = |calls: &[Call]| -> Vec<String> {
        let theirs = calls.iter().filter(|call| call.descriptor() == descriptor);
        theirs.map(|call| call.name.clone()).collect()
    };
    // The number may have been another's before.
    eventually("the descriptor is closed behind what was received", || {
        let names = of_peer(&server.trace().loop_calls());
        let received = names.iter().rposition(|name| name == "recvfrom");
        received.is_some_and(|received| names[received..].iter().any(|name| name == "close"))
    });
    let names = of_peer(&server.trace().loop_calls());
    let shut = names.iter().position(|name| name == "shutdown").expect("a shutdown");
    assert!(names[shut..].iter().any(|name| name == "recvfrom"), "not read to the FIN: {names:?}");
    assert!(names.iter().all(|name| name != "sendto"), "discarded input was echoed: {names:?}");
}

#[test]
fn c06_a_linger_discards_a_mebibyte_at_the_most() {
    let server = serve(&["--idle-timeout", "300ms"]);
    let peer = Peer::connect(server.address());
    peer.expect_eof();
    let watch = Stopwatch::start(&[server.process()]);
    let mut sent = 0;
    while peer.try_send(&[b'x'; 16 * KIB]).is_ok() {
        sent += 16 * KIB;
        assert!(sent < 64 * MIB, "it discards without end");
    }
    assert!(sent >= MIB, "reset after {sent} bytes");
    // Otherwise it was the time that ended it, and the limit of bytes has not been shown.
    watch.expect_within(Duration::from_secs(4));
}

#[test]
fn c06_a_linger_lasts_five_seconds_at_the_most() {
    let server = serve(&["--idle-timeout", "300ms"]);
    let listening = server.process().socket_count();
    let ended = Instant::now();
    let peer = Peer::connect(server.address());
    peer.expect_eof();
    let watch = Stopwatch::start(&[server.process()]);
    eventually("the connection is given up", || server.process().socket_count() <= listening);
    // Its five seconds began when we had not yet seen the end.
    assert!(ended.elapsed() >= Duration::from_secs(5), "it lasted {:?}", watch.elapsed());
    watch.expect_within(Duration::from_secs(9));
}

#[test]
fn c06_a_lingering_connection_counts_against_the_cap() {
    let server = serve(&["--idle-timeout", "300ms", "--max-connections", "1"]);
    let first = Peer::connect(server.address());
    first.expect_eof();
    let second = Peer::connect(server.address());
    second.send(b"hello");
    second.expect_silence(Duration::from_millis(600));
    first.half_close();
    second.expect(b"hello");
}

#[test]
fn c07_data_behind_a_reset_is_read() {
    let server = serve(&[]);
    for length in [1, 1000, 60_000] {
        let peer = Peer::connect(server.address());
        let address = peer.address();
        peer.expect_echo(b"hello");
        server.stopped(|| {
            peer.send(&vec![b'x'; length]);
            expect_unread(&server, &peer, length);
            peer.reset();
            eventually("the reset has arrived", || state(&server, address).is_none());
        });
        let closing = server.closing_of(address);
        assert_eq!(closing.received(), 5 + length as u64, "{closing}");
        assert!(closing.says("reset by peer"), "{closing}");
    }
}

#[test]
fn c07_a_send_error_does_not_end_reading_and_is_not_forgotten() {
    let server = serve(&[]);
    let peer = well_used(&server);
    let address = peer.address();
    server.stopped(|| {
        // Three reads: the echo of the first meets the reset, two are still to come.
        peer.send(&vec![b'x'; 180 * KIB]);
        expect_unread(&server, &peer, 180 * KIB);
        peer.reset();
        eventually("the reset has arrived", || state(&server, address).is_none());
    });
    let closing = server.closing_of(address);
    assert_eq!(closing.received(), (8 * MIB + 180 * KIB) as u64, "{closing}");
    assert!(!closing.says("finished"), "the reset became an orderly end: {closing}");
    assert!(closing.says("reset by peer"), "{closing}");
}

#[test]
fn c08_a_write_after_the_peer_is_gone_is_an_error_and_no_signal() {
    if skip_unless("c08_a_write_after_the_peer_is_gone_is_an_error_and_no_signal", STRACE) {
        return;
    }
    let server = server(&[]).traced(SOCKETS_AND_EVENTS).start();
    for _ in 0..20 {
        let peers = [Peer::connect(server.address())];
        let [peer] = peers;
        server.stopped(|| {
            peer.send(&[b'x'; 50 * KIB]);
            let address = peer.address();
            expect_unread(&server, &peer, 50 * KIB);
            peer.reset();
            eventually("the reset has arrived", || state(&server, address).is_none());
        });
    }
    Peer::connect(server.address()).expect_echo(b"alive");
    let (calls, _) = server.trace().rest(Mark::START, "the last echo is in the trace", |calls| {
        let last = calls.iter().rfind(|call| call.name == "sendto");
        last.is_some_and(|call| call.returned() == Some(5))
    });
    let failed = |call: &&Call| matches!(call.error(), Some("ECONNRESET" | "EPIPE"));
    let sends = || calls.iter().filter(|call| matches!(call.name.as_str(), "sendto" | "sendmsg"));
    assert!(sends().any(|call| failed(&call)), "no send met a peer that was gone");
    for call in sends() {
        assert!(call.arguments.contains("MSG_NOSIGNAL"), "{call:?}");
    }
    let written = |call: &Call| matches!(call.name.as_str(), "splice" | "writev");
    assert!(!calls.iter().any(written), "bytes leave by another call");
    assert!(!server.trace().text().contains("SIGPIPE"));
}

#[test]
fn c08_peers_that_vanish_hurt_nobody() {
    let server = serve(&[]);
    let witness = Peer::connect(server.address());
    for round in 0..50_u64 {
        let peer = Peer::connect(server.address());
        let _ = peer.send_what_fits(&Stream::new(round).take(200 * KIB));
        if round % 2 == 0 {
            peer.reset();
        } else {
            peer.close();
        }
        witness.expect_echo(b"still here");
    }
}
