//! Services that do not echo: messages that are given, and replies that are told apart and
//! compared.

use std::io::Write as _;

use tempfile::NamedTempFile;
use testkit::{Replies, ReplyServer};

use crate::run::{Bench, DONE, NETWORK_ERRORS, Ran, VERIFICATION_FAILED, bench};

/// Three requests, and replies that end in three ways.
const REQUESTS: [&str; 3] = ["get one\n", "two", "3\r\n"];
const ANSWERS: [&str; 3] = ["first\r\nEND\r\n", "a\nb\n", "0123456789"];
const SENDS: &str = r"--send get\x20one\n --send two --send 3\r\n";
const REPLIES: &str = r"--reply until:END\r\n --reply lines:2 --reply bytes:10";
const EXPECTS: &str = r"--expect first\r\nEND\r\n --expect a\nb\n --expect 0123456789";

fn answer(which: usize) -> Vec<u8> {
    ANSWERS[which].as_bytes().to_vec()
}

fn three() -> Replies {
    Replies::to(&REQUESTS, |_, _, which| answer(which))
}

/// Three requests in turn, all of whose replies are compared.
#[track_caller]
fn all(server: &ReplyServer, options: &str) -> Ran {
    bench(server.address(), &format!("{SENDS} {REPLIES} {EXPECTS} --grace 10s {options}"))
}

/// One request, `ping`, and its reply, `pong` and a line feed, but for one of them.
fn pings(number: usize, wrong: &'static [u8]) -> ReplyServer {
    let answer = move |_, before, _| if before == number { wrong } else { b"pong\n" }.to_vec();
    Replies::to(&["ping\n"], answer).start()
}

const PING: &str = r"-c 1 --send ping\n --reply lines:1 --grace 10s";

/// Messages are made in turn, beginning with the first.
#[track_caller]
fn expect_in_turn(heard: &[usize]) {
    let turns: Vec<usize> = (0..3).cycle().take(heard.len()).collect();
    assert_eq!(heard, turns);
}

#[test]
fn replies_are_told_apart_in_pieces_of_any_size() {
    for (piece, options) in [(1, "-c 1 -n 60"), (3, "-c 4 -n 60 -p 5"), (usize::MAX, "-c 2 -n 60")]
    {
        let server = three().in_pieces_of(piece).start();
        let ran = all(&server, options);
        ran.expect_exit(DONE).expect_messages(60, 0).expect_wrong(0, 0, 0).expect_errors(&[]);
        ran.expect_said("3 messages in turn, of up to 8 B").expect_said("all as expected");
        assert_eq!(ran.number("/verify/checked"), ran.number("/bytes_received"));
        let heard = server.heard();
        heard.iter().for_each(|heard| expect_in_turn(heard));
        let heard = heard.concat();
        let length =
            |all: [&str; 3]| heard.iter().map(|&which| all[which].len() as u64).sum::<u64>();
        assert_eq!(ran.number("/bytes_sent"), length(REQUESTS));
        assert_eq!(ran.number("/bytes_received"), length(ANSWERS));
        assert_eq!(heard.len(), 60);
    }
}

#[test]
fn several_replies_can_come_in_one_segment() {
    let server = three().gathered(12).start();
    let ran = all(&server, "-c 1 -n 60 -p 12");
    ran.expect_exit(DONE).expect_messages(60, 0).expect_wrong(0, 0, 0);
}

#[test]
fn messages_of_all_sizes_go_through_with_their_replies() {
    // Larger than what a socket takes at once, in both directions.
    let (large, small) = (vec![b'x'; 3_000_000], "y");
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(&large).expect("write");
    let path = format!("@{}", file.path().to_str().expect("a path in UTF-8"));
    let server = testkit::OddServer::start(testkit::Oddity::None);
    let ran = Bench::of(&server.address().to_string(), "-c 1 -n 20 -p 3 --grace 10s")
        .with(&["--send", &path, "--send", small])
        .run();
    ran.expect_exit(DONE).expect_messages(20, 0).expect_wrong(0, 0, 0);
    assert_eq!(ran.number("/bytes_sent"), 10 * 3_000_001);
    assert_eq!(ran.number("/options/size"), 3_000_000);
    let shown = ran.at("/options/send/0").as_str().expect("a text");
    assert_eq!(shown, format!("{}...", "x".repeat(200)));
    ran.expect_said("2 messages in turn, of up to 3.00 MB");
}

#[test]
fn a_reply_that_is_wrong_at_one_byte_is_told_with_its_place() {
    let server = pings(7, b"pOng\n");
    let ran = bench(server.address(), &format!(r"{PING} -n 20 --expect pong\n"));
    ran.expect_exit(VERIFICATION_FAILED).expect_wrong(1, 0, 0).expect_messages(20, 0);
    assert_eq!(ran.number("/verify/wrong_replies"), 1);
    let told =
        r#"connection 0, message 7: the reply differs at offset 1: "Ong\n", expected "ong\n""#;
    ran.expect_said(told).expect_said("WRONG: 1 reply differs: 1 byte changed");
}

#[test]
fn a_reply_that_is_too_long_or_too_short_is_wrong() {
    let server = pings(3, b"pong and more\n");
    let ran = bench(server.address(), &format!(r"{PING} -n 20 --expect pong\n"));
    ran.expect_exit(VERIFICATION_FAILED).expect_wrong(1, 0, 9).expect_messages(20, 0);
    let server = pings(3, b"po\n");
    let ran = bench(server.address(), &format!(r"{PING} -n 20 --expect pong\n"));
    ran.expect_exit(VERIFICATION_FAILED).expect_wrong(1, 2, 0).expect_messages(20, 0);
}

#[test]
fn more_than_was_asked_is_too_much_also_where_nothing_is_compared() {
    let server = pings(19, b"pong\nand more");
    let ran = bench(server.address(), &format!("{PING} -n 20"));
    ran.expect_exit(VERIFICATION_FAILED).expect_wrong(0, 0, 8).expect_messages(20, 0);
    ran.expect_said("connection 0, offset 100: 8 bytes too many");
}

#[test]
fn a_service_that_answers_twice_does_not_pass_for_one_that_is_twice_as_fast() {
    let server = Replies::to(&["ping\n"], |_, _, _| b"pong\npong\n".to_vec()).start();
    let ran = bench(server.address(), &format!("{PING} -n 200"));
    ran.expect_exit(VERIFICATION_FAILED);
    assert!(ran.number("/verify/surplus") > 0, "{}", ran.summary);
}

#[test]
fn a_reply_that_never_ends_is_unanswered() {
    let server = pings(4, b"pong");
    let options = r"-c 1 --send ping\n --reply lines:1 -d 300ms --grace 100ms";
    let ran = bench(server.address(), options);
    ran.expect_exit(NETWORK_ERRORS).expect_wrong(0, 0, 0).expect_messages(4, 1);
}

#[test]
fn replies_that_are_nothing_of_the_kind_point_to_the_option() {
    let server = pings(0, b"pong\n");
    let ran =
        bench(server.address(), r"-c 1 --send ping\n --reply until:END -d 300ms --grace 100ms");
    ran.expect_said("Bytes came, but no reply was whole: see --reply");
    // Without a word on it, the service is taken for one that echoes.
    let ran = bench(server.address(), r"-c 1 --send ping\n -d 300ms --grace 10s");
    ran.expect_exit(VERIFICATION_FAILED).expect_said("see --reply and --expect");
    ran.expect_said(r#"the reply differs at offset 1: "ong\n", expected "ing\n""#);
}

#[test]
fn a_connection_that_is_made_again_begins_with_the_first_message() {
    let server = three().closing_after(4).start();
    let ran = all(&server, "-c 1 -n 18");
    // One may be under way when a connection ends, and is lost with it.
    assert_eq!(ran.number("/messages") + ran.number("/unanswered"), 18, "{}", ran.summary);
    ran.expect_wrong(0, 0, 0);
    let heard = server.heard();
    assert!(heard.len() >= 4, "{heard:?}");
    heard.iter().for_each(|heard| expect_in_turn(heard));
}

#[test]
fn connections_of_a_message_each_send_the_messages_in_turn() {
    let server = three().start();
    let ran = all(&server, "-c 1 -n 9 --connect-per-message");
    ran.expect_exit(DONE).expect_messages(9, 0).expect_wrong(0, 0, 0);
    expect_in_turn(&server.heard().concat());
    assert_eq!(server.heard().len(), 9);
}

#[test]
fn every_kind_of_load_takes_given_messages() {
    let server = three().start();
    for options in [
        "-c 3 -r 300 -d 300ms",
        "-c 3 -r 300 -d 300ms --arrival poisson",
        "-c 5 -t 2 -d 300ms",
        "-c 3 -n 30 -p 4",
        "--hold 10 --active 3 -d 300ms",
        "-c 3 -r 300 -d 300ms --connect-per-message",
    ] {
        let ran = all(&server, options);
        ran.expect_all_answered();
        assert!(ran.number("/messages") > 0, "{options}");
        assert_eq!(ran.at("/options/reply/0"), r"until:END\r\n");
    }
    let ran = all(&server, "-c 2 --find p50<10s -r 50 -d 100ms");
    assert!(ran.number("/find/steps/0/samples") > 0);
    ran.expect_wrong(0, 0, 0);
}

#[test]
fn the_results_say_what_was_sent_and_expected() {
    let server = pings(0, b"pong\n");
    let ran = bench(server.address(), &format!(r"{PING} -n 2 --expect pong\n"));
    ran.expect_exit(DONE);
    for (name, text) in [("send", r"ping\n"), ("reply", "lines:1"), ("expect", r"pong\n")] {
        assert_eq!(ran.at(&format!("/options/{name}")), &serde_json::json!([text]));
    }
    // Without a word on where it ends, a reply is as long as it must be.
    let ran = bench(server.address(), r"-c 1 -n 2 --send ping\n --expect pong\n --grace 10s");
    ran.expect_exit(DONE).expect_wrong(0, 0, 0);
    assert_eq!(ran.at("/options/reply/0"), "bytes:5");
}
