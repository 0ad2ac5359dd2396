//! The loop's wake-up, and outbound connections with several addresses.

use std::io;

use super::*;
use crate::api::target::Target;
use crate::api::time::Time;

/// What a test may take of simulated time beside what it waits for.
const SLACK: Duration = Duration::from_micros(100);

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, number], 80))
}

/// Wakes at the times that it is told, and notes when.
fn wakes(times: Vec<Duration>) -> (Probe, Rc<RefCell<Vec<Duration>>>) {
    let woken = Rc::new(RefCell::new(Vec::new()));
    let notes = Rc::clone(&woken);
    let mut left = times.into_iter();
    let probe = Probe::new().wake_up(move |cx| {
        notes.borrow_mut().push(cx.now().since(crate::sim::clock::START));
        let next = left.next().map(|after| crate::sim::clock::START.after(after));
        cx.wake_at(next);
    });
    (probe, woken)
}

#[test]
fn a_wake_up_comes_when_it_was_set_for() {
    for poll in [Duration::ZERO, Duration::from_micros(200)] {
        let (probe, woken) = wakes(vec![3 * SECOND, 3 * SECOND + SLACK, 7200 * SECOND]);
        let simulation = Simulation::new(1)
            .calm()
            .config(Config::new().busy_poll(poll))
            .wake_after(SECOND)
            .peer(Script::new().wait(8000 * SECOND));
        let report = run(simulation, probe);
        let expected = [SECOND, 3 * SECOND, 3 * SECOND + SLACK, 7200 * SECOND];
        for (woken, expected) in woken.take().into_iter().zip(expected) {
            assert!((expected..expected + SLACK).contains(&woken), "{woken:?} for {expected:?}");
        }
        let polled = report.metrics.turns > 300;
        assert_eq!(polled, !poll.is_zero(), "{} turns", report.metrics.turns);
    }
}

#[test]
fn a_drain_does_not_wait_for_a_wake_up() {
    let (probe, woken) = wakes(Vec::new());
    let simulation = Simulation::new(1).wake_after(3600 * SECOND).peer(caller("a caller"));
    let report = run(simulation, probe);
    assert!(report.elapsed < 60 * SECOND, "it took {:?}", report.elapsed);
    assert_eq!(woken.take(), []);
}

#[test]
fn an_address_that_can_not_be_begun_with_is_passed_over() {
    // Nobody is there; and whoever comes from this source is of another family.
    let other: SocketAddr = "[2001:db8::1]:80".parse().expect("an address");
    let from: SocketAddr = "10.0.0.9:5".parse().expect("an address");
    let target = Target::new(address(1)).or(other).or(address(2)).bind(from);
    let seen = Rc::new(RefCell::new(None));
    let sees = Rc::clone(&seen);
    let probe = Probe::new().opened(move |cx| {
        let id = cx.id();
        *sees.borrow_mut() = Some((cx.local_address(id).ok(), cx.peer_address(id).ok()));
        Action::Close
    });
    let simulation = Simulation::new(1).service(address(2), |_| Script::new().expect_end().close());
    let report = simulation.run_with(probe, |start| start.connect(target, ()));
    let report = report.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(seen.take(), Some((Some(from.into()), Some(address(2).into()))));
    assert_eq!((report.metrics.connected, report.metrics.closed), (1, 1));
}

#[test]
fn what_can_be_begun_with_nowhere_is_an_error_that_names_each_address() {
    let probe = Probe::new().opened(|cx| {
        let target = Target::new(address(1)).or(address(2));
        let error = cx.connect(target, ()).expect_err("nobody is there").to_string();
        let each =
            "cannot connect to 10.0.0.1:80 (Connection refused (os error 111)), 10.0.0.2:80: ";
        assert!(error.starts_with(each), "{error}");
        Action::Continue
    });
    run(Simulation::new(1).peer(caller("a caller")), probe);
}

#[test]
fn whoever_is_gone_has_no_address_and_asking_is_counted() {
    let mut gone = None;
    let probe = Probe::new().data(move |cx, input| {
        if let Some(gone) = gone.replace(cx.id()) {
            let error = cx.peer_address(gone).expect_err("it is gone");
            assert_eq!(error.kind(), io::ErrorKind::NotConnected);
            assert!(cx.local_address(gone).is_err());
        }
        cx.send(input.take_all()).or_reset()
    });
    let late = Script::new().connect_after(60 * SECOND).send("x").expect("x").finish().expect_end();
    let simulation = Simulation::new(1).calm().buffers(100..=100);
    let report = run(simulation.peer(caller("a caller")).peer(late), probe);
    assert_eq!(report.metrics.stale, 2);
}

#[test]
fn the_clock_within_a_turn_never_runs_back() {
    let probe = Probe::new().data(|cx, input| {
        let clock = cx.clock();
        assert!(clock >= cx.now() && clock < Time::NEVER);
        cx.send(input.take_all()).or_reset()
    });
    run(Simulation::new(1).peer(caller("a caller")), probe);
}
