//! A peer under test: its process, started by the command that measurements start it by.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use peers::{Peer, Place, Service, find};
use rustix::process::Signal;
use testkit::{Files, Process, TcpSockets, Trace, say};

/// The usual size of a read buffer, and the one for streams.
pub(crate) const USUAL: usize = 64 * 1024;
pub(crate) const STREAM: usize = 32 * 1024;

/// A running peer. Dropping it ends that one process.
pub(crate) struct Server {
    child: Child,
    /// Kept open, so that the server could go on printing.
    _output: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

/// The peer of that name, unless it is left out here, which is then said.
#[track_caller]
pub(crate) fn unless_left_out(name: &str) -> Option<&'static Peer> {
    let peer = find(name).unwrap_or_else(|| panic!("no peer is called {name}"));
    if let Some(reason) = peer.left_out() {
        say(&format!("LEFT OUT: {name}: {reason}"));
        return None;
    }
    Some(peer)
}

fn command(peer: &Peer, service: Service, read_buffer: usize, place: &Place) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_peer"));
    peer.command_with(program, &[], service, read_buffer, place)
}

/// Starts a server, and waits until it says where it listens.
#[track_caller]
fn started(peer: &Peer, command: &mut Command) -> (Child, BufReader<ChildStdout>, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("start the server");
    let mut output = BufReader::new(child.stdout.take().expect("its output is piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line of text");
    let place = line.strip_prefix("listening on ").and_then(|place| place.strip_suffix('\n'));
    let place = place.unwrap_or_else(|| panic!("{} said {line:?}", peer.name())).to_owned();
    (child, output, place)
}

impl Server {
    /// Starts it, and waits until it says where it listens.
    #[track_caller]
    pub(crate) fn start(peer: &Peer, service: Service, read_buffer: usize) -> Self {
        Self::run(peer, command(peer, service, read_buffer, &Place::Tcp), "")
    }

    /// Starts its echo of datagrams.
    #[track_caller]
    pub(crate) fn start_udp(peer: &Peer, read_buffer: usize) -> Self {
        Self::run(peer, command(peer, Service::Echo, read_buffer, &Place::Udp), "udp://")
    }

    /// As [`Server::start`], under strace.
    #[track_caller]
    pub(crate) fn start_traced(peer: &Peer, service: Service, read_buffer: usize) -> (Self, Trace) {
        let trace = Trace::create();
        let words = trace.command(&[]);
        let traced = command(peer, service, read_buffer, &Place::Tcp);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(traced.get_program()).args(traced.get_args());
        (Self::run(peer, command, ""), trace)
    }

    #[track_caller]
    fn run(peer: &Peer, mut command: Command, scheme: &str) -> Self {
        let (child, output, place) = started(peer, &mut command);
        let process = Process::new(child.id());
        let port = place
            .strip_prefix(scheme)
            .and_then(|address| address.strip_prefix("127.0.0.1:"))
            .and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("{} listens on {place:?}", peer.name()));
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Self { child, _output: output, address, process }
    }

    /// How many bytes of this client it has received and not yet read.
    pub(crate) fn unread(&self, client: SocketAddr) -> u64 {
        TcpSockets::now().between(self.address, client).map_or(0, |socket| socket.unread)
    }

    /// Sends it SIGTERM, and returns the signal that it ended by.
    #[track_caller]
    pub(crate) fn terminate(mut self) -> Option<i32> {
        self.process.signal(Signal::TERM);
        self.child.wait().expect("it ends").signal()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running peer that echoes over Unix sockets. Dropping it ends that one process.
pub(crate) struct UnixServer {
    child: Child,
    _output: BufReader<ChildStdout>,
    pub(crate) path: PathBuf,
    pub(crate) process: Process,
    /// Where its socket is.
    _files: Files,
}

impl UnixServer {
    #[track_caller]
    pub(crate) fn start(peer: &Peer, read_buffer: usize) -> Self {
        let files = Files::new();
        let path = files.path("echo");
        let mut command = command(peer, Service::Echo, read_buffer, &Place::Unix(path.clone()));
        let (child, output, place) = started(peer, &mut command);
        assert_eq!(place, format!("unix:{}", path.display()), "{}", peer.name());
        let process = Process::new(child.id());
        Self { child, _output: output, path, process, _files: files }
    }
}

impl Drop for UnixServer {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
