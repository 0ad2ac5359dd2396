//! Listeners that come and go while the loop runs.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use super::*;
use crate::mailbox::Handle;

const FIRST: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000);
const OTHER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000);

#[test]
fn a_callback_listens_and_is_heard_at_once() {
    for seed in 0..50 {
        let probe = Probe::new().opened(|cx| {
            if cx.local_address(cx.id()).expect("it is open") == FIRST.into() {
                assert_eq!(cx.listen(OTHER.into()).expect("it is free"), OTHER.into());
            }
            Action::Continue
        });
        let simulation = Simulation::new(seed)
            .expect_listener(OTHER)
            .peer(caller("first"))
            .peer(caller("other").connect_to(OTHER));
        assert_eq!(run(simulation, probe).metrics.accepted, 2);
    }
}

#[test]
fn a_loop_whose_listeners_are_gone_ends_with_its_last_connection() {
    for seed in 0..50 {
        let probe = Probe::new().opened(|cx| {
            assert!(cx.unlisten(&FIRST.into()));
            assert!(!cx.unlisten(&FIRST.into()), "it is gone");
            assert!(!cx.unlisten(&OTHER.into()), "it never was");
            Action::Continue
        });
        // Nobody stops it: the drain at the end of a run comes when all have left.
        let report = run(Simulation::new(seed).peer(caller("last")), probe);
        assert_eq!(report.metrics.accepted, 1);
        assert!(report.elapsed < SECOND, "it has not ended by itself: {:?}", report.elapsed);
    }
}

#[test]
fn c37_a_loop_that_stops_listens_no_more_and_says_so() {
    for stop in [Stop::Drain(None), Stop::Drain(Some(SECOND)), Stop::Now] {
        let said = Rc::new(RefCell::new(Vec::new()));
        let says = Rc::clone(&said);
        let probe = Probe::new().opened(move |cx| {
            cx.stop(stop);
            says.borrow_mut().push(cx.listen(OTHER.into()).expect_err("it stops").to_string());
            cx.set_timer(0, Some(SECOND / 2));
            Action::Continue
        });
        let says = Rc::clone(&said);
        let probe = probe.timer(move |cx, _| {
            says.borrow_mut().push(cx.listen(OTHER.into()).expect_err("it drains").to_string());
            Action::Close
        });
        let report = run(Simulation::new(1).peer(Script::new().may_end().expect_end()), probe);
        assert_eq!(report.metrics.accepted, 1);
        let said = said.borrow();
        assert_eq!(said.len(), if stop == Stop::Now { 1 } else { 2 });
        assert!(
            said.iter().all(|it| it == "cannot listen on 127.0.0.1:4000: the loop is stopping")
        );
    }
}

#[test]
fn c24_the_cap_follows_the_number_of_listeners_and_whoever_waits_for_it_is_let_in() {
    let opened = Rc::new(RefCell::new(Vec::new()));
    let opens = Rc::clone(&opened);
    let probe = Probe::new().opened(move |cx| {
        opens.borrow_mut().push(cx.now());
        cx.set_timer(0, Some(SECOND));
        Action::Continue
    });
    let probe = probe.timer(|cx, _| {
        cx.unlisten(&OTHER.into());
        Action::Continue
    });
    let patient = || {
        let script = Script::new().patience(20 * SECOND).send("a").expect("a");
        script.wait(9 * SECOND).finish().expect_end()
    };
    // Four descriptors are left: one connection beside two listeners, two beside one.
    let config = Config::new().pipes(0);
    let simulation = Simulation::new(1).config(config).descriptors(7).listen(FIRST).listen(OTHER);
    run(simulation.peer(patient()).peer(patient()), probe);
    let opened = opened.borrow();
    let waited = opened[1].since(opened[0]);
    assert!((SECOND..2 * SECOND).contains(&waited), "the second waited for {waited:?}");
}

#[test]
fn a_loop_that_runs_until_it_is_stopped_outlives_its_listeners_and_connections() {
    for (stays, listens_again) in [(false, false), (true, true)] {
        let probe = Probe::new().opened(move |cx| {
            if cx.local_address(cx.id()).expect("it is open") == FIRST.into() {
                assert!(cx.unlisten(&FIRST.into()));
            }
            Action::Continue
        });
        let heard = Rc::new(RefCell::new(false));
        let hears = Rc::clone(&heard);
        let probe = probe.notified(move |cx| {
            *hears.borrow_mut() = true;
            cx.listen(OTHER.into()).expect("it runs");
        });
        let simulation = Simulation::new(1).config(Config::new().until_stopped(stays));
        let simulation = simulation.expect_listener(OTHER).at(9 * SECOND, Handle::notify);
        let simulation = simulation.peer(caller("first"));
        let simulation = if listens_again {
            simulation.peer(caller("late").connect_to(OTHER))
        } else {
            simulation
        };
        let report = run(simulation, probe);
        assert_eq!((*heard.borrow(), report.metrics.accepted), (stays, 1 + u64::from(stays)));
    }
}

#[test]
fn c22_a_loop_that_runs_until_it_is_stopped_outlives_a_listener_that_fails() {
    let config = Config::new().until_stopped(true);
    let simulation = failing(Call::Accept, 1, Errno::INVAL).config(config);
    let report = run(simulation.peer(Script::new().may_end()), Probe::new());
    assert_eq!(report.handler.told("failed: Invalid argument"), 1);
}
