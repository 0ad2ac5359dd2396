//! What is shipped beside the code: the files of the published crates, and those in `packaging/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::{SYSTEMD_ANALYZE, skip_unless};

/// The crates that are published. All others say that they are not.
const PUBLISHED: [&str; 2] = ["edgeloop", "edgeloop-cli"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[track_caller]
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[track_caller]
fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .arg("--offline")
        .current_dir(root())
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("words")
}

/// The value of a key in a systemd unit, the last one that is given.
#[track_caller]
fn setting<'a>(unit: &'a str, key: &str) -> &'a str {
    let lines = unit.lines().rev();
    let value = lines.filter_map(|line| line.split_once('=')).find(|(name, _)| *name == key);
    value.unwrap_or_else(|| panic!("{key} is not set")).1
}

/// The default of an option of `serve`, as its help tells it.
#[track_caller]
fn default_of(option: &str) -> String {
    let help = Command::new(env!("CARGO_BIN_EXE_edgeloop")).arg("-h").output().expect("the tool");
    let help = String::from_utf8(help.stdout).expect("words");
    let line = help.lines().find(|line| line.contains(option)).expect("the option");
    let (_, default) = line.split_once("[default: ").expect("a default");
    default.trim_end_matches(']').to_owned()
}

#[track_caller]
fn seconds(text: &str) -> u32 {
    text.strip_suffix('s').and_then(|number| number.parse().ok()).expect(text)
}

#[test]
fn every_published_crate_carries_its_readme_and_both_licences() {
    for name in PUBLISHED {
        let files = cargo(&["package", "--list", "--allow-dirty", "-p", name]);
        for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "Cargo.toml"] {
            assert!(files.lines().any(|line| line == file), "{name} lacks {file}:\n{files}");
        }
        for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
            // They are links; a checkout that can't have any would have a path as text here.
            assert!(read(&format!("crates/{name}/{file}")) == read(file), "{name}/{file}");
        }
    }
}

#[test]
fn every_published_crate_says_what_it_is_and_where_it_comes_from() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let is_published = |package: &&Value| package["publish"].is_null();
    let mut published: Vec<&Value> = packages.iter().filter(is_published).collect();
    published.sort_by_key(|package| package["name"].to_string());
    let names: Vec<&str> = published.iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, PUBLISHED);
    for package in &published {
        for field in
            ["description", "repository", "documentation", "readme", "license", "rust_version"]
        {
            let text = package[field].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{} has no {field}", package["name"]);
        }
        for (field, most) in [("keywords", 5), ("categories", 5)] {
            let words = package[field].as_array().map_or(0, Vec::len);
            assert!((1..=most).contains(&words), "{} has {words} {field}", package["name"]);
        }
        assert_eq!(package["repository"], published[0]["repository"]);
    }
    // A package can't be made of a dependency without a version.
    let version = format!("edgeloop\", version = \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(read("Cargo.toml").contains(&version), "{version}");
}

/// Has systemd look at units in one folder, with the tool of this build as the installed one.
#[track_caller]
fn expect_valid(units: &[&str]) {
    let directory = tempfile::tempdir().expect("a directory");
    for name in units {
        let unit = read(&format!("packaging/{name}"));
        let installed = unit.replace("/usr/local/bin/edgeloop", env!("CARGO_BIN_EXE_edgeloop"));
        fs::write(directory.path().join(name), installed).expect("a unit");
    }
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(units.iter().map(|name| directory.path().join(name)))
        .output()
        .expect("systemd-analyze");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && !said.contains("edgeloop."), "{said}");
}

#[test]
fn the_socket_unit_is_one_that_systemd_takes_and_listens_where_the_tool_does() {
    let unit = read("packaging/edgeloop.socket");
    assert_eq!(setting(&unit, "ListenStream"), default_of("unix:PATH"));
    assert_eq!(setting(&unit, "Backlog"), default_of("--backlog"));
    assert_eq!(setting(&unit, "Accept"), "no");
    let name = "the_socket_unit_is_one_that_systemd_takes_and_listens_where_the_tool_does";
    if !skip_unless(name, SYSTEMD_ANALYZE) {
        expect_valid(&["edgeloop.socket", "edgeloop.service"]);
    }
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let unit = read("packaging/edgeloop.service");
    assert_eq!(setting(&unit, "Type"), "exec");
    assert_eq!(setting(&unit, "ExecStart"), "/usr/local/bin/edgeloop serve");
    assert!(!unit.lines().any(|line| line.starts_with("ExecReload=")));
    let stop = seconds(setting(&unit, "TimeoutStopSec"));
    assert!(stop > seconds(&default_of("--drain-timeout")), "a stop has to outlast the drain");

    if !skip_unless("the_unit_is_one_that_systemd_takes", SYSTEMD_ANALYZE) {
        expect_valid(&["edgeloop.service"]);
    }
}

#[test]
fn the_container_is_the_tool_alone_and_drains_before_it_is_killed() {
    let file = read("packaging/Containerfile");
    let lines: Vec<&str> =
        file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let words: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(words, ["FROM", "COPY", "USER", "EXPOSE", "STOPSIGNAL", "ENV", "ENTRYPOINT"]);
    assert_eq!(lines[0], "FROM scratch");
    assert_eq!(lines[2], "USER 65534:65534");
    let drain = lines[5].strip_prefix("ENV EDGELOOP_DRAIN_TIMEOUT=").expect(lines[5]);
    assert!(seconds(drain) < 10, "engines wait for 10s by default");
}

#[test]
fn the_static_build_is_one_command_everywhere() {
    let command = "RUSTFLAGS=\"-C target-feature=+crt-static\" \\";
    for file in ["README.md", "packaging/Containerfile", ".ci/static"] {
        assert!(read(file).contains(command), "{file}");
    }
}
