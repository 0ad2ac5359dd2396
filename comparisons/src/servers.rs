//! Who takes part, and how each is started: our own servers, and the peers.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use edgeloop::{Address, UnixAddress};
use peers::{Peer, Place, Service, Transport};
use rustix::process::{Pid, Signal, kill_process};

use crate::failure::Failure;
use crate::place;
use crate::process::{Process, wait_until};
use crate::scratch::Scratch;
use crate::{binary, interrupt, ours};

/// How long a server may take to say where it listens. Under valgrind that takes seconds.
const START: Duration = Duration::from_secs(30);

/// How long valgrind may take to end a server and to write its log.
const END: Duration = Duration::from_secs(10);

/// The read buffer of servers that are told one: what the targets for streams name.
pub(crate) const READ_BUFFER: usize = 32 * 1024;

/// A server that can be started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contestant {
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// The program `edgeloop`, as users get it, with these arguments besides the address.
    Tool {
        name: &'static str,
        about: &'static str,
        arguments: &'static [&'static str],
    },
    /// The library, without the program around it.
    Library,
    Peer(&'static Peer),
}

/// The program with its defaults.
pub(crate) const EDGELOOP: &str = "edgeloop";

/// The program without its idle timeout, to see what that costs.
pub(crate) const WITHOUT_TIMEOUT: &str = "edgeloop-no-idle-timeout";

/// The program that polls before it sleeps.
pub(crate) const SPINNING: &str = "edgeloop-spin";

/// The examples that print. They take seconds for a round with thousands of connections, and
/// minutes for their counts.
pub(crate) const PRINTING: [&str; 2] = ["example-printing", "example-go-printing"];

/// What the program is told besides for UDP: one client is one source, which sends more than one
/// may by default.
pub(crate) const WITHOUT_RATES: [&str; 4] = ["--udp-rate", "none", "--udp-rate-total", "none"];

/// The limit of latency: bare epoll in C that never sleeps.
pub(crate) const BARE_SPINNING: &str = "bare-spin";

/// The limit: bare epoll in C.
pub(crate) const BARE: &str = "bare";

const OURS: [Contestant; 4] = [
    Contestant {
        kind: Kind::Tool {
            name: EDGELOOP,
            about: "`edgeloop serve` with all its defaults",
            arguments: &[],
        },
    },
    Contestant {
        kind: Kind::Tool {
            name: WITHOUT_TIMEOUT,
            about: "`edgeloop serve --idle-timeout none`",
            arguments: &["--idle-timeout", "none"],
        },
    },
    Contestant {
        kind: Kind::Tool {
            name: SPINNING,
            about: "`edgeloop serve --spin 50us`, for latency alone",
            arguments: &["--spin", "50us"],
        },
    },
    Contestant { kind: Kind::Library },
];

/// All, our own first.
pub(crate) fn all() -> Vec<Contestant> {
    let peers = peers::all().iter().map(|peer| Contestant { kind: Kind::Peer(peer) });
    OURS.into_iter().chain(peers).collect()
}

/// The one of that name.
pub(crate) fn find(name: &str) -> Result<Contestant, String> {
    all().into_iter().find(|one| one.name() == name).ok_or_else(|| {
        let names: Vec<_> = all().iter().map(Contestant::name).collect();
        format!("no server is called {name:?}: there are {}", names.join(", "))
    })
}

/// Those of these names that can run here.
pub(crate) fn present(names: &[&str]) -> Result<Vec<Contestant>, String> {
    let all: Result<Vec<_>, _> = names.iter().map(|name| find(name)).collect();
    Ok(all?.into_iter().filter(|server| server.left_out().is_none()).collect())
}

impl Contestant {
    pub(crate) const fn name(&self) -> &'static str {
        match self.kind {
            Kind::Tool { name, .. } => name,
            Kind::Library => ours::NAME,
            Kind::Peer(peer) => peer.name(),
        }
    }

    pub(crate) const fn about(&self) -> &'static str {
        match self.kind {
            Kind::Tool { about, .. } => about,
            Kind::Library => "the library's smallest server",
            Kind::Peer(peer) => peer.about(),
        }
    }

    pub(crate) const fn version(&self) -> &'static str {
        match self.kind {
            Kind::Peer(peer) => peer.version(),
            // The workspace has one version for all.
            _ => concat!("edgeloop ", env!("CARGO_PKG_VERSION")),
        }
    }

    /// Whether it polls where others sleep. It keeps its core busy, so it takes part where servers
    /// run one after the other.
    pub(crate) fn spins(&self) -> bool {
        [SPINNING, BARE_SPINNING].contains(&self.name())
    }

    /// Whether it prints what it gets, which takes longer than anything else that a server does
    /// here.
    pub(crate) fn prints(&self) -> bool {
        PRINTING.contains(&self.name())
    }

    /// Whether it is one of our own.
    pub(crate) const fn is_ours(&self) -> bool {
        !matches!(self.kind, Kind::Peer(_))
    }

    /// Why it can't run here, if it can't.
    pub(crate) fn left_out(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Peer(peer) => peer.left_out(),
            _ => None,
        }
    }

    pub(crate) const fn serves(&self, service: Service, transport: Transport) -> bool {
        let echoes = matches!(service, Service::Echo);
        match (self.kind, transport) {
            (Kind::Tool { .. }, Transport::Tcp) => echoes,
            (Kind::Tool { arguments, .. }, _) => echoes && arguments.is_empty(),
            (Kind::Library, Transport::Tcp) => true,
            (Kind::Library, _) => echoes,
            (Kind::Peer(peer), _) => peer.serves(service, transport),
        }
    }

    /// The command that starts it at this place.
    pub(crate) fn command(
        &self,
        service: Service,
        read_buffer: usize,
        place: &Place,
    ) -> io::Result<Command> {
        match self.kind {
            Kind::Tool { arguments, .. } => {
                let mut command = Command::new(binary::edgeloop()?);
                command.arg("serve");
                match place {
                    Place::Tcp => command.arg("127.0.0.1:0"),
                    Place::Unix(path) => command.arg(unix_argument(path.as_os_str())),
                    Place::Udp => command.arg("udp://127.0.0.1:0").args(WITHOUT_RATES),
                };
                command.args(arguments);
                // The defaults are what users get, whatever is set around here.
                for (name, _) in std::env::vars_os() {
                    if name.to_string_lossy().starts_with("EDGELOOP_") {
                        command.env_remove(name);
                    }
                }
                Ok(command)
            }
            Kind::Library => ours::command(service, read_buffer, place),
            Kind::Peer(peer) => Ok(peer.command(service, read_buffer, place)),
        }
    }

    /// Starts it on the servers' core and waits until it listens.
    ///
    /// # Errors
    ///
    /// When it can't be started, or ends, or says nothing. The text names it.
    pub(crate) fn start(&self, service: Service, read_buffer: usize) -> io::Result<Server> {
        self.start_over(Transport::Tcp, service, read_buffer)
    }

    /// As [`Contestant::start`], over any transport.
    pub(crate) fn start_over(
        &self,
        transport: Transport,
        service: Service,
        read_buffer: usize,
    ) -> io::Result<Server> {
        let spot = Spot::over(transport)?;
        let command = self.command(service, read_buffer, &spot.place)?;
        Server::start(self.name(), &command, spot)
    }

    /// Starts it under callgrind, which writes what it has counted to the file.
    pub(crate) fn start_counted(
        &self,
        transport: Transport,
        read_buffer: usize,
        log: &PathBuf,
    ) -> io::Result<Server> {
        let spot = Spot::over(transport)?;
        let counted = self.command(Service::Echo, read_buffer, &spot.place)?;
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        let mut file = OsString::from("--log-file=");
        file.push(log);
        command.arg(file).arg(counted.get_program()).args(counted.get_args());
        Server::start(self.name(), &command, spot)
    }
}

/// The form of a path in which the program takes it.
fn unix_argument(path: &OsStr) -> OsString {
    let mut argument = OsString::from("unix:");
    argument.push(path);
    argument
}

/// Where a server is told to listen, and the directory that the path of a Unix socket is in.
#[derive(Debug)]
struct Spot {
    place: Place,
    _directory: Option<Scratch>,
}

impl Spot {
    fn over(transport: Transport) -> io::Result<Self> {
        Ok(match transport {
            Transport::Tcp => Self { place: Place::Tcp, _directory: None },
            Transport::Udp => Self { place: Place::Udp, _directory: None },
            Transport::Unix => {
                let directory = Scratch::new()?;
                let path = directory.path().join("socket");
                Self { place: Place::Unix(path), _directory: Some(directory) }
            }
        })
    }
}

/// A server that runs. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    address: Address,
    _spot: Spot,
}

impl Server {
    fn start(name: &'static str, command: &Command, spot: Spot) -> io::Result<Self> {
        let failed = |error: &dyn std::fmt::Display| {
            io::Error::other(format!("{name} cannot be started: {error}"))
        };
        let (output, input) = io::pipe()?;
        let mut command = place::launched(place::SERVERS, command)?;
        command.stdin(Stdio::null()).stdout(input.try_clone()?).stderr(input);
        let child = command.spawn().map_err(|error| failed(&error))?;
        // The command holds the writing end, too, and with it the output would have no end.
        drop(command);
        // Until it says another one.
        let address = UnixAddress::unnamed().into();
        let transport = spot.place.transport();
        let mut server = Self { name, child, address, _spot: spot };
        let (sender, said) = mpsc::channel();
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            // A server that was ended in the middle of a line leaves something unreadable.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Nobody listens any more once the address is known, but it has to be read.
                let _ = sender.send(line);
            }
        })?;
        let mut last = "it says nothing".to_owned();
        loop {
            match said.recv_timeout(START) {
                Ok(line) => match address_in(&line, transport) {
                    Some(address) => {
                        server.address = address;
                        return Ok(server);
                    }
                    None => last = line,
                },
                Err(_) => return Err(failed(&last)),
            }
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or(io::ErrorKind::InvalidInput)?, signal)?;
        Ok(())
    }

    /// Asks it to end, and waits until valgrind, under which it runs, has written its log.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.signal(Signal::TERM)?;
        let has_ended = || {
            interrupt::check()?;
            Ok(self.child.try_wait()?.is_some())
        };
        if wait_until(END, has_ended)? {
            Ok(())
        } else {
            // As with io_uring under valgrind, which looks for signals too rarely there.
            Err(io::Error::new(io::ErrorKind::TimedOut, "no signal ends it under valgrind"))
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already. Nothing is owed to anybody here, so it need not drain.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in the line that says where a server listens, if it does over this transport. That
/// of UDP has the form of one of TCP then.
fn address_in(line: &str, transport: Transport) -> Option<Address> {
    let (_, rest) = line.split_once("listening on ")?;
    let word = rest.split_whitespace().next()?;
    let address = if transport == Transport::Udp { word.strip_prefix("udp://")? } else { word };
    let address: Address = address.parse().ok()?;
    (address.as_tcp().is_none() == (transport == Transport::Unix)).then_some(address)
}

/// What every measurement needs: the programs of the servers, and this process in its place.
pub(crate) fn prepare(servers: impl IntoIterator<Item = Contestant>) -> Result<(), Failure> {
    for server in servers {
        // The program `edgeloop` is built here if it has to be, and not on the client's core alone.
        let command = server.command(Service::Echo, READ_BUFFER, &Place::Tcp);
        command.map_err(|error| Failure::usage(error.to_string()))?;
    }
    // Who needs more than there are will say so.
    let _ = edgeloop::raise_descriptor_limit();
    place::pin_client()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn the_address_is_read_from_either_form_of_the_line() {
        let expected = Some(Address::from(SocketAddr::from(([127, 0, 0, 1], 4321))));
        let tcp = |line| address_in(line, Transport::Tcp);
        assert_eq!(tcp("listening on 127.0.0.1:4321"), expected);
        assert_eq!(tcp("2026-11-26 INFO listening on 127.0.0.1:4321 and so"), expected);
        assert_eq!(address_in("listening on udp://127.0.0.1:4321", Transport::Udp), expected);
        let unix = UnixAddress::path("/tmp/a").expect("a path");
        assert_eq!(address_in("listening on unix:/tmp/a", Transport::Unix), Some(unix.into()));
        assert_eq!(tcp("listening on nothing"), None);
        assert_eq!(tcp("cannot listen"), None);
    }

    #[test]
    fn a_server_that_listens_over_another_transport_is_not_taken_for_this_one() {
        let lines = [
            (Transport::Tcp, "listening on 127.0.0.1:4321"),
            (Transport::Udp, "listening on udp://127.0.0.1:4321"),
            (Transport::Unix, "listening on unix:/tmp/a"),
        ];
        for (over, line) in lines {
            for (other, _) in lines {
                assert_eq!(address_in(line, other).is_some(), over == other, "{line}, {other}");
            }
        }
    }

    #[test]
    fn names_are_unique_and_a_wrong_one_is_one_line() {
        let mut names: Vec<_> = all().iter().map(Contestant::name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        let wrong = find("nginx").expect_err("no such server");
        assert!(wrong.contains("\"nginx\"") && !wrong.contains('\n'), "{wrong}");
    }
}
