//! Completions of shells. They know what the grammar leaves open: values are texts there.

use std::ffi::OsStr;

use clap::builder::{PossibleValuesParser, Str};
use clap::{Arg, Command, ValueHint};
use clap_complete::{Shell, generate};

use crate::escape::OneLine;
use crate::exit::Failure;

/// The shells that the tests know.
const SHELLS: [(&str, Shell); 3] =
    [("bash", Shell::Bash), ("zsh", Shell::Zsh), ("fish", Shell::Fish)];

/// Returns the completions of a shell, as a script for it.
pub(crate) fn completions(shell: &OsStr, grammar: Command) -> Result<String, Failure> {
    let Some((_, shell)) = SHELLS.into_iter().find(|(name, _)| shell == *name) else {
        let name = shell.to_string_lossy();
        let line = format!("no completions for shell '{}'; use bash, zsh or fish", OneLine(&name));
        return Err(Failure::usage(line));
    };
    let mut grammar = hinted(grammar);
    let mut script = Vec::new();
    generate(shell, &mut grammar, "edgeloop", &mut script);
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// The grammar with what can be completed behind each option.
fn hinted(grammar: Command) -> Command {
    let hinted = grammar.mut_args(hint);
    hinted.mut_subcommands(|command| command.mut_args(hint))
}

fn hint(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        _ if !arg.get_action().takes_values() => return arg,
        "log_format" => return arg.value_parser(PossibleValuesParser::new(["text", "json"])),
        "arrival" => return arg.value_parser(PossibleValuesParser::new(["uniform", "poisson"])),
        _ => {}
    }
    let name = arg.get_value_names().and_then(|names| names.first()).map(Str::as_str);
    let hint = match name {
        Some("FILE") => ValueHint::FilePath,
        Some("ADDRESS") => ValueHint::Hostname,
        // What is made up: numbers, durations, texts. No file has their names.
        _ => ValueHint::Other,
    };
    arg.value_hint(hint)
}
