//! Requests as no client sends them, and the program's start and end.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use testkit::{Launch, PATIENCE, Peer, Server, eventually};

use crate::body::{MAX_BODY, MAX_LINE};
use crate::request::{MAX_HEAD, MAX_HEADERS};
use crate::server::HEAD_TIMEOUT;
use crate::{HELLO, PROGRAM, generated, ok, start};

/// Takes the dates out of answers.
fn undated(answers: &[u8]) -> String {
    let text = String::from_utf8_lossy(answers);
    let mut parts = text.split("\r\nDate: ");
    let first = parts.next().unwrap_or_default().to_owned();
    let date = "Sat, 28 Nov 2026 01:00:00 GMT".len();
    parts.fold(first, |all, part| all + "\r\nDate: " + &part[date..])
}

/// Sends this, and the end of the stream; returns all that is answered, without dates.
fn answers(server: &Server, requests: &[u8]) -> String {
    let peer = Peer::connect(server.address());
    peer.send(requests);
    peer.half_close();
    undated(&peer.receive_to_end())
}

fn expected(bodies: &[&[u8]]) -> String {
    let answers: Vec<Vec<u8>> = bodies.iter().map(|body| ok("", body)).collect();
    String::from_utf8(answers.concat()).expect("text")
}

#[test]
fn a_hundred_requests_at_once_and_byte_by_byte() {
    let server = start();
    let (mut requests, mut bodies) = (Vec::new(), Vec::new());
    for number in 0..25 {
        let chunk = format!("{number:x}-").repeat(3);
        let size = chunk.len();
        requests.extend(
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\n\r\n\
                 POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n{chunk}\r\n\
                 PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
                 1 ; a=\"b\"\r\n[\r\n{size:X}\r\n{chunk}\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n\
                 GET http://a/bytes/{number}?query HTTP/1.1\r\nHost: a\r\n\r\n"
            )
            .into_bytes(),
        );
        bodies.push(HELLO.to_vec());
        bodies.push(chunk.clone().into_bytes());
        bodies.push(format!("[{chunk}").into_bytes());
        bodies.push(generated(number));
    }
    let bodies: Vec<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    assert_eq!(bodies.len(), 100);
    assert_eq!(answers(&server, &requests), expected(&bodies));

    let peer = Peer::connect(server.address());
    for byte in &requests {
        peer.send(&[*byte]);
    }
    peer.half_close();
    assert_eq!(undated(&peer.receive_to_end()), expected(&bodies));
}

#[test]
fn a_body_on_any_route_is_read_before_the_next_request() {
    let server = start();
    let requests = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\n\r\nGET /no HTTP/1.1\r\n\
        GET /bytes/1 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(answers(&server, requests), expected(&[HELLO, b"0"]));
}

#[test]
fn a_connection_is_kept_as_both_ends_say() {
    let server = start();
    for (request, connection) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "close"),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: TE, Close\r\n\r\n", "close"),
        ("GET / HTTP/1.0\r\n\r\n", "close"),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "keep-alive"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", ""),
    ] {
        let answers = answers(&server, request.repeat(2).as_bytes());
        let field = format!("\r\nConnection: {connection}\r\n");
        assert_eq!(answers.contains(&field), !connection.is_empty(), "{request:?}: {answers}");
        let count = answers.matches("HTTP/1.1 200 OK").count();
        assert_eq!(count, if connection == "close" { 1 } else { 2 }, "{request:?}: {answers}");
    }
}

#[test]
fn head_has_the_fields_and_no_body() {
    let server = start();
    let requests = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nHEAD /chunked/9 HTTP/1.1\r\nHost: a\r\n\r\n\
        HEAD /bytes/9 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /no HTTP/1.1\r\nHost: a\r\n\r\n";
    let answers = answers(&server, requests);
    let heads: Vec<&str> = answers.split_terminator("\r\n\r\n").collect();
    assert_eq!(heads.len(), 4, "{answers}");
    for (head, end) in heads.iter().zip([
        "Content-Length: 14",
        "Transfer-Encoding: chunked",
        "Content-Length: 9",
        "Content-Length: 10",
    ]) {
        assert!(head.starts_with("HTTP/1.1 ") && head.ends_with(end), "{head}");
    }
}

/// Each is one request, and the status that it is refused with.
fn refused() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes();
    let post = |fields: &str, body: &str| {
        format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}").into_bytes()
    };
    let chunks = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    let large = MAX_BODY + 1;
    vec![
        ("no request", b"hello\r\n\r\n".into(), "400"),
        ("no version", b"GET /\r\n\r\n".into(), "400"),
        ("another protocol", b"GET / FTP/1.1\r\n\r\n".into(), "400"),
        ("no host", b"GET / HTTP/1.1\r\n\r\n".into(), "400"),
        ("two hosts", get("Host: b\r\n"), "400"),
        ("blank before the colon", get("Content-Length : 0\r\n"), "400"),
        ("folded line", get("X: a\r\n b\r\n"), "400"),
        ("folded first line", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n".into(), "400"),
        ("bare CR", get("X: a\rY: b\r\n"), "400"),
        ("bare LF", get("X: a\nY: b\r\n"), "400"),
        ("NUL", get("X: a\0b\r\n"), "400"),
        ("two lengths", post("Content-Length: 1\r\nContent-Length: 2\r\n", "ab"), "400"),
        ("list of lengths", post("Content-Length: 1, 2\r\n", "ab"), "400"),
        ("signed length", post("Content-Length: +1\r\n", "a"), "400"),
        ("negative length", post("Content-Length: -1\r\n", "a"), "400"),
        ("no length", post("Content-Length: \r\n", ""), "400"),
        ("hexadecimal length", post("Content-Length: 0x1\r\n", "a"), "400"),
        (
            "length and chunks",
            post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            "400",
        ),
        (
            "chunks twice",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            "400",
        ),
        (
            "chunks in HTTP/1.0",
            b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            "400",
        ),
        ("unknown coding", post("Transfer-Encoding: gzip, chunked\r\n", ""), "501"),
        ("hidden coding", post("Transfer-Encoding: \x0bchunked\r\n", ""), "400"),
        ("chunk without a size", chunks("\r\n"), "400"),
        ("chunk with a sign", chunks("+1\r\na\r\n"), "400"),
        ("chunk with a prefix", chunks("0x1\r\na\r\n"), "400"),
        ("chunk with a blank in front", chunks(" 1\r\na\r\n"), "400"),
        ("chunk longer than its size", chunks("1\r\nab\r\n"), "400"),
        ("chunk line with a bare LF", chunks("1\na\r\n0\r\n\r\n"), "400"),
        ("extension with a bare LF", chunks("1;\n\r\na\r\n0\r\n\r\n"), "400"),
        ("trailer with a bare CR", chunks("0\r\na\rb\r\n\r\n"), "400"),
        ("endless extension", chunks(&format!("1;{}", "x".repeat(MAX_LINE))), "431"),
        ("endless trailer", chunks(&format!("0\r\nX: {}", "x".repeat(MAX_LINE))), "431"),
        (
            "endless trailers",
            chunks(&format!("0\r\n{}", "X: y\r\n".repeat(MAX_BODY / 4 + 2))),
            "413",
        ),
        ("too large", post(&format!("Content-Length: {large}\r\n"), ""), "413"),
        ("far too large", post("Content-Length: 99999999999999999999999\r\n", ""), "413"),
        ("too large a chunk", chunks(&format!("{large:x}\r\n")), "413"),
        ("far too large a chunk", chunks("fffffffffffffffffffffff\r\n"), "413"),
        (
            "too many chunks",
            chunks(&format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(MAX_BODY / 0x10000 + 1)),
            "413",
        ),
        ("too long a target", format!("GET /{}", "x".repeat(MAX_HEAD)).into_bytes(), "414"),
        ("unknown expectation", post("Expect: tea\r\nContent-Length: 1\r\n", "a"), "417"),
        ("too large a head", get(&format!("X: {}\r\n", "x".repeat(MAX_HEAD))), "431"),
        ("too many headers", get(&"X: y\r\n".repeat(MAX_HEADERS)), "431"),
        ("unknown method", b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n".into(), "501"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), "505"),
        ("a version to come", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n".into(), "505"),
    ]
}

/// Neither behind such a request nor inside of it is there another one.
#[test]
fn what_is_wrong_or_ambiguous_is_refused_and_nothing_behind_it_is_answered() {
    let server = start();
    let smuggled = b"GET /bytes/3 HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3);
    for (what, request, status) in refused() {
        let peer = Peer::connect(server.address());
        peer.send(&[&request[..], &smuggled].concat());
        // The server closes, and not by a reset that would destroy its answer.
        let answers = undated(&peer.receive_to_end());
        assert!(answers.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answers}");
        assert!(answers.contains("\r\nConnection: close\r\n"), "{what}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1").count(), 1, "{what}: {answers}");
    }
}

#[test]
fn what_is_just_small_enough_is_served() {
    let server = start();
    let body = "x".repeat(MAX_BODY);
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {MAX_BODY}\r\n\r\n");
    assert_eq!(answers(&server, (head + &body).as_bytes()), expected(&[body.as_bytes()]));
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    let request = head + &format!("{MAX_BODY:x}\r\n{body}\r\n0\r\n\r\n");
    assert_eq!(answers(&server, request.as_bytes()), expected(&[body.as_bytes()]));
    let fields = "X: y\r\n".repeat(MAX_HEADERS - 1);
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    assert_eq!(answers(&server, request.as_bytes()), expected(&[HELLO]));
    let begin = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    let request = format!("{begin}{}\r\n\r\n", "x".repeat(MAX_HEAD - begin.len() - 4));
    assert_eq!(answers(&server, request.as_bytes()), expected(&[HELLO]));
}

#[test]
fn methods_that_are_not_allowed_are_named() {
    let server = start();
    let requests = b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\nPATCH /echo HTTP/1.1\r\nHost: a\r\n\r\n\
        GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let answers = answers(&server, requests);
    let all: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).collect();
    assert_eq!(all.len(), 3, "{answers}");
    assert!(all[0].starts_with("405 ") && all[0].contains("\r\nAllow: GET, HEAD\r\n"), "{answers}");
    assert!(all[1].contains("\r\nAllow: GET, HEAD, POST, PUT\r\n"), "{answers}");
    assert!(all[2].starts_with("200 "), "{answers}");
}

#[test]
fn a_client_that_asks_first_is_told_to_send_or_refused() {
    let server = start();
    let ask = |path: &str, length: usize| {
        let peer = Peer::connect(server.address());
        let fields = format!("Host: a\r\nExpect: 100-Continue\r\nContent-Length: {length}\r\n");
        peer.send(format!("POST {path} HTTP/1.1\r\n{fields}\r\n").as_bytes());
        peer
    };
    let peer = ask("/echo", 5);
    peer.expect(b"HTTP/1.1 100 Continue\r\n\r\n");
    peer.send(b"hello");
    peer.half_close();
    assert_eq!(undated(&peer.receive_to_end()), expected(&[b"hello"]));
    let answer = undated(&ask("/echo", MAX_BODY + 1).receive_to_end());
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

/// A byte now and then wins no time.
#[test]
fn a_slow_head_is_answered_and_closed_in_time() {
    let server = start();
    let peer = Peer::connect(server.address());
    let begin = Instant::now();
    peer.send(b"GET / HTTP/1.1\r\nX: ");
    while !peer.hears_within(Duration::from_millis(500)) {
        assert!(begin.elapsed() < PATIENCE, "nothing happens");
        peer.send(b"x");
    }
    assert!(begin.elapsed() >= HEAD_TIMEOUT);
    let answer = undated(&peer.receive_to_end());
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
}

#[test]
fn a_signal_ends_it_when_what_was_asked_is_answered() {
    const BYTES: usize = 20_000_000;
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = start();
        let idle = Peer::connect(server.address());
        idle.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(idle.hears_within(PATIENCE));
        let busy = Peer::narrow(server.address());
        busy.send(format!("GET /bytes/{BYTES} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert!(busy.hears_within(PATIENCE));
        server.signal(signal);
        eventually("it listens no more", || Peer::try_connect(server.address()).is_err());
        let received = busy.receive_to_end();
        assert!(received.ends_with(&generated(BYTES)), "{} bytes came", received.len());
        let answer = undated(&idle.receive_to_end());
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(server.exit_code_within(PATIENCE), 0);
    }
}

#[test]
fn wrong_arguments_are_told_in_a_line() {
    for arguments in [&[][..], &["nonsense"], &["127.0.0.1"], &["127.0.0.1:0", "more"]] {
        let ended = Launch::new(&PROGRAM).args(arguments).run();
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stderr, "usage: http ADDRESS, such as 127.0.0.1:8080\n", "{arguments:?}");
    }
    let server = start();
    let address = server.address().to_string();
    let ended = Launch::new(&PROGRAM).args(&[&address]).run();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let expected = format!("http: cannot listen on {address}: ");
    assert!(ended.stderr.starts_with(&expected), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}
