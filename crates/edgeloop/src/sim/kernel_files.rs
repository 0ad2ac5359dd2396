//! The files of Unix sockets on the simulated kernel.

use std::path::Path;

use rustix::io::Errno;

use crate::api::error::{Failed, InCall};
use crate::api::listening::Access;
use crate::kernel::{FileId, Files};
use crate::sim::faults::name;
use crate::sim::kernel::Socket;
use crate::sim::world::{File, Owner};
use crate::sim::{Call, SimulatedKernel};

impl Files for SimulatedKernel {
    /// A descriptor of the directory.
    type Lock = Socket;

    fn lock_directory(&mut self, _: &Path) -> Result<Socket, Errno> {
        let mut world = self.call();
        world.meet(Call::Lock, None, 0)?;
        let number = world.open(File::Directory)?;
        if world.now < world.paths.locked_until {
            world.note(|| "flock: EAGAIN".to_owned());
            world.close(number);
            return Err(Errno::AGAIN);
        }
        drop(world);
        Ok(self.socket_of(number))
    }

    fn file(&mut self, path: &Path) -> Result<FileId, Errno> {
        let mut world = self.call();
        world.meet(Call::Stat, None, 0)?;
        world.paths.file(path)
    }

    fn set_access(&mut self, path: &Path, file: FileId, access: Access) -> Result<(), Failed> {
        let mut world = self.call();
        world.meet(Call::SetAccess, None, 0).in_call("fchownat")?;
        world.paths.set_access(path, file, access).in_call("fchownat")
    }

    fn unlink(&mut self, path: &Path) -> Result<(), Errno> {
        let mut world = self.call();
        world.meet(Call::Unlink, None, 0)?;
        let removed = world.paths.unlink(path);
        world.note(|| {
            let told = removed.map_or_else(name, |_| "0".to_owned());
            format!("unlink({}): {told}", path.display())
        });
        if matches!(removed, Ok(Owner::Other | Owner::NoSocket)) {
            world.violated(|| format!("{} is removed, and is not ours (C48)", path.display()));
        }
        removed.map(|_| ())
    }
}
