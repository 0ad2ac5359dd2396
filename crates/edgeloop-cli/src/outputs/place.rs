//! What the name of an output stands for. One file may have many names.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process;

use rustix::io::Errno;

use super::unwritable;
use crate::escape::OneLine;
use crate::exit::Failure;

/// How many symbolic links are followed (path_resolution(7)).
const LINKS: usize = 40;

/// Where an option's output goes to.
#[derive(Debug)]
pub(crate) struct Place {
    option: &'static str,
    /// As it was given.
    name: PathBuf,
    kind: Kind,
    identity: Option<Identity>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Standard output, as `-` or by another name.
    Standard,
    StandardError,
    /// A regular file, or nothing yet. The path ends in no link.
    File(PathBuf),
    /// A FIFO or a device.
    Other(PathBuf),
    /// Another descriptor of this process.
    Descriptor(PathBuf),
}

/// What tells a file from all others.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Identity {
    /// Its device and its number there.
    File(u64, u64),
    /// A file that isn't there: those of its directory, and the name.
    Missing(u64, u64, OsString),
}

impl Place {
    /// Finds out what the file of an option is, if it is given. Changes nothing.
    ///
    /// # Errors
    ///
    /// When there is no such directory, or it is one.
    pub(crate) fn find(
        option: &'static str,
        name: Option<&OsString>,
    ) -> Result<Option<Self>, Failure> {
        let Some(name) = name.map(PathBuf::from) else { return Ok(None) };
        let found = if name == Path::new("-") {
            Ok((Kind::Standard, identity(io::stdout().as_fd().try_clone_to_owned())))
        } else {
            resolve(&name)
        };
        let (kind, identity) = found.map_err(|error| unwritable(&name, &error))?;
        Ok(Some(Self { option, name, kind, identity }))
    }

    pub(crate) const fn option(&self) -> &'static str {
        self.option
    }

    /// As it was given.
    pub(super) fn name(&self) -> &Path {
        &self.name
    }

    /// The same, fit for a line.
    pub(crate) fn shown(&self) -> String {
        OneLine(&self.name.to_string_lossy()).to_string()
    }

    pub(super) const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether it is standard output.
    pub(crate) fn is_standard(&self) -> bool {
        self.kind == Kind::Standard
    }

    fn is_same(&self, other: &Self) -> bool {
        self.identity.is_some() && self.identity == other.identity
            || self.is_standard() && other.is_standard()
    }
}

/// Refuses outputs that are one file by whatever names, also with what this process was given as
/// standard output and standard error.
///
/// # Errors
///
/// Names the options.
pub(crate) fn apart(places: &[&Place]) -> Result<(), Failure> {
    for (index, place) in places.iter().enumerate() {
        let (option, name) = (place.option, place.shown());
        if let Some(other) = places[..index].iter().find(|other| other.is_same(place)) {
            let (one, its) = (other.option, other.shown());
            let line = if place.is_standard() && other.is_standard() {
                format!("{one} and {option} are both standard output; give one of them a file")
            } else {
                format!("{one} and {option} are the same file ({its}, {name}); give two")
            };
            return Err(Failure::usage(line));
        }
        if !matches!(place.kind, Kind::File(_)) {
            continue;
        }
        let streams = [
            ("standard output", io::stdout().as_fd().try_clone_to_owned()),
            ("standard error", io::stderr().as_fd().try_clone_to_owned()),
        ];
        for (stream, descriptor) in streams {
            if place.identity.is_some() && place.identity == identity(descriptor) {
                let line = format!("{option} {name} is also {stream}; give another file");
                return Err(Failure::usage(line));
            }
        }
    }
    Ok(())
}

/// Whether an input is the file of this output. `-` is standard input.
pub(crate) fn same_input(input: &OsStr, output: &Place) -> bool {
    let identity = if input == "-" {
        identity(io::stdin().as_fd().try_clone_to_owned())
    } else {
        fs::metadata(input).ok().map(|input| of(&input))
    };
    identity.is_some() && identity == output.identity
}

/// Follows the links at the end of a path.
fn resolve(name: &Path) -> io::Result<(Kind, Option<Identity>)> {
    let mut path = name.to_owned();
    for _ in 0..LINKS {
        let (directory, last) = split(&path)?;
        let directory = fs::canonicalize(directory)?;
        let full = directory.join(&last);
        let found = match fs::symlink_metadata(&full) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let parent = fs::metadata(&directory)?;
                let identity = Identity::Missing(parent.dev(), parent.ino(), last);
                return Ok((Kind::File(full), Some(identity)));
            }
            Err(error) => return Err(error),
        };
        if !found.is_symlink() {
            let kind = match found.file_type() {
                kind if kind.is_dir() => return Err(Errno::ISDIR.into()),
                kind if kind.is_file() => Kind::File(full),
                _ => Kind::Other(full),
            };
            return Ok((kind, Some(of(&found))));
        }
        if leads_to_descriptors(&directory) {
            let found = fs::metadata(&full)?;
            let own = if is_own(&directory) { last.to_str() } else { None };
            let kind = match own {
                Some("1") => Kind::Standard,
                Some("2") => Kind::StandardError,
                _ => Kind::Descriptor(full),
            };
            return Ok((kind, Some(of(&found))));
        }
        path = directory.join(fs::read_link(&full)?);
    }
    Err(Errno::LOOP.into())
}

/// The directory of a path, and the name in it.
fn split(path: &Path) -> io::Result<(PathBuf, OsString)> {
    let bytes = path.as_os_str().as_bytes();
    let last = bytes.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let directory = &bytes[..bytes.len() - last.len()];
    match last {
        b"" if bytes.is_empty() => Err(Errno::NOENT.into()),
        // Only a directory can have such a name.
        b"" | b"." | b".." => match fs::metadata(path) {
            Err(error) => Err(error),
            Ok(_) => Err(Errno::ISDIR.into()),
        },
        _ => {
            let directory = if directory.is_empty() { b".".as_slice() } else { directory };
            Ok((OsStr::from_bytes(directory).into(), OsStr::from_bytes(last).to_owned()))
        }
    }
}

/// Whether its links are descriptors of a process, and lead to what may have no name (proc(5)).
fn leads_to_descriptors(directory: &Path) -> bool {
    directory.starts_with("/proc") && directory.ends_with("fd")
}

/// Whether they are those of this one.
fn is_own(directory: &Path) -> bool {
    directory.starts_with(format!("/proc/{}", process::id()))
}

fn identity(descriptor: io::Result<OwnedFd>) -> Option<Identity> {
    let found = File::from(descriptor.ok()?).metadata().ok()?;
    // Of the others nothing is lost.
    found.is_file().then(|| of(&found))
}

fn of(found: &Metadata) -> Identity {
    Identity::File(found.dev(), found.ino())
}
