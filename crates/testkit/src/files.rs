//! A directory of a test's own, and the files in it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

/// A new directory, which is removed with all that is in it when this is dropped.
#[derive(Debug)]
pub struct Files(TempDir);

impl Default for Files {
    fn default() -> Self {
        Self::new()
    }
}

impl Files {
    /// An empty directory.
    ///
    /// # Panics
    ///
    /// When none can be made.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    /// The path of a file in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// The same as an argument.
    ///
    /// # Panics
    ///
    /// When it is not UTF-8.
    #[must_use]
    pub fn name(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    /// What is in a file.
    ///
    /// # Panics
    ///
    /// When it is not there or no text.
    #[must_use]
    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect(name)
    }

    /// What is in a file of JSON.
    ///
    /// # Panics
    ///
    /// When it is not there or not JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.text(name)).expect(name)
    }

    /// Writes a file.
    ///
    /// # Panics
    ///
    /// When that fails.
    #[track_caller]
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect(name);
    }
}
