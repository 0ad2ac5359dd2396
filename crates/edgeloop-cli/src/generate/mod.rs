//! `edgeloop generate`: man pages and completions, made of the grammar that the tool parses by. For
//! packagers and for those who install from source; hidden from everybody else.

pub(crate) mod args;
mod completions;
mod examples;
mod help;
mod man;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use clap::{Arg, Command};

use crate::escape::OneLine;
use crate::exit::{Exit, Failure};
use args::{GenerateArgs, What};

/// Makes what was asked for, of this grammar.
pub(crate) fn generate(args: &GenerateArgs, grammar: &Command) -> Result<Exit, Failure> {
    match &args.what {
        What::Man { directory } => write_pages(Path::new(directory), &visible(grammar, |_| true))?,
        What::Completions { shell } => {
            // zsh would take the name of a command for the address that may stand in its place.
            let grammar = visible(grammar, |arg| !arg.is_positional());
            print(&completions::completions(shell, grammar)?)?;
        }
    }
    Ok(Exit::Done)
}

/// The grammar without its hidden commands, which completions would offer, too, and with these
/// arguments of its own.
fn visible(grammar: &Command, keep: impl Fn(&Arg) -> bool) -> Command {
    let shown = grammar.get_subcommands().filter(|command| !command.is_hide_set());
    Command::new("edgeloop")
        .about(grammar.get_about().cloned().unwrap_or_default())
        .after_long_help(grammar.get_after_long_help().cloned().unwrap_or_default())
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .args_conflicts_with_subcommands(true)
        .args(grammar.get_arguments().filter(|arg| keep(arg)).cloned())
        .subcommands(shown.cloned())
}

fn write_pages(directory: &Path, grammar: &Command) -> Result<(), Failure> {
    let failure = |path: &Path, error: &io::Error| {
        let path = path.display().to_string();
        Failure::usage(format!("cannot write '{}': {error}", OneLine(&path)))
    };
    fs::create_dir_all(directory).map_err(|error| failure(directory, &error))?;
    for (name, page) in man::pages(grammar) {
        let path = directory.join(name);
        fs::write(&path, page).map_err(|error| failure(&path, &error))?;
    }
    Ok(())
}

/// Prints to standard output. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::fatal(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
