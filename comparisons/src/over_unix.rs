//! What must come out over Unix sockets, as data: at most a little more than bare epoll costs, and
//! less than every library.

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

/// What servers are usually written on.
const LIBRARIES: [&str; 5] = ["mio", "tokio-copy", "tokio-ready", "libuv", "libevent"];

/// Those of which calls and instructions are counted.
const COUNTED: [&str; 4] = [EDGELOOP, ours::NAME, BARE, "bare-inline"];

/// Those of them that serve here.
///
/// # Errors
///
/// When one of them is not known.
pub(crate) fn counted() -> Result<Vec<Contestant>, String> {
    let mut counted = servers::present(&COUNTED)?;
    counted.retain(|server| server.serves(Service::Echo, Transport::Unix));
    Ok(counted)
}

/// What runs over Unix sockets, of the same results.
pub(crate) fn of(results: &Results) -> Results {
    part(results, Transport::Unix)
}

/// What does not.
pub(crate) fn without(results: &Results) -> Results {
    part(results, Transport::Tcp)
}

fn part(results: &Results, transport: Transport) -> Results {
    let mut part = results.clone();
    part.pairs.retain(|pair| {
        let shape = shapes::find(&pair.shape);
        // A shape that there was once is one of TCP.
        shape.map_or(Transport::Tcp, |shape| shape.transport) == transport
    });
    if transport == Transport::Unix {
        part.servers.retain(|about| {
            let server = servers::find(&about.name);
            server.is_ok_and(|server| server.serves(Service::Echo, transport))
        });
        part.counts = part.unix_counts.clone();
        part.examples = None;
        part.latency.clear();
        part.overload.clear();
    }
    part.unix_counts.clear();
    part
}

/// The server of ours that the bounds are for: the program where it was measured, and else the
/// library.
pub(crate) fn own(pairs: &[Measured]) -> &'static str {
    if pairs.iter().any(|pair| pair.of == EDGELOOP) { EDGELOOP } else { ours::NAME }
}

/// A row for each bound and shape, from pairs over Unix sockets alone.
pub(crate) fn rows(pairs: &[Measured]) -> Vec<Row> {
    let own = own(pairs);
    let row = |against: &str, shape: &str, at_most, ratio: Option<Estimate>| Row {
        against: against.to_owned(),
        shape: shape.to_owned(),
        at_most,
        ratio,
        verdict: judge(ratio, at_most),
    };
    let of = |server: &str, shape| ratio_of(pairs, server, BARE, shape);
    let mut rows = Vec::new();
    for shape in shapes::over_unix_sockets() {
        rows.push(row(BARE, shape, BY_BARE, of(own, shape)));
    }
    for library in LIBRARIES {
        for shape in shapes::over_unix_sockets() {
            let both = of(own, shape).zip(of(library, shape));
            let ratio = both.map(|(own, library)| own.over(library));
            rows.push(row(library, shape, BY_LIBRARY, ratio));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use crate::targets::Verdict;

    #[test]
    fn every_pair_that_a_bound_needs_is_measured() {
        let shapes: Vec<_> = shapes::over_unix_sockets().map(str::to_owned).collect();
        let pairs = plan::all(&shapes, &[]).expect("pairs");
        for shape in shapes {
            for name in LIBRARIES.into_iter().chain([ours::NAME]) {
                let server = servers::find(name).expect(name);
                let is_measured = pairs.iter().any(|pair| {
                    (pair.of.server.name(), pair.against_name(), pair.shape.name)
                        == (name, BARE, &*shape)
                });
                assert_eq!(is_measured, server.left_out().is_none(), "{name} under {shape}");
            }
        }
    }

    #[test]
    fn ours_are_judged_by_bare_epoll_and_by_every_library() {
        let pairs = [
            Measured::for_test(ours::NAME, "unix-1", 1.01),
            Measured::for_test("libuv", "unix-1", 1.10),
            Measured::for_test("mio", "unix-1", 0.99),
            Measured::for_test(ours::NAME, "unix-50", 1.03),
        ];
        let rows = rows(&pairs);
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
        let shapes = |results: &Results| {
            results.pairs.iter().map(|pair| pair.shape.clone()).collect::<Vec<_>>()
        };
        assert_eq!(shapes(&of(&results)), ["unix-1"]);
        assert_eq!(shapes(&without(&results)), ["small-1"]);
        assert!(of(&results).servers.iter().all(|server| server.name != "smol"));
        assert!(without(&results).servers.iter().any(|server| server.name == "smol"));
    }
}
