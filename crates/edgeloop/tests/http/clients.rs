//! curl, wrk and ab.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use testkit::{AB, CURL, Launch, Stream, WRK, skip_unless};

use crate::{HELLO, generated, start};

/// What curl received, and what it tells about it.
struct Got {
    body: Vec<u8>,
    told: String,
}

#[track_caller]
fn curl(arguments: &[&str], body: &[u8]) -> Got {
    let mut curl = Command::new("curl")
        .args(["--silent", "--show-error", "--verbose", "--noproxy", "*", "--max-time", "60"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("curl starts");
    let mut stdin = curl.stdin.take().expect("a pipe");
    let body = body.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&body));
    let output = curl.wait_with_output().expect("curl ends");
    // A curl that reads no body closes the pipe.
    let _ = feeder.join().expect("no panic");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {}\n{told}", output.status);
    Got { body: output.stdout, told }
}

#[test]
fn curl_is_served() {
    if skip_unless("curl_is_served", CURL) {
        return;
    }
    let server = start();
    let url = |path: &str| format!("http://{}{path}", server.address());

    let two = curl(&[&url("/"), &url("/bytes/100")], b"");
    assert_eq!(two.body, [HELLO, &generated(100)].concat());
    assert!(two.told.contains("Re-using existing connection"), "{}", two.told);

    let body = Stream::new(7).take(200_000);
    let post = ["--data-binary", "@-", &url("/echo")];
    let counted = curl(&post, &body);
    assert!(counted.told.contains("> Content-Length: 200000"), "{}", counted.told);
    assert!(counted.body == body, "{} bytes came back", counted.body.len());

    let chunked = curl(&[&["-H", "Transfer-Encoding: chunked"][..], &post].concat(), &body);
    assert!(chunked.body == body, "{} bytes came back", chunked.body.len());

    let expects = curl(&[&["-H", "Expect: 100-continue"][..], &post].concat(), &body);
    assert!(expects.told.contains("< HTTP/1.1 100 Continue"), "{}", expects.told);
    assert!(expects.body == body, "{} bytes came back", expects.body.len());

    let head = curl(&["--head", &url("/bytes/1000000"), &url("/")], b"");
    let fields = String::from_utf8_lossy(&head.body).into_owned();
    assert!(fields.contains("Content-Length: 1000000\r\n"), "{fields}");
    assert!(head.told.contains("Re-using existing connection"), "{}", head.told);

    let chunks = curl(&[&url("/chunked/100000")], b"");
    assert!(chunks.told.contains("< Transfer-Encoding: chunked"), "{}", chunks.told);
    assert!(chunks.body == generated(100_000), "{} bytes came", chunks.body.len());

    let old = curl(&["--http1.0", &url("/chunked/100000")], b"");
    assert!(!old.told.contains("< Transfer-Encoding"), "{}", old.told);
    assert!(old.told.contains("< Connection: close"), "{}", old.told);
    assert!(old.body == generated(100_000), "{} bytes came", old.body.len());

    let missing = curl(&["--output", "/dev/null", "--write-out", "%{http_code}", &url("/no")], b"");
    assert_eq!(missing.body, b"404");
}

#[test]
fn a_hundred_megabytes_come_whole_and_are_never_held() {
    const BYTES: usize = 100_000_000;
    if skip_unless("a_hundred_megabytes_come_whole_and_are_never_held", CURL) {
        return;
    }
    let server = start();
    for path in ["bytes", "chunked"] {
        let url = format!("http://{}/{path}/{BYTES}", server.address());
        let mut curl = Command::new("curl")
            .args(["--silent", "--noproxy", "*", "--max-time", "60", &url])
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl starts");
        let mut stdout = curl.stdout.take().expect("a pipe");
        // A piece begins where the one before it ended.
        let pattern = generated(64 * 1024 + crate::server::PATTERN.len());
        let (mut piece, mut received) = (vec![0; 64 * 1024], 0);
        loop {
            let count = stdout.read(&mut piece).expect("read from curl");
            if count == 0 {
                break;
            }
            let from = received % crate::server::PATTERN.len();
            assert!(piece[..count] == pattern[from..from + count], "other bytes at {received}");
            received += count;
        }
        assert!(curl.wait().expect("curl ends").success());
        assert_eq!(received, BYTES, "{path}");
    }
    let peak = server.process().peak().expect("it runs");
    assert!(peak < 32 << 20, "the server took {peak} bytes");
}

#[test]
fn wrk_counts_no_error() {
    if skip_unless("wrk_counts_no_error", WRK) {
        return;
    }
    let server = start();
    for path in ["/", "/chunked/1000"] {
        let url = format!("http://{}{path}", server.address());
        let wrk = Launch::new("wrk").args(&["-t1", "-c20", "-d1", &url]).run();
        assert_eq!(wrk.code, Some(0), "{}", wrk.stderr);
        assert!(wrk.stdout.contains("requests in"), "{}", wrk.stdout);
        for trouble in ["Socket errors", "Non-2xx"] {
            assert!(!wrk.stdout.contains(trouble), "{}", wrk.stdout);
        }
    }
}

#[test]
fn ab_counts_no_error() {
    if skip_unless("ab_counts_no_error", AB) {
        return;
    }
    let server = start();
    // It speaks HTTP/1.0, with and without keep-alive.
    for (arguments, kept) in [(&["-k"][..], true), (&[], false)] {
        for path in ["/", "/bytes/100000"] {
            let url = format!("http://{}{path}", server.address());
            let rest = ["-q", "-c", "10", "-n", "1000", &url];
            let ab = Launch::new("ab").args(&[arguments, &rest].concat()).run();
            assert_eq!(ab.code, Some(0), "{}", ab.stderr);
            let count = |name: &str| {
                let line = ab.stdout.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|line| line.trim().parse().ok()).unwrap_or(0)
            };
            assert_eq!(count("Complete requests:"), 1000, "{}", ab.stdout);
            assert_eq!(count("Failed requests:"), 0, "{}", ab.stdout);
            assert_eq!(count("Non-2xx responses:"), 0, "{}", ab.stdout);
            assert_eq!(count("Keep-Alive requests:"), if kept { 1000 } else { 0 }, "{}", ab.stdout);
        }
    }
}
