//! The documents: their lines are short, and what they count is counted.

use std::collections::BTreeSet;
use std::fs;

use super::{CLAUSES, expect_clean, expect_fault, missing, read, root};

/// The most characters in a line of a document.
const WIDEST: usize = 100;

/// The documents whose lines are counted.
const DOCUMENTS: [&str; 12] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "docs/BENCH.md",
    "docs/CONTRACT.md",
    "docs/FIDELITY.md",
    "docs/PERFORMANCE.md",
    "docs/SERVERS.md",
    "docs/TESTING.md",
    "comparisons/notes.md",
    "fuzz/README.md",
    "crates/edgeloop/src/sim/guide.md",
];

/// Lines that are too long and could be broken: tables, code, and single words can't be.
fn long_lines(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut is_code = false;
    for (index, line) in text.lines().enumerate() {
        let content = line.trim_start();
        if content.starts_with("```") {
            is_code = !is_code;
        }
        let cannot_break = is_code
            || line.starts_with("    ")
            || content.starts_with('|')
            || content.trim_start_matches("- ").split(' ').count() == 1;
        let length = line.chars().count();
        if length > WIDEST && !cannot_break {
            faults.push(format!("{path}:{}: {length} characters", index + 1));
        }
    }
    faults
}

#[test]
fn no_line_of_a_document_is_too_long() {
    let faults: Vec<String> =
        DOCUMENTS.iter().flat_map(|path| long_lines(path, &read(path))).collect();
    expect_clean(&faults);
    let long = "word ".repeat(30);
    expect_clean(&long_lines("a", &format!("| {long}|\n```\n{long}\n```\n- {}", "x".repeat(200))));
    expect_fault(&long_lines("a", &format!("```\n```\n\n- {long}")), "a:4: 152 characters");
}

/// A text without its line breaks.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The mutations, each as its text in the file.
fn mutations() -> Vec<String> {
    let files = fs::read_dir(root().join("mutations")).expect("a directory");
    let text = |path| fs::read_to_string(path).expect("a text");
    let texts = files.map(|file| text(file.expect("a file").path()));
    texts
        .flat_map(|text| {
            text.split("[[mutation]]\n").skip(1).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

/// What stands in the line of a mutation that begins so.
fn field<'a>(mutation: &'a str, key: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(key)?.strip_prefix(" = ");
    mutation.lines().find_map(value).map(|value| value.trim_matches('"'))
}

#[test]
fn the_readme_counts_clauses_and_mutations_as_they_are() {
    let (readme, mutations) = (unwrapped(&read("README.md")), mutations());
    let clauses = format!("lists {CLAUSES} clauses, C1 to C{CLAUSES},");
    let all = format!("in more than {} ways", mutations.len() / 100 * 100);
    let seeds = mutations.iter().filter(|mutation| field(mutation, "within").is_some()).count();
    let seeds = format!("seeds notice {seeds} of them");
    expect_clean(&missing(&readme, &[&clauses, &all, &seeds]));
}

#[test]
fn documents_name_the_oldest_compiler_that_will_do() {
    let workspace = read("Cargo.toml");
    let (_, version) = workspace.split_once("\nrust-version = \"").expect("a version");
    let (version, _) = version.split_once('"').expect("a version");
    for path in ["README.md", "CONTRIBUTING.md"] {
        let phrase = format!("Rust {version} or later");
        expect_clean(&missing(&unwrapped(&read(path)), &[&phrase]));
    }
}

/// The table of a document whose first row begins with these cells, as rows of cells.
#[track_caller]
fn table<'a>(document: &'a str, begin: &str) -> Vec<Vec<&'a str>> {
    let rows = document.lines().skip_while(|line| !line.starts_with(begin));
    let cells = |row: &'a str| row.trim_matches('|').split('|').map(str::trim).collect();
    let rows: Vec<Vec<&str>> = rows.take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(rows.len() > 2, "no table begins with {begin}");
    rows
}

#[test]
fn the_readme_has_the_figures_of_the_last_measurement() {
    let (readme, performance) = (read("README.md"), read("docs/PERFORMANCE.md"));
    let all = table(&performance, "| server | small-1 |");
    for row in table(&readme, "| server | small-1 |").iter().skip(2) {
        let measured = all.iter().find(|other| other[0] == row[0]).expect(row[0]);
        for (shape, figure) in table(&readme, "| server | small-1 |")[0].iter().zip(row) {
            let column = all[0].iter().position(|name| name == shape).expect(shape);
            assert_eq!(figure, &measured[column], "{} under {shape}", row[0]);
        }
    }
}

/// The files and functions that a table of the architecture names: how many files, and which of
/// their functions there are not.
fn way(architecture: &str, begin: &str) -> (usize, Vec<String>) {
    let (_, section) = architecture.split_once(begin).expect(begin);
    let rows = table(section, "| file | function |");
    let mut faults = Vec::new();
    for row in rows.iter().skip(2) {
        let file = row[0].trim_matches('`');
        let text = read(&format!("crates/edgeloop/src/{file}"));
        for function in row[1].split('`').skip(1).step_by(2) {
            let has = |end| text.contains(&format!("fn {function}{end}"));
            if !has("(") && !has("<") {
                faults.push(format!("{file} has no function {function}"));
            }
        }
    }
    (rows.len() - 2, faults)
}

#[test]
fn the_way_of_one_byte_leads_through_few_files_and_through_functions_that_there_are() {
    let architecture = read("ARCHITECTURE.md");
    for (begin, most) in [("**A message** arrives", 5), ("**A relayed stream** goes", 7)] {
        let (files, faults) = way(&architecture, begin);
        assert!(files <= most, "{files} files for: {begin}");
        expect_clean(&faults);
    }
    let wrong = "x\n| file | function |\n|---|---|\n| `store/pipes.rs` | `lend`, `borrow` |\n";
    expect_fault(&way(wrong, "x").1, "store/pipes.rs has no function borrow");
}

/// What a document says of a number, and the line of code that it comes from.
const NUMBERS: [(&str, &str, &str, &str); 17] = [
    ("ARCHITECTURE.md", "its `Connection` (32 bytes)", "edgeloop/src/connection/mod.rs", "== 32);"),
    ("ARCHITECTURE.md", "a timer node (16 bytes)", "edgeloop/src/store/wheel/lists.rs", "== 16);"),
    ("ARCHITECTURE.md", "a session above 64 bytes", "edgeloop/src/store/sessions.rs", "<= 64;"),
    (
        "ARCHITECTURE.md",
        "with 512 entries each",
        "edgeloop/src/store/table.rs",
        "PAGE: usize = 512;",
    ),
    ("ARCHITECTURE.md", "allows 4,194,304", "edgeloop/src/store/table.rs", "(MOST, 4_194_304)"),
    ("ARCHITECTURE.md", "at most 16 pipes", "edgeloop/src/api/config.rs", " pipes: 16,"),
    (
        "ARCHITECTURE.md",
        "up to 64 KiB",
        "edgeloop/src/store/output.rs",
        "CHUNK: usize = 64 * 1024;",
    ),
    ("ARCHITECTURE.md", "nothing for 250 ms", "edgeloop/src/core/relief.rs", "from_millis(250);"),
    ("ARCHITECTURE.md", "One mebibyte", "edgeloop/src/core/shortage.rs", "= 1024 * 1024;"),
    ("ARCHITECTURE.md", "is a quarter of", "edgeloop/src/api/config.rs", "PLACE_SHARE: u64 = 4;"),
    (
        "ARCHITECTURE.md",
        "send of 16 KiB",
        "edgeloop/src/core/joining.rs",
        "LARGE: usize = 16 * 1024;",
    ),
    ("ARCHITECTURE.md", "31 and 63, until", "edgeloop/src/event_loop/backoff.rs", "u32 = 63;"),
    (
        "ARCHITECTURE.md",
        "less than a quarter of a buffer",
        "edgeloop/src/event_loop/serve.rs",
        "SPLICING_PAYS: usize = 4;",
    ),
    ("ARCHITECTURE.md", "for 100 ms; the next", "edgeloop-cli/src/log/mod.rs", "from_millis(100);"),
    ("CONTRIBUTING.md", "longer than 600 lines", "edgeloop/tests/house/main.rs", "usize = 600;"),
    ("docs/TESTING.md", "runs 500 seeds", "edgeloop/tests/seeded/runs.rs", "chosen_seeds(0..500)"),
    (
        "CONTRIBUTING.md",
        "500 seeds and 2,000 scripts",
        "edgeloop/tests/seeded/fidelity.rs",
        "chosen_seeds(0..2_000)",
    ),
];

#[test]
fn numbers_in_documents_are_those_of_the_code() {
    let mut faults = Vec::new();
    for (document, phrase, file, code) in NUMBERS {
        if !unwrapped(&read(document)).contains(phrase) {
            faults.push(format!("{document} does not say {phrase:?}"));
        }
        if !read(&format!("crates/{file}")).contains(code) {
            faults.push(format!("{file} has no {code:?}: look at {phrase:?} in {document}"));
        }
    }
    expect_clean(&faults);
}

#[test]
fn the_seeds_and_scripts_of_ci_are_those_in_the_notes_on_testing() {
    let (notes, ci) = (read("docs/TESTING.md"), read(".ci/run"));
    expect_clean(&missing(&ci, &["run --seeds 0..150000", "fidelity --scripts 10000"]));
    expect_clean(&missing(&notes, &["| 150,000 seeds |", "| 10,000 scripts |"]));
}

#[test]
fn every_mutation_for_the_seeds_is_in_the_notes_on_testing_with_its_seeds() {
    let (mutations, notes) = (mutations(), read("docs/TESTING.md"));
    let rows = table(&notes, "| mutation | noticed within |");
    let told: BTreeSet<_> = rows.iter().skip(2).map(|row| [row[0], row[2]]).collect();
    let fields = |mutation| Some([field(mutation, "what")?, field(mutation, "within")?]);
    let known: BTreeSet<_> = mutations.iter().filter_map(|mutation| fields(mutation)).collect();
    assert!(known.len() > 20, "the mutations were not understood: {known:?}");
    let differing = told.symmetric_difference(&known);
    expect_clean(&differing.map(|row| format!("only in one of both: {row:?}")).collect::<Vec<_>>());
}
