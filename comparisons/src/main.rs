//! Compares what edgeloop costs with its peers, and writes down what it came to.
#![expect(dead_code, reason = "the commands that use the rest come next")]

mod args;
mod binary;
mod client;
mod failure;
mod interrupt;
mod ours;
mod pair;
mod place;
mod plan;
mod process;
mod servers;
mod shapes;
mod show;
mod statistics;

use std::process::ExitCode;
use std::time::Duration;

use args::{Command, CommandLine, PairArgs};
use clap::Parser as _;
use clap::error::ErrorKind;
use failure::Failure;
use pair::Settings;
use peers::Service;

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return refuse(&error),
    };
    match run(line) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(Failure { code, line }) => {
            eprintln!("comparisons: {line}");
            ExitCode::from(code)
        }
    }
}

/// Prints the help, or what is wrong with the command line, in one line.
fn refuse(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // Whoever reads may have seen enough.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let essence = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
    let essence: Vec<_> = essence.split_whitespace().collect();
    eprintln!("comparisons: {}; see --help", essence.join(" "));
    ExitCode::from(2)
}

/// Does what was asked for. Answers whether it came to what it should.
fn run(line: CommandLine) -> Result<bool, Failure> {
    match line.command {
        Some(Command::Server { name, service, read_buffer }) => {
            serve(&name, service, read_buffer)?;
            return Ok(true);
        }
        Some(Command::Launch { core, program }) => match place::launch(core, &program)? {},
        Some(Command::Hold { server, connections }) => {
            client::hold(server, connections)?;
            return Ok(true);
        }
        _ => interrupt::install()?,
    }
    match line.command {
        Some(Command::Pair(arguments)) => compare(&arguments),
        _ => Err(Failure::usage("not written yet")),
    }
}

fn serve(name: &str, service: Service, read_buffer: usize) -> std::io::Result<()> {
    if name == ours::NAME {
        ours::serve(service, read_buffer)
    } else {
        peers::serve(name, service, read_buffer)
    }
}

/// Measures one pair.
fn compare(arguments: &PairArgs) -> Result<bool, Failure> {
    let pair = plan::pair(&arguments.of, &arguments.against, &arguments.shape)?;
    let settings = Settings {
        cycles: arguments.cycles,
        slice: arguments.slice.map(Duration::from_millis),
        read_buffer: arguments.read_buffer,
    };
    prepare()?;
    let bar = show::progress(settings.cycles.into());
    let measured = pair::measure(&pair, &settings, &mut |attempt, cycle| {
        bar.set_message(format!("run {attempt}"));
        bar.set_position(cycle.into());
    });
    bar.finish_and_clear();
    let measured = measured?;
    show::print(&show::pair(&measured))?;
    Ok(measured.valid_ratio().is_some())
}

/// What every measurement needs of this process.
fn prepare() -> Result<(), Failure> {
    place::raise_descriptor_limit();
    place::pin_client()?;
    Ok(())
}
