//! The programs of ours that are measured: the release builds beside this one, and up to date.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The program. It is brought up to date first if cargo runs this one: an old binary beside a new
/// library would be measured without anybody noticing.
///
/// # Errors
///
/// When it can't be built, or is not there. The text says how to build it.
pub(crate) fn edgeloop() -> io::Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND
        .get_or_init(|| look().map_err(|error| error.to_string()))
        .clone()
        .map_err(io::Error::other)
}

fn look() -> io::Result<PathBuf> {
    let package = ["--package", "edgeloop-cli"];
    Ok(built(&package, "edgeloop-cli", &["edgeloop"])?.remove(0))
}

/// The three servers among the examples of the library, in the order of these names, brought up to
/// date like the program.
///
/// # Errors
///
/// As [`edgeloop()`].
pub(crate) fn examples(names: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut arguments = vec!["--package", "edgeloop"];
    arguments.extend(names.iter().flat_map(|name| ["--example", name]));
    let paths: Vec<String> = names.iter().map(|name| format!("examples/{name}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    built(&arguments, "edgeloop --examples", &paths)
}

/// Builds, and returns these paths below the directory of the release build.
fn built(arguments: &[&str], what: &str, paths: &[&str]) -> io::Result<Vec<PathBuf>> {
    let own = std::env::current_exe()?;
    let target = target_of(&own)
        .ok_or_else(|| io::Error::other(format!("{} is in no target directory", own.display())))?;
    if let Some(cargo) = std::env::var_os("CARGO") {
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--release"])
            .args(arguments)
            .arg("--target-dir")
            .arg(target)
            .arg("--manifest-path")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"))
            .stdin(Stdio::null())
            .status()?;
        if !built.success() {
            return Err(io::Error::other(format!("the release build of {what} failed")));
        }
    }
    let binaries: Vec<_> = paths.iter().map(|path| target.join("release").join(path)).collect();
    match binaries.iter().find(|binary| !binary.is_file()) {
        None => Ok(binaries),
        Some(missing) => Err(io::Error::other(format!(
            "{} is missing; build it with `cargo build --release -p {what}`",
            missing.display()
        ))),
    }
}

/// Whether there is a program of that name.
pub(crate) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|place| place.join(program).is_file())
}

/// The target directory that a program of ours lies in: `target/release/comparisons`, or
/// `target/debug/deps/comparisons-0123456789abcdef` for a test.
fn target_of(program: &Path) -> Option<&Path> {
    let directory = program.parent()?;
    let profile = if directory.ends_with("deps") { directory.parent()? } else { directory };
    profile.parent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_directory_is_above_the_profile() {
        for program in ["/t/release/comparisons", "/t/debug/deps/comparisons-01"] {
            assert_eq!(target_of(Path::new(program)), Some(Path::new("/t")), "{program}");
        }
    }
}
