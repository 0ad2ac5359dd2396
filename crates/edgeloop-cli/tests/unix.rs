//! `serve` on Unix sockets: its files, its lines, and its ends.

mod serve;

use std::fs;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::{Signal, getegid, geteuid};
use serde_json::Value;
use serve::{edgeloop, expect_backlog_served, program};
use tempfile::TempDir;
use testkit::{
    Launch, PATIENCE, Peer, SETPRIV, SOCKET_ACTIVATE, Server, Stream, eventually, skip_unless,
};

/// A folder of its own with a path in it at which nothing is.
struct Place {
    folder: TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("echo.sock");
        Self { folder, path }
    }

    /// As it stands on the command line.
    fn address(&self) -> String {
        format!("unix:{}", self.path.display())
    }

    fn server(&self, options: &[&str]) -> Launch {
        edgeloop(&["serve", &self.address()]).args(options)
    }

    /// Whether its file is there.
    fn is_there(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }
}

/// A name without a file that no other test has.
fn name(test: &str) -> String {
    format!("edgeloop-serve-{}-{test}", std::process::id())
}

#[track_caller]
fn connect_to_name(name: &str) -> Peer {
    let address = SocketAddr::from_abstract_name(name).expect("a name");
    let stream = UnixStream::connect_addr(&address).expect("somebody listens there");
    Peer::over_unix(stream).expect("a socket")
}

/// The start failed with this line, and exit code 2.
#[track_caller]
fn expect_refused(launch: Launch, line: &str) {
    let ended = launch.run();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.ends_with(&format!("{line}\n")), "{line}\n{}", ended.stderr);
}

#[track_caller]
fn end(server: &mut Server) -> i32 {
    server.signal(Signal::TERM);
    server.exit_code_within(PATIENCE)
}

#[test]
fn addresses_of_all_kinds_are_served_by_one_server() {
    let place = Place::new();
    let name = name("kinds");
    let abstract_address = format!("unix:@{name}");
    let mut server = edgeloop(&["serve", &place.address(), "127.0.0.1:0"])
        .args(&[&abstract_address, "tcp://127.0.0.1:0"])
        .listeners(4)
        .start();
    let lines = server.log().lines_with("listening on ");
    assert!(lines[0].ends_with(&format!(" INFO listening on {}", place.address())), "{lines:?}");
    assert!(lines[1].contains(" INFO listening on 127.0.0.1:"), "{lines:?}");
    assert!(lines[2].ends_with(&format!(" INFO listening on {abstract_address}")), "{lines:?}");
    assert!(lines[3].contains(" INFO listening on 127.0.0.1:"), "{lines:?}");
    let [one, other] = server.addresses() else { panic!("two of TCP") };
    for peer in [
        Peer::connect_unix(&place.path),
        Peer::connect(*one),
        connect_to_name(&name),
        Peer::connect(*other),
    ] {
        peer.expect_echo(b"hello");
    }
    assert_eq!(end(&mut server), 0);
    assert!(server.log().text().contains(" accepted=4 ended=4 "), "{}", server.log().text());
}

#[test]
fn addresses_of_the_environment_are_separated_by_commas_and_blanks() {
    let places = [Place::new(), Place::new()];
    let listed = format!("{},127.0.0.1:0 {}", places[0].address(), places[1].address());
    let _server = edgeloop(&["serve"]).env("EDGELOOP_ADDRESS", &listed).listeners(3).start();
    for place in &places {
        Peer::connect_unix(&place.path).expect_echo(b"hello");
    }
}

#[test]
fn c34_whatever_is_in_a_path_is_served_and_shown_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let odd = folder.path().join("a, b:[c]\n\x1b[2J\u{202e}");
    let server = edgeloop(&["serve", &format!("unix:{}", odd.display())]).start();
    Peer::connect_unix(&odd).expect_echo(b"hello");
    let line = server.log().expect_line("listening on ");
    let shown = format!("{}/a, b:[c]\\u{{a}}\\u{{1b}}[2J\\u{{202e}}", folder.path().display());
    assert!(line.ends_with(&format!("listening on unix:{shown}")), "{line}");
    // Not in UTF-8.
    let path = folder.path().display();
    let export = format!("export EDGELOOP_ADDRESS=\"unix:{path}/$(printf '\\377')\"");
    let server = edgeloop(&["serve", "--log-format=json"]).shell(&export).start();
    let line: Value =
        serde_json::from_str(&server.log().expect_line("listening on ")).expect("an object");
    assert_eq!(line["address"], format!("unix:{path}/\\xff"));
    assert_eq!(line["message"], format!("listening on unix:{path}/\\xff"));
}

#[test]
fn c48_a_server_that_was_killed_is_followed_by_the_next() {
    let place = Place::new();
    let server = place.server(&[]).start();
    Peer::connect_unix(&place.path).expect_echo(b"hello");
    // Kills it.
    drop(server);
    assert!(place.is_there(), "nobody could remove it");
    let error = UnixStream::connect(&place.path).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    let mut server = place.server(&[]).start();
    Peer::connect_unix(&place.path).expect_echo(b"hello again");
    assert_eq!(end(&mut server), 0);
    assert!(!place.is_there());
}

#[test]
fn c48_of_two_servers_at_one_path_the_first_serves_on() {
    let place = Place::new();
    let mut server = place.server(&[]).start();
    let peer = Peer::connect_unix(&place.path);
    peer.expect_echo(b"before");
    let before = fs::symlink_metadata(&place.path).expect("a file").ino();
    let line = format!(
        "ERROR cannot listen on {}: Address already in use (os error 98) in bind; 'ss -lxp' shows \
         who listens there",
        place.address()
    );
    expect_refused(place.server(&[]), &line);
    peer.expect_echo(b"after");
    assert_eq!(fs::symlink_metadata(&place.path).expect("a file").ino(), before);
    Peer::connect_unix(&place.path).expect_echo(b"newcomers, too");
    drop(peer);
    assert_eq!(end(&mut server), 0);
    let name = name("twice");
    let address = format!("unix:@{name}");
    let _server = edgeloop(&["serve", &address]).start();
    let line = format!(
        "ERROR cannot listen on {address}: Address already in use (os error 98) in bind; 'ss -lxp' \
         shows who listens there"
    );
    expect_refused(edgeloop(&["serve", &address]), &line);
    connect_to_name(&name).expect_echo(b"hello");
}

#[test]
fn c48_the_mode_and_the_owner_are_as_asked_for() {
    let place = Place::new();
    let mode = || fs::symlink_metadata(&place.path).expect("a file").permissions().mode() & 0o7777;
    for (asked, is) in [("0660", 0o660), ("600", 0o600), ("0", 0), ("777", 0o777)] {
        let launch = place.server(&["--unix-mode", asked]);
        let _server = launch.shell("umask 077").start();
        assert_eq!(mode(), is);
    }
    let launch = place.server(&[]).env("EDGELOOP_UNIX_MODE", "0620");
    let server = launch.start();
    assert_eq!(mode(), 0o620);
    drop(server);
    let (user, group) = (geteuid().as_raw().to_string(), getegid().as_raw().to_string());
    let own = [format!("{user}:{group}"), user, format!(":{group}")];
    for asked in &own {
        let _server = place.server(&["--unix-owner", asked]).start();
        let file = fs::symlink_metadata(&place.path).expect("a file");
        assert_eq!((file.uid(), file.gid()), (geteuid().as_raw(), getegid().as_raw()));
    }
    if geteuid().is_root() {
        let _server =
            place.server(&["--unix-owner", "daemon:65533", "--unix-mode", "0600"]).start();
        let file = fs::symlink_metadata(&place.path).expect("a file");
        assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (1, 65533, 0o600));
    }
}

#[test]
fn a_user_that_does_not_exist_ends_the_start() {
    let place = Place::new();
    expect_refused(
        place.server(&["--unix-owner", "no-such-user"]),
        "ERROR --unix-owner: cannot find user 'no-such-user': no user has this name ('getent \
         passwd' lists them)",
    );
    expect_refused(
        place.server(&["--unix-owner", ":no-such-group"]),
        "ERROR --unix-owner: cannot find group 'no-such-group': no group has this name ('getent \
         group' lists them)",
    );
    assert!(!place.is_there());
}

#[test]
fn c27_what_is_wrong_with_a_path_is_one_line_and_nothing_is_lost() {
    let place = Place::new();
    let folder = place.folder.path();
    let address = |path: &Path| format!("unix:{}", path.display());
    fs::write(&place.path, "precious").expect("a file");
    let line = format!(
        "ERROR cannot listen on {}: a file that is not a socket has this path in bind; it is left \
         alone",
        place.address()
    );
    expect_refused(place.server(&[]), &line);
    assert_eq!(fs::read(&place.path).expect("it is there"), b"precious");
    let missing = address(&folder.join("no/such"));
    let line = format!(
        "ERROR cannot listen on {missing}: No such file or directory (os error 2) in bind; its \
         directory does not exist"
    );
    expect_refused(edgeloop(&["serve", &missing]), &line);
    let below = address(&place.path.join("x"));
    let line = format!("ERROR cannot listen on {below}: Not a directory (os error 20) in bind");
    expect_refused(edgeloop(&["serve", &below]), &line);
    let long = folder.join("x".repeat(200));
    let line = format!(
        "edgeloop: invalid value '{}' for ADDRESS: a Unix socket's path has at most 107 bytes, not \
         {}",
        address(&long),
        long.as_os_str().len()
    );
    expect_refused(edgeloop(&["serve", &address(&long)]), &line);
    // Written in one way and in another.
    let name = folder.file_name().expect("a name");
    let [twice, again] = [folder.join("twice"), folder.join("..").join(name).join("twice")];
    for other in [&twice, &again] {
        let line = format!(
            "ERROR cannot listen on {}: Address already in use (os error 98) in bind; it was given \
             twice",
            address(other)
        );
        expect_refused(edgeloop(&["serve", &address(&twice), &address(other)]), &line);
    }
    assert!(!twice.exists(), "it was ours");
}

#[test]
fn c27_a_path_that_is_not_for_this_user_is_one_line() {
    if skip_unless("c27_a_path_that_is_not_for_this_user_is_one_line", SETPRIV) {
        return;
    }
    let place = Place::new();
    let permit = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(place.folder.path(), mode).expect("it is ours");
    };
    let nobody = || place.server(&[]).shell(r#"exec setpriv --reuid 65534 --clear-groups "$@""#);
    let expect = |what: &str| {
        expect_refused(nobody(), &format!("ERROR cannot listen on {}: {what}", place.address()));
    };
    permit(0o755);
    expect(
        "Permission denied (os error 13) in bind; a socket's file needs the right to write to its \
         directory",
    );
    // As /tmp is: each may only remove what is his own.
    permit(0o1777);
    let listener = UnixListener::bind(&place.path).expect("a free path");
    fs::set_permissions(&place.path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    expect("Permission denied (os error 13) in connect; the socket there is another user's");
    fs::set_permissions(&place.path, fs::Permissions::from_mode(0o666)).expect("it is ours");
    drop(listener);
    expect(
        "Operation not permitted (os error 1) in unlink; nobody listens there, but its file is \
         another user's",
    );
    assert!(place.is_there());
    fs::remove_file(&place.path).expect("it is there");
    let launch = place.server(&["--unix-owner", "0"]);
    let line = "Operation not permitted (os error 1) in fchownat; giving a file away takes \
                CAP_CHOWN";
    let line = format!("ERROR cannot listen on {}: {line}", place.address());
    expect_refused(launch.shell(r#"exec setpriv --reuid 65534 --clear-groups "$@""#), &line);
    assert!(!place.is_there(), "what can't be had as asked for is not left behind");
}

#[test]
fn options_of_files_are_said_to_have_no_effect_without_one() {
    let options = ["--unix-mode", "0600", "--unix-owner", "0"];
    let abstract_address = format!("unix:@{}", name("no-effect"));
    for address in ["127.0.0.1:0", &abstract_address] {
        let server = edgeloop(&["serve", address]).args(&options).start();
        for option in ["--unix-mode", "--unix-owner"] {
            let words = format!("WARN {option} has no effect: no address is unix:PATH");
            server.log().expect_line(&words);
        }
    }
    let place = Place::new();
    let server = place.server(&["--unix-mode", "0600"]).start();
    assert!(!server.log().text().contains("WARN"), "{}", server.log().text());
}

#[test]
fn c49_the_log_tells_who_has_connected() {
    let place = Place::new();
    let server = edgeloop(&["serve", &place.address(), "127.0.0.1:0", "-v"]).listeners(2).start();
    Peer::connect_unix(&place.path).expect_echo(b"hello");
    let line = server.log().expect_line("opened");
    let (pid, user, group) = (std::process::id(), geteuid().as_raw(), getegid().as_raw());
    let who = format!(" peer=unix pid={pid} uid={user} gid={group}");
    assert!(line.ends_with(&who), "{line}");
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    let line = server.log().expect_line(&format!(" peer={}", peer.address()));
    assert!(line.contains("opened") && line.ends_with(&peer.address().to_string()), "{line}");
}

#[test]
fn c48_a_drain_under_load_removes_the_file_and_loses_nothing() {
    const CLIENTS: usize = 16;
    let place = Place::new();
    let mut server = place.server(&["--drain-timeout", "60s"]).start();
    let (echoed, ends) = (AtomicUsize::new(0), AtomicBool::new(false));
    let begin = Barrier::new(CLIENTS + 1);
    let gone = thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (place, echoed, ends, begin) = (&place, &echoed, &ends, &begin);
            scope.spawn(move || {
                let peer = Peer::connect_unix(&place.path);
                let mut stream = Stream::new(number as u64);
                begin.wait();
                while !ends.load(Ordering::Relaxed) {
                    peer.expect_echo(&stream.take(20_000));
                    echoed.fetch_add(1, Ordering::Relaxed);
                }
                peer.half_close();
                peer.expect_eof();
            });
        }
        begin.wait();
        eventually("the load runs", || echoed.load(Ordering::Relaxed) > 10 * CLIENTS);
        server.signal(Signal::TERM);
        eventually("the file is removed", || !place.is_there());
        let gone = echoed.load(Ordering::Relaxed);
        eventually("the load goes on", || echoed.load(Ordering::Relaxed) > gone + 10 * CLIENTS);
        assert!(UnixStream::connect(&place.path).is_err());
        ends.store(true, Ordering::Relaxed);
        gone
    });
    assert_eq!(server.exit_code_within(PATIENCE), 0);
    let bytes = 20_000 * echoed.load(Ordering::Relaxed);
    assert!(bytes > 20_000 * gone);
    let totals = format!("bytes_in={bytes} bytes_out={bytes} bytes_dropped=0");
    assert!(server.log().text().contains(&totals), "{totals}\n{}", server.log().text());
}

#[test]
fn c37_who_waits_in_the_backlog_of_a_unix_socket_is_served() {
    let place = Place::new();
    let mut server = place.server(&[]).start();
    expect_backlog_served(&mut server, || Peer::connect_unix(&place.path));
    assert!(!place.is_there());
}

#[test]
fn c48_every_end_that_the_program_sees_removes_the_file() {
    for (second, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let place = Place::new();
        let mut server = place.server(&["--drain-timeout", "none"]).start();
        let peer = Peer::connect_unix(&place.path);
        peer.expect_echo(b"hello");
        server.signal(Signal::HUP);
        assert_eq!(server.exit_code_of_signals(second, PATIENCE), code);
        assert!(!place.is_there());
    }
    // At once.
    let place = Place::new();
    let mut server = place.server(&["--drain-timeout", "0"]).start();
    let peer = Peer::connect_unix(&place.path);
    peer.expect_echo(b"hello");
    assert_eq!(end(&mut server), 1);
    assert!(!place.is_there());
    // The start failed behind the first of two addresses.
    let other = Place::new();
    fs::write(&other.path, "not a socket").expect("a file");
    let ended = edgeloop(&["serve", &place.address(), &other.address()]).run();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(!place.is_there());
}

#[test]
fn c48_what_has_taken_the_place_of_our_file_is_left_alone() {
    let place = Place::new();
    let mut server = place.server(&[]).start();
    fs::remove_file(&place.path).expect("it is there");
    let mut next = place.server(&[]).start();
    assert_eq!(end(&mut server), 0);
    assert!(fs::symlink_metadata(&place.path).expect("its file").file_type().is_socket());
    Peer::connect_unix(&place.path).expect_echo(b"hello");
    assert_eq!(end(&mut next), 0);
    assert!(!place.is_there());
}

/// A server to which a listening socket of the test is passed.
fn passed(listener: &UnixListener, arguments: &[&str]) -> Launch {
    edgeloop(&["serve"])
        .args(arguments)
        .stdin(listener.try_clone().expect("a descriptor"))
        .shell("exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$")
}

#[test]
fn c48_the_file_of_a_socket_that_was_passed_in_stays() {
    let place = Place::new();
    let listener = UnixListener::bind(&place.path).expect("a free path");
    let mut server = passed(&listener, &["-v"]).start();
    server.log().expect_line(&format!("listening on {}", place.address()));
    server.log().expect_line(&format!("passed in address={} descriptor=3", place.address()));
    Peer::connect_unix(&place.path).expect_echo(b"hello");
    assert_eq!(end(&mut server), 0);
    assert!(place.is_there(), "it is not ours");
    // Who connects meanwhile is served by the next.
    let peer = Peer::connect_unix(&place.path);
    peer.send(b"early");
    // Named too, it is the same socket, and nobody sees a client that nobody is.
    let mut server = passed(&listener, &[&place.address()]).start();
    peer.expect(b"early");
    drop(peer);
    assert_eq!(end(&mut server), 0);
    assert!(server.log().text().contains(" accepted=1 "), "{}", server.log().text());
    assert!(place.is_there());
}

#[test]
fn systemd_passes_unix_sockets() {
    if skip_unless("systemd_passes_unix_sockets", SOCKET_ACTIVATE) {
        return;
    }
    let place = Place::new();
    let path = place.path.to_str().expect("a path in UTF-8");
    let mut server = Launch::new("systemd-socket-activate")
        .args(&["-l", path, "-l", &format!("{path}.2"), &program(), "serve"])
        .start_mute();
    let listens = |path: &str| UnixStream::connect(path).is_ok();
    eventually("it listens", || listens(&format!("{path}.2")));
    Peer::connect_unix(&place.path).expect_echo(b"hello");
    Peer::connect_unix(format!("{path}.2")).expect_echo(b"hello");
    assert_eq!(end(&mut server), 0);
}
