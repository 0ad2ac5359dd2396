//! Compiles the peers that are written in C or Go, finds out the versions of all, and says of each
//! why it is left out if it can't be compiled.
//!
//! Nothing here fails the build: a machine without a C compiler still has the other peers.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A library that programs stand on.
struct Library {
    /// What pkg-config calls it, and the linker.
    name: &'static str,
    linked: &'static str,
    header: &'static str,
    /// The Debian package with that header.
    package: &'static str,
}

const LIBUV: Library =
    Library { name: "libuv", linked: "-luv", header: "uv.h", package: "libuv1-dev" };
const LIBEVENT: Library = Library {
    name: "libevent",
    linked: "-levent",
    header: "event2/event.h",
    package: "libevent-dev",
};

/// Our programs in C, which are the files in `c/`, and the library of each.
const PROGRAMS: &[(&str, Option<&Library>)] = &[
    ("bare_echo", None),
    ("bare_fanout", None),
    ("bare_inline", None),
    ("bare_spin", None),
    ("bare_splice", None),
    ("bare_udp", None),
    ("bare_udp_inline", None),
    ("bare_unix", None),
    ("bare_unix_inline", None),
    ("libuv_echo", Some(&LIBUV)),
    ("libuv_fanout", Some(&LIBUV)),
    ("libuv_udp", Some(&LIBUV)),
    ("libevent_echo", Some(&LIBEVENT)),
    ("libevent_fanout", Some(&LIBEVENT)),
];

/// The crates whose versions are shown.
const CRATES: &[&str] = &["compio", "hyper", "mio", "monoio", "polling", "smol", "tokio"];

fn main() {
    for path in ["build.rs", "c", "go", "../../Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-env-changed=CC");
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    tell("COMPILER", &output(&compiler, &["--version"]).unwrap_or_default());
    let rustc = env::var("RUSTC").expect("cargo sets it");
    tell("RUSTC", &output(&rustc, &["--version"]).unwrap_or_default());
    let lock = fs::read_to_string("../../Cargo.lock").unwrap_or_default();
    for name in CRATES {
        tell(&name.to_uppercase(), &locked(&lock, name));
    }
    for library in [&LIBUV, &LIBEVENT] {
        let version = output("pkg-config", &["--modversion", library.name]);
        tell(&library.name.to_uppercase(), &version.unwrap_or_else(|| "unknown".to_owned()));
    }
    tell("GO", &output("go", &["version"]).unwrap_or_default());
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for (name, library) in PROGRAMS {
        let program = folder.join(name);
        tell_program(name, &program, compile_c(&compiler, name, *library, &program));
    }
    let program = folder.join("example_go");
    tell_program("example_go", &program, compile_go("go/example.go", &program, &folder));
}

/// Hands over where a program is, or why it is left out.
fn tell_program(name: &str, program: &Path, compiled: Result<(), String>) {
    let name = name.to_uppercase();
    if compiled.is_err() {
        // What is installed later is found later. Installed files carry the dates of their
        // packages, so their own say nothing; this one is written at each installation.
        println!("cargo::rerun-if-changed=/var/lib/dpkg/status");
    }
    let path = if compiled.is_ok() { program.display().to_string() } else { String::new() };
    tell(&name, &path);
    tell(&format!("{name}_LEFT_OUT"), &compiled.err().unwrap_or_default());
}

/// Hands a text to the crate, as `env!("PEERS_…")`. Empty stands for nothing.
fn tell(name: &str, text: &str) {
    println!("cargo::rustc-env=PEERS_{name}={}", text.replace('\n', " "));
}

/// Compiles a program in C; the error is why it is left out.
fn compile_c(
    compiler: &str,
    name: &str,
    library: Option<&Library>,
    program: &Path,
) -> Result<(), String> {
    let flags = library.map_or_else(String::new, |library| {
        let known = output("pkg-config", &["--cflags", "--libs", library.name]);
        known.unwrap_or_else(|| library.linked.to_owned())
    });
    let compiled = Command::new(compiler)
        .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-o"])
        .arg(program)
        .arg(format!("c/{name}.c"))
        .args(flags.split_whitespace())
        .output()
        .map_err(|error| format!("the C compiler {compiler} does not start: {error}"))?;
    let Some(errors) = errors(&compiled) else { return Ok(()) };
    match library {
        Some(library) if errors.contains(library.header) || errors.contains(library.linked) => {
            Err(format!("{} is not installed", library.package))
        }
        _ => {
            let error = errors.lines().find(|line| line.contains("error"));
            Err(format!("c/{name}.c does not compile: {}", error.unwrap_or("no reason given")))
        }
    }
}

/// Compiles a program in Go, with what is on this machine; the error is why it is left out.
fn compile_go(source: &str, program: &Path, folder: &Path) -> Result<(), String> {
    let compiled = Command::new("go")
        .args(["build", "-o"])
        .arg(program)
        .arg(source)
        .env("GOCACHE", folder.join("go-cache"))
        .env("GOPATH", folder.join("go-path"))
        .envs([("CGO_ENABLED", "0"), ("GOFLAGS", ""), ("GOTOOLCHAIN", "local")])
        .output();
    let compiled = compiled.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "golang-go is not installed".to_owned(),
        _ => format!("the Go compiler does not start: {error}"),
    })?;
    let Some(errors) = errors(&compiled) else { return Ok(()) };
    // The first line only names the package.
    let error = errors.lines().find(|line| !line.starts_with('#'));
    Err(format!("{source} does not compile: {}", error.unwrap_or("no reason given")))
}

/// What a compiler that failed had to say.
fn errors(compiled: &Output) -> Option<String> {
    let is_failure = !compiled.status.success();
    is_failure.then(|| String::from_utf8_lossy(&compiled.stderr).into_owned())
}

/// The first line that a command prints, if it succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().next().unwrap_or_default().trim();
    output.status.success().then(|| first.to_owned())
}

/// The version of a crate in the lock file, the newest where there are several.
fn locked(lock: &str, name: &str) -> String {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let version = lock.rsplit_once(&entry).and_then(|(_, rest)| rest.split_once('"'));
    version.map_or_else(|| "unknown".to_owned(), |(version, _)| version.to_owned())
}
