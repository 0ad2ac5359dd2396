//! The catalogue of mutations, `mutations/*.toml`: how the code is broken, and what must notice.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// One way to break the code.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutation {
    /// What is wrong with the code then.
    pub what: String,
    /// The clause, `C1` to `C52`, whose tests must notice it, if any must.
    pub clause: Option<String>,
    /// Within how many seeds, counted from 0, a simulated run must notice it, if one must.
    pub within: Option<u64>,
    file: String,
    code: String,
    instead: String,
    /// What is changed beside that.
    #[serde(default)]
    also: Vec<Change>,
}

/// A change of one place of one file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    /// The file, from the workspace's root.
    file: String,
    /// Text that stands in the file once.
    code: String,
    /// What stands there instead.
    instead: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    mutation: Vec<Mutation>,
}

impl Mutation {
    /// What the names of its clause's tests begin with: `c04_` for `C4`.
    #[must_use]
    pub fn prefix(&self) -> Option<String> {
        let number = self.clause.as_ref()?.trim_start_matches('C');
        Some(format!("c{number:0>2}_"))
    }

    /// Whether one of these words is its clause or a part of its description. No words mean all.
    #[must_use]
    pub fn is_meant(&self, words: &[String]) -> bool {
        let is_clause = |word: &String| self.clause.as_ref() == Some(word);
        let means = |word: &String| is_clause(word) || self.what.contains(word.as_str());
        words.is_empty() || words.iter().any(means)
    }

    /// Returns the text with the changes for each file that has any, from `read`, which returns a
    /// file's text.
    ///
    /// # Errors
    ///
    /// If a file can't be read, or if a code does not stand in its file just once.
    pub fn apply(
        &self,
        read: impl Fn(&str) -> io::Result<String>,
    ) -> Result<BTreeMap<&str, String>, String> {
        let mut texts = BTreeMap::new();
        let first = (&self.file, &self.code, &self.instead);
        let others = self.also.iter().map(|change| (&change.file, &change.code, &change.instead));
        for (file, code, instead) in std::iter::once(first).chain(others) {
            let text = match texts.remove(file.as_str()) {
                Some(text) => text,
                None => read(file).map_err(|error| format!("{file}: {error}"))?,
            };
            let count = text.matches(code.as_str()).count();
            if count != 1 {
                return Err(format!("its code stands {count} times in {file}"));
            }
            if code == instead {
                return Err(format!("it changes nothing in {file}"));
            }
            texts.insert(file.as_str(), text.replacen(code, instead, 1));
        }
        Ok(texts)
    }
}

/// The root of this workspace.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All mutations, in the order of the files' names and within them.
///
/// # Errors
///
/// If a file can't be read or understood.
pub fn read_all(root: &Path) -> Result<Vec<Mutation>, String> {
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
    use std::collections::BTreeSet;

    use super::*;

    const ENTRY: &str = "what = 'a send waits'\nclause = 'C4'\nfile = 'send.rs'\ncode = 'send();'\n\
                         instead = 'wait();'\n";

    fn mutation(more: &str) -> Mutation {
        toml::from_str(&format!("{ENTRY}{more}")).expect("an entry")
    }

    /// What becomes of `send.rs` with this text.
    fn applied(mutation: &Mutation, text: &str) -> Result<String, String> {
        let mut texts = mutation.apply(|_| Ok(text.to_owned()))?;
        Ok(texts.remove("send.rs").expect("the changed file"))
    }

    #[test]
    fn a_mutation_fits_only_where_each_of_its_codes_stands_once() {
        let mutation = mutation("");
        assert_eq!(applied(&mutation, "a(); send(); b();").as_deref(), Ok("a(); wait(); b();"));
        let count = |count| Err(format!("its code stands {count} times in send.rs"));
        assert_eq!(applied(&mutation, "a();"), count(0));
        assert_eq!(applied(&mutation, "send(); send();"), count(2));
    }

    #[test]
    fn further_changes_of_a_file_are_made_in_what_the_first_has_left() {
        let twice = |code| {
            mutation(&format!("[[also]]\nfile = 'send.rs'\ncode = '{code}'\ninstead = 'c();'\n"))
        };
        assert_eq!(applied(&twice("b();"), "send(); b();").as_deref(), Ok("wait(); c();"));
        assert!(applied(&twice("send();"), "send(); b();").is_err());
        assert!(applied(&twice("c();"), "send(); c();").is_err(), "it changes nothing");
    }

    #[test]
    fn every_clause_has_a_mutation_and_every_mutation_fits_the_code() {
        let root = root();
        let mutations = read_all(&root).expect("the mutations can be read");
        let clauses: Vec<_> = (1..=52).map(|clause| format!("C{clause}")).collect();
        let mut names = BTreeSet::new();
        for mutation in &mutations {
            let what = &mutation.what;
            let applied = mutation.apply(|file| fs::read_to_string(root.join(file)));
            assert!(applied.is_ok(), "{what}: {applied:?}");
            let is_expected = mutation.clause.is_some() || mutation.within.is_some_and(|it| it > 0);
            assert!(is_expected, "{what}: nothing must notice it");
            assert!(mutation.clause.iter().all(|it| clauses.contains(it)), "{what}: no clause");
            assert!(names.insert(what), "{what}: two are called so");
        }
        for name in &clauses {
            let has_one = mutations.iter().any(|mutation| mutation.clause.as_ref() == Some(name));
            assert!(has_one, "{name} has none");
        }
    }

    #[test]
    fn words_mean_a_clause_or_a_part_of_the_description() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let mutation = mutation("");
        assert_eq!(mutation.prefix().as_deref(), Some("c04_"));
        assert!(mutation.is_meant(&[]));
        assert!(mutation.is_meant(&words(&["C9", "C4"])));
        assert!(mutation.is_meant(&words(&["waits"])));
        assert!(!mutation.is_meant(&words(&["C40", "C"])));
    }
}
