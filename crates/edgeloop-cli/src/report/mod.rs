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
mod histogram;
mod html;
mod merge;
mod page;
mod parts;
mod plots;
mod read;
mod repeats;
mod search;
mod tables;
#[cfg(test)]
mod samples;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use args::ReportArgs;
use page::Page;
pub(crate) use read::Run;

use crate::bench::results::Results;
use crate::bench::{create, standard_output, unwritable};
use crate::escape::OneLine;
use crate::exit::{Exit, Failure};

/// Draws a page of earlier runs, as the command line says.
///
/// # Errors
///
/// When something is wrong with the command line or a file.
pub(crate) fn report(args: &ReportArgs) -> Result<Exit, Failure> {
    contradictions(args)?;
    let runs = args.files.iter().map(|file| read::read(file)).collect::<Result<Vec<_>, _>>()?;
    let baseline = args.baseline.as_deref().map(read::read).transpose()?;
    let merged = (runs.len() > 1).then(|| merge::merge(&runs, args.force)).transpose()?;
    let run = merged.as_ref().unwrap_or(&runs[0]);
    if let Some(json) = &args.json {
        put(json, |out| run.results.write(out))?;
    }
    if let Some(output) = &args.output {
        let page = Page { run, parts: &runs, baseline: baseline.as_ref() };
        put(output, |out| write!(out, "{page}"))?;
    }
    Ok(Exit::Done)
}

fn contradictions(args: &ReportArgs) -> Result<(), Failure> {
    let outputs = [("--output", &args.output), ("--json", &args.json)];
    let [output, json] = [&args.output, &args.json];
    if output.is_none() && json.is_none() {
        return Err(Failure::usage(
            "--output is missing: where to write the report, as in '-o page.html'",
        ));
    }
    if args.output.is_none() && args.baseline.is_some() {
        return Err(Failure::usage("--baseline needs --output"));
    }
    if output == json {
        return Err(Failure::usage("--output and --json are the same file; give two"));
    }
    let inputs = || args.files.iter().chain(&args.baseline);
    if inputs().filter(|input| *input == "-").count() > 1 {
        return Err(Failure::usage(
            "standard input (-) can be read only once; give files for the others",
        ));
    }
    for (option, path) in outputs {
        let Some(path) = path.as_deref().filter(|path| *path != "-") else { continue };
        if inputs().any(|input| same(input, path)) {
            let path = path.to_string_lossy();
            let line = format!(
                "{option} {} would overwrite what is read; choose another file",
                OneLine(&path)
            );
            return Err(Failure::usage(line));
        }
    }
    Ok(())
}

/// Whether two paths are one file.
pub(crate) fn same(one: &OsStr, other: &OsStr) -> bool {
    let found = |path| fs::canonicalize(path).ok();
    found(one).is_some_and(|one| found(other) == Some(one))
}

/// Writes to a file; `-` is standard output.
fn put(path: &OsStr, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    if path != "-" {
        let path = Path::new(path);
        let mut out = BufWriter::new(create(path)?);
        let written = write(&mut out).and_then(|()| out.flush());
        return written.map_err(|error| unwritable(path, &error));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    standard_output(write(&mut out).and_then(|()| out.flush()))
}

/// Reads the run that another one is compared with.
///
/// # Errors
///
/// When its file does not hold one.
pub(crate) fn baseline(path: &Path) -> Result<Run, Failure> {
    read::read(path.as_os_str())
}

/// A page that is to be drawn of a run which has not begun.
pub(crate) struct Drawing {
    file: File,
    path: PathBuf,
}

impl Drawing {
    /// Makes the file, so that a run is not made in vain.
    ///
    /// # Errors
    ///
    /// When it can't be made.
    pub(crate) fn begin(path: &Path) -> Result<Self, Failure> {
        Ok(Self { file: create(path)?, path: path.to_owned() })
    }

    /// Draws what the run has come to.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub(crate) fn finish(self, results: &Results, baseline: Option<&Run>) -> Result<(), Failure> {
        let run = Run::new(String::new(), results.clone())
            .map_err(|fault| Failure::fatal(format!("this run {fault}")))?;
        let page = Page { run: &run, parts: std::slice::from_ref(&run), baseline };
        let mut out = BufWriter::new(self.file);
        write!(out, "{page}")
            .and_then(|()| out.flush())
            .map_err(|error| unwritable(&self.path, &error))
    }
}
