//! What would make a run look better than it was: the load generator's own lags, failures that are
//! fast, answers that nobody asked for, and what happened at another time than the measured one.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use testkit::{OddServer, Oddity, eventually};

use crate::run::{Bench, DONE, NETWORK_ERRORS, Ran, VERIFICATION_FAILED, bench};

const SIZE: usize = 64;

/// A server that does this with each of its connections, which are numbered.
fn serves(each: impl Fn(TcpStream, u64) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("its address");
    let each = Arc::new(each);
    thread::spawn(move || {
        for (number, stream) in (0..).zip(listener.incoming()) {
            let (Ok(stream), each) = (stream, Arc::clone(&each)) else { break };
            thread::spawn(move || each(stream, number));
        }
    });
    address
}

/// Ends a connection by an RST.
fn reset(stream: TcpStream) {
    let linger = Some(Duration::ZERO);
    rustix::net::sockopt::set_socket_linger(&stream, linger).expect("SO_LINGER");
    drop(stream);
}

/// Answers each message, until there is an error or an end.
fn echoes(mut stream: TcpStream, mut answer: impl FnMut(&mut TcpStream, &[u8])) {
    let mut message = [0; SIZE];
    while stream.read_exact(&mut message).is_ok() {
        answer(&mut stream, &message);
    }
}

fn names(ran: &Ran, path: &str) -> Vec<String> {
    let list = ran.at(path).as_array().expect("a list");
    list.iter().map(|name| name.as_str().expect("a name").to_owned()).collect()
}

/// Stops the load generator for so long, once it has sent this much.
#[track_caller]
fn stopped(options: &str, span: Duration) -> Ran {
    let server = OddServer::start(Oddity::None);
    let going = Bench::of(&server.address().to_string(), options).begin();
    eventually("it sends", || server.received() >= 100 * SIZE as u64);
    let process = going.running.process();
    process.signal(Signal::STOP);
    thread::sleep(span);
    process.signal(Signal::CONT);
    going.end()
}

#[test]
fn a_load_generator_that_was_stopped_says_so_and_marks_what_that_has_made() {
    let span = Duration::from_millis(60);
    let ran = stopped("-c 4 -r 1000 -d 2s --grace 10s", span);
    // A look comes every 10 ms. The machine may be busy as well, and more is told then.
    for figure in ["/generator/stall_us", "/generator/lag_us"] {
        assert!(ran.figure(figure) >= 48_000.0, "{figure}: {}", ran.at("/generator"));
    }
    assert!(ran.number("/generator/missed") >= 50, "{}", ran.summary);
    assert_eq!(ran.number("/generator/sends"), 2000);
    let marked = names(&ran, "/generator/marked");
    assert!(
        marked.contains(&"p99_9".to_owned()) && marked.contains(&"max".to_owned()),
        "{marked:?}"
    );
}

#[test]
fn in_the_closed_loop_a_stop_of_the_load_generator_is_told_as_well() {
    let ran = stopped("-c 1 -d 1s --grace 10s", Duration::from_millis(100));
    assert!(ran.figure("/generator/stall_us") >= 85_000.0, "{}", ran.at("/generator"));
    assert_eq!(ran.number("/generator/sends"), 0, "there is no schedule");
    assert!(names(&ran, "/generator/marked").contains(&"max".to_owned()), "{}", ran.summary);
}

/// A process that computes on the first processor.
struct Spinner(Child);

impl Spinner {
    fn start() -> Self {
        let command = ["-c", "0", "sh", "-c", "while :; do :; done"];
        Self(Command::new("taskset").args(command).spawn().expect("taskset of util-linux"))
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_load_generator_that_is_kept_from_the_processor_says_that_it_is_the_limit() {
    let spinners = [Spinner::start(), Spinner::start(), Spinner::start()];
    let server = OddServer::start(Oddity::None);
    let alone = "taskset -cp 0 $$ >/dev/null";
    let options = "-c 20 -p 8 -d 1s --grace 10s";
    let ran = Bench::of(&server.address().to_string(), options).shell(alone).run();
    drop(spinners);
    let (busy, waited) = (ran.figure("/generator/busy"), ran.figure("/generator/waited"));
    assert!(waited > 0.1 && busy <= 1.0, "busy {busy}, waited {waited}");
    assert_eq!(ran.at("/generator/is_bottleneck"), true);
    assert!(ran.figure("/generator/waited_us") > 0.0);
}

#[test]
fn a_load_generator_that_waits_for_answers_is_no_limit_and_an_open_loop_has_none() {
    let server = OddServer::start(Oddity::Delays(Duration::from_millis(20)));
    let ran = bench(server.address(), "-c 1 -d 500ms --grace 10s");
    // Beside busy processes it may have to wait for a processor, which is told then.
    let waited = ran.figure("/generator/waited");
    assert_eq!(ran.at("/generator/is_bottleneck"), &Value::from(waited > 0.1));
    assert!(ran.figure("/generator/busy") < 0.9, "{}", ran.summary);
    let ran = bench(server.address(), "-c 1 -r 100 -d 300ms --grace 10s --busy-poll 1s");
    assert_eq!(ran.at("/generator/is_bottleneck"), false, "polling keeps sends on time");
}

#[test]
fn a_run_by_number_waits_for_every_answer_that_still_comes() {
    let slow = OddServer::start(Oddity::Delays(Duration::from_millis(1200)));
    let ran = bench(slow.address(), "-n 3 -c 1");
    ran.expect_exit(DONE).expect_messages(3, 0);
    // A message comes back over two seconds, a bit in each moment.
    let trickle = serves(|mut stream, _| {
        let mut piece = [0; 10_000];
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            thread::sleep(Duration::from_millis(100));
            if stream.write_all(&piece[..count]).is_err() {
                break;
            }
        }
    });
    let ran = bench(trickle, "-n 2 -c 1 -s 200kB --grace 100ms");
    ran.expect_exit(DONE).expect_messages(2, 0).expect_wrong(0, 0, 0);
    assert_eq!(ran.at("/ended"), "whole");
    let ran = bench(trickle, "-c 1 -s 200kB -d 500ms --grace 100ms");
    ran.expect_exit(NETWORK_ERRORS).expect_messages(0, 1).expect_wrong(0, 0, 0);
}

#[test]
fn a_rate_is_told_over_the_time_that_its_messages_cover() {
    let server = OddServer::start(Oddity::None);
    for (options, rate) in [("-n 1 -r 1", 1.0), ("-n 20 -r 40", 40.0), ("-n 5 -r 10 -t 2", 10.0)] {
        let ran = bench(server.address(), &format!("{options} -c 2 --grace 10s"));
        let messages = ran.figure("/messages");
        assert!(ran.figure("/rate") <= rate * 1.001, "{options}: {}", ran.summary);
        assert!((ran.figure("/rate") * ran.figure("/seconds") - messages).abs() < 0.001);
    }
}

#[test]
fn failures_that_come_fast_improve_no_percentile() {
    // Of two connections, one is reset at once and one is answered after 50 ms.
    let server = serves(|stream, number| {
        if number % 2 == 0 {
            let mut stream = stream;
            let _ = stream.read(&mut [0; SIZE]);
            return reset(stream);
        }
        echoes(stream, |stream, message| {
            thread::sleep(Duration::from_millis(50));
            let _ = stream.write_all(message);
        });
    });
    let csv = tempfile::NamedTempFile::new().expect("a temporary file");
    let path = csv.path().to_str().expect("a path in UTF-8").to_owned();
    let options = "-c 8 -r 40 -d 2s --connect-per-message --grace 10s";
    let ran = Bench::of(&server.to_string(), options).with(&["--csv", &path]).run();
    ran.expect_exit(NETWORK_ERRORS);
    let (answered, lost) = (ran.number("/messages"), ran.number("/unanswered"));
    assert_eq!(answered + lost, 80, "{}", ran.summary);
    assert!(lost >= 35 && answered >= 35, "{}", ran.summary);
    for figure in ["p50", "p90", "p95", "max"] {
        assert!(ran.figure(&format!("/latency_us/{figure}")) >= 49_900.0, "{figure}");
    }
    let bounds = names(&ran, "/latency_us/lower_bounds");
    assert!(["mean", "p90", "p95", "max"].iter().all(|name| bounds.contains(&(*name).to_owned())));
    // In each second, too, and beside it stands what was answered.
    let intervals = ran.at("/intervals").as_array().expect("a list");
    for second in intervals.iter().filter(|second| second["messages"].as_u64() > Some(5)) {
        assert!(second["p50_us"].as_f64() >= Some(49_900.0), "{second}");
        assert!(second["answered_p50_us"].as_f64() >= Some(49_900.0), "{second}");
    }
    assert_eq!(ran.number("/answered_us/samples"), answered);
    assert!(ran.figure("/answered_us/min") >= 49_900.0, "{}", ran.summary);
    let table = std::fs::read_to_string(csv.path()).expect("the table");
    let mut lines = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().expect("a head");
    let median = head.iter().position(|name| *name == "p50_us").expect("a median");
    let medians = lines.filter_map(|row| row[median].parse::<f64>().ok());
    assert!(medians.into_iter().all(|median| median >= 49_900.0), "{table}");
}

#[test]
fn what_goes_wrong_in_the_warm_up_stands_by_itself() {
    let begin = Instant::now();
    let server = serves(move |stream, _| {
        if begin.elapsed() < Duration::from_millis(300) {
            let mut stream = stream;
            let _ = stream.read(&mut [0; SIZE]);
            return reset(stream);
        }
        echoes(stream, |stream, message| drop(stream.write_all(message)));
    });
    let ran = bench(server, "-c 2 -r 100 --warmup 1500ms -d 500ms --grace 10s");
    ran.expect_errors(&[]).expect_messages(50, 0);
    assert!(ran.number("/warmup/errors/reset") > 0, "{}", ran.at("/warmup"));
    assert!(ran.number("/warmup/unanswered") > 0 && ran.number("/warmup/connects") > 2);
    assert_eq!(ran.number("/connect_us/samples"), 0, "none was made in the measured time");
}

#[test]
fn what_is_compared_is_that_of_the_measured_time_and_a_wrong_byte_of_the_warm_up_is_wrong() {
    let server = OddServer::start(Oddity::Flips { at: 70 });
    let ran = bench(server.address(), "-c 1 -r 100 --warmup 1s -d 200ms --grace 10s");
    ran.expect_exit(VERIFICATION_FAILED).expect_messages(20, 0).expect_wrong(0, 0, 0);
    // Some of the warm-up may come back a moment later.
    let (before, measured) = (ran.number("/warmup/verify/checked"), ran.number("/verify/checked"));
    assert!(measured >= 1280 && before >= 64, "{measured} and {before}");
    assert_eq!(before + measured, 120 * 64);
    assert_eq!(ran.number("/warmup/verify/mismatched"), 1);
}

#[test]
fn a_service_that_answers_twice_is_found_out_without_verification() {
    let received = Arc::new(AtomicU64::new(0));
    let counts = Arc::clone(&received);
    let server = serves(move |stream, _| {
        let counts = Arc::clone(&counts);
        echoes(stream, move |stream, message| {
            counts.fetch_add(1, Ordering::Relaxed);
            let _ = stream.write_all(&message.repeat(2));
        });
    });
    let ran = bench(server, "-c 1 -d 300ms --grace 10s --no-verify");
    ran.expect_exit(VERIFICATION_FAILED);
    let (messages, surplus) = (ran.number("/messages"), ran.number("/verify/surplus"));
    let received = received.load(Ordering::Relaxed);
    assert!(messages <= received, "{messages} answered of {received} that came");
    assert!(surplus >= (messages - 1) * SIZE as u64, "{surplus} of {messages} messages");
}

#[test]
fn a_connection_that_is_closed_with_nothing_in_flight_is_opened_again_and_no_error() {
    // The end must be seen before the next message is due. A run that came so late is made again.
    let in_time = |ran: &Ran| ran.at("/generator/lag_us").as_f64() < Some(50_000.0);
    let run = || {
        let server = OddServer::start(Oddity::Closes { after: 10 * SIZE as u64 });
        let ran = bench(server.address(), "-c 1 -r 10 -n 40 --grace 10s");
        (server, ran)
    };
    let mut runs = std::iter::repeat_with(run);
    let (server, ran) = runs.by_ref().take(10).find(|(_, ran)| in_time(ran)).unwrap_or_else(run);
    ran.expect_errors(&[]).expect_wrong(0, 0, 0);
    ran.expect_all_answered().expect_messages(40, 0);
    let peers = server.peers().len() as u64;
    assert!((3..=4).contains(&ran.number("/reopened")) && peers > ran.number("/reopened"));
}

#[test]
fn nothing_answered_is_no_success_in_any_mode() {
    for options in [
        "-c 3",
        "-c 3 --no-verify",
        "-c 2 --stream",
        "-c 2 --stream --verify",
        "-c 2 --connect-per-message",
        "-c 2 -r 10 --connect-per-message",
        "--hold 4 --active 2 --open-rate 1k",
        "-c 2 -n 10",
        "-c 2 -r 50",
        "-c 2 -p 4 -t 2",
    ] {
        for warmup in ["0", "200ms"] {
            let server = OddServer::start(Oddity::Silent);
            let rest = format!("--warmup {warmup} -d 300ms --grace 100ms");
            let ran = bench(server.address(), &format!("{options} {rest}"));
            ran.expect_exit(NETWORK_ERRORS);
            assert_eq!(ran.number("/messages"), 0, "{options}");
            assert!(ran.number("/unanswered") > 0, "{options}, {warmup}: {}", ran.summary);
        }
    }
}
