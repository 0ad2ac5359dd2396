//! Names that stand for several addresses: all are loaded, and the results say how much.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tempfile::NamedTempFile;
use testkit::{OddServer, Oddity, UNSHARE, eventually, eventually_some, skip_unless};

use crate::run::{Bench, DONE, NETWORK_ERRORS, Ran};

/// A name that stands for these addresses, with servers at some of them, all at one port.
struct Name {
    hosts: NamedTempFile,
    servers: Vec<OddServer>,
    /// The port of the others, so that no other test listens there.
    _refusing: Vec<OwnedFd>,
}

impl Name {
    fn of(addresses: &[impl AsRef<str>], served: &[impl AsRef<str>]) -> Self {
        Self::served_by(addresses, served, &Oddity::None)
    }

    fn served_by(
        addresses: &[impl AsRef<str>],
        served: &[impl AsRef<str>],
        oddity: &Oddity,
    ) -> Self {
        let addresses: Vec<_> = addresses.iter().map(AsRef::as_ref).collect();
        let served: Vec<_> = served.iter().map(AsRef::as_ref).collect();
        let mut hosts = NamedTempFile::new().expect("a temporary file");
        for address in &addresses {
            writeln!(hosts, "{address} several.test").expect("write");
        }
        let at = |ip: &str, port| SocketAddr::new(ip.parse().expect(ip), port);
        // A port that is free at the first need not be so at the others.
        let (servers, refusing) = eventually_some("a port is free everywhere", || {
            let first = OddServer::at(at(served[0], 0), oddity.clone());
            let port = first.address().port();
            let others = addresses.iter().filter(|ip| **ip != served[0]);
            let held: Vec<_> = others.map(|ip| Some((*ip, hold(at(ip, port))?))).collect();
            let held: Vec<_> = held.into_iter().collect::<Option<_>>()?;
            let (mut servers, mut refusing) = (vec![first], Vec::new());
            for (ip, socket) in held {
                if served.contains(&ip) {
                    drop(socket);
                    servers.push(OddServer::at(at(ip, port), oddity.clone()));
                } else {
                    refusing.push(socket);
                }
            }
            Some((servers, refusing))
        });
        Self { hosts, servers, _refusing: refusing }
    }

    fn port(&self) -> u16 {
        self.servers[0].address().port()
    }

    /// A run in a file system of its own, in which the name is known.
    #[track_caller]
    fn bench(&self, options: &str) -> Ran {
        let path = self.hosts.path().to_str().expect("a path in UTF-8");
        let mount = format!("mount --bind \"{path}\" /etc/hosts");
        let shell = format!(r#"exec unshare -rm sh -c '{mount} && exec "$@"' sh "$@""#);
        let name = format!("several.test:{}", self.port());
        Bench::of(&name, &format!("--grace 10s {options}")).shell(&shell).run()
    }

    /// What the results say of the connections to each address agrees with what the servers have
    /// seen. Returns the counts, in the order of the addresses.
    #[track_caller]
    fn counts(&self, ran: &Ran) -> Vec<u64> {
        let addresses = ran.at("/target/addresses").as_array().expect("a list").clone();
        let count = |address: &serde_json::Value| {
            let address = address.as_str().expect("a text");
            let made = ran.at("/target/connections")[address].as_u64().expect("a count");
            let server = self.servers.iter().find(|server| server.address().to_string() == address);
            let seen = || server.map_or(0, |server| server.peers().len() as u64);
            eventually(&format!("{address}: {}", ran.at("/target")), || seen() == made);
            made
        };
        addresses.iter().map(count).collect()
    }
}

/// Takes a port, at which nobody listens. None if it is taken.
fn hold(address: SocketAddr) -> Option<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None).expect("a socket");
    // A program that another test starts has it, too, until it is executed. A server can listen on
    // the port all the same.
    set_socket_reuseaddr(&socket, true).expect("set SO_REUSEADDR");
    bind(&socket, &address).ok().map(|()| socket)
}

/// Addresses of the loopback that no other test uses: ports of the usual ones come and go.
fn three(test: u8) -> [String; 3] {
    [1, 2, 3].map(|last| format!("127.1.{test}.{last}"))
}

#[test]
fn connections_take_all_addresses_of_a_name_in_turn() {
    if skip_unless("connections_take_all_addresses_of_a_name_in_turn", UNSHARE) {
        return;
    }
    let three = three(1);
    for options in ["-c 10 -n 30", "-c 10 -n 30 -t 3", "--hold 10 -n 30 --open-rate 1k"] {
        let name = Name::of(&three, &three);
        let ran = name.bench(options);
        ran.expect_exit(DONE).expect_messages(30, 0);
        assert_eq!(name.counts(&ran), [4, 3, 3], "{options}");
        ran.expect_said(&format!("127.1.1.1:{} (4 connections)", name.port()));
        ran.expect_said(&format!("127.1.1.3:{} (3 connections)", name.port()));
    }
}

#[test]
fn messages_with_a_connection_each_take_them_in_turn_too() {
    let test = "messages_with_a_connection_each_take_them_in_turn_too";
    if skip_unless(test, UNSHARE) {
        return;
    }
    let three = three(2);
    let name = Name::of(&three, &three);
    let ran = name.bench("-c 1 -n 30 --connect-per-message");
    ran.expect_exit(DONE).expect_messages(30, 0);
    assert_eq!(name.counts(&ran), [10, 10, 10]);
    // The sources as well.
    let sources: std::collections::BTreeSet<IpAddr> =
        name.servers.iter().flat_map(OddServer::peers).map(|peer| peer.ip()).collect();
    assert_eq!(sources.len(), 10, "ten for each of three addresses, the same ones: {sources:?}");
}

#[test]
fn connections_that_are_made_again_are_counted() {
    if skip_unless("connections_that_are_made_again_are_counted", UNSHARE) {
        return;
    }
    let three = three(3);
    let two = &three[..2];
    let name = Name::served_by(two, two, &Oddity::Closes { after: 640 });
    let ran = name.bench("-c 2 -n 100");
    let mut total = 0;
    for (address, server) in two.iter().zip(&name.servers) {
        let made = ran.number(&format!("/target/connections/{address}:{}", name.port()));
        // One that was made as the run ended is seen by the server alone.
        eventually("the server has seen them", || {
            let seen = server.peers().len() as u64;
            (made..=made + 1).contains(&seen)
        });
        assert!(made > 0, "{address}");
        total += made;
    }
    // Each carries ten of a hundred messages.
    assert!(total >= 10, "{total}");
}

#[test]
fn an_address_that_refuses_leaves_its_share_to_the_next() {
    if skip_unless("an_address_that_refuses_leaves_its_share_to_the_next", UNSHARE) {
        return;
    }
    let three = three(4);
    let name = Name::of(&three, &three[..1]);
    let ran = name.bench("-c 9 -n 30");
    ran.expect_exit(DONE).expect_messages(30, 0).expect_errors(&[]);
    let mut counts = name.counts(&ran);
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 9]);
}

#[test]
fn the_first_address_is_used_alone_if_that_is_asked_for() {
    if skip_unless("the_first_address_is_used_alone_if_that_is_asked_for", UNSHARE) {
        return;
    }
    let three = three(5);
    let name = Name::of(&three, &three);
    let ran = name.bench("-c 9 -n 30 --first-address");
    ran.expect_exit(DONE).expect_messages(30, 0);
    assert_eq!(name.counts(&ran), [9]);
    assert!(!ran.summary.contains("(9 connections)"), "{}", ran.summary);
    // It does not go on to others either.
    let name = Name::of(&three, &three[2..]);
    let ran = name.bench("-c 3 -n 30 --first-address");
    ran.expect_exit(NETWORK_ERRORS).expect_errors(&["refused"]);
}

#[test]
fn each_source_is_used_for_the_addresses_of_its_family() {
    if skip_unless("each_source_is_used_for_the_addresses_of_its_family", UNSHARE) {
        return;
    }
    let both = ["::1", "127.0.0.1"];
    let sources = "--source 127.0.0.2 --source ::1 --source 127.0.0.3";
    for (sources, expected) in [
        ("", &[4, 4][..]),
        (sources, &[4, 4]),
        ("--source 127.0.0.2", &[8]),
        ("--source ::1 --connect-timeout 1s", &[8]),
        ("--source 127.0.0.2 --source ::1 --first-address", &[8]),
    ] {
        let name = Name::of(&both, &both);
        let ran = name.bench(&format!("-c 8 -n 40 {sources}"));
        ran.expect_exit(DONE).expect_messages(40, 0).expect_errors(&[]);
        assert_eq!(name.counts(&ran), expected, "{sources}");
    }
    let name = Name::of(&both, &both);
    let ran = name.bench(&format!("-c 8 -n 40 {sources}"));
    ran.expect_exit(DONE);
    let from = |ip: &str| ip.parse::<IpAddr>().expect(ip);
    let peers: Vec<_> = name.servers.iter().flat_map(OddServer::peers).collect();
    for (ip, count) in [("::1", 4), ("127.0.0.2", 2), ("127.0.0.3", 2)] {
        assert_eq!(peers.iter().filter(|peer| peer.ip() == from(ip)).count(), count, "{ip}");
    }
}
