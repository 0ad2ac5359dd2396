//! What was skipped or scaled down in a run of `cargo test`, told once more at its end.
//!
//! The test programs of a run know nothing of each other, but all have the same `cargo` above them.
//! So each leaves its notes in a file that is named after that process, and the last thing that
//! `cargo test` runs, an example in the documentation of this crate, finds the file by going up
//! from itself. Notes of other runs have other names, and go when their `cargo` has gone.
//!
//! What examples write is captured, but not what the program writes that runs them. Its standard
//! output is that of `cargo`, and the example borrows it.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::process;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getppid, getuid, pidfd_getfd, pidfd_open};

/// Words with which lines begin that are told again.
const WORTH_A_NOTE: [&str; 2] = ["SKIPPED: ", "SCALED DOWN: "];

/// Says something that must be seen though the test passes: libtest captures `println!` and
/// `eprintln!`, but not what is written to the stream itself. What begins with `SKIPPED: ` or
/// `SCALED DOWN: `, and then has the test and the reason, is said again when `cargo test` ends.
pub fn say(line: &str) {
    let mut stderr = std::io::stderr().lock();
    // There is nobody to tell when stderr itself fails.
    let _ = writeln!(stderr, "{line}");
    if WORTH_A_NOTE.iter().any(|words| line.starts_with(words)) {
        note(line);
    }
}

/// Leaves a line for the end. It has been said already, so nothing is lost where that fails.
fn note(line: &str) -> Option<()> {
    let above = u32::try_from(getppid()?.as_raw_nonzero().get()).ok()?;
    let mut file = OpenOptions::new().create(true).append(true).open(notes_of(above)?).ok()?;
    // One write, so that the lines of several programs do not mix.
    file.write_all(format!("{line}\n").as_bytes()).ok()
}

/// Says what this run of `cargo test` has skipped or scaled down, each reason once.
///
/// `cargo test` runs this example last, and shows what it says:
///
/// ```
/// testkit::tell_notes();
/// ```
pub fn tell_notes() {
    let notes = notes_above().and_then(|path| {
        let notes = fs::read_to_string(&path).ok()?;
        // They have been told.
        let _ = fs::remove_file(path);
        Some(notes)
    });
    remove_stale();
    // What can't be told here has been said before.
    if let Some(mut output) = output_above() {
        let _ = output.write_all(format!("\n{}\n", summary(&notes.unwrap_or_default())).as_bytes());
    }
}

/// The standard output of the process above.
fn output_above() -> Option<File> {
    let above = getppid()?;
    let borrowed = || {
        let process = pidfd_open(above, PidfdFlags::empty())?;
        pidfd_getfd(process, 1, PidfdGetfdFlags::empty())
    };
    if let Ok(output) = borrowed() {
        return Some(output.into());
    }
    // Where only a debugger may do that, a terminal or a pipe can be opened once more. A file must
    // not be: whoever writes behind us would begin where we did.
    let path = format!("/proc/{}/fd/1", above.as_raw_nonzero());
    let is_file = fs::metadata(&path).ok()?.is_file();
    if is_file { None } else { OpenOptions::new().append(true).open(path).ok() }
}

/// The notes, sorted by what happened and why.
fn summary(notes: &str) -> String {
    let mut tests: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for line in notes.lines() {
        let Some((what, rest)) = line.split_once(": ") else { continue };
        let (test, why) = rest.split_once(": ").unwrap_or((rest, ""));
        tests.entry((what, why)).or_default().push(test);
    }
    if tests.is_empty() {
        return "Nothing was skipped or scaled down.".to_owned();
    }
    let mut text = "Skipped or scaled down for want of something:".to_owned();
    for ((what, why), mut tests) in tests {
        tests.sort_unstable();
        tests.dedup();
        let _ = write!(text, "\n  {what}: {why}");
        for test in tests {
            let _ = write!(text, "\n      {test}");
        }
    }
    text
}

/// The notes of the run in which this process is, if it has any.
fn notes_above() -> Option<PathBuf> {
    let mut pid = process::id();
    while pid > 1 {
        let path = notes_of(pid)?;
        if path.exists() {
            return Some(path);
        }
        pid = field(pid, PARENT)?.parse().ok()?;
    }
    None
}

/// Where the notes of the run under this process are. Numbers of processes come again, so its time
/// of birth is in the name.
fn notes_of(pid: u32) -> Option<PathBuf> {
    let born = field(pid, BORN)?;
    Some(env::temp_dir().join(format!("{}{pid}-{born}", prefix())))
}

fn prefix() -> String {
    format!("edgeloop-notes-{}-", getuid().as_raw())
}

/// Removes the notes of runs that ended without telling them.
fn remove_stale() {
    let Ok(entries) = fs::read_dir(env::temp_dir()) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(run) = name.strip_prefix(&prefix()) else { continue };
        let pid = run.split('-').next().and_then(|pid| pid.parse().ok());
        if pid.and_then(notes_of).is_none_or(|current| current != path) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Fields of `/proc/PID/stat`, counted from the state on, which is 0.
const PARENT: usize = 1;
const BORN: usize = 19;

fn field(pid: u32, index: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(index).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_once_with_its_tests() {
        let notes = "SKIPPED: b: strace is missing\nSCALED DOWN: c: 5, not 9: the limit is 7\n\
                     SKIPPED: a: strace is missing\nSKIPPED: a: strace is missing\n";
        let told = summary(notes);
        let lines: Vec<&str> = told.lines().skip(1).collect();
        let expected = [
            "  SCALED DOWN: 5, not 9: the limit is 7",
            "      c",
            "  SKIPPED: strace is missing",
            "      a",
            "      b",
        ];
        assert_eq!(lines, expected);
        assert_eq!(summary(""), "Nothing was skipped or scaled down.");
    }

    #[test]
    fn notes_are_found_from_below_and_those_of_the_dead_are_not() {
        let mine = notes_of(process::id()).expect("where my own would be");
        fs::write(&mine, "SKIPPED: a: b\n").expect("a note");
        assert_eq!(notes_above(), Some(mine.clone()));
        // The same number, and another birth.
        let stale = env::temp_dir().join(format!("{}{}-1", prefix(), process::id()));
        fs::write(&stale, "SKIPPED: c: d\n").expect("a stale note");
        remove_stale();
        assert!(mine.exists() && !stale.exists());
        fs::remove_file(mine).expect("it was there");
    }
}
