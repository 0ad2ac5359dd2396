//! The arguments of `edgeloop report`, as they were typed.

use std::ffi::OsString;

use clap::Args;

pub(crate) const AFTER_HELP: &str = "\
The page is one file of HTML and SVG. It fetches nothing and runs no script, and each figure on it stands in its \
markup too: <td data-figure=\"latency_us.p99\" data-value=\"123.4\">.

Several FILEs are merged into one run, as if one machine had made it: they are the parts of a load that several \
machines have made at once. Counts, rates, connections and histograms are added, so percentiles are those of all \
messages; the time is the longest. Percentiles of a single second can't be had exactly from the parts: they are read \
from the bands of the heat map, and are up to 19 % too high, never too low. The target, the number of connections, \
threads and messages, and the seed may differ; runs that differ in anything else that was asked for, or that were not \
made at the same time, are merged only with --force.

Exit codes:
  0      Done
  2      The command line is wrong, a FILE does not hold the results of a run, runs don't fit together, or a file \
can't be written
  70     A fatal error";

/// The arguments of `edgeloop report`.
#[derive(Debug, Default, Args)]
pub(crate) struct ReportArgs {
    /// The results of a run, as 'edgeloop bench --json FILE' has written them; - is standard input.
    /// Several are merged
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<OsString>,

    /// Draw the page into this file; - is standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<OsString>,

    /// The results of another run, which the page shows beside, with the differences
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<OsString>,

    /// Write the merged results to this file, in the format of the FILEs; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<OsString>,

    /// Merge runs that don't fit together, too
    #[arg(long)]
    pub(crate) force: bool,
}
