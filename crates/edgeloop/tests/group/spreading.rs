//! Which loop gets a connection.

use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use edgeloop::{Config, LoopGroup, Spread, Stop};
use testkit::{PATIENCE, Peer};

use crate::vocabulary::{Echo, Event, start};

const PEERS: usize = 400;

/// No loop has more than 1.1 times the mean.
#[track_caller]
fn expect_even(loads: &[usize]) {
    let most = *loads.iter().max().expect("there are loops");
    let total: usize = loads.iter().sum();
    assert!(most * loads.len() * 10 <= total * 11, "{loads:?}");
}

#[test]
fn c52_least_spreads_connections_that_come_one_by_one() {
    for loops in [2, 4] {
        let group = start(loops, Spread::Least, Config::new());
        let peers: Vec<_> = (0..PEERS)
            .map(|_| {
                thread::sleep(Duration::from_millis(1));
                Peer::connect(group.address)
            })
            .collect();
        expect_even(&group.loads(PEERS));
        peers.iter().for_each(|peer| peer.expect_echo(b"hello"));
        let metrics = group.stop(Stop::Now);
        assert_eq!(metrics.total.accepted, 400);
        let accepted = metrics.by_loop.iter().map(|own| usize::try_from(own.accepted));
        expect_even(&accepted.collect::<Result<Vec<_>, _>>().expect("no more than 400"));
    }
}

#[test]
fn c52_least_spreads_a_burst() {
    for loops in [2, 4] {
        let group = start(loops, Spread::Least, Config::new());
        let peers: Vec<_> = (0..PEERS).map(|_| Peer::connect(group.address)).collect();
        expect_even(&group.loads(PEERS));
        peers.iter().for_each(|peer| peer.expect_echo(b"hello"));
    }
}

#[test]
fn c52_least_evens_out_what_has_become_uneven() {
    let group = start(2, Spread::Least, Config::new());
    let mut peers: Vec<_> = (0..100)
        .map(|_| {
            let peer = Peer::connect(group.address);
            (peer, group.opened().id.loop_number())
        })
        .collect();
    // All of one loop end.
    peers.retain(|(_, number)| *number == 0);
    let left = peers.len();
    for _ in left..100 {
        group.next(|event| matches!(event, Event::Closed(..)).then_some(()));
    }
    let more: Vec<_> = (0..left).map(|_| Peer::connect(group.address)).collect();
    assert_eq!(group.loads(left), [0, left]);
    drop(more);
}

#[test]
fn c52_with_reuseport_each_loop_has_a_backlog_of_its_own() {
    let group = start(4, Spread::ReusePort, Config::new());
    let peers: Vec<_> = (0..PEERS).map(|_| Peer::connect(group.address)).collect();
    let loads = group.loads(PEERS);
    // By chance each has 100. That one of them has none is 1 in 10⁴⁹.
    assert!(loads.iter().all(|&load| load > 0), "{loads:?}");
    peers.iter().for_each(|peer| peer.expect_echo(b"hello"));
    // Without the option nobody else can have the address.
    assert!(std::net::TcpListener::bind(group.address).is_err());
}

#[test]
fn c52_with_exclusive_a_connection_stays_with_whoever_accepts_it() {
    let group = start(4, Spread::Exclusive, Config::new());
    let peers: Vec<_> = (0..PEERS).map(|_| Peer::connect(group.address)).collect();
    assert_eq!(group.loads(PEERS).iter().sum::<usize>(), PEERS);
    peers.iter().for_each(|peer| peer.expect_echo(b"hello"));
    assert_eq!(group.stop(Stop::Now).total.accepted, 400);
}

/// A group on a Unix socket or on one that was passed in.
fn served(
    spread: Spread,
    listen: impl FnOnce(&mut LoopGroup<Echo, &(dyn Fn(edgeloop::Seat<Echo>) -> Echo + Sync)>) + Send,
    check: impl FnOnce(&dyn Fn(usize) -> Vec<usize>),
) {
    let (tell, events) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let make = |seat| Echo::new(seat, tell.clone());
            let make: &(dyn Fn(edgeloop::Seat<Echo>) -> Echo + Sync) = &make;
            let mut group = LoopGroup::new(make).threads(3).spread(spread);
            listen(&mut group);
            let _ = begin.send(group.handle().expect("a handle"));
            group.run().expect("it ends in order");
        });
        let handle = begun.recv_timeout(PATIENCE).expect("it begins");
        check(&|count| {
            let mut loads = vec![0; 3];
            for _ in 0..count {
                let event = events.recv_timeout(PATIENCE).expect("it happens");
                if let Event::Opened(origin) = event {
                    loads[origin.id.loop_number()] += 1;
                }
            }
            loads
        });
        handle.stop(Stop::Now);
    });
}

#[test]
fn c52_a_unix_socket_is_shared_whatever_the_spread_and_its_file_is_removed_once() {
    for spread in [Spread::Least, Spread::ReusePort] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let address = format!("unix:{}", path.display());
        served(
            spread,
            |group| _ = group.listen(address.as_str()).expect("a free path"),
            |loads| {
                let peers: Vec<_> = (0..30).map(|_| Peer::connect_unix(&path)).collect();
                let loads = loads(30);
                peers.iter().for_each(|peer| peer.expect_echo(b"hello"));
                if spread == Spread::Least {
                    assert!(loads.iter().all(|&load| load >= 9), "{loads:?}");
                }
            },
        );
        assert!(!path.exists(), "{spread:?}");
        assert!(UnixStream::connect(&path).is_err());
    }
}

#[test]
fn c52_a_socket_that_was_passed_in_is_shared() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    // It waits in the backlog before anybody serves.
    let early = Peer::connect(address);
    served(
        Spread::Least,
        |group| _ = group.listen_on_fd(listener).expect("it listens"),
        |loads| {
            let peers: Vec<_> = (0..29).map(|_| Peer::connect(address)).collect();
            let loads = loads(30);
            assert!(loads.iter().all(|&load| load >= 9), "{loads:?}");
            peers.iter().for_each(|peer| peer.expect_echo(b"hello"));
            early.expect_echo(b"hello");
        },
    );
    assert!(Peer::try_connect(address).is_err());
}

#[test]
fn c52_a_group_that_is_dropped_before_it_runs_leaves_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let address = format!("unix:{}", path.display());
    let (tell, _events) = mpsc::channel();
    let make = |seat| Echo::new(seat, tell.clone());
    let mut group = LoopGroup::new(make).threads(3);
    group.listen(address.as_str()).expect("a free path");
    assert!(path.exists());
    drop(group);
    assert!(!path.exists());
}
