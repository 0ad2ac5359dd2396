//! A handler under faults: one with a bug that the usual tests don't show is caught by the
//! simulated kernel in less than a second, and the mended one passes a thousand seeds.
//!
//! `cargo run -p edgeloop --example simulation`. It exits with 0 if the bug was caught as told.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use edgeloop::sim::{Failure, Faults, Report, Script, Simulation, try_check};
use edgeloop::{Action, Context, Handler, Input, Origin};

/// Keeps a sum for each client: `ADD 20` is answered with the new one.
///
/// The bug: it takes what it is shown for whole lines. It even splits several lines that come at
/// once. But when `ADD 20` comes as `ADD 2` and `0`, it adds 2.
struct Hasty;

/// The same, as it should be.
struct Patient;

/// The answer to one line; `None` if it can't be understood.
fn answer(sum: &mut u64, line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?;
    let number: u64 = line.trim_end().strip_prefix("ADD ")?.parse().ok()?;
    *sum = sum.checked_add(number)?;
    Some(format!("{sum}\n"))
}

impl Handler for Hasty {
    type Session = u64;

    fn session(&mut self, _: &Origin) -> Option<u64> {
        Some(0)
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        sum: &mut u64,
        input: &mut Input<'_>,
    ) -> Action {
        for line in input.take_all().split_inclusive(|&byte| byte == b'\n') {
            let Some(answer) = answer(sum, line) else { return Action::Reset };
            if !cx.send(answer.as_bytes()).is_accepted() {
                return Action::Reset;
            }
        }
        Action::Continue
    }
}

impl Handler for Patient {
    type Session = u64;

    fn session(&mut self, _: &Origin) -> Option<u64> {
        Some(0)
    }

    fn data(
        &mut self,
        cx: &mut impl Context<Self::Session>,
        sum: &mut u64,
        input: &mut Input<'_>,
    ) -> Action {
        // Half a line stays in the input, and is shown again with what follows.
        while let Ok(Some(line)) = input.take_line(100) {
            let Some(answer) = answer(sum, line) else { return Action::Reset };
            if !cx.send(answer.as_bytes()).is_accepted() {
                return Action::Reset;
            }
        }
        Action::Continue
    }
}

/// Two clients: one asks and waits for the answer, the other asks in one go and thinks for an hour.
fn scenario<H: Handler>(simulation: Simulation, handler: H) -> Result<Report<H>, Failure> {
    simulation
        .buffers(20..=200)
        .peer(
            Script::new()
                .name("alice")
                .send("ADD 20\n")
                .expect("20\n")
                .wait(Duration::from_secs(3600))
                .send("ADD 300\n")
                .expect("320\n"),
        )
        .peer(Script::new().name("bob").send("ADD 1\nADD 2\nADD 3\n").expect("1\n3\n6\n"))
        .run(handler)
}

/// What such a handler's tests usually are: nothing fails, and what is sent at once comes at once.
fn in_good_weather(simulation: Simulation) -> Simulation {
    simulation.calm()
}

/// The same, but the kernel may cut a read short, come too early, or be interrupted.
fn under_faults(simulation: Simulation) -> Simulation {
    simulation.calm().faults(Faults::passing())
}

/// Lets the simulated kernel find the bug, among so many seeds.
fn catch(seeds: u64) -> Option<Failure> {
    try_check(0..seeds, |simulation| scenario(under_faults(simulation), Hasty).map(drop)).err()
}

fn main() -> ExitCode {
    if let Err(failure) =
        try_check(0..100, |simulation| scenario(in_good_weather(simulation), Hasty).map(drop))
    {
        println!("the bug shows in good weather, too:\n{failure}");
        return ExitCode::FAILURE;
    }
    println!("In good weather the hasty handler passes. Under faults:\n");

    let begin = Instant::now();
    let Some(failure) = catch(1000) else {
        println!("the bug was not found");
        return ExitCode::FAILURE;
    };
    println!("{failure}\n\nThat took {:.0?}.\n", begin.elapsed());

    // Any cuts, and all passing faults.
    let mended = try_check(0..1000, |simulation| {
        scenario(simulation.faults(Faults::passing()), Patient).map(drop)
    });
    match mended {
        Ok(()) => println!("The patient handler passes a thousand seeds."),
        Err(failure) => {
            println!("the patient handler fails:\n{failure}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bug_is_caught_within_fifty_seeds_and_takes_one_fault() {
        let failure = catch(50).expect("the bug is found");
        assert_eq!(failure.faults.len(), 1, "{failure}");
        assert!(failure.faults[0].kind().contains("recv: cut short"), "{failure}");
        assert!(failure.to_string().contains("\n    EDGELOOP_SEEDS="), "{failure}");
    }

    #[test]
    fn the_guide_shows_this_failure() {
        let failure = catch(50).expect("the bug is found").to_string();
        // The command is that of the reader's own test there.
        let (shown, _) = failure.split_once("    EDGELOOP_SEEDS=").expect("a command");
        assert!(include_str!("../src/sim/guide.md").contains(shown), "the guide lacks\n{shown}");
    }

    #[test]
    fn it_exits_as_it_should() {
        assert_eq!(main(), ExitCode::SUCCESS);
    }
}
