//! A copy of the tree in which one mutation at a time is built and tested.

use std::fmt;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::mutation::Mutation;

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

/// The copy, and where it is built.
#[derive(Debug)]
pub(crate) struct Laboratory {
    tree: PathBuf,
    target: PathBuf,
}

impl Laboratory {
    /// Copies the tree as git sees it, what is not committed included.
    pub(crate) fn set_up(root: &Path, directory: &Path) -> Result<Self, String> {
        let list = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .current_dir(root)
            .output()
            .map_err(|error| format!("git: {error}"))?;
        let list = String::from_utf8(list.stdout).map_err(|error| format!("git: {error}"))?;
        let tree = directory.join("tree");
        let _ = fs::remove_dir_all(&tree);
        // What is deleted but not committed is in the list as well.
        let files = list.split('\0').filter(|file| root.join(file).is_file());
        for file in files {
            let to = tree.join(file);
            let parent = to.parent().unwrap_or(&tree);
            fs::create_dir_all(parent)
                .and_then(|()| fs::copy(root.join(file), &to))
                .map_err(|error| format!("{}: {error}", to.display()))?;
        }
        Ok(Self { tree, target: directory.join("target") })
    }

    /// Builds and tests one mutation, and takes it back.
    pub(crate) fn attempt(&self, mutation: &Mutation) -> Result<Verdict, String> {
        let path = self.tree.join(&mutation.file);
        let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
        let text = fs::read_to_string(&path).map_err(wrong)?;
        let broken = match mutation.apply(&text) {
            Ok(broken) => broken,
            Err(why) => return Ok(Verdict::Unfit(why)),
        };
        fs::write(&path, broken).map_err(wrong)?;
        let verdict = self.test(&mutation.prefix());
        fs::write(&path, text).map_err(wrong)?;
        verdict
    }

    fn test(&self, prefix: &str) -> Result<Verdict, String> {
        let built = self.cargo(&["--no-run"], BUILD_LIMIT)?;
        let Some(built) = built else { return Ok(Verdict::Unfit("it does not build".to_owned())) };
        if !built.status.success() {
            let errors = String::from_utf8_lossy(&built.stderr);
            let error = errors.lines().find(|line| line.starts_with("error"));
            return Ok(Verdict::Unfit(error.unwrap_or("it does not build").to_owned()));
        }
        let Some(tested) = self.cargo(&["--no-fail-fast", "--", prefix], LIMIT)? else {
            return Ok(Verdict::Hung);
        };
        let failed = failed_tests(&String::from_utf8_lossy(&tested.stdout));
        Ok(if failed.is_empty() { Verdict::Survived } else { Verdict::Noticed(failed) })
    }

    /// Runs `cargo test` in the copy; answers `None` if it had to be ended.
    fn cargo(&self, arguments: &[&str], limit: Duration) -> Result<Option<Output>, String> {
        let child = Command::new(env!("CARGO"))
            .args(["test", "--workspace", "--exclude", "mutate"])
            .args(arguments)
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.target)
            // Most of the time goes into linking.
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cargo: {error}"))?;
        let group = Pid::from_child(&child);
        let reader = thread::spawn(move || child.wait_with_output());
        let begin = Instant::now();
        while !reader.is_finished() {
            if begin.elapsed() > limit {
                // The tests, their servers and their tracers are all in it.
                let _ = kill_process_group(group, Signal::KILL);
                let _ = reader.join();
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(20));
        }
        let output = reader.join().map_err(|_| "the reader of cargo's output panicked")?;
        output.map(Some).map_err(|error| format!("cargo: {error}"))
    }
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
