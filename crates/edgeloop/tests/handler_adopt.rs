//! Streams that were connected elsewhere and are served by a loop.

mod common;

use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;
use std::thread;

use common::{ON_PURPOSE, Running, Script, Session};
use edgeloop::{Action, AdoptErrorKind, Config, Handle, Reason, Stop};
use testkit::Peer;

/// A peer, and the stream that somebody else has accepted from it.
fn accepted() -> (Peer, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let peer = Peer::connect(listener.local_addr().expect("it is bound"));
    let (stream, from) = listener.accept().expect("it waits");
    assert_eq!(from, peer.address());
    (peer, stream)
}

/// A loop that has no listener, and runs until it is stopped.
fn alone() -> Running {
    Script::new().config(Config::new().until_stopped(true)).without_listener().start()
}

#[test]
fn an_acceptor_gives_its_connections_to_several_loops() {
    const PEERS: usize = 20;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let loops = [alone(), alone()];
    let handles: Vec<Handle> = loops.iter().map(Running::handle).collect();
    let acceptor = thread::spawn(move || {
        for handle in handles.iter().cycle().take(PEERS) {
            let (stream, _) = listener.accept().expect("a connection");
            handle.adopt(stream).expect("the loop runs");
        }
    });
    let peers: Vec<_> = (0..PEERS).map(|_| Peer::connect(address)).collect();
    acceptor.join().expect("it has accepted all");
    for peer in &peers {
        peer.expect_echo(b"hello");
    }
    for server in &loops {
        for _ in 0..PEERS / 2 {
            let origin = server.origin();
            assert_eq!((server.opened(), None), (origin.id, origin.listener));
            assert!(peers.iter().any(|one| origin.peer.as_tcp() == Some(one.address())));
        }
    }
    for peer in peers {
        peer.half_close();
        peer.expect_eof();
    }
    for server in loops {
        let (metrics, closed) = server.stop(Stop::Drain(None));
        assert_eq!((metrics.adopted, metrics.accepted), (PEERS as u64 / 2, 0));
        assert!(closed.iter().all(|closed| closed.reason == Reason::Finished));
    }
}

#[test]
fn c01_what_came_before_a_stream_was_adopted_is_not_lost_nor_is_an_urgent_byte() {
    let server = alone();
    for (before, behind) in [("ab", "de"), ("", "de"), ("ab", "")] {
        let (peer, stream) = accepted();
        peer.send(before.as_bytes());
        peer.send_urgent(b'c');
        peer.send(behind.as_bytes());
        peer.half_close();
        server.handle().adopt(stream).expect("there is room");
        peer.expect(format!("{before}c{behind}").as_bytes());
        peer.expect_eof();
    }
}

#[test]
fn c07_what_came_before_a_reset_is_read_of_an_adopted_stream_too() {
    let (bytes_in, bytes) = mpsc::channel();
    let server = Script::new().data(move |_, input| {
        let _ = bytes_in.send(input.take_all().to_vec());
        Action::Continue
    });
    let server = server.start();
    let (peer, stream) = accepted();
    peer.send(b"last words");
    peer.reset();
    // It is gone when the peek says so, which takes nothing.
    testkit::eventually("the reset has come", || stream.peer_addr().is_err());
    server.handle().adopt(stream).expect("there is room");
    assert_eq!(server.closed().reason, Reason::Failed);
    assert_eq!(bytes.try_iter().collect::<Vec<_>>().concat(), b"last words");
}

#[test]
fn c24_a_stream_above_the_cap_is_reset_and_counted() {
    let server = Script::new().config(Config::new().max_connections(Some(1))).start();
    let (first, _) = server.connect();
    let (second, stream) = accepted();
    server.handle().adopt(stream).expect("there is room in the mailbox");
    second.expect_reset();
    server.notice("connection limit 1 reached");
    first.expect_echo(b"unharmed");
    let metrics = server.ask(|cx| cx.metrics());
    assert_eq!((metrics.adoptions_refused, metrics.adopted, metrics.connections), (1, 0, 1));
}

#[test]
fn a_stream_that_cannot_be_posted_comes_back_as_it_was() {
    let server = Script::new().config(Config::new().mailbox_limit(1)).start();
    let (peer, id) = server.connect();
    let handle = server.handle();
    let error = server.ask(move |_| {
        // The loop is busy, so that this stays in the box.
        handle.send(id, *b"full").expect("a letter goes in alone");
        let (peer, stream) = accepted();
        (peer, handle.adopt(stream).expect_err("the box is full"))
    });
    peer.expect(b"full");
    let (unserved, error) = error;
    assert!(matches!(error.kind, AdoptErrorKind::Full));
    assert!(error.to_string().ends_with(": the loop's mailbox is full"), "{error}");
    // It still blocks.
    let mut stream = TcpStream::from(error.stream);
    let sends = thread::spawn(move || {
        unserved.send(b"x");
        unserved
    });
    let mut byte = [0];
    stream.read_exact(&mut byte).expect("it waits for the byte");
    drop(sends.join());
    let handle = server.handle();
    server.stop(Stop::Now);
    let error = handle.adopt(accepted().1).expect_err("it is gone");
    assert!(matches!(error.kind, AdoptErrorKind::Stopped));
}

#[test]
fn what_is_no_stream_is_refused_with_what_it_is() {
    let server = alone();
    let (ours, theirs) = UnixDatagram::pair().expect("a pair");
    let error = server.handle().adopt(ours).expect_err("no stream");
    let AdoptErrorKind::Unfit(why) = &error.kind else { panic!("{error}") };
    assert_eq!(why.kind(), ErrorKind::InvalidInput);
    let is = "it is a Unix datagram socket, not a connected TCP or Unix socket";
    assert!(error.to_string().ends_with(is));
    theirs.send(b"x").expect("the other end is still open");
}

#[test]
fn c32_a_session_that_panics_costs_the_adopted_stream_alone() {
    let server = Script::new().session(|origin| {
        assert!(origin.listener.is_some(), "{ON_PURPOSE}");
        Some(Session::named(0))
    });
    let server = server.start();
    let (peer, stream) = accepted();
    server.handle().adopt(stream).expect("there is room");
    peer.expect_reset();
    server.connect().0.expect_echo(b"unharmed");
}

#[test]
fn a_stream_is_adopted_with_its_session_before_the_loop_runs() {
    let (peer, stream) = accepted();
    let (other, blocking) = accepted();
    other.send(b"hello");
    let server = Script::new().without_listener().opened(|cx| cx.send(b"welcome ").or_reset());
    let server = server.start_after(|event_loop| {
        let session = || Session::named(0);
        let first = event_loop.adopt(blocking, session()).expect("it is connected");
        let second = event_loop.adopt(stream, session()).expect("it is connected");
        assert_ne!(first, second);
        let fresh = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let error = event_loop.adopt(OwnedFd::from(fresh), session()).expect_err("a listener");
        let is = "it is a listening TCP or Unix socket, not a connected TCP or Unix socket";
        assert!(error.to_string().ends_with(is), "{error}");
    });
    other.expect(b"welcome ");
    other.expect(b"hello");
    peer.expect(b"welcome ");
    other.half_close();
    other.expect_eof();
    peer.half_close();
    let (metrics, _) = server.join();
    assert_eq!(metrics.adopted, 2);
}
