//! The instructions a message that were recorded for each compiler, in `recorded.toml`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The file is part of the program: it changes with a commit that says why.
const FILE: &str = include_str!("../recorded.toml");

/// How far from the recorded figure a count may lie.
pub(crate) const MARGIN: f64 = 5.0;

/// User instructions a message of `edgeloop serve`, built as it is released.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recorded {
    /// With one connection.
    pub(crate) one: f64,
    /// With fifty, whose messages come at once.
    pub(crate) fifty: f64,
}

/// What was recorded for this version of rustc.
///
/// # Errors
///
/// When the file is no table of such figures.
pub(crate) fn of(rustc: &str) -> Result<Option<Recorded>, String> {
    parse(FILE).map(|all| all.get(rustc).copied())
}

fn parse(text: &str) -> Result<BTreeMap<String, Recorded>, String> {
    toml::from_str(text).map_err(|error| format!("recorded.toml: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_can_be_read() {
        let all = parse(FILE).expect("figures");
        assert!(all.values().all(|one| one.one > 0.0 && one.fifty > 0.0));
    }

    #[test]
    fn a_compiler_is_known_by_its_version() {
        let all = parse("[\"1.95.0\"]\none = 120\nfifty = 90.5\n").expect("figures");
        assert_eq!(all.get("1.95.0"), Some(&Recorded { one: 120.0, fifty: 90.5 }));
        assert_eq!(all.get("1.96.0"), None);
        assert!(parse("[\"1.95.0\"]\none = 120\n").is_err());
    }
}
