//! Which test programs hold the tests of a clause: nothing else is built for a mutation of it.

use std::fs;
use std::path::{Path, PathBuf};

/// The packages whose tests are named after clauses.
pub(crate) const PACKAGES: [&str; 2] = ["edgeloop", "edgeloop-cli"];

/// Returns cargo's options for the test programs of these packages that hold a test whose name
/// begins with `prefix`. They are looked for in the text of the tree at `root`.
pub(crate) fn holding(root: &Path, prefix: &str) -> Result<Vec<String>, String> {
    let mut options = Vec::new();
    for package in PACKAGES {
        let package = root.join("crates").join(package);
        if holds(&package.join("src"), prefix)? {
            let is_library = package.join("src/lib.rs").is_file();
            options.push(if is_library { "--lib" } else { "--bins" }.to_owned());
        }
        for path in entries(&package.join("tests"))? {
            let is_program = path.is_file() || path.join("main.rs").is_file();
            if is_program && holds(&path, prefix)? {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                options.push(format!("--test={name}"));
            }
        }
    }
    Ok(options)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let wrong = |error| format!("{}: {error}", directory.display());
    let entries = fs::read_dir(directory).map_err(wrong)?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// Whether a source file, or one below a directory, has such a test.
fn holds(path: &Path, prefix: &str) -> Result<bool, String> {
    if path.is_dir() {
        for path in entries(path)? {
            if holds(&path, prefix)? {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    if path.extension().is_none_or(|extension| extension != "rs") {
        return Ok(false);
    }
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(has_test(&text, prefix))
}

/// Tests are functions, or lines of which a macro makes functions.
fn has_test(text: &str, prefix: &str) -> bool {
    let name = |line: &str| line.trim_start().trim_start_matches("fn ").starts_with(prefix);
    text.lines().any(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_a_function_or_a_line_of_a_macro() {
        assert!(has_test("#[test]\nfn c04_one() {}\n", "c04_"));
        assert!(has_test("tests! {\n    c04_one: true;\n}\n", "c04_"));
        assert!(!has_test("// As c04_one() shows.\nfn c14_two() {}", "c04_"));
    }

    #[test]
    fn only_programs_with_tests_of_the_clause_are_built() {
        let options = holding(&mutate::root(), "c35_").expect("the tree can be read");
        let has = |option: &str| options.iter().any(|it| it == option);
        assert!(has("--bins") && has("--test=contract_log"), "{options:?}");
        assert!(!has("--test=house") && !has("--test=contract_bytes"), "{options:?}");
    }

    #[test]
    fn every_clause_has_a_program_with_its_tests() {
        for clause in 1..=52 {
            let options = holding(&mutate::root(), &format!("c{clause:02}_"));
            assert!(options.is_ok_and(|options| !options.is_empty()), "C{clause} has none");
        }
    }
}
