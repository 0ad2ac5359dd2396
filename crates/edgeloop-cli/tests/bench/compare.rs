//! Several runs of one command, a run beside another, and conditions on which a run fails.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use tempfile::TempDir;
use testkit::{OddServer, Oddity, eventually};

use crate::run::{Bench, DONE, FATAL, NETWORK_ERRORS, Ran, USAGE, nobody};
use crate::serve::edgeloop;

const FAILED: i32 = 5;

/// Messages of one run of these tests.
const EACH: u64 = 50;
const RUN: &str = "-c 1 -r 100 -d 500ms --grace 10s";

fn directory() -> (TempDir, impl Fn(&str) -> String) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_owned();
    (directory, move |name| path.join(name).to_str().expect("UTF-8").to_owned())
}

/// Runs against this server, with options as one would type them and these.
#[track_caller]
fn run(address: SocketAddr, options: &str, more: &[&str]) -> Ran {
    Bench::of(&address.to_string(), options).with(more).run()
}

/// The code of a run that did what it should; a busy machine may be late.
#[track_caller]
fn expect_done(ran: &Ran) {
    ran.expect_all_answered();
}

#[test]
fn several_runs_are_added_up_and_each_keeps_its_figures() {
    let server = OddServer::start(Oddity::None);
    let (_directory, path) = directory();
    let table = path("a.csv");
    let ran =
        run(server.address(), &format!("{RUN} --repeat 3 --warmup 100ms"), &["--csv", &table]);
    expect_done(&ran);
    ran.expect_messages(3 * EACH, 0).expect_said("3 runs");
    assert_eq!(server.received(), 3 * (EACH + 10) * 64, "each has its own warm-up");
    assert_eq!(ran.number("/warmup/messages"), 30);
    assert_eq!(ran.number("/latency_us/samples"), 3 * EACH);
    let repeats = ran.at("/repeats").as_array().expect("a list");
    assert_eq!(repeats.len(), 3);
    for repeat in repeats {
        assert_eq!(repeat["messages"], EACH);
        assert!(repeat["latency_us"]["p50"].as_f64() >= ran.at("/latency_us/min").as_f64());
        assert!(repeat["latency_us"]["max"].as_f64() <= ran.at("/latency_us/max").as_f64());
        assert!(repeat["latency_us"]["p99"].is_null(), "50 samples are too few for it");
    }
    assert!((ran.figure("/seconds") - 1.5).abs() < 1e-6, "all of them");
    let intervals = ran.at("/intervals").as_array().expect("a list");
    let seconds: Vec<_> = intervals.iter().map(|one| one["second"].as_u64()).collect();
    assert_eq!(seconds, [Some(0), Some(1), Some(2)]);
    let rows = std::fs::read_to_string(table).expect("a table");
    assert_eq!(rows.lines().count(), 4, "{rows}");
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ran.stderr);
    for (number, line) in (1..).zip(lines) {
        assert!(line.starts_with(&format!("edgeloop: run {number} of 3: ")), "{line}");
    }
    let single = run(server.address(), &format!("{RUN} --repeat 1"), &[]);
    assert_eq!(single.at("/repeats"), &serde_json::json!([]));
}

#[test]
fn ctrl_c_between_several_runs_keeps_those_that_are_whole() {
    let server = OddServer::start(Oddity::None);
    let options = format!("{RUN} --repeat 100");
    let going = Bench::of(&server.address().to_string(), &options).begin();
    eventually("two runs are over", || server.received() > (2 * EACH + 5) * 64);
    going.running.process().signal(Signal::INT);
    let ran = going.end();
    expect_done(&ran);
    assert_eq!(ran.at("/ended"), "interrupted");
    let repeats = ran.at("/repeats").as_array().expect("a list").len();
    assert!((2..100).contains(&repeats), "{repeats}");
    ran.expect_messages(EACH * u64::try_from(repeats).expect("a few"), 0);
}

#[test]
fn a_later_run_that_can_not_be_made_loses_none_of_the_earlier_ones() {
    let server = OddServer::start(Oddity::None);
    let address = server.address().to_string();
    for options in ["--repeat 100 -c 1 -r 100 -n 50", "--find p50<10m -r 100 -d 1s -c 1"] {
        let before = server.received();
        let going = Bench::of(&address, options).with(&["--grace", "10s"]).begin();
        eventually("another run is under way", || server.received() > before + 105 * 64);
        let process = Pid::from_raw(going.running.process().pid().cast_signed());
        let none = Rlimit { current: Some(0), maximum: Some(4096) };
        prlimit(process, Resource::Nofile, none).expect("its limit is lowered");
        let ran = going.end();
        ran.expect_exit(FATAL);
        assert!(ran.number("/messages") >= 50, "{}", ran.summary);
        let (figure, why) = if options.starts_with("--repeat") {
            assert_eq!(ran.at("/ended"), "failed");
            assert!(ran.summary.contains("A later run could not be made"), "{}", ran.summary);
            (ran.at("/repeats"), "run 1 of 100")
        } else {
            assert_eq!(ran.at("/find/ended"), "cut_short");
            (ran.at("/find/steps"), "100/s for 1.00 s")
        };
        assert!(!figure.as_array().expect("a list").is_empty(), "{figure}");
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
        let last = ran.stderr.lines().last().expect("a line");
        assert!(last.contains("Too many open files"), "{last}");
    }
}

#[test]
fn a_first_run_that_is_interrupted_is_kept_as_far_as_it_came() {
    let server = OddServer::start(Oddity::Delays(Duration::from_millis(5)));
    let address = server.address().to_string();
    let going = Bench::of(&address, "-c 1 -d 1h --grace 10s --repeat 3").begin();
    eventually("messages come", || server.received() >= 640);
    going.running.process().signal(Signal::INT);
    let ran = going.end();
    ran.expect_exit(DONE);
    assert!(ran.number("/messages") > 0 && ran.at("/ended") == "interrupted", "{}", ran.summary);
    assert_eq!(ran.at("/repeats"), &serde_json::json!([]));
}

#[test]
fn conditions_that_hold_are_said_and_the_exit_code_is_5() {
    let server = OddServer::start(Oddity::Delays(Duration::from_millis(20)));
    let run = |conditions: &[&str]| {
        let more: Vec<_> = conditions.iter().flat_map(|one| ["--fail-if", *one]).collect();
        run(server.address(), "-c 1 -n 20 --grace 10s -q", &more)
    };
    let ran = run(&["p50>1s", "rate<1", "errors>0", "unanswered>0", "max>10m"]);
    ran.expect_exit(DONE);
    assert_eq!(ran.stderr, "");
    let ran = run(&["p50>1ms", "rate>1k", "p99>1h", "min>10ms"]);
    ran.expect_exit(FAILED);
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ran.stderr);
    for (line, words) in lines.iter().zip([
        ["--fail-if 'p50>1ms': p50 is ", ", above 1.00 ms"],
        ["--fail-if 'p99>1h': p99 cannot be judged: ", "it needs 100 samples, and this run has 20"],
        ["--fail-if 'min>10ms': min is ", ", above 10.0 ms"],
    ]) {
        assert!(line.starts_with("edgeloop: --fail-if"), "{line}");
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    }
}

#[test]
fn what_is_worse_than_a_condition_keeps_its_exit_code() {
    let server = OddServer::start(Oddity::Resets { after: 128 });
    let ran = run(server.address(), "-c 1 -n 5 --grace 100ms -q", &["--fail-if", "errors>0"]);
    ran.expect_exit(NETWORK_ERRORS);
    assert!(ran.stderr.contains("--fail-if 'errors>0': errors is "), "{}", ran.stderr);
}

/// An echo server that takes so long for each message.
fn taking(time: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    // It ends with the program.
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut message = [0; 64];
                while stream.read_exact(&mut message).is_ok() {
                    let begin = Instant::now();
                    while begin.elapsed() < time {
                        std::hint::spin_loop();
                    }
                    if stream.write_all(&message).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// The shortest latency is what a server takes: a machine with much else to do delays some
/// messages, and not all. Half a millisecond is far more than what is left of such delays.
#[test]
fn a_server_that_takes_half_a_millisecond_more_is_found_and_one_that_takes_as_long_is_not() {
    let (_directory, path) = directory();
    let (baseline, page) = (path("a.json"), path("a.html"));
    let options = "-c 1 -n 400 --grace 10s -q --repeat 5";
    let (fast, slow) = (taking(Duration::from_micros(500)), taking(Duration::from_millis(1)));
    let old = run(fast, options, &[]);
    old.expect_exit(DONE);
    std::fs::write(&baseline, old.results().to_string()).expect("written");
    let conditions = ["--fail-if", "min>+40%", "--baseline", &baseline];
    let same = run(fast, options, &conditions);
    same.expect_exit(DONE);
    same.expect_said("Beside ").expect_said("this run");
    let with_page = [&conditions[..], &["--report", &page]].concat();
    let other = run(slow, options, &with_page);
    other.expect_exit(FAILED);
    let line = other.summary.lines().find(|line| {
        line.starts_with("  min ") && line.contains('÷')
            || line.starts_with("  min ") && line.contains('±')
    });
    let line = line.unwrap_or_else(|| panic!("no noise: {}", other.summary));
    assert!(line.ends_with("worse"), "{line}");
    assert!(other.stderr.contains("--fail-if 'min>+40%': min is "), "{}", other.stderr);
    // By what it is known to take longer, and not by much more.
    let more = mean(&other) - mean(&old);
    assert!((400.0..1000.0).contains(&more), "{more} µs");
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("Spread of 5 runs") && page.contains("class=\"worse\""), "{page}");
}

/// The mean of the shortest latencies of all repeats, in microseconds.
fn mean(ran: &Ran) -> f64 {
    let repeats = ran.at("/repeats").as_array().expect("a list");
    let sum: f64 = repeats.iter().filter_map(|repeat| repeat["latency_us"]["min"].as_f64()).sum();
    sum / 5.0
}

#[test]
fn without_repeats_there_is_no_verdict() {
    let server = OddServer::start(Oddity::None);
    let (_directory, path) = directory();
    let baseline = path("a.json");
    let old = run(server.address(), RUN, &[]);
    std::fs::write(&baseline, old.results().to_string()).expect("written");
    let ran = run(server.address(), &format!("{RUN} -s 128"), &["--baseline", &baseline]);
    expect_done(&ran);
    ran.expect_said("noise unknown: use --repeat 5 on both sides");
    ran.expect_said("had different options: size 128 and 64");
    assert!(!ran.summary.contains("worse") && !ran.summary.contains("better"), "{}", ran.summary);
}

#[test]
fn what_can_not_be_asked_for_is_one_line_and_the_exit_code_is_2() {
    let address = nobody().to_string();
    for (options, words) in [
        ("--repeat 0", "--repeat"),
        ("--repeat 101", "from 1 to 100"),
        ("--repeat 3 --find p99<1ms", "--repeat and --find cannot be used together"),
        ("--fail-if p99", "--fail-if"),
        ("--fail-if p99>10%", "with its sign"),
        ("--fail-if p99>+10%", "--fail-if with a percentage needs --baseline"),
        ("--baseline a.json --json -", "--baseline needs --report, --fail-if or the summary"),
        ("--find p99.99<50ms -r 1k -d 3s", "--find: p99.99 needs 10,000 samples in a step"),
        ("--find p99.99<50ms -r 10", "use --rate 170 or --duration 1000s"),
        ("--find p98<50ms", "p95"),
    ] {
        let ended =
            edgeloop(&["bench", &address]).args(&options.split(' ').collect::<Vec<_>>()).run();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(USAGE), ""), "{options}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{options}: {words} is missing: {}", ended.stderr);
    }
}
