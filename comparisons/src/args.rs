//! The command line.

use std::convert::Infallible;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use edgeloop::Address;

use crate::servers::READ_BUFFER;

/// How many rounds there are of what is measured one server after the other.
pub(crate) const ROUNDS: u32 = 9;

/// How long a server has its turn, in milliseconds.
pub(crate) const TURN: u64 = 1_000;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "comparisons", about = "Compares what edgeloop costs with its peers")]
#[command(args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) all: AllArgs,
}

const AFTER_HELP: &str = "\
Servers run on core 0 and the client on core 1; nothing else should run meanwhile. \
`comparisons list` names the servers and the shapes; `tokio` stands for `tokio-copy`.

Exit codes:
  0      What was asked for was measured, and the gate holds
  1      A pair could not be measured, or the gate does not hold
  2      The command line is wrong, or something that is needed is missing
  130    Interrupted";

/// What to do; without any, everything is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Compare two servers under one shape
    Pair(PairArgs),
    /// Count system calls, instructions, memory and wake-ups
    Counts(CountsArgs),
    /// Compare how long a message takes there and back, with a server that spins
    Latency(RoundsArgs),
    /// See what becomes of a server to which more comes than it can do
    Overload(RoundsArgs),
    /// Compare `edgeloop bench` with the tools of Redis, memcached and HTTP servers
    Services(ServicesArgs),
    /// Compare the examples redis, proxy and http with servers of others
    Examples(ExamplesArgs),
    /// Compare the servers over Unix sockets, and draw that section of the document anew
    Unix(TransportArgs),
    /// The same over UDP
    Udp(TransportArgs),
    /// Hold what must hold: exact counts, progress, and the pair with bare epoll
    Gate,
    /// Name the servers and the shapes
    List,
    /// Draw the documents from the figures of a file, without measuring
    Draw(DrawArgs),
    /// Serve: how servers in this program are started
    #[command(hide = true)]
    Server {
        /// Which
        name: String,
        /// What
        service: peers::Service,
        /// Bytes
        read_buffer: usize,
        /// The path of a Unix socket, or `udp`; without any, TCP on the loopback
        place: Option<peers::Place>,
    },
    /// Serve beside an example: how hyper and the proxy on tokio are started
    #[command(hide = true)]
    Beside {
        /// The address of the upstream of a proxy; without any, an HTTP server
        upstream: Option<SocketAddr>,
    },
    /// Bind this process to a core and become another program
    #[command(hide = true)]
    Launch {
        /// Which core
        core: usize,
        /// The program and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        program: Vec<OsString>,
    },
    /// Hold idle connections
    #[command(hide = true)]
    Hold {
        /// To this server
        server: Address,
        /// How many
        connections: usize,
    },
}

/// The arguments of the whole comparison.
#[derive(Debug, Args)]
pub(crate) struct AllArgs {
    /// Only these shapes
    #[arg(long, value_name = "SHAPE", value_delimiter = ',')]
    pub(crate) shape: Vec<String>,
    /// Only the pairs against these servers
    #[arg(long, value_name = "SERVER", value_delimiter = ',', value_parser = server)]
    pub(crate) against: Vec<String>,
    /// A fifth of the cycles
    #[arg(long)]
    pub(crate) quick: bool,
    /// Cycles of each pair, or as many as fit into a minute [default: 150]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(6..))]
    pub(crate) cycles: Option<u32>,
    /// Leave the counts out
    #[arg(long)]
    pub(crate) no_counts: bool,
    /// Leave latency and overload out
    #[arg(long)]
    pub(crate) no_latency: bool,
    /// Keep what FILE of --json holds and is not measured now
    #[arg(long, requires = "json")]
    pub(crate) add: bool,
    #[command(flatten)]
    pub(crate) files: FileArgs,
}

/// Where results go.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// Write all figures, after each pair
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write a page to look at
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Write the document, and its plot beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

/// The arguments of `pair`.
#[derive(Debug, Args)]
pub(crate) struct PairArgs {
    /// The one
    #[arg(value_parser = server)]
    pub(crate) of: String,
    /// The other, which runs twice; `itself` for the same server without the idle connections
    #[arg(value_parser = server)]
    pub(crate) against: String,
    /// The load
    #[arg(long, value_name = "SHAPE")]
    pub(crate) shape: String,
    /// Cycles
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(6..))]
    pub(crate) cycles: u32,
    /// The length of a slice in milliseconds [default: 25 or 50, by the shape]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) slice: Option<u64>,
    /// The read buffer of the servers that are told one, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = READ_BUFFER)]
    #[arg(value_parser = read_buffer)]
    pub(crate) read_buffer: usize,
    /// Write the figures
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// A server's name, where the usual form of one that has two may go by the name of both.
#[expect(clippy::unnecessary_wraps, reason = "clap's parsers may fail")]
fn server(name: &str) -> Result<String, Infallible> {
    Ok(if name == "tokio" { "tokio-copy" } else { name }.to_owned())
}

fn read_buffer(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes @ 1..=65_536) => Ok(bytes),
        _ => Err("a read buffer is 1 to 65536 bytes".to_owned()),
    }
}

/// The arguments of `counts`.
#[derive(Debug, Args)]
pub(crate) struct CountsArgs {
    /// The servers [default: all]
    #[arg(value_parser = server)]
    pub(crate) names: Vec<String>,
    /// Write the figures
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// The arguments of `latency` and `overload`.
#[derive(Debug, Args)]
pub(crate) struct RoundsArgs {
    /// In each round every server has its turn
    #[arg(long, value_name = "N", default_value_t = ROUNDS)]
    #[arg(value_parser = clap::value_parser!(u32).range(6..))]
    pub(crate) rounds: u32,
    /// How long a turn lasts, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = TURN)]
    #[arg(value_parser = clap::value_parser!(u64).range(20..=60_000))]
    pub(crate) turn: u64,
    /// Write the figures
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// The arguments of `services`.
#[derive(Debug, Args)]
pub(crate) struct ServicesArgs {
    /// Only these loads
    #[arg(long, value_name = "LOAD", value_delimiter = ',')]
    pub(crate) load: Vec<String>,
    /// In each round both tools have their turn
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// How long a turn lasts, in seconds
    #[arg(long, value_name = "S", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=60))]
    pub(crate) seconds: u32,
}

/// The arguments of `examples`.
#[derive(Debug, Args)]
pub(crate) struct ExamplesArgs {
    /// Only these: redis, proxy, http
    #[arg(long, value_name = "EXAMPLE", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// In each round both servers have their turn
    #[arg(long, value_name = "N", default_value_t = 12)]
    #[arg(value_parser = clap::value_parser!(u32).range(6..=1_000))]
    pub(crate) rounds: u32,
    /// How long a turn lasts, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500)]
    #[arg(value_parser = clap::value_parser!(u64).range(10..=10_000))]
    pub(crate) turn: u64,
    /// How much a stream through the proxy moves, in megabytes
    #[arg(long, value_name = "MB", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) stream: u32,
    /// Write the figures
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the document
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

/// The arguments of `unix` and `udp`.
#[derive(Debug, Args)]
pub(crate) struct TransportArgs {
    /// A fifth of the cycles
    #[arg(long)]
    pub(crate) quick: bool,
    /// Cycles of each pair, or as many as fit into a minute [default: 150]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(6..))]
    pub(crate) cycles: Option<u32>,
    /// Leave the counts out
    #[arg(long)]
    pub(crate) no_counts: bool,
    /// Write the figures, after each pair
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the section in this document, which there is already, and its notes
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

/// The arguments of `draw`.
#[derive(Debug, Args)]
pub(crate) struct DrawArgs {
    /// What --json has written
    pub(crate) from: PathBuf,
    /// Write a page to look at
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Write the document, and its plot beside it
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Write the document of the examples
    #[arg(long, value_name = "FILE")]
    pub(crate) servers: Option<PathBuf>,
    /// Draw the section on Unix sockets in this document, which there is already, and its notes
    #[arg(long, value_name = "FILE")]
    pub(crate) unix: Option<PathBuf>,
    /// The same for the section on UDP
    #[arg(long, value_name = "FILE")]
    pub(crate) udp: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn tokio_is_its_usual_form() {
        let pair = ["comparisons", "pair", "tokio", "tokio-ready", "--shape", "small-50"];
        match CommandLine::try_parse_from(pair).expect("a pair").command {
            Some(Command::Pair(pair)) => {
                assert_eq!((&*pair.of, &*pair.against), ("tokio-copy", "tokio-ready"));
            }
            other => panic!("{other:?}"),
        }
        let all = CommandLine::try_parse_from(["comparisons", "--against", "bare,tokio"]);
        assert_eq!(all.expect("a run").all.against, ["bare", "tokio-copy"]);
    }

    #[test]
    fn the_grammar_is_sound() {
        CommandLine::command().debug_assert();
    }
}
