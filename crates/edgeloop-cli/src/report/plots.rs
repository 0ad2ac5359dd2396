//! The charts of a page: which values they show, and what is told of them.

use std::fmt::Write;

use super::axis::{self, Axis};
use super::chart::{Chart, Layer};
use super::columns::Columns;
use super::read::Run;
use crate::results::{BANDS, Estimate, Interval, Outage, Times, micros, show, to_f64};

/// Of how many points the line of a percentile curve is made.
const POINTS: u32 = 240;

/// Into how many parts the axis of a percentile curve is divided to tell the times of each.
const NOTES: u32 = 48;

/// How many shades the heat map has.
pub(super) const SHADES: u32 = 7;

/// A line of the percentile curve.
struct Curve<'a> {
    name: &'static str,
    class: &'static str,
    /// How it looks where it is a lower bound.
    bound: &'static str,
    times: &'a Times,
}

/// Which time each share of the messages did not exceed. None if nothing was timed.
pub(super) fn percentiles(run: &Run, baseline: Option<&Run>) -> Option<String> {
    let mut curves = Vec::new();
    if let Some(baseline) = baseline {
        let (class, bound) = ("line baseline", "line baseline bound");
        curves.push(Curve { name: "baseline", class, bound, times: &baseline.latency });
    }
    if run.results.asked_rate.is_some() {
        let (class, bound) = ("line service", "line service bound");
        curves.push(Curve { name: "service time", class, bound, times: &run.service });
    }
    let (class, bound) = ("line latency", "line latency bound");
    curves.push(Curve { name: "latency", class, bound, times: &run.latency });
    curves.retain(|curve| curve.times.samples() > 0);
    let most = curves.iter().map(|curve| curve.times.samples()).max()?;
    let shortest =
        curves.iter().filter_map(|curve| curve.times.min()).map(|min| min.nanos).min()?;
    let longest = curves.iter().filter_map(|curve| curve.times.max()).map(|max| max.nanos).max()?;
    let x = Axis::nines(most);
    let y = Axis::times(micros(shortest), micros(longest));
    let layers: Vec<_> = curves.iter().flat_map(lines).collect();
    curves.reverse();
    let notes = (0..NOTES).map(|index| note(&x, &curves, index)).collect();
    let description = "Latency by percentile; its figures stand in the tables below.";
    Some(Chart { description, x: &x, y: &y, layers, notes }.to_string())
}

/// The time at a percentile beyond which one sample in so many lies.
fn time_at(times: &Times, beyond: f64) -> Option<Estimate> {
    let is_last = beyond >= to_f64(times.samples());
    if is_last { times.max() } else { times.at(1.0 - 1.0 / beyond) }
}

/// A curve, in one line as far as it is exact and in another behind that.
fn lines(curve: &Curve<'_>) -> [Layer; 2] {
    let (mut exact, mut bound) = (Vec::new(), Vec::new());
    let mut last = None;
    for index in 0..=POINTS {
        let share = f64::from(index) / f64::from(POINTS);
        let beyond = to_f64(curve.times.samples()).powf(share);
        let Some(time) = time_at(curve.times, beyond) else { continue };
        let point = Some((beyond, micros(time.nanos)));
        if time.is_lower_bound {
            if bound.is_empty() {
                bound.push(last);
            }
            bound.push(point);
        } else {
            exact.push(point);
        }
        last = point.or(last);
    }
    [
        Layer::Line { class: curve.class, points: exact },
        Layer::Line { class: curve.bound, points: bound },
    ]
}

fn note(x: &Axis, curves: &[Curve<'_>], index: u32) -> (f64, f64, String) {
    let part = |index: f64| x.value(index / f64::from(NOTES));
    let index = f64::from(index);
    let beyond = part(index + 0.5);
    let mut text = axis::percent(beyond);
    let seen = curves.iter().filter(|curve| beyond <= to_f64(curve.times.samples()));
    for curve in seen {
        let Some(time) = time_at(curve.times, beyond) else { continue };
        let shown = show::bound(micros(time.nanos), time.is_lower_bound);
        let _ = write!(text, "\n{} {shown}", curve.name);
    }
    (part(index), part(index + 1.0), text)
}

/// The times that all columns of some runs lie between.
pub(super) fn heat_axis(runs: &[&Columns]) -> Option<Axis> {
    let columns = runs.iter().flat_map(|run| &run.columns);
    let bands = columns.flat_map(|column| &column.bands).map(|&(band, _)| band);
    let (first, last) = (bands.clone().min()?, bands.max()?);
    Some(Axis::times(edge(first), edge(last + 1)))
}

/// Where a band begins, in microseconds.
fn edge(band: u32) -> f64 {
    (f64::from(band) / BANDS).exp2() / 1000.0
}

/// How many messages took how long, over time; the percentiles are those of `lines`, whose columns
/// may be wider.
pub(super) fn heat(columns: &Columns, lines: &Columns, outages: &[Outage], y: &Axis) -> String {
    let x = Axis::seconds(columns.end());
    let most = columns.columns.iter().flat_map(|column| &column.bands).map(|band| band.1).max();
    let most = most.unwrap_or(1);
    let mut shades = vec![Vec::new(); SHADES as usize];
    for column in &columns.columns {
        let (from, to) = columns.ends(column);
        for &(band, times) in column.bands.iter().filter(|band| band.1 > 0) {
            shades[shade(times, most)].push([from, edge(band), to, edge(band + 1)]);
        }
    }
    let shades = shades.into_iter().enumerate();
    let shades =
        shades.map(|(shade, boxes)| Layer::Boxes { class: format!("heat h{shade}"), boxes });
    let mut layers: Vec<_> = [shade_outages(outages, y)].into_iter().chain(shades).collect();
    type Time = fn(&Interval) -> Option<f64>;
    let times: [(&str, &str, Time); 3] = [
        ("halo", "line p50", |column| column.p50_us),
        ("halo", "line p99", |column| column.p99_us),
        ("halo", "line max", |column| column.max_us),
    ];
    for (halo, class, time) in times {
        let points = over_time(lines, time);
        layers.push(Layer::Line { class: halo, points: points.clone() });
        layers.push(Layer::Line { class, points });
    }
    let notes = notes(columns);
    let description = "Latency over time; its figures stand in the table of seconds.";
    Chart { description, x: &x, y, layers, notes }.to_string()
}

/// The shade of a cell: logarithmic, so that a single slow message is seen beside a thousand.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
pub(super) fn shade(times: u64, most: u64) -> usize {
    let share = to_f64(times.max(1)).ln() / to_f64(most.max(2)).ln();
    ((share * f64::from(SHADES)) as usize).min(SHADES as usize - 1)
}

/// Messages a second, over time. None of a run that is too short for that.
pub(super) fn throughput(
    run: &Run,
    columns: &Columns,
    baseline: Option<(&Run, &Columns)>,
) -> Option<String> {
    let end = baseline.map_or(0.0, |(_, columns)| columns.end()).max(columns.end());
    let x = Axis::seconds(end);
    let line = |columns: &Columns| over_time(columns, |column| rate(column, columns.width()));
    let points = line(columns);
    points.iter().flatten().next()?;
    let others = baseline.map(|(_, columns)| line(columns)).unwrap_or_default();
    let highest = points.iter().chain(&others).flatten().map(|point| point.1);
    let top = highest.chain(run.results.asked_rate).fold(0.0, f64::max);
    let y = Axis::from_zero(top, axis::rate);
    let outages = shade_outages(&run.results.outages, &y);
    let mut layers = vec![outages, Layer::Line { class: "line baseline", points: others }];
    if let Some(asked) = run.results.asked_rate {
        layers.push(Layer::Across { class: "mark", y: asked });
    }
    layers.push(Layer::Line { class: "line latency", points });
    let notes = notes(columns);
    let description = "Messages a second over time; the figures stand in the table of seconds.";
    Some(Chart { description, x: &x, y: &y, layers, notes }.to_string())
}

/// The times in which nothing was answered, from the top of a chart to its bottom.
fn shade_outages(outages: &[Outage], y: &Axis) -> Layer {
    let (bottom, top) = (y.value(0.0), y.value(1.0));
    let boxes = outages.iter().map(|outage| [outage.from_s, bottom, outage.to_s, top]).collect();
    Layer::Boxes { class: "outage".to_owned(), boxes }
}

/// How many messages a second a column comes to. Of one of which hardly anything was measured, as
/// the last may be, nothing can be told.
fn rate(column: &Interval, width: f64) -> Option<f64> {
    column.rate().filter(|_| column.seconds >= width / 10.0)
}

/// Errors and messages that were never answered, over time. None if there were neither.
pub(super) fn errors(columns: &Columns) -> Option<String> {
    let sum = |column: &Interval| to_f64(column.errors) + to_f64(column.unanswered);
    let most = columns.columns.iter().map(sum).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let x = Axis::seconds(columns.end());
    let y = Axis::from_zero(most.max(4.0), axis::rate);
    let (mut errors, mut unanswered) = (Vec::new(), Vec::new());
    for column in &columns.columns {
        let (from, to) = columns.ends(column);
        let margin = (to - from) / 8.0;
        let (from, to) = (from + margin, to - margin);
        let level = to_f64(column.errors);
        if column.errors > 0 {
            errors.push([from, 0.0, to, level]);
        }
        if column.unanswered > 0 {
            unanswered.push([from, level, to, sum(column)]);
        }
    }
    let layers = vec![
        Layer::Boxes { class: "errors".to_owned(), boxes: errors },
        Layer::Boxes { class: "unanswered".to_owned(), boxes: unanswered },
    ];
    let notes = notes(columns);
    let description = "Errors over time; the figures stand in the table of seconds.";
    Some(Chart { description, x: &x, y: &y, layers, notes }.to_string())
}

/// A line through the middles of columns, with gaps where columns are missing.
fn over_time(
    columns: &Columns,
    value: impl Fn(&Interval) -> Option<f64>,
) -> Vec<Option<(f64, f64)>> {
    let mut points = Vec::new();
    let mut last = None;
    for column in &columns.columns {
        if last.is_some_and(|last| !columns.touch(last, column)) {
            points.push(None);
        }
        last = Some(column);
        let (from, to) = columns.ends(column);
        points.push(value(column).map(|value| (f64::midpoint(from, to), value)));
    }
    points
}

/// What is told of each column.
fn notes(columns: &Columns) -> Vec<(f64, f64, String)> {
    let time = |time: Option<f64>| time.map_or_else(|| "–".to_owned(), show::time);
    let note = |column: &Interval| {
        let (from, to) = columns.ends(column);
        let mut text = format!(
            "{}\n{}\n50 % {}\n95 % {}\n99 % {}\nmax {}\n{}",
            seconds(columns, column),
            show::counted(column.messages, "message"),
            time(column.p50_us),
            time(column.p95_us),
            time(column.p99_us),
            time(column.max_us),
            show::counted(column.errors, "error")
        );
        if column.unanswered > 0 {
            let _ = write!(text, "\n{} never answered", show::count(column.unanswered));
        }
        (from, to, text)
    };
    columns.columns.iter().map(note).collect()
}

/// Which seconds a column is: `3 s to 4 s`, `3.1 s to 3.2 s`.
fn seconds(columns: &Columns, column: &Interval) -> String {
    let (from, to) = columns.ends(column);
    format!("{} to {}", axis::seconds(from), axis::seconds(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::samples;

    fn run(answered: &[u64], unanswered: &[u64]) -> Run {
        Run::new("a".to_owned(), samples::open(answered, unanswered)).expect("results")
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert_eq!(percentiles(&run(&[], &[]), None), None);
        assert!(heat_axis(&[&Columns::of(&[samples::second()])]).is_none());
        assert_eq!(errors(&Columns::of(&[samples::second()])), None);
    }

    #[test]
    fn the_curve_is_drawn_apart_where_it_is_a_lower_bound() {
        let all: Vec<u64> = (1..=1000).collect();
        let exact = percentiles(&run(&all, &[]), None).expect("drawn");
        assert!(!exact.contains("bound"), "{exact}");
        let bound = percentiles(&run(&all, &[900; 20]), None).expect("drawn");
        assert!(bound.contains("line latency bound"), "{bound}");
        assert!(bound.contains("latency ≥ "), "{bound}");
    }

    #[test]
    fn the_baseline_is_drawn_in_the_same_chart() {
        let (one, other) = (run(&[10, 20, 30], &[]), run(&[100, 200, 3000], &[]));
        let both = percentiles(&one, Some(&other)).expect("drawn");
        assert!(both.contains("line baseline") && both.contains("5 ms"), "{both}");
        assert!(!percentiles(&one, None).expect("drawn").contains("line baseline"));
    }

    #[test]
    fn shades_tell_one_message_from_none_and_end_at_the_most() {
        assert_eq!((shade(1, 500), shade(500, 500)), (0, SHADES as usize - 1));
        assert!(shade(20, 500) > shade(2, 500));
        assert_eq!(shade(1, 1), 0);
    }

    #[test]
    fn a_last_second_that_is_none_does_not_look_like_a_loss() {
        let column = |seconds| Interval { seconds, in_time: 50, ..samples::second() };
        assert_eq!(rate(&column(1.0), 1.0), Some(50.0));
        assert_eq!(rate(&column(0.5), 1.0), Some(100.0));
        assert_eq!((rate(&column(0.01), 1.0), rate(&column(0.0), 1.0)), (None, None));
        assert_eq!(rate(&column(0.05), 0.1), Some(1000.0));
    }

    #[test]
    fn an_outage_is_shaded_where_it_was() {
        let mut results = samples::open(&[10, 20, 30], &[]);
        results.outages = vec![Outage { from_s: 0.5, to_s: 1.5 }];
        let run = Run::new("a".to_owned(), results).expect("results");
        let columns = Columns::finest(&run.results);
        let chart = throughput(&run, &columns, None).expect("drawn");
        assert!(chart.contains("<path class=\"outage\" d=\"M250 0H750V1000H250z\"/>"), "{chart}");
        let y = heat_axis(&[&columns]).expect("drawn");
        let chart = heat(&columns, &columns, &run.results.outages, &y);
        assert!(chart.contains("class=\"outage\""), "{chart}");
        assert!(!heat(&columns, &columns, &[], &y).contains("outage"));
    }
}
