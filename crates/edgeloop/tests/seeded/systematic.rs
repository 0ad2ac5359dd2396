//! Early calls that fail, each in each of its ways.

use simulations::{Case, alone, in_pairs};

#[track_caller]
fn expect_all(cases: impl Iterator<Item = Case>) -> usize {
    let mut met = 0;
    for case in cases {
        match case.run(None) {
            Ok(outcome) => met += usize::from(!outcome.faults.is_empty()),
            Err(failure) => panic!("{case:?}: {failure:?}"),
        }
    }
    met
}

/// The command `simulations systematic` runs them all.
#[test]
fn each_early_call_can_fail_in_each_of_its_ways() {
    let met = expect_all(alone().filter(|case| case.faults[0].nth <= 12));
    println!("{met} runs met their fault");
    assert!(met > 1000, "only {met}");
}

/// All of them in CI, and one in seven elsewhere.
#[test]
fn first_calls_can_fail_in_pairs() {
    let step = if std::env::var_os("CI").is_some() { 1 } else { 7 };
    let cases = in_pairs().filter(|case| case.faults.iter().all(|one| one.nth == 2));
    let met = expect_all(cases.step_by(step));
    println!("{met} runs met a fault");
    assert!(met > 200, "only {met}");
}
