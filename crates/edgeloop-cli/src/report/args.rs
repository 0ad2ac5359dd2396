//! The arguments of `edgeloop report`, as they were typed.

use std::ffi::OsString;

use clap::Args;

pub(crate) const AFTER_HELP: &str = "\
The page is one file of HTML and SVG. It fetches nothing and runs no script, and each figure on it stands in its \
markup too: <td data-figure=\"latency_us.p99\" data-value=\"123.4\">.

Several FILEs are merged into one run, as if one machine had made it: they are the parts of a load that several \
machines have made at once. Counts, rates, connections and histograms are added, so percentiles are those of all \
messages; the time is the longest. Percentiles of a single second can't be had exactly from the parts: they are read \
from the bands of the heat map, and are up to 19 % too high, never too low.

The parts must have the same mode, message size, arrival, duration, warm-up and verification, a rate all or none and, \
without one, the same pipeline, and must have been made at the same time; --force merges others, too. What else they \
were asked for, such as the target and the number of connections, may differ.

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
