//! Runs edgeloop on its simulated kernel and checks what the contract promises.
//!
//! Exit code 0 when nothing was violated (and every mutation was noticed), 1 when something was,
//! 2 when the command could not be carried out. The summary is the last that is printed.

// The layers, lowest first: a module names only modules above it in this list. A test holds that.
mod output;
mod many;
mod mutations;
mod summary;

use std::io::{self, Write as _};
use std::ops::Range;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use edgeloop::sim::Failure;
use edgeloop::sim::internals::Follower;
use many::for_each;
use output::print;
use simulations::{Outcome, alone, compare, in_pairs, run, shrink};
use summary::{Scripts, Summary};

#[derive(Debug, Parser)]
#[command(about = "Runs edgeloop on its simulated kernel and checks what the contract promises")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one simulation for each seed, on all cores
    Run {
        /// The seeds, the last one left out
        #[arg(long, value_name = "FROM..TO", value_parser = parse_seeds)]
        seeds: Range<u64>,
    },
    /// Runs one seed with a trace; of one that fails, with no more faults than it takes to fail
    Replay {
        /// The seed
        seed: u64,
        /// With all of its faults
        #[arg(long)]
        whole: bool,
    },
    /// Lets each early call fail in every way its man page has: alone, and in pairs
    Systematic {
        /// Runs only this case, with a trace
        #[arg(long, value_name = "NUMBER")]
        case: Option<u64>,
    },
    /// Compares the model of a connection with the real kernel, on loopback
    Fidelity {
        /// How many scripts
        #[arg(long, value_name = "N")]
        scripts: u64,
        /// The seed of the first
        #[arg(long, value_name = "SEED", default_value_t = 0)]
        from: u64,
    },
    /// Breaks the code by each mutation that seeds must notice, and counts the seeds until one does
    #[command(alias = "planted")]
    Mutations {
        /// Only those whose clause is one of these words, or whose description holds one
        words: Vec<String>,
    },
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("seeds are given as FROM..TO")?;
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no seed"));
    let seeds = number(from)?..number(to)?;
    if seeds.is_empty() { Err("there is no seed in it".to_owned()) } else { Ok(seeds) }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let answer = match arguments.command {
        Command::Run { seeds } => run_seeds(seeds),
        Command::Replay { seed, whole } => replay(seed, whole),
        Command::Systematic { case: None } => systematic(),
        Command::Systematic { case: Some(number) } => replay_case(number),
        Command::Fidelity { scripts, from } => fidelity(from..from.saturating_add(scripts)),
        Command::Mutations { words } => mutations::attempt_all(&words),
    };
    match answer {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("simulations: {error}");
            ExitCode::from(2)
        }
    }
}

fn run_seeds(seeds: Range<u64>) -> Result<bool, String> {
    let summary = for_each(seeds, |seed, summary: &mut Summary| match run(seed, None, None) {
        Ok(outcome) => {
            summary.add_run(&outcome);
            None
        }
        Err(failure) => {
            let (met, shrunk) = (failure.faults.len(), shrink(failure));
            let mut text = format!("seed {seed}: {}\n", shrunk.what);
            text.push_str(&format!("    with {} of the {met} faults:\n", shrunk.faults.len()));
            for fault in &shrunk.faults {
                text.push_str(&format!("    {fault}\n"));
            }
            let replay = format!("cargo run --release -p simulations -- replay {seed}");
            Some(format!("{text}    replay with: {replay}\n"))
        }
    })?;
    print(&summary.to_string())?;
    Ok(summary.is_clean())
}

fn replay(seed: u64, whole: bool) -> Result<bool, String> {
    let failure = run(seed, None, None).err();
    let faults = match &failure {
        Some(failure) if !whole => Some(shrink(failure.clone()).faults),
        _ => None,
    };
    let ended = run(seed, faults.as_deref(), Some(trace()));
    tell(&format!("seed {seed}"), ended)
}

/// Prints what happens.
fn trace() -> Follower {
    Box::new(|at, what| {
        // Whoever reads may have seen enough.
        let _ = writeln!(io::stdout().lock(), "{:>14.6} ms  {what}", at.as_secs_f64() * 1000.0);
    })
}

/// Prints how a run that was traced has ended. Returns whether nothing was violated.
fn tell(name: &str, ended: Result<Outcome, Failure>) -> Result<bool, String> {
    match ended {
        Ok(outcome) => {
            let mut summary = Summary::default();
            summary.add_run(&outcome);
            print(&format!("{name} violates nothing\n{summary}"))?;
            Ok(true)
        }
        Err(failure) => {
            print(&format!("{name}: {}\n", failure.what))?;
            Ok(false)
        }
    }
}

fn replay_case(number: u64) -> Result<bool, String> {
    let at = usize::try_from(number).unwrap_or(usize::MAX);
    let case = alone().chain(in_pairs()).nth(at);
    let case = case.ok_or_else(|| format!("there is no case {number}"))?;
    tell(&format!("case {number}"), case.run(Some(trace())))
}

fn systematic() -> Result<bool, String> {
    let cases: Vec<_> = alone().chain(in_pairs()).collect();
    let all = 0..cases.len() as u64;
    let summary = for_each(all, |index, summary: &mut Summary| {
        let case = &cases[usize::try_from(index).unwrap_or(usize::MAX)];
        match case.run(None) {
            Ok(outcome) => {
                summary.add_run(&outcome);
                None
            }
            Err(failure) => {
                let faults: Vec<_> = case.faults.iter().map(ToString::to_string).collect();
                let (faults, what) = (faults.join(", "), failure.what);
                let replay = "cargo run --release -p simulations -- systematic --case";
                Some(format!("{case}: {faults}: {what}\n    replay with: {replay} {index}\n"))
            }
        }
    })?;
    print(&summary.to_string())?;
    Ok(summary.is_clean())
}

fn fidelity(scripts: Range<u64>) -> Result<bool, String> {
    let summary = for_each(scripts, |seed, summary: &mut Scripts| {
        summary.count();
        let replay = "cargo run --release -p simulations -- fidelity --scripts 1 --from";
        let tell =
            |difference| format!("script {seed}: {difference}\n    replay with: {replay} {seed}\n");
        compare(seed).err().map(tell)
    })?;
    print(&summary.to_string())?;
    Ok(summary.is_clean())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_with_something_in_it() {
        assert_eq!(parse_seeds("3..10"), Ok(3..10));
        for wrong in ["3", "3..", "a..b", "5..5", "6..5", "-1..2"] {
            assert!(parse_seeds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }
}
