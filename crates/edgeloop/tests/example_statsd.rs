//! The example `statsd`, as a program.

use std::net::{SocketAddr, UdpSocket};

use testkit::{Launch, Peer, eventually, example};

#[test]
fn figures_that_come_as_datagrams_are_read_by_tcp() {
    let arguments = ["127.0.0.1:0", "127.0.0.1:0"];
    let server = Launch::new(&example("statsd")).args(&arguments).start();
    let line = server.log().expect_line("receiving on udp://");
    let address: SocketAddr =
        line.rsplit("udp://").next().and_then(|address| address.parse().ok()).expect("an address");
    let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    for _ in 0..100 {
        client.send_to(b"hits:1|c\nload:0.5|g", address).expect("sent");
    }
    client.send_to(b"hits", address).expect("sent");
    // A datagram is there before a connection that begins later; the loop may see them in one turn.
    eventually("all are counted", || {
        Peer::connect(server.address()).receive_to_end() == b"hits 100\nload 0.5\nignored 1\n"
    });
}
