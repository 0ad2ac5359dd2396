//! The arguments of `edgeloop report`, as they were typed.

use std::ffi::OsString;

use clap::Args;

/// What stands below the short help.
pub(crate) const SEE_HELP: &str = "'edgeloop report --help' says what is merged, and how.";

pub(crate) const AFTER_HELP: &str = "\
The report is one file of HTML and SVG. It loads nothing and runs no script. Each figure is also in its markup: \
<td data-figure=\"latency_us.p99\" data-value=\"123.4\">.

Several FILEs are merged into one run: they are the parts of a load that several machines made at the same time. \
Counts, rates, connections and histograms are added, so percentiles are those of all messages; the duration is the \
longest. Percentiles of a single second are read from the bands of the heat map: they are up to 19 % too high, never \
too low.

The parts must have measured at the same time; half a second and a tenth of the shorter one may differ. They must \
have the same mode, message size, arrival, duration, warm-up and verification. All must have a rate, or none; without \
a rate, the pipeline must be the same. Other options, such as the target and the number of connections, may differ. \
--force merges other runs too, and results of --find or --repeat. No run is merged with itself.

Files are replaced when the new ones are complete. No output may be one of the files that are read.

Exit codes:
  0      Done
  2      The command line is wrong, a FILE does not hold results, runs don't fit
         together, or a file can't be written
  70     A fatal error";

/// The arguments of `edgeloop report`.
#[derive(Debug, Default, Args)]
pub(crate) struct ReportArgs {
    /// Results of runs, from 'edgeloop bench --json'; - is standard input
    ///
    /// Several are merged into one run
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<OsString>,

    /// Write the report to this file; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<OsString>,

    /// Compare with the results of this run
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<OsString>,

    /// Write the merged results to this file; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<OsString>,

    /// Merge runs although they don't fit together
    #[arg(long)]
    pub(crate) force: bool,
}
