//! What the end of a connection says about its two streams.

use super::*;

/// Runs it with one peer, and returns the end of its connection.
fn end_of(simulation: Simulation, probe: Probe, peer: Script) -> Closed {
    let report = run(simulation.calm().buffers(1000..=1000).peer(peer), probe);
    let [closed] = &report.handler.closed[..] else { panic!("one end") };
    closed.clone()
}

#[test]
fn c03_clean_is_only_an_end_of_both_streams() {
    let idle = || Simulation::new(1).config(Config::new().idle_timeout(Some(SECOND)));
    let ends = caller("it ends");
    let clean = end_of(idle(), Probe::new(), ends);
    assert_eq!((clean.is_clean(), clean.peer_ended, clean.discarded), (true, true, 0));
    // Nobody knows whether this one had said all that it wanted to.
    let silent = Script::new().may_end().send("hello").expect("hello").wait(100 * SECOND);
    let closed = end_of(idle(), Probe::new(), silent);
    assert_eq!((closed.reason, closed.is_clean()), (Reason::IdleTimeout, false), "{closed}");
    assert!(!closed.peer_ended);
    let answers = Script::new().send("hello").expect("hello").expect_end().finish();
    let closed = end_of(idle(), Probe::new(), answers);
    assert_eq!((closed.reason, closed.is_clean()), (Reason::IdleTimeout, true), "{closed}");
}

#[test]
fn c06_what_was_discarded_behind_our_end_is_told_and_is_not_clean() {
    let probe = Probe::new().data(|_, input| {
        let _ = input.take(3);
        Action::Close
    });
    let peer = Script::new().may_end().send("bye").send(vec![7; 500]).expect_end().finish();
    let closed = end_of(Simulation::new(1), probe, peer);
    assert_eq!((closed.reason, closed.discarded, closed.peer_ended), (Reason::Closed, 500, true));
    assert!(!closed.is_clean() && closed.dropped == 0);
    assert_eq!(closed.to_string(), "closed, 500 bytes of input discarded");
}

#[test]
fn c03_what_a_handler_has_left_is_told_however_the_connection_ends() {
    type Ending = fn(&mut dyn Context) -> Action;
    let endings: [(Ending, Reason); 4] = [
        (|_| Action::Close, Reason::Closed),
        (|_| Action::Reset, Reason::Reset),
        (
            |cx| {
                cx.close(cx.id());
                Action::Continue
            },
            Reason::Closed,
        ),
        (|_| Action::Continue, Reason::Finished),
    ];
    for (ending, reason) in endings {
        let probe = Probe::new().data(move |cx, input| {
            let _ = input.take(1);
            ending(cx)
        });
        let closed =
            end_of(Simulation::new(1), probe, Script::new().may_end().send("12345").finish());
        let left = if reason == Reason::Finished { 4 } else { closed.discarded };
        assert_eq!((closed.reason, closed.discarded), (reason, left), "{closed:?}");
        assert!(closed.discarded >= 4 && !closed.is_clean(), "{closed:?}");
    }
}

#[test]
fn c07_a_handler_that_pauses_and_leaves_input_when_its_output_has_failed_is_told_the_end() {
    let probe = Probe::new()
        .opened(|cx| {
            cx.set_timer(0, Some(SECOND));
            Action::Pause
        })
        .timer(|cx, _| {
            assert_eq!(cx.send(b"?"), Sent::Gone);
            Action::Continue
        })
        .data(|_, _| Action::Pause);
    let simulation = failing(Call::Send, 1, Errno::PIPE);
    let peer = Script::new().may_end().send("last words").wait(5000 * SECOND);
    let closed = end_of(simulation, probe, peer);
    assert_eq!((closed.reason, closed.discarded), (Reason::Failed, 10), "{closed:?}");
}
