//! The table of the peers, and how each of them is started.

use std::convert::Infallible;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::service::{Place, Service, Transport};
use crate::{
    compio, example, mio, monoio, polling, smol, tokio_copy, tokio_fanout, tokio_ready, tokio_udp,
};

/// A server to compare with.
#[derive(Debug)]
pub struct Peer {
    name: &'static str,
    about: &'static str,
    version: &'static str,
    echo: Option<Server>,
    fanout: Option<Server>,
    /// The echo over Unix sockets.
    unix: Option<Server>,
    /// The echo of datagrams. Those that are longer than the read buffer are cut, and what finds no
    /// room is lost.
    udp: Option<Server>,
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
    /// The same over Unix sockets. It gets the path, too.
    Unix(fn(usize, &Path) -> io::Result<Infallible>),
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

const fn unix(run: fn(usize, &Path) -> io::Result<Infallible>) -> Option<Server> {
    Some(Server::Unix(run))
}

const NOTHING: Peer = Peer {
    name: "",
    about: "",
    version: "",
    echo: None,
    fanout: None,
    unix: None,
    udp: None,
    left_out: || None,
};

static PEERS: &[Peer] = &[
    Peer {
        name: "bare",
        about: "edge-triggered epoll in C and nothing else: the limit",
        version: env!("PEERS_COMPILER"),
        echo: program!("BARE_ECHO"),
        fanout: program!("BARE_FANOUT"),
        unix: program!("BARE_UNIX"),
        udp: program!("BARE_UDP"),
        ..NOTHING
    },
    Peer {
        name: "bare-inline",
        about: "bare without the C library's wrappers around recv, send and epoll_wait",
        version: env!("PEERS_COMPILER"),
        echo: program!("BARE_INLINE"),
        unix: program!("BARE_UNIX_INLINE"),
        udp: program!("BARE_UDP_INLINE"),
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
        unix: program!("BARE_SPLICE"),
        ..NOTHING
    },
    Peer {
        name: "mio",
        about: "mio by hand, with a slab of connections and one read buffer",
        version: env!("PEERS_MIO"),
        echo: rust(mio::echo),
        fanout: rust(mio::fanout),
        unix: unix(mio::echo_on_unix),
        udp: rust(mio::echo_datagrams),
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
        unix: unix(tokio_copy::echo_on_unix),
        ..NOTHING
    },
    Peer {
        name: "tokio-ready",
        about: "tokio on one thread, written for speed: one read buffer, writes tried at once",
        version: env!("PEERS_TOKIO"),
        echo: rust(tokio_ready::echo),
        fanout: rust(tokio_fanout::fanout),
        unix: unix(tokio_ready::echo_on_unix),
        udp: rust(tokio_udp::echo),
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
        unix: program!("LIBUV_ECHO"),
        udp: program!("LIBUV_UDP"),
        ..NOTHING
    },
    Peer {
        name: "libevent",
        about: "libevent in C: bufferevents, input moved to output, watermarks, changes of interest batched",
        version: env!("PEERS_LIBEVENT"),
        echo: program!("LIBEVENT_ECHO"),
        fanout: program!("LIBEVENT_FANOUT"),
        unix: program!("LIBEVENT_ECHO"),
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
        let servers = [self.echo, self.fanout, self.unix, self.udp].into_iter().flatten();
        let mut reasons = servers.filter_map(|server| match server {
            Server::Program { left_out, .. } => Some(left_out).filter(|reason| !reason.is_empty()),
            Server::Rust(_) | Server::Unix(_) => None,
        });
        reasons.next().or_else(self.left_out)
    }

    /// Whether it has a server for this over that transport.
    #[must_use]
    pub const fn serves(&self, service: Service, transport: Transport) -> bool {
        self.server(service, transport).is_some()
    }

    const fn server(&self, service: Service, transport: Transport) -> Option<Server> {
        match (service, transport) {
            (Service::Echo, Transport::Tcp) => self.echo,
            (Service::Fanout, Transport::Tcp) => self.fanout,
            (Service::Echo, Transport::Unix) => self.unix,
            (Service::Echo, Transport::Udp) => self.udp,
            (Service::Fanout, Transport::Unix | Transport::Udp) => None,
        }
    }

    /// The command that starts it at this place, with a read buffer of `read_buffer` bytes. Those
    /// written in Rust are the program that asks, started again with `server NAME SERVICE
    /// READ_BUFFER [PATH|udp]`: its `main` has to hand these to [`serve`].
    ///
    /// # Panics
    ///
    /// When the path of the running program can't be found out, as where /proc is missing.
    #[must_use]
    pub fn command(&self, service: Service, read_buffer: usize, place: &Place) -> Command {
        let own = std::env::current_exe().expect("/proc/self/exe can be read");
        self.command_with(&own, &["server"], service, read_buffer, place)
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
        place: &Place,
    ) -> Command {
        let size = read_buffer.to_string();
        let mut command = match self.server(service, place.transport()) {
            Some(Server::Program { path, front, .. }) => {
                let mut command = Command::new(path);
                command.args(front).arg(size);
                command
            }
            Some(Server::Rust(_) | Server::Unix(_)) | None => {
                let mut command = Command::new(program);
                command.args(front).args([self.name, service.name()]).arg(size);
                command
            }
        };
        command.args(place.argument());
        command
    }
}

/// Serves, in this thread, at this place, and returns only if that can't go on. A peer that is a
/// program of its own takes this process over.
///
/// # Errors
///
/// When there is no such server in this program, when it can't listen, or when it fails later.
pub fn serve(name: &str, service: Service, read_buffer: usize, place: &Place) -> io::Result<()> {
    let refused = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    let Some(peer) = find(name) else { return refused(format!("no peer is called {name:?}")) };
    if let Some(reason) = peer.left_out() {
        return refused(format!("{name} is left out: {reason}"));
    }
    let transport = place.transport();
    match (peer.server(service, transport), place) {
        (Some(Server::Rust(run)), _) => match run(read_buffer)? {},
        (Some(Server::Unix(run)), Place::Unix(path)) => match run(read_buffer, path)? {},
        (Some(Server::Program { .. }), _) => Err(peer.command(service, read_buffer, place).exec()),
        (Some(Server::Unix(_)) | None, _) => {
            refused(format!("{name} has no {service} over {transport}"))
        }
    }
}
