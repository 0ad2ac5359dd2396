//! The steps of a profile: as a table, and of several runs together.

use std::fmt;

use super::html::Text;
use super::read::Run;
use crate::results::{Quantiles, StepResults, Times, show, to_f64};

/// The table of the steps, if there are any.
pub(super) fn write(steps: Option<&[StepResults]>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(steps) = steps else { return Ok(()) };
    f.write_str(
        "<section>\n<h2>Steps</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>step</th>\
         <th>asked for</th><th>answered</th><th>50 %</th><th>95 %</th><th>99 %</th>\
         <th>99.9 %</th><th>max</th><th>never answered</th><th>sent late</th></tr></thead>\n<tbody>\n",
    )?;
    for step in steps {
        let latency = &step.latency_us;
        let time = |name| latency.shown(name).unwrap_or_else(|| "–".to_owned());
        let texts = [
            step.asked(),
            step.answered(),
            time("p50"),
            time("p95"),
            time("p99"),
            time("p99_9"),
            time("max"),
            show::count(step.unanswered),
            show::count(step.missed),
        ];
        write!(f, "<tr><th scope=\"row\">{}</th>", Text(&step.span()))?;
        for text in texts {
            write!(f, "<td>{}</td>", Text(&text))?;
        }
        f.write_str("</tr>\n")?;
    }
    f.write_str("</tbody>\n</table></div>\n</section>\n")
}

/// Adds the steps of another run, if both went through the same ones.
pub(super) fn add(sum: &mut Run, other: &Run) {
    let same = sum.results.options.profile == other.results.options.profile;
    let (Some(steps), Some(others), true) = (&mut sum.results.steps, &other.results.steps, same)
    else {
        (sum.results.steps, sum.steps) = (None, Vec::new());
        return;
    };
    // One that was interrupted has fewer.
    let common = steps.len().min(others.len());
    steps.truncate(common);
    sum.steps.truncate(common);
    let both = steps.iter_mut().zip(&mut sum.steps).zip(others.iter().zip(&other.steps));
    for ((step, times), (other, other_times)) in both {
        add_one(step, times, other, other_times);
    }
}

fn add_one(sum: &mut StepResults, times: &mut Times, other: &StepResults, other_times: &Times) {
    for (mine, theirs) in sum.asked_rate.iter_mut().zip(other.asked_rate) {
        *mine += theirs;
    }
    times.add(other_times);
    sum.seconds = sum.seconds.max(other.seconds);
    sum.messages = sum.messages.saturating_add(other.messages);
    sum.unanswered = sum.unanswered.saturating_add(other.unanswered);
    sum.missed = sum.missed.saturating_add(other.missed);
    sum.rate = to_f64(sum.messages) / sum.seconds.max(1e-9);
    sum.latency_us = Quantiles::of(times);
}
