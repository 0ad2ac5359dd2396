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
    format!("is larger than {} MiB, more than the results of a run have", LARGEST >> 20)
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
            return Err(format!(
                "has {} steps, and no run has more than {MOST_STEPS}",
                steps.len()
            ));
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

/// Of figures that are drawn, one that no run comes to.
fn impossible(results: &Results) -> Option<String> {
    let last = band(LONGEST);
    for interval in results.intervals.iter().chain(&results.slices) {
        if let Some((band, _)) = interval.bands.iter().find(|(band, _)| *band > last) {
            let second = interval.second;
            return Some(format!("has a band {band} in second {second}, where {last} is the last"));
        }
    }
    let mut times = vec![&results.latency_us, &results.service_us, &results.connect_us];
    times.extend(results.steps.iter().flatten().map(|step| &step.latency_us));
    let mut figures: Vec<_> = times
        .iter()
        .flat_map(|times| {
            [times.figures.min, times.figures.mean, times.figures.max, times.unanswered.max]
        })
        .chain(times.iter().flat_map(|times| times.each().map(|(_, value, _)| value)))
        .flatten()
        .collect();
    figures.extend([results.seconds, results.rate]);
    figures.extend(results.asked_rate);
    for repeat in &results.repeats {
        figures.extend([repeat.rate, repeat.seconds]);
        figures.extend(repeat.latency_us.figures.each().into_iter().filter_map(|figure| figure.1));
        figures.extend(repeat.answered_us.figures.each().into_iter().filter_map(|figure| figure.1));
    }
    for step in results.steps.iter().flatten() {
        figures.extend([step.from_s, step.seconds, step.rate]);
        figures.extend(step.asked_rate);
    }
    for interval in results.intervals.iter().chain(&results.slices) {
        let times = [interval.p50_us, interval.p95_us, interval.p99_us, interval.max_us];
        figures.extend(times.into_iter().flatten());
        figures.extend([interval.from_s, interval.seconds]);
    }
    figures.extend(results.outages.iter().flat_map(|outage| [outage.from_s, outage.to_s]));
    let generator = &results.generator;
    let shares = [generator.busy, generator.waited, generator.stall_us, generator.waited_us];
    figures.extend(shares.into_iter().flatten().chain([generator.lag_us]));
    figures
        .into_iter()
        .find(|figure| !(0.0..1e15).contains(figure))
        .map(|figure| format!("has a figure that no run comes to: {figure:e}"))
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
        expect_fault(&good.replace("\"seconds\": ", "\"seconds\": -"), "no run comes to");
        expect_fault(&good.replace("\"seconds\": 2.0", "\"seconds\": 2e30"), "no run comes to");
    }
}
