//! The program `edgeloop` that is measured: the release build beside this one, and up to date.

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
    let own = std::env::current_exe()?;
    let target = target_of(&own)
        .ok_or_else(|| io::Error::other(format!("{} is in no target directory", own.display())))?;
    let binary = target.join("release/edgeloop");
    if let Some(cargo) = std::env::var_os("CARGO") {
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--release", "--package", "edgeloop-cli", "--target-dir"])
            .arg(target)
            .arg("--manifest-path")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"))
            .stdin(Stdio::null())
            .status()?;
        if !built.success() {
            return Err(io::Error::other("the release build of edgeloop-cli failed"));
        }
    }
    if binary.is_file() {
        return Ok(binary);
    }
    let missing = binary.display();
    Err(io::Error::other(format!(
        "{missing} is missing; build it with `cargo build --release -p edgeloop-cli`"
    )))
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
