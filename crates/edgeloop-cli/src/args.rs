//! The command line as it was typed: nothing in here is judged yet but its grammar.
//!
//! Values stay texts, because each can also come from the environment, and a wrong one is to be
//! reported by the name that it came under. `config` reads them.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::bench;
use crate::bench::args::BenchArgs;
use crate::exit::Failure;
use crate::generate::args::GenerateArgs;
use crate::report;
use crate::report::args::ReportArgs;
use crate::serve::args::{ServeArgs, variable};
use crate::usage;
use crate::version;

const ABOUT: &str =
    "An echo server on an epoll event loop that never loses a byte, and a load generator";

/// What stands below the short help.
const SEE_HELP: &str =
    "'--help' explains each option, its environment variable, signals and exit codes.";

const AFTER_HELP: &str = "\
Each option can also be set by the environment variable named with it; EDGELOOP_ADDRESS takes several \
addresses, separated by blanks or commas, which a path in it can't contain. The command line comes \
first. An empty variable counts as unset.

Listening sockets, TCP or Unix, that are passed in by LISTEN_FDS and LISTEN_PID, as by a socket \
unit of systemd, are served beside the addresses that are named, and alone if none is. --backlog \
applies to them, too; --ipv6-only, --unix-mode and --unix-owner do not. They stay open for whoever \
passed them in, so clients that connect after a signal wait for the next start.

A datagram is answered with itself, but not if it comes from port 0, 7, 13, 17, 19, 53, 69, 123, \
1900, 5353 or 11211, from an address that is served here, or from or to a broadcast or multicast \
address: anybody can put somebody else's address into a datagram. --udp-rate, --udp-rate-total and \
--udp-repeats limit the rest. The totals at the end have a count for each reason, and -v logs one \
of each reason a second. Datagrams have no influence on the exit code.

Durations are written like 500ms, 10m or 1h30m, sizes like 65536, 64KiB (65,536 bytes) or 64kB (64,000 bytes), \
counts and rates like 10000 or 10k.

Signals:
  SIGTERM, SIGINT   Accept what waits in the backlog, answer the datagrams
                    that wait, then drain: connections are served on until they
                    end, those that are quiet for a second and owed nothing are
                    closed, and the drain timeout cuts off the rest. A second
                    signal ends it at once; one within 100ms counts as the first
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
         timeouts, resets); the last line says how many or how much
  2      The command line or the environment is wrong, or an address or a
         socket that was passed in can't be listened on
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
        Command::Bench(args) => &args.address[..],
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
    use crate::serve::args::variables;

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
            (&["--timeout", "5s"], "an option of 'edgeloop bench'"),
            (&["bench", "--connection", "5"], "did you mean '--connections'?"),
            (&["bench", "--clients", "5"], "did you mean '--connections'?"),
            (&["serve", "--log-level", "5"], "did you mean '--verbose'?"),
            (&["--connections", "5"], "an option of 'edgeloop bench'"),
            (&["report", "--backlog", "5"], "an option of 'edgeloop serve'"),
            (&["--port", "3000"], "without an option, as in 127.0.0.1:3000"),
            (&["bench", "--unix", "/x"], "as in 127.0.0.1:3000 or unix:/run/echo.sock"),
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
