//! The tool: reads the command line, does what it says, and maps the end to an exit code.

// The layers, lowest first: a module names only modules above it in this list. A test holds that.
mod escape;
mod exit;
mod nearest;
mod values;
mod addresses;
mod signals;
mod log;
mod outputs;
mod results;
mod summary;
mod report;
mod bench;
mod serve;
mod generate;
mod version;
mod usage;
mod args;
mod variables;

use std::io::{self, Write};
use std::panic::catch_unwind;
use std::process::ExitCode;

use args::{Command, Parsed};
use exit::{Exit, Failure};
use serve::config::ServeConfig;

fn main() -> ExitCode {
    signals::prepare();
    // A panic is a fault of ours, and has been said by then; see `log`.
    let ended = catch_unwind(run).unwrap_or(Ok(Exit::Fatal));
    let exit = ended.unwrap_or_else(|failure| {
        // Not `eprintln`, which panics when standard error is closed or full, and waits when it is
        // stuck.
        log::last_line(&failure.line);
        failure.exit
    });
    exit.into()
}

fn run() -> Result<Exit, Failure> {
    match args::parse(std::env::args_os())? {
        Parsed::Print(help) => print(&help),
        Parsed::Run(Command::Serve(args)) => {
            let config = ServeConfig::resolve(args, &|name| std::env::var_os(name))?;
            let warnings = variables::strays(std::env::vars_os(), &serve::args::variables());
            // It changes the environment, so it has to come before the first thread is started; and
            // before anything is opened, so that a number can't be that of something else.
            let passed = serve::passed::take(&config.passed);
            Ok(serve::serve(&config, passed, &warnings))
        }
        Parsed::Run(Command::Bench(args)) => bench::bench(&args),
        Parsed::Run(Command::Report(args)) => report::report(&args),
        Parsed::Run(Command::Generate(args)) => generate::generate(&args, &args::grammar()),
    }
}

/// Prints the help or the version. A reader that has seen enough (`| head`) is no failure.
fn print(help: &clap::Error) -> Result<Exit, Failure> {
    match help.print().and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::fatal(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(Exit::Done),
    }
}
