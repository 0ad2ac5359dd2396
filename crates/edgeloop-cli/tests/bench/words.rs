//! What a person reads of a run: the summary, the line that changes while it goes, and lines of a
//! log.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::NamedTempFile;
use testkit::{Launch, OddServer, Oddity, SCRIPT, eventually, skip_unless};

use crate::run::{Bench, DONE, NETWORK_ERRORS, Ran, USAGE, bench, nobody};
use crate::serve::{edgeloop, program, server};

/// The columns of a table that was written with `--csv`, as numbers. Nothing is NaN.
#[track_caller]
fn columns(table: &NamedTempFile, names: [&str; 3]) -> Vec<[f64; 3]> {
    let text = std::fs::read_to_string(table.path()).expect("a table");
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().expect("a head");
    let place = |name| head.iter().position(|column| *column == name).expect(name);
    let places = names.map(place);
    lines.map(|row| places.map(|place| row[place].parse().unwrap_or(f64::NAN))).collect()
}

#[test]
fn the_last_part_of_a_second_is_told_for_what_it_is() {
    let server = OddServer::start(Oddity::None);
    let table = NamedTempFile::new().expect("a temporary file");
    let path = table.path().to_str().expect("a path in UTF-8");
    let ran = Bench::of(&server.address().to_string(), "-c 2 -r 50 -d 2500ms --grace 10s")
        .with(&["--csv", path])
        .run();
    ran.expect_all_answered().expect_messages(125, 0);
    let rows = columns(&table, ["seconds", "messages", "rate"]);
    let seconds: Vec<_> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(seconds, [1.0, 1.0, 0.5]);
    // Answers of the last messages may come when the time is over; what there was in time, in all,
    // is 50 a second over 2.5 s.
    let in_time: f64 = rows.iter().map(|row| row[0] * row[2]).sum();
    assert!((in_time - ran.figure("/rate") * ran.figure("/seconds")).abs() < 0.01, "{rows:?}");
    let last = ran.at("/intervals/2");
    assert_eq!((&last["from_s"], &last["seconds"]), (&2.0.into(), &0.5.into()));
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, time) in lines.iter().zip(["     1 s  ", "     2 s  ", "   2.5 s  "]) {
        assert!(line.starts_with(time), "{line}");
    }
    let in_time = last["in_time"].as_f64().expect("a number");
    // From ten a second on it is shown with one digit behind the point.
    if in_time >= 5.0 {
        assert!(lines[2].contains(&format!("  {:.1}/s  ", in_time * 2.0)), "{lines:?}");
    }
}

#[test]
fn a_line_of_a_log_sums_up_all_since_the_last() {
    let server = OddServer::start(Oddity::None);
    // How long it takes is not known before, so each line is for ten seconds, or for what there
    // was.
    let ran = bench(server.address(), "-c 2 -r 50 -n 115 --grace 10s");
    ran.expect_all_answered().expect_messages(115, 0);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    // A busy machine may have the last answer a bit later than 2.3 s.
    let figures: Vec<f64> = lines[0]
        .split([' ', '/'])
        .filter(|word| !word.is_empty())
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!((figures[0] * figures[1] - 115.0).abs() < 6.0, "{lines:?}");
    // It takes a hundred messages for this, which no second has.
    assert!(lines[0].contains("  p99 "), "{lines:?}");
    let seconds = ran.at("/intervals").as_array().expect("seconds");
    assert!(seconds.iter().all(|second| second["p99_us"].is_null()));
}

#[test]
fn one_message_has_no_rate_unless_one_was_asked_for() {
    let server = OddServer::start(Oddity::None);
    let ran = bench(server.address(), "-c 1 -n 1 --grace 10s");
    ran.expect_exit(DONE).expect_said("  messages    1 in ");
    assert!(!ran.summary.contains("a second"), "{}", ran.summary);
    assert!(ran.stderr.contains(" s  1 message  "), "{}", ran.stderr);
    let ran = bench(server.address(), "-c 1 -n 1 -r 1 --grace 10s");
    ran.expect_all_answered().expect_said("  messages    1 in 1.00 s: 1.00 a second");
}

#[test]
fn answers_that_came_in_the_time_of_grace_make_no_rate() {
    let server = OddServer::start(Oddity::Delays(Duration::from_millis(600)));
    let ran = bench(server.address(), "-c 2 -d 100ms --grace 10s");
    ran.expect_exit(DONE).expect_said("  messages    2, none of them within the 100 ms\n");
    assert!(ran.figure("/rate") == 0.0, "{}", ran.summary);
}

/// Runs something again that got no processor for as long as the words could be shown.
fn until_told<T>(words: &str, run: impl Fn() -> T, text: impl Fn(&T) -> &str) -> T {
    const TRIES: usize = 10;
    for _ in 1..TRIES {
        let ran = run();
        if text(&ran).contains(words) {
            return ran;
        }
    }
    run()
}

#[test]
fn opening_and_warming_up_are_told_of() {
    let server = server(&[]).start();
    let options = "--hold 250 --active 2 --open-rate 100 --warmup 300ms -d 2s --grace 10s";
    let run = || bench(server.address(), options);
    let ran = until_told("edgeloop: warming up for 300 ms\n", run, |ran| &ran.stderr);
    ran.expect_exit(DONE);
    let opened: Vec<u64> = ran
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("edgeloop: opening "))
        .map(|line| line.strip_suffix(" of 250 connections").expect("of all"))
        .map(|count| count.parse().expect("a number"))
        .collect();
    // The last is due after 2.49 s; a line comes with each second.
    assert!(opened.len() >= 2 && opened.is_sorted(), "{}", ran.stderr);
    assert!(opened.last() > opened.first() && opened.last() <= Some(&250), "{opened:?}");
    assert!(ran.stderr.contains("edgeloop: warming up for 300 ms\n"), "{}", ran.stderr);
}

/// A run on a terminal of this kind, in lines or in what lines were overwritten with.
#[track_caller]
fn on_a_terminal(kind: &str, options: &str) -> String {
    let server = OddServer::start(Oddity::None);
    let command = format!("'{}' bench {} {options}", program(), server.address());
    let ended = Launch::new("script")
        .args(&["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("TERM", kind)
        .run();
    assert!(matches!(ended.code, Some(0 | 4)), "{ended:?}");
    ended.stdout
}

#[test]
fn a_terminal_has_a_line_that_changes_and_ends_at_100_percent() {
    if skip_unless("a_terminal_has_a_line_that_changes_and_ends_at_100_percent", SCRIPT) {
        return;
    }
    let opens = "--hold 20 --active 2 --open-rate 20 --warmup 500ms -d 1500ms --grace 10s -r 50";
    let run = || on_a_terminal("xterm", opens);
    let text = until_told("warming up for 500 ms", run, |text| text);
    // The line changes until the first line feed, which is that of the summary.
    let line = text.split('\n').next().unwrap_or_default();
    let shown: Vec<&str> = line.split('\r').filter(|line| line.contains(" % ")).collect();
    let percent = |line: &&str| -> Option<u32> {
        line.split(" % ").next()?.split_whitespace().next_back()?.parse().ok()
    };
    let those = |words: &str| -> Vec<u32> {
        shown.iter().filter(|line| line.contains(words)).filter_map(percent).collect()
    };
    let (opening, warming) = (those("opening "), those("warming up for 500 ms"));
    assert!(!opening.is_empty() && opening.iter().all(|&percent| percent == 0), "{shown:#?}");
    // A quarter of all is the warm-up.
    assert!(!warming.is_empty() && warming.iter().all(|&percent| percent <= 25), "{shown:#?}");
    assert!(!those("  in flight ").is_empty(), "{shown:#?}");
    let all: Vec<u32> = shown.iter().filter_map(percent).collect();
    assert!(all.is_sorted() && all.last() == Some(&100), "{all:?}");
}

#[test]
fn a_dumb_terminal_has_plain_lines() {
    if skip_unless("a_dumb_terminal_has_plain_lines", SCRIPT) {
        return;
    }
    for kind in ["dumb", ""] {
        let run = || on_a_terminal(kind, "-c 2 -r 50 -d 1200ms --warmup 200ms --grace 10s");
        let text = until_told("edgeloop: warming up for 200 ms", run, |text| text);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "edgeloop: warming up for 200 ms", "{text}");
        assert!(lines[1].starts_with("     1 s  ") && lines[2].starts_with("   1.2 s  "), "{text}");
        let is_control = |letter: char| letter.is_control() && letter != '\r' && letter != '\n';
        assert!(!text.contains(is_control), "{text:?}");
    }
}

#[test]
fn so_many_messages_are_all_that_reach_the_service() {
    for (options, more) in
        [("", 0), ("--warmup 0", 0), ("-r 100", 0), ("-r 100 --warmup 500ms", 50)]
    {
        let server = OddServer::start(Oddity::None);
        let address = server.address().to_string();
        let words: Vec<&str> = options.split_whitespace().collect();
        let arguments = ["bench", &address, "-q", "-c", "2", "-n", "20", "--grace", "10s"];
        let ended = edgeloop(&arguments).args(&words).run();
        assert!(matches!(ended.code, Some(0 | 4)), "{ended:?}");
        assert_eq!(server.received(), (20 + more) * 64, "{options}");
        assert!(ended.stdout.contains("  messages    20 in "), "{}", ended.stdout);
    }
    let help = edgeloop(&["bench", "--help"]).run().stdout;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("all that reach the service, unless --warmup is given"), "{help}");
}

/// What an answer took in half of the tenths of a second, in seconds.
#[track_caller]
fn usual(ran: &Ran) -> f64 {
    let slices = ran.at("/slices").as_array().expect("a list");
    let time =
        |slice: &Value| slice["answered_p50_us"].as_f64().or(slice["answered_max_us"].as_f64());
    let answered = slices.iter().filter(|slice| slice["in_time"] != 0);
    let mut times: Vec<f64> = answered.filter_map(time).collect();
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).map_or(0.0, |micros| micros / 1e6)
}

#[test]
fn a_time_in_which_nothing_was_answered_is_told() {
    for options in ["-c 1 -r 100 -d 3s", "-c 1 -d 3s"] {
        let span = Duration::from_millis(1200);
        let server = OddServer::start(Oddity::Pauses { after: 40 * 64, span });
        let ran = bench(server.address(), &format!("{options} --grace 10s"));
        let outages = ran.at("/outages").as_array().expect("a list");
        let length = |outage: &Value| {
            let at = |name: &str| outage[name].as_f64().expect("seconds");
            at("to_s") - at("from_s")
        };
        let all: f64 = outages.iter().map(length).sum();
        // On a machine that is so busy that answers take a tenth of it anyway, it is none.
        if usual(&ran) < 0.09 {
            // Of tenths of a second, the first and the last may have had an answer.
            assert!((0.99..3.1).contains(&all), "{all}: {}", ran.summary);
            ran.expect_said("  OUTAGE      nothing was answered from ");
        }
    }
}

#[test]
fn a_service_that_answers_has_no_outage() {
    let server = OddServer::start(Oddity::Delays(Duration::from_millis(300)));
    for options in ["-c 1 -d 2s", "-r 2 -c 2 -d 2s"] {
        let ran = bench(server.address(), &format!("{options} --grace 10s"));
        ran.expect_all_answered();
        assert_eq!(ran.at("/outages"), &serde_json::json!([]), "{}", ran.summary);
    }
}

#[test]
fn where_nothing_was_answered_that_is_what_is_said() {
    let server = OddServer::start(Oddity::Silent);
    let others = ["", "-n 10", "--stream", "--connect-per-message", "-r 100"];
    for options in others {
        let ran = bench(server.address(), &format!("-c 2 -d 300ms --grace 100ms {options}"));
        ran.expect_exit(NETWORK_ERRORS).expect_said("  messages    nothing was answered");
        assert!(!ran.summary.contains("all as they were sent"), "{}", ran.summary);
        assert!(
            ran.stderr.lines().all(|line| line.contains("nothing answered  ")),
            "{}",
            ran.stderr
        );
    }
    let ran = bench(nobody(), "-c 2 -d 300ms");
    ran.expect_exit(NETWORK_ERRORS).expect_said("nothing was measured");
}

#[test]
fn the_summary_shows_how_times_are_spread_within_80_columns() {
    let server = OddServer::start(Oddity::Delays(Duration::from_millis(20)));
    let ran = bench(server.address(), "-c 4 -n 100 --grace 10s");
    ran.expect_exit(DONE);
    let bars: Vec<&str> =
        ran.summary.lines().filter(|line| line.contains("s to ") && line.ends_with('%')).collect();
    let counts: u64 = bars
        .iter()
        .filter_map(|line| line.split_whitespace().rev().nth(2))
        .map(|count| count.parse::<u64>().expect("a number"))
        .sum();
    assert_eq!(counts, 100, "{}", ran.summary);
    assert!(bars.iter().any(|bar| bar.contains("  █")), "{}", ran.summary);
    assert!(!bars.iter().any(|bar| bar.contains(" 10 ms to ")), "{}", ran.summary);
    let server = OddServer::start(Oddity::Loses { at: 64, count: 64 });
    let ran = bench(server.address(), "-c 2 -d 300ms -p 4 --grace 100ms -r 500");
    for line in ran.summary.lines().filter(|line| line.contains(" %") || line.contains("max")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    ran.expect_said("answered only").expect_said("never answered  ");
}

#[test]
fn a_run_has_a_name() {
    let server = OddServer::start(Oddity::None);
    let address = server.address().to_string();
    let ran = Bench::of(&address, "-c 2 -n 20").with(&["--label", "new allocator"]).run();
    ran.expect_exit(DONE).expect_said(&format!("new allocator: {address}: 2 connections"));
    assert_eq!(ran.at("/label"), "new allocator");
    assert!(bench(server.address(), "-c 2 -n 20").at("/label").is_null());
    for wrong in ["", " ", "two\nlines", "\u{1b}[2J", "\u{202e}x", &"x".repeat(81)] {
        let ended = edgeloop(&["bench", &address, "--label", wrong]).run();
        assert_eq!(ended.code, Some(USAGE), "{ended:?}");
        assert!(ended.stderr.contains("for --label: expected a name"), "{ended:?}");
    }
}

#[test]
fn a_run_of_less_than_a_minute_is_kept_in_tenths_of_a_second() {
    let server = OddServer::start(Oddity::None);
    let ran = bench(server.address(), "-c 2 -t 2 -r 50 -d 1250ms --grace 10s");
    ran.expect_all_answered();
    let slices = ran.at("/slices").as_array().expect("a list");
    assert_eq!(slices.len(), 13);
    let messages: u64 = slices.iter().filter_map(|slice| slice["messages"].as_u64()).sum();
    assert_eq!(messages, ran.number("/messages"));
    let near = |value: &Value, time: f64| (value.as_f64().expect("seconds") - time).abs() < 1e-9;
    let last = &slices[12];
    assert!(near(&last["from_s"], 1.2) && near(&last["seconds"], 0.05), "{last}");
    assert_eq!((&last["second"], slices[9]["second"].as_u64()), (&1.into(), Some(0)));
}

#[test]
fn a_run_of_more_than_a_minute_is_kept_in_seconds() {
    let server = OddServer::start(Oddity::None);
    let going = Bench::of(&server.address().to_string(), "-c 2 -r 50 -d 61s --grace 10s").begin();
    eventually("it has begun", || server.received() > 64 * 60);
    going.running.process().signal(Signal::INT);
    let ran = going.end();
    assert_eq!(ran.at("/slices"), &serde_json::json!([]));
    assert!(!ran.at("/intervals").as_array().expect("a list").is_empty());
}

#[test]
fn figures_that_may_come_from_this_client_are_marked_in_the_summary() {
    let server = OddServer::start(Oddity::None);
    let options = "-c 2 -r 500 -d 1500ms --grace 10s";
    let going = Bench::of(&server.address().to_string(), options).begin();
    eventually("it has begun", || server.received() > 64 * 50);
    let process = going.running.process();
    process.signal(Signal::STOP);
    thread::sleep(Duration::from_millis(150));
    process.signal(Signal::CONT);
    let ran = going.end();
    assert!(!ran.at("/generator/marked").as_array().expect("a list").is_empty(), "{}", ran.summary);
    let max = ran.summary.lines().find(|line| line.starts_with("  max ")).expect("a row");
    assert!(max.contains(" ms *") || max.contains(" s *"), "{}", ran.summary);
    // On a busy machine other causes may be longer by far, and stand alone.
    ran.expect_said("* may come from this client: it ");
}
