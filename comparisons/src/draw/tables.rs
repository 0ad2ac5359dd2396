//! The tables that every part of the document can have.

use super::block::{Block, heading, paragraph, row};
use crate::counts::{Counted, Counts};
use crate::ours;
use crate::pair::Measured;
use crate::results::Results;
use crate::servers::{BARE, EDGELOOP, WITHOUT_TIMEOUT};
use crate::shapes::SHAPES;
use crate::show::{estimate, nanoseconds, or_dash, thousands};
use crate::statistics::Estimate;
use crate::targets;

/// Bounds, with what came out.
pub(super) fn targets_of(rows: &[targets::Row]) -> Block {
    let mut table = vec![row(["against", "shape", "at most", "ratio (95 % interval)", ""])];
    table.extend(rows.iter().map(|one| {
        let at_most = format!("{:.2}", one.at_most);
        let ratio = or_dash(one.ratio, |ratio| estimate(Some(ratio)));
        row([&one.against, &one.shape, &at_most, &ratio, one.verdict.words()])
    }));
    Block::Table(table)
}

/// The median ratio to the limit, where it says something.
pub(super) fn to_bare(results: &Results, name: &str, shape: &str) -> Option<Estimate> {
    results
        .pairs
        .iter()
        .find(|pair| pair.of == name && pair.against == BARE && pair.shape == shape)?
        .valid_ratio()
}

/// Where others cost less than our own, by more than the intervals are wide.
pub(super) fn ahead(results: &Results) -> Vec<Block> {
    let mut items = Vec::new();
    for shape in SHAPES {
        let own = [EDGELOOP, ours::NAME]
            .into_iter()
            .find_map(|name| Some((name, to_bare(results, name, shape.name)?)));
        let Some((own_name, own)) = own else { continue };
        let mut others: Vec<(&str, f64)> = results
            .servers
            .iter()
            .map(|server| server.name.as_str())
            .filter(|name| ![EDGELOOP, ours::NAME, WITHOUT_TIMEOUT, BARE].contains(name))
            .filter_map(|name| Some((name, to_bare(results, name, shape.name)?)))
            .filter(|(_, other)| other.high < own.low)
            .map(|(name, other)| (name, other.median))
            .collect();
        if own.low > 1.0 {
            others.push((BARE, 1.0));
        }
        others.sort_by(|one, other| one.1.total_cmp(&other.1));
        if !others.is_empty() {
            let all: Vec<_> =
                others.iter().map(|(name, ratio)| format!("{name} {ratio:.3}")).collect();
            let (shape, all) = (shape.name, all.join(", "));
            items.push(format!("`{shape}`: {all}; {own_name} {:.3}", own.median));
        }
    }
    if items.is_empty() {
        return Vec::new();
    }
    vec![
        heading(2, "Where others are ahead"),
        paragraph("By their ratio to bare epoll, and by more than both intervals."),
        Block::List(items),
    ]
}

pub(super) fn matrix(results: &Results) -> Vec<Block> {
    let shapes: Vec<_> = SHAPES
        .iter()
        .filter(|shape| {
            results.pairs.iter().any(|pair| pair.shape == shape.name && pair.against == BARE)
        })
        .collect();
    if shapes.is_empty() {
        return Vec::new();
    }
    let mut head = vec!["server".to_owned()];
    head.extend(shapes.iter().map(|shape| shape.name.to_owned()));
    let mut table = vec![head];
    for server in &results.servers {
        let pairs = || results.pairs.iter().filter(|pair| pair.against == BARE);
        if !pairs().any(|pair| pair.of == server.name) {
            continue;
        }
        let cell = |shape: &str| {
            let found = pairs().find(|pair| pair.of == server.name && pair.shape == shape);
            match found.map(Measured::valid_ratio) {
                None => "–".to_owned(),
                Some(None) => "✗".to_owned(),
                Some(Some(ratio)) => format!("{:.3}", ratio.median),
            }
        };
        let mut line = vec![server.name.clone()];
        line.extend(shapes.iter().map(|shape| cell(shape.name)));
        table.push(line);
    }
    vec![
        heading(2, "Ratios to bare epoll in C"),
        paragraph("Medians; the intervals stand with every pair."),
        Block::Table(table),
    ]
}

pub(super) fn figure(value: f64, decimals: usize) -> String {
    if decimals == 0 { thousands(value) } else { format!("{value:.decimals$}") }
}

/// The number, or a dash: the reasons are listed below the tables.
pub(super) fn counted_figure(counted: &Counted, decimals: usize) -> String {
    or_dash(counted.value(), |value| figure(value, decimals))
}

pub(super) type Column = (&'static str, fn(&Counts) -> &Counted, usize);

pub(super) const COLUMNS: [Column; 10] = [
    ("calls, 1", |counts| &counts.calls_one, 2),
    ("waits, 1", |counts| &counts.waits_one, 2),
    ("calls, 50", |counts| &counts.calls_fifty, 2),
    ("waits, 50", |counts| &counts.waits_fifty, 2),
    ("instructions, 1", |counts| &counts.instructions_one, 0),
    ("instructions, 50", |counts| &counts.instructions_fifty, 0),
    ("user bytes", |counts| &counts.user_bytes, 0),
    ("kernel bytes", |counts| &counts.kernel_bytes, 0),
    ("wake-ups", |counts| &counts.wakeups, 1),
    ("calls at rest", |counts| &counts.calls_at_rest, 1),
];

/// These columns of what was counted, and what could not be.
pub(super) fn count_table(all: &[Counts], columns: &[Column]) -> Vec<Block> {
    if all.is_empty() {
        return Vec::new();
    }
    let mut head = vec!["server".to_owned()];
    head.extend(columns.iter().map(|(name, ..)| (*name).to_owned()));
    let mut table = vec![head];
    // What could not be counted for the same reason is said once.
    let mut missing: Vec<(String, Vec<String>)> = Vec::new();
    for counts in all {
        let mut line = vec![counts.name.clone()];
        for &(name, column, decimals) in columns {
            line.push(counted_figure(column(counts), decimals));
            if let Counted::Missing(reason) = column(counts) {
                let what = format!("{} ({name})", counts.name);
                match missing.iter_mut().find(|(other, _)| other == reason) {
                    Some((_, all)) => all.push(what),
                    None => missing.push((reason.clone(), vec![what])),
                }
            }
        }
        table.push(line);
    }
    let mut blocks = vec![Block::Table(table)];
    if !missing.is_empty() {
        let item = |(reason, all): &(String, Vec<String>)| format!("{}: {reason}", all.join(", "));
        blocks.push(paragraph("Not counted:"));
        blocks.push(Block::List(missing.iter().map(item).collect()));
    }
    blocks
}

pub(super) fn not_measured(results: &Results) -> Vec<Block> {
    let mut items = Vec::new();
    for server in &results.servers {
        if let Some(reason) = &server.left_out {
            items.push(format!("{}: left out, {reason}", server.name));
        }
    }
    for pair in &results.pairs {
        let Measured { of, against, shape, .. } = pair;
        if let Some(failure) = &pair.failure {
            items.push(format!("{of} against {against}, `{shape}`: {failure}"));
        } else if !pair.is_valid {
            let null = estimate(pair.null);
            let attempts = pair.attempts;
            items.push(format!(
                "{of} against {against}, `{shape}`: two processes of {against} differed by {null} in \
                 the last of {attempts} runs"
            ));
        }
    }
    if items.is_empty() {
        return Vec::new();
    }
    vec![heading(2, "Not measured"), Block::List(items)]
}

pub(super) fn microseconds(time: Option<f64>) -> String {
    or_dash(time, |time| format!("{time:.1}"))
}

pub(super) fn every_pair(results: &Results) -> Vec<Block> {
    let head = [
        "pair", "shape", "ratio", "null", "cycles", "runs", "first", "second", "a second",
        "p50, µs", "p99, µs",
    ];
    let mut table = vec![row(head)];
    for pair in results.pairs.iter().filter(|pair| pair.failure.is_none()) {
        table.push(row([
            &format!("{} / {}", pair.of, pair.against),
            &pair.shape,
            &estimate(pair.ratio),
            &estimate(pair.null),
            &pair.cycles.to_string(),
            &pair.attempts.to_string(),
            &nanoseconds(pair.first.nanoseconds),
            &nanoseconds(pair.second.nanoseconds),
            &thousands(pair.first.units_per_second),
            &microseconds(pair.first.round.map(|round| round.p50)),
            &microseconds(pair.first.round.map(|round| round.p99)),
        ]));
    }
    if table.len() == 1 {
        return Vec::new();
    }
    vec![
        heading(2, "Every pair"),
        paragraph(
            "The processor time of each server for one unit of the shape, and how many units a \
             second the first server did: both medians. Then the time of a round of the first \
             server, which on one connection is a message there and back.",
        ),
        Block::Table(table),
    ]
}
