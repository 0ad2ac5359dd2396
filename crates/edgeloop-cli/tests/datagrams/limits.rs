//! How much is answered, and what becomes of answers that the kernel does not send.

use std::time::Instant;

use testkit::{STRACE, eventually, skip_unless};

use crate::{Client, Totals, edgeloop, server};

/// Asks this often, each time something else, and returns how many answers came.
#[track_caller]
fn ask(clients: &[&Client], times: u32) -> u32 {
    let mut answers = 0;
    for number in 0..times {
        for client in clients {
            client.send(&number.to_be_bytes());
        }
        // So that no receive buffer overflows, neither here nor there.
        if number % 50 == 49 {
            for client in clients {
                while client.receive(std::time::Duration::from_millis(10)).is_some() {
                    answers += 1;
                }
            }
        }
    }
    for client in clients {
        while client.receive(crate::SILENCE).is_some() {
            answers += 1;
        }
    }
    answers
}

#[test]
fn c51_a_source_gets_its_rate_of_answers_and_others_theirs() {
    for address in ["udp://127.0.0.1:0", "udp://[::1]:0"] {
        let server = server(address, &["--udp-rate", "100"]).start();
        let client = Client::of(server.udp_address());
        let begin = Instant::now();
        let answers = ask(&[&client], 1000);
        let seconds = begin.elapsed().as_secs_f64();
        // A second's worth at once, and then as the bucket fills.
        let most = 100.0 * (seconds + 1.0) + 1.0;
        assert!(answers >= 100 && f64::from(answers) <= most, "{answers} in {seconds} s");
        if address.contains("127") {
            let other = Client::at("127.0.0.2:0", server.udp_address());
            assert!(ask(&[&other], 100) >= 100);
        }
        let totals = Totals::of(server);
        assert_eq!(
            totals.number("datagrams_in"),
            totals.number("datagrams_out") + totals.number("refused_rate")
        );
        totals.expect(&[("refused_total", 0), ("refused_repeat", 0)]);
    }
}

#[test]
fn c51_all_sources_together_get_their_rate_and_none_lifts_a_limit() {
    let server =
        server("udp://127.0.0.1:0", &["--udp-rate", "none", "--udp-rate-total", "100"]).start();
    let clients = ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0"]
        .map(|address| Client::at(address, server.udp_address()));
    let begin = Instant::now();
    let answers = ask(&clients.each_ref(), 300);
    let most = 100.0 * (begin.elapsed().as_secs_f64() + 1.0) + 1.0;
    assert!(answers >= 100 && f64::from(answers) <= most, "{answers}");
    let totals = Totals::of(server);
    assert!(totals.number("refused_total") > 0 && totals.number("refused_rate") == 0);

    let free = ["--udp-rate", "none", "--udp-rate-total", "none", "--udp-repeats", "none"];
    let server = crate::server("udp://127.0.0.1:0", &free).start();
    let client = Client::of(server.udp_address());
    for _ in 0..1000 {
        client.expect_echo(b"the same");
    }
    Totals::of(server).expect(&[("datagrams_out", 1000)]);
}

#[test]
fn c51_the_same_again_and_again_is_left_out_once_in_a_while() {
    let server = server("udp://127.0.0.1:0", &["-v", "--udp-repeats", "2"]).start();
    let client = Client::of(server.udp_address());
    for _ in 0..2 {
        client.expect_echo(b"the same");
        client.expect_echo(b"the same");
        client.send(b"the same");
        // The next that is answered shows that this one was not.
        client.expect_echo(b"something else");
    }
    let line = server.log().expect_line("datagram not answered");
    assert!(line.contains("DEBUG") && line.contains("more often than --udp-repeats"), "{line}");
    Totals::of(server).expect(&[("refused_repeat", 2), ("datagrams_out", 6)]);
}

#[test]
fn c51_a_flood_does_not_flood_the_log() {
    let server = server("udp://127.0.0.1:0", &["-v", "--udp-rate", "0.001"]).start();
    let client = Client::of(server.udp_address());
    let begin = Instant::now();
    assert_eq!(ask(&[&client], 1000), 1);
    let log = server.log().clone();
    let totals = Totals::of(server);
    let refused = totals.number("refused_rate");
    assert!(refused > 500, "{refused}");
    let lines = log.lines_with("datagram not answered");
    // One a second, and one at the end.
    assert!(lines.len() as u64 <= begin.elapsed().as_secs() + 2, "{lines:#?}");
    // Nobody is left uncounted: each line is one more than it says were suppressed.
    let number = |line: &String, name: &str| -> u64 {
        line.split_once(name).map_or(0, |(_, rest)| rest.trim().parse().expect("a number"))
    };
    let told: u64 = lines
        .iter()
        .map(|line| match number(line, " repeated=") {
            0 => 1 + number(line, " suppressed="),
            rest => rest,
        })
        .sum();
    assert_eq!(told, refused, "{lines:#?}");
}

#[test]
fn c51_an_answer_that_the_kernel_does_not_send_is_counted_and_ends_nothing() {
    let test = "c51_an_answer_that_the_kernel_does_not_send_is_counted_and_ends_nothing";
    if skip_unless(test, STRACE) {
        return;
    }
    let sends = ["sendto", "sendmsg"].into_iter().cycle();
    for (send, (error, counted)) in sends.zip([
        ("EPERM", "datagrams_failed"),
        ("EACCES", "datagrams_failed"),
        ("EMSGSIZE", "datagrams_failed"),
        ("ENETUNREACH", "datagrams_failed"),
        ("ECONNREFUSED", "datagrams_failed"),
        ("ENOBUFS", "datagrams_dropped"),
        ("ENOMEM", "datagrams_dropped"),
        ("EAGAIN", "datagrams_dropped"),
    ]) {
        let inject = format!("inject={send}:error={error}:when=1..3");
        let filter = format!("trace={send},epoll_wait,epoll_pwait,epoll_pwait2");
        // One that is bound to all addresses says from which of them to send.
        let address = if send == "sendto" { "udp://127.0.0.1:0" } else { "udp://0" };
        let server = server(address, &["-v"]).traced(&["-e", &filter, "-e", &inject]).start();
        let client = Client::of(server.udp_address());
        for lost in [b"one", b"two", b"six"] {
            client.send(lost);
        }
        eventually("the errors have come", || {
            let calls = server.trace().calls();
            calls.iter().filter(|call| call.error() == Some(error)).count() == 3
        });
        client.expect_echo(b"the next");
        client.expect_silence();
        let line = server.log().expect_line("datagram not answered");
        assert!(line.contains(&client.socket.local_addr().expect("it").to_string()), "{line}");
        // It was tried once for each, and nothing went round and round.
        let calls = server.trace().loop_calls();
        assert_eq!(calls.iter().filter(|call| call.name == send).count(), 4, "{error}");
        let turns = calls.iter().filter(|call| call.is_wait()).count();
        assert!(turns < 30, "{turns} turns behind {error}");
        let totals = Totals::of(server);
        totals.expect(&[(counted, 3), ("datagrams_in", 4), ("datagrams_out", 1)]);
    }
}

#[test]
fn limits_that_are_wrong_or_without_effect_are_told() {
    for (option, value, expected) in [
        (
            "--udp-rate",
            "x",
            "expected a rate from 0.001 to 1G a second, like 0.5, 2000 or 50k, or none",
        ),
        (
            "--udp-rate-total",
            "0",
            "expected a rate from 0.001 to 1G a second, like 0.5, 2000 or 50k, or none",
        ),
        ("--udp-repeats", "0", "expected a whole number of at least 1, like 50000 or 50k, or none"),
    ] {
        let ended = edgeloop(&["serve", "udp://127.0.0.1:0", option, value]).run();
        let line = format!("edgeloop: invalid value '{value}' for {option}: {expected}\n");
        assert_eq!((ended.code, ended.stderr), (Some(2), line));
    }
    let server = server("127.0.0.1:0", &["--udp-rate", "5", "--udp-repeats", "none"]).start();
    for option in ["--udp-rate", "--udp-repeats"] {
        server.log().expect_line(&format!("WARN {option} has no effect: no address is udp://"));
    }
}
