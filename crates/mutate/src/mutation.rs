//! The mutations, as they are written down in `mutations/*.toml`.

use std::fs;
use std::path::Path;

use mutate::Edit;
use serde::Deserialize;

/// One way to break one clause.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mutation {
    /// `C1` to `C47`.
    pub(crate) clause: String,
    /// What is wrong with the code then.
    pub(crate) what: String,
    /// The file, from the workspace's root.
    pub(crate) file: String,
    /// Text that stands in the file once.
    pub(crate) code: String,
    /// What stands there instead.
    pub(crate) instead: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    mutation: Vec<Mutation>,
}

impl Mutation {
    /// What the names of the clause's tests begin with: `c04_` for `C4`.
    pub(crate) fn prefix(&self) -> String {
        format!("c{:0>2}_", self.clause.trim_start_matches('C'))
    }

    /// Whether one of these words means it; no words mean all.
    pub(crate) fn is_meant(&self, filters: &[String]) -> bool {
        let means = |filter: &String| self.clause == *filter || self.what.contains(filter.as_str());
        filters.is_empty() || filters.iter().any(means)
    }

    pub(crate) fn edit(&self) -> Edit<'_> {
        Edit { file: &self.file, code: &self.code, instead: &self.instead }
    }
}

/// All mutations, in the order of the files' names and within them.
pub(crate) fn read_all(root: &Path) -> Result<Vec<Mutation>, String> {
    let directory = root.join("mutations");
    let entries = fs::read_dir(&directory).map_err(|error| format!("mutations: {error}"))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let mut mutations = Vec::new();
    for path in paths {
        let name = path.display();
        let text = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
        let file: File = toml::from_str(&text).map_err(|error| format!("{name}: {error}"))?;
        mutations.extend(file.mutation);
    }
    Ok(mutations)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutation() -> Mutation {
        Mutation {
            clause: "C4".to_owned(),
            what: "a send waits".to_owned(),
            file: "send.rs".to_owned(),
            code: "send();".to_owned(),
            instead: "wait();".to_owned(),
        }
    }

    #[test]
    fn a_mutation_fits_only_where_its_code_stands_once() {
        assert_eq!(
            mutation().edit().apply("a(); send(); b();").as_deref(),
            Ok("a(); wait(); b();")
        );
        assert_eq!(
            mutation().edit().apply("a();"),
            Err("its code stands 0 times in send.rs".to_owned())
        );
        assert!(mutation().edit().apply("send(); send();").is_err());
    }

    #[test]
    fn every_clause_has_a_mutation_and_every_mutation_fits_the_code() {
        let root = mutate::root();
        let mutations = read_all(&root).expect("the mutations can be read");
        for mutation in &mutations {
            let text = fs::read_to_string(root.join(&mutation.file)).expect("the file of the code");
            let broken = mutation.edit().apply(&text);
            assert_ne!(broken.as_deref(), Ok(text.as_str()), "{mutation:?} changes nothing");
            assert!(broken.is_ok(), "{broken:?}: {mutation:?}");
        }
        for clause in 1..=47 {
            let name = format!("C{clause}");
            assert!(mutations.iter().any(|mutation| mutation.clause == name), "{name} has none");
        }
    }

    #[test]
    fn words_mean_a_clause_or_a_part_of_the_description() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        assert_eq!(mutation().prefix(), "c04_");
        assert!(mutation().is_meant(&[]));
        assert!(mutation().is_meant(&words(&["C9", "C4"])));
        assert!(mutation().is_meant(&words(&["waits"])));
        assert!(!mutation().is_meant(&words(&["C40", "C"])));
    }
}
