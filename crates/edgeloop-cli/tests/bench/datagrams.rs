//! Runs over datagrams: against an echo that errs in each way that the network or a service can.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Signal;
use testkit::{PYTHON, SOCAT, eventually, skip_unless};

use crate::others::Foreign;
use crate::run::{Bench, DONE, NETWORK_ERRORS, Ran, USAGE, VERIFICATION_FAILED};
use crate::serve::edgeloop;

/// What a `--fail-if` that holds ends with.
const FAILED: i32 = 5;

/// A service on a thread of its own, which does with each datagram what it is told.
struct Service {
    address: SocketAddr,
    socket: UdpSocket,
    peers: Arc<Mutex<BTreeSet<SocketAddr>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    /// `answer` is shown the socket, which datagram of all it is, its bytes, and who sent it.
    fn start(
        mut answer: impl FnMut(&UdpSocket, u64, &mut [u8], SocketAddr) + Send + 'static,
    ) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let address = socket.local_addr().expect("its address");
        let clone = socket.try_clone().expect("a clone");
        let (peers, over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (seen, ends) = (Arc::clone(&peers), Arc::clone(&over));
        let thread = thread::spawn(move || {
            let seen: Arc<Mutex<BTreeSet<SocketAddr>>> = seen;
            let (mut bytes, mut number) = (vec![0; 65_536], 0);
            while !ends.load(Ordering::Relaxed) {
                match socket.recv_from(&mut bytes) {
                    Ok((length, from)) => {
                        seen.lock().expect("no panic").insert(from);
                        answer(&socket, number, &mut bytes[..length], from);
                        number += 1;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        Self { address, socket: clone, peers, over, thread: Some(thread) }
    }

    fn echo() -> Self {
        Self::start(|socket, _, bytes, from| reply(socket, bytes, from))
    }

    fn url(&self) -> String {
        format!("udp://{}", self.address)
    }

    #[track_caller]
    fn bench(&self, options: &str) -> Ran {
        Bench::of(&self.url(), options).run()
    }

    fn peers(&self) -> usize {
        self.peers.lock().expect("no panic").len()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            thread::panicking() || ended.is_none_or(|ended| ended.is_ok()),
            "the service failed"
        );
    }
}

fn reply(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) {
    let _ = socket.send_to(bytes, to);
}

/// Datagrams were told apart from answers as often as this says, by name, and no others were.
#[track_caller]
fn expect_strays(ran: &Ran, expected: &[(&str, u64)]) {
    for name in ["duplicates", "reordered", "late", "foreign", "corrupted", "no_room"] {
        let met = ran.number(&format!("/datagrams/{name}"));
        let count = expected.iter().find(|one| one.0 == name).map_or(0, |one| one.1);
        assert_eq!(met, count, "{name}: {}", ran.summary);
        let parts = ran.at("/intervals").as_array().expect("intervals").iter();
        let sum: u64 = parts.filter_map(|part| part["datagrams"][name].as_u64()).sum();
        assert_eq!(sum, count, "{name} second by second: {}", ran.summary);
    }
}

#[test]
fn a_hundred_thousand_datagrams_are_verified_and_none_is_lost() {
    // With 8 in flight no buffer overflows.
    let echo = Service::echo();
    let ran = echo.bench("-c 4 -p 2 -n 100000 --timeout 60s");
    ran.expect_all_answered().expect_messages(100_000, 0);
    assert_eq!(ran.number("/verify/checked"), 6_400_000);
    assert_eq!((ran.number("/bytes_sent"), ran.number("/bytes_received")), (6_400_000, 6_400_000));
    expect_strays(&ran, &[]);
    assert_eq!(ran.number("/generator/receive_drops"), 0);
    ran.expect_said("4 sockets, 64 B a message, closed loop, 2 in flight on each");
    ran.expect_said("4 of 4 alive at the end").expect_said("all as they were sent");
}

#[test]
fn each_mode_of_datagrams_is_measured() {
    for options in [
        "-c 3 -d 300ms",
        "-c 3 -d 300ms --warmup 100ms -t 2",
        "-c 5 -r 300 -d 300ms",
        "-c 5 -r 300 -n 90 --arrival poisson -t 2",
        "-c 2 -p 1 -r 200 -d 300ms -s 8",
        "-c 2 --profile 200:200ms,400:200ms --no-verify",
        "-c 1 -n 50 -s 65507",
    ] {
        let echo = Service::echo();
        let ran = echo.bench(&format!("{options} --timeout 60s"));
        ran.expect_all_answered();
        expect_strays(&ran, &[]);
        assert!(ran.number("/messages") > 0, "{}", ran.summary);
        assert_eq!(echo.peers() as u64, ran.number("/options/connections"), "a port for each");
        assert_eq!(ran.at("/options/timeout_s"), 60.0);
        let address = ran.at("/target/addresses/0").as_str().expect("a text");
        assert_eq!(address, echo.url());
        assert_eq!(ran.at("/target/connections")[address], ran.at("/options/connections").clone());
    }
}

#[test]
fn runs_over_datagrams_are_repeated_and_added_up() {
    let echo = Service::echo();
    let ran = echo.bench("-c 2 -n 100 --repeat 3 --timeout 60s");
    ran.expect_all_answered().expect_messages(300, 0);
    assert_eq!(ran.at("/repeats").as_array().map(Vec::len), Some(3));
    expect_strays(&ran, &[]);
}

#[test]
fn lost_datagrams_rank_above_all_answered_ones_and_a_bound_says_how_many_may_be() {
    let bench = |options: &str| {
        let service = Service::start(|socket, number, bytes, from| {
            if number % 3 > 0 {
                reply(socket, bytes, from);
            }
        });
        service.bench(&format!("-c 1 -n 30 -p 30 {options}"))
    };
    let ran = bench("");
    ran.expect_exit(NETWORK_ERRORS).expect_messages(20, 10).expect_wrong(0, 0, 0);
    ran.expect_errors(&[]).expect_said("; 10 lost (33.3 %)");
    expect_strays(&ran, &[]);
    // Twenty of them are below a second, the timeout, and ten above.
    assert_eq!((ran.number("/latency_us/samples"), ran.number("/answered_us/samples")), (30, 20));
    assert!(ran.figure("/latency_us/max") >= 1_000_000.0, "{}", ran.summary);
    assert!(ran.figure("/latency_us/p50") < 1_000_000.0, "{}", ran.summary);
    let bounds = ran.at("/latency_us/lower_bounds").to_string();
    assert!(bounds.contains("max") && !bounds.contains("p50"), "{bounds}");
    bench("--fail-if lost>33.4%").expect_exit(DONE);
    bench("--fail-if lost>10").expect_exit(DONE);
    let ran = bench("--fail-if lost>0.1%");
    ran.expect_exit(FAILED);
    assert!(ran.stderr.contains("lost is 33.3 %, above 0.1 %"), "{}", ran.stderr);
    bench("--fail-if lost>9").expect_exit(FAILED);
    bench("--fail-if p50>1m").expect_exit(NETWORK_ERRORS);
}

#[test]
fn a_duplicate_is_no_second_answer() {
    let service = Service::start(|socket, _, bytes, from| {
        // What comes behind the last answer comes behind the end.
        reply(socket, bytes, from);
        reply(socket, bytes, from);
    });
    let ran = service.bench("-c 1 -p 1 -r 100 -n 20 --timeout 60s");
    ran.expect_all_answered().expect_messages(20, 0);
    let duplicates = ran.number("/datagrams/duplicates");
    assert!((19..=20).contains(&duplicates), "{}", ran.summary);
    ran.expect_said(&format!("{duplicates} duplicate"));
}

#[test]
fn an_answer_behind_a_later_one_is_reordered_and_counts() {
    let mut held = Vec::new();
    let service = Service::start(move |socket, number, bytes, from| {
        if number % 2 == 0 {
            held = bytes.to_vec();
        } else {
            reply(socket, bytes, from);
            reply(socket, &held, from);
        }
    });
    let ran = service.bench("-c 1 -p 2 -n 20 --timeout 60s");
    ran.expect_all_answered().expect_messages(20, 0).expect_said("10 reordered");
    expect_strays(&ran, &[("reordered", 10)]);
}

#[test]
fn a_late_answer_is_told_and_its_datagram_stays_lost() {
    let mut first = Vec::new();
    let service = Service::start(move |socket, number, bytes, from| {
        if number == 0 {
            first = bytes.to_vec();
        } else {
            // The second is sent when the first is lost.
            reply(socket, &first, from);
            reply(socket, bytes, from);
        }
    });
    let ran = service.bench("-c 1 -n 2 --timeout 1s");
    ran.expect_exit(NETWORK_ERRORS).expect_messages(1, 1).expect_wrong(0, 0, 0);
    expect_strays(&ran, &[("late", 1)]);
    ran.expect_said("1 lost (50.0 %)").expect_said("1 late");
    assert!(ran.figure("/latency_us/max") >= 1_000_000.0, "{}", ran.summary);
}

#[test]
fn what_comes_from_elsewhere_or_answers_nothing_is_foreign() {
    let other = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let from_there = other.local_addr().expect("its address");
    let service = Service::start(move |_, _, bytes, from| reply(&other, bytes, from));
    let ran = service.bench("-c 1 -n 5 -p 5 --timeout 300ms");
    ran.expect_exit(NETWORK_ERRORS).expect_messages(0, 5).expect_wrong(0, 0, 0);
    expect_strays(&ran, &[("foreign", 5)]);
    ran.expect_said(&format!("socket 0: 64 bytes from {from_there}, which is not the service"));
    ran.expect_said("No answer came back, only datagrams from elsewhere");
    let service = Service::start(|socket, _, _, from| reply(socket, b"what is it?", from));
    let ran = service.bench("-c 1 -n 5 -p 5 --timeout 300ms");
    ran.expect_exit(NETWORK_ERRORS).expect_messages(0, 5);
    expect_strays(&ran, &[("foreign", 5)]);
    ran.expect_said("socket 0: 11 bytes from ").expect_said("which answer nothing");
}

#[test]
fn a_corrupted_answer_is_wrong_and_answers_nothing() {
    for (place, length, wrong) in
        [(40, 64, (1, 0, 0)), (0, 64, (1, 0, 0)), (64, 30, (0, 34, 0)), (64, 3, (0, 61, 0))]
    {
        let service = Service::start(move |socket, _, bytes, from| {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1;
            }
            reply(socket, &bytes[..length], from);
        });
        let ran = service.bench("-c 2 -n 10 --timeout 60s");
        ran.expect_exit(VERIFICATION_FAILED).expect_messages(0, 10);
        ran.expect_wrong(10 * wrong.0, 10 * wrong.1, 10 * wrong.2);
        expect_strays(&ran, &[("corrupted", 10)]);
        ran.expect_said(", datagram 0: ").expect_said("10 corrupted");
    }
    let service = Service::start(|socket, _, bytes, from| {
        reply(socket, &[bytes, b"more".as_slice()].concat(), from);
    });
    let ran = service.bench("-c 1 -n 10 --timeout 60s");
    ran.expect_exit(VERIFICATION_FAILED).expect_wrong(0, 0, 40);
    expect_strays(&ran, &[("corrupted", 10)]);
}

#[test]
fn where_nothing_comes_back_the_run_ends_and_says_what_that_may_be() {
    let gone = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = format!("udp://{}", gone.expect("an address"));
    for (options, lost) in [
        ("-c 2 -d 250ms --timeout 100ms", None),
        ("-c 2 -n 6 --timeout 100ms", Some(6)),
        ("-c 2 -n 6 -r 100 --timeout 100ms", Some(6)),
    ] {
        let ran = Bench::of(&address, options).run();
        ran.expect_exit(NETWORK_ERRORS);
        assert_eq!(ran.number("/messages"), 0);
        assert!(lost.is_none_or(|lost| ran.number("/unanswered") == lost), "{}", ran.summary);
        assert_eq!(ran.at("/ended"), "whole");
        ran.expect_said("nothing was answered").expect_said("Nothing came back: nobody listens");
        expect_strays(&ran, &[]);
    }
    let ran = Bench::of(&address, "-c 1 -n 1000000 --timeout 100ms").run();
    ran.expect_exit(NETWORK_ERRORS).expect_said("Nothing came back for 10 s");
    assert_eq!(ran.at("/ended"), "stalled");
}

#[test]
fn sends_that_the_kernel_refuses_are_counted_by_name_and_do_not_spin() {
    // Without SO_BROADCAST (ip(7)).
    let ran = Bench::of("udp://127.255.255.255:7", "-c 1 -d 400ms").run();
    ran.expect_exit(NETWORK_ERRORS).expect_messages(0, 0).expect_errors(&["other"]);
    let refused = ran.number("/other_errors/Permission denied (os error 13)");
    // After 10 ms, 20 ms, and so on.
    assert!((1..=6).contains(&refused), "{}", ran.summary);
    let ran = Bench::of("udp://127.255.255.255:7", "-c 1 -r 100 -n 20").run();
    ran.expect_exit(NETWORK_ERRORS).expect_messages(0, 20);
    assert_eq!(ran.number("/errors/other"), 20);
}

#[test]
fn what_this_machine_has_dropped_itself_is_told_from_losses_of_the_service() {
    let service = Service::echo();
    let going = Bench::of(&service.url(), "-c 1 -r 100 -d 1s --timeout 2s").begin();
    eventually("it sends", || service.peers() == 1);
    let peer = service.peers.lock().expect("no panic").first().copied().expect("one");
    let process = going.running.process();
    process.signal(Signal::STOP);
    eventually("it has stopped", || process.state() == Some('T'));
    // A receive buffer of the usual size has room for a few hundred.
    (0..5000).for_each(|_| reply(&service.socket, &[0; 1000], peer));
    process.signal(Signal::CONT);
    let ran = going.end();
    assert!(ran.number("/generator/receive_drops") > 0, "{}", ran.summary);
    ran.expect_said("dropped by this machine's own receive");
}

#[test]
fn the_table_of_seconds_has_what_was_told_apart() {
    let service = Service::start(|socket, _, bytes, from| {
        reply(socket, bytes, from);
        reply(socket, bytes, from);
    });
    let table = tempfile::NamedTempFile::new().expect("a file");
    let path = table.path().to_str().expect("a path");
    let ran =
        Bench::of(&service.url(), "-c 1 -n 20 -r 100 --timeout 60s").with(&["--csv", path]).run();
    let rows = std::fs::read_to_string(path).expect("a table");
    let (head, row) = rows.trim_end().split_once('\n').expect("a row");
    let names: Vec<_> = head.split(',').collect();
    let values: Vec<_> = row.split('\n').next().expect("one").split(',').collect();
    assert_eq!(names.len(), values.len());
    let place = names.iter().position(|name| *name == "duplicates").expect("a column");
    assert_eq!(values[place], ran.number("/datagrams/duplicates").to_string(), "{rows}");
}

#[test]
fn what_has_no_meaning_for_datagrams_is_refused_in_one_line() {
    for (options, words) in [
        ("--hold 5", "--hold cannot be used with udp://: datagrams have no connections"),
        ("--send x", "--send cannot be used with udp://: each datagram carries a number"),
        ("--stream", "--stream cannot be used with udp://: datagrams are no stream"),
        ("-s 7", "expected at least 8 bytes"),
        ("-s 65508", "too large for a datagram to 127.0.0.1:7: expected at most 65507 bytes"),
        ("--timeout 0", "--timeout"),
        ("127.0.0.1:7", "udp:// cannot be used together with 127.0.0.1:7"),
    ] {
        let words_of: Vec<_> = options.split(' ').collect();
        let ended = edgeloop(&["bench", "udp://127.0.0.1:7"]).args(&words_of).run();
        assert_eq!(ended.code, Some(USAGE), "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
        assert_eq!(ended.stderr.trim_end().lines().count(), 1, "{}", ended.stderr);
    }
}

/// An echo of others, once it has bound this port.
fn foreign(command: Command, address: SocketAddr) -> Foreign {
    let port = format!(":{:04X} ", address.port());
    let is_bound = || std::fs::read_to_string("/proc/net/udp").is_ok_and(|all| all.contains(&port));
    Foreign::start_until(command, is_bound)
}

fn free_port() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.local_addr().expect("its address")
}

#[test]
fn socat_is_loaded_with_datagrams_and_nothing_is_wrong() {
    if skip_unless("socat_is_loaded_with_datagrams_and_nothing_is_wrong", SOCAT) {
        return;
    }
    let address = free_port();
    let mut socat = Command::new("socat");
    // It forks for each datagram. With UDP-LISTEN each peer would have a process that stays.
    let listen = format!("UDP-RECVFROM:{},bind=127.0.0.1,fork", address.port());
    socat.args([&listen, "EXEC:cat"]);
    let _server = foreign(socat, address);
    let ran = Bench::of(&format!("udp://{address}"), "-c 1 -n 20 --timeout 2s").run();
    // On a busy machine it loses one now and then itself, while it forks.
    let (answered, lost) = (ran.number("/messages"), ran.number("/unanswered"));
    assert!(answered + lost == 20 && answered > lost, "{}", ran.summary);
    ran.expect_exit(if lost == 0 { DONE } else { NETWORK_ERRORS }).expect_wrong(0, 0, 0);
}

#[test]
fn an_echo_in_python_is_loaded_with_datagrams_and_nothing_is_wrong() {
    let test = "an_echo_in_python_is_loaded_with_datagrams_and_nothing_is_wrong";
    if skip_unless(test, PYTHON) {
        return;
    }
    const ECHO: &str = "import socket, sys\n\
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
        s.bind(('127.0.0.1', int(sys.argv[1])))\n\
        while True: s.sendto(*s.recvfrom(65536))";
    let address = free_port();
    let mut python = Command::new("python3");
    python.args(["-c", ECHO, &address.port().to_string()]);
    let _server = foreign(python, address);
    for options in ["-c 20 -n 2000", "-c 5 -p 4 -d 300ms", "-c 20 -r 200 -d 300ms"] {
        let ran = Bench::of(&format!("udp://{address}"), &format!("{options} --timeout 60s")).run();
        ran.expect_all_answered();
        expect_strays(&ran, &[]);
    }
}
