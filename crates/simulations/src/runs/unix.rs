//! What in a run is about Unix sockets: where it listens and connects to, and what becomes of the
//! files.

use std::path::Path;
use std::time::Duration;

use edgeloop::sim::internals::{Call, Owner, Role, START, World};
use edgeloop::{Address, UnixAddress};

/// The directory of all sockets. The files of others in it stay.
const DIRECTORY: &str = "/run/echo";

pub(super) fn address(name: &str) -> Address {
    format!("unix:{DIRECTORY}/{name}").parse().expect("a path that is short enough")
}

/// A service at a Unix address, in some runs.
pub(super) fn service(world: &mut World, number: u16) -> Option<Address> {
    if !world.random.chance(250) {
        return None;
    }
    let name = UnixAddress::abstract_name(format!("service {number}")).ok()?;
    Some(if world.random.chance(500) { name.into() } else { address(&format!("{number}.sock")) })
}

/// Listens on a Unix socket, in some runs: beside other listeners, or in place of the first.
pub(super) fn listen(world: &mut World) {
    if !world.random.chance(300) {
        return;
    }
    let own = if world.random.chance(200) {
        UnixAddress::abstract_name("echo").expect("a name that is short enough").into()
    } else {
        address("own.sock")
    };
    if world.random.chance(300) {
        world.listeners[0] = own.clone();
    } else {
        world.listeners.push(own.clone());
    }
    for peer in &mut world.peers {
        if let Role::Client(client) = &mut peer.role
            && client.wants.is_none()
            && world.random.chance(600)
        {
            client.wants = Some(own.clone());
        }
    }
    if world.random.chance(300) {
        leave_stale(world);
    }
    world.paths.make(format!("{DIRECTORY}/other.sock"), Owner::Other);
    world.paths.make(format!("{DIRECTORY}/notes"), Owner::NoSocket);
    if world.random.chance(300) {
        // Not for so long that nobody waits for it.
        world.paths.locked_until =
            START.after(Duration::from_millis(world.random.size(1, 50) as u64));
    }
}

/// Listens on a Unix socket and on nothing else, where a server has left its file.
pub(super) fn listen_on_stale(world: &mut World) {
    leave_stale(world);
    world.listeners = vec![address("own.sock")];
}

fn leave_stale(world: &mut World) {
    world.paths.make(format!("{DIRECTORY}/own.sock"), Owner::Nobody);
}

/// The loop has left no file of its own, unless it could not remove it, and all others (C48).
pub(super) fn check_files(world: &World) -> Result<(), String> {
    let hindered = world.faults.injected.iter();
    let hindered = hindered.filter(|fault| matches!(fault.call, Call::Stat | Call::Unlink)).count();
    if hindered > 0 {
        return Ok(());
    }
    let is_own = |path: &Path| path.ends_with("own.sock");
    let left = world.paths.iter().find(|(path, _)| is_own(path));
    // An abstract name leaves a file alone.
    let own = Path::new(DIRECTORY).join("own.sock");
    let listens = world.listeners.iter().filter_map(Address::as_unix);
    let listens = listens.filter_map(UnixAddress::as_path).any(|path| path == own);
    match left {
        Some((path, node)) if listens => Err(format!("{} is left: {node:?}", path.display())),
        _ => Ok(()),
    }
}
