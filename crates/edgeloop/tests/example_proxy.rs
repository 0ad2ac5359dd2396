//! The example `proxy`, as a program: between real clients and real servers, whatever they do.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::Signal;
use testkit::{
    Launch, NC, PATIENCE, Peer, SOCAT, Server, Stream, assert_same_bytes, eventually, example,
    in_full_or_scaled_down, skip_unless,
};

/// A server behind the proxy: what connects to it is taken one by one.
struct Upstream(TcpListener);

impl Upstream {
    fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").expect("a listener"))
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }

    #[track_caller]
    fn accept(&self) -> Peer {
        Peer::over(self.0.accept().expect("a connection").0).expect("its options")
    }
}

/// An address at which nobody listens.
fn nobody() -> SocketAddr {
    // Connecting to it is what would bind it, and nothing here does.
    Upstream::start().address()
}

fn proxy(upstreams: &[SocketAddr]) -> Server {
    let upstreams: Vec<_> = upstreams.iter().map(ToString::to_string).collect();
    let mut arguments = vec!["127.0.0.1:0"];
    arguments.extend(upstreams.iter().map(String::as_str));
    Server::start(&example("proxy"), &arguments)
}

/// A proxy, a client of it, and the other end of that.
fn joined() -> (Server, Peer, Peer) {
    let upstream = Upstream::start();
    let proxy = proxy(&[upstream.address()]);
    let client = Peer::connect(proxy.address());
    let server = upstream.accept();
    (proxy, client, server)
}

#[test]
fn much_goes_both_ways_at_once_and_arrives_as_it_was_sent() {
    let test = "much_goes_both_ways_at_once_and_arrives_as_it_was_sent";
    let length = in_full_or_scaled_down(test, 200, 20, "MB each way") * 1_000_000;
    let (_proxy, client, server) = joined();
    thread::scope(|scope| {
        for (seed, from, to) in [(1, &client, &server), (2, &server, &client)] {
            scope.spawn(move || {
                from.try_send_stream(seed, length).expect("send the stream");
                from.half_close();
            });
            scope.spawn(move || {
                to.expect_stream(&mut Stream::new(seed), length);
                to.expect_eof();
            });
        }
    });
}

#[test]
fn a_client_that_ends_its_stream_gets_its_answer() {
    let (_proxy, client, server) = joined();
    client.send(b"the whole request");
    client.half_close();
    assert_same_bytes(&server.receive_to_end(), b"the whole request");
    server.send(b"the whole answer");
    server.close();
    assert_same_bytes(&client.receive_to_end(), b"the whole answer");
}

#[test]
fn a_server_that_ends_its_stream_gets_what_the_client_sends() {
    let (_proxy, client, server) = joined();
    server.send(b"a greeting");
    server.half_close();
    assert_same_bytes(&client.receive_to_end(), b"a greeting");
    client.send(b"the rest");
    client.close();
    assert_same_bytes(&server.receive_to_end(), b"the rest");
}

#[test]
fn a_slow_reader_costs_no_memory() {
    let upstream = Upstream::start();
    let proxy = proxy(&[upstream.address()]);
    let before = proxy.process().memory().rss;
    let pairs: Vec<_> = (0..20)
        .map(|_| {
            let client = Peer::narrow(proxy.address());
            let server = upstream.accept();
            // More than fits into the buffers of all four sockets, which the kernel tunes.
            let mut filled = 0;
            let full = vec![b'x'; 1 << 20];
            while let more @ 1.. = server.send_what_fits(&full) {
                filled += more;
            }
            (client, server, filled)
        })
        .collect();
    eventually("the proxy waits", || proxy.process().sleeps());
    let grown = proxy.process().memory().rss.saturating_sub(before);
    assert!(grown < 20 * 256 * 1024, "{grown} bytes for 20 slow readers");
    for (client, server, filled) in pairs {
        server.close();
        let got = client.receive_to_end();
        assert!(got.len() == filled && got.iter().all(|&byte| byte == b'x'), "{} bytes", got.len());
    }
}

#[test]
fn a_server_that_dies_is_a_reset_behind_what_it_has_sent() {
    let (_proxy, client, server) = joined();
    server.send(b"half of the ans");
    client.expect(b"half of the ans");
    server.reset();
    client.expect_reset();
}

#[test]
fn a_client_that_dies_is_a_reset_for_the_server() {
    let (_proxy, client, server) = joined();
    client.send(b"half of the que");
    server.expect(b"half of the que");
    client.reset();
    server.expect_reset();
}

#[test]
fn an_upstream_that_refuses_is_passed_over() {
    let upstream = Upstream::start();
    let proxy = proxy(&[nobody(), nobody(), upstream.address()]);
    for round in 0..6 {
        let client = Peer::connect(proxy.address());
        client.send(&[round]);
        upstream.accept().expect(&[round]);
    }
}

#[test]
fn clients_go_to_the_upstreams_in_turn() {
    let upstreams = [Upstream::start(), Upstream::start(), Upstream::start()];
    let proxy = proxy(&upstreams.each_ref().map(Upstream::address));
    for round in 0..6 {
        let client = Peer::connect(proxy.address());
        client.send(&[round]);
        upstreams[usize::from(round) % 3].accept().expect(&[round]);
    }
}

#[test]
fn a_client_that_no_upstream_takes_is_reset() {
    let proxy = proxy(&[nobody(), nobody()]);
    Peer::expect_to_be_refused(proxy.address());
    eventually("the proxy says why", || {
        !proxy.log().lines_with("no upstream can be connected to").is_empty()
    });
}

#[test]
fn a_stream_that_is_under_way_at_a_sigterm_is_finished() {
    for signal in [Signal::TERM, Signal::INT] {
        let (mut proxy, client, server) = joined();
        let length = 3_000_000;
        server.send(b"it begins");
        client.expect(b"it begins");
        proxy.signal(signal);
        eventually("the proxy accepts no more", || Peer::try_connect(proxy.address()).is_err());
        thread::scope(|scope| {
            scope.spawn(|| {
                server.try_send_stream(3, length).expect("send the stream");
                server.half_close();
            });
            client.expect_stream(&mut Stream::new(3), length);
            client.expect_eof();
        });
        client.close();
        server.expect_eof();
        server.close();
        assert_eq!(proxy.exit_code_within(PATIENCE), 0);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (mut proxy, client, _server) = joined();
    client.send(b"hello");
    assert_eq!(proxy.exit_code_of_signals(Signal::TERM, PATIENCE), 0);
}

#[test]
fn wrong_arguments_are_told_in_one_line() {
    let program = example("proxy");
    for (arguments, words) in [
        (&[][..], "usage: proxy LISTEN UPSTREAM..."),
        (&["127.0.0.1:0"], "usage: proxy LISTEN UPSTREAM..."),
        (&["127.0.0.1:0", "127.0.0.1"], "127.0.0.1: invalid socket address"),
        (&["here", "127.0.0.1:1"], "here: invalid socket address"),
        (&["127.0.0.1:0", "127.0.0.1:x"], "127.0.0.1:x: invalid port value"),
    ] {
        let ended = Launch::new(&program).args(arguments).run();
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        assert!(ended.stderr.contains(words), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    let taken = Upstream::start().address();
    let _taken = TcpListener::bind(taken).expect("the listener");
    let ended = Launch::new(&program).args(&[&taken.to_string(), "127.0.0.1:1"]).run();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cannot listen on"), "{}", ended.stderr);
}

/// Says something by a client that ends its stream, and returns what that has heard.
#[track_caller]
fn heard_by(command: &mut Command, upstream: &Upstream) -> Vec<u8> {
    let mut client =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client");
    client.stdin.take().expect("a pipe").write_all(b"the whole request").expect("write");
    let server = upstream.accept();
    assert_same_bytes(&server.receive_to_end(), b"the whole request");
    server.send(b"the whole answer");
    server.close();
    client.wait_with_output().expect("its end").stdout
}

#[test]
fn real_clients_end_their_streams_and_get_their_answers() {
    let test = "real_clients_end_their_streams_and_get_their_answers";
    let upstream = Upstream::start();
    let proxy = proxy(&[upstream.address()]);
    let address = proxy.address();
    if !skip_unless(test, NC) {
        let mut nc = Command::new("nc");
        nc.args(["-N", &address.ip().to_string(), &address.port().to_string()]);
        assert_same_bytes(&heard_by(&mut nc, &upstream), b"the whole answer");
    }
    if !skip_unless(test, SOCAT) {
        let mut socat = Command::new("socat");
        socat.args(["-t", "60", "-", &format!("TCP:{address}")]);
        assert_same_bytes(&heard_by(&mut socat, &upstream), b"the whole answer");
    }
}
