//! `edgeloop report`, and `edgeloop bench --report`: pages of what runs came to.
//!
//! `read` takes the results of a run from a file, `merge` makes one run of several. A `page` is put
//! together from `tables` of `figures` and from `plots`; an `axis` places values and labels them, a `chart` is the
//! SVG in between, and `html` keeps texts from becoming markup.

pub(crate) mod args;
mod axis;
mod chart;
mod columns;
mod figures;
mod html;
mod merge;
mod page;
mod plots;
mod read;
mod steps;
mod tables;
#[cfg(test)]
mod samples;

use std::ffi::OsStr;
use std::slice;

use args::ReportArgs;
use page::Page;
use read::Run;

use crate::bench::results::Results;
use crate::exit::{Exit, Failure};
use crate::log;
use crate::outputs::{Place, apart, put, same_input};

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
    let run = merge::merge(&runs, args.force)?;
    let mut failures = Vec::new();
    if let Some(json) = &json {
        let mut bytes = Vec::new();
        // Writing into memory can't fail.
        let _ = run.results.write(&mut bytes);
        failures.extend(put(json, &bytes).err());
    }
    if let Some(output) = &output {
        let page = Page { run: &run, parts: &runs, baseline: baseline.as_ref() };
        failures.extend(put(output, page.to_string().as_bytes()).err());
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

/// A page that is to be drawn of a run which has not begun.
pub(crate) struct Drawing {
    baseline: Option<Run>,
}

impl Drawing {
    /// Reads the baseline, so that a run is not made in vain.
    ///
    /// # Errors
    ///
    /// When it is not as it should be.
    pub(crate) fn begin(baseline: Option<&OsStr>) -> Result<Self, Failure> {
        Ok(Self { baseline: baseline.map(read::read).transpose()? })
    }

    /// Draws what the run has come to.
    ///
    /// # Errors
    ///
    /// When the run has figures that can't be.
    pub(crate) fn page(self, results: &Results) -> Result<String, Failure> {
        let run = Run::new(String::new(), results.clone())
            .map_err(|fault| Failure::fatal(format!("this run {fault}")))?;
        let baseline = self.baseline.as_ref();
        Ok(Page { run: &run, parts: slice::from_ref(&run), baseline }.to_string())
    }
}
