//! The summary of a run: one screen, a unit on every figure, and nothing left out that went wrong.

use std::fmt::{self, Write};

use super::repeats;
use super::results::{Late, Quantiles, Results, to_f64};
use super::show;

/// The summary of a run.
pub(crate) struct Summary<'a> {
    pub(crate) results: &'a Results,
    /// What it cost, too.
    pub(crate) verbose: bool,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results = self.results;
        if let Some(found) = &results.find {
            writeln!(f, "{found}")?;
        }
        writeln!(f, "{}", heading(results))?;
        if let Some(early) = early(results) {
            writeln!(f, "{early}")?;
        }
        if results.ended != "no_connection" {
            row(f, "messages", &messages(results))?;
            row(f, "bytes", &transferred(results))?;
            times(results, f)?;
        }
        if !results.repeats.is_empty() {
            write!(f, "{}", repeats::Table(&results.repeats))?;
        }
        row(f, "connections", &connections(results))?;
        row(f, "errors", &errors(results))?;
        row(f, "verified", &verified(results))?;
        for finding in &results.verify.findings {
            row(f, "", finding)?;
        }
        if let Some(late) = &results.late {
            row(f, "LATE", &lateness(late))?;
        }
        if self.verbose {
            row(f, "cost", &cost(results))?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(f, "  {name:<12}{text}")
}

/// What was measured, and how.
pub(crate) fn heading(results: &Results) -> String {
    let options = &results.options;
    let mut how = match (options.mode.as_str(), results.asked_rate) {
        ("stream", _) => "streams".to_owned(),
        (_, None) => "closed loop".to_owned(),
        (_, Some(rate)) => format!(
            "open loop, {} messages a second, {}",
            show::rate(rate),
            options.arrival.as_deref().unwrap_or_default()
        ),
    };
    match options.mode.as_str() {
        "connect" => how.push_str(", a connection for each message"),
        "hold" => {
            let _ = write!(how, ", {} of them active", show::count(options.active as u64));
        }
        _ => {}
    }
    if results.asked_rate.is_none() && options.pipeline > 1 {
        let _ = write!(how, ", {} in flight on each", options.pipeline);
    }
    format!(
        "{}: {}, {} a message, {how}",
        results.target.asked,
        show::counted(options.connections as u64, "connection"),
        show::bytes(to_f64(options.size as u64)),
    )
}

/// Why a run has come to less than was asked for.
pub(crate) fn early(results: &Results) -> Option<&'static str> {
    match results.ended.as_str() {
        "interrupted" => Some("Interrupted; this is what was measured until then."),
        "stalled" => Some("Nothing came back for 10 s; this is what was measured until then."),
        "no_connection" => Some("No connection could be made; nothing was measured."),
        _ => None,
    }
}

pub(crate) fn lateness(late: &Late) -> String {
    format!(
        "the schedule was not held: {} of {} sends came over 1 ms late, the latest by {}",
        show::count(late.missed),
        show::count(late.sends),
        show::time(late.lag_us)
    )
}

fn messages(results: &Results) -> String {
    let mut text = format!(
        "{} in {}: {} a second",
        show::count(results.messages),
        show::time(results.seconds * 1e6),
        show::rate(results.rate)
    );
    if results.unanswered > 0 {
        let _ = write!(text, "; {} never answered", show::count(results.unanswered));
    }
    text
}

fn transferred(results: &Results) -> String {
    let (sent, received) = (to_f64(results.bytes_sent), to_f64(results.bytes_received));
    let mut text = format!("{} sent, {} received", show::bytes(sent), show::bytes(received));
    if results.seconds > 0.0 {
        let each = |bytes: f64| show::bytes(bytes / results.seconds);
        let _ = write!(text, ": {}/s and {}/s", each(sent), each(received));
    }
    text
}

/// Latency, and beside it what else was timed.
fn times(results: &Results, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut columns = vec![("latency", &results.latency_us)];
    if results.asked_rate.is_some() {
        columns.push(("service time", &results.service_us));
    }
    if ["connect", "hold"].contains(&results.options.mode.as_str()) {
        columns.push(("connect", &results.connect_us));
    }
    let line = |f: &mut fmt::Formatter<'_>, name: &str, cell: &dyn Fn(&Quantiles) -> String| {
        write!(f, "  {name:<12}")?;
        for (_, quantiles) in &columns {
            write!(f, "{:>24}", cell(quantiles))?;
        }
        writeln!(f)
    };
    writeln!(f)?;
    write!(f, "  {:<12}", "")?;
    for (name, _) in &columns {
        write!(f, "{name:>24}")?;
    }
    writeln!(f)?;
    line(f, "min", &|times| figure(times, "min", times.min, 1))?;
    line(f, "mean", &|times| figure(times, "mean", times.mean, 1))?;
    for (index, name) in ["50 %", "90 %", "95 %", "99 %", "99.9 %", "99.99 %"].iter().enumerate() {
        line(f, name, &|times| {
            let (name, value, needed) = times.each()[index];
            figure(times, name, value, needed)
        })?;
    }
    line(f, "max", &|times| figure(times, "max", times.max, 1))?;
    line(f, "samples", &|times| show::count(times.samples))?;
    if columns.iter().any(|(_, times)| !times.lower_bounds.is_empty()) {
        row(f, "", "≥ at the least: some of these messages were never answered")?;
    }
    writeln!(f)
}

fn figure(times: &Quantiles, name: &str, value: Option<f64>, needed: u64) -> String {
    match value {
        Some(value) if times.is_lower_bound(name) => format!("≥ {}", show::time(value)),
        Some(value) => show::time(value),
        None => format!("(needs {})", show::counted(needed, "sample")),
    }
}

fn connections(results: &Results) -> String {
    // Where each message has its own, none is to be alive.
    if results.options.mode == "connect" {
        return format!("{} made", show::count(results.connect_us.samples));
    }
    format!(
        "{} of {} alive at the end",
        show::count(results.connections_alive),
        show::count(results.options.connections as u64)
    )
}

pub(crate) fn errors(results: &Results) -> String {
    if results.errors.is_empty() {
        return "none".to_owned();
    }
    let one = |(name, count): (&String, &u64)| {
        let others = &results.other_errors;
        let what = if name == "other" && !others.is_empty() {
            let one = |(name, count): (&String, &u64)| format!("{} {name}", show::count(*count));
            format!(" ({})", others.iter().map(one).collect::<Vec<_>>().join(", "))
        } else {
            String::new()
        };
        format!("{} {}{what}", show::count(*count), name.replace('_', " "))
    };
    let mut text = results.errors.iter().map(one).collect::<Vec<_>>().join(", ");
    if results.errors.contains_key("out_of_ports") {
        text.push_str("; several --source addresses have more ports");
    }
    if results.errors.contains_key("out_of_descriptors") {
        text.push_str("; see the limit of descriptors, ulimit -Hn");
    }
    text
}

pub(crate) fn verified(results: &Results) -> String {
    let verify = &results.verify;
    if !verify.on {
        return "not".to_owned();
    }
    let checked = show::bytes(to_f64(verify.checked));
    if (verify.mismatched, verify.missing, verify.surplus) == (0, 0, 0) {
        return match verify.checked {
            0 => "nothing came back".to_owned(),
            _ => format!("{checked}, all as they were sent"),
        };
    }
    format!(
        "{checked}, WRONG: {} changed, {} missing, {} too many",
        show::counted(verify.mismatched, "byte"),
        show::count(verify.missing),
        show::count(verify.surplus)
    )
}

fn cost(results: &Results) -> String {
    let (processor, waits) = (results.cost.processor_s, results.cost.waits);
    let messages = to_f64(results.messages.max(1));
    format!(
        "{} of processor time, {} a message; {} waits, {:.2} a message",
        show::time(processor * 1e6),
        show::time(processor * 1e6 / messages),
        show::count(waits),
        to_f64(waits) / messages
    )
}
