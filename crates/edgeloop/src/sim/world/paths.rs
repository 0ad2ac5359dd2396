//! The files of Unix sockets: which paths exist, who serves them, and who has locked a directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::api::address::{Address, UnixAddress};
use crate::api::listening::Access;
use crate::api::time::Time;
use crate::kernel::FileId;

/// Who has made a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The loop, with this descriptor.
    Loop(usize),
    /// Another server, which is there still.
    Other,
    /// A server that has ended.
    Nobody,
    /// It is no socket.
    NoSocket,
}

/// A file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    pub owner: Owner,
    /// Tells it from every other file of the same time.
    pub inode: u64,
    /// What the loop has asked for it.
    pub(crate) access: Access,
}

/// All files.
#[derive(Debug, Default)]
pub struct Paths {
    nodes: BTreeMap<PathBuf, Node>,
    /// The files that sockets of the loop are bound to, by descriptor. No other file gets such a
    /// number, even when the path is gone.
    bound: BTreeMap<usize, u64>,
    /// Until when another program has locked the directories.
    pub locked_until: Time,
}

/// The path of an address, if it has one, as the kernel takes it.
fn path_of(address: &Address) -> Option<PathBuf> {
    let path = address.as_unix().and_then(UnixAddress::as_path)?;
    std::path::absolute(path).ok()
}

impl Paths {
    /// Makes a file; returns whether the path was free.
    pub fn make(&mut self, path: impl Into<PathBuf>, owner: Owner) -> bool {
        let path = path.into();
        if self.nodes.contains_key(&path) {
            return false;
        }
        // The lowest number that is free, so that numbers come again soon.
        let used = |inode: &u64| {
            let named = self.nodes.values().any(|node| node.inode == *inode);
            named || self.bound.values().any(|bound| bound == inode)
        };
        let inode = (1..).find(|inode| !used(inode)).unwrap_or_default();
        if let Owner::Loop(number) = owner {
            self.bound.insert(number, inode);
        }
        self.nodes.insert(path, Node { owner, inode, access: Access::default() });
        true
    }

    /// The file at a path.
    pub fn get(&self, path: &Path) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// All files, with their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }

    /// bind(2) of one of the loop's sockets.
    pub(crate) fn bind(&mut self, address: &Address, number: usize) -> Result<(), Errno> {
        let Some(path) = path_of(address) else { return Ok(()) };
        if self.make(path, Owner::Loop(number)) { Ok(()) } else { Err(Errno::ADDRINUSE) }
    }

    /// Whose file a connect finds at an address (`unix_find_bsd`), if that is a path.
    pub(crate) fn owner(&self, address: &Address) -> Result<Option<Owner>, Errno> {
        let Some(path) = path_of(address) else { return Ok(None) };
        self.nodes.get(&path).map(|node| Some(node.owner)).ok_or(Errno::NOENT)
    }

    pub(crate) fn file(&self, path: &Path) -> Result<FileId, Errno> {
        let Node { owner, inode, .. } = *self.get(path).ok_or(Errno::NOENT)?;
        Ok(FileId { device: 1, inode, is_socket: owner != Owner::NoSocket })
    }

    pub(crate) fn set_access(
        &mut self,
        path: &Path,
        file: FileId,
        access: Access,
    ) -> Result<(), Errno> {
        if self.file(path)? != file {
            return Err(Errno::STALE);
        }
        self.nodes.entry(path.to_owned()).and_modify(|node| node.access = access);
        Ok(())
    }

    /// unlink(2). Returns whose file that was.
    pub(crate) fn unlink(&mut self, path: &Path) -> Result<Owner, Errno> {
        self.nodes.remove(path).map(|node| node.owner).ok_or(Errno::NOENT)
    }

    /// A descriptor of the loop is closed. The file stays.
    pub(crate) fn closed(&mut self, number: usize) {
        if self.bound.remove(&number).is_some() {
            for node in self.nodes.values_mut().filter(|node| node.owner == Owner::Loop(number)) {
                node.owner = Owner::Nobody;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_again_when_its_file_and_its_socket_are_gone() {
        let mut paths = Paths::default();
        let inode = |paths: &Paths, path: &str| paths.get(Path::new(path)).map(|node| node.inode);
        assert!(paths.make("/a", Owner::Loop(3)));
        assert!(!paths.make("/a", Owner::Other), "it is taken");
        assert_eq!(paths.unlink(Path::new("/a")), Ok(Owner::Loop(3)));
        assert!(paths.make("/b", Owner::Nobody));
        assert_eq!(inode(&paths, "/b"), Some(2), "the socket has the other one");
        paths.closed(3);
        assert!(paths.make("/c", Owner::NoSocket));
        assert_eq!(inode(&paths, "/c"), Some(1));
        assert_eq!(paths.file(Path::new("/c")).map(|file| file.is_socket), Ok(false));
    }
}
