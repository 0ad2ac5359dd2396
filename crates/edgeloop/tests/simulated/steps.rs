//! Each step of a script: in order, and what is said when it is not.

use std::time::Duration;

use edgeloop::sim::{Script, Simulation};
use edgeloop::{Action, Config, Context, Handler, Input, Origin, Stop};

const SECOND: Duration = Duration::from_secs(1);

/// What the server does, whatever it is sent.
#[derive(Clone, Copy)]
enum Manner {
    /// Says this at once.
    Says(&'static str),
    /// Says this after ten seconds.
    SaysLate(&'static str),
    /// Says this and ends its stream.
    Leaves(&'static str),
    /// Resets at the first byte.
    Resets,
    /// Never reads.
    Deaf,
}

impl Handler for Manner {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn opened(&mut self, cx: &mut impl Context, (): &mut ()) -> Action {
        match *self {
            Self::Says(text) => cx.send(text.as_bytes()).or_reset(),
            Self::SaysLate(_) => {
                cx.set_timer(0, Some(10 * SECOND));
                Action::Continue
            }
            Self::Leaves(text) => {
                let _ = cx.send(text.as_bytes());
                Action::Close
            }
            Self::Resets => Action::Continue,
            Self::Deaf => Action::Pause,
        }
    }

    fn data(&mut self, _: &mut impl Context, (): &mut (), input: &mut Input<'_>) -> Action {
        let _ = input.take_all();
        if matches!(self, Self::Resets) { Action::Reset } else { Action::Continue }
    }

    fn timer(&mut self, cx: &mut impl Context, (): &mut (), _: u32) -> Action {
        let Self::SaysLate(text) = *self else { return Action::Close };
        cx.send(text.as_bytes()).or_reset()
    }
}

/// A run of this one peer in good weather.
fn simulation(script: Script) -> Simulation {
    Simulation::new(1).calm().buffers(1000..=1000).peer(script.name("it"))
}

#[track_caller]
fn passes(manner: Manner, script: Script) {
    if let Err(failure) = simulation(script).run(manner) {
        panic!("{failure}");
    }
}

#[track_caller]
fn fails(manner: Manner, script: Script, what: &str) {
    let failure = simulation(script).run(manner).expect_err("it fails");
    assert_eq!(failure.what, what);
}

#[test]
fn expecting_bytes() {
    let says = Manner::Says("PONG");
    passes(says, Script::new().expect("PONG"));
    passes(says, Script::new().expect("PO").expect("NG"));
    passes(says, Script::new().expect("PONG").expect("").receive(0).wait(SECOND));
    fails(says, Script::new().expect("PUNG"), "it, step 1 of 1: expects \"PUNG\", got \"PONG\"");
    fails(
        Manner::Says("0123456789012345678901234567890123456789 two"),
        Script::new().expect("0123456789012345678901234567890123456789 too"),
        "it, step 1 of 1: expects \"0123456789012345678901234567890123456789 too\", got the first 42 \
         bytes of that, and then \"wo\" instead of \"oo\"",
    );
    fails(
        says,
        Script::new().expect("PONG\n"),
        "nothing can happen any more; it, step 1 of 1: expects \"PONG\\n\", got \"PONG\" and no \
         more and waits",
    );
    fails(
        Manner::Leaves("PO"),
        Script::new().expect("PONG"),
        "it, step 1 of 1: expects \"PONG\", got \"PO\" and then the end of the stream",
    );
    fails(
        Manner::Resets,
        Script::new().send("PING").expect("PONG"),
        "it, step 2 of 2: expects \"PONG\", got ECONNRESET",
    );
}

#[test]
fn receiving_a_count() {
    passes(Manner::Says("PONG"), Script::new().receive(3).expect("G"));
    fails(
        Manner::Leaves("PO"),
        Script::new().receive(4),
        "it, step 1 of 1: receives 4 bytes, got \"PO\" and then the end of the stream",
    );
}

#[test]
fn receiving_up_to_a_delimiter() {
    passes(Manner::Says("one\ntwo"), Script::new().receive_until(b'\n').expect("two"));
    fails(
        Manner::Leaves("one"),
        Script::new().receive_until(b'\n'),
        "it, step 1 of 1: receives up to \"\\n\", got \"one\" and then the end of the stream",
    );
}

#[test]
fn losing_patience() {
    let late = Manner::SaysLate("PONG");
    passes(late, Script::new().expect("PONG"));
    passes(late, Script::new().patience(11 * SECOND).expect("PONG"));
    fails(
        late,
        Script::new().patience(9 * SECOND).expect("PONG"),
        "it, step 1 of 1: expects \"PONG\", got nothing in 9s",
    );
    fails(
        Manner::Says("PO"),
        Script::new().patience(9 * SECOND).expect("PONG"),
        "it, step 1 of 1: expects \"PONG\", got \"PO\" and no more in 9s",
    );
}

#[test]
fn expecting_silence() {
    let late = Manner::SaysLate("PONG");
    passes(late, Script::new().expect_silence(9 * SECOND).expect("PONG"));
    let failure = simulation(Script::new().expect_silence(11 * SECOND)).run(late);
    let what = failure.expect_err("it is told something").what;
    // It began to wait a little before or after it was opened at the other end.
    let told = "it, step 1 of 1: expects silence for 11s, got \"PONG\" after ";
    let after = what.strip_prefix(told).unwrap_or_else(|| panic!("{what}"));
    assert!(after.starts_with("10.0") || after.starts_with("9.999"), "{what}");
    let failure = simulation(Script::new().expect_silence(SECOND)).run(Manner::Leaves(""));
    let what = failure.expect_err("it is left").what;
    assert!(what.contains("expects silence for 1s, got the end of the stream after "), "{what}");
}

#[test]
fn expecting_the_end() {
    passes(Manner::Leaves("bye"), Script::new().expect("bye").expect_end());
    passes(Manner::Leaves(""), Script::new().expect_end().wait(SECOND).send("late"));
    fails(
        Manner::Leaves("bye"),
        Script::new().expect_end(),
        "it, step 1 of 1: expects the end of the stream, got \"b\"",
    );
    fails(
        Manner::Says(""),
        Script::new().expect_end(),
        "nothing can happen any more; it, step 1 of 1: expects the end of the stream, got nothing \
         and waits",
    );
    fails(
        Manner::Resets,
        Script::new().send("PING").expect_end(),
        "it, step 2 of 2: expects the end of the stream, got ECONNRESET",
    );
}

#[test]
fn expecting_a_reset() {
    passes(Manner::Resets, Script::new().send("PING").expect_reset());
    fails(
        Manner::Leaves("bye"),
        Script::new().expect_reset(),
        "it, step 1 of 1: expects a reset, got \"bye\" and then the end of the stream",
    );
}

#[test]
fn expecting_to_be_refused() {
    let late = || Script::new().connect_after(2 * SECOND);
    let stops = |script| simulation(script).at(SECOND, |handle| handle.stop(Stop::Now));
    stops(late().expect_refused()).run(Manner::Deaf).expect("it is refused");
    stops(late().may_end().expect("PONG")).run(Manner::Deaf).expect("it may be refused");
    let failure = stops(late()).run(Manner::Deaf).expect_err("it is refused");
    assert_eq!(failure.what, "it is refused: nothing listens any more");
    fails(
        Manner::Deaf,
        Script::new().expect_refused(),
        "it, step 1 of 1: expects to be refused, but is connected",
    );
}

#[test]
fn sending() {
    passes(Manner::Says(""), Script::new().send("").send("a").send_urgent(b'!').send([1; 5000]));
    fails(
        Manner::Deaf,
        Script::new().send([b'x'; 5000]),
        "nothing can happen any more; it, step 1 of 1: sends \
         \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" and 4940 bytes more, \
         could send 2000 bytes of that, and waits",
    );
}

#[test]
fn sending_and_expecting_at_once() {
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
    let config = || {
        Config::new()
            .read_buffer(100)
            .high_watermark(200)
            .low_watermark(100)
            .output_limit(400)
            .write_timeout(None)
    };
    let run = |seed, script| {
        Simulation::new(seed).config(config()).buffers(1..=300).peer(script).run(Echo).map(drop)
    };
    let much = [b'x'; 5000];
    for seed in 0..50 {
        let script = Script::new().exchange(much, much).exchange("", "").exchange("a", "a");
        run(seed, script).unwrap_or_else(|failure| panic!("{failure}"));
    }
    // Nobody reads, because everybody sends.
    let failure = run(1, Script::new().send(much).expect(much)).expect_err("they are stuck");
    assert!(failure.what.contains("peer 0, step 1 of 2: sends"), "{failure}");

    fails(
        Manner::Says("PONG"),
        Script::new().exchange("PING", "PENG"),
        "it, step 1 of 1: sends \"PING\" and meanwhile expects \"PENG\", got \"PONG\"",
    );
    fails(
        Manner::Resets,
        Script::new().exchange([b'y'; 10_000], ""),
        "it, step 1 of 1: sends \"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\" \
         and 9940 bytes more and meanwhile expects \"\", got ECONNRESET",
    );
}

#[test]
fn leaving() {
    for script in [Script::new().close(), Script::new().reset(), Script::new().vanish()] {
        passes(Manner::Says(""), script.clone());
        passes(Manner::Says("unread"), script);
    }
    passes(Manner::Says("PONG"), Script::new().finish().expect("PONG").expect_end());
    fails(
        Manner::Resets,
        Script::new().send("PING").wait(SECOND),
        "it, behind its last step: reads to the end, got ECONNRESET",
    );
}

#[test]
fn ending_where_it_may() {
    passes(Manner::Resets, Script::new().send("PING").may_end().expect("PONG"));
    passes(Manner::Leaves("PO"), Script::new().may_end().expect("PONG"));
    passes(Manner::Leaves("PO"), Script::new().expect("PONG").may_end());
    fails(
        Manner::Leaves("PO"),
        Script::new().expect("NO").may_end(),
        "it, step 1 of 1: expects \"NO\", got \"PO\"",
    );
}
