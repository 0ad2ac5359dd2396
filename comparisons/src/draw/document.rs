//! What the document says: the method in short, the targets, the ratios, the counts, and where a
//! peer is ahead.

use peers::Transport;

use super::block::{Block, heading, paragraph, parse, row};
use crate::counts::{Counted, Counts};
use crate::ours;
use crate::pair::{ITSELF, Measured, NULL};
use crate::results::Results;
use crate::servers::{BARE, EDGELOOP, WITHOUT_TIMEOUT};
use crate::shapes::SHAPES;
use crate::show::{estimate, nanoseconds, or_dash, thousands};
use crate::statistics::Estimate;
use crate::targets::{self, Verdict};
use crate::transports::part;

/// Everything, with the sections on the other transports behind the figures of TCP.
pub(super) fn document(results: &Results, others: Vec<Block>, notes: &str) -> Vec<Block> {
    let mut blocks = vec![heading(1, "Performance")];
    blocks.push(paragraph(
        "The processor time that a message costs a server, beside bare epoll in C and \
         beside the usual alternatives. `cargo run --release -p comparisons -- --json FILE \
         --markdown docs/PERFORMANCE.md` makes this document; only the notes are written by \
         hand.",
    ));
    blocks.push(Block::Plot);
    blocks.push(paragraph(
        "1.00 is the cost of a server in C that has no timers, no limits and no checks. \
         Each figure is a ratio, measured with both servers alive at once. ✗ is a pair that \
         could not be measured; the reason is below.",
    ));
    blocks.extend(figures(results));
    blocks.extend(others);
    blocks.extend(self::notes(notes));
    blocks.extend(method(results));
    blocks.extend(every_pair(&part(results, Transport::Tcp)));
    blocks
}

/// What is written by hand.
pub(super) fn notes(notes: &str) -> Vec<Block> {
    let mut blocks = vec![heading(2, NOTES)];
    blocks.extend(parse(notes));
    blocks
}

/// The headings of the notes and of what follows them.
pub(super) const NOTES: &str = "Notes";
pub(super) const METHOD: &str = "How it was measured";

/// The figures of TCP, without the words around them.
pub(super) fn figures(all: &Results) -> Vec<Block> {
    let results = &part(all, Transport::Tcp);
    let mut blocks = Vec::new();
    blocks.extend(target_tables(results));
    blocks.extend(ahead(results));
    blocks.extend(matrix(results));
    blocks.extend(count_tables(results));
    blocks.extend(super::in_turn::blocks(results));
    blocks.extend(not_measured(results));
    blocks
}

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

fn target_tables(results: &Results) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut rows = targets::ratios(&results.pairs);
    // A run of a part says nothing of what it was not asked for.
    rows.retain(|row| {
        let was_tried = |pair: &Measured| {
            (&pair.of[..], &pair.against, &pair.shape) == (EDGELOOP, &row.against, &row.shape)
        };
        row.verdict != Verdict::NotMeasured || results.pairs.iter().any(was_tried)
    });
    if !rows.is_empty() {
        blocks.push(heading(2, "Targets"));
        blocks.push(paragraph(
            "Processor time for each message: that of `edgeloop serve` with all its defaults, \
             divided by that of the other server.",
        ));
        blocks.push(targets_of(&rows));
    }
    let counted = targets::counts(&results.counts);
    if !counted.is_empty() {
        let mut table = vec![row(["count", "at most", "counted", ""])];
        table.extend(counted.iter().map(|one| {
            let at_most = or_dash(one.at_most, |bound| figure(bound, 2));
            row([one.what, &at_most, &counted_figure(&one.value, 2), one.verdict.words()])
        }));
        blocks.push(heading(3, "Counts with a bound"));
        blocks.push(Block::Table(table));
    }
    blocks
}

/// The median ratio to the limit, where it says something.
fn to_bare(results: &Results, name: &str, shape: &str) -> Option<Estimate> {
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

fn figure(value: f64, decimals: usize) -> String {
    if decimals == 0 { thousands(value) } else { format!("{value:.decimals$}") }
}

/// The number, or a dash: the reasons are listed below the tables.
fn counted_figure(counted: &Counted, decimals: usize) -> String {
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

fn count_tables(results: &Results) -> Vec<Block> {
    let table = count_table(&results.counts, &COLUMNS);
    if table.is_empty() {
        return table;
    }
    let mut blocks = vec![
        heading(2, "Counts"),
        paragraph(
            "Calls and waits: system calls for a message of 64 bytes at full speed, with 1 and \
             with 50 connections, counted by the kernel's trace points. Instructions: user \
             instructions for a message, counted by callgrind as the difference of two runs of \
             different length, in which the messages of fifty connections come at once. Bytes: \
             memory of an idle connection, from 10,000 that have each sent a message: anonymous \
             memory of the server, and slabs of the kernel for both ends. Wake-ups and calls at \
             rest: voluntary context switches of all threads, and system calls, a second, with \
             50 connections.",
        ),
    ];
    blocks.extend(table);
    blocks
}

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

fn method(results: &Results) -> Vec<Block> {
    let (low, high) = NULL;
    let mut shapes = vec![row(["shape", "what it is", "the cost is for a"])];
    let over_tcp = SHAPES.iter().filter(|shape| shape.transport == Transport::Tcp);
    shapes.extend(over_tcp.map(|shape| row([shape.name, shape.about, shape.unit])));
    let mut servers = vec![row(["server", "what it is", "version"])];
    servers.extend(
        results.servers.iter().map(|server| row([&server.name, &server.about, &server.version])),
    );
    let machine = &results.machine;
    let processors = format!("{} × {}", machine.processors, machine.processor);
    let memory = format!("{} MiB", thousands(machine.memory_mib as f64));
    vec![
        heading(2, METHOD),
        Block::List(vec![
            "Both servers of a pair are alive on core 0, the second one twice. One client on \
             core 1, which never sleeps, loads them in slices of 25 or 50 ms, in all orders: \
             each order is followed by its reverse, and every server has each place equally \
             often. A slice ends when every answer has come and the server sleeps; its run time is then read from \
             `/proc/PID/task/*/schedstat`."
                .to_owned(),
            "Each cycle of slices gives a ratio. The figure is the median of all cycles, with the 95 % \
             interval of its order statistics. So the drift of the processor's speed cancels out. A run \
             has as many cycles as fit into a minute."
                .to_owned(),
            format!(
                "The ratio of both processes of the second server is the null. A run whose null lies \
                 outside {low} to {high} is thrown away and made again, up to three times."
            ),
            "All servers of a run are started anew five times in it: the addresses of its pages \
             make a process up to a hundredth dearer or cheaper for as long as it lives. At the end of a \
             slice the client sends the acknowledgements that the kernel would delay, since their timers would \
             fire in the slice of another."
                .to_owned(),
            "For latency and overload servers run one after the other, each alone, in rounds whose order is \
             reversed; ratios are taken within a round."
                .to_owned(),
            "Answers are compared byte by byte before and after a run, and counted in it.".to_owned(),
            format!(
                "Servers that are told the size of their read buffer have 32 KiB. `{EDGELOOP}` is the real \
                 program with its defaults. Against `{ITSELF}` is the same program without the idle \
                 connections."
            ),
            "Processor time includes the kernel's part, which is most of it. Rates say little: \
             the client saturates together with the best servers."
                .to_owned(),
        ]),
        heading(3, "Shapes"),
        Block::Table(shapes),
        heading(3, "Servers"),
        Block::Table(servers),
        heading(3, "Machine"),
        Block::Table(vec![
            row(["", ""]),
            row(["date", &results.date]),
            row(["commit", &machine.commit]),
            row(["kernel", &machine.kernel]),
            row(["processors", &processors]),
            row(["memory", &memory]),
            row(["rustc", &machine.rustc]),
            row(["C compiler", &machine.cc]),
            row(["congestion control", &machine.congestion_control]),
        ]),
    ]
}

fn microseconds(time: Option<f64>) -> String {
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

#[cfg(test)]
mod tests {
    use super::super::block::text;
    use super::*;

    #[test]
    fn whoever_is_ahead_is_named() {
        let mut results = Results::new();
        results.take_pair(Measured::for_test(EDGELOOP, "small-1", 1.015));
        results.take_pair(Measured::for_test("mio", "small-1", 1.002));
        results.take_pair(Measured::for_test("libuv", "small-1", 1.012));
        results.take_pair(Measured::for_test(EDGELOOP, "4k-50", 0.99));
        let said = text(&ahead(&results));
        assert!(said.contains("`small-1`: bare 1.000, mio 1.002; edgeloop 1.015"), "{said}");
        assert!(!said.contains("libuv") && !said.contains("4k-50"), "{said}");
    }

    #[test]
    fn what_was_not_measured_is_said_with_its_reason() {
        let mut results = Results::new();
        let mut failed = Measured::for_test("example", "stream-1", 1.0);
        failed.failure = Some("no answer for 10 s".to_owned());
        results.take_pair(failed);
        let mut noisy = Measured::for_test("mio", "small-1", 1.0);
        noisy.is_valid = false;
        noisy.attempts = 3;
        results.take_pair(noisy);
        let said = text(&not_measured(&results));
        assert!(said.contains("example against bare, `stream-1`: no answer for 10 s"), "{said}");
        assert!(said.contains("in the last of 3 runs"), "{said}");
    }

    #[test]
    fn the_document_holds_targets_ratios_and_machine() {
        let mut results = Results::new();
        results.take_pair(Measured::for_test(EDGELOOP, "small-1", 1.015));
        let mut noisy = Measured::for_test(EDGELOOP, "small-50", 1.0);
        noisy.is_valid = false;
        results.take_pair(noisy);
        let targets = text(&target_tables(&results));
        assert!(targets.contains("not measured") && !targets.contains("small-500"), "{targets}");
        let said = text(&document(&results, vec![paragraph("Of Unix.")], "A note."));
        for words in
            ["1.015 (1.011 to 1.019)", "Of Unix.", "A note.", &results.machine.kernel, "small-5000"]
        {
            assert!(said.contains(words), "{words:?} is not in {said}");
        }
    }
}
