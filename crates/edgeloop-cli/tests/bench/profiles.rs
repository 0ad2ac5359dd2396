//! Steps of the rate: each has as many messages as it was asked for, and figures of its own.

use std::fs;

use serde_json::Value;
use tempfile::NamedTempFile;
use testkit::{OddServer, Oddity};

use crate::run::{Bench, Ran, bench};
use crate::serve::{edgeloop, server};

/// The steps of a run.
fn steps(ran: &Ran) -> &Vec<Value> {
    ran.at("/steps").as_array().expect("steps")
}

fn messages(ran: &Ran) -> Vec<u64> {
    steps(ran).iter().map(|step| step["messages"].as_u64().expect("a number")).collect()
}

#[test]
fn every_step_has_the_messages_that_it_was_asked_for() {
    let server = OddServer::start(Oddity::None);
    for options in ["-c 4", "-c 5 -t 2", "-c 2 --connect-per-message", "--hold 5 --active 2"] {
        let profile = "--profile 100:500ms,300:500ms,0:200ms,0..400:1s,60..20:1s";
        let ran = bench(server.address(), &format!("{options} {profile} --grace 10s"));
        ran.expect_all_answered().expect_messages(440, 0);
        assert_eq!(messages(&ran), [50, 150, 0, 200, 40], "{options}");
        assert_eq!(ran.at("/options/profile"), &profile["--profile ".len()..]);
        let step = &steps(&ran)[3];
        assert_eq!(step["asked_rate"], serde_json::json!([0.0, 400.0]));
        assert_eq!((step["from_s"].as_f64(), step["seconds"].as_f64()), (Some(1.2), Some(1.0)));
        assert_eq!(step["latency_us"]["samples"], 200);
        ran.expect_said("a profile of 5 steps").expect_said("0 to 400/s").expect_said("300/s");
    }
    assert!(server.received() >= 4 * 440 * 64, "and they were sent");
}

#[test]
fn messages_at_random_have_the_rates_of_the_steps_on_average() {
    let server = OddServer::start(Oddity::None);
    let ran = bench(server.address(), "-c 4 --arrival poisson --profile 200:1s,600:1s --grace 10s");
    ran.expect_all_answered();
    let counts = messages(&ran);
    // Five standard deviations.
    assert!((130..=270).contains(&counts[0]) && (478..=722).contains(&counts[1]), "{counts:?}");
}

#[test]
fn the_table_has_a_column_for_the_step_and_the_page_a_table() {
    let server = OddServer::start(Oddity::None);
    let (table, page) =
        (NamedTempFile::new().expect("a file"), NamedTempFile::new().expect("a file"));
    let path = |file: &NamedTempFile| file.path().to_str().expect("a path in UTF-8").to_owned();
    let ran =
        Bench::of(&server.address().to_string(), "-c 2 --profile 100:1s,0..60:2s --grace 10s")
            .with(&["--csv", &path(&table), "--report", &path(&page)])
            .run();
    ran.expect_all_answered().expect_messages(160, 0);
    let rows = fs::read_to_string(table.path()).expect("a table");
    let step: Vec<_> = rows.lines().map(|row| row.split(',').nth(17).expect("a column")).collect();
    assert_eq!(step, ["step", "1", "2", "2"]);
    let page = fs::read_to_string(page.path()).expect("a page");
    for words in ["<h2>Steps</h2>", "1.00 s to 3.00 s", "0 to 60/s"] {
        assert!(page.contains(words), "{words}");
    }
}

#[test]
fn a_pause_of_the_service_shows_in_its_step_alone() {
    let oddity = Oddity::Pauses { after: 150 * 64, span: std::time::Duration::from_millis(500) };
    let server = OddServer::start(oddity);
    let profile = "--profile 100:1s,100:2s,100:1s";
    let options = format!("-c 1 {profile} --grace 10s");
    let (ran, starved) =
        Bench::of(&server.address().to_string(), &options).begin().end_and_starved();
    ran.expect_all_answered().expect_messages(400, 0);
    let max = |step: usize| ran.figure(&format!("/steps/{step}/latency_us/max"));
    assert!(max(1) >= 475_000.0, "{}", ran.summary);
    // Others on this machine make messages late, by no more than they had it for.
    let late = 400_000.0 + starved.as_secs_f64() * 1e6;
    assert!(max(0) < late && max(2) < late, "{starved:?}: {}", ran.summary);
}

#[test]
fn a_run_that_is_interrupted_has_the_steps_that_it_came_to() {
    let server = OddServer::start(Oddity::None);
    let going =
        Bench::of(&server.address().to_string(), "-c 1 --profile 100:200ms,10:60s,5:1s").begin();
    testkit::eventually("the second step has begun", || server.received() > 25 * 64);
    going.running.process().signal(rustix::process::Signal::INT);
    let ran = going.end();
    assert_eq!(steps(&ran).len(), 2, "{}", ran.summary);
    assert!(ran.figure("/steps/1/seconds") < 60.0);
    assert_eq!(messages(&ran)[0], 20);
}

#[test]
fn runs_along_one_profile_are_merged_step_by_step() {
    let server = server(&[]).start();
    let address = server.address().to_string();
    let files = [(), ()].map(|()| NamedTempFile::new().expect("a file"));
    let runs = files.iter().map(|file| {
        let path = file.path().to_str().expect("a path in UTF-8").to_owned();
        let bench =
            edgeloop(&["bench", &address, "--warmup", "0", "--profile", "100:300ms,200:300ms"]);
        bench.args(&["--grace", "10s", "--json", &path]).begin()
    });
    runs.collect::<Vec<_>>().into_iter().for_each(|run| drop(run.end()));
    let sum = NamedTempFile::new().expect("a file");
    let mut arguments = vec!["report"];
    let paths: Vec<_> = files.iter().map(|file| file.path().to_str().expect("UTF-8")).collect();
    arguments.extend(&paths);
    arguments.extend(["-o", "/dev/null", "--json", sum.path().to_str().expect("UTF-8")]);
    let ended = edgeloop(&arguments).run();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let results: Value =
        serde_json::from_str(&fs::read_to_string(sum.path()).expect("results")).expect("JSON");
    let step = |index: usize| {
        (
            results["steps"][index]["messages"].clone(),
            results["steps"][index]["latency_us"]["samples"].clone(),
        )
    };
    assert_eq!(step(0), (60.into(), 60.into()));
    assert_eq!(step(1), (120.into(), 120.into()));
    assert_eq!(results["steps"][1]["asked_rate"], serde_json::json!([400.0, 400.0]));
}
