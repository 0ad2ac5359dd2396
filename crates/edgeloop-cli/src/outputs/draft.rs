//! A file that is written beside the one that it replaces.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, Write};
use std::mem;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;
use tempfile::{Builder, NamedTempFile, PersistError};

/// The names of all drafts that there were. Those that are done have none any more.
static NAMES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes the drafts of a program that ends at once. There are no new ones from here on.
pub(crate) fn abandon() {
    let names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    for name in names.iter() {
        // One that is done isn't there.
        let _ = fs::remove_file(name);
    }
    mem::forget(names);
}

/// A file that is being written. Dropped before it is committed, it was never there.
#[derive(Debug)]
pub(super) struct Draft {
    /// What it will be.
    path: PathBuf,
    /// The file that is there, open for writing: one that is protected isn't replaced either.
    old: Option<File>,
    text: Text,
}

#[derive(Debug)]
enum Text {
    /// Beside the other.
    File(NamedTempFile),
    /// Where the directory takes no files.
    Memory(Vec<u8>),
}

impl Draft {
    /// Begins one of a file that is regular, or isn't there.
    ///
    /// # Errors
    ///
    /// When it could not be written.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let old =
            OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(path);
        let old = match old {
            Ok(old) => Some(old),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        // Whoever may not read the one may not read the other.
        let mode = match &old {
            Some(old) => old.metadata()?.mode() & 0o777,
            None => 0o666,
        };
        let text = match (beside(path, mode), &old) {
            (Ok(file), _) => Text::File(file),
            (Err(_), Some(_)) => Text::Memory(Vec::new()),
            (Err(error), None) => return Err(error),
        };
        Ok(Self { path: path.to_owned(), old, text })
    }

    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.text {
            // Its own errors would name the draft.
            Text::File(file) => file.as_file_mut().write_all(bytes),
            Text::Memory(memory) => memory.write_all(bytes),
        }
    }

    /// Puts it in its place.
    ///
    /// # Errors
    ///
    /// When that fails. The old file is then as it was, unless it had to be overwritten.
    pub(super) fn commit(self) -> io::Result<()> {
        let file = match self.text {
            Text::File(file) => file,
            Text::Memory(bytes) => {
                let old = self.old.ok_or(io::ErrorKind::NotFound)?;
                return overwrite(old, &bytes[..], bytes.len() as u64);
            }
        };
        if let Some(old) = &self.old {
            keep_rights(file.as_file(), old);
        }
        sync(file.as_file())?;
        let Err(PersistError { error, file }) = file.persist(self.path) else { return Ok(()) };
        let Some(old) = self.old else { return Err(error) };
        // It may be mounted by itself or, in a directory like /tmp, belong to another.
        let mut file = file.into_file();
        file.rewind()?;
        let length = file.metadata()?.len();
        overwrite(old, file, length)
    }
}

/// Makes a file in the same directory.
fn beside(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    // Nothing is made when the names have been removed.
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let make = |path: &Path| {
        OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)
    };
    let file = Builder::new().prefix(".edgeloop-").suffix(".tmp").make_in(directory, make)?;
    names.push(file.path().to_owned());
    Ok(file)
}

/// Gives a new file the owner and the permissions of the old one, as far as this user may.
fn keep_rights(new: &File, old: &File) {
    let Ok(rights) = old.metadata() else { return };
    // Where it fails, the new file is this user's, as any that is made.
    let _ = fchown(new, Some(rights.uid()), Some(rights.gid()));
    let _ = new.set_permissions(rights.permissions());
}

/// Overwrites a file that can't be replaced.
fn overwrite(mut old: File, mut bytes: impl Read, length: u64) -> io::Result<()> {
    if old.metadata()?.nlink() == 0 {
        // It was removed, and its directory with it.
        return Err(io::ErrorKind::NotFound.into());
    }
    // The room comes first: a full disk leaves it as it was. Not all file systems can do this.
    let room = fallocate(&old, FallocateFlags::KEEP_SIZE, 0, length);
    if let Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) = room {
        return Err(error.into());
    }
    io::copy(&mut bytes, &mut old)?;
    old.set_len(length)?;
    sync(&old)
}

/// Some file systems say only here that they are full. Others can't do this.
fn sync(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// The names in a directory.
    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("a directory");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> =
            entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_the_old_one_until_the_new_one_is_complete() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a");
        for (old, new) in [(None, "one"), (Some("one"), "two")] {
            let look = || fs::read_to_string(&path).ok();
            let mut draft = Draft::begin(&path).expect("a draft");
            draft.write_all(b"half").expect("written");
            assert_eq!(look().as_deref(), old);
            drop(draft);
            assert_eq!(look().as_deref(), old);
            let mut draft = Draft::begin(&path).expect("a draft");
            draft.write_all(new.as_bytes()).expect("written");
            draft.commit().expect("done");
            assert_eq!(look().as_deref(), Some(new));
            assert_eq!(names(directory.path()), ["a"]);
        }
    }

    #[test]
    fn a_new_file_has_the_rights_of_the_old_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a");
        fs::write(&path, "old").expect("a file");
        for mode in [0o600, 0o640, 0o666] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("chmod");
            let draft = Draft::begin(&path).expect("a draft");
            // Nobody reads the draft who may not read the file.
            let Text::File(file) = &draft.text else { panic!("it is no file") };
            assert_eq!(file.as_file().metadata().expect("stat").mode() & 0o777 & !mode, 0);
            draft.commit().expect("done");
            assert_eq!(fs::metadata(&path).expect("stat").mode() & 0o777, mode);
        }
    }

    #[test]
    fn a_file_that_cannot_be_replaced_is_overwritten_when_all_is_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a");
        fs::write(&path, "the old text, which is longer").expect("a file");
        let mut draft = Draft::begin(&path).expect("a draft");
        draft.text = Text::Memory(Vec::new());
        draft.write_all(b"the new one").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "the old text, which is longer");
        draft.commit().expect("done");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "the new one");
    }

    #[test]
    fn a_file_that_went_with_its_directory_is_not_taken_for_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a");
        fs::write(&path, "old").expect("a file");
        let draft = Draft::begin(&path).expect("a draft");
        directory.close().expect("removed");
        assert_eq!(draft.commit().expect_err("gone").kind(), io::ErrorKind::NotFound);
    }
}
