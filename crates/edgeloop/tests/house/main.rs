//! The house rules that no compiler knows: layers, the contract's tests, reasons, and lengths.
//!
//! Every checker is a function from texts to a list of faults, and each is shown a bad text too,
//! so that a checker which sees nothing can't pass for a clean house.

mod documents;
mod modules;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use modules::layers;

/// The clauses of the contract are numbered from 1 to this.
const CLAUSES: u32 = 52;

/// The most lines in a source file.
const LONGEST: usize = 600;

/// A source file: its path from the workspace's root, and its text.
#[derive(Debug, Clone)]
struct Source {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[track_caller]
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All Rust files below a directory of the workspace, in the order of their paths.
fn sources(directory: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory).unwrap_or_else(|error| {
            panic!("{}: {error}", directory.display());
        });
        for entry in entries {
            let path = entry.expect("an entry of a directory that can be read").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is UTF-8");
                let path = path.strip_prefix(root()).expect("below the root").display().to_string();
                sources.push(Source { path, text });
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}

/// What goes into the crates' libraries and programs, with the unit tests in it.
fn shipped() -> Vec<Source> {
    let mut sources = [sources("crates"), sources("comparisons")].concat();
    sources.retain(|source| source.path.contains("/src/"));
    sources
}

#[track_caller]
fn expect_clean(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[track_caller]
fn expect_fault(faults: &[String], words: &str) {
    assert!(
        faults.iter().any(|fault| fault.contains(words)),
        "no fault says {words:?}: {faults:#?}"
    );
}

/// The code of a line: comments are cut off, which is crude in a string with slashes in it.
fn code(line: &str) -> &str {
    let trimmed = line.trim_start();
    if trimmed.starts_with("//") {
        return "";
    }
    line.split_once(" // ").map_or(line, |(code, _)| code)
}

/// The identifier at the beginning of a text; empty if there is none.
fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Whether `text` names `word`, and not merely a longer word with it inside.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
    })
}

// The contract.

/// The names of the tests in a file: functions under `#[test]`, and lines `name: …;` that a macro
/// makes tests of.
fn tests_of(text: &str) -> BTreeSet<&str> {
    let mut tests = BTreeSet::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" {
            is_test = true;
        } else if let Some(rest) = line.strip_prefix("fn ") {
            if std::mem::take(&mut is_test) {
                tests.insert(identifier(rest));
            }
        } else if let Some(rest) = line.strip_prefix(identifier(line))
            && rest.starts_with(": ")
            && rest.ends_with(';')
        {
            tests.insert(identifier(line));
        }
    }
    tests
}

/// The clause that a test is named after: `c07_…` is C7's.
fn clause_of(test: &str) -> Option<u32> {
    let (number, _) = test.strip_prefix('c')?.split_once('_')?;
    (number.len() == 2).then(|| number.parse().ok()).flatten()
}

/// A clause in the document, and the tests that are said to show it.
struct Clause<'a> {
    number: u32,
    tests: Vec<&'a str>,
}

/// A clause begins with a heading `### C7 …`; its tests stand in backticks behind "Shown by".
fn clauses(contract: &str) -> Vec<Clause<'_>> {
    contract
        .split("\n### C")
        .skip(1)
        .map(|section| {
            let section = section.split("\n## ").next().unwrap_or(section);
            let shown_by = section.split_once("\nShown by").map_or("", |(_, tests)| tests);
            Clause {
                number: identifier(section).parse().unwrap_or(0),
                tests: shown_by.split('`').skip(1).step_by(2).collect(),
            }
        })
        .collect()
}

/// Compares the document with the tests that there are.
fn contract_faults(contract: &str, tests: &BTreeSet<&str>) -> Vec<String> {
    let clauses = clauses(contract);
    let mut faults = Vec::new();
    let numbers: Vec<u32> = clauses.iter().map(|clause| clause.number).collect();
    if numbers != (1..=CLAUSES).collect::<Vec<_>>() {
        faults.push(format!("the clauses are not 1 to {CLAUSES} in order: {numbers:?}"));
    }
    for Clause { number, tests: named } in &clauses {
        if named.is_empty() {
            faults.push(format!("C{number} has no test"));
        }
        for test in named.iter().filter(|&test| !tests.contains(test)) {
            faults.push(format!("C{number} names {test}, which is no test"));
        }
    }
    for test in tests {
        let Some(number) = clause_of(test) else { continue };
        let listed = |clause: &Clause<'_>| clause.number == number && clause.tests.contains(test);
        if !clauses.iter().any(listed) {
            faults.push(format!("{test} is not listed under C{number}"));
        }
    }
    faults
}

#[test]
fn every_clause_of_the_contract_names_the_tests_that_show_it() {
    let sources = sources("crates");
    let tests = sources.iter().flat_map(|source| tests_of(&source.text)).collect();
    expect_clean(&contract_faults(&read("docs/CONTRACT.md"), &tests));
}

#[test]
fn tests_are_found_in_both_forms_and_helpers_are_not() {
    let text = "#[test]\n#[ignore]\nfn c01_one() {}\nfn c01_helper() {}\n\
        eintr! {\n    c29_by_macro: \"call\";\n}\n    field_of: u32,\n";
    assert_eq!(tests_of(text), BTreeSet::from(["c01_one", "c29_by_macro"]));
    assert_eq!(clause_of("c07_a"), Some(7));
    assert_eq!((clause_of("c7_a"), clause_of("close_it"), clause_of("cat_1")), (None, None, None));
}

#[test]
fn a_contract_with_gaps_is_found_out() {
    let whole: String = (1..=CLAUSES)
        .map(|n| format!("\n### C{n} · A promise\n\nSaid.\n\nShown by `c{n:02}_a`.\n"))
        .collect();
    let names: Vec<String> = (1..=CLAUSES).map(|n| format!("c{n:02}_a")).collect();
    let mut tests: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    expect_clean(&contract_faults(&whole, &tests));
    expect_fault(
        &contract_faults(&whole.replace("### C9 ", "### X9 "), &tests),
        &format!("not 1 to {CLAUSES}"),
    );
    expect_fault(&contract_faults(&whole.replace("by `c04_a`", "by"), &tests), "C4 has no test");
    let elsewhere = whole.replace("`c04_a`", "`c05_a`");
    expect_fault(&contract_faults(&elsewhere, &tests), "c04_a is not listed under C4");
    tests.insert("c48_b");
    expect_fault(&contract_faults(&whole, &tests), "c48_b is not listed under C48");
    tests.remove("c07_a");
    expect_fault(&contract_faults(&whole, &tests), "C7 names c07_a, which is no test");
}

// Lints.

/// `unsafe` in the code, and lints that are switched off without a reason.
fn lint_faults(Source { path, text }: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let number = index + 1;
        let line = code(line);
        if has_word(line, "unsafe") {
            faults.push(format!("{path}:{number}: unsafe"));
        }
        let mut attribute = line.trim().to_owned();
        if !attribute.starts_with("#[") && !attribute.starts_with("#![") {
            continue;
        }
        while !attribute.ends_with(']')
            && let Some((_, more)) = lines.next()
        {
            attribute.push_str(more.trim());
        }
        let switches = has_word(&attribute, "allow") || has_word(&attribute, "expect");
        if switches && !attribute.contains("reason = \"") {
            faults.push(format!("{path}:{number}: {attribute} has no reason"));
        }
    }
    faults
}

/// What the manifests must say for the compiler to hold the rest.
fn manifest_faults(workspace: &str, members: &[(String, String)]) -> Vec<String> {
    let mut faults = Vec::new();
    if !workspace.contains("\nunsafe_code = \"forbid\"\n") {
        faults.push("the workspace does not forbid unsafe".to_owned());
    }
    for line in workspace.lines().filter(|line| line.contains("\"allow\"")) {
        if !line.contains(" # ") {
            faults.push(format!("{line} has no reason"));
        }
    }
    for (path, manifest) in members {
        if !manifest.contains("\n[lints]\nworkspace = true\n") {
            faults.push(format!("{path} does not take the workspace's lints"));
        }
    }
    faults
}

#[test]
fn nothing_is_unsafe_and_every_exception_has_its_reason() {
    let faults: Vec<String> = shipped().iter().flat_map(lint_faults).collect();
    expect_clean(&faults);
    let crates = fs::read_dir(root().join("crates")).expect("the directory of the crates");
    let members: Vec<(String, String)> = crates
        .map(|entry| format!("crates/{}", entry.expect("a crate").file_name().display()))
        .chain(["comparisons", "comparisons/peers"].map(str::to_owned))
        .map(|path| (format!("{path}/Cargo.toml"), read(&format!("{path}/Cargo.toml"))))
        .collect();
    assert!(members.len() >= 3, "{members:?}");
    expect_clean(&manifest_faults(&read("Cargo.toml"), &members));
}

#[test]
fn an_exception_without_a_reason_is_found_out() {
    let faults = |text: &str| lint_faults(&Source { path: "a.rs".into(), text: text.into() });
    expect_clean(&faults("// unsafe is told of here\nlet not_unsafe_at_all = 1;"));
    expect_clean(&faults("#[allow(dead_code, reason = \"later\")]\nlet a = b.expect(\"a b\");"));
    expect_clean(&faults("#[expect(\n    dead_code,\n    reason = \"later\"\n)]"));
    expect_fault(&faults("    let a = unsafe { b() };"), "a.rs:1: unsafe");
    expect_fault(&faults("#[allow(dead_code)]"), "no reason");
    expect_fault(&faults("#![expect(dead_code)]"), "no reason");
    expect_fault(&faults("#[expect(\n    dead_code,\n)]"), "no reason");
    expect_fault(&faults("#[cfg_attr(test, allow(dead_code))]"), "no reason");
    let good = "\nunsafe_code = \"forbid\"\nsome = \"allow\" # because\n";
    let member = |text: &str| [("a/Cargo.toml".to_owned(), text.to_owned())];
    expect_clean(&manifest_faults(good, &member("\n[lints]\nworkspace = true\n")));
    expect_fault(&manifest_faults(good, &member("[package]\n")), "a/Cargo.toml");
    expect_fault(&manifest_faults("\nsome = \"allow\"\n", &[]), "no reason");
    expect_fault(&manifest_faults("\nsome = \"allow\"\n", &[]), "does not forbid");
}

// Papers.

fn length_fault(Source { path, text }: &Source) -> Option<String> {
    let lines = text.lines().count();
    (lines > LONGEST).then(|| format!("{path} has {lines} lines, more than {LONGEST}"))
}

/// What a document must say, word for word, and in this order.
fn missing(text: &str, phrases: &[&str]) -> Vec<String> {
    let mut rest = text;
    let mut faults = Vec::new();
    for phrase in phrases {
        match rest.split_once(phrase) {
            Some((_, behind)) => rest = behind,
            None => faults.push(format!("{phrase:?} is missing, or not in its place")),
        }
    }
    faults
}

/// The phases of a turn as the loop's documentation numbers them: `1. **Wait**`.
fn phases(event_loop: &str) -> Vec<&str> {
    let lines = event_loop.lines().filter_map(|line| line.strip_prefix("/// "));
    let phases = lines.filter(|line| identifier(line).parse::<u32>().is_ok());
    phases.filter_map(|line| line.rfind("**").map(|end| &line[..end + 2])).collect()
}

#[test]
fn no_source_file_is_too_long() {
    expect_clean(&shipped().iter().filter_map(length_fault).collect::<Vec<_>>());
    let long = Source { path: "long.rs".into(), text: "a\n".repeat(LONGEST + 1) };
    assert!(length_fault(&long).is_some());
}

#[test]
fn the_readme_has_the_two_commands_and_ci_runs_the_tests() {
    expect_clean(&missing(&read("README.md"), &["cargo run --release", "cargo test"]));
    expect_clean(&missing(&read("README.md"), &["docs/CONTRACT.md"]));
    expect_clean(&missing(&read(".ci/run"), &["cargo test"]));
    expect_fault(&missing("cargo run", &["cargo run --release"]), "cargo run --release");
    expect_fault(&missing("b a", &["a", "b"]), "\"b\"");
}

#[test]
fn the_architecture_has_the_layers_and_the_phases_of_the_code() {
    let architecture = read("ARCHITECTURE.md");
    let root = read("crates/edgeloop/src/lib.rs");
    let tool = read("crates/edgeloop-cli/src/main.rs");
    let (api, store) =
        (read("crates/edgeloop/src/api/mod.rs"), read("crates/edgeloop/src/store/mod.rs"));
    let modules = [&root, &api, &store, &tool].map(|text| layers(text)).concat();
    let rows: Vec<String> = modules.iter().map(|layer| format!("\n| `{layer}` |")).collect();
    expect_clean(&missing(&architecture, &rows.iter().map(String::as_str).collect::<Vec<_>>()));
    let event_loop = read("crates/edgeloop/src/event_loop/mod.rs");
    let phases = phases(&event_loop);
    assert_eq!(phases.len(), 11, "{phases:?}");
    expect_clean(&missing(&architecture, &phases));
}

#[test]
fn on_anything_but_linux_the_build_ends_with_one_sentence() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = directory.path().join("build-script");
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let compiled = Command::new(compiler)
        .args(["--edition", "2024", "-o"])
        .arg(&script)
        .arg(root().join("crates/edgeloop/build.rs"))
        .output()
        .expect("rustc runs");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let errors = |system: &str| -> Vec<String> {
        let run = Command::new(&script).env("CARGO_CFG_TARGET_OS", system).output();
        let output = run.expect("the build script runs");
        let output = String::from_utf8(output.stdout).expect("words");
        output
            .lines()
            .filter_map(|line| line.strip_prefix("cargo::error="))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(errors("linux"), [""; 0]);
    for system in ["macos", "windows", "freebsd", "android"] {
        assert_eq!(errors(system), ["edgeloop is built on epoll and runs on Linux only"]);
    }
}
