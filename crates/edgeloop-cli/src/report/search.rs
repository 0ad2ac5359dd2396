//! The section of a page that shows a search: its bound, its verdict and its steps.

use std::fmt;

use super::html::Text;
use crate::results::show::typed;
use crate::results::{Results, show};

/// Writes the section, if the results are those of a search.
pub(super) fn section(f: &mut fmt::Formatter<'_>, results: &Results) -> fmt::Result {
    let Some(found) = &results.find else { return Ok(()) };
    f.write_str("<section>\n<h2>Search</h2>\n")?;
    writeln!(
        f,
        "<p data-knee=\"{}\"><b>{}</b>: {}.",
        found.knee.map(|knee| knee.to_string()).unwrap_or_default(),
        Text(&found.bound),
        found.verdict()
    )?;
    let which = if found.knee.is_some() { "the run at that rate" } else { "the last run" };
    writeln!(f, "The figures of this page are those of {which}.</p>")?;
    let note = found.note.as_ref().map(|note| format!("Note: {note}."));
    for line in [note, found.why()].into_iter().flatten() {
        writeln!(f, "<p class=\"small\">{}</p>", Text(&line))?;
    }
    let name = typed(&found.figure);
    let is_usual = ["p50", "p99", "max"].contains(&found.figure.as_str());
    f.write_str("<div class=\"wide\"><table>\n<thead><tr><th>rate</th><th>measured for</th>")?;
    if !is_usual {
        write!(f, "<th>{}</th>", Text(&name))?;
    }
    f.write_str(
        "<th>p50</th><th>p99</th><th>max</th><th>samples</th><th>held</th></tr></thead>\n<tbody>\n",
    )?;
    let time = |time: Option<f64>| time.map_or_else(|| "–".to_owned(), show::time);
    for step in found.by_rate() {
        let rate = show::rate(step.asked_rate);
        write!(f, "<tr data-step=\"{}\"><th scope=\"row\">{rate}/s</th>", step.asked_rate)?;
        write!(f, "<td>{}</td>", show::time(step.seconds * 1e6))?;
        if !is_usual {
            write!(f, "<td>{}</td>", time(step.figure_us))?;
        }
        for figure in [step.p50_us, step.p99_us, step.max_us] {
            write!(f, "<td>{}</td>", time(figure))?;
        }
        let verdict = match &step.failed {
            Some(reason) => format!("no: {reason}"),
            None => "yes".to_owned(),
        };
        let class = if step.failed.is_some() { "worse" } else { "better" };
        let samples = show::count(step.samples);
        writeln!(f, "<td>{samples}</td><td class=\"{class}\">{}</td></tr>", Text(&verdict))?;
    }
    f.write_str("</tbody>\n</table></div>\n</section>\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::shown;
    use crate::results::samples;
    use crate::results::{Ended, Found, Step};

    #[test]
    fn a_search_shows_its_bound_its_steps_and_its_verdict() {
        let step = |rate, failed: Option<&str>| Step {
            asked_rate: rate,
            rate,
            seconds: 3.0,
            failed: failed.map(str::to_owned),
            figure_us: Some(777.0),
            p50_us: Some(20.0),
            p90_us: None,
            p95_us: None,
            p99_us: None,
            p99_9_us: Some(777.0),
            p99_99_us: None,
            max_us: Some(30.0),
            samples: 3000,
        };
        let mut results = samples::open(&[10], &[]);
        assert_eq!(shown(section, &results), "");
        results.find = Some(Found {
            bound: "p99.9<1ms".to_owned(),
            figure: "p99_9".to_owned(),
            needed: 1000,
            note: Some("<i>".to_owned()),
            knee: Some(1000.0),
            ended: Ended::Found,
            steps: vec![step(2000.0, Some("p99.9 is 2.00 ms")), step(1000.0, None)],
        });
        let shown = shown(section, &results);
        for words in [
            "<b>p99.9&lt;1ms</b>: up to 1,000 messages a second.",
            "data-knee=\"1000\"",
            "<th>p99.9</th>",
            "<td>777 µs</td>",
            "no: p99.9 is 2.00 ms",
            "Note: &lt;i&gt;.",
        ] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        let (first, last) = (shown.find("data-step=\"1000\""), shown.find("data-step=\"2000\""));
        assert!(first.is_some() && first < last, "by their rates: {shown}");
    }
}
