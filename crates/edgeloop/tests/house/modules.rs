//! Modules point one way: in every crate, and in every folder of one.
//!
//! A file is a module here. It names another one by a path that begins with `crate`, `self`,
//! `super` or a module of its own. Its line `mod x;` names nothing, and what only tests name does
//! not count. Two rules hold:
//!
//! - In each folder no module leads back to itself. There a module is one with all that stands
//!   below it: a part may name the module that it is a part of, and that one its parts.
//! - No module of a crate's root names one that stands behind it in the root's list. So that list
//!   is a list of layers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{Source, code, expect_clean, expect_fault, identifier, read, sources};

/// Where something stands, from the crate's root on: `["event_loop", "mail"]`.
type Place<'a> = Vec<&'a str>;

/// The modules that each module names, with the line that does so first. A module has the name that
/// its path gives it, `event_loop::mail`, and the root has none.
type Arrows = BTreeMap<String, BTreeMap<String, usize>>;

/// The modules of a crate, lowest first: the `mod x;` lines of its root, in their order.
pub(crate) fn layers(root: &str) -> Vec<&str> {
    root.lines().filter_map(|line| declared(line)?.strip_suffix(';')).collect()
}

/// What stands behind `mod` in a line that declares a module.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = ["pub(crate) ", "pub(super) ", "pub "]
        .into_iter()
        .find_map(|visibility| line.strip_prefix(visibility))
        .unwrap_or(line);
    line.strip_prefix("mod ")
}

/// Where the module of a file stands. `path` is the file's, from the crate's `src`.
fn place(path: &str) -> Place<'_> {
    let mut place: Place<'_> = path.trim_end_matches(".rs").split('/').collect();
    if matches!(place[..], [.., "mod"] | ["lib" | "main"]) {
        place.pop();
    }
    place
}

/// The lines of a file without its comments and tests, which are left empty; and the names of the
/// modules that are declared for tests.
fn shipped_code(text: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut kept, mut tests) = (Vec::new(), Vec::new());
    let mut lines = text.lines().map(code);
    while let Some(line) = lines.next() {
        let attribute = line.trim_start();
        if !attribute.starts_with("#[cfg(test)]") && !attribute.starts_with("#[cfg(all(test,") {
            kept.push(line);
            continue;
        }
        kept.push("");
        // Other attributes of the same item, and the item to its end.
        let indentation = &line[..line.len() - attribute.len()];
        let Some(item) = lines.by_ref().inspect(|_| kept.push("")).find(|line| {
            let line = line.trim_start();
            !line.is_empty() && !line.starts_with("#[")
        }) else {
            break;
        };
        if let Some(name) = declared(item) {
            tests.push(identifier(name));
        }
        if !item.ends_with(';') && !item.ends_with('}') {
            let is_end = |line: &&str| {
                line.strip_prefix(indentation).is_some_and(|line| line.starts_with('}'))
            };
            let skipped = lines.by_ref().take_while(|line| !is_end(line)).count();
            kept.extend(std::iter::repeat_n("", skipped + 1));
        }
    }
    (kept, tests)
}

/// Adds the paths at the beginning of a text to `paths`, one by one where they stand in braces.
/// Returns what stands behind them.
fn tree<'a>(text: &'a str, base: &[&'a str], paths: &mut Vec<Place<'a>>) -> &'a str {
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches([' ', '\n', ',']);
            if rest.is_empty() || rest.starts_with('}') {
                return rest.get(1..).unwrap_or_default();
            }
            rest = tree(rest, base, paths);
            // `as` and a name.
            rest = &rest[rest.find([',', '}']).unwrap_or(rest.len())..];
        }
    }
    let word = identifier(text);
    let rest = &text[word.len()..];
    let mut path = base.to_vec();
    match word {
        "super" => drop(path.pop()),
        "self" | "" => {}
        word => path.push(word),
    }
    match rest.strip_prefix("::") {
        Some(rest) if !word.is_empty() => tree(rest, &path, paths),
        _ => {
            paths.push(path);
            rest.strip_prefix('*').unwrap_or(rest)
        }
    }
}

/// The paths that a module names, each from the crate's root, with their lines.
fn named<'a>(
    place: &[&'a str],
    children: &BTreeSet<&str>,
    text: &'a str,
) -> Vec<(usize, Place<'a>)> {
    let mut named = Vec::new();
    let mut paths = Vec::new();
    for (at, _) in text.match_indices("::") {
        let before = &text[..at];
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let word = &before[before.trim_end_matches(is_part).len()..];
        let first = &before[..before.len() - word.len()];
        if first.ends_with(':') {
            continue;
        }
        let base = match word {
            "crate" => Vec::new(),
            "self" => place.to_vec(),
            "super" => place[..place.len().saturating_sub(1)].to_vec(),
            child if children.contains(child) => [place, &[child]].concat(),
            _ => continue,
        };
        tree(&text[at + 2..], &base, &mut paths);
        let line = before.matches('\n').count() + 1;
        named.extend(paths.drain(..).map(|path| (line, path)));
    }
    named
}

/// Takes the modules that stand in braces out of a file's lines, with their names.
fn in_braces<'a>(lines: &mut [&'a str]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut modules = Vec::new();
    for first in 0..lines.len() {
        let line = lines[first];
        let Some(name) = declared(line).and_then(|name| name.strip_suffix(" {")) else { continue };
        let indentation = line.len() - line.trim_start().len();
        let is_end = |line: &&str| line.find('}') == Some(indentation);
        let length = lines[first..].iter().position(is_end).unwrap_or(0);
        let mut module = vec![""; lines.len()];
        module[first + 1..=first + length].copy_from_slice(&lines[first + 1..=first + length]);
        lines[first..=first + length].fill("");
        modules.push((name, module));
    }
    modules
}

/// Which modules of a crate name which. The paths of the files are those from its `src`.
fn arrows(files: &[Source]) -> Arrows {
    let (mut modules, mut of_tests) = (Vec::new(), Vec::new());
    for file in files {
        let place = place(&file.path);
        let (mut lines, tests) = shipped_code(&file.text);
        of_tests.extend(tests.into_iter().map(|test| [&place[..], &[test]].concat()));
        for (name, lines) in in_braces(&mut lines) {
            modules.push(([&place[..], &[name]].concat(), lines));
        }
        modules.push((place, lines));
    }
    modules.retain(|(place, _)| !of_tests.iter().any(|test| place.starts_with(test)));
    let mut arrows: Arrows =
        modules.iter().map(|(place, _)| (place.join("::"), BTreeMap::new())).collect();
    for (place, lines) in &modules {
        let children = lines.iter().filter_map(|line| declared(line)).map(identifier).collect();
        let module = place.join("::");
        for (line, path) in named(place, &children, &lines.join("\n")) {
            // What is named stands in the last module on the way to it.
            let mut targets = (0..=path.len()).rev().map(|length| path[..length].join("::"));
            let target = targets.find(|target| arrows.contains_key(target)).unwrap_or_default();
            if target != module {
                let named = arrows.entry(module.clone()).or_default();
                named.entry(target).or_insert(line);
            }
        }
    }
    arrows
}

/// The same between neighbours: what lies below them is theirs.
fn between_neighbours(arrows: &Arrows) -> Arrows {
    let mut between = Arrows::new();
    for (module, named) in arrows {
        for (target, line) in named {
            let both = module.split("::").zip(target.split("::"));
            let common = both.take_while(|(one, other)| one == other).count();
            let neighbour = |module: &str| {
                let parts: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
                parts.get(..=common).map(|parts| parts.join("::"))
            };
            // A part and its whole are no neighbours.
            let (Some(own), Some(other)) = (neighbour(module), neighbour(target)) else { continue };
            between.entry(other.clone()).or_default();
            between.entry(own).or_default().entry(other).or_insert(*line);
        }
    }
    between
}

/// The shortest way from a module back to itself, if there is one. With each module stands the line
/// that names the next.
fn circle<'a>(arrows: &'a Arrows, module: &'a str) -> Option<Vec<(&'a str, usize)>> {
    let mut ways = VecDeque::from([vec![(module, 0)]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let (last, _) = *way.last()?;
        for (next, &line) in arrows.get(last)? {
            let mut on = way.clone();
            if let Some((_, at)) = on.last_mut() {
                *at = line;
            }
            if next == module {
                return Some(on);
            }
            if seen.insert(next) {
                on.push((next, 0));
                ways.push_back(on);
            }
        }
    }
    None
}

/// The circles in which neighbours name each other, each once.
fn circle_faults(name: &str, arrows: &Arrows) -> Vec<String> {
    let arrows = between_neighbours(arrows);
    let mut faults = Vec::new();
    let mut told = BTreeSet::new();
    for module in arrows.keys() {
        let Some(circle) = circle(&arrows, module) else { continue };
        if circle.iter().all(|(module, _)| !told.contains(module)) {
            let steps: Vec<_> = circle
                .iter()
                .map(|(module, line)| format!("crate::{module} (line {line}) names "))
                .collect();
            faults.push(format!("{name}: a circle: {}crate::{module}", steps.concat()));
        }
        told.extend(circle.into_iter().map(|(module, _)| module));
    }
    faults
}

/// What a module of the root names that stands below it in the root's list.
fn layer_faults(name: &str, layers: &[&str], arrows: &Arrows) -> Vec<String> {
    let layer = |module: &str| {
        let first = module.split("::").next().unwrap_or_default();
        layers.iter().position(|layer| *layer == first)
    };
    let mut faults = Vec::new();
    for (module, named) in arrows {
        for (target, line) in named {
            let Some(own) = layer(module) else { continue };
            match layer(target) {
                Some(other) if other > own => faults.push(format!(
                    "{name}: {module} (line {line}) names {target}, which is above it"
                )),
                None if target.is_empty() => faults.push(format!(
                    "{name}: {module} (line {line}) names something by the root and not its module"
                )),
                _ => {}
            }
        }
    }
    faults
}

/// The crates of the workspace, by their directories.
fn crates(workspace: &str) -> Vec<&str> {
    let members = workspace.split_once("\nmembers = [").map_or("", |(_, members)| members);
    let members = members.split(']').next().unwrap_or(members);
    members.split('"').skip(1).step_by(2).collect()
}

#[test]
fn the_modules_of_every_crate_point_one_way() {
    let workspace = read("Cargo.toml");
    let crates = crates(&workspace);
    assert!(crates.len() >= 7, "the members were not understood: {crates:?}");
    let mut faults = Vec::new();
    for name in crates {
        let directory = format!("{name}/src/");
        let mut files = sources(&directory);
        for file in &mut files {
            file.path = file.path.strip_prefix(&directory).expect("below it").to_owned();
        }
        let arrows = arrows(&files);
        assert!(!arrows.is_empty(), "{name} has no modules");
        faults.extend(circle_faults(name, &arrows));
        for root in files.iter().filter(|file| ["lib.rs", "main.rs"].contains(&&*file.path)) {
            faults.extend(layer_faults(name, &layers(&root.text), &arrows));
        }
    }
    expect_clean(&faults);
}

/// A crate of these files.
fn files(files: &[(&str, &str)]) -> Vec<Source> {
    let source = |&(path, text): &(&str, &str)| Source { path: path.into(), text: text.into() };
    files.iter().map(source).collect()
}

#[test]
fn an_arrow_upwards_is_found_out() {
    let root = "//! Docs.\nmod low;\npub mod middle;\nmod high;\nmod sealed {\n}\n";
    assert_eq!(layers(root), ["low", "middle", "high"]);
    let faults = |path: &str, text: &str| {
        let others = ["low.rs", "middle.rs", "high/mod.rs"].map(|path| (path, ""));
        let crate_of = [&[("lib.rs", root)], &others[..], &[(path, text)]].concat();
        layer_faults("a", &layers(root), &arrows(&files(&crate_of)))
    };
    expect_clean(&faults("middle.rs", "use crate::low::A;\nuse crate::middle::B;"));
    expect_clean(&faults("middle.rs", "/// See [`High`](crate::High).\nlet a = 1; // crate::high"));
    expect_clean(&faults("high/part.rs", "use super::part;\nimpl crate::sealed::Sealed for A {}"));
    expect_clean(&faults("low.rs", "#[cfg(test)]\nmod tests {\n    use crate::high::A;\n}\n"));
    expect_fault(&faults("low.rs", "use crate::middle::B;"), "low (line 1) names middle, which is");
    expect_fault(&faults("low/part.rs", "\n    let a = crate::high::a();"), "low::part (line 2)");
    expect_fault(&faults("middle.rs", "use crate::{low::A, high::B};"), "names high");
    expect_fault(&faults("low.rs", "use super::high::B;"), "names high");
    expect_fault(&faults("low/part.rs", "use super::super::high::B;"), "names high");
    expect_fault(
        &faults("low.rs", "use crate::{\n    low::{A, B as C},\n    high::*,\n};"),
        "names high",
    );
    expect_fault(&faults("middle.rs", "let a = crate::High::new();"), "by the root");
    let behind = "#[cfg(test)]\nuse a::A;\n\n#[cfg(test)]\nfn a() {\n}\n\nuse crate::high::B;\n";
    expect_fault(&faults("low.rs", behind), "low (line 8) names high");
}

#[test]
fn a_circle_is_found_out_however_long_it_is_and_wherever_it_stands() {
    let faults = |modules: &[(&str, &str)]| circle_faults("a", &arrows(&files(modules)));
    expect_clean(&faults(&[
        ("main.rs", "mod one;\nmod two;\n\nuse two::B;"),
        ("one.rs", "pub(crate) struct A;"),
        ("two.rs", "use crate::one::A;\npub(crate) use super::one::A;"),
    ]));
    // A part and its whole may name each other.
    expect_clean(&faults(&[
        ("one/mod.rs", "mod part;\nuse part::A;"),
        ("one/part.rs", "use super::B;"),
    ]));
    // Not so two parts, nor two modules by way of their parts.
    expect_fault(
        &faults(&[
            ("one/mod.rs", "mod part;\nmod other;"),
            ("one/part.rs", "use super::other::B;"),
            ("one/other.rs", "use crate::one::part::A;"),
        ]),
        "circle: crate::one::other (line 1) names crate::one::part (line 1) names crate::one::other",
    );
    expect_fault(
        &faults(&[
            ("one/mod.rs", "mod part;"),
            ("one/part.rs", "\nuse crate::two::B;"),
            ("two/mod.rs", "mod part;"),
            ("two/part.rs", "use crate::one::A;"),
        ]),
        "a circle: crate::one (line 2) names crate::two (line 1) names crate::one",
    );
    let long = [
        ("one.rs", "use crate::two::A;"),
        ("two.rs", "fn a(_: super::three::B) {}"),
        ("three.rs", "\nuse crate::{four, one::{self, C}};"),
        ("four.rs", ""),
    ];
    let faults_of_long = faults(&long);
    assert_eq!(faults_of_long.len(), 1, "{faults_of_long:?}");
    expect_fault(
        &faults_of_long,
        "one (line 1) names crate::two (line 1) names crate::three (line 2) names crate::one",
    );
    // What is declared for tests alone is none of the crate's modules.
    expect_clean(&faults(&[
        ("one.rs", "#[cfg(test)]\nmod tests;\n#[cfg(all(test, loom))]\nmod model;"),
        ("one/tests.rs", "use super::*;\nuse crate::two::A;"),
        ("one/model.rs", "use super::*;"),
        ("two.rs", "use crate::one::A;"),
    ]));
}
