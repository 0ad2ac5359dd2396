//! What is said when a handler fails: it hangs, panics, goes round in circles, or takes too long.

use std::time::Duration;

use edgeloop::sim::{Failure, Faults, Script, Simulation, try_check};
use edgeloop::{Action, Address, Closed, ConnectionId, Context, Handler, Input, Origin};

/// What is wrong with the handler.
#[derive(Clone, Copy, PartialEq)]
enum Bug {
    /// It answers nothing.
    Mute,
    /// It panics when it is sent a `!`.
    Panics,
    /// It panics in its closed callback.
    PanicsAtTheEnd,
    /// It takes what one read brought for all.
    Hasty,
    /// It sets its timeout again and again.
    Ticks,
}

impl Handler for Bug {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        if *self == Self::Ticks {
            cx.set_timer(0, Some(Duration::from_secs(60)));
        }
        Action::Continue
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        match self {
            Self::Hasty => {
                let length = input.take_all().len();
                return cx.send(format!("{length}\n").as_bytes()).or_reset();
            }
            Self::Panics if input.contains(&b'!') => panic!("no exclamations"),
            _ => {}
        }
        let _ = input.take_all();
        Action::Continue
    }

    fn timer(&mut self, cx: &mut impl Context, (): &mut (), _: u32) -> Action {
        cx.set_timer(0, Some(Duration::from_secs(60)));
        Action::Continue
    }

    fn closed(&mut self, _: &mut impl Context, (): (), _: &Closed) {
        assert!(*self != Self::PanicsAtTheEnd, "not yet");
    }
}

#[track_caller]
fn failure_of(bug: Bug, script: &Script) -> Failure {
    let calm = |simulation: Simulation| simulation.calm().buffers(1000..=1000);
    try_check(0..1, |simulation| calm(simulation).peer(script.clone()).run(bug).map(drop))
        .expect_err("it is found")
}

#[test]
fn the_whole_message_of_a_cut_message() {
    let failure = try_check(0..100, |simulation| {
        simulation
            .calm()
            .buffers(1000..=1000)
            .faults(Faults::passing())
            .peer(Script::new().name("alice").send("hello").expect("5\n").finish().expect_end())
            .run(Bug::Hasty)
            .map(drop)
    })
    .expect_err("a read is cut short");
    let message = failure.to_string();
    // Which seed it is, and when, is chance.
    let lines: Vec<&str> = message.lines().collect();
    assert!(
        lines[0].starts_with("seed ") && lines[0].ends_with(" of simulated time:"),
        "{message}"
    );
    assert!(lines[1].starts_with("alice, step 2 of 4: expects \"5\\n\", got \""), "{message}");
    assert_eq!(
        lines[2..8],
        [
            "",
            "the script of alice:",
            "    1. sends \"hello\"",
            "  > 2. expects \"5\\n\"",
            "    3. ends its stream",
            "    4. expects the end of the stream",
        ]
    );
    assert_eq!(lines[8], "");
    let takes = ["it takes 1 of the ", "it takes the only fault "];
    assert!(takes.iter().any(|takes| lines[9].starts_with(takes)), "{message}");
    let cut = lines[10].strip_prefix("    recv number ").expect("a receive that is cut short");
    assert!(cut.contains(" takes "), "{message}");
    assert_eq!(lines[11..13], ["", "the last that happened:"]);
    let seed = failure.seed;
    assert_eq!(lines[lines.len() - 2], "see it again, with all that happens:");
    let command = format!(
        "    EDGELOOP_SEEDS={seed}..{} cargo test -p edgeloop \
         failures::the_whole_message_of_a_cut_message -- --exact",
        seed + 1
    );
    // On a thread of its own, as libtest runs it unless there is a single one.
    if std::thread::current().name() != Some("main") {
        assert_eq!(lines[lines.len() - 1], command);
    }
    assert_eq!(format!("{failure:?}"), message);
}

#[test]
fn a_handler_that_never_answers_is_told_at_once() {
    let failure = failure_of(Bug::Mute, &Script::new().send("hello").expect("hello"));
    assert_eq!(
        failure.what,
        "nothing can happen any more; peer 0, step 2 of 2: expects \"hello\", got nothing and waits"
    );
    assert!(failure.at < Duration::from_secs(1), "{failure}");
    assert!(failure.to_string().contains("no call had failed"), "{failure}");
}

#[test]
fn a_panic_names_its_callback() {
    let failure = failure_of(Bug::Panics, &Script::new().send("hello!"));
    assert_eq!(failure.what, "the handler's callback `data` panicked: no exclamations");
    let failure = failure_of(Bug::PanicsAtTheEnd, &Script::new().send("hello"));
    assert_eq!(failure.what, "the handler's callback `closed` panicked: not yet");
}

#[test]
fn a_panic_from_outside_is_not_said_to_be_the_handlers() {
    let failure = Simulation::new(1)
        .at(Duration::from_secs(3), |_| panic!("nobody is there"))
        .run(Bug::Mute)
        .expect_err("it panics");
    assert_eq!(failure.what, "what `Simulation::at` does after 3s panicked: nobody is there");
}

/// Two connections take turns: each leaves its input, and lets the other one go on.
#[derive(Default)]
struct Polite {
    others: Vec<ConnectionId>,
}

impl Handler for Polite {
    type Session = ();

    fn session(&mut self, origin: &Origin) -> Option<()> {
        self.others.push(origin.id);
        Some(())
    }

    fn data(&mut self, cx: &mut impl Context, (): &mut (), _: &mut Input<'_>) -> Action {
        let id = cx.id();
        for &other in self.others.iter().filter(|&&other| other != id) {
            cx.resume(other);
        }
        Action::Pause
    }
}

#[test]
fn callbacks_without_end_are_told() {
    let failure = try_check(0..1, |simulation| {
        let script = || Script::new().send("after you").expect("thanks");
        let run = simulation.peer(script()).peer(script()).run(Polite::default());
        run.map(drop)
    })
    .expect_err("it goes round in circles");
    assert!(failure.what.starts_with("the loop spins: "), "{}", failure.what);
    assert!(failure.to_string().contains("data answers Pause, and leaves "), "{failure}");
}

#[test]
fn a_run_that_takes_too_long_says_who_waits() {
    let failure = Simulation::new(1)
        .time_limit(Duration::from_secs(3600))
        .peer(Script::new().expect("hello"))
        .run(Bug::Ticks)
        .expect_err("it waits");
    assert_eq!(
        failure.what,
        "the time that the run may take is over; peer 0, step 1 of 1: expects \"hello\", got \
         nothing and waits"
    );
    assert!(failure.at > Duration::from_secs(3600), "{failure}");
}

#[test]
#[should_panic(expected = "bob connects to 127.0.0.1:9, where nothing listens")]
fn a_script_that_connects_to_nowhere_is_refused() {
    let nowhere: Address = "127.0.0.1:9".parse().expect("an address");
    let _ = Simulation::new(1).peer(Script::new().name("bob").connect_to(nowhere)).run(Bug::Mute);
}

#[test]
#[should_panic(expected = "no peer has the name \"bob\": there are [\"alice\"]")]
fn a_peer_that_there_is_not_is_named_with_those_that_there_are() {
    let run = Simulation::new(1).peer(Script::new().name("alice")).run(Bug::Mute);
    let _ = run.expect("nothing fails").peer("bob");
}
