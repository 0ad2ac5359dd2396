//! The library's examples, as programs.

use std::ffi::OsStr;
use std::process::Command;

/// Builds an example of the library with the profile of this test, which no test of cargo's does by
/// itself, and returns the program's path. Quick where it is built already.
///
/// # Panics
///
/// If it can't be built.
#[must_use]
#[track_caller]
pub fn example(name: &str) -> String {
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test.ancestors().nth(2).expect("the directory of the profile");
    let named = profile.file_name().and_then(OsStr::to_str).expect("a name");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "edgeloop", "--example", name, "--profile"])
        .arg(if named == "debug" { "dev" } else { named })
        .arg("--target-dir")
        .arg(profile.parent().expect("the target directory"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.expect("cargo").success(), "the example {name} can't be built");
    let program = profile.join("examples").join(name);
    program.to_str().expect("a path in UTF-8").to_owned()
}
