//! The handler on the simulated kernel: cut requests, small buffers, faults, and bad clients.

use std::time::Duration;

use edgeloop::sim::{Ending, Faults, Script, Simulation, check};
use edgeloop::{Config, Reason, Time};

use crate::server::{BODY_TIMEOUT, HEAD_TIMEOUT, IDLE_TIMEOUT, Server};
use crate::{HELLO, answer, generated, ok};

const DATE: &str = "Thu, 01 Jan 1970 00:00:00 GMT";
const SECOND: Duration = Duration::from_secs(1);

fn server() -> Server {
    let mut server = Server::default();
    server.fields = format!("\r\nDate: {DATE}\r\nContent-Type: text/plain\r\n");
    server.right_until = Some(Time::NEVER);
    server
}

/// With a low mark, so that a few hundred bytes are more than there is room for.
fn furnished(simulation: Simulation) -> Simulation {
    simulation.config(
        Config::new().idle_timeout(Some(IDLE_TIMEOUT)).high_watermark(200).low_watermark(50),
    )
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

/// A generated body in chunks of the server's size.
fn in_chunks(count: usize) -> Vec<u8> {
    let body = generated(count);
    let chunk =
        |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    let chunks: Vec<u8> = body.chunks(32 * 1024).flat_map(chunk).collect();
    answer("200 OK", DATE, "Transfer-Encoding: chunked\r\n", &[&chunks, &b"0\r\n\r\n"[..]].concat())
}

/// What a client asks in one pipeline, and what it is answered.
fn pipeline(count: usize) -> (Vec<u8>, Vec<u8>) {
    let asked = [
        &get("/")[..],
        b"\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"5;x\r\nworld\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n",
        &get(&format!("/chunked/{count}")),
        &get(&format!("/bytes/{count}")),
        b"HEAD /bytes/7 HTTP/1.1\r\nHost: a\r\n\r\n",
        &get("/none"),
    ];
    let answers = [
        ok(DATE, HELLO),
        ok(DATE, b"hello"),
        ok(DATE, b"world!"),
        in_chunks(count),
        ok(DATE, &generated(count)),
        answer("200 OK", DATE, "Content-Length: 7\r\n", b""),
        answer("404 Not Found", DATE, "Content-Length: 10\r\n", b"Not found\n"),
    ];
    (asked.concat(), answers.concat())
}

fn closing(status: &str) -> Vec<u8> {
    answer(status, DATE, "Content-Length: 0\r\nConnection: close\r\n", b"")
}

#[test]
fn requests_cut_at_any_byte_are_answered_the_same() {
    let (asked, answers) = pipeline(300);
    for at in 0..=asked.len() {
        check(0..2, |simulation| {
            let (first, second) = asked.split_at(at);
            let script = Script::new().send(first).wait(SECOND).send(second).expect(&answers);
            let report = furnished(simulation).buffers(500..=5000).peer(script).run(server())?;
            assert_eq!(report.peers[0].reason(), Some(Reason::Finished));
            Ok(())
        });
    }
}

#[test]
fn pipelines_are_answered_under_faults_and_through_small_buffers() {
    let (asked, answers) = pipeline(300);
    check(0..60, |simulation| {
        let script = Script::new().exchange(asked.repeat(5), answers.repeat(5));
        furnished(simulation)
            .buffers(1..=2000)
            .faults(Faults::passing())
            .peer(script)
            .run(server())
            .map(drop)
    });
}

#[test]
fn whoever_ends_its_stream_behind_its_requests_gets_all_answers() {
    let (asked, answers) = pipeline(40_000);
    check(0..20, |simulation| {
        let script =
            Script::new().send(asked.repeat(3)).finish().expect(answers.repeat(3)).expect_end();
        let simulation = furnished(simulation).buffers(5000..=20_000).faults(Faults::passing());
        let report = simulation.peer(script).run(server())?;
        if report.peers[0].ending == Ending::Done {
            assert_eq!(report.peers[0].reason(), Some(Reason::Finished));
        }
        Ok(())
    });
}

#[test]
fn clients_that_die_harm_no_others() {
    let (asked, answers) = pipeline(300);
    check(0..60, |mut simulation| {
        let at = simulation.random().size(0, asked.len());
        let some = simulation.random().size(1, answers.len());
        let begun = || Script::new().send(&asked[..at]);
        let dying = || Script::new().send(&asked).receive(some);
        furnished(simulation)
            .buffers(100..=2000)
            .faults(Faults::passing())
            .peer(begun().reset())
            .peer(begun().close())
            .peer(begun().vanish())
            .peer(dying().reset())
            .peer(dying().close())
            .peer(Script::new().exchange(&asked, &answers))
            .run(server())
            .map(drop)
    });
}

#[test]
fn a_client_that_never_reads_is_reset_and_costs_little() {
    check(0..20, |simulation| {
        let script = Script::new().send(get("/bytes/100000000")).wait(120 * SECOND).expect_reset();
        let report = furnished(simulation).peer(script).run(server())?;
        assert!(report.metrics.bytes_out < 100_000, "{:?}", report.metrics);
        Ok(())
    });
}

/// A byte every second wins no time.
#[test]
fn slow_heads_and_slow_bodies_end_in_time() {
    let head = get("/");
    let body = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n";
    let chunks = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (first, drip, timeout) in [
        (&b""[..], &head[..], HEAD_TIMEOUT),
        (b"", &b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n"[..], HEAD_TIMEOUT),
        (&body[..], &[b'x'; 90][..], BODY_TIMEOUT),
        (&chunks[..], &b"1\r\nx\r\n".repeat(20)[..], BODY_TIMEOUT),
    ] {
        check(0..10, |simulation| {
            let mut script = Script::new().exchange(get("/"), ok(DATE, HELLO)).send(first);
            let bytes = usize::try_from(timeout.as_secs()).expect("few");
            for byte in &drip[..bytes] {
                script = script.send([*byte]).wait(SECOND);
            }
            script = script.expect(closing("408 Request Timeout")).expect_end().close();
            let report = furnished(simulation).calm().peer(script).run(server())?;
            assert!(report.elapsed < timeout + 10 * SECOND, "{:?}", report.elapsed);
            Ok(())
        });
    }
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    check(0..10, |simulation| {
        let script = Script::new().exchange(get("/"), ok(DATE, HELLO)).expect_end();
        let report = furnished(simulation).peer(script).run(server())?;
        assert_eq!(report.peers[0].reason(), Some(Reason::IdleTimeout));
        assert!(report.elapsed >= IDLE_TIMEOUT, "{:?}", report.elapsed);
        Ok(())
    });
}

/// The drain of the loop ends who is idle; whoever is told to close is told so by a header as well.
#[test]
fn a_stop_lets_answers_be_finished() {
    check(0..20, |simulation| {
        let long = ok(DATE, &generated(100_000));
        let late = answer("200 OK", DATE, "Connection: close\r\nContent-Length: 5\r\n", b"hello");
        let post = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel";
        let report = furnished(simulation)
            .buffers(5000..=50_000)
            .peer(Script::new().exchange(get("/"), ok(DATE, HELLO)).expect_end())
            .peer(Script::new().send(get("/bytes/100000")).wait(3 * SECOND).expect(&long))
            .peer(Script::new().wait(2 * SECOND).send(post).wait(SECOND).send("lo").expect(late))
            .at(Duration::from_millis(2500), edgeloop::Handle::notify)
            .run(server())?;
        assert_eq!(report.peers[0].reason(), Some(Reason::DrainQuiet));
        Ok(())
    });
}
