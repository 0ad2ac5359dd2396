//! What a run writes while it goes and when it is over: JSON, a table, and lines.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::NamedTempFile;
use testkit::{OddServer, Oddity, eventually};

use crate::run::{Bench, DONE, Ran};
use crate::serve::edgeloop;

const COLUMNS: [&str; 24] = [
    "second",
    "messages",
    "unanswered",
    "bytes_sent",
    "bytes_received",
    "errors",
    "alive",
    "in_flight",
    "p50_us",
    "p99_us",
    "max_us",
    "seconds",
    "rate",
    "p95_us",
    "answered_p50_us",
    "answered_p99_us",
    "answered_max_us",
    "step",
    "duplicates",
    "reordered",
    "late",
    "foreign",
    "corrupted",
    "no_room",
];

/// The rows below the head of a table.
#[track_caller]
fn rows(table: &NamedTempFile) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(table.path()).expect("a table");
    let mut rows = text.lines().map(|row| row.split(',').map(str::to_owned).collect());
    assert_eq!(rows.next(), Some(COLUMNS.map(str::to_owned).to_vec()));
    rows.collect()
}

#[track_caller]
fn column(rows: &[Vec<String>], name: &str) -> Vec<u64> {
    let index = COLUMNS.iter().position(|&column| column == name).expect("a column");
    rows.iter().map(|row| row[index].parse().expect("a whole number")).collect()
}

/// A run of 50 messages a second whose seconds go into this table.
fn tabled(server: &OddServer, table: &NamedTempFile, options: &str) -> Bench {
    let path = table.path().to_str().expect("a path in UTF-8");
    let options = format!("-c 2 -r 50 --grace 10s {options}");
    Bench::of(&server.address().to_string(), &options).with(&["--csv", path])
}

fn lines(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().collect()
}

#[test]
fn json_on_standard_output_is_all_that_is_there_and_has_every_figure() {
    let server = OddServer::start(Oddity::None);
    let address = server.address().to_string();
    let arguments = ["bench", &address, "-c", "2", "-n", "20", "--warmup", "0", "--json", "-"];
    let ended = edgeloop(&arguments).run();
    assert_eq!(ended.code, Some(DONE), "{}", ended.stderr);
    let results: Value = serde_json::from_str(&ended.stdout).expect("JSON and nothing else");
    let top = [
        "schema",
        "messages",
        "seconds",
        "rate",
        "asked_rate",
        "latency_us",
        "service_us",
        "bytes_sent",
        "bytes_received",
        "errors",
        "verify",
        "late",
        "unanswered",
        "connections_alive",
    ];
    for name in top {
        assert!(results.get(name).is_some(), "{name} is missing");
    }
    for times in ["latency_us", "answered_us", "service_us", "connect_us"] {
        let figures = [
            "min",
            "mean",
            "p50",
            "p90",
            "p95",
            "p99",
            "p99_9",
            "p99_99",
            "max",
            "samples",
            "histogram",
        ];
        for name in figures {
            assert!(results[times].get(name).is_some(), "{times}.{name} is missing");
        }
    }
    for name in ["checked", "mismatched", "missing", "surplus"] {
        assert!(results["verify"][name].is_u64(), "verify.{name} is no number");
    }
    let whole = [("schema", 2), ("messages", 20), ("unanswered", 0), ("connections_alive", 2)];
    for (name, value) in whole {
        assert_eq!(results[name], value, "{name}");
    }
    assert_eq!(results["options"]["command"][1], "bench");
}

#[test]
fn figures_agree_with_the_histogram_and_with_each_other() {
    let server = OddServer::start(Oddity::Delays(Duration::from_millis(2)));
    let address = server.address().to_string();
    let ran = Bench::of(&address, "-c 4 -n 400 --grace 10s").run();
    ran.expect_exit(DONE);
    let histogram = ran.histogram("latency_us");
    assert_eq!((histogram.len(), ran.number("/latency_us/samples")), (400, 400));
    let mut last = 0.0;
    for (name, quantile) in [("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)]
    {
        let figure = ran.figure(&format!("/latency_us/{name}"));
        assert!(figure >= last, "{name}: {figure} is below {last}");
        last = figure;
        #[expect(clippy::cast_precision_loss, reason = "below an hour in nanoseconds")]
        let same = histogram.value_at_quantile(quantile) as f64 / 1000.0;
        // The resolution is one part in a thousand.
        assert!((figure - same).abs() <= same / 500.0, "{name}: {figure} and {same}");
    }
    assert!(ran.figure("/latency_us/min") >= 1998.0, "no answer comes before 2 ms");
    assert_eq!(ran.number("/bytes_sent"), 400 * 64);
    assert!((ran.figure("/rate") * ran.figure("/seconds") - 400.0).abs() < 0.001);
}

#[test]
fn the_table_has_a_head_and_a_row_for_each_second() {
    let server = OddServer::start(Oddity::None);
    let table = NamedTempFile::new().expect("a temporary file");
    let ran = tabled(&server, &table, "-d 2500ms").run();
    ran.expect_all_answered().expect_messages(125, 0);
    let rows = rows(&table);
    assert!(rows.iter().all(|row| row.len() == COLUMNS.len()), "{rows:?}");
    assert_eq!(column(&rows, "second"), [0, 1, 2]);
    assert_eq!(column(&rows, "messages").iter().sum::<u64>(), 125);
    assert_eq!(column(&rows, "alive"), [2, 2, 2]);
    assert_eq!(column(&rows, "in_flight")[2], 0);
    assert_eq!(ran.at("/intervals").as_array().map(Vec::len), Some(3));
}

#[test]
fn no_second_is_left_out_when_the_tool_itself_stood_still() {
    let server = OddServer::start(Oddity::None);
    let table = NamedTempFile::new().expect("a temporary file");
    let going = tabled(&server, &table, "-d 2500ms").begin();
    // More than the messages of a second.
    eventually("a second is over", || server.received() > 50 * 64);
    let process = going.running.process();
    process.signal(Signal::STOP);
    // The rest of the run, and more.
    thread::sleep(Duration::from_secs(2));
    process.signal(Signal::CONT);
    let ran = going.end();
    // Nobody was late but the tool, and it says so.
    ran.expect_exit(4).expect_messages(125, 0);
    assert_eq!(column(&rows(&table), "second"), [0, 1, 2]);
}

#[test]
fn without_a_terminal_each_second_is_a_plain_line() {
    let server = OddServer::start(Oddity::None);
    let address = server.address().to_string();
    let ran = Bench::of(&address, "-c 2 -r 50 -d 2500ms --grace 10s").run();
    ran.expect_all_answered();
    let lines = lines(&ran);
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (time, line) in ["     1 s  ", "     2 s  ", "   2.5 s  "].into_iter().zip(lines) {
        assert!(line.starts_with(time), "{line:?}");
        // It has too few messages for the 99th percentile.
        for words in ["/s  p50 ", "  max ", "  in flight ", "  alive 2"] {
            assert!(line.contains(words), "{words:?} is missing: {line:?}");
        }
        assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    }
}

#[test]
fn a_quiet_run_says_nothing_while_it_goes() {
    let server = OddServer::start(Oddity::None);
    let address = server.address().to_string();
    let ran = Bench::of(&address, "-q -c 2 -r 50 -d 1200ms --grace 10s").run();
    ran.expect_all_answered().expect_said("60 in 1.20 s");
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_verbose_run_tells_what_it_cost() {
    let server = OddServer::start(Oddity::None);
    let address = server.address().to_string();
    let ran = Bench::of(&address, "-v -c 2 -n 20 --grace 10s").run();
    ran.expect_exit(DONE).expect_said("of processor time");
}
