//! Reads the results of a run, and sees that they are such.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::escape::OneLine;
use crate::exit::Failure;
use crate::results::{
    BANDS, LONGEST, MOST_STEPS, Quantiles, Results, SCHEMA, Times, histogram, to_f64,
};

/// A run with its histograms unpacked.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Where it comes from.
    pub(crate) name: String,
    pub(crate) results: Results,
    pub(super) latency: Times,
    pub(super) service: Times,
    pub(super) connect: Times,
    /// Of the steps of a profile.
    pub(super) steps: Vec<Times>,
}

/// The largest file that is read: a day has a tenth of it.
const LARGEST: u64 = 512 << 20;

/// So much of it is looked at before the rest is read.
const BEGINNING: u64 = 64 * 1024;

/// Reads a file; `-` is standard input.
///
/// # Errors
///
/// When it can't be read, or does not hold the results of a run.
pub(super) fn read(path: &OsStr) -> Result<Run, Failure> {
    let shown = path.to_string_lossy();
    let (name, bytes) = if path == "-" {
        ("standard input".to_owned(), load(io::stdin().lock(), 0))
    } else {
        (shown.into_owned(), load_file(path))
    };
    let run = match bytes {
        Ok(bytes) if bytes.len() as u64 > LARGEST => Err(too_large()),
        Ok(bytes) => parse(&name, &bytes),
        Err(error) => return Err(wrong(&format!("cannot read {name}: {error}"))),
    };
    run.map_err(|fault| wrong(&format!("{name} {fault}")))
}

fn load_file(path: &OsStr) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    if length > LARGEST {
        return Err(io::Error::other(format!("it {}", too_large())));
    }
    load(file, length)
}

fn too_large() -> String {
    format!("is larger than {} MiB, the maximum for results", LARGEST >> 20)
}

/// Reads all that may be the results of a run: nothing behind a beginning that is not, and a byte
/// too many of what is too large.
fn load(mut input: impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    input.by_ref().take(BEGINNING).read_to_end(&mut bytes)?;
    if begins_an_object(&bytes) {
        input.take(LARGEST + 1 - BEGINNING).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn begins_an_object(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'{')
}

fn wrong(line: &str) -> Failure {
    Failure::usage(OneLine(line).to_string())
}

/// What a text says of a run, or what is wrong with it.
pub(super) fn parse(name: &str, bytes: &[u8]) -> Result<Run, String> {
    let no_json = |error| format!("is not JSON: {error}");
    let no_schema = || "does not hold results of edgeloop bench: it has no schema".to_owned();
    if !begins_an_object(bytes) {
        return Err(serde_json::from_slice::<IgnoredAny>(bytes)
            .map_or_else(no_json, |IgnoredAny| no_schema()));
    }
    // Before all else: of another schema nothing is known.
    match serde_json::from_slice(bytes) {
        Ok(Header { schema: Some(SCHEMA) }) => {}
        Ok(Header { schema: Some(schema) }) => {
            return Err(format!("has schema {schema}, and this edgeloop reads schema {SCHEMA}"));
        }
        Err(error) if !error.is_data() => return Err(no_json(error)),
        _ => return Err(no_schema()),
    }
    let results = serde_json::from_slice(bytes)
        .map_err(|error| format!("does not hold results of edgeloop bench: {error}"))?;
    Run::new(name.to_owned(), results)
}

/// What tells results from other files.
#[derive(Deserialize)]
struct Header {
    schema: Option<u32>,
}

impl Run {
    /// # Errors
    ///
    /// When something in the results can't be.
    pub(super) fn new(name: String, results: Results) -> Result<Self, String> {
        let times = |figures: &Quantiles, name: &str| {
            unpack(figures).map_err(|fault| format!("has a wrong {name}.histogram: {fault}"))
        };
        let steps = results.steps.as_deref().unwrap_or_default();
        if steps.len() > MOST_STEPS {
            return Err(format!("has {} steps; the maximum is {MOST_STEPS}", steps.len()));
        }
        let steps = steps.iter().map(|step| times(&step.latency_us, "steps.latency_us"));
        let steps = steps.collect::<Result<_, _>>()?;
        let run = Self {
            name,
            latency: times(&results.latency_us, "latency_us")?,
            service: times(&results.service_us, "service_us")?,
            connect: times(&results.connect_us, "connect_us")?,
            steps,
            results,
        };
        impossible(&run.results).map_or(Ok(run), Err)
    }
}

fn unpack(figures: &Quantiles) -> Result<Times, String> {
    let histogram = histogram::unpack(&figures.histogram)?;
    let unanswered = figures.unanswered.waits();
    if histogram.len().max(unanswered.count) > MOST_SAMPLES {
        return Err(format!("it holds more than {MOST_SAMPLES} samples"));
    }
    let times = Times::recorded(&histogram, unanswered).map_err(|error| error.to_string())?;
    if times.samples() == figures.samples {
        return Ok(times);
    }
    Err(format!("it holds {} samples and not {}", times.samples(), figures.samples))
}

/// More than any run has, and few enough to be added up.
const MOST_SAMPLES: u64 = 1 << 53;

/// Of figures that are drawn, one that no run can have.
fn impossible(results: &Results) -> Option<String> {
    let last = band(LONGEST);
    for interval in results.intervals.iter().chain(&results.slices) {
        if let Some((band, _)) = interval.bands.iter().find(|(band, _)| *band > last) {
            let second = interval.second;
            return Some(format!("has band {band} in second {second}; the last band is {last}"));
        }
    }
    let mut times = vec![
        ("latency_us", &results.latency_us),
        ("service_us", &results.service_us),
        ("connect_us", &results.connect_us),
    ];
    let steps = results.steps.iter().flatten();
    times.extend(steps.map(|step| ("steps.latency_us", &step.latency_us)));
    let mut figures: Vec<(String, Option<f64>)> = Vec::new();
    let mut add = |name: &str, figure: Option<f64>| figures.push((name.to_owned(), figure));
    for (of, times) in times {
        for (name, figure) in times.figures.each() {
            add(&format!("{of}.{name}"), figure);
        }
        add(&format!("{of}.unanswered.max"), times.unanswered.max);
    }
    add("seconds", Some(results.seconds));
    add("rate", Some(results.rate));
    add("asked_rate", results.asked_rate);
    for repeat in &results.repeats {
        add("repeats.rate", Some(repeat.rate));
        add("repeats.seconds", Some(repeat.seconds));
        for (of, times) in
            [("latency_us", &repeat.latency_us), ("answered_us", &repeat.answered_us)]
        {
            for (name, figure) in times.figures.each() {
                add(&format!("repeats.{of}.{name}"), figure);
            }
        }
    }
    for step in results.steps.iter().flatten() {
        add("steps.from_s", Some(step.from_s));
        add("steps.seconds", Some(step.seconds));
        add("steps.rate", Some(step.rate));
        step.asked_rate.into_iter().for_each(|rate| add("steps.asked_rate", Some(rate)));
    }
    for (of, intervals) in [("intervals", &results.intervals), ("slices", &results.slices)] {
        for interval in intervals {
            for (name, figure) in [
                ("p50_us", interval.p50_us),
                ("p95_us", interval.p95_us),
                ("p99_us", interval.p99_us),
                ("max_us", interval.max_us),
                ("from_s", Some(interval.from_s)),
                ("seconds", Some(interval.seconds)),
            ] {
                add(&format!("{of}.{name}"), figure);
            }
        }
    }
    for outage in &results.outages {
        add("outages.from_s", Some(outage.from_s));
        add("outages.to_s", Some(outage.to_s));
    }
    let generator = &results.generator;
    add("generator.busy", generator.busy);
    add("generator.waited", generator.waited);
    add("generator.stall_us", generator.stall_us);
    add("generator.waited_us", generator.waited_us);
    add("generator.lag_us", Some(generator.lag_us));
    let is_possible = |figure: f64| (0.0..1e15).contains(&figure);
    let wrong = |(name, figure): (String, Option<f64>)| Some((name, figure?));
    let (name, figure) =
        figures.into_iter().filter_map(wrong).find(|(_, figure)| !is_possible(*figure))?;
    // Long ones as they are written in the file, or nearly so.
    let shown = if figure.abs() < 1e15 { figure.to_string() } else { format!("{figure:e}") };
    Some(format!("has an impossible value {shown} in \"{name}\""))
}

/// The last band is the one that the longest time lies in, as the histogram rounds it up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
fn band(nanos: u64) -> u32 {
    ((to_f64(nanos) * 1.001).log2() * BANDS) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::samples;

    #[track_caller]
    fn expect_fault(text: &str, words: &str) {
        let parsed = parse("a.json", text.as_bytes()).map(|run| run.name);
        let fault = parsed.expect_err("something is wrong with it");
        assert!(fault.contains(words), "{fault}");
    }

    #[test]
    fn results_are_read_as_they_were_written() {
        let results = samples::open(&[10, 20, 30], &[40]);
        let mut bytes = Vec::new();
        results.write(&mut bytes).expect("written");
        let run = parse("a.json", &bytes).expect("results");
        assert_eq!(run.results, results);
        assert_eq!((run.latency.samples(), run.latency.unanswered().longest), (4, 40_000));
        assert_eq!(Quantiles::of(&run.latency), results.latency_us);
    }

    #[test]
    fn what_is_not_the_results_of_a_run_is_told_apart() {
        let results = samples::open(&[10, 20, 30], &[]);
        let mut bytes = Vec::new();
        results.write(&mut bytes).expect("written");
        let good = String::from_utf8(bytes).expect("UTF-8");
        expect_fault("", "is not JSON");
        expect_fault("<html>", "is not JSON");
        expect_fault("[1]", "no schema");
        expect_fault("{}", "no schema");
        expect_fault("{\"schema\": \"one\"}", "no schema");
        expect_fault("{\"schema\": 1}", "schema 1, and this edgeloop reads schema 2");
        expect_fault("{\"schema\": 2}", "missing field `edgeloop`");
        expect_fault(&good.replace("\"rate\": ", "\"pace\": "), "missing field `rate`");
        expect_fault(&good.replace("\"samples\":3", "\"samples\":4"), "3 samples and not 4");
        expect_fault(&good.replace("HISTFAAA", "HISTGAAA"), "latency_us.histogram");
        expect_fault(&good.replace("\"bands\":[[", "\"bands\":[[9"), "band 9");
        let bands = format!("\"bands\":[{}[", "[1,1],".repeat(200));
        expect_fault(&good.replace("\"bands\":[[", &bands), "more than 200 elements");
        expect_fault(
            &good.replace(
                "\"unanswered\":{\"count\":0",
                "\"unanswered\":{\"count\":10000000000000000000",
            ),
            "more than 9007199254740992 samples",
        );
        for (wrong, words) in [
            ("\"seconds\": -2.0", "has an impossible value -2 in \"seconds\""),
            ("\"seconds\": 2e30", "has an impossible value 2e30 in \"seconds\""),
        ] {
            expect_fault(&good.replace("\"seconds\": 2.0", wrong), words);
        }
    }
}
