//! Known bugs, put in one by one: how many seeds it takes until each is found.

use std::fs;
use std::time::Duration;

use mutate::{Edit, Laboratory};
use serde::Deserialize;

use crate::output::print;

/// What a build and the runs of one bug may take.
const LIMIT: Duration = Duration::from_secs(300);

/// One bug, as it stands in `planted.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bug {
    /// What it is called.
    name: String,
    /// Within how many seeds it must be found.
    within: u64,
    /// What is changed, all together.
    change: Vec<Change>,
}

/// One change of a file. The code stands in it once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    file: String,
    code: String,
    instead: String,
}

impl Change {
    fn edit(&self) -> Edit<'_> {
        Edit { file: &self.file, code: &self.code, instead: &self.instead }
    }
}

impl Bug {
    /// How many seeds it took, or why it was not found.
    fn hunt(&self, laboratory: &Laboratory) -> Result<Result<u64, String>, String> {
        let seeds = format!("0..{}", self.within);
        let run = ["run", "--release", "-q", "-p", "simulations", "--", "run", "--seeds", &seeds];
        let edits: Vec<Edit<'_>> = self.change.iter().map(Change::edit).collect();
        let hunted = laboratory.with(&edits, || laboratory.cargo(&run, LIMIT))?;
        Ok(match hunted {
            Err(why) => Err(why),
            Ok(None) => Err(format!("it did not end within {LIMIT:?}")),
            Ok(Some(output)) => match output.status.code() {
                Some(0) => Err(format!("NOT FOUND in {} seeds", self.within)),
                Some(1) => first_seed(&String::from_utf8_lossy(&output.stdout))
                    .map(|seed| seed + 1)
                    .ok_or_else(|| "it was found, but in no seed".to_owned()),
                _ => {
                    let errors = String::from_utf8_lossy(&output.stderr);
                    let error = errors.lines().find(|line| line.starts_with("error"));
                    Err(format!("it does not build: {}", error.unwrap_or("no error is named")))
                }
            },
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    bug: Vec<Bug>,
}

fn read() -> Result<Vec<Bug>, String> {
    let path = mutate::root().join("crates/simulations/planted.toml");
    let text = fs::read_to_string(&path).map_err(|error| format!("planted.toml: {error}"))?;
    let file: File = toml::from_str(&text).map_err(|error| format!("planted.toml: {error}"))?;
    Ok(file.bug)
}

/// The lowest seed that the output says was violated.
fn first_seed(output: &str) -> Option<u64> {
    let seeds = output.lines().filter_map(|line| {
        let (seed, _) = line.strip_prefix("seed ").unwrap_or(line).split_once(": ")?;
        seed.parse().ok()
    });
    seeds.min()
}

/// Plants and hunts the bugs whose names hold one of these words, or all. Returns whether each was
/// found within its seeds.
pub(crate) fn find(words: &[String]) -> Result<bool, String> {
    let mut bugs = read()?;
    let meant = |bug: &Bug| words.iter().any(|word| bug.name.contains(word.as_str()));
    bugs.retain(|bug| words.is_empty() || meant(bug));
    if bugs.is_empty() {
        return Err(format!("no bug is called {}", words.join(" ")));
    }
    let laboratory = Laboratory::set_up("planted")?;
    let mut found = 0;
    for bug in &bugs {
        let line = match bug.hunt(&laboratory)? {
            Ok(seeds) => {
                found += 1;
                format!("found within {seeds:>6} of {:>6} seeds  {}\n", bug.within, bug.name)
            }
            Err(why) => format!("{}: {why}\n", bug.name),
        };
        print(&line)?;
    }
    print(&format!("{found} of {} planted bugs were found\n", bugs.len()))?;
    Ok(found == bugs.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_fits_the_code() {
        let bugs = read().expect("planted.toml can be read");
        assert!(bugs.len() >= 15, "only {} bugs", bugs.len());
        for change in bugs.iter().flat_map(|bug| &bug.change) {
            let path = mutate::root().join(&change.file);
            let text = fs::read_to_string(path).expect("the bug's file");
            let changed = change.edit().apply(&text);
            assert_ne!(changed.as_deref(), Ok(text.as_str()), "{change:?} changes nothing");
            assert!(changed.is_ok(), "{changed:?}: {change:?}");
        }
    }

    #[test]
    fn the_first_seed_is_the_lowest_that_was_violated() {
        let output = "seed 70: lost\n    with 0 faults\nseed 9: more\n3: a panic: of some kind\n";
        assert_eq!(first_seed(output), Some(3));
        assert_eq!(first_seed("runs  10\nviolations 0\n"), None);
    }
}
