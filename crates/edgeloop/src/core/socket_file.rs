//! The files of Unix sockets that listen: how one is claimed, and how it's removed.
//!
//! A path is free, or a server has left its file there, or one serves it. Which of the last two it
//! is only a connect can tell. The directory is locked from before that until our socket listens:
//! two servers that start at the same time don't replace each other's files, because the second
//! one finds the first one listening.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use super::Core;
use crate::api::address::Address;
use crate::api::error::{Failed, InCall};
use crate::api::listening::Access;
use crate::kernel::{FileId, Kernel};

/// How often a locked directory is tried again, and how long after each time. Whoever binds a
/// socket has done so by then.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// How often a file is replaced that appears again in the meantime.
const REPLACEMENTS: u32 = 8;

/// A file that is ours.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    id: FileId,
}

/// A file that is ours, while nobody else looks at its directory.
pub(super) struct Claimed<K: Kernel> {
    pub(super) file: SocketFile,
    /// Held until the socket listens, or is given up.
    _lock: Option<K::Lock>,
}

impl<K: Kernel> Core<K> {
    /// Binds a socket to a path. Nobody can connect yet, because it doesn't listen; by then its
    /// file has its owner and mode.
    pub(super) fn claim(
        &mut self,
        socket: &K::Socket,
        address: &Address,
        path: &Path,
        access: Access,
    ) -> Result<Claimed<K>, Failed> {
        let path = std::path::absolute(path).in_call("getcwd")?;
        let _lock = self.lock_directory(&path)?;
        self.bind_to_file(socket, address, &path)?;
        // It can't be replaced by another with its number while the socket is bound to it.
        let id = self.kernel.file(&path).in_call("lstat")?;
        let file = SocketFile { path, id };
        if access != Access::default()
            && let Err(error) = self.kernel.set_access(&file.path, id, access)
        {
            self.remove_file(&file);
            return Err(error);
        }
        Ok(Claimed { file, _lock })
    }

    fn lock_directory(&mut self, path: &Path) -> Result<Option<K::Lock>, Failed> {
        for _ in 0..LOCK_TRIES {
            match self.kernel.lock_directory(path) {
                Ok(lock) => return Ok(Some(lock)),
                Err(Errno::AGAIN | Errno::INTR) => self.kernel.pause(LOCK_PAUSE),
                // One that can't be read can't be locked. What else is wrong bind(2) will say.
                Err(_) => return Ok(None),
            }
        }
        let locked = "another program has locked its directory";
        Err(Failed::new("flock", std::io::Error::new(std::io::ErrorKind::WouldBlock, locked)))
    }

    fn bind_to_file(
        &mut self,
        socket: &K::Socket,
        address: &Address,
        path: &Path,
    ) -> Result<(), Failed> {
        for _ in 0..REPLACEMENTS {
            match self.kernel.bind(socket, address) {
                Err(Errno::ADDRINUSE) => self.remove_stale(address, path)?,
                answer => return answer.in_call("bind"),
            }
        }
        Err(Errno::ADDRINUSE).in_call("bind")
    }

    /// Removes a socket's file that no socket is bound to any more. To connect is the only way to
    /// know; a server that is there sees a connection that ends at once.
    fn remove_stale(&mut self, address: &Address, path: &Path) -> Result<(), Failed> {
        let found = match self.kernel.file(path) {
            Err(Errno::NOENT) => return Ok(()),
            found => found.in_call("lstat")?,
        };
        if !found.is_socket {
            let other = "a file that is not a socket has this path";
            let error = std::io::Error::new(std::io::ErrorKind::AlreadyExists, other);
            return Err(Failed::new("bind", error));
        }
        let probe = self.kernel.socket(address).in_call("socket")?;
        let answer = self.kernel.connect(&probe, address);
        self.kernel.close(probe);
        match answer {
            Err(Errno::CONNREFUSED) if self.kernel.file(path) == Ok(found) => {
                self.kernel.unlink(path).in_call("unlink")
            }
            Err(Errno::CONNREFUSED | Errno::NOENT | Errno::INTR) => Ok(()),
            // Its backlog is full, or it's a socket of another type.
            Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Err(Errno::ADDRINUSE).in_call("bind"),
            Err(error) => Err(error).in_call("connect"),
        }
    }

    /// Removes a file of ours, unless another one has taken its place. Has to come before its
    /// socket is closed: until then no other file can have its number.
    pub(super) fn remove_file(&mut self, file: &SocketFile) {
        if self.kernel.file(&file.path) == Ok(file.id) {
            // It stays where that is not allowed, and the next server replaces it.
            let _ = self.kernel.unlink(&file.path);
        }
    }
}

/// A loop that is dropped leaves no file behind.
impl<K: Kernel> Drop for Core<K> {
    fn drop(&mut self) {
        let files: Vec<_> =
            self.listeners.iter_mut().filter_map(|listener| listener.file.take()).collect();
        for file in &files {
            self.remove_file(file);
        }
    }
}
