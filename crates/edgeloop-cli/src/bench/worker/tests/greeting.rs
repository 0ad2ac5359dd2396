//! Services that speak first.

use std::time::Duration;

use edgeloop::sim::{Faults, Script, check};

use super::closing::exchanges;
use super::{MILLI, SECOND, expect_same, message, open_loop, run, server, times, world};
use crate::bench::course::End;
use crate::bench::errors::Class;
use crate::bench::exchange::asked::greeting;
use crate::bench::plan::tests::plan;
use crate::bench::plan::{Extent, Plan};
use crate::bench::verdict::Wrong;

/// Two lines come first on each connection.
fn greeted(plan: Plan) -> Plan {
    let greeting = Some(greeting("lines:2").expect("a framing"));
    let exchanges = exchanges("HELO\\n", "lines:1", &["OK\\n"]);
    Plan { greeting, exchanges, ..plan }
}

fn numbered(messages: u64) -> Plan {
    let extent = Extent { duration: None, messages: Some(messages), ..plan().extent };
    Plan { extent, ..plan() }
}

/// Says two lines, one after the other, and then answers.
fn greets(after: Duration, count: usize) -> Script {
    let greets = Script::new().may_end().send(*b"220 a\n22").wait(after).send(*b"0 b\n");
    answers(greets, count)
}

fn answers(script: Script, count: usize) -> Script {
    (0..count).fold(script, |script, _| script.receive(5).wait(MILLI).send(*b"OK\n"))
}

#[test]
fn a_greeting_is_a_part_of_opening_the_connection_and_of_no_message() {
    let simulation = world().service(server(), |_| greets(300 * MILLI, 100));
    let ran = run(simulation, &greeted(open_loop(100.0).lasting(SECOND)));
    expect_same(&ran.measured.latency, &times((0..100).map(|_| MILLI)));
    assert_eq!((ran.measured.counts.messages, ran.errors()), (100, vec![]));
    assert_eq!((ran.outcome.verdict.checked, ran.outcome.verdict.is_clean()), (300, true));
    // It was made before the measured time.
    assert_eq!((ran.outcome.before.connects, ran.outcome.before.verdict.checked), (1, 0));
    // With a connection for each message, that is a part of it.
    let simulation = world().service(server(), |_| greets(30 * MILLI, 1));
    let ran = run(simulation, &greeted(Plan { connects: true, ..numbered(20) }));
    expect_same(&ran.measured.latency, &times((0..20).map(|_| 31 * MILLI)));
    expect_same(&ran.measured.connect, &times((0..20).map(|_| 30 * MILLI)));
    assert_eq!((ran.outcome.verdict.checked, ran.outcome.verdict.is_clean()), (60, true));
}

#[test]
fn a_greeting_that_never_comes_is_an_error_of_its_own_after_the_time_of_a_connect() {
    let mute = || answers(Script::new().may_end().send(*b"220 a\n").wait(15 * SECOND), 1);
    let simulation = world().service(server(), move |_| mute());
    let ran = run(simulation, &greeted(plan()));
    assert_eq!((ran.outcome.end, ran.errors()), (End::NoConnection, vec![(Class::NoGreeting, 1)]));
    assert!(ran.outcome.verdict.is_clean() && ran.outcome.before.verdict.is_clean());
    // The others go on; each fails for itself.
    let simulation = world().service(server(), move |number| match number {
        1 => mute(),
        _ => greets(MILLI, 1),
    });
    let plan = Plan { connects: true, connect_timeout: Some(2 * SECOND), ..numbered(10) };
    let ran = run(simulation, &greeted(plan));
    assert_eq!((ran.measured.counts.messages, ran.measured.counts.unanswered), (9, 1));
    assert_eq!(ran.errors(), [(Class::NoGreeting, 1)]);
    let waited = ran.measured.latency.max().expect("some").nanos;
    assert!((2_000_000_000..2_100_000_000).contains(&waited), "{waited}");
}

#[test]
fn an_end_or_a_reset_before_the_greeting_is_an_error_and_no_answer() {
    for class in [Class::ClosedEarly, Class::Reset] {
        let begins = || Script::new().send(*b"220").wait(MILLI);
        let script = move |number| match (number, class) {
            (1, Class::Reset) => begins().reset(),
            (1, _) => begins().finish(),
            _ => greets(MILLI, 1),
        };
        let simulation = world().service(server(), script);
        let ran = run(simulation, &greeted(Plan { connects: true, ..numbered(10) }));
        assert_eq!((ran.measured.counts.messages, ran.measured.counts.unanswered), (9, 1));
        assert_eq!((ran.errors(), ran.outcome.verdict.is_clean()), (vec![(class, 1)], true));
    }
}

#[test]
fn what_comes_behind_the_greeting_is_too_much_and_no_reply() {
    for connects in [false, true] {
        let script = || answers(Script::new().may_end().send(*b"220 a\n220 b\n220 c\n"), 5);
        let simulation = world().service(server(), move |_| script());
        let ran = run(simulation, &greeted(Plan { connects, ..numbered(5) }));
        assert_eq!(ran.measured.counts.messages, 5);
        let verdict = if connects { &ran.outcome.verdict } else { &ran.outcome.before.verdict };
        let connections = if connects { 5 } else { 1 };
        assert_eq!((verdict.surplus, verdict.greeting), (6 * connections, 6 * connections));
        assert_eq!((verdict.wrong_replies, verdict.findings[0].wrong), (0, Wrong::Greeting));
    }
}

#[test]
fn behind_a_greeting_a_service_may_say_all_unasked_and_close() {
    for (says, answered) in [(&b"220 a\n220 b\nnoon\n"[..], 5), (b"220 a\n", 0)] {
        let simulation = world().service(server(), move |_| Script::new().send(says).finish());
        let exchanges = exchanges("", "close", &["noon\\n"]);
        let plan = Plan { exchanges, connects: true, size: 0, ..greeted(numbered(5)) };
        let ran = run(simulation, &plan);
        let (counts, verdict) = (&ran.measured.counts, &ran.outcome.verdict);
        assert_eq!((counts.messages, counts.unanswered), (answered, 5 - answered));
        assert_eq!((verdict.checked, verdict.surplus), (5 * answered, 0), "{verdict:?}");
        assert_eq!((verdict.empty_replies, verdict.wrong_replies), (0, 0));
    }
}

#[test]
fn a_greeting_that_was_not_asked_for_is_told_as_one_also_by_an_echo() {
    let echoes = |greeting: &'static [u8]| {
        (0..5).fold(Script::new().may_end().send(greeting), |script, number| {
            script.receive(64).send(message(0, number))
        })
    };
    let simulation = world().service(server(), move |_| echoes(b"220 a\n"));
    let ran = run(simulation, &numbered(5));
    let verdict = &ran.outcome.before.verdict;
    assert_eq!((verdict.surplus, verdict.greeting), (6, 6));
    assert_eq!(verdict.told(), ["connection 0, offset 0: 6 bytes came before anything was sent"]);
    assert_eq!((ran.measured.counts.messages, ran.outcome.verdict.is_clean()), (5, true));
}

#[test]
fn a_greeting_that_passes_for_the_reply_leaves_one_too_many() {
    for connects in [false, true] {
        // It comes when the first message is under way.
        let script = || answers(Script::new().may_end().receive(5).send(*b"220\n"), 0);
        let late = move || {
            (0..5).fold(script().wait(MILLI).send(*b"OK\n"), |script, _| {
                script.receive(5).wait(MILLI).send(*b"OK\n")
            })
        };
        let simulation = world().service(server(), move |_| late());
        let exchanges = exchanges("HELO\\n", "lines:1", &[]);
        let plan = Plan { exchanges, connects, verifies: false, ..numbered(5) };
        let ran = run(simulation, &plan);
        let verdict = &ran.outcome.verdict;
        assert_eq!(ran.measured.counts.messages, 5);
        assert_eq!((verdict.surplus, verdict.greeting), (if connects { 15 } else { 3 }, 0));
    }
}

#[test]
fn no_fault_of_the_kernel_or_the_network_makes_a_reply_of_a_greeting() {
    check(0..200, |simulation| {
        let simulation = simulation
            .faults(Faults::passing().breaking(5))
            .service(server(), |_| greets(5 * MILLI, 300));
        let ran = run(simulation, &greeted(open_loop(200.0).lasting(SECOND)));
        let verdicts = [&ran.outcome.verdict, &ran.outcome.before.verdict];
        assert!(verdicts.iter().all(|verdict| verdict.is_clean()), "{verdicts:?}");
        if ran.outcome.end == End::Whole {
            let counts = &ran.measured.counts;
            assert_eq!(counts.messages + counts.unanswered, 200);
        }
        Ok(())
    });
}
