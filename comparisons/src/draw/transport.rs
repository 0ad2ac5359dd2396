//! What the document says of a transport other than TCP: a section of its own, which can be drawn
//! anew alone.

use peers::Transport;

use super::block::{Block, heading, paragraph, row};
use super::document::{COLUMNS, ahead, count_table, every_pair, matrix, not_measured, targets_of};
use crate::results::Results;
use crate::servers::{EDGELOOP, WITHOUT_RATES};
use crate::shapes;
use crate::targets::Verdict;
use crate::transports;

/// How many of the columns of counts are of calls and instructions.
const COUNTED: usize = 6;

/// The section, which is called as the transport is, or nothing where nothing was measured.
pub(super) fn blocks(transport: Transport, results: &Results) -> Vec<Block> {
    let results = &transports::part(results, transport);
    if results.pairs.is_empty() && results.counts.is_empty() {
        return Vec::new();
    }
    let mut blocks = vec![heading(2, transport.to_string()), paragraph(begin(transport, results))];
    let mut rows = transports::rows(transport, &results.pairs);
    // A run of a part says nothing of what it was not asked for.
    rows.retain(|row| {
        let is_tried = results.pairs.iter().any(|pair| pair.shape == row.shape);
        row.verdict != Verdict::NotMeasured || is_tried
    });
    if !rows.is_empty() {
        blocks.push(targets_of(&rows));
    }
    let mut parts = ahead(results);
    parts.extend(matrix(results));
    if !results.counts.is_empty() {
        parts.push(heading(2, "Calls and instructions"));
        parts.extend(count_table(&results.counts, &COLUMNS[..COUNTED]));
    }
    parts.extend(not_measured(results));
    parts.extend(every_pair(results));
    blocks.extend(parts.into_iter().map(below));
    let mut shapes = vec![row(["shape", "what it is", "the cost is for a"])];
    shapes.extend(shapes::over(transport).map(|shape| row([shape.name, shape.about, shape.unit])));
    blocks.extend([heading(3, format!("Shapes over {transport}")), Block::Table(shapes)]);
    blocks
}

/// As a part of this section.
fn below(block: Block) -> Block {
    match block {
        Block::Heading(level, title) => Block::Heading(level + 1, title),
        block => block,
    }
}

/// What the transport is, the command that measures over it, and what is particular to it.
fn about(transport: Transport) -> (&'static str, &'static str, String) {
    match transport {
        Transport::Tcp => ("TCP", "", String::new()),
        Transport::Unix => ("Unix stream sockets", "unix", String::new()),
        Transport::Udp => (
            "UDP",
            "udp",
            format!(
                " Each server has one socket, and answers each datagram with itself. `{EDGELOOP}` \
                 is `edgeloop serve {}`. The client has connected sockets, numbers its datagrams \
                 and compares every answer; a datagram that is lost ends the measurement of its \
                 pair.",
                WITHOUT_RATES.join(" ")
            ),
        ),
    }
}

fn begin(transport: Transport, results: &Results) -> String {
    let machine = &results.machine;
    let (what, command, particular) = about(transport);
    format!(
        "The same over {what}, on {}, at commit {}, on {} with {} × {}. `cargo run --release -p \
         comparisons -- {command} --json FILE --markdown docs/PERFORMANCE.md` measures and draws \
         this section alone. The ratio is that of `{}` to the other server, and to a library that \
         of both ratios to bare epoll.{particular}",
        results.date,
        machine.commit,
        machine.kernel,
        machine.processors,
        machine.processor,
        transports::own(&results.pairs),
    )
}

#[cfg(test)]
mod tests {
    use super::super::block::text;
    use super::*;
    use crate::counts::{Counted, Counts};
    use crate::transports::OTHERS;

    #[test]
    fn counts_stand_in_the_section_and_nothing_of_tcp() {
        let mut results = Results::of_a_part();
        let mut take = |transport, name: &str, calls| {
            let calls_one = Counted::Value(calls);
            results.take_counts(transport, Counts { calls_one, ..Counts::empty(name) });
            OTHERS.map(|other| text(&blocks(other, &results)))
        };
        let nothing = String::new();
        assert_eq!(take(Transport::Tcp, "mio", 7.0), [nothing.clone(), nothing.clone()]);
        let [said, udp] = take(Transport::Unix, "bare", 3.0);
        assert_eq!(udp, nothing);
        assert!(said.contains("Unix sockets") && said.contains("3.00"), "{said}");
        assert!(said.contains("unix-4k-50") && !said.contains("udp-50"), "{said}");
        assert!(!said.contains("7.00") && !said.contains("kernel bytes"), "{said}");
        let [unix, said] = take(Transport::Udp, "bare", 5.0);
        assert!(unix.contains("3.00") && !unix.contains("5.00"), "{unix}");
        assert!(said.contains("UDP") && said.contains("5.00") && !said.contains("3.00"), "{said}");
        assert!(said.contains("udp-50") && !said.contains("unix-4k-50"), "{said}");
    }
}
