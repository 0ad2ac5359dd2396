//! Clients that others wrote: nc, socat, Python's asyncio, over TCP and Unix sockets; and one that
//! writes before it reads.

mod serve;

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

use serve::{edgeloop, serve};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use testkit::{
    NC, PYTHON, Peer, SOCAT, Server, Stream, in_full, machine_to_myself, pour, say, skip_unless,
};

const MIB: u64 = 1024 * 1024;

/// A gibibyte where the optimiser has been at work, less where it has not.
fn large() -> u64 {
    match (cfg!(debug_assertions), in_full()) {
        (false, _) => 1024 * MIB,
        (true, true) => 256 * MIB,
        (true, false) => 64 * MIB,
    }
}

/// A file of pseudo-random bytes, at its start, and the SHA-256 of them.
fn large_file() -> (File, Vec<u8>) {
    let mut file = tempfile::tempfile().expect("a temporary file");
    let mut hash = Sha256::new();
    let mut stream = Stream::new(0);
    {
        let mut writer = BufWriter::new(&mut file);
        // Eight different mebibytes, each numbered, so that neither order nor loss can hide.
        let pieces: Vec<Vec<u8>> = (0..8).map(|_| stream.take(1024 * 1024)).collect();
        for number in 0..large() / MIB {
            let mut piece = pieces[usize::try_from(number % 8).expect("below 8")].clone();
            piece[..8].copy_from_slice(&number.to_be_bytes());
            hash.update(&piece);
            writer.write_all(&piece).expect("write the file");
        }
        writer.flush().expect("write the file");
    }
    file.rewind().expect("rewind");
    (file, hash.finalize().to_vec())
}

fn nc(server: &Server) -> Command {
    let mut nc = Command::new("nc");
    nc.args(["-N", "127.0.0.1", &server.port().to_string()]);
    nc
}

/// Runs a client with this on its standard input.
#[track_caller]
fn answer(mut client: Command, input: &[u8]) -> Output {
    let mut child = client
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the client");
    child.stdin.take().expect("a pipe").write_all(input).expect("write to the client");
    child.wait_with_output().expect("the client's output")
}

/// Runs a client with this file on its standard input, and returns the SHA-256 of its output.
#[track_caller]
fn hash_of_echo(mut client: Command, file: File) -> Vec<u8> {
    let mut child = client
        .stdin(file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the client");
    let mut hash = Sha256::new();
    let mut output = child.stdout.take().expect("a pipe");
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match output.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => hash.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("cannot read from the client: {error}"),
        }
    }
    let Output { status, stderr, .. } = child.wait_with_output().expect("wait for the client");
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    hash.finalize().to_vec()
}

#[test]
fn nc_gets_its_hello() {
    if skip_unless("nc_gets_its_hello", NC) {
        return;
    }
    let server = serve(&[]);
    let output = answer(nc(&server), b"hello\n");
    assert_eq!(output.stdout, b"hello\n");
    assert!(output.status.success());
}

#[test]
fn nc_gets_a_large_file_back_with_the_same_hash() {
    if skip_unless("nc_gets_a_large_file_back_with_the_same_hash", NC) {
        return;
    }
    let server = serve(&[]);
    let (file, hash) = large_file();
    assert_eq!(hash_of_echo(nc(&server), file), hash);
}

#[test]
fn socat_gets_a_large_file_back_with_the_same_hash() {
    if skip_unless("socat_gets_a_large_file_back_with_the_same_hash", SOCAT) {
        return;
    }
    let server = serve(&[]);
    let (file, hash) = large_file();
    let mut socat = Command::new("socat");
    // It waits so many seconds for the rest after its own input has ended.
    socat.args(["-t", "30", "-", &format!("TCP:127.0.0.1:{}", server.port())]);
    assert_eq!(hash_of_echo(socat, file), hash);
}

const ASYNCIO: &str = r#"
import asyncio, os, sys

def connect(to):
    if to.isdigit():
        return asyncio.open_connection('127.0.0.1', int(to))
    return asyncio.open_unix_connection(to.replace('@', '\0'))

async def chat(to, number):
    reader, writer = await connect(to)
    for length in (1, 64, 1000, 65536, 300000):
        data = os.urandom(length)
        writer.write(data)
        assert await reader.readexactly(length) == data, (number, length)
    data = os.urandom(200000)
    writer.write(data)
    writer.write_eof()
    assert await reader.read() == data, number
    writer.close()
    await writer.wait_closed()

async def main():
    await asyncio.gather(*(chat(sys.argv[1], number) for number in range(100)))
    print('all is well')

asyncio.run(main())
"#;

#[test]
fn a_hundred_asyncio_clients_get_their_echo() {
    if skip_unless("a_hundred_asyncio_clients_get_their_echo", PYTHON) {
        return;
    }
    let server = serve(&[]);
    chat_to(&server.port().to_string());
}

#[track_caller]
fn chat_to(service: &str) {
    let mut python = Command::new("python3");
    python.args(["-c", ASYNCIO, service]);
    let output = answer(python, b"");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "all is well\n", "{complaints}");
}

/// A server at a path and at a name without a file, which are told without their `unix:`.
fn on_unix(test: &str) -> (Server, TempDir, [String; 2]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket").to_str().expect("a path in UTF-8").to_owned();
    let services = [path, format!("@edgeloop-clients-{}-{test}", std::process::id())];
    let [path, name] = services.each_ref().map(|service| format!("unix:{service}"));
    (edgeloop(&["serve", &path, &name]).listeners(2).start(), folder, services)
}

#[test]
fn socat_gets_a_large_file_back_over_unix_sockets() {
    if skip_unless("socat_gets_a_large_file_back_over_unix_sockets", SOCAT) {
        return;
    }
    let (_server, _folder, [path, name]) = on_unix("socat");
    let name = name.trim_start_matches('@');
    for service in [format!("UNIX-CONNECT:{path}"), format!("ABSTRACT-CONNECT:{name}")] {
        let (file, hash) = large_file();
        let mut socat = Command::new("socat");
        socat.args(["-t", "30", "-", &service]);
        assert_eq!(hash_of_echo(socat, file), hash, "{service}");
    }
}

#[test]
fn nc_gets_a_large_file_back_over_a_unix_socket() {
    if skip_unless("nc_gets_a_large_file_back_over_a_unix_socket", NC) {
        return;
    }
    let (_server, _folder, [path, _]) = on_unix("nc");
    let (file, hash) = large_file();
    let mut nc = Command::new("nc");
    nc.args(["-N", "-U", &path]);
    assert_eq!(hash_of_echo(nc, file), hash);
}

#[test]
fn a_hundred_asyncio_clients_get_their_echo_over_unix_sockets() {
    if skip_unless("a_hundred_asyncio_clients_get_their_echo_over_unix_sockets", PYTHON) {
        return;
    }
    let (_server, _folder, services) = on_unix("asyncio");
    for service in &services {
        chat_to(service);
    }
}

#[test]
fn who_writes_all_before_reading_gets_all_that_flow_control_let_through() {
    let server = serve(&[]);
    let peers = [Peer::connect(server.address())];
    let mut streams = [Stream::new(50)];
    pour(&peers, &mut streams);
    peers[0].half_close();
    let echo = peers[0].receive_to_end();
    let sent = Stream::new(50).take(usize::try_from(streams[0].position()).expect("a length"));
    assert!(sent.len() > 1_000_000, "flow control let only {} bytes through", sent.len());
    assert_eq!(Sha256::digest(&echo), Sha256::digest(&sent));
}

#[test]
fn without_arguments_it_is_the_echo_server_on_port_3000() {
    let test = "without_arguments_it_is_the_echo_server_on_port_3000";
    let _turn = machine_to_myself();
    if TcpListener::bind("0.0.0.0:3000").is_err() {
        say(&format!("SKIPPED: {test}: port 3000 is taken"));
        return;
    }
    let server = edgeloop(&[]).start();
    assert_eq!(server.addresses()[0].to_string(), "0.0.0.0:3000");
    Peer::connect(server.address()).expect_echo(b"hello\n");
}
