//! Tells the tool what it was built from, and with what: see `src/version.rs`.
//!
//! Its variables don't begin with `EDGELOOP_`: `cargo run` sets them for the tool, too, which warns
//! of unknown options.
//!
//! It needs no network and no git. It runs again when another commit is checked out, and at no
//! other time; the same commit, target and compiler give the same binary.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where this package lies in its repository.
const PREFIX: &str = "crates/edgeloop-cli/";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where"));
    // Each is set in any case, or the environment of the build would show through.
    let commit = packaged(&package).or_else(|| checked_out(&package));
    let commit = commit.unwrap_or_else(|| "unknown (built outside git)".to_owned());
    println!("cargo::rustc-env=BUILD_COMMIT={commit}");
    let target = env::var("TARGET").expect("cargo says for what");
    println!("cargo::rustc-env=BUILD_TARGET={target}");
    let rustc = env::var_os("RUSTC").expect("cargo says with what");
    let version = output(Command::new(rustc).arg("--version"));
    println!("cargo::rustc-env=BUILD_RUSTC={}", version.as_deref().unwrap_or("unknown"));
}

/// The commit that `cargo package` has written down, as in what crates.io has.
fn packaged(package: &Path) -> Option<String> {
    let path = package.join(".cargo_vcs_info.json");
    let info = fs::read_to_string(&path).ok()?;
    println!("cargo::rerun-if-changed={}", path.display());
    let (_, hash) = info.split_once("\"sha1\": \"")?;
    let hash = hash.get(..40)?;
    let changed = if info.contains("\"dirty\": true") { " with changes" } else { "" };
    let is_hash = hash.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hash.then(|| format!("{hash}{changed}"))
}

/// The commit that is checked out, if this is a checkout of this repository: a tarball may be
/// unpacked inside another one.
fn checked_out(package: &Path) -> Option<String> {
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        // A hook of another repository would name that one.
        git.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE");
        output(git.arg("-C").arg(package).args(words))
    };
    if git(&["rev-parse", "--show-prefix"])? != PREFIX {
        return None;
    }
    git(&["ls-files", "--error-unmatch", "Cargo.toml"])?;
    // What a commit or a checkout changes: HEAD or its log, and the branch where nothing is logged.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD"].into_iter().chain(branch.as_deref()) {
        let path = git(&["rev-parse", "--git-path", name]).map(|path| package.join(path));
        // Cargo would run this each time for a path that does not exist.
        if let Some(path) = path.filter(|path| path.exists()) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(&["rev-parse", "--verify", "HEAD"])
}

/// What a command prints, in one line; nothing if there is no such command or it fails.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty() && !text.contains('\n'))
}
