//! Shows that the contract's tests can fail: applies each mutation that has a clause in a copy of
//! the tree, and expects the tests named after that clause to notice. `simulations mutations` tries
//! those that seeds must notice.
//!
//! `cargo run -p mutate` tries all of `mutations/*.toml`, with arguments only those whose clause is
//! one of them or whose description holds one. Exit code 0 when every mutation was noticed, 1 when
//! one survived or does not fit the code any more, 2 when it could not be tried.

// The layers, lowest first: a module names only modules above it in this list. A test holds that.
mod targets;
mod trial;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Instant;

use mutate::{Laboratory, read_all, root};
use trial::Verdict;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(line) => {
            eprintln!("mutate: {line}");
            ExitCode::from(2)
        }
    }
}

/// Tries the mutations that these words mean; returns whether all were noticed.
fn run(words: &[String]) -> Result<bool, String> {
    let root = root();
    let mutations: Vec<_> = read_all(&root)?
        .into_iter()
        .filter(|mutation| mutation.is_meant(words))
        .filter_map(|mutation| Some((mutation.prefix()?, mutation)))
        .collect();
    if mutations.is_empty() {
        return Err(format!("no mutation with a clause is meant by {}", words.join(" ")));
    }
    let laboratory = Laboratory::set_up("mutate")?;
    let mut failed = BTreeSet::new();
    let mut unnoticed = 0;
    for (prefix, mutation) in &mutations {
        println!("{} {}", mutation.clause.as_deref().unwrap_or_default(), mutation.what);
        let began = Instant::now();
        let verdict = trial::attempt(&laboratory, mutation, prefix)?;
        println!("    {verdict} ({} s)", began.elapsed().as_secs());
        match verdict {
            Verdict::Noticed(tests) => failed.extend(tests),
            Verdict::Hung => {}
            Verdict::Survived | Verdict::Unfit(_) => unnoticed += 1,
        }
    }
    println!("{} mutations, {unnoticed} of them unnoticed", mutations.len());
    let contract = std::fs::read_to_string(root.join("docs/CONTRACT.md"))
        .map_err(|error| format!("docs/CONTRACT.md: {error}"))?;
    let prefixes = mutations.iter().map(|(prefix, _)| prefix.as_str()).collect();
    let never: Vec<String> = tests_of(&contract, &prefixes)
        .into_iter()
        .filter(|test| !failed.iter().any(|failed| failed.ends_with(test)))
        .collect();
    if !never.is_empty() {
        println!("tests of these clauses that no mutation made fail:");
        never.iter().for_each(|test| println!("    {test}"));
    }
    Ok(unnoticed == 0)
}

/// The tests in the contract whose names begin with one of these prefixes.
fn tests_of(contract: &str, prefixes: &BTreeSet<&str>) -> Vec<String> {
    contract
        .lines()
        .filter_map(|line| line.strip_prefix("- `")?.strip_suffix('`'))
        .filter(|test| prefixes.iter().any(|prefix| test.starts_with(prefix)))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_of_a_clause_are_those_named_after_it() {
        let contract = "### C4 · Words\n\nShown by:\n\n- `c04_one`\n- `c14_two`\n- `nc_three`\n";
        assert_eq!(tests_of(contract, &BTreeSet::from(["c04_"])), ["c04_one"]);
        let both = BTreeSet::from(["c14_", "c04_"]);
        assert_eq!(tests_of(contract, &both), ["c04_one", "c14_two"]);
    }
}
