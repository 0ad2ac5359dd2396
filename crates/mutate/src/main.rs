//! Shows that the contract's tests can fail: breaks the code of each clause on purpose, in a copy
//! of the tree, and expects the tests named after that clause to notice.
//!
//! `cargo run -p mutate` tries all of `mutations/*.toml`, with arguments only those whose clause is
//! one of them or whose description holds one. Exit code 0 when every mutation was noticed, 1 when
//! one survived or does not fit the code any more, 2 when it could not be tried.

// The layers, lowest first: a module names only modules above it in this list. A test holds that.
mod mutation;
mod trial;

use std::collections::BTreeSet;
use std::process::ExitCode;

use mutate::Laboratory;
use mutation::Mutation;
use trial::Verdict;

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).collect();
    match run(&filters) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(line) => {
            eprintln!("mutate: {line}");
            ExitCode::from(2)
        }
    }
}

/// Tries the mutations that were asked for; returns whether all were noticed.
fn run(filters: &[String]) -> Result<bool, String> {
    let root = mutate::root();
    let mut mutations = mutation::read_all(&root)?;
    mutations.retain(|mutation| mutation.is_meant(filters));
    if mutations.is_empty() {
        return Err(format!("no mutation is meant by {}", filters.join(" ")));
    }
    let laboratory = Laboratory::set_up("mutate")?;
    let mut failed = BTreeSet::new();
    let mut unnoticed = 0;
    for mutation in &mutations {
        println!("{} {}", mutation.clause, mutation.what);
        let verdict = trial::attempt(&laboratory, mutation)?;
        println!("    {verdict}");
        match verdict {
            Verdict::Noticed(tests) => failed.extend(tests),
            Verdict::Hung => {}
            Verdict::Survived | Verdict::Unfit(_) => unnoticed += 1,
        }
    }
    println!("{} mutations, {unnoticed} of them unnoticed", mutations.len());
    let contract = std::fs::read_to_string(root.join("docs/CONTRACT.md"))
        .map_err(|error| format!("docs/CONTRACT.md: {error}"))?;
    let never: Vec<String> = tests_of(&contract, &mutations)
        .into_iter()
        .filter(|test| !failed.iter().any(|failed| failed.ends_with(test)))
        .collect();
    if !never.is_empty() {
        println!("tests of these clauses that no mutation made fail:");
        never.iter().for_each(|test| println!("    {test}"));
    }
    Ok(unnoticed == 0)
}

/// The tests that the contract names after the clauses of these mutations.
fn tests_of(contract: &str, mutations: &[Mutation]) -> Vec<String> {
    let prefixes: BTreeSet<String> = mutations.iter().map(Mutation::prefix).collect();
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
        let mutation = |clause: &str| Mutation {
            clause: clause.to_owned(),
            what: String::new(),
            file: String::new(),
            code: String::new(),
            instead: String::new(),
        };
        assert_eq!(tests_of(contract, &[mutation("C4")]), ["c04_one"]);
        assert_eq!(tests_of(contract, &[mutation("C14"), mutation("C4")]), ["c04_one", "c14_two"]);
    }
}
