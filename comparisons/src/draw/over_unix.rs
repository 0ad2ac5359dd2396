//! What the document says of Unix sockets: a section of its own, which can be drawn anew alone.

use peers::Transport;

use super::block::{Block, heading, paragraph, row};
use super::document::{COLUMNS, ahead, count_table, every_pair, matrix, not_measured, targets_of};
use crate::over_unix;
use crate::results::Results;
use crate::shapes::SHAPES;
use crate::targets::Verdict;

/// The heading of the section.
pub(super) const TITLE: &str = "Unix sockets";

/// How many of the columns of counts are of calls and instructions.
const COUNTED: usize = 6;

/// The section, or nothing where nothing was measured.
pub(super) fn blocks(results: &Results) -> Vec<Block> {
    let results = &over_unix::of(results);
    if results.pairs.is_empty() && results.counts.is_empty() {
        return Vec::new();
    }
    let mut blocks = vec![heading(2, TITLE), paragraph(begin(results))];
    let mut rows = over_unix::rows(&results.pairs);
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
    let over_unix = SHAPES.iter().filter(|shape| shape.transport == Transport::Unix);
    shapes.extend(over_unix.map(|shape| row([shape.name, shape.about, shape.unit])));
    blocks.extend([heading(3, "Shapes over Unix sockets"), Block::Table(shapes)]);
    blocks
}

/// As a part of this section.
fn below(block: Block) -> Block {
    match block {
        Block::Heading(level, title) => Block::Heading(level + 1, title),
        block => block,
    }
}

fn begin(results: &Results) -> String {
    let machine = &results.machine;
    format!(
        "The same over Unix stream sockets, on {}, at commit {}, on {} with {} × {}. `cargo run \
         --release -p comparisons -- unix --json FILE --markdown docs/PERFORMANCE.md` measures and \
         draws this section alone. The ratio is that of `{}` to the other server, and to a library \
         that of both ratios to bare epoll.",
        results.date,
        machine.commit,
        machine.kernel,
        machine.processors,
        machine.processor,
        over_unix::own(&results.pairs),
    )
}

#[cfg(test)]
mod tests {
    use super::super::block::text;
    use super::*;
    use crate::counts::{Counted, Counts};

    #[test]
    fn counts_stand_in_the_section_and_nothing_of_tcp() {
        let mut results = Results::of_a_part();
        assert_eq!(blocks(&results), []);
        let calls_one = Counted::Value(3.0);
        results.take_counts(Counts { calls_one: Counted::Value(7.0), ..Counts::empty("mio") });
        assert_eq!(blocks(&results), []);
        results.take_unix_counts(Counts { calls_one, ..Counts::empty("bare") });
        let said = text(&blocks(&results));
        assert!(said.contains(TITLE) && said.contains("3.00") && said.contains("unix-4k-50"));
        assert!(!said.contains("7.00") && !said.contains("kernel bytes"), "{said}");
    }
}
