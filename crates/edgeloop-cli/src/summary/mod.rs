//! The summary of a run: one screen, a unit on every figure, and nothing left out that went wrong.

pub(crate) mod client;
mod distribution;
pub(crate) mod hint;

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use crate::results::{FAILED, Late, Options, Outage, Quantiles, Results, Table, show, to_f64};
use distribution::Distribution;

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
        if let Some(label) = &results.label {
            write!(f, "{label}: ")?;
        }
        writeln!(f, "{}", heading(results))?;
        if let Some(early) = early(results) {
            writeln!(f, "{early}")?;
        }
        if results.ended != "no_connection" {
            row(f, "messages", &messages(results))?;
            for outage in outages(results) {
                rows(f, "OUTAGE", &outage)?;
            }
            if let Some(strays) = strays(results) {
                rows(f, "datagrams", &strays)?;
            }
            row(f, "bytes", &transferred(results))?;
            times(results, f)?;
            steps(results, f)?;
        }
        if !results.repeats.is_empty() {
            write!(f, "{}", Table(&results.repeats))?;
        }
        let sockets = if results.datagrams.is_some() { "sockets" } else { "connections" };
        row(f, sockets, &connections(results))?;
        if results.target.addresses.len() > 1 {
            row(f, "addresses", &results.target.counted())?;
        }
        row(f, "errors", &errors(results))?;
        if let Some(warmup) = warmup(results) {
            rows(f, "warm-up", &warmup)?;
        }
        for finding in &results.warmup.verify.findings {
            row(f, "", finding)?;
        }
        row(f, "verified", &verified(results))?;
        for finding in &results.verify.findings {
            row(f, "", finding)?;
        }
        if let Some(hint) = hint::of(results) {
            rows(f, "", hint)?;
        }
        if let Some(late) = &results.late {
            rows(f, "LATE", &lateness(late))?;
        }
        if let Some(drops) = client::drops(&results.generator) {
            rows(f, "CLIENT", &drops)?;
        }
        if let Some(bottleneck) = client::bottleneck(&results.generator) {
            rows(f, "CLIENT", &bottleneck)?;
        }
        if self.verbose {
            rows(f, "cost", &cost(results))?;
            rows(f, "client", &client::line(&results.generator))?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(f, "  {name:<12}{text}")
}

/// A row whose text goes on below itself where it is longer than the narrowest terminal is wide.
fn rows(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    const WIDE: usize = 80 - 14;
    let (mut name, mut line) = (name, String::new());
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDE {
            row(f, name, &line)?;
            (name, line) = ("", String::new());
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    row(f, name, &line)
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
    let unit = if options.timeout_s.is_some() { "socket" } else { "connection" };
    format!(
        "{}: {}, {}, {how}",
        results.target.asked,
        show::counted(options.connections as u64, unit),
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

/// Why a run has come to less than was asked for.
pub(crate) fn early(results: &Results) -> Option<&'static str> {
    match results.ended.as_str() {
        "interrupted" => Some("Interrupted; this is what was measured until then."),
        FAILED => Some("A later run could not be made; this is what was measured until then."),
        "stalled" if results.options.timeout_s.is_some() => Some(
            "Nothing came back for 10 s and twice the --timeout; this is what was measured until \
             then.",
        ),
        "no_connection" if results.options.timeout_s.is_some() => {
            Some("No socket could be bound; nothing was measured.")
        }
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

pub(crate) fn messages(results: &Results) -> String {
    let count = show::count;
    let mut text = match results.messages {
        0 => "nothing was answered".to_owned(),
        // One message makes no rate, unless it was due at one.
        1 if results.asked_rate.is_none() => {
            format!("1 in {}", show::time(results.seconds * 1e6))
        }
        all => {
            let seconds = show::time(results.seconds * 1e6);
            match (in_time(results), show::rate(results.rate)) {
                (0, _) => format!("{}, none of them within the {seconds}", count(all)),
                // A few that were on their way at the end are in every run.
                (some, rate) if (all - some) * 100 > all => {
                    format!(
                        "{}, {} of them within {seconds}: {rate} a second",
                        count(all),
                        count(some)
                    )
                }
                (_, rate) => format!("{} in {seconds}: {rate} a second", count(all)),
            }
        }
    };
    match results.unanswered {
        0 => {}
        lost if results.datagrams.is_some() => {
            let share = show::share(lost, results.messages.saturating_add(lost));
            let _ = write!(text, "; {} lost ({share})", count(lost));
        }
        lost => {
            let _ = write!(text, "; {} never answered", count(lost));
        }
    }
    match results.verify.empty_replies {
        0 => {}
        1 => text.push_str("; 1 reply was empty"),
        several => {
            let _ = write!(text, "; {} replies were empty", count(several));
        }
    }
    text
}

/// How many messages were answered within the measured time.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was a count")]
fn in_time(results: &Results) -> u64 {
    ((results.rate * results.seconds).round() as u64).min(results.messages)
}

/// What came beside answers, if anything did.
pub(crate) fn strays(results: &Results) -> Option<String> {
    let named = results.datagrams?.named();
    let met = named.into_iter().filter(|(_, count)| *count > 0);
    let met: Vec<_> = met.map(|(name, count)| format!("{} {name}", show::count(count))).collect();
    (!met.is_empty()).then(|| met.join(", "))
}

/// When nothing was answered: the first times, and how many there were.
pub(crate) fn outages(results: &Results) -> Vec<String> {
    const SHOWN: usize = 3;
    if results.messages == 0 {
        return Vec::new();
    }
    let one = |outage: &Outage| {
        let Outage { from_s, to_s } = *outage;
        format!("nothing was answered from {from_s:.1} s to {to_s:.1} s")
    };
    let outages = &results.outages;
    let mut lines: Vec<_> = outages.iter().take(SHOWN).map(one).collect();
    if let Some(more) = outages.len().checked_sub(SHOWN).filter(|&more| more > 0) {
        let longest = outages.iter().map(Outage::seconds).fold(0.0, f64::max);
        lines.push(format!(
            "and {} more; the longest took {longest:.1} s",
            show::count(more as u64)
        ));
    }
    lines
}

fn transferred(results: &Results) -> String {
    let (sent, received) = (to_f64(results.bytes_sent), to_f64(results.bytes_received));
    let mut text = format!("{} sent, {} received", show::bytes(sent), show::bytes(received));
    if results.seconds > 0.0 && in_time(results) > 1 {
        let each = |bytes: f64| show::bytes(bytes / results.seconds);
        let _ = write!(text, ": {}/s and {}/s", each(sent), each(received));
    }
    text
}

/// The name of a figure of some times, and how it is shown.
type Cell<'a> = dyn Fn(&Quantiles) -> (&'static str, String) + 'a;

/// Latency, and beside it what else was timed.
fn times(results: &Results, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut columns = vec![("latency", &results.latency_us)];
    if results.unanswered > 0 && results.answered_us.samples > 0 {
        columns.push(("answered only", &results.answered_us));
    }
    if results.asked_rate.is_some() {
        columns.push(("service time", &results.service_us));
    }
    if ["connect", "hold"].contains(&results.options.mode.as_str()) {
        columns.push(("connect", &results.connect_us));
    }
    let marked = &results.generator.marked;
    // So that all of them fit into 80 columns.
    let width = [0, 24, 24, 20, 16][columns.len()];
    let space = if marked.is_empty() { "" } else { "  " };
    let line = |f: &mut fmt::Formatter<'_>, label: &str, cell: &Cell<'_>| {
        let mut line = format!("  {label:<12}");
        for (index, (_, times)) in columns.iter().enumerate() {
            let (name, text) = cell(times);
            let is_marked = index == 0 && marked.iter().any(|mark| mark == name);
            let mark = if is_marked { " *" } else { space };
            let _ = write!(line, "{:>width$}", text + mark);
        }
        writeln!(f, "{}", line.trim_end())
    };
    let mut head = format!("  {:<12}", "");
    for (name, _) in &columns {
        let _ = write!(head, "{:>width$}", format!("{name}{space}"));
    }
    writeln!(f, "\n{}", head.trim_end())?;
    line(f, "min", &|times| ("min", figure(times, "min", times.figures.min, 1, width)))?;
    line(f, "mean", &|times| ("mean", figure(times, "mean", times.figures.mean, 1, width)))?;
    for (index, label) in ["50 %", "90 %", "95 %", "99 %", "99.9 %", "99.99 %"].iter().enumerate() {
        line(f, label, &|times| {
            let (name, value, needed) = times.each()[index];
            (name, figure(times, name, value, needed, width))
        })?;
    }
    line(f, "max", &|times| ("max", figure(times, "max", times.figures.max, 1, width)))?;
    line(f, "samples", &|times| ("samples", show::count(times.samples)))?;
    if columns.iter().any(|(_, times)| !times.lower_bounds.is_empty()) {
        row(f, "", "≥ lower bound: some of these messages were never answered")?;
    }
    if let Some(cause) = client::marks(&results.generator) {
        rows(f, "", &format!("* may come from this client: {cause}"))?;
    }
    writeln!(f)?;
    if let Some(distribution) = Distribution::of(&results.latency_us) {
        writeln!(f, "{distribution}")?;
    }
    Ok(())
}

/// A row for each step of a profile.
fn steps(results: &Results, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(steps) = &results.steps else { return Ok(()) };
    // It fits into 80 columns.
    write!(f, "  {:<20}{:>16}{:>12}", "step", "asked for", "answered")?;
    writeln!(f, "{:>10}{:>10}{:>10}", "50 %", "99 %", "max")?;
    for step in steps {
        write!(f, "  {:<20}{:>16}{:>12}", step.span(), step.asked(), step.answered())?;
        let latency = &step.latency_us;
        for name in ["p50", "p99", "max"] {
            let text = latency.shown(name).unwrap_or_else(|| "-".to_owned());
            write!(f, "{text:>10}")?;
        }
        writeln!(f)?;
    }
    for step in steps.iter().filter(|step| step.unanswered > 0) {
        let lost = show::counted(step.unanswered, "message");
        writeln!(f, "  {}: {lost} never answered", step.span())?;
    }
    writeln!(f)
}

fn figure(times: &Quantiles, name: &str, value: Option<f64>, needed: u64, width: usize) -> String {
    match value {
        Some(value) => show::bound(value, times.is_lower_bound(name)),
        None if width < 24 => format!("(needs {})", show::count(needed)),
        None => format!("(needs {})", show::counted(needed, "sample")),
    }
}

/// What went wrong before the measured time, if anything did.
pub(crate) fn warmup(results: &Results) -> Option<String> {
    let warmup = &results.warmup;
    let mut parts = Vec::new();
    if !warmup.errors.is_empty() {
        parts.push(kinds(&warmup.errors, &warmup.other_errors));
    }
    if warmup.verify.wrong() > 0 {
        parts.push(format!("WRONG: {}", show::counted(warmup.verify.wrong(), "byte")));
    }
    if warmup.unanswered > 0 {
        parts.push(format!("{} never answered", show::counted(warmup.unanswered, "message")));
    }
    (!parts.is_empty()).then(|| format!("{}; not among the figures of the run", parts.join(", ")))
}

fn connections(results: &Results) -> String {
    // Where each message has its own, none is to be alive.
    if results.options.mode == "connect" {
        return format!("{} made", show::count(results.connect_us.samples));
    }
    let mut text = format!(
        "{} of {} alive at the end",
        show::count(results.connections_alive),
        show::count(results.options.connections as u64)
    );
    if results.reopened > 0 {
        let times = show::counted(results.reopened, "time");
        let _ = write!(
            text,
            "; closed by the service with nothing in flight {times}, and opened again"
        );
    }
    text
}

pub(crate) fn errors(results: &Results) -> String {
    if results.errors.is_empty() {
        return "none".to_owned();
    }
    let mut text = kinds(&results.errors, &results.other_errors);
    if results.errors.contains_key("out_of_ports") {
        text.push_str("; several --source addresses have more ports");
    }
    if results.errors.contains_key("out_of_descriptors") {
        text.push_str("; see the limit of descriptors, ulimit -Hn");
    }
    if results.errors.contains_key("no_greeting") {
        text.push_str("; see --greeting and --connect-timeout");
    }
    text
}

pub(crate) fn verified(results: &Results) -> String {
    let verify = &results.verify;
    if !verify.on {
        let surplus = show::bytes(to_f64(verify.surplus));
        return match verify.surplus {
            0 => "no".to_owned(),
            _ => format!("no, but WRONG: {surplus} came back beyond what was expected"),
        };
    }
    let checked = show::bytes(to_f64(verify.checked));
    if (verify.mismatched, verify.missing, verify.surplus) == (0, 0, 0) {
        return match verify.checked {
            0 => "nothing came back".to_owned(),
            _ if !results.options.send.is_empty() => format!("{checked}, all as expected"),
            _ => format!("{checked}, all as they were sent"),
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

/// How many errors of each kind there were.
fn kinds(errors: &BTreeMap<String, u64>, others: &BTreeMap<String, u64>) -> String {
    let one = |(name, count): (&String, &u64)| {
        let what = if name == "other" && !others.is_empty() {
            let one = |(name, count): (&String, &u64)| format!("{} {name}", show::count(*count));
            format!(" ({})", others.iter().map(one).collect::<Vec<_>>().join(", "))
        } else {
            String::new()
        };
        format!("{} {}{what}", show::count(*count), name.replace('_', " "))
    };
    errors.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn cost(results: &Results) -> String {
    let (processor, waits) = (results.cost.processor_s, results.cost.waits);
    let mut text =
        format!("{} of processor time, {} waits", show::time(processor * 1e6), show::count(waits));
    if results.messages > 0 {
        let messages = to_f64(results.messages);
        let each = show::time(processor * 1e6 / messages);
        let _ = write!(text, "; {each} and {:.2} waits a message", to_f64(waits) / messages);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::StepResults;
    use crate::results::samples::results;

    fn shown(results: &Results) -> String {
        let text = Summary { results, verbose: true }.to_string();
        // The tables fit on the narrowest terminal; sentences may go on in the next line.
        let is_row =
            |line: &&str| line.starts_with("   ") || line.contains(" %    ") || line.contains("/s");
        for row in text.lines().filter(is_row) {
            assert!(row.chars().count() <= 80, "{row}");
        }
        text
    }

    #[track_caller]
    fn expect(results: &Results, words: &[&str]) {
        // A sentence may go on in the next line.
        let text = shown(results).replace("\n              ", " ");
        for words in words {
            assert!(text.contains(words), "{words:?} is missing:\n{text}");
        }
    }

    #[test]
    fn a_run_in_which_all_went_well_says_nothing_else() {
        let text = shown(&results());
        for words in ["OUTAGE", "CLIENT", "warm-up", "LATE", "*", "≥", "never"] {
            assert!(!text.contains(words), "{words}:\n{text}");
        }
        assert!(text.contains("200 in 200 ms: 1,000 a second"), "{text}");
        assert!(text.contains("    1 ms to 2 ms  ████"), "{text}");
    }

    #[test]
    fn a_run_says_what_it_is_called() {
        let labelled = Results { label: Some("new allocator".to_owned()), ..results() };
        assert!(shown(&labelled).starts_with("new allocator: 127.0.0.1:3000: 50 connections"));
    }

    #[test]
    fn rates_are_those_of_what_came_in_time() {
        let of = |messages, rate, seconds| Results { messages, rate, seconds, ..results() };
        expect(&of(2, 0.0, 3.0), &["2, none of them within the 3.00 s\n"]);
        expect(&of(100, 6.0, 10.0), &["100, 60 of them within 10.0 s: 6.00 a second\n"]);
        expect(&Results { asked_rate: None, ..of(1, 273.2, 0.00366) }, &["1 in 3.66 ms\n"]);
        expect(&of(0, 0.0, 3.0), &["  messages    nothing was answered\n"]);
    }

    #[test]
    fn an_outage_is_told_with_its_time() {
        let outage = |from_s| Outage { from_s, to_s: from_s + 2.2 };
        let mut results = Results { outages: vec![outage(3.0)], ..results() };
        expect(&results, &["  OUTAGE      nothing was answered from 3.0 s to 5.2 s\n"]);
        results.outages = (0..9_u32).map(|second| outage(f64::from(second) * 10.0)).collect();
        expect(&results, &["from 20.0 s to 22.2 s", "and 6 more; the longest took 2.2 s"]);
    }

    #[test]
    fn marked_figures_say_what_they_may_come_from() {
        let mut results = results();
        results.generator.marked = vec!["p99".to_owned(), "max".to_owned()];
        (results.generator.stall_us, results.generator.lag_us) = (Some(60_100.0), 59_800.0);
        results.generator.waited_us = Some(300.0);
        expect(
            &results,
            &[
                "1.98 ms *",
                "2.00 ms *",
                "* may come from this client: it was stopped for up to 60.1 ms, it sent \
                 messages late by up to 59.8 ms\n",
            ],
        );
        assert!(!shown(&results).contains("1.90 ms *"));
    }

    #[test]
    fn what_went_wrong_in_the_warm_up_is_told_apart() {
        let mut results = results();
        results.warmup.errors.insert("refused".to_owned(), 3);
        results.warmup.unanswered = 1;
        results.warmup.verify.missing = 2;
        let line = "  warm-up     3 refused, WRONG: 2 bytes, 1 message never answered; not among the figures of the run\n";
        expect(&results, &[line, "errors      none\n"]);
    }

    #[test]
    fn a_surplus_is_told_without_verification_too() {
        let mut results = results();
        results.verify.on = false;
        expect(&results, &["verified    no\n"]);
        results.verify.surplus = 64;
        expect(&results, &["no, but WRONG: 64 B came back beyond what was expected\n"]);
    }

    #[test]
    fn the_steps_of_a_profile_and_what_was_lost_in_each_fit_on_the_screen() {
        let mut results = results();
        let mut lossy = results.latency_us.clone();
        lossy.lower_bounds = ["p50", "p99", "max"].map(str::to_owned).to_vec();
        let step = |from_s, unanswered| StepResults {
            from_s,
            seconds: 30_000.0,
            asked_rate: [5_000_000.0, 20_000_000.0],
            messages: 1_000_000,
            unanswered,
            rate: 1_234_567.8,
            missed: 0,
            latency_us: lossy.clone(),
        };
        results.steps = Some(vec![step(0.0, 0), step(30_000.0, 1), step(60_000.0, 1234)]);
        expect(
            &results,
            &[
                "  30,000 s to 60,000 s: 1 message never answered\n",
                "  60,000 s to 90,000 s: 1,234 messages never answered\n",
            ],
        );
    }

    #[test]
    fn with_messages_that_were_never_answered_those_of_the_others_stand_beside_them() {
        let mut results = results();
        results.unanswered = 3;
        results.latency_us.lower_bounds = vec!["max".to_owned()];
        results.options.mode = "hold".to_owned();
        expect(&results, &["answered only", "service time", "≥ 2.00 ms", "(needs 10,000)"]);
        results.reopened = 2;
        expect(
            &results,
            &["closed by the service with nothing in flight 2 times, and opened again\n"],
        );
    }
}
