//! The tables of a page. Each figure stands there for people and, in an attribute, for programs.

use std::collections::BTreeMap;
use std::fmt;

use super::axis;
use super::columns::Columns;
use super::figures::{Figure, difference};
use super::html::Text;
use crate::results::compare::{Noise, Verdict};
use crate::results::show;

/// A figure in an element, for people and for programs.
pub(super) fn cell(
    f: &mut fmt::Formatter<'_>,
    element: &str,
    attribute: &str,
    figure: &Figure,
) -> fmt::Result {
    write!(f, "<{element} {attribute}=\"{}\"", Text(&figure.name))?;
    if let Some(exact) = &figure.exact {
        write!(f, " data-value=\"{}\"", Text(exact))?;
    }
    let missing = if figure.exact.is_none() { " class=\"missing\"" } else { "" };
    write!(f, "{missing}>{}</{element}>", Text(&figure.shown))
}

/// The noise of figures by their names, where it is known.
pub(super) type Noises = BTreeMap<String, Noise>;

/// Figures in rows, with those of the baseline, the differences and their noise beside them.
pub(super) fn table(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    figures: &[Figure],
    baseline: Option<&[Figure]>,
    noises: &Noises,
) -> fmt::Result {
    write!(f, "<table class=\"figures\">\n<thead><tr><th scope=\"col\">{title}</th>")?;
    f.write_str(if baseline.is_some() {
        "<th scope=\"col\">this run</th><th scope=\"col\">baseline</th>\
         <th scope=\"col\">difference</th></tr></thead>\n<tbody>\n"
    } else {
        "<th></th></tr></thead>\n<tbody>\n"
    })?;
    for figure in figures {
        write!(f, "<tr><th scope=\"row\">{}</th>", Text(&figure.label))?;
        cell(f, "td", "data-figure", figure)?;
        if let Some(baseline) = baseline {
            let other = baseline.iter().find(|other| other.name == figure.name);
            compared(f, figure, other, noises.get(&figure.name))?;
        }
        f.write_str("</tr>\n")?;
    }
    let only = |other: &&Figure| figures.iter().all(|figure| figure.name != other.name);
    for other in baseline.unwrap_or_default().iter().filter(only) {
        write!(f, "<tr><th scope=\"row\">{}</th><td>–</td>", Text(&other.label))?;
        cell(f, "td", "data-baseline", other)?;
        f.write_str("<td>–</td></tr>\n")?;
    }
    f.write_str("</tbody>\n</table>\n")
}

fn compared(
    f: &mut fmt::Formatter<'_>,
    figure: &Figure,
    other: Option<&Figure>,
    noise: Option<&Noise>,
) -> fmt::Result {
    match other {
        Some(other) => cell(f, "td", "data-baseline", other)?,
        None => f.write_str("<td>–</td>")?,
    }
    let difference = difference(figure, other, noise);
    write!(f, "<td data-difference=\"{}\"", Text(&figure.name))?;
    if let Some(percent) = difference.percent {
        write!(f, " data-value=\"{percent}\"")?;
    }
    let Some((noise, verdict)) = difference.noise else {
        return write!(f, ">{}</td>", Text(&difference.shown));
    };
    let class = match verdict {
        Verdict::Noise => "noise",
        Verdict::Better => "better",
        Verdict::Worse => "worse",
    };
    write!(
        f,
        " data-noise=\"{}\" class=\"{class}\">{} <small>{}</small></td>",
        noise.noise_percent(),
        Text(&difference.shown),
        noise.shown()
    )
}

/// What every second came to.
pub(super) fn seconds(f: &mut fmt::Formatter<'_>, columns: &Columns) -> fmt::Result {
    if columns.columns.is_empty() {
        return Ok(());
    }
    let wide = columns.width() > 1.0;
    let every = axis::seconds(columns.width());
    let what = if wide { format!("Every {every}") } else { "Second by second".to_owned() };
    write!(f, "<section>\n<details>\n<summary><h2>{what}</h2></summary>\n")?;
    if wide {
        f.write_str(
            "<p class=\"small\">50 %, 95 % and 99 % are read from the bands of the heat map, up to 19 % \
             too high.</p>\n",
        )?;
    }
    f.write_str("<div class=\"wide\"><table>\n<thead><tr><th>from</th>")?;
    let names =
        ["messages", "50 %", "95 %", "99 %", "max", "errors", "unanswered", "alive", "in flight"];
    for name in names {
        write!(f, "<th scope=\"col\">{name}</th>")?;
    }
    f.write_str("</tr></thead>\n<tbody>\n")?;
    for column in &columns.columns {
        write!(f, "<tr data-second=\"{0}\"><th scope=\"row\">{0} s</th>", column.second)?;
        count(f, "messages", column.messages)?;
        time(f, "p50_us", column.p50_us)?;
        time(f, "p95_us", column.p95_us)?;
        time(f, "p99_us", column.p99_us)?;
        time(f, "max_us", column.max_us)?;
        count(f, "errors", column.errors)?;
        count(f, "unanswered", column.unanswered)?;
        count(f, "alive", column.alive)?;
        count(f, "in_flight", column.in_flight)?;
        f.write_str("</tr>\n")?;
    }
    f.write_str("</tbody>\n</table></div>\n</details>\n</section>\n")
}

fn count(f: &mut fmt::Formatter<'_>, name: &str, number: u64) -> fmt::Result {
    write!(f, "<td data-column=\"{name}\" data-value=\"{number}\">{}</td>", show::count(number))
}

fn time(f: &mut fmt::Formatter<'_>, name: &str, time: Option<f64>) -> fmt::Result {
    let Some(time) = time else { return write!(f, "<td data-column=\"{name}\">–</td>") };
    write!(f, "<td data-column=\"{name}\" data-value=\"{time}\">{}</td>", show::time(time))
}
