//! Contract, Fairness: C13 to C16, counted in the server's system calls, not by the clock.

mod serve;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serve::{SOCKETS_AND_EVENTS, server};
use testkit::{
    Call, Crowd, Mark, Peer, STRACE, Server, SetOnDrop, Stream, TcpSockets, descriptors_granted,
    eventually, holds_for, skip_unless, turns,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What one turn may read of one connection: its budget, and the read that exceeds it.
const TURN_BYTES: i64 = (256 + 64) * 1024;
const TURN_ACCEPTS: usize = 128;
const TURN_JOBS: usize = 1024;

/// A flooder that sends a mebibyte, of which more than a turn may read is already in the server's
/// kernel, and a light peer whose message is too; both become ready in the same wake-up.
fn flood_and_whisper(server: &Server) -> (Peer, Peer, Mark) {
    let flooder = Peer::connect(server.address());
    let light = Peer::connect(server.address());
    light.expect_echo(b"hello");
    flooder.expect_stream_echo(1, 24 * MIB as u64);
    let mark = server.stopped(|| {
        let mark = server.trace().mark();
        flooder.send(&Stream::new(2).take(MIB));
        light.send(b"whisper");
        // How much of it the kernel takes while nobody reads is the kernel's own affair.
        let enough = TURN_BYTES.unsigned_abs() + 1;
        for (peer, bytes) in [(&flooder, enough), (&light, 7)] {
            eventually("more than a turn's worth has arrived", || {
                TcpSockets::now()
                    .between(server.address(), peer.address())
                    .is_some_and(|socket| socket.unread >= bytes)
            });
        }
        mark
    });
    (flooder, light, mark)
}

/// What was received from a connection, or passed on through a pipe.
fn received(calls: &[Call], descriptor: Option<i32>) -> i64 {
    calls
        .iter()
        .filter(|call| matches!(call.name.as_str(), "recvfrom" | "splice"))
        .filter(|call| call.descriptor() == descriptor)
        .filter_map(Call::returned)
        .filter(|&bytes| bytes > 0)
        .sum()
}

/// The loop's calls after `mark`, once the whole flood is in the trace.
#[track_caller]
fn rest_after_flood(server: &Server, mark: Mark, flood: Option<i32>) -> Vec<Call> {
    let whole = |calls: &[Call]| received(calls, flood) == i64::try_from(MIB).expect("a mebibyte");
    server.trace().rest(mark, "the flood is in the trace", whole).0
}

#[test]
fn c13_a_flooder_gets_its_budget_and_a_light_connection_its_turn() {
    if skip_unless("c13_a_flooder_gets_its_budget_and_a_light_connection_its_turn", STRACE) {
        return;
    }
    let server = server(&[]).traced(SOCKETS_AND_EVENTS).start();
    let (flooder, light, mark) = flood_and_whisper(&server);
    light.expect(b"whisper");
    flooder.expect_stream(&mut Stream::new(2), MIB as u64);

    let flood = server.trace().descriptor_of(flooder.address());
    let whisper = server.trace().descriptor_of(light.address());
    let calls = rest_after_flood(&server, mark, flood);
    for turn in turns(&calls) {
        let bytes = received(turn, flood);
        assert!(bytes <= TURN_BYTES, "{bytes} bytes of one connection in one turn");
    }
    // Both were ready at once; what came before the light one is at most one budget.
    let answered = calls
        .iter()
        .position(|call| call.name == "sendto" && call.descriptor() == whisper)
        .expect("the whisper's echo");
    let before = received(&calls[..answered], flood);
    assert!(before <= TURN_BYTES, "{before} bytes of the flood came first");
}

#[test]
fn c13_what_is_cut_off_does_not_wait_for_an_event() {
    if skip_unless("c13_what_is_cut_off_does_not_wait_for_an_event", STRACE) {
        return;
    }
    let server = server(&[]).traced(SOCKETS_AND_EVENTS).start();
    let (flooder, _light, mark) = flood_and_whisper(&server);
    flooder.expect_stream(&mut Stream::new(2), MIB as u64);

    let flood = server.trace().descriptor_of(flooder.address());
    let calls = rest_after_flood(&server, mark, flood);
    let turns: Vec<&[Call]> = turns(&calls).collect();
    let mut cut = 0;
    let mut total = 0;
    for pair in turns.windows(2) {
        total += received(pair[0], flood);
        let more = received(pair[1], flood) > 0;
        if received(pair[0], flood) > 0 && total < MIB as i64 && more {
            cut += 1;
            assert_eq!(
                pair[1][0].timeout(),
                Some("0"),
                "a wait after a cut turn: {:?}",
                pair[1][0]
            );
        }
    }
    assert!(cut >= 2, "a mebibyte took {} turns: nothing was cut off", cut + 1);
}

#[test]
fn c14_the_event_batch_grows_when_it_comes_back_full() {
    if skip_unless("c14_the_event_batch_grows_when_it_comes_back_full", STRACE) {
        return;
    }
    let server = server(&["--event-batch", "8"]).traced(&["-e", "trace=%desc,accept4"]).start();
    let crowd = Crowd::connect(&server, 200);
    crowd.expect_echoes(b"hello");
    for _ in 0..3 {
        server.stopped(|| {
            for peer in crowd.peers() {
                peer.send(b"all at once");
            }
        });
        for peer in crowd.peers() {
            peer.expect(b"all at once");
        }
    }
    let (calls, _) = server.trace().rest(Mark::START, "the loop rests", |_| true);
    let batches: Vec<usize> = calls.iter().filter_map(Call::batch).collect();
    assert_eq!(batches.first(), Some(&8), "the batch that was asked for");
    assert!(
        batches.iter().any(|&batch| batch >= 128),
        "never more than {:?}",
        batches.iter().max()
    );
    for pair in turns(&calls).collect::<Vec<_>>().windows(2) {
        let (wait, next) = (&pair[0][0], &pair[1][0]);
        let full = wait.batch().map(|batch| batch as i64) == wait.returned();
        if full {
            assert!(next.batch() > wait.batch(), "{wait:?} was full, and then {next:?}");
        }
    }
}

#[test]
fn c15_an_accept_storm_does_not_keep_the_connected_waiting() {
    if skip_unless("c15_an_accept_storm_does_not_keep_the_connected_waiting", STRACE) {
        return;
    }
    let storm =
        descriptors_granted("c15_an_accept_storm_does_not_keep_the_connected_waiting", 1000);
    let server = server(&[]).traced(SOCKETS_AND_EVENTS).start();
    let light = Peer::connect(server.address());
    light.expect_echo(b"hello");
    let (mark, newcomers) = server.stopped(|| {
        let mark = server.trace().mark();
        let newcomers: Vec<Peer> = (0..storm).map(|_| Peer::connect(server.address())).collect();
        light.send(b"I was here first");
        (mark, newcomers)
    });
    light.expect(b"I was here first");
    for newcomer in &newcomers {
        newcomer.expect_echo(b"hello");
    }

    let descriptor = server.trace().descriptor_of(light.address());
    let accepted = |calls: &[Call]| {
        calls.iter().filter(|call| call.name == "accept4" && call.returned() > Some(0)).count()
    };
    let all = |calls: &[Call]| accepted(calls) == storm;
    let (calls, _) = server.trace().rest(mark, "all newcomers are in the trace", all);
    let most = turns(&calls).map(accepted).max().unwrap_or(0);
    assert!(most <= TURN_ACCEPTS, "{most} accepted in one turn");
    let answered = calls
        .iter()
        .position(|call| call.name == "sendto" && call.descriptor() == descriptor)
        .expect("the light peer's echo");
    let before = accepted(&calls[..answered]);
    assert!(before <= TURN_ACCEPTS, "{before} newcomers were accepted first");
}

#[test]
fn c15_a_flood_does_not_keep_newcomers_out() {
    let server = server(&[]).start();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _at_the_end = SetOnDrop(&over);
        for seed in 0..3 {
            let (address, over) = (server.address(), &over);
            scope.spawn(move || {
                let flooder = Peer::connect(address);
                while !over.load(Ordering::Relaxed) {
                    flooder.expect_stream_echo(seed, MIB as u64);
                }
            });
        }
        let newcomers: Vec<Peer> = (0..50)
            .map(|_| {
                let newcomer = Peer::connect(server.address());
                newcomer.expect_echo(b"hello");
                newcomer
            })
            .collect();
        for newcomer in newcomers {
            newcomer.half_close();
            newcomer.expect_eof();
        }
    });
}

#[test]
fn c16_three_thousand_timeouts_at_once_are_spread_over_turns() {
    let test = "c16_three_thousand_timeouts_at_once_are_spread_over_turns";
    if skip_unless(test, STRACE) {
        return;
    }
    let size = descriptors_granted(test, 3 * TURN_JOBS);
    let idle = Duration::from_secs(4);
    let server = serve::wide_server(&["--idle-timeout", "4s"]).traced(SOCKETS_AND_EVENTS).start();
    let crowd = Crowd::connect(&server, size);
    let mark = server.stopped(|| {
        holds_for(idle + idle / 10, "it stands still until all are due", || {
            server.process().state() == Some('t')
        });
        server.trace().mark()
    });
    for peer in crowd.peers() {
        peer.expect_eof();
    }
    let ended = |calls: &[Call]| calls.iter().filter(|call| call.name == "shutdown").count();
    let all = |calls: &[Call]| ended(calls) == size;
    let (calls, _) = server.trace().rest(mark, "all ends are in the trace", all);
    let turns: Vec<&[Call]> = turns(&calls).collect();
    let most = turns.iter().map(|turn| ended(turn)).max().unwrap_or(0);
    assert!(most <= TURN_JOBS, "{most} connections ended in one turn");
    for pair in turns.windows(2) {
        if ended(pair[0]) == TURN_JOBS {
            assert_eq!(pair[1][0].timeout(), Some("0"), "{:?}", pair[1][0]);
        }
    }
}
