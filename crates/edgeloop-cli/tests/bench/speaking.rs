//! Services that speak first, and services that end their replies by closing the connection; among
//! them those that err.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;
use tempfile::TempDir;
use testkit::{PYTHON, skip_unless};

use crate::others::Foreign;
use crate::run::{Bench, DONE, NETWORK_ERRORS, Ran, VERIFICATION_FAILED, bench, nobody};

/// A service that does this with each connection, on a thread of its own. It lives as long as the
/// test.
fn service(serve: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
    let address = listener.local_addr().expect("its address");
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { continue };
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(number, &mut stream));
        }
    });
    address
}

/// Reads one line, and returns whether it came.
fn heard(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|count| count == 1) {
        if byte == *b"\n" {
            return true;
        }
    }
    false
}

fn say(stream: &mut TcpStream, bytes: &[u8]) {
    // An error is the other end's affair.
    let _ = stream.write_all(bytes);
}

/// Ends a connection with an RST.
fn reset(stream: &TcpStream) {
    sockopt::set_socket_linger(stream, Some(Duration::ZERO)).expect("SO_LINGER");
}

/// Sends a greeting, if it has one, and then answers each line with a line.
fn answer(stream: &mut TcpStream) {
    while heard(stream) {
        say(stream, b"250 ok\r\n");
    }
}

const WHO: &str = r"--send who\n --reply close --grace 10s";

/// A service that says this to one line, and closes.
fn finger(reply: &'static [u8]) -> SocketAddr {
    service(move |_, stream| {
        if heard(stream) {
            say(stream, reply);
        }
    })
}

#[test]
fn a_reply_that_ends_with_its_connection_is_whole_at_the_fin_in_every_kind_of_load() {
    let address = finger(b"alice\nbob\n");
    for options in [
        "-c 4 -n 40",
        "-c 4 -n 40 --connect-per-message",
        "-c 4 -d 300ms -t 2",
        "-c 4 -r 100 -d 300ms",
        "-c 4 -r 100 -d 300ms --arrival poisson",
        "-c 4 --profile 50:200ms,100:200ms",
    ] {
        for expected in ["", r"--expect alice\nbob\n"] {
            let ran = bench(address, &format!("{WHO} {expected} {options}"));
            ran.expect_all_answered().expect_said("a connection for each message");
            assert!(ran.number("/messages") > 0, "{options}: {}", ran.summary);
            assert_eq!(ran.at("/options/reply/0"), "close");
            assert_eq!(ran.at("/options/mode"), "connect");
            assert_eq!((ran.number("/reopened"), ran.number("/verify/empty_replies")), (0, 0));
            let (checked, each) = (ran.number("/verify/checked"), 10 * ran.number("/messages"));
            let is_whole = if expected.is_empty() { checked == 0 } else { checked >= each };
            assert!(is_whole && checked.is_multiple_of(10), "{}", ran.summary);
        }
    }
    let search = r"--send who\n --reply close -c 2 --find p50<5ms -r 50 -d 100ms --grace 100ms";
    let ran = bench(address, search);
    assert!(ran.number("/find/steps/0/samples") > 0);
    ran.expect_wrong(0, 0, 0);
}

#[test]
fn the_latency_of_such_a_reply_lasts_until_the_fin() {
    let address = service(|_, stream| {
        if heard(stream) {
            say(stream, b"all of it");
            thread::sleep(Duration::from_millis(50));
        }
    });
    let ran = bench(address, &format!("{WHO} -c 1 -n 5"));
    ran.expect_exit(DONE).expect_messages(5, 0);
    assert!(ran.figure("/latency_us/min") >= 50_000.0, "{}", ran.summary);
}

#[test]
fn a_reset_in_place_of_the_fin_is_a_failure() {
    let address = service(|number, stream| {
        if heard(stream) {
            say(stream, b"all of it");
            if number % 2 == 1 {
                reset(stream);
            }
        }
    });
    let ran = bench(address, &format!("{WHO} -c 1 -n 10"));
    ran.expect_exit(NETWORK_ERRORS).expect_messages(5, 5).expect_errors(&["reset"]);
    ran.expect_wrong(0, 0, 0);
}

#[test]
fn a_fin_in_the_middle_of_what_is_expected_is_told_with_its_place() {
    let address = service(|number, stream| {
        if heard(stream) {
            say(stream, if number == 3 { b"all" } else { b"all of it" });
        }
    });
    let expected = ["--expect", "all of it"];
    let options = format!("{WHO} -c 1 -n 5");
    let ran = Bench::of(&address.to_string(), &options).with(&expected).run();
    ran.expect_exit(VERIFICATION_FAILED).expect_messages(5, 0).expect_wrong(0, 6, 0);
    assert_eq!(ran.number("/verify/wrong_replies"), 1);
    ran.expect_said("the reply differs at offset 3: its end, expected \" of it\"");
}

#[test]
fn an_empty_reply_is_said_and_can_be_what_is_expected() {
    let address = finger(b"");
    let ran = bench(address, &format!("{WHO} -c 1 -n 3"));
    ran.expect_exit(DONE).expect_messages(3, 0).expect_said("; 3 replies were empty");
    assert_eq!(ran.number("/verify/empty_replies"), 3);
    let run = |expected: &str| {
        let options = format!("{WHO} -c 1 -n 3");
        Bench::of(&address.to_string(), &options).with(&["--expect", expected]).run()
    };
    run("").expect_exit(DONE).expect_wrong(0, 0, 0).expect_messages(3, 0);
    run("x").expect_exit(VERIFICATION_FAILED).expect_wrong(0, 3, 0);
}

#[test]
fn a_service_that_says_all_unasked_and_closes_is_loaded_by_an_empty_message() {
    let address = service(|_, stream| say(stream, b"noon\n"));
    let options = r"--reply close --expect noon\n --grace 10s";
    for load in ["-c 4 -n 40", "-c 4 -r 100 -d 300ms"] {
        let ran = Bench::of(&address.to_string(), &format!("{options} {load}"))
            .with(&["--send", ""])
            .run();
        ran.expect_all_answered();
        assert!(ran.number("/verify/checked") >= 5 * ran.number("/messages"), "{}", ran.summary);
        assert_eq!((ran.number("/bytes_sent"), ran.number("/options/size")), (0, 0));
    }
}

#[test]
fn a_service_that_never_closes_leaves_its_reply_unanswered() {
    let address = service(|_, stream| answer(stream));
    let ran = bench(address, r"--send who\n --reply close -c 1 -d 300ms --grace 100ms");
    ran.expect_exit(NETWORK_ERRORS).expect_messages(0, 1).expect_said("see --reply");
}

#[test]
fn a_server_of_files_in_python_is_loaded_as_http_1_0() {
    if skip_unless("a_server_of_files_in_python_is_loaded_as_http_1_0", PYTHON) {
        return;
    }
    let (address, directory) = (nobody(), TempDir::new().expect("a directory"));
    fs::write(directory.path().join("page"), "a page").expect("a page");
    let mut python = Command::new("python3");
    python.args(["-m", "http.server", "--protocol", "HTTP/1.0", "--bind", "127.0.0.1"]);
    python.arg(address.port().to_string()).current_dir(directory.path());
    python.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _python = Foreign::start(python, address);
    for load in ["-c 3 -n 30", "-c 3 -r 50 -d 300ms"] {
        let ran = Bench::of(&address.to_string(), &format!("--reply close --grace 10s {load}"))
            .with(&["--send", r"GET /page HTTP/1.0\r\n\r\n"])
            .run();
        ran.expect_all_answered();
        // Of a run by number all bytes are counted, and each reply has a header.
        let all = if load.contains("-n") { 100 * ran.number("/messages") } else { 0 };
        assert!(ran.number("/messages") > 0, "{}", ran.summary);
        assert!(ran.number("/bytes_received") >= all, "{}", ran.summary);
    }
}

/// A mail server: a greeting, which may come late, and then an answer to each line.
fn mail(delay: Duration) -> SocketAddr {
    service(move |_, stream| {
        thread::sleep(delay);
        say(stream, b"220 mail\r\n");
        answer(stream);
    })
}

const NOOP: &str = r"--send NOOP\r\n --reply lines:1 --grace 10s";
const GREETED: &str =
    r"--send NOOP\r\n --reply lines:1 --expect 250\x20ok\r\n --greeting lines:1 --grace 10s";

#[track_caller]
fn expect_greeted(ran: &Ran) {
    ran.expect_all_answered();
    assert!(ran.number("/messages") > 0, "{}", ran.summary);
    let greetings = ["/verify/greeting", "/warmup/verify/greeting", "/warmup/verify/surplus"];
    assert_eq!(greetings.map(|path| ran.number(path)), [0; 3], "{}", ran.summary);
    assert_eq!(ran.at("/options/greeting"), "lines:1");
}

#[test]
fn a_service_that_speaks_first_is_loaded_in_every_way() {
    let address = mail(Duration::ZERO);
    for options in [
        "-c 4 -n 40",
        "-c 4 -n 40 -p 5",
        "-c 4 -d 300ms -t 2",
        "-c 4 -r 100 -d 300ms",
        "-c 4 -n 40 --connect-per-message",
        "-c 4 -r 100 -d 300ms --connect-per-message",
        "--hold 20 --active 4 -d 300ms",
    ] {
        let ran = bench(address, &format!("{GREETED} {options}"));
        expect_greeted(&ran);
        // What is answered after the measured time is compared, too.
        let checked = ran.number("/verify/checked");
        assert!(checked.is_multiple_of(8) && checked >= 8 * ran.number("/messages"), "{checked}");
    }
    // An echo can speak first, too.
    let echo = service(|_, stream| {
        let mut bytes = [0; 4096];
        say(stream, b"hello\n");
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            say(stream, &bytes[..count]);
        }
    });
    expect_greeted(&bench(echo, "-c 4 -n 40 --greeting lines:1 --grace 10s"));
    let ran = bench(echo, "-c 2 --stream --verify -d 300ms --greeting lines:1 --grace 10s");
    expect_greeted(&ran);
}

#[test]
fn a_late_greeting_counts_in_no_latency() {
    let address = mail(Duration::from_millis(200));
    let ran = bench(address, &format!("{GREETED} --hold 3 --active 3 -d 300ms"));
    expect_greeted(&ran);
    assert!(ran.figure("/connect_us/min") >= 200_000.0, "{}", ran.summary);
    let ran = bench(address, &format!("{GREETED} -c 3 -r 50 -d 300ms"));
    expect_greeted(&ran);
    assert!(ran.figure("/latency_us/min") < 200_000.0, "{}", ran.summary);
    // A connection for each message is a part of it, with its greeting.
    let ran = bench(address, &format!("{GREETED} -c 3 -n 6 --connect-per-message"));
    expect_greeted(&ran);
    assert!(ran.figure("/latency_us/min") >= 200_000.0, "{}", ran.summary);
}

#[test]
fn a_greeting_that_never_comes_is_counted_by_its_kind() {
    let address = service(|number, stream| {
        if number != 0 {
            say(stream, b"220 mail\r\n");
        }
        answer(stream);
    });
    let ran = bench(address, &format!("{GREETED} -c 3 -n 30 --connect-timeout 200ms"));
    ran.expect_exit(DONE).expect_messages(30, 0).expect_wrong(0, 0, 0);
    assert_eq!(ran.number("/warmup/errors/no_greeting"), 1, "{}", ran.summary);
    let mute = service(|_, stream| answer(stream));
    let ran = bench(mute, &format!("{GREETED} -c 2 -n 4 --connect-timeout 200ms"));
    ran.expect_exit(NETWORK_ERRORS).expect_errors(&["no_greeting"]);
    ran.expect_said("2 no greeting; see --greeting and --connect-timeout");
}

#[test]
fn a_service_that_closes_or_resets_before_its_greeting_is_an_error() {
    for (resets, class) in [(false, "closed_early"), (true, "reset")] {
        let address = service(move |_, stream| {
            say(stream, b"220");
            if resets {
                reset(stream);
            }
        });
        let ran = bench(address, &format!("{GREETED} -c 2 -n 4"));
        ran.expect_exit(NETWORK_ERRORS).expect_errors(&[class]).expect_wrong(0, 0, 0);
    }
}

#[test]
fn a_greeting_that_is_longer_than_it_was_said_to_be_is_no_reply() {
    let address = service(|_, stream| {
        say(stream, b"220 mail\r\n220 more\r\n");
        answer(stream);
    });
    let ran = bench(address, &format!("{GREETED} -c 1 -n 5 --connect-per-message"));
    ran.expect_exit(VERIFICATION_FAILED).expect_messages(5, 0).expect_wrong(0, 0, 50);
    assert_eq!((ran.number("/verify/greeting"), ran.number("/verify/wrong_replies")), (50, 0));
    ran.expect_said("10 bytes came before anything was sent");
    ran.expect_said("More came before the first message than --greeting says");
}

#[test]
fn a_service_that_speaks_first_unannounced_is_told_to_do_so() {
    let hint = "The service speaks first: give --greeting";
    // The first connection is made, and its greeting is there, before the second one answers: the
    // run begins when both are open.
    let address = mail(Duration::ZERO);
    let ran = bench(address, &format!("{NOOP} --hold 10 --active 1 --open-rate 20 -d 300ms"));
    ran.expect_exit(VERIFICATION_FAILED).expect_said(hint);
    assert!(ran.number("/warmup/verify/greeting") >= 10, "{}", ran.summary);
    // It comes when the first message is under way, and is taken for its reply.
    let late = service(|_, stream| {
        if heard(stream) {
            say(stream, b"220 mail\r\n250 ok\r\n");
            answer(stream);
        }
    });
    for options in ["-c 1 -n 5", "-c 1 -n 5 --connect-per-message"] {
        let ran = bench(late, &format!("{NOOP} {options}"));
        ran.expect_exit(VERIFICATION_FAILED).expect_said("see --greeting");
    }
    let slow = mail(Duration::from_millis(100));
    let ran = bench(slow, &format!("{NOOP} -c 1 -n 5 --connect-per-message"));
    ran.expect_exit(VERIFICATION_FAILED).expect_messages(5, 0).expect_wrong(0, 0, 40);
    ran.expect_said("see --greeting");
}
