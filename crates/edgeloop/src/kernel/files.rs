//! The files that Unix sockets are bound to.

use std::path::Path;

use rustix::io::Errno;

use super::sockets::Sockets;
use crate::api::error::Failed;
use crate::api::listening::Access;

/// The files of a kernel, as far as Unix sockets need them. A path's last part is never followed if
/// it's a symbolic link.
pub trait Files: Sockets {
    /// A directory that is locked. Dropping it unlocks the directory.
    type Lock;

    /// Locks the directory in which a path lies (flock(2), exclusive), so that two programs don't
    /// replace the same file. `EAGAIN` says that another one has locked it.
    fn lock_directory(&mut self, path: &Path) -> Result<Self::Lock, Errno>;

    /// Which file is at a path (lstat(2)).
    fn file(&mut self, path: &Path) -> Result<FileId, Errno>;

    /// Gives the file at a path an owner and a mode (fchownat(2), fchmodat(2)), if it's still this
    /// one; `ESTALE` if it's another. Tells which of the calls has failed.
    fn set_access(&mut self, path: &Path, file: FileId, access: Access) -> Result<(), Failed>;

    /// unlink(2).
    fn unlink(&mut self, path: &Path) -> Result<(), Errno>;
}

/// Tells a file from every other one that exists at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// It's the file of a Unix socket.
    pub(crate) is_socket: bool,
}
