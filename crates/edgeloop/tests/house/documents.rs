//! The documents: their lines are short, and what they count is counted.

use super::{CLAUSES, expect_clean, expect_fault, missing, read, root};
use std::fs;

/// The most characters in a line of a document.
const WIDEST: usize = 100;

/// The documents whose lines are counted.
const DOCUMENTS: [&str; 9] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "docs/BENCH.md",
    "docs/CONTRACT.md",
    "docs/FIDELITY.md",
    "docs/PERFORMANCE.md",
    "docs/TESTING.md",
    "comparisons/notes.md",
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

/// How many entries of a kind stand in the files of a directory, or in a file.
fn entries(path: &str, kind: &str) -> usize {
    let whole = root().join(path);
    let files = if whole.is_dir() {
        let files = fs::read_dir(&whole).expect("a directory");
        files.map(|file| file.expect("a file").path()).collect()
    } else {
        vec![whole]
    };
    let heading = format!("[[{kind}]]");
    let text = |file| fs::read_to_string(file).expect("a text");
    files.into_iter().map(|file| text(file).lines().filter(|line| *line == heading).count()).sum()
}

#[test]
fn the_readme_counts_clauses_bugs_and_mutations_as_they_are() {
    let readme = unwrapped(&read("README.md"));
    let bugs = entries("crates/simulations/planted.toml", "bug");
    let clauses = format!("lists {CLAUSES} clauses, C1 to C{CLAUSES},");
    let hundreds = entries("mutations", "mutation") / 100 * 100;
    let mutations = format!("in more than {hundreds} ways");
    let bugs = format!("finds each of {bugs} bugs");
    expect_clean(&missing(&readme, &[&clauses, &mutations, &bugs]));
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
    let wrong = "x\n| file | function |\n|---|---|\n| `pipes.rs` | `lend`, `borrow` |\n";
    expect_fault(&way(wrong, "x").1, "pipes.rs has no function borrow");
}
