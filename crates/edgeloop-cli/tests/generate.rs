//! What `edgeloop generate` makes, judged by those who read it: mandoc and the shells.

mod serve;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serve::{edgeloop, program};
use tempfile::TempDir;
use testkit::{BASH, FISH, MANDOC, SCRIPT, ZSH, eventually, skip_unless};

const COMMANDS: [&str; 3] = ["serve", "bench", "report"];

/// A directory with the man pages and with the completions, named after their shells.
struct Made(TempDir);

impl Made {
    #[track_caller]
    fn make() -> Self {
        let made = Self(tempfile::tempdir().expect("a directory"));
        let man = made.path("man/man1");
        let ended = edgeloop(&["generate", "man", &man.display().to_string()]).run();
        assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(0), "", ""));
        for shell in ["bash", "zsh", "fish"] {
            let ended = edgeloop(&["generate", "completions", shell]).run();
            assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{shell}");
            fs::write(made.path(shell), ended.stdout).expect("a script");
        }
        made
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    #[track_caller]
    fn pages(&self) -> Vec<(String, String)> {
        let names = ["edgeloop", "edgeloop-serve", "edgeloop-bench", "edgeloop-report"];
        let read = |name: &str| {
            let page = fs::read_to_string(self.path(&format!("man/man1/{name}.1")));
            (name.to_owned(), page.unwrap_or_else(|error| panic!("{name}: {error}")))
        };
        names.map(read).to_vec()
    }
}

/// The options in the help of a command.
#[track_caller]
fn options_of(command: &[&str]) -> Vec<String> {
    let help = edgeloop(command).args(&["-h"]).run().stdout;
    let words = help.split_whitespace().filter(|word| word.starts_with("--"));
    let names = words.map(|word| word.trim_matches(|c: char| c != '-' && !c.is_alphanumeric()));
    let options: Vec<String> = names.map(|name| name.trim_end_matches('.').to_owned()).collect();
    assert!(options.len() > 5, "{help}");
    options
}

/// What a program says about a file, with its exit code.
#[track_caller]
fn verdict(program: &str, arguments: &[&str], file: &Path) -> (Option<i32>, String) {
    let output = Command::new(program).args(arguments).arg(file).output().expect("the program");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn every_man_page_is_clean_for_mandoc() {
    if skip_unless("every_man_page_is_clean_for_mandoc", MANDOC) {
        return;
    }
    let made = Made::make();
    for (name, _) in made.pages() {
        let page = made.path(&format!("man/man1/{name}.1"));
        assert_eq!(verdict("mandoc", &["-T", "lint"], &page), (Some(0), String::new()), "{name}");
    }
}

#[test]
fn the_man_pages_say_what_the_help_says() {
    let made = Made::make();
    for (name, page) in made.pages() {
        // A quote as it is would be typeset as a curly one, which no shell takes.
        assert!(page.lines().skip(2).all(|line| !line.contains('\'')), "{name}");
        // As it reads: hyphens are escaped in the source, and lines are broken.
        let text = page.replace("\\-", "-").replace("\\*(Aq", "'");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let command: Vec<&str> = name.split('-').skip(1).collect();
        for option in options_of(&command) {
            assert!(text.contains(&option), "{name} lacks {option}");
        }
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "SEE ALSO"] {
            assert!(
                page.contains(&format!("\n.SH {section}\n").replace("SEE ALSO", "\"SEE ALSO\""))
            );
        }
        assert!(text.contains(".SH \"EXIT STATUS\" .TP \\fB0\\fR"), "{name}");
        let has_signals = text.contains(".SH SIGNALS .TP \\fBSIGTERM, SIGINT");
        assert_eq!(has_signals, name != "edgeloop-report", "{name}");
        let has_variables = text.contains(".SH ENVIRONMENT .TP \\fBEDGELOOP_");
        assert_eq!(has_variables, matches!(&*name, "edgeloop" | "edgeloop-serve"), "{name}");
        assert!(!text.contains("generate"), "{name} tells of what is hidden");
    }
    let (_, tool) = &made.pages()[0];
    for command in COMMANDS {
        assert!(tool.contains(&format!(".BR edgeloop\\-{command} (1)")), "{tool}");
    }
}

#[test]
fn the_same_build_makes_the_same_pages_and_completions() {
    let (one, other) = (Made::make(), Made::make());
    assert_eq!(one.pages(), other.pages());
    for shell in ["bash", "zsh", "fish"] {
        let [one, other] = [&one, &other].map(|made| fs::read(made.path(shell)).expect("a script"));
        assert!(one == other, "{shell}");
    }
}

#[test]
fn every_shell_takes_its_completions() {
    let made = Made::make();
    for (shell, tool) in [("bash", BASH), ("zsh", ZSH), ("fish", FISH)] {
        if !skip_unless("every_shell_takes_its_completions", tool) {
            let said = verdict(shell, &["-n"], &made.path(shell));
            assert_eq!(said, (Some(0), String::new()), "{shell}");
        }
    }
}

#[test]
fn completions_offer_every_option_and_nothing_hidden() {
    let made = Made::make();
    for shell in ["bash", "zsh", "fish"] {
        let script = fs::read_to_string(made.path(shell)).expect("a script");
        for option in COMMANDS.iter().flat_map(|command| options_of(&[command])) {
            let name = option.trim_start_matches('-');
            let written = if shell == "fish" { format!("-l {name} ") } else { option.clone() };
            assert!(script.contains(&written), "{shell} lacks {option}");
        }
        assert!(!script.contains("generate"), "{shell} offers what is hidden");
    }
}

/// Types these lines into a shell on a terminal of its own, and returns what `edgeloop`, a function
/// there, was then called with: a line for each call.
#[track_caller]
fn typed(shell: &str, setup: &str, lines: &[&str]) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let calls = directory.path().join("calls");
    let file = calls.display();
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", shell, "/dev/null"])
        .env("TERM", "dumb")
        .env("HOME", directory.path())
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .stdout(File::create(directory.path().join("screen")).expect("a file"))
        .stderr(Stdio::null())
        .spawn()
        .expect("script");
    let mut terminal = child.stdin.take().expect("a pipe");
    let mut say = |text: &str| terminal.write_all(text.as_bytes()).expect("it listens");
    say(&format!("{setup}\nedgeloop() {{ echo \"$@\" >>'{file}'; }}\nedgeloop ready\n"));
    let read = || fs::read_to_string(&calls).unwrap_or_default();
    let screen = || fs::read_to_string(directory.path().join("screen")).unwrap_or_default();
    eventually("the shell is ready", || read().contains("ready\n"));
    for (index, line) in lines.iter().enumerate() {
        say(&format!("edgeloop {line}\n"));
        // The next key would come before the shell has a prompt for it.
        let done = index + 2;
        eventually(&format!("{shell} has run {line:?}"), || read().lines().count() >= done);
    }
    say("exit\n");
    assert!(child.wait().expect("its end").success(), "{}", screen());
    read().lines().skip(1).map(str::to_owned).collect()
}

const TYPED: [&str; 4] = ["ser\t", "bench --connect-p\t", "serve --log-f\t js\t", "--idle-t\t 1m"];
const MEANT: [&str; 4] =
    ["serve", "bench --connect-per-message", "serve --log-format json", "--idle-timeout 1m"];

#[test]
fn bash_completes_what_is_typed() {
    let test = "bash_completes_what_is_typed";
    if skip_unless(test, SCRIPT) || skip_unless(test, BASH) {
        return;
    }
    let made = Made::make();
    let setup = format!("source '{}'", made.path("bash").display());
    assert_eq!(typed("bash --norc --noprofile -i", &setup, &TYPED), MEANT);
}

#[test]
fn zsh_completes_what_is_typed() {
    let test = "zsh_completes_what_is_typed";
    if skip_unless(test, SCRIPT) || skip_unless(test, ZSH) {
        return;
    }
    let made = Made::make();
    let script = made.path("zsh");
    let setup = format!("autoload -U compinit; compinit -u -D; source '{}'", script.display());
    assert_eq!(typed("zsh -f -i", &setup, &TYPED), MEANT);
}

#[test]
fn fish_completes_what_is_typed() {
    if skip_unless("fish_completes_what_is_typed", FISH) {
        return;
    }
    let made = Made::make();
    for (line, meant) in TYPED.into_iter().zip(MEANT) {
        // fish says by itself what it would complete the last word to.
        let (line, _) = line.rsplit_once('\t').expect("a key");
        let line = line.replace("--log-f\t", "--log-format");
        let ask =
            format!("source '{}'; complete -C 'edgeloop {line}'", made.path("fish").display());
        let output = Command::new("fish").args(["--no-config", "-c", &ask]).output().expect("fish");
        let offered = String::from_utf8_lossy(&output.stdout).into_owned();
        let offered: Vec<&str> =
            offered.lines().filter_map(|line| line.split('\t').next()).collect();
        let last = meant.trim_end_matches(" 1m").rsplit(' ').next();
        assert_eq!(offered, Vec::from_iter(last), "{line}");
    }
}

#[test]
fn what_cannot_be_made_is_told_in_one_line() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let file = file.path().display().to_string();
    for (line, words) in [
        (&["generate"][..], "what to generate is missing: 'man DIR' or 'completions SHELL'"),
        (&["generate", "man"], "DIR is missing"),
        (&["generate", "man", "a", "b"], "unexpected argument 'b'"),
        (&["generate", "man", &file], "cannot write '"),
        (&["generate", "completions"], "SHELL is missing"),
        (&["generate", "completions", "tcsh"], "shell 'tcsh'; use bash, zsh or fish"),
        (&["generate", "nonsense"], "no command 'nonsense'"),
    ] {
        let ended = edgeloop(line).run();
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{line:?}");
        assert!(ended.stderr.contains(words), "{line:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{line:?}: {}", ended.stderr);
    }
    for output in ["exec >&-", "exec >/dev/full"] {
        let ended = edgeloop(&["generate", "completions", "bash"]).shell(output).run();
        assert!(!ended.stderr.contains("panicked"), "{output}: {}", ended.stderr);
    }
    assert!(!edgeloop(&["--help"]).run().stdout.contains("generate"), "{}", program());
}
