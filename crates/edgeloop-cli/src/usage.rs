//! Says in one line what is wrong with a command line, and what to do about it.

use std::ffi::OsString;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::escape::OneLine;
use crate::nearest::{is_near, nearest, question};

/// What other programs call an address.
const ADDRESS_OPTIONS: [&str; 14] = [
    "--addr",
    "--address",
    "--bind",
    "--host",
    "--hostname",
    "--listen",
    "--path",
    "--port",
    "--socket",
    "--target",
    "--unix",
    "--url",
    "-l",
    "-p",
];

/// What other programs call an option of this one.
const SYNONYMS: [(&str, &str); 10] = [
    ("--clients", "--connections"),
    ("--concurrency", "--connections"),
    ("--debug", "--verbose"),
    ("--length", "--size"),
    ("--level", "--verbose"),
    ("--log-level", "--verbose"),
    ("--loglevel", "--verbose"),
    ("--requests", "--messages"),
    ("--silent", "--quiet"),
    ("--time", "--duration"),
];

/// What other programs call a command of this one.
const COMMANDS: [(&str, &str); 10] = [
    ("benchmark", "edgeloop bench"),
    ("echo", "edgeloop serve"),
    ("info", "edgeloop --version"),
    ("listen", "edgeloop serve"),
    ("load", "edgeloop bench"),
    ("run", "edgeloop serve"),
    ("server", "edgeloop serve"),
    ("start", "edgeloop serve"),
    ("usage", "edgeloop --help"),
    ("version", "edgeloop --version"),
];

/// Returns what clap complains of, without its layout, and with what was probably meant.
pub(crate) fn describe(error: &clap::Error, args: &[OsString], grammar: &Command) -> String {
    let named = args.get(1).and_then(|arg| grammar.find_subcommand(arg));
    let command = named.filter(|command| command.get_name() != "help");
    let name = command.map_or_else(String::new, |command| format!(" {}", command.get_name()));
    let see = format!("see 'edgeloop{name} --help'");
    let about = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(OneLine(text).to_string()),
        _ => None,
    };
    let argument = about(ContextKind::InvalidArg).unwrap_or_default();
    let value = about(ContextKind::InvalidValue).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            unknown_option(&argument, args, command.unwrap_or(grammar), grammar, &see)
        }
        ErrorKind::UnknownArgument => format!("unexpected argument '{argument}'; {see}"),
        ErrorKind::MissingRequiredArgument => {
            let (missing, example) = match command.map(Command::get_name) {
                Some("report") => ("FILE", "report run.json -o page.html"),
                Some("generate") if args.get(2).is_some_and(|what| what == "man") => {
                    ("DIR", "generate man /usr/local/share/man/man1")
                }
                Some("generate") => ("SHELL", "generate completions bash"),
                _ => ("ADDRESS", "bench 127.0.0.1:3000"),
            };
            format!("{missing} is missing, as in 'edgeloop {example}'; {see}")
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("'{argument}' has no value; {see}"),
        ErrorKind::TooManyValues => {
            format!("'{argument}' takes no value, but '{value}' was given; {see}")
        }
        ErrorKind::ArgumentConflict if about(ContextKind::PriorArg).as_ref() == Some(&argument) => {
            format!("'{argument}' is given twice; give it once")
        }
        ErrorKind::InvalidSubcommand => {
            let wrong = about(ContextKind::InvalidSubcommand).unwrap_or_default();
            let names = grammar.get_subcommands().map(Command::get_name);
            let hint = question(&nearest(&wrong, names)).unwrap_or(see);
            format!("no command '{wrong}'; {hint}")
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            format!("what to generate is missing: 'man DIR' or 'completions SHELL'; {see}")
        }
        _ => format!("{}; {see}", essence(error)),
    }
}

/// The essence of clap's own message, without the hints that follow.
fn essence(error: &clap::Error) -> String {
    let message = error.render().to_string();
    let essence = message.split("\n\n").next().unwrap_or_default();
    OneLine(essence.strip_prefix("error: ").unwrap_or(essence)).to_string()
}

fn unknown_option(
    option: &str,
    args: &[OsString],
    command: &Command,
    grammar: &Command,
    see: &str,
) -> String {
    let option = written(option, args);
    let unknown = format!("unknown option '{option}'");
    if ADDRESS_OPTIONS.contains(&option.as_str()) {
        return format!(
            "{unknown}: an address is given without an option, as in 127.0.0.1:3000 or \
                        unix:/run/echo.sock"
        );
    }
    let has = |command: &Command| options(command).contains(&option);
    if let Some(other) = grammar.get_subcommands().find(|other| has(other)) {
        return format!("{unknown}: it is an option of 'edgeloop {}'; {see}", other.get_name());
    }
    let word = option.trim_start_matches('-');
    let known = options(command);
    let synonym = SYNONYMS.iter().find(|(name, _)| *name == option);
    if let Some((_, meant)) = synonym.filter(|(_, meant)| known.iter().any(|one| one == meant)) {
        return format!("{unknown}; did you mean '{meant}'?");
    }
    let names = known.iter().filter_map(|known| known.strip_prefix("--"));
    let near: Vec<_> = nearest(word, names).iter().map(|name| format!("--{name}")).collect();
    match question(&near) {
        Some(question) => format!("{unknown}; {question}"),
        None => format!("{unknown}; {see}"),
    }
}

/// The option as it was written: of `-version`, clap names only the `-e`.
fn written(option: &str, args: &[OsString]) -> String {
    let letter = option.strip_prefix('-').filter(|letter| letter.chars().count() == 1);
    let word = letter.and_then(|letter| {
        let mut words = args.iter().skip(1).filter_map(|arg| arg.to_str());
        words.find(|word| {
            let cluster = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
            cluster.is_some_and(|cluster| cluster.len() > 3 && cluster.contains(letter))
        })
    });
    word.map_or_else(|| option.to_owned(), |word| OneLine(word).to_string())
}

/// All options of a command, as they are written.
fn options(command: &Command) -> Vec<String> {
    let mut all = vec!["--help".to_owned(), "--version".to_owned()];
    for argument in command.get_arguments() {
        let long = argument.get_long().filter(|long| !matches!(*long, "help" | "version"));
        all.extend(long.map(|long| format!("--{long}")));
        all.extend(
            argument.get_visible_aliases().unwrap_or_default().iter().map(|a| format!("--{a}")),
        );
        all.extend(argument.get_short().map(|short| format!("-{short}")));
    }
    all
}

/// Returns what is wrong with a word that stands in the place of an address, if it was meant as the
/// name of a command.
pub(crate) fn mistaken_command(word: &str, grammar: &Command) -> Option<String> {
    if grammar.find_subcommand(word).is_some() || word == "help" {
        return Some(format!("the command '{word}' must come first: 'edgeloop {word}'"));
    }
    if !word.bytes().all(|letter| letter.is_ascii_alphabetic()) {
        return None;
    }
    let own = grammar.get_subcommands().map(Command::get_name).chain(["help"]);
    let known: Vec<_> = own
        .map(|name| (name.to_owned(), format!("edgeloop {name}")))
        .chain(COMMANDS.map(|(name, meant)| (name.to_owned(), meant.to_owned())))
        .collect();
    let lower = word.to_lowercase();
    let is_begun = |name: &str| word.len() > 2 && name.starts_with(&lower);
    let near = nearest(word, known.iter().map(|(name, _)| name.as_str()));
    let slips = (word.len() / 3).clamp(1, 2);
    let is_meant = |name: &str| is_begun(name) || near == [name] && is_near(&lower, name, slips);
    let (_, meant) = known.iter().find(|(name, _)| is_meant(name))?;
    Some(format!("'{word}' is neither a command nor an address; did you mean '{meant}'?"))
}
