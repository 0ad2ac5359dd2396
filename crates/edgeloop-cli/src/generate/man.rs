//! Man pages: one of the tool, one of each command. They say what `--help` says, in the sections
//! that readers of man pages expect.

use std::io::{self, Write};

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use super::examples;
use super::help::{Help, Table};

/// The day on which the text last changed. That of the build would make each build another one.
const REVISED: &str = "2026-11-28";

/// The longest line of a page's source.
const WIDTH: usize = 79;

/// Sections made of the tables of the help: the help's heading, and the page's.
const TABLES: [(&str, &str); 2] = [("Exit codes", "EXIT STATUS"), ("Signals", "SIGNALS")];

/// Returns the pages of the tool and of its commands, each with the name of its file.
pub(super) fn pages(grammar: &Command) -> Vec<(String, String)> {
    let mut tool = grammar.clone().disable_help_subcommand(true);
    tool.build();
    let of_command =
        |command: &Command| (format!("edgeloop-{}", command.get_name()), command.clone());
    let mut pages = vec![("edgeloop".to_owned(), tool.clone())];
    pages.extend(tool.get_subcommands().map(of_command));
    let names: Vec<String> = pages.iter().map(|(name, _)| name.clone()).collect();
    pages
        .into_iter()
        .map(|(name, command)| (format!("{name}.1"), page(command, &name, &names)))
        .collect()
}

/// Returns the page of a command; `all` are the names of all pages.
fn page(mut command: Command, name: &str, all: &[String]) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = usage(&mut command);
    let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let help = Help::parse(&help);
    // Its name would be "edgeloop" otherwise, which is what `-V` says for each command.
    let command = command
        .display_name(name.to_owned())
        .override_usage(usage)
        .mut_args(with_aliases)
        .subcommand_help_heading("COMMANDS");
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .date(REVISED)
        .source(format!("edgeloop {}", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");

    let mut page = Roff::new().render();
    page += &rendered(|text| man.render_title(text));
    page += &rendered(|text| man.render_name_section(text));
    page += &rendered(|text| man.render_synopsis_section(text));
    let mut description = Roff::new();
    description.control("SH", ["DESCRIPTION"]).text([roman(format!("{about}."))]);
    for paragraph in &help.paragraphs {
        description.control("PP", []).text([roman(paragraph)]);
    }
    page += &source(&description);
    if command.has_subcommands() {
        page += &rendered(|text| man.render_subcommands_section(text));
    }
    page += &rendered(|text| man.render_options_section(text));
    for (heading, section) in TABLES {
        let table = help.tables.iter().find(|table| table.heading == heading);
        page += &table.map(|table| described(section, table)).unwrap_or_default();
    }
    page += &environment(&command);
    page += &shown(examples::of(command.get_name()));
    page += &see_also(name, all);
    wrapped(&page)
}

/// An option whose text ends with its other names, as in the help.
fn with_aliases(arg: Arg) -> Arg {
    let Some(aliases) = arg.get_visible_aliases().filter(|aliases| !aliases.is_empty()) else {
        return arg;
    };
    let names: Vec<String> = aliases.iter().map(|alias| format!("--{alias}")).collect();
    let help = arg.get_long_help().or_else(|| arg.get_help()).cloned().unwrap_or_default();
    arg.long_help(format!("{help}\n\n[alias: {}]", names.join(", ")))
}

/// How a command is called, a line for each way; each of its own commands is one.
fn usage(command: &mut Command) -> String {
    let rendered = command.render_usage().to_string();
    let mut ways = vec![rendered.lines().next().unwrap_or_default().replace("Usage: ", "")];
    let mut commands: Vec<&mut Command> = command.get_subcommands_mut().collect();
    commands.sort_by_key(|command| command.get_display_order());
    ways.extend(commands.into_iter().map(usage));
    ways.join("\n")
}

/// A page with lines that people can read: each is broken at a blank before column 80.
fn wrapped(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut is_example = false;
    for line in page.lines() {
        is_example = line == ".nf" || is_example && line != ".fi";
        let is_whole = is_example || line.starts_with(['.', '\'']);
        let mut column = 0;
        for (index, word) in line.split(' ').enumerate() {
            let is_full = column + 1 + word.len() > WIDTH && !is_whole;
            if index > 0 && is_full {
                // A period would begin a request there.
                text += if word.starts_with(['.', '\'']) { "\n\\&" } else { "\n" };
                column = 0;
            } else if index > 0 {
                text.push(' ');
                column += 1;
            }
            text += word;
            column += word.len();
        }
        text.push('\n');
    }
    text
}

/// What a part of a page is rendered as, on its own: without the preamble, which a page has once,
/// and with paragraphs between which stands what roff takes for one.
fn rendered(render: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
    let mut text = Vec::new();
    render(&mut text).expect("a vector takes all");
    let text = String::from_utf8(text).expect("roff of texts is text");
    let text = text.strip_prefix(&Roff::new().render()).unwrap_or(&text);
    // In a list, .IP without a word begins a paragraph and stays in the item.
    text.replace("\n\n", "\n.IP\n")
}

/// The source of a part that is made here. Its quotes stay straight, so that examples can be
/// pasted.
fn source(roff: &Roff) -> String {
    rendered(|text| roff.to_writer(text))
}

/// A section with a table: what stands on the left, and what it means.
fn described(section: &str, table: &Table) -> String {
    let mut roff = Roff::new();
    roff.control("SH", [section]);
    for (key, meaning) in &table.rows {
        roff.control("TP", []).text([bold(key)]).text([roman(meaning)]);
    }
    if let Some(note) = &table.note {
        roff.control("PP", []).text([roman(note)]);
    }
    source(&roff)
}

/// The section of the environment variables, each with the option that it stands for.
fn environment(command: &Command) -> String {
    let mut roff = Roff::new();
    for argument in command.get_arguments() {
        let help = argument.get_long_help().map(ToString::to_string).unwrap_or_default();
        let Some(variable) = help.split_once("[env: ").and_then(|(_, rest)| rest.split(']').next())
        else {
            continue;
        };
        roff.control("TP", []).text([bold(variable)]);
        match argument.get_long() {
            Some(long) => roff.text([roman("Stands for "), bold(format!("--{long}")), roman(".")]),
            None => roff.text([
                roman("Stands for "),
                italic("ADDRESS"),
                roman("; several are separated by blanks or commas."),
            ]),
        };
    }
    let section = source(&roff);
    if section.is_empty() { section } else { format!(".SH ENVIRONMENT\n{section}") }
}

/// The section of examples: what each does, and how it is typed.
fn shown(examples: &[(&str, &str)]) -> String {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    for (purpose, lines) in examples {
        roff.control("TP", []).text([roman(format!("{purpose}:"))]);
        roff.control("nf", []);
        for line in lines.lines() {
            roff.text([bold(line)]);
        }
        roff.control("fi", []);
    }
    source(&roff)
}

fn see_also(name: &str, all: &[String]) -> String {
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    let mut others: Vec<&String> = all.iter().filter(|other| *other != name).collect();
    others.sort_unstable();
    for (index, other) in others.iter().enumerate() {
        let end = if index + 1 == others.len() { "(1)" } else { "(1)," };
        roff.control("BR", [other.replace('-', "\\-").as_str(), end]);
    }
    source(&roff)
}
