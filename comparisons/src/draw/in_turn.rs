//! What the document says of what was measured one server after the other: latency and overload.

use super::block::{Block, heading, paragraph, row};
use crate::overload::{CONNECTIONS, Overload, Overloaded, TOO_MUCH};
use crate::results::Results;
use crate::show::{estimate, or_dash, thousands};
use crate::statistics::Estimate;
use crate::targets::{self, Bound};
use crate::turns;

/// Both.
pub(super) fn blocks(results: &Results) -> Vec<Block> {
    let mut blocks = latency(results);
    blocks.extend(overload(results));
    blocks
}

fn bounds(bounds: &[Bound]) -> Block {
    let mut table = vec![row(["ratio", "at most", "median (95 % interval)", ""])];
    table.extend(bounds.iter().map(|one| {
        let at_most = format!("{:.2}", one.at_most);
        row([&one.what, &at_most, &estimate(one.ratio), one.verdict.words()])
    }));
    Block::Table(table)
}

/// In microseconds.
fn time(estimate: Option<Estimate>) -> String {
    or_dash(estimate, |Estimate { median, low, high }| {
        format!("{median:.1} ({low:.1} to {high:.1})")
    })
}

fn latency(results: &Results) -> Vec<Block> {
    if results.latency.is_empty() {
        return Vec::new();
    }
    let mut table = vec![row(["server", "p50, µs", "p99, µs"])];
    for one in &results.latency {
        let p50 = turns::estimate(&one.rounds, |round| round.p50);
        let p99 = turns::estimate(&one.rounds, |round| round.p99);
        table.push(row([&one.server, &time(p50), &time(p99)]));
    }
    vec![
        heading(2, "Latency on one connection"),
        paragraph(
            "64 bytes there and back, with a client that never sleeps; medians over the rounds, with their \
             intervals.",
        ),
        Block::Table(table),
        bounds(&targets::latencies(&results.latency)),
    ]
}

fn overload(results: &Results) -> Vec<Block> {
    if results.overload.is_empty() {
        return Vec::new();
    }
    let head = [
        "server",
        "peak, a second",
        "offered",
        "answered",
        "held back, %",
        "median p99, ms",
        "worst p99, ms",
    ];
    let mut table = vec![row(head)];
    for one in &results.overload {
        let Overload { server, rounds } = one;
        let median = |figure: fn(&Overloaded) -> f64, show: fn(f64) -> String| {
            or_dash(turns::estimate(rounds, figure), |all| show(all.median))
        };
        let milliseconds = |time| format!("{time:.1}");
        table.push(row([
            server,
            &median(|round| round.peak, thousands),
            &median(|round| round.offered, thousands),
            &median(|round| round.answered, thousands),
            &median(|round| round.held * 100.0, thousands),
            &median(|round| round.median_p99, milliseconds),
            &median(|round| round.worst_p99, milliseconds),
        ]));
    }
    vec![
        heading(2, "Overload"),
        paragraph(format!(
            "Messages of 4 KiB on {CONNECTIONS} connections, {:.0} % of what the server can do, on a schedule \
             that waits for nobody. Latency counts from when a message was due. The rates are those of the \
             schedule's time, medians over the rounds. Held back are messages that could not be sent when they \
             were due because the server had 64 of the connection unanswered, or its socket was full: where \
             few are, the client was the slower end.",
            TOO_MUCH * 100.0
        )),
        Block::Table(table),
        bounds(&targets::overloads(&results.overload)),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::block::text;
    use super::*;
    use crate::latency::Latency;
    use crate::pair::Round;

    #[test]
    fn figures_stand_beside_their_bounds() {
        let mut results = Results::of_a_part();
        assert_eq!(blocks(&results), []);
        let of = |server: &str, p50| Latency {
            server: server.to_owned(),
            rounds: vec![Round { p50, p99: 2.0 * p50 }; 6],
        };
        results.latency = vec![of("edgeloop-spin", 2.0), of("tokio-copy", 20.0)];
        let round = Overloaded {
            peak: 100_000.0,
            offered: 120_000.0,
            answered: 99_000.0,
            held: 0.97,
            median_p99: 12.34,
            worst_p99: 15.0,
        };
        results.overload = vec![Overload { server: "edgeloop".to_owned(), rounds: vec![round; 6] }];
        let text = text(&blocks(&results));
        for words in
            ["20.0 (20.0 to 20.0)", "0.100 (0.100 to 0.100)", "99,000", "97", "12.3", "met"]
        {
            assert!(text.contains(words), "{words:?} is not in {text}");
        }
        assert!(!text.contains("missed"), "{text}");
    }
}
