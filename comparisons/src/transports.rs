//! What must come out over other transports than TCP, as data: at most a little more than bare
//! epoll costs, and less than every library.

use peers::{Service, Transport};

use crate::ours;
use crate::pair::Measured;
use crate::results::Results;
use crate::servers::{self, BARE, Contestant, EDGELOOP};
use crate::shapes;
use crate::statistics::Estimate;
use crate::targets::{Row, judge, ratio_of};

/// The bound by bare epoll, under every shape.
const BY_BARE: f64 = 1.02;

/// The bound by each of [`LIBRARIES`], from the ratios of both to bare epoll.
const BY_LIBRARY: f64 = 1.0;

/// Those that have figures of their own.
pub(crate) const OTHERS: [Transport; 2] = [Transport::Unix, Transport::Udp];

/// What servers are usually written on. Of one that has no server over a transport nothing is said
/// there.
const LIBRARIES: [&str; 5] = ["mio", "tokio-copy", "tokio-ready", "libuv", "libevent"];

/// Those of which calls and instructions are counted.
const COUNTED: [&str; 4] = [EDGELOOP, ours::NAME, BARE, "bare-inline"];

/// Those of them that serve here.
///
/// # Errors
///
/// When one of them is not known.
pub(crate) fn counted(transport: Transport) -> Result<Vec<Contestant>, String> {
    let mut counted = servers::present(&COUNTED)?;
    counted.retain(|server| server.serves(Service::Echo, transport));
    Ok(counted)
}

/// What runs over this transport, of the same results.
pub(crate) fn part(results: &Results, transport: Transport) -> Results {
    let mut part = results.clone();
    part.pairs.retain(|pair| {
        let shape = shapes::find(&pair.shape);
        // A shape that there was once is one of TCP.
        shape.map_or(Transport::Tcp, |shape| shape.transport) == transport
    });
    if transport != Transport::Tcp {
        part.servers.retain(|about| {
            let server = servers::find(&about.name);
            server.is_ok_and(|server| server.serves(Service::Echo, transport))
        });
        part.counts = std::mem::take(part.counts_over(transport));
        part.examples = None;
        part.latency.clear();
        part.overload.clear();
    }
    OTHERS.iter().for_each(|other| part.counts_over(*other).clear());
    part
}

/// The server of ours that the bounds are for: the program where it was measured, and else the
/// library.
pub(crate) fn own(pairs: &[Measured]) -> &'static str {
    if pairs.iter().any(|pair| pair.of == EDGELOOP) { EDGELOOP } else { ours::NAME }
}

/// A row for each bound and shape, from pairs over this transport alone.
pub(crate) fn rows(transport: Transport, pairs: &[Measured]) -> Vec<Row> {
    let own = own(pairs);
    let row = |against: &str, shape: &str, at_most, ratio: Option<Estimate>| Row {
        against: against.to_owned(),
        shape: shape.to_owned(),
        at_most,
        ratio,
        verdict: judge(ratio, at_most),
    };
    let of = |server: &str, shape| ratio_of(pairs, server, BARE, shape);
    let shapes = || shapes::over(transport).map(|shape| shape.name);
    let mut rows = Vec::new();
    for shape in shapes() {
        rows.push(row(BARE, shape, BY_BARE, of(own, shape)));
    }
    for library in libraries(transport) {
        for shape in shapes() {
            let both = of(own, shape).zip(of(library, shape));
            let ratio = both.map(|(own, library)| own.over(library));
            rows.push(row(library, shape, BY_LIBRARY, ratio));
        }
    }
    rows
}

/// Those that have a server over this transport.
fn libraries(transport: Transport) -> impl Iterator<Item = &'static str> {
    let serves = move |name: &&str| {
        servers::find(name).is_ok_and(|server| server.serves(Service::Echo, transport))
    };
    LIBRARIES.into_iter().filter(serves)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use crate::targets::Verdict;

    #[test]
    fn every_pair_that_a_bound_needs_is_measured() {
        for transport in OTHERS {
            let pairs = plan::over(transport).expect("pairs");
            for shape in shapes::over(transport) {
                for name in libraries(transport).chain([ours::NAME]) {
                    let server = servers::find(name).expect(name);
                    let is_measured = pairs.iter().any(|pair| {
                        (pair.of.server.name(), pair.against_name(), pair.shape)
                            == (name, BARE, shape)
                    });
                    let is_there = server.left_out().is_none();
                    assert_eq!(is_measured, is_there, "{name} under {}", shape.name);
                }
            }
        }
    }

    #[test]
    fn every_library_serves_over_some_transport() {
        assert_eq!(libraries(Transport::Unix).collect::<Vec<_>>(), LIBRARIES);
        let over_udp = ["mio", "tokio-ready", "libuv"];
        assert_eq!(libraries(Transport::Udp).collect::<Vec<_>>(), over_udp);
    }

    #[test]
    fn ours_are_judged_by_bare_epoll_and_by_every_library() {
        let pairs = [
            Measured::for_test(ours::NAME, "unix-1", 1.01),
            Measured::for_test("libuv", "unix-1", 1.10),
            Measured::for_test("mio", "unix-1", 0.99),
            Measured::for_test(ours::NAME, "unix-50", 1.03),
        ];
        let rows = rows(Transport::Unix, &pairs);
        let verdict = |against: &str, shape: &str| {
            let row = rows.iter().find(|row| row.against == against && row.shape == shape);
            row.expect("a row").verdict
        };
        assert_eq!(verdict(BARE, "unix-1"), Verdict::Met);
        assert_eq!(verdict(BARE, "unix-50"), Verdict::Missed);
        assert_eq!(verdict("libuv", "unix-1"), Verdict::Met);
        assert_eq!(verdict("mio", "unix-1"), Verdict::Missed);
        assert_eq!(verdict("libevent", "unix-1"), Verdict::NotMeasured);
        assert_eq!(rows.len(), 24, "six others under four shapes");
    }

    #[test]
    fn the_program_stands_for_ours_as_soon_as_it_is_measured() {
        let library = Measured::for_test(ours::NAME, "unix-1", 1.0);
        assert_eq!(own(std::slice::from_ref(&library)), ours::NAME);
        assert_eq!(own(&[library, Measured::for_test(EDGELOOP, "unix-1", 1.0)]), EDGELOOP);
    }

    #[test]
    fn results_are_parted_by_what_they_run_over() {
        let mut results = Results::new();
        results.take_pair(Measured::for_test("mio", "unix-1", 1.0));
        results.take_pair(Measured::for_test("mio", "small-1", 1.0));
        results.take_pair(Measured::for_test("mio", "udp-1", 1.0));
        let shapes = |results: &Results| {
            results.pairs.iter().map(|pair| pair.shape.clone()).collect::<Vec<_>>()
        };
        let over = |transport| part(&results, transport);
        assert_eq!(shapes(&over(Transport::Unix)), ["unix-1"]);
        assert_eq!(shapes(&over(Transport::Udp)), ["udp-1"]);
        assert_eq!(shapes(&over(Transport::Tcp)), ["small-1"]);
        let has = |transport, name: &str| {
            over(transport).servers.iter().any(|server| server.name == name)
        };
        assert!(has(Transport::Tcp, "smol") && !has(Transport::Unix, "smol"));
        assert!(has(Transport::Unix, "libevent") && !has(Transport::Udp, "libevent"));
    }
}
