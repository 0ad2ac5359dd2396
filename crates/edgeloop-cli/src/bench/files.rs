//! The files that a run writes.

use std::io::{BufWriter, Write as _};

use super::config::BenchConfig;
use super::interrupt::Interrupt;
use crate::exit::Failure;
use crate::outputs::{Output, Place, apart, same_input};
use crate::results::Results;

/// What the files are, before any of them is written.
#[derive(Debug)]
pub(super) struct Places {
    json: Option<Place>,
    csv: Option<Place>,
    report: Option<Place>,
}

/// The files, open.
#[derive(Debug)]
pub(super) struct Files {
    json: Option<Output>,
    /// Has a row as soon as a second is over.
    pub(super) csv: Option<Output>,
    report: Option<Output>,
}

impl Places {
    /// Finds them. Changes nothing.
    ///
    /// # Errors
    ///
    /// When one can't be written, or two are the same. A run may replace its baseline with its own
    /// results, but with nothing else.
    pub(super) fn find(config: &BenchConfig) -> Result<Self, Failure> {
        let places = Self {
            json: Place::find("--json", config.json.as_ref())?,
            csv: Place::find("--csv", config.csv.as_ref())?,
            report: Place::find("--report", config.report.as_ref())?,
        };
        if places.report.as_ref().is_some_and(Place::is_standard) {
            let line = "--report cannot be - (standard output), which has the summary";
            return Err(Failure::usage(line));
        }
        let all = [&places.json, &places.csv, &places.report];
        apart(&all.into_iter().flatten().collect::<Vec<_>>())?;
        if let Some(baseline) = &config.baseline {
            let others = [&places.csv, &places.report].into_iter().flatten();
            if let Some(other) = others.into_iter().find(|other| same_input(baseline, other)) {
                let (option, name) = (other.option(), other.shown());
                let line =
                    format!("{option} {name} would overwrite --baseline; choose another file");
                return Err(Failure::usage(line));
            }
        }
        Ok(places)
    }

    /// Whether one of them is standard output, which then has nothing else.
    pub(super) fn have_standard(&self) -> bool {
        [&self.json, &self.csv].into_iter().flatten().any(Place::is_standard)
    }

    /// Opens them, so that a run is not made in vain.
    ///
    /// # Errors
    ///
    /// When one can't be written.
    pub(super) fn open(&self) -> Result<Files, Failure> {
        let open = |place: &Option<Place>| place.as_ref().map(Output::open).transpose();
        Ok(Files { json: open(&self.json)?, csv: open(&self.csv)?, report: open(&self.report)? })
    }
}

impl Files {
    /// Writes what a run has come to. Without a page, that of an earlier run stays.
    pub(super) fn write(&mut self, results: &Results, page: Option<&str>) {
        // What fails is told at the end, see `Output`.
        if let Some(json) = &mut self.json {
            let _ = results.write(BufWriter::new(json));
        }
        match (&mut self.report, page) {
            (Some(report), Some(page)) => drop(report.write_all(page.as_bytes())),
            (report, _) => *report = None,
        }
    }

    /// Puts the regular files in their places. Returns the others, and what has failed.
    pub(super) fn finish_drafts(self) -> (Vec<Output>, Vec<Failure>) {
        let all = [self.json, self.csv, self.report].into_iter().flatten();
        let (drafts, others): (Vec<_>, _) = all.partition(Output::is_draft);
        let finish = |draft: Output| draft.finish(&|| false).err();
        (others, drafts.into_iter().filter_map(finish).collect())
    }
}

/// Writes the rest of what is no regular file. A reader that does not read is waited for until a
/// signal comes.
pub(super) fn finish_others(others: Vec<Output>, interrupt: &Interrupt) -> Vec<Failure> {
    let finish = |other: Output| other.finish(&|| interrupt.is_raised()).err();
    others.into_iter().filter_map(finish).collect()
}
