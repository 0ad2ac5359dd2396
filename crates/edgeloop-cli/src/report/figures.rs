//! The figures of a run, each with the name that it has in files, and what tells two runs apart.

use crate::results::compare::{Noise, Verdict, signed};
use crate::results::{QUANTILES, Quantiles, Results, needed, show, to_f64};

/// A figure to be shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    /// Where it stands in the results: `latency_us.p99`.
    pub(super) name: String,
    pub(super) label: String,
    /// As the results have it. None is a figure that there is not.
    pub(super) exact: Option<String>,
    pub(super) shown: String,
    value: Option<f64>,
    /// Whether it may be larger, because messages were never answered.
    is_lower_bound: bool,
}

impl Figure {
    fn whole(name: &str, label: &str, number: u64) -> Self {
        Self {
            exact: Some(number.to_string()),
            ..Self::of(name, label, Some(to_f64(number)), show::count(number))
        }
    }

    fn of(name: &str, label: &str, value: Option<f64>, shown: String) -> Self {
        Self {
            name: name.to_owned(),
            label: label.to_owned(),
            exact: value.map(|value| value.to_string()),
            shown,
            value,
            is_lower_bound: false,
        }
    }
}

/// The figures of one kind of time.
pub(super) fn times(kind: &str, times: &Quantiles) -> Vec<Figure> {
    let figure = |name: &str, label: &str, value: Option<f64>, needed: u64| {
        let is_lower_bound = times.is_lower_bound(name);
        let shown = match value {
            Some(value) => show::bound(value, is_lower_bound),
            None => format!("needs {}", show::counted(needed, "sample")),
        };
        Figure { is_lower_bound, ..Figure::of(&format!("{kind}.{name}"), label, value, shown) }
    };
    let mut figures = vec![
        figure("min", "min", times.figures.min, 1),
        figure("mean", "mean", times.figures.mean, 1),
    ];
    for ((name, value, _), (quantile, _)) in times.each().into_iter().zip(QUANTILES) {
        let label = super::axis::percent(to_f64(needed(quantile)));
        figures.push(figure(name, &label, value, needed(quantile)));
    }
    figures.push(figure("max", "max", times.figures.max, 1));
    figures.push(Figure::whole(&format!("{kind}.samples"), "samples", times.samples));
    figures
}

/// What was counted, in groups with a name.
pub(super) fn counts(results: &Results) -> Vec<(&'static str, Vec<Figure>)> {
    let whole = Figure::whole;
    let bytes = |name, label, number: u64| Figure {
        shown: show::bytes(to_f64(number)),
        ..whole(name, label, number)
    };
    let rate = |name, label, rate: Option<f64>| {
        let shown =
            rate.map_or_else(|| "none".to_owned(), |rate| format!("{}/s", show::rate(rate)));
        Figure::of(name, label, rate, shown)
    };
    let seconds = |name, label, seconds: f64| {
        Figure::of(name, label, Some(seconds), show::time(seconds * 1e6))
    };
    let messages = vec![
        whole("messages", "answered", results.messages),
        whole("unanswered", "never answered", results.unanswered),
        seconds("seconds", "measured for", results.seconds),
        rate("rate", "rate", Some(results.rate)),
        rate("asked_rate", "rate asked for", results.asked_rate),
    ];
    let transferred = vec![
        bytes("bytes_sent", "sent", results.bytes_sent),
        bytes("bytes_received", "received", results.bytes_received),
        whole("connections_alive", "alive at the end", results.connections_alive),
        whole("reopened", "opened again", results.reopened),
        seconds("cost.processor_s", "processor time", results.cost.processor_s),
        whole("cost.waits", "waits", results.cost.waits),
    ];
    let mut groups = vec![("messages", messages), ("bytes, connections, cost", transferred)];
    if let Some(datagrams) = &results.datagrams {
        let drops = results.generator.receive_drops;
        let shown = drops.map_or_else(|| "unknown".to_owned(), show::count);
        let drops = drops.map(to_f64);
        groups.push((
            "datagrams",
            vec![
                whole("datagrams.duplicates", "duplicates", datagrams.duplicates),
                whole("datagrams.reordered", "reordered", datagrams.reordered),
                whole("datagrams.late", "late", datagrams.late),
                whole("datagrams.foreign", "foreign", datagrams.foreign),
                whole("datagrams.corrupted", "corrupted", datagrams.corrupted),
                whole("datagrams.no_room", "not sent for want of room", datagrams.no_room),
                Figure::of("generator.receive_drops", "dropped by this machine", drops, shown),
            ],
        ));
    }
    let verify = &results.verify;
    let surplus = whole("verify.surplus", "bytes too many", verify.surplus);
    if verify.on {
        let compared = vec![
            bytes("verify.checked", "compared", verify.checked),
            whole("verify.mismatched", "bytes changed", verify.mismatched),
            whole("verify.missing", "bytes missing", verify.missing),
            surplus,
        ];
        groups.push(("verification", compared));
    } else if verify.surplus > 0 {
        groups.push(("verification", vec![surplus]));
    }
    if verify.empty_replies > 0 {
        let empty = whole("verify.empty_replies", "empty", verify.empty_replies);
        groups.push(("replies", vec![empty]));
    }
    let warmup = &results.warmup;
    if warmup.messages + warmup.unanswered > 0 || !warmup.errors.is_empty() {
        let errors = warmup.errors.values().fold(0_u64, |sum, one| sum.saturating_add(*one));
        groups.push((
            "before it was measured",
            vec![
                whole("warmup.connects", "connections made", warmup.connects),
                whole("warmup.messages", "answered", warmup.messages),
                whole("warmup.unanswered", "never answered", warmup.unanswered),
                // It is no field of the results, but the sum of several.
                Figure { exact: None, ..whole("warmup.errors", "errors", errors) },
            ],
        ));
    }
    if let Some(late) = &results.late {
        let late = vec![
            whole("late.missed", "sends over 1 ms late", late.missed),
            whole("late.sends", "sends in all", late.sends),
            Figure::of("late.lag_us", "latest by", Some(late.lag_us), show::time(late.lag_us)),
        ];
        groups.push(("schedule", late));
    }
    groups.push(("this client", client(results)));
    groups
}

/// What the load generator saw of itself.
fn client(results: &Results) -> Vec<Figure> {
    let generator = &results.generator;
    let unknown = || "unknown".to_owned();
    let share = |name, label, share: Option<f64>| {
        let shown = share.map_or_else(unknown, |share| format!("{:.0} %", share * 100.0));
        Figure::of(name, label, share, shown)
    };
    let time = |name, label, time: Option<f64>| {
        Figure::of(name, label, time, time.map_or_else(unknown, show::time))
    };
    let mut figures = vec![
        share("generator.busy", "busiest thread, busy", generator.busy),
        share("generator.waited", "waited for a processor", generator.waited),
        time("generator.waited_us", "longest wait for a processor", generator.waited_us),
        time("generator.stall_us", "longest stop", generator.stall_us),
    ];
    if generator.sends > 0 {
        figures.extend([
            Figure::whole("generator.sends", "sends on schedule", generator.sends),
            Figure::whole("generator.missed", "over 1 ms late", generator.missed),
            time("generator.lag_us", "latest by", Some(generator.lag_us)),
        ]);
    }
    figures
}

/// Marks those figures of the latency that may come from lags of the load generator.
pub(super) fn mark(figures: &mut [Figure], results: &Results) {
    for name in &results.generator.marked {
        let name = format!("latency_us.{name}");
        for figure in figures.iter_mut().filter(|figure| figure.name == name) {
            figure.shown.push_str(" *");
        }
    }
}

/// Errors of each kind that was met.
pub(super) fn errors(results: &Results) -> Vec<Figure> {
    let one = |(name, count): (&String, &u64)| {
        Figure::whole(&format!("errors.{name}"), &name.replace('_', " "), *count)
    };
    results.errors.iter().map(one).collect()
}

/// By how much a figure differs from that of the baseline.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    pub(super) shown: String,
    /// In percent of the baseline.
    pub(super) percent: Option<f64>,
    /// What equal runs may differ by, and what the difference says beside that. None where that is
    /// not known.
    pub(super) noise: Option<(Noise, Verdict)>,
}

impl Difference {
    fn plain(shown: String, percent: Option<f64>) -> Self {
        Self { shown, percent, noise: None }
    }
}

/// Compares a figure with that of the baseline. Where the noise is known, the difference is that of
/// the repeats.
pub(super) fn difference(
    figure: &Figure,
    baseline: Option<&Figure>,
    noise: Option<&Noise>,
) -> Difference {
    if let Some(noise) = noise {
        let percent = noise.percent();
        let verdict = noise.verdict(&figure.name);
        return Difference {
            noise: Some((*noise, verdict)),
            ..Difference::plain(signed(percent), Some(percent))
        };
    }
    let values = figure.value.zip(baseline.and_then(|baseline| baseline.value));
    let percent = values.and_then(|(new, old)| match old {
        0.0 if new == 0.0 => Some(0.0),
        0.0 => None,
        old => Some((new / old - 1.0) * 100.0),
    });
    let bounds = (figure.is_lower_bound, baseline.is_some_and(|old| old.is_lower_bound));
    match (percent, bounds) {
        (Some(percent), (false, false)) => Difference::plain(signed(percent), Some(percent)),
        // At the least, or at the most, where one of the two may be larger than it seems.
        (Some(percent), (true, false)) => Difference::plain(format!("≥ {}", signed(percent)), None),
        (Some(percent), (false, true)) => Difference::plain(format!("≤ {}", signed(percent)), None),
        _ => Difference::plain("–".to_owned(), None),
    }
}

/// What a run was asked for and made on, each with its name.
pub(super) fn settings(results: &Results) -> Vec<(&'static str, String)> {
    let (options, machine) = (&results.options, &results.machine);
    let seconds = |seconds: Option<f64>| {
        seconds.map_or_else(|| "none".to_owned(), |seconds| show::time(seconds * 1e6))
    };
    let count = |count: usize| show::count(count as u64);
    let mut settings = vec![
        ("label", results.label.clone().unwrap_or_else(|| "–".to_owned())),
        ("target", results.target.asked.clone()),
        ("addresses", results.target.counted()),
        ("mode", options.mode.clone()),
        ("connections", count(options.connections)),
    ];
    if options.active != options.connections {
        settings.push(("of them active", count(options.active)));
    }
    if let Some(rate) = options.open_rate {
        settings.push(("opened a second", show::rate(rate)));
    }
    if let Some(rate) = results.asked_rate {
        let arrival = options.arrival.as_deref().unwrap_or("unknown");
        settings.push(("messages a second", format!("{}, {arrival}", show::rate(rate))));
    }
    settings.push(("message", show::bytes(to_f64(options.size as u64))));
    for (name, texts) in
        [("sent in turn", &options.send), ("reply", &options.reply), ("expected", &options.expect)]
    {
        if !texts.is_empty() {
            settings.push((name, texts.join(" | ")));
        }
    }
    if let Some(greeting) = &options.greeting {
        settings.push(("greeting", greeting.clone()));
    }
    settings.push(("in flight on each, at the most", count(options.pipeline)));
    if let Some(profile) = &options.profile {
        settings.push(("profile", profile.clone()));
    }
    if let Some(messages) = options.messages {
        settings.push(("messages to send", show::count(messages)));
    }
    settings.extend([
        ("duration", seconds(options.duration_s)),
        ("warm-up", seconds(Some(options.warmup_s))),
        ("grace", seconds(Some(options.grace_s))),
        ("connect timeout", seconds(options.connect_timeout_s)),
        ("busy poll", show::time(options.busy_poll_us)),
        ("threads", count(options.threads)),
        ("seed", options.seed.to_string()),
        ("verification", if results.verify.on { "on" } else { "off" }.to_owned()),
    ]);
    if !results.target.sources.is_empty() {
        settings.push(("connected from", sources(&results.target.sources)));
    }
    settings.extend([
        ("host", machine.host.clone()),
        ("kernel", machine.kernel.clone()),
        ("processor", format!("{} × {}", count(machine.processors), machine.processor)),
        ("memory", show::bytes(to_f64(machine.memory_bytes))),
        ("edgeloop", results.edgeloop.clone()),
        ("started", results.started.clone()),
    ]);
    settings
}

/// Some of many addresses.
fn sources(sources: &[String]) -> String {
    match sources {
        [first, .., last] if sources.len() > 4 => {
            format!("{first} to {last}, {} addresses", show::count(sources.len() as u64))
        }
        few => few.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::samples;

    fn figure<'a>(figures: &'a [Figure], name: &str) -> &'a Figure {
        figures.iter().find(|figure| figure.name == name).expect(name)
    }

    #[test]
    fn figures_are_those_of_the_results_and_missing_ones_say_what_they_need() {
        let results = samples::open(&[10, 20, 30], &[40]);
        let times = times("latency_us", &results.latency_us);
        let median = figure(&times, "latency_us.p50");
        assert_eq!(median.exact, results.latency_us.figures.p50.map(|value| value.to_string()));
        assert_eq!((median.shown.as_str(), median.label.as_str()), ("20.0 µs", "50 %"));
        let p99 = figure(&times, "latency_us.p99");
        assert_eq!((&p99.exact, p99.shown.as_str()), (&None, "needs 100 samples"));
        assert_eq!(figure(&times, "latency_us.max").shown, "≥ 40.0 µs");
        assert_eq!(figure(&times, "latency_us.p99_99").label, "99.99 %");
        assert_eq!(figure(&times, "latency_us.samples").shown, "4");
        let counts: Vec<_> = counts(&results).into_iter().flat_map(|group| group.1).collect();
        assert_eq!(figure(&counts, "rate").shown, "1.50/s");
        assert_eq!(figure(&counts, "bytes_sent").exact.as_deref(), Some("192"));
        assert_eq!(figure(&counts, "verify.mismatched").shown, "0");
    }

    #[test]
    fn differences_are_in_percent_of_the_baseline() {
        let of = |value| Figure::of("a", "a", Some(value), String::new());
        let shown = |new, old| difference(&of(new), Some(&of(old)), None).shown;
        assert_eq!(shown(112.34, 100.0), "+12.3 %");
        assert_eq!(shown(95.5, 100.0), "−4.5 %");
        assert_eq!(shown(100.01, 100.0), "0.0 %");
        assert_eq!(shown(350.0, 100.0), "+250 %");
        assert_eq!(shown(12_346.0, 10.0), "+123,360 %");
        assert_eq!((shown(0.0, 0.0), shown(1.0, 0.0)), ("0.0 %".into(), "–".into()));
        assert_eq!(difference(&of(150.0), Some(&of(100.0)), None).percent, Some(50.0));
        assert_eq!(difference(&of(1.0), None, None).shown, "–");
        let none = Figure::of("a", "a", None, String::new());
        assert_eq!(difference(&none, Some(&of(1.0)), None).percent, None);
        assert_eq!(difference(&of(1.0), Some(&none), None).shown, "–");
    }

    #[test]
    fn a_difference_to_a_lower_bound_is_a_bound_itself() {
        let exact = Figure::of("a", "a", Some(200.0), String::new());
        let bound = Figure { value: Some(100.0), is_lower_bound: true, ..exact.clone() };
        assert_eq!(difference(&bound, Some(&exact), None).shown, "≥ −50.0 %");
        assert_eq!(difference(&exact, Some(&bound), None).shown, "≤ +100 %");
        let both = difference(&bound, Some(&bound), None);
        assert_eq!((both.shown.as_str(), both.percent), ("–", None));
    }

    #[test]
    fn a_difference_with_noise_is_that_of_the_repeats_and_has_a_verdict() {
        let noise = Noise::of(&[150.0, 151.0, 149.0], &[100.0; 3]).expect("enough runs");
        let of = |name| Figure::of(name, name, Some(140.0), String::new());
        let time = difference(&of("latency_us.p99"), None, Some(&noise));
        assert_eq!(
            (time.shown.as_str(), time.noise.map(|it| it.1)),
            ("+50.0 %", Some(Verdict::Worse))
        );
        let rate = difference(&of("rate"), None, Some(&noise));
        assert_eq!(rate.noise.map(|it| it.1), Some(Verdict::Better));
        let same = Noise::of(&[100.0; 3], &[100.0; 3]).expect("enough runs");
        let same = difference(&of("rate"), None, Some(&same));
        assert_eq!(
            (same.shown.as_str(), same.noise.map(|it| it.1)),
            ("0.0 %", Some(Verdict::Noise))
        );
    }
}
