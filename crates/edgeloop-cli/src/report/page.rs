//! The page: one file of HTML that fetches nothing and runs nothing.

use std::fmt;

use super::axis::{self, Axis};
use super::columns::Columns;
use super::figures::{self, Figure};
use super::html::{Text, shell};
use super::plots;
use super::read::Run;
use super::repeats;
use super::search;
use super::steps;
use super::tables::{Noises, cell, seconds, table};
use crate::results::{Interval, Quantiles, Results, compare, show};
use crate::summary::{self, client, hint};

const STYLE: &str = include_str!("style.css");

/// How every page begins. Its policy has a browser fetch and run nothing, whatever a text in the
/// results may hold.
const HEAD: &str = include_str!("head.html");

/// The most findings of the verification that are shown.
const FINDINGS: usize = 20;

/// A page of a run.
pub(super) struct Page<'a> {
    pub(super) run: &'a Run,
    /// The runs that it was merged from; one, if it was not.
    pub(super) parts: &'a [Run],
    pub(super) baseline: Option<&'a Run>,
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results = &self.run.results;
        let columns = Columns::finest(results);
        let target = &results.target.asked;
        let title = match &results.label {
            Some(label) => format!("{label} – {target}"),
            None => target.clone(),
        };
        let title = Text(&title);
        write!(
            f,
            "{HEAD}<title>{title} – edgeloop bench</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
        )?;
        self.heading(f)?;
        f.write_str("<main>\n")?;
        if self.run.results.latency_us.samples > 0 {
            self.tiles(f)?;
        }
        search::section(f, &self.run.results)?;
        self.charts(f, &columns)?;
        steps::write(self.run.results.steps.as_deref(), f)?;
        self.figures(f)?;
        repeats::section(f, &self.run.results)?;
        self.errors(f, &columns)?;
        self.parts(f)?;
        self.settings(f)?;
        seconds(f, &Columns::of(&results.intervals))?;
        f.write_str("</main>\n<footer>Drawn by edgeloop ")?;
        writeln!(f, "{}.</footer>\n</body>\n</html>", env!("CARGO_PKG_VERSION"))
    }
}

impl Page<'_> {
    fn heading(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results = &self.run.results;
        let heading = summary::heading(results);
        let asked = &results.target.asked;
        let how = heading.strip_prefix(&format!("{asked}: ")).unwrap_or(&heading);
        write!(f, "<header>\n<h1>{}</h1>\n<p class=\"how\">", Text(self.name()))?;
        if results.label.is_some() {
            write!(f, "{}: ", Text(asked))?;
        }
        write!(f, "{}", Text(how))?;
        writeln!(f, "<br>{} on {}</p>", Text(&results.started), Text(&results.machine.host))?;
        if let Some(baseline) = self.baseline {
            writeln!(
                f,
                "<p>Beside a baseline: <b>{}</b>, {}. Differences are in percent of it.</p>",
                Text(&named(baseline)),
                Text(&baseline.results.started)
            )?;
        }
        if self.parts.len() > 1 {
            writeln!(
                f,
                "<p>Merged from {} runs. Percentiles are those of all their messages; only those of \
                 single seconds are read from the heat map, up to 19 % too high.</p>",
                self.parts.len()
            )?;
        }
        for (class, notice) in self.notices() {
            writeln!(f, "<p class=\"notice {class}\">{}</p>", Text(&notice))?;
        }
        f.write_str("</header>\n")
    }

    /// What the run is called, or whom it loaded.
    fn name(&self) -> &str {
        let results = &self.run.results;
        results.label.as_deref().unwrap_or(&results.target.asked)
    }

    /// What must be known before the figures are read.
    fn notices(&self) -> Vec<(&'static str, String)> {
        let results = &self.run.results;
        let verify = &results.verify;
        let mut notices = Vec::new();
        let mut bad = |text: String| notices.push(("bad", text));
        if let Some(early) = summary::early(results) {
            bad(early.to_owned());
        }
        if results.messages == 0 && results.ended != "no_connection" {
            bad("Nothing was answered.".to_owned());
        }
        if (verify.mismatched, verify.missing, verify.surplus) != (0, 0, 0) {
            bad(format!("Compared: {}", summary::verified(results)));
        }
        if let Some(late) = &results.late {
            bad(format!("Late: {}.", summary::lateness(late)));
        }
        if let Some(bottleneck) = client::bottleneck(&results.generator) {
            bad(format!("Client: {bottleneck}."));
        }
        if !results.errors.is_empty() {
            bad(format!("Errors: {}.", summary::errors(results)));
        }
        for outage in summary::outages(results) {
            bad(format!("Outage: {outage}."));
        }
        if results.unanswered > 0 {
            let count = show::counted(results.unanswered, "message");
            let lost = if results.datagrams.is_some() { "lost" } else { "never answered" };
            bad(format!("{count} {lost}; figures with ≥ are lower bounds."));
        }
        if let Some(strays) = summary::strays(results) {
            bad(format!("Datagrams: {strays}."));
        }
        if let Some(drops) = client::drops(&results.generator) {
            bad(format!("Client: {drops}."));
        }
        if let Some(warmup) = summary::warmup(results) {
            bad(format!("Before it was measured: {warmup}."));
        }
        if let Some(hint) = hint::of(results) {
            bad(format!("{hint}."));
        }
        if notices.is_empty() {
            let compared = if verify.on { ", and what came back is what was sent" } else { "" };
            notices.push(("good", format!("No errors; every message was answered{compared}.")));
        }
        if verify.empty_replies > 0 {
            let replies = show::count(verify.empty_replies);
            notices.push(("noted", format!("Empty replies: {replies}.")));
        }
        if let Some(cause) = client::marks(&results.generator) {
            notices.push(("noted", format!("Figures with * may come from this client: {cause}.")));
        }
        notices
    }

    fn tiles(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results = &self.run.results;
        let mut figures = figures::times("latency_us", &results.latency_us);
        figures::mark(&mut figures, results);
        figures.extend(figures::counts(results).into_iter().flat_map(|group| group.1));
        let tiles = [
            ("rate", "messages"),
            ("latency_us.p50", "latency, 50 %"),
            ("latency_us.p95", "latency, 95 %"),
            ("latency_us.p99", "latency, 99 %"),
            ("latency_us.p99_9", "latency, 99.9 %"),
            ("latency_us.max", "latency, max"),
        ];
        f.write_str("<dl class=\"tiles\">\n")?;
        for (name, label) in tiles {
            let Some(figure) = figures.iter().find(|figure| figure.name == name) else { continue };
            write!(f, "<div><dt>{label}</dt>")?;
            cell(f, "dd", "data-figure", figure)?;
            f.write_str("</div>\n")?;
        }
        f.write_str("</dl>\n")
    }

    fn charts(&self, f: &mut fmt::Formatter<'_>, columns: &Columns) -> fmt::Result {
        let results = &self.run.results;
        let baseline = self.baseline.map(|run| (run, Columns::finest(&run.results)));
        let baseline = baseline.as_ref().map(|(run, columns)| (*run, columns));
        if let Some(chart) = plots::percentiles(self.run, self.baseline) {
            f.write_str("<section>\n<h2>Latency by percentile</h2>\n<figure class=\"tall\">\n")?;
            let mine = self.key("latency");
            let theirs = self.baseline.map(|run| format!("latency of {}", named(run)));
            let theirs = theirs.unwrap_or_default();
            let mut keys = vec![("latency", mine.as_str())];
            if results.asked_rate.is_some() {
                keys.push(("service", "service time, from when it was sent"));
            }
            if self.baseline.is_some() {
                keys.push(("baseline", &theirs));
            }
            if results.latency_us.unanswered.count > 0 {
                keys.push(("bound", "lower bound: some were never answered"));
            }
            legend(f, &keys)?;
            writeln!(f, "{chart}</figure>\n</section>")?;
        }
        let mut drawn = vec![columns];
        drawn.extend(baseline.map(|(_, columns)| columns));
        if let Some(y) = plots::heat_axis(&drawn) {
            f.write_str("<section>\n<h2>Latency over time</h2>\n")?;
            let title = if baseline.is_some() { self.key("") } else { String::new() };
            heat_map(f, title.trim(), &self.run.results, columns, &y)?;
            if let Some((run, columns)) = baseline {
                heat_map(f, &named(run), &run.results, columns, &y)?;
            }
            f.write_str("</section>\n")?;
        }
        if let Some(chart) = plots::throughput(self.run, columns, baseline) {
            f.write_str("<section>\n<h2>Messages a second</h2>\n<figure class=\"low\">\n")?;
            let mine = self.key("answered");
            let theirs = self.baseline.map(named).unwrap_or_default();
            let mut keys = vec![("latency", mine.as_str())];
            if results.asked_rate.is_some() {
                keys.push(("mark", "asked for"));
            }
            if baseline.is_some() {
                keys.push(("baseline", &theirs));
            }
            if !results.outages.is_empty() {
                keys.push(("outage", "nothing was answered"));
            }
            legend(f, &keys)?;
            writeln!(f, "{chart}</figure>\n</section>")?;
        }
        Ok(())
    }

    /// What a line of this run is called, beside those of others.
    fn key(&self, what: &str) -> String {
        match (&self.run.results.label, self.baseline) {
            (Some(label), _) if what.is_empty() => label.clone(),
            (Some(label), _) => format!("{what} of {label}"),
            (None, Some(_)) if what.is_empty() => "this run".to_owned(),
            (None, _) => what.to_owned(),
        }
    }

    fn figures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results = &self.run.results;
        let baseline = self.baseline.map(|run| &run.results);
        let noises =
            baseline.map(|baseline| compare::noises(results, baseline)).unwrap_or_default();
        write!(f, "<section>\n<h2>Figures</h2>\n<div class=\"{}\">\n", self.tables())?;
        let shows_connect = |times: &Quantiles| times.samples > 0;
        let mut kinds = vec![("latency_us", "latency")];
        if results.latency_us.unanswered.count > 0 {
            kinds.push(("answered_us", "latency of the answered ones"));
        }
        if results.asked_rate.is_some() {
            kinds.push(("service_us", "service time"));
        }
        if shows_connect(&results.connect_us) {
            kinds.push(("connect_us", "connect"));
        }
        for (kind, title) in kinds {
            let of = |results: &Results| {
                let times = match kind {
                    "latency_us" => &results.latency_us,
                    "answered_us" => &results.answered_us,
                    "service_us" => &results.service_us,
                    _ => &results.connect_us,
                };
                let mut figures = figures::times(kind, times);
                figures::mark(&mut figures, results);
                figures
            };
            table(f, title, &of(results), baseline.map(of).as_deref(), &noises)?;
        }
        // A group that only the baseline has says something of this run, too.
        let others = baseline.map(figures::counts);
        let mut groups = figures::counts(results);
        for (title, _) in others.iter().flatten() {
            if groups.iter().all(|group| group.0 != *title) {
                groups.push((title, Vec::new()));
            }
        }
        for (title, figures) in groups {
            let find = |groups: &Vec<(&str, Vec<Figure>)>| {
                let group = groups.iter().find(|group| group.0 == title);
                group.map(|group| group.1.clone()).unwrap_or_default()
            };
            table(f, title, &figures, others.as_ref().map(find).as_deref(), &noises)?;
        }
        f.write_str("</div>\n")?;
        let times = [&results.latency_us, &results.service_us, &results.connect_us];
        if times.iter().any(|times| !times.lower_bounds.is_empty()) {
            f.write_str("<p class=\"small\">≥ lower bound: some of these messages were never answered.</p>\n")?;
        }
        if baseline.is_some() {
            writeln!(f, "<p class=\"small\">{}</p>", repeats::about(&noises))?;
        }
        let runs = [Some(results), baseline];
        if runs.iter().flatten().any(|results| !results.generator.marked.is_empty()) {
            f.write_str("<p class=\"small\">* may come from the load generator itself.</p>\n")?;
        }
        if !results.verify.on {
            f.write_str("<p class=\"small\">What came back was counted, not compared.</p>\n")?;
        }
        if !results.verify.findings.is_empty() {
            f.write_str("<ul>\n")?;
            for finding in results.verify.findings.iter().take(FINDINGS) {
                writeln!(f, "<li>{}</li>", Text(finding))?;
            }
            f.write_str("</ul>\n")?;
        }
        f.write_str("</section>\n")
    }

    fn errors(&self, f: &mut fmt::Formatter<'_>, columns: &Columns) -> fmt::Result {
        let figures = figures::errors(&self.run.results);
        let baseline = self.baseline.map(|run| figures::errors(&run.results));
        f.write_str("<section>\n<h2>Errors</h2>\n")?;
        let chart = plots::errors(columns);
        let nothing = figures.is_empty() && baseline.as_ref().is_none_or(Vec::is_empty);
        if nothing && chart.is_none() {
            f.write_str("<p>None.</p>\n")?;
        }
        if let Some(chart) = chart {
            f.write_str("<figure class=\"low\">\n")?;
            let met =
                |column: fn(&Interval) -> u64| columns.columns.iter().any(|one| column(one) > 0);
            let mut keys = Vec::new();
            if met(|one| one.errors) {
                keys.push(("errors", "errors"));
            }
            if met(|one| one.unanswered) {
                keys.push(("unanswered", "never answered"));
            }
            legend(f, &keys)?;
            writeln!(f, "{chart}</figure>")?;
        }
        if !nothing {
            writeln!(f, "<div class=\"{}\">", self.tables())?;
            table(f, "by kind", &figures, baseline.as_deref(), &Noises::new())?;
            f.write_str("</div>\n")?;
        }
        f.write_str("</section>\n")
    }

    /// How tables are laid out: those with a baseline are wider.
    fn tables(&self) -> &'static str {
        if self.baseline.is_some() { "tables compared" } else { "tables" }
    }

    /// The runs that were merged.
    fn parts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.parts.len() < 2 {
            return Ok(());
        }
        f.write_str(
            "<section>\n<h2>Merged from</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>file</th>\
             <th>host</th><th>started</th><th>connections</th><th>rate</th><th>99 %</th>\
             <th>errors</th></tr></thead>\n<tbody>\n",
        )?;
        for part in self.parts {
            let results = &part.results;
            let errors = results.errors.values().fold(0_u64, |sum, one| sum.saturating_add(*one));
            let texts = [
                results.machine.host.clone(),
                results.started.clone(),
                show::count(results.options.connections as u64),
                format!("{}/s", show::rate(results.rate)),
                results.latency_us.figures.p99.map_or_else(|| "–".to_owned(), show::time),
                show::count(errors),
            ];
            write!(f, "<tr><th scope=\"row\">{}</th>", Text(&part.name))?;
            for text in texts {
                write!(f, "<td>{}</td>", Text(&text))?;
            }
            f.write_str("</tr>\n")?;
        }
        f.write_str("</tbody>\n</table></div>\n</section>\n")
    }

    fn settings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mine = figures::settings(&self.run.results);
        let theirs = self.baseline.map(|run| figures::settings(&run.results));
        f.write_str("<section>\n<h2>How it was made</h2>\n<table class=\"settings\">\n")?;
        if theirs.is_some() {
            f.write_str("<thead><tr><td></td><th>this run</th><th>baseline</th></tr></thead>\n")?;
        }
        f.write_str("<tbody>\n")?;
        let find = |settings: &[(&str, String)], name: &str| {
            let setting = settings.iter().find(|setting| setting.0 == name);
            setting.map_or_else(|| "–".to_owned(), |setting| setting.1.clone())
        };
        let mut names: Vec<_> = mine.iter().map(|setting| setting.0).collect();
        let others = theirs.iter().flatten().map(|setting| setting.0);
        others.for_each(|name| {
            if !names.contains(&name) {
                names.push(name);
            }
        });
        for name in names {
            let text = find(&mine, name);
            write!(f, "<tr><th scope=\"row\">{name}</th><td>{}</td>", Text(&text))?;
            if let Some(theirs) = &theirs {
                let other = find(theirs, name);
                // No two runs begin at once.
                let same = other == text || name == "started";
                let differs = if same { "" } else { " class=\"differs\"" };
                write!(f, "<td{differs}>{}</td>", Text(&other))?;
            }
            f.write_str("</tr>\n")?;
        }
        f.write_str("</tbody>\n</table>\n")?;
        let command = |run: &Run| shell(&run.results.options.command);
        writeln!(f, "<pre>{}</pre>", Text(&command(self.run)))?;
        if let Some(baseline) = self.baseline {
            writeln!(f, "<p>The baseline:</p>\n<pre>{}</pre>", Text(&command(baseline)))?;
        }
        f.write_str("</section>\n")
    }
}

fn legend(f: &mut fmt::Formatter<'_>, keys: &[(&str, &str)]) -> fmt::Result {
    f.write_str("<figcaption>")?;
    for (class, name) in keys {
        write!(f, "<span class=\"key {class}\">{}</span> ", Text(name))?;
    }
    f.write_str("</figcaption>\n")
}

/// How a baseline is called.
fn named(run: &Run) -> String {
    match &run.results.label {
        Some(label) => label.clone(),
        None if run.name.is_empty() => "baseline".to_owned(),
        None => run.name.clone(),
    }
}

fn heat_map(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    results: &Results,
    columns: &Columns,
    y: &Axis,
) -> fmt::Result {
    let seconds = Columns::of(&results.intervals);
    let lines = if columns.are_sparse() { &seconds } else { columns };
    f.write_str("<figure>\n<figcaption>")?;
    if !title.is_empty() {
        write!(f, "<b>{}</b> ", Text(title))?;
    }
    for (class, name) in [("max", "max"), ("p99", "99 %"), ("p50", "50 %")] {
        write!(f, "<span class=\"key {class}\">{name}</span> ")?;
    }
    if !results.outages.is_empty() {
        write!(f, "<span class=\"key outage\">nothing was answered</span> ")?;
    }
    let most = columns.columns.iter().flat_map(|column| &column.bands).map(|band| band.1).max();
    let each = axis::seconds(columns.width());
    write!(f, "<span class=\"scale\">1 ")?;
    for shade in 0..plots::SHADES {
        write!(f, "<i class=\"h{shade}\"></i>")?;
    }
    let most = show::counted(most.unwrap_or(1), "message");
    let map = plots::heat(columns, lines, &results.outages, y);
    write!(f, " {most} in {each}</span></figcaption>\n{map}</figure>\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::samples;

    fn page(results: Results, baseline: Option<Results>) -> String {
        let run = Run::new("run.json".to_owned(), results).expect("results");
        let baseline =
            baseline.map(|results| Run::new("old.json".to_owned(), results).expect("results"));
        let parts = std::slice::from_ref(&run);
        Page { run: &run, parts, baseline: baseline.as_ref() }.to_string()
    }

    #[test]
    fn each_figure_stands_there_for_people_and_for_programs() {
        let page = page(samples::open(&[10, 20, 30], &[40]), None);
        for cell in [
            "<td data-figure=\"latency_us.p50\" data-value=\"20.015\">20.0 µs</td>",
            "<td data-figure=\"latency_us.p99\" class=\"missing\">needs 100 samples</td>",
            "<td data-figure=\"messages\" data-value=\"3\">3</td>",
            ">≥ 40.0 µs</td>",
            "1 message never answered",
        ] {
            assert!(page.contains(cell), "{cell}: {page}");
        }
    }

    #[test]
    fn a_page_fetches_nothing() {
        let page = page(samples::open(&[10, 20, 30], &[40]), Some(samples::open(&[5], &[])));
        let fetching =
            ["<script", "src=", "url(", "@import", "<iframe", "<object", "http://", "https://"];
        for way in fetching {
            assert!(!page.contains(way), "{way}");
        }
        assert_eq!(page.matches("href=").count(), page.matches("href=\"data:,\"").count());
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn differences_stand_beside_the_baseline() {
        let page = page(samples::open(&[20], &[]), Some(samples::open(&[10, 10], &[])));
        assert!(page.contains("data-baseline=\"messages\" data-value=\"2\">2</td>"), "{page}");
        assert!(page.contains("data-difference=\"messages\" data-value=\"-50\">−50.0 %"), "{page}");
        assert!(page.contains("<b>old.json</b>"), "{page}");
    }

    #[test]
    fn a_page_says_what_its_runs_are_called() {
        let labelled = |label: &str| Results {
            label: Some(label.to_owned()),
            ..samples::open(&[10, 20, 30], &[])
        };
        let page = page(labelled("new <b>"), Some(labelled("old")));
        for words in [
            "<title>new &lt;b&gt; – 127.0.0.1:3000 – edgeloop bench</title>",
            "<h1>new &lt;b&gt;</h1>",
            ">latency of new &lt;b&gt;</span>",
            ">latency of old</span>",
            "<b>old</b>",
        ] {
            assert!(page.contains(words), "{words}: {page}");
        }
    }

    #[test]
    fn what_the_client_did_to_the_figures_is_told() {
        let mut results = samples::open(&(1..=200).collect::<Vec<_>>(), &[]);
        results.generator.marked = vec!["p99".to_owned(), "max".to_owned()];
        results.generator.stall_us = Some(60_100.0);
        let page = page(results.clone(), None);
        assert!(page.contains("198 µs *</td>") && page.contains("200 µs *</dd>"), "{page}");
        assert!(page.contains("* may come from this client: it was stopped for up to 60.1 ms."));
        let cell = "<td data-figure=\"generator.stall_us\" data-value=\"60100\">60.1 ms</td>";
        assert!(page.contains(cell), "{page}");
        results.generator.is_bottleneck = true;
        results.generator.busy = Some(0.97);
        let page = self::page(results, None);
        assert!(page.contains("Client: this client was the limit, not the service"), "{page}");
    }

    #[test]
    fn where_nothing_was_answered_the_page_says_so_first() {
        let page = page(samples::open(&[], &[40]), None);
        assert!(page.contains("<p class=\"notice bad\">Nothing was answered.</p>"), "{page}");
        assert!(!page.contains("notice good"));
    }

    #[test]
    fn hostile_texts_inject_no_markup() {
        const HOSTILE: &str = "\"'></title></style><script>alert(1)</script><img src=x onerror=y>";
        let mut results = samples::open(&[10], &[]);
        let hostile = || HOSTILE.to_owned();
        results.edgeloop = hostile();
        results.label = Some(hostile());
        results.generator.marked = vec![hostile()];
        results.started = hostile();
        results.machine.host = hostile();
        results.machine.kernel = hostile();
        results.machine.processor = hostile();
        results.target.asked = hostile();
        results.target.addresses = vec![hostile()];
        results.target.sources = vec![hostile()];
        results.options.command = vec![hostile()];
        results.options.mode = hostile();
        results.options.arrival = Some(hostile());
        results.ended = hostile();
        results.errors.insert(hostile(), 3);
        results.verify.findings.push(hostile());
        results.latency_us.lower_bounds.push(hostile());
        let run = Run::new(hostile(), results).expect("results");
        let parts = [run.clone(), run.clone()];
        let page = Page { run: &run, parts: &parts, baseline: Some(&run) }.to_string();
        for markup in ["<script", "<img", "onerror=y>", "\"'>", "</style><"] {
            assert!(!page.contains(markup), "{markup}");
        }
        assert_eq!(page.matches("</title>").count(), page.matches("<title>").count());
        assert!(page.matches("&lt;script&gt;").count() > 10);
    }
}
