//! Unix sockets: their bytes, and the rules of the kernel that are not those of TCP.

mod common;

use std::fs::File;
use std::io::{IoSlice, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use common::{Running, Script, Session, next};
use edgeloop::{Action, Address, Config, Reason, Stop, Target, UnixAddress};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};
use tempfile::TempDir;
use testkit::{Peer, eventually};

/// A loop that listens on a Unix socket in a directory of its own.
struct Local {
    server: Running,
    folder: TempDir,
}

impl Local {
    fn start(script: Script) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = UnixAddress::path(folder.path().join("socket")).expect("a path");
        let server = script.without_listener().start_after(|event_loop| {
            let bound = event_loop.listen(&address).expect("a free path");
            assert_eq!(bound, address.into());
        });
        Self { server, folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(self.path()).expect("it listens")
    }

    fn peer(&self) -> Peer {
        Peer::over_unix(self.connect()).expect("options")
    }
}

/// Sends bytes together with a descriptor.
fn send_with_descriptor(stream: &UnixStream, bytes: &[u8]) {
    let null = File::open("/dev/null").expect("a device");
    let descriptors = [null.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let sent = sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL);
    assert_eq!(sent, Ok(bytes.len()));
}

#[test]
fn every_byte_comes_back_and_the_end_behind_it() {
    let local = Local::start(Script::new());
    let peer = local.peer();
    peer.expect_echo(b"hello");
    peer.expect_stream_echo(1, 3_000_000);
    peer.half_close();
    peer.expect_eof();
    let closed = local.server.closed();
    assert!(closed.is_clean(), "{closed}");
}

#[test]
fn many_clients_are_served_at_once_and_each_has_its_own_bytes() {
    let local = Local::start(Script::new());
    let peers: Vec<Peer> = (0..50).map(|_| local.peer()).collect();
    for round in 0..3 {
        for (number, peer) in peers.iter().enumerate() {
            peer.send(format!("{round} {number}").as_bytes());
        }
        for (number, peer) in peers.iter().enumerate() {
            peer.expect(format!("{round} {number}").as_bytes());
        }
    }
}

#[test]
fn c49_who_is_at_the_other_end_is_told() {
    let local = Local::start(Script::new());
    let client = local.connect();
    let origin = local.server.origin();
    assert_eq!(origin.peer, UnixAddress::unnamed().into());
    let address = UnixAddress::path(local.path()).expect("a path");
    assert_eq!(origin.listener, Some(address.clone().into()));
    let credentials = origin.credentials.expect("a Unix socket has some");
    assert_eq!(credentials.process.map(u32::from), Some(std::process::id()));
    assert_eq!(credentials.user, rustix::process::geteuid().as_raw());
    assert_eq!(credentials.group, rustix::process::getegid().as_raw());
    let id = local.server.opened();
    let told = local.server.ask(move |cx| (cx.local_address(id).ok(), cx.peer_address(id).ok()));
    assert_eq!(told, (Some(address.into()), Some(UnixAddress::unnamed().into())));
    drop(client);
}

#[test]
fn c02_what_waits_behind_passed_descriptors_is_read() {
    // It says nothing before it has all: what a client receives wakes the loop, too.
    let local = Local::start(Script::new().data(|cx, input| {
        if input.is_empty() || !input.ends_with(b".") {
            return Action::Continue;
        }
        cx.send(input.take_all()).or_reset()
    }));
    // The loop is busy meanwhile, so that one event brings all of it.
    for parts in [&[&b"a"[..], b"b", b"c."][..], &[b"b", b"c."], &[b"b", b"c", b"d", b"e."]] {
        let stream = local.connect();
        (&stream).write_all(b"first.").expect("room");
        let mut buffer = [0; 6];
        (&stream).read_exact(&mut buffer).expect("an echo");
        local.server.settle();
        let stream = local.server.ask({
            let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
            move |_| {
                for (number, part) in parts.iter().enumerate() {
                    if part[0] == b'b' || number == 2 {
                        send_with_descriptor(&stream, part);
                    } else {
                        (&stream).write_all(part).expect("room");
                    }
                }
                stream
            }
        });
        let peer = Peer::over_unix(stream).expect("options");
        peer.expect(&parts.concat());
        peer.expect_echo(b"and on.");
        peer.half_close();
        peer.expect_eof();
    }
}

#[test]
fn c49_descriptors_that_clients_pass_are_closed() {
    let local = Local::start(Script::new());
    let stream = local.connect();
    let open = || std::fs::read_dir("/proc/self/fd").expect("a directory").count();
    local.server.opened();
    let before = open();
    for _ in 0..100 {
        send_with_descriptor(&stream, b"x");
    }
    let peer = Peer::over_unix(stream).expect("options");
    peer.expect(&[b'x'; 100]);
    eventually("the descriptors are closed", || open() <= before);
}

#[test]
fn c01_the_urgent_byte_of_a_unix_socket_takes_its_place_among_the_others() {
    let local = Local::start(Script::new());
    let early = local.connect();
    // Before it's accepted, and after.
    for stream in [&early, &local.connect()] {
        (&*stream).write_all(b"ab").expect("room");
        match send(stream, b"c", SendFlags::OOB) {
            Ok(count) => assert_eq!(count, 1),
            // Before Linux 5.15, or without CONFIG_AF_UNIX_OOB.
            Err(error) => return println!("SKIPPED: no urgent bytes on Unix sockets: {error}"),
        }
        (&*stream).write_all(b"de").expect("room");
        let mut echo = [0; 5];
        (&*stream).read_exact(&mut echo).expect("all of it");
        assert_eq!(&echo, b"abcde");
        send(stream, b"f", SendFlags::OOB).expect("room");
        (&*stream).read_exact(&mut echo[..1]).expect("the urgent one alone");
        assert_eq!(echo[0], b'f');
    }
}

#[test]
fn c06_what_was_sent_comes_before_the_error_where_input_was_left_unread() {
    let script = Script::new().opened(|cx| cx.send(b"goodbye").or_reset());
    let local = Local::start(script.data(|_, _| Action::Reset));
    let peer = local.peer();
    peer.send(b"unread");
    peer.expect(b"goodbye");
    // The kernel says so only where something was not received.
    let _ = peer.receive_what_is_there(1);
    let closed = local.server.closed();
    assert_eq!(closed.reason, Reason::Reset);
}

#[test]
fn c05_our_stream_can_end_first_and_what_follows_is_read() {
    let local = Local::start(Script::new().data(|cx, input| {
        let finished = input.take_all().ends_with(b"!");
        let _ = cx.send(b"last");
        if finished { Action::Finish } else { Action::Continue }
    }));
    let peer = local.peer();
    peer.send(b"go!");
    peer.expect(b"last");
    peer.expect_eof();
    peer.send(b"more");
    peer.half_close();
    assert_eq!(local.server.closed().reason, Reason::Finished);
}

#[test]
fn c10_a_client_that_does_not_read_holds_back_itself_alone() {
    let config = Config::new().high_watermark(50_000).low_watermark(10_000);
    let local = Local::start(Script::new().config(config));
    let deaf = local.peer();
    let taken = deaf.send_what_fits(&[7; 4_000_000]);
    assert!(taken < 4_000_000, "the server took all of it");
    let other = local.peer();
    other.expect_echo(b"not held back");
    deaf.expect(&vec![7; taken]);
    deaf.half_close();
    deaf.expect_eof();
}

#[test]
fn c49_what_a_client_receives_does_not_wake_the_loop() {
    const MESSAGES: u64 = 200;
    let local = Local::start(Script::new());
    let peer = local.peer();
    local.server.settle();
    let turns = || local.server.ask(|cx| cx.metrics().turns);
    let before = turns();
    for _ in 0..MESSAGES {
        peer.expect_echo(b"hello");
        // Time in which the loop would be woken.
        std::thread::sleep(Duration::from_millis(1));
    }
    let after = turns() - before;
    assert!(after <= MESSAGES + 10, "{after} turns for {MESSAGES} messages");
}

#[test]
fn c49_who_waits_for_room_hears_of_it_and_then_no_more() {
    const MORE: u64 = 200;
    let local = Local::start(Script::new());
    let peer = local.peer();
    for seed in 0..5 {
        // More than both buffers hold is queued.
        let sent = peer.send_what_fits(&[1; 1_000_000]);
        peer.expect(&vec![1; sent]);
        peer.expect_stream_echo(seed, 1_000_000);
    }
    // The first event for nothing is the last.
    peer.expect_echo(b"hello");
    local.server.settle();
    let turns = || local.server.ask(|cx| cx.metrics().turns);
    let before = turns();
    for _ in 0..MORE {
        peer.expect_echo(b"hello");
        std::thread::sleep(Duration::from_millis(1));
    }
    let after = turns() - before;
    assert!(after <= MORE + 10, "{after} turns for {MORE} messages");
}

#[test]
fn c39_a_slow_reader_of_a_unix_socket_is_not_given_up_before_the_kernel_tells_of_room() {
    const WHOLE: usize = 900_000;
    // The kernel frees what it keeps in pieces of some 36 KiB, and tells of room when three
    // quarters are free, which this reader never lets happen.
    const PIECE: usize = 40_000;
    let timeout = Duration::from_secs(4);
    let config = Config::new().write_timeout(Some(timeout));
    let script = Script::new().config(config);
    let local = Local::start(script.opened(|cx| cx.send(&[7; WHOLE]).or_reset()));
    let peer = local.peer();
    let id = local.server.opened();
    // In more than one timeout, with less than three quarters read.
    for _ in 0..3 {
        std::thread::sleep(timeout * 9 / 20);
        peer.expect(&[7; PIECE]);
    }
    assert!(local.server.is_open(id), "it took something in every half of the timeout");
    peer.expect(&vec![7; WHOLE - 3 * PIECE]);
}

#[test]
fn an_abstract_name_is_listened_on_and_connected_to() {
    let name = format!("edgeloop-test-{}", std::process::id());
    let address = UnixAddress::abstract_name(&name).expect("a name");
    let listens = address.clone();
    let server = Script::new().without_listener().start_after(move |event_loop| {
        let bound = event_loop.listen(format!("unix:@{name}").as_str()).expect("a free name");
        assert_eq!(bound, listens.into());
    });
    let (echoed_in, echoed) = mpsc::channel();
    let client = Script::new().without_listener();
    let client = client.config(Config::new().until_stopped(true));
    let client = client.opened(|cx| cx.send(b"hello").or_reset()).data(move |_, input| {
        echoed_in.send(input.take_all().to_vec()).expect("the test listens");
        Action::Close
    });
    let client = client.start();
    let to = address.clone();
    client.ask(move |cx| cx.connect(to.into(), Session::named(1)).map(drop)).expect("begun");
    assert_eq!(next(&echoed, "an echo"), b"hello");
    assert!(client.closed().is_clean());
    let taken = server.ask(move |cx| cx.listen(address.into())).expect_err("it is in use");
    assert!(taken.to_string().ends_with("Address already in use (os error 98) in bind"), "{taken}");
}

/// A listener that accepts nobody, with a full backlog.
fn full(folder: &TempDir) -> (UnixListener, Vec<UnixStream>, UnixAddress) {
    let path = folder.path().join("full");
    let listener = UnixListener::bind(&path).expect("a free path");
    rustix::net::listen(&listener, 1).expect("it listens");
    let waiting = (0..2).map(|_| UnixStream::connect(&path).expect("room")).collect();
    (listener, waiting, UnixAddress::path(path).expect("a path"))
}

#[test]
fn c49_a_full_backlog_is_tried_again_until_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let (listener, _waiting, address) = full(&folder);
    let script = Script::new().without_listener().config(Config::new().until_stopped(true));
    let client = script.opened(|cx| cx.send(b"hello").or_reset()).start();
    let id = client.ask(move |cx| cx.connect(address.into(), Session::named(1)).expect("begun"));
    // It waits; and what waits does nothing for long.
    client.settle();
    let state = client.ask(move |cx| cx.peer_address(id).map_err(|error| error.kind()));
    assert_eq!(state, Err(std::io::ErrorKind::NotConnected));
    drop((listener.accept(), listener.accept()));
    let (mut stream, _) = listener.accept().expect("it came");
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).expect("what it sent");
    assert_eq!((&hello, client.opened()), (b"hello", id));
}

#[test]
fn c49_a_full_backlog_counts_as_too_late_when_the_connect_timeout_has_passed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_listener, _waiting, address) = full(&folder);
    let local = Local::start(Script::new());
    let second = UnixAddress::path(local.path()).expect("a path");
    let client = Script::new().without_listener().config(Config::new().until_stopped(true));
    let client = client.start();
    let timeout = Some(Duration::from_millis(50));
    let target = Target::new(address.clone()).timeout(timeout);
    let both = target.clone().or(second);
    client.ask(move |cx| cx.connect(target, Session::named(1)).map(drop)).expect("begun");
    let closed = client.closed();
    assert_eq!(closed.reason, Reason::ConnectTimeout);
    assert_eq!(closed.attempts[0].address, address.into());
    let id = client.ask(move |cx| cx.connect(both, Session::named(2)).expect("begun"));
    assert_eq!(client.opened(), id, "the next address is tried");
    let (metrics, _) = client.stop(Stop::Now);
    assert_eq!((metrics.connected, metrics.closed), (1, 2));
}

#[test]
fn c49_a_target_may_have_addresses_of_both_kinds() {
    let tcp = Script::new().start();
    let folder = tempfile::tempdir().expect("a folder");
    let nobody = UnixAddress::path(folder.path().join("nobody")).expect("a path");
    let client = Script::new().without_listener().config(Config::new().until_stopped(true));
    let client = client.opened(|cx| cx.send(b"hello").or_reset()).start();
    let target = Target::new(nobody.clone()).or(tcp.address());
    let id = client.ask(move |cx| cx.connect(target, Session::named(1)).expect("begun"));
    assert_eq!(client.opened(), id);
    let peer = client.ask(move |cx| cx.peer_address(id)).expect("a peer");
    assert_eq!(peer, tcp.address().into());
    let error = client.ask(move |cx| cx.connect(nobody.into(), Session::named(2)).map(drop));
    let error = error.expect_err("there is no such file").error.to_string();
    assert!(error.starts_with("cannot connect to unix:/"), "{error}");
    assert!(error.ends_with("/nobody: No such file or directory (os error 2) in connect"));
}

#[test]
fn c49_both_ends_of_a_pair_are_adopted_and_relayed() {
    let local = Local::start(Script::new());
    let upstream = local.path();
    let proxy = Script::new().without_listener().config(Config::new().until_stopped(true)).start();
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    proxy.handle().adopt(ours).expect("it runs");
    let id = proxy.opened();
    let origin = proxy.origin();
    assert_eq!((origin.listener, origin.peer), (None, UnixAddress::unnamed().into()));
    assert!(origin.credentials.is_some());
    let address = UnixAddress::path(upstream).expect("a path");
    proxy.ask(move |cx| {
        let back = cx.connect(address.into(), Session::named(1)).expect("begun");
        cx.relay(id, back);
        cx.relay(back, id);
    });
    let peer = Peer::over_unix(theirs).expect("options");
    peer.expect_echo(b"through both");
    peer.expect_stream_echo(2, 3_000_000);
    peer.half_close();
    peer.expect_eof();
    assert!(proxy.closed().is_clean());
}

#[test]
fn a_unix_listener_that_was_made_elsewhere_is_served_and_its_file_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("given");
    let listener = UnixListener::bind(&path).expect("a free path");
    let early = Peer::connect_unix(&path);
    let address = UnixAddress::path(&path).expect("a path");
    let server = Script::new().without_listener().start_after(|event_loop| {
        let bound = event_loop.listen_on_fd(listener).expect("it listens");
        assert_eq!(bound, Address::from(address));
    });
    early.expect_echo(b"from before");
    Peer::connect_unix(&path).expect_echo(b"and from now");
    drop(early);
    server.stop(Stop::Now);
    assert!(path.exists(), "it is not the loop's");
}
