//! A panic in any callback costs the connection whose callback it was, and no other (C32).

mod common;

use std::io::ErrorKind;
use std::sync::mpsc;
use std::time::Duration;

use common::{ON_PURPOSE, Running, Script, Session, hush_panics_on_purpose, next};
use edgeloop::{Action, ConnectionId, Reason, Sent, Stop};
use testkit::Peer;

/// Panics at its second call.
fn second_time() -> impl FnMut() + Send + 'static {
    let mut calls = 0;
    move || {
        calls += 1;
        assert!(calls != 2, "{ON_PURPOSE}");
    }
}

/// Runs the script with a bystander; then has a second connection, the victim, meet its panic.
/// `reason` is what the victim's closed callback says; `None` where it has no session to close.
#[track_caller]
fn costs_the_victim_only(
    script: Script,
    provoke: impl FnOnce(&Running, &Peer),
    reason: Option<Reason>,
) {
    hush_panics_on_purpose();
    let server = script.start();
    let (bystander, bystander_id) = server.connect();
    bystander.expect_echo(b"before");
    // The reset may come before connect(2) has returned, and is then its error.
    let victim = match Peer::try_connect(server.address()) {
        Ok(victim) => Some(victim),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
        Err(error) => panic!("cannot connect: {error}"),
    };
    if let Some(victim) = &victim {
        provoke(&server, victim);
    }
    let told = server.notice("panicked");
    assert!(told.contains(ON_PURPOSE), "{told}");
    if let Some(reason) = reason {
        let closed = server.closed();
        assert_eq!(closed.reason, reason);
        assert_ne!(closed.id, bystander_id);
    }
    bystander.expect_echo(b"after");
    let late = Peer::connect(server.address());
    late.expect_echo(b"a new one");
    let (metrics, rest) = server.stop(Stop::Now);
    assert_eq!(metrics.panics, 1);
    assert_eq!(metrics.closed, 3);
    assert_eq!(rest.len(), 2, "the bystander and the new one, once each: {rest:?}");
    assert!(rest.iter().all(|closed| closed.reason == Reason::CutOff), "{rest:?}");
}

#[test]
fn c32_a_panic_in_session() {
    let mut panics = second_time();
    let script = Script::new().session(move |_| {
        panics();
        Some(Session::default())
    });
    costs_the_victim_only(script, |_, victim| victim.expect_reset(), None);
}

#[test]
fn c32_a_panic_in_opened() {
    let mut panics = second_time();
    let script = Script::new().opened(move |_| {
        panics();
        Action::Continue
    });
    costs_the_victim_only(script, |_, victim| victim.expect_reset(), Some(Reason::Panicked));
}

#[test]
fn c32_a_panic_in_data() {
    let script = Script::new().data(|cx, input| {
        assert!(!input.starts_with(b"boom"), "{ON_PURPOSE}");
        cx.send(input.take_all()).or_reset()
    });
    let provoke = |_: &Running, victim: &Peer| {
        victim.send(b"boom");
        victim.expect_reset();
    };
    costs_the_victim_only(script, provoke, Some(Reason::Panicked));
}

#[test]
fn c32_a_panic_in_data_that_shows_kept_input() {
    let script = Script::new().data(|cx, input| {
        assert!(!input.starts_with(b"boom"), "{ON_PURPOSE}");
        if input.starts_with(b"bo") {
            return Action::Continue;
        }
        cx.send(input.take_all()).or_reset()
    });
    let provoke = |server: &Running, victim: &Peer| {
        victim.send(b"bo");
        server.settle();
        victim.send(b"om");
        victim.expect_reset();
    };
    costs_the_victim_only(script, provoke, Some(Reason::Panicked));
}

#[test]
fn c32_a_panic_in_end() {
    let script = Script::new().end(|_, input| {
        assert!(!input.is_empty(), "{ON_PURPOSE}");
        Action::Close
    });
    let provoke = |_: &Running, victim: &Peer| {
        victim.half_close();
        victim.expect_reset();
    };
    costs_the_victim_only(script, provoke, Some(Reason::Panicked));
}

#[test]
fn c32_a_panic_in_drained() {
    let script = Script::new().drained(|_| panic!("{ON_PURPOSE}"));
    let provoke = |server: &Running, victim: &Peer| {
        let id = server.opened();
        server.ask(move |cx| while cx.send_to(id, &[0; 16 << 10]) != Sent::AboveMark {});
        victim.expect_reset();
    };
    costs_the_victim_only(script, provoke, Some(Reason::Panicked));
}

#[test]
fn c32_a_panic_in_timeout() {
    let mut calls = 0;
    let script = Script::new()
        .opened(move |cx| {
            calls += 1;
            cx.set_timer(0, (calls == 2).then_some(Duration::from_millis(1)));
            Action::Continue
        })
        .timer(|_, _| panic!("{ON_PURPOSE}"));
    costs_the_victim_only(script, |_, victim| victim.expect_reset(), Some(Reason::Panicked));
}

#[test]
fn c32_a_panic_in_closed() {
    let mut first = true;
    let script =
        Script::new().closed(move |_, _| assert!(!std::mem::take(&mut first), "{ON_PURPOSE}"));
    let provoke = |_: &Running, victim: &Peer| {
        victim.half_close();
        victim.expect_eof();
    };
    costs_the_victim_only(script, provoke, Some(Reason::Finished));
}

#[test]
fn c32_a_panic_in_the_drop_of_a_session() {
    let mut calls = 0;
    let script = Script::new().session(move |_| {
        calls += 1;
        Some(Session { panics_when_dropped: calls == 2, name: 0 })
    });
    let provoke = |_: &Running, victim: &Peer| {
        victim.half_close();
        victim.expect_eof();
    };
    costs_the_victim_only(script, provoke, Some(Reason::Finished));
}

#[test]
fn c32_a_panic_in_notified_belongs_to_no_connection() {
    hush_panics_on_purpose();
    let server = Script::new().start();
    let (peer, _) = server.connect();
    let asker = server.asker();
    let asking = std::thread::spawn(move || {
        asker.ask(|_| panic!("{ON_PURPOSE}"));
    });
    assert!(asking.join().is_err(), "no answer comes");
    assert_eq!(server.notice("panicked"), format!("handler panicked: {ON_PURPOSE}"));
    peer.expect_echo(b"after");
    assert_eq!(server.stop(Stop::Now).0.panics, 1);
}

#[test]
fn c32_a_notice_callback_that_always_panics_does_not_stop_the_loop() {
    hush_panics_on_purpose();
    let (report, told) = mpsc::channel();
    let server = Script::new()
        .notice(move |notice| {
            let _ = report.send(notice.to_string());
            panic!("{ON_PURPOSE}");
        })
        .data(|cx, input| {
            assert!(!input.starts_with(b"boom"), "{ON_PURPOSE}");
            cx.send(input.take_all()).or_reset()
        })
        .start();
    let (victim, _) = server.connect();
    victim.send(b"boom");
    victim.expect_reset();
    let _ = next(&told, "a notice");
    let (peer, _) = server.connect();
    peer.expect_echo(b"after");
    let (metrics, _) = server.stop(Stop::Now);
    assert!(metrics.panics >= 2, "{metrics:?}");
}

#[test]
fn c07_the_end_behind_a_send_error_is_no_orderly_end() {
    let server = Script::new()
        .data(|cx, input| {
            let _ = cx.send(input.take_all());
            Action::Continue
        })
        // It would keep the connection, and the error would never be told.
        .end(|_, _| Action::Continue)
        .start();
    let (peer, _) = server.connect();
    // While the loop stands still, so that the echo meets the reset and the end is behind the data.
    let (go, wait) = mpsc::channel::<()>();
    let (tell, stands) = mpsc::channel();
    let asker = server.asker();
    let blocked = std::thread::spawn(move || {
        asker.ask(move |_| {
            tell.send(()).expect("the test listens");
            wait.recv().is_err()
        })
    });
    next(&stands, "the loop stands still");
    peer.send(&[b'x'; 40 << 10]);
    peer.reset();
    drop(go);
    assert!(blocked.join().expect("the loop went on"));
    let closed = server.closed();
    assert_eq!(closed.reason, Reason::Failed);
    assert_eq!(closed.errno, Some(104), "{closed}");
}

#[test]
fn c32_ten_panics_in_one_turn_cost_ten_connections() {
    hush_panics_on_purpose();
    let script = Script::new().data(|cx, input| {
        assert!(!input.starts_with(b"boom"), "{ON_PURPOSE}");
        cx.send(input.take_all()).or_reset()
    });
    let server = script.start();
    let peers: Vec<(Peer, ConnectionId)> = (0..20).map(|_| server.connect()).collect();
    // While the loop waits in a callback, everything arrives for one turn.
    let (go, wait) = mpsc::channel::<()>();
    let asker = server.asker();
    let blocked = std::thread::spawn(move || asker.ask(move |_| wait.recv().is_err()));
    for (index, (peer, _)) in peers.iter().enumerate() {
        peer.send(if index % 2 == 0 { b"boom" } else { b"fine" });
    }
    drop(go);
    assert!(blocked.join().expect("the loop went on"));
    for (index, (peer, _)) in peers.iter().enumerate() {
        if index % 2 == 0 { peer.expect_reset() } else { peer.expect(b"fine") }
    }
    let (metrics, closed) = server.stop(Stop::Now);
    assert_eq!((metrics.panics, closed.len()), (10, 20));
    assert_eq!(closed.iter().filter(|c| c.reason == Reason::Panicked).count(), 10);
}

/// What a handler may panic with: a value whose own drop panics.
struct PanicsAgain;

impl Drop for PanicsAgain {
    fn drop(&mut self) {
        panic!("{ON_PURPOSE}");
    }
}

#[test]
fn c40_a_payload_whose_drop_panics_ends_nothing_but_its_connection() {
    let script = Script::new().data(|cx, input| {
        if input.starts_with(b"boom") {
            std::panic::resume_unwind(Box::new(PanicsAgain));
        }
        cx.send(input.take_all()).or_reset()
    });
    hush_panics_on_purpose();
    let server = script.start();
    let (bystander, _) = server.connect();
    let (victim, id) = server.connect();
    victim.send(b"boom");
    victim.expect_reset();
    let closed = server.closed();
    assert_eq!((closed.id, closed.reason), (id, Reason::Panicked));
    bystander.expect_echo(b"after");
    assert_eq!(server.stop(Stop::Now).0.panics, 1);
}

#[test]
fn c40_a_closed_callback_that_connects_and_panics_costs_nobody_an_end() {
    // Nobody listens there; whether it can be connected to makes no difference.
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    for ended_at_once in [false, true] {
        hush_panics_on_purpose();
        let mut left = 5;
        let server = Script::new()
            .closed(move |cx, _| {
                if left > 0 {
                    left -= 1;
                    let id = cx.connect(nowhere.into(), Session::named(left));
                    if ended_at_once {
                        cx.reset(id.expect("there are descriptors"));
                    }
                    panic!("{ON_PURPOSE}");
                }
            })
            .start();
        let peers: Vec<_> = (0..5).map(|_| server.connect()).collect();
        let ids: Vec<_> = peers.iter().map(|(_, id)| *id).collect();
        let all = ids.clone();
        // In one turn, so that each end comes behind a connection whose session is still to be put
        // into its place.
        server.ask(move |cx| all.iter().for_each(|&id| cx.reset(id)));
        let closed: Vec<_> = ids.iter().map(|_| server.closed().id).collect();
        assert_eq!(closed, ids, "each is told of once");
        let (metrics, rest) = server.stop(Stop::Drain(None));
        assert_eq!((metrics.panics, metrics.connections), (5, 0));
        assert_eq!(rest.len(), 5, "what was started is told of, too: {rest:?}");
    }
}

#[test]
fn c40_whatever_panics_everybody_else_is_closed_once() {
    hush_panics_on_purpose();
    let mut calls = 0;
    let mut every_third = move || {
        calls += 1;
        assert!(calls % 3 != 0, "{ON_PURPOSE}");
    };
    let server = Script::new().closed(move |_, _| every_third()).start();
    let peers: Vec<_> = (0..20).map(|_| server.connect()).collect();
    let (metrics, closed) = server.stop(Stop::Now);
    let mut ids: Vec<_> = closed.iter().map(|closed| closed.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, peers.iter().map(|(_, id)| *id).collect::<Vec<_>>());
    assert_eq!((metrics.closed, metrics.panics), (20, 6));
}
