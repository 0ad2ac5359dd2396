//! Deadlines that pass while the loop is busy: all of them are called, in their order (C41).

mod common;

use std::sync::mpsc;
use std::time::Duration;

use common::{ON_PURPOSE, Script, Session, hush_panics_on_purpose, next};
use edgeloop::{Action, Config, LoopContext, Stop, Time};
use testkit::Peer;

const CONNECTIONS: u32 = 21;

/// How long behind the first deadline the others are, in an order that has nothing to do with that
/// of their connections.
fn place(connection: u32) -> u32 {
    connection * 8 % CONNECTIONS
}

fn busy_until(cx: &mut (impl LoopContext<Session> + ?Sized), time: Time) {
    while cx.clock() < time {}
}

/// Lets the loop be busy while as many deadlines pass as there are connections, `apart` from each
/// other, and expects them to be called in their order. `moved` deadlines were first set for times
/// in the opposite order. The third call of all panics.
#[track_caller]
fn are_called_in_order(config: Config, apart: Duration, moved: bool) {
    hush_panics_on_purpose();
    let (report, called) = mpsc::channel();
    let (mut base, mut set) = (None, 0);
    let mut calls = 0;
    let server = Script::new()
        .config(config)
        .data(move |cx, input| {
            let place = place(u32::from(input.take_all()[0]));
            let base = *base.get_or_insert(cx.now());
            let after = |count: u32| base.after(count * apart).since(cx.now());
            let (earlier, deadline) = (after(CONNECTIONS - place), after(CONNECTIONS + place));
            if moved {
                cx.set_timer(0, Some(earlier));
            }
            cx.set_timer(0, Some(deadline));
            set += 1;
            if set == CONNECTIONS {
                busy_until(cx, base.after(2 * CONNECTIONS * apart));
            }
            Action::Continue
        })
        .timer(move |cx, _| {
            report.send(cx.id()).expect("the test listens");
            calls += 1;
            assert!(calls != 3, "{ON_PURPOSE}");
            Action::Continue
        })
        .start();
    let peers: Vec<_> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    // All of them speak while the loop is held up, so that it hears them in one turn.
    let (hold, held) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    server.asker().leave(move |_| {
        hold.send(()).expect("the test listens");
        let _ = released.recv();
    });
    server.handle().notify();
    next(&held, "turn in which the loop is held up");
    for (number, (peer, _)) in (0..).zip(&peers) {
        peer.send(&[number]);
    }
    drop(release);
    let order: Vec<_> = peers.iter().map(|_| next(&called, "a deadline that is called")).collect();
    let mut expected: Vec<_> = (0..).zip(&peers).collect();
    expected.sort_by_key(|&(connection, _)| place(connection));
    let expected: Vec<_> = expected.into_iter().map(|(_, &(_, id))| id).collect();
    assert_eq!(order, expected, "{apart:?} apart, moved: {moved}");
    assert_eq!(server.stop(Stop::Now).0.panics, 1);
    peers.into_iter().for_each(|(peer, _): (Peer, _)| drop(peer));
}

#[test]
fn c41_deadlines_that_are_due_in_one_turn_are_called_in_their_order() {
    for moved in [false, true] {
        for micros in [10, 300, 2000] {
            are_called_in_order(Config::new(), Duration::from_micros(micros), moved);
        }
        // Over several turns, because each has a budget of two; the order is that of ticks then.
        let few = Config::new().turn_bytes(1024 * 1024).turn_accepts(64).turn_jobs(2);
        are_called_in_order(few, Duration::from_millis(2), moved);
    }
}
