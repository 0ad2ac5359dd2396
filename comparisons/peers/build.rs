//! Compiles the peers that are written in C, and says of each why it is left out if it can't be.
//!
//! Nothing here fails the build: a machine without a C compiler still has the other peers.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// A C program of ours, and the library that it stands on.
struct Program {
    /// The file in `c/`, without its ending.
    name: &'static str,
    library: Option<Library>,
}

struct Library {
    /// What pkg-config calls it.
    name: &'static str,
    /// The Debian package with its headers.
    package: &'static str,
}

const PROGRAMS: &[Program] = &[Program { name: "bare_echo", library: None }];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=c");
    println!("cargo::rerun-if-env-changed=CC");
    println!("cargo::rerun-if-env-changed=PATH");
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    tell("COMPILER", &first_line(Command::new(&compiler).arg("--version")).unwrap_or_default());
    let rustc = env::var("RUSTC").expect("cargo sets it");
    tell("RUSTC", &first_line(Command::new(rustc).arg("--version")).unwrap_or_default());
    for program in PROGRAMS {
        let name = program.name.to_uppercase();
        match build(&compiler, program) {
            Ok(path) => {
                tell(&name, &path.display().to_string());
                tell(&format!("{name}_LEFT_OUT"), "");
            }
            Err(reason) => {
                tell(&name, "");
                tell(&format!("{name}_LEFT_OUT"), &reason);
            }
        }
        let version = program.library.as_ref().and_then(|library| {
            first_line(Command::new("pkg-config").args(["--modversion", library.name]))
        });
        tell(&format!("{name}_VERSION"), &version.unwrap_or_default());
    }
}

/// Hands a text to the crate, as `env!("PEERS_…")`. Empty stands for nothing.
fn tell(name: &str, text: &str) {
    println!("cargo::rustc-env=PEERS_{name}={}", text.replace('\n', " "));
}

/// Compiles one program; the error is why it is left out.
fn build(compiler: &str, program: &Program) -> Result<PathBuf, String> {
    let flags = match &program.library {
        Some(library) => {
            first_line(Command::new("pkg-config").args(["--cflags", "--libs", library.name]))
                .ok_or_else(|| format!("{} is not installed", library.package))?
        }
        None => String::new(),
    };
    let output = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join(program.name);
    let compiled = Command::new(compiler)
        .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-o"])
        .arg(&output)
        .arg(format!("c/{}.c", program.name))
        .args(flags.split_whitespace())
        .output()
        .map_err(|error| format!("no C compiler: {compiler}: {error}"))?;
    if compiled.status.success() {
        return Ok(output);
    }
    let errors = String::from_utf8_lossy(&compiled.stderr);
    let error = errors.lines().find(|line| line.contains("error")).unwrap_or("no reason given");
    Err(format!("c/{}.c does not compile: {error}", program.name))
}

/// The first line that a command prints, if it succeeds.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(|line| line.trim().to_owned())
}
