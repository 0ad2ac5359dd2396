//! The bounded spin: when it is done, when it ends, and when it is given up.

use super::*;
use crate::api::metrics::Metrics;

const SPIN: Duration = Duration::from_micros(50);

/// What the server's side of a run is seen to do: its polls and sleeps that brought nothing or
/// something are told by its metrics alone, so that each is a turn.
fn spinning(peers: impl IntoIterator<Item = Script>, spin: Duration) -> Metrics {
    let simulation = Simulation::new(1).calm().buffers(1000..=1000);
    let simulation = simulation.config(Config::new().spin(spin));
    let simulation = peers.into_iter().fold(simulation, Simulation::peer);
    run(simulation, Probe::new()).metrics
}

/// Says something so many times, with a pause between them.
fn talks(times: usize, pause: Duration) -> Script {
    let says = |script: Script, _| script.send("x").expect("x").wait(pause);
    (0..times).fold(Script::new(), says).finish().expect_end()
}

#[test]
fn without_it_a_loop_never_polls() {
    let metrics = spinning([talks(10, SECOND)], Duration::ZERO);
    assert_eq!((metrics.spins, metrics.spins_paid), (0, 0));
    assert!(metrics.turns < 100, "{metrics:?}");
}

#[test]
fn c31_a_spin_ends_by_its_bound_and_then_the_loop_sleeps() {
    let metrics = spinning([talks(1, 3600 * SECOND)], SPIN);
    // A poll in vain takes a microsecond of simulated time, and an hour of them would be some more.
    let polls = u64::try_from(SPIN.as_micros()).expect("few");
    assert!((polls..4 * polls + 20).contains(&metrics.turns), "{metrics:?}");
    assert!((1..=4).contains(&metrics.spins), "{metrics:?}");
}

#[test]
fn c31_a_wake_up_by_which_nothing_moves_is_not_followed_by_a_spin() {
    let rings = |spin| {
        let config = Config::new().spin(spin).idle_timeout(Some(7200 * SECOND));
        let woken = Rc::new(RefCell::new(0));
        let counts = Rc::clone(&woken);
        let probe = Probe::new().wake_up(move |cx| {
            *counts.borrow_mut() += 1;
            let next = cx.now().after(SECOND);
            cx.wake_at((*counts.borrow() < 1000).then_some(next));
        });
        let simulation = Simulation::new(1).calm().config(config).wake_after(SECOND);
        let metrics = run(simulation.peer(Script::new().wait(3600 * SECOND)), probe).metrics;
        assert_eq!(woken.take(), 1000);
        metrics
    };
    let (off, on) = (rings(Duration::ZERO), rings(SPIN));
    assert!(on.spins <= 3 && on.turns <= off.turns + 3 * 60, "{on:?} and {off:?}");
}

#[test]
fn what_comes_during_a_spin_is_served_without_a_sleep() {
    let metrics = spinning([talks(100, Duration::from_micros(20))], SPIN);
    assert!(metrics.spins >= 100, "{metrics:?}");
    // The last ones, when it leaves, and before it speaks, may find nothing.
    assert!(metrics.spins_paid + 3 >= metrics.spins, "{metrics:?}");
}

#[test]
fn a_spin_that_does_not_pay_is_done_less_and_less_often() {
    let metrics = spinning([talks(300, SECOND)], SPIN);
    assert!((9..=16).contains(&metrics.spins), "{metrics:?}");
    assert!(metrics.spins_paid <= 4, "{metrics:?}");
}

#[test]
fn a_spin_that_pays_again_is_done_each_time_again() {
    let pauses = |script, times, pause| {
        (0..times).fold(script, |script: Script, _| script.send("x").expect("x").wait(pause))
    };
    let script = pauses(Script::new(), 300, SECOND);
    let script = pauses(script, 300, Duration::from_micros(20));
    let metrics = spinning([script.finish().expect_end()], SPIN);
    // One of 64 chances is taken even then, and from it on all are.
    assert!(metrics.spins_paid >= 300 - 64, "{metrics:?}");
}

#[test]
fn letters_and_stops_of_other_threads_end_a_spin() {
    let config = || Config::new().spin(Duration::from_millis(2));
    let target = Rc::new(RefCell::new(None));
    let (opened, asked) = (Rc::clone(&target), Rc::clone(&target));
    let probe = Probe::new().opened(move |cx| {
        opened.borrow_mut().replace(cx.id());
        Action::Continue
    });
    let script = Script::new().patience(Duration::from_micros(1500)).expect("mail").finish();
    let simulation = Simulation::new(1).calm().buffers(1000..=1000).config(config());
    let simulation = simulation.at(Duration::from_micros(500), move |handle| {
        let id = asked.borrow().expect("it was opened");
        handle.send(id, *b"mail").expect("room");
    });
    let metrics = run(simulation.peer(script.expect_end()), probe).metrics;
    assert!(metrics.spins_paid >= 1, "{metrics:?}");
    let simulation = Simulation::new(1).calm().config(config());
    let simulation = simulation.at(Duration::from_micros(500), |handle| handle.stop(Stop::Now));
    let report = run(simulation.peer(Script::new().may_end().wait(SECOND)), Probe::new());
    assert_eq!(report.handler.closed[0].reason, Reason::CutOff);
}

#[test]
fn a_timer_that_rings_during_a_spin_is_on_time() {
    let rang = Rc::new(RefCell::new(Duration::ZERO));
    let rings = Rc::clone(&rang);
    let probe = Probe::new().wake_up(move |cx| {
        *rings.borrow_mut() = cx.now().since(crate::sim::clock::START);
    });
    let after = Duration::from_micros(1200);
    let config = Config::new().spin(Duration::from_micros(1900));
    let simulation = Simulation::new(1).calm().config(config).wake_after(after);
    run(simulation.peer(Script::new().wait(SECOND)), probe);
    assert!((after..after + SPIN).contains(&rang.take()));
}
