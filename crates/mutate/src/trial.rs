//! One mutation at a time is built and tested.

use std::fmt;
use std::time::Duration;

use mutate::{Laboratory, Mutation, root};

use crate::targets::{PACKAGES, holding};

/// What the tests of one clause may take. The slowest take about a minute.
const LIMIT: Duration = Duration::from_secs(240);

/// What building may take.
const BUILD_LIMIT: Duration = Duration::from_secs(600);

/// What came of a mutation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// These tests failed.
    Noticed(Vec<String>),
    /// The tests did not end.
    Hung,
    /// All tests passed.
    Survived,
    /// It does not fit the code, or does not compile with it.
    Unfit(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Noticed(tests) => write!(f, "noticed by {}", tests.join(", ")),
            Self::Hung => write!(f, "noticed: the tests did not end within {LIMIT:?}"),
            Self::Survived => f.write_str("SURVIVED"),
            Self::Unfit(why) => write!(f, "UNFIT: {why}"),
        }
    }
}

/// Builds one mutation with the tests whose names begin with `prefix`, and runs them.
pub(crate) fn attempt(
    laboratory: &Laboratory,
    mutation: &Mutation,
    prefix: &str,
) -> Result<Verdict, String> {
    let mut test = vec!["test".to_owned(), "--profile=mutants".to_owned()];
    test.extend(PACKAGES.map(|package| format!("--package={package}")));
    test.extend(holding(&root(), prefix)?);
    let test: Vec<&str> = test.iter().map(String::as_str).collect();
    Ok(laboratory.with(mutation, || run(laboratory, &test, prefix))?.unwrap_or_else(Verdict::Unfit))
}

fn run(laboratory: &Laboratory, test: &[&str], prefix: &str) -> Result<Verdict, String> {
    let built = laboratory.cargo(&[test, &["--no-run"]].concat(), BUILD_LIMIT)?;
    let Some(built) = built else { return Ok(Verdict::Unfit("it does not build".to_owned())) };
    if !built.status.success() {
        let errors = String::from_utf8_lossy(&built.stderr);
        let error = errors.lines().find(|line| line.starts_with("error"));
        return Ok(Verdict::Unfit(error.unwrap_or("it does not build").to_owned()));
    }
    let run = [test, &["--no-fail-fast", "--", prefix]].concat();
    let Some(tested) = laboratory.cargo(&run, LIMIT)? else { return Ok(Verdict::Hung) };
    let failed = failed_tests(&String::from_utf8_lossy(&tested.stdout));
    Ok(if failed.is_empty() { Verdict::Survived } else { Verdict::Noticed(failed) })
}

/// The names in the lines of libtest that say `FAILED`.
fn failed_tests(output: &str) -> Vec<String> {
    let failed = output.lines().filter_map(|line| {
        let (name, result) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
        (result == "FAILED").then(|| name.to_owned())
    });
    failed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_tests_are_told_from_those_that_passed() {
        let output = "running 3 tests\ntest c04_one ... ok\ntest wheel::c04_two ... FAILED\n\
                      test c04_three ... ignored\n\ntest result: FAILED. 1 passed\n";
        assert_eq!(failed_tests(output), ["wheel::c04_two"]);
    }
}
