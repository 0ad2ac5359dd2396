//! How a group ends, and what a loop that ends by itself means for the others.

use std::io::Read as _;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use edgeloop::{Config, ErrorKind, LoopGroup, Reason, Spread, Stop};
use testkit::{PATIENCE, Peer, eventually};

use crate::vocabulary::{Echo, Event, Number, STOP_YOURSELF, start};

#[test]
fn c52_a_drain_is_one_of_all_loops_and_run_returns_when_the_last_has_ended() {
    for spread in [Spread::Least, Spread::ReusePort, Spread::Exclusive] {
        let group = start(3, spread, Config::new());
        let peers: Vec<_> = (0..30).map(|_| Peer::connect(group.address)).collect();
        peers.iter().for_each(|peer| peer.expect_echo(b"hello"));
        group.handle.stop(Stop::Drain(None));
        eventually("nobody listens", || Peer::try_connect(group.address).is_err());
        for peer in peers {
            peer.half_close();
            peer.expect_eof();
        }
        let metrics = group.join().expect("it ends in order");
        // Those who tried whether anybody listens still may be among them.
        assert!(metrics.total.accepted >= 30, "{spread:?}");
        assert_eq!((metrics.total.bytes_out, metrics.total.cut_off), (150, 0));
        let by_loop: u64 = metrics.by_loop.iter().map(|own| own.accepted).sum();
        assert_eq!((by_loop, metrics.total.closed), (metrics.total.accepted, by_loop));
    }
}

#[test]
fn c52_a_loop_that_stops_itself_stops_all() {
    let group = start(3, Spread::Least, Config::new());
    let peers: Vec<_> = (0..9).map(|_| Peer::connect(group.address)).collect();
    assert!(group.loads(9).iter().all(|&load| load > 0));
    group.numbers.post(2, Number(STOP_YOURSELF)).expect("there is room");
    // They are quiet.
    peers.iter().for_each(Peer::expect_eof);
    drop(peers);
    let metrics = group.join().expect("it ends in order");
    assert_eq!(metrics.total.closed, 9);
}

#[test]
fn c52_a_deadline_cuts_off_what_is_left_on_each_loop() {
    let config = Config::new().drain_quiet(Duration::from_secs(1000));
    let group = start(2, Spread::Least, config);
    let peers: Vec<_> = (0..8).map(|_| Peer::connect(group.address)).collect();
    let loads = group.loads(8);
    group.handle.stop(Stop::Drain(None));
    group.handle.stop(Stop::Drain(Some(Duration::from_millis(20))));
    peers.iter().for_each(Peer::expect_reset);
    let metrics = group.join().expect("it ends in order");
    for (own, load) in metrics.by_loop.iter().zip(loads) {
        assert_eq!(own.cut_off, load as u64);
    }
}

#[test]
fn c52_nobody_is_lost_who_comes_while_the_group_drains() {
    for _ in 0..10 {
        let group = start(4, Spread::Least, Config::new());
        let address = group.address;
        let clients = thread::spawn(move || {
            let mut served = 0;
            while let Ok(peer) = Peer::try_connect(address) {
                // Whoever comes between the last accept and the close is reset by the kernel.
                let answer = peer.try_send(b"x").and_then(|()| peer.stream().read(&mut [0]));
                if !matches!(answer, Ok(1)) {
                    break;
                }
                served += 1;
            }
            served
        });
        group.opened();
        let metrics = group.stop(Stop::Drain(None));
        let served: u64 = clients.join().expect("nothing panics there");
        assert_eq!((metrics.total.bytes_out, metrics.total.aborted), (served, 0));
        assert_eq!(metrics.total.accepted, metrics.total.closed);
    }
}

#[test]
fn c52_a_handler_that_cant_be_made_ends_the_group_and_is_named() {
    let (tell, _events) = mpsc::channel();
    let (address_to, address) = mpsc::channel();
    let group = thread::spawn(move || {
        let begun = std::sync::Barrier::new(3);
        let make = |seat: edgeloop::Seat<Echo>| {
            let number = seat.number();
            begun.wait();
            assert_ne!(number, 1, "no handler");
            Echo::new(seat, tell.clone())
        };
        let mut group = LoopGroup::new(make).threads(3);
        let bound = group.listen("127.0.0.1:0").expect("a free port");
        let _ = address_to.send(bound.as_tcp().expect("it is of TCP"));
        group.run().map(drop)
    });
    let address = address.recv_timeout(PATIENCE).expect("it listens");
    let error = group.join().expect("no panic gets out").expect_err("it fails");
    assert_eq!(error.kind(), ErrorKind::Run);
    let error = error.to_string();
    assert!(
        error.starts_with("loop 1 has ended: panic: ") && error.contains("no handler"),
        "{error}"
    );
    assert!(Peer::try_connect(address).is_err());
}

#[test]
fn c52_a_panic_of_a_callback_costs_one_connection_of_one_loop() {
    let group = start(2, Spread::Least, Config::new());
    let peers = [(); 4].map(|()| Peer::connect(group.address));
    assert!(group.loads(4).iter().all(|&load| load > 0));
    peers[0].send(b"panic");
    peers[0].expect_reset();
    let reason = group.next(|event| match event {
        Event::Closed(reason) => Some(reason),
        _ => None,
    });
    assert_eq!(reason, Reason::Panicked);
    peers[1..].iter().for_each(|peer| peer.expect_echo(b"we live"));
    let metrics = group.handle.metrics(PATIENCE).expect("they answer");
    assert_eq!((metrics.total.panics, metrics.total.connections), (1, 3));
}

#[test]
fn c52_settings_that_cant_hold_are_refused_before_anything_runs() {
    let (tell, _events) = mpsc::channel();
    let make = |seat| Echo::new(seat, tell.clone());
    let error = LoopGroup::new(make).threads(0).handle().expect_err("none");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("a group of 0 loops is not 1 to 512"), "{error}");
    let config = Config::new().buffer_limit(1024 * 1024);
    let error = LoopGroup::new(make).threads(5).config(config).handle().expect_err("too little");
    assert!(error.to_string().contains("for 5 loops is below 1310720"), "{error}");
    let config = Config::new().spin(Duration::from_secs(10));
    assert!(LoopGroup::new(make).config(config).run().is_err());
}

#[test]
fn c52_a_group_of_one_loop_runs_on_the_thread_that_runs_it() {
    let (tell, _events) = mpsc::channel();
    let own = thread::current().id();
    let make = |seat| {
        assert_eq!(thread::current().id(), own);
        Echo::new(seat, tell.clone())
    };
    let mut group = LoopGroup::new(make).threads(1);
    group.handle().expect("a handle").stop(Stop::Now);
    assert_eq!(group.run().expect("it ends in order").by_loop.len(), 1);
}
