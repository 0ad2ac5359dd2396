//! Contract, Identity: C17 to C20.

mod serve;

use std::collections::HashSet;

use serve::{SOCKETS_AND_EVENTS, serve, server};
use testkit::{
    Descriptor, Mark, Peer, Prng, Process, STRACE, eventually, eventually_some, skip_unless,
};

#[test]
fn c17_a_recycled_descriptor_never_gets_anothers_bytes() {
    let mut prng = Prng::printed("c17_a_recycled_descriptor_never_gets_anothers_bytes");
    let server = serve(&[]);
    let mut old: Vec<Peer> = (0..40).map(|_| Peer::connect(server.address())).collect();
    for peer in &old {
        peer.expect_echo(b"hello");
    }
    for round in 0..25 {
        // In one wake-up some of the old ones speak and vanish, the others speak, and as many new
        // ones arrive, who are likely to get the descriptors of those that vanished.
        let mut said = Vec::new();
        let mut gone = 0;
        server.stopped(|| {
            for (number, peer) in std::mem::take(&mut old).into_iter().enumerate() {
                let words = format!("round {round}, old {number}");
                peer.send(words.as_bytes());
                match prng.between(0, 3) {
                    0 => peer.reset(),
                    1 => peer.close(),
                    _ => {
                        said.push((peer, words));
                        continue;
                    }
                }
                gone += 1;
            }
            for number in 0..gone {
                let peer = Peer::connect(server.address());
                let words = format!("round {round}, new {number}");
                peer.send(words.as_bytes());
                said.push((peer, words));
            }
        });
        for (peer, words) in said {
            peer.expect(words.as_bytes());
            old.push(peer);
        }
    }
    for peer in &old {
        peer.half_close();
        // Nothing of anybody else's came behind.
        peer.expect_eof();
    }
}

#[test]
fn c18_descriptors_are_neither_duplicated_nor_deregistered() {
    if skip_unless("c18_descriptors_are_neither_duplicated_nor_deregistered", STRACE) {
        return;
    }
    let server = server(&[]).traced(SOCKETS_AND_EVENTS).start();
    for number in 0..20 {
        let peer = Peer::connect(server.address());
        peer.expect_echo(b"hello");
        if number % 2 == 0 { peer.reset() } else { peer.close() }
    }
    let calls = server.trace().expect(Mark::START, "all are closed", |calls| {
        calls.iter().filter(|call| call.name == "close").count() >= 20
    });
    let accepted: HashSet<Option<i64>> = calls
        .iter()
        .filter(|call| call.name == "accept4" && call.returned() > Some(0))
        .map(testkit::Call::returned)
        .collect();
    let theirs = |call: &&testkit::Call| accepted.contains(&call.descriptor().map(i64::from));
    for call in calls.iter().filter(theirs) {
        let duplicates = call.name.starts_with("dup") || call.arguments.contains("F_DUPFD");
        assert!(!duplicates, "{call:?}");
    }
    for call in &calls {
        assert!(!call.arguments.contains("EPOLL_CTL_DEL"), "{call:?}");
    }
}

/// The number of the epoll_ctl call, counted from 1, that adds the first connection.
#[track_caller]
fn first_registration() -> usize {
    let server = server(&[]).traced(&["-e", "trace=epoll_ctl"]).start();
    Peer::connect(server.address()).expect_echo(b"hello");
    // Connections alone are registered for output. Whether the first one comes before the first
    // wait or after it is up to chance.
    eventually_some("the connection is registered", || {
        let calls = server.trace().calls();
        let registers = |call: &testkit::Call| call.arguments.contains("EPOLLOUT");
        calls.iter().position(registers).map(|index| index + 1)
    })
}

#[test]
fn c19_a_failed_registration_closes_that_connection_alone() {
    if skip_unless("c19_a_failed_registration_closes_that_connection_alone", STRACE) {
        return;
    }
    let second = first_registration() + 1;
    for error in ["ENOSPC", "ENOMEM"] {
        let fault = format!("inject=epoll_ctl:error={error}:when={second}");
        let server = server(&["-v"]).traced(&["-e", &fault]).start();
        let before = server.process().descriptor_count();
        let first = Peer::connect(server.address());
        first.expect_echo(b"first");
        let second = Peer::connect(server.address());
        // FIN or RST: it ends, and it is never echoed.
        assert!(second.hears_within(testkit::PATIENCE), "{error}: it hangs");
        assert!(second.receive_what_is_there(1).is_empty(), "{error}: it was served");
        let third = Peer::connect(server.address());
        third.expect_echo(b"third");
        first.expect_echo(b"first again");
        assert_eq!(server.process().descriptor_count(), before + 2, "{error}");
        server.log().expect_line("epoll");
    }
}

#[test]
fn c19_failed_registrations_leak_no_slot() {
    if skip_unless("c19_failed_registrations_leak_no_slot", STRACE) {
        return;
    }
    let first = first_registration();
    let fault = format!("inject=epoll_ctl:error=ENOSPC:when={first}+2");
    // Every other registration fails. With room for two, a third leak would leave no room at all.
    let server = server(&["--max-connections", "2"]).traced(&["-e", &fault]).start();
    let before = server.process().descriptor_count();
    for number in 0..20 {
        let peer = Peer::connect(server.address());
        if number % 2 == 0 {
            assert!(peer.hears_within(testkit::PATIENCE), "connection {number} hangs");
        } else {
            peer.expect_echo(b"served");
        }
        drop(peer);
        eventually("the connection is gone", || server.process().descriptor_count() == before);
    }
}

#[test]
fn c20_every_descriptor_is_close_on_exec_and_every_socket_non_blocking() {
    let server = serve(&["127.0.0.1:0", "[::1]:0"]);
    let peers: Vec<Peer> = (0..5).map(|_| Peer::connect(server.address())).collect();
    for peer in &peers {
        peer.expect_echo(b"hello");
    }
    let descriptors = server.process().descriptors();
    let network = |open: &Descriptor| open.is_socket() && !open.is_unix_socket();
    assert!(descriptors.iter().filter(|&open| network(open)).count() >= 8, "{descriptors:?}");
    // What we leak to our children ourselves is not the server's.
    let ours = Process::new(std::process::id()).descriptors();
    let inherited = |open: &Descriptor| {
        ours.iter().any(|ours| ours.number == open.number && ours.target == open.target)
    };
    for open in descriptors.iter().filter(|open| open.number > 2 && !inherited(open)) {
        assert!(open.is_close_on_exec(), "a child would get {open:?}");
        // An epoll itself has no calls that could block but the wait, and the thread that waits for
        // signals is there to block, in its pair of sockets.
        if !open.target.contains("eventpoll") && !open.is_unix_socket() {
            assert!(open.is_non_blocking(), "{open:?} may block");
        }
    }
}

#[test]
fn c20_descriptors_are_born_so() {
    if skip_unless("c20_descriptors_are_born_so", STRACE) {
        return;
    }
    let server = server(&[]).traced(SOCKETS_AND_EVENTS).start();
    Peer::connect(server.address()).expect_echo(b"hello");
    // A newcomer is answered before the next accept, of which strace shows the flags once it is
    // done.
    server.trace().rest(Mark::START, "the loop rests after the echo", |calls| {
        calls.iter().any(|call| call.name == "sendto")
    });
    let calls = server.trace().calls();
    let births = [
        ("socket", ["SOCK_CLOEXEC", "SOCK_NONBLOCK"]),
        ("accept4", ["SOCK_CLOEXEC", "SOCK_NONBLOCK"]),
        ("epoll_create1", ["EPOLL_CLOEXEC", ""]),
        ("eventfd2", ["EFD_CLOEXEC", "EFD_NONBLOCK"]),
        ("timerfd_create", ["TFD_CLOEXEC", "TFD_NONBLOCK"]),
    ];
    for (name, flags) in births {
        let mut born = calls.iter().filter(|call| call.name == name).peekable();
        assert!(born.peek().is_some() || name == "timerfd_create", "no {name}");
        for call in born.filter(|call| call.name != "socket" || call.arguments.contains("AF_INET"))
        {
            assert!(flags.iter().all(|flag| call.arguments.contains(flag)), "{call:?}");
        }
    }
    for call in &calls {
        let late = call.arguments.contains("F_SETFD")
            || call.name == "accept"
            || call.name == "epoll_create";
        assert!(!late, "{call:?}");
    }
}
