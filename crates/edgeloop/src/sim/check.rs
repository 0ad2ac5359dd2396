//! A test over many seeds: the first that fails is made small, and told of.

use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Once;

use crate::sim::Fault;
use crate::sim::failure::{Failure, fewer_faults};
use crate::sim::journal::{Journal, line};
use crate::sim::simulation::Simulation;

/// Chooses the seeds, from outside.
const SEEDS: &str = "EDGELOOP_SEEDS";

/// How many of the last lines of its trace a failure shows.
const LAST: usize = 12;

/// How many runs making a failure small may take.
const RUNS: usize = 2000;

/// Runs a test for each of these seeds, and panics at the first that fails: with the seed, with no
/// more faults than it takes, with the last that happened, and with the command that shows it
/// again.
///
/// The test is given a [`Simulation`], which it furnishes and runs. It fails when it answers with a
/// [`Failure`], or when it panics, as by an assertion. It is run again and again to find the faults
/// that a failure takes, so that what it does must be decided by the simulation alone.
///
/// `EDGELOOP_SEEDS=17..18` in the environment, or `EDGELOOP_SEEDS=17`, chooses other seeds for all
/// checks of the process. Of a single one the trace is printed to standard error; of one that
/// fails, the trace with no more faults than it takes.
///
/// Blocks until all runs are done; a run takes as long as the loop and the handler compute.
///
/// # Panics
///
/// When the test fails for a seed, when there is no seed, and when `EDGELOOP_SEEDS` is no range of
/// seeds.
///
/// # Examples
///
/// ```
/// use edgeloop::sim::{self, Script};
/// # use edgeloop::{Action, Context, Handler, Input, Origin};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type Session = ();
/// #     fn session(&mut self, _: &Origin) -> Option<()> { Some(()) }
/// #     fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
/// #         cx.send(input.take_all()).or_reset()
/// #     }
/// # }
///
/// sim::check(0..100, |simulation| {
///     let report = simulation.peer(Script::new().send("hello")).run(Echo)?;
///     assert_eq!(report.peers[0].received, b"hello");
///     Ok(())
/// });
/// ```
#[track_caller]
pub fn check(seeds: Range<u64>, test: impl Fn(Simulation) -> Result<(), Failure>) {
    if let Err(failure) = try_check(seeds, test) {
        panic!("{failure}");
    }
}

/// As [`check`], but answers with the failure instead of panicking: for a program that goes on, or
/// a test that a bug is found.
///
/// # Errors
///
/// The first failure, made small.
///
/// # Panics
///
/// When there is no seed, and when `EDGELOOP_SEEDS` is no range of seeds.
///
/// # Examples
///
/// ```
/// use edgeloop::sim::{self, Script};
/// # use edgeloop::{Action, Context, Handler, Input, Origin};
/// # struct Mute;
/// # impl Handler for Mute {
/// #     type Session = ();
/// #     fn session(&mut self, _: &Origin) -> Option<()> { Some(()) }
/// #     fn data(&mut self, _: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
/// #         let _ = input.take_all();
/// #         Action::Continue
/// #     }
/// # }
///
/// let failure = sim::try_check(0..100, |simulation| {
///     simulation.peer(Script::new().name("alice").send("hello?").expect("hello!")).run(Mute)?;
///     Ok(())
/// })
/// .expect_err("nobody answers");
/// assert!(failure.what.contains("alice, step 2 of 2: expects \"hello!\", got nothing and waits"));
/// ```
#[track_caller]
pub fn try_check(
    seeds: Range<u64>,
    test: impl Fn(Simulation) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let asked = std::env::var(SEEDS).ok();
    check_seeds(seeds, asked.as_deref(), &test)
}

/// Checks these seeds, or those that are asked for.
#[track_caller]
fn check_seeds(
    seeds: Range<u64>,
    asked: Option<&str>,
    test: &impl Fn(Simulation) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let asked = asked.map(|asked| parse(asked).unwrap_or_else(|wrong| panic!("{wrong}")));
    assert!(asked.is_some() || !seeds.is_empty(), "there is no seed in {seeds:?} to check");
    let single = asked.as_ref().is_some_and(|asked| asked.end - asked.start == 1);
    for seed in asked.unwrap_or(seeds) {
        match attempt(seed, None, &Rc::default(), test) {
            Some(failure) => return Err(quietly(|| explain(failure, single, test))),
            None if single => {
                let _ = attempt(seed, None, &Rc::new(told(0)), test);
            }
            None => {}
        }
    }
    Ok(())
}

/// The seeds that the environment asks for, or these.
#[must_use]
pub fn chosen_seeds(these: Range<u64>) -> Range<u64> {
    let asked = std::env::var(SEEDS).ok();
    asked.map_or(these, |asked| parse(&asked).unwrap_or_else(|wrong| panic!("{wrong}")))
}

/// The seeds in `FROM..TO`, the last left out, or a single one.
fn parse(text: &str) -> Result<Range<u64>, String> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let seeds = match text.split_once("..") {
        Some((from, to)) => number(from).zip(number(to)).map(|(from, to)| from..to),
        None => number(text).and_then(|seed| Some(seed..seed.checked_add(1)?)),
    };
    match seeds {
        Some(seeds) if !seeds.is_empty() => Ok(seeds),
        Some(_) => Err(format!("{SEEDS}={text} holds no seed: it is FROM..TO, as in 17..18")),
        None => Err(format!("{SEEDS}={text} is no range of seeds: it is FROM..TO, as in 17..18")),
    }
}

/// A journal that is printed, and keeps its last lines.
fn told(lines: usize) -> Journal {
    let journal = Journal::keeping(lines);
    journal.follow(Box::new(|at, what| eprintln!("{}", line(at, what))));
    journal
}

/// Runs the test once, with these faults if they are given.
fn attempt(
    seed: u64,
    plan: Option<&[Fault]>,
    journal: &Rc<Journal>,
    test: &impl Fn(Simulation) -> Result<(), Failure>,
) -> Option<Failure> {
    let simulation = Simulation::in_check(seed, plan.map(<[Fault]>::to_vec), Rc::clone(journal));
    match catch_unwind(AssertUnwindSafe(|| test(simulation))) {
        Ok(answer) => answer.err(),
        Err(payload) => {
            let what = format!("the test panicked: {}", message(&*payload));
            let mut failure = Failure::new(seed, what, journal.faults.take());
            failure.at = journal.elapsed.get();
            failure.story.last = journal.take_last();
            Some(failure)
        }
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

/// Makes a failure small, and says all that there is to say about it.
fn explain(
    first: Failure,
    show: bool,
    test: &impl Fn(Simulation) -> Result<(), Failure>,
) -> Failure {
    let (seed, met) = (first.seed, first.faults.len());
    let journal = |show: bool| Rc::new(if show { told(LAST) } else { Journal::keeping(LAST) });
    let again = attempt(seed, None, &journal(false), test);
    let stable = again.as_ref().is_some_and(|again| again.what == first.what);
    let mut failure = if stable {
        let left = Cell::new(RUNS);
        let shrunk = fewer_faults(first, |faults| {
            left.set(left.get().checked_sub(1)?);
            attempt(seed, Some(faults), &Rc::default(), test)
        });
        attempt(seed, Some(&shrunk.faults), &journal(show), test).unwrap_or(shrunk)
    } else {
        let how = again.map_or_else(|| "did not fail".to_owned(), |again| again.what);
        let mut first = first;
        first.story.remark = Some(format!(
            "a second run of this seed went another way: {how}\n\
             something in the test is not decided by its simulation, such as the order of a HashMap"
        ));
        first
    };
    failure.story.met = Some(met);
    failure.story.replay = Some(replay(seed));
    failure
}

/// The command that runs this seed alone: of the test whose thread this is, or else of the program.
fn replay(seed: u64) -> String {
    let seeds = format!("{SEEDS}={seed}..{}", seed.saturating_add(1));
    let thread = std::thread::current();
    // The threads of libtest have the names of their tests.
    if let Some(test) = thread.name().filter(|&name| name != "main") {
        let package = std::env::var("CARGO_PKG_NAME");
        let package = package.map_or_else(|_| String::new(), |name| format!(" -p {name}"));
        return format!("{seeds} cargo test{package} {test} -- --exact");
    }
    let arguments: Vec<_> = std::env::args().collect();
    format!("{seeds} {}", arguments.join(" "))
}

thread_local! {
    /// Whether panics of this thread are expected, and not worth a message.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs what panics again and again, without the message of each.
fn quietly<T>(run: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    /// Ends the quiet, also when a panic does.
    struct Quiet;
    impl Drop for Quiet {
        fn drop(&mut self) {
            QUIET.set(false);
        }
    }
    QUIET.set(true);
    let _quiet = Quiet;
    run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_or_a_single_one() {
        assert_eq!(parse("17..18"), Ok(17..18));
        assert_eq!(parse(" 17 .. 20 "), Ok(17..20));
        assert_eq!(parse("17"), Ok(17..18));
        let wrong = |text: &str| parse(text).expect_err("no seeds");
        assert_eq!(
            wrong("all"),
            "EDGELOOP_SEEDS=all is no range of seeds: it is FROM..TO, as in 17..18"
        );
        assert_eq!(
            wrong("5..5"),
            "EDGELOOP_SEEDS=5..5 holds no seed: it is FROM..TO, as in 17..18"
        );
        for text in ["", "..", "1..", "..3", "1..=3", "-1..3", "18446744073709551615"] {
            assert!(wrong(text).contains("is no range of seeds"), "{text}");
        }
    }

    #[test]
    #[should_panic(expected = "EDGELOOP_SEEDS=many is no range of seeds")]
    fn what_is_no_range_is_not_ignored() {
        let _ = check_seeds(0..1, Some("many"), &|_| Ok(()));
    }

    #[test]
    #[should_panic(expected = "there is no seed in 3..3 to check")]
    fn a_check_of_nothing_is_no_check() {
        let _ = check_seeds(3..3, None, &|_| Ok(()));
    }

    #[test]
    fn the_seeds_that_are_asked_for_are_run_and_no_others() {
        let run = Cell::new(Vec::new());
        let test = |simulation: Simulation| {
            let mut seeds = run.take();
            seeds.push(simulation.seed());
            run.set(seeds);
            Ok(())
        };
        check_seeds(0..3, None, &test).expect("it passes");
        check_seeds(0..3, Some("7..9"), &test).expect("it passes");
        assert_eq!(run.take(), [0, 1, 2, 7, 8]);
        // A single one is run once more, with its trace.
        check_seeds(0..3, Some("7"), &test).expect("it passes");
        assert_eq!(run.take(), [7, 7]);
    }
}
