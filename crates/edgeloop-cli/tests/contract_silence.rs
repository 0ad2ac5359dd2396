//! Contract, C39: silence is proved. The server is stopped for longer than its timeouts, and its
//! peers do meanwhile what they are expected to do.

mod serve;

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serve::server;
use testkit::{
    Crowd, PATIENCE, Peer, Server, Stream, eventually, expect_rest, holds_for, machine_to_myself,
    pour_once, receive_once,
};

/// Numbers of peers, and options with which one batch of events takes fewer.
const CASES: [(usize, &[&str]); 2] = [(20, &["--event-batch", "1"]), (600, &[])];

/// Does this when the server has been stopped for longer than `span`, and lets it go on. So what
/// the peers do comes behind the server's own alarm. Returns how long ago `begin` was when it was
/// stopped: longer than `span` only if this machine has held us up.
#[track_caller]
fn after_a_stop(server: &Server, begin: Instant, span: Duration, act: impl FnOnce()) -> Duration {
    server.stopped(|| {
        let before = begin.elapsed();
        let stop = span + Duration::from_millis(500);
        holds_for(stop, "it stands still", || server.process().state() == Some('T'));
        act();
        before
    })
}

#[track_caller]
fn expect_each(peers: &[Peer], bytes: &[u8]) {
    for peer in peers {
        peer.expect(bytes);
    }
}

/// A server that has drained, and has cut off nobody.
#[track_caller]
fn expect_drained(mut server: Server, received: usize) {
    assert_eq!(server.exit_code_within(PATIENCE), 0);
    let totals = server.log().expect_line("totals");
    assert!(totals.contains(&format!("bytes_in={received} ")), "{totals}");
}

#[test]
fn c39_whoever_spoke_while_the_server_was_stopped_is_not_idle() {
    let _turn = machine_to_myself();
    let idle = Duration::from_secs(2);
    for (number, options) in CASES {
        let tries = || {
            let server = server(&["--idle-timeout", "2s"]).args(options).start();
            let begin = Instant::now();
            let crowd = Crowd::connect(&server, number);
            let before = after_a_stop(&server, begin, idle, || {
                crowd.peers().iter().for_each(|peer| peer.send(b"still here"));
            });
            if before < idle {
                expect_each(crowd.peers(), b"still here");
            }
            before < idle
        };
        eventually("they were all there when it was stopped", tries);
    }
}

#[test]
fn c39_the_time_of_a_stop_counts_against_nobody() {
    let idle = Duration::from_secs(2);
    let tries = || {
        let server = server(&["--idle-timeout", "2s"]).start();
        let begin = Instant::now();
        let crowd = Crowd::connect(&server, 20);
        let before = after_a_stop(&server, begin, idle, || {});
        let begin = Instant::now();
        // It looks after its timers, and they have not said anything yet.
        let heard = crowd.peers()[0].hears_within(idle / 20);
        let in_time = before + begin.elapsed() < idle / 2;
        if in_time {
            assert!(!heard, "they are sent off for the time of a stop");
            crowd.peers().iter().for_each(|peer| peer.send(b"still here"));
            expect_each(crowd.peers(), b"still here");
        }
        in_time
    };
    eventually("they had time left when it was stopped", tries);
}

#[test]
fn c39_whoever_spoke_while_a_drain_was_stopped_is_answered() {
    let _turn = machine_to_myself();
    let quiet = Duration::from_secs(1);
    for (number, options) in CASES {
        let tries = || {
            let server = server(options).start();
            let crowd = Crowd::connect(&server, number);
            let begin = Instant::now();
            server.signal(Signal::TERM);
            eventually("it drains", || Peer::try_connect(server.address()).is_err());
            let before = after_a_stop(&server, begin, quiet, || {
                crowd.peers().iter().for_each(|peer| peer.send(b"still here"));
            });
            if before < quiet {
                expect_each(crowd.peers(), b"still here");
                drop(crowd);
                expect_drained(server, number * 10);
            }
            before < quiet
        };
        eventually("they were all there when it was stopped", tries);
    }
}

#[test]
fn c39_whoever_spoke_before_a_stopped_server_drains_is_answered() {
    let _turn = machine_to_myself();
    for (number, options) in CASES {
        let server = server(options).start();
        let crowd = Crowd::connect(&server, number);
        after_a_stop(&server, Instant::now(), Duration::from_secs(2), || {
            server.signal(Signal::TERM);
            crowd.peers().iter().for_each(|peer| peer.send(b"still here"));
        });
        expect_each(crowd.peers(), b"still here");
        drop(crowd);
        expect_drained(server, number * 10);
    }
}

#[test]
fn c39_whoever_took_its_output_while_the_server_was_stopped_is_not_stalled() {
    let _turn = machine_to_myself();
    let number = 20;
    let stall = Duration::from_secs(2);
    let options = ["--write-timeout", "2s", "--idle-timeout", "none", "--event-batch", "1"];
    let tries = || {
        let server = server(&options).start();
        let begin = Instant::now();
        let peers: Vec<Peer> = (0..number).map(|_| Peer::narrow(server.address())).collect();
        let mut streams: Vec<Stream> = (0..number).map(Stream::new).collect();
        let mut expected = streams.clone();
        // Each has more than enough for its output to have filled the kernel.
        while begin.elapsed() < stall / 4 {
            pour_once(&peers, &mut streams);
            thread::sleep(Duration::from_millis(5));
        }
        let read = || {
            let streams = peers.iter().zip(&streams).zip(&mut expected);
            let receive = |((peer, poured), expected)| receive_once(peer, poured, expected);
            streams.map(receive).sum::<io::Result<usize>>().expect("nobody is reset")
        };
        let before = after_a_stop(&server, begin, stall, || take_what_comes(read));
        if before < stall {
            expect_rest(&peers, &streams, &mut expected);
        }
        before < stall
    };
    eventually("none had stalled when it was stopped", tries);
}

/// Takes what the kernel has under way, until nothing has come for a while.
fn take_what_comes(mut read: impl FnMut() -> usize) {
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_millis(300) {
        if read() > 0 {
            last = Instant::now();
        }
        thread::sleep(Duration::from_millis(1));
    }
}
