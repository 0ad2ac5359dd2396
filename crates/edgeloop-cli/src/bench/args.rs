//! The arguments of `edgeloop bench`, as they were typed.

use std::ffi::OsString;

use clap::Args;

pub(crate) const AFTER_HELP: &str = "\
Durations are written like 500ms, 10s or 1m30s, sizes like 64, 16KiB or 1MB, counts and rates like 50000 or 50k \
(k, M and G are thousands).

Latency is counted from when a message was due: in the open loop (-r) that is its place in the schedule, however \
late it was sent. The time from its sending is told beside it, as the service time.

Exit codes:
  0      Done
  1      Done, with errors of the network, or with messages that were never answered
  2      The command line is wrong, the address can't be resolved, or a file can't be written
  3      What came back is not what was sent, or a connection was closed early
  4      The rate that was asked for could not be held
  70     A fatal error
  128+N  A second signal N: 130 for SIGINT, 143 for SIGTERM
Where several apply, it is the first of 2, 3, 1, 4.

Signals:
  SIGTERM, SIGINT, SIGHUP  End the run early, and print what was measured until then; a second one, \
100ms later at the earliest, ends it at once without results. SIGHUP does nothing if it was ignored from \
the start (nohup)
  SIGUSR1, SIGUSR2, SIGPIPE, SIGXFSZ, SIGTTOU  Nothing";

/// The arguments of `edgeloop bench`.
#[derive(Debug, Default, Args)]
#[allow(rustdoc::broken_intra_doc_links, reason = "the help prints its brackets as they are")]
pub(crate) struct BenchArgs {
    /// The service to load, which must echo: HOST:PORT, [IPV6]:PORT, or PORT for 127.0.0.1:PORT.
    /// Of a name's addresses, the first one is used that can be connected to
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: OsString,

    /// Connections [default: 50]
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) connections: Option<OsString>,

    /// Bytes of a message [default: 64; with --stream 64KiB]
    #[arg(short, long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) size: Option<OsString>,

    /// Messages in flight on each connection, at the most; what waits behind them still counts from
    /// its time [default: 1; with -r as many as it takes, up to 4M in all]
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) pipeline: Option<OsString>,

    /// For how long to measure [default: 10s, without -n]
    #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) duration: Option<OsString>,

    /// Messages to send in all. Without -d, a run in which nothing comes back for 10s ends, too
    #[arg(short = 'n', long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) messages: Option<OsString>,

    /// Messages a second in all, sent on schedule whatever the answers do
    #[arg(short, long, value_name = "RATE", allow_hyphen_values = true)]
    pub(crate) rate: Option<OsString>,

    /// Look for the highest rate that keeps within this, like p99<1ms or p99.9<500us, by runs of -d
    /// each [default: 3s] at rates from -r on [default: 1k]
    #[arg(long, visible_alias = "ramp", value_name = "BOUND", allow_hyphen_values = true)]
    pub(crate) find: Option<OsString>,

    /// How the messages of a rate are spread: uniform or poisson [default: uniform]
    #[arg(long, value_name = "HOW", allow_hyphen_values = true)]
    pub(crate) arrival: Option<OsString>,

    /// What comes first and is not counted [default: 1s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) warmup: Option<OsString>,

    /// How long the last answers are waited for [default: 1s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) grace: Option<OsString>,

    /// Make a connection for each message: connect, send, receive, close
    #[arg(long)]
    pub(crate) connect_per_message: bool,

    /// Measure throughput: large messages, 256 KiB in flight on each connection (see --window)
    #[arg(long)]
    pub(crate) stream: bool,

    /// Bytes in flight on each connection, with --stream [default: 256KiB]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) window: Option<OsString>,

    /// Keep so many connections open, most of them idle (see --active, --open-rate)
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) hold: Option<OsString>,

    /// How many of the connections carry messages, with --hold [default: 1 in 100]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) active: Option<OsString>,

    /// Connections opened a second, with --hold [default: 1k]
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    pub(crate) open_rate: Option<OsString>,

    /// Threads, each with a loop and a part of the connections [default: 1]
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) threads: Option<OsString>,

    /// A local address to connect from; several are used in turn
    #[arg(long, value_name = "IP", allow_hyphen_values = true)]
    pub(crate) source: Vec<OsString>,

    /// How long to wait for each address when connecting, or none [default: 10s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) connect_timeout: Option<OsString>,

    /// How long before a send its time is polled for; none sleeps, and is late by what it takes to
    /// wake up [default: 200us]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) busy_poll: Option<OsString>,

    /// Compare what comes back with what was sent; done anyway but with --stream
    #[arg(long, overrides_with = "no_verify")]
    pub(crate) verify: bool,

    /// Only count what comes back
    #[arg(long, overrides_with = "verify")]
    pub(crate) no_verify: bool,

    /// What the bytes and a random schedule are made from [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) seed: Option<OsString>,

    /// Write the results to this file; - is standard output, and keeps the summary from it
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<OsString>,

    /// Write a row for each second to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<OsString>,

    /// Draw a page of the results into this file, in HTML (see 'edgeloop report --help')
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<OsString>,

    /// The results of an earlier run (its --json) that the page compares this one with
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<OsString>,

    /// Tell what it cost, and how often
    #[arg(short, long, overrides_with = "quiet")]
    pub(crate) verbose: bool,

    /// Show nothing while it runs
    #[arg(short, long, overrides_with_all = ["verbose", "quiet"])]
    pub(crate) quiet: bool,
}
