//! Servers that are started with what belongs to them: the examples, and those of others.

use std::convert::Infallible;
use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use crate::binary::is_there;
use crate::interrupt;
use crate::place::launched;
use crate::process::Process;

/// The core that servers have.
const CORE: usize = 1;

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that the examples are compared with, or an example itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Redis,
    Haproxy,
    Tokio,
    Nginx,
    Hyper,
    /// The one of that name.
    Example(&'static str),
}

impl Program {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Haproxy => "haproxy",
            Self::Tokio => "tokio",
            Self::Nginx => "nginx",
            Self::Hyper => "hyper",
            Self::Example(name) => name,
        }
    }

    /// The package of Debian that a program of others is in.
    const fn package(self) -> Option<&'static str> {
        match self {
            Self::Redis => Some("redis-server"),
            Self::Haproxy => Some("haproxy"),
            Self::Nginx => Some("nginx-light"),
            Self::Tokio | Self::Hyper | Self::Example(_) => None,
        }
    }

    /// Why it can't run here.
    pub(super) fn left_out(self) -> Option<String> {
        let package = self.package()?;
        let name = self.name();
        (!is_there(name)).then(|| format!("{name} is missing (package {package})"))
    }

    /// Its version, as it says itself.
    pub(super) fn version(self) -> String {
        match self {
            Self::Redis => first_line(Command::new("redis-server").arg("--version")),
            Self::Haproxy => first_line(Command::new("haproxy").arg("-v")),
            Self::Nginx => first_line(Command::new("nginx").arg("-v")),
            Self::Tokio => format!("tokio {}, copy_bidirectional", peers::TOKIO),
            Self::Hyper => format!("hyper {}, tokio {}", peers::HYPER, peers::TOKIO),
            Self::Example(_) => String::new(),
        }
    }

    /// Whether it says on standard error where it listens, on a port of its choice.
    const fn announces(self) -> bool {
        matches!(self, Self::Example(_) | Self::Tokio | Self::Hyper)
    }

    fn command(
        self,
        address: SocketAddr,
        upstream: Option<SocketAddr>,
        directory: &Path,
        examples: &[(&'static str, PathBuf)],
    ) -> io::Result<Command> {
        let port = address.port().to_string();
        let mut command = Command::new(self.name());
        let configuration = directory.join("conf");
        match self {
            Self::Redis => {
                command.args(["--bind", "127.0.0.1", "--port", &port, "--save", ""]);
                command.args(["--appendonly", "no", "--dir"]).arg(directory);
            }
            Self::Haproxy => {
                fs::write(&configuration, haproxy(address, upstream))?;
                command.arg("-db").arg("-f").arg(&configuration);
            }
            Self::Nginx => {
                fs::write(&configuration, nginx(address, &directory.display().to_string()))?;
                command.args(["-e", "stderr", "-c"]).arg(&configuration);
            }
            Self::Tokio | Self::Hyper => {
                command = Command::new(std::env::current_exe()?);
                command.arg("beside").args(upstream.map(|upstream| upstream.to_string()));
            }
            Self::Example(name) => {
                let found = examples.iter().find(|(other, _)| *other == name);
                let missing = || io::Error::other(format!("the example {name} was not built"));
                command = Command::new(&found.ok_or_else(missing)?.1);
                command.arg("127.0.0.1:0").args(upstream.map(|upstream| upstream.to_string()));
            }
        }
        Ok(command)
    }
}

fn haproxy(address: SocketAddr, upstream: Option<SocketAddr>) -> String {
    let upstream = upstream.map_or_else(String::new, |upstream| upstream.to_string());
    format!(
        "global\n  nbthread 1\n  maxconn 5000\ndefaults\n  mode tcp\n  maxconn 5000\n  \
         option splice-auto\n  timeout connect 3s\n  timeout client 600s\n  \
         timeout server 600s\nlisten proxy\n  bind {address}\n  server upstream {upstream}\n"
    )
}

fn nginx(address: SocketAddr, directory: &str) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {directory}/{name};"))
        .concat();
    format!(
        "daemon off; master_process off; pid {directory}/pid; error_log stderr; events {{}} \
         http {{ access_log off; keepalive_requests 1000000000; {temporary} server {{ listen \
         {address}; location / {{ default_type text/plain; return 200 'Hello, world!\\n'; }} }} }}"
    )
}

/// The first line that a program prints, to wherever.
fn first_line(command: &mut Command) -> String {
    let Ok(output) = command.stdin(Stdio::null()).output() else { return String::new() };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}

/// What the hidden command does: a proxy to an upstream, or an HTTP server, says where it listens.
pub(crate) fn serve(upstream: Option<SocketAddr>) -> io::Result<Infallible> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    eprintln!("listening on {}", listener.local_addr()?);
    match upstream {
        Some(upstream) => peers::proxy(listener, upstream),
        None => peers::http(listener),
    }
}

/// A server that runs, in a directory that goes with it.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// Kept open, for what it may still say.
    _errors: Option<BufReader<ChildStderr>>,
    address: SocketAddr,
    directory: PathBuf,
}

impl Running {
    pub(super) fn start(
        program: Program,
        upstream: Option<SocketAddr>,
        examples: &[(&'static str, PathBuf)],
    ) -> io::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let name = format!("edgeloop-examples-{}-{}", std::process::id(), address.port());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory)?;
        let child = program.command(address, upstream, &directory, examples).and_then(|command| {
            let mut command = launched(CORE, &command)?;
            let errors = if program.announces() { Stdio::piped() } else { Stdio::null() };
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn()
        });
        let child = child.inspect_err(|_| drop(fs::remove_dir_all(&directory)))?;
        let mut running = Self { child, _errors: None, address, directory };
        let silent =
            |said: &str| io::Error::other(format!("{} does not listen: {said}", program.name()));
        if program.announces() {
            let errors = running.child.stderr.take().ok_or_else(|| silent("it has no output"))?;
            let mut errors = BufReader::new(errors);
            let mut line = String::new();
            errors.read_line(&mut line)?;
            let address = line.trim().strip_prefix("listening on ");
            let address = address.and_then(|address| address.parse().ok());
            running.address = address.ok_or_else(|| silent(line.trim()))?;
            running._errors = Some(errors);
            return Ok(running);
        }
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            interrupt::check()?;
            if let Some(status) = running.child.try_wait()? {
                return Err(silent(&status.to_string()));
            }
            if begin.elapsed() > PATIENCE {
                return Err(silent("it takes too long"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(running)
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// It, and the processes that it has started.
    fn processes(&self) -> Vec<Process> {
        let mut pids = vec![self.child.id()];
        let mut next = 0;
        while let Some(pid) = pids.get(next) {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let children = children.unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            next += 1;
        }
        pids.into_iter().map(Process::new).collect()
    }

    /// The processor time of all its threads and children, in nanoseconds, once they sleep.
    pub(super) fn settle(&self) -> io::Result<u64> {
        self.processes().into_iter().map(|process| Ok(process.settle()?.run)).sum()
    }

    /// Its anonymous memory, in bytes.
    pub(super) fn memory(&self) -> io::Result<u64> {
        self.processes().into_iter().map(|process| Ok(process.memory()?.anonymous)).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Each fails where there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
