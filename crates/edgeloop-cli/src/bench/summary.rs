//! The summary of a run: one screen, a unit on every figure, and nothing left out that went wrong.

use std::fmt::{self, Write};

use super::repeats;
use super::results::{Late, Options, Quantiles, Results, to_f64};
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
            steps(results, f)?;
        }
        if !results.repeats.is_empty() {
            write!(f, "{}", repeats::Table(&results.repeats))?;
        }
        row(f, "connections", &connections(results))?;
        if results.target.addresses.len() > 1 {
            row(f, "addresses", &results.target.counted())?;
        }
        row(f, "errors", &errors(results))?;
        row(f, "verified", &verified(results))?;
        for finding in &results.verify.findings {
            row(f, "", finding)?;
        }
        if let Some(hint) = hint(results) {
            row(f, "", hint)?;
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
        (_, Some(_)) if results.steps.is_some() => format!(
            "open loop, a profile of {}, {}",
            show::counted(results.steps.iter().flatten().count() as u64, "step"),
            options.arrival.as_deref().unwrap_or_default()
        ),
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
        "{}: {}, {}, {how}",
        results.target.asked,
        show::counted(options.connections as u64, "connection"),
        sizes(options),
    )
}

/// How large the messages are.
fn sizes(options: &Options) -> String {
    let size = show::bytes(to_f64(options.size as u64));
    match options.send.len() {
        0 | 1 => format!("{size} a message"),
        several => format!("{several} messages in turn, of up to {size}"),
    }
}

/// What may be wrong with the options where replies are not what they were taken for.
fn hint(results: &Results) -> Option<&'static str> {
    let echoes = results.options.reply.iter().any(|reply| reply == "echo");
    if results.options.send.is_empty() {
        None
    } else if results.messages == 0 && results.bytes_received > 0 {
        Some("Bytes came, but no reply was whole: see --reply")
    } else if echoes && results.verify.wrong_replies > 0 {
        Some("If the service does not echo: see --reply and --expect")
    } else {
        None
    }
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

/// A row for each step of a profile.
fn steps(results: &Results, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(steps) = &results.steps else { return Ok(()) };
    write!(f, "  {:<24}{:>20}{:>12}", "step", "asked for", "answered")?;
    writeln!(f, "{:>12}{:>12}{:>12}{:>12}", "50 %", "99 %", "max", "unanswered")?;
    for step in steps {
        write!(f, "  {:<24}{:>20}{:>12}", step.span(), step.asked(), step.answered())?;
        let latency = &step.latency_us;
        for (name, value) in [("p50", latency.p50), ("p99", latency.p99), ("max", latency.max)] {
            let text = value.map_or_else(|| "-".to_owned(), show::time);
            let bound = if latency.is_lower_bound(name) { "≥ " } else { "" };
            write!(f, "{:>12}", format!("{bound}{text}"))?;
        }
        writeln!(f, "{:>12}", show::count(step.unanswered))?;
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
    if !verify.on && verify.surplus == 0 {
        return "not".to_owned();
    }
    let checked = show::bytes(to_f64(verify.checked));
    if (verify.mismatched, verify.missing, verify.surplus) == (0, 0, 0) {
        return match verify.checked {
            0 => "nothing came back".to_owned(),
            _ if results.options.send.is_empty() => format!("{checked}, all as they were sent"),
            _ => format!("{checked}, all as expected"),
        };
    }
    let replies = match verify.wrong_replies {
        0 => String::new(),
        1 => "1 reply differs: ".to_owned(),
        several => format!("{} replies differ: ", show::count(several)),
    };
    format!(
        "{checked}, WRONG: {replies}{} changed, {} missing, {} too many",
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
