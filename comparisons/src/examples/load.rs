//! What the examples are loaded with.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::client::{Relayed, Talk, Upstream};

use super::running::{Program, Running};

/// How many clients there are.
const CLIENTS: usize = 50;

/// The idle pairs whose memory is measured, and those that are there before.
const IDLE: usize = 2_000;
const BEFORE: usize = 200;

const GET: &str = "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
const SET: &str = "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$3\r\nxxx\r\n";
const INCR: &str = "*2\r\n$4\r\nINCR\r\n$7\r\ncounter\r\n";
const SUBSCRIBE: &str = "*2\r\n$9\r\nSUBSCRIBE\r\n$2\r\nch\r\n";
const PUBLISH: &str = "*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n$64\r\n\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n";
/// A message that was published is an array of three strings.
const HEARD: usize = 7;
const PAGE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A load, and whom an example is compared with under it.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) name: &'static str,
    pub(super) example: &'static str,
    pub(super) unit: &'static str,
    pub(super) peers: &'static [Program],
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// A request and how the reply begins, and how many are in flight on each connection.
    Requests { request: &'static str, begins: &'static str, in_flight: usize },
    /// So many publishers, with so many in flight each, to as many subscribers as there are
    /// clients.
    Publish { publishers: usize, in_flight: usize },
    /// Bytes over a fresh connection, to the upstream or from it.
    Stream { down: bool },
    /// Messages to the upstream and back.
    RoundTrips,
}

const REDIS: &[Program] = &[Program::Redis];
const PROXIES: &[Program] = &[Program::Haproxy, Program::Tokio];
const HTTP: &[Program] = &[Program::Hyper, Program::Nginx];

const fn command(
    name: &'static str,
    request: &'static str,
    begins: &'static str,
    in_flight: usize,
) -> Load {
    let kind = Kind::Requests { request, begins, in_flight };
    Load { name, example: "redis", unit: "request", peers: REDIS, kind }
}

const fn publish(name: &'static str, publishers: usize, in_flight: usize) -> Load {
    let kind = Kind::Publish { publishers, in_flight };
    Load { name, example: "redis", unit: "delivery", peers: REDIS, kind }
}

const fn proxy(name: &'static str, unit: &'static str, kind: Kind) -> Load {
    Load { name, example: "proxy", unit, peers: PROXIES, kind }
}

const fn page(name: &'static str, in_flight: usize) -> Load {
    let kind = Kind::Requests { request: PAGE, begins: "HTTP/1.1 200 OK\r\n", in_flight };
    Load { name, example: "http", unit: "request", peers: HTTP, kind }
}

pub(super) const LOADS: &[Load] = &[
    command("redis SET, 16 in flight", SET, "+OK\r\n", 16),
    command("redis GET, 16 in flight", GET, "$3\r\nxxx\r\n", 16),
    command("redis INCR, 16 in flight", INCR, ":", 16),
    command("redis SET, 1 in flight", SET, "+OK\r\n", 1),
    command("redis GET, 1 in flight", GET, "$3\r\nxxx\r\n", 1),
    command("redis INCR, 1 in flight", INCR, ":", 1),
    publish("redis PUBLISH, 1 publisher, 16 in flight", 1, 16),
    publish("redis PUBLISH, 50 publishers, 1 in flight", CLIENTS, 1),
    proxy("proxy stream up", "GB", Kind::Stream { down: false }),
    proxy("proxy stream down", "GB", Kind::Stream { down: true }),
    proxy("proxy round trip", "round trip", Kind::RoundTrips),
    page("http, 1 in flight", 1),
    page("http, 16 in flight", 16),
];

/// The clients of one server.
#[derive(Debug)]
pub(super) enum Driver {
    Talk(Talk),
    Stream { upstream: Upstream, server: SocketAddr, down: bool, bytes: usize },
    Relayed(Relayed),
}

impl Load {
    /// The upstream that the server of this load needs.
    pub(super) fn upstream(&self) -> io::Result<Option<Upstream>> {
        matches!(self.kind, Kind::Stream { .. } | Kind::RoundTrips).then(Upstream::new).transpose()
    }

    /// Connects the clients. A stream moves this many bytes.
    pub(super) fn driver(
        &self,
        server: SocketAddr,
        upstream: Option<Upstream>,
        bytes: usize,
    ) -> io::Result<Driver> {
        let upstream = || {
            let upstream = upstream.ok_or_else(|| io::Error::other("a proxy has no upstream"))?;
            upstream.forget_all();
            Ok::<_, io::Error>(upstream)
        };
        Ok(match self.kind {
            Kind::Requests { request, begins, in_flight } => {
                if request == GET {
                    Talk::connect(server, 1, SET, 1, "+OK\r\n")?;
                }
                Driver::Talk(Talk::connect(server, CLIENTS, request, in_flight, begins)?)
            }
            Kind::Publish { publishers, in_flight } => {
                let talk = Talk::connect(server, publishers, PUBLISH, in_flight, ":0\r\n")?;
                Driver::Talk(talk.heard_by(server, CLIENTS, SUBSCRIBE, HEARD)?)
            }
            Kind::Stream { down } => Driver::Stream { upstream: upstream()?, server, down, bytes },
            Kind::RoundTrips => Driver::Relayed(Relayed::connect(&upstream()?, server, CLIENTS)?),
        })
    }
}

impl Driver {
    /// Loads the server for about so long, and at least once. Returns the units.
    pub(super) fn drive(&mut self, length: Duration) -> io::Result<f64> {
        let mut round = || -> io::Result<f64> {
            Ok(match self {
                Self::Talk(talk) => talk.round()? as f64,
                Self::Relayed(relayed) => relayed.round()? as f64,
                Self::Stream { upstream, server, down, bytes } => {
                    upstream.stream(*server, *down, *bytes)?;
                    *bytes as f64 / 1e9
                }
            })
        };
        let begin = Instant::now();
        let mut units = 0.0;
        while units == 0.0 || begin.elapsed() < length {
            units += round()?;
        }
        Ok(units)
    }
}

/// The user memory of an idle pair of a proxy, in bytes: of those that come when others are there
/// already. Each has had a message there and back.
pub(super) fn idle_pair(program: Program, paths: &[(&'static str, PathBuf)]) -> io::Result<f64> {
    let upstream = Upstream::new()?;
    let server = Running::start(program, Some(upstream.address()?), paths)?;
    upstream.forget_all();
    let mut first = Relayed::connect(&upstream, server.address(), BEFORE)?;
    first.round()?;
    server.settle()?;
    let before = server.memory()?;
    let mut idle = Relayed::connect(&upstream, server.address(), IDLE)?;
    idle.round()?;
    server.settle()?;
    let after = server.memory()?;
    Ok((after as f64 - before as f64) / IDLE as f64)
}
