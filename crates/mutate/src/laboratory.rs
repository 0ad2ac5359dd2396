//! A copy of the tree in which one mutation at a time is built.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::mutation::{Mutation, root};

/// The copy, and where it is built.
#[derive(Debug)]
pub struct Laboratory {
    tree: PathBuf,
    target: PathBuf,
}

impl Laboratory {
    /// Copies the tree as git sees it, what is not committed included. The copy and its build are
    /// beside the build of this program, in a directory of this name.
    ///
    /// # Errors
    ///
    /// When git or the file system fails.
    pub fn set_up(name: &str) -> Result<Self, String> {
        let root = root();
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let directory = target.unwrap_or_else(|| root.join("target")).join(name);
        let list = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
            .current_dir(&root)
            .output()
            .map_err(|error| format!("git: {error}"))?;
        let list = String::from_utf8(list.stdout).map_err(|error| format!("git: {error}"))?;
        let tree = directory.join("tree");
        let _ = fs::remove_dir_all(&tree);
        // What is deleted but not committed is in the list as well.
        let files = list.split('\0').filter(|file| root.join(file).is_file());
        for file in files {
            let to = tree.join(file);
            let parent = to.parent().unwrap_or(&tree);
            fs::create_dir_all(parent)
                .and_then(|()| fs::copy(root.join(file), &to))
                .map_err(|error| format!("{}: {error}", to.display()))?;
        }
        Ok(Self { tree, target: directory.join("target") })
    }

    /// Does something with a mutation in the copy, and takes it back.
    ///
    /// # Errors
    ///
    /// If the file system fails, or `action` does. `Ok(Err(_))` says that it does not fit the code.
    pub fn with<T>(
        &self,
        mutation: &Mutation,
        action: impl FnOnce() -> Result<T, String>,
    ) -> Result<Result<T, String>, String> {
        let read = |file: &str| fs::read_to_string(self.tree.join(file));
        let changed = match mutation.apply(read) {
            Ok(changed) => changed,
            Err(why) => return Ok(Err(why)),
        };
        let mut before = Vec::new();
        for &file in changed.keys() {
            before.push((file, read(file).map_err(|error| format!("{file}: {error}"))?));
        }
        let write = |file: &str, text: &str| {
            fs::write(self.tree.join(file), text).map_err(|error| format!("{file}: {error}"))
        };
        changed.iter().try_for_each(|(file, text)| write(file, text))?;
        let answer = action();
        before.iter().try_for_each(|(file, text)| write(file, text))?;
        answer.map(Ok)
    }

    /// Runs cargo in the copy; returns `None` if it had to be ended.
    ///
    /// # Errors
    ///
    /// When it can't be run.
    pub fn cargo(&self, arguments: &[&str], limit: Duration) -> Result<Option<Output>, String> {
        let child = Command::new(env!("CARGO"))
            .args(arguments)
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.target)
            // The tests show all that they can.
            .env("CI", "true")
            // A test that fails has mostly waited in vain for something.
            .env("EDGELOOP_TEST_PATIENCE", "20")
            // Most of the time goes into building.
            .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cargo: {error}"))?;
        let group = Pid::from_child(&child);
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || {
            // It fails only if nobody waits any more.
            let _ = sender.send(child.wait_with_output());
        });
        let output = match ended.recv_timeout(limit) {
            Ok(output) => output,
            Err(RecvTimeoutError::Timeout) => {
                // What it has started is all in it.
                let _ = kill_process_group(group, Signal::KILL);
                let _ = ended.recv();
                return Ok(None);
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err("the reader of cargo's output panicked".to_owned());
            }
        };
        output.map(Some).map_err(|error| format!("cargo: {error}"))
    }
}
