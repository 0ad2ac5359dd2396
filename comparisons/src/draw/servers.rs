//! The document of the examples: three servers beside those of others.

use super::block::{Block, heading, paragraph, parse, row};
use crate::results::Results;
use crate::show::{estimate, nanoseconds, or_dash, thousands};
use crate::targets::{self, PAIR_BYTES};

/// Everything.
pub(super) fn document(results: &Results) -> Vec<Block> {
    let mut blocks = vec![
        heading(1, "Three servers"),
        paragraph(
            "What the examples `redis`, `proxy` and `http` of the library cost, beside the servers \
             that are used for the same. Each figure is the processor time of the example, divided \
             by that of the other server for the same work. `cargo run --release -p comparisons -- \
             examples --json FILE --markdown docs/SERVERS.md` makes this document.",
        ),
    ];
    blocks.extend(figures(results));
    blocks.extend(method(results));
    blocks
}

/// The figures, without the words around them.
pub(super) fn figures(results: &Results) -> Vec<Block> {
    let Some(examples) = &results.examples else { return Vec::new() };
    let mut blocks = Vec::new();
    let head =
        ["load", "beside", "at most", "ratio (95 % interval)", "", "ours", "theirs", "for a"];
    let mut table = vec![row(head)];
    let bounds = targets::examples(examples);
    let bounded = examples.compared.iter().filter(|one| {
        let name = format!("{} / {}", one.load, one.against);
        bounds.iter().any(|bound| bound.what == name)
    });
    for (one, bound) in bounded.zip(&bounds) {
        let time = |cost: f64| or_dash(one.ratio, |_| cost_of(cost));
        table.push(row([
            &one.load,
            &one.against,
            &format!("{:.2}", bound.at_most),
            &or_dash(one.ratio, |ratio| estimate(Some(ratio))),
            bound.verdict.words(),
            &time(one.ours),
            &time(one.theirs),
            &one.unit,
        ]));
    }
    if table.len() > 1 {
        blocks.extend([heading(2, "Processor time"), Block::Table(table)]);
    }
    if !examples.memory.is_empty() {
        let mut table = vec![row(["proxy", "bytes of an idle pair", "at most", ""])];
        for (index, one) in examples.memory.iter().enumerate() {
            let bytes = or_dash(one.bytes, thousands);
            let (at_most, verdict) = match index {
                0 => (thousands(PAIR_BYTES), targets::pair_bytes(one.bytes).words()),
                _ => (String::new(), ""),
            };
            table.push(row([&one.server, &bytes, &at_most, verdict]));
        }
        blocks.extend([heading(2, "User memory"), Block::Table(table)]);
    }
    let failed = examples.compared.iter().filter_map(|one| {
        let failure = one.failure.as_ref()?;
        Some(format!("{} beside {}: {failure}", one.load, one.against))
    });
    let memory = examples.memory.iter().filter_map(|one| {
        Some(format!("an idle pair of {}: {}", one.server, one.failure.as_ref()?))
    });
    let failed: Vec<_> = failed.chain(memory).collect();
    if !failed.is_empty() {
        blocks.extend([heading(2, "Not measured"), Block::List(failed)]);
    }
    blocks
}

/// A time of nanoseconds up to seconds.
fn cost_of(cost: f64) -> String {
    if cost < 1e6 { nanoseconds(cost) } else { format!("{:.1} ms", cost / 1e6) }
}

/// What is said of the method, written by hand.
const METHOD: &str = "\
- Both servers of a pair are alive on core 1, each with one thread that works, and one of them is
  loaded at a time. The clients are one thread on core 0 that never sleeps.
- In each round both have their turn; the order is reversed from round to round. A turn ends when
  every reply has come and the server sleeps. Its run time is then read from
  `/proc/PID/task/*/schedstat` of the server and its children. The figure is the median of the
  ratios of all rounds, with the 95 % interval of their order statistics.
- `redis`: 50 connections; all send, then all replies are read. Values have 3 bytes. For PUBLISH
  there are 50 subscribers, and messages have 64 bytes.
- `proxy`: a stream goes over a fresh connection, to the upstream (`up`) or from it (`down`), and its
  receiver discards it without a copy. A round trip is 64 bytes to the upstream and back, on 50
  connections. The upstream is in the same thread as the clients.
- `http`: 50 connections that are kept, and a page of 14 bytes.
- `redis-server` saves nothing. `haproxy` has one thread and `option splice-auto`. `tokio` is a
  proxy with `copy_bidirectional`, and `hyper` runs on tokio with `pipeline_flush`, both on the
  runtime of one thread. `nginx` is one process without an access log.
- Memory is what is anonymous in `/proc/PID/smaps_rollup`: the difference that 2,000 pairs make
  when 200 are there already, each after a message there and back.
";

fn method(results: &Results) -> Vec<Block> {
    let Some(examples) = &results.examples else { return Vec::new() };
    let machine = &results.machine;
    let mut blocks = vec![heading(2, "How it was measured")];
    blocks.extend(parse(METHOD));
    let mut table = vec![
        row(["", ""]),
        row(["date", &results.date]),
        row(["commit", &machine.commit]),
        row(["rounds", &examples.rounds.to_string()]),
        row(["length of a turn", &format!("{} ms, or one stream", examples.turn_ms)]),
        row(["length of a stream", &format!("{} MB", examples.stream_mb)]),
        row(["cores busy with other work before", &format!("{:.0} %", examples.busy * 100.0)]),
        row(["load average", &examples.load_average]),
        row(["kernel", &machine.kernel]),
        row(["processors", &format!("{} × {}", machine.processors, machine.processor)]),
        row(["rustc", &machine.rustc]),
        row(["congestion control", &machine.congestion_control]),
    ];
    table.extend(examples.versions.iter().map(|(name, version)| row([name, version])));
    blocks.push(Block::Table(table));
    blocks
}

#[cfg(test)]
mod tests {
    use super::super::block::text;
    use super::*;
    use crate::examples::{Compared, Examples, PairMemory};
    use crate::statistics::Estimate;

    #[test]
    fn what_was_measured_missed_and_left_out_is_said() {
        let mut results = Results::of_a_part();
        let ratio = Some(Estimate { median: 0.9, low: 0.89, high: 0.91 });
        let memory =
            |server: &str, bytes| PairMemory { server: server.to_owned(), bytes, failure: None };
        results.take_examples(Examples {
            busy: 0.25,
            compared: vec![
                Compared {
                    failure: Some("nginx is missing (package nginx-light)".to_owned()),
                    ..Compared::empty("http, 1 in flight", "nginx", "request")
                },
                Compared { ratio, ..Compared::empty("http, 1 in flight", "hyper", "request") },
            ],
            memory: vec![memory("proxy", Some(615.0)), memory("tokio", Some(120_630.0))],
            ..Examples::default()
        });
        let said = text(&document(&results));
        for words in [
            "0.900 (0.890 to 0.910)",
            "missed",
            "not measured",
            "package nginx-light",
            "615",
            "120,630",
            "25 %",
        ] {
            assert!(said.contains(words), "{words:?} is not in {said}");
        }
    }
}
