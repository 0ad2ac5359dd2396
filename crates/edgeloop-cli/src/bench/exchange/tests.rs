//! The framings against a model that has the whole stream, and what is said of replies.

use std::sync::Arc;

use testkit::Prng;

use super::asked::{Asked, greeting, unescape};
use super::framing::{Framing, Pattern};
use super::{Exchange, Exchanges, Replies};
use crate::bench::args::BenchArgs;
use crate::bench::verdict::{Finding, Verdict, Wrong};

/// The length of the reply at the beginning of a stream, if it has come to its end.
fn model(framing: &Framing, bytes: &[u8]) -> Option<usize> {
    match framing {
        Framing::Bytes(count) => {
            let count = usize::try_from(*count).expect("few");
            (bytes.len() >= count).then_some(count)
        }
        Framing::Until(pattern) => {
            let pattern = pattern.bytes();
            (pattern.len()..=bytes.len()).find(|&end| bytes[..end].ends_with(pattern))
        }
        Framing::Lines(count) => {
            let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
            ends.map(|(index, _)| index + 1).nth(usize::try_from(*count).expect("few") - 1)
        }
        // No byte tells that.
        Framing::Close => None,
    }
}

/// So many bytes of an alphabet in which patterns overlap themselves and each other.
fn letters(random: &mut Prng, count: usize) -> Vec<u8> {
    (0..count).map(|_| b"ab\n"[random.between(0, 2)]).collect()
}

fn framing(random: &mut Prng) -> Framing {
    match random.between(0, 3) {
        3 if random.between(0, 9) == 0 => Framing::Close,
        0 => Framing::Bytes(random.between(1, 9) as u64),
        1 => Framing::Lines(random.between(1, 3) as u64),
        _ => {
            let length = random.between(1, 6);
            Framing::Until(Pattern::new(letters(random, length)))
        }
    }
}

#[test]
fn every_reply_ends_where_the_whole_stream_says_however_it_is_cut() {
    for seed in 0..20_000 {
        let mut random = Prng::new(seed);
        let framings = [framing(&mut random), framing(&mut random)];
        let stream = letters(&mut random, 60);
        let (mut expected, mut begin) = (Vec::new(), 0);
        for framing in framings.iter().cycle() {
            let Some(length) = model(framing, &stream[begin..]) else { break };
            begin += length;
            expected.push(begin);
        }
        let each = framings.iter().map(|reply| Exchange {
            message: Arc::from(*b"?"),
            reply: reply.clone(),
            expected: None,
        });
        let exchanges = Exchanges::new(each.collect());
        let (mut replies, mut verdict) = (Replies::new(false), Verdict::default());
        for _ in 0..100 {
            replies.begin(&exchanges);
        }
        // How many replies have ended within the first bytes, whatever pieces they come in.
        let (mut at, mut landed) = (0, 0);
        while at < stream.len() {
            let piece = random.between(1, 20).min(stream.len() - at);
            replies.receive(&exchanges, 0, &stream[at..at + piece], &mut verdict);
            at += piece;
            while replies.land() {
                landed += 1;
            }
            let ended = expected.iter().filter(|&&end| end <= at).count();
            assert_eq!(landed, ended, "seed {seed}: {framings:?}, {at} of {stream:?}");
        }
        assert_eq!(verdict, Verdict::default(), "seed {seed}");
    }
}

/// One exchange, and what the reply must be.
fn one(framing: &str, expected: &str) -> Exchanges {
    asked(&["GET\r\n"], &[framing], &[expected])
}

fn asked(sends: &[&str], replies: &[&str], expects: &[&str]) -> Exchanges {
    let args = args(sends, replies, expects);
    let asked = Asked::resolve(&args).unwrap_or_else(|failure| panic!("{}", failure.line));
    asked.expect("some --send").load(true).unwrap_or_else(|failure| panic!("{}", failure.line)).0
}

fn args(sends: &[&str], replies: &[&str], expects: &[&str]) -> BenchArgs {
    let all = |texts: &[&str]| texts.iter().map(Into::into).collect();
    let address = vec!["127.0.0.1:7".into()];
    BenchArgs {
        address,
        send: all(sends),
        reply: all(replies),
        expect: all(expects),
        ..BenchArgs::default()
    }
}

/// What is said of these bytes behind so many messages, in pieces of any length.
#[track_caller]
fn verdict(exchanges: &Exchanges, messages: usize, bytes: &[u8]) -> Verdict {
    let mut first: Option<Verdict> = None;
    for piece in 1..=bytes.len() {
        let (mut replies, mut verdict) = (Replies::new(false), Verdict::default());
        for _ in 0..messages {
            replies.begin(exchanges);
        }
        for part in bytes.chunks(piece) {
            replies.receive(exchanges, 5, part, &mut verdict);
        }
        replies.finish(&mut verdict);
        let expected = first.get_or_insert_with(|| verdict.clone());
        assert_eq!(verdict, *expected, "in pieces of {piece}");
    }
    first.expect("some bytes")
}

#[track_caller]
fn expect(verdict: &Verdict, wrong: [u64; 3], told: &[&str]) {
    assert_eq!([verdict.mismatched, verdict.missing, verdict.surplus], wrong, "{verdict:?}");
    assert_eq!(verdict.told(), told);
}

#[test]
fn replies_that_are_as_expected_are_clean_and_all_their_bytes_are_checked() {
    for framing in ["until:\r\n", "until:\\r\\n", "lines:1", "bytes:5"] {
        let said = verdict(&one(framing, "+OK\\r\\n"), 3, b"+OK\r\n+OK\r\n+OK\r\n");
        expect(&said, [0; 3], &[]);
        assert_eq!((said.checked, said.wrong_replies), (15, 0), "{framing}");
    }
}

#[test]
fn a_changed_byte_is_told_with_its_place_and_both_texts() {
    let said = verdict(&one("lines:1", "+OK\\r\\n"), 3, b"+OK\r\n+Ox\r\n+OK\r\n");
    let told =
        r#"connection 5, message 1: the reply differs at offset 2: "x\r\n", expected "K\r\n""#;
    expect(&said, [1, 0, 0], &[told]);
    assert_eq!(said.wrong_replies, 1);
}

#[test]
fn a_reply_that_is_too_short_or_too_long_lacks_bytes_or_has_too_many() {
    let said = verdict(&one("lines:1", "+OK\\r\\n"), 2, b"+O\n+OK more\n");
    let told = [
        r#"connection 5, message 0: the reply differs at offset 2: "\n", expected "K\r\n""#,
        r#"connection 5, message 1: the reply differs at offset 3: " more\n", expected "\r\n""#,
    ];
    expect(&said, [3, 2, 4], &told);
    let said = verdict(&one("lines:1", "+OK\\n+"), 1, b"+OK\n");
    let told = r#"connection 5, message 0: the reply differs at offset 4: its end, expected "+""#;
    expect(&said, [0, 1, 0], &[told]);
    let said = verdict(&one("lines:2", "+OK\\n"), 1, b"+OK\n+\n");
    let told = r#"connection 5, message 0: the reply differs at offset 4: "+\n", expected its end"#;
    expect(&said, [0, 0, 2], &[told]);
}

/// What is said of a reply that ends with its connection, in pieces of any length.
#[track_caller]
fn closing(expected: &[&str], bytes: &[u8]) -> Verdict {
    let exchanges = asked(&["GET\\r\\n"], &["close"], expected);
    let mut first: Option<Verdict> = None;
    for piece in 1..=bytes.len().max(1) {
        let (mut replies, mut verdict) = (Replies::new(true), Verdict::default());
        replies.begin(&exchanges);
        for part in bytes.chunks(piece) {
            replies.receive(&exchanges, 5, part, &mut verdict);
        }
        assert!(!replies.land(), "bytes alone end no reply");
        replies.end(&exchanges, 5, &mut verdict);
        assert!(replies.land() && !replies.land());
        // There is no second end.
        replies.end(&exchanges, 5, &mut verdict);
        assert!(!replies.land());
        let expected = first.get_or_insert_with(|| verdict.clone());
        assert_eq!(verdict, *expected, "in pieces of {piece}");
    }
    first.expect("one at least")
}

#[test]
fn a_reply_that_ends_with_its_connection_is_compared_to_its_last_byte() {
    for expected in [&[][..], &["+OK\\r\\n"]] {
        let said = closing(expected, b"+OK\r\n");
        expect(&said, [0; 3], &[]);
        assert_eq!((said.checked, said.empty_replies), (5 * expected.len() as u64, 0));
    }
    let told = r#"connection 5, message 0: the reply differs at offset 2: its end, expected "K""#;
    let said = closing(&["+OK"], b"+O");
    expect(&said, [0, 1, 0], &[told]);
    let told = r#"connection 5, message 0: the reply differs at offset 3: "\n", expected its end"#;
    expect(&closing(&["+OK"], b"+OK\n"), [0, 0, 1], &[told]);
}

#[test]
fn an_empty_reply_is_counted_and_may_be_what_is_expected() {
    for expected in [&[][..], &[""]] {
        let said = closing(expected, b"");
        expect(&said, [0; 3], &[]);
        assert_eq!((said.empty_replies, said.wrong_replies), (1, 0));
    }
    let said = closing(&["+OK"], b"");
    assert_eq!((said.missing, said.empty_replies, said.wrong_replies), (3, 1, 1));
    let said = closing(&[""], b"+");
    assert_eq!((said.surplus, said.empty_replies, said.wrong_replies), (1, 0, 1));
}

#[test]
fn an_end_of_the_stream_ends_no_other_reply() {
    let exchanges = one("lines:1", "+OK\\r\\n");
    let (mut replies, mut verdict) = (Replies::new(false), Verdict::default());
    replies.begin(&exchanges);
    replies.receive(&exchanges, 5, b"+OK", &mut verdict);
    replies.end(&exchanges, 5, &mut verdict);
    assert!(!replies.land());
}

#[test]
fn a_message_of_no_bytes_is_one_of_those_in_turn() {
    let exchanges = asked(&["one", "", "three"], &["close"], &[]);
    assert_eq!([0, 1, 2, 3].map(|number| exchanges.length(number)), [3, 0, 5, 3]);
    let mut replies = Replies::new(true);
    for expected in ["one", "", "three", "one"] {
        let mut bytes = vec![0; expected.len()];
        assert_eq!(replies.begin(&exchanges), expected.len() as u64);
        if !bytes.is_empty() {
            replies.fill(&exchanges, 0, &mut bytes);
        }
        assert_eq!(bytes, expected.as_bytes());
        replies.lost(&exchanges);
    }
}

#[test]
fn a_greeting_ends_as_its_own_bytes_say() {
    assert_eq!(greeting("lines:2"), Ok(Framing::Lines(2)));
    assert_eq!(greeting("bytes:3"), Ok(Framing::Bytes(3)));
    assert_eq!(greeting("until:\\n"), Ok(Framing::Until(Pattern::new(vec![b'\n']))));
    for wrong in ["echo", "close", "line:1", ""] {
        assert_eq!(greeting(wrong), Err("expected bytes:N, lines:N or until:TEXT".to_owned()));
    }
    assert!(greeting("lines:0").is_err() && greeting("until:").is_err());
}

#[test]
fn a_reply_that_does_not_end_is_wrong_as_far_as_it_came() {
    let said = verdict(&one("until:\\r\\n", "+OK\\r\\n"), 1, b"-ERR and no end");
    assert_eq!((said.mismatched, said.wrong_replies), (5, 1), "{said:?}");
    let said = verdict(&one("until:\\r\\n", "+OK\\r\\n"), 1, b"+OK");
    expect(&said, [0; 3], &[]);
}

#[test]
fn what_comes_though_nothing_is_awaited_is_too_much() {
    for expected in [&[][..], &["+OK\\r\\n"]] {
        let exchanges = asked(&["GET\\r\\n"], &["lines:1"], expected);
        let said = verdict(&exchanges, 1, b"+OK\r\n+OK\r\n");
        expect(&said, [0, 0, 5], &["connection 5, offset 5: 5 bytes too many"]);
        let found = Finding { wrong: Wrong::Surplus, stream: 5, offset: 5, count: 5 };
        assert_eq!((said.findings, said.wrong_replies), (vec![found], 0));
    }
}

#[test]
fn the_first_ten_wrong_replies_are_told_cut_short_and_all_are_counted() {
    let expected = "x".repeat(1000);
    let exchanges = one("lines:1", &expected);
    let said = verdict(&exchanges, 12, &b"y\n".repeat(12));
    assert_eq!((said.wrong_replies, said.told().len()), (12, 10));
    let cut = format!("offset 0: \"y\\n\", expected \"{}\"...", "x".repeat(64));
    assert!(said.told().iter().all(|told| told.ends_with(&cut)), "{:?}", said.told());
}

#[test]
fn messages_are_sent_in_turn_however_the_stream_is_cut() {
    let exchanges = asked(&["one", "2", "three"], &[], &[]);
    let stream = b"one2threeone2threeone2threeone2three";
    for begin in 0..20 {
        for end in begin..stream.len() {
            let mut part = vec![0; end - begin];
            exchanges.fill(begin as u64, &mut part);
            assert_eq!(part, stream[begin..end]);
        }
    }
    assert_eq!([0, 1, 2, 3, 4].map(|number| exchanges.length(number)), [3, 1, 5, 3, 1]);
    assert_eq!(exchanges.longest(), 5);
}

#[test]
fn the_next_socket_begins_anew_or_goes_on_where_it_has_a_message_alone() {
    let exchanges = asked(&["one", "2", "three"], &[], &[]);
    for (goes_on, expected) in [(false, b"one2"), (true, b"2thr")] {
        let mut replies = Replies::new(goes_on);
        replies.begin(&exchanges);
        replies.lost(&exchanges);
        let length = replies.begin(&exchanges);
        let mut bytes = [0; 4];
        replies.fill(&exchanges, 0, &mut bytes);
        assert_eq!((&bytes, length), (expected, if goes_on { 1 } else { 3 }));
    }
}

#[test]
fn a_reply_is_as_long_as_the_message_or_as_what_is_expected_if_nothing_else_is_said() {
    let of = |expects: &[&str], replies: &[&str]| {
        let exchanges = asked(&["abc", "de"], replies, expects);
        exchanges.each.into_iter().map(|one| (one.reply, one.expected)).collect::<Vec<_>>()
    };
    let text = |text: &str| Some(Arc::from(text.as_bytes()));
    let echoes = [(Framing::Bytes(3), text("abc")), (Framing::Bytes(2), text("de"))];
    assert_eq!(of(&[], &[]), echoes);
    assert_eq!(of(&[], &["echo"]), echoes);
    assert_eq!(
        of(&["fghi"], &[]),
        [(Framing::Bytes(4), text("fghi")), (Framing::Bytes(4), text("fghi"))]
    );
    let mixed = [(Framing::Bytes(3), text("abc")), (Framing::Lines(1), None)];
    assert_eq!(of(&[], &["echo", "lines:1"]), mixed);
}

#[test]
fn escapes_are_those_of_c() {
    let good: [(&str, &[u8]); 6] = [
        ("PING\\r\\n", b"PING\r\n"),
        ("\\0\\1\\12\\0123\\377", b"\0\x01\n\n3\xff"),
        ("\\x00\\xfF\\x41B", b"\0\xffAB"),
        ("\\\\ \\\" \\' \\?", b"\\ \" ' ?"),
        ("\\a\\b\\t\\v\\f\\e", b"\x07\x08\t\x0b\x0c\x1b"),
        ("ü", "ü".as_bytes()),
    ];
    for (text, bytes) in good {
        assert_eq!(unescape(text).as_deref(), Ok(bytes), "{text}");
        // What is shown is read again as it was.
        assert_eq!(unescape(&bytes.escape_ascii().to_string()).as_deref(), Ok(bytes));
    }
    for text in
        ["\\", "a\\", "\\q", "\\x", "\\x1", "\\xg0", "\\x+1", "\\400", "\\8", "\\ü", "\\u00e4"]
    {
        assert!(unescape(text).expect_err(text).contains("expected"), "{text}");
    }
}

#[test]
fn what_is_wrong_with_an_exchange_is_told_by_its_option() {
    type Texts<'a> = &'a [&'a str];
    let cases: [(Texts<'_>, Texts<'_>, Texts<'_>, &str); 17] = [
        (&["x"], &["close:1"], &[], "'close:1' for --reply: expected echo, close, bytes:N"),
        (&["x", ""], &["close", "lines:1"], &[], "invalid value '' for --send: expected a text"),
        (&["", "x"], &["lines:1", "close"], &[], "only with --reply close it may be empty"),
        (&["x"], &["echo"], &[""], "invalid value '' for --expect: expected a text"),
        (&[""], &[], &[], "invalid value '' for --send: expected a text, or @ and"),
        (&["@"], &[], &[], "invalid value '@' for --send: expected the name of a file after @"),
        (&["\\q"], &[], &[], "for --send: unknown escape \\q; expected"),
        (&["x"], &["lines"], &[], "invalid value 'lines' for --reply: expected"),
        (&["x"], &["bytes:0"], &[], "'bytes:0' for --reply: expected"),
        (&["x"], &["lines:0"], &[], "'lines:0' for --reply: expected"),
        (&["x"], &["until:"], &[], "for --reply: expected a text after until:"),
        (
            &["x"],
            &["echo:1"],
            &[],
            "for --reply: expected echo, close, bytes:N, lines:N or until:TEXT",
        ),
        (&["x"], &[], &[""], "invalid value '' for --expect: expected a text"),
        (&[], &["echo"], &[], "--reply needs --send"),
        (&[], &[], &["x"], "--expect needs --send"),
        (
            &["a", "b", "c"],
            &["echo", "lines:1"],
            &[],
            "--reply is given 2 times and --send 3; give one",
        ),
        (&["a"], &[], &["x", "y"], "--expect is given 2 times and --send 1; give one"),
    ];
    for (sends, replies, expects, line) in cases {
        let failure = Asked::resolve(&args(sends, replies, expects)).expect_err(line);
        assert!(failure.line.contains(line), "{}", failure.line);
    }
}

#[test]
fn a_text_that_begins_with_at_is_written_with_two() {
    let exchanges = asked(&["@@x", "\\x40y", "z@"], &[], &[]);
    let messages: Vec<_> = exchanges.each.iter().map(|one| &one.message[..]).collect();
    assert_eq!(messages, [b"@x", b"@y", b"z@"]);
}
