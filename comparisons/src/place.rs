//! Where processes run: servers on one core, the client on another, and none among others' work.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::Signal;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::failure::named;
use crate::process::field_behind_name;

/// The core of the servers.
pub(crate) const SERVERS: usize = 0;

/// The core of the client.
pub(crate) const CLIENT: usize = 1;

/// The hidden command that puts a server into its place and becomes it.
pub(crate) const LAUNCH: &str = "launch";

/// Binds this thread, and what it starts, to one core.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores)
        .map_err(|error| io::Error::other(format!("cannot be bound to core {core}: {error}")))
}

/// Binds the client to its core.
///
/// # Errors
///
/// When there are not two cores: one for the servers and one for the client.
pub(crate) fn pin_client() -> Result<(), String> {
    claim(CLIENT)
}

/// Binds this process to a core, ahead of others.
///
/// # Errors
///
/// As [`pin_client`].
pub(crate) fn claim(core: usize) -> Result<(), String> {
    let allowed = sched_getaffinity(None).map_err(|error| error.to_string())?;
    if !allowed.is_set(SERVERS) || !allowed.is_set(CLIENT) {
        return Err(format!("cores {SERVERS} and {CLIENT} are needed, and are not both granted"));
    }
    become_important();
    pin(core).map_err(|error| error.to_string())
}

/// The command, started by way of [`launch`].
pub(crate) fn launched(core: usize, command: &Command) -> io::Result<Command> {
    let mut launched = Command::new(std::env::current_exe()?);
    launched.arg(LAUNCH).arg(core.to_string()).arg(command.get_program());
    launched.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => launched.env(name, value),
            None => launched.env_remove(name),
        };
    }
    Ok(launched)
}

/// Takes this process's place for good and becomes another program. Returns only errors.
pub(crate) fn launch(core: usize, program: &[OsString]) -> io::Result<Infallible> {
    let Some((program, arguments)) = program.split_first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program to launch"));
    };
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // A session of its own is a scheduling group of its own. It fails for who leads a group
    // already.
    let _ = rustix::process::setsid();
    become_important();
    pin(core)?;
    let error = Command::new(program).args(arguments).exec();
    Err(named(program.display(), &error))
}

/// Asks for more of the processor than other work gets. Under autogroup (sched(7)) the nice value
/// counts only within a session, and that of the session stands in a file.
fn become_important() {
    // Who is not permitted to runs like anybody else, which costs precision and no more.
    let _ = rustix::process::nice(-10);
    if leads_its_session() {
        let _ = fs::write("/proc/self/autogroup", "-10");
    }
}

/// Whether this process leads the session that it is in. getsid(2) is not asked: in a container the
/// leader may stand outside the namespace of processes, the answer is then 0, and rustix 1.1 panics
/// at that.
fn leads_its_session() -> bool {
    fs::read_to_string("/proc/self/stat").is_ok_and(|stat| {
        let session = session(&stat);
        session.is_some() && session == i32::try_from(std::process::id()).ok()
    })
}

/// The session in a line of `/proc/PID/stat`: its sixth field (proc(5)).
fn session(stat: &str) -> Option<i32> {
    field_behind_name(stat, 6)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_stands_behind_a_name_that_may_be_anything() {
        assert_eq!(session("42 (a) b 7 (8)) S 1 41 40 34816 42 4194304"), Some(40));
        assert_eq!(session("42 (cat) S 1 41 0 0 -1"), Some(0), "its leader is outside");
        assert_eq!(session("42 (cat) S"), None);
        assert_eq!(session(""), None);
    }
}
