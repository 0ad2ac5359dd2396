//! What is fuzzed: functions from bytes that panic when a property does not hold.
//!
//! The tool is a program, and the library's queues are its own business, so neither offers them to
//! others. They are compiled into this package from their own files instead, which leaves both as
//! they are. Their `crate::` finds its modules here, as it does at home.

mod bytes;
pub mod targets;

macro_rules! shared {
    ($($name:ident = $path:literal;)*) => {
        $(
            #[path = $path]
            #[allow(dead_code, reason = "a target needs a part of it")]
            pub(crate) mod $name;
        )*
    };
}

// Of the library.
mod api;
mod store;

// Of the tool.
shared! {
    addresses = "../../crates/edgeloop-cli/src/addresses/mod.rs";
    args = "../../crates/edgeloop-cli/src/args.rs";
    bench = "../../crates/edgeloop-cli/src/bench/mod.rs";
    escape = "../../crates/edgeloop-cli/src/escape.rs";
    exit = "../../crates/edgeloop-cli/src/exit.rs";
    generate = "../../crates/edgeloop-cli/src/generate/mod.rs";
    log = "../../crates/edgeloop-cli/src/log/mod.rs";
    nearest = "../../crates/edgeloop-cli/src/nearest.rs";
    outputs = "../../crates/edgeloop-cli/src/outputs/mod.rs";
    report = "../../crates/edgeloop-cli/src/report/mod.rs";
    results = "../../crates/edgeloop-cli/src/results/mod.rs";
    serve = "../../crates/edgeloop-cli/src/serve/mod.rs";
    signals = "../../crates/edgeloop-cli/src/signals.rs";
    summary = "../../crates/edgeloop-cli/src/summary/mod.rs";
    usage = "../../crates/edgeloop-cli/src/usage.rs";
    values = "../../crates/edgeloop-cli/src/values.rs";
    variables = "../../crates/edgeloop-cli/src/variables.rs";
    version = "../../crates/edgeloop-cli/src/version.rs";
}
