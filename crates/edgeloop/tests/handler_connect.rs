//! Outbound connections: made, refused, too late, too many.

mod common;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use common::{Script, Session, next};
use edgeloop::{Action, Address, Config, ErrorKind, LoopContext, Reason, Sent, Stop, Target, Time};
use rustix::io::Errno;
use testkit::{TcpSockets, eventually};

/// An address at which nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.local_addr().expect("an address")
}

/// A listener whose backlog is full, so that no handshake with it is ever answered.
fn deaf() -> (TcpListener, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    rustix::net::listen(&listener, 0).expect("a backlog of one");
    let address = listener.local_addr().expect("an address");
    // A backlog of none holds one, and as soon as that is there, it is full.
    let waiting = TcpStream::connect(address).expect("the backlog is empty");
    eventually("the backlog is full", || {
        TcpSockets::now().listener(address.port()).is_some_and(|listener| listener.unread > 0)
    });
    (listener, waiting)
}

#[test]
fn a_client_and_a_server_talk_in_one_loop() {
    let (report, heard) = mpsc::channel();
    let server = Script::new()
        .data(move |cx, input| match input.take_all() {
            b"ping" => cx.send(b"pong").or_reset(),
            other => {
                report.send(other.to_vec()).expect("the test listens");
                Action::Close
            }
        })
        .start();
    let address = server.address();
    let id = server.ask(move |cx| {
        let id = cx.connect(address.into(), Session::named(7)).expect("a connection is begun");
        // Before it is made, what is sent waits.
        assert_eq!(cx.send_to(id, b"pi"), Sent::Queued);
        assert_eq!(cx.send_to(id, b"ng"), Sent::Queued);
        id
    });
    let origin = server.origin();
    assert_eq!(
        origin.listener,
        Some(address.into()),
        "it was accepted, and only for it a session was asked for"
    );
    assert_ne!(origin.id, id);
    assert_eq!(next(&heard, "an answer"), b"pong");
    let closed = [server.closed(), server.closed()];
    assert!(closed.iter().all(edgeloop::Closed::is_clean), "{closed:?}");
    let (metrics, rest) = server.stop(Stop::Drain(None));
    assert_eq!((metrics.connected, metrics.accepted, metrics.closed), (1, 1, 2));
    assert_eq!(rest, []);
}

#[test]
fn a_refused_connection_is_closed_with_the_error() {
    let server = Script::new().start();
    let address = nobody();
    let id = server.ask(move |cx| cx.connect(address.into(), Session::named(1)).expect("begun"));
    let closed = server.closed();
    assert_eq!((closed.id, closed.reason), (id, Reason::ConnectFailed));
    assert_eq!(closed.errno, Some(Errno::CONNREFUSED.raw_os_error()));
    let (metrics, rest) = server.stop(Stop::Now);
    assert_eq!((metrics.connected, rest.len()), (0, 0));
}

#[test]
fn a_connection_that_is_not_made_in_time_is_given_up_and_never_early() {
    let (listener, waiting) = deaf();
    let address = listener.local_addr().expect("an address");
    let timeout = Duration::from_millis(100);
    let (report, ends) = mpsc::channel();
    let server = Script::new()
        .config(Config::new().connect_timeout(Some(timeout)))
        .closed(move |cx, closed| {
            report.send((cx.now(), closed.reason)).expect("the test listens");
        })
        .start();
    let begun = server.ask(move |cx| {
        cx.connect(address.into(), Session::named(1)).map(|_| cx.now()).expect("begun")
    });
    let (ended, reason) = next(&ends, "an end");
    assert_eq!(reason, Reason::ConnectTimeout);
    assert!(ended.since(begun) >= timeout, "{:?}", ended.since(begun));
    drop(waiting);
}

#[test]
fn c30_a_connect_timeout_counts_from_the_call_even_before_the_loop_runs() {
    let (listener, waiting) = deaf();
    let address = listener.local_addr().expect("an address");
    let timeout = Duration::from_millis(300);
    let (report, ends) = mpsc::channel();
    let mut begun = Time::NEVER;
    let server = Script::new()
        .config(Config::new().connect_timeout(Some(timeout)))
        .without_listener()
        .closed(move |cx, _| report.send(cx.now()).expect("the test listens"))
        .start_after(|event_loop| {
            // The loop was made a while ago.
            let made = std::time::Instant::now();
            eventually("a while has passed", || made.elapsed() > timeout);
            begun = monotonic();
            let _ = event_loop.connect(address, Session::named(1)).expect("begun");
        });
    let ended = next(&ends, "an end");
    assert!(ended.since(begun) >= timeout, "after {:?}", ended.since(begun));
    let _ = server.join();
    drop(waiting);
}

/// The clock that the loop reads.
fn monotonic() -> Time {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let nanos = now.tv_sec * 1_000_000_000 + now.tv_nsec;
    Time::from_nanos(u64::try_from(nanos).expect("a time since boot"))
}

#[test]
fn c24_no_connection_is_begun_above_the_cap() {
    let server = Script::new().config(Config::new().max_connections(Some(1))).start();
    let (peer, _) = server.connect();
    let address = server.address();
    let error =
        server.ask(move |cx| cx.connect(address.into(), Session::named(1)).expect_err("the cap"));
    assert!(error.to_string().contains("connect to"), "{error}");
    assert_eq!((error.error.kind(), error.session.name), (ErrorKind::Connect, 1));
    peer.expect_echo(b"still here");
}

#[test]
fn a_client_that_connects_again_from_its_closed_callback_is_opened_again() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    let mut left = 3_u64;
    let client = Script::new()
        .without_listener()
        .closed(move |cx, _| {
            if left > 0 {
                cx.connect(address.into(), Session::named(left)).expect("begun");
                left -= 1;
            }
        })
        .start_after(|event_loop| {
            let _ = event_loop.connect(address, Session::named(9)).expect("begun");
        });
    for name in [9, 3, 2, 1] {
        let (stream, _) = listener.accept().expect("a connection");
        let id = client.opened();
        drop(stream);
        assert_eq!((client.closed().id, client.closed_name()), (id, name));
    }
    let (metrics, _) = client.join();
    assert_eq!((metrics.connected, metrics.closed), (4, 4));
}

#[test]
fn a_loop_with_neither_listener_nor_connection_returns() {
    let address = nobody();
    let client = Script::new().without_listener().start_after(|event_loop| {
        let _ = event_loop.connect(address, Session::named(1)).expect("begun");
    });
    let (metrics, closed) = client.join();
    assert_eq!((metrics.closed, closed[0].reason), (1, Reason::ConnectFailed));
}

#[test]
fn closing_a_connection_that_is_not_made_yet_ends_it_with_its_session() {
    let (listener, waiting) = deaf();
    let address = listener.local_addr().expect("an address");
    let server = Script::new().start();
    let id = server.ask(move |cx: &mut dyn LoopContext<Session>| {
        let id = cx.connect(address.into(), Session::named(1)).expect("begun");
        cx.close(id);
        id
    });
    assert_eq!((server.closed().id, server.closed_name()), (id, 1));
    assert_eq!(server.stop(Stop::Now).1, []);
    drop(waiting);
}

#[test]
fn of_several_addresses_the_first_that_answers_is_connected_to() {
    let (deaf, waiting) = deaf();
    let deaf = deaf.local_addr().expect("an address");
    let server = Script::new().start();
    let address = server.address();
    let target =
        Target::new(nobody()).or(deaf).or(address).timeout(Some(Duration::from_millis(100)));
    let id = server.ask(move |cx| {
        let id = cx.connect(target, Session::named(1)).expect("begun");
        // What is sent before it is made goes to whoever is reached in the end.
        assert_eq!(cx.send_to(id, b"hello"), Sent::Queued);
        id
    });
    while server.opened() != id {}
    let (local, peer) = server.ask(move |cx| (cx.local_address(id), cx.peer_address(id)));
    assert_eq!(peer.expect("a peer"), address.into());
    assert_ne!(local.expect("an address"), address.into());
    let (metrics, _) = server.stop(Stop::Now);
    assert_eq!((metrics.connected, metrics.accepted), (1, 1));
    drop(waiting);
}

#[test]
fn when_no_address_can_be_connected_to_the_end_is_that_of_the_last() {
    let (deaf, waiting) = deaf();
    let deaf = deaf.local_addr().expect("an address");
    let server = Script::new().start();
    let refuses = nobody();
    let refused = Some(Errno::CONNREFUSED.raw_os_error());
    for (first, second, reason) in [
        ((deaf, None), (refuses, refused), Reason::ConnectFailed),
        ((refuses, refused), (deaf, None), Reason::ConnectTimeout),
    ] {
        let target = Target::new(first.0).or(second.0);
        let target = target.timeout(Some(Duration::from_millis(50)));
        let id = server.ask(move |cx| cx.connect(target, Session::named(1)).expect("begun"));
        let closed = server.closed();
        assert_eq!((closed.id, closed.reason), (id, reason));
        assert_eq!(closed.errno, second.1);
        let attempts: Vec<_> =
            closed.attempts.iter().map(|it| (it.address.clone(), it.errno)).collect();
        let expected = [first, second].map(|(address, errno)| (address.into(), errno));
        assert_eq!(attempts, expected);
        let line = format!("{reason}: {}; {}", closed.attempts[0], closed.attempts[1]);
        assert_eq!(closed.to_string(), line);
        assert!(line.contains(&format!("{deaf}: timed out")), "{line}");
        assert!(line.contains(&format!("{refuses}: Connection refused (os error 111)")), "{line}");
    }
    let (metrics, rest) = server.stop(Stop::Now);
    assert_eq!((metrics.connected, metrics.closed, rest.len()), (0, 2, 0));
    drop(waiting);
}

#[test]
fn an_error_of_connect_names_each_address_and_why_it_failed() {
    let server = Script::new().start();
    // IPv6 can't be reached from there.
    let source: Address = "127.0.0.1:0".parse().expect("an address");
    let address = |text: &str| text.parse::<Address>().expect("an address");
    let one = Target::new(address("[::1]:1")).bind(source);
    let two = one.clone().or(address("[::1]:2"));
    let unreachable = "Network is unreachable (os error 101)";
    for (target, line) in [
        (one, format!("cannot connect to [::1]:1: {unreachable} in bind")),
        (two, format!("cannot connect to [::1]:1 ({unreachable}), [::1]:2: {unreachable} in bind")),
    ] {
        let error = server.ask(move |cx| cx.connect(target, Session::named(1)).expect_err("IPv6"));
        assert_eq!(error.to_string(), line);
    }
    server.stop(Stop::Now);
}

#[test]
fn a_loop_that_drains_still_tries_the_next_address() {
    let (deaf, waiting) = deaf();
    let deaf = deaf.local_addr().expect("an address");
    let other = TcpListener::bind("127.0.0.1:0").expect("bind");
    let target = Target::new(deaf)
        .or(other.local_addr().expect("an address"))
        .timeout(Some(Duration::from_millis(100)));
    let server = Script::new().start();
    server.ask(move |cx| {
        let _ = cx.connect(target, Session::named(1)).expect("begun");
        cx.stop(Stop::Drain(None));
    });
    let _accepted = other.accept().expect("a connection");
    let (metrics, closed) = server.join();
    assert_eq!((metrics.connected, closed.len()), (1, 1));
    assert_eq!(closed[0].reason, Reason::DrainQuiet);
    drop(waiting);
}

#[test]
fn a_connection_comes_from_the_address_that_was_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    let server = Script::new().start();
    let source = SocketAddr::from(([127, 0, 0, 9], 0));
    let id = server.ask(move |cx| {
        cx.connect(Target::new(address).bind(source), Session::named(1)).expect("begun")
    });
    let (_stream, peer) = listener.accept().expect("a connection");
    assert_eq!(peer.ip(), source.ip());
    assert_eq!(server.opened(), id);
    assert_eq!(server.ask(move |cx| cx.local_address(id)).expect("an address"), peer.into());
}

#[test]
fn an_address_of_the_other_family_is_unreachable_from_the_one_that_was_asked_for() {
    let server = Script::new().start();
    let address = server.address();
    let source: Address = "[::1]:0".parse().expect("an address");
    let error = server.ask(move |cx| {
        cx.connect(Target::new(address).bind(source), Session::named(1)).map(|_| ())
    });
    let error = error.expect_err("two families").error;
    assert_eq!(Errno::from_io_error(error.io_error()), Some(Errno::NETUNREACH));
    assert!(error.to_string().starts_with(&format!("cannot connect to {address}: ")), "{error}");
}

#[test]
fn a_connection_with_itself_counts_as_refused() {
    let server = Script::new().start();
    let nobody = nobody();
    // What chance brings about now and then, brought about.
    let target = Target::new(nobody).bind(nobody);
    let id = server.ask(move |cx| cx.connect(target, Session::named(1)).expect("begun"));
    let closed = server.closed();
    assert_eq!((closed.id, closed.reason), (id, Reason::ConnectFailed));
    assert_eq!(closed.errno, Some(Errno::CONNREFUSED.raw_os_error()));
    assert_eq!(server.stop(Stop::Now).0.connected, 0);
}
