//! Connections that end, connections that are never made, and answers that never come.

use std::time::Duration;

use testkit::{NETWORKS, OddServer, Oddity, skip_unless};

use crate::run::{Bench, DONE, NETWORK_ERRORS, VERIFICATION_FAILED, bench, nobody};
use crate::serve::{edgeloop, server};

#[test]
fn a_server_that_closes_with_something_in_flight_is_an_error_and_no_wrong_byte() {
    let server = OddServer::start(Oddity::Closes { after: 5 * 64 });
    let ran = bench(server.address(), "-c 1 -d 300ms --grace 300ms");
    ran.expect_exit(NETWORK_ERRORS).expect_errors(&["closed_early"]).expect_wrong(0, 0, 0);
    ran.expect_said("closed early");
    assert!(ran.number("/messages") >= 5, "{}", ran.summary);
    // It was made again, again and again.
    assert!(server.peers().len() > 1, "{:?}", server.peers());
}

#[test]
fn a_server_that_closes_early_is_an_error_of_the_network_where_nothing_is_verified() {
    let server = OddServer::start(Oddity::Closes { after: 5 * 64 });
    let ran = bench(server.address(), "-c 1 -d 300ms --grace 300ms --no-verify");
    ran.expect_exit(NETWORK_ERRORS).expect_errors(&["closed_early"]);
}

#[test]
fn an_answer_that_is_cut_off_by_the_end_is_no_wrong_byte() {
    let server = OddServer::start(Oddity::Closes { after: 5 * 64 + 10 });
    let ran = bench(server.address(), "-c 1 -d 300ms --grace 300ms");
    ran.expect_exit(NETWORK_ERRORS).expect_errors(&["closed_early"]).expect_wrong(0, 0, 0);
    assert!(ran.number("/unanswered") >= 1, "{}", ran.summary);
}

#[test]
fn a_server_that_goes_away_in_the_middle_is_told_by_its_end_and_then_by_its_refusals() {
    let server = server(&["-v"]).start();
    let address = server.address().to_string();
    let going = Bench::of(&address, "-c 2 -r 100 -d 1500ms --grace 100ms").begin();
    server.log().expect_line("opened id=2@");
    drop(server);
    let ran = going.end();
    // By a FIN, or by an RST where something was under way.
    assert!(
        [Some(NETWORK_ERRORS), Some(VERIFICATION_FAILED)].contains(&ran.code),
        "{}",
        ran.summary
    );
    let refused = ran.number("/errors/refused");
    // Two connections, each tried again after 10 ms, 20 ms, and so on, up to a second.
    assert!((2..=18).contains(&refused), "{}", ran.summary);
    assert_eq!(ran.number("/messages") + ran.number("/unanswered"), 150);
    assert_eq!(ran.number("/connections_alive"), 0);
}

#[test]
fn a_server_that_comes_back_is_connected_to_again() {
    let server = OddServer::start(Oddity::Resets { after: 64 });
    let ran = bench(server.address(), "-c 1 -r 100 -d 500ms --grace 1s");
    ran.expect_exit(NETWORK_ERRORS).expect_errors(&["reset"]);
    assert_eq!(ran.number("/messages") + ran.number("/unanswered"), 50);
    assert!(ran.number("/messages") > 1 && server.peers().len() > 1, "{}", ran.summary);
}

#[test]
fn a_reset_is_told_from_an_early_end_and_the_exit_code_is_1() {
    let server = OddServer::start(Oddity::Resets { after: 5 * 64 });
    let ran = bench(server.address(), "-c 1 -d 300ms --grace 300ms");
    ran.expect_exit(NETWORK_ERRORS).expect_errors(&["reset"]).expect_wrong(0, 0, 0);
    ran.expect_said(" reset");
}

#[test]
fn where_nobody_listens_each_connection_is_refused_and_nothing_is_measured() {
    let ran = bench(nobody(), "-c 3 -d 10s");
    ran.expect_exit(NETWORK_ERRORS).expect_errors(&["refused"]).expect_messages(0, 0);
    assert_eq!(ran.number("/errors/refused"), 3);
    assert_eq!(ran.at("/ended"), "no_connection");
    ran.expect_said("3 refused").expect_said("No connection could be made; nothing was measured.");
    ran.expect_said("nothing came back");
    assert!(ran.figure("/rate") == 0.0 && ran.figure("/seconds") == 0.0, "{}", ran.summary);
    for figure in ["min", "mean", "p50", "p99_99", "max"] {
        assert!(ran.at(&format!("/latency_us/{figure}")).is_null(), "{figure}");
    }
}

#[test]
fn messages_that_are_never_answered_are_counted_with_the_time_they_have_waited() {
    for rest in ["", "--no-verify", "-t 2"] {
        let server = OddServer::start(Oddity::Silent);
        let ran = bench(server.address(), &format!("-c 3 -d 300ms --grace 200ms {rest}"));
        ran.expect_exit(NETWORK_ERRORS).expect_messages(0, 3).expect_errors(&[]);
        ran.expect_said("3 never answered")
            .expect_said("some of these messages were never answered");
        assert_eq!(ran.number("/latency_us/samples"), 3);
        // For so long they were waited for, and the histogram tells one part in a thousand apart.
        assert!(ran.figure("/latency_us/min") >= 199_800.0, "{}", ran.summary);
        assert_eq!(ran.number("/connections_alive"), 3);
        // Not even the shortest of them is known.
        let bounds = serde_json::json!(["min", "mean", "p50", "max"]);
        assert_eq!(ran.at("/latency_us/lower_bounds"), &bounds);
    }
}

#[test]
fn figures_that_reach_no_unanswered_message_are_no_bounds() {
    let server = OddServer::start(Oddity::Loses { at: 20 * 64 - 1, count: 1 });
    let ran = bench(server.address(), "-c 1 -n 20 -p 20 -d 300ms --grace 1s");
    ran.expect_messages(19, 1);
    assert_eq!(ran.at("/latency_us/lower_bounds"), &serde_json::json!(["mean", "max"]));
    ran.expect_said("≥ lower bound: some of these messages were never answered");
}

#[test]
fn a_rate_that_nobody_answers_is_counted_to_the_last_message() {
    for oddity in [Oddity::Silent, Oddity::Deaf] {
        let server = OddServer::start(oddity);
        let ran = bench(server.address(), "-c 3 -r 100 -d 500ms --grace 100ms");
        ran.expect_exit(NETWORK_ERRORS).expect_messages(0, 50).expect_errors(&[]);
        assert_eq!(ran.number("/latency_us/samples"), 50);
    }
}

#[test]
fn answers_that_take_their_time_are_no_error_and_no_time_is_below_theirs() {
    let server = OddServer::start(Oddity::Delays(Duration::from_millis(50)));
    let ran = bench(server.address(), "-c 2 -d 300ms --grace 10s");
    ran.expect_exit(DONE).expect_errors(&[]);
    assert!(ran.number("/messages") >= 2, "{}", ran.summary);
    assert!(ran.figure("/latency_us/min") >= 49_950.0, "{}", ran.summary);
}

#[test]
fn wrong_bytes_and_answers_that_never_come_weigh_more_than_a_late_schedule() {
    // One message in ten nanoseconds, which no machine can send.
    const HURRIED: &str = "-c 5 -r 100M -d 2ms --grace";
    let wrong = OddServer::start(Oddity::Flips { at: 70 });
    let ran = bench(wrong.address(), &format!("{HURRIED} 25s"));
    ran.expect_exit(VERIFICATION_FAILED).expect_wrong(5, 0, 0);
    assert!(ran.at("/late").is_object(), "{}", ran.summary);
    let silent = OddServer::start(Oddity::Silent);
    let ran = bench(silent.address(), &format!("{HURRIED} 0"));
    ran.expect_exit(NETWORK_ERRORS).expect_messages(0, 200_000);
    assert!(ran.at("/late").is_object(), "{}", ran.summary);
}

#[test]
fn running_out_of_descriptors_is_counted_and_said() {
    let server = server(&[]).start();
    let address = server.address().to_string();
    let ran = Bench::of(&address, "-c 50 -d 300ms --grace 10s").descriptors(30).run();
    ran.expect_exit(NETWORK_ERRORS).expect_errors(&["out_of_descriptors"]);
    ran.expect_said("out of descriptors; see the limit of descriptors, ulimit -Hn");
    // Those that there were did their work.
    assert!(ran.number("/messages") > 0 && ran.number("/connections_alive") < 30);
}

/// Makes a network of its own, with ten ports for connections.
const TEN_PORTS: &str = r#"exec unshare -rn sh -c '
    ip link set lo up && echo 40000 40009 >/proc/sys/net/ipv4/ip_local_port_range && exec "$@"
' sh "$@""#;

#[test]
fn running_out_of_ports_is_counted_and_said_and_more_addresses_help() {
    let test = "running_out_of_ports_is_counted_and_said_and_more_addresses_help";
    if skip_unless(test, NETWORKS) {
        return;
    }
    let server = edgeloop(&["serve", "127.0.0.1:7000"]).shell(TEN_PORTS).start();
    let join =
        format!(r#"exec nsenter --user --net --preserve-credentials -t {} "$@""#, server.pid());
    let run = |options: &str| {
        let options = format!("-c 20 -d 300ms --grace 10s {options}");
        Bench::of("127.0.0.1:7000", &options).shell(&join).run()
    };
    let ran = run("");
    ran.expect_exit(NETWORK_ERRORS).expect_errors(&["out_of_ports"]);
    ran.expect_said(" out of ports; several --source addresses have more ports");
    // Those that there were did their work.
    assert!(
        ran.number("/messages") > 0 && ran.number("/connections_alive") == 10,
        "{}",
        ran.summary
    );
    let ran = run("--source 127.0.0.2 --source 127.0.0.3");
    ran.expect_exit(DONE).expect_errors(&[]);
    assert_eq!(ran.number("/connections_alive"), 20);
}
