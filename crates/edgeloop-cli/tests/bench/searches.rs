//! Searches for the highest rate: that each step can be judged, and what is said of it.

use rustix::process::Signal;
use testkit::{OddServer, Oddity, eventually};

use crate::run::{Bench, TOO_SLOW};

#[test]
fn a_search_begins_at_a_rate_that_has_enough_samples_and_ends_above_those_that_have_not() {
    let server = OddServer::start(Oddity::None);
    let address = server.address().to_string();
    let page = tempfile::NamedTempFile::new().expect("a temporary file");
    let path = page.path().to_str().expect("UTF-8");
    // Nothing takes less than that, so that each rate fails.
    let options = "-c 2 --find p99.9<1ns -d 500ms --grace 10s";
    let ran = Bench::of(&address, options).with(&["--report", path]).run();
    ran.expect_exit(TOO_SLOW);
    let needs =
        "the first rate is 2,000/s, because p99.9 needs 1,000 samples in each step of 500 ms";
    assert!(ran.stderr.starts_with(&format!("edgeloop: --find: {needs}\n")), "{}", ran.stderr);
    assert_eq!(ran.at("/find/note"), needs);
    assert_eq!(ran.at("/find/ended"), "too_few_samples");
    assert_eq!(ran.at("/find/steps").as_array().map(Vec::len), Some(1));
    assert_eq!(ran.number("/find/steps/0/samples"), 1000);
    assert!(ran.at("/find/knee").is_null());
    // It was judged, or the sender was late.
    ran.expect_said("p99.9<1ns: at no rate that was tried");
    assert!(ran.at("/find/steps/0/figure_us").is_f64(), "{}", ran.summary);
    ran.expect_said("Lower rates have too few samples for p99.9 in a step");
    let page = std::fs::read_to_string(path).expect("a page");
    assert!(page.contains("<h2>Search</h2>") && page.contains("p99.9&lt;1ns"), "{page}");
    assert!(page.contains("data-step=\"2000\""), "{page}");
}

#[test]
fn a_rate_that_is_asked_for_has_longer_steps() {
    let server = OddServer::start(Oddity::None);
    let address = server.address().to_string();
    let options = "-c 2 -r 300 --find p99.9<1ns --grace 10s";
    let going = Bench::of(&address, options).begin();
    eventually("the second step has begun", || server.received() > 1030 * 64);
    going.running.process().signal(Signal::INT);
    let ran = going.end();
    ran.expect_exit(TOO_SLOW);
    let first = ran.stderr.lines().next().unwrap_or_default();
    let note = "edgeloop: --find: steps take 3.40 s and more, because p99.9 needs 1,000 samples";
    assert_eq!(first, note);
    assert_eq!(ran.number("/find/steps/0/samples"), 1020);
    assert!((ran.figure("/find/steps/0/seconds") - 3.4).abs() < 1e-6);
    assert_eq!(ran.at("/find/ended"), "cut_short");
    ran.expect_said("The search was cut short.");
}
