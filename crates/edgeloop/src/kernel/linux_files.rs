//! The files of Unix sockets on the real kernel.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{
    self, AtFlags, CWD, FileType, FlockOperation, Gid, Mode, OFlags, Stat, Uid, chmodat, chownat,
    flock, fstat, lstat, open,
};
use rustix::io::Errno;

use super::files::{FileId, Files};
use super::linux::Linux;
use crate::api::error::{Failed, InCall};
use crate::api::listening::Access;

impl Files for Linux {
    type Lock = OwnedFd;

    fn lock_directory(&mut self, path: &Path) -> Result<OwnedFd, Errno> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(parent.unwrap_or(Path::new(".")), flags, Mode::empty())?;
        flock(&directory, FlockOperation::NonBlockingLockExclusive)?;
        Ok(directory)
    }

    fn file(&mut self, path: &Path) -> Result<FileId, Errno> {
        lstat(path).map(|stat| id_of(&stat))
    }

    fn set_access(&mut self, path: &Path, file: FileId, access: Access) -> Result<(), Failed> {
        // By a descriptor, so that nobody who may write to the directory can put another file in
        // its place meanwhile.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = open(path, flags, Mode::empty()).in_call("open")?;
        if id_of(&fstat(&descriptor).in_call("fstat")?) != file {
            return Err(Errno::STALE).in_call("fstat");
        }
        let (user, group) = (access.user.map(Uid::from_raw), access.group.map(Gid::from_raw));
        if user.is_some() || group.is_some() {
            chownat(&descriptor, "", user, group, AtFlags::EMPTY_PATH).in_call("fchownat")?;
        }
        if let Some(mode) = access.mode {
            // fchmod(2) refuses such a descriptor, and fchmodat2(2) came with Linux 6.6.
            let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
            let mode = Mode::from_raw_mode(mode);
            chmodat(CWD, link, mode, AtFlags::empty()).in_call("fchmodat")?;
        }
        Ok(())
    }

    fn unlink(&mut self, path: &Path) -> Result<(), Errno> {
        fs::unlink(path)
    }
}

fn id_of(stat: &Stat) -> FileId {
    FileId {
        device: stat.st_dev,
        inode: stat.st_ino,
        is_socket: FileType::from_raw_mode(stat.st_mode) == FileType::Socket,
    }
}
