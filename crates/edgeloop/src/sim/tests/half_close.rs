//! A handler ends its own stream and goes on reading, or resets behind what it owes (C44).

use super::*;

/// Every way in which a callback can end its stream after it has sent something.
fn says_and_finishes(cx: &mut dyn Context, input: &mut Input<'_>) -> Action {
    if cx.send(b"") == Sent::Gone {
        let _ = input.take_all();
        return Action::Continue;
    }
    let _ = input.take_all();
    assert!(cx.send(b"that is").is_accepted() && cx.send(b" all").is_accepted());
    Action::Finish
}

#[test]
fn c44_the_peer_gets_all_and_then_the_end_and_is_read_on() {
    let heard = Rc::new(RefCell::new(Vec::new()));
    let hears = Rc::clone(&heard);
    let peer = Script::new()
        .send("say")
        .expect("that is all")
        .expect_end()
        .send("and ")
        .wait(SECOND)
        .send("more")
        .finish();
    let probe = Probe::new().data(move |cx, input| {
        hears.borrow_mut().extend_from_slice(input);
        says_and_finishes(cx, input)
    });
    let report = run(Simulation::new(1).peer(peer), probe);
    assert_eq!(heard.take(), b"sayand more");
    let [closed] = &report.handler.closed[..] else { panic!("one end") };
    assert!(closed.is_clean() && closed.reason == Reason::Finished, "{closed:?}");
}

#[test]
fn c44_nothing_can_be_sent_behind_our_own_end() {
    let probe = Probe::new().data(|cx, input| {
        if input.take_until(b"y", 10) == Ok(None) {
            return Action::Continue;
        }
        assert!(cx.send(b"last").is_accepted());
        cx.finish(cx.id());
        assert_eq!((cx.send(b"more"), cx.send_to(cx.id(), b"more")), (Sent::Gone, Sent::Gone));
        cx.finish(cx.id());
        Action::Finish
    });
    let peer = Script::new().send("say").expect("last").expect_end().finish();
    let report = run(Simulation::new(1).calm().peer(peer), probe);
    assert_eq!((report.handler.closed[0].dropped, report.metrics.bytes_out), (0, 4));
}

#[test]
fn c44_the_end_comes_behind_all_that_waits_for_a_slow_reader() {
    let all = vec![b'x'; 30_000];
    let sends = all.clone();
    let probe = Probe::new().data(move |cx, input| {
        if input.take_all() == b"x" {
            return Action::Continue;
        }
        assert!(cx.send(&sends).is_accepted());
        Action::Finish
    });
    let peer = Script::new().send("say").wait(SECOND).expect(all).expect_end().send("x").finish();
    let simulation = Simulation::new(1).calm().buffers(1000..=1000).peer(peer);
    let report = run(simulation, probe);
    assert!(report.handler.closed[0].is_clean(), "{:?}", report.handler.closed);
}

#[test]
fn c44_where_the_peer_has_ended_first_our_end_is_that_of_the_connection() {
    let mut probe = Probe::new().data(|cx, input| {
        cx.set_timer(0, Some(SECOND));
        let _ = input.take_all();
        Action::Continue
    });
    probe.stays = true;
    let probe = probe.timer(|cx, _| {
        assert!(cx.send(b"late").is_accepted());
        Action::Finish
    });
    let peer = Script::new().send("say").finish().expect("late").expect_end();
    let report = run(Simulation::new(1).peer(peer), probe);
    assert!(report.handler.closed[0].is_clean(), "{:?}", report.handler.closed);
}

#[test]
fn c44_a_handler_that_stays_behind_both_ends_is_told_the_end_of_the_connection() {
    let mut probe = Probe::new().data(says_and_finishes);
    // Its answer to the peer's end is to go on.
    probe.stays = true;
    let peer = Script::new().send("say").expect("that is all").expect_end().finish();
    let report = run(Simulation::new(1).peer(peer), probe);
    assert!(report.handler.closed[0].is_clean(), "{:?}", report.handler.closed);
}

#[test]
fn c44_whoever_is_read_on_and_says_nothing_is_idle_in_the_end() {
    let config = Config::new().idle_timeout(Some(5 * SECOND));
    let peer =
        Script::new().may_end().send("say").expect("that is all").expect_end().wait(100 * SECOND);
    let simulation = Simulation::new(1).config(config).peer(peer);
    let report = run(simulation, Probe::new().data(says_and_finishes));
    assert_eq!(report.handler.closed[0].reason, Reason::IdleTimeout);
}

#[test]
fn c44_a_reset_behind_what_is_owed_comes_when_the_kernel_has_all_of_it() {
    let all = vec![b'x'; 5000];
    let sends = all.clone();
    let probe = Probe::new().data(move |cx, input| {
        let _ = input.take_all();
        assert!(cx.send(&sends).is_accepted());
        Action::FlushThenReset
    });
    // What the kernel still holds is lost by the reset: no more than its buffers.
    let peer = Script::new().may_end().send("say").wait(SECOND).expect(&all[..3000]).receive(2000);
    let simulation = Simulation::new(1).calm().buffers(1000..=1000).peer(peer);
    let report = run(simulation, probe);
    let closed = &report.handler.closed[0];
    assert_eq!((closed.reason, closed.dropped), (Reason::Reset, 0), "{closed:?}");
    assert_eq!(report.metrics.bytes_out, 5000);
}

#[test]
fn c44_a_connection_can_be_finished_before_it_is_made() {
    let address = SocketAddr::from(([127, 0, 0, 9], 7000));
    let heard = Rc::new(RefCell::new(Vec::new()));
    let hears = Rc::clone(&heard);
    let service = Script::new().expect("question").expect_end().send("answer").finish();
    let simulation = Simulation::new(1).service(address, move |_| service.clone());
    let simulation = simulation.peer(Script::new().wait(10 * SECOND).finish().expect_end());
    let mut asked = false;
    let probe = Probe::new()
        .data(move |_, input| {
            hears.borrow_mut().extend_from_slice(input.take_all());
            Action::Continue
        })
        .wake_up(move |cx| {
            if !std::mem::replace(&mut asked, true) {
                let id = cx.connect(address.into(), ()).expect("it can be tried");
                assert!(cx.send_to(id, b"question").is_accepted());
                cx.finish(id);
                assert_eq!(cx.send_to(id, b"more"), Sent::Gone);
            }
        });
    let report = run(simulation.wake_after(SECOND), probe);
    assert_eq!(heard.take(), b"answer");
    assert!(report.handler.closed[0].is_clean(), "{:?}", report.handler.closed);
}
