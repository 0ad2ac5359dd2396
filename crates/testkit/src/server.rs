//! A server under test: a process of ours that listens, and that is killed when the test ends.

use std::fmt;
use std::io::BufReader;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Child, ChildStderr, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::launch::Launch;
use crate::log::Log;
use crate::process::Process;
use crate::trace::Trace;
use crate::wait::{eventually, eventually_some};

/// The servers that have been started, by the ports that they listen on.
static STARTED: Mutex<Vec<(u16, Process)>> = Mutex::new(Vec::new());

/// A running server. Dropping it kills that one process.
#[derive(Debug)]
pub struct Server {
    child: Child,
    process: Process,
    trace: Option<Trace>,
    log: Log,
    unread: Option<BufReader<ChildStderr>>,
    addresses: Vec<SocketAddr>,
    udp_addresses: Vec<SocketAddr>,
}

impl Launch {
    /// Starts it and waits until it listens.
    ///
    /// # Panics
    ///
    /// When it cannot be started or does not say within [`PATIENCE`](crate::PATIENCE) that it
    /// listens.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Server {
        let (mut child, trace) = self.spawn();
        let stderr = child.stderr.take().expect("a pipe for stderr");
        // The server is killed when this is dropped, so it is made before anything can panic.
        let mut server = Server::new(child, trace);
        let (log, unread) = self.follow(stderr);
        server.listens(log, unread, self.listeners);
        server
    }

    /// Starts it without waiting for anything, its standard error unread: for a server that has
    /// none. Its addresses are not known.
    #[must_use]
    #[track_caller]
    pub fn start_mute(self) -> Server {
        let (child, trace) = self.spawn();
        Server::new(child, trace)
    }
}

impl Server {
    /// Starts `program` and waits until it listens; [`Launch`] knows of more circumstances.
    #[must_use]
    #[track_caller]
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        Launch::new(program).args(arguments).start()
    }

    fn new(child: Child, mut trace: Option<Trace>) -> Self {
        let process = Process::new(child.id());
        if let Some(trace) = &mut trace {
            trace.follow(process);
        }
        let (addresses, udp_addresses) = (Vec::new(), Vec::new());
        Self { child, process, trace, log: Log::default(), unread: None, addresses, udp_addresses }
    }

    #[track_caller]
    fn listens(&mut self, log: Log, unread: Option<BufReader<ChildStderr>>, listeners: usize) {
        self.log = log;
        self.unread = unread;
        let lines = eventually_some("the server says that it listens", || {
            let lines = self.log.lines_with("listening on ");
            if lines.len() < listeners {
                let ended = self.child.try_wait().expect("wait for the server");
                assert!(ended.is_none(), "it ended with {ended:?}:\n{}", self.log.text());
                return None;
            }
            Some(lines)
        });
        self.addresses = lines.iter().filter_map(|line| address_in(line, "")).collect();
        self.udp_addresses = lines.iter().filter_map(|line| address_in(line, "udp://")).collect();
        let mut known = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(self.addresses.iter().map(|address| (address.port(), self.process)));
    }

    /// The server of this test process that said last that it listens on this port.
    pub(crate) fn at_port(port: u16) -> Option<Process> {
        let known = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().rev().find(|(known, _)| *known == port).map(|&(_, process)| process)
    }

    /// Where a peer reaches it: its first address, with loopback for "any".
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        reachable(self.addresses[0])
    }

    /// Where datagrams reach it: its first address of UDP, with loopback for "any".
    #[must_use]
    pub fn udp_address(&self) -> SocketAddr {
        reachable(self.udp_addresses[0])
    }

    /// The addresses of UDP that it said it listens on.
    #[must_use]
    pub fn udp_addresses(&self) -> &[SocketAddr] {
        &self.udp_addresses
    }

    /// The addresses of TCP that it said it listens on.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Its port, that of the first address.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addresses[0].port()
    }

    /// Its number.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What can be read about it in `/proc`.
    #[must_use]
    pub const fn process(&self) -> Process {
        self.process
    }

    /// What it has written to its standard error.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// What strace saw, for a server that was launched with [`Launch::traced`].
    ///
    /// # Panics
    ///
    /// For any other server.
    #[must_use]
    #[track_caller]
    pub fn trace(&self) -> &Trace {
        self.trace.as_ref().expect("a server under strace")
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// The STOP trick: whatever `act` does happens while the server stands still, so that the
    /// server finds all of it in one wake-up. (Going on makes its wait return EINTR first.)
    #[track_caller]
    pub fn stopped<T>(&self, act: impl FnOnce() -> T) -> T {
        let mark = self.trace.as_ref().map(Trace::mark);
        self.signal(Signal::STOP);
        eventually("the server has stopped", || match (&self.trace, mark) {
            (Some(trace), Some(mark)) => trace.stops_since(mark) >= self.process.threads().len(),
            _ => self.process.state() == Some('T'),
        });
        let stands_still = |still| {
            if let Some(trace) = &self.trace {
                trace.stands_still(still);
            }
        };
        stands_still(true);
        let result = act();
        stands_still(false);
        self.signal(Signal::CONT);
        result
    }

    /// Ends it with a SIGTERM and returns how many instructions it has executed, for a server that
    /// was launched with [`Launch::counted`].
    ///
    /// # Panics
    ///
    /// For any other server, and when it does not end in order within `limit`.
    #[track_caller]
    pub fn instructions_at_end(&mut self, limit: Duration) -> u64 {
        self.signal(Signal::TERM);
        assert_eq!(self.exit_code_within(limit), 0);
        eventually_some("callgrind tells the count", || {
            let line = self.log.lines_with("Collected :").pop()?;
            line.split_whitespace().last()?.parse().ok()
        })
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Waits for its end and returns its exit code.
    ///
    /// # Panics
    ///
    /// When it is still running after `limit`, or when a signal ended it.
    #[track_caller]
    pub fn exit_code_within(&mut self, limit: Duration) -> i32 {
        let status = wait_for_end(&mut self.child, limit);
        self.log.settle();
        status.code().unwrap_or_else(|| panic!("it ended with {status}:\n{}", self.log.text()))
    }

    /// Sends it a signal until one of them has ended it, and returns its exit code: for the second
    /// signal, which counts only when the first is a tenth of a second old.
    ///
    /// # Panics
    ///
    /// When it is still running after `limit`, or when a signal ended it by default.
    #[track_caller]
    pub fn exit_code_of_signals(&mut self, signal: Signal, limit: Duration) -> i32 {
        let start = Instant::now();
        while self.is_running() {
            assert!(start.elapsed() < limit, "still running after {limit:?}");
            self.signal(signal);
            thread::sleep(Duration::from_millis(5));
        }
        self.exit_code_within(limit)
    }

    /// Waits until it has logged the end of the connection to `peer` (with `-v`), and returns what
    /// the line says.
    #[track_caller]
    pub fn closing_of(&self, peer: SocketAddr) -> Closing {
        let ending = |line: &String| line.contains("closed") && mentions(line, peer);
        eventually_some(&format!("a line of log about the end of {peer}"), || {
            self.log.lines_with("closed").into_iter().find(ending).map(|line| Closing { line })
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            println!("--- log of the server (process {}) ---", self.pid());
            let text = self.log.text();
            let lines: Vec<&str> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(60)..] {
                println!("{line}");
            }
        }
    }
}

/// The line of log about a connection's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    line: String,
}

impl Closing {
    /// The whole line.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// How many bytes came from the peer.
    #[must_use]
    #[track_caller]
    pub fn received(&self) -> u64 {
        self.number("bytes_in")
    }

    /// How many bytes for the peer the kernel accepted.
    #[must_use]
    #[track_caller]
    pub fn sent(&self) -> u64 {
        self.number("bytes_out")
    }

    /// How many bytes for the peer the kernel never accepted; the line says nothing of none.
    #[must_use]
    #[track_caller]
    pub fn dropped(&self) -> u64 {
        let words = self.line.split(" bytes dropped").next().unwrap_or("");
        if words.len() == self.line.len() {
            return 0;
        }
        let number = words.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
        number.parse().unwrap_or_else(|_| panic!("no number of dropped bytes in: {}", self.line))
    }

    #[track_caller]
    fn number(&self, name: &str) -> u64 {
        let value = self.field(name).unwrap_or_else(|| panic!("no {name} in: {}", self.line));
        value.parse().unwrap_or_else(|_| panic!("{name} is no number in: {}", self.line))
    }

    /// Whether its reason holds `words`.
    #[must_use]
    pub fn says(&self, words: &str) -> bool {
        self.line.contains(words)
    }

    fn field(&self, name: &str) -> Option<&str> {
        let start = self.line.find(&format!("{name}="))? + name.len() + 1;
        self.line[start..].split_whitespace().next()
    }
}

impl fmt::Display for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// Whether the line names this very address, not one that begins with it.
fn mentions(line: &str, address: SocketAddr) -> bool {
    let text = address.to_string();
    line.match_indices(&text)
        .any(|(at, _)| !line[at + text.len()..].starts_with(|next: char| next.is_ascii_digit()))
}

fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The address after `listening on` and a scheme; `None` if it has another one, or is that of a
/// Unix socket.
#[track_caller]
fn address_in(line: &str, scheme: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening on ").expect("a line that says it listens");
    let rest = rest.strip_prefix(scheme)?;
    if ["unix:", "udp://"].iter().any(|other| rest.starts_with(other)) {
        return None;
    }
    let end = rest.find([' ', ',', '"', ';', '\u{1b}']).unwrap_or(rest.len());
    let address = rest[..end].parse();
    Some(address.unwrap_or_else(|_| panic!("no address after \"listening on\": {line}")))
}

/// Waits for a child to end, for `limit` at the most.
#[track_caller]
fn wait_for_end(child: &mut Child, limit: Duration) -> ExitStatus {
    let start = Instant::now();
    eventually_some("the server has ended", || {
        let status = child.try_wait().expect("wait for the server");
        assert!(status.is_some() || start.elapsed() < limit, "still running after {limit:?}");
        status
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_text_and_in_json() {
        for (line, address) in [
            ("listening on 127.0.0.1:40123", "127.0.0.1:40123"),
            ("INFO listening on [::]:3000 (dual-stack)", "[::]:3000"),
            (r#"{"message":"listening on 0.0.0.0:80","x":1}"#, "0.0.0.0:80"),
        ] {
            let found = address_in(line, "").map(|found| found.to_string());
            assert_eq!(found.as_deref(), Some(address));
            assert_eq!(address_in(line, "udp://"), None);
        }
        assert_eq!(address_in("listening on unix:/run/echo.sock", ""), None);
        let udp = "listening on udp://[::1]:7";
        assert_eq!(address_in(udp, "udp://"), Some("[::1]:7".parse().expect("an address")));
        assert_eq!(address_in(udp, ""), None);
    }

    #[test]
    fn a_longer_port_is_another_peer() {
        let peer = "127.0.0.1:4012".parse().expect("an address");
        assert!(mentions("closed peer=127.0.0.1:4012 reason=finished", peer));
        assert!(!mentions("closed peer=127.0.0.1:40123 reason=finished", peer));
    }
}
