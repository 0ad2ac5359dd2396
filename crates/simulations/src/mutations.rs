//! Mutations that seeds must notice: how many seeds it takes until each is noticed.

use std::time::Duration;

use mutate::{Laboratory, Mutation, read_all, root};

use crate::output::print;

/// What a build and the runs of one mutation may take.
const LIMIT: Duration = Duration::from_secs(300);

/// How many seeds it took, or why it was not noticed.
fn attempt(
    laboratory: &Laboratory,
    mutation: &Mutation,
    within: u64,
) -> Result<Result<u64, String>, String> {
    let seeds = format!("0..{within}");
    let run = ["run", "--release", "-q", "-p", "simulations", "--", "run", "--seeds", &seeds];
    let output = match laboratory.with(mutation, || laboratory.cargo(&run, LIMIT))? {
        Ok(Some(output)) => output,
        Ok(None) => return Ok(Err(format!("it did not end within {LIMIT:?}"))),
        Err(why) => return Ok(Err(why)),
    };
    Ok(match output.status.code() {
        Some(0) => Err(format!("UNNOTICED in {within} seeds")),
        Some(1) => first_seed(&String::from_utf8_lossy(&output.stdout))
            .map(|seed| seed + 1)
            .ok_or_else(|| "it was noticed, but in no seed".to_owned()),
        _ => {
            let errors = String::from_utf8_lossy(&output.stderr);
            let error = errors.lines().find(|line| line.starts_with("error"));
            Err(format!("it does not build: {}", error.unwrap_or("no error is named")))
        }
    })
}

/// The lowest seed that the output says was violated.
fn first_seed(output: &str) -> Option<u64> {
    let seeds = output.lines().filter_map(|line| {
        let (seed, _) = line.strip_prefix("seed ").unwrap_or(line).split_once(": ")?;
        seed.parse().ok()
    });
    seeds.min()
}

/// Tries the mutations that seeds must notice, of these only those that the words mean. Returns
/// whether each was noticed within its seeds.
pub(crate) fn attempt_all(words: &[String]) -> Result<bool, String> {
    let mutations: Vec<_> = read_all(&root())?
        .into_iter()
        .filter(|mutation| mutation.is_meant(words))
        .filter_map(|mutation| Some((mutation.within?, mutation)))
        .collect();
    if mutations.is_empty() {
        return Err(format!("no mutation for the seeds is meant by {}", words.join(" ")));
    }
    let laboratory = Laboratory::set_up("mutations")?;
    let mut noticed = 0;
    for (within, mutation) in &mutations {
        let what = &mutation.what;
        let line = match attempt(&laboratory, mutation, *within)? {
            Ok(seeds) => {
                noticed += 1;
                format!("noticed within {seeds:>6} of {within:>6} seeds  {what}\n")
            }
            Err(why) => format!("{what}: {why}\n"),
        };
        print(&line)?;
    }
    print(&format!("{noticed} of {} mutations were noticed\n", mutations.len()))?;
    Ok(noticed == mutations.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_seed_is_the_lowest_that_was_violated() {
        let output = "seed 70: lost\n    with 0 faults\nseed 9: more\n3: a panic: of some kind\n";
        assert_eq!(first_seed(output), Some(3));
        assert_eq!(first_seed("runs  10\nviolations 0\n"), None);
    }
}
