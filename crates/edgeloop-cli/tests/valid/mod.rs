//! Whether results are as their schema says, docs/bench-results.schema.json.

#![allow(dead_code, reason = "each test program uses some of these")]

use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::Value;

const SCHEMA: &str = include_str!("../../../../docs/bench-results.schema.json");

pub(crate) fn schema() -> &'static Value {
    static PARSED: OnceLock<Value> = OnceLock::new();
    PARSED.get_or_init(|| serde_json::from_str(SCHEMA).expect("the schema is JSON"))
}

/// What in some results is not as the schema says.
pub(crate) fn faults(results: &Value) -> Vec<String> {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    let validator = VALIDATOR
        .get_or_init(|| jsonschema::draft202012::new(schema()).expect("the schema is a schema"));
    let fault = |error: jsonschema::ValidationError<'_>| {
        let place = error.instance_path().to_string();
        let place = if place.is_empty() { "/".to_owned() } else { place };
        let text: String = error.to_string().chars().take(300).collect();
        format!("{place}: {text}")
    };
    validator.iter_errors(results).map(fault).collect()
}

/// Panics if some results are not as the schema says.
#[track_caller]
pub(crate) fn expect_valid(results: &Value) {
    let faults = faults(results);
    assert!(
        faults.is_empty(),
        "docs/bench-results.schema.json says otherwise (see tests/bench/schema.rs):\n{}",
        faults.join("\n")
    );
}
