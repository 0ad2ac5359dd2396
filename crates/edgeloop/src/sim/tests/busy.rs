//! Connections that wait for something else than their peers.

use super::*;

/// For how long a connection is busy.
const WORK: Duration = Duration::from_secs(20);
const IDLE: Duration = Duration::from_secs(5);

/// Is busy from its first bytes on, and sends them back when the work is done.
fn works(then: impl Fn(&mut dyn Context) + 'static) -> Probe {
    Probe::new()
        .data(move |cx, input| {
            let _ = input.take_all();
            cx.set_busy(cx.id(), true);
            cx.set_timer(0, Some(WORK));
            then(cx);
            Action::Continue
        })
        .timer(|cx, _| {
            cx.set_busy(cx.id(), false);
            cx.send(b"done").or_reset()
        })
}

#[test]
fn c39_whoever_is_busy_is_not_idle_and_its_time_begins_behind_that() {
    let ended = Rc::new(RefCell::new(Duration::ZERO));
    let sees = Rc::clone(&ended);
    let peer = Script::new().send("work").expect("done").expect_end().finish();
    let config = Config::new().idle_timeout(Some(IDLE));
    let simulation = Simulation::new(1).calm().config(config).peer(peer);
    let simulation = simulation.trace(move |at, what| {
        if what.starts_with("shutdown(") {
            *sees.borrow_mut() = at;
        }
    });
    let report = run(simulation, works(|_| {}));
    assert_eq!(report.peers[0].reason(), Some(Reason::IdleTimeout));
    let ended = ended.take();
    assert!((WORK + IDLE..WORK + IDLE + SECOND).contains(&ended), "after {ended:?}");
}

#[test]
fn c37_a_loop_that_drains_waits_for_whoever_is_busy() {
    let peer = || Script::new().send("work").expect("done").expect_end().finish();
    let drains = |cx: &mut dyn Context| cx.stop(Stop::Drain(None));
    let report = run(Simulation::new(1).calm().peer(peer()), works(drains));
    assert_eq!(report.peers[0].reason(), Some(Reason::DrainQuiet));
    assert_eq!(report.metrics.cut_off, 0);
}

#[test]
fn c37_a_loop_that_drains_waits_for_whoever_is_busy_until_the_deadline() {
    let drains = |cx: &mut dyn Context| cx.stop(Stop::Drain(Some(WORK / 2)));
    let peer = Script::new().send("work").expect_reset();
    let report = run(Simulation::new(1).calm().peer(peer), works(drains));
    assert_eq!(report.peers[0].reason(), Some(Reason::CutOff));
    assert_eq!(report.metrics.cut_off, 1);
}

#[test]
fn c39_the_write_timeout_holds_for_whoever_is_busy() {
    let probe = Probe::new().opened(|cx| {
        cx.set_busy(cx.id(), true);
        assert_eq!(cx.send(&[7; 5000]), Sent::Queued);
        Action::Continue
    });
    let config = Config::new().idle_timeout(Some(IDLE)).write_timeout(Some(16 * SECOND));
    let peer = Script::new().may_end().wait(300 * SECOND);
    let simulation = Simulation::new(1).calm().buffers(1000..=1000).config(config).peer(peer);
    let report = run(simulation, probe);
    assert_eq!(report.handler.closed[0].reason, Reason::WriteTimeout);
}

#[test]
fn c46_neither_end_of_a_relay_is_idle_while_the_other_is_busy() {
    let service: SocketAddr = "10.0.0.1:80".parse().expect("an address");
    // The first that is opened is the client, the second what it is relayed to.
    let mut client = None;
    let probe = Probe::new()
        .opened(move |cx| {
            let Some(client) = client else {
                let upstream = cx.connect(service.into(), ()).expect("a socket");
                cx.relay(cx.id(), upstream);
                cx.relay(upstream, cx.id());
                client = Some(cx.id());
                return Action::Continue;
            };
            cx.set_busy(client, true);
            cx.set_timer_of(client, 0, Some(WORK));
            Action::Continue
        })
        .timer(|cx, _| {
            cx.set_busy(cx.id(), false);
            Action::Continue
        });
    let late = Script::new().wait(WORK - SECOND).send("late").expect_end().finish();
    let peer = Script::new().expect("late").expect_end().finish();
    let config = Config::new().idle_timeout(Some(IDLE));
    let simulation = Simulation::new(1).calm().config(config).peer(peer);
    run(simulation.service(service, move |_| late.clone()), probe);
}
