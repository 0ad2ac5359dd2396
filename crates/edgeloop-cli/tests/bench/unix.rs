//! Runs against Unix sockets: all modes, what the results say, and what goes wrong.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use tempfile::TempDir;
use testkit::{PATIENCE, SETPRIV, Server, skip_unless};

use crate::run::{Bench, DONE, NETWORK_ERRORS, Ran, USAGE};
use crate::serve::edgeloop;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("socket")
    }

    fn address(&self) -> String {
        format!("unix:{}", self.path().display())
    }
}

fn serve(address: &str) -> Server {
    edgeloop(&["serve", address, "-v"]).start()
}

#[track_caller]
fn bench(address: &str, options: &str) -> Ran {
    Bench::of(address, options).run()
}

/// A name without a file that no other test has.
fn name(test: &str) -> String {
    format!("unix:@edgeloop-{}-{test}", std::process::id())
}

#[test]
fn a_hundred_thousand_round_trips_come_back_as_they_were_sent() {
    let folder = Folder::new();
    for address in [folder.address(), name("round-trips")] {
        let mut server = serve(&address);
        let ran = bench(&address, "-c 20 -n 100k --size 100 --grace 20s");
        ran.expect_all_answered().expect_messages(100_000, 0);
        assert_eq!(ran.number("/verify/checked"), 10_000_000);
        assert_eq!(ran.at("/target/asked"), address.as_str());
        assert_eq!(ran.at("/target/addresses"), &serde_json::json!([address]));
        assert_eq!(ran.at("/target/connections"), &serde_json::json!({ &address: 20 }));
        assert_eq!(ran.at("/target/sources"), &serde_json::json!([]));
        ran.expect_said(&format!("{address}: 20 connections"));
        server.signal(rustix::process::Signal::TERM);
        assert_eq!(server.exit_code_within(PATIENCE), 0);
        assert!(server.log().text().contains("bytes_in=10000000 bytes_out=10000000"));
    }
}

#[test]
fn a_unix_socket_is_loaded_in_every_mode() {
    let folder = Folder::new();
    let address = folder.address();
    let _server = serve(&address);
    for (options, mode) in [
        ("-c 10 -n 1000 --pipeline 4 -t 2", "closed"),
        ("-c 10 -r 1k -d 300ms", "open"),
        ("-c 10 --profile 500:200ms,1000:200ms", "open"),
        ("-c 10 --connect-per-message -n 300", "connect"),
        ("-c 10 --connect-per-message -r 500 -d 300ms", "connect"),
        ("--hold 500 -r 1k -d 300ms", "hold"),
        ("--hold 100 --open-rate 1k -n 100", "hold"),
    ] {
        let ran = bench(&address, &format!("{options} --grace 20s"));
        ran.expect_all_answered();
        assert_eq!(ran.at("/options/mode"), mode, "{options}");
        assert!(ran.number("/messages") >= 100, "{options}: {}", ran.summary);
    }
    let ran = bench(&address, "--stream --verify -c 2 -d 300ms --grace 20s");
    ran.expect_exit(DONE).expect_errors(&[]).expect_wrong(0, 0, 0);
    assert!(ran.number("/verify/checked") > 1_000_000, "{}", ran.summary);
}

#[test]
fn addresses_of_several_kinds_are_taken_in_turn() {
    let folder = Folder::new();
    let (path, name) = (folder.address(), name("kinds"));
    let server = edgeloop(&["serve", "127.0.0.1:0", &path, &name]).listeners(3).start();
    let tcp = server.address().to_string();
    let ran = bench(&tcp, &format!("{path} {name} -c 10 -n 100 --grace 20s"));
    ran.expect_all_answered().expect_messages(100, 0);
    assert_eq!(ran.at("/target/asked"), &format!("{tcp} {path} {name}"));
    assert_eq!(ran.at("/target/addresses"), &serde_json::json!([tcp, path, name]));
    let counts = serde_json::json!({ &tcp: 4, &path: 3, &name: 3 });
    assert_eq!(ran.at("/target/connections"), &counts);
    ran.expect_said(&format!("{path} (3 connections)"));
    let ran = bench(&path, &format!("{tcp} -c 2 -n 40 --connect-per-message --grace 20s"));
    ran.expect_all_answered().expect_messages(40, 0);
    assert_eq!(ran.at("/target/connections"), &serde_json::json!({ &tcp: 20, &path: 20 }));
}

#[test]
fn the_page_names_a_unix_socket() {
    let folder = Folder::new();
    let _server = serve(&folder.address());
    let page = folder.0.path().join("page.html");
    let page = page.to_str().expect("a path in UTF-8");
    let ran = Bench::of(&folder.address(), "-c 2 -n 100").with(&["--report", page]).run();
    ran.expect_all_answered();
    let text = fs::read_to_string(page).expect("a page");
    assert!(text.contains(&folder.address()), "{text}");
}

#[test]
fn errors_of_connecting_are_told_apart() {
    let folder = Folder::new();
    let address = folder.address();
    let nothing = |ran: &Ran| {
        ran.expect_exit(NETWORK_ERRORS).expect_messages(0, 0);
        assert_eq!(ran.at("/ended"), "no_connection");
    };
    let ran = bench(&address, "-c 3 -d 10s");
    nothing(ran.expect_errors(&["other"]));
    ran.expect_said("3 other (3 No such file or directory (os error 2))");
    let ran = bench(&name("errors"), "-c 3 -d 10s");
    nothing(ran.expect_errors(&["refused"]).expect_said("3 refused"));
    drop(UnixListener::bind(folder.path()).expect("a free path"));
    let ran = bench(&address, "-c 3 -d 10s");
    nothing(ran.expect_errors(&["refused"]).expect_said("3 refused"));
    if skip_unless("errors_of_connecting_are_told_apart", SETPRIV) {
        return;
    }
    fs::remove_file(folder.path()).expect("it is there");
    let _server = edgeloop(&["serve", &address, "--unix-mode", "0600"]).start();
    let ran = edgeloop(&["bench", &address, "-c", "3"])
        .shell(r#"exec setpriv --reuid 65534 --clear-groups "$@""#)
        .run();
    assert_eq!(ran.code, Some(NETWORK_ERRORS), "{}{}", ran.stdout, ran.stderr);
    let said = "3 other (3 Permission denied (os error 13))";
    assert!(ran.stdout.contains(said), "{}", ran.stdout);
}

/// A listener that has room for one connection that is not accepted.
fn narrow(path: &Path) -> UnixListener {
    let (family, kind, flags) = (AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC);
    let socket = socket_with(family, kind, flags, None).expect("a socket");
    bind(&socket, &SocketAddrUnix::new(path).expect("a path")).expect("a free path");
    listen(&socket, 0).expect("it is bound");
    socket.into()
}

#[test]
fn a_full_backlog_is_waited_for_as_long_as_a_connect_may_take() {
    let folder = Folder::new();
    let address = folder.address();
    let listener = narrow(&folder.path());
    let ran = bench(&address, "-c 3 -d 300ms --connect-timeout 200ms --grace 100ms");
    ran.expect_exit(NETWORK_ERRORS).expect_errors(&["timed_out"]).expect_messages(0, 1);
    assert!(ran.number("/errors/timed_out") >= 2, "{}", ran.summary);
    drop(listener);

    fs::remove_file(folder.path()).expect("it is there");
    let listener = narrow(&folder.path());
    // It accepts one connection after the other, which takes its time.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || io::copy(&mut &stream, &mut &stream));
            thread::sleep(Duration::from_millis(5));
        }
    });
    let ran = bench(&address, "-c 20 -n 1000 --grace 20s");
    ran.expect_all_answered().expect_messages(1000, 0);
}

#[test]
fn options_of_ip_are_refused_for_a_unix_socket() {
    let ran = edgeloop(&["bench", "unix:/x", "--source", "127.0.0.1"]).run();
    assert_eq!(ran.code, Some(USAGE), "{}", ran.stderr);
    let line = "edgeloop: cannot use --source 127.0.0.1 for unix:/x: a Unix socket is connected to \
                without an IP address\n";
    assert_eq!(ran.stderr, line);
}
