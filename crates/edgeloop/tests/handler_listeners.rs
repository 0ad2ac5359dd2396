//! Listeners that begin and end while the loop runs, on real sockets.

mod common;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::mpsc;

use common::Script;
use edgeloop::{Action, Stop};
use testkit::Peer;

/// A listener that was made elsewhere, and blocks.
fn given() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(ANY_PORT).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[test]
fn a_callback_listens_on_a_port_of_the_systems_choice() {
    let server = Script::new().start();
    let second = server.ask(|cx| cx.listen(ANY_PORT.into())).expect("a free port");
    let second = second.as_tcp().expect("an IP");
    assert_ne!((second.port(), second), (0, server.address()));
    let peer = Peer::connect(second);
    let origin = server.origin();
    assert_eq!(origin.listener, Some(second.into()));
    peer.send(b"hello");
    peer.expect_echo(b"hello");
    let taken = server.ask(move |cx| cx.listen(second.into())).expect_err("it is in use");
    assert_eq!(
        taken.to_string(),
        format!("cannot listen on {second}: Address already in use (os error 98) in bind"),
    );
}

#[test]
fn whoever_waits_at_a_listener_that_closes_is_reset_and_whoever_was_accepted_stays() {
    let server = Script::new().start();
    let (peer, _) = server.connect();
    let address = server.address();
    // It is connected as soon as the kernel has it in the backlog, while the loop is busy.
    let waits = server.ask(move |cx| {
        let waits = Peer::connect(address);
        assert!(cx.unlisten(&address.into()));
        assert!(!cx.unlisten(&address.into()), "it is closed");
        waits
    });
    waits.expect_reset();
    let refused = TcpStream::connect(address).expect_err("nobody listens");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    peer.expect_echo(b"still here");
}

#[test]
fn c17_an_event_of_a_closed_listener_does_not_reach_the_one_in_its_place() {
    let server = Script::new();
    let (first_in, first) = mpsc::channel();
    // Closes the second listener, and listens again with the same descriptor.
    let server = server.data(move |cx, input| {
        let _ = input.take_all();
        let second = first.try_recv().expect("an address");
        assert!(cx.unlisten(&second));
        cx.listen(second).expect("it is free again");
        Action::Continue
    });
    let server = server.start();
    let (peer, _) = server.connect();
    let second = server.ask(|cx| cx.listen(ANY_PORT.into())).expect("a free port");
    first_in.send(second.clone()).expect("the handler waits");
    let second = second.as_tcp().expect("an IP");
    let before = server.ask(|cx| cx.metrics());
    // The loop is busy while both happen, so that one wait brings both, in their order.
    let late = server.ask(move |_| {
        peer.send(b"close it");
        let late = Peer::connect(second);
        (peer, late)
    });
    late.1.expect_reset();
    server.settle();
    let after = server.ask(|cx| cx.metrics());
    assert_eq!(after.stale, before.stale + 1, "the old listener's event");
    assert_eq!(after.accepted, before.accepted);
    let _welcome = Peer::connect(second);
    server.opened();
}

#[test]
fn a_loop_ends_when_its_last_listener_is_closed_and_nobody_is_left() {
    let server = Script::new().start();
    let (peer, _) = server.connect();
    let address = server.address();
    server.ask(move |cx| cx.unlisten(&address.into()));
    peer.close();
    server.closed();
    server.join();
}

#[test]
fn c37_a_loop_that_drains_listens_no_more() {
    let server = Script::new().start();
    let (peer, _) = server.connect();
    let error = server.ask(|cx| {
        cx.stop(Stop::Drain(None));
        cx.listen(ANY_PORT.into())
    });
    let error = error.expect_err("it is about to drain").to_string();
    assert_eq!(error, "cannot listen on 127.0.0.1:0: the loop is stopping");
    peer.expect_eof();
}

#[test]
fn c01_a_given_listener_serves_whoever_waited_before_the_loop_had_it_to_the_last_byte() {
    let (listener, address) = given();
    let waiting: Vec<_> = (0..3).map(|_| Peer::connect(address)).collect();
    for peer in &waiting {
        // The urgent byte is one that only the options of the connection make an ordinary one.
        peer.send(b"ab");
        peer.send_urgent(b'c');
        peer.send(b"de");
    }
    let server = Script::new().without_listener().start_after(|event_loop| {
        assert_eq!(event_loop.listen_on_fd(listener).expect("it listens"), address.into());
    });
    for peer in &waiting {
        peer.expect(b"abcde");
        peer.half_close();
        peer.expect_eof();
    }
    // What comes later inherits them.
    let late = Peer::connect(address);
    late.send(b"ab");
    late.send_urgent(b'c');
    late.send(b"de");
    late.expect(b"abcde");
    drop(server);
}

#[test]
fn c18_a_given_listener_that_others_hold_open_is_let_go_of_and_stays_theirs() {
    let (listener, address) = given();
    let theirs = listener.try_clone().expect("a descriptor");
    let server = Script::new().start_after(|event_loop| {
        event_loop.listen_on_fd(listener).expect("it listens");
    });
    let peer = Peer::connect(address);
    peer.expect_echo(b"hello");
    server.opened();
    assert!(server.ask(move |cx| cx.unlisten(&address.into())));
    let before = server.ask(|cx| cx.metrics());
    // It is theirs to accept; the loop hears nothing of it.
    let waits = Peer::connect(address);
    server.settle();
    theirs.set_nonblocking(false).expect("it is open");
    let (_stream, from) = theirs.accept().expect("it waits");
    assert_eq!(from, waits.address());
    server.settle();
    let after = server.ask(|cx| cx.metrics());
    assert_eq!((after.stale, after.accepted), (before.stale, before.accepted));
    peer.expect_echo(b"still here");
}

#[test]
fn a_descriptor_that_does_not_listen_is_refused_with_what_it_is() {
    let server = Script::new().start_after(|event_loop| {
        let socket = UdpSocket::bind(ANY_PORT).expect("a port");
        let number = socket.as_raw_fd();
        let error = event_loop.listen_on_fd(socket).expect_err("no listener").to_string();
        let is = "it is a bound UDP socket, not a listening TCP or Unix socket";
        assert_eq!(error, format!("cannot listen on descriptor {number}: {is}"));
    });
    let (peer, _) = server.connect();
    peer.expect_echo(b"unharmed");
}
