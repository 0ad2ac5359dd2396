//! How much is sent: rates from one in ten seconds to more than any machine can, and short runs.

use testkit::{OddServer, Oddity, eventually};

use crate::run::{Bench, DONE, NETWORK_ERRORS, TOO_SLOW, bench};
use crate::serve::server;

#[test]
fn a_rate_sends_as_many_messages_as_are_due_in_the_time() {
    for (options, messages) in [
        ("-r 0.1 -d 300ms", 1),
        ("-r 0.001 -d 0.1s -c 1", 1),
        // At 0 ms, 80 ms, and so on up to 960 ms.
        ("-r 12.5 -d 1s -c 3", 13),
        ("-r 12.5 -d 1s -c 3 -t 2", 13),
        ("-r 1k -d 0.1s", 100),
        ("-r 200 -d 500ms -c 1 -p 1", 100),
    ] {
        let server = OddServer::start(Oddity::None);
        let ran = bench(server.address(), &format!("{options} --grace 10s"));
        ran.expect_all_answered().expect_messages(messages, 0);
        assert_eq!(server.received(), messages * 64, "{options}");
        assert_eq!(ran.number("/latency_us/samples"), messages, "{options}");
    }
}

#[test]
fn the_asked_rate_is_told_with_its_fraction_and_without_one_there_is_none() {
    let server = OddServer::start(Oddity::None);
    let ran = bench(server.address(), "-r 12.5 -d 100ms --grace 10s -c 2");
    assert!((ran.figure("/asked_rate") - 12.5).abs() < 1e-9);
    ran.expect_said("open loop, 12.5 messages a second, uniform");
    let ran = bench(server.address(), "-n 1 -c 1 --grace 10s");
    assert!(ran.at("/asked_rate").is_null() && ran.at("/late").is_null());
}

#[test]
fn a_random_schedule_is_the_same_for_the_same_seed() {
    let server = OddServer::start(Oddity::None);
    let sent = |seed| {
        let options = format!("-r 300 --arrival poisson -d 300ms --grace 10s -c 3 --seed {seed}");
        let ran = bench(server.address(), &options);
        ran.expect_all_answered().number("/messages")
    };
    let counts = [1, 1, 2, 3, 4, 5].map(sent);
    assert_eq!(counts[0], counts[1]);
    assert!(counts[2..].iter().any(|&count| count != counts[0]), "{counts:?}");
}

#[test]
fn a_rate_that_no_machine_holds_is_said_to_be_late_and_the_exit_code_is_4() {
    let server = server(&[]).start();
    // One message in ten nanoseconds: a system call alone takes longer than many of them.
    let ran = bench(server.address(), "-r 100M -d 2ms --grace 25s");
    ran.expect_exit(TOO_SLOW).expect_messages(200_000, 0).expect_wrong(0, 0, 0);
    ran.expect_said("LATE").expect_said("the schedule was not held");
    assert!(ran.number("/late/missed") * 100 > ran.number("/late/sends"), "{}", ran.summary);
    assert!(ran.figure("/late/lag_us") > 1000.0, "{}", ran.summary);
}

#[test]
fn what_nobody_takes_is_counted_and_not_kept() {
    let server = OddServer::start(Oddity::Deaf);
    let address = server.address().to_string();
    let mut going = Bench::of(&address, "-c 4 -p 10M -r 5M -d 2s --grace 100ms").begin();
    let mut peak = 0;
    eventually("it ends", || {
        peak = going.running.process().peak().unwrap_or(0).max(peak);
        !going.running.is_running()
    });
    let ran = going.end();
    ran.expect_messages(0, 10_000_000);
    // The kernel takes up to 10 MB for each connection, and 16 bytes are kept of each message in
    // it: 10 MB in all, and twice as much while that grows. Ten million messages would be 160 MB.
    assert!(peak > 0 && peak < 64 << 20, "{peak} bytes");
}

#[test]
fn so_many_messages_are_that_many_however_they_are_shared_out() {
    for options in
        ["-n 1", "-n 100 -c 7 -t 2", "-n 3 -c 7 -t 2", "-n 100 -c 3 -p 9", "-n 100 -r 1k -c 3"]
    {
        let server = OddServer::start(Oddity::None);
        let ran = bench(server.address(), &format!("{options} --grace 10s"));
        let messages = options.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
        ran.expect_all_answered().expect_messages(messages, 0);
        assert_eq!(server.received(), messages * 64, "{options}");
        assert_eq!(ran.at("/ended"), "whole");
    }
}

#[test]
fn where_the_time_ends_before_the_messages_do_it_is_the_time_that_is_told() {
    let server = OddServer::start(Oddity::Loses { at: 5 * 64 + 63, count: 1 });
    let ran = bench(server.address(), "-c 1 -n 100 -d 300ms --grace 100ms");
    ran.expect_exit(NETWORK_ERRORS).expect_messages(5, 1).expect_wrong(0, 0, 0);
    assert!(ran.figure("/seconds") >= 0.3, "{}", ran.summary);
}

#[test]
fn a_warm_up_is_sent_and_not_counted() {
    let server = OddServer::start(Oddity::None);
    let ran = bench(server.address(), "-r 200 -d 100ms --warmup 300ms -c 2 --grace 10s");
    ran.expect_all_answered().expect_messages(20, 0);
    assert_eq!((server.received(), ran.number("/latency_us/samples")), (80 * 64, 20));
}

#[test]
fn the_shortest_run_of_all_has_no_figure_that_is_none() {
    let server = OddServer::start(Oddity::None);
    for options in ["-d 1ns -c 1", "-d 1ns -c 3 -r 1k", "-d 1ns -c 3 -t 2 --connect-per-message"] {
        let ran = bench(server.address(), &format!("{options} --grace 10s"));
        // One that was sent behind it is no part of it.
        let expected = match ran.number("/messages") {
            0 => NETWORK_ERRORS,
            // A busy machine sends even one message late.
            _ if !ran.at("/late").is_null() => TOO_SLOW,
            _ => DONE,
        };
        ran.expect_exit(expected).expect_errors(&[]);
        assert_eq!(ran.number("/unanswered"), 0);
        assert!(ran.figure("/seconds") >= 0.0 && ran.at("/rate").is_f64(), "{}", ran.summary);
    }
}

#[test]
fn a_percentile_without_a_sample_beyond_it_is_null_and_says_what_it_needs() {
    let server = OddServer::start(Oddity::None);
    let ran = bench(server.address(), "-n 1 -c 1 --grace 10s");
    ran.expect_exit(DONE);
    for figure in ["p50", "p90", "p99", "p99_9", "p99_99"] {
        assert!(ran.at(&format!("/latency_us/{figure}")).is_null(), "{figure}");
    }
    for figure in ["min", "mean", "max"] {
        assert!(ran.figure(&format!("/latency_us/{figure}")) > 0.0, "{figure}");
    }
    ran.expect_said("(needs 2 samples)").expect_said("(needs 10,000 samples)");
    let ran = bench(server.address(), "-n 10 -c 1 --grace 10s");
    assert!(ran.figure("/latency_us/p90") > 0.0 && ran.at("/latency_us/p99").is_null());
}
