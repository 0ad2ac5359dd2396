//! What else a run can be: a connection for each message, streams, held connections, several
//! threads, and the addresses that it goes from and to.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;
use testkit::{OddServer, Oddity, UNSHARE, descriptors_granted, skip_unless};

use crate::run::{Bench, DONE, bench};
use crate::serve::{edgeloop, server};

/// The addresses from which a server was connected to.
fn sources(server: &OddServer) -> BTreeSet<IpAddr> {
    server.peers().iter().map(std::net::SocketAddr::ip).collect()
}

#[test]
fn each_message_can_have_a_connection_of_its_own_from_many_addresses_of_loopback() {
    let server = OddServer::start(Oddity::None);
    let ran = bench(server.address(), "-c 4 -n 40 --connect-per-message --grace 10s");
    ran.expect_exit(DONE).expect_messages(40, 0).expect_errors(&[]).expect_wrong(0, 0, 0);
    assert_eq!((server.peers().len(), ran.number("/connect_us/samples")), (40, 40));
    // At least one of four made ten connections, each from the address behind the one before.
    let sources = sources(&server);
    assert!(sources.len() >= 10, "{sources:?}");
    assert_eq!(ran.at("/options/mode"), "connect");
    ran.expect_said("a connection for each message").expect_said("40 made");
}

#[test]
fn a_connection_for_each_message_keeps_to_a_rate_and_counts_the_connect_as_part_of_it() {
    let server = OddServer::start(Oddity::None);
    let ran = bench(server.address(), "-c 4 -r 100 -d 300ms --connect-per-message --grace 10s");
    ran.expect_all_answered().expect_messages(30, 0);
    assert_eq!(server.peers().len(), 30);
    assert!(ran.figure("/latency_us/min") >= ran.figure("/connect_us/min"), "{}", ran.summary);
}

#[test]
fn an_early_end_is_found_in_a_connection_for_each_message_too() {
    let server = OddServer::start(Oddity::Closes { after: 10 });
    let ran = bench(server.address(), "-c 2 -d 300ms --connect-per-message --grace 1s");
    ran.expect_exit(1).expect_errors(&["closed_early"]);
    assert!(ran.number("/messages") == 0 && ran.number("/unanswered") > 0, "{}", ran.summary);
}

#[test]
fn a_stream_measures_throughput_and_is_verified_only_where_that_is_asked_for() {
    let server = server(&[]).start();
    let ran = bench(server.address(), "--stream -c 2 -d 300ms --grace 10s");
    ran.expect_exit(DONE).expect_errors(&[]).expect_said("streams").expect_said("verified    no");
    assert_eq!((ran.number("/options/size"), ran.number("/options/pipeline")), (65_536, 4));
    assert_eq!(ran.number("/verify/checked"), 0);
    assert!(ran.number("/bytes_received") > 0 && ran.number("/messages") > 0);
    let ran = bench(server.address(), "--stream --verify -c 2 -d 300ms --grace 10s");
    ran.expect_exit(DONE).expect_wrong(0, 0, 0);
    assert!(ran.number("/verify/checked") >= ran.number("/messages") * 65_536);
}

#[test]
fn a_stream_that_is_verified_finds_a_changed_byte() {
    let server = OddServer::start(Oddity::Flips { at: 100_000 });
    let ran = bench(server.address(), "--stream --verify -c 1 -d 300ms --grace 10s");
    ran.expect_exit(3).expect_wrong(1, 0, 0);
    ran.expect_said("connection 0, offset 100000: 1 byte changed");
}

#[test]
fn held_connections_are_opened_at_their_rate_and_are_all_alive_at_the_end() {
    let server = server(&[]).start();
    let begin = Instant::now();
    let ran = bench(server.address(), "--hold 200 --active 5 --open-rate 1k -d 300ms --grace 10s");
    // The last of them is due after 199 ms.
    assert!(begin.elapsed() >= Duration::from_millis(499), "{:?}", begin.elapsed());
    ran.expect_exit(DONE).expect_errors(&[]).expect_wrong(0, 0, 0);
    assert_eq!((ran.number("/connections_alive"), ran.number("/connect_us/samples")), (200, 200));
    assert!(ran.number("/messages") > 0);
    ran.expect_said("200 of 200 alive at the end").expect_said("5 of them active");
}

#[test]
fn of_the_held_connections_only_the_active_ones_carry_messages() {
    let test = "of_the_held_connections_only_the_active_ones_carry_messages";
    // The server is in this process, and has two descriptors for each.
    let many = descriptors_granted(test, 1000) == 1000;
    let options = ["--hold 40 --active 5", "--hold 40 --active 5 -r 200 -t 2", "--hold 500"];
    for options in options.into_iter().take(if many { 3 } else { 2 }) {
        let server = OddServer::start(Oddity::None);
        let ran = bench(server.address(), &format!("{options} -d 300ms --grace 10s"));
        ran.expect_all_answered();
        assert_eq!(server.peers().len() as u64, ran.number("/connections_alive"), "{options}");
        // Without a number, it is one in a hundred.
        assert_eq!(server.heard(), 5, "{options}");
    }
}

#[test]
fn several_threads_share_the_connections_out() {
    let server = server(&[]).start();
    for options in ["-c 5 -t 2", "-c 5 -t 3 -r 300", "-c 2 -t 8", "--hold 20 --active 3 -t 2"] {
        let ran = bench(server.address(), &format!("{options} -d 300ms --grace 10s"));
        ran.expect_all_answered();
        assert_eq!(ran.number("/connections_alive"), ran.number("/options/connections"));
        assert!(ran.number("/messages") > 0, "{options}");
    }
}

#[test]
fn connections_come_from_the_addresses_that_were_given_in_turn() {
    let server = OddServer::start(Oddity::None);
    bench(server.address(), "-c 3 -n 30 --source 127.0.0.7 --grace 10s").expect_exit(DONE);
    assert_eq!(sources(&server), [IpAddr::from([127, 0, 0, 7])].into());
    let server = OddServer::start(Oddity::None);
    let two = "--source 127.0.0.8 --source 127.0.0.9";
    bench(server.address(), &format!("-c 3 -n 30 {two} --grace 10s")).expect_exit(DONE);
    let expected = [8, 9].map(|last| IpAddr::from([127, 0, 0, last])).into();
    assert_eq!(sources(&server), expected);
}

#[test]
fn ipv6_is_an_address_like_any_other() {
    let server = edgeloop(&["serve", "[::1]:0"]).start();
    let ran = bench(server.address(), "-c 3 -n 30 --grace 10s");
    ran.expect_exit(DONE).expect_messages(30, 0);
    ran.expect_said(&format!("[::1]:{}: 3 connections", server.port()));
    let ran = bench(server.address(), "-c 3 -n 30 --connect-per-message --grace 10s");
    ran.expect_exit(DONE).expect_messages(30, 0);
}

#[test]
fn a_name_is_reached_at_the_first_of_its_addresses_that_does_not_refuse() {
    let test = "a_name_is_reached_at_the_first_of_its_addresses_that_does_not_refuse";
    if skip_unless(test, UNSHARE) {
        return;
    }
    let mut hosts = NamedTempFile::new().expect("a temporary file");
    writeln!(hosts, "::1 two-addresses.test\n127.0.0.1 two-addresses.test").expect("write");
    let path = hosts.path().to_str().expect("a path in UTF-8");
    // A file system of its own, in which that name is known.
    let mount = format!("mount --bind \"{path}\" /etc/hosts");
    let shell = format!(r#"exec unshare -rm sh -c '{mount} && exec "$@"' sh "$@""#);
    let server = OddServer::start(Oddity::None);
    let port = server.address().port();
    let name = format!("two-addresses.test:{port}");
    let ran = Bench::of(&name, "-c 3 -n 30 --grace 10s").shell(&shell).run();
    ran.expect_exit(DONE).expect_messages(30, 0).expect_errors(&[]);
    ran.expect_said(&format!("{name}: 3 connections"));
    assert_eq!(ran.at("/target/addresses/0"), &format!("[::1]:{port}"), "that one refuses");
    assert_eq!(server.peers().len(), 3);
}
