//! Signals: the first ends a run early and keeps what was measured, the second ends the program.

use std::time::Duration;

use rustix::process::Signal;
use testkit::{Ended, OddServer, Oddity, Stopwatch, eventually, holds_for};

use crate::run::{Bench, DONE, Going, NETWORK_ERRORS, Ran, VERIFICATION_FAILED};

/// A second for the last answers where there are none, and the rest for a busy machine.
const SOON: Duration = Duration::from_secs(4);

/// Begins a run and waits until so many bytes of it have come to the server.
#[track_caller]
fn under_way(server: &OddServer, options: &str, bytes: u64) -> Going {
    let going = Bench::of(&server.address().to_string(), options).begin();
    eventually("messages come", || server.received() >= bytes);
    going
}

/// Interrupts a run, which soon comes to its end.
#[track_caller]
fn interrupt(going: Going, signal: Signal) -> Ran {
    let watch = Stopwatch::start(&[going.running.process()]);
    going.running.process().signal(signal);
    let ran = going.end();
    watch.expect_within(SOON);
    assert_eq!(ran.at("/ended"), "interrupted", "{}", ran.summary);
    ran.expect_said("Interrupted; this is what was measured until then.");
    ran
}

#[test]
fn ctrl_c_ends_a_long_run_at_once_with_what_was_measured_until_then() {
    for signal in [Signal::INT, Signal::TERM] {
        let server = OddServer::start(Oddity::Delays(Duration::from_millis(5)));
        let ran = interrupt(under_way(&server, "-c 2 -t 2 -d 1h", 640), signal);
        ran.expect_exit(DONE).expect_errors(&[]);
        // Of two connections, one may be behind with its last answer, and so with its next message.
        assert!(ran.number("/messages") >= 8, "{}", ran.summary);
        let (seconds, rate) = (ran.figure("/seconds"), ran.figure("/rate"));
        assert!(seconds > 0.0 && seconds < 60.0, "{seconds}");
        // The last answer of each connection may have come when the measured time was over.
        let in_time = rate * seconds;
        let messages = ran.figure("/messages");
        assert!((messages - 2.5..messages + 0.5).contains(&in_time), "{in_time} of {messages}");
    }
}

#[test]
fn an_interrupted_run_keeps_the_exit_code_of_what_was_measured() {
    let flips = OddServer::start(Oddity::Flips { at: 70 });
    let ran = interrupt(under_way(&flips, "-c 1 -d 1h", 640), Signal::INT);
    ran.expect_exit(VERIFICATION_FAILED).expect_wrong(1, 0, 0);
    let silent = OddServer::start(Oddity::Silent);
    let ran = interrupt(under_way(&silent, "-c 2 -d 1h", 128), Signal::INT);
    ran.expect_exit(NETWORK_ERRORS).expect_messages(0, 2);
}

#[test]
fn a_run_that_still_makes_its_connections_can_be_interrupted() {
    let server = OddServer::start(Oddity::None);
    let address = server.address().to_string();
    let going = Bench::of(&address, "--hold 1000 --open-rate 20 -d 1h").begin();
    eventually("connections come", || server.peers().len() >= 3);
    let ran = interrupt(going, Signal::INT);
    ran.expect_exit(NETWORK_ERRORS).expect_messages(0, 0);
}

#[test]
fn while_it_waits_for_the_last_answers_a_second_signal_ends_it_with_130() {
    let server = OddServer::start(Oddity::Silent);
    let mut going = under_way(&server, "-c 2 -d 1h --grace 60s", 128);
    let process = going.running.process();
    process.signal(Signal::INT);
    let span = Duration::from_millis(300);
    holds_for(span, "it waits for the answers", || going.running.is_running());
    // Signals that come together are one; so this is sent until it is seen.
    eventually("it ends", || {
        process.signal(Signal::INT);
        !going.running.is_running()
    });
    let Ended { code, stdout, stderr } = going.running.end();
    assert_eq!((code, stdout.as_str()), (Some(130), ""), "{stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    assert_eq!(last, "edgeloop: SIGINT, the second signal: ended at once");
}

#[test]
fn the_first_signal_ends_the_wait_for_the_last_answers_of_a_run_that_was_whole() {
    let server = OddServer::start(Oddity::Silent);
    // Both messages have been sent: nothing is left to do but to wait.
    let mut going = under_way(&server, "-c 2 -n 2 --grace 60s", 128);
    let span = Duration::from_millis(300);
    holds_for(span, "it waits for the answers", || going.running.is_running());
    let ran = interrupt(going, Signal::INT);
    ran.expect_exit(NETWORK_ERRORS).expect_messages(0, 2);
}
