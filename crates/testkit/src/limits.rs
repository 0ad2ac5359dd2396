//! What the machine grants: descriptors, and a turn alone for the tests that need much of it.

use std::env;
use std::fs::{self, File, OpenOptions};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};

use crate::notes::say;

/// What a test process keeps for itself: its output, logs, traces, and the tests beside.
const RESERVE: usize = 600;

/// Raises the soft limit of descriptors of this process to the hard one, and returns it.
pub fn raise_descriptor_limit() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // A limit that cannot be raised stays what it is; the caller gets the number that holds.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// How many connections of the `wanted` ones this process and a server like it can hold; says so
/// when they are fewer.
#[must_use]
pub fn descriptors_granted(test: &str, wanted: usize) -> usize {
    let limit = raise_descriptor_limit();
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    // Where there are hardly any, some are better than none.
    let granted = limit.saturating_sub(open + RESERVE).max(limit / 8).min(wanted);
    if granted < wanted {
        say(&format!(
            "SCALED DOWN: {test}: {granted} connections, not {wanted}: the limit of descriptors is {limit}"
        ));
    }
    granted
}

/// Whether tests take the time to show all that they can, as they do in CI: whether `CI` is set.
#[must_use]
pub fn in_full() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty())
}

/// How many there are, in CI and elsewhere; says so when they are fewer.
#[must_use]
pub fn in_full_or_scaled_down(test: &str, full: u64, few: u64, what: &str) -> u64 {
    if in_full() {
        return full;
    }
    say(&format!("SCALED DOWN: {test}: {few} {what}, not {full}: CI is not set"));
    few
}

/// Waits for the machine's turn of the tests that need most of its descriptors, memory or time, and
/// holds it until the value is dropped. Other processes of this user that run these tests wait too.
///
/// # Panics
///
/// When the lock file cannot be made.
#[must_use = "the turn ends when this is dropped"]
pub fn machine_to_myself() -> File {
    let path = env::temp_dir().join(format!("edgeloop-tests-{}.lock", getuid().as_raw()));
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
    flock(&file, FlockOperation::LockExclusive).expect("flock");
    file
}
