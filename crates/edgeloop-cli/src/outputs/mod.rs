//! Files that are written when something is complete, and not before.
//!
//! A `place` is what a name stands for. A regular file gets a `draft` beside it, which replaces it
//! at the end: whatever goes wrong before leaves the old file as it was. Anything else, such as a
//! FIFO, is written `straight`.

mod draft;
mod place;
mod straight;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use crate::escape::OneLine;
use crate::exit::Failure;
use crate::signals;
use draft::Draft;
pub(crate) use draft::abandon;
use place::Kind;
pub(crate) use place::{Place, apart, same_input};
use straight::Straight;

/// An output that is open. Dropped without [`finish`](Self::finish), it leaves an old file as it
/// was.
///
/// Writing never fails: the first failure ends it, and [`finish`](Self::finish) returns it.
#[derive(Debug)]
pub(crate) struct Output {
    /// As it was given.
    name: PathBuf,
    way: Way,
    failed: Option<io::Error>,
}

#[derive(Debug)]
enum Way {
    Draft(Draft),
    Straight(Straight),
    Standard(Straight),
}

impl Output {
    /// Makes sure that it can be written, and changes nothing that is there.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub(crate) fn open(place: &Place) -> Result<Self, Failure> {
        let way = match place.kind() {
            Kind::Standard => another(io::stdout().as_fd()).map(Way::Standard),
            Kind::StandardError => another(io::stderr().as_fd()).map(Way::Straight),
            Kind::File(path) => Draft::begin(path).map(Way::Draft),
            Kind::Other(path) => straight::open(path).map(Way::Straight),
            Kind::Descriptor(path) => straight::append(path).map(Way::Straight),
        };
        let name = place.name().to_owned();
        let way = way.map_err(|error| unwritable(&name, &error))?;
        Ok(Self { name, way, failed: None })
    }

    /// Whether it is a file that appears when it is complete.
    pub(crate) const fn is_draft(&self) -> bool {
        matches!(self.way, Way::Draft(_))
    }

    /// Writes the rest. A file is in its place then, and complete.
    ///
    /// Waits for a reader that does not read, until `ends` says that the user wants no more.
    ///
    /// # Errors
    ///
    /// The first failure of all writes. An old file is as it was then.
    pub(crate) fn finish(self, ends: &dyn Fn() -> bool) -> Result<(), Failure> {
        let Self { name, way, failed } = self;
        let done = match (failed, way) {
            (None, Way::Draft(draft)) => draft.commit(),
            (None, Way::Straight(mut straight)) => straight.finish(ends),
            (None, Way::Standard(mut straight)) => return standard_output(straight.finish(ends)),
            (Some(error), Way::Standard(_)) => return standard_output(Err(error)),
            (Some(error), _) => Err(error),
        };
        done.map_err(|error| unwritable(&name, &error))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed.is_none() {
            let written = match &mut self.way {
                Way::Draft(draft) => draft.write_all(bytes),
                Way::Straight(straight) | Way::Standard(straight) => straight.write(bytes),
            };
            self.failed = written.err();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes all of an output at once. No signal ends the program between the draft of a file and its
/// end.
///
/// # Errors
///
/// When it can't be written.
pub(crate) fn put(
    place: &Place,
    write: impl FnOnce(&mut Output) -> io::Result<()>,
) -> Result<(), Failure> {
    let write = || {
        let mut output = Output::open(place)?;
        let _ = write(&mut output);
        output.finish(&|| false)
    };
    if matches!(place.kind(), Kind::File(_)) { signals::blocked(write) } else { write() }
}

/// Opened once more, it would have a place of its own in a file.
fn another(descriptor: BorrowedFd<'_>) -> io::Result<Straight> {
    Ok(Straight::new(File::from(descriptor.try_clone_to_owned()?)))
}

/// What writing to standard output has come to. A reader that has seen enough is no failure.
pub(crate) fn standard_output(printed: io::Result<()>) -> Result<(), Failure> {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::usage(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let path = path.to_string_lossy();
    Failure::usage(format!("cannot write {}: {error}", OneLine(&path)))
}
