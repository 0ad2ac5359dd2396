//! The command as a user runs it: a pair from end to end, and what it says to what is wrong.

use std::process::{Command, Output};

fn comparisons(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_comparisons"))
        .args(arguments)
        .output()
        .expect("the command can be started")
}

#[track_caller]
fn expect_usage(arguments: &[&str], words: &str) {
    let output = comparisons(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?}: {said}");
}

#[test]
fn a_wrong_name_is_one_line_that_names_it() {
    expect_usage(&["pair", "nginx", "bare", "--shape", "small-50"], "\"nginx\"");
    expect_usage(&["pair", "edgeloop", "nginx", "--shape", "small-50"], "\"nginx\"");
    expect_usage(&["pair", "edgeloop", "bare", "--shape", "small-51"], "\"small-51\"");
    expect_usage(&["pair", "edgeloop", "itself", "--shape", "small-50"], "itself");
    expect_usage(&["pair", "edgeloop", "bare", "--shape", "fanout-500"], "fanout");
    expect_usage(&["pair", "edgeloop", "bare"], "--shape");
    expect_usage(&["--nonsense"], "--nonsense");
}

/// A pair of our own servers, which are always there, with slices as short as can be. Whether the
/// null holds depends on the machine, so both ends are allowed; that everything was answered, and
/// counted, does not.
#[test]
fn a_pair_is_measured_from_end_to_end() {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return;
    }
    let output = comparisons(&[
        "pair",
        "edgeloop-library",
        "edgeloop-library",
        "--shape",
        "small-50",
        "--cycles",
        "8",
        "--slice",
        "2",
    ]);
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{said}{errors}");
    for words in ["ratio ", "null ", " of processor time a message"] {
        assert!(said.contains(words), "{words:?} is not in {said}{errors}");
    }
}
