//! The files of Unix sockets on the simulated kernel.

use std::path::Path;

use rustix::io::Errno;

use crate::api::listening::Access;
use crate::kernel::{FileId, Files};
use crate::sim::SimulatedKernel;

impl Files for SimulatedKernel {
    type Lock = ();

    fn lock_directory(&mut self, _: &Path) -> Result<(), Errno> {
        Ok(())
    }

    fn file(&mut self, _: &Path) -> Result<FileId, Errno> {
        Err(Errno::NOENT)
    }

    fn set_access(&mut self, _: &Path, _: FileId, _: Access) -> Result<(), Errno> {
        Ok(())
    }

    fn unlink(&mut self, _: &Path) -> Result<(), Errno> {
        Err(Errno::NOENT)
    }
}
