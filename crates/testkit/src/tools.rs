//! Tools that a machine may lack, and how a test says that it was skipped.

use std::process::{Command, Stdio};

use crate::notes::say;

/// A program that a test needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// What it is called by.
    program: &'static str,
    /// Arguments with which it does nothing and succeeds.
    probe: &'static [&'static str],
    /// What to say when that fails.
    advice: &'static str,
}

/// `strace`, with the right to trace and a version that injects faults.
pub const STRACE: Tool = Tool {
    program: "strace",
    probe: &["-D", "-f", "-o", "/dev/null", "-e", "inject=getpgid:error=EINTR", "true"],
    advice: "strace is missing or may not trace (ptrace)",
};

/// `valgrind`, with callgrind.
pub const VALGRIND: Tool = Tool {
    program: "valgrind",
    probe: &["--tool=callgrind", "--callgrind-out-file=/dev/null", "true"],
    advice: "valgrind is missing",
};

/// OpenBSD's `nc`, whose `-N` sends a FIN when its input ends.
pub const NC: Tool = Tool {
    program: "sh",
    probe: &["-c", "nc -h 2>&1 | grep -q -- -.*N"],
    advice: "nc (netcat-openbsd, with -N) is missing",
};

/// `socat`.
pub const SOCAT: Tool = Tool { program: "socat", probe: &["-V"], advice: "socat is missing" };

/// `python3`.
pub const PYTHON: Tool =
    Tool { program: "python3", probe: &["-c", "import asyncio"], advice: "python3 is missing" };

/// `script` of util-linux, which runs a program on a terminal.
pub const SCRIPT: Tool = Tool {
    program: "script",
    probe: &["--quiet", "--return", "--command", "true", "/dev/null"],
    advice: "script (bsdutils) is missing",
};

/// `bash`.
pub const BASH: Tool = Tool { program: "bash", probe: &["-c", ":"], advice: "bash is missing" };

/// `zsh`.
pub const ZSH: Tool = Tool { program: "zsh", probe: &["-f", "-c", ":"], advice: "zsh is missing" };

/// `fish`.
pub const FISH: Tool =
    Tool { program: "fish", probe: &["--no-config", "-c", "true"], advice: "fish is missing" };

/// `git`.
pub const GIT: Tool = Tool { program: "git", probe: &["--version"], advice: "git is missing" };

/// `mandoc`, which judges man pages.
pub const MANDOC: Tool =
    Tool { program: "mandoc", probe: &["-T", "ascii", "/dev/null"], advice: "mandoc is missing" };

/// `redis-server`.
pub const REDIS: Tool =
    Tool { program: "redis-server", probe: &["--version"], advice: "redis-server is missing" };

/// `redis-cli` and `redis-benchmark`, which come with `redis-server`.
pub const REDIS_TOOLS: Tool = Tool {
    program: "sh",
    probe: &["-c", "redis-cli --version && redis-benchmark --version"],
    advice: "redis-cli or redis-benchmark (redis-tools) is missing",
};

/// `memcached`.
pub const MEMCACHED: Tool =
    Tool { program: "memcached", probe: &["-h"], advice: "memcached is missing" };

/// `nginx`.
pub const NGINX: Tool = Tool { program: "nginx", probe: &["-v"], advice: "nginx is missing" };

/// `haproxy`.
pub const HAPROXY: Tool = Tool { program: "haproxy", probe: &["-v"], advice: "haproxy is missing" };

/// `curl`.
pub const CURL: Tool = Tool { program: "curl", probe: &["--version"], advice: "curl is missing" };

/// `wrk`, which ends with 1 when it is asked for its version.
pub const WRK: Tool =
    Tool { program: "sh", probe: &["-c", "wrk --version | grep -q wrk"], advice: "wrk is missing" };

/// `ab`, the benchmark of Apache.
pub const AB: Tool =
    Tool { program: "ab", probe: &["-V"], advice: "ab (apache2-utils) is missing" };

/// `chromium`, the browser, whose probe begins no session.
pub const CHROMIUM: Tool =
    Tool { program: "chromium", probe: &["--version"], advice: "chromium is missing" };

/// `unshare`, with the right to mount.
pub const UNSHARE: Tool = Tool {
    program: "unshare",
    probe: &["-rm", "mount", "--bind", "/etc/hosts", "/etc/hosts"],
    advice: "nothing can be mounted here (unshare)",
};

/// `unshare` and `nsenter`, with the right to make a network, and `ip`.
pub const NETWORKS: Tool = Tool {
    program: "sh",
    probe: &["-c", "command -v nsenter && unshare -rn ip link set lo up"],
    advice: "no network can be made here (unshare, nsenter, ip)",
};

/// `setpriv`, with the right to be somebody else.
pub const SETPRIV: Tool = Tool {
    program: "setpriv",
    probe: &["--reuid", "65534", "--clear-groups", "true"],
    advice: "no other user can be taken on here (setpriv)",
};

/// `systemd-analyze`, which judges units.
pub const SYSTEMD_ANALYZE: Tool = Tool {
    program: "systemd-analyze",
    probe: &["--version"],
    advice: "systemd-analyze is missing",
};

/// `systemd-socket-activate`, which passes sockets as systemd does.
pub const SOCKET_ACTIVATE: Tool = Tool {
    program: "systemd-socket-activate",
    probe: &["--version"],
    advice: "systemd-socket-activate (systemd) is missing",
};

impl Tool {
    fn works(self) -> bool {
        Command::new(self.program)
            .args(self.probe)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// Whether `test` must be skipped for want of `tool`; says so, on the real stderr, when it must.
///
/// ```no_run
/// use testkit::{STRACE, skip_unless};
///
/// if skip_unless("c04_the_first_write_is_tried_at_once", STRACE) {
///     return;
/// }
/// ```
#[must_use]
pub fn skip_unless(test: &str, tool: Tool) -> bool {
    let skipped = !tool.works();
    if skipped {
        say(&format!("SKIPPED: {test}: {}", tool.advice));
    }
    skipped
}
