//! Whoever asks gets an answer: on addresses of all kinds, from clients that others wrote.

use std::io::Write as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use testkit::{NC, PATIENCE, PYTHON, Peer, SOCAT, skip_unless};

use crate::{Client, Totals, edgeloop, server};

#[test]
fn c51_an_answer_is_what_was_sent_and_no_more() {
    for address in ["udp://127.0.0.1:0", "udp://[::1]:0"] {
        let server = server(address, &[]).start();
        let client = Client::of(server.udp_address());
        let longest = if address.contains("127") { 65_507 } else { 65_527 };
        for length in [0, 1, 1472, 1473, 9000, longest] {
            let bytes: Vec<u8> = (0..=250).cycle().step_by(7).take(length).collect();
            client.expect_echo(&bytes);
        }
        client.expect_silence();
        Totals::of(server).expect(&[("datagrams_in", 6), ("datagrams_out", 6)]);
    }
}

#[test]
fn c50_an_answer_comes_from_the_address_that_was_asked() {
    let server =
        edgeloop(&["serve", "udp://0", "udp://[::]:0", "--ipv6-only"]).listeners(2).start();
    let [v4, v6] = server.udp_addresses() else { panic!("{:?}", server.udp_addresses()) };
    // `Client` looks where an answer comes from.
    for ip in ["127.0.0.1", "127.0.0.2", "127.255.255.254"] {
        let server = format!("{ip}:{}", v4.port()).parse().expect("an address");
        Client::at("127.0.0.1:0", server).expect_echo(ip.as_bytes());
        Client::at("0.0.0.0:0", server).expect_echo(ip.as_bytes());
    }
    Client::of(format!("[::1]:{}", v6.port()).parse().expect("an address")).expect_echo(b"::1");
    let both = crate::server("udp://[::]:0", &[]).start();
    let port = both.udp_address().port();
    for ip in ["127.0.0.1", "127.0.0.2", "[::1]"] {
        let server = format!("{ip}:{port}").parse().expect("an address");
        Client::of(server).expect_echo(ip.as_bytes());
    }
    Client::at("[::]:0", format!("[::ffff:127.0.0.3]:{port}").parse().expect("an address"))
        .expect_echo(b"mapped");
}

#[test]
fn datagrams_and_streams_are_served_side_by_side_on_addresses_of_all_kinds() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = format!("unix:{}", folder.path().join("echo.sock").display());
    let addresses = ["serve", "udp://localhost:0", "127.0.0.1:0", &path, "udp://127.0.0.2:0"];
    // A name can stand for several addresses, each with a line of its own.
    let mut server = edgeloop(&addresses).args(&["--log-format", "json"]).listeners(4).start();
    for line in server.log().lines_with("listening on udp://") {
        let line: Value = serde_json::from_str(&line).expect("JSON");
        let address = line["address"].as_str().expect("an address");
        assert_eq!(line["message"], format!("listening on {address}"));
    }
    let peer = Peer::connect(server.address());
    for &address in server.udp_addresses() {
        let client = Client::of(address);
        client.expect_echo(b"hello");
        peer.expect_echo(b"hello");
    }
    drop(peer);
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code_within(PATIENCE), 0);
}

#[test]
fn c37_what_waits_at_a_datagram_socket_is_answered_before_the_end() {
    let mut server = server("udp://127.0.0.1:0", &["--drain-timeout", "none"]).start();
    let client = Client::of(server.udp_address());
    server.stopped(|| {
        for number in 0..100_u32 {
            client.send(&number.to_be_bytes());
        }
        server.signal(Signal::TERM);
    });
    for number in 0..100_u32 {
        assert_eq!(client.receive(PATIENCE).as_deref(), Some(&number.to_be_bytes()[..]));
    }
    assert_eq!(server.exit_code_within(PATIENCE), 0);
}

#[test]
fn c24_datagram_sockets_take_descriptors_from_the_cap() {
    let cap = |addresses: &[&str]| -> usize {
        let server = edgeloop(&["serve", "127.0.0.1:0"])
            .args(&["--pipes", "0"])
            .args(addresses)
            .descriptors(200);
        let server = server.listeners(1 + addresses.len()).start();
        let line = server.log().expect_line("max_connections=");
        let (_, rest) = line.split_once("max_connections=").expect("it");
        rest.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
    };
    let without = cap(&[]);
    assert_eq!(cap(&["udp://127.0.0.1:0", "udp://127.0.0.2:0"]), without - 2);
}

#[test]
fn c27_what_is_no_address_of_udp_is_refused_in_a_line() {
    for (address, line) in [
        (
            "udp://",
            "expected udp://HOST:PORT, udp://[IPV6]:PORT or udp://PORT, as in udp://127.0.0.1:3000",
        ),
        ("udp://localhost", "expected, behind udp://, HOST:PORT, as in localhost:3000"),
        ("quic://localhost:3", "expected an address without a scheme or a path, as in localhost:3"),
    ] {
        let ended = edgeloop(&["serve", address]).run();
        let line = format!("edgeloop: invalid value '{address}' for ADDRESS: {line}\n");
        assert_eq!((ended.code, ended.stderr), (Some(2), line));
    }
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = format!("udp://{}", taken.local_addr().expect("its address"));
    let ended = edgeloop(&["serve", &address]).run();
    let line = format!(
        "cannot bind {address}: Address already in use (os error 98) in bind; 'ss -lunp' shows who \
         listens there\n"
    );
    assert!(ended.code == Some(2) && ended.stderr.ends_with(&line), "{}", ended.stderr);
}

/// Gives a client this on its standard input, and returns the first bytes of its output.
#[track_caller]
fn answer(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let mut client = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the client");
    // Its input stays open, or it would leave before the answer.
    let mut stdin = client.stdin.take().expect("a pipe");
    stdin.write_all(input).expect("write to the client");
    let mut answer = vec![0; input.len()];
    let mut stdout = client.stdout.take().expect("a pipe");
    stdout.read_exact(&mut answer).expect("read from the client");
    let _ = client.kill();
    let _ = client.wait();
    answer
}

#[test]
fn socat_and_nc_get_their_datagrams_back() {
    let server = server("udp://127.0.0.1:0", &[]).start();
    let port = server.udp_address().port().to_string();
    let test = "socat_and_nc_get_their_datagrams_back";
    if !skip_unless(test, SOCAT) {
        let to = format!("UDP:127.0.0.1:{port}");
        assert_eq!(answer("socat", &["-", &to], b"hello, socat\n"), b"hello, socat\n");
    }
    if !skip_unless(test, NC) {
        assert_eq!(answer("nc", &["-u", "127.0.0.1", &port], b"hello, nc\n"), b"hello, nc\n");
    }
}

const PYTHON_CLIENT: &str = r#"
import asyncio, sys

class Client(asyncio.DatagramProtocol):
    def __init__(self):
        self.answers, self.done = [], asyncio.get_running_loop().create_future()

    def datagram_received(self, data, address):
        self.answers.append(data)
        if len(self.answers) == 100:
            self.done.set_result(None)

async def talk(number):
    address = ('127.0.0.1', int(sys.argv[1]))
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(Client, remote_addr=address)
    sent = [b'%d %d' % (number, count) + b'x' * count for count in range(100)]
    for start in range(0, 100, 5):
        for data in sent[start:start + 5]:
            transport.sendto(data)
        while len(client.answers) < start + 5:
            await asyncio.sleep(0.001)
    await client.done
    assert client.answers == sent, client.answers
    transport.close()

async def main():
    await asyncio.gather(*(talk(number) for number in range(10)))
    print('all is well')

asyncio.run(asyncio.wait_for(main(), 60))
"#;

#[test]
fn asyncio_clients_get_their_datagrams_back() {
    if skip_unless("asyncio_clients_get_their_datagrams_back", PYTHON) {
        return;
    }
    let server = server("udp://127.0.0.1:0", &["-vv"]).start();
    let port = server.udp_address().port().to_string();
    let python = Command::new("python3").args(["-c", PYTHON_CLIENT, &port]).output();
    let python = python.expect("start the client");
    let complaints = String::from_utf8_lossy(&python.stderr);
    assert_eq!(String::from_utf8_lossy(&python.stdout), "all is well\n", "{complaints}");
    let line = server.log().expect_line("payload=\"7 0\"");
    assert!(line.contains("TRACE datagram peer=127.0.0.1:"), "{line}");
    Totals::of(server).expect(&[("datagrams_in", 1000), ("datagrams_out", 1000)]);
}
