//! What a seed decides: the whole run, what a failure is made of, and what it can't decide.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use edgeloop::sim::{Faults, Script, Simulation, check, try_check};
use edgeloop::{Action, Context, Handler, Input, Origin};

struct Echo;

impl Handler for Echo {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        cx.send(input.take_all()).or_reset()
    }
}

fn trace(seed: u64) -> Vec<(Duration, String)> {
    let lines = Rc::new(RefCell::new(Vec::new()));
    let follower = Rc::clone(&lines);
    Simulation::new(seed)
        .faults(Faults::passing())
        .peer(Script::new().name("alice").send([1; 500]).expect([1; 500]))
        .peer(Script::new().name("bob").send([2; 500]).expect([2; 500]))
        .trace(move |at, what| follower.borrow_mut().push((at, what.to_owned())))
        .run(Echo)
        .expect("an echo");
    lines.take()
}

#[test]
fn the_same_seed_is_the_same_run_to_the_last_line() {
    for seed in 0..20 {
        assert_eq!(trace(seed), trace(seed));
    }
    assert_ne!(trace(1), trace(2));
}

#[test]
fn a_trace_tells_what_peers_callbacks_and_calls_do() {
    let lines = trace(1);
    for words in
        ["alice sends", "bob receives", "data of alice (", "closed of bob (", "recv(", "epoll_wait"]
    {
        assert!(lines.iter().any(|(_, what)| what.contains(words)), "nothing says {words:?}");
    }
}

#[test]
fn an_assertion_that_fails_is_made_small_too() {
    let failure = try_check(0..100, |simulation| {
        let script = Script::new().send("hello").expect("hello");
        let report = simulation.faults(Faults::passing()).peer(script).run(Echo)?;
        let short = report.faults.iter().any(|fault| fault.kind() == "send: cut short");
        assert!(!short, "a send was cut short");
        Ok(())
    })
    .expect_err("one is");
    assert_eq!(failure.what, "the test panicked: a send was cut short");
    assert_eq!(failure.faults.len(), 1, "{failure}");
}

#[test]
fn leaving_faults_out_leaves_the_rest_of_the_run_as_it_was() {
    // The second byte is wrong in every run, and no fault is to blame for that.
    let failure = try_check(0..1, |simulation| {
        let faults = Faults::passing();
        simulation.faults(faults).peer(Script::new().send("ab").expect("ax")).run(Echo).map(drop)
    })
    .expect_err("it is wrong");
    assert!(failure.faults.is_empty(), "{failure}");
}

#[test]
fn a_test_that_its_seed_does_not_decide_is_told_so() {
    let runs = Cell::new(0);
    let failure = try_check(0..1, |simulation| {
        runs.set(runs.get() + 1);
        simulation.peer(Script::new().send("a").expect("a")).run(Echo)?;
        assert!(runs.get() > 1, "run {}", runs.get());
        Ok(())
    })
    .expect_err("the first run fails");
    let message = failure.to_string();
    assert!(
        message.contains("a second run of this seed went another way: did not fail"),
        "{message}"
    );
}

#[test]
fn a_check_panics_with_the_whole_message() {
    let panicked = std::panic::catch_unwind(|| {
        check(3..5, |simulation| {
            simulation.peer(Script::new().name("carol").send("a").expect("b")).run(Echo).map(drop)
        });
    });
    let payload = panicked.expect_err("it fails");
    let message = payload.downcast_ref::<String>().expect("a message");
    assert!(message.starts_with("seed 3, after "), "{message}");
    assert!(message.contains("carol, step 2 of 2: expects \"b\", got \"a\""), "{message}");
}
