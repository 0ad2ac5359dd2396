//! The schema of the results: that each output keeps to it, and that documents say the same as it
//! and as the tests.
//!
//! A field is added in four places: in `results.rs` (or wherever its struct is), in
//! `docs/bench-results.schema.json` among the `properties` of its object and in its `required`, and
//! as a row in `docs/BENCH.md`. What is missing is named by the test that fails, with the row to
//! add.

use serde_json::Value;

use crate::valid::{faults, schema};

const BENCH: &str = include_str!("../../../../docs/BENCH.md");

/// Every object of the schema, with where it stands.
fn objects() -> Vec<(String, &'static Value)> {
    let mut objects = Vec::new();
    gather("", schema(), &mut objects);
    for (name, definition) in schema()["$defs"].as_object().expect("definitions") {
        gather(name, definition, &mut objects);
    }
    objects
}

fn gather(path: &str, object: &'static Value, objects: &mut Vec<(String, &'static Value)>) {
    if let Some(fields) = object.get("properties").and_then(Value::as_object) {
        objects.push((path.to_owned(), object));
        for (name, field) in fields {
            gather(&join(path, name), field, objects);
        }
    } else if let Some(items) = object.get("items") {
        gather(&format!("{path}[]"), items, objects);
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Every field of the schema with its description.
fn fields() -> Vec<(String, &'static Value)> {
    let of = |(path, object): (String, &'static Value)| {
        let fields = object["properties"].as_object().expect("an object");
        fields.iter().map(move |(name, field)| (join(&path, name), field)).collect::<Vec<_>>()
    };
    objects().into_iter().flat_map(of).collect()
}

fn description(field: &Value) -> &str {
    field["description"].as_str().unwrap_or_default()
}

#[test]
fn the_schema_is_one_of_draft_2020_12() {
    jsonschema::draft202012::meta::validate(schema()).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn each_object_requires_its_fields_and_allows_no_others() {
    for (path, object) in objects() {
        assert_eq!(object["additionalProperties"], false, "{path:?} allows others");
        let names: Vec<_> = object["properties"].as_object().expect("fields").keys().collect();
        let required: Vec<_> = object["required"].as_array().expect("required").iter().collect();
        assert_eq!(names, required, "\"required\" of {path:?} does not name its properties");
    }
}

#[test]
fn each_field_says_what_it_is_and_in_which_unit() {
    for (path, field) in fields() {
        let text = description(field);
        assert!(text.ends_with('.') && text.len() > 8, "{path} has no description: {text:?}");
        let is_number = field["type"] == "number" || field["type"][0] == "number";
        // What is a share or a rate says so.
        let unit = match path.rsplit('_').next() {
            _ if !is_number => continue,
            Some("us") => "microseconds",
            Some("s") => "seconds",
            _ => "",
        };
        assert!(text.contains(unit), "{path} is in {unit}, and does not say so: {text}");
        let units = ["seconds", "second", "from 0 to 1", "percentile", "longest"];
        assert!(units.iter().any(|unit| text.contains(unit)), "{path} has no unit: {text}");
    }
}

#[test]
fn the_document_has_a_row_for_each_field_of_the_schema_and_for_no_other() {
    let section = BENCH.split("\n## The JSON").nth(1).expect("a section");
    let section = section.split("\n## ").next().expect("its text");
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = fields()
        .into_iter()
        .map(|(path, field)| format!("| `{path}` | {} |", description(field)))
        .collect();
    let missing: Vec<_> = expected.iter().filter(|row| !rows.contains(&row.as_str())).collect();
    let unknown: Vec<_> =
        rows.iter().filter(|row| !expected.iter().any(|expected| expected == *row)).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "docs/BENCH.md lacks these rows: {missing:#?}\nand has these that the schema does not: {unknown:#?}"
    );
}

#[test]
fn each_test_that_the_notes_name_for_a_complaint_is_there() {
    let notes = include_str!("../../../../docs/TESTING.md");
    let section = notes.split("\n## What is said of load generators").nth(1).expect("a section");
    let section = section.split("\n## ").next().expect("its text");
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert_eq!(rows.len(), 30);
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = rows.iter().flat_map(|row| row.split('`')).filter(|word| word.contains("::"));
    assert!(rows.iter().all(|row| row.contains("::")), "a complaint has no test: {rows:#?}");
    for name in names {
        let (module, test) = name.split_once("::").expect("a module and a test");
        let folders =
            ["tests/bench", "tests", "src/report", "src/bench", "src/results", "src/summary"];
        let mut files = folders.map(|folder| here.join(folder)).into_iter().flat_map(|folder| {
            [folder.join(format!("{module}.rs")), folder.join(module).join("tests.rs")]
        });
        let found = files.any(|file| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            text.contains(&format!("#[test]\nfn {test}()"))
                || text.contains(&format!("#[test]\n    fn {test}()"))
        });
        assert!(found, "{name} is no test");
    }
}

#[test]
fn what_is_not_as_the_schema_says_is_found() {
    let none = faults(&serde_json::json!({ "schema": 2, "pace": 3.0 }));
    assert!(none.iter().any(|fault| fault.contains("pace")), "{none:?}");
    assert!(none.iter().any(|fault| fault.contains("latency_us")), "{none:?}");
}
