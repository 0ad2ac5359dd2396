//! The section of a page that shows several runs of one command, and by how much they differ.

use std::fmt;

use super::html::Text;
use super::tables::Noises;
use crate::results::compare::UNKNOWN;
use crate::results::show::typed;
use crate::results::{Results, show, spreads};

/// What is said of the differences to a baseline.
pub(super) fn about(noises: &Noises) -> String {
    if noises.is_empty() {
        let (first, rest) = UNKNOWN.split_at(1);
        return format!("{}{rest}.", first.to_uppercase());
    }
    "Differences with their noise are between the geometric means of the repeats. They are coloured where they \
     are larger than the noise: equal runs differ by no more in 99 of 100 comparisons."
        .to_owned()
}

/// Writes the section, if the results are those of several runs.
pub(super) fn section(f: &mut fmt::Formatter<'_>, results: &Results) -> fmt::Result {
    let repeats = &results.repeats;
    if repeats.is_empty() {
        return Ok(());
    }
    let runs = show::counted(repeats.len() as u64, "run");
    writeln!(f, "<section>\n<h2>Spread of {runs}</h2>")?;
    f.write_str(
        "<p class=\"small\">The other figures of this page are those of all runs together.</p>\n",
    )?;
    f.write_str(
        "<div class=\"wide\"><table>\n<thead><tr><th></th><th>median</th><th>least</th><th>most</th>\
         <th>spread</th></tr></thead>\n<tbody>\n",
    )?;
    for spread in spreads(repeats) {
        let name = typed(spread.name);
        write!(f, "<tr data-spread=\"{}\"><th scope=\"row\">{name}</th>", spread.name)?;
        for shown in spread.shown() {
            write!(f, "<td>{shown}</td>")?;
        }
        writeln!(f, "<td>{}</td></tr>", spread.percent_shown())?;
    }
    f.write_str(
        "</tbody>\n</table></div>\n<details>\n<summary>Each run</summary>\n<div class=\"wide\"><table>\n\
         <thead><tr><th>started</th><th>rate</th><th>p50</th><th>p99</th><th>max</th><th>messages</th>\
         <th>unanswered</th><th>errors</th></tr></thead>\n<tbody>\n",
    )?;
    for repeat in repeats {
        write!(f, "<tr><th scope=\"row\">{}</th>", Text(&repeat.started))?;
        write!(f, "<td>{}/s</td>", show::rate(repeat.rate))?;
        let latency = &repeat.latency_us;
        for name in ["p50", "p99", "max"] {
            let time = latency.shown(name).unwrap_or_else(|| "–".to_owned());
            write!(f, "<td>{time}</td>")?;
        }
        for count in [repeat.messages, repeat.unanswered, repeat.errors] {
            write!(f, "<td>{}</td>", show::count(count))?;
        }
        f.write_str("</tr>\n")?;
    }
    f.write_str("</tbody>\n</table></div>\n</details>\n</section>\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::shown;
    use crate::results::compare::Noise;
    use crate::results::samples;
    use crate::results::samples::repeats;

    #[test]
    fn several_runs_show_their_spread() {
        let mut results = samples::open(&[10], &[]);
        assert_eq!(shown(section, &results), "");
        results.repeats = repeats(&[30.0, 10.0, 20.0]);
        results.repeats[0].started = "<b>".to_owned();
        let shown = shown(section, &results);
        assert!(shown.contains("Spread of 3 runs"), "{shown}");
        let row = "data-spread=\"p50\"><th scope=\"row\">p50</th><td>20.0 µs</td><td>10.0 µs</td>\
                   <td>30.0 µs</td><td>100 %</td>";
        assert!(shown.contains(row), "{shown}");
        assert!(shown.contains("&lt;b&gt;"), "{shown}");
    }

    #[test]
    fn noise_is_explained_or_said_to_be_unknown() {
        assert_eq!(about(&Noises::new()), "Noise unknown: use --repeat 5 on both sides.");
        let noise = Noise::of(&[1.0; 3], &[1.0; 3]).expect("enough runs");
        let known = about(&Noises::from([("rate".to_owned(), noise)]));
        assert!(known.contains("99 of 100"), "{known}");
    }
}
