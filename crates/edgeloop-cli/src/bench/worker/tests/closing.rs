//! Replies that end with their connection, whose length only its FIN tells.

use std::sync::Arc;

use edgeloop::sim::{Faults, Script, check};

use super::{MILLI, Ran, SECOND, expect_same, open_loop, run, server, times, world};
use crate::bench::args::BenchArgs;
use crate::bench::course::End;
use crate::bench::errors::Class;
use crate::bench::exchange::Exchanges;
use crate::bench::exchange::asked::Asked;
use crate::bench::plan::tests::plan;
use crate::bench::plan::{Extent, Plan};

/// One message, and what its reply must be.
pub(super) fn exchanges(send: &str, reply: &str, expected: &[&str]) -> Option<Arc<Exchanges>> {
    let args = BenchArgs {
        address: vec!["10.0.0.1:7".into()],
        send: vec![send.into()],
        reply: vec![reply.into()],
        expect: expected.iter().map(Into::into).collect(),
        ..BenchArgs::default()
    };
    let asked = Asked::resolve(&args).unwrap_or_else(|failure| panic!("{}", failure.line));
    let loaded = asked.expect("some").load(!expected.is_empty());
    let (exchanges, _) = loaded.unwrap_or_else(|failure| panic!("{}", failure.line));
    Some(Arc::new(exchanges))
}

/// Each message has a connection, whose end is that of the reply.
fn closing(plan: Plan, expected: &[&str]) -> Plan {
    let exchanges = exchanges("GET\\n", "close", expected);
    Plan { exchanges, connects: true, verifies: !expected.is_empty(), ..plan }
}

fn numbered(messages: u64) -> Plan {
    let extent = Extent { duration: None, messages: Some(messages), ..plan().extent };
    Plan { extent, ..plan() }
}

/// Answers in two parts, and then ends its stream.
fn page() -> Script {
    Script::new().receive(4).send(*b"pa").wait(MILLI).send(*b"ge").wait(9 * MILLI).finish()
}

#[track_caller]
fn expect_answered(ran: &Ran, answered: u64, unanswered: u64) {
    let counts = &ran.measured.counts;
    assert_eq!((counts.messages, counts.unanswered), (answered, unanswered), "{counts:?}");
}

#[test]
fn the_latency_of_a_reply_that_ends_with_its_connection_ends_with_the_fin() {
    for plan in [numbered(30), open_loop(10.0).lasting(3 * SECOND)] {
        let simulation = world().service(server(), |_| page());
        let ran = run(simulation, &closing(plan, &["page"]));
        expect_answered(&ran, 30, 0);
        expect_same(&ran.measured.latency, &times((0..30).map(|_| 10 * MILLI)));
        assert_eq!((ran.errors(), ran.outcome.verdict.checked), (vec![], 120));
        assert!(ran.outcome.verdict.is_clean(), "{:?}", ran.outcome.verdict);
        assert_eq!((ran.measured.counts.reopened, ran.outcome.verdict.empty_replies), (0, 0));
        assert_eq!(ran.measured.connect.samples(), 30);
    }
}

#[test]
fn a_reset_in_place_of_the_fin_is_never_an_answer() {
    let resets = |number| match number % 2 {
        0 => page(),
        _ => Script::new().receive(4).send(*b"page").wait(5 * MILLI).reset(),
    };
    let simulation = world().service(server(), resets);
    let ran = run(simulation, &closing(numbered(20), &["page"]));
    expect_answered(&ran, 10, 10);
    assert_eq!(ran.errors(), [(Class::Reset, 10)]);
    assert!(ran.outcome.verdict.is_clean(), "{:?}", ran.outcome.verdict);
}

#[test]
fn a_fin_in_the_middle_of_what_is_expected_lacks_the_rest() {
    let simulation = world().service(server(), |number| match number {
        3 => Script::new().receive(4).send(*b"pa").finish(),
        _ => page(),
    });
    let ran = run(simulation, &closing(numbered(5), &["page"]));
    expect_answered(&ran, 5, 0);
    let verdict = &ran.outcome.verdict;
    assert_eq!((verdict.missing, verdict.wrong_replies, verdict.mismatched), (2, 1, 0));
}

#[test]
fn a_fin_before_the_message_is_sent_is_no_reply() {
    // The message is longer than what the other end takes before it closes.
    let long = "x".repeat(1_000_000);
    let simulation = world().service(server(), |_| Script::new().may_end().finish().wait(SECOND));
    let plan = closing(numbered(1), &[]);
    let plan = Plan { exchanges: exchanges(&long, "close", &[]), ..plan };
    let ran = run(simulation, &plan);
    expect_answered(&ran, 0, 1);
    assert_eq!(ran.errors(), [(Class::ClosedEarly, 1)]);
}

#[test]
fn empty_replies_are_counted_and_so_is_an_answer_to_nothing() {
    let simulation = world().service(server(), |_| Script::new().receive(4).finish());
    let ran = run(simulation, &closing(numbered(5), &[]));
    expect_answered(&ran, 5, 0);
    assert_eq!((ran.outcome.verdict.empty_replies, ran.errors()), (5, vec![]));
    // Nothing is sent, and nothing is taken for a greeting.
    let simulation =
        world().service(server(), |_| Script::new().wait(MILLI).send(*b"noon\n").close());
    let plan = closing(numbered(5), &["noon\\n"]);
    let exchanges = exchanges("", "close", &["noon\\n"]);
    let ran = run(simulation, &Plan { exchanges, size: 0, ..plan });
    expect_answered(&ran, 5, 0);
    let verdict = &ran.outcome.verdict;
    assert_eq!((verdict.checked, verdict.greeting, verdict.is_clean()), (25, 0, true));
    assert_eq!((ran.measured.counts.bytes_sent, ran.errors()), (0, vec![]));
}

#[test]
fn a_reply_that_never_ends_is_unanswered_however_much_of_it_came() {
    let simulation = world().service(server(), |_| {
        Script::new().may_end().receive(4).send(*b"page").wait(1000 * SECOND)
    });
    let ran = run(simulation, &closing(plan().lasting(SECOND), &["page"]));
    expect_answered(&ran, 0, 1);
    assert!(ran.outcome.verdict.is_clean(), "{:?}", ran.outcome.verdict);
}

#[test]
fn no_fault_of_the_kernel_or_the_network_makes_an_answer_of_an_error() {
    check(0..200, |simulation| {
        let simulation = simulation
            .faults(Faults::passing().breaking(5))
            .service(server(), |_| page().may_end());
        let ran = run(simulation, &closing(open_loop(200.0).lasting(SECOND), &["page"]));
        if ran.outcome.end == End::Whole {
            let counts = &ran.measured.counts;
            assert_eq!(counts.messages + counts.unanswered, 200);
            assert!(ran.outcome.verdict.is_clean(), "{:?}", ran.outcome.verdict);
        }
        Ok(())
    });
}
