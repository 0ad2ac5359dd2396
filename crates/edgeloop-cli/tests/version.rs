//! What the tool says of its own build, and what its build script finds where there is no git.

mod serve;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serve::edgeloop;
use tempfile::TempDir;
use testkit::{GIT, skip_unless};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit of what was built from a tarball.
const UNKNOWN: &str = "unknown (built outside git)";

#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let ended = edgeloop(arguments).run();
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{arguments:?}");
    ended.stdout
}

#[test]
fn the_short_version_is_the_number() {
    for line in [&["-V"][..], &["serve", "-V"], &["bench", "-V"], &["report", "-V"]] {
        assert_eq!(printed(line), format!("edgeloop {VERSION}\n"), "{line:?}");
    }
}

#[test]
fn the_long_version_has_commit_target_and_compiler() {
    for line in [&["--version"][..], &["serve", "--version"], &["bench", "--version"]] {
        let text = printed(line);
        let lines: Vec<&str> = text.lines().collect();
        let [name, commit, target, rustc] = lines[..] else { panic!("{text}") };
        assert_eq!(name, format!("edgeloop {VERSION}"));
        let commit = commit.strip_prefix("commit: ").expect("a commit");
        let is_hash = commit.len() >= 40 && commit.bytes().all(|digit| digit.is_ascii_hexdigit());
        assert!(is_hash || commit == UNKNOWN, "{commit}");
        let target = target.strip_prefix("target: ").expect("a target");
        assert!(target.contains("-linux-"), "{target}");
        let rustc = rustc.strip_prefix("rustc: 1.").expect("a compiler");
        assert!(rustc.starts_with(|digit: char| digit.is_ascii_digit()), "{rustc}");
    }
}

/// The build script as a program of its own, and a place to run it in.
struct Script {
    directory: TempDir,
}

impl Script {
    #[track_caller]
    fn compile() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        let compiled = Command::new(compiler)
            .args(["--edition", "2024", "-o"])
            .arg(directory.path().join("script"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs"))
            .output()
            .expect("rustc runs");
        expect_success(&compiled);
        Self { directory }
    }

    /// Makes a package at this path, as it would lie in a checkout or in a tarball.
    fn package(&self, path: &str) -> PathBuf {
        let package = self.directory.path().join(path);
        fs::create_dir_all(&package).expect("a directory");
        fs::write(package.join("Cargo.toml"), "[package]\n").expect("a manifest");
        package
    }

    /// The commit that it finds for a package, and the paths that make it run again.
    #[track_caller]
    fn run(&self, package: &Path, path: Option<&str>) -> (Option<String>, Vec<PathBuf>) {
        let mut script = Command::new(self.directory.path().join("script"));
        script.current_dir(package).env("CARGO_MANIFEST_DIR", package);
        script.env("TARGET", "some-linux-target").env("RUSTC", "/nowhere/rustc");
        // Above it there is no checkout, whatever there is above the temporary directory.
        script.env("GIT_CEILING_DIRECTORIES", self.directory.path().parent().expect("/tmp"));
        if let Some(path) = path {
            script.env("PATH", path);
        }
        let output = script.output().expect("the script runs");
        expect_success(&output);
        let said = String::from_utf8(output.stdout).expect("words");
        assert!(said.contains("cargo::rustc-env=BUILD_TARGET=some-linux-target\n"), "{said}");
        let find = |name: &str| {
            let values = said.lines().filter_map(|line| line.strip_prefix(name));
            values.map(str::to_owned).collect::<Vec<_>>()
        };
        let watched = find("cargo::rerun-if-changed=");
        let watched = watched.iter().map(|path| package.join(path)).collect();
        let commit = find("cargo::rustc-env=BUILD_COMMIT=").pop().expect("a commit");
        (Some(commit).filter(|commit| commit != UNKNOWN), watched)
    }
}

#[track_caller]
fn expect_success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn git(directory: &Path, line: &str) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"])
        .args(line.split(' '))
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env_remove("GIT_DIR")
        .current_dir(directory)
        .output()
        .expect("git");
    expect_success(&output);
    String::from_utf8(output.stdout).expect("words").trim().to_owned()
}

#[test]
fn a_tarball_is_built_without_git_and_says_that_its_commit_is_unknown() {
    if skip_unless("a_tarball_is_built_without_git_and_says_that_its_commit_is_unknown", GIT) {
        return;
    }
    let script = Script::compile();
    let package = script.package("crates/edgeloop-cli");
    for path in [None, Some("/nowhere")] {
        let (commit, watched) = script.run(&package, path);
        assert_eq!(commit, None, "{path:?}");
        assert_eq!(watched, [package.join("build.rs")], "{path:?}");
    }
    // It lies in a checkout of something else, which does not hold it, or at another place.
    git(script.directory.path(), "init --quiet");
    git(script.directory.path(), "commit --quiet --allow-empty -m other");
    assert_eq!(script.run(&package, None).0, None);
    let elsewhere = script.package("vendor/crates/edgeloop-cli");
    git(script.directory.path(), "add vendor");
    git(script.directory.path(), "commit --quiet -m vendored");
    assert_eq!(script.run(&elsewhere, None).0, None);
}

#[test]
fn a_checkout_has_its_commit_and_is_looked_at_again_only_when_that_changes() {
    let test = "a_checkout_has_its_commit_and_is_looked_at_again_only_when_that_changes";
    if skip_unless(test, GIT) {
        return;
    }
    let script = Script::compile();
    let package = script.package("crates/edgeloop-cli");
    let root = script.directory.path();
    fs::write(package.join("build.rs"), "").expect("a file");
    git(root, "init --quiet");
    git(root, "add crates");
    git(root, "commit --quiet -m one");
    let (commit, watched) = script.run(&package, None);
    assert_eq!(commit, Some(git(root, "rev-parse HEAD")));
    // Cargo runs the script each time if one of them is missing.
    assert!(watched.iter().all(|path| path.exists()), "{watched:?}");
    let state = || watched.iter().map(|path| fs::read(path).expect("a file")).collect::<Vec<_>>();
    let before = state();
    git(root, "status");
    fs::write(package.join("other"), "").expect("a file");
    assert!(state() == before, "it would run again for a change that is not committed");
    git(root, "commit --quiet --allow-empty -m two");
    assert!(state() != before, "it would not see the next commit");
    let (second, _) = script.run(&package, None);
    assert_eq!(second, Some(git(root, "rev-parse HEAD")));
    assert_ne!(second, commit);
    // In a worktree .git is a file.
    git(root, "worktree add --quiet --detach tree HEAD~1");
    let (in_worktree, watched) = script.run(&root.join("tree/crates/edgeloop-cli"), None);
    assert_eq!(in_worktree, commit);
    assert!(watched.len() > 1, "{watched:?}");
}

#[test]
fn a_package_from_a_registry_has_the_commit_that_it_was_made_of() {
    let script = Script::compile();
    let package = script.package("edgeloop-cli-0.1.0");
    let hash = "0123456789abcdef0123456789abcdef01234567";
    let info = package.join(".cargo_vcs_info.json");
    let text = format!("{{\n  \"git\": {{\n    \"sha1\": \"{hash}\"\n  }}\n}}");
    fs::write(&info, text).expect("a file");
    let (commit, watched) = script.run(&package, Some("/nowhere"));
    assert_eq!(commit.as_deref(), Some(hash));
    assert!(watched.contains(&info), "{watched:?}");
    let text =
        format!("{{\n  \"git\": {{\n    \"sha1\": \"{hash}\",\n    \"dirty\": true\n  }}\n}}");
    fs::write(&info, text).expect("a file");
    let (commit, _) = script.run(&package, Some("/nowhere"));
    assert_eq!(commit, Some(format!("{hash} with changes")));
    for damaged in ["", "{}", "{\"git\": {\"sha1\": \"short\"}}"] {
        fs::write(&info, damaged).expect("a file");
        assert_eq!(script.run(&package, Some("/nowhere")).0, None, "{damaged}");
    }
}
