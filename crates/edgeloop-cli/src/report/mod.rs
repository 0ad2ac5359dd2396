//! `edgeloop report`, and `edgeloop bench --report`: pages of what runs came to.
//!
//! `read` takes the results of a run from a file, `merge` makes one run of several. A `page` is put
//! together from `tables` of `figures` and from `plots`; an `axis` places values and labels them, a
//! `chart` is the SVG in between, and `html` keeps texts from becoming markup.

pub(crate) mod args;
mod axis;
mod chart;
mod columns;
mod figures;
mod html;
mod merge;
mod page;
mod parts;
mod plots;
mod read;
mod repeats;
mod search;
mod steps;
mod tables;

use std::ffi::OsStr;
use std::io::{BufWriter, Write as _};
use std::slice;

use args::ReportArgs;
use page::Page;
pub(crate) use read::Run;

use crate::exit::{Exit, Failure};
use crate::log;
use crate::outputs::{Place, apart, put, same_input};
use crate::results::Results;

/// Draws a page of earlier runs, as the command line says.
///
/// # Errors
///
/// When something is wrong with the command line or a file.
pub(crate) fn report(args: &ReportArgs) -> Result<Exit, Failure> {
    contradictions(args)?;
    let output = Place::find("--output", args.output.as_ref())?;
    let json = Place::find("--json", args.json.as_ref())?;
    spare_the_inputs(args, &[&output, &json].into_iter().flatten().collect::<Vec<_>>())?;
    let runs = args.files.iter().map(|file| read::read(file)).collect::<Result<Vec<_>, _>>()?;
    let baseline = args.baseline.as_deref().map(read::read).transpose()?;
    let merged = (runs.len() > 1).then(|| merge::merge(&runs, args.force)).transpose()?;
    let run = merged.as_ref().unwrap_or(&runs[0]);
    let mut failures = Vec::new();
    if let Some(json) = &json {
        failures.extend(put(json, |out| run.results.write(out)).err());
    }
    if let Some(output) = &output {
        let page = Page { run, parts: &runs, baseline: baseline.as_ref() };
        failures.extend(put(output, |out| write!(BufWriter::new(out), "{page}")).err());
    }
    let Some(last) = failures.pop() else { return Ok(Exit::Done) };
    for failure in failures {
        log::last_line(&failure.line);
    }
    Err(last)
}

fn contradictions(args: &ReportArgs) -> Result<(), Failure> {
    if args.output.is_none() && args.json.is_none() {
        return Err(Failure::usage(
            "--output is missing: where to write the report, as in '-o page.html'",
        ));
    }
    if args.output.is_none() && args.baseline.is_some() {
        return Err(Failure::usage("--baseline needs --output"));
    }
    let inputs = || args.files.iter().chain(&args.baseline);
    if inputs().filter(|input| *input == "-").count() > 1 {
        return Err(Failure::usage(
            "standard input (-) can be read only once; give files for the others",
        ));
    }
    Ok(())
}

/// Refuses outputs that are one file, or one that is read.
fn spare_the_inputs(args: &ReportArgs, outputs: &[&Place]) -> Result<(), Failure> {
    apart(outputs)?;
    for output in outputs {
        if args.files.iter().chain(&args.baseline).any(|input| same_input(input, output)) {
            let (option, name) = (output.option(), output.shown());
            return Err(Failure::usage(format!(
                "{option} {name} would overwrite what is read; choose another file"
            )));
        }
    }
    Ok(())
}

/// Reads the run that another one is compared with.
///
/// # Errors
///
/// When its file does not hold one.
pub(crate) fn baseline(path: &OsStr) -> Result<Run, Failure> {
    read::read(path)
}

/// Draws what a run has come to, beside another.
///
/// # Errors
///
/// When the run has figures that can't be.
pub(crate) fn page(results: &Results, baseline: Option<&Run>) -> Result<String, Failure> {
    let run = Run::new(String::new(), results.clone())
        .map_err(|fault| Failure::fatal(format!("this run {fault}")))?;
    Ok(Page { run: &run, parts: slice::from_ref(&run), baseline }.to_string())
}
