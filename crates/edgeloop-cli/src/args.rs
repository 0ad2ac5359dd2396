//! The command line as it was typed: nothing in here is judged yet but its grammar.
//!
//! Values stay texts, because each can also come from the environment, and a wrong one is to be
//! reported by the name that it came under. `config` reads them.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::bench;
use crate::bench::args::BenchArgs;
use crate::escape::OneLine;
use crate::exit::Failure;
use crate::report;
use crate::report::args::ReportArgs;

const ABOUT: &str = "An echo server on an epoll event loop that loses no byte";

const AFTER_HELP: &str = "\
Every option can also be set by the environment variable named with it, EDGELOOP_ADDRESS with \
several addresses separated by blanks or commas. The command line comes first; an empty variable \
counts as none.

Durations are written like 500ms, 10m or 1h30m, sizes like 65536, 64KiB (65,536 bytes) or 64kB \
(64,000 bytes).

Signals:
  SIGTERM, SIGINT  Accept what waits in the backlog, then drain: connections are served on until \
they end, those that are quiet for a second and owed nothing are closed, and the drain timeout \
cuts off the rest. A second signal ends it at once.

Exit codes:
  0      All connections ended by themselves and the kernel accepted all output
  1      The drain timeout cut connections off; their number is said
  2      The command line or the environment is wrong, or an address can't be listened on
  70     A fatal error while running
  128+N  A second signal N: 130 for SIGINT, 143 for SIGTERM";

/// The whole command line. Without a subcommand it is `serve`'s.
#[derive(Debug, Parser)]
#[command(name = "edgeloop", version, about = ABOUT, after_help = AFTER_HELP)]
#[command(args_conflicts_with_subcommands = true)]
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
    /// Serve echo; this is what edgeloop does when no command is named
    #[command(after_help = AFTER_HELP)]
    Serve(ServeArgs),
    /// Load a service that echoes, and tell the truth about its latency
    #[command(after_help = bench::args::AFTER_HELP)]
    Bench(BenchArgs),
    /// Draw a page of what earlier runs came to, and merge runs that were made at once
    #[command(after_help = report::args::AFTER_HELP)]
    Report(ReportArgs),
}

/// The arguments of `edgeloop serve`. The environment variable of each is added by [`command`].
#[derive(Debug, Default, Args)]
#[allow(rustdoc::broken_intra_doc_links, reason = "the help prints its brackets as they are")]
pub(crate) struct ServeArgs {
    /// Where to listen: HOST:PORT, [IPV6]:PORT, or PORT for 0.0.0.0:PORT; several allowed. A host
    /// name binds all its addresses, port 0 a free port [default: 0.0.0.0:3000]
    #[arg(value_name = "ADDRESS")]
    pub(crate) address: Vec<OsString>,

    /// The most connections at a time; others wait in the backlog [default: what the limit of
    /// descriptors allows]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) max_connections: Option<OsString>,

    /// Close a connection on which nothing moved for so long, or none [default: 10m]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) idle_timeout: Option<OsString>,

    /// Reset a connection whose peer takes none of its output for so long, or none. A peer that reads less
    /// than a sixteenth of its receive buffer meanwhile can't be told from one that reads nothing
    /// [default: 1m]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) write_timeout: Option<OsString>,

    /// Have the kernel probe a connection after this long without traffic, and end it after as long again
    /// without an answer; none never does [default: 2m with --idle-timeout none, else none]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) keepalive: Option<OsString>,

    /// Have the kernel give up a connection whose peer acknowledges nothing or has no room for this
    /// long, also after it has ended here [default: none]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) user_timeout: Option<OsString>,

    /// After a signal, how long open connections are served on before they are cut off: 0 for not
    /// at all, none for as long as they take [default: 10s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) drain_timeout: Option<OsString>,

    /// The ceiling of all bytes queued at a time, in both directions; what the kernel holds for sockets
    /// comes on top, see --send-buffer [default: 256MiB, or a quarter of
    /// the memory that the cgroup, the process's limits and the machine allow, if that is less]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) buffer_limit: Option<OsString>,

    /// The send buffer of each socket, beside the buffer limit: the kernel keeps what is in it when the
    /// connection has ended, too; net.core.wmem_max caps it [default: as the kernel tunes it]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) send_buffer: Option<OsString>,

    /// The backlog of each listener, which net.core.somaxconn caps [default: 4096]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) backlog: Option<OsString>,

    /// How many events one epoll wait takes at first; it grows when they come in full batches
    /// [default: 512]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) event_batch: Option<OsString>,

    /// The most pipes, with two descriptors each, through which what streams is passed on inside the
    /// kernel: 0 copies everything [default: 16]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) pipes: Option<OsString>,

    /// After a turn with work, how long to poll before sleeping, for as long as that pays; at most 1s
    /// [default: 0]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) spin: Option<OsString>,

    /// Leave IPv4 alone when listening on an IPv6 address such as [::]
    #[arg(long)]
    pub(crate) ipv6_only: bool,

    /// How the log on standard error is written: text, or json with one object for each line
    /// [default: text]
    #[arg(long, value_name = "FORMAT", allow_hyphen_values = true)]
    pub(crate) log_format: Option<OsString>,

    /// Log connections opened and closed; twice (-vv, or 2 in the environment): descriptors,
    /// events and payload too
    #[arg(short, long, action = clap::ArgAction::Count, overrides_with = "quiet")]
    pub(crate) verbose: u8,

    /// Log nothing but the addresses listened on, and errors; the last of -q and -v counts
    #[arg(short, long, overrides_with_all = ["verbose", "quiet"])]
    pub(crate) quiet: bool,
}

/// The environment variable that stands for an option.
pub(crate) fn variable(option: &str) -> String {
    format!("EDGELOOP_{}", option.replace('-', "_").to_uppercase())
}

/// The grammar, with the environment variable of each of serve's options in its help.
fn command() -> clap::Command {
    fn with_variables(command: clap::Command) -> clap::Command {
        command.mut_args(|arg| {
            if matches!(arg.get_id().as_str(), "help" | "version") {
                return arg;
            }
            let help = arg.get_help().cloned().unwrap_or_default();
            let variable = variable(arg.get_id().as_str());
            arg.help(format!("{help} [env: {variable}]"))
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
    let parsed = command()
        .try_get_matches_from(args)
        .and_then(|mut matches| CommandLine::from_arg_matches_mut(&mut matches));
    match parsed {
        Ok(CommandLine { command: Some(command), .. }) => Ok(Parsed::Run(command)),
        Ok(CommandLine { command: None, serve }) => match misplaced_command(&serve) {
            None => Ok(Parsed::Run(Command::Serve(serve))),
            Some(name) => Err(Failure::usage(format!(
                "the command '{name}' comes before its options; see 'edgeloop --help'"
            ))),
        },
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Parsed::Print(error)),
            _ => Err(Failure::usage(first_line(&error))),
        },
    }
}

/// After an option, clap takes the name of a command for an address, which it can't be.
fn misplaced_command(serve: &ServeArgs) -> Option<&str> {
    let is_command = |name: &&str| CommandLine::command().find_subcommand(name).is_some();
    serve.address.iter().filter_map(|address| address.to_str()).find(is_command)
}

/// The essence of clap's message, without the hints that follow.
fn first_line(error: &clap::Error) -> String {
    let message = error.render().to_string();
    let essence = message.split("\n\n").next().unwrap_or_default();
    let essence = essence.strip_prefix("error: ").unwrap_or(essence);
    format!("{}; see 'edgeloop --help'", OneLine(essence))
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
        command().debug_assert();
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
    fn a_wrong_command_line_is_one_line_that_names_the_thing() {
        let wrong = [
            (&["--nonsense"][..], "--nonsense"),
            (&["-x"], "-x"),
            (&["--backlog"], "--backlog"),
            (&["--idle-timeout", "1s", "--idle-timeout", "2s"], "--idle-timeout"),
            (&["--quiet=1"], "--quiet"),
            (&["--a\n\nb\x1b"], "--a"),
            (&["-v", "serve"], "serve"),
            (&["serve", "--version"], "--version"),
        ];
        for (line, name) in wrong {
            let line = failure(line);
            assert!(line.contains(name), "{line}");
            assert!(!line.chars().any(char::is_control), "{line}");
        }
    }
}
