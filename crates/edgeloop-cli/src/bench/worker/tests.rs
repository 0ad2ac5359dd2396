//! The worker on the simulated kernel: there time is exact, and every answer comes when it is told
//! to.

mod closing;
mod greeting;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use edgeloop::sim::{Faults, Script, Simulation, check};

use super::Worker;
use crate::bench::args::BenchArgs;
use crate::bench::course::{End, Outcome, Part as _};
use crate::bench::errors::Class;
use crate::bench::exchange::Exchanges;
use crate::bench::exchange::asked::Asked;
use crate::bench::gate::Gate;
use crate::bench::payload::Payload;
use crate::bench::plan::tests::plan;
use crate::bench::plan::{Extent, Load, Plan};
use crate::bench::profile::Profile;
use crate::bench::record::Measured;
use crate::bench::run::settings;
use crate::bench::schedule::Arrival;
use crate::bench::verdict::Wrong;
use crate::results::Times;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const SIZE: usize = 64;

/// What a run came to.
struct Ran {
    outcome: Outcome,
    measured: Measured,
    /// Messages of each second.
    seconds: Vec<u64>,
}

impl Ran {
    fn quantile(&self, quantile: f64) -> Duration {
        let estimate = self.measured.latency.quantile(quantile).expect("enough samples");
        Duration::from_nanos(estimate.nanos)
    }

    fn errors(&self) -> Vec<(Class, u64)> {
        self.measured.counts.errors.met().collect()
    }
}

fn server() -> SocketAddr {
    plan().addresses[0].as_tcp().expect("TCP")
}

/// This run, in this world.
fn run(simulation: Simulation, plan: &Plan) -> Ran {
    let ticks = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&ticks);
    let [share] = &plan.shares()[..] else { panic!("a simulation has one thread") };
    let tell = move |_, measured: &mut Measured| {
        told.lock().expect("no panic").push(std::mem::take(measured));
    };
    let worker = Worker::new(share.clone(), Arc::new(Gate::new(1)), Box::new(tell));
    let report = simulation
        .config(settings(share))
        .at(Duration::ZERO, edgeloop::Handle::notify)
        // Or a simulation ends with its last peer.
        .at(10_000 * SECOND, |_| {})
        .run(worker)
        .unwrap_or_else(|failure| panic!("{failure}"));
    let outcome = report.handler.into_outcome();
    let (mut measured, mut seconds) = (Measured::default(), Vec::new());
    for told in ticks.lock().expect("no panic").drain(..) {
        seconds.push(told.counts.messages);
        measured.add(&told);
    }
    Ran { outcome, measured, seconds }
}

/// A world in which everything arrives at once, and the services say when they answer.
fn world() -> Simulation {
    Simulation::new(1).calm().buffers(100_000..=100_000)
}

/// The messages of a connection, one after the other.
fn message(stream: u64, number: usize) -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    Payload::new(plan().seed).fill(stream, (number * SIZE) as u64, &mut bytes);
    bytes
}

/// Echoes so many messages, each after so long.
fn echo(stream: u64, count: usize, delay: impl Fn(usize) -> Duration) -> Script {
    (0..count).fold(Script::new().may_end(), |script, number| {
        script.receive(SIZE).wait(delay(number)).send(message(stream, number))
    })
}

fn open_loop(rate: f64) -> Plan {
    let load = Load::Open { rate, arrival: Arrival::Uniform };
    Plan { load, pipeline: 100_000, ..plan() }
}

/// The times that are expected, in a histogram.
fn times(all: impl IntoIterator<Item = Duration>) -> Times {
    let mut times = Times::default();
    for one in all {
        times.record(u64::try_from(one.as_nanos()).expect("short"));
    }
    times
}

/// So long have those waited that were never answered.
fn given_up(times: &mut Times, all: impl IntoIterator<Item = Duration>) {
    for one in all {
        times.record_unanswered(u64::try_from(one.as_nanos()).expect("short"), 1);
    }
}

#[track_caller]
fn expect_same(one: &Times, other: &Times) {
    assert_eq!(one.samples(), other.samples());
    for percent in 1..=1000 {
        let at = |times: &Times| times.at(f64::from(percent) / 1000.0).expect("some");
        let (one, other) = (at(one), at(other));
        assert_eq!(one.is_lower_bound, other.is_lower_bound, "{percent}");
        let (one, other) = (one.nanos, other.nanos);
        // In this world a look in vain takes a microsecond, and behind a pause there are some of
        // them.
        assert!(one.abs_diff(other) <= 200_000 + other / 500, "{percent}: {one} and {other}");
    }
}

/// The server stands still for half a second, of ten.
fn pauses(number: usize) -> Duration {
    if number == 500 { 500 * MILLI } else { Duration::ZERO }
}

#[test]
fn the_open_loop_tells_what_a_pause_did_to_everybody_who_came_in_it() {
    let simulation = world().service(server(), |_| echo(0, 1000, pauses));
    let ran = run(simulation, &open_loop(100.0));
    // Of 100 a second, the first waits for half a second, the next 10 ms less, and so on.
    let waits = (0..50).map(|number| (500 - 10 * number) * MILLI);
    let expected = times(waits.chain((0..950).map(|_| Duration::ZERO)));
    expect_same(&ran.measured.latency, &expected);
    expect_same(&ran.measured.service, &expected);
    let p99 = ran.quantile(0.99);
    assert!((395 * MILLI..=411 * MILLI).contains(&p99), "{p99:?}");
    assert_eq!((ran.outcome.end, ran.outcome.span), (End::Whole, 10_000_000_000));
    assert_eq!(ran.measured.counts.lateness.missed, 0, "the sender was on time");
    assert_eq!(ran.measured.counts.messages, 1000);
}

#[test]
fn with_one_in_flight_the_service_time_hides_the_pause_and_the_latency_does_not() {
    let simulation = world().service(server(), |_| echo(0, 1000, pauses));
    let ran = run(simulation, &Plan { pipeline: 1, ..open_loop(100.0) });
    let waits = (0..50).map(|number| (500 - 10 * number) * MILLI);
    let rest = |count| (0..count).map(|_| Duration::ZERO);
    expect_same(&ran.measured.latency, &times(waits.chain(rest(950))));
    let hides = [500 * MILLI].into_iter().chain(rest(999));
    expect_same(&ran.measured.service, &times(hides));
    assert_eq!(ran.measured.counts.lateness.missed, 0, "it was the limit that kept them");
}

#[test]
fn the_closed_loop_hides_the_pause() {
    let delay = |number| MILLI + pauses(number);
    let simulation = world().service(server(), move |_| echo(0, 12_000, delay));
    let ran = run(simulation, &plan());
    assert!((9_400..=9_600).contains(&ran.measured.counts.messages));
    assert!(ran.quantile(0.999) < 2 * MILLI);
    assert!(ran.measured.latency.max().expect("one").nanos >= 500_000_000);
    assert!(ran.seconds.iter().all(|&messages| messages > 400), "{:?}", ran.seconds);
}

#[test]
fn answers_that_are_delayed_by_a_known_distribution_are_measured_as_it_is() {
    // Each of a hundred delays from 1 to 100 ms, as often as any other, in another order.
    let delay = |number: usize| u32::try_from(1 + number * 37 % 100).expect("small") * MILLI;
    let simulation = world().service(server(), move |_| echo(0, 1000, delay));
    // One at a time, so that no answer waits behind another.
    let ran = run(simulation, &Plan { pipeline: 1, ..open_loop(5.0) }.lasting(100 * SECOND));
    expect_same(&ran.measured.latency, &times((0..500).map(delay)));
}

impl Plan {
    fn lasting(self, duration: Duration) -> Self {
        let extent = Extent { duration: Some(duration), ..self.extent };
        Self { extent, ..self }
    }
}

#[test]
fn warm_up_is_left_out_and_so_many_messages_are_that_many() {
    let simulation = world().service(server(), |_| echo(0, 500, |_| 10 * MILLI));
    let extent = Extent { duration: None, messages: Some(77), warmup: SECOND, ..plan().extent };
    let ran = run(simulation, &Plan { extent, ..plan() });
    assert_eq!((ran.measured.counts.messages, ran.measured.latency.samples()), (77, 77));
    let span = Duration::from_nanos(ran.outcome.span);
    assert!((760 * MILLI..=780 * MILLI).contains(&span), "{span:?}");
    assert_eq!(ran.measured.counts.bytes_sent, 77 * SIZE as u64);
}

#[test]
fn what_is_never_answered_is_counted_with_the_time_that_it_has_waited() {
    // Nothing from the sixth message on, of ten a second.
    let script = || echo(0, 5, |_| Duration::ZERO).receive(15 * SIZE).wait(100 * SECOND);
    let simulation = world().service(server(), move |_| script());
    let ran = run(simulation, &open_loop(10.0).lasting(2 * SECOND));
    assert_eq!((ran.measured.counts.messages, ran.measured.counts.unanswered), (5, 15));
    // The end comes a second after the last: the sixth has then waited for 2.5 s, the last for 1.1
    // s.
    let waits = (0..15).map(|number| 2500 * MILLI - 100 * number * MILLI);
    let mut expected = times((0..5).map(|_| Duration::ZERO));
    given_up(&mut expected, waits);
    let latency = &ran.measured.latency;
    expect_same(latency, &expected);
    assert!(latency.quantile(0.5).expect("enough").is_lower_bound);
    assert!(!latency.min().expect("one").is_lower_bound);
    assert_eq!(ran.outcome.alive, 1);
}

#[test]
fn a_run_of_so_many_messages_does_not_wait_for_ever_for_one_that_was_lost() {
    let script = || echo(0, 5, |_| MILLI).receive(SIZE).wait(1000 * SECOND);
    let simulation = world().service(server(), move |_| script());
    let extent = Extent { duration: None, messages: Some(100), ..plan().extent };
    let ran = run(simulation, &Plan { extent, ..plan() });
    assert_eq!(ran.outcome.end, End::Stalled);
    assert_eq!((ran.measured.counts.messages, ran.measured.counts.unanswered), (5, 1));
    let waited = Duration::from_nanos(ran.measured.latency.max().expect("one").nanos);
    assert!((10 * SECOND..12 * SECOND).contains(&waited), "{waited:?}");
}

#[test]
fn answers_that_come_behind_the_measured_time_are_no_part_of_the_rate() {
    let simulation = world().service(server(), |_| echo(0, 100, |_| 30 * MILLI));
    let ran = run(simulation, &open_loop(100.0).lasting(SECOND));
    // Each takes 30 ms, one after the other: 33 come in a second, and as many in the second of
    // grace.
    let counts = ran.measured.counts;
    assert!((32..=34).contains(&counts.in_time), "{counts:?}");
    assert!((65..=67).contains(&counts.messages), "{counts:?}");
}

#[test]
fn what_waits_behind_the_limit_at_the_end_is_counted_too() {
    for pipeline in [1, 3] {
        let script = || Script::new().may_end().receive(SIZE).wait(1000 * SECOND);
        let simulation = world().service(server(), move |_| script());
        let plan = Plan { pipeline, ..open_loop(1000.0) }.lasting(10 * SECOND);
        let ran = run(simulation, &plan);
        assert_eq!(ran.measured.counts.unanswered, 10_000);
        // From 11 s down to 1 s, evenly.
        let waits = (0..10_000).map(|number| 11 * SECOND - number * MILLI);
        let mut expected = Times::default();
        given_up(&mut expected, waits);
        expect_same(&ran.measured.latency, &expected);
        let (ours, theirs) = (ran.measured.latency.mean(), expected.mean());
        let (ours, theirs) = (ours.expect("some"), theirs.expect("some"));
        assert!((ours / theirs - 1.0).abs() < 0.001, "{ours} and {theirs}");
        assert_eq!(ran.measured.counts.lateness.missed, 0);
    }
}

#[test]
fn a_connection_that_is_lost_is_made_again_and_its_messages_go_on_counting() {
    // The first one ends after half a second; the next answers, 10 ms later.
    let simulation = world().service(server(), |number| match number {
        0 => echo(0, 500, |_| Duration::ZERO).close(),
        _ => echo(1, 2000, |_| Duration::ZERO),
    });
    let ran = run(simulation, &open_loop(1000.0).lasting(SECOND));
    assert_eq!((ran.errors(), ran.measured.counts.reopened), (vec![], 1));
    assert_eq!(ran.measured.counts.messages + ran.measured.counts.unanswered, 1000);
    assert!(ran.measured.counts.messages >= 998, "{}", ran.measured.counts.messages);
    assert_eq!((ran.outcome.alive, ran.outcome.verdict.is_clean()), (1, true));
    // It had answered, so that it was opened again at once.
    assert!(ran.measured.latency.max().expect("one").nanos <= 2_000_000);
}

#[test]
fn a_server_that_refuses_all_is_told_at_once() {
    let ran = run(world(), &plan());
    assert_eq!(ran.outcome.end, End::NoConnection);
    assert_eq!(ran.errors(), [(Class::Refused, 1)]);
    assert_eq!(ran.measured.latency.samples(), 0);
}

#[test]
fn connects_are_told_apart_by_how_they_fail() {
    let simulation = world().service(server(), |_| Script::new().never_answers());
    let ran = run(simulation, &plan());
    assert_eq!((ran.outcome.end, ran.errors()), (End::NoConnection, vec![(Class::TimedOut, 1)]));
}

#[test]
fn each_message_has_a_connection_of_its_own_where_that_is_asked_for() {
    let script = |number| {
        let one = Script::new().may_end().receive(SIZE).wait(MILLI);
        one.send(message(number as u64, 0)).expect_end().close()
    };
    let simulation = world().service(server(), script);
    let ran = run(simulation, &Plan { connects: true, ..plan() }.lasting(SECOND));
    let messages = ran.measured.counts.messages;
    assert!((900..=1000).contains(&messages), "{messages}");
    assert!(ran.measured.connect.samples() >= messages);
    assert_eq!((ran.errors(), ran.outcome.verdict.is_clean()), (vec![], true));
    assert!(ran.quantile(0.5) >= MILLI);
}

#[test]
fn whatever_is_wrong_with_the_bytes_is_told_by_what_it_is() {
    let good: Vec<u8> = (0..20).flat_map(|number| message(0, number)).collect();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let cases = [
        (changed(&|bytes| bytes[100] ^= 1), Wrong::Mismatched, 1),
        (changed(&|bytes| drop(bytes.drain(100..110))), Wrong::Missing, 10),
        (
            changed(&|bytes| bytes.splice(640..640, good[576..640].to_vec()).for_each(drop)),
            Wrong::Surplus,
            64,
        ),
        (changed(&|bytes| bytes.extend_from_slice(b"more")), Wrong::Surplus, 4),
    ];
    for (bytes, wrong, count) in cases {
        let simulation = world().service(server(), move |_| {
            Script::new().may_end().receive(20 * SIZE).send(&bytes).wait(1000 * SECOND)
        });
        let extent = Extent { duration: None, messages: Some(20), ..plan().extent };
        let ran = run(simulation, &Plan { pipeline: 20, extent, ..plan() });
        let verdict = &ran.outcome.verdict;
        let [found] = &verdict.findings[..] else { panic!("{verdict:?}") };
        assert_eq!((found.wrong, found.stream, found.count), (wrong, 0, count));
    }
}

#[test]
fn what_comes_behind_the_last_answer_is_too_much_also_when_the_connection_is_closed() {
    for connects in [false, true] {
        let one = |script: Script, bytes| script.receive(SIZE).wait(MILLI).send(bytes);
        let script = move |number: usize| {
            let count = if connects { 1 } else { 3 };
            let answers = (0..count).fold(Script::new().may_end(), |script, message_number| {
                one(script, message(number as u64, message_number))
            });
            answers.wait(MILLI).send(*b"more")
        };
        let simulation = world().service(server(), script);
        let extent = Extent { duration: None, messages: Some(3), ..plan().extent };
        let ran = run(simulation, &Plan { connects, extent, ..plan() });
        let surplus = if connects { 12 } else { 4 };
        assert_eq!((ran.measured.counts.messages, ran.outcome.verdict.surplus), (3, surplus));
    }
}

#[test]
fn an_answer_that_stops_in_its_middle_is_unanswered_and_lacks_nothing_that_is_proved() {
    let half = message(0, 0)[..30].to_vec();
    let simulation = world().service(server(), move |_| {
        Script::new().may_end().receive(SIZE).send(&half).wait(1000 * SECOND)
    });
    let ran = run(simulation, &plan().lasting(SECOND));
    assert_eq!((ran.outcome.verdict.missing, ran.measured.counts.unanswered), (0, 1));
}

#[test]
fn without_verification_bytes_are_only_counted() {
    let simulation = world().service(server(), |_| {
        (0..100).fold(Script::new().may_end(), |script, _| script.receive(SIZE).send([7; SIZE]))
    });
    let extent = Extent { duration: None, messages: Some(100), ..plan().extent };
    let ran = run(simulation, &Plan { verifies: false, extent, ..plan() });
    assert_eq!(ran.measured.counts.messages, 100);
    assert_eq!(ran.outcome.verdict.checked, 0);
}

#[test]
fn polling_before_a_send_changes_nothing_but_the_time_that_it_takes() {
    let simulation = world().service(server(), |_| echo(0, 100, |_| MILLI));
    let plan = Plan { busy_poll: 200 * MILLI / 1000, ..open_loop(100.0) };
    let ran = run(simulation, &plan.lasting(SECOND));
    assert_eq!(ran.measured.counts.messages, 100);
    assert!(ran.quantile(0.5) >= MILLI && ran.quantile(0.9) < 2 * MILLI);
}

#[test]
fn no_fault_of_the_kernel_or_the_network_makes_it_lose_count() {
    check(0..200, |simulation| {
        let simulation = simulation
            .faults(Faults::passing().breaking(5))
            .service(server(), |number| echo(number as u64, 300, |_| MILLI));
        let ran = run(simulation, &Plan { pipeline: 5, ..open_loop(200.0) }.lasting(SECOND));
        if ran.outcome.end == End::Whole {
            let counts = ran.measured.counts;
            assert_eq!(counts.messages + counts.unanswered, 200);
            assert_eq!(ran.measured.latency.samples(), 200);
        }
        Ok(())
    });
}

#[test]
fn what_a_step_of_a_profile_does_stands_in_its_own_figures() {
    // The server stands still for a second from the middle of the second step on: 1,000 and 2,000
    // are due in the first two, and the third has none but those of the ramp.
    let delay = |number| if number == 2000 { SECOND } else { Duration::ZERO };
    let simulation = world().service(server(), move |_| echo(0, 3500, delay));
    let profile = Profile::parse("1k:1s,2k:1s,0:1s,0..1k:1s").expect("a profile");
    let extent = Extent { duration: Some(profile.length()), ..plan().extent };
    let plan = Plan { profile: Some(Arc::new(profile)), extent, ..open_loop(875.0) };
    let ran = run(simulation, &plan);
    assert_eq!((ran.measured.counts.messages, ran.measured.counts.unanswered), (3500, 0));
    let profile = plan.profile.as_ref().expect("one");
    let steps = ran.outcome.steps.expect("steps").results(profile, 4 * SECOND);
    let messages: Vec<u64> = steps.iter().map(|step| step.messages).collect();
    assert_eq!(messages, [1000, 2000, 0, 500]);
    assert!(steps[0].latency_us.figures.max.expect("some") < 1000.0);
    assert!(steps[3].latency_us.figures.max.expect("some") < 1000.0);
    // Of 2,000 a second the last 1,000 have waited for a second down to half of one, evenly, so
    // that a tenth of all have waited for 900 ms and more.
    let second = &steps[1].latency_us;
    let p90 = second.figures.p90.expect("some");
    assert!((890_000.0..=910_000.0).contains(&p90), "{p90}");
    assert!((995_000.0..=1_010_000.0).contains(&second.figures.max.expect("some")));
    assert_eq!((steps[2].latency_us.figures.p50, steps[2].rate), (None, 0.0));
}

#[test]
fn what_is_never_answered_belongs_to_the_step_in_which_it_was_due() {
    // Nothing from the 50th message on, and one in flight at a time.
    let script = || echo(0, 50, |_| Duration::ZERO).receive(SIZE).wait(100 * SECOND);
    let simulation = world().service(server(), move |_| script());
    // So many that those whose waits are alike are counted together.
    let profile = Profile::parse("10k:1s,20k:1001ms,30k:1s").expect("a profile");
    let extent = Extent { duration: Some(profile.length()), ..plan().extent };
    let plan = Plan { profile: Some(Arc::new(profile)), pipeline: 1, extent, ..open_loop(200.0) };
    let ran = run(simulation, &plan);
    let profile = plan.profile.as_ref().expect("one");
    let steps = ran.outcome.steps.expect("steps").results(profile, 3001 * MILLI);
    let counts: Vec<_> = steps.iter().map(|step| (step.messages, step.unanswered)).collect();
    assert_eq!(counts, [(50, 9950), (0, 20_020), (0, 30_000)]);
    assert_eq!(ran.measured.counts.unanswered, 59_970);
}

/// Two messages in turn, whose replies end in different ways and are compared.
fn exchanges() -> Exchanges {
    let texts = |texts: &[&str]| texts.iter().map(Into::into).collect();
    let args = BenchArgs {
        address: vec!["10.0.0.1:7".into()],
        send: texts(&["get\\n", "set x\\n"]),
        reply: texts(&["until:END\\r\\n", "lines:2"]),
        expect: texts(&["ENEND\\r\\n", "two\\nlines\\n"]),
        ..BenchArgs::default()
    };
    let asked = Asked::resolve(&args).unwrap_or_else(|failure| panic!("{}", failure.line));
    asked.expect("some").load(true).unwrap_or_else(|failure| panic!("{}", failure.line)).0
}

/// Answers so many of them, each after so long.
fn replies(count: usize, delay: Duration) -> Script {
    (0..count).fold(Script::new().may_end(), |script, number| match number % 2 {
        0 => script.receive(4).wait(delay).send(*b"ENEND\r\n"),
        _ => script.receive(6).wait(delay).send(*b"two\nlines\n"),
    })
}

#[test]
fn no_fault_of_the_kernel_or_the_network_confuses_replies() {
    let exchanges = Arc::new(exchanges());
    check(0..200, |simulation| {
        let simulation = simulation
            .faults(Faults::passing().breaking(5))
            .service(server(), |_| replies(300, MILLI));
        let exchanges = Some(Arc::clone(&exchanges));
        let plan = Plan { exchanges, pipeline: 5, ..open_loop(200.0) }.lasting(SECOND);
        let ran = run(simulation, &plan);
        assert!(ran.outcome.verdict.is_clean(), "{:?}", ran.outcome.verdict);
        assert_eq!(ran.outcome.verdict.wrong_replies, 0);
        if ran.outcome.end == End::Whole {
            let counts = ran.measured.counts;
            assert_eq!(counts.messages + counts.unanswered, 200);
        }
        Ok(())
    });
}

#[test]
fn the_latency_of_an_exchange_ends_with_the_last_byte_of_its_reply() {
    // The reply to each message comes in two parts, the second one 20 ms after the first.
    let script = || {
        (0..50).fold(Script::new().may_end(), |script, number| {
            let (length, first, rest) = match number % 2 {
                0 => (4, &b"ENE"[..], &b"ND\r\n"[..]),
                _ => (6, &b"two\nline"[..], &b"s\n"[..]),
            };
            script.receive(length).send(first).wait(20 * MILLI).send(rest)
        })
    };
    let simulation = world().service(server(), move |_| script());
    let plan = Plan { exchanges: Some(Arc::new(exchanges())), ..open_loop(10.0) };
    let ran = run(simulation, &plan.lasting(5 * SECOND));
    expect_same(&ran.measured.latency, &times((0..50).map(|_| 20 * MILLI)));
    assert_eq!((ran.measured.counts.messages, ran.outcome.verdict.checked), (50, 25 * 7 + 25 * 10));
}
