//! How much memory the place allows that this process runs in: its cgroup and those above it, its
//! own limits, the machine (C11).
//!
//! Files are read through a function, so that every place can be tested on any machine.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

/// The tightest limit of memory that was found, and where.
///
/// Considered are `memory.max` and `memory.high` of the process's cgroup and of those above it
/// (cgroups(7); `memory.limit_in_bytes` in version 1), RLIMIT_AS and RLIMIT_DATA (getrlimit(2)),
/// and the memory of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryLimit {
    bytes: u64,
    source: String,
}

impl MemoryLimit {
    /// The limit, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it was found, such as `RLIMIT_AS` or `/sys/fs/cgroup/box/memory.max`.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The tightest limit of this process; `None` if none is known.
    pub(crate) fn find() -> Option<Self> {
        Self::find_by(&|path| fs::read_to_string(path).ok(), &|resource| {
            getrlimit(resource).current
        })
    }

    fn find_by(read: Read<'_>, limit: &dyn Fn(Resource) -> Option<u64>) -> Option<Self> {
        let own = [(Resource::As, "RLIMIT_AS"), (Resource::Data, "RLIMIT_DATA")];
        let own = own.into_iter().filter_map(|(resource, name)| {
            Some(Self { bytes: limit(resource)?, source: name.to_owned() })
        });
        let machine = machine(read).map(|bytes| Self { bytes, source: "MemTotal".to_owned() });
        own.chain(of_cgroups(read)).chain(machine).min_by_key(|limit| limit.bytes)
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes ({})", self.bytes, self.source)
    }
}

/// The text of a file, if it can be read.
type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// The memory of the machine (proc_meminfo(5)).
fn machine(read: Read<'_>) -> Option<u64> {
    let text = read(Path::new("/proc/meminfo"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The limits of this process's cgroup and of all above it that can be seen.
fn of_cgroups(read: Read<'_>) -> Vec<MemoryLimit> {
    let (Some(groups), Some(mounts)) =
        (read(Path::new("/proc/self/cgroup")), read(Path::new("/proc/self/mountinfo")))
    else {
        return Vec::new();
    };
    let mut limits = Vec::new();
    for line in groups.lines() {
        // hierarchy:controllers:path (cgroups(7)). Version 2 has the hierarchy 0 and no
        // controllers.
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let unified = number == "0" && controllers.is_empty();
        if !unified && !controllers.split(',').any(|name| name == "memory") {
            continue;
        }
        let mount = mounts.lines().filter_map(Mount::parse).find(|mount| mount.is_of(unified));
        if let Some(mount) = mount {
            collect(read, &mount, Path::new(path), unified, &mut limits);
        }
    }
    limits
}

/// Reads the limits from the cgroup up to where the hierarchy is mounted.
fn collect(
    read: Read<'_>,
    mount: &Mount,
    path: &Path,
    unified: bool,
    limits: &mut Vec<MemoryLimit>,
) {
    // A container may see its own cgroup where the hierarchy begins, and know it by the host's
    // name.
    let below = path.strip_prefix(&mount.root).unwrap_or(Path::new(""));
    let cgroup = mount.point.join(below);
    let names: &[&str] =
        if unified { &["memory.max", "memory.high"] } else { &["memory.limit_in_bytes"] };
    for directory in cgroup.ancestors().take_while(|path| path.starts_with(&mount.point)) {
        for name in names {
            let file = directory.join(name);
            // "max" is no limit, and is no number. A huge one of version 1 is never the tightest.
            if let Some(bytes) = read(&file).and_then(|text| text.trim().parse().ok()) {
                limits.push(MemoryLimit { bytes, source: file.display().to_string() });
            }
        }
    }
    // Version 1 tells of those above that can't be seen.
    let file = cgroup.join("memory.stat");
    let hierarchical = read(&file).filter(|_| !unified).and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("hierarchical_memory_limit "))?;
        line.trim().parse().ok()
    });
    if let Some(bytes) = hierarchical {
        limits.push(MemoryLimit { bytes, source: file.display().to_string() });
    }
}

/// Where a hierarchy of cgroups is mounted, and what of it is.
#[derive(Debug)]
struct Mount {
    root: PathBuf,
    point: PathBuf,
    kind: String,
    options: String,
}

impl Mount {
    /// A line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
    fn parse(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1)?);
        Some(Self {
            root: unescape(root).into(),
            point: unescape(point).into(),
            kind: kind.to_owned(),
            options: options.to_owned(),
        })
    }

    fn is_of(&self, unified: bool) -> bool {
        let has_memory = || self.options.split(',').any(|option| option == "memory");
        if unified { self.kind == "cgroup2" } else { self.kind == "cgroup" && has_memory() }
    }
}

/// Blanks, tabs, newlines and backslashes are written in octal there.
fn unescape(text: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const UNIFIED: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const VERSION_1: &str = "38 32 0:33 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
         39 32 0:34 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    /// The limit in a place with these files and limits of the process.
    fn find(files: &[(&str, &str)], own: &[(Resource, u64)]) -> Option<MemoryLimit> {
        let read = |path: &Path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path);
            file.map(|(_, text)| (*text).to_owned())
        };
        let limit = |asked| own.iter().find(|(name, _)| *name == asked).map(|(_, bytes)| *bytes);
        MemoryLimit::find_by(&read, &limit)
    }

    #[track_caller]
    fn expect(files: &[(&str, &str)], bytes: u64, source: &str) {
        let found = find(files, &[]).expect("a limit");
        assert_eq!((found.bytes(), found.source()), (bytes, source));
    }

    #[test]
    fn c11_the_limit_of_the_cgroup_is_found_and_that_of_those_above_it() {
        let place = |max: &'static str, high: &'static str, above: &'static str| {
            [
                ("/proc/self/cgroup", "0::/a.slice/b c.scope\n"),
                ("/proc/self/mountinfo", UNIFIED),
                ("/sys/fs/cgroup/a.slice/b c.scope/memory.max", max),
                ("/sys/fs/cgroup/a.slice/b c.scope/memory.high", high),
                ("/sys/fs/cgroup/a.slice/memory.max", above),
                ("/sys/fs/cgroup/memory.max", "max\n"),
                ("/proc/meminfo", "MemTotal:        8388608 kB\nMemFree: 1 kB\n"),
            ]
        };
        let own = "/sys/fs/cgroup/a.slice/b c.scope";
        expect(&place("50331648\n", "max\n", "max\n"), 48 * MIB, &format!("{own}/memory.max"));
        expect(&place("max\n", "50331648\n", "max\n"), 48 * MIB, &format!("{own}/memory.high"));
        let above = "/sys/fs/cgroup/a.slice/memory.max";
        expect(&place("99999999\n", "max\n", "50331648\n"), 48 * MIB, above);
        expect(&place("max\n", "max\n", "max\n"), 8192 * MIB, "MemTotal");
    }

    #[test]
    fn c11_a_container_that_sees_its_cgroup_as_the_root_finds_its_limit() {
        // With a namespace of its own it is at the root; without, the root of the mount has its
        // name.
        let mounts = UNIFIED.replace("0:26 /", "0:26 /docker/1f");
        for (group, mounts) in [("0::/\n", UNIFIED), ("0::/docker/1f\n", &mounts)] {
            let files = [
                ("/proc/self/cgroup", group),
                ("/proc/self/mountinfo", mounts),
                ("/sys/fs/cgroup/memory.max", "1048576"),
            ];
            expect(&files, MIB, "/sys/fs/cgroup/memory.max");
        }
    }

    #[test]
    fn c11_version_1_counts_too_with_what_it_tells_of_those_above() {
        let cgroup = ("/proc/self/cgroup", "5:cpu:/\n4:memory:/box\n0::/\n");
        let mounts = ("/proc/self/mountinfo", VERSION_1);
        let unlimited = "9223372036854771712\n";
        let stat = "cache 0\nhierarchical_memory_limit 2097152\nhierarchical_memsw_limit 1\n";
        let limit = "/sys/fs/cgroup/memory/box/memory.limit_in_bytes";
        expect(&[cgroup, mounts, (limit, "1048576\n")], MIB, limit);
        let file = "/sys/fs/cgroup/memory/box/memory.stat";
        expect(&[cgroup, mounts, (limit, unlimited), (file, stat)], 2 * MIB, file);
    }

    #[test]
    fn c11_the_limits_of_the_process_count_and_the_tightest_of_all_holds() {
        let files = [("/proc/meminfo", "MemTotal: 1024 kB\n")];
        let found = find(&files, &[(Resource::As, 4096), (Resource::Data, 8192)]).expect("some");
        assert_eq!((found.bytes(), found.source()), (4096, "RLIMIT_AS"));
        let found = find(&files, &[(Resource::Data, 8192)]).expect("some");
        assert_eq!(found.to_string(), "8192 bytes (RLIMIT_DATA)");
        assert_eq!(find(&files, &[]).map(|limit| limit.bytes()), Some(MIB));
    }

    #[test]
    fn where_nothing_can_be_read_there_is_no_limit_and_nothing_odd_is_one() {
        assert_eq!(find(&[], &[]), None);
        let odd = [
            ("/proc/self/cgroup", "nonsense\n1:2\n0::\n"),
            ("/proc/self/mountinfo", "1 2 3\n - \n30 23 0:26 / /c rw - cgroup2\n"),
            ("/proc/meminfo", "MemTotal: many kB\n"),
        ];
        assert_eq!(find(&odd, &[]), None);
    }
}
