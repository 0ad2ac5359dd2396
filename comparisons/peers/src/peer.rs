//! The table of the peers, and how each of them is started.

use std::convert::Infallible;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::service::Service;
use crate::{compio, example, mio, monoio, polling, smol, tokio_copy, tokio_fanout, tokio_ready};

/// A server to compare with.
#[derive(Debug)]
pub struct Peer {
    name: &'static str,
    about: &'static str,
    version: &'static str,
    echo: Option<Server>,
    fanout: Option<Server>,
    /// Why a server in Rust can't run here.
    left_out: fn() -> Option<&'static str>,
}

/// Where a server's code is.
#[derive(Clone, Copy, Debug)]
enum Server {
    /// A program in C or Go, and what comes before the size of the read buffer on its command line.
    /// Its path is empty if it could not be compiled, and then there is a reason.
    Program { path: &'static str, front: &'static [&'static str], left_out: &'static str },
    /// A function of this crate. It gets the size of the read buffer, and returns only errors.
    Rust(fn(usize) -> io::Result<Infallible>),
}

/// A program that the build script compiled or gave a reason for.
macro_rules! program {
    ($name:literal $(, $front:literal)*) => {
        Some(Server::Program {
            path: env!(concat!("PEERS_", $name)),
            front: &[$($front),*],
            left_out: env!(concat!("PEERS_", $name, "_LEFT_OUT")),
        })
    };
}

const fn rust(run: fn(usize) -> io::Result<Infallible>) -> Option<Server> {
    Some(Server::Rust(run))
}

const NOTHING: Peer =
    Peer { name: "", about: "", version: "", echo: None, fanout: None, left_out: || None };

static PEERS: &[Peer] = &[
    Peer {
        name: "bare",
        about: "edge-triggered epoll in C and nothing else: the limit",
        version: env!("PEERS_COMPILER"),
        echo: program!("BARE_ECHO"),
        fanout: program!("BARE_FANOUT"),
        ..NOTHING
    },
    Peer {
        name: "bare-inline",
        about: "bare without the C library's wrappers around recv, send and epoll_wait",
        version: env!("PEERS_COMPILER"),
        echo: program!("BARE_INLINE"),
        ..NOTHING
    },
    Peer {
        name: "bare-spin",
        about: "bare without ever sleeping, for latency alone: the limit there",
        version: env!("PEERS_COMPILER"),
        echo: program!("BARE_SPIN"),
        ..NOTHING
    },
    Peer {
        name: "bare-splice",
        about: "bare with splice through a pipe for each connection: the limit for streams",
        version: env!("PEERS_COMPILER"),
        echo: program!("BARE_SPLICE"),
        ..NOTHING
    },
    Peer {
        name: "mio",
        about: "mio by hand, with a slab of connections and one read buffer",
        version: env!("PEERS_MIO"),
        echo: rust(mio::echo),
        fanout: rust(mio::fanout),
        ..NOTHING
    },
    Peer {
        name: "polling",
        about: "polling by hand, edge-triggered",
        version: env!("PEERS_POLLING"),
        echo: rust(polling::echo),
        ..NOTHING
    },
    Peer {
        name: "smol",
        about: "smol on one thread, with the usual copy loop",
        version: env!("PEERS_SMOL"),
        echo: rust(smol::echo),
        ..NOTHING
    },
    Peer {
        name: "tokio-copy",
        about: "tokio on one thread, with the usual copy loop",
        version: env!("PEERS_TOKIO"),
        echo: rust(tokio_copy::echo),
        ..NOTHING
    },
    Peer {
        name: "tokio-ready",
        about: "tokio on one thread, written for speed: one read buffer, writes tried at once",
        version: env!("PEERS_TOKIO"),
        echo: rust(tokio_ready::echo),
        fanout: rust(tokio_fanout::fanout),
        ..NOTHING
    },
    Peer {
        name: "monoio",
        about: "monoio on io_uring, with its usual copy loop",
        version: env!("PEERS_MONOIO"),
        echo: rust(monoio::echo),
        left_out: monoio::left_out,
        ..NOTHING
    },
    Peer {
        name: "compio",
        about: "compio on io_uring, with its usual copy loop",
        version: env!("PEERS_COMPIO"),
        echo: rust(compio::echo),
        left_out: compio::left_out,
        ..NOTHING
    },
    Peer {
        name: "libuv",
        about: "libuv in C: one read buffer, uv_try_write, uv_write for the rest",
        version: env!("PEERS_LIBUV"),
        echo: program!("LIBUV_ECHO"),
        fanout: program!("LIBUV_FANOUT"),
        ..NOTHING
    },
    Peer {
        name: "libevent",
        about: "libevent in C: bufferevents, input moved to output, watermarks, changes of interest batched",
        version: env!("PEERS_LIBEVENT"),
        echo: program!("LIBEVENT_ECHO"),
        fanout: program!("LIBEVENT_FANOUT"),
        ..NOTHING
    },
    Peer {
        name: "example",
        about: "the 100-line Go example ported, with its faults and without its printing",
        version: env!("PEERS_RUSTC"),
        echo: rust(example::quiet),
        ..NOTHING
    },
    Peer {
        name: "example-printing",
        about: "the same with its printing: 32 KiB as numbers for each event, to /dev/null",
        version: env!("PEERS_RUSTC"),
        echo: rust(example::printing),
        ..NOTHING
    },
    Peer {
        name: "example-go",
        about: "the 100-line example in Go, as it was written, without its printing",
        version: env!("PEERS_GO"),
        echo: program!("EXAMPLE_GO", "quiet"),
        ..NOTHING
    },
    Peer {
        name: "example-go-printing",
        about: "the same with its printing: 32 KiB as numbers for each event, to /dev/null",
        version: env!("PEERS_GO"),
        echo: program!("EXAMPLE_GO", "print"),
        ..NOTHING
    },
];

/// All peers, in the order of the tables.
#[must_use]
pub fn all() -> &'static [Peer] {
    PEERS
}

/// The peer of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Peer> {
    PEERS.iter().find(|peer| peer.name == name)
}

impl Peer {
    /// The word for it on a command line and in a table.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What it is, in one line.
    #[must_use]
    pub const fn about(&self) -> &'static str {
        self.about
    }

    /// The version of the crate or library that it stands on; for bare C, the compiler's.
    #[must_use]
    pub const fn version(&self) -> &'static str {
        self.version
    }

    /// Why it can't run here, if it can't: something isn't installed or isn't permitted.
    #[must_use]
    pub fn left_out(&self) -> Option<&'static str> {
        let mut reasons =
            [self.echo, self.fanout].into_iter().flatten().filter_map(|server| match server {
                Server::Program { left_out, .. } => {
                    Some(left_out).filter(|reason| !reason.is_empty())
                }
                Server::Rust(_) => None,
            });
        reasons.next().or_else(self.left_out)
    }

    /// Whether it has a server for this.
    #[must_use]
    pub const fn serves(&self, service: Service) -> bool {
        self.server(service).is_some()
    }

    const fn server(&self, service: Service) -> Option<Server> {
        match service {
            Service::Echo => self.echo,
            Service::Fanout => self.fanout,
        }
    }

    /// The command that starts it, with a read buffer of so many bytes. Those written in Rust are
    /// the program that asks, started again with `server NAME SERVICE READ_BUFFER`: its `main` has
    /// to hand these three to [`serve`].
    ///
    /// # Panics
    ///
    /// When the path of the running program can't be found out, as where /proc is missing.
    #[must_use]
    pub fn command(&self, service: Service, read_buffer: usize) -> Command {
        let own = std::env::current_exe().expect("/proc/self/exe can be read");
        self.command_with(&own, &["server"], service, read_buffer)
    }

    /// As [`Peer::command`], where the program that calls [`serve`] is another one, with these
    /// arguments in front.
    #[must_use]
    pub fn command_with(
        &self,
        program: &Path,
        front: &[&str],
        service: Service,
        read_buffer: usize,
    ) -> Command {
        let size = read_buffer.to_string();
        match self.server(service) {
            Some(Server::Program { path, front, .. }) => {
                let mut command = Command::new(path);
                command.args(front).arg(size);
                command
            }
            Some(Server::Rust(_)) | None => {
                let mut command = Command::new(program);
                command.args(front).args([self.name, service.name()]).arg(size);
                command
            }
        }
    }
}

/// Serves, in this thread, and returns only if that can't go on. A peer that is a program of its
/// own takes this process over.
///
/// # Errors
///
/// When there is no such server in this program, when it can't listen, or when it fails later.
pub fn serve(name: &str, service: Service, read_buffer: usize) -> io::Result<()> {
    let refused = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    let Some(peer) = find(name) else { return refused(format!("no peer is called {name:?}")) };
    if let Some(reason) = peer.left_out() {
        return refused(format!("{name} is left out: {reason}"));
    }
    match peer.server(service) {
        Some(Server::Rust(run)) => match run(read_buffer)? {},
        Some(Server::Program { .. }) => Err(peer.command(service, read_buffer).exec()),
        None => refused(format!("{name} has no {service}")),
    }
}
