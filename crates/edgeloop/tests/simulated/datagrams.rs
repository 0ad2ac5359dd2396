//! Datagrams on the simulated kernel (C50).

use std::net::SocketAddr;
use std::time::Duration;

use edgeloop::sim::{self, DatagramScript, Failure, Faults, Packets, Script, Simulation};
use edgeloop::{
    Action, Context, Datagram, DatagramSocket, Handler, Input, LoopContext, Origin, SentDatagram,
};

const SEEDS: std::ops::Range<u64> = 0..200;

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// What a handler does with a datagram.
type Act = fn(&mut Answers, &mut dyn FnMut(&[u8]) -> SentDatagram, &Datagram<'_>);

/// Echoes streams and datagrams, and notes these.
#[derive(Default)]
struct Answers {
    shown: Vec<(DatagramSocket, Vec<u8>)>,
    act: Option<Act>,
    /// Closes the socket behind this number of them.
    enough: Option<usize>,
}

impl Handler for Answers {
    type Session = ();

    fn session(&mut self, _: &Origin) -> Option<()> {
        Some(())
    }

    fn data(&mut self, cx: &mut impl Context, _: &mut (), input: &mut Input<'_>) -> Action {
        cx.send(input.take_all()).or_reset()
    }

    fn datagram(&mut self, cx: &mut impl LoopContext, datagram: &Datagram<'_>) {
        self.shown.push((datagram.socket, datagram.bytes.to_vec()));
        match self.act {
            Some(act) => act(self, &mut |bytes| cx.reply(datagram, bytes), datagram),
            None => {
                let _ = cx.reply(datagram, datagram.bytes);
            }
        }
        if Some(self.shown.len()) == self.enough {
            assert!(cx.unbind_udp(datagram.socket));
        }
    }
}

/// One that sends this number of datagrams at once, each with its own number.
fn flood(count: usize) -> DatagramScript {
    (0..count).fold(DatagramScript::new(), |script, number| script.send(number.to_string()))
}

fn numbers(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| number.to_string().into_bytes()).collect()
}

fn shown(handler: &Answers) -> Vec<Vec<u8>> {
    handler.shown.iter().map(|(_, bytes)| bytes.clone()).collect()
}

#[test]
fn c50_datagrams_of_any_length_come_back_whole_and_from_where_they_were_sent_to() {
    sim::check(SEEDS, |simulation| {
        let mut script = DatagramScript::new().name("alice").to(at("127.0.0.7:4000"));
        for length in [0, 1, 1200, 0, 65_507] {
            script = script.send(vec![b'x'; length]).expect(vec![b'x'; length]);
        }
        let report = simulation
            .faults(Faults::passing())
            .bind_udp(at("0.0.0.0:4000"))
            .correspondent(script)
            .run(Answers::default())?;
        let alice = report.correspondent("alice");
        assert!(alice.received.iter().all(|(from, _)| *from == at("127.0.0.7:4000")));
        assert_eq!((report.metrics.datagrams_in, report.metrics.datagrams_out), (5, 5));
        Ok(())
    });
}

#[test]
fn c50_all_that_waits_is_shown_once_and_in_order_however_the_batches_come() {
    sim::check(SEEDS, |simulation| {
        let report = simulation
            .faults(Faults::passing())
            .bind_udp(at("127.0.0.1:3000"))
            .correspondent(flood(100))
            .run(Answers::default())?;
        assert_eq!(shown(&report.handler), numbers(100));
        Ok(())
    });
}

#[test]
fn c50_what_is_longer_than_a_datagram_can_be_is_refused_and_the_next_is_sent() {
    let act: Act = |_, reply, _| {
        assert_eq!(reply(&[0; 65_508]), SentDatagram::Refused(90));
        assert_eq!(reply(b"short"), SentDatagram::Sent);
    };
    let report = Simulation::new(1)
        .bind_udp(at("127.0.0.1:3000"))
        .correspondent(DatagramScript::new().send("").expect("short"))
        .run(Answers { act: Some(act), ..Answers::default() })
        .expect("it answers");
    assert_eq!((report.metrics.datagrams_refused, report.metrics.datagrams_out), (1, 1));
}

#[test]
fn c50_nothing_is_shown_of_a_socket_that_a_callback_has_closed() {
    sim::check(SEEDS, |simulation| {
        let handler = Answers { enough: Some(5), ..Answers::default() };
        let report =
            simulation.bind_udp(at("127.0.0.1:3000")).correspondent(flood(40)).run(handler)?;
        assert_eq!(shown(&report.handler), numbers(5));
        Ok(())
    });
}

#[test]
fn c50_a_client_that_asks_again_gets_through_a_rough_network() {
    sim::check(SEEDS, |simulation| {
        let mut script = DatagramScript::new().retry(Duration::from_millis(200));
        for question in ["one", "two", "three"] {
            script = script.send(question).expect(question);
        }
        simulation
            .packets(Packets::orderly().lost(200).repeated(100).overtaken(100))
            .latency(Duration::ZERO..=Duration::from_millis(50))
            .bind_udp(at("127.0.0.1:3000"))
            .correspondent(script)
            .run(Answers::default())?;
        Ok(())
    });
}

#[test]
fn c50_a_flood_of_datagrams_and_a_flood_of_streams_leave_each_other_their_share() {
    sim::check(0..20, |simulation| {
        let length = 20_000;
        let report = simulation
            .buffers(500..=2000)
            .bind_udp(at("127.0.0.1:3000"))
            .datagram_buffers(2_000_000..=2_000_000)
            .correspondent(flood(2000))
            .peer(Script::new().send(vec![b'x'; length]).expect(vec![b'x'; length]))
            .run(Answers::default())?;
        assert_eq!(shown(&report.handler).len(), 2000);
        Ok(())
    });
}

#[test]
fn c50_what_has_no_room_in_the_receive_buffer_is_lost_and_the_rest_is_shown_in_order() {
    sim::check(SEEDS, |simulation| {
        let report = simulation
            .datagram_buffers(2000..=6000)
            .bind_udp(at("127.0.0.1:3000"))
            .correspondent(flood(60))
            .run(Answers::default())?;
        let all = numbers(60);
        let mut rest = all.iter();
        let in_order = shown(&report.handler).iter().all(|one| rest.any(|other| other == one));
        assert!(in_order);
        Ok(())
    });
}

#[test]
fn a_script_that_waits_for_a_datagram_in_vain_says_so() {
    let failure = Simulation::new(1)
        .correspondent(DatagramScript::new().name("alice").send("hello?").expect("hello!"))
        .run(Answers::default())
        .expect_err("nobody answers");
    let expected = "alice, step 2 of 2: expects the datagram \"hello!\", got none and waits";
    assert!(failure.what.contains(expected), "{}", failure.what);
}

#[test]
fn a_script_that_gets_another_datagram_says_which() {
    let failed = |script: DatagramScript| -> Failure {
        let simulation = Simulation::new(1).bind_udp(at("127.0.0.1:3000"));
        simulation.correspondent(script).run(Answers::default()).expect_err("it expects another")
    };
    let script = DatagramScript::new().name("alice").send("hello?");
    let failure = failed(script.clone().expect("hello!"));
    let expected = "alice, step 2 of 2: expects \"hello!\", got the datagram \"hello?\"";
    assert_eq!(failure.what, expected);
    let failure = failed(script.expect_nothing(Duration::from_secs(1)));
    assert_eq!(failure.what, "alice, step 2 of 2: expects nothing, got the datagram \"hello?\"");
}
