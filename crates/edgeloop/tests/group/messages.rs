//! What the loops of a group send each other, and what other threads send them.

use std::time::Duration;

use edgeloop::{Config, LoopGroup, SendErrorKind, Spread, Stop};
use testkit::{PATIENCE, Peer};

use crate::vocabulary::{Echo, Event, Number, Running, kind_of, start};

/// Two loops, and a peer on each.
fn two_peers() -> (Running, [(Peer, edgeloop::ConnectionId); 2]) {
    let group = start(2, Spread::Least, Config::new());
    let mut peers = [None, None];
    for _ in 0..2 {
        let peer = Peer::connect(group.address);
        let origin = group.opened();
        assert_eq!(origin.peer.as_tcp(), Some(peer.address()));
        assert_eq!(origin.listener.and_then(|it| it.as_tcp()), Some(group.address));
        peers[origin.id.loop_number()] = Some((peer, origin.id));
    }
    (group, peers.map(|it| it.expect("each loop has one")))
}

#[test]
fn c52_a_connection_of_any_loop_is_reached_by_its_id() {
    let (group, peers) = two_peers();
    for (number, (peer, id)) in peers.iter().enumerate() {
        assert_eq!(id.to_string().starts_with("1/"), number == 1, "{id}");
        group.handle.send(*id, *b"to you").expect("there is room");
        peer.expect(b"to you");
        group.numbers.send_to(*id, Number(0x6869_6A6B)).expect("there is room");
        peer.expect(b"hijk");
        peer.expect_echo(b"and back");
        group.handle.close(*id).expect("there is room");
        peer.expect_eof();
    }
    for (peer, id) in peers {
        peer.close();
        group.next(|event| matches!(event, Event::Closed(..)).then_some(()));
        group.numbers.send_to(id, Number(7)).expect("there is room");
        let at = group.next(|event| match event {
            Event::Undelivered { at, number: 7 } => Some(at),
            _ => None,
        });
        assert_eq!(at, id.loop_number());
    }
    let metrics = group.stop(Stop::Drain(None));
    assert_eq!((metrics.total.accepted, metrics.total.closed), (2, 2));
}

#[test]
fn c52_a_loop_does_not_reach_a_connection_of_another_by_its_own_context() {
    let (group, [(own, to), (_other, id)]) = two_peers();
    assert_eq!(to.loop_number(), 0);
    // Both have slot 0 and are the first of their loops.
    group.relays.send_to(id, (to, b"wrong")).expect("there is room");
    let sent = |group: &Running| {
        group.next(|event| match event {
            Event::Number { to: Some(_), number, .. } => Some(number),
            _ => None,
        })
    };
    assert_eq!(sent(&group), 0, "it is gone, as far as that loop knows");
    group.relays.send_to(to, (to, b"right")).expect("there is room");
    assert_eq!(sent(&group), 1);
    own.expect(b"right");
}

#[test]
fn c52_messages_go_from_loop_to_loop() {
    let group = start(3, Spread::Least, Config::new());
    group.numbers.post(1, Number(1000)).expect("there is room");
    for number in (0..=1000).rev() {
        let expected = (1 + 1000 - number as usize) % 3;
        let (at, found) = group.next(|event| match event {
            Event::Number { at, to: None, number } => Some((at, number)),
            _ => None,
        });
        assert_eq!((at, found), (expected, number));
    }
    group.numbers.post_to_all(&Number(0)).expect("there is room");
    let mut reached: Vec<_> = (0..3)
        .map(|_| {
            group.next(|event| match event {
                Event::Number { at, to: None, number: 0 } => Some(at),
                _ => None,
            })
        })
        .collect();
    reached.sort_unstable();
    assert_eq!(reached, [0, 1, 2]);
    group.handle.notify();
    let mut notified: Vec<_> = (0..3)
        .map(|_| group.next(|event| if let Event::Notified(at) = event { Some(at) } else { None }))
        .collect();
    notified.sort_unstable();
    assert_eq!(notified, [0, 1, 2]);
}

#[test]
fn c52_what_is_sent_before_the_loops_run_is_not_lost() {
    let (tell, events) = std::sync::mpsc::channel();
    let make = |seat| Echo::new(seat, tell.clone());
    let mut group = LoopGroup::new(make).threads(3);
    let (handle, numbers) = (group.handle().expect("a handle"), group.sender().expect("another"));
    for number in 0..3 {
        numbers.post(number, Number(0)).expect("there is room");
    }
    assert_eq!(kind_of(numbers.post(3, Number(0))), Some(SendErrorKind::Stopped));
    handle.stop(Stop::Drain(None));
    let metrics = group.run().expect("it ends in order");
    assert_eq!(metrics.by_loop.len(), 3);
    let mut reached: Vec<_> = events
        .try_iter()
        .filter_map(|event| if let Event::Number { at, .. } = event { Some(at) } else { None })
        .collect();
    reached.sort_unstable();
    assert_eq!(reached, [0, 1, 2]);
    assert_eq!(kind_of(numbers.post(0, Number(0))), Some(SendErrorKind::Stopped));
    assert_eq!(numbers.post_to_all(&Number(0)), Err(vec![0, 1, 2]));
    // The last counts of loops that are gone.
    assert_eq!(handle.metrics(Duration::ZERO), Some(metrics));
}

#[test]
fn c52_metrics_are_those_of_all_loops_and_of_each() {
    let (group, peers) = two_peers();
    for (peer, _) in &peers {
        peer.expect_echo(b"hello");
    }
    let metrics = group.handle.metrics(PATIENCE).expect("they answer");
    assert_eq!((metrics.total.connections, metrics.total.bytes_in), (2, 10));
    for own in &metrics.by_loop {
        assert_eq!((own.connections, own.bytes_in, own.accepted), (1, 5, 1));
    }
}

#[test]
fn c52_streams_are_adopted_by_each_loop_in_its_turn() {
    let group = start(2, Spread::Exclusive, Config::new());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let peers: Vec<_> = (0..4)
        .map(|_| {
            let peer = Peer::connect(listener.local_addr().expect("it is bound"));
            let (stream, _) = listener.accept().expect("it waits");
            group.handle.adopt(stream).expect("the loops run");
            peer
        })
        .collect();
    assert_eq!(group.loads(4), [2, 2]);
    peers.iter().for_each(|peer| peer.expect_echo(b"hello"));
}
