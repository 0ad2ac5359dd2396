//! Datagrams on the real kernel.

mod common;

use std::net::{SocketAddr, UdpSocket};

use common::{Running, Script};
use edgeloop::Stop;
use testkit::PATIENCE;

/// A loop with a datagram socket and no listener, and that socket's address.
fn serve(script: Script, address: &str) -> (Running, SocketAddr) {
    let mut bound = None;
    let server = script.without_listener().start_after(|event_loop| {
        bound = Some(event_loop.bind_udp(address).expect("a free port").1);
    });
    (server, bound.expect("an address"))
}

fn client() -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    client
}

#[test]
fn c50_datagrams_of_all_lengths_come_back_whole() {
    let (server, address) = serve(Script::new(), "127.0.0.1:0");
    let client = client();
    let mut answer = vec![0; 65_536];
    for length in [0, 1, 64, 1_472, 1_473, 65_507] {
        let sent: Vec<u8> = (0..length).map(|at| (at * 7 % 251) as u8).collect();
        client.send_to(&sent, address).expect("sent");
        let (count, from) = client.recv_from(&mut answer).expect("an answer");
        assert!(answer[..count] == sent && from == address, "{length} bytes");
    }
    let (metrics, _) = server.stop(Stop::Drain(None));
    assert_eq!((metrics.datagrams_in, metrics.datagrams_out), (6, 6));
}
