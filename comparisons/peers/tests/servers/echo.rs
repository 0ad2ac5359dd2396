//! Every peer but the example echoes every byte, whatever the pieces are and however slow the
//! client.

use crate::server::{STREAM, Server, USUAL, unless_left_out};
use peers::{Service, all};
use testkit::{Peer, Stream, eventually};

/// Starts the echo of that name, unless it is left out here.
#[track_caller]
fn echo(name: &str, read_buffer: usize) -> Option<Server> {
    unless_left_out(name).map(|peer| Server::start(peer, Service::Echo, read_buffer))
}

fn fifty_connections_with_sixteen_messages_in_flight(name: &str) {
    let Some(server) = echo(name, USUAL) else { return };
    let mut clients: Vec<(Peer, Stream)> =
        (0..50).map(|seed| (Peer::connect(server.address), Stream::new(seed))).collect();
    for _ in 0..10 {
        let sent: Vec<Vec<u8>> = clients.iter_mut().map(|(_, bytes)| bytes.take(16 * 64)).collect();
        for ((client, _), bytes) in clients.iter().zip(&sent) {
            bytes.chunks(64).for_each(|message| client.send(message));
        }
        for ((client, _), bytes) in clients.iter().zip(&sent) {
            client.expect(bytes);
        }
    }
}

fn a_stream_that_is_written_and_read_at_once(name: &str) {
    let Some(server) = echo(name, STREAM) else { return };
    Peer::connect(server.address).expect_stream_echo(1, 8 << 20);
}

/// The client reads nothing until the server has nowhere to write, and so has stopped reading. What
/// the server then owes comes before its FIN.
fn what_a_full_socket_does_not_take_comes_later(name: &str) {
    let Some(server) = echo(name, STREAM) else { return };
    let client = Peer::narrow(server.address);
    let bytes = Stream::new(2).take(16 << 20);
    let mut sent = 0;
    eventually("the server has stopped reading", || {
        let taken = client.send_what_fits(&bytes[sent..]);
        sent += taken;
        // One that never sleeps may only be slow, and then less is shown of it.
        let rests = name == "bare-spin" || server.process.state() == Some('S');
        taken == 0 && rests && server.unread(client.address()) > 0
    });
    client.half_close();
    client.expect(&bytes[..sent]);
    client.expect_eof();
}

fn what_comes_before_a_fin_is_echoed_and_then_the_connection_ends(name: &str) {
    let Some(server) = echo(name, USUAL) else { return };
    let client = Peer::connect(server.address);
    let bytes = Stream::new(3).take(300_000);
    client.send(&bytes[..100]);
    client.expect(&bytes[..100]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            client.send(&bytes);
            client.half_close();
        });
        client.expect(&bytes);
        client.expect_eof();
    });
}

fn connections_that_come_and_go_leak_no_descriptor(name: &str) {
    let Some(server) = echo(name, USUAL) else { return };
    let stays = Peer::connect(server.address);
    stays.expect_echo(b"the first may open what then stays open");
    let quiet = server.process.descriptor_count();
    for number in 0..200_u32 {
        let client = Peer::connect(server.address);
        client.expect_echo(&number.to_le_bytes());
        if number % 4 == 0 {
            client.reset();
        }
    }
    eventually("all descriptors are closed", || server.process.descriptor_count() == quiet);
    stays.expect_echo(b"and it is still served");
}

fn segments_of_one_byte(name: &str) {
    let Some(server) = echo(name, USUAL) else { return };
    let client = Peer::connect(server.address);
    for seed in 0..10 {
        let message = Stream::new(seed).take(1024);
        message.chunks(1).for_each(|byte| client.send(byte));
        client.expect(&message);
    }
}

fn one_thread_serves_and_sigterm_ends_it(name: &str) {
    let Some(server) = echo(name, USUAL) else { return };
    Peer::connect(server.address).expect_echo(b"hello");
    // async-io starts one that sleeps.
    let threads = if name == "smol" { 2 } else { 1 };
    assert_eq!(server.process.threads().len(), threads, "threads of {name}");
    assert_eq!(server.terminate(), Some(15));
}

peers! {
    [
        fifty_connections_with_sixteen_messages_in_flight
        a_stream_that_is_written_and_read_at_once
        what_a_full_socket_does_not_take_comes_later
        what_comes_before_a_fin_is_echoed_and_then_the_connection_ends
        connections_that_come_and_go_leak_no_descriptor
        segments_of_one_byte
        one_thread_serves_and_sigterm_ends_it
    ]
    bare: "bare";
    bare_inline: "bare-inline";
    bare_spin: "bare-spin";
    bare_splice: "bare-splice";
    mio: "mio";
    polling: "polling";
    smol: "smol";
    tokio_copy: "tokio-copy";
    tokio_ready: "tokio-ready";
    monoio: "monoio";
    compio: "compio";
    libuv: "libuv";
    libevent: "libevent";
}

#[test]
fn every_peer_but_the_example_is_tested() {
    let names = all().iter().map(peers::Peer::name).filter(|name| !name.starts_with("example"));
    assert_eq!(names.collect::<Vec<_>>(), TESTED);
}
