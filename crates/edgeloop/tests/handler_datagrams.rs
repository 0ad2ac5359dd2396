//! Datagrams on the real kernel: C50. What is left out of order, lost or refused by the network is
//! shown on the simulated one.

mod common;

use std::io::{IoSlice, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use common::{ON_PURPOSE, Running, Script};
use edgeloop::{Config, DatagramSocket, EventLoop, SentDatagram, Stop};
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg, setsockopt, sockopt};
use testkit::PATIENCE;

/// A loop with a datagram socket and no listener, that socket's name and its address.
fn serve(script: Script, address: &str) -> (Running, DatagramSocket, SocketAddr) {
    let mut bound = None;
    let server = script.without_listener().start_after(|event_loop| {
        bound = Some(event_loop.bind_udp(address).expect("a free port"));
    });
    let (socket, address) = bound.expect("a socket");
    (server, socket, address)
}

/// The same with a socket that was bound elsewhere.
fn serve_given(script: Script, given: UdpSocket) -> (Running, DatagramSocket) {
    let mut bound = None;
    let server = script.without_listener().start_after(|event_loop| {
        bound = Some(event_loop.bind_udp_fd(given).expect("a UDP socket").0);
    });
    (server, bound.expect("a socket"))
}

fn client_of(address: SocketAddr) -> UdpSocket {
    let own: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
    };
    let client = UdpSocket::bind(own).expect("a free port");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    client
}

/// A socket at which this number of small datagrams waits. Each says its own number.
fn with_waiting(count: u32) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    // As much as anybody may ask for by default; twice as much is given (socket(7)).
    setsockopt(&socket, sockopt::RcvBuf, &212_992).expect("a buffer");
    let client = client_of(socket.local_addr().expect("an address"));
    for number in 0..count {
        send(&client, &number.to_be_bytes(), socket.local_addr().expect("an address"));
    }
    socket
}

fn send(client: &UdpSocket, bytes: &[u8], to: SocketAddr) {
    assert_eq!(client.send_to(bytes, to).expect("it can be sent"), bytes.len());
}

/// The next datagram for a client, and where it comes from.
fn receive(client: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; 65_536];
    let (count, from) = client.recv_from(&mut bytes).expect("an answer");
    bytes.truncate(count);
    (bytes, from)
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().expect("four bytes"))
}

#[test]
fn c50_datagrams_of_all_lengths_come_back_whole() {
    for (bind, longest) in [("127.0.0.1:0", 65_507), ("[::1]:0", 65_527)] {
        let (server, _, address) = serve(Script::new(), bind);
        let client = client_of(address);
        let lengths = [0, 1, 64, 1_472, 1_473, longest];
        for length in lengths {
            let sent: Vec<u8> = (0..=250).cycle().take(length).collect();
            send(&client, &sent, address);
            assert!(receive(&client) == (sent, address), "{length} bytes");
        }
        let (metrics, _) = server.stop(Stop::Drain(None));
        let count = lengths.len() as u64;
        assert_eq!((metrics.datagrams_in, metrics.datagrams_out), (count, count));
    }
}

#[test]
fn c50_datagrams_that_were_sent_with_one_call_are_shown_one_by_one() {
    let (lengths_in, lengths) = mpsc::channel();
    let script = Script::new().datagram(move |_, datagram| {
        let _ = lengths_in.send(datagram.bytes.len());
    });
    let (_server, _, address) = serve(script, "127.0.0.1:0");
    let client = client_of(address);
    // The kernel cuts what is sent into pieces of this length (UDP_SEGMENT in udp(7)).
    let pieces = [ControlMessage::UdpGsoSegments(&100)];
    let to = SockaddrStorage::from(address);
    let bytes = [IoSlice::new(&[7; 1_050])];
    sendmsg(client.as_raw_fd(), &bytes, &pieces, MsgFlags::empty(), Some(&to))
        .expect("Linux 4.18 or later");
    let mut expected = vec![100; 10];
    expected.push(50);
    let next = || lengths.recv_timeout(PATIENCE).expect("a datagram");
    assert_eq!((0..11).map(|_| next()).collect::<Vec<_>>(), expected);
}

#[test]
fn c50_an_answer_leaves_from_the_address_that_was_asked() {
    for (bind, asked) in [
        ("0.0.0.0:0", "127.0.0.1"),
        ("0.0.0.0:0", "127.0.0.2"),
        ("[::]:0", "127.0.0.2"),
        ("[::]:0", "::1"),
    ] {
        let config = Config::new().ipv6_only(false);
        let (_server, _, bound) = serve(Script::new().config(config), bind);
        let asked = SocketAddr::new(asked.parse().expect("an address"), bound.port());
        let client = client_of(asked);
        send(&client, b"who are you?", asked);
        assert_eq!(receive(&client).1, asked, "bound to {bind}");
    }
}

#[test]
fn c50_what_the_kernel_does_not_send_is_told_and_counted_and_the_next_is_sent() {
    let (server, socket, address) = serve(Script::new(), "127.0.0.1:0");
    let client = client_of(address);
    let to = client.local_addr().expect("an address");
    let refused = [
        (vec![0; 65_508], to, "Message too long"),
        (vec![0; 8], SocketAddr::new(to.ip(), 0), "Invalid argument"),
        (vec![0; 8], (Ipv4Addr::BROADCAST, to.port()).into(), "Permission denied"),
    ];
    let count = refused.len() as u64;
    for (bytes, to, expected) in refused {
        let sent = server.ask(move |cx| cx.send_datagram(socket, to, &bytes));
        let error = sent.error().expect(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(server.ask(move |cx| cx.send_datagram(socket, to, b"now")).is_sent());
    assert_eq!(receive(&client), (b"now".to_vec(), address));
    assert_eq!(server.stop(Stop::Now).0.datagrams_refused, count);
}

#[test]
fn c50_an_error_of_a_datagram_sent_before_is_counted_and_the_next_is_received() {
    // Only a connected socket hears that nobody listens (udp(7)), and one that is connected to
    // somebody else does not listen. This way nobody else can take the port.
    let peer = client_of((Ipv4Addr::LOCALHOST, 0).into());
    let address = peer.local_addr().expect("an address");
    let elsewhere = client_of(address);
    peer.connect(elsewhere.local_addr().expect("an address")).expect("it can be connected");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(address).expect("it can be connected");
    let own = socket.local_addr().expect("an address");
    let (server, socket) = serve_given(Script::new(), socket);
    assert!(server.ask(move |cx| cx.send_datagram(socket, address, b"?")).is_sent());
    testkit::eventually("it has heard", || server.ask(|cx| cx.metrics().datagram_errors == 1));
    peer.connect(own).expect("it can be connected");
    send(&peer, b"here", own);
    assert_eq!(receive(&peer), (b"here".to_vec(), own));
    assert_eq!(server.stop(Stop::Now).0.datagram_errors, 1);
}

#[test]
fn c50_a_flood_of_datagrams_leaves_a_connection_its_share_of_a_turn() {
    let count = 400;
    let (seen_in, seen) = mpsc::channel();
    let shown = Arc::new(AtomicU32::new(0));
    let (by_datagrams, by_data) = (Arc::clone(&shown), Arc::clone(&shown));
    let client = Arc::new(Mutex::new(None::<TcpStream>));
    let speaks = Arc::clone(&client);
    let script = Script::new()
        .datagram(move |_, datagram| {
            by_datagrams.fetch_add(1, Ordering::Relaxed);
            // In the middle of the flood the connection has something to say.
            if number(datagram.bytes) == 10 {
                let client = speaks.lock().expect("no panic");
                client.as_ref().expect("a client").write_all(b"hello").expect("room");
            }
        })
        .data(move |cx, input| {
            let _ = seen_in.send(by_data.load(Ordering::Relaxed));
            cx.send(input.take_all()).or_reset()
        });
    let socket = with_waiting(0);
    let address = socket.local_addr().expect("an address");
    let server = script.start_after(|event_loop| {
        event_loop.bind_udp_fd(socket).expect("a UDP socket");
    });
    *client.lock().expect("no panic") = TcpStream::connect(server.address()).ok();
    server.opened();
    server.ask(move |_| {
        // All of it waits before the turn in which the first is shown.
        let sender = client_of(address);
        (0..count).for_each(|number: u32| send(&sender, &number.to_be_bytes(), address));
    });
    let before = seen.recv_timeout(PATIENCE).expect("the connection was served");
    assert!(before <= 256, "{before} datagrams came first");
}

#[test]
fn c50_a_turn_ends_at_its_budget_in_bytes_too() {
    let (turns_in, turns) = mpsc::channel();
    let script = Script::new()
        .config(Config::new().turn_bytes(1))
        .datagram(move |cx, _| _ = turns_in.send(cx.metrics().turns));
    let (_server, _) = serve_given(script, with_waiting(100));
    let next = || turns.recv_timeout(PATIENCE).expect("a datagram");
    let mut turns: Vec<u64> = (0..100).map(|_| next()).collect();
    turns.dedup();
    assert_eq!(turns.len(), 100);
}

#[test]
fn c50_what_waits_when_a_drain_begins_is_shown_before_the_socket_is_closed() {
    let (numbers_in, numbers) = mpsc::channel();
    let script =
        Script::new().datagram(move |_, datagram| _ = numbers_in.send(number(datagram.bytes)));
    let server = script.without_listener().start_after(|event_loop| {
        event_loop.bind_udp_fd(with_waiting(300)).expect("a UDP socket");
        event_loop.handle().stop(Stop::Drain(None));
    });
    assert_eq!(server.join().0.datagrams_in, 300);
    assert!(numbers.iter().eq(0..300), "in order");
}

#[test]
fn c50_none_is_shown_of_a_socket_that_the_handler_has_closed() {
    let (numbers_in, numbers) = mpsc::channel();
    let script = Script::new().datagram(move |cx, datagram| {
        let _ = numbers_in.send(number(datagram.bytes));
        if number(datagram.bytes) == 5 {
            assert!(cx.unbind_udp(datagram.socket));
            assert!(!cx.unbind_udp(datagram.socket), "there is none any more");
            assert_eq!(cx.reply(datagram, b"too late"), SentDatagram::Gone);
        }
    });
    let (server, _) = serve_given(script, with_waiting(100));
    // The loop has nothing left to serve.
    server.join();
    assert!(numbers.iter().eq(0..=5));
}

#[test]
fn c50_a_panic_costs_no_other_datagram() {
    let (numbers_in, numbers) = mpsc::channel();
    let script = Script::new().datagram(move |_, datagram| {
        let number = number(datagram.bytes);
        let _ = numbers_in.send(number);
        assert!(number % 10 != 3, "{ON_PURPOSE}");
    });
    let server = script.without_listener().start_after(|event_loop| {
        event_loop.bind_udp_fd(with_waiting(100)).expect("a UDP socket");
        event_loop.handle().stop(Stop::Drain(None));
    });
    server.join();
    assert!(numbers.iter().eq(0..100), "each of them once, in order");
}

#[test]
fn c50_a_datagram_socket_at_rest_costs_no_turn() {
    let (server, _, address) = serve(Script::new(), "127.0.0.1:0");
    let client = client_of(address);
    send(&client, b"once", address);
    receive(&client);
    server.settle();
    let before = server.ask(|cx| cx.metrics().turns);
    std::thread::sleep(std::time::Duration::from_millis(50));
    // The turn that asks, and one that finds that it was served. A loop that spins makes thousands.
    let turns = server.ask(|cx| cx.metrics().turns) - before;
    assert!(turns <= 2, "{turns} turns");
}

#[test]
fn c50_only_a_bound_udp_socket_is_taken() {
    let mut event_loop = EventLoop::new(common::Echo).expect("a loop");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let error = event_loop.bind_udp_fd(listener).expect_err("no UDP").to_string();
    let expected = "it is a listening TCP or Unix socket, not a bound UDP socket";
    assert!(error.contains(expected), "{error}");
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    let error = event_loop.bind_udp(address).expect_err("it's taken").to_string();
    assert_eq!(
        error,
        format!("cannot bind udp://{address}: Address already in use (os error 98) in bind")
    );
    assert_eq!(event_loop.bind_udp_fd(taken).expect("a UDP socket").1, address);
}
