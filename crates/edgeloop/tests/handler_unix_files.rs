//! The files of Unix sockets that listen: whose they are, and when they come and go.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use common::{Echo, Running, Script};
use edgeloop::{Error, ErrorKind, EventLoop, ListenOptions, Stop, UnixAddress};
use tempfile::TempDir;
use testkit::{PATIENCE, Peer, eventually};

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    (folder, path)
}

fn address(path: &Path) -> UnixAddress {
    UnixAddress::path(path).expect("a path")
}

/// A loop that does not run.
fn listens(path: &Path, options: &ListenOptions) -> Result<EventLoop<Echo>, Error> {
    let mut event_loop = EventLoop::new(Echo).expect("a loop");
    event_loop.listen_with(address(path), options)?;
    Ok(event_loop)
}

fn start(path: &Path) -> Running {
    let address = address(path);
    Script::new().without_listener().start_after(|event_loop| {
        event_loop.listen(&address).expect("a free path");
    })
}

/// What a server that was killed leaves behind.
fn leave_behind(path: &Path) {
    drop(UnixListener::bind(path).expect("a free path"));
    assert!(fs::symlink_metadata(path).expect("a file").file_type().is_socket());
}

#[track_caller]
fn expect_in_use(path: &Path) {
    let error = listens(path, &ListenOptions::new()).expect_err("it is in use");
    assert_eq!(error.kind(), ErrorKind::Listen);
    let line = format!(
        "cannot listen on unix:{}: Address already in use (os error 98) in bind",
        path.display()
    );
    assert_eq!(error.to_string(), line);
}

#[test]
fn c48_a_file_has_its_mode_whatever_the_umask_is() {
    let (_folder, path) = folder();
    for mode in [0o600, 0o660, 0o666, 0o777, 0] {
        let event_loop = listens(&path, &ListenOptions::new().unix_mode(mode)).expect("it's free");
        let metadata = fs::symlink_metadata(&path).expect("a file");
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{mode:o}");
        drop(event_loop);
    }
}

#[test]
fn c48_a_file_has_its_owner_before_anybody_can_connect() {
    let (_folder, path) = folder();
    let own = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    let options = ListenOptions::new().unix_owner(Some(own), Some(group)).unix_mode(0o600);
    let event_loop = listens(&path, &options).expect("it is our own");
    let metadata = fs::symlink_metadata(&path).expect("a file");
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (own, group, 0o600));
    drop(event_loop);
    if own == 0 {
        let options = ListenOptions::new().unix_owner(Some(65534), Some(65534)).unix_mode(0o600);
        let event_loop = listens(&path, &options).expect("root may give it away");
        let metadata = fs::symlink_metadata(&path).expect("a file");
        assert_eq!((metadata.uid(), metadata.gid()), (65534, 65534));
        drop(event_loop);
    } else {
        let options = ListenOptions::new().unix_owner(Some(0), None);
        let error = listens(&path, &options).expect_err("only root may give it away").to_string();
        assert!(error.ends_with("Operation not permitted (os error 1) in fchownat"), "{error}");
        assert!(!path.exists(), "what can't be had as asked for is not left behind");
    }
}

#[test]
fn c48_nobody_gets_in_before_the_mode_holds() {
    let (_folder, path) = folder();
    let both_begin = Barrier::new(2);
    // As soon as it can connect, the mode has to hold.
    let connects = || {
        both_begin.wait();
        let start = Instant::now();
        while let Err(error) = UnixStream::connect(&path) {
            assert!(start.elapsed() < PATIENCE, "nobody listens: {error}");
        }
        fs::symlink_metadata(&path).expect("a file").mode() & 0o777
    };
    for _ in 0..200 {
        thread::scope(|scope| {
            let client = scope.spawn(connects);
            both_begin.wait();
            let options = ListenOptions::new().unix_mode(0o640);
            let _event_loop = listens(&path, &options).expect("it's free");
            // The file stays until the client has looked at it.
            assert_eq!(client.join().expect("no panic"), 0o640);
        });
    }
}

#[test]
fn c48_a_file_that_nobody_serves_is_replaced() {
    let (_folder, path) = folder();
    leave_behind(&path);
    let server = start(&path);
    Peer::connect_unix(&path).expect_echo(b"served");
    server.stop(Stop::Now);
    assert!(!path.exists());
    // Of a socket of another type, too.
    drop(UnixDatagram::bind(&path).expect("a free path"));
    assert!(listens(&path, &ListenOptions::new()).is_ok());
}

#[test]
fn c48_a_file_that_somebody_serves_is_left_alone() {
    let (_folder, path) = folder();
    let server = start(&path);
    let before = fs::symlink_metadata(&path).expect("a file").ino();
    expect_in_use(&path);
    Peer::connect_unix(&path).expect_echo(b"still served");
    assert_eq!(fs::symlink_metadata(&path).expect("a file").ino(), before);
    server.stop(Stop::Now);
    // Whose backlog is full, and whose type is another.
    let listener = UnixListener::bind(&path).expect("a free path");
    rustix::net::listen(&listener, 0).expect("it listens");
    let _waiting = UnixStream::connect(&path).expect("room for one");
    expect_in_use(&path);
    fs::remove_file(&path).expect("it is there");
    let _datagrams = UnixDatagram::bind(&path).expect("a free path");
    expect_in_use(&path);
}

#[test]
fn c48_what_is_no_socket_is_never_touched() {
    let (folder, path) = folder();
    let stale = folder.path().join("stale");
    leave_behind(&stale);
    type Make = fn(&Path, &Path);
    let makes: [(&str, Make); 4] = [
        ("a file", |path, _| fs::write(path, "precious").expect("a file")),
        ("a directory", |path, _| fs::create_dir(path).expect("a directory")),
        ("a link to a socket", |path, stale| symlink(stale, path).expect("a link")),
        ("a link to nothing", |path, _| symlink("nothing", path).expect("a link")),
    ];
    for (what, make) in makes {
        make(&path, &stale);
        let before = fs::symlink_metadata(&path).expect(what);
        let error = listens(&path, &ListenOptions::new()).expect_err(what).to_string();
        let why = "a file that is not a socket has this path in bind";
        assert_eq!(error, format!("cannot listen on unix:{}: {why}", path.display()), "{what}");
        let after = fs::symlink_metadata(&path).expect(what);
        assert_eq!((after.ino(), after.len()), (before.ino(), before.len()), "{what}");
        if before.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) }.expect(what);
    }
    assert!(stale.exists());
    let nowhere = folder.path().join("nowhere/socket");
    let error = listens(&nowhere, &ListenOptions::new()).expect_err("no directory").to_string();
    assert!(error.ends_with("No such file or directory (os error 2) in bind"), "{error}");
}

#[test]
fn c48_at_the_end_our_own_file_is_removed_and_no_other() {
    let (folder, path) = folder();
    // However the listener ends.
    let server = start(&path);
    let own = address(&path);
    assert!(server.ask(move |cx| cx.unlisten(&own.into())));
    assert!(!path.exists(), "when it is closed");
    drop(listens(&path, &ListenOptions::new()).expect("it's free"));
    assert!(!path.exists(), "when a loop is dropped");
    let server = start(&path);
    let client = Peer::connect_unix(&path);
    client.expect_echo(b"hello");
    server.handle().stop(Stop::Drain(Some(Duration::from_secs(5))));
    eventually("it listens no more", || !path.exists());
    client.expect_echo(b"drained");
    client.half_close();
    client.expect_eof();
    server.join();
    // Another one has taken its place.
    let server = start(&path);
    fs::rename(&path, folder.path().join("moved")).expect("it is there");
    fs::write(&path, "another").expect("a file");
    server.stop(Stop::Now);
    assert_eq!(fs::read(&path).expect("it stays"), b"another");
    fs::remove_file(&path).expect("it is there");
    let first = start(&path);
    fs::remove_file(&path).expect("it is there");
    let second = start(&path);
    first.stop(Stop::Now);
    Peer::connect_unix(&path).expect_echo(b"not removed by the first");
    drop(second);
}

#[test]
fn c48_of_many_servers_that_start_at_once_one_serves() {
    const SERVERS: usize = 8;
    let (_folder, path) = folder();
    for round in 0..10 {
        if round % 2 == 0 {
            leave_behind(&path);
        }
        let barrier = Barrier::new(SERVERS);
        let loops: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..SERVERS)
                .map(|_| {
                    scope.spawn(|| {
                        let mut event_loop = EventLoop::new(Echo).expect("a loop");
                        barrier.wait();
                        event_loop.listen(address(&path)).map(|_| event_loop)
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().expect("no panic").ok()).collect()
        });
        assert_eq!(loops.len(), 1, "round {round}");
        assert!(UnixStream::connect(&path).is_ok());
    }
}

#[test]
fn c48_a_locked_directory_is_said_to_be_locked() {
    let (folder, path) = folder();
    let lock = File::open(folder.path()).expect("a directory");
    lock.lock().expect("nobody has it");
    let error = listens(&path, &ListenOptions::new()).expect_err("locked").to_string();
    assert!(error.ends_with("another program has locked its directory in flock"), "{error}");
    lock.unlock().expect("it was locked");
    assert!(listens(&path, &ListenOptions::new()).is_ok());
}

#[test]
#[should_panic(expected = "a Unix socket's mode has the bits of 0o777 alone")]
fn a_mode_with_other_bits_is_refused() {
    let _ = ListenOptions::new().unix_mode(0o4777);
}
