//! The example echoes what one types, and fails beyond that as it is said to.

use crate::server::{Server, USUAL, unless_left_out};
use peers::Service;
use rustix::process::Signal;
use testkit::{Peer, Stream, eventually};

const EXAMPLES: [&str; 4] = ["example", "example-printing", "example-go", "example-go-printing"];
const BUFFER: usize = 32 * 1024;

/// Starts those that are not left out here, one after the other.
fn examples() -> impl Iterator<Item = Server> {
    EXAMPLES
        .into_iter()
        .filter_map(unless_left_out)
        .map(|peer| Server::start(peer, Service::Echo, USUAL))
}

#[track_caller]
fn stop(server: &Server) {
    server.process.signal(Signal::STOP);
    eventually("it has stopped", || server.process.state() == Some('T'));
}

#[test]
fn small_messages_on_fifty_connections_come_back() {
    for server in examples() {
        let clients: Vec<Peer> = (0..50).map(|_| Peer::connect(server.address)).collect();
        for number in 0..4 {
            let message = Stream::new(number).take(64);
            clients.iter().for_each(|client| client.send(&message));
            clients.iter().for_each(|client| client.expect(&message));
        }
    }
}

#[test]
fn connections_that_end_in_order_leak_no_descriptor() {
    for server in examples() {
        let quiet = server.process.descriptor_count();
        for number in 0..200_u32 {
            Peer::connect(server.address).expect_echo(&number.to_le_bytes());
        }
        eventually("all are closed", || server.process.descriptor_count() == quiet);
    }
}

/// One edge, one read. What is behind that is still unread when the FIN comes, and then it is lost.
#[test]
fn of_64_kib_in_one_go_only_the_first_32_come_back() {
    for server in examples() {
        let client = Peer::connect(server.address);
        client.expect_echo(b"it is served");
        let bytes = Stream::new(1).take(2 * BUFFER);
        stop(&server);
        client.send(&bytes);
        server.process.signal(Signal::CONT);
        client.expect(&bytes[..BUFFER]);
        client.half_close();
        // It closes with bytes unread, which is a reset.
        client.expect_reset();
    }
}

#[test]
fn what_comes_with_a_fin_is_lost() {
    for server in examples() {
        let client = Peer::connect(server.address);
        client.expect_echo(b"it is served");
        stop(&server);
        client.send(b"last words");
        client.half_close();
        server.process.signal(Signal::CONT);
        client.expect_reset();
    }
}

#[test]
fn a_reset_connection_is_never_closed() {
    for server in examples() {
        let other = Peer::connect(server.address);
        let client = Peer::connect(server.address);
        other.expect_echo(b"both are accepted");
        client.expect_echo(b"both are accepted");
        let both = server.process.descriptor_count();
        client.reset();
        // An event that comes later is served, so the one of the reset has been.
        other.expect_echo(b"it goes on");
        assert_eq!(server.process.descriptor_count(), both);
    }
}
