//! Over Unix sockets, too, a peer echoes every byte, whatever the pieces are and however slow the
//! client.

use std::io::{IoSlice, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::server::{STREAM, USUAL, UnixServer, unless_left_out};
use peers::{Service, Transport, all};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::Signal;
use testkit::{Peer, Stream, eventually};

/// Starts the echo of that name, unless it is left out here.
#[track_caller]
fn echo(name: &str, read_buffer: usize) -> Option<UnixServer> {
    unless_left_out(name).map(|peer| UnixServer::start(peer, read_buffer))
}

fn fifty_connections_with_sixteen_messages_in_flight(name: &str) {
    let Some(server) = echo(name, USUAL) else { return };
    let mut clients: Vec<(Peer, Stream)> =
        (0..50).map(|seed| (Peer::connect_unix(&server.path), Stream::new(seed))).collect();
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
    Peer::connect_unix(&server.path).expect_stream_echo(1, 8 << 20);
}

/// The client reads nothing until the server has nowhere to write, and so has stopped reading. What
/// the server then owes comes before its end.
fn what_a_full_socket_does_not_take_comes_later(name: &str) {
    let Some(server) = echo(name, STREAM) else { return };
    let client = Peer::connect_unix(&server.path);
    let bytes = Stream::new(2).take(16 << 20);
    let mut sent = 0;
    eventually("the server has stopped reading", || {
        let taken = client.send_what_fits(&bytes[sent..]);
        sent += taken;
        taken == 0 && server.process.state() == Some('S')
    });
    client.half_close();
    client.expect(&bytes[..sent]);
    client.expect_eof();
}

fn what_comes_before_a_half_close_is_echoed_and_then_the_connection_ends(name: &str) {
    let Some(server) = echo(name, USUAL) else { return };
    let client = Peer::connect_unix(&server.path);
    let bytes = Stream::new(3).take(300_000);
    client.expect_echo(&bytes[..100]);
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
    let stays = Peer::connect_unix(&server.path);
    stays.expect_echo(b"the first may open what then stays open");
    let quiet = server.process.descriptor_count();
    for number in 0..200_u32 {
        let client = Peer::connect_unix(&server.path);
        client.expect_echo(&number.to_le_bytes());
        if number % 4 == 0 {
            // It leaves an answer unread, which is a reset for the server.
            client.send(b"and more");
        }
    }
    eventually("all descriptors are closed", || server.process.descriptor_count() == quiet);
    stays.expect_echo(b"and it is still served");
}

/// A receive ends behind a message that came with a descriptor, whatever stands behind it.
fn what_stands_behind_a_passed_descriptor_is_echoed(name: &str) {
    let Some(server) = echo(name, USUAL) else { return };
    let mut client = UnixStream::connect(&server.path).expect("connect");
    client.set_read_timeout(Some(Duration::from_secs(30))).expect("set a timeout");
    let expect = |client: &mut UnixStream, bytes: &[u8]| {
        let mut answer = vec![0; bytes.len()];
        client.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, bytes);
    };
    for _ in 0..10 {
        server.process.signal(Signal::STOP);
        eventually("it has stopped", || server.process.state() == Some('T'));
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut passed = SendAncillaryBuffer::new(&mut space);
        let own = [client.as_fd()];
        assert!(passed.push(SendAncillaryMessage::ScmRights(&own)));
        sendmsg(&client, &[IoSlice::new(b"with it")], &mut passed, SendFlags::empty())
            .expect("send a descriptor");
        rustix::net::send(&client, b"behind it", SendFlags::empty()).expect("send");
        server.process.signal(Signal::CONT);
        expect(&mut client, b"with itbehind it");
    }
}

peers! {
    [
        fifty_connections_with_sixteen_messages_in_flight
        a_stream_that_is_written_and_read_at_once
        what_a_full_socket_does_not_take_comes_later
        what_comes_before_a_half_close_is_echoed_and_then_the_connection_ends
        connections_that_come_and_go_leak_no_descriptor
    ]
    bare: "bare";
    bare_inline: "bare-inline";
    bare_splice: "bare-splice";
    mio: "mio";
    tokio_copy: "tokio-copy";
    tokio_ready: "tokio-ready";
    libuv: "libuv";
    libevent: "libevent";
}

/// tokio takes a short read for the last, as over TCP, and leaves what is behind to the next event.
#[test]
fn all_but_tokio_echo_what_stands_behind_a_passed_descriptor() {
    for name in TESTED.iter().filter(|name| !name.starts_with("tokio")) {
        what_stands_behind_a_passed_descriptor_is_echoed(name);
    }
}

#[test]
fn every_peer_over_unix_sockets_is_tested() {
    let peers = all().iter().filter(|peer| peer.serves(Service::Echo, Transport::Unix));
    assert_eq!(peers.map(peers::Peer::name).collect::<Vec<_>>(), TESTED);
}
