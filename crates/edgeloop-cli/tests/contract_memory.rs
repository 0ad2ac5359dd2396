//! Contract, Memory: C9 to C12, as the kernel accounts for it.
//!
//! The promises are about the PSS. Measured is the resident size, an upper bound of it: the PSS
//! also moves when another test starts or stops the same program, for they share its pages.

mod serve;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serve::{serve, server, wide_server};
use testkit::{
    Crowd, PATIENCE, PYTHON, Peer, Server, Stopwatch, Stream, assert_same_bytes,
    descriptors_granted, eventually, eventually_some, expect_poured, holds_for,
    in_full_or_scaled_down, machine_to_myself, pour, pour_once, receive_once, skip_unless,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// How many connections the promises speak of.
const FEW: usize = 2_000;
const MANY: usize = 18_000;

/// The issue grants five seconds; the rest is for a slow machine to see the last FIN.
const GOING: Duration = Duration::from_secs(8);

fn resident(server: &Server) -> usize {
    server.process().memory().rss
}

/// The server has met each part of its own code and of the allocator's.
#[track_caller]
fn warm_up(server: &Server) {
    let crowd = Crowd::connect(server, 100);
    crowd.expect_echoes(&[b'w'; 64]);
    let before = server.process().descriptor_count();
    drop(crowd);
    expect_gone(server, before - 100);
}

#[track_caller]
fn expect_gone(server: &Server, descriptors: usize) {
    eventually("all connections are closed", || server.process().descriptor_count() <= descriptors);
}

/// Bytes for each connection, as the slope between a small crowd and a large one.
#[track_caller]
fn slope(test: &str, between: impl Fn(&Crowd)) -> Option<usize> {
    let _turn = machine_to_myself();
    let many = descriptors_granted(test, MANY);
    let few = FEW.min(many / 9);
    if few < 100 {
        testkit::say(&format!("SKIPPED: {test}: {many} connections show no slope"));
        return None;
    }
    let server = wide_server(&[]).start();
    warm_up(&server);
    let mut crowd = Crowd::connect(&server, few);
    between(&crowd);
    let before = resident(&server);
    crowd.grow_to(&server, many);
    between(&crowd);
    let after = resident(&server);
    Some(after.saturating_sub(before) / (many - few))
}

#[test]
fn c09_a_connection_that_never_sent_costs_at_most_256_bytes() {
    let test = "c09_a_connection_that_never_sent_costs_at_most_256_bytes";
    let Some(bytes) = slope(test, |_| {}) else { return };
    assert!(bytes <= 256, "{bytes} bytes for each connection");
}

#[test]
fn c09_a_connection_that_echoed_and_went_quiet_costs_at_most_512_bytes() {
    let test = "c09_a_connection_that_echoed_and_went_quiet_costs_at_most_512_bytes";
    let Some(bytes) = slope(test, |crowd| crowd.expect_echoes(&[b'e'; 64])) else { return };
    assert!(bytes <= 512, "{bytes} bytes for each connection");
}

#[test]
fn c10_a_peer_that_does_not_read_is_not_read_from() {
    let server = server(&[]).start();
    warm_up(&server);
    let before = resident(&server);
    let peers = [Peer::connect(server.address())];
    let mut streams = [Stream::new(10)];
    pour(&peers, &mut streams);
    let owed = streams[0].position();
    assert!(owed < 64 * MIB as u64, "it took {owed} bytes");
    let grown = resident(&server).saturating_sub(before);
    // 64 KiB of high watermark, one read beyond it, and what the allocator needs around it.
    assert!(grown < 512 * KIB, "{grown} bytes for one connection");
    peers[0].expect_stream(&mut Stream::new(10), owed);
}

#[test]
fn c10_below_the_low_watermark_reading_goes_on_without_an_edge() {
    let server = server(&[]).start();
    // The server's receive queue is full, its edge has been and gone, and while the window is
    // closed none follows.
    let peers = [Peer::narrow(server.address())];
    let mut streams = [Stream::new(11)];
    pour(&peers, &mut streams);
    peers[0].expect_stream(&mut Stream::new(11), streams[0].position());
    peers[0].half_close();
    peers[0].expect_eof();
}

/// What 64 blocked peers may cost: each may hold its high watermark and one read beyond it, 128
/// KiB; a quarter more and a mebibyte are for the allocator.
#[track_caller]
fn expect_bounded(server: &Server, before: usize) {
    let grown = resident(server).saturating_sub(before);
    assert!(grown < 64 * 160 * KIB + MIB, "{grown} bytes for 64 connections");
}

#[test]
fn c10_sixty_four_peers_that_write_and_never_read_for_ten_seconds() {
    let test = "c10_sixty_four_peers_that_write_and_never_read_for_ten_seconds";
    let span = Duration::from_secs(in_full_or_scaled_down(test, 10, 2, "seconds"));
    let _turn = machine_to_myself();
    let server = server(&[]).start();
    warm_up(&server);
    let before = resident(&server);
    let peers: Vec<Peer> = (0..64).map(|_| Peer::narrow(server.address())).collect();
    let mut streams: Vec<Stream> = (0..64).map(Stream::new).collect();
    let start = Instant::now();
    pour(&peers, &mut streams);

    let witness = Peer::connect(server.address());
    witness.expect_echo(b"others are served");

    // They go on trying, and for a while the kernel finds room for a little more.
    let mut taken = Instant::now();
    eventually("all are blocked", || {
        if pour_once(&peers, &mut streams) > 0 {
            taken = Instant::now();
        }
        expect_bounded(&server, before);
        thread::sleep(Duration::from_millis(20));
        start.elapsed() > span && taken.elapsed() > Duration::from_secs(1)
    });
    let used = server.process().cpu_time();
    let span = Duration::from_secs(3);
    holds_for(span, "all are blocked", || {
        pour_once(&peers, &mut streams);
        thread::sleep(Duration::from_millis(20));
        true
    });
    let used = server.process().cpu_time() - used;
    assert!(used < span / 50, "all are blocked, and it used {used:?} of {span:?}");
    expect_bounded(&server, before);

    witness.expect_echo(b"others are still served");
    expect_poured(&peers, &streams);
}

/// What the log says of whoever is given up at the ceiling.
const GIVEN_UP: &str = "buffer limit for output reached";

/// Each gets all that it has poured, or it was given up for others at the ceiling. Returns how many
/// were.
#[track_caller]
fn expect_poured_or_given_up(server: &Server, peers: &[Peer], streams: &[Stream]) -> usize {
    let mut given_up = 0;
    for (index, (peer, poured)) in (0..).zip(peers.iter().zip(streams)) {
        let mut got = Vec::new();
        // It may be reset in the middle.
        let _ = peer.stream().take(poured.position()).read_to_end(&mut got);
        assert_same_bytes(&got, &Stream::new(index).take(got.len()));
        if got.len() as u64 != poured.position() {
            let closing = server.closing_of(peer.address());
            assert!(closing.says(GIVEN_UP) && closing.dropped() > 0, "{closing}");
            given_up += 1;
        }
    }
    given_up
}

#[test]
fn c11_a_ceiling_bounds_what_all_connections_queue() {
    let _turn = machine_to_myself();
    let server = serve(&["--buffer-limit", "1MiB"]);
    warm_up(&server);
    let before = resident(&server);
    let peers: Vec<Peer> = (0..64).map(|_| Peer::narrow(server.address())).collect();
    let mut streams: Vec<Stream> = (0..64).map(Stream::new).collect();
    pour(&peers, &mut streams);
    let grown = resident(&server).saturating_sub(before);
    // Without a ceiling it would be 8 MiB.
    assert!(grown < 3 * MIB, "{grown} bytes, though the ceiling is 1 MiB");
    server.log().expect_line("buffer limit nearly reached");
    Peer::connect(server.address()).expect_echo(b"others are served");
    let given_up = expect_poured_or_given_up(&server, &peers, &streams);
    assert!((1..64).contains(&given_up), "{given_up} of those who read nothing were given up");
    Peer::connect(server.address()).expect_echo(b"and all goes on");
}

#[test]
fn c11_the_smallest_ceiling_deadlocks_nobody() {
    const ALL: u64 = 512 * KIB as u64;
    let tries = || {
        let server = serve(&["--buffer-limit", "256KiB"]);
        let peers: Vec<Peer> = (0..16).map(|_| Peer::narrow(server.address())).collect();
        let mut streams: Vec<Stream> = (0..16).map(Stream::new).collect();
        let mut expected = streams.clone();
        let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
        while expected.iter().any(|expected| expected.position() < ALL) {
            let all = peers.iter().zip(&mut streams).zip(&mut expected);
            for ((peer, stream), expected) in all {
                if stream.position() < ALL {
                    pour_once(std::slice::from_ref(peer), std::slice::from_mut(stream));
                }
                if receive_once(peer, stream, expected).is_err() {
                    // Where we are halted, nobody takes anything, and it is right to give them up.
                    let longest = longest.max(last.elapsed());
                    assert!(longest > Duration::from_millis(100), "who reads is given up");
                    return false;
                }
            }
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        true
    };
    eventually("all get what they have sent", tries);
}

/// They pour until the server says that its ceiling is reached. That they are blocked for a while
/// is not enough on a busy machine.
#[track_caller]
fn pour_to_the_ceiling(server: &Server, peers: &[Peer], streams: &mut [Stream]) {
    eventually("the ceiling is reached", || {
        pour_once(peers, streams);
        !server.log().lines_with("queued").is_empty()
    });
    pour(peers, streams);
}

/// A newcomer gets a few bytes back within a second, while these pour on and read nothing.
#[track_caller]
fn expect_newcomers_to_be_served(server: &Server, times: usize) {
    for _ in 0..times {
        let watch = Stopwatch::start(&[server.process()]);
        Peer::connect(server.address()).expect_echo(b"hello");
        watch.expect_within(Duration::from_secs(1));
    }
}

#[test]
fn c11_a_newcomer_is_served_within_a_second_though_many_never_read() {
    let _turn = machine_to_myself();
    let server = server(&["--buffer-limit", "16MiB"]).start();
    let peers: Vec<Peer> = (0..160).map(|_| Peer::narrow(server.address())).collect();
    let mut streams: Vec<Stream> = (0..160).map(Stream::new).collect();
    pour_to_the_ceiling(&server, &peers, &mut streams);
    for _ in 0..10 {
        expect_newcomers_to_be_served(&server, 5);
        pour_once(&peers, &mut streams);
    }
}

#[test]
fn c11_a_newcomer_is_served_within_a_second_though_many_begin_not_to_read() {
    let _turn = machine_to_myself();
    let server = server(&["--buffer-limit", "16MiB"]).start();
    let peers: Vec<Peer> = (0..600).map(|_| Peer::narrow(server.address())).collect();
    thread::scope(|scope| {
        let pouring = scope.spawn(|| {
            let mut streams: Vec<Stream> = (0..600).map(Stream::new).collect();
            pour_to_the_ceiling(&server, &peers, &mut streams);
        });
        while !pouring.is_finished() {
            expect_newcomers_to_be_served(&server, 1);
        }
    });
    expect_newcomers_to_be_served(&server, 50);
}

/// What `/proc` says of a server's memory, in KiB.
#[track_caller]
fn kilobytes(server: &Server, what: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("{what} is missing in:\n{status}"))
}

/// A server that may have 2 MiB more than it needs at rest, of what `ulimit` counts with this
/// option, and that may queue as much as it likes.
#[track_caller]
fn expect_survival(what: &str, option: &str) {
    let _turn = machine_to_myself();
    // With this limit the allocator can't reserve 64 MiB for the thread that writes the log.
    let resting = server(&[]).shell("ulimit -v 40000").start();
    eventually("its log is written", || resting.process().threads().len() == 1);
    let limit = format!("ulimit {option} {}", kilobytes(&resting, what) + 2 * 1024);
    let mut server = server(&["--buffer-limit", "1GiB", "--pipes", "0", "--send-buffer", "4KiB"])
        .shell(&limit)
        .start();
    let peers: Vec<Peer> = (0..32).map(|_| Peer::narrow(server.address())).collect();
    let mut streams: Vec<Stream> = (0..32).map(Stream::new).collect();
    pour(&peers, &mut streams);
    assert!(!server.log().lines_with("memory refused").is_empty(), "there was enough memory");
    expect_poured(&peers, &streams);
    Peer::connect(server.address()).expect_echo(b"and all goes on");
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 0);
    let totals = eventually_some("the totals are read", || server.log().lines_with("totals").pop());
    assert!(totals.contains("bytes_dropped=0"), "{totals}");
}

#[test]
fn c11_memory_that_is_refused_pauses_reading_and_ends_nothing() {
    expect_survival("VmSize", "-v");
    expect_survival("VmData", "-d");
}

#[test]
fn c11_the_default_ceiling_fits_the_place_and_is_said_at_start() {
    let says = |server: &Server, words: &str| {
        let lines = server.log().lines_with(words);
        assert_eq!(lines.len(), 1, "{words}:\n{}", server.log().text());
    };
    // The shell counts in units of 1024 bytes.
    let lowered = server(&[]).shell("ulimit -v 64000").start();
    says(&lowered, "buffer_limit=16384000");
    says(&lowered, "lowered from 268435456 to 16384000 bytes");
    says(&lowered, "65536000 bytes (RLIMIT_AS)");
    let asked = server(&["--buffer-limit", "32MiB"]).shell("ulimit -d 64000").start();
    says(&asked, "buffer_limit=33554432");
    says(&asked, "--buffer-limit 33554432 is more than half of the memory allowed, 65536000 bytes");
}

/// A cgroup with a limit of memory, where this machine lets one be made.
struct Cgroup(PathBuf);

impl Cgroup {
    fn with_limit(bytes: usize) -> Option<Self> {
        let name = format!("edgeloop-test-{}", std::process::id());
        let places =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        places.into_iter().find_map(|(root, limit)| {
            let cgroup = Self(Path::new(root).join(&name));
            fs::create_dir(&cgroup.0).ok()?;
            // Without the controller there is no such file.
            fs::write(cgroup.0.join(limit), bytes.to_string()).ok()?;
            Some(cgroup)
        })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It may take a moment until a process that was killed is out of it.
        let end = Instant::now() + PATIENCE;
        while fs::remove_dir(&self.0).is_err() && Instant::now() < end {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn c11_in_a_cgroup_with_little_memory_the_default_ceiling_keeps_it_alive() {
    let test = "c11_in_a_cgroup_with_little_memory_the_default_ceiling_keeps_it_alive";
    let _turn = machine_to_myself();
    let Some(cgroup) = Cgroup::with_limit(24 * MIB) else {
        return testkit::say(&format!("SKIPPED: {test}: no cgroup with a limit can be made"));
    };
    let enter = format!("echo $$ > {}/cgroup.procs", cgroup.0.display());
    // With the default of 256 MiB these peers would queue more than the cgroup has.
    let options = ["--pipes", "0", "--send-buffer", "4KiB"];
    let mut server = server(&options).shell(&enter).start();
    assert_eq!(server.log().lines_with("lowered from 268435456 to 6291456").len(), 1);
    let peers: Vec<Peer> = (0..300).map(|_| Peer::narrow(server.address())).collect();
    let mut streams: Vec<Stream> = (0..300).map(Stream::new).collect();
    pour(&peers, &mut streams);
    assert!(
        !server.log().lines_with("buffer limit nearly reached").is_empty(),
        "it was not reached"
    );
    drop(peers);
    Peer::connect(server.address()).expect_echo(b"and all goes on");
    server.signal(Signal::TERM);
    // Of what they were owed, some is lost.
    assert_eq!(server.exit_code_within(PATIENCE), 1);
    server.log().expect_line("bytes of output dropped");
}

#[test]
fn c12_memory_returns_after_18000_connections_three_times_over() {
    let test = "c12_memory_returns_after_18000_connections_three_times_over";
    let _turn = machine_to_myself();
    let many = descriptors_granted(test, MANY);
    let server = wide_server(&[]).start();
    warm_up(&server);
    let descriptors = server.process().descriptor_count();
    let start = resident(&server);
    for round in 1..=in_full_or_scaled_down(test, 3, 1, "rounds") {
        let crowd = Crowd::connect(&server, many);
        crowd.expect_echoes(&[b'm'; 64]);
        drop(crowd);
        expect_gone(&server, descriptors);
        let watch = Stopwatch::start(&[server.process()]);
        eventually(&format!("memory is back within 2 MiB of {start}, round {round}"), || {
            resident(&server) <= start + 2 * MIB
        });
        watch.expect_within(GOING);
    }
}

#[test]
fn c12_memory_returns_after_2000_connections_with_64_kib_queued_each() {
    let test = "c12_memory_returns_after_2000_connections_with_64_kib_queued_each";
    if skip_unless(test, PYTHON) {
        return;
    }
    let _turn = machine_to_myself();
    let few = descriptors_granted(test, FEW);
    let server = wide_server(&["--buffer-limit", "2GiB", "--write-timeout", "none"]).start();
    warm_up(&server);
    let descriptors = server.process().descriptor_count();
    let start = resident(&server);

    let mut stalled = Stalled::connect(&server, few);
    let mut peak = 0;
    // The high watermark is passed; of that the kernel takes some more when its buffer grows.
    eventually("their output is queued", || {
        peak = resident(&server).saturating_sub(start);
        peak >= few * 48 * KIB
    });
    stalled.read_everything();
    expect_gone(&server, descriptors);
    let watch = Stopwatch::start(&[server.process()]);
    eventually(&format!("memory is back within 4 MiB of {start}, from {peak} more"), || {
        resident(&server) <= start + 4 * MIB
    });
    watch.expect_within(GOING);
}

/// Peers with a small segment size. With loopback's 64 KiB segments the server's kernel would take
/// 2 MiB for each connection before anything is queued in the server. Only Python can ask for it
/// without unsafe code or another dependency.
struct Stalled {
    python: Child,
    words: BufReader<ChildStdout>,
    complaints: ChildStderr,
}

const STALLED: &str = r#"
import random, socket, sys
port, size = int(sys.argv[1]), int(sys.argv[2])
# About 80 KB of the echo fit into the kernel. The server keeps more than 64 KiB before it stops
# reading, and the rest waits unread.
piece = random.Random(1).randbytes(200000)
peers = []
for number in range(size):
    peer = socket.socket()
    peer.settimeout(60)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    peer.connect(('127.0.1.%d' % (number % 250 + 1), port))
    peer.sendall(piece)
    peers.append(peer)
print('stalled', flush=True)
sys.stdin.readline()
for number, peer in enumerate(peers):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    peer.shutdown(socket.SHUT_WR)
    got = bytearray()
    while data := peer.recv(65536):
        got += data
    assert got == piece, 'peer %d: %d of %d bytes' % (number, len(got), len(piece))
    peer.close()
print('read', flush=True)
"#;

impl Stalled {
    #[track_caller]
    fn connect(server: &Server, size: usize) -> Self {
        let mut python = Command::new("python3")
            .args(["-c", STALLED, &server.port().to_string(), &size.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3");
        let words = BufReader::new(python.stdout.take().expect("a pipe"));
        let complaints = python.stderr.take().expect("a pipe");
        let mut stalled = Self { python, words, complaints };
        stalled.expect_word("stalled");
        stalled
    }

    #[track_caller]
    fn read_everything(&mut self) {
        let stdin = self.python.stdin.as_mut().expect("a pipe");
        stdin.write_all(b"\n").expect("write to python");
        self.expect_word("read");
    }

    #[track_caller]
    fn expect_word(&mut self, word: &str) {
        let mut line = String::new();
        self.words.read_line(&mut line).expect("read from python");
        if line.trim() != word {
            let mut complaints = String::new();
            let _ = self.complaints.read_to_string(&mut complaints);
            panic!("the peers failed: {line}{complaints}");
        }
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.python.kill();
        let _ = self.python.wait();
    }
}
