//! The example `redis`, as a program: beside `redis-server`, by the tools of Redis, and under what
//! clients do to it.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use testkit::{
    Launch, PATIENCE, Peer, REDIS, REDIS_TOOLS, Server, eventually, eventually_some, example,
    skip_unless,
};

fn redis() -> Server {
    Server::start(&example("redis"), &["127.0.0.1:0"])
}

/// Redis itself, on a socket in a directory of its own. Dropping it kills that one process.
struct Original {
    process: Child,
    socket: PathBuf,
    _directory: TempDir,
}

impl Original {
    fn start() -> Self {
        let directory = TempDir::new().expect("a directory");
        let socket = directory.path().join("socket");
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket)
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server");
        Self { process, socket, _directory: directory }
    }

    fn connect(&self) -> UnixStream {
        let stream =
            eventually_some("redis-server listens", || UnixStream::connect(&self.socket).ok());
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A request as clients send it.
fn request(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend([word, &b"\r\n"[..]].concat());
    }
    bytes
}

/// The words of a line; `""` is an empty one, and `\r`, `\n` and `\0` are those bytes.
fn words(line: &str) -> Vec<Vec<u8>> {
    let word = |word: &str| match word {
        "\"\"" => String::new(),
        word => word.replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0"),
    };
    line.split(' ').map(|one| word(one).into_bytes()).collect()
}

/// Sends this and an ECHO, and returns what comes before the reply to that.
#[track_caller]
fn reply(stream: &mut (impl Read + Write), bytes: &[u8]) -> String {
    const MARK: &[u8] = b"$11\r\nthat-was-it\r\n";
    stream.write_all(&[bytes, b"*2\r\n$4\r\nECHO\r\n", MARK].concat()).expect("it takes it");
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    while !all.ends_with(MARK) {
        let count = stream.read(&mut piece).expect("a reply");
        assert!(count > 0, "the connection ended after {}", all.escape_ascii());
        all.extend_from_slice(&piece[..count]);
    }
    all[..all.len() - MARK.len()].escape_ascii().to_string()
}

/// Commands, whose replies must be those of Redis to the byte.
const COMMANDS: &str = r#"PING
ping hello
PING a b
ECHO hello
ECHO
ECHO ""
SELECT 0
SELECT 99
SELECT x
SET
SET k
SET k v
GET k
GET
GET k k
get missing
GeT k
SET k v NX XX
SET k v FOO
SET k v EX
SET k v EX 10 PX 10
GET k
EXISTS k
SET n 10
INCR n
DECR n
INCR fresh
DECR fresher
DECR fresher
GET fresher
SET n 9223372036854775806
INCR n
INCR n
GET n
SET n -9223372036854775807
DECR n
DECR n
GET n
SET n 9223372036854775808
DECR n
SET n 1.5
INCR n
SET n +1
INCR n
SET n -0
INCR n
SET n ""
INCR n
SET n -1
INCR n
INCR n
INCR
INCR n 1
SET s abc
INCR s
SET t 012
INCR t
GET s
MSET a 1 b 2 c 3
MSET a
MSET a 1 b
EXISTS a b missing a
EXISTS
DEL a a b missing
DEL
DEL missing
RPUSH l a b c
LPUSH l x y
LPUSH l
LLEN l
LLEN missing
LRANGE l 0 -1
LRANGE l 1 2
LRANGE l -2 -1
LRANGE l -100 100
LRANGE l 3 1
LRANGE l 5 9
LRANGE l 0 0
LRANGE l -1 -100
LRANGE l -100 -100
LRANGE l x 1
LRANGE missing 0 -1
LRANGE missing x y
LRANGE l 0 9223372036854775807
LRANGE l -9223372036854775808 -1
LPOP l
RPOP l
LPOP missing
LPOP
LPOP l 1 1
RPOP l
RPOP l
RPOP l
EXISTS l
LLEN l
LPOP l
RPUSH l z
GET l
INCR l
LLEN s
LPUSH s x
LRANGE s 0 -1
LPOP s
SET l nowastring
GET l
RPUSH m 1
RPUSH m 2
MSET m 1
GET m
SET k ""
GET k
SET bin\r\n\0 x\r\n\0y
GET bin\r\n\0
SET "" ""
GET ""
FLUSHALL
DBSIZE
SET one 1
DBSIZE
DBSIZE x
PUBLISH nobody hello
PUBLISH nobody
UNSUBSCRIBE
UNSUBSCRIBE x y
SUBSCRIBE
LLEN
CONFIG GET save
CONFIG GET appendonly"#;

#[test]
fn the_replies_are_those_of_redis_to_the_byte() {
    if skip_unless("the_replies_are_those_of_redis_to_the_byte", REDIS) {
        return;
    }
    let (original, server) = (Original::start(), redis());
    let (mut theirs, mut ours) = (original.connect(), connect(&server));
    let mut differences = Vec::new();
    for line in COMMANDS.lines() {
        let asked = request(&words(line));
        let (theirs, ours) = (reply(&mut theirs, &asked), reply(&mut ours, &asked));
        if theirs != ours {
            differences.push(format!("{line}\n    redis: {theirs}\n    ours:  {ours}"));
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// What Redis says to what is not its protocol, and then it closes.
#[test]
fn the_errors_of_the_protocol_are_those_of_redis_to_the_byte() {
    if skip_unless("the_errors_of_the_protocol_are_those_of_redis_to_the_byte", REDIS) {
        return;
    }
    let (original, server) = (Original::start(), redis());
    for bytes in [
        "*1\r\n:1\r\n",
        "*1\r\nPING\r\n",
        "*x\r\n",
        "*99999999999999999999\r\n",
        "*1\r\n$-1\r\n",
        "*1\r\n$x\r\n",
        "*1\r\n$9223372036854775807\r\n",
        "*2\r\n$4\r\nPING\r\n*\r\n",
        "PING\r\n*0\r\n*-1\r\n\r\n  \r\nPING x\r\n*x\r\n",
        "SUBSCRIBE a b a\r\nGET x\r\nPING\r\nPING x\r\nUNSUBSCRIBE b c\r\nUNSUBSCRIBE\r\n*x\r\n",
        "SUBSCRIBE a\r\nQUIT\r\n",
        "QUIT\r\nPING\r\n",
    ] {
        let mut theirs = original.connect();
        theirs.write_all(bytes.as_bytes()).expect("it takes it");
        let mut told = Vec::new();
        theirs.read_to_end(&mut told).expect("it closes");
        let ours = Peer::connect(server.address());
        ours.send(bytes.as_bytes());
        let ours = ours.receive_to_end();
        assert_eq!(ours.escape_ascii().to_string(), told.escape_ascii().to_string(), "{bytes:?}");
    }
}

/// Runs a tool of Redis against the server, with this at its standard input.
#[track_caller]
fn tool(server: &Server, name: &str, arguments: &[&str], input: &[u8]) -> String {
    let mut tool = Command::new(name)
        .args(["-h", "127.0.0.1", "-p", &server.port().to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool");
    let mut stdin = tool.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = tool.wait_with_output().expect("the tool ends");
    writer.join().expect("the writer").expect("it reads all");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{name} {arguments:?}: {text}");
    text
}

#[test]
fn redis_cli_gets_its_answers() {
    if skip_unless("redis_cli_gets_its_answers", REDIS_TOOLS) {
        return;
    }
    let server = redis();
    let cli = |words: &str| tool(&server, "redis-cli", &words.split(' ').collect::<Vec<_>>(), b"");
    assert_eq!(cli("SET k v"), "OK\n");
    assert_eq!(cli("GET k"), "v\n");
    assert_eq!(cli("INCR n"), "1\n");
    assert_eq!(cli("RPUSH l a b c"), "3\n");
    assert_eq!(cli("LRANGE l 0 -1"), "a\nb\nc\n");
    assert_eq!(cli("DBSIZE"), "3\n");
    // As at a terminal, with its questions about commands.
    let session =
        tool(&server, "redis-cli", &[], b"PING\nGET k\nSET k\nEXISTS k\nFLUSHALL\nDBSIZE\n");
    let replies =
        ["PONG", "v", "ERR wrong number of arguments for 'set' command", "", "1", "OK", "0"];
    assert_eq!(session.lines().collect::<Vec<_>>(), replies);
}

#[test]
fn a_pipe_of_ten_thousand_commands_is_answered() {
    if skip_unless("a_pipe_of_ten_thousand_commands_is_answered", REDIS_TOOLS) {
        return;
    }
    let server = redis();
    let commands: Vec<u8> = (0..10_000)
        .flat_map(|number| request(&words(&format!("SET key:{number} value:{number}"))))
        .collect();
    let told = tool(&server, "redis-cli", &["--pipe"], &commands);
    assert!(told.contains("errors: 0, replies: 10000"), "{told}");
    assert_eq!(tool(&server, "redis-cli", &["DBSIZE"], b""), "10000\n");
    assert_eq!(tool(&server, "redis-cli", &["GET", "key:9999"], b""), "value:9999\n");
}

#[test]
fn redis_benchmark_runs_through() {
    if skip_unless("redis_benchmark_runs_through", REDIS_TOOLS) {
        return;
    }
    let server = redis();
    let tests = "ping,set,get,incr,lpush,rpush,lpop,rpop,mset,lrange_100";
    for flight in ["1", "16"] {
        let arguments = ["-t", tests, "-P", flight, "-n", "2000", "-q", "-d", "100"];
        let told = tool(&server, "redis-benchmark", &arguments, b"");
        assert_eq!(told.matches("requests per second").count(), 12, "{told}");
        assert!(!told.contains("rror") && !told.contains("WARN"), "{told}");
    }
}

#[test]
fn subscribers_of_redis_cli_hear_what_is_published() {
    if skip_unless("subscribers_of_redis_cli_hear_what_is_published", REDIS_TOOLS) {
        return;
    }
    let server = redis();
    let mut listeners: Vec<_> = (0..3).map(|_| Listener::start(&server, "news")).collect();
    let publish = |to: &str| tool(&server, "redis-cli", &["PUBLISH", to, "hello"], b"");
    assert_eq!(publish("news"), "3\n");
    assert_eq!(publish("olds"), "0\n");
    assert_eq!(publish("news"), "3\n");
    for listener in &mut listeners {
        listener.expect(&["message", "news", "hello", "message", "news", "hello"]);
    }
    listeners.pop();
    eventually("the others are left", || publish("news") == "2\n");
}

/// `redis-cli`, subscribed to a channel. Dropping it kills that one process.
struct Listener {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Listener {
    fn start(server: &Server, channel: &str) -> Self {
        let mut process = Command::new("redis-cli")
            .args(["-p", &server.port().to_string(), "SUBSCRIBE", channel])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-cli");
        let stdout = process.stdout.take().expect("a pipe");
        let mut listener = Self { process, lines: BufReader::new(stdout).lines() };
        listener.expect(&["subscribe", channel, "1"]);
        listener
    }

    #[track_caller]
    fn expect(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.lines.next().expect("a line").expect("characters"), *line);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_signal_ends_it_when_its_clients_have_their_replies() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = redis();
        let (idle, subscriber, busy) = (
            Peer::connect(server.address()),
            Peer::connect(server.address()),
            Peer::connect(server.address()),
        );
        subscriber.send(b"SUBSCRIBE news\r\n");
        subscriber.expect(b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
        busy.send(&b"INCR n\r\n".repeat(1000));
        busy.expect(b":1\r\n");
        server.signal(signal);
        let rest: String = (2..=1000).map(|number| format!(":{number}\r\n")).collect();
        busy.expect(rest.as_bytes());
        for peer in [busy, subscriber, idle] {
            peer.expect_eof();
        }
        assert_eq!(server.exit_code_within(Duration::from_secs(20)), 0);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut server = redis();
    // Who is owed something is waited for.
    let slow = Peer::narrow(server.address());
    let value = vec![b'x'; 4 << 20];
    slow.send(&request(&[b"SET".to_vec(), b"k".to_vec(), value]));
    slow.expect(b"+OK\r\n");
    slow.send(b"GET k\r\nGET k\r\nGET k\r\n");
    slow.expect(b"$4194304\r\n");
    server.signal(Signal::TERM);
    eventually("nobody is let in any more", || Peer::try_connect(server.address()).is_err());
    server.signal(Signal::TERM);
    slow.expect_reset();
    assert_eq!(server.exit_code_within(PATIENCE), 0);
}

#[test]
fn wrong_arguments_are_told_in_one_line() {
    let program = example("redis");
    for arguments in [&["nowhere"][..], &["127.0.0.1"], &["127.0.0.1:0", "more"], &["--help"]] {
        let ended = Launch::new(&program).args(arguments).run();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ended.stderr.starts_with("usage: redis [ADDRESS]"), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    let taken = redis();
    let ended = Launch::new(&program).args(&[&taken.address().to_string()]).run();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.starts_with("redis: cannot listen on 127.0.0.1:"), "{}", ended.stderr);
}

#[test]
fn a_subscriber_that_does_not_read_is_reset_and_hurts_nobody() {
    let server = redis();
    let slow = Peer::narrow(server.address());
    slow.send(b"SUBSCRIBE news\r\n");
    slow.expect(b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    let publisher = Peer::connect(server.address());
    let message = request(&[b"PUBLISH".to_vec(), b"news".to_vec(), vec![b'x'; 1 << 20]]);
    let mut heard = b"1".to_vec();
    let mut count = 0;
    while heard == b"1" {
        count += 1;
        assert!(count < 64, "it is never given up");
        publisher.send(&message);
        heard = publisher.receive(4)[1..2].to_vec();
    }
    // What it is owed is bounded by 16 MiB, and by what the kernel holds.
    assert!(count > 14, "given up after {count} MiB");
    slow.expect_reset();
}
