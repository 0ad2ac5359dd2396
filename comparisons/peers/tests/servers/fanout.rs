//! Every chat room tells all others each message, whole and once, and loses nothing for the slow.

use crate::server::{STREAM, Server, USUAL, unless_left_out};
use peers::{Service, Transport, all};
use testkit::{Call, Mark, Peer, STRACE, Stream, eventually, skip_unless};

/// Starts the chat room of that name with so many members, unless it is left out here.
#[track_caller]
fn room(name: &str, read_buffer: usize, members: usize) -> Option<(Server, Vec<Peer>)> {
    let server = Server::start(unless_left_out(name)?, Service::Fanout, read_buffer);
    let members = join(&server, members);
    Some((server, members))
}

/// So many join, in this order: a listener's backlog keeps it.
#[track_caller]
fn join(server: &Server, members: usize) -> Vec<Peer> {
    let alone = server.process.socket_count();
    let members: Vec<Peer> = (0..members).map(|_| Peer::connect(server.address)).collect();
    // Only whom the server has accepted is a member.
    eventually("all are accepted", || server.process.socket_count() >= alone + members.len());
    members
}

fn message(number: u64) -> Vec<u8> {
    Stream::new(number).take(Service::MESSAGE)
}

/// That the sender gets nothing back shows in what it gets next.
fn a_message_goes_to_twenty_others_and_not_to_its_sender(name: &str) {
    let Some((_server, members)) = room(name, USUAL, 21) else { return };
    for round in 0..3 {
        for (sender, from) in members.iter().enumerate() {
            let message = message(100 * round + sender as u64);
            from.send(&message);
            for (other, to) in members.iter().enumerate() {
                if other != sender {
                    to.expect(&message);
                }
            }
        }
    }
}

/// Two send at the same time, in pieces that end anywhere; a third gets whole messages.
fn messages_in_pieces_are_not_mixed(name: &str) {
    let Some((_server, members)) = room(name, USUAL, 3) else { return };
    let [one, two, listener] = members.as_slice() else { panic!("three members") };
    let (first, second) = (message(1), message(2));
    for cut in 1..Service::MESSAGE {
        one.send(&first[..cut]);
        two.send(&second[..Service::MESSAGE - cut]);
        one.send(&first[cut..]);
        two.expect(&first);
        listener.expect(&first);
        two.send(&second[Service::MESSAGE - cut..]);
        one.expect(&second);
        listener.expect(&second);
    }
}

fn a_slow_member_loses_nothing_and_holds_up_nobody(name: &str) {
    const LENGTH: u64 = 8 << 20;
    let Some((server, members)) = room(name, STREAM, 2) else { return };
    let [sender, fast] = members.as_slice() else { panic!("two members") };
    let before = server.process.socket_count();
    let slow = Peer::narrow(server.address);
    eventually("the slow one is accepted", || server.process.socket_count() > before);
    std::thread::scope(|scope| {
        let sent = scope.spawn(|| sender.try_send_stream(5, LENGTH));
        fast.expect_stream(&mut Stream::new(5), LENGTH);
        sent.join().expect("the sender").expect("send the messages");
    });
    slow.expect_stream(&mut Stream::new(5), LENGTH);
}

fn whoever_leaves_is_no_longer_told_and_leaks_no_descriptor(name: &str) {
    let Some((server, mut members)) = room(name, USUAL, 5) else { return };
    let five = server.process.descriptor_count();
    for number in 0..50_u64 {
        let visitor = Peer::connect(server.address);
        let message = message(number);
        visitor.send(&message);
        for member in &members {
            member.expect(&message);
        }
        if number % 2 == 0 {
            visitor.reset();
        }
    }
    eventually("all visitors have gone", || server.process.descriptor_count() == five);
    members.swap_remove(0).close();
    eventually("a member has gone", || server.process.descriptor_count() < five);
    let message = message(1000);
    members[0].send(&message);
    for member in &members[1..] {
        member.expect(&message);
    }
}

/// A client that reads from one after the other works beside a server that sends in the same order,
/// and waits for one that does not: all must do the same, or more than the servers is compared.
fn the_first_to_join_is_told_first(name: &str) {
    if skip_unless("the_first_to_join_is_told_first", STRACE) {
        return;
    }
    let Some(peer) = unless_left_out(name) else { return };
    let (server, trace) = Server::start_traced(peer, Service::Fanout, USUAL);
    // Descriptors are taken from the lowest, so theirs are in the order in which they joined.
    let members = join(&server, 21);
    members[0].send(&message(0));
    members[1..].iter().for_each(|member| member.expect(&message(0)));
    let sends = ["send", "sendto", "sendmsg", "write", "writev"];
    let told = |calls: &[Call]| -> Vec<i32> {
        let is_message = |call: &&Call| {
            sends.contains(&&*call.name) && call.returned() == Some(Service::MESSAGE as i64)
        };
        calls.iter().filter(is_message).filter_map(Call::descriptor).collect()
    };
    let calls = trace.expect(Mark::START, "strace has seen all sends", |calls| {
        told(calls).len() == members.len() - 1
    });
    assert!(told(&calls).is_sorted(), "{name} told {:?}", told(&calls));
}

peers! {
    [
        a_message_goes_to_twenty_others_and_not_to_its_sender
        messages_in_pieces_are_not_mixed
        a_slow_member_loses_nothing_and_holds_up_nobody
        whoever_leaves_is_no_longer_told_and_leaks_no_descriptor
        the_first_to_join_is_told_first
    ]
    bare: "bare";
    mio: "mio";
    tokio_ready: "tokio-ready";
    libuv: "libuv";
    libevent: "libevent";
}

#[test]
fn every_chat_room_is_tested() {
    let rooms = all().iter().filter(|peer| peer.serves(Service::Fanout, Transport::Tcp));
    assert_eq!(rooms.map(peers::Peer::name).collect::<Vec<_>>(), TESTED);
}
