//! The command line as it was typed: nothing in here is judged yet but its grammar.
//!
//! Values stay texts, because each can also come from the environment, and a wrong one is to be
//! reported by the name that it came under. `config` reads them.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::bench;
use crate::bench::args::BenchArgs;
use crate::exit::Failure;
use crate::generate::args::GenerateArgs;
use crate::report;
use crate::report::args::ReportArgs;
use crate::usage;
use crate::version;

const ABOUT: &str =
    "An echo server on an epoll event loop that never loses a byte, and a load generator";

/// What stands below the short help.
const SEE_HELP: &str =
    "'--help' explains each option, its environment variable, signals and exit codes.";

const AFTER_HELP: &str = "\
Each option can also be set by the environment variable named with it; EDGELOOP_ADDRESS takes several \
addresses, separated by blanks or commas. The command line comes first. An empty variable counts as unset.

Durations are written like 500ms, 10m or 1h30m, sizes like 65536, 64KiB (65,536 bytes) or 64kB (64,000 bytes), \
counts like 10000 or 10k.

Signals:
  SIGTERM, SIGINT   Accept what waits in the backlog, then drain: connections
                    are served on until they end, those that are quiet for a
                    second and owed nothing are closed, and the drain timeout
                    cuts off the rest. A second signal ends it at once; one
                    within 100ms counts as the first
  SIGHUP            Drain, unless it was ignored from the start (nohup); nothing
                    during a drain
  SIGUSR1, SIGUSR2, SIGPIPE, SIGXFSZ, SIGTTOU
                    Nothing. Lines that the log's file or terminal does not take
                    are dropped and counted
  SIGTSTP, SIGCONT  Stop and go on. Others, such as SIGQUIT and SIGALRM, end it
                    at once without totals

Exit codes:
  0      All connections ended by themselves and the kernel accepted all output
  1      The drain timeout cut connections off, or output was dropped (write
         timeouts, resets); how many or how much is said
  2      The command line or the environment is wrong, or an address can't be
         listened on
  70     A fatal error while running
  128+N  A second signal N: 130 for SIGINT, 143 for SIGTERM";

/// The whole command line. Without a subcommand it is `serve`'s.
#[derive(Debug, Parser)]
#[command(name = "edgeloop", version, long_version = version::LONG.as_str(), about = ABOUT)]
#[command(after_help = SEE_HELP, after_long_help = AFTER_HELP)]
#[command(args_conflicts_with_subcommands = true, propagate_version = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

/// What the program is asked to do.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, and it is taken apart at once")]
pub(crate) enum Command {
    /// Serve echo; this is the default without a command
    #[command(display_name = "edgeloop", after_help = SEE_HELP, after_long_help = AFTER_HELP)]
    Serve(ServeArgs),
    /// Load a service and measure its latency
    #[command(display_name = "edgeloop", after_help = bench::args::SEE_HELP)]
    #[command(after_long_help = bench::args::AFTER_HELP)]
    Bench(BenchArgs),
    /// Render an HTML report of earlier runs; merge simultaneous ones
    #[command(display_name = "edgeloop", after_help = report::args::SEE_HELP)]
    #[command(after_long_help = report::args::AFTER_HELP)]
    Report(ReportArgs),
    /// Make man pages or completions
    #[command(display_name = "edgeloop", hide = true)]
    Generate(GenerateArgs),
}

/// The arguments of `edgeloop serve`. The environment variable of each is added by [`grammar`].
#[derive(Debug, Default, Args)]
#[allow(rustdoc::broken_intra_doc_links, reason = "the help prints its brackets as they are")]
pub(crate) struct ServeArgs {
    /// Where to listen: HOST:PORT, [IPV6]:PORT or PORT [default: 0.0.0.0:3000]
    ///
    /// PORT alone is 0.0.0.0:PORT. Several addresses are allowed. A host name stands for all its
    /// addresses, port 0 for a free port. An IPv6 address can name its interface:
    /// [fe80::1%eth0]:3000
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: Vec<OsString>,

    /// Maximum number of connections [default: what descriptors allow]
    ///
    /// Further clients wait in the backlog until a connection ends. The limit of descriptors
    /// (ulimit -n) lowers it, with a warning
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) max_connections: Option<OsString>,

    /// Close a connection after this long without traffic [default: 10m]
    ///
    /// none disables it
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) idle_timeout: Option<OsString>,

    /// Reset a peer that takes no output for this long [default: 1m]
    ///
    /// A peer that reads less than a sixteenth of its receive buffer in this time cannot be told from
    /// one that reads nothing. none disables it
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) write_timeout: Option<OsString>,

    /// Probe an idle peer after this long [default: 2m or none]
    ///
    /// The default is 2m with --idle-timeout none, else none.
    /// The kernel sends the probes, and ends the connection after as long again without an answer.
    /// none sends none
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) keepalive: Option<OsString>,

    /// Give up a peer that acknowledges nothing this long [default: none]
    ///
    /// The kernel does this, also where the peer has no room, and after the connection has ended
    /// here. none leaves it to the kernel's own limits
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) user_timeout: Option<OsString>,

    /// After a signal, serve open connections this long [default: 10s]
    ///
    /// Connections that are still open then are reset. 0 resets them at once, none waits until all
    /// have ended
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) drain_timeout: Option<OsString>,

    /// Maximum bytes queued [default: 256MiB or a quarter of memory]
    ///
    /// Bytes wait in a queue when a peer does not take its output. Near the limit, only peers that
    /// are owed nothing are read, and those that take nothing may be reset. The memory allowed is
    /// the least of the cgroup's, the process's and the machine's. What the kernel holds for sockets
    /// comes on top: see --send-buffer
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) buffer_limit: Option<OsString>,

    /// Send buffer of each socket [default: as the kernel tunes it]
    ///
    /// The kernel keeps what is in it after the connection has ended, too. It is lowered to
    /// net.core.wmem_max; a warning says so
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) send_buffer: Option<OsString>,

    /// Length of each listener's backlog [default: 4096]
    ///
    /// The kernel lowers it to net.core.somaxconn; a warning says so
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) backlog: Option<OsString>,

    /// Events that one epoll wait takes at first [default: 512]
    ///
    /// The number grows up to 4096 while batches come back full
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) event_batch: Option<OsString>,

    /// Maximum number of splice(2) pipes [default: 16]
    ///
    /// Streaming connections pass through them inside the kernel. Each pipe takes two descriptors.
    /// Without a free pipe, bytes are copied; 0 copies everything
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) pipes: Option<OsString>,

    /// Poll this long before sleeping, at most 1s [default: 0]
    ///
    /// After a turn with work, the loop polls for this long before it sleeps, while that pays off.
    /// Polling takes a whole processor. 0 or none always sleeps
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) spin: Option<OsString>,

    /// Do not accept IPv4 on an IPv6 address such as [::]
    #[arg(long)]
    pub(crate) ipv6_only: bool,

    /// Format of the log on standard error: text or json [default: text]
    ///
    /// json writes one object a line
    #[arg(long, value_name = "FORMAT", allow_hyphen_values = true)]
    pub(crate) log_format: Option<OsString>,

    /// Log each connection; -vv logs events and payload too
    ///
    /// -vv also logs descriptors. In the environment, the value is 0, 1 or 2. The last of -v and -q
    /// counts
    #[arg(short, long, action = clap::ArgAction::Count, overrides_with = "quiet")]
    pub(crate) verbose: u8,

    /// Log only errors and the addresses listened on
    ///
    /// The last of -v and -q counts
    #[arg(short, long, overrides_with_all = ["verbose", "quiet"])]
    pub(crate) quiet: bool,
}

/// The environment variable that stands for an option.
pub(crate) fn variable(option: &str) -> String {
    format!("EDGELOOP_{}", option.replace('-', "_").to_uppercase())
}

/// Every environment variable that is read.
pub(crate) fn variables() -> Vec<String> {
    let serve = ServeArgs::augment_args(clap::Command::new("serve"));
    serve.get_arguments().map(|argument| variable(argument.get_id().as_str())).collect()
}

/// The grammar, with the environment variable of each of serve's options in its help.
pub(crate) fn grammar() -> clap::Command {
    fn with_variables(command: clap::Command) -> clap::Command {
        command.mut_args(|arg| {
            if matches!(arg.get_id().as_str(), "help" | "version") {
                return arg;
            }
            // The short help has a line for each option, without room for this.
            let help = arg.get_long_help().or_else(|| arg.get_help()).cloned().unwrap_or_default();
            let variable = variable(arg.get_id().as_str());
            arg.long_help(format!("{help}\n\n[env: {variable}]"))
        })
    }
    with_variables(CommandLine::command()).mut_subcommand("serve", with_variables)
}

/// What parsing a command line comes to.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one, and it is taken apart at once")]
pub(crate) enum Parsed {
    /// Do this.
    Run(Command),
    /// Print the help or the version, which this error holds.
    Print(clap::Error),
}

/// # Errors
///
/// A [`Failure`] with one line, where clap would print several.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, Failure> {
    let args: Vec<OsString> = args.into_iter().collect();
    let mut grammar = grammar();
    let parsed = grammar
        .try_get_matches_from_mut(&args)
        .and_then(|mut matches| CommandLine::from_arg_matches_mut(&mut matches));
    let command = match parsed {
        Ok(line) => line.command.unwrap_or(Command::Serve(line.serve)),
        Err(error) => {
            return match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Parsed::Print(error)),
                _ => Err(Failure::usage(usage::describe(&error, &args, &grammar))),
            };
        }
    };
    // After an option, clap takes the name of a command for an address.
    let addresses = match &command {
        Command::Serve(args) => &args.address[..],
        Command::Bench(args) => std::slice::from_ref(&args.address),
        Command::Report(_) | Command::Generate(_) => &[],
    };
    let mut words = addresses.iter().filter_map(|address| address.to_str());
    match words.find_map(|word| usage::mistaken_command(word, &grammar)) {
        Some(line) => Err(Failure::usage(line)),
        None => Ok(Parsed::Run(command)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(line: &[&str]) -> ServeArgs {
        let args = std::iter::once("edgeloop").chain(line.iter().copied()).map(OsString::from);
        match parse(args) {
            Ok(Parsed::Run(Command::Serve(args))) => args,
            other => panic!("{line:?}: {other:?}"),
        }
    }

    fn failure(line: &[&str]) -> String {
        let args = std::iter::once("edgeloop").chain(line.iter().copied()).map(OsString::from);
        let failure = parse(args).expect_err("a wrong command line");
        assert_eq!(failure.exit, crate::exit::Exit::Usage);
        assert!(!failure.line.contains('\n'), "{}", failure.line);
        failure.line
    }

    #[test]
    fn the_grammar_is_sound() {
        grammar().debug_assert();
    }

    #[test]
    fn every_option_has_its_variable_and_nothing_else_has() {
        let variables = variables();
        for name in ["EDGELOOP_ADDRESS", "EDGELOOP_BACKLOG", "EDGELOOP_VERBOSE"] {
            assert!(variables.iter().any(|variable| variable == name), "{name}");
        }
        for name in ["EDGELOOP_HELP", "EDGELOOP_VERSION"] {
            assert!(!variables.iter().any(|variable| variable == name), "{name}");
        }
    }

    #[test]
    fn serve_is_what_is_done_when_no_command_is_named() {
        for line in [&[][..], &["serve"]] {
            assert!(serve(line).address.is_empty(), "{line:?}");
        }
        for line in
            [&["-v", "3000", "--backlog", "5000"][..], &["serve", "-v", "3000", "--backlog=5000"]]
        {
            let args = serve(line);
            assert_eq!((args.verbose, args.address), (1, vec!["3000".into()]), "{line:?}");
            assert_eq!(args.backlog, Some("5000".into()), "{line:?}");
        }
    }

    #[test]
    fn verbosity_is_counted_and_addresses_are_collected() {
        assert_eq!(serve(&["-vv"]).verbose, 2);
        assert_eq!(serve(&["-v", "-v", "--verbose"]).verbose, 3);
        for (line, counts) in [
            (&["-q"][..], (true, 0)),
            (&["-qq"], (true, 0)),
            (&["-vvq"], (true, 0)),
            (&["-vqv"], (false, 1)),
            (&["-q", "--verbose", "-v"], (false, 2)),
        ] {
            let args = serve(line);
            assert_eq!((args.quiet, args.verbose), counts, "{line:?}");
        }
        assert_eq!(serve(&["1", "2", "-q", "3"]).address, ["1", "2", "3"]);
    }

    #[test]
    fn what_begins_with_a_hyphen_is_taken_for_the_value() {
        assert_eq!(serve(&["--idle-timeout", "-1"]).idle_timeout, Some("-1".into()));
    }

    #[test]
    fn each_command_has_the_version() {
        for line in [&["-V"][..], &["serve", "-V"], &["bench", "-V"], &["report", "-V"]] {
            let args = std::iter::once("edgeloop").chain(line.iter().copied()).map(OsString::from);
            let Ok(Parsed::Print(version)) = parse(args) else { panic!("{line:?}") };
            let expected = format!("edgeloop {}\n", env!("CARGO_PKG_VERSION"));
            assert_eq!(version.to_string(), expected, "{line:?}");
        }
    }

    #[test]
    fn what_was_probably_meant_is_suggested() {
        for (line, words) in [
            (&["serv"][..], "did you mean 'edgeloop serve'?"),
            (&["server", "3000"], "did you mean 'edgeloop serve'?"),
            (&["benhc", "-q"], "did you mean 'edgeloop bench'?"),
            (&["reprot"], "did you mean 'edgeloop report'?"),
            (&["version"], "did you mean 'edgeloop --version'?"),
            (&["hlep"], "did you mean 'edgeloop help'?"),
            (&["rep"], "did you mean 'edgeloop report'?"),
            (&["VERSION"], "did you mean 'edgeloop --version'?"),
            (&["help", "benc"], "did you mean 'bench'?"),
            (&["--maxconnections", "5"], "did you mean '--max-connections'?"),
            (&["serve", "--max_connections=5"], "did you mean '--max-connections'?"),
            (&["-version"], "unknown option '-version'; did you mean '--version'?"),
            (&["--timeout", "5s"], "'--user-timeout' or '--drain-timeout'?"),
            (&["bench", "--connection", "5"], "did you mean '--connections'?"),
            (&["bench", "--clients", "5"], "did you mean '--connections'?"),
            (&["serve", "--log-level", "5"], "did you mean '--verbose'?"),
            (&["--connections", "5"], "an option of 'edgeloop bench'"),
            (&["report", "--backlog", "5"], "an option of 'edgeloop serve'"),
            (&["--port", "3000"], "without an option, as in 127.0.0.1:3000"),
            (&["serve", "-p", "3000"], "without an option, as in 127.0.0.1:3000"),
        ] {
            let line = failure(line);
            assert!(line.contains(words), "{line}");
        }
    }

    #[test]
    fn a_host_without_its_port_is_left_to_be_one() {
        for host in ["localhost", "runner", "art", "host", "a", "infobox"] {
            assert_eq!(serve(&[host]).address, [host]);
        }
    }

    #[test]
    fn the_help_that_is_named_is_that_of_the_command() {
        for (line, words) in [
            (&["--nonsense"][..], "see 'edgeloop --help'"),
            (&["serve", "--nonsense"], "see 'edgeloop serve --help'"),
            (&["bench", "--nonsense"], "see 'edgeloop bench --help'"),
            (
                &["bench"],
                "ADDRESS is missing, as in 'edgeloop bench 127.0.0.1:3000'; see 'edgeloop bench --help'",
            ),
            (
                &["report"],
                "FILE is missing, as in 'edgeloop report run.json -o page.html'; see 'edgeloop report",
            ),
            (&["help", "nonsense"], "see 'edgeloop --help'"),
        ] {
            let line = failure(line);
            assert!(line.contains(words), "{line}");
        }
    }

    #[test]
    fn a_wrong_command_line_is_one_line_that_names_the_thing() {
        let wrong = [
            (&["--nonsense"][..], "--nonsense"),
            (&["-x"], "-x"),
            (&["--backlog"], "'--backlog <N>' has no value"),
            (&["bench", "1", "2"], "'2': one ADDRESS is enough"),
            (
                &["--idle-timeout", "1s", "--idle-timeout", "2s"],
                "'--idle-timeout <DURATION>' is given twice",
            ),
            (&["--quiet=1"], "'--quiet' takes no value, but '1' was given"),
            (&["--a\n\nb\x1b"], "--a"),
            (&["-v", "serve"], "'edgeloop serve'"),
            (&["serve", "bench"], "'edgeloop bench'"),
            (&["bench", "-q", "report"], "'edgeloop report'"),
        ];
        for (line, name) in wrong {
            let line = failure(line);
            assert!(line.contains(name), "{line}");
            assert!(!line.chars().any(char::is_control), "{line}");
        }
    }
}
