//! The README's tables of options, beside the help.

use std::collections::BTreeSet;
use std::process::Command;

const README: &str = include_str!("../README.md");

fn short_help(command: &str) -> String {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_edgeloop"));
    let help = tool.args([command, "-h"]).output().expect("the tool").stdout;
    String::from_utf8(help).expect("words")
}

/// What stands in backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The rows of the table of options behind this heading: the cells of each.
#[track_caller]
fn options(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = README.split_once(heading).expect(heading);
    let rows = section.lines().skip_while(|line| *line != "| option | what it does | default |");
    let rows = rows.skip(2).take_while(|line| line.starts_with("| "));
    // A bar within a code span does not occur.
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The line of an option in a short help: `--backlog` or `-c`.
fn line<'a>(help: &'a str, option: &str) -> Option<&'a str> {
    let names = |line: &'a str| line.split([' ', ',']).filter(|word| word.starts_with('-'));
    help.lines().find(|line| names(line).take(2).any(|name| name.trim_end_matches('.') == option))
}

#[test]
fn every_option_of_serve_is_in_the_readme_with_its_default() {
    let help = short_help("serve");
    let mut told = BTreeSet::new();
    for row in options("\n## The tool\n") {
        for option in code(row[0]) {
            let option = option.split(' ').next().unwrap_or(option);
            // `-vv` is `-v` twice.
            let option = if option == "-vv" { "-v" } else { option };
            let line = line(&help, option).expect(option);
            if let Some(default) = code(row[2]).next() {
                let given = line.split_once("[default: ").expect(line).1;
                assert!(given.starts_with(default), "{option}: {given}, and not {default}");
            }
            told.insert(line);
        }
    }
    let all = help.lines().skip_while(|line| *line != "Options:").skip(1);
    let all = all.take_while(|line| !line.is_empty());
    let missing: Vec<&str> = all.filter(|line| !told.contains(line)).collect();
    let names: Vec<&str> = missing.iter().filter_map(|line| line.split("--").nth(1)).collect();
    let names: Vec<&str> = names.iter().filter_map(|name| name.split(' ').next()).collect();
    assert_eq!(names, ["help", "version"], "options that the README does not name");
}

#[test]
fn every_option_of_bench_in_the_readme_is_one() {
    let help = short_help("bench");
    let rows = options("\n### Load\n");
    assert!(rows.len() > 10, "{rows:?}");
    for option in rows.iter().flat_map(|row| code(row[0])) {
        let option = option.split(' ').next().unwrap_or(option);
        assert!(line(&help, option).is_some(), "{option}");
    }
}
