//! The arguments of `edgeloop bench`, as they were typed.

use std::ffi::OsString;

use clap::Args;

/// What stands below the short help.
pub(crate) const SEE_HELP: &str =
    "'edgeloop bench --help' explains each option and the exit codes.";

pub(crate) const AFTER_HELP: &str = "\
Durations are written like 500ms, 10s or 1m30s, sizes like 64, 16KiB or 1MB, counts and rates like 50000 or 50k \
(k, M and G are thousands).

Latency counts from when a message was due. In the open loop (-r) that is its time in the schedule, however late it \
was sent. The service time beside it counts from when it was sent.

A file that --json, --csv or --report names is replaced when the run is over and the new one is complete; until \
then it stays as it was. A FIFO, a device and - are written directly. A FIFO needs a reader before the run begins.

Exit codes:
  0      Done
  1      Done, with network errors or unanswered messages, or nothing was
         answered
  2      The command line is wrong, the address can't be resolved, or a file
         can't be written
  3      Bytes came back wrong: changed, missing, or more than expected
  4      The rate could not be kept
  5      A --fail-if holds
  70     A fatal error
  128+N  A second signal N: 130 for SIGINT, 143 for SIGTERM
If several apply, it is the first of 2, 3, 1, 4, 5. With a --fail-if about lost or unanswered, lost \
datagrams alone are no 1, unless nothing was answered.

Signals:
  SIGTERM, SIGINT, SIGHUP
         End the run early; print and write what was measured. A second one, at
         least 100ms later, ends it at once without results; files stay as they
         were. SIGHUP does nothing if it was ignored from the start (nohup)
  SIGUSR1, SIGUSR2, SIGPIPE, SIGXFSZ, SIGTTOU
         Nothing";

/// The arguments of `edgeloop bench`.
#[derive(Debug, Default, Args)]
#[allow(rustdoc::broken_intra_doc_links, reason = "the help prints its brackets as they are")]
pub(crate) struct BenchArgs {
    /// The service: HOST:PORT, [IPV6]:PORT, PORT, udp://HOST:PORT, unix:PATH or unix:@NAME
    ///
    /// PORT alone is 127.0.0.1:PORT. Connections take all addresses of a host name in turn; where
    /// one can't be connected to, they try the next. tcp:// may precede each of these. unix:PATH is
    /// the file of a Unix socket, unix:@NAME a name without a file (abstract). Several addresses,
    /// of all kinds, are taken in turn like those of one name. udp://HOST:PORT is measured with
    /// datagrams, each of which has a number: -c is then the number of sockets, each with a port of
    /// its own
    #[arg(value_name = "ADDRESS", required = true)]
    pub(crate) address: Vec<OsString>,

    /// Number of connections [default: 50]
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) connections: Option<OsString>,

    /// Size of a message [default: 64; with --stream 64KiB]
    ///
    /// From 1 byte to 1GiB; of a datagram from 8 to 65507 bytes (65527 over IPv6)
    #[arg(short, long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) size: Option<OsString>,

    /// Send this text, or the content of @FILE; can be repeated
    ///
    /// For services that do not echo. Several messages are sent in turn on each connection. The
    /// text takes the escapes of C: \r \n \t \0 \\ \" \xHH and octal; @@ at its beginning stands
    /// for @. A file is sent as it is
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) send: Vec<OsString>,

    /// Where a reply to --send ends [default: echo]
    ///
    /// bytes:N after N bytes, lines:N after N line feeds, until:TEXT after this text (with
    /// escapes), echo when it is as long as the message, which it is compared with. close when the
    /// service closes the connection, as in HTTP/1.0: each message then has a connection of its
    /// own, as with --connect-per-message, and --send '' sends nothing. With --expect, the default
    /// is the length of that. Given once for all messages, or once for each
    #[arg(long, value_name = "END", allow_hyphen_values = true)]
    pub(crate) reply: Vec<OsString>,

    /// Compare replies to --send with this text or @FILE
    ///
    /// Given once for all messages, or once for each. Without it, only echoes are compared
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) expect: Vec<OsString>,

    /// Where the greeting ends, if the service speaks first: lines:1
    ///
    /// bytes:N, lines:N or until:TEXT, as with --reply, for services such as SMTP or FTP. Nothing
    /// is sent on a connection before its greeting has come. The greeting is a part of opening the
    /// connection, and may take as long as a connect (--connect-timeout)
    #[arg(long, value_name = "END", allow_hyphen_values = true)]
    pub(crate) greeting: Option<OsString>,

    /// Maximum messages in flight on a connection [default: 1]
    ///
    /// A message that waits behind them still counts from its time in the schedule. With -r, the
    /// default is no limit for a connection, and 4M in all
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) pipeline: Option<OsString>,

    /// How long to measure [default: 10s, without -n]
    #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) duration: Option<OsString>,

    /// Number of messages to measure in all
    ///
    /// These are all that reach the service, unless --warmup is given, too: messages of the warm-up
    /// come on top. The run ends when all are answered, or when nothing was sent or received for
    /// 10s; with -d, after that time at the latest
    #[arg(short = 'n', long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) messages: Option<OsString>,

    /// Messages a second in all, sent on schedule
    ///
    /// They are sent on time, whether or not earlier ones were answered (open loop). Without it,
    /// each is sent as soon as an earlier one was answered (closed loop)
    #[arg(short, long, value_name = "RATE", allow_hyphen_values = true)]
    pub(crate) rate: Option<OsString>,

    /// Change the rate in steps: 1k:10s,2k:10s,5k..20k:30s
    ///
    /// Each step is a rate and a duration. A..B changes the rate evenly from A to B, and 0 is a
    /// pause. The warm-up has the first rate. The results have a row for each step, of the messages
    /// that were due in it. At most 100 steps
    #[arg(long, value_name = "STEPS", allow_hyphen_values = true)]
    pub(crate) profile: Option<OsString>,

    /// Find the highest rate within a bound: p99<1ms
    ///
    /// The bound is one of mean, p50, p90, p95, p99, p99.9, p99.99 or max, like p99.9<500us. The
    /// search makes runs of -d each [default: 3s, up to 60s where a percentile needs more samples],
    /// at rates from -r on [default: 1k, or more where a percentile needs it]
    #[arg(long, visible_alias = "ramp", value_name = "BOUND", allow_hyphen_values = true)]
    pub(crate) find: Option<OsString>,

    /// Make this many runs, and show their spread
    ///
    /// From 1 to 100 runs one after another, each with its own connections and warm-up. With 3 or
    /// more on both sides, --baseline tells differences from noise
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) repeat: Option<OsString>,

    /// Fail if this holds: p99>1ms; can be repeated
    ///
    /// A figure (min, mean, p50, p90, p95, p99, p99.9, p99.99, max, rate, errors, unanswered or
    /// lost), > or <, and a limit. lost is what was never answered, and can be a share: lost>0.1%.
    /// With it, lost datagrams alone are no exit code 1. +10% or -5% as limit is the difference to
    /// --baseline, and fails only beyond the noise where that is known. A figure that cannot be
    /// judged fails. The exit code is 5
    #[arg(long, value_name = "CONDITION", allow_hyphen_values = true)]
    pub(crate) fail_if: Vec<OsString>,

    /// Spacing of messages: uniform or poisson [default: uniform]
    #[arg(long, value_name = "HOW", allow_hyphen_values = true)]
    pub(crate) arrival: Option<OsString>,

    /// Warm-up before the measured time [default: 1s; with -n 0]
    ///
    /// The service gets messages then, too, which count in no figure
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) warmup: Option<OsString>,

    /// How long to wait for the last answers [default: 1s]
    ///
    /// For udp://, the default is what --timeout is
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) grace: Option<OsString>,

    /// Make a connection for each message
    ///
    /// Connect, send, receive, close. --reply close implies it
    #[arg(long)]
    pub(crate) connect_per_message: bool,

    /// Measure throughput with large messages (see --window)
    #[arg(long)]
    pub(crate) stream: bool,

    /// Bytes in flight on a connection, with --stream [default: 256KiB]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) window: Option<OsString>,

    /// Keep this many connections open, most of them idle
    ///
    /// --active of them carry messages. They are opened at --open-rate
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) hold: Option<OsString>,

    /// Connections that carry messages, with --hold [default: 1 in 100]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) active: Option<OsString>,

    /// Connections opened a second, with --hold [default: 1k]
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    pub(crate) open_rate: Option<OsString>,

    /// Number of threads [default: 1]
    ///
    /// Each has an event loop and a share of the connections
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) threads: Option<OsString>,

    /// Connect only to the first address of each host name
    #[arg(long)]
    pub(crate) first_address: bool,

    /// Local address to connect from; can be repeated
    ///
    /// Several are used in turn, which gives more ports. Addresses of a host name that none of them
    /// can reach (IPv4, IPv6) are left out. Not for Unix sockets
    #[arg(long, value_name = "IP", allow_hyphen_values = true)]
    pub(crate) source: Vec<OsString>,

    /// How long to wait for a connect [default: 10s]
    ///
    /// It counts for each address of a name, and again for a --greeting. none waits as long as the
    /// kernel does, and for a greeting without end
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) connect_timeout: Option<OsString>,

    /// How long to wait for the answer to a datagram [default: 1s]
    ///
    /// A datagram without an answer by then is lost. It ranks above all that were answered, also if
    /// its answer comes late. Only for udp://
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) timeout: Option<OsString>,

    /// Poll this long before each send [default: 200us]
    ///
    /// Polling keeps sends on time, and takes up to this much processor time for each of them: at
    /// 1k messages a second up to a fifth of a processor, from 5k on up to a whole one. none sleeps
    /// instead: sends are then late by the time that waking up takes
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) busy_poll: Option<OsString>,

    /// Compare what comes back with what was sent
    ///
    /// This is the default, except with --stream
    #[arg(long, overrides_with = "no_verify")]
    pub(crate) verify: bool,

    /// Only count what comes back
    #[arg(long, overrides_with = "verify")]
    pub(crate) no_verify: bool,

    /// Seed of the payload and of random schedules [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) seed: Option<OsString>,

    /// Name of this run, shown in the summary and in reports
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) label: Option<OsString>,

    /// Write the results to this file; - is standard output
    ///
    /// With -, the summary is not printed
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<OsString>,

    /// Write a row for each second to this file; - is standard output
    ///
    /// With -, each row comes when its second is over, and the summary is not printed
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<OsString>,

    /// Write an HTML report to this file
    ///
    /// See 'edgeloop report --help'
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<OsString>,

    /// Compare with an earlier run (its --json)
    ///
    /// The summary and the report show the differences, and which of them are beyond the noise (see
    /// --repeat). It is read before the run begins, so --json may name the
    /// same file
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<OsString>,

    /// Also show what the run cost in processor time
    #[arg(short, long, overrides_with = "quiet")]
    pub(crate) verbose: bool,

    /// Show nothing while it runs
    #[arg(short, long, overrides_with_all = ["verbose", "quiet"])]
    pub(crate) quiet: bool,
}
