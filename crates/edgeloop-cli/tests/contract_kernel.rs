//! What the kernel is asked to do for each connection: to probe it (C43), and to bound what it
//! holds of it (C11).

mod serve;

use std::io::Write as _;
use std::process::{Command, Stdio};

use serve::server;
use testkit::{
    PYTHON, Peer, Server, Socket, SocketState, Stream, TcpSockets, eventually, eventually_some,
    pour, say, skip_unless,
};

/// The server's end of a connection, once nothing of it is under way.
#[track_caller]
fn at_rest(server: &Server, peer: &Peer) -> Socket {
    eventually_some("the connection is at rest", || {
        let sockets = TcpSockets::now();
        let socket = sockets.between(server.address(), peer.address())?;
        (socket.unsent == 0 && socket.unread == 0).then(|| socket.clone())
    })
}

#[test]
fn c43_without_an_idle_timeout_connections_are_probed_and_with_one_they_are_not() {
    let cases: [(&[&str], bool); 5] = [
        (&[], false),
        (&["--idle-timeout", "none"], true),
        (&["--keepalive", "1h"], true),
        (&["--idle-timeout", "none", "--keepalive", "none"], false),
        (&["--idle-timeout", "none", "--keepalive", "9h"], true),
    ];
    for (options, probes) in cases {
        let server = server(options).start();
        let peer = Peer::connect(server.address());
        peer.expect_echo(b"hello");
        eventually(&format!("{options:?}: probed or not"), || {
            at_rest(&server, &peer).probes == probes
        });
    }
}

#[test]
fn c43_that_nobody_notices_the_vanished_is_said_at_start() {
    let words = "a connection whose peer has vanished is kept for ever";
    let says = |options: &[&str]| server(options).start().log().lines_with(words).len();
    assert_eq!(says(&["--idle-timeout", "none", "--keepalive", "none"]), 1);
    assert_eq!(says(&["--idle-timeout", "none"]), 0);
    assert_eq!(says(&["--keepalive", "none"]), 0);
}

/// Connects, hears an echo, and vanishes: nothing tells the other end. TCP_REPAIR, which is 19,
/// takes the socket away without a FIN.
const VANISH: &str = r#"
import socket, sys
peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
peer.sendall(b"x")
assert peer.recv(1) == b"x"
peer.setsockopt(socket.IPPROTO_TCP, 19, 1)
peer.close()
"#;

#[test]
fn c43_a_peer_that_vanished_is_noticed_by_its_probes() {
    let test = "c43_a_peer_that_vanished_is_noticed_by_its_probes";
    if skip_unless(test, PYTHON) {
        return;
    }
    let options = ["-v", "--idle-timeout", "none", "--keepalive", "1s"];
    let server = server(&options).start();
    let mut python = Command::new("python3")
        .args(["-", &server.port().to_string()])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3");
    python.stdin.take().expect("a pipe").write_all(VANISH.as_bytes()).expect("a reader");
    if !python.wait().expect("its end").success() {
        return say(&format!("SKIPPED: {test}: TCP_REPAIR needs CAP_NET_ADMIN"));
    }
    eventually("it was noticed", || !server.log().lines_with("closed id=").is_empty());
}

#[test]
fn c11_the_send_buffer_bounds_what_the_kernel_holds_of_a_connection() {
    let server = server(&["--send-buffer", "16KiB"]).start();
    let peers = [Peer::narrow(server.address())];
    let mut streams = [Stream::new(3)];
    pour(&peers, &mut streams);
    let sockets = TcpSockets::now();
    let socket = sockets.between(server.address(), peers[0].address()).expect("its socket");
    // The kernel doubles it, and what is under way comes on top.
    assert!(socket.unsent > 0 && socket.unsent < 128 * 1024, "{socket:?}");
    peers[0].expect_stream(&mut Stream::new(3), streams[0].position());
}

#[test]
fn c11_the_user_timeout_bounds_for_how_long_the_kernel_holds_what_has_ended() {
    let server = server(&["-v", "--user-timeout", "3s"]).start();
    let peer = Peer::narrow(server.address());
    let mut stream = Stream::new(4);
    peer.send(&stream.take(64 * 1024));
    peer.half_close();
    // All is in the send buffer, and most of it stays there: the peer does not read.
    assert!(server.closing_of(peer.address()).says("finished"));
    let orphan =
        |socket: &Socket| socket.state == SocketState::LastAck && socket.local == server.address();
    eventually("the kernel has given it up", || {
        !TcpSockets::now().on_port(server.port()).any(orphan)
    });
}
