//! The server on the simulated kernel: cut requests, faults, hostile and slow clients.

use std::cell::Cell;
use std::rc::Rc;

use edgeloop::Reason;
use edgeloop::sim::{Ending, Faults, Script, Simulation, check};

use super::*;

/// What a client asks, and what it is answered.
const ASKED: &str = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$7\r\none\r\ntw\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n\
    INCR n\r\n*0\r\n\r\n  incr   n  \n*-1\r\n*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n\
    RPUSH l a b c\r\nLRANGE l 0 -1\r\nLPUSH k x\r\nQUACK a b\r\nSET k\r\n\
    SUBSCRIBE a b\r\nGET k\r\nPING\r\nUNSUBSCRIBE a\r\nUNSUBSCRIBE\r\n*1\r\n$0\r\n\r\n";
const ANSWERED: &str = "+OK\r\n$7\r\none\r\ntw\r\n:1\r\n:2\r\n+PONG\r\n$0\r\n\r\n:3\r\n\
    *3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n\
    -WRONGTYPE Operation against a key holding the wrong kind of value\r\n\
    -ERR unknown command 'QUACK'\r\n\
    -ERR wrong number of arguments for 'set' command\r\n\
    *3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n\
    -ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
    are allowed in this context\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n\
    *3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n\
    -ERR unknown command ''\r\n";

fn message(channel: &str, text: &str) -> String {
    let (a, b) = (channel.len(), text.len());
    format!("*3\r\n$7\r\nmessage\r\n${a}\r\n{channel}\r\n${b}\r\n{text}\r\n")
}

fn subscribed(channel: &str) -> String {
    format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{channel}\r\n:1\r\n", channel.len())
}

/// With small limits, that are reached soon.
fn small() -> Config {
    config().read_buffer(4096).high_watermark(4096).low_watermark(1024).output_limit(20_000)
}

/// A client that listens to a channel from the beginning.
fn listener(channel: &str) -> Script {
    Script::new().send(format!("SUBSCRIBE {channel}\r\n")).expect(subscribed(channel))
}

/// A client that comes when the others have subscribed.
fn latecomer() -> Script {
    Script::new().connect_after(Duration::from_secs(10))
}

#[test]
fn requests_cut_at_any_byte_are_answered_the_same() {
    for at in 0..=ASKED.len() {
        check(0..1, |simulation| {
            let (first, second) = ASKED.split_at(at);
            let pause = Duration::from_secs(1);
            let script = Script::new().send(first).wait(pause).send(second).expect(ANSWERED);
            let report = simulation.peer(script).run(Server::default())?;
            assert_eq!(report.peers[0].reason(), Some(Reason::Finished));
            Ok(())
        });
    }
}

#[test]
fn requests_are_answered_under_faults_and_through_small_buffers() {
    check(0..40, |simulation| {
        let asked = format!("{ASKED}DEL n k l\r\n").repeat(5);
        let answered = format!("{ANSWERED}:3\r\n").repeat(5);
        let simulation = simulation.buffers(1..=200).faults(Faults::passing());
        simulation.peer(Script::new().exchange(asked, answered)).run(Server::default()).map(drop)
    });
}

#[test]
fn a_client_that_asks_faster_than_it_reads_gets_every_reply() {
    check(0..5, |simulation| {
        let long = "x".repeat(3000);
        let answered = format!("$3000\r\n{long}\r\n").repeat(20);
        let slow = Script::new()
            .exchange(format!("SET k {long}\r\n"), "+OK\r\n")
            .send("GET k\r\n".repeat(20))
            .wait(Duration::from_secs(5))
            .expect(answered);
        let other = Script::new().wait(Duration::from_secs(2)).send("PING\r\n").expect("+PONG\r\n");
        let simulation = simulation.buffers(1000..=10_000).config(small());
        simulation.peer(slow).peer(other).run(Server::default()).map(drop)
    });
}

#[test]
fn what_is_not_the_protocol_is_told_and_ends_the_connection() {
    let long = "x".repeat(65_537);
    for (bytes, told) in [
        ("*1\r\n:1\r\n", "expected '$', got ':'"),
        ("*1\r\nPING\r\n", "expected '$', got 'P'"),
        ("*x\r\n", "invalid multibulk length"),
        ("*1048577\r\n", "invalid multibulk length"),
        ("*99999999999999999999\r\n", "invalid multibulk length"),
        ("*-99999999999999999999\r\n", "invalid multibulk length"),
        (&format!("*{}", "1".repeat(64)), "invalid multibulk length"),
        ("*\r\n", "invalid multibulk length"),
        ("*+1\r\n", "invalid multibulk length"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$x\r\n", "invalid bulk length"),
        ("*1\r\n$\r\n", "invalid bulk length"),
        ("*1\r\n$8388609\r\n", "invalid bulk length"),
        ("*1\r\n$9223372036854775807\r\n", "invalid bulk length"),
        (&long, "too big inline request"),
    ] {
        check(0..5, |simulation| {
            let asked = format!("PING\r\n{bytes}");
            let answered = format!("+PONG\r\n-ERR Protocol error: {told}\r\n");
            let hostile = Script::new().name("hostile").exchange(asked, answered).expect_end();
            let other = latecomer().send("PING\r\n").expect("+PONG\r\n");
            let simulation = simulation.config(config()).peer(hostile).peer(other);
            let report = simulation.run(Server::default())?;
            assert_eq!(report.peer("hostile").reason(), Some(Reason::Closed));
            Ok(())
        });
    }
}

#[test]
fn many_arguments_are_taken_and_too_long_a_request_is_told_as_soon_as_it_is_announced() {
    let eight = "x".repeat(protocol::MAX_BULK);
    check(0..1, |simulation| {
        let names = "$1\r\nk\r\n".repeat(10_000);
        let asked = format!("*10001\r\n$6\r\nEXISTS\r\n{names}");
        let asked = format!("{asked}*3\r\n$3\r\nSET\r\n$8388608\r\n{eight}\r\n$8388608\r\n");
        let answered = ":0\r\n-ERR Protocol error: too big request\r\n";
        let simulation = simulation.calm().config(config()).buffers(100_000..=200_000);
        let script = Script::new().exchange(asked, answered).expect_end();
        simulation.peer(script).run(Server::default()).map(drop)
    });
}

/// Parsing all of it at every byte would take minutes.
#[test]
fn a_request_that_comes_byte_by_byte_is_not_parsed_anew_each_time() {
    let bytes = format!("*50000\r\n{}", "$1\r\nk\r\n".repeat(50_000)).into_bytes();
    let (mut seen, mut words) = (Seen::default(), Vec::new());
    for arrived in 1..bytes.len() {
        let mut input = Input::new(&bytes[..arrived]);
        assert_eq!(take_request(&mut input, &mut seen, &mut words), Ok(false));
        assert_eq!(input.len(), arrived);
    }
    let mut input = Input::new(&bytes);
    assert_eq!(take_request(&mut input, &mut seen, &mut words), Ok(true));
    assert!(input.is_empty() && words == vec![b"k"; 50_000]);
}

#[test]
fn a_reply_that_is_too_long_takes_no_more_memory_than_may_be_sent() {
    let mut reply = Reply::default();
    let megabyte = vec![b'x'; 1 << 20];
    reply.strings((0..1000).map(|_| &megabyte));
    assert!((MAX_OUTPUT..MAX_OUTPUT + (2 << 20)).contains(&reply.0.len()));
    check(0..1, |simulation| {
        let element = "x".repeat(6 << 20);
        let asked = format!("*3\r\n$5\r\nRPUSH\r\n$1\r\nl\r\n$6291456\r\n{element}\r\n");
        let asked = format!("{}LRANGE l 0 -1\r\n", asked.repeat(3));
        let greedy = Script::new().exchange(asked, ":1\r\n:2\r\n:3\r\n").may_end().expect_end();
        let simulation = simulation.calm().config(config()).buffers(100_000..=200_000);
        let report = simulation.peer(greedy).run(Server::default())?;
        assert_eq!(report.peers[0].reason(), Some(Reason::Reset));
        Ok(())
    });
}

#[test]
fn half_a_request_and_an_end_is_an_end() {
    for half in ["*2\r\n$3\r\nGET\r\n$5\r\nhe", "*2\r\n", "*", "GET k", "*1\r\n$4\r\nPING"] {
        check(0..20, |simulation| {
            let script = Script::new().send(half).finish().expect_end();
            let report = simulation.peer(script).run(Server::default())?;
            assert_eq!(report.peers[0].reason(), Some(Reason::Finished));
            Ok(())
        });
    }
    // Whole ones before it are answered.
    check(0..20, |simulation| {
        let script = Script::new().send("PING\r\nPING\r\nPI").finish();
        let script = script.expect("+PONG\r\n+PONG\r\n").expect_end();
        simulation.faults(Faults::passing()).peer(script).run(Server::default()).map(drop)
    });
}

#[test]
fn who_quits_is_told_ok_and_nothing_more() {
    check(0..20, |simulation| {
        let script = Script::new().exchange("QUIT\r\nPING\r\n", "+OK\r\n").expect_end();
        let report = simulation.peer(script).run(Server::default())?;
        assert_eq!(report.peers[0].reason(), Some(Reason::Closed));
        Ok(())
    });
}

#[test]
fn clients_that_die_leave_nothing_behind() {
    check(0..100, |simulation| {
        let half = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nhalf";
        let report = simulation
            .config(config())
            .faults(Faults::passing())
            .peer(listener("news").reset())
            .peer(listener("news").send(half).reset())
            .peer(Script::new().send(half).reset())
            .peer(listener("news").close())
            .peer(Script::new().send(half).close())
            .peer(listener("news").name("stays").expect(message("news", "hello")))
            .peer(latecomer().send("PUBLISH news hello\r\nGET k\r\n").expect(":1\r\n$-1\r\n"))
            .run(Server::default())?;
        assert_eq!(report.peer("stays").reason(), Some(Reason::Finished));
        assert!(report.handler.channels.is_empty());
        Ok(())
    });
}

#[test]
fn connections_that_break_have_got_a_beginning_of_their_replies() {
    let (mut broken, mut done) = (0, 0);
    for seed in 0..100 {
        let report = Simulation::new(seed)
            .peer(Script::new().exchange(ASKED, ANSWERED))
            .faults(Faults::passing().breaking(10))
            .run(Server::default())
            .expect("a connection may break, and nothing else");
        assert!(ANSWERED.as_bytes().starts_with(&report.peers[0].received));
        match report.peers[0].ending {
            Ending::Done => done += 1,
            _ => broken += 1,
        }
        assert!(report.handler.channels.is_empty());
    }
    assert!(broken > 0 && done > 0, "{broken} broken, {done} done");
}

#[test]
fn a_subscriber_that_reads_too_slowly_is_reset_and_the_others_hear_all() {
    check(0..5, |simulation| {
        let text = "x".repeat(1000);
        let published = format!("PUBLISH news {text}\r\n");
        let mut publisher = latecomer();
        for _ in 0..30 {
            publisher =
                publisher.send(&published).receive_until(b'\n').wait(Duration::from_secs(1));
        }
        let report = simulation
            .config(small())
            .buffers(100..=2000)
            .peer(listener("news").name("slow").vanish())
            .peer(listener("news").name("fast").expect(message("news", &text).repeat(30)))
            .peer(publisher.name("publisher"))
            .run(Server::default())?;
        assert_eq!(report.peer("slow").reason(), Some(Reason::Reset));
        let replies = &report.peer("publisher").received;
        assert!(replies.starts_with(b":2\r\n") && replies.ends_with(b":1\r\n"));
        Ok(())
    });
}

#[test]
fn who_is_silent_is_disconnected_unless_it_listens() {
    check(0..5, |simulation| {
        let told =
            format!("{}*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n", subscribed("news"));
        let listened = Script::new().exchange("SUBSCRIBE news\r\nUNSUBSCRIBE\r\n", told);
        let report = simulation
            .config(config())
            .peer(Script::new().name("silent").exchange("PING\r\n", "+PONG\r\n").expect_end())
            .peer(listened.name("listened").expect_end())
            .peer(listener("news").name("listens").expect(message("news", "hello")))
            .peer(
                Script::new()
                    .connect_after(2 * IDLE_TIMEOUT)
                    .exchange("PUBLISH news hello\r\n", ":1\r\n"),
            )
            .run(Server::default())?;
        for silent in ["silent", "listened"] {
            assert_eq!(report.peer(silent).reason(), Some(Reason::IdleTimeout));
        }
        assert_eq!(report.peer("listens").reason(), Some(Reason::Finished));
        Ok(())
    });
}

#[test]
fn a_pipeline_of_messages_reaches_each_subscriber_in_one_call() {
    check(0..20, |simulation| {
        let heard = message("news", "hello").repeat(16);
        let sent = format!(", {length}): {length}", length = heard.len());
        let sends = Rc::new(Cell::new(0));
        let counted = Rc::clone(&sends);
        let simulation = simulation.calm().buffers(10_000..=20_000).trace(move |_, what| {
            counted.set(
                counted.get() + usize::from(what.starts_with("send(") && what.ends_with(&sent)),
            );
        });
        simulation
            .peer(listener("news").expect(&heard))
            .peer(latecomer().send("PUBLISH news hello\r\n".repeat(16)).expect(":1\r\n".repeat(16)))
            .run(Server::default())?;
        assert_eq!(sends.get(), 1);
        Ok(())
    });
}
