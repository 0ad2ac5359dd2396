//! Over UDP, a peer sends every datagram back whole to whoever has sent it.

use std::net::{Ipv4Addr, UdpSocket};

use crate::server::{Server, USUAL, unless_left_out};
use peers::{Service, Transport, all};
use rustix::process::Signal;
use testkit::{PATIENCE, Stream, eventually};

/// Starts the echo of that name, unless it is left out here.
#[track_caller]
fn echo(name: &str) -> Option<Server> {
    unless_left_out(name).map(|peer| Server::start_udp(peer, USUAL))
}

/// A client of this server alone, which waits for an answer no longer than [`PATIENCE`].
#[track_caller]
fn client_of(server: &Server) -> UdpSocket {
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    client.connect(server.address).expect("connect");
    client.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
    client
}

#[track_caller]
fn send(client: &UdpSocket, bytes: &[u8]) {
    assert_eq!(client.send(bytes).expect("send a datagram"), bytes.len());
}

#[track_caller]
fn expect(client: &UdpSocket, bytes: &[u8]) {
    let mut answer = vec![0; USUAL];
    let length = client.recv(&mut answer).expect("an answer");
    assert!(answer[..length] == *bytes, "{length} bytes came back, not the {} sent", bytes.len());
}

fn fifty_clients_that_speak_at_once(name: &str) {
    let Some(server) = echo(name) else { return };
    let mut clients: Vec<(UdpSocket, Stream)> =
        (0..50).map(|seed| (client_of(&server), Stream::new(seed))).collect();
    for length in [64, 1400, 64, 1400] {
        let sent: Vec<Vec<u8>> = clients.iter_mut().map(|(_, bytes)| bytes.take(length)).collect();
        for ((client, _), bytes) in clients.iter().zip(&sent) {
            send(client, bytes);
        }
        for ((client, _), bytes) in clients.iter().zip(&sent) {
            expect(client, bytes);
        }
    }
}

fn datagrams_of_every_length_keep_their_ends(name: &str) {
    let Some(server) = echo(name) else { return };
    let client = client_of(&server);
    for length in [1, 0, 64, 1472, 1473, 0, 9000, 65_507, 1] {
        let bytes = Stream::new(9).take(length);
        send(&client, &bytes);
        expect(&client, &bytes);
    }
}

/// One event tells of all that wait: none may be left for the next.
fn what_waits_together_is_answered_together(name: &str) {
    let Some(server) = echo(name) else { return };
    let client = client_of(&server);
    server.process.signal(Signal::STOP);
    eventually("it has stopped", || server.process.state() == Some('T'));
    let messages: Vec<Vec<u8>> = (0..100).map(|seed| Stream::new(seed).take(64)).collect();
    messages.iter().for_each(|message| send(&client, message));
    server.process.signal(Signal::CONT);
    messages.iter().for_each(|message| expect(&client, message));
}

/// An answer to a client that is gone is refused (ICMP). That must end nothing.
fn clients_that_go_disturb_nobody(name: &str) {
    let Some(server) = echo(name) else { return };
    let stays = client_of(&server);
    for number in 0..100_u32 {
        let client = client_of(&server);
        send(&client, b"and nobody waits for it");
        drop(client);
        send(&stays, &number.to_le_bytes());
        expect(&stays, &number.to_le_bytes());
    }
}

fn one_thread_serves_and_sigterm_ends_it(name: &str) {
    let Some(server) = echo(name) else { return };
    let client = client_of(&server);
    send(&client, b"hello");
    expect(&client, b"hello");
    assert_eq!(server.process.threads().len(), 1, "threads of {name}");
    assert_eq!(server.terminate(), Some(15));
}

peers! {
    [
        fifty_clients_that_speak_at_once
        datagrams_of_every_length_keep_their_ends
        what_waits_together_is_answered_together
        clients_that_go_disturb_nobody
        one_thread_serves_and_sigterm_ends_it
    ]
    bare: "bare";
    bare_inline: "bare-inline";
    mio: "mio";
    tokio_ready: "tokio-ready";
    libuv: "libuv";
}

#[test]
fn every_peer_over_udp_is_tested() {
    let peers = all().iter().filter(|peer| peer.serves(Service::Echo, Transport::Udp));
    assert_eq!(peers.map(peers::Peer::name).collect::<Vec<_>>(), TESTED);
}
