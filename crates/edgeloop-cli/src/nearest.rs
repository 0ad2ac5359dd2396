//! Finds what was probably meant by a misspelt name.

/// Returns the names that `word` may stand for, the likeliest only: one that is misspelt, or up to
/// four that contain it. Upper and lower case count as equal.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let word = word.to_lowercase();
    let names: Vec<&str> = names.into_iter().collect();
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let misspelt = names
        .iter()
        .map(|&name| (distance(&word, &name.to_lowercase()), name))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance);
    if let Some((_, name)) = misspelt {
        return vec![name];
    }
    if word.len() < 3 {
        return Vec::new();
    }
    let contains = |name: &&str| name.to_lowercase().contains(&word);
    let parts: Vec<&str> = names.into_iter().filter(contains).collect();
    if parts.len() <= 4 { parts } else { Vec::new() }
}

/// Whether one word becomes the other with at most this number of slips.
pub(crate) fn is_near(one: &str, other: &str, slips: usize) -> bool {
    one.len().abs_diff(other.len()) <= slips && distance(one, other) <= slips
}

/// Returns how many letters must be inserted, removed, replaced or swapped with their neighbour to
/// make one word of the other (optimal string alignment).
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let first: Vec<usize> = (0..=other.len()).collect();
    let (mut before, mut last) = (first.clone(), first);
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let replaced = last[j] + usize::from(a != b);
            let mut least = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

/// Returns a question that names them: "did you mean 'a', 'b' or 'c'?".
pub(crate) fn question(names: &[impl AsRef<str>]) -> Option<String> {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{}'", name.as_ref())).collect();
    let (last, others) = quoted.split_last()?;
    if others.is_empty() {
        return Some(format!("did you mean {last}?"));
    }
    Some(format!("did you mean {} or {last}?", others.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_counts_once_like_any_other_slip() {
        for (one, other, apart) in [
            ("", "", 0),
            ("", "ab", 2),
            ("ab", "", 2),
            ("bench", "bench", 0),
            ("benhc", "bench", 1),
            ("serv", "serve", 1),
            ("sevre", "serve", 1),
            ("kitten", "sitting", 3),
            ("a\u{e9}", "ae", 1),
        ] {
            assert_eq!(distance(one, other), apart, "{one} {other}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let names = ["idle-timeout", "write-timeout", "drain-timeout", "max-connections", "pipes"];
        for (word, expected) in [
            ("maxconnections", &["max-connections"][..]),
            ("max_connections", &["max-connections"]),
            ("MAX-CONNECTIONS", &["max-connections"]),
            ("idle-timout", &["idle-timeout"]),
            ("pipe", &["pipes"]),
            ("connections", &["max-connections"]),
            ("timeout", &["idle-timeout", "write-timeout", "drain-timeout"]),
            ("nonsense", &[]),
            ("x", &[]),
            ("", &[]),
        ] {
            assert_eq!(nearest(word, names), expected, "{word}");
        }
    }

    #[test]
    fn a_question_names_all_of_them() {
        assert_eq!(question(&[] as &[&str]), None);
        assert_eq!(question(&["a"]).as_deref(), Some("did you mean 'a'?"));
        assert_eq!(question(&["a", "b", "c"]).as_deref(), Some("did you mean 'a', 'b' or 'c'?"));
    }
}
