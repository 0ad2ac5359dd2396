//! What must come out, as data, and whether it did.

use crate::counts::{Counted, Counts};
use crate::examples::{Compared, Examples};
use crate::latency::Latency;
use crate::overload::{Overload, Overloaded};
use crate::pair::{ITSELF, Measured};
use crate::servers::{BARE, EDGELOOP, SPINNING, WITHOUT_TIMEOUT};
use crate::statistics::Estimate;
use crate::turns;

/// At most this ratio, against this server, under each of these shapes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) of: &'static str,
    pub(crate) against: &'static str,
    pub(crate) shapes: &'static [&'static str],
    pub(crate) at_most: f64,
}

const fn against(against: &'static str, shapes: &'static [&'static str], at_most: f64) -> Target {
    Target { of: EDGELOOP, against, shapes, at_most }
}

const USUAL: &[&str] = &["small-1", "small-50", "small-500", "pipelined-50", "4k-50"];
const MANY: &[&str] = &["small-50", "small-500", "pipelined-50", "4k-50"];
const ONE: &[&str] = &["small-1"];
const STREAMS: &[&str] = &["stream-1", "stream-8"];

/// The ratios of processor time, `edgeloop serve` with its defaults.
pub(crate) const RATIOS: &[Target] = &[
    against(BARE, USUAL, 1.02),
    against("tokio-copy", ONE, 0.95),
    against("tokio-copy", MANY, 0.98),
    against("tokio-ready", ONE, 0.95),
    against("tokio-ready", MANY, 0.98),
    against("libuv", USUAL, 0.97),
    against("libevent", USUAL, 0.72),
    against("example-go", USUAL, 0.72),
    against("example", USUAL, 0.72),
    against("tokio-copy", STREAMS, 0.92),
    against(BARE, STREAMS, 0.70),
    against("tokio-copy", &["connect"], 0.95),
    against("tokio-ready", &["connect"], 0.95),
    against(ITSELF, &["idle-15000"], 1.02),
    against(WITHOUT_TIMEOUT, &["small-1", "small-50"], 1.01),
];

/// From 50 to 5,000 connections, a message may not become dearer than the bare server's does.
const GROWTH: (&str, &str) = ("small-5000", "small-50");

/// Whether a target is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    /// It is missed, by less than the interval is wide.
    WithinNoise,
    Missed,
    NotMeasured,
}

impl Verdict {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::WithinNoise => "missed within the interval",
            Self::Missed => "missed",
            Self::NotMeasured => "not measured",
        }
    }
}

/// A target with what came out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) against: String,
    pub(crate) shape: String,
    pub(crate) at_most: f64,
    pub(crate) ratio: Option<Estimate>,
    pub(crate) verdict: Verdict,
}

pub(crate) fn judge(ratio: Option<Estimate>, at_most: f64) -> Verdict {
    match ratio {
        None => Verdict::NotMeasured,
        Some(ratio) if ratio.median <= at_most => Verdict::Met,
        Some(ratio) if ratio.low <= at_most => Verdict::WithinNoise,
        Some(_) => Verdict::Missed,
    }
}

/// The ratio of a pair, if it was measured and says something.
pub(crate) fn ratio_of(
    pairs: &[Measured],
    of: &str,
    against: &str,
    shape: &str,
) -> Option<Estimate> {
    pairs
        .iter()
        .find(|pair| (&*pair.of, &*pair.against, &*pair.shape) == (of, against, shape))?
        .valid_ratio()
}

/// A row for each target and shape.
pub(crate) fn ratios(pairs: &[Measured]) -> Vec<Row> {
    let mut rows = Vec::new();
    for target in RATIOS {
        for &shape in target.shapes {
            let ratio = ratio_of(pairs, target.of, target.against, shape);
            rows.push(Row {
                against: target.against.to_owned(),
                shape: shape.to_owned(),
                at_most: target.at_most,
                ratio,
                verdict: judge(ratio, target.at_most),
            });
        }
    }
    let (many, few) = GROWTH;
    let growth = ratio_of(pairs, EDGELOOP, BARE, many)
        .zip(ratio_of(pairs, EDGELOOP, BARE, few))
        .map(|(many, few)| many.over(few));
    rows.push(Row {
        against: format!("{BARE}'s own growth"),
        shape: format!("{many} by {few}"),
        at_most: 1.0,
        ratio: growth,
        verdict: judge(growth, 1.0),
    });
    rows
}

/// The bounds of the examples: at most this part of the processor time, under a load, of a server.
pub(crate) const EXAMPLES: &[(&str, &str, f64)] = &[
    ("redis GET, 16 in flight", "redis-server", 0.70),
    ("redis SET, 16 in flight", "redis-server", 0.70),
    ("redis INCR, 16 in flight", "redis-server", 0.70),
    ("redis GET, 1 in flight", "redis-server", 0.85),
    ("redis SET, 1 in flight", "redis-server", 0.85),
    ("redis INCR, 1 in flight", "redis-server", 0.85),
    ("redis PUBLISH, 1 publisher, 16 in flight", "redis-server", 0.85),
    ("redis PUBLISH, 50 publishers, 1 in flight", "redis-server", 0.85),
    ("proxy stream up", "haproxy", 0.55),
    ("proxy stream up", "tokio", 0.70),
    ("proxy stream down", "haproxy", 0.55),
    ("proxy stream down", "tokio", 0.70),
    ("proxy round trip", "haproxy", 0.90),
    ("proxy round trip", "tokio", 0.95),
    ("http, 1 in flight", "hyper", 0.85),
    ("http, 1 in flight", "nginx", 0.75),
    ("http, 16 in flight", "hyper", 0.55),
    ("http, 16 in flight", "nginx", 0.06),
];

/// The bound of user memory of an idle pair of the example proxy, in bytes.
pub(crate) const PAIR_BYTES: f64 = 256.0;

/// A bound for each load and server that was measured or tried.
pub(crate) fn examples(all: &Examples) -> Vec<Bound> {
    let bound = |one: &Compared| {
        let of = |known: &&(&str, &str, f64)| known.0 == one.load && known.1 == one.against;
        let at_most = EXAMPLES.iter().find(of)?.2;
        Some(Bound::new(format!("{} / {}", one.load, one.against), at_most, one.ratio))
    };
    all.compared.iter().filter_map(bound).collect()
}

/// Whether an idle pair of the proxy takes no more than it may.
pub(crate) fn pair_bytes(bytes: Option<f64>) -> Verdict {
    match bytes {
        None => Verdict::NotMeasured,
        Some(bytes) if bytes <= PAIR_BYTES => Verdict::Met,
        Some(_) => Verdict::Missed,
    }
}

/// A count with its bound.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CountRow {
    pub(crate) what: &'static str,
    /// `None` when the bound is another server's count, which was not taken.
    pub(crate) at_most: Option<f64>,
    pub(crate) value: Counted,
    pub(crate) verdict: Verdict,
}

/// How many waits a message may take on fifty connections more than the bare server's.
const WAITS_ABOVE_BARE: f64 = 0.05;

/// The bounds of instructions a message, with one connection and with fifty.
pub(crate) const INSTRUCTIONS: (f64, f64) = (150.0, 110.0);

/// The bound of user memory of an idle connection, in bytes.
pub(crate) const IDLE_BYTES: f64 = 128.0;

/// The bound of system calls a message with one connection.
pub(crate) const CALLS: f64 = 3.0;

/// A row for each count that has a bound.
pub(crate) fn counts(all: &[Counts]) -> Vec<CountRow> {
    let Some(own) = all.iter().find(|counts| counts.name == EDGELOOP) else { return Vec::new() };
    let bare = all.iter().find(|counts| counts.name == BARE);
    let waits = bare.and_then(|bare| bare.waits_fifty.value()).map(|all| all + WAITS_ABOVE_BARE);
    let row = |what, at_most: Option<f64>, value: &Counted| {
        let verdict = match (at_most, value.value()) {
            // A wait or two of a start and an end are in the counts of ten thousand messages.
            (Some(bound), Some(value)) if value <= bound + 0.005 => Verdict::Met,
            (Some(_), Some(_)) => Verdict::Missed,
            _ => Verdict::NotMeasured,
        };
        CountRow { what, at_most, value: value.clone(), verdict }
    };
    vec![
        row("system calls a message, 1 connection", Some(CALLS), &own.calls_one),
        row("waits a message, 50 connections; bare C + 0.05", waits, &own.waits_fifty),
        row(
            "user instructions a message, 1 connection",
            Some(INSTRUCTIONS.0),
            &own.instructions_one,
        ),
        row(
            "user instructions a message, 50 connections",
            Some(INSTRUCTIONS.1),
            &own.instructions_fifty,
        ),
        row("user memory of an idle connection, bytes", Some(IDLE_BYTES), &own.user_bytes),
        row("wake-ups a second at rest", Some(0.0), &own.wakeups),
    ]
}

/// A ratio with its bound, of what is measured one server after the other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bound {
    pub(crate) what: String,
    pub(crate) at_most: f64,
    pub(crate) ratio: Option<Estimate>,
    pub(crate) verdict: Verdict,
}

impl Bound {
    fn new(what: String, at_most: f64, ratio: Option<Estimate>) -> Self {
        Self { what, at_most, ratio, verdict: judge(ratio, at_most) }
    }
}

/// The bounds of the percentiles of a server that spins, by those of tokio.
const SPINNING_P50: f64 = 0.30;
const SPINNING_P99: f64 = 0.20;

/// The bounds of latency.
pub(crate) fn latencies(all: &[Latency]) -> Vec<Bound> {
    let find = |name: &str| all.iter().find(|one| one.server == name);
    let Some(own) = find(SPINNING) else { return Vec::new() };
    let mut bounds = Vec::new();
    for peer in ["tokio-copy", "tokio-ready"].into_iter().filter_map(find) {
        let name = &peer.server;
        let p50 = turns::ratio(&own.rounds, &peer.rounds, |round| round.p50);
        let p99 = turns::ratio(&own.rounds, &peer.rounds, |round| round.p99);
        bounds.push(Bound::new(format!("p50 of {SPINNING} by that of {name}"), SPINNING_P50, p50));
        bounds.push(Bound::new(format!("p99 of {SPINNING} by that of {name}"), SPINNING_P99, p99));
    }
    bounds
}

/// Under overload, the bounds of the peak by the throughput, which is 95 % of it at least, and of
/// the worst connection's p99 by that of the one in the middle.
const PEAK_BY_ANSWERED: f64 = 1.0 / 0.95;
const WORST_BY_MEDIAN: f64 = 3.0;

/// The bounds under overload.
pub(crate) fn overloads(all: &[Overload]) -> Vec<Bound> {
    let Some(own) = all.iter().find(|one| one.server == EDGELOOP) else { return Vec::new() };
    // If the client was the slower end, nothing was shown.
    let shown = |figure: fn(&Overloaded) -> f64| {
        turns::estimate(&own.rounds, figure).filter(|_| own.is_overloaded())
    };
    let throughput = shown(|round| round.peak / round.answered);
    let fairness = shown(|round| round.worst_p99 / round.median_p99);
    vec![
        Bound::new("peak by what is answered".to_owned(), PEAK_BY_ANSWERED, throughput),
        Bound::new(
            "p99 of the worst connection by that of the one in the middle".to_owned(),
            WORST_BY_MEDIAN,
            fairness,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::Round;
    use crate::shapes;

    #[test]
    fn every_target_names_shapes_that_there_are() {
        for target in RATIOS {
            for shape in target.shapes {
                assert!(shapes::find(shape).is_ok(), "{shape}");
            }
        }
        assert!(shapes::find(GROWTH.0).is_ok() && shapes::find(GROWTH.1).is_ok());
    }

    #[test]
    fn every_target_names_servers_that_there_are() {
        for target in RATIOS {
            for name in [target.of, target.against].iter().filter(|name| **name != ITSELF) {
                assert!(crate::servers::find(name).is_ok(), "{name}");
            }
        }
    }

    #[test]
    fn the_bounds_are_those_that_were_set() {
        let at_most = |against: &str, shape: &str| {
            let mut found = RATIOS
                .iter()
                .filter(|target| target.against == against && target.shapes.contains(&shape));
            let bound = found.next().map(|target| target.at_most);
            assert!(found.next().is_none(), "{against} and {shape} have two bounds");
            bound
        };
        for (against, shape, bound) in [
            (BARE, "small-1", 1.02),
            (BARE, "4k-50", 1.02),
            ("tokio-copy", "small-1", 0.95),
            ("tokio-ready", "small-50", 0.98),
            ("libuv", "pipelined-50", 0.97),
            ("libevent", "small-500", 0.72),
            ("example-go", "small-1", 0.72),
            ("example", "small-1", 0.72),
            ("tokio-copy", "stream-1", 0.92),
            (BARE, "stream-8", 0.70),
            ("tokio-copy", "connect", 0.95),
            (ITSELF, "idle-15000", 1.02),
        ] {
            assert_eq!(at_most(against, shape), Some(bound), "{against}, {shape}");
        }
        assert_eq!(at_most(BARE, "segments"), None);
    }

    fn measured(shape: &str, median: f64, is_valid: bool) -> Measured {
        let ratio = Some(Estimate { median, low: median - 0.01, high: median + 0.01 });
        let valid = Measured::for_test(EDGELOOP, shape, median);
        Measured { is_valid, ratio, null: ratio, ..valid }
    }

    #[test]
    fn a_row_is_met_missed_or_neither() {
        let pairs = [
            measured("small-1", 1.02, true),
            measured("small-50", 1.025, true),
            measured("small-500", 1.04, true),
            measured("4k-50", 1.0, false),
            measured("small-5000", 1.03, true),
        ];
        let rows = ratios(&pairs);
        let verdict = |shape: &str| {
            let row = rows.iter().find(|row| row.against == BARE && row.shape == shape);
            row.expect("a row").verdict
        };
        assert_eq!(verdict("small-1"), Verdict::Met);
        assert_eq!(verdict("small-50"), Verdict::WithinNoise);
        assert_eq!(verdict("small-500"), Verdict::Missed);
        assert_eq!(verdict("4k-50"), Verdict::NotMeasured, "its null did not hold");
        assert_eq!(verdict("pipelined-50"), Verdict::NotMeasured);
        let growth = rows.last().expect("the growth");
        assert!((growth.ratio.expect("of two pairs").median - 1.03 / 1.025).abs() < 1e-12);
        assert_eq!(growth.verdict, Verdict::WithinNoise);
    }

    #[test]
    fn counts_are_judged_by_bounds_and_by_the_bare_servers() {
        let mut own = Counts::empty(EDGELOOP);
        own.calls_one = Counted::Value(3.004);
        own.waits_fifty = Counted::Value(0.5);
        own.instructions_one = Counted::Value(151.0);
        own.wakeups = Counted::Value(0.0);
        let mut bare = Counts::empty(BARE);
        bare.waits_fifty = Counted::Value(0.46);
        let verdicts =
            |all: &[Counts]| counts(all).iter().map(|row| row.verdict).collect::<Vec<_>>();
        let not = Verdict::NotMeasured;
        assert_eq!(
            verdicts(&[own.clone(), bare]),
            [Verdict::Met, Verdict::Met, Verdict::Missed, not, not, Verdict::Met]
        );
        assert_eq!(verdicts(&[own])[1], not);
    }

    #[test]
    fn every_load_of_an_example_has_one_bound_for_each_of_its_peers() {
        let mut known: Vec<_> = EXAMPLES.iter().map(|(load, peer, _)| (*load, *peer)).collect();
        let mut named = crate::examples::pairs();
        known.sort_unstable();
        named.sort_unstable();
        assert_eq!(known, named);
        let of = |load: &str, peer: &str| {
            let mut all = EXAMPLES.iter().filter(|one| (one.0, one.1) == (load, peer));
            all.next().map(|one| one.2)
        };
        assert_eq!(of("redis GET, 16 in flight", "redis-server"), Some(0.70));
        assert_eq!(of("redis PUBLISH, 50 publishers, 1 in flight", "redis-server"), Some(0.85));
        assert_eq!(of("proxy stream down", "haproxy"), Some(0.55));
        assert_eq!(of("proxy round trip", "tokio"), Some(0.95));
        assert_eq!(of("http, 16 in flight", "nginx"), Some(0.06));
    }

    #[test]
    fn an_example_is_judged_by_its_interval_and_its_memory_by_its_bytes() {
        let compared = |load: &str, against: &str, ratio: Option<f64>| Compared {
            ratio: ratio.map(|median| Estimate { median, low: median - 0.01, high: 1.0 }),
            ..Compared::empty(load, against, "request")
        };
        let all = Examples {
            compared: vec![
                compared("http, 1 in flight", "hyper", Some(0.85)),
                compared("http, 1 in flight", "nginx", Some(0.755)),
                compared("proxy stream up", "haproxy", Some(0.60)),
                compared("proxy stream up", "tokio", None),
                compared("proxy stream up", "nobody", Some(0.1)),
            ],
            ..Examples::default()
        };
        let verdicts: Vec<_> = examples(&all).iter().map(|bound| bound.verdict).collect();
        let (met, missed) = (Verdict::Met, Verdict::Missed);
        assert_eq!(verdicts, [met, Verdict::WithinNoise, missed, Verdict::NotMeasured]);
        assert_eq!(pair_bytes(Some(256.0)), met);
        assert_eq!(pair_bytes(Some(257.0)), missed);
        assert_eq!(pair_bytes(None), Verdict::NotMeasured);
    }

    #[test]
    fn a_server_that_spins_is_judged_by_each_form_of_tokio() {
        let of = |server: &str, p50: f64, p99: f64| Latency {
            server: server.to_owned(),
            rounds: vec![Round { p50, p99 }; 6],
        };
        let all =
            [of(SPINNING, 3.0, 9.0), of("tokio-copy", 10.0, 30.0), of("tokio-ready", 9.0, 90.0)];
        let verdicts: Vec<_> = latencies(&all).iter().map(|bound| bound.verdict).collect();
        assert_eq!(
            verdicts,
            [Verdict::Met, Verdict::Missed, Verdict::Missed, Verdict::Met],
            "0.30, 0.30, 0.33 and 0.10"
        );
        assert_eq!(latencies(&all[1..]), []);
    }

    #[test]
    fn overload_says_nothing_where_the_client_was_the_slower_end() {
        let round = |answered, held, worst_p99| Overloaded {
            peak: 100.0,
            offered: 120.0,
            answered,
            held,
            median_p99: 10.0,
            worst_p99,
        };
        let of = |round| [Overload { server: EDGELOOP.to_owned(), rounds: vec![round; 6] }];
        let verdicts =
            |round| overloads(&of(round)).iter().map(|one| one.verdict).collect::<Vec<_>>();
        assert_eq!(verdicts(round(95.5, 0.9, 29.0)), [Verdict::Met, Verdict::Met]);
        assert_eq!(verdicts(round(94.0, 0.9, 31.0)), [Verdict::Missed, Verdict::Missed]);
        assert_eq!(verdicts(round(120.0, 0.1, 10.0)), [Verdict::NotMeasured; 2]);
    }
}
