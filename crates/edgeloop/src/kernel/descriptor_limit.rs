//! The process's limit of descriptors, which a library changes only when asked (C24).

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's soft limit of open descriptors to its hard limit, and answers it
/// (getrlimit(2)); `u64::MAX` if there is none. To be called before a loop is made, since the
/// loop's connection cap depends on it.
///
/// # Errors
///
/// When the kernel refuses, as it may where the hard limit is above `fs.nr_open`.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}
