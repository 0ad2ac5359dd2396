//! Contract, for the streams that pass through pipes unseen: they are held to all that others are.

mod serve;

use std::cell::Cell;
use std::thread;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serve::{serve, server};
use testkit::{
    Call, Mark, Peer, Process, STRACE, Server, Stream, eventually, expect_poured, pour, skip_unless,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What is traced to see whether bytes are copied or passed.
const TRANSFERS: &[&str] = &["-e", "trace=%network,%desc"];

/// How many calls of this name moved bytes, and how many bytes.
fn moved(calls: &[Call], name: &str) -> (usize, i64) {
    let counts = calls.iter().filter(|call| call.name == name).filter_map(Call::returned);
    counts.filter(|&count| count > 0).fold((0, 0), |(calls, all), count| (calls + 1, all + count))
}

/// How many bytes went out by copies; a queue of several chunks leaves by sendmsg(2).
fn copied(calls: &[Call]) -> i64 {
    moved(calls, "sendto").1 + moved(calls, "sendmsg").1
}

/// How many bytes went out, through a pipe or not.
fn sent(calls: &[Call]) -> i64 {
    moved(calls, "splice").1 / 2 + copied(calls)
}

/// The end of the trace, once so many bytes went out in all and the loop rests: strace may lag
/// behind.
#[track_caller]
fn mark_after(server: &Server, bytes: usize) -> Mark {
    let all_sent = |calls: &[Call]| sent(calls) == bytes as i64;
    server.trace().rest(Mark::START, "the loop rests when all is sent", all_sent).1
}

/// The pipes that a process has open, by their ends.
fn pipe_ends(process: Process) -> usize {
    process.descriptors().iter().filter(|one| one.target.starts_with("pipe:")).count()
}

/// How much makes a connection stream.
const STREAMED: usize = 8 * MIB;

/// A peer whose connection streams: much of it has come at once.
fn streaming(server: &Server) -> Peer {
    let peer = Peer::connect(server.address());
    peer.expect_stream_echo(1, STREAMED as u64);
    peer
}

#[test]
fn c09_a_stream_passes_through_a_pipe_and_no_buffer() {
    if skip_unless("c09_a_stream_passes_through_a_pipe_and_no_buffer", STRACE) {
        return;
    }
    let server = server(&[]).traced(TRANSFERS).start();
    let peer = streaming(&server);
    let mark = mark_after(&server, STREAMED);
    let bytes = Stream::new(2).take(MIB);
    for part in bytes.chunks(128 * KIB) {
        // All of it is there when the server looks.
        server.stopped(|| {
            peer.send(part);
            eventually("it waits to be read", || {
                let sockets = testkit::TcpSockets::now();
                let socket = sockets.between(server.address(), peer.address());
                socket.is_some_and(|socket| socket.unread == part.len() as u64)
            });
        });
        peer.expect(part);
    }
    let calls = server.trace().expect(mark, "all has been sent", |calls| sent(calls) == MIB as i64);
    // Where a part ended in few bytes, the stream had ended, and the next one begins with a copy of
    // a whole buffer.
    let copied = copied(&calls);
    assert!(copied <= MIB as i64 / 2, "{copied} bytes copied, though it streams: {calls:#?}");
}

#[test]
fn c09_small_messages_are_copied_even_behind_a_stream() {
    if skip_unless("c09_small_messages_are_copied_even_behind_a_stream", STRACE) {
        return;
    }
    let server = server(&[]).traced(TRANSFERS).start();
    let peer = streaming(&server);
    // The first may yet be tried; it shows that the stream is over.
    let first = b"a small one";
    peer.expect_echo(first);
    let mark = mark_after(&server, STREAMED + first.len());
    for _ in 0..20 {
        peer.expect_echo(b"and another");
    }
    let calls =
        server.trace().expect(mark, "all are answered", |calls| moved(calls, "sendto").0 == 20);
    assert_eq!(calls.iter().filter(|call| call.name == "splice").count(), 0, "{calls:#?}");
}

#[test]
fn c09_whoever_logs_the_payload_passes_nothing_unseen() {
    if skip_unless("c09_whoever_logs_the_payload_passes_nothing_unseen", STRACE) {
        return;
    }
    let server = server(&["-vv"]).traced(TRANSFERS).start();
    drop(streaming(&server));
    let calls = server.trace().expect(Mark::START, "all has been sent by copies", |calls| {
        copied(calls) == STREAMED as i64
    });
    assert_eq!(calls.iter().filter(|call| call.name == "splice").count(), 0);
}

#[test]
fn c01_an_urgent_byte_within_a_stream_is_echoed_in_its_place() {
    let server = serve(&[]);
    for behind in [1, 100 * KIB, 300 * KIB] {
        let peer = streaming(&server);
        let (before, after) = (Stream::new(2).take(200 * KIB), Stream::new(3).take(behind));
        let all = [before.as_slice(), b"!", &after].concat();
        thread::scope(|scope| {
            scope.spawn(|| {
                peer.send(&before);
                peer.send_urgent(b'!');
                peer.send(&after);
                peer.half_close();
            });
            testkit::assert_same_bytes(&peer.receive_to_end(), &all);
        });
    }
}

#[test]
fn c09_pipes_are_few_however_many_streams_stall() {
    let server = server(&[]).start();
    let peers: Vec<Peer> = (0..40).map(|_| Peer::narrow(server.address())).collect();
    let mut streams: Vec<Stream> = (0..40).map(Stream::new).collect();
    pour(&peers, &mut streams);
    let ends = pipe_ends(server.process());
    // A few more are those that the program was started with.
    assert!(ends <= 2 * 16 + 3, "{ends} ends of pipes");
    expect_poured(&peers, &streams);
}

#[test]
fn c12_no_pipe_is_kept_when_everybody_has_gone() {
    let server = server(&[]).start();
    let before = server.process().descriptor_count();
    let peers: Vec<Peer> = (0..4).map(|_| streaming(&server)).collect();
    peers.into_iter().for_each(Peer::close);
    eventually("all is closed again", || server.process().descriptor_count() == before);
    // Nor where bytes are left in them.
    let peers: Vec<Peer> = (0..4).map(|_| Peer::narrow(server.address())).collect();
    pour(&peers, &mut (0..4).map(Stream::new).collect::<Vec<_>>());
    peers.into_iter().for_each(Peer::reset);
    eventually("all is closed again", || server.process().descriptor_count() == before);
}

#[test]
fn c20_pipes_are_born_close_on_exec_and_non_blocking() {
    if skip_unless("c20_pipes_are_born_close_on_exec_and_non_blocking", STRACE) {
        return;
    }
    let server = server(&[]).traced(TRANSFERS).start();
    let mark = server.trace().mark();
    let _peer = streaming(&server);
    let is_made = |call: &Call| call.name.starts_with("pipe");
    let calls = server.trace().expect(mark, "a pipe is made", |calls| calls.iter().any(is_made));
    for call in calls.iter().filter(|call| is_made(call)) {
        assert_eq!((call.name.as_str(), call.argument(2)), ("pipe2", "O_NONBLOCK|O_CLOEXEC"));
    }
}

#[test]
fn c24_there_are_fewer_pipes_where_descriptors_are_few() {
    // None at all: a pipe for each 64 of them.
    let server = server(&[]).descriptors(60).start();
    let before = pipe_ends(server.process());
    let _peer = streaming(&server);
    assert_eq!(pipe_ends(server.process()), before);
}

/// Streams until some of it has passed through a pipe.
#[track_caller]
fn expect_to_splice(server: &Server, peer: &Peer, mark: Mark) {
    let seed = Cell::new(2);
    eventually("bytes pass through a pipe again", || {
        peer.expect_stream_echo(seed.replace(seed.get() + 1), MIB as u64);
        moved(&server.trace().calls_since(mark), "splice").0 > 0
    });
}

#[test]
fn c42_streams_are_spliced_again_when_a_want_of_descriptors_is_over() {
    if skip_unless("c42_streams_are_spliced_again_when_a_want_of_descriptors_is_over", STRACE) {
        return;
    }
    let server = server(&[]).traced(TRANSFERS).start();
    let peer = Peer::connect(server.address());
    peer.expect_echo(b"hello");
    let process = Pid::from_raw(server.process().pid().try_into().expect("a pid"));
    let limit = |current| {
        let maximum = getrlimit(Resource::Nofile).maximum;
        prlimit(process, Resource::Nofile, Rlimit { current, maximum }).expect("its limit is set")
    };
    // What it has open it keeps; /proc can't be read, and no pipe be made.
    let before = limit(Some(0));
    peer.expect_stream_echo(1, STREAMED as u64);
    let calls = server.trace().calls();
    assert_eq!(moved(&calls, "splice").0, 0, "without a descriptor for a pipe");
    limit(before.current);
    expect_to_splice(&server, &peer, Mark::START);
}

#[test]
fn c42_a_pipe_that_could_not_be_large_grows_later() {
    if skip_unless("c42_a_pipe_that_could_not_be_large_grows_later", STRACE) {
        return;
    }
    // What the program calls at its start, for its signals, is not what is tested.
    let quiet = server(&[]).traced(&["-e", "trace=fcntl,accept4"]).start();
    // It stays: a debug build calls fcntl for each descriptor that it closes.
    let stays = Peer::connect(quiet.address());
    stays.expect_echo(b"hello");
    eventually("the accept is in the trace", || {
        quiet.trace().lines_since(Mark::START, "accept4(") > 0
    });
    let first = quiet.trace().lines_since(Mark::START, "fcntl(") + 1;
    let fault = format!("inject=fcntl:error=EPERM:when={first}");
    let trace = ["-e", "trace=pipe2,fcntl,splice,accept4", "-e", &fault];
    let server = server(&[]).traced(&trace).start();
    let peer = streaming(&server);
    let grown = |call: &Call| call.name == "fcntl" && call.returned().is_some_and(|size| size > 0);
    let seed = Cell::new(2);
    eventually("it is made larger", || {
        peer.expect_stream_echo(seed.replace(seed.get() + 1), STREAMED as u64);
        server.trace().calls().iter().any(grown)
    });
    assert_eq!(server.trace().lines_since(Mark::START, "(INJECTED)"), 1);
    // The same one: it is not made anew each time.
    let calls = server.trace().calls();
    let mut calls = calls.iter().skip_while(|call| call.name != "accept4");
    assert_eq!(calls.by_ref().filter(|call| call.name == "pipe2").count(), 1);
}
