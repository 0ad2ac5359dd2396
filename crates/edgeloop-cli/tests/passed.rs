//! Sockets that are passed to `serve`, as a service manager does (sd_listen_fds(3)).

mod serve;

use std::fs;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use rustix::process::Signal;
use serde_json::Value;
use serve::{edgeloop, program};
use testkit::{
    Launch, PATIENCE, PYTHON, Peer, Process, SOCKET_ACTIVATE, Server, eventually, eventually_some,
    skip_unless,
};

/// Makes what its first argument lists, separated by commas, such as `tcp,udp=name`. Then it
/// becomes the program of the other arguments, to which all of that is passed.
const PASSES: &str = r#"
import os, select, socket, sys

def tcp(family, address, *options):
    listener = socket.socket(family)
    for option in options:
        listener.setsockopt(*option)
    listener.bind(address)
    return listener

def listening(*arguments):
    listener = tcp(*arguments)
    listener.listen(1)
    return listener

V4, V6 = socket.AF_INET, socket.AF_INET6
BOTH = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
here = listening(V4, ("127.0.0.1", 0))

def unix(kind):
    made = socket.socket(socket.AF_UNIX, kind)
    made.bind("\0edgeloop-passed-%d-%d" % (os.getpid(), kind))
    if kind != socket.SOCK_DGRAM:
        made.listen(1)
    return made

made = {
    "tcp": lambda: listening(V4, ("127.0.0.1", 0)),
    "dual": lambda: listening(V6, ("::", 0), BOTH),
    "fresh": lambda: tcp(V4, ("127.0.0.1", 0)),
    "connected": lambda: socket.create_connection(here.getsockname()),
    "udp": lambda: socket.socket(V4, socket.SOCK_DGRAM),
    "udp6": lambda: socket.socket(V6, socket.SOCK_DGRAM),
    "unix": lambda: unix(socket.SOCK_STREAM),
    "unixgram": lambda: unix(socket.SOCK_DGRAM),
    "unixseq": lambda: unix(socket.SOCK_SEQPACKET),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "file": lambda: open("/proc/self/status"),
    "directory": lambda: os.open("/", os.O_RDONLY),
    "device": lambda: open("/dev/null"),
    "pipe": lambda: os.pipe()[0],
    "epoll": select.epoll,
    "closed": lambda: None,
}
things = [thing.partition("=")[::2] for thing in sys.argv[1].split(",")]
kept = [made[kind]() for kind, _ in things]

# First out of the way of the numbers at which they are passed.
for index, thing in enumerate(kept):
    if thing is not None:
        number = thing if isinstance(thing, int) else thing.fileno()
        os.dup2(number, 40 + index, inheritable=False)
for index, thing in enumerate(kept):
    if thing is None:
        os.closerange(3 + index, 4 + index)
    else:
        os.dup2(40 + index, 3 + index)
os.environ["LISTEN_FDS"] = str(len(things))
os.environ["LISTEN_PID"] = str(os.getpid())
names = [name for _, name in things]
if any(names):
    os.environ["LISTEN_FDNAMES"] = ":".join(names)
os.execvp(sys.argv[2], sys.argv[2:])
"#;

/// A server to which these things are passed.
fn passes(things: &str, arguments: &[&str]) -> Launch {
    Launch::new("python3").args(&["-c", PASSES, things, &program(), "serve"]).args(arguments)
}

/// A server to which a socket of the test is passed.
fn passed(listener: &TcpListener, arguments: &[&str]) -> Launch {
    edgeloop(&["serve"])
        .args(arguments)
        .stdin(listener.try_clone().expect("a descriptor"))
        .shell("exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$")
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

/// Whether a process listens by itself on a socket of the test.
fn holds(process: Process, address: SocketAddr) -> bool {
    let inode = inode_of(address).map(|inode| format!("socket:[{inode}]"));
    process.descriptors().iter().any(|descriptor| Some(&descriptor.target) == inode.as_ref())
}

/// The number of the socket that listens on an address of IPv4.
fn inode_of(address: SocketAddr) -> Option<String> {
    listening().into_iter().find(|(port, _)| *port == address.port()).map(|(_, inode)| inode)
}

/// The ports that are listened on, each with the number of its socket (proc(5), net/tcp).
fn listening() -> Vec<(u16, String)> {
    let table = fs::read_to_string("/proc/net/tcp").expect("it is readable");
    let socket = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let port = columns[1].split_once(':').expect("a port").1;
        let port = u16::from_str_radix(port, 16).expect("a number");
        (columns[3] == "0A").then(|| (port, columns[9].to_owned()))
    };
    table.lines().skip(1).filter_map(socket).collect()
}

#[track_caller]
fn expect_echoes(server: &Server) {
    for address in server.addresses() {
        let peer =
            Peer::connect(SocketAddr::new("127.0.0.1".parse().expect("one"), address.port()));
        peer.expect_echo(b"hello");
    }
}

#[test]
fn one_that_is_passed_alone_is_all_that_is_listened_on() {
    let (listener, address) = listener();
    let mut server = passed(&listener, &["-v"]).start();
    assert_eq!(server.addresses(), [address]);
    expect_echoes(&server);
    let line = server.log().expect_line("passed in");
    assert!(line.contains("DEBUG") && line.contains(&format!("address={address} descriptor=3")));
    assert!(!server.log().text().contains("WARN"), "{}", server.log().text());
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 0);
    assert_eq!(server.log().lines_with("listening on ").len(), 1);
}

#[test]
fn the_json_log_tells_the_address_and_where_it_came_from() {
    if skip_unless("the_json_log_tells_the_address_and_where_it_came_from", PYTHON) {
        return;
    }
    let server = passes("tcp=web \u{e9}", &["-v", "--log-format=json"]).start();
    let find = |words| -> Value {
        serde_json::from_str(&server.log().expect_line(words)).expect("an object")
    };
    let (came, listens) = (find("passed in"), find("listening on "));
    assert_eq!(came["descriptor"], 3);
    assert_eq!(came["name"], "web \u{e9}");
    assert_eq!(came["address"], listens["address"]);
    assert_eq!(listens["address"], server.addresses()[0].to_string());
}

#[test]
fn those_that_are_passed_are_served_beside_the_addresses_that_are_named() {
    let name = "those_that_are_passed_are_served_beside_the_addresses_that_are_named";
    if skip_unless(name, PYTHON) {
        return;
    }
    for launch in [
        passes("tcp=a,dual=b", &["127.0.0.1:0"]),
        passes("tcp=a,dual=b", &[]).env("EDGELOOP_ADDRESS", "127.0.0.1:0"),
    ] {
        let mut server =
            launch.args(&["--max-connections", "1M", "-v"]).descriptors(64).listeners(3).start();
        let [first, second, named] = server.addresses()[..] else { panic!("three") };
        assert!(first.is_ipv4() && second.is_ipv6() && named.is_ipv4());
        expect_echoes(&server);
        // Each of the three takes a descriptor from the connections, like those that are named.
        let other = edgeloop(&["serve", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"])
            .args(&["--max-connections", "1M", "-v"])
            .descriptors(64)
            .listeners(3)
            .start();
        let cap = |server: &Server| {
            let line = server.log().expect_line("--max-connections 1000000 lowered to");
            let (_, cap) = line.split_once("lowered to ").expect("a number");
            cap.split(':').next().and_then(|cap| cap.parse::<usize>().ok()).expect("a number")
        };
        // Those that were open before the loop was made are counted twice, which is safe.
        let (passed, named) = (cap(&server), cap(&other));
        assert!((named - 2..=named).contains(&passed), "{passed}, {named}");
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code_within(PATIENCE), 0);
    }
}

#[test]
fn c26_an_address_that_a_passed_socket_serves_is_listened_on_by_it() {
    let (listener, address) = listener();
    // As a unit of a service names it, which is then started by a socket.
    let server = passed(&listener, &[&address.to_string()]).start();
    assert_eq!(server.addresses(), [address]);
    expect_echoes(&server);
    drop(server);

    let wide = TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = wide.local_addr().expect("its address").port();
    let named = format!("127.0.0.1:{port}");
    let server = passed(&wide, &[&named]).listeners(2).start();
    assert_eq!(server.addresses()[1].to_string(), named);
    expect_echoes(&server);
    drop(server);

    // In use by somebody else.
    let ended = passed(&listener, &[&named]).run();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("cannot listen on {named}: Address already in use")));
}

#[test]
fn c26_a_passed_socket_of_ipv6_serves_an_address_of_ipv4_only_if_it_accepts_both() {
    let bound = |ipv6_only| {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let (family, kind) = (AddressFamily::INET6, SocketType::STREAM);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None).expect("a socket");
        sockopt::set_ipv6_v6only(&socket, ipv6_only).expect("it is not bound");
        bind(&socket, &any).expect("a port");
        listen(&socket, 16).expect("it is bound");
        let listener = TcpListener::from(socket);
        let port = listener.local_addr().expect("its address").port();
        (listener, SocketAddr::from(([127, 0, 0, 1], port)))
    };
    let (dual, named) = bound(false);
    let server = passed(&dual, &[&named.to_string()]).listeners(2).start();
    assert_eq!(server.addresses()[1], named);
    expect_echoes(&server);
    drop(server);

    let (_holder, alone, named) = eventually_some("the port is free for IPv4, too", || {
        let (alone, named) = bound(true);
        TcpListener::bind(named).ok().map(|holder| (holder, alone, named))
    });
    let ended = passed(&alone, &[&named.to_string(), "--ipv6-only"]).run();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("{named}: Address already in use")), "{}", ended.stderr);
}

#[test]
fn a_client_that_connected_before_the_program_was_started_is_served() {
    let (listener, address) = listener();
    let peers: Vec<Peer> = (0..3).map(|_| Peer::connect(address)).collect();
    for peer in &peers {
        peer.send(b"early");
    }
    let _server = passed(&listener, &[]).start();
    for peer in &peers {
        peer.expect(b"early");
        peer.expect_echo(b"and on");
    }
}

#[test]
fn c20_what_is_passed_becomes_close_on_exec_and_non_blocking() {
    let (listener, address) = listener();
    let server = passed(&listener, &[]).start();
    let socket = format!("socket:[{}]", inode_of(address).expect("it listens"));
    let descriptors = server.process().descriptors();
    let ours: Vec<_> = descriptors.iter().filter(|one| one.target == socket).collect();
    let [passed] = ours[..] else { panic!("{descriptors:?}") };
    assert_eq!(passed.number, 3);
    assert!(passed.is_close_on_exec() && passed.is_non_blocking(), "{passed:?}");
}

#[test]
fn c37_what_comes_to_a_passed_socket_during_a_drain_is_served_by_the_next_program() {
    let (listener, address) = listener();
    let mut first = passed(&listener, &["--drain-timeout", "60s"]).start();
    let stays = Peer::connect(address);
    stays.expect_echo(b"hello");
    first.signal(Signal::TERM);
    eventually("it listens no more", || {
        stays.expect_echo(b"tick");
        !holds(first.process(), address)
    });
    let waits = Peer::connect(address);
    waits.send(b"whom it may concern");
    // Whoever is quiet in a drain gets its end soon, which is as good.
    stays.half_close();
    stays.expect_eof();
    assert_eq!(first.exit_code_within(PATIENCE), 0);
    let second = passed(&listener, &[]).start();
    waits.expect(b"whom it may concern");
    assert!(holds(second.process(), address));
    waits.expect_echo(b"and on");
}

#[test]
fn c37_no_client_of_a_passed_socket_is_lost_while_one_program_follows_another() {
    let (listener, address) = listener();
    let served = Arc::new(AtomicUsize::new(0));
    let ends = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (served, ends) = (Arc::clone(&served), Arc::clone(&ends));
            thread::spawn(move || {
                while !ends.load(Ordering::Relaxed) {
                    let peer = Peer::connect(address);
                    peer.send(b"all of it");
                    peer.half_close();
                    assert_eq!(peer.receive_to_end(), b"all of it");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..3 {
        let mut server = passed(&listener, &[]).start();
        let before = served.load(Ordering::Relaxed);
        eventually("it serves", || served.load(Ordering::Relaxed) > before + 20);
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code_within(PATIENCE), 0);
    }
    ends.store(true, Ordering::Relaxed);
    let _last = passed(&listener, &[]).start();
    for client in clients {
        client.join().expect("everything came back");
    }
}

#[test]
fn c27_what_is_passed_and_does_not_listen_is_named_in_one_line_with_what_it_is() {
    let name = "c27_what_is_passed_and_does_not_listen_is_named_in_one_line_with_what_it_is";
    if skip_unless(name, PYTHON) {
        return;
    }
    for (kind, is) in [
        ("fresh", "a socket that neither listens nor is connected"),
        ("connected", "a connected TCP or Unix socket"),
        ("udp", "a UDP socket that is not bound"),
        ("udp6", "a UDP socket that is not bound"),
        ("unixgram", "a Unix datagram socket"),
        ("unixseq", "a socket that is no stream"),
        ("netlink", "a socket that is no stream"),
        ("file", "a file"),
        ("directory", "a directory"),
        ("device", "a device"),
        ("pipe", "a pipe"),
        ("epoll", "no socket"),
        ("closed", "not open"),
    ] {
        let ended = passes(&format!("tcp=good,{kind}=bad\x1b"), &["127.0.0.1:0"]).run();
        assert_eq!(ended.code, Some(2), "{kind}: {}", ended.stderr);
        let line = format!(
            "cannot listen on descriptor 4 of LISTEN_FDS (bad\\u{{1b}}): it is {is}, not a \
             listening TCP or Unix socket\n"
        );
        assert!(ended.stderr.ends_with(&line), "{kind}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    let ended = passes("udp", &[]).run();
    let begin = "cannot listen on descriptor 3 of LISTEN_FDS: it is";
    assert!(ended.stderr.contains(begin), "{}", ended.stderr);
}

#[test]
fn c27_more_than_are_passed_is_told_by_the_first_that_is_missing() {
    let (listener, _) = listener();
    let ended = passed(&listener, &[]).shell("export LISTEN_FDS=1048576; exec 4<&-").run();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let line = "cannot listen on descriptor 4 of LISTEN_FDS: it is not open, not a listening TCP";
    assert!(ended.stderr.contains(line), "{}", ended.stderr);
    for (count, is) in [("abc", "abc"), ("1048577", "1048577"), ("-1", "-1")] {
        let ended = passed(&listener, &[]).shell(&format!("export LISTEN_FDS={count}")).run();
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        let line = format!("edgeloop: invalid value '{is}' for LISTEN_FDS: expected the number");
        assert!(ended.stderr.starts_with(&line), "{}", ended.stderr);
    }
}

#[test]
fn what_is_passed_to_another_process_is_left_alone() {
    let (listener, address) = listener();
    let waits = Peer::connect(address);
    for (pid, is) in [("1", "1, and this is process "), ("", "not set")] {
        let mut server =
            passed(&listener, &["127.0.0.1:0"]).shell(&format!("export LISTEN_PID={pid}")).start();
        assert_eq!(server.addresses().len(), 1);
        assert_ne!(server.address(), address);
        let line = server.log().expect_line("LISTEN_FDS is ignored: LISTEN_PID is");
        assert!(line.contains("WARN") && line.contains(is), "{line}");
        expect_echoes(&server);
        server.signal(Signal::TERM);
        assert_eq!(server.exit_code_within(PATIENCE), 0);
    }
    // It is still the other's, and so is whoever waits.
    let _server = passed(&listener, &[]).start();
    waits.expect_echo(b"hello");
}

#[test]
fn systemd_passes_sockets_that_it_listened_on_before() {
    if skip_unless("systemd_passes_sockets_that_it_listened_on_before", SOCKET_ACTIVATE) {
        return;
    }
    // It takes no port 0, and one that was free can be taken by another test meanwhile.
    let (mut server, addresses) = eventually_some("two ports are free", || {
        let addresses = [listener(), listener()].map(|(_, address)| address);
        let [one, other] = addresses.map(|address| address.to_string());
        let mut server = Launch::new("systemd-socket-activate")
            .args(&["-l", &one, "-l", &other, "--fdname", "one:two", &program(), "serve"])
            .start_mute();
        eventually("it listens or has ended", || {
            !server.is_running() || addresses.iter().all(|&one| holds(server.process(), one))
        });
        server.is_running().then_some((server, addresses))
    });
    // It becomes the program when somebody connects.
    let peers = addresses.map(Peer::connect);
    for peer in &peers {
        peer.expect_echo(b"hello");
    }
    let name = fs::read_to_string(format!("/proc/{}/comm", server.pid())).expect("it runs");
    assert_eq!(name.trim(), "edgeloop");
    drop(peers);
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 0);
    for address in addresses {
        assert!(Peer::try_connect(address).is_err(), "nobody else holds it open");
    }
}
