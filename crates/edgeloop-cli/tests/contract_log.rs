//! Contract, Faults: C35 where a log can't be written, or no thread can be started to write it.

mod serve;

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serve::{edgeloop, program, server};
use testkit::{PYTHON, Peer, STRACE, Server, TcpSockets, eventually, skip_unless};

const ENDED: Duration = Duration::from_secs(20);

/// Neither clone3(2) nor clone(2) makes a thread, as under a limit of processes.
const NO_THREADS: &str = "inject=clone3,clone:error=EAGAIN";

fn free_address() -> SocketAddr {
    let holder = TcpListener::bind("127.0.0.1:0").expect("bind");
    holder.local_addr().expect("address")
}

/// Far more lines than a pipe holds.
#[track_caller]
fn chat(address: SocketAddr, rounds: u32) {
    let peer = Peer::connect(address);
    for number in 0..rounds {
        peer.expect_echo(&number.to_be_bytes());
    }
    peer.half_close();
    peer.expect_eof();
}

/// A server whose log is a file. It has to be told its address.
#[track_caller]
fn logging_to(log: &str, limits: &str, address: SocketAddr) -> Server {
    let server = edgeloop(&["serve", "-vv", &address.to_string()])
        .shell(&format!("{limits}; exec 2>>{log}"))
        .start_mute();
    eventually("it listens", || TcpSockets::now().listener(address.port()).is_some());
    server
}

/// The count behind this name in a line.
fn count(line: &str, name: &str) -> Option<u64> {
    line.split_once(name)?.1.split_whitespace().next()?.parse().ok()
}

#[test]
fn c35_a_log_that_reaches_the_file_size_limit_ends_nothing_and_tells_its_gap() {
    let log = tempfile::NamedTempFile::new().expect("a file");
    let path = log.path().to_str().expect("UTF-8");
    let address = free_address();
    // 64 blocks of 512 bytes; SIGXFSZ is not ignored.
    let mut server = logging_to(path, "ulimit -f 64", address);
    chat(address, 1000);
    let length = || fs::metadata(path).expect("the log").len();
    eventually("it is full, and whoever writes has ended", || {
        length() == 64 * 512 && server.process().threads().len() == 1
    });
    // Whoever cuts it gives it place again.
    File::options().write(true).open(path).and_then(|file| file.set_len(0)).expect("to cut it");
    chat(address, 10);
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(ENDED), 0);
    let text = fs::read_to_string(path).expect("the log");
    let totals = text.lines().last().unwrap_or_default();
    let dropped = count(totals, "log_lines_dropped=");
    assert!(dropped.is_some_and(|lines| lines > 1000), "{totals}");
    let mut lines = text.lines().skip_while(|line| line.is_empty());
    let gap = lines.next().unwrap_or_default();
    assert!(gap.contains("lines of log dropped here"), "no gap at the top of {text}");
    assert_eq!(count(gap, "lines="), dropped, "{gap}\n{totals}");
    assert!(lines.all(|line| line.starts_with("20")), "half a line in {text}");
}

#[test]
fn c35_without_a_thread_every_line_that_fits_is_written_and_the_rest_is_counted() {
    let name = "c35_without_a_thread_every_line_that_fits_is_written_and_the_rest_is_counted";
    if skip_unless(name, STRACE) {
        return;
    }
    let traced =
        |options: &[&str]| server(options).traced(&["-e", NO_THREADS, "-e", "trace=clone3,clone"]);
    // It says where it listens, and all else.
    let mut read = traced(&["-vv"]).start();
    chat(read.address(), 1000);
    assert!(read.trace().text().contains("(INJECTED)"), "it had a thread");
    read.signal(Signal::TERM);
    assert_eq!(read.exit_code_within(ENDED), 0);
    let totals = read.log().expect_line("totals");
    let received = read.log().lines_with("received").len() as u64;
    let dropped = count(&totals, "log_lines_dropped=").unwrap_or(0);
    assert!(received + dropped >= 1000, "{received} of 1000 written, {dropped} dropped");
    assert!(read.log().text().lines().all(|line| line.starts_with("20")), "half a line");

    let mut stuck = traced(&["-vv"]).stderr_stalls().start();
    chat(stuck.address(), 10_000);
    chat(stuck.address(), 10);
    stuck.signal(Signal::TERM);
    assert_eq!(stuck.exit_code_within(ENDED), 0);
}

/// A shell with a terminal, that starts a server in the background and says what becomes of it.
const TERMINAL: &str = r#"
import os, pty, signal, socket, sys, termios, time

program, port = sys.argv[1], int(sys.argv[2])
said, say = os.pipe()
server = 0

def give_up(*_):
    for process in filter(None, (server, shell)):
        os.kill(process, signal.SIGKILL)
    sys.exit("it takes too long")

shell, terminal = pty.fork()
if shell == 0:
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    modes = termios.tcgetattr(2)
    modes[3] |= termios.TOSTOP
    termios.tcsetattr(2, termios.TCSANOW, modes)
    server = os.fork()
    if server == 0:
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.setpgid(0, 0)
        os.execv(program, [program, "serve", "-vv", "127.0.0.1:%d" % port])
    try:
        os.setpgid(server, server)
    except PermissionError:
        # It is the server by now, and has done so itself.
        pass
    def to_foreground(*_):
        os.tcsetpgrp(2, server)
        os.write(say, b"foreground\n")
    signal.signal(signal.SIGUSR1, to_foreground)
    os.write(say, b"%d\n" % server)
    while True:
        _, status = os.waitpid(server, os.WUNTRACED)
        stopped = os.WIFSTOPPED(status)
        code = -1 if stopped else os.waitstatus_to_exitcode(status)
        os.write(say, b"stopped\n" if stopped else b"exited %d\n" % code)
        if not stopped:
            os._exit(0)

signal.signal(signal.SIGALRM, give_up)
signal.alarm(30)
said = os.fdopen(said)
server = int(said.readline())

def chat():
    until = time.monotonic() + 20
    while True:
        try:
            peer = socket.create_connection(("127.0.0.1", port))
            break
        except OSError:
            assert time.monotonic() < until, "it does not listen"
            time.sleep(0.01)
    peer.settimeout(20)
    for _ in range(200):
        peer.sendall(b"hello")
        left = 5
        while left:
            left -= len(peer.recv(left))
    peer.close()

chat()
os.kill(shell, signal.SIGUSR1)
print(said.readline().strip())
chat()
os.kill(server, signal.SIGTERM)
shown = b""
try:
    while True:
        part = os.read(terminal, 65536)
        if not part:
            break
        shown += part
except OSError:
    pass
print(said.readline().strip())
sys.stdout.write(shown.decode().replace("\r\n", "\n"))
"#;

#[test]
fn c35_a_terminal_that_stops_jobs_in_the_background_stops_no_server() {
    let name = "c35_a_terminal_that_stops_jobs_in_the_background_stops_no_server";
    if skip_unless(name, PYTHON) {
        return;
    }
    let port = free_address().port().to_string();
    let ran = Command::new("python3")
        .args(["-c", TERMINAL, &program(), &port])
        .output()
        .expect("python3");
    let said = String::from_utf8_lossy(&ran.stdout);
    let errors = String::from_utf8_lossy(&ran.stderr);
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("foreground"), "{said}{errors}");
    assert_eq!(lines.next(), Some("exited 0"), "{said}{errors}");
    // What it had to say in the background is counted, and told where it is missing.
    let gap = lines.next().unwrap_or_default();
    assert!(gap.contains("lines of log dropped here"), "{said}{errors}");
    assert!(said.contains("totals accepted=2"), "{said}{errors}");
}
